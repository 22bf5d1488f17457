"""Pictures that are dark, bright, blurred, nearly empty, or of another size than the rest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.pictures import FACTS
from dataaudit.report import formats

DARK, BRIGHT, EMPTY = 0.15, 0.85, 1.0
"""The brightest hundredth of a picture, its darkest hundredth, and its entropy in bits, beyond
which it is odd."""
BLURRED = np.log(5)
"""So much less sharp than the median, as a logarithm, and `UNUSUAL` besides."""
UNUSUAL = 4.0
"""In robust standard deviations of all pictures; where most are dark, darkness is not odd."""
OTHER_SIZE = np.log(3)
"""Width by height, or area, as a logarithm of the ratio to the median."""
FEWEST = 20


class OddPictures(Check):
    """Measures every training picture, and holds it against a bound and against all others."""

    name = "odd_pictures"
    title = "Odd pictures"
    modalities = ("image",)

    def look(self, data: Examined) -> Found:
        """Look at what was measured of every training picture."""
        train = data.train
        facts = data.pictures.of(train).facts
        if len(facts) < FEWEST:
            return Found(f"There are fewer than {FEWEST} pictures.", cannot_tell=True)
        issues = []
        for what, strength in _oddities(dict(zip(FACTS, facts.T, strict=True))):
            for row in np.flatnonzero(strength > 0):
                row_id = train.ids[row]
                plain = row_id.item() if hasattr(row_id, "item") else row_id
                issues.append(Issue(what, "train", float(strength[row]), plain))
        if not issues:
            return Found("No picture is dark, bright, blurred, empty or of an odd size.")
        pictures = len({issue.row_id for issue in issues})
        return Found(
            f"{formats.rows(pictures, 'picture')} {'looks' if pictures == 1 else 'look'} unlike "
            "the rest: dark, bright, blurred, nearly empty, or of an odd size.",
            sorted(issues, key=lambda issue: -issue.score),
        )


Measured = dict[str, NDArray[np.float64]]


def _oddities(of: Measured) -> list[tuple[str, NDArray[np.float64]]]:
    """Return kinds of oddity, each with how far pictures are beyond its bounds, `[pictures]`."""
    ratio, area = np.log(of["width"] / of["height"]), np.log(of["width"] * of["height"])
    return [
        ("dark", _beyond(-of["brightest"], -DARK)),
        ("bright", _beyond(of["darkest"], BRIGHT)),
        ("nearly empty", _beyond(-of["entropy"], -EMPTY)),
        ("blurred", _beyond(-of["sharpness"], BLURRED - float(np.median(of["sharpness"])))),
        ("of another shape", _away(ratio)),
        ("of another size", _away(area)),
    ]


def _beyond(values: NDArray[np.float64], bound: float) -> NDArray[np.float64]:
    """Return how far values are above a bound, in robust deviations; 0 where they are usual."""
    deviations = _deviations(values)
    return np.where((values > bound) & (deviations > UNUSUAL), deviations, 0.0)


def _away(values: NDArray[np.float64]) -> NDArray[np.float64]:
    apart = np.abs(values - np.median(values))
    deviations = np.abs(_deviations(values))
    return np.where((apart > OTHER_SIZE) & (deviations > UNUSUAL), deviations, 0.0)


def _deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    middle = np.median(values)
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    return np.asarray((values - middle) / max(spread, 1e-3))

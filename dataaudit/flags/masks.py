"""Mislabel flags for masks: which pictures have a region of the wrong class.

What score blocks hold of a mask is how doubtful its most doubtful square is, for squares of several
sizes (`tasks.segmentation`). The regions themselves are looked for only in the rows that are most
suspicious, whose probabilities are asked for once more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.most_doubtful import NAMED, Suggestions, flag_by_the_most_doubtful, note
from dataaudit.flags.probabilities import Table, Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings
from dataaudit.labels.masks import Region, as_text, carriers
from dataaudit.labels.tags import NOT_JUDGED

LOSS, DOUBTS = 0, slice(2, 5)
"""Columns of what score blocks hold, as `tasks.segmentation` has them."""
USUAL = 1
"""The square that is asked where no references say which one tells most."""
MOST_SUGGESTED = 1000
"""Rows, the most suspicious first, whose regions are looked for."""
ABOUT_MASKS = (
    "A row counts as wrong when any region of its mask is; a planted error is one region that got "
    "another class, was left out, was put in, was shifted or has grown. A mask is as doubtful as "
    "the most doubtful square of it; of squares with {} of the picture's shorter side planted "
    "errors are told best. Rates by class are those of the rows that have it somewhere. The "
    "suggestion changes every region that is more probably wrong than right, and at least the most "
    "doubtful one; it is made for the {} most suspicious rows."
)
SIDES = ("1/16", "1/8", "1/4")


def flag_masks(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows of whose mask at least one region is probably wrong.

    Parameters
    ----------
    rows : LabelledRows
        Labels are int16 `[rows, height, width]`; predictions as `Segmentation.said_of` returns
        them.
    references : References or None
        The planted ones have one region wrong.
    settings : FlagSettings
    """
    known, square = None, USUAL
    if references is not None and references.are_enough:
        square = telling(references.mirrored[:, DOUBTS], references.planted)
        known = _signals(references.base, references.mirrored, square), references.planted
    signals = _signals(rows.familiar, rows.mirrored, square)
    given = rows.shown(rows.labels)
    found = carriers(rows.labels, len(rows.classes))
    return flag_by_the_most_doubtful(
        rows.ids,
        given,
        dict(zip(map(str, rows.classes), found.T, strict=True)),
        signals,
        known,
        np.stack([rows.own[:, LOSS], rows.mirrored[:, LOSS]], axis=1).astype(np.float64),
        lambda share: _suggestions(rows, given, signals @ [1 - share, share]),
        ABOUT_MASKS.format(SIDES[square], MOST_SUGGESTED),
        settings,
    )


def telling(doubts: Table, planted: NDArray[np.bool_]) -> int:
    """Return which square tells planted errors from right masks best (area under the ROC curve)."""
    areas = [roc_auc_score(planted, doubts[:, place]) for place in range(doubts.shape[1])]
    return int(np.argmax(areas))


def _signals(base: Table, mirrored: Table, square: int) -> Values:
    """Return the log odds against each row's most doubtful square, `[rows, 2]`, nats."""
    return np.stack([table[:, DOUBTS][:, square] for table in (base, mirrored)], 1).astype(
        np.float64
    )


def _suggestions(rows: LabelledRows, given: NDArray[np.object_], doubt: Values) -> Suggestions:
    labels, notes = given.copy(), [""] * len(given)
    if rows.maps is not None:
        positions = np.sort(np.argsort(-doubt, kind="stable")[:MOST_SUGGESTED])
        for position, probabilities in zip(positions.tolist(), rows.maps(positions), strict=True):
            mask = rows.labels[position]
            found = doubtful_regions(mask, probabilities)
            if not found:
                continue
            names = [str(name) for name in rows.classes]
            regions = [Region.of(pixels, names[was], names[now]) for pixels, was, now in found]
            labels[position] = as_text(regions)
            named = [
                f"{int(pixels.sum())} pixels at {region.box}, given as {region.was}, are "
                f"{region.name} with probability {probabilities[pixels, now].mean():.2f}"
                for region, (pixels, _, now) in zip(regions[:NAMED], found, strict=False)
            ]
            notes[position] = note(named, len(found))
    return Suggestions(labels, doubt, notes)


def doubtful_regions(
    mask: NDArray[np.int16], probabilities: Table
) -> list[tuple[NDArray[np.bool_], int, int]]:
    """Return the regions where another class is likelier than the given one, the worst first.

    A region is connected and of one likelier class. Only those count that have at least half the
    pixels of the smallest square, and somewhere a square with an average doubt above 0: specks and
    borders are left as they are. Where there is none, the one with the largest doubt stands alone.

    Parameters
    ----------
    mask : int16 `[height, width]`
    probabilities : `[height, width, C]`

    Returns
    -------
    list of (bool `[height, width]`, the class that most of its pixels were given, the likelier one)
    """
    judged = mask != NOT_JUDGED
    given = np.where(judged, mask, 0).astype(np.int64)[:, :, None]
    chance = np.take_along_axis(probabilities, given, axis=2)[:, :, 0].astype(np.float64)
    chance = np.clip(np.where(judged, chance, 1.0), 1e-3, 1 - 1e-3)
    side = 2 * round(min(mask.shape) / 32) + 1
    doubt = ndimage.uniform_filter(np.log1p(-chance) - np.log(chance), side, mode="nearest")
    best = probabilities.argmax(axis=2)
    found: list[tuple[float, int, int, int]] = []
    parts: dict[int, NDArray[np.int32]] = {}
    for label in np.unique(best[(best != mask) & judged]).tolist():
        parts[label], count = ndimage.label((best == label) & (mask != label) & judged)
        every = np.arange(1, count + 1)
        sizes = np.bincount(parts[label].ravel(), minlength=count + 1)[1:].tolist()
        worst = ndimage.maximum(doubt, parts[label], every)
        found += zip(worst, [label] * count, every.tolist(), sizes, strict=True)
    found.sort(key=lambda item: -item[0])
    sure = [item for item in found if item[0] > 0 and 2 * item[3] >= side**2] or found[:1]
    regions = [(parts[label] == part, label) for _, label, part, _ in sure]
    return [(pixels, int(np.bincount(mask[pixels]).argmax()), label) for pixels, label in regions]

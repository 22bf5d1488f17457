"""Are decisions about labels right on any classifier? Claims against truth, cell by cell.

    python benchmarks/calibration.py --cells 'sms/*'

Each cell is data, a classifier, a share and a kind of wrong labels, a number of trusted samples and
a seed. The classifier is fitted crosswise and its labels are judged just as an audit does it. Fits
and finished cells are kept under `benchmarks/cache`, so that the battery can run in parts; table,
JSON and a picture are written to `benchmarks/results`. Cells that were not looked at while the
method was made are reported apart.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from calibration_cells import SCATTERED, TUNED, UNTUNED, Cell
from calibration_fits import Fits, fits_of
from calibration_picture import picture
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.report.flagged_words import HARDLY_KNOWN

HERE = Path(__file__).parent
BUDGETS = (100, 300)
PARTS = {"tuned": TUNED, "untuned": UNTUNED, "scattered": SCATTERED}
CELLS = [cell for cells in PARTS.values() for cell in cells]
ROUNDING = 1e-9


def judged(fits: Fits) -> MislabelFlags:
    """Judge the labels of a cell just as an audit does."""
    unseen = fits.unseen.views[0].rows
    classes = [str(label) for label in range(unseen.shape[1])]
    rows = LabelledRows(
        np.arange(len(fits.given)), fits.given, classes, lambda labels: labels,
        unseen, unseen, unseen, crosswise=fits.unseen,
    )  # fmt: skip
    return flag_mislabels(rows, None)


def measured(fits: Fits) -> dict[str, Any]:
    """Judge one cell's labels, and return claims and truth."""
    start = time.perf_counter()
    found, given, wrong = fits.unseen, fits.given, fits.given != fits.right
    flags = judged(fits)
    alone = next((view for view in found.views if view.alone), None)
    of_given = np.arange(len(wrong)), given
    rate, judgement = flags.noise_rate, judge_labels(flags)
    return {
        **claimed_and_true(flags.table, wrong),
        "trusted": len(found.trusted_labels),
        "rate": [rate.estimate, rate.low, rate.high],
        "flagged_interval": ends_of(flags.precision_flagged),
        "outcome": judgement.outcome,
        "reasons": list(judgement.reasons),
        "five_folds": _five_folds(fits, wrong),
        "trusted_only": precision(wrong, -alone.rows[of_given]) if alone else None,
        "seconds": time.perf_counter() - start,
    }


def ends_of(share: Any) -> list[float] | None:
    """Return both ends of an interval; None where there is none."""
    return None if share is None else [share.low, share.high]


def claimed_and_true(table: Any, wrong: Any) -> dict[str, Any]:
    """Return what a table of flags claims beside what is true, bool `[rows]`."""
    flagged, claimed = table["flagged"].to_numpy(), table["probability"].to_numpy()
    order = np.argsort(table["rank"].to_numpy())
    looked_at = {str(b): order[:b] for b in BUDGETS if b <= len(wrong) // 2}
    if flagged.any():
        looked_at["flagged"] = np.flatnonzero(flagged)
    return {
        "rows": len(wrong),
        "wrong": float(wrong.mean()),
        "flagged": int(flagged.sum()),
        "flagged_right": int((flagged & wrong).sum()),
        "claims": {
            name: [float(claimed[places].mean()), float(wrong[places].mean())]
            for name, places in looked_at.items()
        },
        # How far the share of wrong ones would be off by chance, were each claim exactly right.
        "chance": {
            name: float(np.sqrt((claimed[places] * (1 - claimed[places])).sum()) / len(places))
            for name, places in looked_at.items()
        },
        "average_precision": precision(wrong, table["score"].to_numpy()),
    }


def precision(wrong: Any, score: Any) -> float | None:
    """Return the average precision of a ranking; None where nothing is wrong."""
    return float(average_precision_score(wrong, score)) if wrong.any() else None


def _five_folds(fits: Fits, wrong: Any) -> float | None:
    """Return the average precision of cleanlab on five folds of the rows alone."""
    from cleanlab.rank import get_label_quality_scores

    table = np.maximum(fits.five_folds.astype(np.float64), 1e-9)
    table /= table.sum(axis=1, keepdims=True)
    return precision(wrong, 1 - get_label_quality_scores(fits.given, table))


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the shares of cells that meet each target."""
    told = {name: r for name, r in results.items() if r["outcome"] != "cannot tell"}
    offs = np.abs([said - is_so for r in told.values() for said, is_so in r["claims"].values()])
    stated = np.abs([said - is_so for r in told.values() for said, is_so in _stated(r)])
    chance = np.array([sd for r in told.values() for sd in r.get("chance", {}).values()])
    ranked = [r for r in results.values() if r["five_folds"] is not None]
    ahead = np.array([r["average_precision"] - r["five_folds"] for r in ranked])
    outside = [name for name, r in told.items() if not r["rate"][1] <= r["wrong"] <= r["rate"][2]]
    widths = [(r["rate"][2] - r["rate"][1], r["trusted"]) for r in told.values()]
    ends = {name: r["flagged_interval"] for name, r in told.items() if r.get("flagged_interval")}
    missed = [
        name
        for name, (low, high) in ends.items()
        if not low - ROUNDING <= told[name]["claims"]["flagged"][1] <= high + ROUNDING
    ]
    by_rule = {
        name: r["trusted_only"] - r["average_precision"]
        for name, r in results.items()
        if "/rule/" in name and r["trusted_only"] is not None
    }
    return {
        "cells": len(results),
        "cannot_tell": len(results) - len(told),
        "rate_inside": _share(np.array([name not in outside for name in told])),
        "rate_outside": outside,
        "median_width": _median([width for width, _ in widths]),
        "median_width_200_trusted": _median([w for w, trusted in widths if trusted >= 200]),
        "claims": len(offs),
        "within_.05": _share(offs <= 0.05),
        "within_.10": _share(offs <= 0.10),
        "claims_put_forward": len(stated),
        "within_.05_put_forward": _share(stated <= 0.05),
        "within_.10_put_forward": _share(stated <= 0.10),
        "most_off_put_forward": float(stated.max(initial=0.0)),
        "within_.05_by_chance": _share(_within(0.05, chance)),
        "within_.10_by_chance": _share(_within(0.1, chance)),
        "most_off": float(offs.max(initial=0.0)),
        "flagged_inside": _share(np.array([name not in missed for name in ends])),
        "flagged_outside": missed,
        "median_width_flagged": _median([high - low for low, high in ends.values()]),
        "not_behind_five_folds": _share(ahead >= -0.01),
        "ahead_of_five_folds": _share(ahead > 0),
        "rule_cells": len(by_rule),
        "behind_trusted_alone": [name for name, behind in by_rule.items() if behind > 0.01],
        "silent": [
            name
            for name, r in told.items()
            if r["wrong"] >= 0.05
            and r["average_precision"] >= 0.5
            and (not r["flagged"] or r["outcome"] == "clear")
        ],
        "flagged_on_clean": max(
            (r["flagged"] / r["rows"] for r in results.values() if r["wrong"] == 0), default=0.0
        ),
    }


def _stated(result: dict[str, Any]) -> list[list[float]]:
    """Return the claims that a report puts forward: none of flags that are hardly known."""
    low, high = result.get("flagged_interval") or (0.0, 0.0)
    claims: dict[str, list[float]] = result["claims"]
    return [
        pair for name, pair in claims.items() if name != "flagged" or high - low <= HARDLY_KNOWN
    ]


def _within(bound: float, deviations: Any) -> Any:
    """Return how probably claims that are exactly right are off by no more than a bound."""
    return 2 * norm.cdf(bound / np.maximum(deviations, 1e-9)) - 1


def _share(holds: Any) -> float | None:
    """Return in which share of some cells something holds, None where there are no such cells."""
    return float(holds.mean()) if len(holds) else None


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def as_line(cell: Cell, result: dict[str, Any]) -> str:
    """Return a cell's line of the table."""
    estimate, low, high = result["rate"]
    ends = result.get("flagged_interval")
    of_them = f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
    off = " / ".join(
        f"{key} {claim - actual:+.2f}" for key, (claim, actual) in result["claims"].items()
    )
    ranking = " : ".join(
        "" if result[key] is None else f"{result[key]:.3f}"
        for key in ("average_precision", "five_folds", "trusted_only")
    )
    return (
        f"| {cell.name} | {'' if cell.tuned else 'untuned'} | {result['wrong']:.3f} "
        f"| {estimate:.3f} [{low:.3f}, {high:.3f}] | {result['outcome']} "
        f"| {result['flagged_right']} of {result['flagged']}{of_them} | {off} | {ranking} |"
    )


def finished_before(results: Path) -> dict[str, dict[str, Any]]:
    """Return the cells of written results, which stay there where a cache no longer has them."""
    if not results.exists():
        return {}
    cells: dict[str, dict[str, Any]] = json.loads(results.read_text())["cells"]
    return cells


def main() -> None:
    """Measure the cells asked for, and write table and JSON of all finished ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="*", default=["*"], help="patterns of names")
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--again", action="store_true", help="judge anew, from the same fits")
    parser.add_argument("--rows", type=int, default=2000, help="at most so many training rows")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE / "cache" / "calibration")
    options = parser.parse_args()
    folder = options.cache / f"judged-{options.rows}"
    folder.mkdir(parents=True, exist_ok=True)
    target = HERE / "results"
    before = finished_before(target / "calibration.json")
    done: dict[str, dict[str, Any]] = {}
    lines = {}
    for cell in CELLS:
        path = folder / f"{cell.name.replace('/', '-')}.json"
        wanted = (options.part == "all" or cell in PARTS[options.part]) and any(
            fnmatch.fnmatch(cell.name, pattern) for pattern in options.cells
        )
        if wanted and (options.again or not path.exists()):
            fits = fits_of(cell, options.rows, options.data, options.cache)
            path.write_text(json.dumps(measured(fits)))
        if path.exists():
            done[cell.name] = json.loads(path.read_text())
        elif cell.name in before:
            done[cell.name] = before[cell.name]
        if cell.name in done:
            lines[cell.name] = as_line(cell, done[cell.name])
            if wanted:
                print(lines[cell.name], flush=True)
    head = (
        "| cell | | wrong | rate found | outcome | flagged [share wrong] | claimed - actual "
        "| average precision |"
    )
    parts = {
        part: {cell.name: done[cell.name] for cell in cells if cell.name in done}
        for part, cells in PARTS.items()
    }
    found = {part: summary(results) for part, results in parts.items() if results}
    print(json.dumps(found, indent=2))
    target.mkdir(exist_ok=True)
    (target / "calibration.json").write_text(
        json.dumps({"cells": done, "summary": found}, indent=2)
    )
    table = "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines.values(), ""])
    (target / "calibration.md").write_text(table)
    points = {
        part: [
            (name, looked_at, *pair)
            for name, result in results.items()
            if result["outcome"] != "cannot tell"
            for looked_at, pair in result["claims"].items()
        ]
        for part, results in parts.items()
    }
    (target / "calibration.svg").write_text(picture(points))


if __name__ == "__main__":
    main()

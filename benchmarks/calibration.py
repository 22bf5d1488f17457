"""Are decisions about labels right on any classifier? Claims against truth, cell by cell.

    python benchmarks/calibration.py --cells 'sms/*' --rows 1000

Each cell is data, a classifier, a share and a kind of wrong labels, and a number of trusted
samples. The classifier is fitted crosswise and its labels are judged just as an audit does it.
Finished cells are kept under `benchmarks/cache`, so that the battery can run in parts; table and
JSON are written to `benchmarks/results`. Cells that were not looked at while the method was made
are reported apart.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from calibration_cells import Cell, Problem, make_problem
from sklearn.metrics import average_precision_score

from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.models.distillation import probabilities
from dataaudit.models.estimator import Estimator
from dataaudit.stages.crosswise import judged_crosswise

HERE = Path(__file__).parent
BUDGETS = (100, 300)

TUNED = [
    Cell("sms", f"logistic-{c}", rate, "uniform", 600)
    for c in (1, 10, 100)
    for rate in (0.04, 0.1, 0.2)
] + [
    Cell("sms", "logistic-10", 0, "uniform", 600),
    Cell("sms", "word-bayes", 0.1, "uniform", 200),
    Cell("sms", "logistic-10", 0.05, "pair", 200),
    Cell("sms", "logistic-10", 0.05, "rule", 600),
    Cell("lines", "logistic-1", 0.05, "uniform", 600),
    Cell("lines", "logistic-100", 0.2, "uniform", 200),
    Cell("lines", "word-bayes", 0.1, "confusable", 600),
    Cell("lines", "logistic-10", 0, "uniform", 200),
    Cell("lines", "logistic-10", 0.1, "rule", 600),
    Cell("lines", "logistic-10", 0.1, "pair", 1000),
    Cell("adult", "logistic-1", 0.1, "uniform", 200),
    Cell("adult", "boosting", 0.1, "uniform", 1000),
]  # fmt: skip
UNTUNED = [
    Cell(*parts, tuned=False)
    for parts in (
        ("sms", "svc", 0.02, "uniform", 1000),
        ("sms", "word-bayes", 0.05, "confusable", 600),
        ("sms", "neighbours", 0.1, "uniform", 600),
        ("sms", "logistic-100", 0.1, "rule", 600),
        ("sms", "forest", 0.1, "uniform", 600),
        ("sms", "logistic-10", 0.1, "uniform", 50),
        ("sms", "logistic-10", 0.1, "uniform", 0),
        ("lines", "svc", 0.1, "uniform", 200),
        ("lines", "neighbours", 0.2, "confusable", 600),
        ("lines", "logistic-100", 0.05, "rare", 200),
        ("lines", "word-bayes", 0.4, "uniform", 200),
        ("lines", "logistic-1", 0, "uniform", 1000),
        ("lines", "logistic-10", 0.2, "pair", 200),
        ("adult", "bayes", 0.2, "uniform", 600),
        ("adult", "neighbours", 0.1, "uniform", 600),
        ("adult", "forest", 0.05, "uniform", 200),
        ("adult", "boosting", 0.2, "doubtful", 200),
        ("adult", "logistic-10", 0.1, "rule", 1000),
        ("adult", "logistic-10", 0.05, "pair", 600),
        ("adult", "logistic-1", 0, "uniform", 600),
        ("digits", "bayes", 0.05, "pair", 200),
        ("digits", "forest", 0.02, "uniform", 200),
        ("digits", "svc", 0.2, "rule", 200),
        ("digits", "logistic-1", 0.1, "confusable", 200),
        ("digits", "neighbours", 0, "uniform", 200),
        ("digits", "perceptron", 0.05, "uniform", 50),
        ("wine", "forest", 0.2, "uniform", 50),
        ("wine", "neighbours", 0, "uniform", 50),
        ("cancer", "perceptron", 0.1, "uniform", 100),
        ("cancer", "svc", 0.05, "pair", 100),
        ("cancer", "bayes", 0.1, "doubtful", 150),
        ("cancer", "logistic-10", 0.4, "uniform", 150),
        ("grades", "forest", 0, "real", 200),
        ("grades", "logistic-10", 0, "real", 200),
        ("grades", "boosting", 0, "real", 50),
        ("chance", "bayes", 0.2, "uniform", 1000),
        ("chance", "forest", 0, "uniform", 50),
    )
]
CELLS = TUNED + UNTUNED


def measured(cell: Cell, problem: Problem, seed: int) -> dict[str, Any]:
    """Judge one cell's labels, and return claims and truth."""
    start = time.perf_counter()
    fitted = problem.model.fit(problem.rows, problem.given)
    estimator = Estimator(fitted, lambda frame: frame, probabilities)
    found = judged_crosswise(
        estimator,
        problem.rows,
        problem.given,
        problem.trusted if cell.trusted else None,
        problem.trusted_labels,
        seed,
    )
    unseen = found.views[0].rows
    classes = [str(label) for label in range(unseen.shape[1])]
    rows = LabelledRows(
        np.arange(len(problem.given)), problem.given, classes, lambda labels: labels,
        unseen, unseen, unseen, crosswise=found,
    )  # fmt: skip
    flags = flag_mislabels(rows, None)
    wrong = problem.given != problem.right
    table = flags.table
    flagged = table["flagged"].to_numpy()
    order = np.argsort(table["rank"].to_numpy())
    claimed = table["probability"].to_numpy()
    off = {
        str(budget): float(claimed[order[:budget]].mean() - wrong[order[:budget]].mean())
        for budget in BUDGETS
        if budget <= len(wrong) // 2
    }
    if flagged.any():
        off["flagged"] = float(claimed[flagged].mean() - wrong[flagged].mean())
    of_given = np.arange(len(wrong)), problem.given
    rate, judgement = flags.noise_rate, judge_labels(flags)
    return {
        "rows": len(wrong),
        "wrong": float(wrong.mean()),
        "rate": [rate.estimate, rate.low, rate.high],
        "outcome": judgement.outcome,
        "reasons": list(judgement.reasons),
        "flagged": int(flagged.sum()),
        "flagged_right": int((flagged & wrong).sum()),
        "off": off,
        "average_precision": _precision(wrong, table["score"].to_numpy()),
        "five_folds": _five_folds(problem, wrong, seed),
        "trusted_only": _precision(wrong, -found.views[-1].rows[of_given])
        if len(found.views) > 1
        else None,
        "seconds": time.perf_counter() - start,
    }


def _precision(wrong: Any, score: Any) -> float | None:
    return float(average_precision_score(wrong, score)) if wrong.any() else None


def _five_folds(problem: Problem, wrong: Any, seed: int) -> float | None:
    """Return the average precision of cleanlab on five folds of the rows alone."""
    from cleanlab.rank import get_label_quality_scores

    estimator = Estimator(problem.model, lambda frame: frame, probabilities)
    none = np.zeros(0, dtype=np.int64)
    rows = judged_crosswise(estimator, problem.rows, problem.given, None, none, seed).views[0].rows
    table = np.maximum(rows.astype(np.float64), 1e-9)
    table /= table.sum(axis=1, keepdims=True)
    return _precision(wrong, 1 - get_label_quality_scores(problem.given, table))


def summary(results: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the shares of cells that meet each target."""
    told = [r for r in results.values() if r["outcome"] != "cannot tell"]
    offs = np.abs([value for r in told for value in r["off"].values()])
    ranked = [r for r in results.values() if r["five_folds"] is not None]
    ahead = np.array([r["average_precision"] - r["five_folds"] for r in ranked])
    widths = [r["rate"][2] - r["rate"][1] for r in told]
    return {
        "cells": len(results),
        "cannot_tell": len(results) - len(told),
        "rate_inside": float(np.mean([r["rate"][1] <= r["wrong"] <= r["rate"][2] for r in told])),
        "median_width": float(np.median(widths)),
        "within_.05": float((offs <= 0.05).mean()),
        "within_.10": float((offs <= 0.10).mean()),
        "most_off": float(offs.max()),
        "not_behind_five_folds": float((ahead >= -0.01).mean()),
        "ahead_of_five_folds": float((ahead > 0).mean()),
        "silent": sum(
            r["wrong"] >= 0.05 and r["average_precision"] >= 0.5 and not r["flagged"] for r in told
        ),
        "flagged_on_clean": max(
            (r["flagged"] / r["rows"] for r in results.values() if r["wrong"] == 0), default=0.0
        ),
    }


def as_line(cell: Cell, result: dict[str, Any]) -> str:
    """Return a cell's line of the table."""
    estimate, low, high = result["rate"]
    off = " / ".join(f"{key} {value:+.2f}" for key, value in result["off"].items())
    ranking = " : ".join(
        "" if result[key] is None else f"{result[key]:.3f}"
        for key in ("average_precision", "five_folds", "trusted_only")
    )
    return (
        f"| {cell.name} | {'' if cell.tuned else 'untuned'} | {result['wrong']:.3f} "
        f"| {estimate:.3f} [{low:.3f}, {high:.3f}] | {result['outcome']} "
        f"| {result['flagged_right']} of {result['flagged']} | {off} | {ranking} |"
    )


def main() -> None:
    """Measure the cells asked for, and write table and JSON of all finished ones."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="*", default=["*"], help="patterns of names")
    parser.add_argument("--rows", type=int, default=3000, help="at most so many training rows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    options = parser.parse_args()
    folder = HERE / "cache" / "calibration" / f"{options.rows}-{options.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, dict[str, Any]] = {}
    lines = {}
    for cell in CELLS:
        path = folder / f"{cell.name.replace('/', '-')}.json"
        wanted = any(fnmatch.fnmatch(cell.name, pattern) for pattern in options.cells)
        if wanted and not path.exists():
            problem = make_problem(cell, options.rows, options.seed, options.data)
            path.write_text(json.dumps(measured(cell, problem, options.seed)))
        if path.exists():
            done[cell.name] = json.loads(path.read_text())
            lines[cell.name] = as_line(cell, done[cell.name])
            if wanted:
                print(lines[cell.name], flush=True)
    head = (
        "| cell | | wrong | rate found | outcome | flagged | claimed - actual | average precision |"
    )
    parts = {
        part: {cell.name: done[cell.name] for cell in cells if cell.name in done}
        for part, cells in (("tuned", TUNED), ("untuned", UNTUNED))
    }
    found = {part: summary(results) for part, results in parts.items() if results}
    print(json.dumps(found, indent=2))
    target = HERE / "results"
    target.mkdir(exist_ok=True)
    (target / "calibration.json").write_text(
        json.dumps({"cells": done, "summary": found}, indent=2)
    )
    table = "\n".join([head, "|---|---|---|---|---|---|---|---|", *lines.values(), ""])
    (target / "calibration.md").write_text(table)


if __name__ == "__main__":
    main()

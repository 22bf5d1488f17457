"""Lines of `other_tasks.py`: measured one by one, kept as JSON, shown as tables.

Each is a cell as those of `calibration.py` are, and is counted by its summary. Finished lines stand
in results/other_tasks.json, with a table in results/other_tasks.md. Both are written after each
line and begin with what was there: a benchmark can run in parts, and no line is measured twice
unless that is asked for.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from calibration import claimed_and_true, precision, summary

import dataaudit

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DATA = HERE.parent.parent / "shared" / "data"
SEEDS = (0, 1, 2)
"""None was used while methods were made; those were 10 to 15."""
COLUMNS = [
    "setting", "average precision", "by loss alone", "rival", "flagged", "precision", "recall",
    "claimed precision", "estimated rate [interval]", "true rate", "outcome", "suggestion",
    "seconds",
]  # fmt: skip

SHARE = 0.08
"""Of the rows that errors are planted in, where a benchmark says no other one."""

Measured = dict[str, Any]
Lines = Iterator[tuple[str, Callable[[], Measured]]]
"""Names, whose last part is the seed, with what measures them."""


def line_of(
    result: dataaudit.AuditResult,
    wrong: np.ndarray,
    loss: np.ndarray,
    suggestion_right: np.ndarray | None,
    seconds: float,
    trusted: int,
    rival: np.ndarray | None = None,
    more: dict[str, str] | None = None,
) -> Measured:
    """Return what an audit claims beside what is true, and how well its rivals rank.

    Parameters
    ----------
    result : AuditResult
    wrong : bool `[rows]`
    suggestion_right : bool `[rows]` or None
        Suggestions of flagged rows that are wrong are counted; None where there are none.
    loss, rival : `[rows]`
        Higher = more suspicious; `rival` is cleanlab's.
    seconds : float
        Of the audit.
    trusted : int
        Trusted samples.
    more : mapping of column to cell or None
        What only this kind of label has.
    """
    labels, flagged = result.report.labels, result.mislabels["flagged"].to_numpy()
    assert labels is not None
    rate = labels.noise_rate
    assert rate is not None
    seen = flagged & wrong
    return {
        **claimed_and_true(result.mislabels, wrong),
        "trusted": trusted,
        "rate": [rate.estimate, rate.low, rate.high],
        "outcome": labels.outcome,
        "reasons": labels.reasons,
        "by_loss": precision(wrong, loss),
        # As the battery calls its rival.
        "five_folds": None if rival is None else precision(wrong, rival),
        "trusted_only": None,
        "suggestion": None
        if suggestion_right is None or not seen.any()
        else float(suggestion_right[seen].mean()),
        "seconds": seconds,
        "more": more or {},
    }


def measure(
    kinds: dict[str, Callable[[], Lines]],
    patterns: list[str],
    again: bool,
    folder: Path = RESULTS,
) -> None:
    """Measure the lines asked for that are not finished, and write each as soon as it is.

    Parameters
    ----------
    kinds : mapping of name to lines
    patterns : list of str
        Of names such as `tags / digits / 10 epochs / 0`.
    again : bool
        Whether finished lines are measured, too.
    folder : Path
        Where finished lines are, in `other_tasks.json`. Lines of other kinds stay in it.
    """
    every = {kind: dict(lines()) for kind, lines in kinds.items()}
    for kind, lines in every.items():
        for name, measured in lines.items():
            if not any(fnmatch.fnmatch(f"{kind} / {name}", pattern) for pattern in patterns):
                continue
            result = finished(folder).get(kind, {}).get(name)
            if again or result is None:
                result = measured()
                keep(kind, name, result, every, folder)
            print(" | ".join([kind, *cells(name, result)]), flush=True)


def finished(folder: Path) -> dict[str, dict[str, Measured]]:
    """Return finished lines, kind by kind."""
    path = folder / "other_tasks.json"
    if not path.exists():
        return {}
    cells: dict[str, dict[str, Measured]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def keep(
    kind: str, name: str, result: Measured, every: dict[str, dict[str, Any]], folder: Path
) -> None:
    """Write a line to the finished ones, in the order of `every`; those it lacks come last."""
    done = finished(folder)
    done.setdefault(kind, {})[name] = result
    ordered = {}
    for own in [*every, *(own for own in done if own not in every)]:
        if lines := done.get(own):
            names = [line for line in every.get(own, {}) if line in lines]
            names += [line for line in lines if line not in names]
            ordered[own] = {line: lines[line] for line in names}
    found = {own: summary(lines) for own, lines in ordered.items()}
    text = json.dumps({"cells": ordered, "summary": found}, indent=2)
    (folder / "other_tasks.json").write_text(text + "\n", encoding="utf-8")
    parts = [f"## {own}\n\n{table(lines)}" for own, lines in ordered.items()]
    parts.append(f"## as cells of the battery\n\n{counted(found)}")
    (folder / "other_tasks.md").write_text("\n".join(parts), encoding="utf-8")


def table(results: dict[str, Measured]) -> str:
    """Return the table of one kind of label."""
    more = list(dict.fromkeys(column for result in results.values() for column in result["more"]))
    lines = [[*COLUMNS, *more]]
    lines.append(["---"] * len(lines[0]))
    for name, result in results.items():
        lines.append([*cells(name, result), *(result["more"].get(column, "") for column in more)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def cells(name: str, result: Measured) -> list[str]:
    """Return the cells of a line that all kinds have."""
    flagged, right = result["flagged"], result["flagged_right"]
    estimate, low, high = result["rate"]
    some = result["wrong"] > 0
    return [
        name,
        *(_number(result[key], 3) for key in ("average_precision", "by_loss", "five_folds")),
        str(flagged),
        _number(right / flagged if flagged else None),
        _number(right / round(result["wrong"] * result["rows"]) if some else None),
        _number(result["claims"]["flagged"][0] if flagged else None),
        f"{estimate:.3f} [{low:.3f}, {high:.3f}]",
        f"{result['wrong']:.3f}",
        result["outcome"],
        _number(result["suggestion"]),
        f"{result['seconds']:.0f}",
    ]


def counted(found: dict[str, dict[str, Any]]) -> str:
    """Return a table of how often the claims of each kind hold, from summaries of the battery."""
    columns = {
        "lines": "cells", "cannot tell": "cannot_tell", "rate inside": "rate_inside",
        "median width": "median_width", "claims": "claims", "within .05": "within_.05",
        "within .10": "within_.10", "most off": "most_off",
        "flagged on clean": "flagged_on_clean",
    }  # fmt: skip
    lines = [["kind", *columns], ["---"] * (1 + len(columns))]
    for kind, result in found.items():
        values = (result[key] for key in columns.values())
        lines.append([kind, *(str(v) if isinstance(v, int) else _number(v) for v in values)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"

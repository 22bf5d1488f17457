"""The mislabel benchmark's table and plot, from its results; medians over seeds."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent / "dataaudit"
Result = dict[str, Any]
COLUMNS = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "precision_at_k": "precision at k",
    "flagged": "flagged",
    "precision": "precision of flagged",
    "recall": "recall of flagged",
    "suggested_right": "suggested label right",
}


def table(results: list[Result]) -> str:
    """Return one Markdown table for each setting."""
    parts = []
    for setting in _names(results, "setting"):
        of_setting = [result for result in results if result["setting"] == setting]
        wrong = [result["wrong"] / result["rows"] for result in of_setting if "rows" in result]
        if not wrong:
            continue
        seeds = sorted({result["seed"] for result in of_setting})
        title = f"## {setting}\n\n{statistics.median(wrong):.1%} wrong labels; seeds {seeds}\n"
        head = [
            "method",
            *COLUMNS.values(),
            "claimed - actual at 100 / 300 / 1,000",
            "noise rate [interval]",
            "seconds",
            "forward passes",
            "measured",
        ]
        lines = [_cells(head), _cells(["---"] * len(head))]
        lines += [
            _method_line(method, [r for r in of_setting if r["method"] == method])
            for method in _names(of_setting, "method")
        ]
        parts.append("\n".join([title, *lines, ""]))
    return "\n".join(parts)


def _method_line(method: str, results: list[Result]) -> str:
    ran = [result for result in results if "not_run" not in result]
    if not ran:
        return _cells([method, f"not run: {results[0]['not_run']}"])
    cells = [method, *(_median(ran, column) for column in COLUMNS)]
    gaps = [result["claimed_minus_actual"] for result in ran if "claimed_minus_actual" in result]
    cells.append(
        " / ".join(f"{statistics.median(gap[b] for gap in gaps):+.3f}" for b in gaps[0])
        if gaps
        else ""
    )
    rates = [result["claims"]["noise_rate"] for result in ran if result["claims"]]
    cells.append(
        "{:.3f} [{:.3f}, {:.3f}]".format(*map(statistics.median, zip(*rates, strict=True)))
        if rates
        else ""
    )
    cells.append(f"{statistics.median(result['seconds'] for result in ran):.0f}")
    passes = [r["forward_passes"] for r in ran if r["forward_passes"] is not None]
    cells.append(f"{statistics.median(passes) / 1000:,.0f}k" if passes else "")
    cells.append("; ".join(sorted({_measured(result) for result in ran})))
    return _cells(cells)


def _measured(result: Result) -> str:
    """Say when, and whether the package has changed since; rivals do not depend on it."""
    measured = result.get("measured")
    if measured is None:
        return "not dated"
    older = result["method"].startswith("ours") and measured["code"] != code()
    return f"{measured['date']}{', older code' if older else ''}"


@cache
def code() -> str:
    """Return a hash of the package's sources."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(PACKAGE)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _median(results: list[Result], column: str) -> str:
    values = [result[column] for result in results if column in result]
    return f"{statistics.median(values):.3f}" if values else ""


def _cells(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"


def _names(results: list[Result], key: str) -> list[str]:
    return list(dict.fromkeys(result[key] for result in results))


def plot(results: list[Result], path: Path) -> None:
    """Draw each method's average precision against its cost, one panel for each setting."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plot: matplotlib is not installed (pip install 'dataaudit[benchmarks]')")
        return
    ranked = [r for r in results if "average_precision" in r and r["forward_passes"] is not None]
    settings = _names(ranked, "setting")
    if not settings:
        return
    across = min(3, len(settings))
    down = -(-len(settings) // across)
    figure = Figure(figsize=(4.5 * across, 3.4 * down), layout="constrained")
    methods = _names(ranked, "method")
    for place, setting in enumerate(settings):
        axes = figure.add_subplot(down, across, place + 1)
        for number, method in enumerate(methods):
            of_both = [r for r in ranked if (r["setting"], r["method"]) == (setting, method)]
            if of_both:
                axes.plot(
                    statistics.median(r["forward_passes"] for r in of_both),
                    statistics.median(r["average_precision"] for r in of_both),
                    "*" if method.startswith("ours") else "o",
                    markersize=12 if method.startswith("ours") else 6,
                    color=f"C{number % 10}",
                    markerfacecolor="none" if number >= 10 else f"C{number}",
                    label=method,
                )
        axes.set(title=setting, xscale="log", xlabel="forward passes", ylabel="average precision")
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    figure.savefig(path)

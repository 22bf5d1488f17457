"""The mislabel benchmark in one table: every setting's median over its seeds, and the targets."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Result = dict[str, Any]
OURS = "ours"
SHOWN = {
    "loss": "loss",
    "nearest": "nearest trusted neighbours",
    "Forward-INF": "Forward-INF, one step",
    "trusted only": "trusted samples only",
    "5-fold": "cleanlab, 5-fold",
    "5-fold with trusted": "cleanlab, 5-fold with trusted",
}
CLOSE = 0.05
"""Claimed and actual precision are as close as is aimed at."""


def summary(results: list[Result]) -> str:
    """Return a Markdown table with a line for each setting, and below it what was reached."""
    ran = [result for result in results if "not_run" not in result]
    settings = list(dict.fromkeys(result["setting"] for result in ran))
    head = [
        "setting", "seeds", "ours", *SHOWN, "best rival",
        "claimed - actual at 100 / 300 / 1,000", "rate in its interval", "cost", "of 5-fold's",
    ]  # fmt: skip
    lines = [_cells(head), _cells(["---"] * len(head))]
    for setting in settings:
        of_setting = [result for result in ran if result["setting"] == setting]
        if any(r["method"] == OURS and "average_precision" in r for r in of_setting):
            lines.append(_cells(_line(setting, of_setting)))
    return "\n".join([*lines, "", *_reached(ran), ""])


def _line(setting: str, results: list[Result]) -> list[str]:
    ours = [result for result in results if result["method"] == OURS]
    # Rivals of other seeds would be compared with other models and other flips.
    seeds = {result["seed"] for result in ours}
    rivals = rivals_of(results, seeds)
    best = max(rivals, key=rivals.__getitem__, default=None)
    claims = [result["claimed_minus_actual"] for result in ours]
    inside = [result["rate_in_interval"] for result in ours]
    five = [r["forward_passes"] for r in results if r["method"] == "cleanlab, 5-fold"]
    cost = [result["forward_passes"] for result in ours if result["forward_passes"] is not None]
    return [
        setting,
        str(len(seeds)),
        f"{_median(ours):.3f}",
        *(f"{rivals[name]:.3f}" if name in rivals else "" for name in SHOWN.values()),
        f"{best} {rivals[best]:.3f}" if best else "",
        " / ".join(_signed(statistics.median(gap[b] for gap in claims)) for b in claims[0]),
        f"{sum(inside)} of {len(inside)}",
        f"{statistics.median(cost) / 1000:,.0f}k" if cost else "",
        f"{statistics.median(cost) / statistics.median(five):.2f}"
        if cost and all(five) and five
        else "",
    ]


def rivals_of(results: list[Result], seeds: Iterable[int]) -> dict[str, float]:
    """Return each rival's median average precision over some seeds; costlier lines of ours not."""
    names = dict.fromkeys(r["method"] for r in results if not r["method"].startswith(OURS))
    found = {
        name: [r for r in results if r["method"] == name and r["seed"] in set(seeds)]
        for name in names
    }
    return {
        name: _median(of_rival)
        for name, of_rival in found.items()
        if any("average_precision" in result for result in of_rival)
    }


def _reached(results: list[Result]) -> list[str]:
    """Say how often the targets were met."""
    ours = [r for r in results if r["method"] == OURS and "average_precision" in r]
    settings = list(dict.fromkeys(result["setting"] for result in ours))
    ahead, close, cells = 0, 0, 0
    for setting in settings:
        own = [result for result in ours if result["setting"] == setting]
        of_setting = [result for result in results if result["setting"] == setting]
        rivals = rivals_of(of_setting, {result["seed"] for result in own})
        ahead += _median(own) >= max(rivals.values(), default=0.0)
        if setting.endswith("/0"):
            continue
        for budget in own[0]["claimed_minus_actual"]:
            gap = statistics.median(abs(r["claimed_minus_actual"][budget]) for r in own)
            close += gap <= CLOSE
            cells += 1
    inside = [r["rate_in_interval"] for r in ours if not r["setting"].endswith("/0")]
    clean = [r for r in results if r["method"] == OURS and "average_precision" not in r]
    return [
        f"- Average precision at least that of every rival that ran: {ahead} of {len(settings)} "
        "settings.",
        f"- Claimed precision within {CLOSE:g} of the actual one, median of the seeds, with "
        f"held-out samples: {close} of {cells} budgets.",
        f"- True rate of wrong labels in the stated interval, with held-out samples: {sum(inside)} "
        f"of {len(inside)} runs.",
        *(
            f"- Nothing wrong that is known of, {r['setting']}, seed {r['seed']}: "
            f"{r['flagged']:.1%} flagged."
            for r in clean
        ),
    ]


def _signed(value: float) -> str:
    return f"{round(value, 2) or 0.0:+.2f}"  # Not -0.00.


def _median(results: list[Result]) -> float:
    return statistics.median(r["average_precision"] for r in results if "average_precision" in r)


def _cells(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"

"""The outcome of a question in one of three words, with its reasons; and of a limit on a number.

An audit may say *clear* only where it has evidence for it. Where an assumption fails, or where what
was found is compatible with very different answers, the outcome is *cannot tell*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from dataaudit.flags.results import ContaminationFlags, Interval, MislabelFlags

Outcome = Literal["found", "clear", "cannot tell"]
GateOutcome = Literal["met", "not met", "cannot tell"]

HIGHEST_CLEAR_RATE = 0.05
"""Labels are clear only where the share of wrong ones is surely below this."""


@dataclass(frozen=True)
class Judgement:
    """What an audit can say of a question, and why, in words."""

    outcome: Outcome
    reasons: tuple[str, ...]


def judge_labels(flags: MislabelFlags) -> Judgement:
    """Return whether wrong labels were found, are absent, or cannot be told.

    What was found stays found where single classes cannot be told; the reasons say both.
    """
    rate, flagged = flags.noise_rate, int(flags.table["flagged"].sum())
    if flags.doubts:
        return Judgement("cannot tell", (*flags.doubts, *flags.untold))
    interval = f"{rate.low:.1%} to {rate.high:.1%}"
    if flagged:
        found = (
            f"{flagged} rows reach the threshold{_of_them(flags.precision_flagged, flagged)}; "
            f"{interval} of the labels are wrong"
        )
        return Judgement("found", (found, *flags.untold))
    if flags.untold:
        return Judgement("cannot tell", tuple(flags.untold))
    if rate.high <= HIGHEST_CLEAR_RATE:
        return Judgement("clear", (f"no row stands out; {interval} of the labels are wrong",))
    if rate.low > 0:
        return Judgement(
            "found", (f"no single row stands out, but {interval} of the labels are wrong",)
        )
    return Judgement(
        "cannot tell",
        (f"no single row stands out, yet up to {rate.high:.1%} of the labels may be wrong",),
    )


def _of_them(precision: Interval | None, flagged: int) -> str:
    """Return how many of the flagged rows are wrong, in words, where that is known."""
    if precision is None:
        return ""
    low, high = round(precision.low * flagged), round(precision.high * flagged)
    return f", {low} to {high} of them wrong"


def judge_leaks(flags: ContaminationFlags) -> Judgement:
    """Return whether leaks were found, are absent, or cannot be told.

    What was found stays found where other kinds of leaks cannot be told; the reasons say both.
    """
    found = int(flags.table.loc[flags.table["flagged"], "query_id"].nunique())
    if found:
        return Judgement("found", (f"{found} suspects are flagged", *flags.doubts))
    if flags.doubts:
        return Judgement("cannot tell", tuple(flags.doubts))
    return Judgement("clear", ("no suspect stands out from what unrelated rows give",))


def gate_outcome(limit: float, found: Interval | None, doubts: Sequence[str] = ()) -> GateOutcome:
    """Return whether a limit is met, as far as the interval of what was found can tell.

    Parameters
    ----------
    limit : float
        The largest number allowed.
    found : Interval or None
        None where nothing was measured.
    doubts : sequence of str
        Why assumptions behind the number fail. Then it may still show that the limit is broken,
        since `found.low` holds without them, but never that it is met.
    """
    if found is None:
        return "cannot tell"
    if found.low > limit:
        return "not met"
    return "cannot tell" if doubts or found.high > limit else "met"

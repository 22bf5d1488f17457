"""Gates: limits set before the audit, held against what it found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from dataaudit.flags.judgement import gate_outcome
from dataaudit.flags.results import Interval
from dataaudit.report.data import Gate


def make_gate(
    name: str,
    limit: float,
    found: Interval | None,
    doubts: Sequence[str],
    undecided: Literal["fail", "pass"],
) -> Gate:
    """Return one gate with its outcome.

    Parameters
    ----------
    name : str
        As in `audit.yaml`.
    limit : float
        The largest number allowed.
    found : Interval or None
        What was found, in the unit of `limit`; None where it could not be measured.
    doubts : sequence of str
        Why assumptions behind `found` fail; see `gate_outcome`.
    undecided : "fail" or "pass"
        What becomes of the gate where it cannot be told whether the limit is met.
    """
    outcome = gate_outcome(limit, found, doubts)
    return Gate(
        name=name,
        limit=limit,
        found=None if found is None else found.estimate,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        outcome=outcome,
        passed=outcome == "met" or (outcome == "cannot tell" and undecided == "pass"),
    )


def counted(number: float) -> Interval:
    """Return a number that was counted, not estimated, as an interval of no width."""
    return Interval(number, number, number)

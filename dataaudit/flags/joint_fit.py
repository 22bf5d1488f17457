"""Right classes and a kind of errors, fitted together to trusted samples and to the rows.

Trusted samples are few. The rows are many, and their given labels say something of the right
classes, too: of how sure a view may be believed where it is surest, above all, which 50 samples
cannot show. But how labels go wrong is assumed, so the rows may only say what the trusted samples
do not contradict.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dataaudit.flags.kinds_of_error import Kind
from dataaudit.flags.probabilities import Labels, Values, pick
from dataaudit.flags.right_classes import RightClasses

FitKind = Callable[[Values, Labels], Kind]
"""Takes the probability of each row's right class and the given labels."""

ROW_SHARES = (1.0, 0.3, 0.1)
"""How much a row counts beside a trusted sample; the largest that these do not contradict,
or else nothing."""
MOST_LOST = 1.0
"""Nats of the trusted samples' likelihood that may be lost to the rows."""
MOST_BEHIND = 40.0
"""Nats by which a kind may be less likely than another before the rows have a say."""
ROUNDS = 6


@dataclass(frozen=True)
class Seen:
    """What the fit rests on.

    Attributes
    ----------
    trusted_logs, row_logs : float64 `[views, READINGS, samples, C]`
        As `Scale.read` returns them.
    trusted_right : float64 `[trusted, C]`
        As `targets` returns it.
    trusted_times : float64 `[trusted]`
        How much each trusted sample counts.
    given : int64 `[rows]`
    """

    trusted_logs: Values
    trusted_right: Values
    trusted_times: Values
    row_logs: Values
    given: Labels


@dataclass(frozen=True)
class Joint:
    """A kind of errors with the right classes that go with it.

    Attributes
    ----------
    right_classes : RightClasses
    kind : Kind
    row_share : float
        Of `ROW_SHARES`, or 0.
    """

    right_classes: RightClasses
    kind: Kind
    row_share: float

    def evidence(self, seen: Seen) -> float:
        """Return the log likelihood of all labels, nats, less the cost of the kind (Schwarz)."""
        right = self.right_classes.probabilities_of(seen.row_logs)
        of_rows = np.log(self.kind.sources(right, seen.given).sum(axis=1)).sum()
        cost = self.kind.parameters * np.log(len(seen.given)) / 2
        return float(_of_trusted(self.right_classes, seen) + of_rows - cost)


def first_fits(seen: Seen, kinds: Sequence[FitKind]) -> list[tuple[FitKind, Joint]]:
    """Fit right classes with each kind of errors, the rows counting as much as they may.

    Kinds that are far less likely than another are left out.
    """
    alone = RightClasses.fit(seen.trusted_logs, seen.trusted_right, seen.trusted_times)
    least = _of_trusted(alone, seen) - MOST_LOST
    known = [(kind, fitted_again(seen, kind, alone, 0.0, 0)) for kind in kinds]
    evidence = [joint.evidence(seen) for _, joint in known]
    result = []
    for (kind, joint), value in zip(known, evidence, strict=True):
        if value < max(evidence) - MOST_BEHIND:
            continue
        for share in ROW_SHARES:
            found = fitted_again(seen, kind, alone, share, ROUNDS)
            if _of_trusted(found.right_classes, seen) >= least:
                joint = found
                break
        result.append((kind, joint))
    return result


def fitted_again(
    seen: Seen, fit_kind: FitKind, start: RightClasses, row_share: float, rounds: int
) -> Joint:
    """Fit by expectation maximization, a number of rounds, the rows' share being known.

    Parameters
    ----------
    seen : Seen
    fit_kind : callable
    start : RightClasses
    row_share : float
        With 0 the rows say nothing of right classes, which are fitted to trusted samples alone.
    rounds : int
    """
    if row_share == 0:
        start = RightClasses.fit(seen.trusted_logs, seen.trusted_right, seen.trusted_times, start)
        kind = fit_kind(start.probabilities_of(seen.row_logs), seen.given)
        return Joint(start, kind, row_share)
    logs = np.concatenate([seen.trusted_logs, seen.row_logs], axis=2)
    times = np.concatenate([seen.trusted_times, np.full(len(seen.given), row_share)])
    for _ in range(rounds):
        right = start.probabilities_of(seen.row_logs)
        sources = fit_kind(right, seen.given).sources(right, seen.given)
        sources /= sources.sum(axis=1, keepdims=True)
        start = RightClasses.fit(logs, np.concatenate([seen.trusted_right, sources]), times, start)
    kind = fit_kind(start.probabilities_of(seen.row_logs), seen.given)
    return Joint(start, kind, row_share)


def _of_trusted(right_classes: RightClasses, seen: Seen) -> float:
    """Return the log likelihood of the trusted labels, nats."""
    found = right_classes.probabilities_of(seen.trusted_logs)
    labels = seen.trusted_right.argmax(axis=1)
    return float((seen.trusted_times * np.log(pick(found, labels))).sum())

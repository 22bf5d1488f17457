"""Rows with several labels: a row is judged by the most doubtful of them.

Not by the odds that any of its labels is wrong, which add up small doubts about all of them: mostly
a single one is wrong, and its row is found by that one (compared in docs/measurements/tasks.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import beta, ks_2samp

from dataaudit.flags.label_doubts import CONFIDENCE, Doubts
from dataaudit.flags.label_errors import judge_signals
from dataaudit.flags.label_evidence import fit_error_rate, fit_evidence
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import FlagSettings, flagged_table, flags_of, largest_groups

NAMED = 3
"""At most so many doubtful labels of a row are named."""
UNLIKE = 0.01
"""Level of the test whether trusted samples look more doubtful than rows."""
HIDDEN = 0.2
"""Share of planted errors that may look just like right labels before it is said that others such
may be among the rows."""
LOOK_RIGHT = (
    "of the errors that were planted among trusted samples at least {:.0%} look just like right "
    "labels, to the model, so that rows with such errors cannot be seen and how many there are "
    "cannot be told"
)


@dataclass(frozen=True)
class Suggestions:
    """What the rows' labels probably are.

    Attributes
    ----------
    labels : `[rows]`
        As tables show them, every doubtful label of a row changed.
    doubt : float64 `[rows]`
        Log odds against the most doubtful label of each row, nats.
    notes : sequence of str, length rows
        Which labels are doubtful, and why.
    """

    labels: NDArray[Any]
    doubt: Values
    notes: Sequence[str]


def flag_by_the_most_doubtful(
    row_ids: NDArray[Any],
    given: NDArray[Any],
    carriers: dict[str, NDArray[np.bool_]],
    signals: Values,
    references: tuple[Values, NDArray[np.bool_]] | None,
    losses: Values,
    suggest: Callable[[float], Suggestions],
    about: str,
    settings: FlagSettings,
) -> MislabelFlags:
    """Flag rows of whose labels at least one is probably wrong.

    Parameters
    ----------
    row_ids : `[rows]`
    given : `[rows]`
        Their labels as tables show them.
    carriers : mapping of class to bool `[rows]`
        The rows that carry it.
    signals : `[rows, signals]`
        Log odds against the most doubtful label, nats; of the model before it learned again, of
        what has not learned the row, if anything, and of the model after it learned again.
    references : (`[references, signals]`, bool `[references]`) or None
        The same of trusted samples, and which of them have one wrong label; None where too few.
    losses : `[rows, 2]`
        Of the trained model, and after it learned again; nats.
    suggest : callable
        Takes the weight of all but the model before it learned again.
    about : str
        What the report says beside how labels are judged.
    settings : FlagSettings
    """
    doubts = _doubts(signals, references)
    if doubts.reasons and references is not None:
        # What has learned a rule from other rows, and not the row, agrees with the row no less;
        # planted errors, which follow none, would have it believed.
        ends = [0, -1]
        signals, references = signals[:, ends], (references[0][:, ends], references[1])
    groups = largest_groups(settings.row_groups)
    parts = Parts.of_masks(len(signals), [*carriers.values(), *groups.values()])
    judgement = judge_signals(
        signals,
        references,
        lambda: _assumed_log_odds(signals[:, -1]),
        target_precision=settings.target_precision,
        budget=settings.budget,
        parts=parts,
        seed=settings.seed,
        # Among many labels the most doubtful right one is what is mistaken for a wrong one. Without
        # the few right references that look most wrong, claims are too high.
        calibrate=partial(fit_evidence, trusted_errors=0.0),
    )
    hidden = 0.0 if references is None else hidden_share(*references)
    if hidden > HIDDEN:
        judgement = replace(
            judgement,
            noise_rate=replace(judgement.noise_rate, high=1.0),
            noise_rate_per_part=tuple(
                replace(rate, high=1.0) for rate in judgement.noise_rate_per_part
            ),
        )
    judgement = replace(
        judgement,
        noise_rate=doubts.applied(judgement.noise_rate),
        noise_rate_per_part=tuple(map(doubts.applied, judgement.noise_rate_per_part)),
    )
    suggestions = suggest(judgement.mirrored_share)
    columns = {
        "mirrored_influence": losses[:, 1] - losses[:, 0],
        "mirrored_loss": losses[:, 1],
        "loss": losses[:, 0],
        "most_doubtful_label": suggestions.doubt,
    }
    flags = flags_of(
        flagged_table(row_ids, given, suggestions.labels, judgement),
        pd.DataFrame(columns),
        judgement,
        settings,
        list(carriers),
        parts,
    )
    return replace(
        flags,
        method=f"{flags.method} {about}",
        notes=suggestions.notes,
        doubts=(*flags.doubts, *doubts.reasons),
        untold=[*flags.untold, *([LOOK_RIGHT.format(hidden)] if hidden > HIDDEN else [])],
    )


def hidden_share(signals: Values, planted: NDArray[np.bool_]) -> float:
    """Return the share of planted errors that look just like right labels, at least, 0 to 1.

    Those that do lie below the median of right ones as often as above it, and those that stand out
    hardly ever; so it is twice the share below, at its lower bound (Clopper and Pearson, 95 %).
    Errors of several kinds are planted: where one kind stands out and another does not, rows
    without the former seem to have no error at all.

    Parameters
    ----------
    signals : `[references, signals]`
        Log odds against the label, nats.
    planted : bool `[references]`
    """
    right = np.sort(signals[~planted], axis=0)
    places = np.stack(
        [
            np.searchsorted(own, column, "left") + np.searchsorted(own, column, "right")
            for own, column in zip(right.T, signals.T, strict=True)
        ]
    ).mean(axis=0)
    wrong, median = places[planted], np.median(places[~planted])
    # Of what looks the same as most right ones do, half counts as below.
    below = int((wrong < median).sum() + (wrong == median).sum() / 2)
    if below == 0:
        return 0.0
    return min(1.0, 2 * float(beta.ppf(1 - CONFIDENCE, below, len(wrong) - below + 1)))


def _doubts(signals: Values, references: tuple[Values, NDArray[np.bool_]] | None) -> Doubts:
    """Check whether rows look at least as doubtful as trusted samples under their right labels.

    Some labels of rows are wrong, which only adds doubtful ones. Where fewer of the rows than of
    these samples lie beyond some doubt (one-sided test of Kolmogorov and Smirnov), the model has
    learned to label as the rows are labelled, and not as the samples are: by a rule, say, and then
    nothing tells how many rows are wrong.
    """
    if references is None:
        return Doubts()
    found, planted = references
    test = ks_2samp(found[~planted, -1], signals[:, -1], alternative="less")
    if test.pvalue >= UNLIKE:
        return Doubts()
    return Doubts(
        (
            "the labels of trusted samples look more doubtful than those of the rows: the rows are "
            "labelled otherwise, in a way that the model has learned, as if by a rule; how many "
            "are wrong cannot be told",
        )
    )


def doubted(doubts: Values) -> NDArray[np.bool_]:
    """Return which labels of each row a suggestion changes, `[rows, labels]`.

    Every label that is more probably wrong than right, and at least the most doubtful one: a
    suggestion is for a row that has a wrong label.

    Parameters
    ----------
    doubts : `[rows, labels]`
        Log odds that each label is wrong.
    """
    changed = doubts > 0
    changed[np.arange(len(doubts)), doubts.argmax(axis=1)] = True
    return changed


def note(named: Sequence[str], doubtful: int) -> str:
    """Return what is said of a row of which the first few doubtful labels are named in words."""
    more = f"; and {doubtful - len(named)} more" if doubtful > len(named) else ""
    return f"After learning again: {'; '.join(named)}{more}."


def _assumed_log_odds(signal: Values) -> Values:
    """Return log odds that labels are wrong, `[rows]`, where nothing was planted to measure on.

    The signal is taken at its word but for the rate, which is fitted.
    """
    rate = fit_error_rate(signal)
    return np.asarray(signal + np.log(rate) - np.log1p(-rate))

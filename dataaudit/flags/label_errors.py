"""Label errors from class probabilities: ranking, calibrated probabilities, rates, suggestions.

Arrays in, arrays out. The ranking joins what the model says before and after it learned again, and
what models say that have not seen the labels, each weighed on the references. Probabilities rest on
all but the model before: how deep that had memorized its rows is never quite reproduced on the
references, and the error rate is sensitive to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context

from dataaudit.flags.flagged_precision import precision_of
from dataaudit.flags.inputs import References
from dataaudit.flags.label_evidence import fit_error_rate, fit_evidence, label_signals
from dataaudit.flags.noise_model import assumed_log_odds
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import (
    Labels,
    Table,
    Values,
    checked_labels,
    checked_table,
    refuse_shape,
    row_blocks,
    sigmoid,
    softmax,
)
from dataaudit.flags.results import Interval
from dataaudit.flags.unproven_classes import Unproven
from dataaudit.storage.on_disk import Growing, one_array, put_away

MOST_ROWS_REDRAWN = 4000


class LogRatios(Protocol):
    """Evidence: what tells wrong labels from right ones."""

    def log_ratios(self, signals: Values) -> Values:
        """Return the log likelihood ratio "wrong : right" of each row, `[rows]`, nats."""
        ...


@dataclass(frozen=True)
class Judgement:
    """What is thought of the given labels, whatever a label is.

    Attributes
    ----------
    score : float64 `[rows]`
        Log odds that the given label is wrong, nats; higher = more suspicious.
    probability : float64 `[rows]`
        That the given label is wrong; never decreases as the score grows.
    flagged : bool `[rows]`
    rank : int64 `[rows]`
        1 = most suspicious; ties in row order.
    noise_rate : Interval
        Share of wrong labels among all rows.
    noise_rate_per_part : sequence of Interval
        The same among the further sets of rows that were asked for.
    shares : sequence of float
        Weight of each signal in the ranking, 0 to 1: of the model before, of what has not seen the
        labels, if anything, and of the model after.
    reference_rows : int
        References behind the probabilities; 0 where these rest on assumptions.
    precision_flagged : Interval or None
        Share of the flagged rows whose label is wrong; None where none is flagged.
    """

    score: Values
    probability: Values
    flagged: NDArray[np.bool_]
    rank: Labels
    noise_rate: Interval
    noise_rate_per_part: tuple[Interval, ...]
    shares: tuple[float, ...]
    reference_rows: int
    precision_flagged: Interval | None

    @property
    def mirrored_share(self) -> float:
        """Weight in the ranking of all but the model before it learned again, 0 to 1."""
        return sum(self.shares[1:])


@dataclass(frozen=True)
class LabelJudgement(Judgement):
    """What is thought of given classes.

    Attributes
    ----------
    suggested_label : int64 `[rows]`
        The most plausible class other than the given one.
    noise_rate_per_class : sequence of Interval
        Share of wrong labels among the rows that were given each class.
    noise_table : float64 `[C, C]`
        Expected rows; first index the given class, second the probable true one.
    untold : bool `[C]`
        Classes whose wrong labels cannot be told. The intervals know.
    notes : sequence of str
        What holds the flags back, in sentences. The intervals know.
    """

    suggested_label: Labels
    noise_rate_per_class: tuple[Interval, ...]
    noise_table: Values
    untold: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def with_parts(self, changed: Callable[[Interval], Interval]) -> LabelJudgement:
        """Return the judgement with other rates of each class and group."""
        return replace(
            self,
            noise_rate_per_class=tuple(map(changed, self.noise_rate_per_class)),
            noise_rate_per_part=tuple(map(changed, self.noise_rate_per_part)),
        )


def judge_labels(
    given_labels: Labels,
    base_probabilities: Table,
    mirrored_probabilities: Table,
    references: References | None = None,
    *,
    unseen: Table | None = None,
    target_precision: float = 0.5,
    budget: int | None = None,
    further: Sequence[NDArray[np.bool_]] = (),
    bootstrap_repeats: int = 50,
    seed: int = 0,
) -> LabelJudgement:
    """Judge every row's given label against the model before and after it learned again.

    Parameters
    ----------
    given_labels : int64 `[rows]`
    base_probabilities, mirrored_probabilities : `[rows, C]`
        Rows sum to 1.
    references : References or None
        With too few, rows are ranked by the model that learned again, their probabilities rest on
        assumptions, and every interval is 0 to 1.
    unseen : `[rows, C]` or None
        From models that have not seen the row's label; the references have theirs.
    target_precision : float
        A row is flagged where its probability of being wrong is at least this, so that the flagged
        rows as a whole are expected to do better.
    budget : int or None
        Flag so many rows instead, the most suspicious first.
    further : sequence of bool `[rows]`
        Sets of rows to estimate the rate of wrong labels for, beside those of each class.
    bootstrap_repeats : int
        Redraws of rows and references behind the intervals.
    seed : int
        Of those redraws.

    Raises
    ------
    ValueError
        An argument has another shape or range; the message has its name.
    """
    named = {"base_probabilities": base_probabilities}
    if unseen is not None and references is not None and references.unseen is not None:
        named["unseen"] = unseen
    named["mirrored_probabilities"] = mirrored_probabilities
    tables = _Tables(named, given_labels)
    given, classes = tables.given, tables.classes
    enough = references if references is not None and references.are_enough else None
    unproven = Unproven.of(given, base_probabilities, mirrored_probabilities, enough)
    found = None
    if enough is not None:
        found = _reference_signals(enough, unproven, "unseen" in named), enough.planted
    judgement = judge_signals(
        one_array(label_signals(block, given[rows]) for rows, block in tables.blocks(unproven)),
        found,
        lambda: assumed_log_odds(mirrored_probabilities, given),
        target_precision=target_precision,
        budget=budget,
        parts=Parts(len(given), given, classes, further),
        bootstrap_repeats=bootstrap_repeats,
        seed=seed,
        discount=1.0 if references is not None and references.learned_together else None,
    )
    suggested = Growing()
    noise_table = np.zeros((classes, classes))
    concerned = 0
    for rows, block in tables.blocks(unproven):
        concerned += int(unproven.concerns(given[rows], block[0]).sum())
        alternatives = _alternatives(block, given[rows], judgement.shares)
        suggested.add(alternatives.argmax(axis=1))
        noise_table += _noise_table(alternatives, given[rows], judgement.probability[rows])
    rates, untold = judgement.noise_rate_per_part, unproven.forgotten | unproven.few
    changed = {
        "noise_rate": _widened(judgement.noise_rate, concerned / len(given)),
        "noise_rate_per_part": rates[classes:],
    }
    return LabelJudgement(
        **{**vars(judgement), **changed},
        suggested_label=suggested.finished(),
        noise_rate_per_class=tuple(
            _widened(rate, float(none)) for rate, none in zip(rates, untold, strict=False)
        ),
        noise_table=noise_table,
        untold=untold,
    )


def _widened(rate: Interval, untold: float) -> Interval:
    """Return the interval of a rate where nothing is known of some share of the rows, 0 to 1."""
    if not untold:
        return rate
    return Interval(rate.estimate, max(0.0, rate.low - untold), min(1.0, rate.high + untold))


def _reference_signals(references: References, unproven: Unproven, unseen: bool) -> Values:
    """Return `label_signals` of the references, `[references, signals]`, the arrays checked."""
    shape = (len(references.planted), len(unproven.few))
    names = ["base", *(["unseen"] if unseen else []), "mirrored"]
    tables = [
        checked_table(f"references.{name}", getattr(references, name), shape) for name in names
    ]
    given = checked_labels("references.given_labels", references.given_labels, *shape)
    return label_signals(unproven.without(given, tables), given)


class _Tables:
    """Probabilities from several models, checked, a block of rows at a time."""

    def __init__(self, named: Mapping[str, Table], given: Labels) -> None:
        self._named = {name: np.asarray(table) for name, table in named.items()}
        # The shapes are checked at once, each row's values when its turn comes.
        (first, shape), *others = [(name, table.shape) for name, table in self._named.items()]
        refuse_shape(first, shape)
        self.classes = shape[1]
        for name, other in others:
            if other != shape:
                raise ValueError(f"{name}: found shape {other}, expected {shape}")
        self.given = checked_labels("given_labels", given, *shape)

    def blocks(self, unproven: Unproven) -> Iterator[tuple[slice, list[Values]]]:
        for rows in row_blocks(len(self.given), self.classes):
            tables = [
                checked_table(name, table[rows], first_row=rows.start)
                for name, table in self._named.items()
            ]
            yield rows, unproven.without(self.given[rows], tables)


def judge_signals(
    signals: Values,
    references: tuple[Values, NDArray[np.bool_]] | None,
    assumed: Callable[[], Values],
    *,
    target_precision: float = 0.5,
    budget: int | None = None,
    parts: Parts | None = None,
    bootstrap_repeats: int = 50,
    seed: int = 0,
    calibrate: Callable[[Values, NDArray[np.bool_]], LogRatios] = fit_evidence,
    discount: float | None = None,
) -> Judgement:
    """Judge given labels, of any task, by how implausible two models find them.

    Parameters
    ----------
    signals : `[rows, signals]`
        Of the model before it learned again, then of what has not seen the labels, if anything,
        and of the model after it learned again; higher = more suspicious.
    references : (`[references, signals]`, bool `[references]`) or None
        The same of trusted samples, and which of them were learned under a wrong label; None
        where there are too few.
    assumed : callable
        Returns log odds that each label is wrong, `[rows]`; asked where there are no references.
    target_precision, budget, bootstrap_repeats, seed
        As for `judge_labels`.
    parts : Parts or None
        Sets of rows to estimate the rate of wrong labels for.
    calibrate : callable
        Fits the evidence behind the probabilities on the references' signals but the first, and on
        which are planted.
    discount : float or None
        On the weight of the model before it learned again; None: `discount_of` the references.
    """
    if not 0 < target_precision < 1:
        raise ValueError(
            f"target_precision: found {target_precision}, expected a number between 0 and 1"
        )
    if budget is not None and budget < 0:
        raise ValueError(f"budget: found {budget}, expected 0 or more rows")
    rows = len(signals)
    parts = parts or Parts.of_masks(rows, ())
    if references is not None:
        reference_signals, planted = references
        weights = (joint := fit_evidence(reference_signals, planted, discount)).weights
        shares = tuple((weights / max(weights.sum(), 1e-9)).tolist())
        score = put_away(_with_fitted_rate(joint.log_ratios(signals)))
        calibration = _Calibration(signals[:, 1:], order_of(score), calibrate)
        evidence = calibrate(reference_signals[:, 1:], planted)
        probability = put_away(calibration.probabilities(evidence))
    else:
        shares, score = (*np.zeros(signals.shape[1] - 1).tolist(), 1.0), signals[:, -1]
        probability = dealt(sigmoid(assumed()), order_of(score))

    rank = put_away(ranks(score))
    flagged = probability >= target_precision if budget is None else rank <= budget
    parts = replace(parts, further=[*parts.further, flagged])
    if references is not None:
        means = calibration.redrawn_means(
            reference_signals[:, 1:], planted, parts, bootstrap_repeats, np.random.default_rng(seed)
        )
    else:
        means = np.zeros((0, len(parts.sizes)))
    rates = parts.rates(probability, means)[:-1]
    return Judgement(
        score=score,
        probability=probability,
        flagged=flagged,
        rank=rank,
        noise_rate=rates[0],
        noise_rate_per_part=tuple(rates[1:]),
        shares=shares,
        reference_rows=0 if references is None else len(references[1]),
        precision_flagged=precision_of(probability[flagged], means[:, -1]),
    )


@dataclass(frozen=True)
class _Calibration:
    """Turns evidence into probabilities that never decrease as the score grows.

    Attributes
    ----------
    signals : `[rows, signals]`
        Those of `judge_signals` but the first.
    order : int64 `[rows]`
        Of the rows by score, from `order_of`.
    calibrate : callable
        As `judge_signals` has it.
    """

    signals: Values
    order: Labels
    calibrate: Callable[[Values, NDArray[np.bool_]], LogRatios] = fit_evidence

    def probabilities(self, evidence: LogRatios, fitted_on: Labels | None = None) -> Values:
        """Return `[rows]`; the error rate is fitted on some rows (None: on all)."""
        ratios = _with_fitted_rate(evidence.log_ratios(self.signals), fitted_on)
        for rows in row_blocks(len(ratios)):
            ratios[rows] = sigmoid(ratios[rows])
        return dealt(ratios, self.order)

    def redrawn_means(
        self,
        references: Values,
        planted: NDArray[np.bool_],
        parts: Parts,
        repeats: int,
        generator: np.random.Generator,
    ) -> Values:
        """Return the mean probability of each part of the rows, `[repeats, parts]`.

        Each time the references of either kind and the rows are drawn anew, with replacement.
        """
        kinds = np.flatnonzero(~planted), np.flatnonzero(planted)
        count = len(self.order)
        means = np.zeros((repeats, len(parts.sizes)))
        for repeat in range(repeats):
            rows = generator.integers(0, count, min(count, MOST_ROWS_REDRAWN))
            drawn = np.concatenate([generator.choice(kind, len(kind)) for kind in kinds])
            # Checking what was checked before would take half the time.
            with config_context(assume_finite=True, skip_parameter_validation=True):
                evidence = self.calibrate(references[drawn], planted[drawn])
            means[repeat] = parts.means(self.probabilities(evidence, rows))
        return means


def _with_fitted_rate(log_ratios: Values, fitted_on: Labels | None = None) -> Values:
    """Return log odds, in the place of the log ratios."""
    rate = fit_error_rate(log_ratios if fitted_on is None else log_ratios[fitted_on])
    log_ratios += np.log(rate) - np.log1p(-rate)
    return log_ratios


def ranks(score: Values) -> Labels:
    """Return each row's rank, `[rows]`, 1 = the highest score; ties in row order."""
    order = np.argsort(-score, kind="stable")
    result = np.empty(len(score), dtype=np.int64)
    result[order] = np.arange(1, len(score) + 1)
    return result


def order_of(score: Values) -> Labels:
    """Return the positions of the rows, `[rows]`, the lowest score first."""
    return put_away(np.argsort(score, kind="stable"))


def dealt(values: Values, order: Labels) -> Values:
    """Return the values `[rows]`, which are sorted in place, dealt out in an order of the rows."""
    values.sort()
    result = np.empty_like(values)
    result[order] = values
    return result


def _alternatives(tables: Sequence[Values], given: Labels, shares: Sequence[float]) -> Values:
    """Return how a wrong label divides over the other classes, `[rows, C]`, 0 at the given one."""
    pooled = softmax(np.tensordot(shares, np.log(np.stack(tables)), 1))
    pooled[np.arange(len(given)), given] = 0.0
    return np.asarray(pooled / pooled.sum(axis=1, keepdims=True))


def _noise_table(alternatives: Values, given: Labels, probability: Values) -> Values:
    mass = alternatives * probability[:, None]
    mass[np.arange(len(given)), given] = 1 - probability
    return np.stack([mass[given == label].sum(axis=0) for label in range(mass.shape[1])])

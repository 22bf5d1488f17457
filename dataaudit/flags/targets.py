"""Mislabel flags for regression: outlying targets, with the value that the model expects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binom

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.label_doubts import MOST_BELIEVED, Doubts
from dataaudit.flags.label_errors import Judgement, judge_signals
from dataaudit.flags.label_evidence import fit_error_rate
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Table, Values
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings, flagged_table, flags_of, largest_groups
from dataaudit.flags.target_evidence import TAILS, TargetEvidence, fit_target_evidence

CROSSWISE = (
    "The model was fitted anew, crosswise, to training rows and trusted samples: each target is "
    "judged by a model that has not seen it, and so are the trusted samples, which are the "
    "yardstick, a quarter of them under a wrong target on purpose."
)
MISFIT = 0.05
"""How probable it may be that so many right references look wrong by chance. The fit has seen
them, so that this is seldom met where it is right (docs/measurements/tasks.md)."""
CONTRADICTED = (
    "more than half of the given targets contradict the trusted samples; these may be of other "
    "data, or in another unit"
)
NORMAL_95 = 1.96
NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of a standard normal variable."""


def flag_targets(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag rows whose target is probably wrong: much further off than right targets are.

    Parameters
    ----------
    rows : LabelledRows
        Labels are float64 targets `[rows]`, predictions their expected values `[rows, 1]`; those
        of the model that learned again are suggested.
    references : References or None
        The planted ones have another target.
    settings : FlagSettings
    """
    targets = rows.labels
    own, familiar, mirrored = map(_column, (rows.own, rows.familiar, rows.mirrored))
    groups = list(largest_groups(settings.row_groups).values())
    parts = Parts.of_masks(len(targets), groups)
    scales = _scales(targets, familiar, mirrored, references)
    signals = target_signals(targets, familiar, mirrored, scales)
    known = None
    if references is not None and references.are_enough:
        base, learned = _column(references.base), _column(references.mirrored)
        found = target_signals(references.given_labels, base, learned, scales)
        known = found, references.planted
    judgement = judge_signals(
        signals,
        known,
        lambda: _assumed_log_odds(signals[:, 1:]),
        target_precision=settings.target_precision,
        budget=settings.budget,
        parts=parts,
        seed=settings.seed,
        calibrate=_Calibrator(signals[:, 1]),
    )
    distance = signals[:, 1]
    doubts = _doubts(distance, judgement, known, settings.target_precision)
    judgement = replace(
        judgement,
        noise_rate=doubts.applied(_with_what_noise_hides(judgement.noise_rate, distance, known)),
        noise_rate_per_part=tuple(
            doubts.applied(_with_what_noise_hides(rate, distance[inside], known))
            for rate, inside in zip(judgement.noise_rate_per_part, groups, strict=True)
        ),
    )
    if doubts.reasons:
        asked_for = judgement.flagged & (settings.budget is not None)
        judgement = replace(judgement, flagged=asked_for, precision_flagged=None)
    residuals = targets - mirrored
    table = flagged_table(rows.ids, targets, mirrored, judgement)
    columns = {
        "residual": np.abs(targets - own),
        "mirrored_residual": np.abs(residuals),
        "mirrored_influence": _loss(residuals, scales[1]) - _loss(targets - own, scales[1]),
    }
    flags = flags_of(table, pd.DataFrame(columns), judgement, settings, (), parts)
    return replace(
        flags,
        method=f"{CROSSWISE if rows.crosswise else flags.method} {_about_targets(scales[1])}",
        notes=[
            f"The target {_amount(given)} lies {_amount(abs(off))} "
            f"{'above' if off > 0 else 'below'} what the model expects, {abs(off) / scales[1]:.1f} "
            "times the noise of right targets."
            for given, off in zip(targets.tolist(), residuals.tolist(), strict=True)
        ],
        predicted=mirrored,
        doubts=(*flags.doubts, *doubts.reasons),
    )


@dataclass
class _Calibrator:
    """Fits the evidence, on redrawn references with the tail that the first ones chose."""

    rows: Values
    tails: tuple[float, ...] = TAILS

    def __call__(self, references: Values, planted: NDArray[np.bool_]) -> TargetEvidence:
        evidence = fit_target_evidence(self.rows, references[:, 0], planted, self.tails)
        self.tails = (evidence.tail,)
        return evidence


def target_signals(
    targets: Values, base: Values, mirrored: Values, scales: tuple[float, float]
) -> Values:
    """Return how far targets are off, `[rows, 2]`, higher = more suspicious.

    log(1 + (residual / scale)²), the negative log likelihood of a Cauchy distribution: residuals
    of real data have heavy tails, under which suspicion grows with the logarithm of the residual
    and not, as under Gaussian noise, with its square.

    Parameters
    ----------
    targets, base, mirrored : `[rows]`
        In one unit.
    scales : float, float
        Of the residuals of right targets around `base` and `mirrored`.
    """
    residuals = np.stack([targets - base, targets - mirrored], axis=1)
    return np.log1p((residuals / np.asarray(scales)) ** 2)


def _doubts(
    distance: Values,
    judgement: Judgement,
    references: tuple[Values, NDArray[np.bool_]] | None,
    target_precision: float,
) -> Doubts:
    """Check whether right references are judged as right rows are said to be.

    Where no distribution of those tried fits right residuals, rows that lie as far off as right
    references do are taken for wrong ones; the references tell.

    Parameters
    ----------
    distance : `[rows]`
        Signals of the model that learned again.
    judgement : Judgement
    references : (`[references, signals]`, bool `[references]`) or None
    target_precision : float
        The rows that are probably wrong by this are asked about, however many a budget flags.
    """
    if references is None:
        return Doubts()
    if judgement.noise_rate.estimate > MOST_BELIEVED:
        return Doubts((CONTRADICTED,))
    right, probability = references[0][~references[1], 1], judgement.probability
    likely = probability >= target_precision
    if not likely.any():
        return Doubts()
    expected = float((1 - probability[likely]).sum() / (1 - probability).sum())
    # Probabilities are those of the distance, dealt out by a better order.
    nearest = np.sort(distance)[-int(likely.sum())]
    found = int((right >= nearest).sum())
    if binom.sf(found - 1, len(right), expected) >= MISFIT:
        return Doubts()
    return Doubts(
        (
            f"{found / len(right):.0%} of the right targets of trusted samples lie as far off as "
            f"the rows that would be flagged, where {expected:.1%} of the right ones among rows "
            "should: what was assumed of how right targets scatter does not hold",
        )
    )


def _with_what_noise_hides(
    rate: Interval, signals: Values, references: tuple[Values, NDArray[np.bool_]] | None
) -> Interval:
    """Return the rate with an upper end that counts slips which the noise may hide."""
    if references is None:
        return rate
    found, planted = references
    hidden = highest_rate(signals, found[~planted, 1], found[planted, 1])
    return Interval(rate.estimate, rate.low, max(rate.high, hidden))


def highest_rate(rows: Values, right: Values, wrong: Values) -> float:
    """Return the largest rate of wrong targets that counts of far targets do not speak against.

    What is assumed of how residuals are distributed may tell a rate more closely than it can be
    told: slips that mostly lie within the noise were held for nothing at all. So rows are counted
    that lie further off than the bound which tells planted references from right ones best. More
    of them do than of right references, by the rate times what the two kinds of these differ by.
    The upper end of a 95 % interval is taken (Agresti and Caffo, The American Statistician 2000).

    Parameters
    ----------
    rows, right, wrong : `[rows]`, `[references]`, `[references]`
        Signals of rows, of right references and of planted ones; higher = further off.
    """
    bounds = np.sort(right)
    beyond = [1 - np.searchsorted(np.sort(x), bounds, "right") / len(x) for x in (right, wrong)]
    told = beyond[1] - beyond[0]
    bound = bounds[told.argmax()]
    shares = np.array([((x > bound).sum() + 1) / (len(x) + 2) for x in (rows, right)])
    spread = np.sqrt(sum(shares * (1 - shares) / (np.array([len(rows), len(right)]) + 2)))
    more = max(float(shares[0] - shares[1]), 0.0) + NORMAL_95 * float(spread)
    return float(min(1.0, more / max(told.max(), 1e-9)))


def _scales(
    targets: Values, base: Values, mirrored: Values, references: References | None
) -> tuple[float, float]:
    """Return the scale of right residuals around each model's predictions.

    That of right references where there are enough, else of all rows; by medians, which wrong
    targets hardly move.
    """
    if references is not None and references.are_enough:
        right = ~references.planted
        targets = references.given_labels[right]
        base, mirrored = _column(references.base)[right], _column(references.mirrored)[right]
    smallest = 1e-6 * float(np.std(targets)) + 1e-30
    found = [float(np.median(np.abs(targets - values))) for values in (base, mirrored)]
    return max(found[0] / NORMAL_MEDIAN, smallest), max(found[1] / NORMAL_MEDIAN, smallest)


def _column(predictions: Table) -> Values:
    return predictions[:, 0].astype(np.float64)


def _loss(residuals: Values, scale: float) -> Values:
    return np.asarray((residuals / scale) ** 2 / 2)


def _assumed_log_odds(signals: Values) -> Values:
    """Return log odds that targets are wrong, `[rows]`, where nothing was planted to measure on."""
    ratios = fit_target_evidence(signals[:, 0]).log_ratios(signals)
    rate = fit_error_rate(ratios)
    return np.asarray(ratios + np.log(rate) - np.log1p(-rate))


def _amount(value: float) -> str:
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def _about_targets(scale: float) -> str:
    return (
        f"Right targets scatter around the model's predictions with a scale of {scale:.3g}. A "
        "planted error is another sample's target at least twice the noise away; how far off gross "
        "errors lie is learned from the rows. Smaller errors cannot be told from noise. The "
        "suggested value is the prediction after that, not a measurement."
    )

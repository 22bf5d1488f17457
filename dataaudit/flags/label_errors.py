"""Label errors from class probabilities: calibrated probabilities, suggested labels, noise rates.

Arrays in, table out: no model and no torch here. The caller (``recipe.py``) supplies class probabilities of every
training row under the trained ("base") model and under the mirrored model, and the same two for **reference rows**:
trusted held-out rows that went through the same history as the training rows, some under their right label, some
under a wrong one given on purpose. What the models then say about the two kinds of reference rows shows how far each
signal can be trusted on this model and these data, memorized or not. No constant in here stands for a data set.

The way through, one function each:

    signals      log odds of the given label under the base and the mirrored model
    evidence     log likelihood ratio "wrong : right", a small logistic model fitted on the reference rows
    error rate   how many rows are wrong, by expectation maximization over all rows, on the mirrored signal alone
    decisions    ranking, probability, flags, budgets, rates with intervals (bootstrap over rows and references)

Without reference rows the ranking is that of the mirrored model, the probabilities come from a noise model with assumed
temperature and memory (``noise_posterior``), and no interval narrower than [0, 1] is claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

_TINY = 1e-7
_EXPECTATION_STEPS = 200
_BOOTSTRAP_ROWS = 4000
_RIDGE = 10.0  # inverse strength, scikit-learn's C, on standardized signals
_FEWEST_REFERENCES = 10  # of each: right, wrong
# Trusted rows have errors of their own, in well-known test sets .5 to 6 % (Northcutt, Athalye and Mueller, NeurIPS
# Datasets 2021), and a few of them flatten the evidence just where flags are decided: leave out the worst.
_TRUSTED_ERRORS = 0.01
# Claimed minus actual rate stayed within this share of the rate on eight data settings (NOTES.md).
_METHOD_ERROR = 0.15

# Only without reference rows. Measured on CIFAR-10N (NOTES.md): mirrored models of noisy data are underconfident and
# keep about this much of each given label. Nothing can be known of either without references: no interval is claimed.
_ASSUMED_TEMPERATURE = 0.75
_ASSUMED_MEMORY_SHIFT = 0.4


@dataclass(frozen=True)
class Estimate:
    """A fraction with an interval: ``value`` in ``[low, high]``, all within [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ReferenceRows:
    """``m`` trusted rows that were learned like training rows, some of them under a wrong label on purpose.

    given_labels: ``[m]``, the label each was learned under. kinds: ``[m]``, 0 where that is the right label, else the
    kind of planted error (``recipe.py`` plants one kind, labels that the base model confuses with the right one; labels
    drawn uniformly are too easy to find and put the estimated rate .05 to .15 too low on human errors).
    base_probabilities, mirrored_probabilities: ``[m, C]``.
    """

    given_labels: np.ndarray
    kinds: np.ndarray
    base_probabilities: np.ndarray
    mirrored_probabilities: np.ndarray


@dataclass(frozen=True)
class LabelJudgement:
    """Decisions on the given labels of ``n`` rows with ``C`` classes.

    score: ``[n]``, nats, log odds that the given label is wrong; higher = more suspicious.
    probability: ``[n]`` in [0, 1], that the given label is wrong; never decreases as ``score`` grows.
    suggested_label: ``[n]``, the most plausible class other than the given one.
    flagged: ``[n]`` bool. rank: ``[n]``, 1 = most suspicious, ties in row order.
    noise_rate: share of all rows with a wrong label. noise_rate_per_class: the same among the rows *given* each class.
    noise_table: ``[C, C]``, expected rows; first index the probable true class, second the given class.
    expected_precision: budget (rows reviewed, most suspicious first) → share of wrong labels expected among them.
    signals: name → ``[n]`` nats, log odds against the given label, higher = more suspicious.
    signal_weights: name → standardized weight in the evidence. reference_auroc: of the evidence, on reference rows.
    calibrated: False where there were too few reference rows, so that the probabilities rest on assumptions.
    """

    score: np.ndarray
    probability: np.ndarray
    suggested_label: np.ndarray
    flagged: np.ndarray
    rank: np.ndarray
    noise_rate: Estimate
    noise_rate_per_class: tuple[Estimate, ...]
    noise_table: np.ndarray
    expected_precision: dict[int, Estimate]
    signals: dict[str, np.ndarray]
    signal_weights: dict[str, float]
    reference_rows: int
    calibrated: bool


def judge_labels(
    given_labels: np.ndarray,
    base_probabilities: np.ndarray,
    mirrored_probabilities: np.ndarray,
    reference: ReferenceRows | None = None,
    *,
    target_precision: float = 0.5,
    budget: int | None = None,
    budgets: Sequence[int] = (100, 300, 1000),
    bootstrap_repeats: int = 50,
    confidence: float = 0.9,
    seed: int = 0,
) -> LabelJudgement:
    """Judge every row's given label against the base and the mirrored model.

    given_labels: ``[n]`` class indices. base_probabilities, mirrored_probabilities: ``[n, C]``, rows sum to 1.
    reference: see ``ReferenceRows``; None, or fewer than 10 right and 10 wrong, leaves the result uncalibrated.
    target_precision: a row is flagged where its probability of being wrong is at least this (so the flagged set as a
    whole is expected to do better). budget: flag this many rows instead, most suspicious first.
    budgets: where expected precision is stated. confidence: coverage aimed at by every interval.

    Raises ValueError with the argument's name, what was found and what was expected.
    """
    base = _probabilities("base_probabilities", base_probabilities)
    mirrored = _probabilities("mirrored_probabilities", mirrored_probabilities, base.shape)
    given = _labels("given_labels", given_labels, *base.shape)
    if not 0 < target_precision < 1:
        raise ValueError(
            f"target_precision: found {target_precision}, expected a number between 0 and 1"
        )
    if budget is not None and budget < 0:
        raise ValueError(f"budget: found {budget}, expected 0 or more rows")
    usable = bool(reference is not None and _enough(reference))
    rng = np.random.default_rng(seed)
    row_signals = label_signals(base, mirrored, given)
    if usable:
        kinds, reference_signals = _reference_signals(reference, base.shape[1])
        ratios, weights = fit_evidence(reference_signals, kinds, row_signals)
        score = _log_odds(ratios, *fit_error_rate(ratios))
        probability = _calibrated(reference_signals, kinds, row_signals, score)
    else:
        weights = np.array([0.0, 1.0])
        score = row_signals[
            :, 1
        ]  # rank by the plain mirrored model; the noise model only sets the scale
        probability = _sorted_like(
            _sigmoid(_assumed_log_odds(mirrored, given, _ASSUMED_MEMORY_SHIFT)), score
        )

    order = np.argsort(-score, kind="stable")
    rank = np.empty(len(given), dtype=np.int64)
    rank[order] = np.arange(1, len(given) + 1)
    flagged = probability >= target_precision if budget is None else rank <= budget

    def redraw() -> np.ndarray:
        """Row probabilities ``[n]`` refitted on resampled rows and references."""
        rows = rng.integers(0, len(given), min(len(given), _BOOTSTRAP_ROWS))
        again = _resample(kinds, rng)
        return _calibrated(reference_signals[again], kinds[again], row_signals, score, rows)

    draws = [redraw() for _ in range(bootstrap_repeats if len(given) and usable else 0)]
    classes = [given == c for c in range(base.shape[1])]
    return LabelJudgement(
        score=score,
        probability=probability,
        suggested_label=suggest(base, mirrored, given, weights),
        flagged=flagged,
        rank=rank,
        noise_rate=_estimate(probability, draws, slice(None), confidence),
        noise_rate_per_class=tuple(_estimate(probability, draws, c, confidence) for c in classes),
        noise_table=_noise_table(base, mirrored, given, weights, probability),
        expected_precision={
            int(b): _estimate(probability, draws, order[:b], confidence)
            for b in budgets
            if 0 < b <= len(given)
        },
        signals={"base": row_signals[:, 0], "mirrored": row_signals[:, 1]},
        signal_weights={"base": float(weights[0]), "mirrored": float(weights[1])},
        reference_rows=len(reference.kinds) if usable else 0,
        calibrated=usable,
    )


# Signals and evidence -----------------------------------------------------------------------------------------------


def label_signals(base: np.ndarray, mirrored: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Log odds against the given label, ``[n, 2]`` nats, columns base and mirrored; higher = more suspicious."""
    picked = np.stack([_pick(base, given), _pick(mirrored, given)], axis=1)
    return np.log1p(-np.minimum(picked, 1 - _TINY)) - np.log(picked)


def fit_evidence(
    reference_signals: np.ndarray, kinds: np.ndarray, row_signals: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood ratios ``[n, K]`` "planted error of kind k : right", and the mean standardized weights ``[S]``.

    One ridge logistic model per kind on the reference rows' signals ``[m, S]``. A signal whose weight comes out
    negative is left out: more suspicion must never make a label look better.
    """
    center, scale = reference_signals.mean(axis=0), reference_signals.std(axis=0) + 1e-9
    references, rows = (reference_signals - center) / scale, (row_signals - center) / scale
    ratios, weights = [], []
    typical = _typical(reference_signals, kinds)
    for kind in np.unique(kinds[kinds > 0]):
        chosen = typical & ((kinds == 0) | (kinds == kind))
        wrong = kinds[chosen] == kind
        used = np.ones(references.shape[1], dtype=bool)
        while True:
            model = LogisticRegression(C=_RIDGE).fit(references[chosen][:, used], wrong)
            negative = model.coef_[0] < 0
            if not negative.any() or used.sum() == 1:
                break
            used[np.flatnonzero(used)[negative.argmax()]] = False
        weight = np.zeros(references.shape[1])
        weight[used] = np.maximum(model.coef_[0], 0.0)
        prior = np.log(wrong.sum() / (~wrong).sum())
        ratios.append(rows @ weight + model.intercept_[0] - prior)
        weights.append(weight)
    return np.stack(ratios, axis=1), np.mean(weights, axis=0)


def _calibrated(reference_signals, kinds, row_signals, score, fit_rows=slice(None)) -> np.ndarray:
    """Probabilities ``[n]`` from the mirrored signal alone, dealt out in the order of ``score``.

    The base model ranks a little better with the mirror than without, but how deep it has memorized its rows is never
    quite reproduced on the references, and the error rate is sensitive to that. The mirror has forgotten most of it.
    """
    ratios, _ = fit_evidence(reference_signals[:, 1:], kinds, row_signals[:, 1:])
    return _sorted_like(_sigmoid(_log_odds(ratios, *fit_error_rate(ratios[fit_rows]))), score)


def fit_error_rate(ratios: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of wrong labels among the rows, and the share of each kind of error ``[K]``, from ``ratios [n, K]``.

    Expectation maximization for shifted priors (Saerens, Latinne and Decaestecker, Neural Computation 2002). One rate
    for all classes: a rate per class cannot be told from the class being hard, and cost .06 average precision.
    """
    rate = 0.1
    shares = np.full(ratios.shape[1], 1.0 / ratios.shape[1])
    likelihood = np.exp(np.clip(ratios, -30, 30))
    for _ in range(_EXPECTATION_STEPS):
        wrong = likelihood * shares * rate
        wrong /= wrong.sum(axis=1, keepdims=True) + (1 - rate)
        rate = float(np.clip(wrong.sum(axis=1).mean(), _TINY, 1 - _TINY))
        shares = (wrong.sum(axis=0) + 1.0) / (wrong.sum() + len(shares))
    return rate, shares


def _log_odds(ratios: np.ndarray, rate: float, shares: np.ndarray) -> np.ndarray:
    peak = ratios.max(axis=1)
    mixed = peak + np.log((np.exp(ratios - peak[:, None]) * shares).sum(axis=1))
    return mixed + np.log(rate) - np.log1p(-rate)


# Without reference rows ---------------------------------------------------------------------------------------------


def noise_posterior(
    probabilities: np.ndarray, given: np.ndarray, iterations: int = 60
) -> np.ndarray:
    """Posterior of the true class, ``[n, C]``: q(y | x, g) ∝ p(y | x) · P(g | y), rows sum to 1.

    P(g | y) is a noise table fitted by expectation maximization (Dawid and Skene, 1979), its off-diagonal part drawn
    towards uniform. ``probabilities [n, C]`` must be such as held-out rows would get, else errors are underestimated.
    """
    classes = probabilities.shape[1]
    table = np.full((classes, classes), 0.1 / (classes - 1))
    np.fill_diagonal(table, 0.9)
    for _ in range(iterations):
        posterior = probabilities * table.T[given]
        posterior /= posterior.sum(axis=1, keepdims=True)
        counts = np.zeros((classes, classes))
        np.add.at(counts.T, given, posterior)
        error = 1 - np.trace(counts) / max(len(given), 1)
        shape = np.full((classes, classes), error / (classes - 1))
        np.fill_diagonal(shape, 1 - error)
        table = counts + 20.0 * shape
        table = np.maximum(table / table.sum(axis=1, keepdims=True), 1e-12)
    return posterior


def _assumed_log_odds(mirrored: np.ndarray, given: np.ndarray, memory_shift: float) -> np.ndarray:
    logits = np.log(mirrored) / _ASSUMED_TEMPERATURE
    logits[np.arange(len(given)), given] -= memory_shift
    right = np.clip(_pick(noise_posterior(_softmax(logits), given), given), 1e-9, 1 - 1e-9)
    return np.log1p(-right) - np.log(right)


def _sorted_like(values: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The same values ``[n]``, dealt out in the order of ``score``."""
    result = np.empty_like(values)
    result[np.argsort(score, kind="stable")] = np.sort(values)
    return result


# Decisions ----------------------------------------------------------------------------------------------------------


def suggest(
    base: np.ndarray, mirrored: np.ndarray, given: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Most plausible class other than the given one, ``[n]``, by the weighted geometric mean of both models."""
    return _alternatives(base, mirrored, given, weights).argmax(axis=1)


def _alternatives(base, mirrored, given, weights) -> np.ndarray:
    """``[n, C]``: how the probability of being wrong divides over the other classes; 0 at the given one."""
    share = weights[0] / max(weights.sum(), 1e-9)
    pooled = _softmax(share * np.log(base) + (1 - share) * np.log(mirrored))
    pooled[np.arange(len(given)), given] = 0.0
    return pooled / pooled.sum(axis=1, keepdims=True)


def _noise_table(base, mirrored, given, weights, probability) -> np.ndarray:
    classes = base.shape[1]
    mass = _alternatives(base, mirrored, given, weights) * probability[:, None]
    mass[np.arange(len(given)), given] = 1 - probability
    table = np.zeros((classes, classes))
    np.add.at(table.T, given, mass)
    return table


def _estimate(
    probability: np.ndarray, draws: list[np.ndarray], rows, confidence: float
) -> Estimate:
    if not len(probability[rows]):
        return Estimate(0.0, 0.0, 1.0)
    value = float(probability[rows].mean())
    if not draws:
        return Estimate(value, 0.0, 1.0)
    # A mean of probabilities has the labels' own scatter on top of the fit's: without it small sets look too sure.
    scatter = np.sqrt((probability[rows] * (1 - probability[rows])).sum()) / len(probability[rows])
    means = np.array([draw[rows].mean() for draw in draws])
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    margin = scatter + _METHOD_ERROR * value * (1 - value)
    return Estimate(
        value, float(max(0.0, min(low, value) - margin)), float(min(1.0, max(high, value) + margin))
    )


# Arrays -------------------------------------------------------------------------------------------------------------


def _enough(reference: ReferenceRows) -> bool:
    kinds = np.asarray(reference.kinds)
    return min((kinds == 0).sum(), (kinds > 0).sum()) >= _FEWEST_REFERENCES


def _reference_signals(reference: ReferenceRows, classes: int) -> tuple[np.ndarray, np.ndarray]:
    kinds = np.asarray(reference.kinds)
    shape = (len(kinds), classes)
    base = _probabilities("reference.base_probabilities", reference.base_probabilities, shape)
    mirrored = _probabilities(
        "reference.mirrored_probabilities", reference.mirrored_probabilities, shape
    )
    given = _labels("reference.given_labels", reference.given_labels, *shape)
    few = [kind for kind in np.unique(kinds[kinds > 0]) if (kinds == kind).sum() < 5]
    kinds = np.where(
        np.isin(kinds, few), kinds[kinds > 0].max() + 1, kinds
    )  # kinds too rare to fit go together
    return kinds, label_signals(base, mirrored, given)


def _typical(signals: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """``[m]`` bool: all references but the right ones that look most wrong and the wrong ones that look most right.

    By the last signal, the mirrored one, which has forgotten the labels.
    """
    looks_wrong = signals[:, -1]
    right, wrong = kinds == 0, kinds > 0
    highest = np.quantile(looks_wrong[right], 1 - _TRUSTED_ERRORS)
    lowest = np.quantile(looks_wrong[wrong], _TRUSTED_ERRORS)
    return (right & (looks_wrong <= highest)) | (wrong & (looks_wrong >= lowest))


def _resample(kinds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap indices ``[m]`` that keep the number of reference rows of each kind."""
    return np.concatenate(
        [rng.choice(np.flatnonzero(kinds == k), (kinds == k).sum()) for k in np.unique(kinds)]
    )


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -40, 40)))


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of ``logits [n, C]`` as probabilities, never below 1e-7 so that logarithms stay finite."""
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    values = np.maximum(values / values.sum(axis=1, keepdims=True), _TINY)
    return values / values.sum(axis=1, keepdims=True)


def _pick(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return table[np.arange(len(labels)), labels]


def _probabilities(
    name: str, values: np.ndarray, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(
            f"{name}: found shape {values.shape}, expected [rows, classes] with 2 classes or more"
        )
    if shape is not None and values.shape != shape:
        raise ValueError(f"{name}: found shape {values.shape}, expected {shape}")
    good = (
        np.isfinite(values).all(axis=1)
        & (values >= 0).all(axis=1)
        & (np.abs(values.sum(axis=1) - 1) < 1e-3)
    )
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"{name}: row {row} is {values[row]}, expected probabilities that sum to 1"
        )
    values = np.maximum(values, _TINY)
    return values / values.sum(axis=1, keepdims=True)


def _labels(name: str, values: np.ndarray, rows: int, classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (rows,):
        raise ValueError(f"{name}: found shape {values.shape}, expected ({rows},)")
    if rows and (
        not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= classes
    ):
        raise ValueError(
            f"{name}: found values {np.unique(values)[:5]}, expected integers 0 to {classes - 1}"
        )
    return values.astype(np.int64)

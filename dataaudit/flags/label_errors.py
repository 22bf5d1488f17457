"""Label errors from class probabilities: calibrated probabilities, suggested labels, noise rates.

Arrays in, table out: no model and no torch here. The caller supplies, for every training row, the class
probabilities of the trained ("base") model and of the mirrored model (see ``recipe.py``), and the same two for
trusted held-out rows that the mirrored model has **not** learned (the calibration slice).

The way through, one function each:

    pool          geometric mean of base and mirrored probabilities, the base trusted less the more it memorized
    temperature   fitted on the calibration slice
    memory shift  how far the rows' own given labels still pull their predictions, measured against the slice
    noise         a noise model fitted by expectation maximization: q(y | x, g) ∝ p(y | x) · P(g | y, x)
    decisions     ranking, probability (monotone in the ranking), flags, budgets, rates with intervals
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression

_TINY = 1e-7

# What to assume with no calibration slice, and how strongly a small slice is drawn towards it. Both were measured on
# several data sets (NOTES.md, "Calibration"); a slice of 50 rows weighs as much as the assumption.
_ASSUMED_LOG_TEMPERATURE = -0.2
_ASSUMED_MEMORY_SHIFT = 0.2
_ASSUMPTION_ROWS = 50
# Matching confidence undoes about half of the memory (NOTES.md); the interval varies this factor over its range.
_MEMORY_FACTOR = 2.0
_MEMORY_FACTOR_RANGE = (1.3, 2.7)
_NOISE_STRENGTH = 20.0
_UNCERTAINTY_BINS = 4
_FIT_ROWS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A fraction with an interval: ``value`` in ``[low, high]``, all within [0, 1]."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """How the pooled probabilities were corrected before the noise model was fitted.

    ``temperature`` divides the log-probabilities (above 1: the models were overconfident). ``memory_shift`` is in
    nats: that much is taken off each row's given label. ``base_weight`` in [0, 0.5] is the share of the base model in
    the geometric pool. ``held_out_rows`` is the size of the calibration slice; with 0 the rest are assumptions.
    """

    temperature: float
    memory_shift: float
    base_weight: float
    held_out_rows: int


@dataclass(frozen=True)
class LabelJudgement:
    """Decisions on the given labels of ``n`` rows with ``C`` classes.

    score: ``[n]``, nats, the pooled loss: minus the log-probability of the given label; higher = more suspicious.
    probability: ``[n]`` in [0, 1], that the given label is wrong; never decreases as ``score`` grows.
    suggested_label: ``[n]`` class index, the most plausible class other than the given one.
    flagged: ``[n]`` bool. rank: ``[n]``, 1 = most suspicious, ties in row order.
    noise_rate: share of all rows with a wrong label. noise_rate_per_class: the same among the rows *given* each class.
    noise_table: ``[C, C]``, expected number of rows; first index the probable true class, second the given class.
    expected_precision: budget (rows reviewed, most suspicious first) → share of wrong labels expected among them.
    signals: name → ``[n]``, higher = more suspicious: the parts the score was made from.
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
    calibration: Calibration
    signals: dict[str, np.ndarray] = field(default_factory=dict)


def judge_labels(
    given_labels: np.ndarray,
    base_probabilities: np.ndarray,
    mirrored_probabilities: np.ndarray,
    held_out_labels: np.ndarray | None = None,
    held_out_base_probabilities: np.ndarray | None = None,
    held_out_mirrored_probabilities: np.ndarray | None = None,
    *,
    target_precision: float = 0.5,
    budget: int | None = None,
    budgets: Sequence[int] = (100, 300, 1000),
    bootstrap_repeats: int = 40,
    confidence: float = 0.9,
    seed: int = 0,
) -> LabelJudgement:
    """Judge every row's given label against the base and the mirrored model.

    given_labels: ``[n]`` class indices. base_probabilities, mirrored_probabilities: ``[n, C]``, rows sum to 1.
    held_out_*: trusted rows ``[m]``, ``[m, C]`` that the mirrored model did not learn; omit all three, or pass empty
    arrays, where there are none (the probabilities then rest on assumptions and the intervals are wide).
    target_precision: a row is flagged where its probability of being wrong is at least this.
    budget: flag this many rows instead, most suspicious first. budgets: where expected precision is stated.

    Raises ValueError with the argument's name, what was found and what was expected.
    """
    rows = _probabilities("base_probabilities", base_probabilities)
    mirrored = _probabilities("mirrored_probabilities", mirrored_probabilities, rows.shape)
    given = _labels("given_labels", given_labels, len(rows), rows.shape[1])
    held_base, held_mirrored, held_labels = _held_out(
        held_out_labels, held_out_base_probabilities, held_out_mirrored_probabilities, rows.shape[1]
    )
    if not 0 < target_precision < 1:
        raise ValueError(f"target_precision: found {target_precision}, expected a number between 0 and 1")
    if budget is not None and budget < 0:
        raise ValueError(f"budget: found {budget}, expected 0 or more rows")

    weight = base_weight(rows, mirrored, given, held_base, held_mirrored, held_labels)
    pooled = pool(rows, mirrored, weight)
    held_pooled = pool(held_base, held_mirrored, weight)
    calibration, posterior = _calibrated_posterior(pooled, given, held_pooled, held_labels, weight)

    score = -np.log(_pick(pooled, given))
    wrong = 1 - _pick(posterior, given)
    probability = _monotone(score, wrong)
    order = np.argsort(-score, kind="stable")
    rank = np.empty(len(given), dtype=np.int64)
    rank[order] = np.arange(1, len(given) + 1)
    flagged = probability >= target_precision if budget is None else rank <= budget

    draws = _bootstrap(pooled, given, held_pooled, held_labels, weight, score, budgets, bootstrap_repeats, seed)
    classes = rows.shape[1]
    rate = _interval(float(wrong.mean()), draws["rate"], confidence)
    per_class = tuple(
        _interval(float(wrong[given == c].mean()) if (given == c).any() else 0.0, draws["per_class"][:, c], confidence)
        for c in range(classes)
    )
    expected = {
        int(b): _interval(float(probability[order[:b]].mean()), draws["precision"][:, i], confidence)
        for i, b in enumerate(budgets)
        if 0 < b <= len(given)
    }
    alternatives = pooled.copy()
    alternatives[np.arange(len(given)), given] = -1
    table = np.zeros((classes, classes))
    np.add.at(table.T, given, posterior)
    return LabelJudgement(
        score=score,
        probability=probability,
        suggested_label=alternatives.argmax(axis=1),
        flagged=flagged,
        rank=rank,
        noise_rate=rate,
        noise_rate_per_class=per_class,
        noise_table=table,
        expected_precision=expected,
        calibration=calibration,
        signals={
            "base_loss": -np.log(_pick(rows, given)),
            "mirrored_loss": -np.log(_pick(mirrored, given)),
            "loss_change": np.log(_pick(rows, given)) - np.log(_pick(mirrored, given)),
        },
    )


# Pooling ------------------------------------------------------------------------------------------------------------


def pool(base: np.ndarray, mirrored: np.ndarray, weight: float) -> np.ndarray:
    """Geometric mean of two probability tables ``[n, C]``, ``weight`` in [0, 1] on the base; rows sum to 1.

    A memorized base model gives nearly the same log-probability to every given label, so it drops out of a geometric
    mean by itself; in an arithmetic mean it would not.
    """
    return _softmax((1 - weight) * np.log(mirrored) + weight * np.log(base))


def base_weight(
    rows: np.ndarray,
    mirrored: np.ndarray,
    given: np.ndarray,
    held_base: np.ndarray,
    held_mirrored: np.ndarray,
    held_labels: np.ndarray,
) -> float:
    """How far to trust the base model, in [0, 0.5]: less where it is surer of its own rows than of held-out rows.

    Its excess memory is the mean log-probability of the rows' given labels minus that of the held-out labels, beyond
    the same difference for the mirrored model, in nats. Without held-out rows the mirrored model stands in for them.
    """
    row_gap = np.log(_pick(rows, given)).mean() - np.log(_pick(mirrored, given)).mean()
    held_gap = 0.0
    if len(held_labels):
        held_gap = np.log(_pick(held_base, held_labels)).mean() - np.log(_pick(held_mirrored, held_labels)).mean()
    return float(0.5 * np.exp(-max(0.0, row_gap - held_gap) / 0.25))


# Calibration --------------------------------------------------------------------------------------------------------


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Temperature that makes ``probabilities [m, C]`` most likely for ``labels [m]``, drawn to a prior when m is small.

    Guo et al., ICML 2017 ("On calibration of modern neural networks"), with a Gaussian prior on the log temperature.
    """
    if not len(labels):
        return float(np.exp(_ASSUMED_LOG_TEMPERATURE))
    logs = np.log(probabilities)

    def cost(log_temperature: float) -> float:
        fit = -np.log(_pick(_softmax(logs / np.exp(log_temperature)), labels)).sum()
        return fit + 0.5 * _ASSUMPTION_ROWS * 0.1 * ((log_temperature - _ASSUMED_LOG_TEMPERATURE) / 0.5) ** 2

    return float(np.exp(minimize_scalar(cost, bounds=(-2.0, 2.0), method="bounded").x))


def take_off_memory(probabilities: np.ndarray, given: np.ndarray, shift: float) -> np.ndarray:
    """``probabilities [n, C]`` with ``shift`` nats taken off each row's given label; rows sum to 1."""
    logs = np.log(probabilities)
    logs[np.arange(len(given)), given] -= shift
    return _softmax(logs)


def confidence_shift(probabilities: np.ndarray, given: np.ndarray, held_out: np.ndarray) -> float:
    """Nats to take off the given labels until the rows are as confident as the held-out rows, in [0, 2].

    Confidence is the mean negative entropy. Rows and held-out rows come from the same source, so a surplus can only
    come from the labels that the model saw. That needs no knowledge of which labels are right.
    """
    target = _mean_confidence(held_out)
    shifts = np.linspace(0.0, 2.0, 41)
    previous = None
    for shift in shifts:
        surplus = _mean_confidence(take_off_memory(probabilities, given, shift)) - target
        if surplus <= 0:
            if previous is None:
                return 0.0
            return float(shift - (shifts[1] - shifts[0]) * (-surplus) / (previous - surplus))
        if previous is not None and surplus > previous:  # past the minimum: confidence in other classes takes over
            return float(shift - (shifts[1] - shifts[0]))
        previous = surplus
    return float(shifts[-1])


def _calibrated_posterior(
    pooled: np.ndarray,
    given: np.ndarray,
    held_pooled: np.ndarray,
    held_labels: np.ndarray,
    weight: float,
    memory_factor: float = _MEMORY_FACTOR,
) -> tuple[Calibration, np.ndarray]:
    temperature = fit_temperature(held_pooled, held_labels)
    tempered = _softmax(np.log(pooled) / temperature)
    measured = 0.0
    if len(held_labels):
        measured = confidence_shift(tempered, given, _softmax(np.log(held_pooled) / temperature))
    share = len(held_labels) / (len(held_labels) + _ASSUMPTION_ROWS)
    shift = memory_factor * (share * measured + (1 - share) * _ASSUMED_MEMORY_SHIFT)
    posterior = noise_posterior(take_off_memory(tempered, given, shift), given)
    return Calibration(temperature, shift, weight, len(held_labels)), posterior


# Noise model --------------------------------------------------------------------------------------------------------


def noise_posterior(probabilities: np.ndarray, given: np.ndarray, iterations: int = 60) -> np.ndarray:
    """Posterior of the true class, ``[n, C]``: q(y | x, g) ∝ p(y | x) · P(g | y, x), rows sum to 1.

    P(g | y, x) keeps y with probability 1 - rate(y, u) and else draws g from row y of a class table. ``u`` is the
    quartile of the model's uncertainty at x: people err more on hard rows. Rates and table are fitted by expectation
    maximization (Dawid and Skene, 1979), drawn towards a common rate and a uniform table where rows are few.
    """
    n, classes = probabilities.shape
    bins = _uncertainty_bins(probabilities)
    sample = slice(None) if n <= _FIT_ROWS else np.random.default_rng(0).choice(n, _FIT_ROWS, replace=False)
    p, g, b = probabilities[sample], given[sample], bins[sample]
    rate = np.full((classes, _UNCERTAINTY_BINS), 0.1)
    table = np.full((classes, classes), 1.0 / max(classes - 1, 1))
    np.fill_diagonal(table, 0.0)
    for _ in range(iterations):
        posterior = _apply_noise(p, g, b, rate, table)
        rate, table = _refit_noise(posterior, g, b)
    return _apply_noise(probabilities, given, bins, rate, table)


def _apply_noise(p, given, bins, rate, table) -> np.ndarray:
    joint = p * rate.T[bins] * table.T[given]
    index = np.arange(len(given))
    joint[index, given] = p[index, given] * (1 - rate[given, bins])
    return joint / joint.sum(axis=1, keepdims=True)


def _refit_noise(posterior, given, bins) -> tuple[np.ndarray, np.ndarray]:
    classes = posterior.shape[1]
    wrong = posterior.copy()
    wrong[np.arange(len(given)), given] = 0.0
    overall = wrong.sum() / len(given)
    rate = np.empty((classes, _UNCERTAINTY_BINS))
    for u in range(_UNCERTAINTY_BINS):
        inside = bins == u
        common = (wrong[inside].sum() + _NOISE_STRENGTH * overall) / (inside.sum() + _NOISE_STRENGTH)
        rate[:, u] = (wrong[inside].sum(axis=0) + _NOISE_STRENGTH * common) / (
            posterior[inside].sum(axis=0) + _NOISE_STRENGTH
        )
    table = np.zeros((classes, classes))
    np.add.at(table.T, given, wrong)
    table += 0.1 * _NOISE_STRENGTH / max(classes - 1, 1)
    np.fill_diagonal(table, 0.0)
    return np.clip(rate, _TINY, 1 - _TINY), table / table.sum(axis=1, keepdims=True)


def _uncertainty_bins(probabilities: np.ndarray) -> np.ndarray:
    uncertainty = 1 - probabilities.max(axis=1)
    edges = np.quantile(uncertainty, np.linspace(0, 1, _UNCERTAINTY_BINS + 1)[1:-1])
    return np.searchsorted(edges, uncertainty)


# Decisions ----------------------------------------------------------------------------------------------------------


def _monotone(score: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """``probability [n]`` averaged so that it never decreases with ``score``; its mean stays the same."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(score, probability)
    return np.clip(fitted.predict(score), 0.0, 1.0)


def _bootstrap(pooled, given, held_pooled, held_labels, weight, score, budgets, repeats, seed) -> dict[str, np.ndarray]:
    """Noise rate, per-class rates and precision at budgets under resampled rows, slices and memory factors."""
    rng = np.random.default_rng(seed)
    n, m, classes = len(given), len(held_labels), pooled.shape[1]
    size = min(n, 3000)
    draws = {"rate": [], "per_class": [], "precision": []}
    for _ in range(repeats):
        i = rng.integers(0, n, size)
        h = rng.integers(0, m, m) if m else np.empty(0, dtype=np.int64)
        factor = rng.uniform(*_MEMORY_FACTOR_RANGE) if m else rng.uniform(0.0, 2 * _MEMORY_FACTOR)
        _, posterior = _calibrated_posterior(pooled[i], given[i], held_pooled[h], held_labels[h], weight, factor)
        wrong = 1 - _pick(posterior, given[i])
        order = np.argsort(-score[i], kind="stable")
        draws["rate"].append(wrong.mean())
        draws["per_class"].append([wrong[given[i] == c].mean() if (given[i] == c).any() else np.nan for c in range(classes)])
        draws["precision"].append([wrong[order[: max(1, round(min(b, n) * size / n))]].mean() for b in budgets])
    return {name: np.array(values) for name, values in draws.items()}


def _interval(value: float, draws: np.ndarray, confidence: float) -> Estimate:
    draws = draws[np.isfinite(draws)] if len(draws) else draws
    if not len(draws):
        return Estimate(value, 0.0, 1.0)
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(min(low, value)), float(max(high, value)))


# Arrays -------------------------------------------------------------------------------------------------------------


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of ``logits [n, C]`` as probabilities, never below 1e-7 so that logarithms stay finite."""
    if not len(logits):
        return logits.copy()
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    values = np.maximum(values / values.sum(axis=1, keepdims=True), _TINY)
    return values / values.sum(axis=1, keepdims=True)


def _pick(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return table[np.arange(len(labels)), labels]


def _mean_confidence(probabilities: np.ndarray) -> float:
    return float((probabilities * np.log(probabilities)).sum(axis=1).mean())


def _probabilities(name: str, values: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"{name}: found shape {values.shape}, expected [rows, classes] with 2 classes or more")
    if shape is not None and values.shape != shape:
        raise ValueError(f"{name}: found shape {values.shape}, expected {shape}")
    if len(values) and (not np.isfinite(values).all() or values.min() < 0 or np.abs(values.sum(axis=1) - 1).max() > 1e-3):
        worst = int(np.argmax(np.where(np.isfinite(values).all(axis=1), np.abs(values.sum(axis=1) - 1), np.inf)))
        raise ValueError(f"{name}: row {worst} is {values[worst]}, expected probabilities that sum to 1")
    values = np.maximum(values, _TINY)
    return values / values.sum(axis=1, keepdims=True)


def _labels(name: str, values: np.ndarray, rows: int, classes: int) -> np.ndarray:
    values = np.asarray(values)
    if values.shape != (rows,):
        raise ValueError(f"{name}: found shape {values.shape}, expected ({rows},)")
    if rows and (not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= classes):
        raise ValueError(f"{name}: found values {np.unique(values)[:5]}…, expected integers 0 to {classes - 1}")
    return values.astype(np.int64)


def _held_out(labels, base, mirrored, classes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    given = {
        "held_out_labels": labels,
        "held_out_base_probabilities": base,
        "held_out_mirrored_probabilities": mirrored,
    }
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == 3 or (not missing and len(labels) == 0):
        return np.empty((0, classes)), np.empty((0, classes)), np.empty(0, dtype=np.int64)
    if missing:
        raise ValueError(f"{missing[0]}: found nothing, expected an array, since other held-out arrays are given")
    shape = (len(labels), classes)
    return (
        _probabilities("held_out_base_probabilities", base, shape),
        _probabilities("held_out_mirrored_probabilities", mirrored, shape),
        _labels("held_out_labels", labels, *shape),
    )

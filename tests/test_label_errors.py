"""Label errors: signs, calibration on synthetic truth, few and no references, messages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dataaudit.flags import label_evidence
from dataaudit.flags.inputs import References
from dataaudit.flags.label_errors import LabelJudgement, judge_labels
from dataaudit.flags.label_evidence import (
    discount_of,
    fit_error_rate,
    fit_evidence,
    label_signals,
)
from dataaudit.flags.noise_model import fit_noise_table, noise_posterior
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import sigmoid, softmax
from dataaudit.flags.results import Interval


@dataclass(frozen=True)
class Case:
    truth: NDArray[np.int64]
    given: NDArray[np.int64]
    base: NDArray[np.float64]
    mirrored: NDArray[np.float64]
    references: References

    @property
    def wrong(self) -> NDArray[np.bool_]:
        return self.truth != self.given

    def judged(self, **options: Any) -> LabelJudgement:
        options = {"bootstrap_repeats": 0, "references": self.references} | options
        return judge_labels(self.given, self.base, self.mirrored, **options)


def make(
    rows: int = 4000,
    references: int = 400,
    rate: float = 0.15,
    classes: int = 4,
    memory: float = 0.0,
    memorized: float = 12.0,
    seed: int = 0,
) -> Case:
    """Rows and references with one history.

    The model before has added `memorized` nats to each given label, the one after `memory`.
    """
    generator = np.random.default_rng(seed)

    def draw(count: int, error_rate: float) -> tuple[Any, ...]:
        truth = generator.integers(0, classes, count)
        moved = (truth + generator.integers(1, classes, count)) % classes
        given = np.where(generator.random(count) < error_rate, moved, truth)
        logits = generator.normal(size=(count, classes))
        logits[np.arange(count), truth] += 2.5
        base, mirrored = logits.copy(), logits.copy()
        base[np.arange(count), given] += memorized
        mirrored[np.arange(count), given] += memory
        return truth, given, softmax(base), softmax(mirrored)

    drawn = draw(rows, rate)
    truth, given, base, mirrored = draw(references, 0.25)
    return Case(*drawn, References(given, truth != given, base, mirrored))


def hits(score: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    return float(wrong[np.argsort(-score)[: wrong.sum()]].mean())


def test_higher_signals_mean_more_suspicion_and_are_log_odds() -> None:
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1]])
    signals = label_signals([probabilities, probabilities[:, ::-1]], np.array([0, 1]))
    expected = [[-np.log(9), np.log(9)], [np.log(9), -np.log(9)]]
    np.testing.assert_allclose(signals, expected, rtol=1e-12)


def test_one_strong_alternative_speaks_more_against_a_label_than_many_weak_ones() -> None:
    one = np.array([[0.4, 0.58, 0.01, 0.01]])
    many = np.array([[0.4, 0.2, 0.2, 0.2]])
    strong, weak = label_signals([one, many], np.array([0]))[0]
    assert strong == pytest.approx(0.5 * np.log(0.58**2 + 2 * 0.01**2) - np.log(0.4))
    assert weak == pytest.approx(0.5 * np.log(3 * 0.2**2) - np.log(0.4))
    assert strong > weak


@pytest.mark.parametrize("memory", [0.0, 1.0])
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.4])
def test_rate_and_claimed_precision_are_right_with_and_without_memory(
    memory: float, rate: float
) -> None:
    case = make(rate=rate, memory=memory, references=1000)
    found = case.judged(bootstrap_repeats=20)
    assert found.reference_rows == 1000
    assert found.noise_rate.low <= case.wrong.mean() <= found.noise_rate.high
    assert found.noise_rate.estimate == pytest.approx(case.wrong.mean(), abs=0.04)
    for budget in (100, 1000):
        top = found.rank <= budget
        assert found.probability[top].mean() == pytest.approx(case.wrong[top].mean(), abs=0.07)
    precision = found.precision_flagged
    assert precision is not None
    assert precision.low <= case.wrong[found.flagged].mean() <= precision.high


def test_intervals_hold_the_rate_of_every_class() -> None:
    case = make(references=1000)
    found = case.judged(bootstrap_repeats=20)
    for label, estimate in enumerate(found.noise_rate_per_class):
        assert estimate.low <= case.wrong[case.given == label].mean() <= estimate.high
        assert estimate.high - estimate.low < 0.2


def test_fewer_references_make_wider_intervals() -> None:
    widths = []
    for references in (40, 1000):
        rate = make(references=references).judged(bootstrap_repeats=20).noise_rate
        widths.append(rate.high - rate.low)
    assert widths[0] > 1.5 * widths[1]


def test_clean_rows_get_almost_no_flags() -> None:
    found = make(rate=0.0).judged(bootstrap_repeats=20)
    assert found.flagged.mean() < 0.02
    assert found.noise_rate.estimate < 0.02
    assert found.noise_rate.low < 0.001


def test_a_memorized_model_does_not_spoil_the_ranking() -> None:
    case = make(memory=0.5)
    signals = label_signals([case.base, case.mirrored], case.given)
    assert hits(signals[:, 0], case.wrong) < hits(signals[:, 1], case.wrong) + 0.01
    assert hits(case.judged().score, case.wrong) >= hits(signals[:, 1], case.wrong) - 0.01


def test_a_model_that_has_memorized_nothing_is_trusted_too() -> None:
    # The two models' errors are independent here: together they must beat either.
    case, other = make(memorized=0.0), make(memorized=0.0, seed=0)
    generator = np.random.default_rng(5)

    def redrawn(truth: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = generator.normal(size=(len(truth), 4))
        logits[np.arange(len(truth)), truth] += 2.5
        return softmax(logits)

    planted = case.references.planted
    likely = case.references.mirrored.argmax(axis=1)
    truth = np.where(planted, likely, case.references.given_labels)
    references = References(
        case.references.given_labels,
        planted,
        redrawn(truth),
        other.references.mirrored,
    )
    base = redrawn(case.truth)
    found = judge_labels(case.given, base, case.mirrored, references, bootstrap_repeats=0)
    signals = label_signals([base, case.mirrored], case.given)
    assert 0.2 < found.mirrored_share < 0.8
    assert hits(found.score, case.wrong) > max(hits(s, case.wrong) for s in signals.T) + 0.02


def test_a_base_that_learned_rows_and_references_together_counts_in_full() -> None:
    case = make(memorized=0.0)
    apart, together = (
        judge_labels(
            case.given,
            case.base,
            case.mirrored,
            replace(case.references, learned_together=learned_together),
            bootstrap_repeats=0,
        )
        for learned_together in (False, True)
    )
    weight = 1 - together.mirrored_share
    assert weight > 0.05
    discounted = discount_of(case.references.planted) * weight
    assert 1 - apart.mirrored_share == pytest.approx(discounted / (discounted + 1 - weight))
    # What the model before says has no part in the probabilities, but for their order.
    assert np.sort(apart.probability) == pytest.approx(np.sort(together.probability))


def test_few_planted_labels_say_little_of_a_memorized_model() -> None:
    assert discount_of(np.ones(200, dtype=bool)) == discount_of(np.ones(100, dtype=bool)) == 0.5
    assert discount_of(np.arange(48) % 4 == 0) == pytest.approx(0.06)
    generator = np.random.default_rng(0)
    planted = np.arange(400) % 4 == 0
    signals = generator.normal(size=(400, 2)) + planted[:, None]
    weights = [fit_evidence(signals, planted, discount).weights for discount in (1.0, None)]
    assert weights[1] == pytest.approx(weights[0] * [0.5, 1.0])


def test_a_signal_that_points_the_wrong_way_is_left_out() -> None:
    generator = np.random.default_rng(0)
    planted = np.arange(400) % 4 == 0
    useful = generator.normal(size=400) + 2 * planted
    signals = np.stack([generator.normal(size=400) - planted, useful], axis=1)
    evidence = fit_evidence(signals, planted)
    assert evidence.weights[0] == 0
    assert evidence.weights[1] > 0


def test_evidence_is_the_log_likelihood_ratio_of_two_gaussians() -> None:
    # log N(x; 2, 1) - log N(x; 0, 1) = 2 x - 2, whatever the share of planted references; a little
    # steeper, for the 1 % of either kind that look most like the other are left out.
    generator = np.random.default_rng(0)
    planted = np.arange(20_000) % 10 == 0
    signals = (generator.normal(size=20_000) + 2 * planted)[:, None]
    found = fit_evidence(signals, planted).log_ratios(np.array([[0.0], [1.0], [2.0]]))
    assert found[1] == pytest.approx(0, abs=0.1)
    assert 4.0 < found[2] - found[0] < 5.2


@pytest.mark.parametrize("rate", [0.0, 0.02, 0.1, 0.5])
def test_the_error_rate_of_a_known_mixture(rate: float) -> None:
    generator = np.random.default_rng(0)
    wrong = generator.random(20_000) < rate
    signal = generator.normal(size=20_000) + 2 * wrong
    assert fit_error_rate(2 * signal - 2) == pytest.approx(rate, abs=0.01)


def test_errors_among_the_trusted_samples_hardly_change_the_rate() -> None:
    case = make(references=1000)
    labels = case.references.given_labels.copy()
    right = np.flatnonzero(~case.references.planted)[:8]
    labels[right] = (labels[right] + 1) % 4
    spoiled = References(
        labels,
        case.references.planted,
        case.references.base,
        case.references.mirrored,
    )
    rates = [case.judged(references=r).noise_rate.estimate for r in (case.references, spoiled)]
    assert rates[1] == pytest.approx(rates[0], abs=0.02)


def test_probability_rank_and_flags_follow_the_score() -> None:
    case = make(rows=500)
    found = case.judged()
    order = np.argsort(found.rank)
    assert sorted(found.rank) == list(range(1, 501))
    assert (np.diff(found.score[order]) <= 0).all()
    assert (np.diff(found.probability[order]) <= 0).all()
    assert (found.flagged == (found.probability >= 0.5)).all()
    strict = case.judged(target_precision=0.9)
    assert 0 < strict.flagged.sum() < found.flagged.sum()
    few = case.judged(budget=7)
    assert set(np.flatnonzero(few.flagged)) == set(order[:7])


def test_ties_are_ranked_in_row_order() -> None:
    half = np.full((5, 2), 0.5)
    assert judge_labels(np.zeros(5, dtype=int), half, half).rank.tolist() == [1, 2, 3, 4, 5]


def test_suggestions_are_other_classes_and_mostly_right() -> None:
    case = make()
    found = case.judged()
    assert (found.suggested_label != case.given).all()
    assert (found.suggested_label == case.truth)[case.wrong].mean() > 0.8


def test_the_noise_table_sums_to_the_rows_of_each_given_class() -> None:
    case = make()
    found = case.judged()
    np.testing.assert_allclose(found.noise_table.sum(axis=1), np.bincount(case.given, minlength=4))
    errors = found.noise_table.sum() - np.trace(found.noise_table)
    assert errors / len(case.given) == pytest.approx(found.noise_rate.estimate)


@pytest.mark.parametrize(("references", "usable"), [(0, False), (12, False), (80, True)])
def test_few_or_no_references(references: int, usable: bool) -> None:
    case = make(references=max(references, 1))
    found = case.judged(references=case.references if references else None, bootstrap_repeats=10)
    assert found.reference_rows == (80 if usable else 0)
    assert np.isfinite(found.score).all()
    assert ((found.probability > 0) & (found.probability < 1)).all()
    assert hits(found.score, case.wrong) > 0.7
    assert ((found.noise_rate.low, found.noise_rate.high) == (0.0, 1.0)) == (not usable)


def test_data_of_one_class_and_of_two_rows() -> None:
    case = make()
    one = judge_labels(np.zeros(4000, dtype=int), case.base, case.mirrored, case.references)
    assert one.noise_rate_per_class[1:] == (one.noise_rate_per_class[1],) * 3
    assert (one.noise_rate_per_class[1].low, one.noise_rate_per_class[1].high) == (0.0, 1.0)
    assert one.noise_rate_per_class[0].estimate == one.noise_rate.estimate
    two = judge_labels(case.given[:2], case.base[:2], case.mirrored[:2], case.references)
    assert sorted(two.rank) == [1, 2]


def test_the_seed_decides_and_row_order_does_not_matter() -> None:
    case = make(rows=600)
    one, two, other = (case.judged(bootstrap_repeats=10, seed=seed) for seed in (0, 0, 1))
    assert one.noise_rate == two.noise_rate
    assert one.noise_rate != other.noise_rate
    shuffle = np.random.default_rng(1).permutation(600)
    shuffled = judge_labels(
        case.given[shuffle],
        case.base[shuffle],
        case.mirrored[shuffle],
        case.references,
        bootstrap_repeats=0,
    )
    np.testing.assert_allclose(shuffled.probability, one.probability[shuffle], atol=1e-9)


def test_the_noise_model_finds_the_noise_of_unlearned_rows() -> None:
    case = make(rows=10_000, rate=0.2)
    # Of logits N(2.5, 1) at the true class and N(0, 1) elsewhere, this is the exact posterior.
    probabilities = softmax(2.5 * np.log(case.mirrored))
    table = fit_noise_table(probabilities, case.given)
    posterior = noise_posterior(probabilities, case.given, table)
    np.testing.assert_allclose(posterior.sum(axis=1), 1)
    wrong = 1 - posterior[np.arange(10_000), case.given]
    assert wrong.mean() == pytest.approx(0.2, abs=0.01)


def test_the_rate_of_many_rows_is_that_of_all_their_ratios(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    ratios = np.concatenate([generator.normal(-3, 2, 9_000), generator.normal(40, 20, 1_000)])
    exact = fit_error_rate(ratios)
    monkeypatch.setattr(label_evidence, "MOST_BINS", 5_000)
    assert fit_error_rate(ratios) == pytest.approx(exact, rel=1e-5)
    assert 0.05 < exact < 0.2


def test_parts_are_summed_as_their_rows_are() -> None:
    generator = np.random.default_rng(4)
    labels, values = generator.integers(0, 4, 200), generator.random(200)
    group = generator.random(200) < 0.3
    # No row is of the last class.
    parts = Parts(200, labels, 5, [group])
    masks = [np.ones(200, bool), *(labels == place for place in range(5)), group]
    np.testing.assert_allclose(parts.sums(values), [values[inside].sum() for inside in masks])
    np.testing.assert_allclose(parts.sizes, [inside.sum() for inside in masks])
    block = slice(50, 90)
    np.testing.assert_allclose(
        parts.sums(values[block], block), [values[block][inside[block]].sum() for inside in masks]
    )
    known = [inside for inside in masks if inside.any()]
    np.testing.assert_allclose(np.delete(parts.means(values), 5), [values[m].mean() for m in known])
    same = Parts.of_masks(200, masks[1:])
    redrawn = generator.random((30, len(masks)))
    for drawn in (None, redrawn[:0], redrawn):
        one, other = ([[*vars(r).values()] for r in p.rates(values, drawn)] for p in (parts, same))
        np.testing.assert_allclose(one, other)
        assert parts.rates(values, drawn)[5] == Interval(0.0, 0.0, 1.0)


def test_probabilities_stay_within_bounds() -> None:
    assert 0 < sigmoid(np.array([-1e9]))[0] < sigmoid(np.array([1e9]))[0] < 1
    certain = softmax(np.array([[1e6, 0.0]]))
    assert certain[0, 1] > 0
    assert certain.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"given_labels": np.array([0, 5])},
            r"given_labels: found values \[0 5\], expected integers 0 to 1",
        ),
        (
            {"given_labels": np.array([0.0, 1.0])},
            r"given_labels: found values \[0. 1.\], expected integers 0 to 1",
        ),
        ({"given_labels": np.array([0])}, r"given_labels: found shape \(1,\), expected \(2,\)"),
        (
            {"mirrored_probabilities": np.ones((3, 2)) / 2},
            r"mirrored_probabilities: found shape \(3, 2\), expected \(2, 2\)",
        ),
        (
            {"base_probabilities": np.ones((2, 1))},
            r"base_probabilities: found shape \(2, 1\), expected \[rows, classes\] with 2 classes",
        ),
        (
            {"base_probabilities": np.array([[0.5, 0.5], [np.nan, 1.0]])},
            r"base_probabilities: row 1 is .*, expected probabilities, sum 1",
        ),
        (
            {"target_precision": 1.5},
            r"target_precision: found 1.5, expected a number between 0 and 1",
        ),
        ({"budget": -1}, r"budget: found -1, expected 0 or more rows"),
    ],
)
def test_messages(change: dict[str, Any], message: str) -> None:
    half = np.full((2, 2), 0.5)
    arguments: dict[str, Any] = {
        "given_labels": np.array([0, 1]),
        "base_probabilities": half,
        "mirrored_probabilities": half,
    }
    with pytest.raises(ValueError, match=message):
        judge_labels(**arguments | change)


def unseen_of(case: Case, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a model says that never saw the labels, of rows and of references."""
    generator = np.random.default_rng(seed)

    def said(truth: NDArray[np.int64]) -> NDArray[np.float64]:
        logits = generator.normal(size=(len(truth), 4))
        logits[np.arange(len(truth)), truth] += 2.5
        return softmax(logits)

    planted = case.references.planted
    likely = case.references.mirrored.argmax(axis=1)
    truth = np.where(planted, likely, case.references.given_labels)
    return said(case.truth), said(truth)


def test_what_has_not_seen_the_labels_is_weighed_beside_the_models() -> None:
    case = make(memorized=0.5)
    rows, trusted = unseen_of(case, 5)
    references = replace(case.references, unseen=trusted)
    found = judge_labels(
        case.given, case.base, case.mirrored, references, unseen=rows, bootstrap_repeats=5
    )
    alone = label_signals([rows], case.given)[:, 0]
    without = case.judged(bootstrap_repeats=5)
    best = max(hits(alone, case.wrong), hits(without.score, case.wrong))
    assert hits(found.score, case.wrong) > best + 0.02
    # It counts for the probabilities, too: they tell more, and still add up to the share.
    assert found.probability.std() > without.probability.std()
    assert found.noise_rate.estimate == pytest.approx(case.wrong.mean(), abs=0.03)


def test_noise_that_has_not_seen_the_labels_changes_little() -> None:
    case = make(memorized=0.5)
    generator = np.random.default_rng(0)
    rows, trusted = (
        softmax(generator.normal(size=table.shape)) for table in (case.base, case.references.base)
    )
    references = replace(case.references, unseen=trusted)
    found = judge_labels(
        case.given, case.base, case.mirrored, references, unseen=rows, bootstrap_repeats=0
    )
    assert hits(found.score, case.wrong) >= hits(case.judged().score, case.wrong) - 0.02

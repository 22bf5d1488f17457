"""Label errors by views that have not seen the labels they judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from dataaudit.flags.inputs import LabelledRows, Unseen, View
from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.kinds_of_error import ByClass, ByDoubt
from dataaudit.flags.label_doubts import (
    agrees_beyond,
    doubts_about,
    least_wrong,
    may_be_wrong,
    not_excluded,
    taught_errors,
    too_few,
    unlikeness,
    usefulness,
)
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import Interval
from dataaudit.flags.right_classes import RightClasses, Scale, targets
from dataaudit.flags.unseen_labels import judge_assumed, judge_unseen
from dataaudit.flags.whose_word import _raised

CLASSES = 3
Labels = NDArray[np.int64]


def seen(right: Labels, generator: np.random.Generator, noise: float = 0.5) -> NDArray[np.float64]:
    """Return honest probabilities: by Bayes' rule, of points around the corners of a triangle."""
    points = np.eye(CLASSES)[right] + generator.normal(0, noise, (len(right), CLASSES))
    return as_probabilities(points / noise**2)


def as_probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.exp(logits - logits.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def problem(
    rate: float, seed: int = 0, rows: int = 2000, trusted: int = 300, noise: float = 0.4
) -> tuple[Labels, Labels, Unseen]:
    """Return given and right labels of rows, and what an overconfident model says of them."""
    generator = np.random.default_rng(seed)
    right = generator.integers(0, CLASSES, rows)
    wrong = generator.random(rows) < rate
    given = np.where(wrong, (right + generator.integers(1, CLASSES, rows)) % CLASSES, right)
    known = generator.integers(0, CLASSES, trusted)
    tables = [seen(labels, generator, noise) ** 3 for labels in (right, known)]
    tables = [table / table.sum(axis=1, keepdims=True) for table in tables]
    return given, right, Unseen([View("a model", *tables)], known)


def test_right_classes_undo_overconfidence() -> None:
    # The logarithm of an honest probability, three times over: a third of it is right.
    _, _, unseen = problem(0.0, trusted=20_000)
    view = unseen.views[0]
    scale = Scale.of([view.rows])
    right = targets(unseen.trusted_labels, CLASSES)
    fitted = RightClasses.fit(scale.read([view.trusted]), right)
    honest = view.rows ** (1 / 3)
    honest /= honest.sum(axis=1, keepdims=True)
    assert np.abs(fitted.probabilities(scale, [view.rows]) - honest).mean() < 0.01


def test_the_order_of_probabilities_counts_where_they_are_off_by_far() -> None:
    # Class 1 is likely from a probability of .01 on, and beyond .5 little more so.
    generator = np.random.default_rng(0)
    said = 1 / (1 + np.exp(-generator.choice([-9.0, -6, -4.5, -3.5, 30], 20_000)))
    often = np.select([said < 0.001, said < 0.005, said < 0.02, said < 0.1], [0.02, 0.05, 0.2, 0.5])
    labels = (generator.random(20_000) < np.where(said > 0.5, 0.7, often)).astype(np.int64)
    views = [np.stack([1 - said, said], axis=1)]
    scale = Scale.of(views)
    fitted = RightClasses.fit(scale.read(views), targets(labels, 2))
    found = fitted.probabilities(scale, views)[:, 1]
    assert np.abs(found - np.where(said > 0.5, 0.7, often)).max() < 0.15


def test_a_view_that_says_nothing_gets_no_weight() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, 1000)
    views = [seen(labels, generator), seen(generator.permutation(labels), generator)]
    logs = Scale.of(views).read(views)
    weights = RightClasses.fit(logs, targets(labels, CLASSES)).weights
    assert weights[1].sum() < 0.1 * weights[0].sum()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2, 0.4])
def test_the_interval_holds_the_rate_and_claims_are_kept(rate: float, seed: int) -> None:
    given, right, unseen = problem(rate, seed)
    wrong = given != right
    found = judge_unseen(given, unseen, repeats=15)
    assert found.noise_rate.low <= wrong.mean() <= found.noise_rate.high
    assert found.noise_rate.high - found.noise_rate.low < 0.15
    if found.flagged.any():
        claimed = found.probability[found.flagged].mean()
        assert claimed == pytest.approx(wrong[found.flagged].mean(), abs=0.15)
        precision = found.precision_flagged
        assert precision is not None
        assert precision.estimate == pytest.approx(claimed)
        assert precision.low <= wrong[found.flagged].mean() <= precision.high
    assert found.flagged.sum() <= 2 * wrong.sum() + 5
    assert (np.diff(found.probability[np.argsort(found.rank)]) <= 0).all()


def test_errors_from_one_class_into_another_are_found_as_such() -> None:
    given, right, unseen = problem(0.0)
    moved = np.flatnonzero(right == 0)[:200]
    given = given.copy()
    given[moved] = 1
    found = judge_unseen(given, unseen, repeats=10)
    assert found.noise_rate.estimate == pytest.approx(0.1, abs=0.02)
    assert found.noise_table[1, 0] == pytest.approx(200, rel=0.15)
    wrong = found.noise_table * (1 - np.eye(CLASSES))
    rates = [rate.estimate for rate in found.noise_rate_per_class]
    assert rates == pytest.approx(wrong.sum(axis=1) / np.bincount(given))
    assert (found.suggested_label[moved] == 0).mean() > 0.9


def test_the_even_rate_is_the_most_likely_one() -> None:
    given, _, unseen = problem(0.15)
    view = unseen.views[0]
    scale = Scale.of([view.rows])
    fit = RightClasses.fit(scale.read([view.trusted]), targets(unseen.trusted_labels, CLASSES))
    right = fit.probabilities(scale, [view.rows])

    def log_likelihood(rate: float) -> float:
        table = np.full((CLASSES, CLASSES), rate / (CLASSES - 1))
        np.fill_diagonal(table, 1 - rate)
        return float(np.log(ByClass(table, 1).sources(right, given).sum(axis=1)).sum())

    fitted = 1 - ByClass.even(right, given).table[0, 0]
    rates = np.linspace(0.01, 0.5, 491)
    assert fitted == pytest.approx(rates[np.argmax([log_likelihood(r) for r in rates])], abs=1e-3)


def test_doubtful_rows_are_wrong_more_often_under_that_kind() -> None:
    right = np.array([[0.98, 0.01, 0.01], [0.5, 0.4, 0.1]])
    sources = ByDoubt(0.1, 0.3).sources(right, np.array([1, 1]))
    wrong = 1 - sources[:, 1] / sources.sum(axis=1)
    assert wrong[0] > 0.35
    assert ByDoubt(0.1, 0.3).sources(right, np.array([0, 0]))[:, 0] == pytest.approx(
        [0.98 * (1 - 0.1 * 0.04 / 0.3), 0.5 * (1 - 0.1 * 0.52 / 0.3)]
    )


def test_a_model_in_doubt_flags_nothing_where_nothing_is_trusted() -> None:
    generator = np.random.default_rng(0)
    given = generator.integers(0, 2, 500)
    chance = as_probabilities(generator.normal(0, 1, (500, 2)))
    found = judge_assumed(given, chance)
    assert found.flagged.mean() < 0.02
    assert (found.noise_rate.low, found.noise_rate.high) == (0, 1)


def test_what_may_be_wrong_of_all_labels_may_be_so_of_each_class() -> None:
    given, _, unseen = problem(0.1)
    judged = judge_unseen(given, unseen, repeats=2)
    raised = _raised(judged, judged.noise_rate.high + 0.1)
    assert raised.noise_rate.high == judged.noise_rate.high + 0.1
    for before, after in zip(judged.noise_rate_per_class, raised.noise_rate_per_class, strict=True):
        assert (after.estimate, after.low) == (before.estimate, before.low)
        assert after.high == pytest.approx(min(1.0, before.high + 0.1))
    assert _raised(judged, 0.0) is judged


def test_a_useless_model_is_doubted() -> None:
    generator = np.random.default_rng(0)
    given, known = generator.integers(0, 2, 500), generator.integers(0, 2, 100)
    unseen = Unseen(
        [View("chance", *(as_probabilities(generator.normal(0, 1, (n, 2))) for n in (500, 100)))],
        known,
    )
    assert usefulness(unseen) < 2
    doubts = doubts_about(given, unseen, Interval(0.1, 0.0, 0.4))
    assert not doubts.flags_hold
    assert "better than their frequencies" in doubts.reasons[0]
    assert doubts.applied(Interval(0.1, 0.05, 0.4)) == Interval(0.1, 0.0, 1.0)


def test_usefulness_is_that_of_labels_dealt_out_at_random() -> None:
    generator = np.random.default_rng(0)
    known = generator.integers(0, CLASSES, 12)
    tables = [seen(known, generator, noise) for noise in (0.5, 1.0)]
    views = [View("a model", table, table) for table in tables]
    ranks = sum(rankdata(table, axis=0) for table in tables)
    dealt = np.array(
        [ranks[np.arange(12), generator.permutation(known)].sum() for _ in range(20_000)]
    )
    expected = (ranks[np.arange(12), known].sum() - dealt.mean()) / dealt.std()
    assert usefulness(Unseen(views, known)) == pytest.approx(expected, rel=0.03)
    assert usefulness(Unseen(views, np.zeros(12, dtype=np.int64))) == 0.0


def test_few_trusted_samples_show_that_a_good_model_is_useful() -> None:
    # Six of 50 are of the other class, as with messages that nobody wants.
    generator = np.random.default_rng(1)
    known = (np.arange(50) < 6).astype(np.int64)
    table = as_probabilities(np.eye(2)[known] * 3 + generator.normal(0, 1, (50, 2)))
    assert usefulness(Unseen([View("a model", table, table)], known)) > 2.5


def test_trusted_labels_in_another_order_are_doubted() -> None:
    given, _, unseen = problem(0.1)
    swapped = Unseen(unseen.views, (unseen.trusted_labels + 1) % CLASSES)
    judged = judge_unseen(given, swapped, repeats=5)
    doubts = doubts_about(given, swapped, judged.noise_rate)
    assert doubts.reasons
    assert not doubts.flags_hold


def test_good_data_are_not_doubted() -> None:
    given, _, unseen = problem(0.1)
    assert doubts_about(given, unseen, Interval(0.1, 0.08, 0.12)).reasons == ()


def test_learned_errors_are_bounded_from_below() -> None:
    # The model learned a rule that takes a fifth of class 0 for class 1, as the labels do.
    generator = np.random.default_rng(1)
    right, known = generator.integers(0, 2, 4000), generator.integers(0, 2, 4000)
    tables = []
    for labels in (right, known):
        learned = np.where((labels == 0) & (generator.random(len(labels)) < 0.4), 1, labels)
        tables.append(np.where(np.eye(2)[learned] > 0, 0.95, 0.05))
    given = tables[0].argmax(axis=1)
    wrong = float((given != right).mean())
    bound = least_wrong(given, View("learned", *tables), known)
    assert 0.1 < bound <= wrong
    assert least_wrong(right, View("learned", *tables), known) == 0.0
    # Whichever classes the trusted samples are picked from, no more is proven than is true.
    for picked in (known == 0, (known == 0) | (generator.random(4000) < 0.1)):
        part = View("learned", tables[0], tables[1][picked])
        assert agrees_beyond(given, part, known[picked]) > 0.3 > wrong
        assert 0 < least_wrong(given, part, known[picked]) <= wrong


@pytest.mark.parametrize(("of_class_1", "chosen"), [(3, False), (14, True)])
def test_trusted_samples_picked_class_by_class_prove_nothing_of_right_labels(
    of_class_1: int, chosen: bool
) -> None:
    # One row in twenty is of class 1, which a model is never sure of; all labels are right.
    generator = np.random.default_rng(4)
    right, known = np.repeat([0, 1], [1900, 100]), np.repeat([0, 1], [40, of_class_1])
    tables = []
    for labels in (right, known):
        of_1 = np.clip(0.15 * (1 + labels) + generator.normal(0, 0.08, len(labels)), 0.01, 0.49)
        tables.append(np.stack([1 - of_1, of_1], axis=1))
    view = View("a model", *tables)
    assert least_wrong(right, view, known) == 0.0
    assert (agrees_beyond(right, view, known) > 0.05) == chosen
    doubts = doubts_about(right, Unseen([view], known), Interval(0.02, 0.0, 0.05))
    assert doubts.least == 0.0
    assert any("of other classes than the rows" in reason for reason in doubts.reasons) == chosen


@pytest.mark.parametrize("trusted", [50, 300])
def test_errors_that_every_other_model_learns_are_never_clear(trusted: int) -> None:
    generator = np.random.default_rng(3)
    right = generator.integers(0, CLASSES, 2000)
    known = generator.integers(0, CLASSES, trusted)
    rule = (right == 0) & (generator.random(2000) < 0.3)
    given = np.where(rule, 1, right)
    # What has learned the rule follows it on trusted samples, too.
    followed = np.where((known == 0) & (generator.random(trusted) < 0.3), 1, known)
    learned = View(
        "fitted without the row", seen(given, generator, 0.2), seen(followed, generator, 0.2)
    )
    tables = seen(right, generator, 0.3), seen(known, generator, 0.3)
    alone = View("trusted alone", *tables, alone=True)
    assert may_be_wrong(given, Unseen([learned], known)) == 0.0
    unseen = Unseen([learned, alone], known)
    assert 0.08 < may_be_wrong(given, unseen) < 0.16
    assert may_be_wrong(right, unseen) < 0.05
    # Where nothing is flagged, what may have learned the errors does not help to exclude them.
    assert may_be_wrong(given, unseen, flagged=False) == not_excluded(given, alone, known)
    # What a further opinion has learned from is not known.
    unseen = replace(unseen, views=[*unseen.views, learned])
    assert 0.08 < may_be_wrong(given, unseen) < 0.16
    rows = LabelledRows(
        np.arange(2000), given, ["a", "b", "c"], lambda labels: labels,
        learned.rows, learned.rows, learned.rows, crosswise=unseen,
    )  # fmt: skip
    flags = flag_mislabels(rows, None)
    assert flags.noise_rate.high > rule.mean()
    assert judge_labels(flags).outcome != "clear"


def marked(
    seed: int, rule: bool, rate: float = 0.0, trusted: int = 300
) -> tuple[Labels, Labels, Unseen]:
    """Return given and right labels, a sixth of class 0 being called 1 where `rule` is true.

    Fits to rows have learned that, and say so of rows and of trusted samples.
    """
    generator = np.random.default_rng(seed)
    right, known = generator.integers(0, CLASSES, 1500), generator.integers(0, CLASSES, trusted)
    learned = [
        np.where((labels == 0) & (generator.random(len(labels)) < 0.5) & rule, 1, labels)
        for labels in (right, known)
    ]
    slips = generator.random(len(right)) < rate
    given = np.where(
        slips, (learned[0] + generator.integers(1, CLASSES, len(right))) % 3, learned[0]
    )
    fitted = View("rows", *(seen(labels, generator, 0.35) for labels in learned))
    alone = View("alone", *(seen(labels, generator, 0.5) for labels in (right, known)), alone=True)
    return given, right, Unseen([fitted, alone], known)


def test_errors_that_labels_taught_are_noticed() -> None:
    found = {
        (rule, rate): [taught_errors(given, unseen) for given, _, unseen in draws]
        for rule in (False, True)
        for rate in (0.0, 0.3)
        for draws in [[marked(seed, rule, rate) for seed in range(20)]]
    }
    assert not any(found[False, 0.0] + found[False, 0.3])
    assert np.mean(found[True, 0.0]) > 0.9
    given, _, unseen = marked(0, True)
    assert not taught_errors(given, Unseen(unseen.views[:1], unseen.trusted_labels))


def test_what_labels_taught_errors_is_not_heard() -> None:
    given, right, unseen = marked(1, True)
    view = unseen.views[0]
    rows = LabelledRows(
        np.arange(len(given)), given, ["a", "b", "c"], lambda labels: labels,
        view.rows, view.rows, view.rows, crosswise=unseen,
    )  # fmt: skip
    flags = flag_mislabels(rows, None)
    alone = judge_unseen(given, Unseen(unseen.views[1:], unseen.trusted_labels))
    assert np.array_equal(flags.table["score"], alone.score)
    judgement = judge_labels(flags)
    assert judgement.outcome != "clear"
    assert any("err by a rule" in reason for reason in judgement.reasons)
    wrong = given != right
    of_all = judge_unseen(given, unseen)
    assert average_precision_score(wrong, alone.score) > average_precision_score(
        wrong, of_all.score
    )


@pytest.mark.parametrize("rule", [0.0, 0.1])
def test_a_good_model_beside_tells_what_few_trusted_samples_cannot_exclude(rule: float) -> None:
    """The model beside has learned the rule, rows and trusted samples are seen alike."""
    generator = np.random.default_rng(4)
    found = []
    for _ in range(200):
        right, known = generator.integers(0, 2, 1000), generator.integers(0, 2, 50)
        moved = [(y == 0) & (generator.random(len(y)) < 2 * rule) for y in (right, known)]
        learned = [np.where(m, 1, y) for m, y in zip(moved, (right, known), strict=True)]
        weak = [np.where(generator.random(len(y)) < 0.3, 1 - y, y) for y in (right, known)]
        alone, beside = (
            View("a model", *(np.eye(2)[said] for said in tables)) for tables in (weak, learned)
        )
        given = learned[0]
        found.append([not_excluded(given, alone, known), not_excluded(given, alone, known, beside)])
    without, with_it = np.array(found).T
    # What differs is .4 of the rule here, since the weak model is wrong on 3 of 10.
    assert np.mean(with_it >= 0.4 * rule) > 0.8
    assert with_it.mean() - 0.4 * rule < 0.75 * (without.mean() - 0.4 * rule)


def test_trusted_samples_of_another_kind_are_noticed() -> None:
    generator = np.random.default_rng(0)
    rows = as_probabilities(generator.normal(0, 1, (1000, 2)))
    others = as_probabilities(generator.normal(0, 1, (300, 2)) + np.array([1.5, 0]))
    assert unlikeness(View("shifted", rows, others))[0] < 1e-6
    assert unlikeness(View("alike", rows, rows[:300]))[0] > 1e-3


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("missed", [0.0, 0.3])
def test_a_class_that_is_missed_where_no_model_sees_it_is_never_clear(
    missed: float, seed: int
) -> None:
    # Some samples of class 2 look like class 0, to every view and to whoever gave the labels.
    generator = np.random.default_rng(seed)
    right, known = (generator.choice(CLASSES, n, p=[0.5, 0.4, 0.1]) for n in (3000, 1500))
    looks = [
        np.where((labels == 2) & (generator.random(len(labels)) < missed), 0, labels)
        for labels in (right, known)
    ]
    given = np.where(right == 2, looks[0], right)
    tables = [seen(labels, generator) for labels in looks]
    found = judge_labels(flag_mislabels(labelled(given, tables, known), None))
    assert found.outcome == ("cannot tell" if missed else "clear")
    assert ("were not drawn alike" in found.reasons[0]) == bool(missed)


def test_names_taken_for_words_are_found_and_how_many_there_are_is_not_told() -> None:
    # A third of the names is given as the usual class, whatever they look like.
    generator = np.random.default_rng(2)
    right, known = (generator.choice(CLASSES, n, p=[0.7, 0.2, 0.1]) for n in (3000, 600))
    given = np.where((right > 0) & (generator.random(len(right)) < 1 / 3), 0, right)
    tables = [seen(labels, generator, 0.3) for labels in (right, known)]
    flags = flag_mislabels(labelled(given, tables, known), None)
    found = judge_labels(flags)
    assert found.outcome == "cannot tell"
    assert "nearly all labels that were found wrong are 'a', the usual class" in found.reasons[0]
    assert flags.noise_rate.low <= (given != right).mean() <= flags.noise_rate.high == 1
    # Nor is it told of any class.
    assert flags.noise_per_class[["low", "high"]].to_numpy().tolist() == [[0.0, 1.0]] * CLASSES
    flagged = flags.table["flagged"].to_numpy()
    assert (given != right)[flagged].mean() > 0.8
    assert flagged.sum() > 0.7 * (given != right).sum()


def labelled(given: Labels, tables: list[NDArray[np.float64]], known: Labels) -> LabelledRows:
    rows, trusted = tables
    return LabelledRows(
        np.arange(len(given)), given, ["a", "b", "c"], lambda labels: labels, rows, rows, rows,
        crosswise=Unseen([View("a model", rows, trusted)], known),
    )  # fmt: skip


def test_too_few_trusted_samples_are_said() -> None:
    assert "no sample is trusted" in too_few(0, 40).reasons[0]
    assert "only 12 samples are trusted; 40" in too_few(12, 40).reasons[0]

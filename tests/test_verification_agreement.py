"""Correlations, their intervals, the ceiling, and the groups that are left out."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from dataaudit.errors import ConfigError
from dataaudit.studies.verification.agreement import agreement, ceiling, pearson, spearman_within
from dataaudit.studies.verification.groups import (
    graded_groups,
    query_groups,
    random_groups,
    random_halves,
)


def related(groups: int, queries: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    measured = generator.normal(size=(groups, queries))
    return measured, measured + noise * generator.normal(size=(groups, queries))


def test_correlations_are_those_of_scipy() -> None:
    measured, predicted = related(12, 5, 0.7)
    found = agreement(measured, predicted)
    assert found.pearson.estimate == pytest.approx(
        pearsonr(measured.ravel(), predicted.ravel()).statistic
    )
    assert found.spearman.estimate == pytest.approx(
        spearmanr(measured.ravel(), predicted.ravel()).statistic
    )
    within = [spearmanr(measured[:, q], predicted[:, q]).statistic for q in range(5)]
    assert found.within.estimate == pytest.approx(np.mean(within))
    for correlation in (found.pearson, found.spearman, found.within):
        assert -1 <= correlation.low < correlation.estimate < correlation.high <= 1


def test_the_interval_draws_whole_groups() -> None:
    # Each group's points are the same point five times over: twelve facts, not sixty.
    measured, predicted = (side[:, :1].repeat(5, axis=1) for side in related(12, 5, 1.0))
    once = agreement(measured[:, :1], predicted[:, :1]).pearson
    repeated = agreement(measured, predicted).pearson
    assert (repeated.low, repeated.high) == pytest.approx((once.low, once.high))


def test_no_variation_is_no_correlation() -> None:
    measured, _ = related(6, 2, 0.0)
    found = agreement(measured, np.zeros((6, 2)))
    assert (found.pearson, found.spearman, found.within) == (None, None, None)
    assert np.isnan(pearson(np.ones(3), np.arange(3.0)))


def test_queries_without_variation_are_left_out_of_the_mean() -> None:
    measured, predicted = related(8, 2, 0.5)
    predicted[:, 1] = 1.0
    expected = spearmanr(measured[:, 0], predicted[:, 0]).statistic
    assert spearman_within(measured, predicted) == pytest.approx(expected)


def test_the_ceiling_is_what_the_truth_itself_would_reach() -> None:
    generator = np.random.default_rng(1)
    truth = generator.normal(size=(400, 10))
    repeats = truth + 1.5 * generator.normal(size=(4, 400, 10))
    reached = pearsonr(truth.ravel(), repeats.mean(axis=0).ravel()).statistic
    assert ceiling(repeats) == pytest.approx(reached, abs=0.02)
    assert ceiling(repeats[:1]) is None
    assert ceiling(np.stack([truth, -truth])) == 0.0


def test_wrong_shapes_and_too_few_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="found 3 groups, expected at least 4"):
        agreement(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="shapes"):
        agreement(np.zeros((5, 2)), np.zeros((5, 3)))


def test_random_groups_are_disjoint_and_seeded() -> None:
    groups = random_groups(100, 6, 15, seed=3)
    assert [len(group) for group in groups] == [15] * 6
    assert len(np.unique(np.concatenate(groups))) == 90
    for one, other in zip(groups, random_groups(100, 6, 15, seed=3), strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(ConfigError, match="found 7 groups of 15 rows, expected at most 100 rows"):
        random_groups(100, 7, 15, seed=3)


def test_graded_groups_go_from_the_lowest_to_the_highest_scores() -> None:
    scores = np.random.default_rng(0).permutation(40).astype(float)
    groups = graded_groups(scores, 4, 10)
    assert [sorted(scores[group]) for group in groups] == [
        list(range(start, start + 10)) for start in (0, 10, 20, 30)
    ]


def test_halves_overlap_and_query_groups_are_of_like_labels() -> None:
    halves = random_halves(50, 4, seed=0)
    assert [len(half) for half in halves] == [25] * 4
    assert len({tuple(half) for half in halves}) == 4
    labels = np.array([2, 0, 1, 0, 2, 1])
    assert [labels[group].tolist() for group in query_groups(labels, 3)] == [[0, 0], [1, 1], [2, 2]]
    assert len(query_groups(labels, 10)) == 6

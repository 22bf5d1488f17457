"""Probes: linear discriminants on stored features, each sample judged without itself."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dataaudit.flags.probabilities import row_blocks
from dataaudit.mirror import probes
from dataaudit.mirror.probes import Discriminant, Sums, probe, sum_of

CLASSES, WIDTH = 3, 6


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    centers = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    features = centers[labels] + generator.normal(size=(count, WIDTH)) * np.arange(1, WIDTH + 1)
    return features, labels


def test_without_shrinkage_it_is_fishers_discriminant() -> None:
    features, labels = samples(20_000, 0)
    found = Discriminant.fit(Sums.of(features, labels, CLASSES), 0.0).probabilities(features)
    expected = LinearDiscriminantAnalysis(solver="lsqr").fit(features, labels)
    np.testing.assert_allclose(found, expected.predict_proba(features), atol=1e-3)


def test_sums_of_parts_are_those_of_the_whole_and_back() -> None:
    features, labels = samples(50, 0)
    whole = Sums.of(features, labels, CLASSES)
    parts = [Sums.of(features[start::2], labels[start::2], CLASSES) for start in (0, 1)]
    for name in ("counts", "firsts", "seconds"):
        np.testing.assert_allclose(getattr(sum_of(parts), name), getattr(whole, name))
        np.testing.assert_allclose(getattr(whole - parts[0], name), getattr(parts[1], name))


def test_a_class_without_a_sample_and_a_feature_that_never_varies() -> None:
    features, labels = samples(100, 0)
    features[:, 2] = 7.0
    found = Discriminant.fit(Sums.of(features, labels, CLASSES + 1), 0.1).probabilities(features)
    assert np.isfinite(found).all()
    assert found[:, CLASSES].max() < 0.2


@pytest.fixture
def judged(tmp_path: Path) -> tuple[probes.Judged, probes.Judged]:
    return probe(*samples(400, 1), *samples(150, 2), CLASSES, tmp_path)


def test_no_sample_is_judged_by_a_probe_that_knows_it(
    tmp_path: Path, judged: tuple[probes.Judged, probes.Judged]
) -> None:
    features, given = samples(400, 1)
    trusted, right = samples(150, 2)
    # Whatever a row's own label is, what is said of that row stays.
    other = given.copy()
    other[7] = (given[7] + 1) % CLASSES
    moved = probe(features, other, trusted, right, CLASSES, tmp_path)
    np.testing.assert_allclose(moved[0].rows[7], judged[0].rows[7], atol=1e-6)
    assert not np.array_equal(moved[0].rows, judged[0].rows)
    # Labels of the rows are nothing to a probe of trusted samples alone.
    np.testing.assert_array_equal(moved[1].trusted, judged[1].trusted)


def test_a_wrong_label_is_less_probable_than_the_right_one(
    judged: tuple[probes.Judged, probes.Judged],
) -> None:
    _, given = samples(400, 1)
    for said in judged:
        np.testing.assert_allclose(said.rows.sum(axis=1), 1, atol=1e-5)
        right = said.rows[np.arange(400), given].mean()
        wrong = said.rows[np.arange(400), (given + 1) % CLASSES].mean()
        assert right > wrong + 0.1


def test_blocks_do_not_change_what_is_said(
    tmp_path: Path,
    judged: tuple[probes.Judged, probes.Judged],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dataaudit.flags.probabilities.ROWS_PER_BLOCK", 64)
    assert len(list(row_blocks(400))) == 7
    again = probe(*samples(400, 1), *samples(150, 2), CLASSES, tmp_path)
    for one, other in zip(judged, again, strict=True):
        np.testing.assert_allclose(one.rows, other.rows, atol=1e-6)
        np.testing.assert_allclose(one.trusted, other.trusted, atol=1e-12)
    assert list(tmp_path.iterdir()) == []

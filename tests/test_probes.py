"""Probes: linear discriminants on stored features, each sample judged without itself."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dataaudit.flags.probabilities import row_blocks
from dataaudit.mirror import probes
from dataaudit.mirror.probes import Discriminant, Judged, Sums, probe, sum_of

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
def judged(tmp_path: Path) -> Judged:
    return probe(*samples(400, 1), *samples(150, 2), CLASSES, tmp_path)


def test_what_is_said_of_a_sample_does_not_depend_on_its_own_label(
    tmp_path: Path, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    (features, given), (trusted, right) = samples(400, 1), samples(150, 2)
    moved = given.copy()
    moved[7] = (given[7] + 1) % CLASSES
    # How far the two kinds of probes are believed rests on all trusted samples, and on none alone.
    monkeypatch.setattr(probes, "_believed", lambda tables, right: np.full(2, 0.5))
    before = probe(features, given, trusted, right, CLASSES, tmp_path)
    after = probe(features, moved, trusted, right, CLASSES, tmp_path)
    np.testing.assert_allclose(after.rows[7], before.rows[7], atol=1e-6)
    assert not np.allclose(after.rows, before.rows, atol=1e-6)
    moved = right.copy()
    moved[9] = (right[9] + 1) % CLASSES
    after = probe(features, given, trusted, moved, CLASSES, tmp_path)
    np.testing.assert_allclose(after.trusted[9], before.trusted[9], atol=1e-9)
    assert not np.allclose(after.trusted, before.trusted, atol=1e-6)


def test_a_wrong_label_is_less_probable_than_the_right_one(judged: Judged) -> None:
    _, given = samples(400, 1)
    np.testing.assert_allclose(judged.rows.sum(axis=1), 1, atol=1e-5)
    right = judged.rows[np.arange(400), given].mean()
    wrong = judged.rows[np.arange(400), (given + 1) % CLASSES].mean()
    assert right > wrong + 0.1


def test_probes_that_learned_wrong_labels_are_not_believed(tmp_path: Path) -> None:
    (features, given), (trusted, right) = samples(400, 1), samples(300, 2)
    (unseen, truth) = samples(2000, 3)
    nonsense = np.random.default_rng(0).integers(0, CLASSES, 400)

    def correct(labels: np.ndarray) -> float:
        found = probe(features, labels, trusted, right, CLASSES, tmp_path)
        return float(found.trusted[np.arange(300), right].mean())

    # Rows under the right labels help; under nonsense they cannot do much harm.
    alone = Discriminant.fit(Sums.of(trusted, right, CLASSES), 0.1).probabilities(unseen)
    expected = alone[np.arange(2000), truth].mean()
    assert correct(nonsense) > expected - 0.05
    assert correct(given) > correct(nonsense)


def test_blocks_do_not_change_what_is_said(
    tmp_path: Path, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataaudit.flags.probabilities.ROWS_PER_BLOCK", 64)
    assert len(list(row_blocks(400))) == 7
    again = probe(*samples(400, 1), *samples(150, 2), CLASSES, tmp_path)
    np.testing.assert_allclose(again.rows, judged.rows, atol=1e-6)
    np.testing.assert_allclose(again.trusted, judged.trusted, atol=1e-9)
    assert list(tmp_path.iterdir()) == []

"""Probes: logistic regressions on stored features, each sample judged without itself."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dataaudit.flags.probabilities import row_blocks, softmax
from dataaudit.mirror import probes
from dataaudit.mirror.probes import Judged, Scale, fitted, one_hot, probe

CLASSES, WIDTH = 3, 6


def samples(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    centers = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    features = centers[labels] + generator.normal(size=(count, WIDTH)) * np.arange(1, WIDTH + 1)
    return features, labels


def test_a_probe_is_a_logistic_regression() -> None:
    features, labels = samples(500, 0)
    scale = Scale.of([features[:200], features[200:]])
    inputs = scale.applied(features)
    np.testing.assert_allclose(inputs[:, :-1], StandardScaler().fit_transform(features), atol=1e-4)
    found = softmax(
        inputs.astype(np.float64) @ fitted(inputs, one_hot(labels, CLASSES), ridge=10.0)
    )
    expected = LogisticRegression(C=0.1, tol=1e-8).fit(inputs[:, :-1], labels)
    np.testing.assert_allclose(found, expected.predict_proba(inputs[:, :-1]), atol=2e-3)


def test_a_class_without_a_sample_and_a_feature_that_never_varies(tmp_path: Path) -> None:
    (features, given), (trusted, right) = samples(100, 0), samples(60, 1)
    features[:, 2] = trusted[:, 2] = 7.0
    found = probe(features, given, trusted, right, CLASSES + 1, tmp_path)
    assert np.isfinite(found.rows).all()
    assert found.rows[:, CLASSES].max() < 0.2


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
    monkeypatch.setattr(probes, "_believed", lambda logs, right: np.full(2, 0.5))
    monkeypatch.setattr(probes, "RIDGES", (30.0,))
    # In a second round it has, by way of other rows; that is some thousandths.
    monkeypatch.setattr(probes, "DOUBTS", ())
    before = probe(features, given, trusted, right, CLASSES, tmp_path)
    after = probe(features, moved, trusted, right, CLASSES, tmp_path)
    np.testing.assert_allclose(after.rows[7], before.rows[7], atol=1e-3)
    assert not np.allclose(after.rows, before.rows, atol=1e-3)
    moved = right.copy()
    moved[9] = (right[9] + 1) % CLASSES
    after = probe(features, given, trusted, moved, CLASSES, tmp_path)
    np.testing.assert_allclose(after.trusted[9], before.trusted[9], atol=1e-3)
    assert not np.allclose(after.trusted, before.trusted, atol=1e-3)


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
    scale = Scale.of([trusted])
    weights = fitted(scale.applied(trusted), one_hot(right, CLASSES), ridge=30.0)
    alone = softmax(scale.applied(unseen).astype(np.float64) @ weights)
    expected = alone[np.arange(2000), truth].mean()
    assert correct(nonsense) > expected - 0.05
    assert correct(given) > correct(nonsense)


def test_blocks_do_not_change_what_is_said(
    tmp_path: Path, judged: Judged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataaudit.flags.probabilities.ROWS_PER_BLOCK", 64)
    assert len(list(row_blocks(400))) == 7
    again = probe(*samples(400, 1), *samples(150, 2), CLASSES, tmp_path)
    np.testing.assert_allclose(again.rows, judged.rows, atol=1e-4)
    np.testing.assert_allclose(again.trusted, judged.trusted, atol=1e-4)
    assert list(tmp_path.iterdir()) == []

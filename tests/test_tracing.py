"""Tracing: against the whole rows x queries matrix, held in memory here and nowhere else."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.models.trained import TrainedModel
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.studies.tracing import tracing
from dataaudit.studies.tracing.background import SPREAD_FLOOR, RunningBackground
from dataaudit.studies.tracing.top_rows import TopRows
from dataaudit.studies.tracing.tracing import QUERIES_ENOUGH, TraceSettings, trace_rows

SETTINGS = TraceSettings(top=4, background=11, calibration=8, batch_size=7)
"""Five queries, so that six unrelated samples join them."""


@dataclass
class LinearTracer:
    """Rows and queries are vectors; a row's loss falls by the dot product with what is added."""

    direction: str = "unlearn"
    against_background: bool = True
    method: str = "a dot product"
    model: TrainedModel = field(
        default_factory=lambda: TrainedModel(nn.Linear(3, 1), lambda frame: frame, "linear")
    )
    perturbed: int = 0

    def perturb(self, samples: Samples, position: int) -> Perturbation:
        self.perturbed += 1
        sign = -1.0 if self.direction == "unlearn" else 1.0
        return Perturbation({"step": sign * vectors(samples)[position]})

    def losses(self, samples, batch, perturbations):
        found = vectors(samples)[batch.positions]
        nothing = torch.zeros(3, dtype=torch.float64)
        steps = [perturbation.tensors.get("step", nothing) for perturbation in perturbations]
        return (5.0 - found @ torch.stack(steps).T).numpy()


def vectors(samples: Samples) -> torch.Tensor:
    frame = samples.source.take(range(len(samples)))
    return torch.tensor(frame[["a", "b", "c"]].to_numpy(np.float64))


def made(role: str, count: int, seed: int) -> Samples:
    values = np.random.default_rng(seed).normal(size=(count, 3))
    frame = pd.DataFrame(values, columns=["a", "b", "c"])
    return samples_from_object(frame, ReadSettings(role, label=None, task="causal-lm"))


def traced(tmp_path: Path, tracer=None, settings=SETTINGS, references=None, name="steps"):
    rows, queries = made("train", 40, 0), made("suspects", 5, 1)
    steps = Steps(tmp_path / name, "tie")
    drawn = rows if references is None else references
    return trace_rows(tracer or LinearTracer(), rows, queries, drawn, settings, 0.1, steps)


def drawn_order(references: int) -> np.ndarray:
    return np.random.default_rng(0).permutation(references)


def unusual(changes: np.ndarray, background: np.ndarray, floor: float) -> np.ndarray:
    """Scores of some changes `[rows]` against a background `[rows, samples]`, directly."""
    deviation = np.nanstd(background, axis=1, ddof=1)
    return (changes - np.nanmean(background, axis=1)) / (deviation + floor)


def whole_matrix(references: Samples | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Changes and scores `[rows, queries]`, directly."""
    rows, queries = vectors(made("train", 40, 0)), vectors(made("suspects", 5, 1))
    drawn = rows if references is None else vectors(references)
    order = drawn_order(len(drawn))[:6]
    unrelated = (rows @ drawn[order].T).numpy()
    if references is None:
        unrelated[order, np.arange(6)] = np.nan
    changes = (rows @ queries.T).numpy()
    both = np.concatenate([unrelated, changes], axis=1)
    floor = SPREAD_FLOOR * np.median(np.nanstd(both, axis=1, ddof=1)) + 1e-12
    scores = [
        # Against everything but itself.
        unusual(changes[:, query], np.delete(both, 6 + query, axis=1), floor)
        for query in range(5)
    ]
    return changes, np.stack(scores, axis=1)


@pytest.mark.parametrize("trusted", [False, True])
def test_the_best_rows_are_those_of_the_whole_matrix(tmp_path: Path, trusted: bool) -> None:
    references = made("held_out", 30, 2) if trusted else None
    found = traced(tmp_path, references=references)
    changes, scores = whole_matrix(references)
    order = np.argsort(-scores, axis=0, kind="stable")[:4].T
    np.testing.assert_array_equal(found.rows.positions, order)
    np.testing.assert_allclose(found.rows.scores, np.take_along_axis(scores.T, order, 1))
    np.testing.assert_allclose(found.rows.changes, np.take_along_axis(changes.T, order, 1))


def test_enough_queries_are_each_others_background_alone(tmp_path: Path) -> None:
    rows, queries = made("train", 40, 0), made("suspects", QUERIES_ENOUGH, 1)
    steps = Steps(tmp_path / "steps", "tie")
    found = trace_rows(LinearTracer(), rows, queries, rows, SETTINGS, 0.1, steps)
    changes = (vectors(rows) @ vectors(queries).T).numpy()
    floor = SPREAD_FLOOR * np.median(changes.std(axis=1, ddof=1)) + 1e-12
    scores = [
        unusual(changes[:, query], np.delete(changes, query, axis=1), floor)
        for query in range(QUERIES_ENOUGH)
    ]
    order = np.argsort(-np.stack(scores), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.rows.positions, order)
    np.testing.assert_allclose(found.rows.scores, np.take_along_axis(np.stack(scores), order, 1))


def test_a_row_that_shares_what_is_unlearned_loses_and_comes_first(tmp_path: Path) -> None:
    found = traced(tmp_path)
    best = vectors(made("train", 40, 0))[found.rows.positions[:, 0]]
    alike = (best * vectors(made("suspects", 5, 1))).sum(dim=1)
    assert (alike > 0).all()
    assert (found.rows.changes[:, 0] > 0).all()


def test_learning_finds_the_same_rows_as_unlearning_with_changes_of_the_other_sign(
    tmp_path: Path,
) -> None:
    unlearned = traced(tmp_path, name="unlearn")
    learned = traced(tmp_path, LinearTracer("learn"), name="learn")
    np.testing.assert_array_equal(learned.rows.positions, unlearned.rows.positions)
    np.testing.assert_allclose(learned.rows.scores, unlearned.rows.scores)
    np.testing.assert_allclose(learned.rows.changes, -unlearned.rows.changes)


def test_without_a_background_rows_are_ranked_by_the_change_as_it_is(tmp_path: Path) -> None:
    found = traced(tmp_path, LinearTracer(against_background=False))
    changes, _ = whole_matrix()
    order = np.argsort(-changes, axis=0, kind="stable")[:4].T
    np.testing.assert_array_equal(found.rows.positions, order)
    np.testing.assert_allclose(found.rows.scores, found.rows.changes)


@pytest.mark.parametrize("batch_size", [1, 13, 100])
def test_batch_size_and_models_at_once_change_nothing(
    tmp_path: Path, batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = traced(tmp_path)
    monkeypatch.setattr(tracing, "PERTURBED_BYTES", 40)
    settings = replace(SETTINGS, batch_size=batch_size)
    found = traced(tmp_path, settings=settings, name="other")
    np.testing.assert_array_equal(found.rows.positions, expected.rows.positions)
    np.testing.assert_allclose(found.rows.scores, expected.rows.scores, rtol=1e-9)
    np.testing.assert_allclose(found.p_values, expected.p_values)
    np.testing.assert_array_equal(found.flagged, expected.flagged)


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    expected = traced(tmp_path)
    tracer = LinearTracer()
    again = traced(tmp_path, tracer)
    assert tracer.perturbed == 0
    np.testing.assert_array_equal(again.rows.scores, expected.rows.scores)


def test_p_values_count_how_often_unrelated_samples_score_as_high(tmp_path: Path) -> None:
    found = traced(tmp_path)
    order = drawn_order(40)
    rows, queries = vectors(made("train", 40, 0)), vectors(made("suspects", 5, 1))
    unrelated = (rows @ rows[order[:6]].T).numpy()
    unrelated[order[:6], np.arange(6)] = np.nan
    both = np.concatenate([unrelated, (rows @ queries.T).numpy()], axis=1)
    floor = SPREAD_FLOOR * np.median(np.nanstd(both, axis=1, ddof=1)) + 1e-12
    others = (rows @ rows[order[6:14]].T).numpy()
    scores = np.stack([unusual(column, both, floor) for column in others.T], axis=1)
    # A training row is no unrelated row to itself.
    scores[order[6:14], np.arange(8)] = -np.inf
    best = scores.max(axis=0)
    expected = (1 + (best >= found.rows.scores[..., None]).sum(axis=-1)) / 9
    np.testing.assert_allclose(found.p_values, expected)


def test_the_running_background_is_the_mean_and_deviation_of_all_changes() -> None:
    generator = np.random.default_rng(3)
    changes = generator.normal(size=(9, 12)) * generator.uniform(0.1, 5, (9, 1)) + 3
    changes[2, 5] = np.nan
    background = RunningBackground.of(9)
    for start, stop in ((0, 1), (1, 6), (6, 12)):
        for rows in (np.arange(4), np.arange(4, 9)):
            background.add(rows, changes[rows, start:stop])
    np.testing.assert_allclose(background.mean, np.nanmean(changes, axis=1))
    deviation = np.nanstd(changes, axis=1, ddof=1)
    floor = SPREAD_FLOOR * np.median(deviation) + 1e-12
    assert background.floor() == pytest.approx(floor)
    asked = np.concatenate([changes[:, [2]], changes[:, [0]] + 1], axis=1)
    found = background.unusual(np.arange(9), asked, np.array([True, False]))
    expected = [unusual(asked[:, 0], np.delete(changes, 2, axis=1), floor),
                unusual(asked[:, 1], changes, floor)]  # fmt: skip
    np.testing.assert_allclose(found, np.stack(expected, axis=1))


def test_of_equal_scores_the_earlier_row_wins() -> None:
    top = TopRows.of(1, 2)
    for start in (0, 2, 4):
        scores = np.array([[1.0], [2.0]])
        top.add(np.array([start, start + 1]), scores, scores)
    assert top.positions.tolist() == [[1, 3]]

"""Unlearning one query: the step in closed form, reactions against brute force."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.flags.contamination import influence_scores
from dataaudit.mirror import unlearning
from dataaudit.mirror.unlearning import LEARNING_RATE, reactions, unlearned
from dataaudit.models.trained import TrainedModel
from dataaudit.tasks import Classification

COLUMNS = ["a", "b", "c", "d"]
TASK = Classification(3)


def model() -> TrainedModel:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3)).double().eval()
    return TrainedModel(module, lambda frame: torch.tensor(frame[COLUMNS].to_numpy()), "small")


def samples(count: int, seed: int) -> Samples:
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(generator.normal(size=(count, 4)), columns=COLUMNS)
    frame["label"] = generator.integers(3, size=count)
    return samples_from_object(frame, ReadSettings("train", "label", classes=[0, 1, 2]))


def test_the_step_is_the_first_ascending_step_of_adam() -> None:
    trained, queries = model(), samples(5, 1)
    found = unlearned(trained, TASK, queries, 3)
    by_hand = copy.deepcopy(trained.module)
    optimizer = torch.optim.Adam(by_hand.parameters(), lr=LEARNING_RATE, maximize=True)
    batch = queries.take([3])
    inputs = torch.tensor(batch.frame[COLUMNS].to_numpy())
    nn.functional.cross_entropy(by_hand(inputs), torch.tensor(batch.labels)).backward()
    optimizer.step()
    for name, value in by_hand.named_parameters():
        torch.testing.assert_close(found.tensors[name], value.detach(), rtol=1e-9, atol=1e-12)
    assert all(parameter.grad is None for parameter in trained.module.parameters())


def test_reactions_are_loss_changes_by_brute_force_in_batches_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, queries, rows = model(), samples(4, 1), samples(9, 2)
    positions = np.array([0, 2, 3])
    candidates = np.array([[1, 8], [-1, -1], [8, -1]])
    backgrounds = [unlearned(trained, TASK, queries, 1)]
    expected = np.full((3, 2), np.nan)
    for line, column in [(0, 0), (0, 1), (2, 0)]:
        batch = rows.take([candidates[line, column]])
        inputs, label = torch.tensor(batch.frame[COLUMNS].to_numpy()), torch.tensor(batch.labels)
        after = unlearned(trained, TASK, queries, int(positions[line])).copy_of(trained.module)
        with torch.no_grad():
            change = TASK.losses(after(inputs), label) - TASK.losses(trained.module(inputs), label)
        expected[line, column] = change.item()
    for size in (1, 2, 64):
        monkeypatch.setattr(unlearning, "QUERIES_PER_READ", size)
        changes, background = reactions(
            trained, TASK, queries, positions, rows, candidates, backgrounds
        )
        np.testing.assert_allclose(changes, expected, rtol=1e-7, atol=1e-12)
        assert background.shape == (3, 2, 1)
        assert background[0, 1, 0] == background[2, 0, 0]


def test_a_memorized_copy_reacts_more_than_it_does_to_clean_queries() -> None:
    trained, rows, clean = model(), samples(60, 3), samples(40, 4)
    inputs, labels = torch.tensor(rows.take(range(60)).frame[COLUMNS].to_numpy()), rows.labels
    optimizer = torch.optim.Adam(trained.module.parameters(), lr=0.01)
    for _ in range(300):
        loss = nn.functional.cross_entropy(trained.module(inputs), torch.tensor(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    backgrounds = [unlearned(trained, TASK, clean, position) for position in range(20)]
    own = np.arange(15)[:, None]
    copies = influence_scores(
        *reactions(trained, TASK, rows, np.arange(15), rows, own, backgrounds)
    )
    strangers = influence_scores(
        *reactions(trained, TASK, clean, np.arange(20, 35), rows, own, backgrounds)
    )
    assert np.median(copies) > 3
    assert np.median(copies) > np.median(strangers) + 3


def test_rows_are_read_a_few_times_not_once_for_each_query(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained, queries, rows = model(), samples(130, 1), samples(40, 2)
    reads = []
    taken = Samples.take

    def counted(self: Samples, positions):  # type: ignore[no-untyped-def]
        reads.append(len(positions))
        return taken(self, positions)

    monkeypatch.setattr(Samples, "take", counted)
    candidates = np.random.default_rng(0).integers(0, 40, (130, 3))
    reactions(trained, TASK, queries, np.arange(130), rows, candidates, [])
    # 130 queries are three reads, and so are the rows that they match.
    assert len(reads) == 6

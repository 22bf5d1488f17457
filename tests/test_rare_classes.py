"""Rare classes: not flagged whole, not ranked worse than by the model's loss, not cleared."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import dataaudit
from dataaudit.flags.inputs import References
from dataaudit.flags.label_errors import judge_labels
from dataaudit.flags.unproven_classes import Unproven
from dataaudit.mirror.plan import MOST_REFERENCES, _rare_first

COLUMNS = ["a", "b", "c", "d"]


def tables(given, right, sure_of_rare_after):
    """Return what models say before and after; before, both classes are known."""
    generator = np.random.default_rng(5)
    odds = np.where(right == 1, 3.0, -3.0) + generator.normal(size=len(right))
    before = 1 / (1 + np.exp(-odds - np.where(given == 1, 1.0, -1.0)))
    after = 1 / (1 + np.exp(6.0 - sure_of_rare_after * odds))
    return [np.stack([1 - p, p], axis=1) for p in (before, after)]


def rows_and_references(sure_of_rare_after):
    right = np.zeros(4000, dtype=int)
    right[:12] = 1
    given = right.copy()
    given[:2], given[100:108] = 0, 1
    known = np.zeros(300, dtype=int)
    known[:4] = 1
    planted = np.arange(300) % 4 == 3
    learned = np.where(planted, 1 - known, known)
    before, after = tables(given, right, sure_of_rare_after)
    references = References(learned, planted, *tables(learned, known, sure_of_rare_after))
    return given, given != right, before, after, references


def test_a_forgotten_class_is_ranked_by_the_model_before_it_learned_again():
    given, wrong, before, after, references = rows_and_references(-0.3)
    unproven = Unproven.of(given, before, after, references)
    assert unproven.forgotten.tolist() == [True, True]
    assert unproven.few.tolist() == [False, True]
    found = judge_labels(given, before, after, references)
    own = -np.log(before[np.arange(len(given)), given])
    assert average_precision_score(wrong, found.score) >= average_precision_score(wrong, own) - 1e-9
    assert wrong[found.flagged].all()
    assert found.untold.all()
    assert found.noise_rate.high == 1.0


def test_a_class_with_too_few_references_has_no_interval():
    given, wrong, before, after, references = rows_and_references(1.0)
    unproven = Unproven.of(given, before, after, references)
    assert unproven.forgotten.tolist() == [False, False]
    found = judge_labels(given, before, after, references)
    assert wrong[found.flagged].all()
    assert found.untold.tolist() == [False, True]
    assert (found.noise_rate_per_class[1].low, found.noise_rate_per_class[1].high) == (0.0, 1.0)
    assert found.noise_rate.high < 0.05


def test_classes_of_the_same_size_are_left_to_the_mirror_whatever_is_trusted():
    generator = np.random.default_rng(0)
    given = generator.integers(0, 10, 2000)
    table = np.full((2000, 10), 0.02)
    table[np.arange(2000), given] = 0.82
    unproven = Unproven.of(given, table, table, None)
    assert not (unproven.forgotten | unproven.few).any()


def test_references_hold_what_is_trusted_of_rare_classes():
    labels = np.zeros(4000, dtype=np.int64)
    labels[-8:] = 1
    order = np.random.default_rng(0).permutation(4000)
    chosen = _rare_first(order, labels)
    assert sorted(chosen.tolist()) == list(range(4000))
    assert (labels[chosen[:MOST_REFERENCES]] == 1).sum() == 8


def drawn(sizes, seed, errors=0):
    """Return blobs with so many rows of each class, and given labels, some of them wrong."""
    generator = np.random.default_rng(seed)
    right = np.repeat(np.arange(len(sizes)), sizes)
    values = generator.normal(size=(len(right), 4))
    values += np.random.default_rng(9).normal(0, 2.2, (len(sizes), 4))[right]
    given, rare = right.copy(), len(sizes) - 1
    given[generator.choice(np.flatnonzero(right != rare), errors, replace=False)] = rare
    given[generator.choice(np.flatnonzero(right == rare), errors // 3, replace=False)] = 0
    return values.astype(np.float32), right, given


def framed(values, labels):
    return pd.DataFrame(values, columns=COLUMNS).assign(label=labels)


@pytest.mark.parametrize(
    ("sizes", "errors"),
    [((4000, 8), 6), ((4000, 8), 0), ((3000, 30), 9), ((1500, 1500, 15), 6)],
)
def test_an_audit_with_a_rare_class(sizes, errors):
    values, right, given = drawn(sizes, 1, errors)
    trusted, trusted_labels, _ = drawn([size // 4 for size in sizes], 2)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, len(sizes)))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    inputs, labels = torch.tensor(values), torch.tensor(given)
    for _ in range(6):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    result = dataaudit.audit(
        model.eval(),
        framed(values, given),
        framed(trusted, trusted_labels),
        preprocess=lambda frame: torch.tensor(frame[COLUMNS].to_numpy(dtype="float32", copy=True)),
    )
    wrong, table = given != right, result.mislabels
    of_rare = given == len(sizes) - 1
    assert (table.flagged & of_rare & ~wrong).sum() <= 0.1 * (of_rare & ~wrong).sum()
    assert result.report.labels.outcome != "clear"
    if errors:
        with torch.no_grad():
            own = nn.functional.cross_entropy(model(inputs), labels, reduction="none").numpy()
        for some in (np.ones(len(wrong), bool), of_rare):
            ours, loss = (
                average_precision_score(wrong[some], score[some]) for score in (table.score, own)
            )
            assert ours >= loss - 0.01

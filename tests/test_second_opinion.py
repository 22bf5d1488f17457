"""A second opinion by features that no label has touched: what it adds, and when it is silent."""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import nn

import dataaudit
from dataaudit.flags.inputs import Unseen, View
from dataaudit.flags.label_doubts import doubts_about_two
from dataaudit.flags.results import Interval

COLUMNS = ["a", "b", "c", "d"]


def said(labels, generator, right=0.9):
    """Return what somebody says who is right with probability `right`, `[samples, 3]`."""
    table = np.full((len(labels), 3), 0.05)
    seen = np.where(generator.random(len(labels)) < right, labels, (labels + 1) % 3)
    table[np.arange(len(labels)), seen] = 0.9
    return table


def opinion(rule=0.0):
    """Return given labels and an opinion that has learned what share of the rows is wrong by."""
    generator = np.random.default_rng(0)
    right, trusted = generator.integers(0, 3, 2000), generator.integers(0, 3, 500)
    given = np.where(generator.random(2000) < rule, (right + 1) % 3, right)
    rows = said(given, generator, 0.99) if rule else said(right, generator)
    return given, Unseen([View("somebody", rows, said(trusted, generator))], trusted)


def test_two_that_agree_leave_no_doubt_and_two_that_differ_do():
    given, second = opinion()
    nothing, much = Interval(0.0, 0.0, 0.01), Interval(0.2, 0.15, 0.25)
    assert doubts_about_two(given, second, nothing, Interval(0.02, 0.0, 0.05)).reasons == ()
    differ = doubts_about_two(given, second, nothing, much)
    assert "disagree" in differ.reasons[0]
    assert (differ.least, differ.most) == (0.0, 0.25)


def test_labels_that_agree_more_than_they_may_are_proven_to_differ():
    given, second = opinion(rule=0.3)
    found = doubts_about_two(given, second, Interval(0, 0, 0), Interval(0.0, 0.0, 0.1))
    assert "as if by a rule" in found.reasons[0]
    assert 0.03 < found.least < 0.3


def test_an_opinion_that_is_no_better_than_guessing_is_not_heard():
    given, second = opinion()
    order = np.random.default_rng(1).permutation(500)
    second = replace(second, trusted_labels=second.trusted_labels[order])
    assert doubts_about_two(given, second, Interval(0, 0, 0), Interval(0.2, 0.15, 0.25)) is None


def test_an_opinion_about_other_data_is_not_heard():
    given, second = opinion()
    view = second.views[0]
    other = replace(second, views=[replace(view, trusted=np.full((500, 3), 1 / 3))])
    assert doubts_about_two(given, other, Interval(0, 0, 0), Interval(0.2, 0.15, 0.25)) is None


def audited(given, values, trusted, trusted_labels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    inputs, labels = torch.tensor(values), torch.tensor(given)
    for _ in range(40):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    frames = [
        pd.DataFrame(part, columns=COLUMNS).assign(label=labels)
        for part, labels in ((values, given), (trusted, trusted_labels))
    ]
    return dataaudit.audit(
        model.eval(),
        *frames,
        preprocess=lambda frame: torch.tensor(frame[COLUMNS].to_numpy(dtype="float32", copy=True)),
    ).report.labels


def drawn(count, seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    values = generator.normal(size=(count, 4)) + np.where(labels, 1.6, -1.6)[:, None]
    return values.astype(np.float32), labels


def test_errors_by_a_rule_that_the_network_has_learned_are_not_cleared():
    values, right = drawn(1200, 1)
    trusted, trusted_labels = drawn(400, 2)
    given = np.where((right == 1) & (values[:, 0] > 2.3), 0, right)
    assert 0.1 < (given != right).mean() < 0.2
    labels = audited(given, values, trusted, trusted_labels)
    assert labels.outcome != "clear"
    assert labels.noise_rate.high >= (given != right).mean()


def test_a_rule_that_few_trusted_samples_cannot_exclude_is_not_cleared():
    values, right = drawn(1200, 1)
    given = np.where((right == 1) & (values[:, 0] > 2.3), 0, right)
    labels = audited(given, values, *drawn(60, 2))
    assert labels.outcome != "clear"
    assert labels.noise_rate.high >= (given != right).mean()


def test_clean_labels_are_still_cleared():
    values, right = drawn(1200, 1)
    trusted, trusted_labels = drawn(400, 2)
    labels = audited(right, values, trusted, trusted_labels)
    assert labels.outcome == "clear"

"""A second opinion by features that no label has touched: what it adds, and when it is silent."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import nn

import dataaudit
from dataaudit.flags.inputs import LabelledRows, References, SecondOpinion, Unseen, View
from dataaudit.flags.label_doubts import contradicts, doubts_about_two
from dataaudit.flags.results import Interval
from dataaudit.flags.tables import DEFAULTS
from dataaudit.flags.whose_word import LEARNED_ERRORS, judged
from dataaudit.mirror import effort
from dataaudit.report import render

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


def of_many(seed, share, rows=1500, trusted=600):
    """Return given labels of six classes, a share of class 0 labeled 1, and a weak opinion."""
    generator = np.random.default_rng(seed)
    right, known = generator.integers(0, 6, rows), generator.integers(0, 6, trusted)
    given = np.where((right == 0) & (generator.random(rows) < share), 1, right)
    of_rows, of_trusted = (
        np.eye(6)[np.where(generator.random(len(labels)) < 0.6, labels, (labels + 2) % 6)]
        for labels in (right, known)
    )
    return given, Unseen([View("somebody", of_rows, of_trusted)], known)


def test_the_luck_of_few_trusted_samples_is_no_contradiction():
    assert sum(contradicts(*of_many(seed, 0.0, trusted=200)) for seed in range(100)) <= 3


def test_errors_of_one_pair_contradict_though_they_are_few_among_all_rows():
    assert all(contradicts(*of_many(seed, 0.3)) for seed in range(20))


def test_errors_among_all_rows_contradict_though_few_trusted_samples_are_of_each_class():
    generator = np.random.default_rng(0)
    right, known = generator.integers(0, 50, 3000), generator.integers(0, 50, 200)
    given = np.where(generator.random(3000) < 0.1, generator.integers(0, 50, 3000), right)
    view = View("somebody", np.eye(50)[right], np.eye(50)[known])
    assert contradicts(given, Unseen([view], known))


def learned(share, trusted=400, seen=0.0):
    """Return rows of which a share of class 0 is labeled 1, as a network sees them that learned it.

    It gives every row its label, and every reference the right one; of a share of all rows, whose
    labels are wrong at random, it gives the right one, too. The second opinion says of the right
    classes what `said` does.
    """
    generator = np.random.default_rng(0)
    right, known = generator.integers(0, 3, 2000), generator.integers(0, 3, trusted)
    given = np.where((right == 0) & (generator.random(2000) < share), 1, right)
    slips = np.random.default_rng(1).random(2000) < seen
    known_to_it, given = np.where(slips, right, given), np.where(slips, (right + 1) % 3, given)
    planted = np.arange(trusted) % 4 == 0
    labels = np.where(planted, (known + 1) % 3, known)
    of_references = said(known, generator, 0.95)
    references = References(labels, planted, of_references, of_references)
    sure = said(known_to_it, generator, 0.95)
    sample = np.arange(0, 2000, 2)
    view = View("somebody", said(right, generator, 0.95), said(known, generator, 0.95))
    asked = []

    def whole():
        asked.append(True)
        return Unseen([view], known)

    part = Unseen([replace(view, rows=view.rows[sample])], known)
    second = SecondOpinion(sample, part, whole)
    rows = LabelledRows(
        np.arange(2000), given, "abc", lambda labels: labels, sure, sure, sure,
        second_opinion=second,
    )  # fmt: skip
    return judged(rows, references, DEFAULTS, []), given != right, asked


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_a_network_that_has_learned_the_errors_is_not_believed(share):
    verdict, wrong, asked = learned(share)
    assert asked
    assert verdict.notes == [LEARNED_ERRORS]
    assert not verdict.doubts.reasons
    rate = verdict.judgement.noise_rate
    assert rate.low < wrong.mean() < rate.high
    assert average_precision_score(wrong, verdict.judgement.score) > 0.8
    assert "probes" in verdict.method


def test_a_network_that_sees_the_errors_is_believed_however_many_more_the_other_one_finds():
    """Beside errors of one class for another, which it has learned, it sees as many at random."""
    verdict, wrong, asked = learned(0.3, seen=0.2)
    assert not asked
    assert verdict.method == ""
    assert verdict.judgement.noise_rate.high > wrong.mean()


def test_all_rows_are_not_asked_for_where_the_two_agree_or_few_are_trusted():
    verdict, _, asked = learned(0.0)
    assert (asked, list(verdict.notes), verdict.method) == ([], [], "")
    verdict, _, asked = learned(0.4, trusted=100)
    assert not asked
    assert "disagree" in verdict.doubts.reasons[0]
    # What cannot be excluded is possible, whatever else is in doubt.
    assert verdict.doubts.most >= verdict.judgement.noise_rate.high


def audited(given, values, trusted, trusted_labels):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, max(trusted_labels) + 1))
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
    )


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
    labels = audited(given, values, trusted, trusted_labels).report.labels
    assert labels.outcome != "clear"
    assert labels.noise_rate.high >= (given != right).mean()


def test_a_rule_that_few_trusted_samples_cannot_exclude_is_not_cleared():
    values, right = drawn(1200, 1)
    given = np.where((right == 1) & (values[:, 0] > 2.3), 0, right)
    labels = audited(given, values, *drawn(60, 2)).report.labels
    assert labels.outcome != "clear"
    assert labels.noise_rate.high >= (given != right).mean()


def test_clean_labels_are_still_cleared():
    values, right = drawn(1200, 1)
    trusted, trusted_labels = drawn(400, 2)
    labels = audited(right, values, trusted, trusted_labels).report.labels
    assert labels.outcome == "clear"


def test_one_class_for_another_is_found_in_rows_that_the_second_opinion_had_not_seen(monkeypatch):
    monkeypatch.setattr(effort, "MOST_ROWS", 500)
    generator, (values, right), (trusted, trusted_labels) = (
        np.random.default_rng(3), four(1000, 1), four(300, 2),
    )  # fmt: skip
    given = np.where((right == 0) & (generator.random(1000) < 0.5), 1, right)
    result = audited(given, values, trusted, trusted_labels)
    labels, wrong = result.report.labels, given != right
    assert labels.outcome == "found"
    assert "The model has learned wrong labels" in render(result.report)
    assert average_precision_score(wrong, result.mislabels["score"]) > 0.9
    assert labels.noise_rate.low < wrong.mean() < labels.noise_rate.high
    suggested = result.mislabels["suggested_label"][result.mislabels["flagged"] & wrong]
    assert (suggested == 0).mean() > 0.9


def four(count, seed):
    """Return samples of four classes, each with a direction of its own."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, count)
    values = generator.normal(size=(count, 4)) + 2.4 * np.eye(4)[labels]
    return values.astype(np.float32), labels

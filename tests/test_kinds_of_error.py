"""Kinds of label errors of many classes: each finds what it was made for, and ranks by it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from test_unseen_labels import as_probabilities

from dataaudit.flags.inputs import Unseen, View
from dataaudit.flags.joint_fit import FitKind, Seen, first_fits
from dataaudit.flags.kinds_of_error import (
    LEAST_LIKENESS,
    ByClass,
    ByLikeness,
    ByUnlikeness,
    with_slips,
)
from dataaudit.flags.probabilities import Labels, Values
from dataaudit.flags.right_classes import Scale, targets
from dataaudit.flags.unseen_labels import KINDS_OF_MANY, judge_unseen

CLASSES = 8
Errors = Callable[[Labels, Values, np.random.Generator], Labels]


def evenly(right: Labels, likely: Values, generator: np.random.Generator) -> Labels:
    """Give every fifth row another class."""
    wrong = generator.random(len(right)) < 0.2
    return np.where(wrong, (right + generator.integers(1, CLASSES, len(right))) % CLASSES, right)


def one_into_another(right: Labels, likely: Values, generator: np.random.Generator) -> Labels:
    """Give two fifths of class 2 the label 5."""
    return np.where((right == 2) & (generator.random(len(right)) < 0.4), 5, right)


def all_into_one(right: Labels, likely: Values, generator: np.random.Generator) -> Labels:
    """Give every tenth row the label 3."""
    return np.where(generator.random(len(right)) < 0.1, 3, right)


def against_looks(right: Labels, likely: Values, generator: np.random.Generator) -> Labels:
    """Give every fifth row another class, none that it looks like."""
    unlike = np.where(likely < 0.002, 1.0, 1e-9)
    unlike[np.arange(len(right)), right] = 0
    unlike /= unlike.sum(axis=1, keepdims=True)
    other = np.array([generator.choice(CLASSES, p=row) for row in unlike])
    return np.where(generator.random(len(right)) < 0.2, other, right)


def by_looks(right: Labels, likely: Values, generator: np.random.Generator) -> Labels:
    """Give every fifth row another class that it looks like."""
    looks = likely.copy()
    looks[np.arange(len(right)), right] = 0
    looks /= looks.sum(axis=1, keepdims=True)
    other = np.array([generator.choice(CLASSES, p=row) for row in looks])
    return np.where(generator.random(len(right)) < 0.2, other, right)


KINDS: dict[str, tuple[Errors, FitKind]] = {
    "evenly": (evenly, ByClass.even),
    "one into another": (one_into_another, ByClass.one_pair),
    "all into one": (all_into_one, ByClass.into_one),
    "by looks": (by_looks, ByLikeness.fit),
    "against looks": (against_looks, ByUnlikeness.fit),
}


def problem(
    errors: Errors, seed: int, trusted: int = 60, spread: float = 0.7
) -> tuple[Labels, Labels, Values, Unseen]:
    """Return given and right labels of 1,200 rows, honest probabilities, and the same as views."""
    generator = np.random.default_rng(seed)
    right, known = (generator.integers(0, CLASSES, count) for count in (1200, trusted))
    # Classes lie on a circle, so that each looks like its neighbours, and 4 like 3 and 5.
    angles = 2 * np.pi * np.arange(CLASSES) / CLASSES
    corners = 2.2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def honest(labels: Labels) -> Values:
        points = corners[labels] + generator.normal(0, spread, (len(labels), 2))
        distance = ((points[:, None, :] - corners) ** 2).sum(axis=2)
        return as_probabilities(-distance / (2 * spread**2))

    tables = [honest(labels) for labels in (right, known)]
    given = errors(right, tables[0], generator).astype(np.int64)
    return given, right, tables[0], Unseen([View("a model", *tables)], known)


@pytest.mark.parametrize("name", KINDS)
def test_the_kind_that_made_the_errors_explains_them_best(name: str) -> None:
    errors, made_for = KINDS[name]
    given, _, likely, unseen = problem(errors, 0)
    scale = Scale.of([likely])
    seen = Seen(
        scale.read([unseen.views[0].trusted]),
        targets(unseen.trusted_labels, CLASSES),
        np.ones(len(unseen.trusted_labels)),
        scale.read([likely]),
        given,
    )
    evidence = {fit: joint.evidence(seen) for fit, joint in first_fits(seen, KINDS_OF_MANY)}
    assert max(evidence, key=evidence.__getitem__) == made_for


@pytest.mark.parametrize("name", KINDS)
def test_all_that_a_kind_says_of_a_row_adds_up(name: str) -> None:
    # Over all labels that a row can be given, each right class is as probable as it is.
    errors, fit = KINDS[name]
    given, _, likely, _ = problem(errors, 1)
    kind = fit(likely, given)
    whole: NDArray[np.float64] = sum(
        (kind.sources(likely, np.full(len(given), label)) for label in range(CLASSES)),
        start=np.zeros_like(likely),
    )
    assert whole == pytest.approx(likely, abs=1e-9)


def test_the_rates_of_a_pair_and_of_a_class_are_found() -> None:
    given, right, likely, _ = problem(one_into_another, 2)
    table = ByClass.one_pair(likely, given).table
    assert table[2, 5] == pytest.approx((given[right == 2] == 5).mean(), abs=0.08)
    assert 1 - table[0, 0] < 0.01
    given, right, likely, _ = problem(all_into_one, 2)
    table = ByClass.into_one(likely, given).table
    others = right != 3
    assert table[[0, 1, 2, 4], 3] == pytest.approx((given[others] == 3).mean(), abs=0.03)
    assert 1 - table[3, 3] < 0.01


def test_the_rate_of_errors_by_looks_is_the_most_likely_one() -> None:
    given, _, likely, _ = problem(by_looks, 3)
    fitted = ByLikeness.fit(likely, given)

    def log_likelihood(rate: float, least: float) -> float:
        return float(np.log(ByLikeness(rate, least).sources(likely, given).sum(axis=1)).sum())

    rates = np.linspace(0.01, 0.5, 491)
    values = [log_likelihood(rate, fitted.least) for rate in rates]
    assert fitted.rate == pytest.approx(rates[np.argmax(values)], abs=1e-3)
    assert max(LEAST_LIKENESS, key=lambda least: log_likelihood(fitted.rate, least)) == fitted.least


@pytest.mark.parametrize("name", ["one into another", "all into one"])
def test_errors_that_fall_on_one_class_are_judged_rightly(name: str) -> None:
    # A rate for each of 56 pairs costs more than 60 such errors say, so that an even one was taken.
    given, right, _, unseen = problem(KINDS[name][0], 4)
    wrong = given != right
    found = judge_unseen(given, unseen, repeats=8)
    assert found.noise_rate.low <= wrong.mean() <= found.noise_rate.high
    assert wrong[found.flagged].sum() >= 0.7 * wrong.sum()
    claimed = found.probability[found.flagged].mean()
    assert claimed == pytest.approx(wrong[found.flagged].mean(), abs=0.1)


def test_errors_that_no_row_hides_are_not_taken_for_more() -> None:
    # Were they even, three of seven would be towards classes that rows look like, and not be seen.
    given, right, _, unseen = problem(against_looks, 6, trusted=150, spread=1.3)
    found, wrong = judge_unseen(given, unseen, repeats=8).noise_rate, given != right
    assert found.low <= wrong.mean() <= found.high
    assert found.estimate == pytest.approx(wrong.mean(), abs=0.03)


@pytest.mark.parametrize("name", ["one into another", "all into one"])
def test_other_errors_stay_possible_where_the_rows_show_none(name: str) -> None:
    errors, fit = KINDS[name]
    given, _, likely, _ = problem(errors, 5)
    kind, label = fit(likely, given), np.array([6])
    looks = np.full((1, CLASSES), 0.001)
    looks[0, 6], looks[0, 7] = 0.594, 0.4

    def slipped(given: Labels) -> Values:
        return with_slips(kind.sources(looks, given), looks, given, kind.slips)[0]

    seen, judged = kind.sources(looks, label)[0], slipped(label)
    assert seen[7] / seen[6] < 1e-3
    assert judged[7] / judged[6] == pytest.approx(0.02 * 0.4 / 0.6, rel=0.2)
    whole = sum(slipped(np.array([label])) for label in range(CLASSES))
    assert whole == pytest.approx(looks[0], abs=1e-9)

"""Where the shape of the scores cannot be trusted, nothing is flagged on its strength."""

import warnings

import numpy as np
import pandas as pd
import pytest

from dataaudit.flags.clean_null import clean_null
from dataaudit.flags.null_distribution import Null, benjamini_hochberg, p_values
from dataaudit.likeness.identity import identity
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.tables import describe_table


def number_flagged(calibration, scores) -> int:
    null, _ = clean_null(calibration, scores)
    if not isinstance(null, Null):
        return 0
    return int(benjamini_hochberg(p_values(null, scores), 0.10).sum())


TABLES = {
    "one number": lambda n, g: pd.DataFrame({"a": g.normal(size=n)}),
    "one rounded number": lambda n, g: pd.DataFrame({"a": g.normal(size=n).round(1)}),
    "one number and three rare flags": lambda n, g: pd.DataFrame(
        {"a": g.normal(size=n), **{name: (g.random(n) < 0.01) * 1 for name in "bcd"}}
    ),
    "two numbers": lambda n, g: pd.DataFrame(g.normal(size=(n, 2))),
    "two categories": lambda n, g: pd.DataFrame(
        {"a": g.choice(list("abcdef"), n), "b": g.choice(list("xyz"), n)}
    ),
}


@pytest.mark.parametrize("kind", TABLES)
def test_clean_suspects_of_narrow_tables_are_not_flagged(kind):
    """One number: 100 of 100 were flagged; with flags, 80 of 100, or LinAlgError."""
    audits = []
    for seed in range(5):
        generator = np.random.default_rng(seed)
        table, others = (TABLES[kind](count, generator).rename(columns=str) for count in (80, 60))
        rows = describe_table(table)
        suspects = describe_table(others, like=table)
        same, matcher = identity(rows, suspects), Matcher(rows)
        single = np.flatnonzero(~same.repeats)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            calibration = matcher.match(rows.take(single), keep=1, exclude=single).score[:, 0]
            scores = matcher.match(suspects, keep=1).score[~same.suspects, 0]
            audits.append(number_flagged(calibration, scores))
    assert sum(audit > 0 for audit in audits) <= 1
    assert sum(audits) <= 2


def test_a_row_is_not_rarer_for_being_a_row_itself():
    """The scores of rows and of clean suspects have one distribution."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame({"a": generator.normal(size=400)})
    rows, own = describe_table(table), np.arange(400)
    suspects = describe_table(pd.DataFrame({"a": generator.normal(size=400)}), like=table)
    matcher = Matcher(rows)
    calibration = matcher.match(rows, keep=1, exclude=own).score[:, 0]
    scores = matcher.match(suspects, keep=1).score[:, 0]
    assert np.quantile(scores, [0.25, 0.5, 0.75]) == pytest.approx(
        np.quantile(calibration, [0.25, 0.5, 0.75]), abs=0.15
    )


def test_too_few_scores_are_no_error():
    reason, notes = clean_null([1.0, 2.0, -np.inf], [1.0])
    assert reason.startswith("only 2 training rows can be held against others")
    assert notes == []


def test_heavy_tails_are_counted_not_fitted():
    """A fitted tail would flag the largest of clean scores in most audits."""
    audits = []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        draws = generator.standard_t(2, size=(2, 300))
        audits.append(number_flagged(draws[0], draws[1]) > 0)
    assert np.mean(audits) <= 0.25


def test_copies_beyond_all_clean_scores_are_found_in_normal_and_in_heavy_tails():
    generator = np.random.default_rng(0)
    for draw in (generator.normal, lambda size: generator.standard_t(3, size=size)):
        scores = np.r_[draw(size=480), np.full(20, 400.0)]
        assert number_flagged(draw(size=1000), scores) >= 20


def test_few_scores_are_not_divided():
    generator = np.random.default_rng(0)
    calibration = generator.normal(size=24)
    null, _ = clean_null(calibration, np.r_[generator.normal(size=50), np.full(3, 60.0)])
    assert isinstance(null, str)
    assert "24 training rows are too few to count" in null

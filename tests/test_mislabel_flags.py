"""Mislabel flags as tables: the contract's columns, and noise by class and group."""

import numpy as np
import pandas as pd
import pytest

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import MOST_GROUPS, FlagSettings

ROWS = 600


def probabilities(given: np.ndarray, wrong: np.ndarray, seed: int) -> np.ndarray:
    """Two classes; a wrong given label gets about .1, a right one about .9."""
    generator = np.random.default_rng(seed)
    right = np.clip(np.where(wrong, 0.1, 0.9) + generator.normal(0, 0.08, len(given)), 0.01, 0.99)
    table = np.empty((len(given), 2))
    table[np.arange(len(given)), given] = right
    table[np.arange(len(given)), 1 - given] = 1 - right
    return table


def flags(row_groups: np.ndarray | None = None, budget: int | None = None) -> MislabelFlags:
    given = np.arange(ROWS) % 2
    wrong = np.arange(ROWS) % 10 == 0
    reference_given = np.arange(200) % 2
    planted = np.arange(200) < 50
    references = References(
        given_labels=reference_given,
        planted=planted,
        base=probabilities(reference_given, planted, 1),
        mirrored=probabilities(reference_given, planted, 2),
    )
    own = probabilities(given, wrong, 3)
    classes = ["ham", "spam"]
    rows = LabelledRows(
        np.array([f"row{number}" for number in range(ROWS)], dtype=object),
        given,
        classes,
        lambda labels: np.array(classes)[labels],
        own,
        own,
        probabilities(given, wrong, 4),
    )
    return flag_mislabels(rows, references, FlagSettings(budget=budget, row_groups=row_groups))


def test_the_table_is_the_contract() -> None:
    found = flags()
    table = found.table
    assert list(table.columns) == [
        "row_id", "given_label", "suggested_label", "score", "probability", "flagged", "rank",
    ]  # fmt: skip
    assert table["flagged"].tolist() == (np.arange(ROWS) % 10 == 0).tolist()
    assert set(table.loc[table["flagged"], "suggested_label"]) == {"spam"}
    assert sorted(table["rank"]) == list(range(1, ROWS + 1))
    assert found.noise_per_class["class"].tolist() == ["ham", "spam"]
    assert found.noise_per_class["flagged"].tolist() == [60, 0]
    assert found.noise_table.loc["ham", "spam"] > 50
    assert found.noise_table.to_numpy().sum() == pytest.approx(ROWS)
    curve = found.expected_precision
    assert curve["budget"].iloc[-1] == ROWS
    assert (curve["expected_found"].diff().dropna() >= 0).all()
    flagged = table["flagged"]
    at_flagged = curve.loc[curve["budget"] == flagged.sum(), "expected_found"]
    assert at_flagged.tolist() == pytest.approx([table.loc[flagged, "probability"].sum()])
    assert found.noise_per_group is None


def test_a_budget_flags_so_many_rows_and_says_from_which_probability() -> None:
    found = flags(budget=30)
    assert found.table["flagged"].sum() == 30
    least = found.table.loc[found.table["flagged"], "probability"].min()
    assert found.probability_threshold == least


def test_no_more_of_the_flagged_rows_are_wrong_than_of_all_rows_may_be() -> None:
    found = flags(budget=ROWS)
    assert found.doubts == ()
    assert found.precision_flagged is not None
    assert found.precision_flagged.high == pytest.approx(found.noise_rate.high)
    assert found.precision_flagged.estimate == pytest.approx(found.noise_rate.estimate)


def test_too_few_trusted_samples_are_counted() -> None:
    even = np.full((20, 2), 0.5)
    rows = LabelledRows(
        np.arange(20), np.arange(20) % 2, ["a", "b"], lambda labels: labels, even, even, even,
        trusted=12,
    )  # fmt: skip
    (doubt,) = flag_mislabels(rows, None).doubts
    assert doubt.startswith("only 12 samples are trusted; 40 or more are needed")


def test_noise_is_estimated_for_the_largest_groups() -> None:
    # Every tenth row is wrong: site A holds them all, the small sites and rows without one do not.
    groups = np.array(["A" if number % 10 == 0 else "B" for number in range(ROWS)], dtype=object)
    groups[1::60] = None
    groups[3:400:10] = [f"small {number}" for number in range(40)]
    rates = flags(row_groups=groups).noise_per_group
    assert rates is not None
    assert len(rates) == MOST_GROUPS
    by_group = rates.set_index("group")
    assert by_group.index[:2].tolist() == ["B", "A"]
    assert by_group.loc["A", "rows"] == 60
    assert by_group.loc["A", "flagged"] == 60
    assert by_group.loc["A", "noise_rate"] > 0.9
    assert by_group.loc["B", "noise_rate"] < 0.05
    assert (by_group["low"] <= by_group["noise_rate"]).all()
    assert (by_group["noise_rate"] <= by_group["high"]).all()
    pd.testing.assert_frame_equal(flags(row_groups=groups).table, flags().table)

"""What the report asks of all rows in blocks is what the whole columns say."""

import numpy as np
import pandas as pd
import pytest

from dataaudit.report import all_rows
from dataaudit.report.all_rows import first_rows, histogram, shares_below


@pytest.fixture(params=[7, 10_000], autouse=True)
def rows_at_once(request, monkeypatch):
    monkeypatch.setattr(all_rows, "ROWS_AT_ONCE", request.param)


def drawn(rows: int, flagged: int, unknown: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    rank = generator.permutation(rows) + 1
    probability = 1 / (1.0 + rank)
    probability[rank > rows - unknown] = np.nan
    return pd.DataFrame(
        {"row_id": np.arange(rows), "probability": probability, "rank": rank,
         "flagged": rank <= flagged},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "flagged", "unknown"),
    [(100, 10, 0), (100, 0, 30), (100, 60, 5), (9, 9, 0), (40, 1, 39), (1, 0, 0)],
)
def test_rows_on_the_page_are_those_of_the_sorted_table(rows, flagged, unknown) -> None:
    table = drawn(rows, flagged, unknown, seed=rows + flagged)
    ordered = table.sort_values("rank")
    first = ordered[ordered["flagged"]].head(50)
    kept = ordered[~ordered["flagged"] & ordered["probability"].notna()]
    expected = pd.concat([first, kept.head(min(20, 50 - len(first)))])
    pd.testing.assert_frame_equal(first_rows(table, 50, 20), expected)


def test_flagged_rows_need_not_be_the_first() -> None:
    # As where a reviewer settled some of them.
    table = drawn(60, 20, 10, seed=3)
    table["flagged"] &= table["rank"] % 3 > 0
    ordered = table.sort_values("rank")
    first = ordered[ordered["flagged"]]
    kept = ordered[~ordered["flagged"] & ordered["probability"].notna()].head(20)
    pd.testing.assert_frame_equal(first_rows(table, 50, 20), pd.concat([first, kept]))


def test_shares_below_are_those_of_ranks() -> None:
    values = np.random.default_rng(0).integers(0, 9, size=50).astype(float)
    values[[3, 8]] = np.nan
    values[[4, 9]] = -np.inf, np.inf
    ranks = pd.Series(values).rank(method="min")
    expected = (ranks - 1) / np.count_nonzero(~np.isnan(values))
    np.testing.assert_allclose(shares_below(values, values), expected)


def test_a_histogram_counts_every_finite_value_once() -> None:
    generator = np.random.default_rng(1)
    values, flagged = generator.normal(size=300), generator.random(300) < 0.2
    values[[5, 6]] = np.nan, np.inf
    found = histogram("score", values, flagged, None)
    assert found is not None
    low, high = np.percentile(values[np.isfinite(values)], [0.1, 99.9])
    for counts, among in ((found.flagged, flagged), (found.kept, ~flagged)):
        inside = np.clip(values[among & np.isfinite(values)], low, high)
        assert counts == np.histogram(inside, found.edges)[0].tolist()
    assert sum(found.flagged) + sum(found.kept) == 298
    assert histogram("score", np.full(3, np.nan), np.zeros(3, dtype=bool), None) is None
    even = histogram("score", np.ones(3), np.zeros(3, dtype=bool), None)
    assert even is not None
    assert (even.edges[0], even.edges[-1], sum(even.kept)) == (0.5, 1.5, 3)

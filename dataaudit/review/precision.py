"""The precision that review really reached, beside the one that the audit claimed."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from scipy.stats import binomtest

from dataaudit.report.data import Estimate, Review
from dataaudit.review.decisions.check import Decided


def wilson(hits: int, count: int) -> Estimate:
    """Return a share with Wilson's 95 % interval.

    Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927; it
    stays inside 0..1 and is honest for few rows and for shares near 1, unlike the normal one.

    Parameters
    ----------
    hits, count : int
        `count` at least 1.
    """
    found = binomtest(hits, count).proportion_ci(method="wilson")
    return Estimate(estimate=hits / count, low=float(found.low), high=float(found.high))


def measure(mislabels: pd.DataFrame, decided: Sequence[Decided]) -> Review:
    """Return what reviewers found among flagged and kept rows; a row counts once.

    Parameters
    ----------
    mislabels : pandas.DataFrame
        As `mislabels.parquet`.
    decided : sequence of Decided
    """
    # Where one reviewer was unsure and another was not, the row has been decided.
    sure_first = sorted(decided, key=lambda item: item.outcome == "unsure")
    rows = pd.DataFrame(
        [(item.position, item.outcome, item.after) for item in sure_first],
        columns=["position", "outcome", "after"],
    ).drop_duplicates("position")
    found = mislabels.iloc[rows["position"]].reset_index(drop=True)
    rows = rows.reset_index(drop=True).assign(
        flagged=found["flagged"].astype(bool),
        probability=found["probability"],
        suggested=[str(value) for value in found["suggested_label"].astype(object)],
    )
    sure = rows[rows["outcome"] != "unsure"]
    flagged, kept = sure[sure["flagged"]], sure[~sure["flagged"]]
    # A row that a reviewer drops was rightly flagged, whatever its label should have been.
    wrong = flagged[flagged["outcome"].isin(["relabel", "drop"])]
    return Review(
        flagged_reviewed=len(flagged),
        flagged_wrong=len(wrong),
        precision=wilson(len(wrong), len(flagged)) if len(flagged) else None,
        precision_claimed=float(flagged["probability"].mean()) if len(flagged) else None,
        suggestions_right=int(
            ((wrong["outcome"] == "relabel") & (wrong["after"] == wrong["suggested"])).sum()
        ),
        kept_reviewed=len(kept),
        kept_wrong=int(kept["outcome"].isin(["relabel", "drop"]).sum()),
        unsure=len(rows) - len(sure),
    )

"""The tables and words that every kind of label is flagged with, made of a `Judgement`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.flagged_precision import within
from dataaudit.flags.label_errors import Judgement
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import Values
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.storage.on_disk import one_array

POINTS_ON_BUDGET_CURVE = 60
MOST_GROUPS = 30
ASSUMED = (
    "too few trusted samples, or none, were there to measure against; what is said of labels rests "
    "on assumptions"
)


@dataclass(frozen=True)
class FlagSettings:
    """When rows are flagged, and which of them are looked at together.

    Attributes
    ----------
    target_precision : float
        Rows are flagged from this probability on.
    budget : int or None
        Flag exactly so many rows instead, the most suspicious first.
    row_groups : `[rows]` or None
        The group of each row (a site, an annotator), None where it has none; the noise of the
        largest groups is estimated.
    seed : int
        Of the bootstrap behind the intervals.
    """

    target_precision: float = 0.5
    budget: int | None = None
    row_groups: NDArray[Any] | None = None
    seed: int = 0


DEFAULTS = FlagSettings()


def flagged_table(
    row_ids: NDArray[Any], given: NDArray[Any], suggested: NDArray[Any], judgement: Judgement
) -> pd.DataFrame:
    """Return `MislabelFlags.table`: a line for each row, with its labels as tables show them."""
    columns = {
        "row_id": row_ids,
        "given_label": given,
        "suggested_label": suggested,
        "score": judgement.score,
        "probability": judgement.probability,
        "flagged": judgement.flagged,
        "rank": judgement.rank,
    }
    return pd.DataFrame({name: one_array([values]) for name, values in columns.items()}, copy=False)


def flags_of(
    table: pd.DataFrame,
    signals: pd.DataFrame,
    judgement: Judgement,
    settings: FlagSettings,
    classes: Sequence[str],
    parts: Parts,
    per_class: Sequence[Interval] | None = None,
) -> MislabelFlags:
    """Return what all kinds of labels have in common of their flags.

    Parameters
    ----------
    table : pandas.DataFrame
        From `flagged_table`.
    signals : pandas.DataFrame, aligned with `table`
    judgement : Judgement
    settings : FlagSettings
    classes : sequence of str
        Empty where labels are no classes.
    parts : Parts
        What the judgement estimated rates for: the rows that carry each class, then the largest
        groups, if any.
    per_class : sequence of Interval, one for each class, or None
        None: those of the judgement.
    """
    groups = list(largest_groups(settings.row_groups))
    if per_class is None:
        per_class = judgement.noise_rate_per_part[: len(classes)]
    per_group = judgement.noise_rate_per_part[len(judgement.noise_rate_per_part) - len(groups) :]
    rows, flagged = parts.sizes[1:], parts.sums(judgement.flagged)[1:]
    among = slice(len(classes), None)
    return MislabelFlags(
        table=table,
        signals=signals,
        noise_rate=judgement.noise_rate,
        noise_per_class=rates("class", classes, rows, flagged, per_class),
        noise_per_group=None
        if settings.row_groups is None
        else rates("group", groups, rows[among], flagged[among], per_group),
        noise_table=pd.DataFrame(),
        expected_precision=budget_curve(judgement.probability, judgement.rank, judgement.flagged),
        probability_threshold=threshold(judgement.probability, judgement.flagged, settings),
        method=_method(judgement),
        # What follows is for the kinds of labels that have it.
        notes=None,
        predicted=None,
        annotators=None,
        doubts=() if judgement.reference_rows else (ASSUMED,),
        untold=(),
        precision_flagged=within(
            judgement.precision_flagged,
            int(judgement.flagged.sum()),
            judgement.noise_rate,
            len(table),
        ),
    )


def largest_groups(row_groups: NDArray[Any] | None) -> dict[str, NDArray[np.bool_]]:
    """Return which rows belong to each of the largest groups, the largest first."""
    if row_groups is None:
        return {}
    known = pd.Series(row_groups, dtype=object).dropna()
    largest = known.value_counts().head(MOST_GROUPS).index
    return {str(name): np.asarray(row_groups == name) for name in largest}


def rates(
    name: str,
    titles: Sequence[str],
    rows: Values,
    flagged: Values,
    estimates: Sequence[Interval],
) -> pd.DataFrame:
    """Return a line for each titled set of rows, with its estimated share of wrong labels.

    Parameters
    ----------
    name : str
        Of the column of titles.
    titles : sequence of str
    rows, flagged : `[titles or more]`
        How many rows each has, and how many of them are flagged; those beyond are not looked at.
    estimates : sequence of Interval, one for each title
    """
    lines = [
        {
            name: title,
            "rows": int(count),
            "flagged": int(found),
            "noise_rate": estimate.estimate,
            "low": estimate.low,
            "high": estimate.high,
        }
        for title, count, found, estimate in zip(
            titles, rows[: len(titles)], flagged[: len(titles)], estimates, strict=True
        )
    ]
    columns = [name, "rows", "flagged", "noise_rate", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def budget_curve(
    probability: NDArray[np.float64], rank: NDArray[np.int64], flagged: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return what review finds: `budget`, `expected_found`, `expected_precision`.

    The number of flagged rows is among the budgets, so that what is expected of them is exact.
    """
    rows = len(rank)
    spread = np.geomspace(1, rows, POINTS_ON_BUDGET_CURVE).round().astype(np.int64)
    budgets = np.unique(np.append(spread, max(int(flagged.sum()), 1)))
    by_rank = probability[np.argsort(rank)]
    found = np.cumsum(by_rank)[budgets - 1]
    return pd.DataFrame(
        {"budget": budgets, "expected_found": found, "expected_precision": found / budgets}
    )


def threshold(
    probability: NDArray[np.float64], flagged: NDArray[np.bool_], settings: FlagSettings
) -> float:
    """Return the probability from which on rows are flagged."""
    if settings.budget is None:
        return settings.target_precision
    return float(probability[flagged].min()) if flagged.any() else 1.0


def _method(judgement: Judgement) -> str:
    """Return the paragraph of the report that says how labels were judged."""
    before, *unseen, after = judgement.shares
    probed = (
        f", and with what is said without knowing the label, by linear probes of the model before "
        f"training, by models that learned again without the row, or by other models (weight "
        f"{unseen[0]:.0%})"
        if unseen
        else ""
    )
    basis = (
        f"the yardstick is {judgement.reference_rows} trusted samples that were learned like "
        "training rows, a quarter of them under a wrong label on purpose: what the models say "
        "about the right and the wrong ones sets how far each signal is trusted, and the "
        "probability"
        if judgement.reference_rows
        else "there were too few trusted samples to measure against, so the probabilities rest on "
        "assumptions and the intervals are wide"
    )
    return (
        "The model learned training rows and trusted samples again for a few steps, from weights "
        "moved part of the way to fresh ones. What they share comes back at once; single wrong "
        "labels do not, and come out with a high loss. The score joins that loss (weight "
        f"{after:.0%}) with the loss under the model as it was (weight {before:.0%}){probed}, as "
        f"log odds that the label is wrong; {basis}."
    )

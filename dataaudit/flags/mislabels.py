"""Mislabel flags: the judgement of every given label, as the tables that people work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.flags.label_errors import Judgement, judge_labels
from dataaudit.flags.label_evidence import ReferenceRows
from dataaudit.flags.probabilities import Labels, Table, pick, row_blocks
from dataaudit.flags.results import Interval, MislabelFlags

POINTS_ON_BUDGET_CURVE = 60
MOST_GROUPS = 30
SMALLEST = 1e-12


def flag_mislabels(
    row_ids: NDArray[Any],
    classes: Sequence[str | int],
    given_labels: Labels,
    own_probabilities: Table,
    familiar_probabilities: Table,
    mirrored_probabilities: Table,
    references: ReferenceRows | None,
    target_precision: float = 0.5,
    budget: int | None = None,
    row_groups: NDArray[Any] | None = None,
    seed: int = 0,
) -> MislabelFlags:
    """Flag rows whose given label is probably wrong.

    Parameters
    ----------
    row_ids : `[rows]`
    classes : sequence, length C
    given_labels : int64 `[rows]`
    own_probabilities, familiar_probabilities, mirrored_probabilities : `[rows, C]`
        Of the trained model; of the model that knows the references as well as its rows; and of
        the model that learned again.
    references : ReferenceRows or None
        The same for trusted samples with right and with planted labels.
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
    groups = largest_groups(row_groups)
    judgement = judge_labels(
        given_labels,
        familiar_probabilities,
        mirrored_probabilities,
        references,
        target_precision=target_precision,
        budget=budget,
        parts=list(groups.values()),
        seed=seed,
    )
    names = np.array(list(classes))
    table = pd.DataFrame(
        {
            "row_id": row_ids,
            "given_label": names[given_labels],
            "suggested_label": names[judgement.suggested_label],
            "score": judgement.score,
            "probability": judgement.probability,
            "flagged": judgement.flagged,
            "rank": judgement.rank,
        }
    )
    titles = [str(name) for name in classes]
    return MislabelFlags(
        table=table,
        signals=_signals(given_labels, own_probabilities, mirrored_probabilities),
        noise_rate=judgement.noise_rate,
        noise_per_class=rates(
            "class",
            {title: given_labels == index for index, title in enumerate(titles)},
            judgement.noise_rate_per_class,
            judgement,
        ),
        noise_per_group=None
        if row_groups is None
        else rates("group", groups, judgement.noise_rate_per_part, judgement),
        noise_table=pd.DataFrame(judgement.noise_table, index=titles, columns=titles),
        expected_precision=budget_curve(judgement),
        probability_threshold=threshold(judgement, target_precision, budget),
        method=method(judgement),
    )


def _signals(
    given_labels: Labels, own_probabilities: Table, mirrored_probabilities: Table
) -> pd.DataFrame:
    """Return the parts, each with higher = more suspicious; losses in nats."""
    blocks = [
        _signals_of_block(given_labels[rows], own_probabilities[rows], mirrored_probabilities[rows])
        for rows in row_blocks(len(given_labels))
    ]
    return pd.concat(blocks, ignore_index=True)


def _signals_of_block(given: Labels, own: Table, mirrored: Table) -> pd.DataFrame:
    # Here, because cleanlab imports Hugging Face datasets where they are installed.
    from cleanlab.rank import get_label_quality_scores

    own_loss = -np.log(np.maximum(pick(own, given), SMALLEST))
    mirrored_loss = -np.log(np.maximum(pick(mirrored, given), SMALLEST))
    quality = get_label_quality_scores(given, _sums_to_one(mirrored), method="normalized_margin")
    return pd.DataFrame(
        {
            "mirrored_influence": mirrored_loss - own_loss,
            "mirrored_loss": mirrored_loss,
            "loss": own_loss,
            "margin": -_margin(own, given),
            "cleanlab": 1 - quality,
        }
    )


def _sums_to_one(probabilities: Table) -> NDArray[np.float64]:
    values = probabilities.astype(np.float64)
    return values / values.sum(axis=1, keepdims=True)


def _margin(probabilities: Table, labels: Labels) -> NDArray[np.float64]:
    """Return p(given) - the largest p of another class, `[rows]`, -1 to 1."""
    given = pick(probabilities, labels)
    others = probabilities.copy()
    others[np.arange(len(labels)), labels] = -1
    return np.asarray(given - others.max(axis=1), dtype=np.float64)


def largest_groups(row_groups: NDArray[Any] | None) -> dict[str, NDArray[np.bool_]]:
    """Return which rows belong to each of the largest groups, the largest first."""
    if row_groups is None:
        return {}
    known = pd.Series(row_groups, dtype=object).dropna()
    largest = known.value_counts().head(MOST_GROUPS).index
    return {str(name): np.asarray(row_groups == name) for name in largest}


def rates(
    name: str,
    members: Mapping[str, NDArray[np.bool_]],
    estimates: Sequence[Interval],
    judgement: Judgement,
) -> pd.DataFrame:
    """Return a line for each set of rows, with its estimated share of wrong labels."""
    lines = [
        {
            name: title,
            "rows": int(inside.sum()),
            "flagged": int(judgement.flagged[inside].sum()),
            "noise_rate": estimate.estimate,
            "low": estimate.low,
            "high": estimate.high,
        }
        for (title, inside), estimate in zip(members.items(), estimates, strict=True)
    ]
    columns = [name, "rows", "flagged", "noise_rate", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def budget_curve(judgement: Judgement) -> pd.DataFrame:
    """Return what review finds: `budget`, `expected_found`, `expected_precision`."""
    rows = len(judgement.rank)
    budgets = np.unique(np.geomspace(1, rows, POINTS_ON_BUDGET_CURVE).round().astype(np.int64))
    by_rank = judgement.probability[np.argsort(judgement.rank)]
    found = np.cumsum(by_rank)[budgets - 1]
    return pd.DataFrame(
        {"budget": budgets, "expected_found": found, "expected_precision": found / budgets}
    )


def threshold(judgement: Judgement, target_precision: float, budget: int | None) -> float:
    """Return the probability from which on rows are flagged."""
    if budget is None:
        return target_precision
    flagged = judgement.probability[judgement.flagged]
    return float(flagged.min()) if len(flagged) else 1.0


def method(judgement: Judgement) -> str:
    """Return the paragraph of the report that says how labels were judged."""
    share = judgement.mirrored_share
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
        f"{share:.0%}) with the loss under the model as it was (weight {1 - share:.0%}), as log "
        f"odds that the label is wrong; {basis}."
    )

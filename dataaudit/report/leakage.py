"""From `ContaminationFlags` to the leakage section of the report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import pandas as pd

from dataaudit.flags.judgement import judge_leaks
from dataaudit.flags.results import ContaminationFlags
from dataaudit.report.data import (
    ClassHits,
    DisagreeingRows,
    Kind,
    KindCount,
    Leakage,
    LeakPair,
    SampleId,
    SharedGroup,
)
from dataaudit.report.evidence import Evidence, Exhibit
from dataaudit.report.label_findings import estimate, plain_label
from dataaudit.report.samples import SamplePool, plain_id

PAIRS_ON_PAGE = 300
ROWS_IN_TABLE = 50
"""Lines of the tables of disagreeing rows and of shared groups."""
PAIR_BYTES = 600
"""What a pair takes on the page beside its samples."""


def select_pairs(flags: ContaminationFlags) -> list[tuple[SampleId, SampleId]]:
    """Return the (query id, row id) of the pairs that the page shows, in its order."""
    shown = _shown(flags)
    return [
        (plain_id(query_id), plain_id(row_id))
        for query_id, row_id in zip(shown["query_id"], shown["row_id"], strict=True)
    ]


def select_disagreeing(flags: ContaminationFlags) -> list[tuple[SampleId, SampleId]]:
    """Return the row ids of the pairs with two labels that the page shows, in its order."""
    found = flags.disagreeing_duplicates
    if found is None:
        return []
    shown = found.head(ROWS_IN_TABLE)
    return [
        (plain_id(row_id), plain_id(other))
        for row_id, other in zip(shown["row_id"], shown["other_row_id"], strict=True)
    ]


def build_leakage(
    flags: ContaminationFlags,
    evidence: Evidence,
    pool: SamplePool,
) -> Leakage:
    """Return the leakage section; its samples go into `pool`."""
    flagged = _flagged(flags)
    shown = flagged.head(PAIRS_ON_PAGE)
    best = flagged.drop_duplicates("query_id")
    pool.reserve(PAIR_BYTES * len(shown))
    kinds = best["kind"].value_counts()
    exact = (flags.evidence["kind"] == "exact").to_numpy()
    judgement = judge_leaks(flags)
    return Leakage(
        outcome=judgement.outcome,
        reasons=list(judgement.reasons),
        suspects=int(flags.table["query_id"].nunique()),
        suspects_flagged=len(best),
        false_discovery_rate=flags.false_discovery_rate,
        kinds=[
            KindCount(kind=kind, suspects=int(kinds[kind]))
            for kind in get_args(Kind)
            if kind in kinds
        ],
        metric_name=flags.metric_name,
        metric_all=estimate(flags.metric_all),
        metric_clean=estimate(flags.metric_clean),
        metric_difference=estimate(flags.metric_difference),
        hits_per_class=[
            ClassHits(label=plain_label(label), suspects=int(suspects), flagged=int(hits))
            for label, suspects, hits in flags.hits_per_class[
                ["class", "suspects", "flagged"]
            ].itertuples(index=False)
        ],
        pairs=[_pair(line, evidence.pairs, pool) for line in shown.to_dict("records")],
        pairs_left_out=len(flagged) - len(shown),
        exact_copies=int(flags.table.loc[exact, "query_id"].nunique()),
        rows_repeated=flags.rows_repeated,
        **_disagreeing(flags, evidence.contradictions, pool),
        **_shared_groups(flags),
        method=flags.method,
    )


def _disagreeing(
    flags: ContaminationFlags,
    evidence: Mapping[tuple[SampleId, SampleId], tuple[Exhibit, Exhibit]],
    pool: SamplePool,
) -> dict[str, Any]:
    found = flags.disagreeing_duplicates
    lines = [] if found is None else found.head(ROWS_IN_TABLE).to_dict("records")
    shown = []
    for line in lines:
        row_id, other_row_id = plain_id(line["row_id"]), plain_id(line["other_row_id"])
        exhibits = evidence.get((row_id, other_row_id))
        keys = (None, None) if exhibits is None else tuple(pool.add(item) for item in exhibits)
        shown.append(
            DisagreeingRows(
                row_id=row_id,
                other_row_id=other_row_id,
                label=plain_label(line["label"]),
                other_label=plain_label(line["other_label"]),
                similarity=line["similarity"],
                sample=keys[0],
                other_sample=keys[1],
            )
        )
    return {
        "disagreeing_rows": shown,
        "disagreeing_rows_left_out": 0 if found is None else len(found) - len(lines),
    }


def _shared_groups(flags: ContaminationFlags) -> dict[str, Any]:
    found = flags.shared_groups
    if found is None:
        return {
            "shared_groups": None,
            "shared_groups_left_out": 0,
            "suspects_in_shared_groups": 0,
        }
    groups = [
        SharedGroup(group=str(group), suspects=int(suspects), rows=int(rows))
        for group, suspects, rows in found.head(ROWS_IN_TABLE).itertuples(index=False)
    ]
    return {
        "shared_groups": groups,
        "shared_groups_left_out": len(found) - len(groups),
        "suspects_in_shared_groups": int(found["suspects"].sum()),
    }


def _flagged(flags: ContaminationFlags) -> pd.DataFrame:
    """Return the flagged lines, the suspects with the best match first."""
    joined = pd.concat([flags.table, flags.evidence], axis=1)
    flagged = joined[joined["flagged"]]
    best_score = flagged.groupby("query_id", sort=False)["score"].transform("max")
    return flagged.assign(best_score=best_score).sort_values(
        ["best_score", "query_id", "rank"], ascending=[False, True, True], kind="stable"
    )


def _shown(flags: ContaminationFlags) -> pd.DataFrame:
    return _flagged(flags).head(PAIRS_ON_PAGE)


def _pair(
    line: Mapping[str, object],
    evidence: Mapping[tuple[SampleId, SampleId], tuple[Exhibit, Exhibit]],
    pool: SamplePool,
) -> LeakPair:
    query_id, row_id = plain_id(line["query_id"]), plain_id(line["row_id"])
    exhibits = evidence.get((query_id, row_id))
    keys = (None, None) if exhibits is None else tuple(pool.add(item) for item in exhibits)
    return LeakPair.model_validate(
        {
            "query_id": query_id,
            "row_id": row_id,
            "rank": line["rank"],
            "score": line["score"],
            "p_value": _finite(line["p_value"]),
            "kind": line["kind"],
            "content_score": _finite(line["content_score"]),
            "influence_score": _finite(line["influence_score"]),
            "suspect": keys[0],
            "row": keys[1],
        }
    )


def _finite(value: object) -> float | None:
    plain = float(str(value))
    return plain if math.isfinite(plain) else None

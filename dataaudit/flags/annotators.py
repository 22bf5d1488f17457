"""Mislabel flags where several annotators gave labels: what the models say, and what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.label_errors import ranks
from dataaudit.flags.parts import Parts
from dataaudit.flags.probabilities import SMALLEST, Values, sigmoid
from dataaudit.flags.results import AnnotatorFacts, Interval, MislabelFlags
from dataaudit.flags.tables import FlagSettings, budget_curve, largest_groups, rates, threshold
from dataaudit.labels.consensus import Consensus, Evidence, Votes, agree, krippendorff_alpha

ABOUT_ANNOTATORS = (
    "What the models say of a row is then joined with the labels of its {} annotators (Dawid and "
    "Skene): how often each of them gives which class to rows of which class, and how far the "
    "models are believed, is fitted to all rows together. Annotators are taken to err "
    "independently of each other."
)


def with_annotators(
    flags: MislabelFlags,
    rows: LabelledRows,
    votes: Votes,
    settings: FlagSettings,
    *,
    ordered: bool = False,
) -> MislabelFlags:
    """Return flags that rest on the models and on all annotators.

    Parameters
    ----------
    flags : MislabelFlags
        By the models alone.
    rows : LabelledRows
        Labels are int64 class indices.
    votes : Votes
    settings : FlagSettings
    ordered : bool
        Whether classes stand in an order.
    """
    count, classes = len(rows.ids), len(rows.classes)
    found = agree(votes, count, classes, _evidence(flags, rows), rows.labels)
    rank, probability = ranks(found.odds), sigmoid(found.odds)
    table = flags.table.assign(
        suggested_label=rows.shown(found.other),
        score=found.odds,
        probability=probability,
        flagged=probability >= settings.target_precision
        if settings.budget is None
        else rank <= settings.budget,
        rank=rank,
    )
    groups = largest_groups(settings.row_groups)
    parts = Parts(count, rows.labels, classes, list(groups.values()))
    flagged = table["flagged"].to_numpy()
    rate, *estimates = parts.rates(probability)

    def by(name: str, titles: Sequence[str], first: int) -> pd.DataFrame:
        among = slice(first, first + len(titles))
        counts = parts.sizes[1:][among], parts.sums(flagged)[1:][among]
        return rates(name, titles, *counts, estimates[among])

    if flags.doubts:
        # What is in doubt without the annotators is no less so with them.
        rate = _spanning(rate, flags.noise_rate.low, flags.noise_rate.high)
        tables = [flags.noise_per_class, flags.noise_per_group]
        known = pd.concat([table for table in tables if table is not None])
        ends = zip(known["low"].tolist(), known["high"].tolist(), strict=True)
        estimates = [_spanning(one, *pair) for one, pair in zip(estimates, ends, strict=True)]
    return replace(
        flags,
        table=table,
        noise_rate=rate,
        noise_per_class=by("class", [str(name) for name in rows.classes], 0),
        noise_per_group=None if settings.row_groups is None else by("group", list(groups), classes),
        noise_table=_noise_table(rows, found, probability, flags.noise_table),
        expected_precision=budget_curve(probability, rank, flagged),
        probability_threshold=threshold(probability, flagged, settings),
        method=f"{flags.method} {ABOUT_ANNOTATORS.format(len(votes.names))}",
        notes=_notes(flags.notes, rows, votes),
        annotators=_facts(rows, votes, found, ordered),
        precision_flagged=None,
    )


def _spanning(rate: Interval, low: float, high: float) -> Interval:
    return Interval(rate.estimate, min(rate.low, low), max(rate.high, high))


def _evidence(flags: MislabelFlags, rows: LabelledRows) -> Evidence:
    """Return what is said of each class without knowing the row's label.

    By models that have not seen it, where there are such; else the flags, which were weighed on the
    references, say how far the label is wrong, and the model that learned again what else it is.
    """
    unseen = rows.unseen if rows.crosswise is None else rows.crosswise.views[0].rows
    if unseen is not None:
        return lambda block: np.log(np.maximum(unseen[block].astype(np.float64), SMALLEST))
    probability = np.clip(flags.table["probability"].to_numpy(), SMALLEST, 1 - SMALLEST)
    rate = np.clip(probability.mean(), SMALLEST, 1 - SMALLEST)
    against = np.log(probability / (1 - probability)) - np.log(rate / (1 - rate))

    def of(block: slice) -> Values:
        given = rows.labels[block]
        lines = np.arange(len(given))
        others = np.maximum(rows.mirrored[block].astype(np.float64), SMALLEST)
        others[lines, given] = 0.0
        others /= others.sum(axis=1, keepdims=True)
        others[lines, given] = 1.0
        result = np.log(others) + against[block, None]
        result[lines, given] = 0.0
        return np.asarray(result)

    return of


def _noise_table(
    rows: LabelledRows, found: Consensus, probability: Values, before: pd.DataFrame
) -> pd.DataFrame:
    """Return expected rows by given class and likeliest other one."""
    if before.empty:
        return before
    expected = np.zeros(before.shape)
    np.add.at(expected, (rows.labels, found.other), probability)
    np.add.at(expected, (rows.labels, rows.labels), 1 - probability)
    return pd.DataFrame(expected, index=before.index, columns=before.columns)


def _notes(before: Sequence[str] | None, rows: LabelledRows, votes: Votes) -> list[str]:
    """Return who gave which label, for each row."""
    shown = [str(name) for name in rows.classes]
    ends = np.searchsorted(votes.rows, np.arange(len(rows.ids) + 1)).tolist()
    notes = []
    for start, stop in pairwise(ends):
        said: dict[str, list[str]] = {}
        for annotator, label in zip(
            votes.annotators[start:stop], votes.labels[start:stop], strict=True
        ):
            said.setdefault(shown[label], []).append(votes.names[annotator])
        notes.append("; ".join(f"{label}: {', '.join(who)}" for label, who in said.items()))
    if before is None:
        return notes
    return [f"{own} {note}".strip() for own, note in zip(before, notes, strict=True)]


def _facts(rows: LabelledRows, votes: Votes, found: Consensus, ordered: bool) -> AnnotatorFacts:
    count, people = len(rows.ids), len(votes.names)
    agrees = (votes.labels == found.labels[votes.rows]).astype(np.float64)
    labels = np.bincount(votes.annotators, minlength=people)
    agreeing = np.bincount(votes.annotators, weights=agrees, minlength=people)
    annotators = pd.DataFrame(
        {
            "annotator": votes.names,
            "labels": labels,
            "quality": found.quality,
            "agreement": np.where(labels > 0, agreeing / np.maximum(labels, 1), np.nan),
        }
    ).sort_values("quality", ignore_index=True, kind="stable")
    consensus = pd.DataFrame(
        {
            "row_id": rows.ids,
            "consensus_label": rows.shown(found.labels),
            "probability": found.probability,
            "labels": np.bincount(votes.rows, minlength=count),
            "agreeing": np.bincount(votes.rows, weights=agrees, minlength=count).astype(np.int64),
            "once_more": ranks(-found.probability),
        }
    )
    alpha = krippendorff_alpha(votes, len(rows.classes), ordered=ordered)
    return AnnotatorFacts(annotators, consensus, alpha, found.believed)

"""Evidence for a flag: what a reviewer looks at to decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.images import thumbnail
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.datasets.words import text_of
from dataaudit.flags.results import MislabelFlags
from dataaudit.report.data import NO_LABEL
from dataaudit.report.evidence import Exhibit, RowEvidence
from dataaudit.scoring.blocks import ScoreBlocks

Features = NDArray[np.floating]

LONGEST_TEXT = 600
LONGEST_FIELD = 80
MOST_FIELDS = 40
ROWS_AT_ONCE = 1024
"""Training rows that are held against all shown rows at once."""
LINES_AT_ONCE = 256
"""Shown rows that are held against all held-out samples, or read, at once."""


def row_evidence(
    row_ids: Sequence[str | int],
    mislabels: MislabelFlags,
    train: Samples,
    train_scores: ScoreBlocks,
    held_out: Samples | None,
    held_out_features: Features,
    exhibits: int = 3,
) -> dict[str | int, RowEvidence]:
    """Collect what speaks against the labels of some rows.

    Parameters
    ----------
    row_ids : sequence
        The rows to collect evidence for.
    mislabels : MislabelFlags
    train : Samples
    train_scores : ScoreBlocks
        Of the training rows; their features are read block by block.
    held_out : Samples or None
    held_out_features : `[queries, width]`
        Features of the held-out samples, in their order.
    exhibits : int
        Held-out samples and neighbours shown for each row.
    """
    if len(row_ids) == 0:
        return {}
    positions = _positions_of(train, row_ids)
    suggested = mislabels.table["suggested_label"].iloc[positions].tolist()
    features = _unit(_features_at(train_scores, positions))
    rows = _exhibits(train, positions, [""] * len(positions))
    neighbours = _neighbours(train, train_scores, positions, features, exhibits)
    against: list[list[Exhibit]] = [[] for _ in positions]
    if held_out is not None:
        opposing_features = _unit(held_out_features)
        against = _against(suggested, held_out, features, opposing_features, exhibits)
    return {
        row_id: RowEvidence(row, opposing, alike)
        for row_id, row, opposing, alike in zip(row_ids, rows, against, neighbours, strict=True)
    }


def pair_evidence(
    pairs: Sequence[tuple[str | int, str | int]], train: Samples, suspects: Samples
) -> dict[tuple[str | int, str | int], tuple[Exhibit, Exhibit]]:
    """Collect both sides of (query id, row id) pairs."""
    notes = [""] * len(pairs)
    left = _exhibits(suspects, _positions_of(suspects, [query for query, _ in pairs]), notes)
    right = _exhibits(train, _positions_of(train, [row for _, row in pairs]), notes)
    return dict(zip(pairs, zip(left, right, strict=True), strict=True))


def exhibits_of(samples: Samples, positions: Sequence[int] | NDArray[np.int64]) -> list[Exhibit]:
    """Show the samples at `positions`, in that order."""
    return _exhibits(samples, positions, [""] * len(positions))


def _positions_of(samples: Samples, ids: Sequence[Any]) -> NDArray[np.int64]:
    return pd.Index(samples.ids).get_indexer(ids).astype(np.int64)


def _features_at(scores: ScoreBlocks, positions: NDArray[np.int64]) -> Features:
    parts: dict[int, Features] = {}
    for block in scores:
        inside = positions[(positions >= block.start) & (positions < block.start + len(block))]
        for position in inside:
            parts[int(position)] = block.features[position - block.start]
    return np.stack([parts[int(position)] for position in positions]).astype(np.float32)


def _neighbours(
    train: Samples,
    scores: ScoreBlocks,
    positions: NDArray[np.int64],
    features: Features,
    count: int,
) -> list[list[Exhibit]]:
    """Return the training rows nearest to each position by cosine, itself left out."""
    count = min(count, len(train) - 1)
    if features.shape[1] == 0 or count < 1:
        return [[] for _ in positions]
    nearest = _Nearest(len(positions), count)
    for block in scores:
        rows = _unit(block.features.astype(np.float32))
        for start in range(0, len(block), ROWS_AT_ONCE):
            first = block.start + start
            alike = features @ rows[start : start + ROWS_AT_ONCE].T
            own = (positions >= first) & (positions < first + alike.shape[1])
            alike[np.flatnonzero(own), positions[own] - first] = -np.inf
            nearest.see(alike, first)
    notes = [f"similarity {value:.2f}" for value in nearest.values.ravel()]
    return _grouped(_exhibits(train, nearest.places.ravel(), notes), len(positions))


class _Nearest:
    """The `count` largest values of each line, and where they stand, over columns seen in parts.

    Of equal values the earlier ones stay, whatever the parts.
    """

    def __init__(self, lines: int, count: int) -> None:
        self.values = np.full((lines, count), -np.inf, dtype=np.float32)
        self.places = np.zeros((lines, count), dtype=np.int64)

    def see(self, values: Features, first: int) -> None:
        """Take the columns from `first` on into account, `[lines, columns]`.

        Only what is larger than the least that was kept can matter: after the first few parts
        that is next to nothing, so that hardly anything is ever sorted.
        """
        count = self.values.shape[1]
        limit = self.values[:, -1]
        if values.shape[1] > count:
            # Of these columns alone, nothing below their own `count`th value can matter either.
            own = np.partition(values[np.isneginf(limit)], -count, axis=1)[:, -count]
            limit = limit.copy()
            limit[np.isneginf(limit)] = np.nextafter(own, -np.inf)
        lines, columns = np.nonzero(values > limit[:, None])
        touched = np.unique(lines)
        of_line = np.concatenate([np.repeat(touched, count), lines])
        candidates = np.concatenate([self.values[touched].ravel(), values[lines, columns]])
        places = np.concatenate([self.places[touched].ravel(), first + columns])
        # Stable, and what was kept stands first.
        order = np.lexsort((-candidates, of_line))
        starts = np.searchsorted(of_line[order], touched)
        best = order[starts[:, None] + np.arange(count)]
        self.values[touched], self.places[touched] = candidates[best], places[best]


def _against(
    suggested_labels: Sequence[Any],
    held_out: Samples,
    features: Features,
    held_out_features: Features,
    count: int,
) -> list[list[Exhibit]]:
    """Return the held-out samples of the suggested label that are most alike.

    Numbers and whole lists of tags hardly ever agree: the most alike are shown whatever theirs is.
    """
    labels = held_out.label_values()
    shown = [_label_text(label) for label in labels]
    chosen: list[NDArray[np.int64]] = []
    notes: list[str] = []
    for start in range(0, len(features), LINES_AT_ONCE):
        alike = features[start : start + LINES_AT_ONCE] @ held_out_features.T
        for values, suggested in zip(
            alike, suggested_labels[start : start + LINES_AT_ONCE], strict=True
        ):
            same = labels == suggested if held_out.kind.repeats else np.full(len(labels), True)
            opposing = np.flatnonzero(same)
            nearest = opposing[np.argsort(-values[opposing], kind="stable")[:count]]
            chosen.append(nearest)
            notes += [f"trusted as {shown[q]}, similarity {values[q]:.2f}" for q in nearest]
    exhibits = iter(_exhibits(held_out, np.concatenate(chosen), notes))
    return [[next(exhibits) for _ in nearest] for nearest in chosen]


def _unit(features: Features) -> Features:
    values = features.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(length, 1e-12)


def _grouped(exhibits: list[Exhibit], groups: int) -> list[list[Exhibit]]:
    size = len(exhibits) // groups
    return [exhibits[start : start + size] for start in range(0, len(exhibits), size)]


def _exhibits(
    samples: Samples, positions: Sequence[int] | NDArray[np.int64], notes: Sequence[str]
) -> list[Exhibit]:
    """Show the samples at `positions`, in that order; each row is read once, few at a time."""
    wanted = np.asarray(positions, dtype=np.int64)
    if len(wanted) == 0:
        return []
    unique, places = np.unique(wanted, return_inverse=True)
    shown: list[Exhibit] = []
    for start in range(0, len(unique), LINES_AT_ONCE):
        shown += _shown(samples, samples.take(unique[start : start + LINES_AT_ONCE]))
    return [
        Exhibit(**{**vars(shown[place]), "note": note})
        for place, note in zip(places, notes, strict=True)
    ]


def _shown(samples: Samples, batch: Batch) -> list[Exhibit]:
    labels = [NO_LABEL] * len(batch)
    if samples.labelled:
        labels = [_label_text(label) for label in samples.label_values(batch.labels)]
    contents = [None] * len(batch)
    if samples.content_column:
        contents = batch.frame[samples.content_column].tolist()
    fields: list[dict[str, str]] = [{} for _ in range(len(batch))]
    if samples.modality == "table":
        fields = _fields(samples, batch.frame)
    return [
        Exhibit(
            sample_id=sample_id,
            role=samples.role,
            label=label,
            text=shortened(text_of(content), LONGEST_TEXT) if samples.modality == "text" else None,
            image=_thumbnail(samples, content, sample_id) if samples.modality == "image" else None,
            fields=own,
            note="",
        )
        for sample_id, label, content, own in zip(
            batch.ids.tolist(), labels, contents, fields, strict=True
        )
    ]


def _fields(samples: Samples, frame: pd.DataFrame) -> list[dict[str, str]]:
    """Return the first columns of each row as text, column by column."""
    special = samples.special_columns() - {samples.group_column}
    names = [name for name in frame.columns if name not in special][:MOST_FIELDS]
    # Whole numbers beside fractions are shown as what a row of both holds.
    kind = frame.iloc[0].dtype
    texts = []
    for name in names:
        values = frame[name].array
        if isinstance(kind, np.dtype) and kind.kind in "biuf":
            values = frame[name].to_numpy().astype(kind)
        texts.append([shortened(str(value), LONGEST_FIELD) for value in values])
    keys = [str(name) for name in names]
    return [
        dict(zip(keys, (column[line] for column in texts), strict=True))
        for line in range(len(frame))
    ]


def _label_text(label: Any) -> str:
    return f"{label:.6g}" if isinstance(label, float) else str(label)


def _thumbnail(samples: Samples, content: Any, sample_id: Any) -> str:
    where = f"{samples.source.description}: image of {sample_id}"
    return thumbnail(content, where=where, folder=samples.folder)


def shortened(text: str, longest: int) -> str:
    """Cut `text` to `longest` characters, with an ellipsis where something was cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

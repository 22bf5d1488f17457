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
from dataaudit.report.evidence import Exhibit, RowEvidence
from dataaudit.scoring.blocks import ScoreBlocks

Features = NDArray[np.floating]

LONGEST_TEXT = 600
LONGEST_FIELD = 80
MOST_FIELDS = 40


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
    best = np.full((len(positions), count), -np.inf, dtype=np.float32)
    places = np.zeros((len(positions), count), dtype=np.int64)
    for block in scores:
        alike = features @ _unit(block.features.astype(np.float32)).T
        own = (positions >= block.start) & (positions < block.start + len(block))
        alike[np.flatnonzero(own), positions[own] - block.start] = -np.inf
        candidates = np.concatenate([best, alike], axis=1)
        here = np.broadcast_to(block.start + np.arange(len(block)), alike.shape)
        all_places = np.concatenate([places, here], axis=1)
        # A stable sort lets the earlier row win a tie, whatever the block size.
        order = np.argsort(-candidates, axis=1, kind="stable")[:, :count]
        best = np.take_along_axis(candidates, order, axis=1)
        places = np.take_along_axis(all_places, order, axis=1)
    notes = [f"similarity {value:.2f}" for value in best.ravel()]
    return _grouped(_exhibits(train, places.ravel(), notes), len(positions))


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
    alike = features @ held_out_features.T
    labels = held_out.label_values()
    shown = [_label_text(label) for label in labels]
    chosen: list[NDArray[np.int64]] = []
    notes: list[str] = []
    for line, suggested in enumerate(suggested_labels):
        same = labels == suggested if held_out.kind.repeats else np.full(len(labels), True)
        opposing = np.flatnonzero(same)
        nearest = opposing[np.argsort(-alike[line, opposing], kind="stable")[:count]]
        chosen.append(nearest)
        notes += [f"trusted as {shown[q]}, similarity {alike[line, q]:.2f}" for q in nearest]
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
    """Show the samples at `positions`, in that order; each row is read once."""
    wanted = np.asarray(positions, dtype=np.int64)
    if len(wanted) == 0:
        return []
    unique, places = np.unique(wanted, return_inverse=True)
    batch = samples.take(unique)
    shown = [_exhibit(samples, batch, line) for line in range(len(unique))]
    return [
        Exhibit(**{**vars(shown[place]), "note": note})
        for place, note in zip(places, notes, strict=True)
    ]


def _exhibit(samples: Samples, batch: Batch, line: int) -> Exhibit:
    row = batch.frame.iloc[line]
    content = row[samples.content_column] if samples.content_column else None
    fields: dict[str, str] = {}
    if samples.modality == "table":
        special = samples.special_columns() - {samples.group_column}
        for name in [name for name in batch.frame.columns if name not in special][:MOST_FIELDS]:
            fields[str(name)] = shortened(str(row[name]), LONGEST_FIELD)
    sample_id = batch.ids[line]
    return Exhibit(
        sample_id=sample_id.item() if isinstance(sample_id, np.generic) else sample_id,
        role=samples.role,
        label=_label_text(samples.label_values(batch.labels[line : line + 1])[0]),
        text=shortened(text_of(content), LONGEST_TEXT) if samples.modality == "text" else None,
        image=_thumbnail(samples, content, sample_id) if samples.modality == "image" else None,
        fields=fields,
        note="",
    )


def _label_text(label: Any) -> str:
    return f"{label:.6g}" if isinstance(label, float) else str(label)


def _thumbnail(samples: Samples, content: Any, sample_id: Any) -> str:
    where = f"{samples.source.description}: image of {sample_id}"
    return thumbnail(content, where=where, folder=samples.folder)


def shortened(text: str, longest: int) -> str:
    """Cut `text` to `longest` characters, with an ellipsis where something was cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

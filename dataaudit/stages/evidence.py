"""Evidence for a flag: what a reviewer looks at to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from dataaudit.stages.scoring import RELEARNED

Features = NDArray[np.floating]

LONGEST_TEXT = 600
THUMBNAIL_SIDE = 48
LONGEST_FIELD = 80
MOST_FIELDS = 64
ROW_SIDE = 256
"""Pixels a side of the pictures of the first rows, and of pairs: what a reviewer looks at."""
EXHIBIT_SIDE = 128
"""Pixels a side of the pictures beside the first rows."""
ROWS_WITH_PICTURES = 600
"""So many rows, the most suspicious first, may have a picture larger than a thumbnail."""
ROWS_WITH_LARGE_EXHIBITS = 100
LOOK_ALIKES = 3
"""Trusted samples most alike whose labels are counted, whatever they are."""
LIKELIEST = 11
"""Classes named with a row: the given one, the suggested one, and one for each key from 1 to 9."""


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
    found = _at(train_scores, positions)
    features = _unit(found.features)
    sides = [ROW_SIDE if place < ROWS_WITH_PICTURES else 0 for place in range(len(positions))]
    rows = _exhibits(train, positions, [""] * len(positions), sides)
    neighbours = _neighbours(train, train_scores, positions, features, exhibits)
    against: list[list[Exhibit]] = [[] for _ in positions]
    look_alikes: list[list[str]] = [[] for _ in positions]
    if held_out is not None:
        opposing_features = _unit(held_out_features)
        against = _against(suggested, held_out, features, opposing_features, exhibits)
        look_alikes = _look_alikes(held_out, features, opposing_features)
    likeliest = _likeliest(train, found.predictions)
    return {
        row_id: RowEvidence(*parts)
        for row_id, *parts in zip(
            row_ids, rows, against, neighbours, look_alikes, likeliest, strict=True
        )
    }


def pair_evidence(
    pairs: Sequence[tuple[str | int, str | int]], train: Samples, suspects: Samples
) -> dict[tuple[str | int, str | int], tuple[Exhibit, Exhibit]]:
    """Collect both sides of (query id, row id) pairs."""
    notes = [""] * len(pairs)
    sides = [ROW_SIDE] * len(pairs)
    left = _exhibits(suspects, _positions_of(suspects, [query for query, _ in pairs]), notes, sides)
    right = _exhibits(train, _positions_of(train, [row for _, row in pairs]), notes, sides)
    return dict(zip(pairs, zip(left, right, strict=True), strict=True))


def contradiction_evidence(
    pairs: Sequence[tuple[str | int, str | int]], train: Samples
) -> dict[tuple[str | int, str | int], tuple[Exhibit, Exhibit]]:
    """Show both training rows of each pair of the same content with two labels."""
    sides = [ROW_SIDE] * (2 * len(pairs))
    positions = _positions_of(train, [row_id for pair in pairs for row_id in pair])
    shown = _exhibits(train, positions, [""] * len(positions), sides)
    return dict(zip(pairs, zip(shown[::2], shown[1::2], strict=True), strict=True))


def exhibits_of(samples: Samples, positions: Sequence[int] | NDArray[np.int64]) -> list[Exhibit]:
    """Show the samples at `positions`, in that order."""
    return _exhibits(samples, positions, [""] * len(positions))


def _positions_of(samples: Samples, ids: Sequence[Any]) -> NDArray[np.int64]:
    return pd.Index(samples.ids).get_indexer(ids).astype(np.int64)


@dataclass(frozen=True)
class _Found:
    """What the score blocks hold of some rows: `[rows, width]` each."""

    features: Features
    predictions: Features


def _at(scores: ScoreBlocks, positions: NDArray[np.int64]) -> _Found:
    """Return features, and the mean prediction of the models that learned again."""
    features: dict[int, Features] = {}
    predictions: dict[int, Features] = {}
    for block in scores:
        inside = positions[(positions >= block.start) & (positions < block.start + len(block))]
        for position in inside.tolist():
            line = position - block.start
            features[position] = block.features[line]
            predictions[position] = block.predictions[line, RELEARNED].mean(axis=0)
    order = positions.tolist()
    return _Found(
        np.stack([features[position] for position in order]).astype(np.float32),
        np.stack([predictions[position] for position in order]),
    )


def _look_alikes(
    held_out: Samples, features: Features, held_out_features: Features
) -> list[list[str]]:
    """Return the labels of the trusted samples most alike, whatever they are, nearest first."""
    classes = len(held_out.classes) > 0 and not held_out.tagged and held_out.task != "multi-label"
    if not classes or features.shape[1] == 0 or len(held_out_features) == 0:
        return [[] for _ in features]
    alike = features @ held_out_features.T
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :LOOK_ALIKES]
    shown = [_label_text(label) for label in held_out.label_values()]
    return [[shown[place] for place in line] for line in nearest]


def _likeliest(train: Samples, predictions: Features) -> list[list[tuple[str | int, float]]]:
    """Return the likeliest classes of each row with their probabilities, where there are classes.

    Models that learned nothing again left no predictions.
    """
    classes = list(train.classes)
    one_of_them = train.task == "classification" and predictions.shape[1] == len(classes)
    if not one_of_them or not np.isfinite(predictions).all():
        return [[] for _ in predictions]
    order = np.argsort(-predictions, axis=1, kind="stable")[:, :LIKELIEST]
    return [
        [(classes[place], float(line[place])) for place in places]
        for line, places in zip(predictions, order, strict=True)
    ]


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
    sides = _exhibit_sides(len(notes), len(notes) // len(positions))
    return _grouped(_exhibits(train, places.ravel(), notes, sides), len(positions))


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
    any_will_do = len(held_out.classes) == 0 or held_out.tagged
    for line, suggested in enumerate(suggested_labels):
        same = np.full(len(labels), True) if any_will_do else labels == suggested
        opposing = np.flatnonzero(same)
        nearest = opposing[np.argsort(-alike[line, opposing], kind="stable")[:count]]
        chosen.append(nearest)
        notes += [f"trusted as {shown[q]}, similarity {alike[line, q]:.2f}" for q in nearest]
    sides = _exhibit_sides(len(notes), count)
    exhibits = iter(_exhibits(held_out, np.concatenate(chosen), notes, sides))
    return [[next(exhibits) for _ in nearest] for nearest in chosen]


def _unit(features: Features) -> Features:
    values = features.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return values / np.maximum(length, 1e-12)


def _grouped(exhibits: list[Exhibit], groups: int) -> list[list[Exhibit]]:
    size = len(exhibits) // groups
    return [exhibits[start : start + size] for start in range(0, len(exhibits), size)]


def _exhibit_sides(exhibits: int, in_a_row: int) -> list[int]:
    """Return how large the pictures beside the rows may be; 0 for no more than a thumbnail."""
    first = ROWS_WITH_LARGE_EXHIBITS * in_a_row
    return [EXHIBIT_SIDE if place < first else 0 for place in range(exhibits)]


def _exhibits(
    samples: Samples,
    positions: Sequence[int] | NDArray[np.int64],
    notes: Sequence[str],
    sides: Sequence[int] | None = None,
) -> list[Exhibit]:
    """Show the samples at `positions`, in that order; each row is read once."""
    wanted = np.asarray(positions, dtype=np.int64)
    if len(wanted) == 0:
        return []
    unique, places = np.unique(wanted, return_inverse=True)
    largest = np.zeros(len(unique), dtype=np.int64)
    if sides is not None:
        np.maximum.at(largest, places, np.asarray(sides, dtype=np.int64))
    batch = samples.take(unique)
    shown = [_exhibit(samples, batch, line, int(side)) for line, side in enumerate(largest)]
    return [replace(shown[place], note=note) for place, note in zip(places, notes, strict=True)]


def _exhibit(samples: Samples, batch: Batch, line: int, side: int) -> Exhibit:
    row = batch.frame.iloc[line]
    content = row[samples.content_column] if samples.content_column else None
    fields: dict[str, str] = {}
    if samples.modality == "table":
        special = samples.special_columns() - {samples.group_column}
        for name in [name for name in batch.frame.columns if name not in special][:MOST_FIELDS]:
            fields[str(name)] = shortened(_cell_text(row[name]), LONGEST_FIELD)
    sample_id = batch.ids[line]
    is_image = samples.modality == "image"
    return Exhibit(
        sample_id=sample_id.item() if isinstance(sample_id, np.generic) else sample_id,
        role=samples.role,
        label=_label_text(samples.label_values(batch.labels[line : line + 1])[0]),
        text=shortened(text_of(content), LONGEST_TEXT) if samples.modality == "text" else None,
        image=_picture(samples, content, sample_id, THUMBNAIL_SIDE) if is_image else None,
        fields=fields,
        note="",
        picture=_picture(samples, content, sample_id, side) if is_image and side else None,
    )


def _cell_text(value: Any) -> str:
    """Return a cell as a person reads it; what is not there reads "missing"."""
    if value is None or (np.isscalar(value) and pd.isna(value)):
        return "missing"
    return str(value)


def _label_text(label: Any) -> str:
    return f"{label:.6g}" if isinstance(label, float) else str(label)


def _picture(samples: Samples, content: Any, sample_id: Any, side: int) -> str:
    where = f"{samples.source.description}: image of {sample_id}"
    return thumbnail(content, where=where, folder=samples.folder, side=side)


def shortened(text: str, longest: int) -> str:
    """Cut `text` to `longest` characters, with an ellipsis where something was cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

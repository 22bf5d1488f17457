"""Evidence for a flag: what a reviewer looks at to decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from dataaudit.datasets.answer_pairs import LEFT, RIGHT, pair_text
from dataaudit.datasets.images import size_of, thumbnail
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.datasets.words import text_of
from dataaudit.flags.probabilities import Table, row_blocks
from dataaudit.flags.results import ContaminationFlags, MislabelFlags
from dataaudit.labels.kind import Outline
from dataaudit.report.data import NO_LABEL
from dataaudit.report.evidence import Exhibit, RowEvidence
from dataaudit.report.leakage import select_disagreeing, select_pairs
from dataaudit.scoring.blocks import ScoreBlocks
from dataaudit.stages.scoring import RELEARNED

Features = NDArray[np.floating]

LONGEST_TEXT = 600
LONGEST_FIELD = 80
MISSING = "missing"
"""What a cell without a value reads."""
MOST_FIELDS = 64
SIZE = "size"
"""The field that says how many pixels a picture has, which places in it are counted by."""
THUMBNAIL_SIDE = 48
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
    unseen: Table | None = None,
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
    unseen : `[rows, C]` or None
        Class probabilities from models that have not seen the row, in place of those that learned
        again.
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
    if train.kind.outlined is not None and train.modality == "image":
        rows = _outlined(train, train.kind.outlined, positions, rows, suggested, sides)
    neighbours = _neighbours(train, train_scores, positions, features, exhibits)
    against: list[list[Exhibit]] = [[] for _ in positions]
    look_alikes: list[list[str]] = [[] for _ in positions]
    if held_out is not None:
        opposing_features = _unit(held_out_features)
        against = _against(suggested, held_out, features, opposing_features, exhibits)
        look_alikes = _look_alikes(held_out, features, opposing_features)
    likeliest = _likeliest(train, found.predictions if unseen is None else unseen[positions])
    return {
        row_id: RowEvidence(*parts)
        for row_id, *parts in zip(
            row_ids, rows, against, neighbours, look_alikes, likeliest, strict=True
        )
    }


Pairs = dict[tuple[str | int, str | int], tuple[Exhibit, Exhibit]]
"""Both sides of pairs, by their ids."""


def leak_evidence(
    contamination: ContaminationFlags | None, train: Samples, suspects: Samples | None
) -> tuple[Pairs, Pairs]:
    """Collect both sides of the pairs that the page shows: leaks, and contradicting rows."""
    if contamination is None or suspects is None:
        return {}, {}
    return (
        pair_evidence(select_pairs(contamination), train, suspects),
        contradiction_evidence(select_disagreeing(contamination), train),
    )


def pair_evidence(
    pairs: Sequence[tuple[str | int, str | int]], train: Samples, suspects: Samples
) -> Pairs:
    """Collect both sides of (query id, row id) pairs."""
    notes = [""] * len(pairs)
    sides = [ROW_SIDE] * len(pairs)
    left = _exhibits(suspects, _positions_of(suspects, [query for query, _ in pairs]), notes, sides)
    right = _exhibits(train, _positions_of(train, [row for _, row in pairs]), notes, sides)
    return dict(zip(pairs, zip(left, right, strict=True), strict=True))


def contradiction_evidence(pairs: Sequence[tuple[str | int, str | int]], train: Samples) -> Pairs:
    """Show both training rows of each pair of the same content with two labels."""
    sides = [ROW_SIDE] * (2 * len(pairs))
    positions = _positions_of(train, [row_id for pair in pairs for row_id in pair])
    shown = _exhibits(train, positions, [""] * len(positions), sides)
    return dict(zip(pairs, zip(shown[::2], shown[1::2], strict=True), strict=True))


def exhibits_of(
    samples: Samples, positions: Sequence[int] | NDArray[np.int64], *, side: int = 0
) -> list[Exhibit]:
    """Show the samples at `positions`, in that order, pictures also with `side` pixels a side."""
    return _exhibits(samples, positions, [""] * len(positions), [side] * len(positions))


def _positions_of(samples: Samples, ids: Sequence[Any]) -> NDArray[np.int64]:
    """Return where the samples with some ids stand, `[ids]`."""
    wanted = pd.Index(ids).unique()
    found = np.full(len(wanted), -1, dtype=np.int64)
    # Block by block: an index of all rows takes more memory than their ids.
    for rows in row_blocks(len(samples)):
        place = wanted.get_indexer(samples.ids[rows])
        here = np.flatnonzero(place >= 0)
        found[place[here]] = here + rows.start
    return found[wanted.get_indexer(pd.Index(ids))]


@dataclass(frozen=True)
class _Found:
    """What the score blocks hold of some rows: `[rows, width]` each."""

    features: Features
    predictions: Features


def _at(scores: ScoreBlocks, positions: NDArray[np.int64]) -> _Found:
    """Return features, and the mean prediction of the models that learned again, if any did."""
    features: dict[int, Features] = {}
    predictions: dict[int, Features] = {}
    for block in scores:
        inside = positions[(positions >= block.start) & (positions < block.start + len(block))]
        for position in inside.tolist():
            line = position - block.start
            features[position] = block.features[line]
            if block.predictions.shape[1] > RELEARNED.start:
                predictions[position] = block.predictions[line, RELEARNED].mean(axis=0)
    order = positions.tolist()
    return _Found(
        np.stack([features[position] for position in order]).astype(np.float32),
        np.stack([predictions[position] for position in order])
        if predictions
        else np.zeros((len(order), 0)),
    )


def _look_alikes(
    held_out: Samples, features: Features, held_out_features: Features
) -> list[list[str]]:
    """Return the labels of the trusted samples most alike, whatever they are, nearest first."""
    if not held_out.kind.one_class or features.shape[1] == 0 or len(held_out_features) == 0:
        return [[] for _ in features]
    shown = [_label_text(label) for label in held_out.label_values()]
    labels = []
    for start in range(0, len(features), LINES_AT_ONCE):
        alike = features[start : start + LINES_AT_ONCE] @ held_out_features.T
        nearest = np.argsort(-alike, axis=1, kind="stable")[:, :LOOK_ALIKES]
        labels += [[shown[place] for place in line] for line in nearest]
    return labels


def _likeliest(train: Samples, predictions: Features) -> list[list[tuple[str | int, float]]]:
    """Return the likeliest classes of each row with their probabilities, where there are classes.

    Models that learned nothing again left no predictions.
    """
    classes = list(train.classes)
    if not train.kind.one_class or predictions.shape[1] != len(classes):
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
    sides = _exhibit_sides(len(notes), count)
    return _grouped(_exhibits(train, nearest.places.ravel(), notes, sides), len(positions))


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
    if features.shape[1] == 0 and not held_out.kind.repeats:
        return [[] for _ in features]
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
    """Show the samples at `positions`, in that order; each row is read once, few at a time.

    `sides` are the pixels that each picture may have; 0 for no more than a thumbnail.
    """
    wanted = np.asarray(positions, dtype=np.int64)
    if len(wanted) == 0:
        return []
    unique, places = np.unique(wanted, return_inverse=True)
    largest = np.zeros(len(unique), dtype=np.int64)
    if sides is not None:
        np.maximum.at(largest, places, np.asarray(sides, dtype=np.int64))
    shown: list[Exhibit] = []
    for start in range(0, len(unique), LINES_AT_ONCE):
        part = slice(start, start + LINES_AT_ONCE)
        shown += _shown(samples, samples.take(unique[part]), largest[part].tolist())
    return [replace(shown[place], note=note) for place, note in zip(places, notes, strict=True)]


def _shown(samples: Samples, batch: Batch, sides: Sequence[int]) -> list[Exhibit]:
    labels = [NO_LABEL] * len(batch)
    if samples.labelled:
        labels = [_label_text(label) for label in samples.label_values(batch.labels)]
    contents = [None] * len(batch)
    if samples.content_column:
        contents = batch.frame[samples.content_column].tolist()
    fields: list[dict[str, str]] = [{} for _ in range(len(batch))]
    if samples.modality == "table":
        fields = _fields(samples, batch.frame)
    is_image = samples.modality == "image"
    if is_image and samples.kind.form == "rectangles":
        fields = [
            {SIZE: "{} x {}".format(*size_of(item, where="", folder=samples.folder))}
            for item in contents
        ]
    texts: list[str | None] = [None] * len(batch)
    if samples.answers is not None:
        texts = [*_pairs(samples, batch.frame, labels)]
    elif samples.modality == "text":
        texts = [shortened(text_of(content), LONGEST_TEXT) for content in contents]
    return [
        Exhibit(
            sample_id=sample_id,
            role=samples.role,
            label=label,
            text=text,
            image=_picture(samples, content, sample_id, THUMBNAIL_SIDE) if is_image else None,
            fields=own,
            note="",
            picture=_picture(samples, content, sample_id, side) if is_image and side else None,
        )
        for sample_id, label, content, text, own, side in zip(
            batch.ids.tolist(), labels, contents, texts, fields, sides, strict=True
        )
    ]


def _outlined(
    samples: Samples,
    draw: Outline,
    positions: NDArray[np.int64],
    rows: Sequence[Exhibit],
    suggested: Sequence[str],
    sides: Sequence[int],
) -> list[Exhibit]:
    """Draw what the suggested labels speak of on the larger pictures of the rows."""
    height, width = samples.labels.shape[1:]
    result = []
    for position, row, text, side in zip(positions, rows, suggested, sides, strict=True):
        if side:
            content = samples.take([int(position)]).frame[samples.content_column].iloc[0]
            drawn = partial(_drawn, draw, text, (height, width))
            row = replace(row, picture=_picture(samples, content, row.sample_id, side, drawn))
        result.append(row)
    return result


def _drawn(draw: Outline, text: str, size: tuple[int, int], picture: Image.Image) -> Image.Image:
    return draw(picture, text, size)


def _pairs(samples: Samples, frame: pd.DataFrame, labels: Sequence[str]) -> Iterator[str]:
    """Yield each prompt with both answers, no part of which may crowd out the others."""
    assert samples.answers is not None
    prompts: Sequence[Any] = [""] * len(frame)
    if samples.answers.prompt is not None:
        prompts = frame[samples.answers.prompt].tolist()
    for *parts, better in zip(prompts, frame[LEFT], frame[RIGHT], labels, strict=True):
        prompt, left, right = (shortened(part, LONGEST_TEXT // 2) for part in parts)
        yield pair_text(prompt, left, right, better)


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
        missing = frame[name].isna().to_numpy()
        texts.append(
            [
                MISSING if gone else shortened(str(value), LONGEST_FIELD)
                for value, gone in zip(values, missing, strict=True)
            ]
        )
    keys = [str(name) for name in names]
    return [
        dict(zip(keys, (column[line] for column in texts), strict=True))
        for line in range(len(frame))
    ]


def _label_text(label: Any) -> str:
    # Without a model, rows whose label cannot be used are not set aside.
    if label is None or label == "" or label != label:
        return NO_LABEL
    return f"{label:.6g}" if isinstance(label, float) else str(label)


def _picture(
    samples: Samples,
    content: Any,
    sample_id: Any,
    side: int,
    drawn: Callable[[Image.Image], Image.Image] | None = None,
) -> str:
    where = f"{samples.source.description}: image of {sample_id}"
    return thumbnail(content, where=where, folder=samples.folder, side=side, drawn=drawn)


def shortened(text: str, longest: int) -> str:
    """Cut `text` to `longest` characters, with an ellipsis where something was cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"

"""Describing: from samples of any modality to descriptors, read in bounded pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from dataaudit.datasets.images import decode
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of
from dataaudit.errors import DataError
from dataaudit.inputs import Splits
from dataaudit.likeness.descriptors import (
    Descriptors,
    SmallImageDescriptors,
    TextDescriptors,
    concatenated,
)
from dataaudit.likeness.identity import Keys, first_with
from dataaudit.likeness.images import describe_images, thumbnail
from dataaudit.likeness.pictures import as_seen, tensor_as_seen
from dataaudit.likeness.pixel_tables import Pixels
from dataaudit.likeness.repeats import content_columns
from dataaudit.likeness.small_images import LARGEST_SIDE, are_small, describe_small_images
from dataaudit.likeness.tables import describe_table
from dataaudit.likeness.texts import describe_texts, text_key

ROWS_PER_READ = 2048
FEWEST_WORDS = 4
"""Of a text in another column that is held against those of the training rows."""

Watch: TypeAlias = Callable[[Samples, Iterator[Image.Image]], Iterator[Image.Image]]
"""Yields the pictures of some samples as they come, and looks at each."""


@dataclass(frozen=True)
class RowSearch:
    """The training rows, described so that copies of them can be searched for.

    `like` holds the first training rows with the columns that suspects have too; None unless they
    are tables.
    """

    rows: Descriptors
    like: pd.DataFrame | None
    left_out: tuple[str, ...] = ()
    """Columns of training rows that suspects lack; they are compared without."""
    pixels: Pixels | None = None
    """What the columns of a table are the pixels of, where they are any."""
    watch: Watch | None = None
    """Sees the pictures that are described, so that nobody else needs to decode them."""

    @classmethod
    def over(cls, loaded: Splits, watch: Watch | None = None) -> RowSearch:
        """Describe the training rows."""
        train = loaded.train
        columns, lacking = [], []
        if train.modality == "table":
            columns = _shared_features(loaded)
            lacking = [c for c in content_columns(train) if c not in columns]
        elif not _is_vectors(train):
            return cls(_describe(train, watch=watch), None, watch=watch)
        frames = _tables(train, columns)
        first = next(frames)
        pixels = Pixels.of(first, frames)
        every = itertools.chain([first], frames) if pixels is None else _tables(train, columns)
        rows = concatenated(describe_table(frame, first, pixels) for frame in every)
        return cls(rows, first, tuple(map(str, lacking)), pixels)

    def describe(self, samples: Samples) -> Descriptors:
        """Describe other samples in the same way."""
        if self.like is None:
            return _describe(samples, self.rows, self.watch)
        frames = _tables(samples, list(self.like.columns))
        return concatenated(describe_table(frame, self.like, self.pixels) for frame in frames)


def _is_vectors(samples: Samples) -> bool:
    if samples.modality != "tensor":
        return False
    first = samples.take([0]).frame[samples.content_column].iloc[0]
    return np.ndim(first) <= 1


def _tables(samples: Samples, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Yield the named columns of all rows; of tensors, one column for each number."""
    for frame in samples.source.frames(ROWS_PER_READ):
        if samples.modality == "table":
            # Held-out samples may lack a column; suspects have them all.
            yield frame.reindex(columns=columns)
        else:
            vectors = [np.atleast_1d(value) for value in frame[samples.content_column]]
            yield pd.DataFrame(np.stack(vectors)).rename(columns=str)


def _shared_features(loaded: Splits) -> list[str]:
    """Return the training rows' columns that suspects have, labels, ids and groups left out."""
    splits = [split for split in (loaded.train, loaded.suspects) if split is not None]
    special = {name for split in splits for name in split.special_columns()}
    known = set(splits[-1].take([0]).frame.columns)
    columns = [name for name in loaded.train.take([0]).frame.columns if name not in special]
    shared = [name for name in columns if name in known]
    if not shared:
        raise DataError(
            f"{splits[-1].source.description}: has no feature column in common with "
            f"{loaded.train.source.description} ({', '.join(map(str, columns[:5]))}); leaks "
            "cannot be looked for"
        )
    return shared


def decoded(samples: Samples) -> Iterator[Image.Image]:
    """Yield every picture, decoded.

    Raises
    ------
    DataError
        One cannot be decoded; its row is named.
    """
    where, column = samples.source.description, samples.content_column
    for frame in samples.source.frames(ROWS_PER_READ):
        for position, value in frame[column].items():
            yield decode(value, where=f"{where}: row {position}", folder=samples.folder)


def _describe(
    samples: Samples, rows: Descriptors | None = None, watch: Watch | None = None
) -> Descriptors:
    """Describe images, texts, or tensors (as images where they have such a shape).

    `rows` are the training rows, where these are others. Where one of their texts stands in another
    column than theirs, that is the text to compare.
    """
    if samples.modality == "text":
        known = rows.keys if isinstance(rows, TextDescriptors) else None
        frames = samples.source.frames(ROWS_PER_READ)
        return concatenated(describe_texts(_texts(samples, frame, known)) for frame in frames)
    if samples.modality == "image":
        pictures = decoded(samples)
        seen = map(as_seen, pictures if watch is None else watch(samples, pictures))
        return concatenated(_described_pictures(samples, seen, rows))
    return concatenated(_described_pictures(samples, map(tensor_as_seen, _tensors(samples)), rows))


def _described_pictures(
    samples: Samples, seen: Iterable[tuple[NDArray[Any], bytes]], rows: Descriptors | None
) -> Iterator[Descriptors]:
    # Large pictures are made small one by one: many of them do not fit into memory.
    kept = ((_at_most_a_thumbnail(picture), key) for picture, key in seen)
    # Once one image is large, all are: descriptors of both kinds cannot be compared.
    small = None if rows is None else isinstance(rows, SmallImageDescriptors)
    shape = rows.pixels.shape[1:] if isinstance(rows, SmallImageDescriptors) else None
    while some := [*itertools.islice(kept, ROWS_PER_READ)]:
        pictures, keys = [picture for picture, _ in some], [key for _, key in some]
        small = are_small(pictures) if small is None else small
        if not small:
            yield describe_images(pictures, keys)
            continue
        described = describe_small_images(pictures, keys) if are_small(pictures) else None
        if described is None or shape not in (None, described.pixels.shape[1:]):
            raise DataError(
                f"{samples.source.description}: images of at most {LARGEST_SIDE} pixels a side "
                "stand beside images of other sides or channels; leaks among them cannot be looked "
                "for"
            )
        shape = described.pixels.shape[1:]
        yield described


def _texts(samples: Samples, frame: pd.DataFrame, known: Keys | None) -> list[str]:
    values = frame[samples.content_column]
    # Where there is no model, missing texts are not set aside.
    texts = [
        "" if gone else text_of(value) for value, gone in zip(values, values.isna(), strict=True)
    ]
    if known is None:
        return texts
    special = {samples.content_column, *samples.special_columns()}
    for name in [name for name in frame.columns if name not in special]:
        others = {
            line: value
            for line, value in enumerate(frame[name].tolist())
            if isinstance(value, str) and len(value.split()) >= FEWEST_WORDS
        }
        lines = [*others]
        instead = _are_known([others[line] for line in lines], known)
        instead &= ~_are_known([texts[line] for line in lines], known)
        for line in np.array(lines, np.int64)[instead].tolist():
            texts[line] = others[line]
    return texts


def _are_known(texts: list[str], known: Keys) -> NDArray[np.bool_]:
    """Tell which texts have one of the keys, `[texts]`."""
    return first_with(np.array([text_key(text) for text in texts], "S16"), known) >= 0


def _at_most_a_thumbnail(picture: NDArray[Any]) -> NDArray[Any]:
    return picture if max(picture.shape[:2]) <= LARGEST_SIDE else thumbnail(picture)


def _tensors(samples: Samples) -> Iterator[Any]:
    for frame in samples.source.frames(ROWS_PER_READ):
        yield from frame[samples.content_column]

"""Rows that cannot be used: set aside with a reason, so that the audit sees only the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.datasets.frames import rechunk
from dataaudit.datasets.images import decode
from dataaudit.datasets.samples import Role, Samples, Source
from dataaudit.datasets.words import is_list, text_of
from dataaudit.errors import DataError
from dataaudit.labels.values import ignored, unusable
from dataaudit.progress import track

ROWS_PER_READ = 256
IGNORE_REASON = (
    "not judged: the label is the one that ignore_label names, or no token or pixel is to be judged"
)
Reasons = Mapping[int, str]
"""Position of a row in its samples, and why the row cannot be used."""


@dataclass(frozen=True)
class SetAside:
    """The rows of one split that were set aside.

    Attributes
    ----------
    role : "train", "held_out" or "suspects"
    rows : int
        Rows of the split in all.
    positions : int64 `[n]`, ascending
        In the file, from 0.
    ids : `[n]`
    labels : as `Samples.labels`
        Not all can be used: the label may be the reason.
    reasons : list of str, length n
    """

    role: Role
    rows: int
    positions: NDArray[np.int64]
    ids: NDArray[Any]
    labels: NDArray[Any]
    reasons: list[str]

    def __len__(self) -> int:
        """Return the number of rows that were set aside."""
        return len(self.positions)


@dataclass(frozen=True)
class Kept:
    """The rows of a source without those that were set aside."""

    source: Source
    positions: NDArray[np.int64]
    """Position in `source` of each row, ascending."""

    @property
    def description(self) -> str:
        """What errors call it."""
        return self.source.description

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.positions)

    def frames(self, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, `rows_per_frame` at a time, index = positions among these."""
        return rechunk(_chosen(self.source.frames(rows_per_frame), self.positions), rows_per_frame)

    def frames_from(self, start: int, rows_per_frame: int) -> Iterator[pd.DataFrame]:
        """Yield the rows from `start` on, `rows_per_frame` at a time, index = positions."""
        kept = self.positions[start:]
        if len(kept) == 0:
            return
        first = int(kept[0])
        others = self.source.frames_from(first, rows_per_frame)
        for frame in rechunk(_chosen(others, kept - first), rows_per_frame):
            frame.index = pd.RangeIndex(start, start + len(frame))
            start += len(frame)
            yield frame

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        wanted = np.asarray(positions, dtype=np.int64)
        frame = self.source.take(self.positions[wanted].tolist())
        frame.index = pd.Index(wanted)
        return frame

    def quick_to_take(self, folder: Path) -> Kept:
        """Return the same rows, where `take` reads no more than it is asked for."""
        return Kept(self.source.quick_to_take(folder), self.positions)


def _chosen(frames: Iterable[pd.DataFrame], positions: NDArray[np.int64]) -> Iterator[pd.DataFrame]:
    """Yield the rows at `positions`, ascending and counted from the first frame's first row."""
    start = 0
    for frame in frames:
        low, high = np.searchsorted(positions, [start, start + len(frame)])
        yield frame.iloc[positions[low:high] - start]
        start += len(frame)


def without(samples: Samples, reasons: Reasons) -> Samples:
    """Return the samples but for the rows at the positions in `reasons`."""
    if not reasons:
        return samples
    lines = np.setdiff1d(np.arange(len(samples)), np.fromiter(reasons, dtype=np.int64))
    source = samples.source
    if isinstance(source, Kept):
        kept = Kept(source.source, source.positions[lines])
    else:
        kept = Kept(source, lines)
    return replace(
        samples,
        source=kept,
        ids=samples.ids[lines],
        labels=samples.labels[lines],
        votes=None if samples.votes is None else samples.votes.kept(lines),
    )


def in_file(samples: Samples, reasons: Reasons) -> dict[int, str]:
    """Return the reasons by position in the file."""
    if isinstance(samples.source, Kept):
        return {int(samples.source.positions[line]): why for line, why in reasons.items()}
    return dict(reasons)


def set_aside(samples: Samples, reasons: Reasons) -> SetAside:
    """Return the record of rows that are set aside; both by position in the file."""
    positions = np.array(sorted(reasons), dtype=np.int64)
    return SetAside(
        samples.role,
        len(samples),
        positions,
        samples.ids[positions],
        samples.labels[positions],
        [reasons[int(position)] for position in positions],
    )


def bad_labels(samples: Samples) -> dict[int, str]:
    """Return the rows whose label is missing, is none of the classes, or is no number."""
    lines = np.flatnonzero(unusable(samples.labels))
    if len(lines) == 0:
        return {}
    if samples.label_columns:
        return {int(line): "a label is neither 0 nor 1" for line in lines}
    if samples.label_column is None:
        # The labels of pairs are not kept beside their class indices.
        return dict.fromkeys(lines.tolist(), "its label is missing, or is not one of the classes")
    reasons: dict[int, str] = {}
    # Rows are read whole, and there may be pictures beside the labels.
    for start in range(0, len(lines), ROWS_PER_READ):
        some = lines[start : start + ROWS_PER_READ].tolist()
        values = samples.source.take(some)[samples.label_column].tolist()
        reasons |= {
            line: samples.kind.reason(value) for line, value in zip(some, values, strict=True)
        }
    return reasons


def ignored_labels(samples: Samples) -> dict[int, str]:
    """Return the rows whose label says not to judge them (`ignore_label`)."""
    return {int(line): IGNORE_REASON for line in np.flatnonzero(ignored(samples.labels))}


def bad_content(samples: Samples, longest_text: int | None) -> dict[int, str]:
    """Return the rows whose image cannot be decoded, or whose text is missing or too long.

    Parameters
    ----------
    samples : Samples
        Tables and tensors have no such content.
    longest_text : int or None
        In characters.
    """
    column = samples.content_column
    if samples.modality not in ("image", "text") or column is None:
        return {}
    reasons: dict[int, str] = {}
    batches = samples.batches(ROWS_PER_READ)
    for batch in track(batches, f"checking {samples.role}", -(-len(samples) // ROWS_PER_READ)):
        for position, value in zip(batch.positions, batch.frame[column].tolist(), strict=True):
            if samples.modality == "image":
                reason = _bad_image(samples, value)
            else:
                reason = _bad_text(text_of(value) if is_list(value) else value, longest_text)
            if reason:
                reasons[int(position)] = reason
    return reasons


def _bad_image(samples: Samples, value: Any) -> str | None:
    try:
        decode(value, where="", folder=samples.folder)
    except DataError as error:
        return str(error).removeprefix(": ")
    return None


def _bad_text(value: Any, longest: int | None) -> str | None:
    if not isinstance(value, str):
        return "the text is missing"
    if longest is not None and len(value) > longest:
        return f"the text has {len(value)} characters, more than {longest}"
    return None

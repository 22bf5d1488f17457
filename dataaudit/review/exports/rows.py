"""The rows that an export writes: what the audit found, and what the row holds."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.images import size_of, thumbnail
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import text_of
from dataaudit.report.samples import clean_text, plain_id
from dataaudit.run_directory.finished import FinishedAudit

IMAGE_SIDE = 512
"""Longest side of an exported image, in pixels: enough to judge a label, small enough to send."""
SHA256_DIGITS = 12
"""How much of the training data's hash each exported row carries."""
_ROWS_PER_READ = 256


@dataclass(frozen=True)
class ExportRow:
    """One training row as it is exported.

    Attributes
    ----------
    row_id : str or int
    given_label, suggested_label : str
        Class names.
    score, probability : float
        As in `mislabels.parquet`.
    flagged : bool
    rank : int
        1 = most suspicious.
    train_sha256 : str
        The first digits of the audited data's hash: decisions about other data are refused.
    text : str or None
        Of text, the text.
    image : str or None
        Of images, a `data:image/webp;base64,…` URI.
    fields : mapping of str to JSON values
        The other columns.
    size : (width, height) or None
        Of the picture, pixels, where labels name places in it.
    """

    row_id: str | int
    given_label: str
    suggested_label: str
    score: float
    probability: float
    flagged: bool
    rank: int
    train_sha256: str
    text: str | None
    image: str | None
    fields: Mapping[str, Any]
    size: tuple[int, int] | None = None


def chosen_positions(audit: FinishedAudit, *, only_flagged: bool) -> NDArray[np.int64]:
    """Return the positions of the rows to export, ascending.

    Rows that the audit set aside were not judged, and are left out: `set_aside.parquet` has them.
    """
    chosen = audit.mislabels["flagged" if only_flagged else "probability"]
    return np.flatnonzero(chosen if only_flagged else chosen.notna()).astype(np.int64)


def export_rows(
    audit: FinishedAudit, samples: Samples, positions: NDArray[np.int64]
) -> Iterator[ExportRow]:
    """Yield the rows at `positions` (ascending), reading the data once, a few rows at a time."""
    columns = ("row_id", "given_label", "suggested_label", "score", "probability", "rank")
    found = audit.mislabels.iloc[positions]
    lines = zip(*(found[name].tolist() for name in columns), found["flagged"].tolist(), strict=True)
    sha256 = audit.train_sha256[:SHA256_DIGITS]
    for content in _contents(samples, positions):
        row_id, given, suggested, score, probability, rank, flagged = next(lines)
        yield ExportRow(
            row_id=plain_id(row_id),
            given_label=clean_text(str(given)),
            suggested_label=clean_text(str(suggested)),
            score=float(score),
            probability=float(probability),
            flagged=bool(flagged),
            rank=int(rank),
            train_sha256=sha256,
            **content_of(samples, row_id, content),
        )


def _contents(samples: Samples, positions: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    for batch in samples.batches(_ROWS_PER_READ):
        low, high = np.searchsorted(positions, [batch.positions[0], batch.positions[-1] + 1])
        if high > low:
            chosen = batch.frame.iloc[positions[low:high] - batch.positions[0]]
            yield from chosen.to_dict("records")


def content_of(samples: Samples, row_id: object, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return `text`, `image` and `fields` of one sample, whose row of the file is `content`."""
    special = samples.special_columns() - {samples.group_column}
    column = samples.content_column
    text = image = None
    if column is not None and samples.modality == "text":
        text = clean_text(text_of(content[column]))
    if column is not None and samples.modality == "image":
        where = f"{samples.source.description}: image of row {row_id}"
        image = thumbnail(content[column], where=where, folder=samples.folder, side=IMAGE_SIDE)
    fields = {
        clean_text(str(name)): plain_value(value)
        for name, value in content.items()
        if name not in special and name != column
    }
    found: dict[str, Any] = {"text": text, "image": image, "fields": fields}
    if image is not None and samples.kind.form == "rectangles":
        found["size"] = size_of(content[str(column)], where="", folder=samples.folder)
    return found


def plain_value(value: Any) -> Any:
    """Return a cell as JSON has it; what JSON lacks (bytes, dates, decimals) as text."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {clean_text(str(key)): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    return clean_text(str(value))


def as_text(value: Any) -> str:
    """Return a JSON value as a cell of text; a missing one is empty."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""Leaks for review elsewhere: each suspect beside the training row that it most resembles.

The file comes back as one of decisions: `row_id` is the suspect's id, `what` is `leak`, and
`decision` is `copy`, `similar` or `unsure`.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.files import readable
from dataaudit.datasets.samples import Modality, Samples
from dataaudit.errors import ConfigError, DataError, RunDirectoryError
from dataaudit.report.data import exact_id
from dataaudit.report.samples import plain_id
from dataaudit.review.exports.choices import OF_ROWS, ExportFormat
from dataaudit.review.exports.csv import csv_line
from dataaudit.review.exports.rows import SHA256_DIGITS, as_text, content_of, plain_value
from dataaudit.review.exports.spool import write_by_rank, write_file
from dataaudit.run_directory.finished import FinishedAudit
from dataaudit.run_directory.store import CONTAMINATION

DECISION = "decision"
CHOICES = ("copy", "similar", "unsure")
TO_FILL = ["decision", "reviewer", "comment"]
SIDES = ("suspect", "match")
_PAIRS_PER_READ = 256


@dataclass(frozen=True)
class ExportLeak:
    """A suspect with its best match.

    Attributes
    ----------
    row_id : str or int
        The suspect's id.
    what : str
        "leak".
    match_row_id : str or int
        The training row's id.
    score, p_value : float or None
        As in `contamination.parquet`; None where there is none.
    flagged : bool
    train_sha256, suspects_sha256 : str
        The first digits of the audited data's hashes: decisions about other data are refused.
    suspect, match : dict
        `text`, `image` and `fields` of both, as exported training rows have them.
    """

    row_id: str | int
    what: str
    match_row_id: str | int
    score: float | None
    p_value: float | None
    flagged: bool
    train_sha256: str
    suspects_sha256: str
    suspect: dict[str, Any]
    match: dict[str, Any]


def chosen_pairs(audit: FinishedAudit, *, only_flagged: bool) -> pd.DataFrame:
    """Return the best match of each suspect, flagged ones first, most suspicious first.

    Suspects without a match, such as those that were set aside, are left out.

    Raises
    ------
    RunDirectoryError
        The table is missing or damaged.
    """
    path = audit.directory / CONTAMINATION
    columns = ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    try:
        with readable(str(path), "a Parquet file"):
            table = pd.read_parquet(path, columns=columns)
    except DataError as error:
        raise RunDirectoryError(str(error)) from None
    matched = table[table["row_id"].notna()]
    best = matched.sort_values("rank", kind="stable").drop_duplicates("query_id")
    if only_flagged:
        best = best[best["flagged"]]
    return best.sort_values(["flagged", "score"], ascending=False, kind="stable")


def write_leaks(
    audit: FinishedAudit,
    train: Samples,
    suspects: Samples,
    target: Path,
    to: ExportFormat,
    *,
    only_flagged: bool,
) -> tuple[int, Path | None]:
    """Write the leaks, and return how many there were and where Label Studio's settings are.

    Raises
    ------
    ConfigError
        The format has no leaks.
    """
    if to not in OF_ROWS:
        raise ConfigError(f"--to: found {to.value}, expected csv, jsonl or label-studio for leaks")
    pairs = chosen_pairs(audit, only_flagged=only_flagged)
    leaks = enumerate(_leaks(audit, train, suspects, pairs))
    if to is ExportFormat.jsonl:
        return write_by_rank(target, ((rank, _json(asdict(leak))) for rank, leak in leaks)), None
    if to is ExportFormat.csv:
        shown = [_columns(suspects), _columns(train)]
        named = [f"{side}.{name}" for side, own in zip(SIDES, shown, strict=True) for name in own]
        lines = ((rank, _csv(leak, (suspects, train), shown)) for rank, leak in leaks)
        return write_by_rank(target, lines, before=csv_line([*_FOUND, *TO_FILL, *named])), None
    configuration = target.with_suffix(".xml")
    text = _configuration(suspects.modality)
    count = write_by_rank(
        target,
        ((rank, _task(leak).rstrip(b"\n")) for rank, leak in leaks),
        before=b"[\n",
        between=b",\n",
        after=b"\n]\n",
    )
    write_file(configuration, lambda path: path.write_text(text, encoding="utf-8"))
    return count, configuration


_FOUND = [
    "row_id",
    "what",
    "match_row_id",
    "score",
    "p_value",
    "flagged",
    "train_sha256",
    "suspects_sha256",
]


def _leaks(
    audit: FinishedAudit, train: Samples, suspects: Samples, pairs: pd.DataFrame
) -> Iterator[ExportLeak]:
    train_sha256 = audit.train_sha256[:SHA256_DIGITS]
    suspects_sha256 = audit.suspects_sha256[:SHA256_DIGITS]
    for start in range(0, len(pairs), _PAIRS_PER_READ):
        part = pairs.iloc[start : start + _PAIRS_PER_READ]
        sides = [_contents(suspects, part["query_id"]), _contents(train, part["row_id"])]
        for line, suspect, match in zip(part.itertuples(index=False), *sides, strict=True):
            yield ExportLeak(
                row_id=plain_id(line.query_id),
                what="leak",
                match_row_id=plain_id(line.row_id),
                score=plain_value(line.score),
                p_value=plain_value(line.p_value),
                flagged=bool(line.flagged),
                train_sha256=train_sha256,
                suspects_sha256=suspects_sha256,
                suspect=suspect,
                match=match,
            )


def _contents(samples: Samples, ids: pd.Series) -> list[dict[str, Any]]:
    """Return text, picture and fields of the samples with these ids, in their order."""
    positions = pd.Index(samples.ids).get_indexer(ids.tolist())
    unique, places = np.unique(positions, return_inverse=True)
    records = samples.take(unique).frame.to_dict("records")
    shown = [
        content_of(samples, samples.ids[position], record)
        for position, record in zip(unique, records, strict=True)
    ]
    return [shown[place] for place in places]


def _columns(samples: Samples) -> list[str]:
    """Return the columns that a spreadsheet shows: all but labels, ids and pictures."""
    hidden = samples.special_columns() - {samples.group_column}
    if samples.modality == "image" and samples.content_column is not None:
        hidden |= {samples.content_column}
    return [name for name in map(str, samples.take([0]).frame.columns) if name not in hidden]


def _csv(leak: ExportLeak, both: Sequence[Samples], shown: Sequence[Sequence[str]]) -> bytes:
    cells: list[object] = [getattr(leak, name) for name in _FOUND]
    cells += ["" for _ in TO_FILL]
    for samples, names, content in zip(both, shown, (leak.suspect, leak.match), strict=True):
        known = dict(content["fields"])
        if samples.content_column is not None:
            known[str(samples.content_column)] = content["text"]
        cells += [known.get(name) for name in names]
    return csv_line(cells)


def _json(content: object) -> bytes:
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _task(leak: ExportLeak) -> bytes:
    ids = {"row_id": exact_id(leak.row_id), "match_row_id": exact_id(leak.match_row_id)}
    data = {name: getattr(leak, name) for name in _FOUND} | ids
    data["review"] = f"Evaluation sample {leak.row_id} and training row {leak.match_row_id}"
    for side, content in zip(SIDES, (leak.suspect, leak.match), strict=True):
        data[side] = (
            content["image"]
            or content["text"]
            or {name: as_text(value) for name, value in content["fields"].items()}
        )
    return _json({"data": data})


def _configuration(modality: Modality) -> str:
    """Return the XML that Label Studio wants as "Labeling Interface"."""
    tag = {"image": "Image", "text": "Text"}.get(modality, "Table")
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Header", {"value": "$review"})
    for side in SIDES:
        ElementTree.SubElement(view, tag, {"name": side, "value": f"${side}"})
    choice = {"name": DECISION, "toName": "suspect", "choice": "single", "required": "true"}
    choices = ElementTree.SubElement(view, "Choices", {**choice, "showInline": "true"})
    for value in CHOICES:
        ElementTree.SubElement(choices, "Choice", {"value": value})
    comment = {"name": "comment", "toName": "suspect", "rows": "2"}
    ElementTree.SubElement(view, "TextArea", {**comment, "placeholder": "Comment (optional)"})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"

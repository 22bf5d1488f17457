"""Other labels in a JSONL file, every other byte as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dataaudit.datasets.changes import Changes, as_cell, first_row_of, labels_are_text
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.text_lines import read_block

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def write_json_lines(samples: Samples, source: JsonLines, changes: Changes, target: Path) -> None:
    """Write the file with other labels.

    Parameters
    ----------
    samples : Samples
    source : JsonLines
        Its source.
    changes : Changes
        Each new label is written as the file writes that class elsewhere.
    target : Path
    """
    key = str(samples.label_column)
    if changes.values is not None:
        written = {place: _value(samples, new) for place, new in enumerate(changes.values)}
    else:
        written = {label: _as_written(samples, source, key, label) for label in changes.classes()}
    with source.path.open("rb") as original, target.open("wb") as copy:
        for number, block in enumerate(source.blocks):
            copy.write(original.read(block.offset - original.tell()))
            start, stop = int(source.starts[number]), int(source.starts[number + 1])
            new = {row: written[label] for row, label in changes.within(start, stop).items()}
            content = original.read(block.size)
            copy.write(_with_labels(content, key, new) if new else content)
        copy.write(original.read())


def value_span(line: str, key: str) -> tuple[int, int]:
    """Return where the value of `key` begins and ends in a line that holds one JSON object.

    Of a key that is repeated the last counts, as everywhere in JSON.

    Raises
    ------
    KeyError
        The object has no such key.
    """
    found: tuple[int, int] | None = None
    position = _after_space(line, line.index("{") + 1)
    while line[position] != "}":
        name, position = _DECODER.raw_decode(line, position)
        start = _after_space(line, line.index(":", position) + 1)
        _, position = _DECODER.raw_decode(line, start)
        if name == key:
            found = (start, position)
        position = _after_space(line, position)
        if line[position] == ",":
            position = _after_space(line, position + 1)
    if found is None:
        raise KeyError(key)
    return found


def _as_written(samples: Samples, source: JsonLines, key: str, label: int) -> str:
    row = first_row_of(samples, label)
    if row is None:
        name = str(samples.classes[label])
        return json.dumps(name) if labels_are_text(samples) else name
    number = int(np.searchsorted(source.starts, row, side="right")) - 1
    content = read_block(source.path, source.blocks[number], source.description)
    lines = [line for line in content.split(b"\n") if line.strip()]
    line = lines[row - int(source.starts[number])].decode("utf-8")
    start, end = value_span(line, key)
    return line[start:end]


def _value(samples: Samples, new: Any) -> str:
    """Return a target, or labels in the form of the file: a list, or text."""
    if isinstance(new, float):
        return as_cell(samples, new)
    if labels_are_text(samples):
        return json.dumps(as_cell(samples, new), ensure_ascii=False)
    whole = all(isinstance(name, int) for name in samples.classes)
    return json.dumps([int(name) if whole else name for name in new], ensure_ascii=False)


def _with_labels(content: bytes, key: str, new: Mapping[int, str]) -> bytes:
    lines = content.split(b"\n")
    # The loader passes over blank lines, so they are no rows here either.
    rows = [place for place, line in enumerate(lines) if line.strip()]
    for row, value in new.items():
        line = lines[rows[row]].decode("utf-8")
        start, end = value_span(line, key)
        lines[rows[row]] = (line[:start] + value + line[end:]).encode("utf-8")
    return b"\n".join(lines)


def _after_space(line: str, position: int) -> int:
    match = _SPACE.match(line, position)
    assert match is not None
    return match.end()

"""Tags: one class for each token of a row, from a list column to a padded matrix, and as text.

As text, a row's tags stand in the order of its tokens with a blank between them, `_` where a token
is not judged: people can read and type it, and there are as many as there are words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.classes import at_least_two
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.lists import places_of
from dataaudit.labels.values import (
    IGNORED,
    UNUSABLE,
    ignored,
    listed,
    meant,
    named_row,
    plain,
    unusable,
)

NOT_JUDGED = -100
"""Of a token that has no tag to be judged, and of the padding after a row's last token: what torch
and transformers leave out of a loss, too."""
NO_TAG = "_"
MOST_VALUES = 2**30
"""Tags of all rows together, each as long as the longest, two bytes each; more would fill the
memory."""

Tags = NDArray[np.int16]
"""`[rows, tokens]`: class indices, or `NOT_JUDGED`; a row whose tags cannot be used is `UNUSABLE`
throughout, one without any token to be judged is `IGNORED` throughout."""


def as_text(tags: NDArray[Any], classes: Sequence[str | int]) -> str:
    """Return one row's tags, `[tokens]`, as text; empty text where the row has no usable ones.

    Tokens after the last one that is judged are left out, because they look like padding.
    """
    if len(tags) and tags[0] in (UNUSABLE, IGNORED):
        return ""
    judged = np.flatnonzero(tags != NOT_JUDGED)
    stop = judged[-1] + 1 if len(judged) else 0
    return " ".join(NO_TAG if tag == NOT_JUDGED else str(classes[tag]) for tag in tags[:stop])


def tags_of_values(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn lists of tags into class indices.

    Parameters
    ----------
    values : pandas.Series `[rows]`
        A list or array for each row: class values, or class indices. Tokens with the value to
        ignore are not judged, as those with -100 are not.
    ids, where, reading
        As for `Kind.read`.

    Returns
    -------
    int16 `[rows, tokens of the longest row]`, and the classes

    Raises
    ------
    DataError
        A row has no list of tags, or one that is none of the classes; classes are needed.
    """
    unjudged = {str(NOT_JUDGED): NOT_JUDGED}
    if reading.ignore is not None:
        unjudged[str(reading.ignore)] = NOT_JUDGED
    expected = "a list of tags, one for each token (task token-classification)"
    found, classes = places_of(
        values, ids, where, reading, _tags, "tag", expected, unjudged, by_index=True
    )
    lengths = [0 if tags is None else len(tags) for tags in found]
    longest = max(lengths, default=0)
    if len(found) * longest > MOST_VALUES:
        row = lengths.index(longest)
        raise DataError(
            f"{where}: {named_row(row, ids)}: {longest:,} tags; each of {len(found):,} rows takes "
            f"as much room as the longest, and all together may have {MOST_VALUES:,}; split the "
            "longest rows"
        )
    matrix = np.full((len(found), max(longest, 1)), NOT_JUDGED, dtype=np.int16)
    for row, tags in enumerate(found):
        if tags is None:
            matrix[row] = UNUSABLE
            continue
        matrix[row, : len(tags)] = tags
        if (matrix[row] == NOT_JUDGED).all():
            matrix[row] = IGNORED
    return matrix, classes


def _tags(value: Any) -> list[Any] | None:
    """Return the tags of one row, or None where the value is no list of tags."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple) or len(value) == 0:
        return None
    tags = [plain(tag) for tag in value]
    return tags if all(type(tag) in (str, int) for tag in tags) else None


def shown(labels: Tags, classes: Names) -> NDArray[Any]:
    """Return the tags as text, `[n]`."""
    return np.array([as_text(row, classes) for row in labels], dtype=object)


def carriers(labels: Tags, place: int) -> NDArray[np.bool_]:
    """Tell which rows have a class among their tags, `[n]`."""
    return np.asarray((labels == place).any(axis=1))


def counts(labels: Tags, classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return the rows that have each tag."""
    return counted(classes, [carriers(labels, place).sum() for place in range(len(classes))])


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the tags that a person typed: as many as were given."""
    old, new = given.split(), as_it_was(text).split()
    if len(new) != len(old):
        raise ValueError(
            f"found {len(new)} tags in {text!r}, expected {len(old)} with blanks between them, "
            f"one for each token: {given}"
        )
    for before, tag in zip(old, new, strict=True):
        if (tag not in classes and tag != NO_TAG) or (before == NO_TAG) != (tag == NO_TAG):
            raise ValueError(
                f"{tag!r} in {text!r} is none of the tags {listed(classes)}; {NO_TAG} stands for "
                f"tokens that are not judged, and stays{meant(tag, classes)}"
            )
    return " ".join(new)


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> tuple[Any, ...]:
    """Return a row's tags as the file would have them: only what changes is written anew.

    Parameters
    ----------
    after, before : str
        Corrected and given tags as text, equally many.
    value : sequence, length tokens
        As the file has them: class names or indices.
    classes : sequence of str
    """
    tags = value.tolist() if isinstance(value, np.ndarray) else list(value)
    for place, (old, new) in enumerate(zip(before.split(), after.split(), strict=True)):
        if old != new:
            tags[place] = _as_written(new, tags[place], classes)
    return tuple(tags)


def _as_written(name: str, instead_of: Any, classes: Sequence[str]) -> Any:
    if isinstance(instead_of, str):
        return name
    named_by_numbers = all(known.isdecimal() for known in classes)
    return int(name) if named_by_numbers else list(classes).index(name)


def usable(labels: Tags, classes: Names) -> NDArray[np.bool_]:
    """Tell which rows have tags of these classes, `[n]`."""
    known = labels.max(axis=1, initial=NOT_JUDGED) < len(classes)
    return np.asarray(known & ~(unusable(labels) | ignored(labels)))


def reason(value: Any) -> str:
    """Say why a value is no list of tags."""
    return "it has no list of tags, one for each word"


def can_be_told_apart(classes: Names) -> None:
    """Raise a `ValueError` where a name would be mistaken in the text of a row's tags."""
    at_least_two(classes)
    for name in map(str, classes):
        if name in ("", NO_TAG) or name.split() != [name]:
            raise ValueError(
                f"{name!r} cannot be told apart in a list of tags such as O B-PER; "
                "expected names without blanks, other than _"
            )


def of_one_width(labels: Sequence[Tags]) -> list[Tags]:
    """Return the tags with as much padding as the longest row of all needs."""
    width = max(rows.shape[1] for rows in labels)
    return [
        np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=NOT_JUDGED)
        for rows in labels
    ]


TAGS = Kind(
    read=tags_of_values,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    usable=usable,
    reason=reason,
    check_classes=can_be_told_apart,
    alike=of_one_width,
    form="text",
    several=True,
    beside=True,
    indices=True,
    per_word=True,
    nothing=NOT_JUDGED,
    repeats=False,
)

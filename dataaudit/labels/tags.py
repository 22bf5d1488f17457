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
from dataaudit.labels.kind import Kind, Labels, Names, Reading, carriers_counted
from dataaudit.labels.values import IGNORED, UNUSABLE, ignored, listed, meant, short, unusable

NOT_JUDGED = -100
"""Of a token that has no tag to be judged, and of the padding after a row's last token: what torch
and transformers leave out of a loss, too."""
NO_TAG = "_"
MOST_CLASSES = 30_000

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


def tags_of_values(
    values: pd.Series,
    ids: NDArray[Any],
    *,
    where: str,
    classes: Sequence[str | int] | None,
    ignore: Any = None,
    tolerate: bool = False,
) -> tuple[Tags, list[str | int]]:
    """Turn lists of tags into class indices.

    Parameters
    ----------
    values : pandas.Series `[rows]`
        A list or array for each row: class values, or class indices.
    ids : `[rows]`
        Named in errors.
    where : str
        The file and the column, for errors.
    classes : sequence of str or int, or None
        The tags in the order of the model's outputs; may be None where they are whole numbers.
    ignore : value or None
        Tokens with this value are not judged, as those with -100 are not.
    tolerate : bool
        Whether rows with other values are left to be set aside.

    Returns
    -------
    int16 `[rows, tokens of the longest row]`, and the classes

    Raises
    ------
    DataError
        A row has no list of tags, or one that is none of the classes; classes are needed.
    """
    unjudged = {str(NOT_JUDGED), str(ignore)} if ignore is not None else {str(NOT_JUDGED)}
    found: list[list[Any] | None] = []
    for row, value in enumerate(values.tolist()):
        tags = _tags(value)
        if tags is None and not tolerate:
            raise DataError(
                f"{where}: row {row} (id {ids[row]}): found {short(value)}; expected a list of "
                "tags, one for each token (task token-classification)"
            )
        found.append(tags)
    known = list(classes) if classes is not None else _numbered(found, unjudged, where)
    places: dict[str, int] = {str(place): place for place in range(len(known))}
    # Names come last: a class that is called "1" is what a tag 1 means.
    places |= {str(name): place for place, name in enumerate(known)}
    places |= dict.fromkeys(unjudged, NOT_JUDGED)
    longest = max((len(tags) for tags in found if tags is not None), default=0)
    matrix = np.full((len(found), max(longest, 1)), NOT_JUDGED, dtype=np.int16)
    for row, tags in enumerate(found):
        unknown = (
            None if tags is None else next((tag for tag in tags if str(tag) not in places), ...)
        )
        if tags is None or unknown is not ...:
            if not tolerate:
                shown = ", ".join(map(str, known[:20]))
                raise DataError(
                    f"{where}: row {row} (id {ids[row]}): tag {unknown!r} is not one of the "
                    f"classes [{shown}]"
                )
            matrix[row] = UNUSABLE
            continue
        matrix[row, : len(tags)] = [places[str(tag)] for tag in tags]
        if (matrix[row] == NOT_JUDGED).all():
            matrix[row] = IGNORED
    return matrix, known


def _tags(value: Any) -> list[Any] | None:
    """Return the tags of one row, or None where the value is no list of tags."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list | tuple) or len(value) == 0:
        return None
    plain = all(isinstance(tag, str | int) and not isinstance(tag, bool) for tag in value)
    return list(value) if plain else None


def _numbered(found: Sequence[list[Any] | None], unjudged: set[str], where: str) -> list[str | int]:
    """Return 0..C-1 for tags that are whole numbers, or raise with the line to add."""
    names = {str(tag) for tags in found if tags is not None for tag in tags} - unjudged
    if names and all(name.isdecimal() for name in names):
        largest = max(map(int, names))
        if largest >= MOST_CLASSES:
            raise DataError(
                f"{where}: found tag {largest}; expected class indices below {MOST_CLASSES}"
            )
        return list(range(largest + 1))
    shown = ", ".join(sorted(names)[:20])
    raise DataError(
        f"{where}: tags are text; add the line `classes: [{shown}]`, in the order of the "
        "model's outputs"
    )


def read(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Read tags from one column of lists."""
    return tags_of_values(
        values,
        ids,
        where=where,
        classes=reading.classes or reading.output_names,
        ignore=reading.ignore,
        tolerate=reading.tolerate,
    )


def shown(labels: Tags, classes: Names) -> NDArray[Any]:
    """Return the tags as text, `[n]`."""
    return np.array([as_text(row, classes) for row in labels], dtype=object)


def carried(labels: Tags, classes: Names) -> NDArray[np.bool_]:
    """Tell which classes each row has among its tags, `[n, C]`."""
    return np.stack([(labels == place).any(axis=1) for place in range(len(classes))], axis=1)


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
    read=read,
    shown=shown,
    carried=carried,
    counts=carriers_counted(carried),
    typed=typed,
    corrected=corrected,
    usable=usable,
    reason=reason,
    check_classes=can_be_told_apart,
    alike=of_one_width,
    form="text",
    indices=True,
    per_word=True,
    repeats=False,
)

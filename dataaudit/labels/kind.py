"""A kind of label: what the rest of the audit asks of it. The kinds stand in `by_task`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Never

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from dataaudit.inert import as_it_was
from dataaudit.labels.values import ignored, is_missing, short, unusable

Names = Sequence[str | int]
"""Classes, in the order of the model's outputs."""
Labels = tuple[NDArray[Any], Names]
"""The labels of all rows, as `Samples.labels` has them, and the classes."""
Outline = Callable[[Image.Image, str, tuple[int, int]], Image.Image]
Form = Literal["one choice", "several choices", "number", "text", "pair", "brush", "rectangles"]


@dataclass(frozen=True)
class Reading:
    """How labels are read.

    Attributes
    ----------
    classes : sequence of str or int, or None
        The label values in the order of the model's outputs, where the user gave them.
    stored_names : sequence of str or None
        The names that the data stores for its classes, in its order.
    output_names : sequence of str or None
        The names that the model has for its outputs, in their order.
    separator : str
        Between the labels of a text.
    ignore : str, int or None
        The label value that says that a row (or token) is not to be judged.
    tolerate : bool
        Whether labels that cannot be used are marked instead of refused.
    picture : callable or None
        (path or encoded picture, where) -> the picture, for labels that are pictures.
    size : (height, width) or None
        That such labels are brought to; None: they stay as they are.
    """

    classes: Names | None = None
    stored_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None
    separator: str = "|"
    ignore: str | int | None = None
    tolerate: bool = False
    picture: Callable[[Any, str], Image.Image] | None = None
    size: tuple[int, int] | None = None


def _same(written: str, label: str) -> bool:
    return label in (written, as_it_was(written))


def _usable(labels: NDArray[Any], classes: Names) -> NDArray[np.bool_]:
    return ~(unusable(labels) | ignored(labels))


def _reason(value: Any) -> str:
    if is_missing(value, None):
        return "the label is missing"
    return f"the label {short(value)} is not one of the classes"


def _any_classes(classes: Names) -> None:
    """Accept all."""


def _never(*arguments: Any) -> Never:
    raise ValueError("the rows have no labels")


def _as_they_are(labels: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    return list(labels)


@dataclass(frozen=True)
class Kind:
    """What a kind of label is.

    Attributes
    ----------
    read : callable
        (values `[n]`, ids `[n]`, where, `Reading`) -> `Labels`; a `DataError` names `where` and
        the first row that cannot be read.
    shown : callable
        (labels, classes) -> what tables show, `[n]`: class values, numbers, or text.
    counts : callable
        (labels, classes, labels of the training rows) -> (name, rows) of each class or range.
    typed : callable
        (text, classes, given label as text) -> what a person typed, as tables show it; raises a
        `ValueError` that says what is wrong.
    corrected : callable
        (new label as text, given label as text, value in the file, classes) -> the new label: a
        class index where `one_class`, else a value that the file can hold.
    read_columns : callable or None
        As `read`, from a table of several columns; None where there is one column.
    usable : callable
        (labels, classes) -> bool `[n]`: whether `shown` has something to show.
    reason : callable
        (value in the file) -> why it cannot be used.
    same : callable
        (label as another program wrote it, label as tables show it) -> whether it is the same.
    check_classes : callable
        Raises a `ValueError` where the user's classes cannot be told apart or are too few.
    alike : callable
        Labels of several splits -> the same, all of one width.
    amended : callable or None
        (labels, what is meant instead as text, classes) -> labels `[n, ...]`, where a text only
        says what changes; None where it says the whole label.
    outlined : callable or None
        (picture, label as text, (height, width) of labels) -> the picture with what the text
        speaks of drawn on it; None where labels name no places.
    form : "one choice", "several choices", "number", "text", "pair", "brush" or
        "rectangles"
        How a person is asked for one; of a pair of answers, for the better one; of a mask, to
        paint what changes.
    several : bool
        Whether a row has several labels.
    beside : bool
        Whether models that learned again without the row are asked beside the mirror.
    one_class : bool
        Whether a label is one class index.
    probed : bool
        Whether linear probes that were fitted without a row may judge it.
    refitted : bool
        Whether an estimator that was fitted anew without a row may judge it.
    indices : bool
        Whether labels are class indices, so that the model's outputs tell how many there are.
    per_word : bool
        Whether a row has a label for each of its words.
    per_pixel : bool
        Whether a row has a label for each pixel of its picture.
    repeats : bool
        Whether rows commonly share a label, so that others with the same one can be shown.
    has_classes : bool
    ordered : bool
        Whether the order of the classes means something, so that the user has to say it.
    own_loss : bool
        Whether the model computes its loss itself, so that labels are among its inputs.
    written : bool
        Whether a label is a text that the model reads after the rest of the row.
    nothing : int
        What a label that says nothing is filled with.
    """

    read: Callable[[pd.Series, NDArray[Any], str, Reading], Labels]
    shown: Callable[[NDArray[Any], Names], NDArray[Any]]
    counts: Callable[[NDArray[Any], Names, NDArray[Any]], list[tuple[str, int]]]
    typed: Callable[[str, Sequence[str], str], str] = _never
    corrected: Callable[[str, str, Any, Sequence[str]], Any] = _never
    read_columns: Callable[[pd.DataFrame, NDArray[Any], str, Reading], Labels] | None = None
    usable: Callable[[NDArray[Any], Names], NDArray[np.bool_]] = _usable
    reason: Callable[[Any], str] = _reason
    same: Callable[[str, str], bool] = _same
    check_classes: Callable[[Names], None] = _any_classes
    alike: Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]] = _as_they_are
    amended: Callable[[NDArray[Any], Sequence[str], Names], NDArray[Any]] | None = None
    outlined: Outline | None = None
    form: Form = "one choice"
    several: bool = False
    beside: bool = False
    one_class: bool = False
    probed: bool = False
    refitted: bool = False
    indices: bool = False
    per_word: bool = False
    per_pixel: bool = False
    repeats: bool = True
    has_classes: bool = True
    ordered: bool = False
    own_loss: bool = False
    written: bool = False
    nothing: int = 0


def counted(classes: Names, rows: Iterable[Any]) -> list[tuple[str, int]]:
    """Return `Kind.counts` of the rows of each class."""
    return [(str(name), int(count)) for name, count in zip(classes, rows, strict=True)]

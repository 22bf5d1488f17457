"""Boxes: for each picture a list of boxes with a class each, as a padded matrix, and as text.

As text a picture's boxes stand with ` | ` between them, each as its class and corners in pixels:
`cat 10,20,30,40 | dog 5,6,20,30` (left, top, right, bottom), `(none)` where there is none. They are
sorted, by class and then by place, so that the same boxes are always written alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.values import (
    IGNORED,
    SHOWN,
    UNUSABLE,
    ignored,
    is_ignored,
    listed,
    meant,
    named_row,
    plain,
    unusable,
)

BOX = 6
"""Numbers of a box: class index, left, top, right, bottom in pixels, and 1 where it is a crowd."""
PADDING = -100
"""Of the places after a picture's last box."""
MOST_BOXES = 500
"""In a picture: as many places are held for every row as the fullest one has boxes."""
LARGEST = 100_000
"""Of a coordinate, in pixels."""
MOST_CLASSES = 10_000
SEPARATOR = "|"
NO_BOX = "(none)"
_CORNERS = re.compile(r"(.+?)\s+" + ",".join([r"\s*([0-9.eE+-]+)\s*"] * 4))

BoxLabels = NDArray[np.float32]
"""`[rows, boxes * BOX]`; a row whose boxes cannot be used is `UNUSABLE` throughout, one that is not
to be judged `IGNORED`. Crowds are places where nothing is judged."""
Boxes = NDArray[np.floating[Any]]
"""`[rows, boxes, BOX]`, or of one picture `[boxes, BOX]`."""
Named = tuple[Any, Sequence[Any], bool]
"""A class, the four corners, and whether it is a crowd."""


def as_boxes(labels: NDArray[Any]) -> Boxes:
    """Return labels `[rows, boxes * BOX]` as `[rows, boxes, BOX]`."""
    return labels.reshape(len(labels), labels.shape[1] // BOX, BOX)


def judged(boxes: Boxes) -> NDArray[np.bool_]:
    """Tell which places hold a box that is judged: no padding, and no crowd."""
    return np.asarray((boxes[..., 0] >= 0) & (boxes[..., 5] == 0))


def as_label(boxes: Boxes, width: int) -> BoxLabels:
    """Return one picture's boxes `[boxes, BOX]` as a label `[width]`, sorted and padded."""
    ordered = boxes[np.lexsort(boxes.T[[5, 4, 3, 2, 1, 0]])]
    label = np.full(width, PADDING, dtype=np.float32)
    label[: ordered.size] = ordered.ravel()
    return label


def as_text(label: NDArray[Any], classes: Names) -> str:
    """Return one picture's judged boxes as text; empty text where they cannot be used."""
    if label[0] in (UNUSABLE, IGNORED):
        return ""
    boxes = label.reshape(-1, BOX)
    return text_of([one_as_text(box, classes) for box in boxes[judged(boxes)]])


def one_as_text(box: NDArray[Any], classes: Names) -> str:
    """Return one box `[BOX]` as text."""
    corners = ",".join(f"{round(float(value), 2):.10g}" for value in box[1:5])
    return f"{classes[int(box[0])]} {corners}"


def text_of(boxes: Sequence[str]) -> str:
    """Return the text of boxes that are texts each."""
    return f" {SEPARATOR} ".join(boxes) or NO_BOX


def parts_of(text: str) -> list[str]:
    """Return the texts of the single boxes of a text."""
    parts = [part.strip() for part in text.split(SEPARATOR)]
    return [] if parts in ([""], [NO_BOX]) else parts


def from_text(text: str, classes: Names) -> Boxes:
    """Return the boxes that a text names, `[boxes, BOX]`, in any order.

    Raises
    ------
    ValueError
        A part is no box, or its class is none of the classes; the message says so.
    """
    places = {str(name): place for place, name in enumerate(classes)}
    found = [_one_from_text(part) for part in parts_of(text)]
    unknown = next((name for name, *_ in found if name not in places), None)
    if unknown is not None:
        raise ValueError(
            f"{unknown!r} is none of the classes {listed(list(places))}"
            f"{meant(unknown, list(places))}"
        )
    rows = [(places[name], *corners_of(corners), crowd) for name, corners, crowd in found]
    return np.array(rows, dtype=np.float32).reshape(-1, BOX)


def corners_of(corners: Sequence[Any]) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom, rounded to hundredths; what is left of 0 is cut off.

    Raises
    ------
    ValueError
        They are no box; the message says why.
    """
    try:
        left, top, right, bottom = (float(value) for value in corners)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected four numbers: left, top, right, bottom") from None
    if not all(abs(value) <= LARGEST for value in (left, top, right, bottom)):
        raise ValueError(f"a corner is no number, or beyond {LARGEST:,} pixels")
    left, top, right, bottom = (round(max(0.0, value), 2) for value in (left, top, right, bottom))
    if right <= left or bottom <= top:
        raise ValueError(
            f"it is {right - left:g} wide and {bottom - top:g} high; expected more than 0"
        )
    return left, top, right, bottom


def _one_from_text(text: str) -> Named:
    match = _CORNERS.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no box; expected a class and its corners in pixels, such as "
            f"cat 10,20,30,40, with {SEPARATOR!r} between boxes, or {NO_BOX}"
        )
    name, *corners = match.groups()
    return name, corners, False


def boxes_of_values(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn the boxes of pictures into a matrix.

    Parameters
    ----------
    values : pandas.Series `[rows]`
        For each picture text (see above), a list of texts of one box each, or a mapping of `boxes`
        (`[n, 4]`: left, top, right, bottom in pixels), `labels` (`[n]`: names, or numbers from 1
        on in the order of the classes, as torchvision counts them) and, if there are crowds,
        `iscrowd` (`[n]`).
    ids, where, reading
        As for `Kind.read`.

    Returns
    -------
    float32 `[rows, boxes of the fullest picture * BOX]`, and the classes

    Raises
    ------
    DataError
        A row has no boxes of this form, or one of no class; classes are needed.
    """
    found: list[list[Named] | None] = []
    skipped = np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values.tolist()):
        skipped[row] = is_ignored(value, reading.ignore)
        try:
            found.append([] if skipped[row] else _named(value))
        except ValueError as error:
            if not reading.tolerate:
                raise DataError(f"{where}: {named_row(row, ids)}: {error}") from None
            found.append(None)
    classes = reading.classes or reading.stored_names or reading.output_names
    if classes is None:
        classes = _numbered({name for row in found for name, *_ in row or ()}, where)
    places: dict[Any, int] = {str(name): place for place, name in enumerate(classes)}
    fullest = max((len(row) for row in found if row is not None), default=0)
    labels = np.full((len(found), max(fullest, 1) * BOX), PADDING, dtype=np.float32)
    for line, named in enumerate(found):
        if named is None:
            labels[line] = UNUSABLE
            continue
        try:
            rows = [(_place(name, places), *corners_of(box), crowd) for name, box, crowd in named]
        except ValueError as error:
            if not reading.tolerate:
                raise DataError(f"{where}: {named_row(line, ids)}: {error}") from None
            labels[line] = UNUSABLE
            continue
        labels[line] = as_label(np.array(rows, np.float32).reshape(-1, BOX), labels.shape[1])
    labels[skipped] = IGNORED
    return labels, list(classes)


def _named(value: Any) -> list[Named]:
    """Return the boxes of one row, or raise a `ValueError` that says what is wrong."""
    if isinstance(value, str):
        found = [_one_from_text(part) for part in parts_of(value)]
    elif isinstance(value, Mapping) and {"boxes", "labels"} <= value.keys():
        boxes, labels, crowds = (_plain(value.get(key)) for key in ("boxes", "labels", "iscrowd"))
        crowds = crowds or [0] * len(boxes)
        if not len(boxes) == len(labels) == len(crowds):
            raise ValueError(f"found {len(boxes)} boxes and {len(labels)} labels")
        found = [(plain(n), b, bool(c)) for n, b, c in zip(labels, boxes, crowds, strict=True)]
    elif isinstance(value, list | tuple | np.ndarray) and all(isinstance(x, str) for x in value):
        found = [_one_from_text(part.strip()) for part in value]
    else:
        raise ValueError(
            "it has no boxes: expected text such as cat 10,20,30,40 | dog 5,6,20,30, or a mapping "
            "of boxes and labels (task boxes)"
        )
    if len(found) > MOST_BOXES:
        raise ValueError(f"it has {len(found)} boxes; expected {MOST_BOXES} at most")
    return found


def _plain(values: Any) -> list[Any]:
    if values is None:
        return []
    values = values.tolist() if hasattr(values, "tolist") else values
    if not isinstance(values, list | tuple):
        raise ValueError(f"boxes and labels are lists, found {type(values).__name__}")
    return list(values)


def _place(name: Any, places: Mapping[Any, int]) -> int:
    """Return a class's place: of text by its name, of numbers from 1 on."""
    if isinstance(name, int) and not isinstance(name, bool):
        if 1 <= name <= len(places):
            return name - 1
        raise ValueError(
            f"found label {name}; expected 1 to {len(places)}, in the order of the classes "
            "(0 is the background)"
        )
    if str(name) not in places:
        shown = ", ".join(list(places)[:SHOWN])
        raise ValueError(f"class {name!r} is not one of the classes [{shown}]")
    return places[str(name)]


def _numbered(names: set[Any], where: str) -> Names:
    """Return 1..C for labels that are whole numbers, or raise with the line to add."""
    if names and all(isinstance(name, int) and 1 <= name <= MOST_CLASSES for name in names):
        return list(range(1, max(names) + 1))
    shown = ", ".join(sorted(map(str, names))[:SHOWN])
    raise DataError(
        f"{where}: add the line `classes: [{shown}]`, in the order of the model's labels: "
        "the first is its label 1 (0 is the background)"
    )


def shown(labels: BoxLabels, classes: Names) -> NDArray[Any]:
    """Return the boxes as text, `[n]`."""
    return np.array([as_text(label, classes) for label in labels], dtype=object)


def carriers(labels: BoxLabels, place: int) -> NDArray[np.bool_]:
    """Tell which rows have a judged box of a class, `[n]`."""
    boxes = as_boxes(labels)
    return np.asarray(((boxes[..., 0] == place) & judged(boxes)).any(axis=1))


def counts(labels: BoxLabels, classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return the rows that have a box of each class."""
    return counted(classes, [carriers(labels, place).sum() for place in range(len(classes))])


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the boxes that a person typed."""
    boxes = from_text(as_it_was(text), classes)
    return as_text(as_label(boxes, max(boxes.size, BOX)), classes)


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> str:
    """Return the boxes as text."""
    return after


def amended(labels: BoxLabels, texts: Sequence[str], classes: Names) -> BoxLabels:
    """Return labels with the boxes that texts name, `[n, ...]`; crowds, which none names, stay."""
    new = []
    for own, text in zip(as_boxes(labels), texts, strict=True):
        crowds = own[(own[:, 0] >= 0) & ~judged(own)]
        new.append(np.concatenate([from_text(text, classes), crowds]))
    width = max(BOX, labels.shape[1], *(boxes.size for boxes in new))
    return np.stack([as_label(boxes, width) for boxes in new])


def same(written: str, label: str) -> bool:
    """Compare box by box: another program leaves other blanks."""
    return sorted(parts_of(as_it_was(written))) == sorted(parts_of(label))


def usable(labels: BoxLabels, classes: Names) -> NDArray[np.bool_]:
    """Tell which rows have boxes of these classes, `[n]`."""
    known = as_boxes(labels)[..., 0].max(axis=1, initial=PADDING) < len(classes)
    return np.asarray(known & ~(unusable(labels) | ignored(labels)))


def reason(value: Any) -> str:
    """Say why a value is no list of boxes."""
    try:
        for _, corners, _ in _named(value):
            corners_of(corners)
    except ValueError as error:
        return str(error)
    return "one of its boxes has no known class"


def can_be_told_apart(classes: Names) -> None:
    """Raise a `ValueError` where a name would be mistaken in the text of boxes."""
    for name in map(str, classes):
        if SEPARATOR in name or name in ("", NO_BOX) or name != " ".join(name.split()):
            raise ValueError(
                f"{name!r} cannot be told apart in boxes such as cat 10,20,30,40 | dog 5,6,20,30; "
                "expected names without | and outer or double blanks, other than (none)"
            )


def of_one_width(labels: Sequence[BoxLabels]) -> list[BoxLabels]:
    """Return the labels with as much padding as the fullest picture of all needs."""
    width = max(rows.shape[1] for rows in labels)
    padded = []
    for rows in labels:
        wide = np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=PADDING)
        for mark, marked in ((UNUSABLE, unusable(rows)), (IGNORED, ignored(rows))):
            wide[marked] = mark
        padded.append(wide)
    return padded


def overlap(boxes: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the intersection over union of each pair, `[..., boxes, others]`, 0 to 1.

    Parameters
    ----------
    boxes, others : `[..., boxes, 4]`, `[..., others, 4]`
        Corners. What has no area overlaps nothing.
    """
    a, b = (
        np.asarray(x, dtype=np.float64) for x in (boxes[..., :, None, :], others[..., None, :, :])
    )
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    common = np.clip(sides, 0, None).prod(axis=-1)
    areas = [np.clip(x[..., 2:] - x[..., :2], 0, None).prod(axis=-1) for x in (a, b)]
    return np.asarray(common / np.maximum(areas[0] + areas[1] - common, 1e-9))


BOXES = Kind(
    read=boxes_of_values,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    usable=usable,
    reason=reason,
    same=same,
    check_classes=can_be_told_apart,
    alike=of_one_width,
    amended=amended,
    form="rectangles",
    several=True,
    own_loss=True,
    nothing=PADDING,
    repeats=False,
)

"""COCO files: one JSON object of `images`, `annotations` and `categories`; a row is an image.

What is not about boxes (segmentations, captions, licences) is let go while the file is read, and
written back as it was. Annotations that hold no box are set aside, and the report says how many.

Classes stand in the order of the model's labels, as torchvision's own training counts them: the
class with category id 1 is label 1. Ids that no category has keep their place; other orders are
named in `classes`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import readable
from dataaudit.datasets.frames import TEXT
from dataaudit.datasets.json_values import each_key_once
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.errors import DataError
from dataaudit.inert import one_line
from dataaudit.labels.boxes import (
    LARGEST,
    MOST_CLASSES,
    corners_of,
    from_text,
    one_as_text,
    overlap,
    parts_of,
)

MOST_BYTES = 2**30
"""A larger file is refused: it is held in memory as a whole."""
KEYS = ("images", "annotations", "categories")
LEFT_OUT = frozenset({"segmentation", "keypoints", "caption"})
"""Of annotations: what takes most of the memory and says nothing of boxes."""
NAMED = 3
"""Annotations that the note names."""
COLUMNS = ["image_id", "image", "label"]
SAME_BOX = 0.1
"""Overlap from which on a new box of the same class is an old one in another place."""


@dataclass(frozen=True)
class Coco(ColumnSource):
    """Columns `image_id` (text), `image` (the path) and `label` (the boxes)."""

    description: str
    path: Path
    ids: list[str]
    names: list[str]
    boxes: list[dict[str, list[Any]]]
    """As the kind `boxes` reads them."""
    categories_by_id: dict[int, str]
    aside: list[str]
    """Why annotations hold no box, one line each."""

    @classmethod
    def open(cls, path: Path, description: str) -> Coco:
        """Read the file.

        Raises
        ------
        DataError
            It is damaged, too large, lacks a part, names a category or an image twice, or has
            annotations of which none holds a box.
        """
        content = _content(path, description, dropping=True)
        categories: dict[int, str] = {}
        for item in content["categories"]:
            number, name = _whole(item.get("id")), item.get("name")
            if not _is_id(number) or not 0 <= number <= MOST_CLASSES or not isinstance(name, str):
                raise DataError(
                    f"{description}: categories: found id {number!r}, name {name!r}; expected a "
                    f"whole number from 0 to {MOST_CLASSES:,} and text"
                )
            _refuse_half_characters(name, description)
            if number in categories or name in categories.values():
                raise DataError(f"{description}: category {number} ({name!r}) is named twice")
            categories[number] = name
        places: dict[Any, int] = {}
        ids: list[str] = []
        names: list[str] = []
        for item in content["images"]:
            image = _whole(item.get("id"))
            if not isinstance(item.get("file_name"), str) or not isinstance(image, int | str):
                raise DataError(f"{description}: images: expected an id and a file_name in each")
            for text in (str(image), item["file_name"]):
                _refuse_half_characters(text, description)
            if image in places:
                raise DataError(f"{description}: image {image!r} is named twice")
            places[image] = len(ids)
            ids.append(str(image))
            names.append(item["file_name"])
        boxes: list[dict[str, list[Any]]] = [
            {"boxes": [], "labels": [], "iscrowd": []} for _ in ids
        ]
        aside = []
        for item in content["annotations"]:
            try:
                box = _box(item, categories, places)
            except ValueError as error:
                aside.append(f"annotation {item.get('id')!r}: {error}")
                continue
            own = boxes[places[_whole(item["image_id"])]]
            own["boxes"].append(box)
            own["labels"].append(categories[_whole(item["category_id"])])
            own["iscrowd"].append(item.get("iscrowd") or 0)
        if ids and aside and len(aside) == len(content["annotations"]):
            raise DataError(
                f"{description}: none of the {len(aside):,} annotations holds a box of these "
                f"images and categories; {one_line(aside[0])}"
            )
        return cls(description, path, ids, names, boxes, categories, aside)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def columns(self) -> list[str]:
        """Return the column names."""
        return COLUMNS

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows at once, with only `columns` where given."""
        yield self._frame(range(len(self)))[COLUMNS if columns is None else list(columns)]

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        return self._frame(positions)

    def _frame(self, positions: Sequence[int]) -> pd.DataFrame:
        columns = {
            "image_id": pd.Series([self.ids[row] for row in positions], dtype=TEXT),
            "image": pd.Series([self.names[row] for row in positions], dtype=TEXT),
            "label": pd.Series([self.boxes[row] for row in positions], dtype=object),
        }
        frame = pd.DataFrame(columns)
        frame.index = pd.Index(list(positions), dtype="int64")
        return frame

    def files(self) -> list[Path]:
        """Return the file."""
        return [self.path]

    def key_column(self) -> str:
        """Return the column of image ids."""
        return "image_id"

    def stored_classes(self, column: str) -> list[str]:
        """Return the categories by their ids from 1 on; those that no category has are numbered."""
        if not self.categories_by_id or min(self.categories_by_id) == 0:
            raise DataError(
                f"{self.description}: category 0 would be the background, label 0; add a line "
                "`classes: [...]` with the categories in the order of the model's labels from 1 on"
            )
        last = max(self.categories_by_id)
        return [self.categories_by_id.get(k, f"(no category {k})") for k in range(1, last + 1)]

    def note(self) -> str | None:
        """Return how many annotations were set aside, and why the first few."""
        if not self.aside:
            return None
        few = "; ".join(map(one_line, self.aside[:NAMED]))
        more = f"; and {len(self.aside) - NAMED} more" if len(self.aside) > NAMED else ""
        return f"set aside, because they hold no box: {len(self.aside)} annotations: {few}{more}"

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Write the file with other boxes, everything else in it as it was.

        A box that only changes its class or its place keeps its annotation.
        """
        content = _content(self.path, self.description, dropping=False)
        dropped = {self.ids[row] for row in changes.dropped.tolist()}
        new = {
            self.ids[row]: parts_of(str((changes.values or ())[place]))
            for row, place in zip(changes.positions.tolist(), changes.labels.tolist(), strict=True)
        }
        writer = _Writer(samples.classes, self.categories_by_id, content["annotations"])
        annotations: list[Any] = []
        own: dict[str, list[Any]] = {image: [] for image in new}
        for item in content["annotations"]:
            image = str(_whole(item.get("image_id")))
            if image in own:
                own[image].append(item)
        ids = {str(_whole(item["id"])): item["id"] for item in content["images"]}
        written = {image: writer.mended(own[image], new[image], ids[image]) for image in new}
        for item in content["annotations"]:
            image = str(_whole(item.get("image_id")))
            if image in dropped:
                continue
            if image not in written:
                annotations.append(item)
            elif written[image]:
                # Where the picture's first annotation stood.
                annotations += written.pop(image)
                written[image] = []
        annotations += [item for items in written.values() for item in items]
        content["annotations"] = annotations
        content["images"] = [i for i in content["images"] if str(_whole(i["id"])) not in dropped]
        # Half of a character, which UTF-8 cannot hold, is written as JSON writes it.
        with target.open("w", encoding="utf-8", errors="backslashreplace") as file:
            json.dump(content, file, ensure_ascii=False)


class _Writer:
    """Turns texts of boxes into annotations, and keeps those that say the same."""

    def __init__(
        self, classes: Sequence[Any], categories: Mapping[int, str], annotations: Sequence[Any]
    ) -> None:
        self._classes = list(classes)
        self._categories = categories
        self._number = {name: number for number, name in categories.items()}
        known = [_whole(item.get("id")) for item in annotations]
        self._next = max(filter(_is_id, known), default=0) + 1

    def mended(self, old: list[Any], texts: Sequence[str], image: Any) -> list[Any]:
        """Return the annotations of an image that has these boxes now.

        What is no box, or a crowd, stays as it is.
        """
        left = list(texts)
        kept: list[Any] = []
        changing: list[Any] = []
        for item in old:
            text = self._text(item)
            if text is None:
                kept.append(item)
            elif text in left:
                left.remove(text)
                kept.append(item)
            else:
                changing.append(item)
        for text in left:
            (box,) = from_text(text, self._classes)
            name = str(self._classes[int(box[0])])
            if name not in self._number:
                raise DataError(
                    f"image {image!r}: the file has no category {name!r}, so that no box can be "
                    f"written as one; it has {', '.join(map(repr, self._number))}"
                )
            corners = np.array([round(float(value), 2) for value in box[1:5]])
            kept.append(
                self._annotation(self._closest(changing, name, corners), name, corners, image)
            )
        return kept

    def _text(self, item: Any) -> str | None:
        number = _whole(item.get("category_id"))
        name = self._categories.get(number) if _is_id(number) else None
        if item.get("iscrowd") or name not in self._number:
            return None
        try:
            return one_as_text(
                np.array([self._classes.index(name), *_corners(item)]), self._classes
            )
        except ValueError:
            return None

    def _closest(self, items: list[Any], name: str, corners: Any) -> Any:
        """Take the annotation that a new box was: the same place, or the same class near by."""
        if not items:
            return None
        shares = overlap(corners[None], np.array([_corners(item) for item in items]))[0]
        own = [self._categories[_whole(item["category_id"])] == name for item in items]
        fits = np.where(own | (shares > 1 - 1e-6), shares, 0)
        place = int(fits.argmax())
        return items.pop(place) if fits[place] >= SAME_BOX else None

    def _annotation(self, old: Any, name: str, corners: Any, image: Any) -> Any:
        left, top, right, bottom = corners.tolist()
        sides = [round(right - left, 2), round(bottom - top, 2)]
        if old is None:
            item = {"id": self._next, "image_id": image, "category_id": 0, "iscrowd": 0}
            self._next += 1
        else:
            item = dict(old)
        item["category_id"] = self._number[name]
        if old is None or _corners(old) != (left, top, right, bottom):
            # A segmentation belongs to the place that it was drawn in.
            item.update(
                bbox=[left, top, *sides], area=round(sides[0] * sides[1], 4), segmentation=[]
            )
        return item


def _content(path: Path, description: str, *, dropping: bool) -> dict[str, Any]:
    """Return the file's object; with `dropping`, without what is not about boxes.

    Raises
    ------
    DataError
        It is damaged or too large, or a part is no list of objects.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise DataError(f"{description}: has {size:,} bytes; at most {MOST_BYTES:,} are read")

    def lean(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return each_key_once([pair for pair in pairs if pair[0] not in LEFT_OUT])

    with readable(description, "a COCO file"), path.open(encoding="utf-8-sig") as file:
        content = json.load(file, object_pairs_hook=lean if dropping else each_key_once)
    for key in KEYS:
        part = content.get(key) if isinstance(content, dict) else None
        if not isinstance(part, list) or not all(isinstance(item, dict) for item in part):
            raise DataError(f"{description}: {key} is no list of objects, as COCO has it")
    return dict(content)


def _box(
    item: Mapping[str, Any], categories: Mapping[int, str], images: Mapping[Any, int]
) -> list[float]:
    """Return the corners of an annotation, or raise a `ValueError` that says why it has none."""
    image, category = _whole(item.get("image_id")), _whole(item.get("category_id"))
    if not isinstance(image, int | str) or image not in images:
        raise ValueError(f"there is no image {image!r}")
    if not _is_id(category) or category not in categories:
        raise ValueError(f"there is no category {category!r}")
    if item.get("iscrowd") not in (None, 0, 1):
        raise ValueError(f"iscrowd is {item['iscrowd']!r}")
    return list(_corners(item))


def _corners(item: Mapping[str, Any]) -> tuple[float, float, float, float]:
    box = item.get("bbox")
    if not isinstance(box, list) or [isinstance(x, int | float) for x in box] != [True] * 4:
        raise ValueError("bbox is no list of four numbers: left, top, width, height")
    if not all(abs(value) <= LARGEST for value in box):
        raise ValueError(f"bbox holds what is no number, or beyond {LARGEST:,} pixels")
    left, top, width, height = box
    return corners_of((left, top, left + width, top + height))


def _refuse_half_characters(name: str, description: str) -> None:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{description}: the name {name!r} holds half of a character") from None


def _whole(value: Any) -> Any:
    """Return a whole number that is written with a fraction, as some programs do, as one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_coco(path: Path) -> bool:
    """Tell a COCO file from other JSON: one object that has all three parts."""
    if not path.is_file() or path.suffix.lower() != ".json" or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if not content[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
            return False
        return all(content.find(f'"{key}"'.encode()) >= 0 for key in KEYS)


FORMAT = Format(is_coco, lambda path, _: Coco.open(path, str(path)))

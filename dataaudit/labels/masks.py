"""Masks: one class for each pixel of a picture, from pictures to class indices, and as text.

As text, the mask that the data gives is its size and the shares of its classes. A mask that is
meant instead is what changes: its regions, each with a box in words and its shape in a code that
programs read back (`Region`).
"""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dataaudit.errors import DataError
from dataaudit.inert import as_it_was
from dataaudit.labels.classes import at_least_two
from dataaudit.labels.kind import Kind, Labels, Names, Reading, counted
from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.labels.values import IGNORED, UNUSABLE, ignored, listed, meant, short, unusable

VOID = 255
"""The pixel value that says that a pixel is not to be judged, as Pascal VOC and others have it."""
MOST_VALUES = 2**29
"""Pixels of all masks together, two bytes each; more would fill the memory."""
LARGEST_BOX = 64_000_000
"""Pixels of a region's box."""
SHARES_SHOWN = 6
BETWEEN = "; "
_REGION = re.compile(
    r"(?P<was>.*) read as (?P<name>.*) at (?P<box>\d+,\d+-\d+,\d+) #(?P<code>[A-Za-z0-9_=-]+)"
)
_CODE = re.compile(r"( at \d+,\d+-\d+,\d+) #[A-Za-z0-9_=-]+")
_SIZE = re.compile(r"(\d+) x (\d+): ")
DRAWN_SIDE = 192
"""Pictures are drawn at least so many pixels high or wide, so that an outline can be seen."""

Masks = NDArray[np.int16]
"""`[rows, height, width]`: class indices, or `NOT_JUDGED`; a mask that cannot be used is `UNUSABLE`
throughout, one without a pixel to be judged is `IGNORED` throughout."""


@dataclass(frozen=True)
class Region:
    """Pixels of one mask that are meant to be of another class.

    Attributes
    ----------
    was, name : str
        The class that most of them were given, and the one meant.
    left, top : int
        Of the box around them, pixels.
    shape : bool `[height, width]`
        Which pixels of the box.
    """

    was: str
    name: str
    left: int
    top: int
    shape: NDArray[np.bool_]

    @classmethod
    def of(cls, pixels: NDArray[np.bool_], was: str, name: str) -> Region:
        """Return the region of some pixels, `[height, width]`, at least one of them."""
        rows, columns = np.flatnonzero(pixels.any(axis=1)), np.flatnonzero(pixels.any(axis=0))
        box = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return cls(was, name, int(columns[0]), int(rows[0]), box)

    @property
    def box(self) -> str:
        """The corners of the box, both inside it."""
        height, width = self.shape.shape
        return f"{self.left},{self.top}-{self.left + width - 1},{self.top + height - 1}"

    def __str__(self) -> str:
        """Return it as text."""
        packed = zlib.compress(np.packbits(self.shape).tobytes(), 9)
        code = base64.urlsafe_b64encode(packed).decode("ascii")
        return f"{self.was} read as {self.name} at {self.box} #{code}"

    @classmethod
    def parse(cls, text: str) -> Region:
        """Return the region that a text names.

        Raises
        ------
        ValueError
            It names none; the message says what is wrong.
        """
        found = _REGION.fullmatch(text)
        if found is None:
            raise ValueError(
                f"{short(text)} is no region; expected `CLASS read as CLASS at x,y-x,y #shape`, "
                "as the audit suggests it"
            )
        left, top, right, bottom = map(int, re.split("[,-]", found["box"]))
        height, width = bottom - top + 1, right - left + 1
        if min(height, width) < 1 or height * width > LARGEST_BOX:
            raise ValueError(f"the box {found['box']} is empty or too large")
        needed = -(-height * width // 8)
        try:
            packed = base64.urlsafe_b64decode(found["code"])
            content = zlib.decompressobj().decompress(packed, needed + 1)
        except (ValueError, zlib.error):
            content = b""
        if len(content) != needed:
            raise ValueError(f"the shape of the region at {found['box']} was damaged")
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=height * width).astype(bool)
        return cls(found["was"], found["name"], left, top, bits.reshape(height, width))


def whole_of(region: Region, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels of a region in a mask of `size`, `[height, width]`."""
    whole = np.zeros(size, dtype=bool)
    height, width = region.shape.shape
    whole[region.top : region.top + height, region.left : region.left + width] = region.shape
    return whole


def regions_of(text: str) -> list[Region]:
    """Return the regions that a changed mask's text names; see `Region.parse`."""
    return [Region.parse(part) for part in text.split(BETWEEN)]


def as_text(regions: Sequence[Region]) -> str:
    """Return regions as text."""
    return BETWEEN.join(map(str, regions))


def without_codes(text: str) -> str:
    """Return a text without the codes of regions' shapes, which are for programs."""
    return _CODE.sub(r"\1", text)


def masks_of_values(values: pd.Series, ids: NDArray[Any], where: str, reading: Reading) -> Labels:
    """Turn masks into class indices.

    Parameters
    ----------
    values : pandas.Series `[rows]`
        Of each row a grey or palette picture (encoded, or a path, as `reading.picture` reads them;
        or a PIL image), or an array `[height, width]`. A pixel's value is its class index; 255, and
        the value to ignore, are not judged.
    ids, where, reading
        As for `Kind.read`. Classes are needed. Where `reading.size` is set, masks are brought to
        that size, each pixel as the nearest one of the file.

    Returns
    -------
    int16 `[rows, height, width]`, and the classes

    Raises
    ------
    DataError
        A mask cannot be read, has a value that is no class, or is of another size than the first.
    """
    classes = reading.classes or reading.output_names
    if classes is None:
        raise DataError(
            f"{where}: masks name no classes; add the line `classes: [...]`, the class of pixel "
            "value 0 first"
        )
    if reading.size is not None:
        # Before the first one is made as large as that.
        _refuse_too_many(where, len(values), *reading.size)
    masks: Masks | None = None
    for row, value in enumerate(values.tolist()):
        try:
            mask = _indices(value, f"{where}: row {row} (id {ids[row]})", reading, len(classes))
            if masks is not None and mask.shape != masks.shape[1:]:
                raise DataError(
                    f"{where}: row {row} (id {ids[row]}): the mask has {_size(mask)} pixels, "
                    f"others {_size(masks[0])}; set the size that the model takes, for example "
                    "`images: {size: 256}`"
                )
        except DataError:
            if not reading.tolerate:
                raise
            continue
        if masks is None:
            _refuse_too_many(where, len(values), *mask.shape)
            masks = np.full((len(values), *mask.shape), UNUSABLE, dtype=np.int16)
        masks[row] = IGNORED if (mask == NOT_JUDGED).all() else mask
    if masks is None:
        masks = np.full((len(values), 1, 1), UNUSABLE, dtype=np.int16)
    return masks, list(classes)


def _refuse_too_many(where: str, rows: int, height: int, width: int) -> None:
    if rows * height * width > MOST_VALUES:
        raise DataError(
            f"{where}: {rows} masks of {width} x {height} pixels are too many for the memory; set "
            "a smaller size, for example `images: {size: 256}`"
        )


def _indices(value: Any, where: str, reading: Reading, classes: int) -> Masks:
    """Return one mask, `[height, width]`."""
    if reading.picture is not None and isinstance(value, str | bytes | dict):
        value = reading.picture(value, where)
    if isinstance(value, Image.Image):
        if value.mode not in ("1", "L", "P", "I", "I;16"):
            raise DataError(
                f"{where}: the mask is a picture of mode {value.mode}; expected one value for each "
                "pixel, its class index (grey or with a palette)"
            )
        value = np.asarray(value)
    values = np.asarray(value)
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "bui":
        raise DataError(
            f"{where}: found {short(value)}; expected a mask: a grey or palette picture, or class "
            "indices [height, width] (task segmentation)"
        )
    if reading.size is not None:
        values = nearest(values, reading.size)
    mask = values.astype(np.int64)
    judged = judged_pixels(mask, reading.ignore)
    beyond = judged & ((mask < 0) | (mask >= classes))
    if beyond.any():
        raise DataError(
            f"{where}: the mask has the pixel value {mask[beyond][0]}; expected class indices from "
            f"0 to {classes - 1}, or {VOID} where a pixel is not to be judged"
        )
    return np.where(judged, mask, NOT_JUDGED).astype(np.int16)


def judged_pixels(values: NDArray[np.int64], ignore: str | int | None) -> NDArray[np.bool_]:
    """Tell which pixels of a mask, `[height, width]`, are judged; `ignore` is the value not to."""
    judged = (values != VOID) & (values != NOT_JUDGED)
    with contextlib.suppress(ValueError):
        # As text each pixel would take 84 bytes; a name is no pixel's value.
        judged &= values != int(str(ignore))
    return np.asarray(judged)


def nearest(values: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Return `[height, width]` of another size, each pixel as the nearest one is."""
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in zip(size, values.shape, strict=True)
    )
    return values[rows[:, None], columns]


def _size(mask: NDArray[Any]) -> str:
    return f"{mask.shape[1]} x {mask.shape[0]}"


def shown(labels: Masks, classes: Names) -> NDArray[Any]:
    """Return the size of each mask and the shares of its classes, `[n]`."""
    return np.array([_shares(mask, classes) for mask in labels], dtype=object)


def _shares(mask: NDArray[Any], classes: Names) -> str:
    counts = np.bincount(mask[mask >= 0], minlength=len(classes))
    order = [place for place in np.argsort(-counts, kind="stable") if counts[place]]
    parts = [f"{classes[place]} {counts[place] / mask.size:.1%}" for place in order[:SHARES_SHOWN]]
    return f"{_size(mask)}: {', '.join(parts)}"


def carriers(labels: Masks, classes: int) -> NDArray[np.bool_]:
    """Tell which rows have a pixel of each class, `[n, classes]`; every mask is read once."""
    found = np.zeros((len(labels), classes), dtype=bool)
    for row, mask in enumerate(labels):
        found[row] = np.bincount(mask[mask >= 0], minlength=classes)[:classes] > 0
    return found


def counts(labels: Masks, classes: Names, train: NDArray[Any]) -> list[tuple[str, int]]:
    """Return the rows that have each class somewhere."""
    return counted(classes, carriers(labels, len(classes)).sum(axis=0))


def typed(text: str, classes: Sequence[str], given: str) -> str:
    """Return the mask that a person chose: the given one, or regions that change."""
    text = as_it_was(text)
    if text == given:
        return text
    regions = regions_of(text)
    found = _SIZE.match(given)
    for region in regions:
        if region.name not in classes:
            raise ValueError(
                f"{region.name!r} is none of the classes {listed(classes)}"
                f"{meant(region.name, classes)}"
            )
        height, width = region.shape.shape
        if found and (region.left + width > int(found[1]) or region.top + height > int(found[2])):
            raise ValueError(f"the region at {region.box} leads out of the mask, {found[0][:-2]}")
    return as_text(regions)


def corrected(after: str, before: str, value: Any, classes: Sequence[str]) -> str:
    """Return the regions that change; the mask's file is written from them."""
    return after


def amended(labels: Masks, texts: Sequence[str], classes: Names) -> Masks:
    """Return masks with regions changed, `[n, height, width]`; what is not judged stays so.

    Raises
    ------
    ValueError
        A text names no regions, or some that lead out of the masks.
    """
    names = [str(name) for name in classes]
    result = labels.copy()
    for mask, text in zip(result, texts, strict=True):
        judged = mask != NOT_JUDGED
        for region in regions_of(text):
            mask[whole_of(region, mask.shape) & judged] = names.index(region.name)
    return result


def usable(labels: Masks, classes: Names) -> NDArray[np.bool_]:
    """Tell which masks have classes of these alone, `[n]`."""
    largest = labels.max(axis=(1, 2), initial=NOT_JUDGED)
    return np.asarray((largest < len(classes)) & ~(unusable(labels) | ignored(labels)))


def reason(value: Any) -> str:
    """Say why a mask cannot be used."""
    return (
        "its mask cannot be read, has a pixel value that is no class, or another size than its "
        "picture or the other masks"
    )


def outlined(picture: Image.Image, text: str, size: tuple[int, int]) -> Image.Image:
    """Return a picture with the regions of a changed mask outlined, each with its number.

    The outline is a black line between two white ones, so that it is seen on any ground and
    without telling colours apart.

    Parameters
    ----------
    picture : PIL image
    text : str
        As `as_text` writes it; any other text has no regions.
    size : (height, width)
        Of the mask.
    """
    try:
        regions = regions_of(text)
    except ValueError:
        return picture
    scale = max(1, -(-DRAWN_SIDE // max(picture.size)))
    drawn = picture.convert("RGB").resize(
        (picture.width * scale, picture.height * scale), Image.Resampling.NEAREST
    )
    pen = ImageDraw.Draw(drawn)
    for number, region in enumerate(regions, 1):
        inside = nearest(whole_of(region, size), (drawn.height, drawn.width))
        shrunk = _eroded(inside)
        bands = [inside & ~shrunk]
        for _ in range(2):
            inner = _eroded(shrunk)
            bands.append(shrunk & ~inner)
            shrunk = inner
        for band, colour in zip(bands, ("white", "black", "white"), strict=True):
            drawn.paste(colour, mask=Image.fromarray(band))
        left, top = (
            round(place * side / old)
            for place, side, old in (
                (region.left, drawn.width, size[1]),
                (region.top, drawn.height, size[0]),
            )
        )
        place = (min(left, drawn.width - 12), max(0, top - 13))
        pen.rectangle((*place, place[0] + 11, place[1] + 12), fill="black", outline="white")
        pen.text((place[0] + 3, place[1] + 1), str(number), fill="white")
    return drawn


def _eroded(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels whose four neighbours are inside, too."""
    padded = np.pad(inside, 1)
    return np.asarray(
        inside & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    )


def can_be_told_apart(classes: Names) -> None:
    """Raise a `ValueError` where a name would be mistaken in the text of a region."""
    at_least_two(classes)
    for name in map(str, classes):
        if BETWEEN in name or " read as " in name or name != name.strip() or not name:
            raise ValueError(
                f"{name!r} cannot be told apart in the text of a region; expected names without "
                "outer spaces, `; ` and ` read as `"
            )
    if len(classes) > VOID:
        raise ValueError(f"found {len(classes)} classes, expected at most {VOID}")


MASKS = Kind(
    read=masks_of_values,
    shown=shown,
    counts=counts,
    typed=typed,
    corrected=corrected,
    usable=usable,
    reason=reason,
    check_classes=can_be_told_apart,
    amended=amended,
    outlined=outlined,
    form="brush",
    several=True,
    per_pixel=True,
    nothing=NOT_JUDGED,
    repeats=False,
)

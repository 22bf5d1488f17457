"""What a value means, however it is stored: the same number, words or picture in another type."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_WHOLE = re.compile(r"([+-]?\d+)\.0+")
_MIDNIGHT = re.compile(r"(\d{4}-\d\d-\d\d)[ T]00:00(:00(\.0+)?)?")
_TRUTH = {"true": "1", "false": "0"}
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)
"""Marks that choose how an emoji is drawn, not which one it is."""


class _Translation(dict[int, str]):
    """What `str.translate` makes of each character, worked out when it is first met."""

    def __init__(self, translate: Callable[[str], str]) -> None:
        super().__init__()
        self._translate = translate

    def __missing__(self, point: int) -> str:
        """Work out one character."""
        self[point] = self._translate(chr(point))
        return self[point]


def _letter(character: str) -> str:
    """Keep letters, digits and combining marks: vowels are marks in many scripts."""
    if character.isalnum() or unicodedata.category(character)[0] == "M":
        return "" if ord(character) in _VARIATION_SELECTORS else character
    return "" if character in "'’" else " "


def _letter_or_symbol(character: str) -> str:
    kind = unicodedata.category(character)
    return character if kind[0] == "S" else "" if kind == "Cf" else _letter(character)


_LETTERS, _LETTERS_AND_SYMBOLS = _Translation(_letter), _Translation(_letter_or_symbol)


def fold_text(text: str) -> str:
    """Return the text without case, punctuation, accents' encoding and repeated blanks.

    A text without letters and digits (emoji) keeps its symbols.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(_LETTERS).split()) or words_of(text)


def words_of(text: str) -> str:
    """The same, but symbols (emoji, currencies) are kept: they can be all that tells two apart.

    A text of nothing but punctuation keeps it.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join((folded.translate(_LETTERS_AND_SYMBOLS).strip() or folded).split())


def cell_of(value: Any) -> str:
    """Return a cell of a table as text: true and "True" as 1, 3.0 as 3, a day without its midnight.

    Missing values and blanks are all the empty text.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, bool | np.bool_):
        return str(int(value))
    if isinstance(value, float | np.floating):
        number = float(value)
        if np.isnan(number):
            return ""
        return str(int(number)) if number.is_integer() else repr(number)
    text = " ".join(unicodedata.normalize("NFKC", str(value)).casefold().split())
    whole = _WHOLE.fullmatch(text)
    if whole is not None:
        return whole[1]
    day = _MIDNIGHT.fullmatch(text)
    return day[1] if day is not None else _TRUTH.get(text, text)


def cells_of(column: pd.Series, meaning: Callable[[Any], str] = cell_of) -> NDArray[np.object_]:
    """Return `[rows]` texts of a column; each different value is looked at once."""
    try:
        codes, values = pd.factorize(column.astype(object), use_na_sentinel=False)
    except TypeError:  # lists and the like
        return np.array([meaning(value) for value in column], object)
    # 1, 1.0 and True are one to pandas; they mean the same here too.
    return np.array([meaning(value) for value in values] or [""], object)[codes]


def numbers_of(column: pd.Series) -> NDArray[np.float64]:
    """Return `[rows]` numbers of a column; NaN where there is none. Truth values are 1 and 0."""
    if not pd.api.types.is_numeric_dtype(column):
        column = pd.to_numeric(column.astype(object).map(_truth), errors="coerce")
    return column.to_numpy(np.float64, na_value=np.nan)


def _truth(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return int(value)
    return _TRUTH.get(value.strip().casefold(), value) if isinstance(value, str) else value


def picture_key(picture: NDArray[Any]) -> bytes:
    """Return 16 bytes that two pictures share only if all their pixels are the same.

    Eight bits and the same divided by 255 are the same, and so are grey and colour with three
    equal channels, and pictures with and without a full alpha channel.
    """
    pixels = np.asarray(picture)
    if pixels.dtype.kind == "f" and pixels.size and pixels.min() >= 0 and pixels.max() <= 1:
        whole = np.rint(pixels.astype(np.float64) * 255)
        if np.abs(whole - pixels.astype(np.float64) * 255).max() < 1e-3:
            pixels = whole
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        seen = pixels[..., -1:]
        pixels = pixels[..., :-1] if (seen == 255).all() else np.where(seen > 0, pixels, 0)
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        first = pixels[..., 0]
        if np.array_equal(first, pixels[..., 1]) and np.array_equal(first, pixels[..., 2]):
            pixels = first
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    values = np.ascontiguousarray(_smallest(pixels))
    return blake2b(repr(values.shape).encode() + values.tobytes(), digest_size=16).digest()


def _smallest(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels as bytes where these hold them exactly, else as numbers of single precision."""
    if pixels.dtype == np.uint8:
        return pixels
    # Adding zero turns -0.0 into 0.0.
    values = pixels.astype(np.float32) + np.float32(0)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.uint8)
    return whole if np.array_equal(whole, values) else values

"""What the rows hold: an image, a text, or the columns of a table; by the first rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from dataaudit.datasets.files import inside
from dataaudit.datasets.images import ENDINGS, is_encoded
from dataaudit.datasets.samples import Modality

ROWS_SEEN = 200
"""Detection looks at this many rows from the beginning."""

_WORDS_OF_A_TEXT = 3
_OTHER_COLUMNS_OF_A_TEXT = 3
_MOSTLY_DISTINCT = 0.9


def modality_of(
    rows: pd.DataFrame, features: list[str], folder: Path | None
) -> tuple[Modality, str | None]:
    """Return the modality and the column that holds the content.

    Parameters
    ----------
    rows : pandas.DataFrame
        The first rows.
    features : list of str
        The columns that are neither label nor id.
    folder : Path or None
        What image paths are relative to; without it, text is never taken for a path.

    Returns
    -------
    modality, column
        "image" and the first column that mostly holds encoded images, `{bytes, path}` or paths of
        images inside `folder`; "text" and the only column of prose beside at most three others;
        or "table" and None.
    """
    for name in features:
        values = [value for value in rows[name].tolist() if not _absent(value)]
        # Mostly: a damaged image must not turn pictures into a table.
        if values and 2 * sum(_is_image(value, folder) for value in values) > len(values):
            return "image", name
    prose = [name for name in features if _is_prose(rows[name], alone=len(features) == 1)]
    if len(prose) == 1 and len(features) <= 1 + _OTHER_COLUMNS_OF_A_TEXT:
        return "text", prose[0]
    return "table", None


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and value != value)


def _is_image(value: Any, folder: Path | None) -> bool:
    if isinstance(value, bytes):
        return is_encoded(value)
    if isinstance(value, dict) and {"bytes", "path"} <= value.keys():
        content, path = value["bytes"], value["path"]
        return _is_image(content if content is not None else path, folder)
    if isinstance(value, str) and folder is not None:
        return value.lower().endswith(ENDINGS) and inside(folder, value) is not None
    return False


def _is_prose(column: pd.Series, *, alone: bool) -> bool:
    """Tell whether a column holds free text: more than three words, or, alone, all different."""
    values = [value for value in column.tolist() if not _absent(value)]
    if not values or not all(isinstance(value, str) for value in values):
        return False
    words = sum(len(value.split()) for value in values) / len(values)
    distinct = len(set(values)) / len(values)
    return words > _WORDS_OF_A_TEXT or (alone and distinct > _MOSTLY_DISTINCT)

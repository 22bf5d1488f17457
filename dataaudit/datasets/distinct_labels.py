"""The values of a label column, where nobody says what the classes are."""

from __future__ import annotations

from dataaudit.datasets.sources import ColumnSource
from dataaudit.labels.values import is_missing


def distinct_labels(source: ColumnSource, label: str, *, several: bool = False) -> list[str | int]:
    """Return the labels that occur, each once, numbers before text; those that say nothing not.

    Parameters
    ----------
    source : ColumnSource
    label : str
        The column.
    several : bool
        Whether a list holds a label in each place.
    """
    found: set[str | int] = set()
    for frame in source.stream([label]):
        values = (frame[label].explode() if several else frame[label]).dropna()
        try:
            distinct = values.unique().tolist()
        except TypeError:
            # Lists are no class each; what they hold is for the user to say.
            distinct = values.map(str).unique().tolist()
        for value in distinct:
            if is_missing(value, None):
                continue
            is_whole = isinstance(value, float) and value.is_integer()
            found.add(int(value) if is_whole else value if isinstance(value, int) else str(value))
    return sorted(found, key=lambda value: (isinstance(value, str), value))


def are_indices(values: list[str | int]) -> bool:
    """Tell whether the labels are 0..C-1, which need no list of classes."""
    return values == list(range(len(values)))

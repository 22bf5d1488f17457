"""Corrected tags in the form of the file: only what changes is written anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def corrected_tags(
    value: Sequence[Any], before: str, after: str, classes: Sequence[str]
) -> tuple[Any, ...]:
    """Return a row's tags as the file would have them.

    Parameters
    ----------
    value : sequence, length tokens
        As the file has them: class names or indices.
    before, after : str
        Given and corrected tags as text, equally many.
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

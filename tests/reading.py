"""Data sets read as training rows with the column `label`, or the message that refuses them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError

SETTINGS = ReadSettings("train", "label")


def opened(path: Path, **changes: Any) -> Samples:
    return open_samples(path, replace(SETTINGS, **changes))


def taken(obj: Any, **changes: Any) -> Samples:
    return samples_from_object(obj, replace(SETTINGS, **changes))


def message(path: Path, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        opened(path, **changes)
    return str(caught.value).replace(str(path.parent), "")


def object_message(obj: Any, **changes: Any) -> str:
    with pytest.raises(DataError) as caught:
        taken(obj, **changes)
    return str(caught.value)

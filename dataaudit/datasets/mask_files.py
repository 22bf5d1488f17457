"""Corrected masks as files: the pixels of some regions changed, mode and palette as they were."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.images import decode, image_path
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.labels.masks import judged_pixels, nearest, regions_of, whole_of


def corrected_masks(samples: Samples, changes: Changes) -> Iterator[tuple[int, bytes]]:
    """Yield the position of each row that changes, and its mask as a PNG file."""
    if not len(changes) or changes.values is None:
        return
    cells = _cells(samples, changes)
    for position, label, value in zip(
        changes.positions.tolist(), changes.labels, cells, strict=True
    ):
        where = f"{samples.source.description}: mask of row {position}"
        image = decode(value, where=where, folder=samples.folder)
        yield position, _corrected(image, changes.values[label], samples)


def folder_beside(target: Path) -> Path:
    """Return the folder of the masks of a corrected table: `corrected_masks` of `corrected.csv`."""
    return target.with_name(f"{target.stem}_masks")


def as_files(samples: Samples, changes: Changes, target: Path) -> Changes:
    """Write the masks that change beside a table, and return what its cells hold then.

    They lie in a new folder that is named after the table; masks that stand in the table itself
    stay there. Where it cannot be finished, nothing is left of the folder.

    Raises
    ------
    DataError
        There already is such a folder, or a mask cannot be read.
    """
    folder = folder_beside(target)
    cells: list[Any] = []
    made = False
    try:
        for value, (position, content) in zip(
            _cells(samples, changes), corrected_masks(samples, changes), strict=True
        ):
            path = image_path(value)
            if path is None:
                cells.append(content)
                continue
            if not made:
                if folder.exists():
                    raise DataError(f"{folder}: already exists; choose another name with --out")
                folder.mkdir()
                made = True
            written = folder / f"{PurePosixPath(path).stem}_{position}.png"
            written.write_bytes(content)
            cells.append(f"{folder.name}/{written.name}")
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return replace(changes, values=cells, labels=np.arange(len(cells)))


def _cells(samples: Samples, changes: Changes) -> list[Any]:
    frame: pd.DataFrame = samples.source.take(changes.positions.tolist())
    return frame[samples.label_column].tolist()


def _corrected(image: Image.Image, text: str, samples: Samples) -> bytes:
    pixels = np.array(image)
    names = [str(name) for name in samples.classes]
    judged = judged_pixels(pixels.astype(np.int64), samples.ignore_label)
    for region in regions_of(text):
        whole = whole_of(region, samples.labels.shape[1:])
        # Of a larger file, a pixel may stand for some that nobody judges.
        pixels[nearest(whole, pixels.shape) & judged] = names.index(region.name)
    new = Image.fromarray(pixels)
    palette = image.getpalette()
    if image.mode == "P" and palette is not None:
        new.putpalette(palette)
    kept = {"transparency": image.info["transparency"]} if "transparency" in image.info else {}
    file = io.BytesIO()
    new.save(file, "PNG", **kept)
    return file.getvalue()

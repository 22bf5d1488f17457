"""Other labels in an image folder: images stand in the folder of their new class."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath, PureWindowsPath

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError


def write_image_folder(
    samples: Samples, source: ImageFolder, changes: Changes, target: Path
) -> None:
    """Copy the folder, each image to the folder of its new class under the name it had.

    Files are copied, not linked: to edit a copy must never change the original. Where the new
    class has an image of that name already, the copy's name says where it came from.
    """
    moved = moved_paths(samples, source, changes)
    for name in source.class_names:
        (target / name).mkdir(parents=True)
    for folder, _, files in os.walk(source.folder):
        for name in files:
            relative = (Path(folder) / name).relative_to(source.folder).as_posix()
            new = target / moved.get(relative, relative)
            new.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copy2(source.folder / relative, new)
            except OSError as error:
                raise DataError(
                    f"{source.folder / relative}: cannot be copied: {error.strerror}"
                ) from None


def moved_paths(samples: Samples, source: ImageFolder, changes: Changes) -> dict[str, str]:
    """Return the old and the new path of each image that changes its class."""
    taken = set(source.paths)
    moved = {}
    for position, label in zip(changes.positions.tolist(), changes.labels.tolist(), strict=True):
        old = source.paths[position]
        below = PurePosixPath(*PurePosixPath(old).parts[1:])
        new = PurePosixPath(_folder_name(str(samples.classes[label]))) / below
        number = 1
        while str(new) in taken:
            origin = PurePosixPath(old).parts[0] + ("" if number == 1 else f" {number}")
            new = new.with_name(f"{below.stem} (was {origin}){below.suffix}")
            number += 1
        taken.add(str(new))
        moved[old] = str(new)
    return moved


def _folder_name(label: str) -> str:
    """Return the name of the class where a folder may be called so, and leads nowhere else."""
    parts = PureWindowsPath(label).parts
    if len(parts) != 1 or parts[0] != label or label in (".", "..") or "\0" in label:
        raise DataError(f"class {label!r}: is no name of a folder; no image can be moved there")
    return label

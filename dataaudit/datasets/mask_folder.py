"""Folders of pictures and their masks: `folder/images/…/a.jpg` beside `folder/masks/…/a.png`.

A picture and its mask have the same path but for the ending.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pandas as pd

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.frames import TEXT
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.mask_files import corrected_masks
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import Format
from dataaudit.errors import DataError

IMAGES, MASKS = "images", "masks"


@dataclass(frozen=True)
class MaskFolder(ImageFolder):
    """The pictures: columns `image` (encoded bytes), `path`, and `label`, the path of the mask."""

    masks: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, description: str) -> MaskFolder:
        """List pictures and masks.

        Raises
        ------
        DataError
            There is none; a picture has no mask, or a mask no picture; a link is refused.
        """
        found = ImageFolder.open(folder, description)
        images, masks = (
            {_stem(path): path for path in found.paths if path.startswith(f"{name}/")}
            for name in (IMAGES, MASKS)
        )
        others = sorted(images.keys() ^ masks.keys())
        if others:
            alone = images.get(others[0]) or masks[others[0]]
            missing = MASKS if others[0] in images else IMAGES
            raise DataError(
                f"{description}: {alone} has nothing of its name in {missing}/; expected a mask "
                "for each picture"
            )
        stems = sorted(images)
        if len(stems) * 2 != len(found.paths):
            raise DataError(
                f"{description}: expected pictures in {IMAGES}/ and masks in {MASKS}/ alone, each "
                f"name once; found {len(found.paths)} files for {len(stems)} pictures"
            )
        return cls(
            description,
            folder,
            [images[stem] for stem in stems],
            [],
            found.left_out,
            [masks[stem] for stem in stems],
        )

    def stored_classes(self, column: str) -> list[str] | None:  # type: ignore[override]
        """Return None: masks name no classes."""
        return None

    def rows_are_files(self) -> bool:
        """Tell that pictures stay where they are when their masks change."""
        return False

    def patterns(self) -> list[str]:
        """Return what the names of the pictures are like, one pattern for each ending."""
        return [f"{IMAGES}/{pattern}" for pattern in super().patterns()]

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Copy pictures and masks; those that change are written anew, with the same palette."""
        dropped = set(changes.dropped.tolist())
        new = dict(corrected_masks(samples, changes))
        for position, (image, mask) in enumerate(zip(self.paths, self.masks, strict=True)):
            if position in dropped:
                continue
            _copy(self.folder / image, target / image)
            if position in new:
                written = (target / mask).with_suffix(".png")
                written.parent.mkdir(parents=True, exist_ok=True)
                written.write_bytes(new[position])
            else:
                _copy(self.folder / mask, target / mask)

    def _frame(self, paths: list[str], columns: list[str]) -> pd.DataFrame:
        frame = super()._frame(paths, columns)
        if "label" in frame:
            by_picture = dict(zip(self.paths, self.masks, strict=True))
            frame["label"] = pd.Series([by_picture[path] for path in paths], dtype=TEXT)
        return frame


def _stem(path: str) -> str:
    """Return a path without its first folder and its ending."""
    return str(PurePosixPath(*PurePosixPath(path).parts[1:]).with_suffix(""))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copy2(source, target)
    except OSError as error:
        raise DataError(f"{source}: cannot be copied: {error.strerror}") from None


def _knows(path: Path) -> bool:
    return (path / IMAGES).is_dir() and (path / MASKS).is_dir() and not _beside(path)


def _beside(path: Path) -> bool:
    """Tell whether further folders stand there: then `images` and `masks` may be classes."""
    folders: Iterator[Path] = (entry for entry in path.iterdir() if entry.is_dir())
    return any(entry.name not in (IMAGES, MASKS) and entry.name[0] != "." for entry in folders)


FORMAT = Format(_knows, lambda path, _: MaskFolder.open(path, str(path)))

"""Image folders: `folder/class_name/…/picture.png`, one class for each folder of the first level.

Rows are sorted by path. Files that do not end like an image are no rows, and the report says so;
nor are names that begin with a dot. Links to folders, and links that lead out, are refused.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

import pandas as pd

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.files import inside, readable
from dataaudit.datasets.frames import TEXT
from dataaudit.datasets.images import ENDINGS, encoded
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource, Format
from dataaudit.errors import DataError
from dataaudit.inert import one_line

_IMAGES_PER_READ = 16


@dataclass(frozen=True)
class ImageFolder(ColumnSource):
    """The images of a folder: columns `image` (encoded bytes), `path` (relative) and `label`."""

    description: str
    folder: Path
    paths: list[str]
    class_names: list[str]
    """The folders of the first level, sorted; of those without images as well."""
    left_out: list[str] = field(default_factory=list)
    """The files that do not end like an image."""

    @classmethod
    def open(cls, folder: Path, description: str) -> ImageFolder:
        """List the images.

        Raises
        ------
        DataError
            When there is no image, one lies beside the class folders, or a link is refused.
        """
        paths: list[str] = []
        names: list[str] = []
        left_out: list[str] = []
        with readable(description, "an image folder"):
            for entry in _entries(folder):
                if _is_folder(entry, folder, description):
                    _refuse_other_encoding(entry.name, description)
                    names.append(entry.name)
                    for name, is_image in _files(entry, folder, description):
                        (paths if is_image else left_out).append(name)
                elif entry.suffix.lower() in ENDINGS:
                    raise DataError(
                        f"{description}: {entry.name} lies beside the class folders; expected"
                        f" {folder.name}/class_name/{entry.name}"
                    )
        if not paths:
            raise DataError(
                f"{description}: the folder holds no images; expected"
                f" {folder.name}/class_name/*.png (or {', '.join(ENDINGS[1:])}), or a data set"
                " saved by Hugging Face datasets (save_to_disk)"
            )
        return cls(description, folder, paths, names, left_out)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    def columns(self) -> list[str]:
        """Return the column names."""
        return ["image", "path", "label"]

    def stream(self, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield all rows in order, in frames of any length, with only `columns` where given."""
        wanted = self.columns() if columns is None else list(columns)
        step = _IMAGES_PER_READ if "image" in wanted else len(self)
        for start in range(0, len(self), step):
            yield self._frame(self.paths[start : start + step], wanted)

    def take(self, positions: Sequence[int]) -> pd.DataFrame:
        """Return the rows at `positions`, in that order, index = positions."""
        frame = self._frame([self.paths[position] for position in positions], self.columns())
        frame.index = pd.Index(list(positions), dtype="int64")
        return frame

    def sha256(self) -> str:
        """Return the hash of all paths and images, one image in memory at a time, hex."""
        whole = hashlib.sha256()
        for path in self.paths:
            whole.update(hashlib.sha256(path.encode()).digest())
            whole.update(hashlib.sha256(self._image(path)).digest())
        return whole.hexdigest()

    def key_column(self) -> str:
        """Return the column of paths: they tell which picture it is, a number would not."""
        return "path"

    def image_root(self) -> Path:
        """Return the folder."""
        return self.folder

    def stored_classes(self, column: str) -> list[str]:
        """Return the names of the folders."""
        return self.class_names

    def rows_are_files(self) -> bool:
        """Tell that each row is a file in the folder of its class."""
        return True

    def patterns(self) -> list[str]:
        """Return what the names of the images are like, one pattern for each ending."""
        return [f"**/*{ending}" for ending in sorted({Path(path).suffix for path in self.paths})]

    def note(self) -> str | None:
        """Return how many files are no rows, and one of them."""
        if not self.left_out:
            return None
        count = len(self.left_out)
        return (
            f"left out, because they do not end like an image: {count} "
            f"file{'' if count == 1 else 's'}, such as {one_line(self.left_out[0])}"
        )

    def rewrite(self, samples: Samples, changes: Changes, target: Path) -> None:
        """Copy the folder, each image to the folder of its new class under the name it had.

        Images that are dropped are not copied, nor is what is no file, or a link that leads out.

        Files are copied, not linked: to edit a copy must never change the original. Where the new
        class has an image of that name already, the copy's name says where it came from.
        """
        moved = moved_paths(samples, self, changes)
        dropped = {self.paths[position] for position in changes.dropped}
        for name in self.class_names:
            (target / name).mkdir(parents=True)
        for folder, _, files in os.walk(self.folder):
            for name in files:
                relative = (Path(folder) / name).relative_to(self.folder).as_posix()
                if relative in dropped or inside(self.folder, relative) is None:
                    continue
                new = target / moved.get(relative, relative)
                new.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copy2(self.folder / relative, new)
                except OSError as error:
                    raise DataError(
                        f"{self.folder / relative}: cannot be copied: {error.strerror}"
                    ) from None

    def _frame(self, paths: list[str], columns: list[str]) -> pd.DataFrame:
        series = {}
        for name in columns:
            if name == "image":
                images = [self._image(path) for path in paths]
                series[name] = pd.Series(images, dtype=object)
            elif name == "path":
                series[name] = pd.Series(paths, dtype=TEXT)
            else:
                labels = [path.split("/", 1)[0] for path in paths]
                series[name] = pd.Series(labels, dtype=TEXT)
        return pd.DataFrame(series, index=pd.RangeIndex(len(paths)))

    def _image(self, path: str) -> bytes:
        return encoded(path, where=self.description, folder=self.folder)


def _entries(folder: Path) -> list[Path]:
    visible = (entry for entry in folder.iterdir() if not entry.name.startswith("."))
    return sorted(visible, key=lambda entry: entry.name)


def _files(folder: Path, root: Path, description: str) -> Iterator[tuple[str, bool]]:
    """Yield the files below a folder, and whether they end like an image."""
    for entry in _entries(folder):
        relative = entry.relative_to(root).as_posix()
        if _is_folder(entry, root, description):
            yield from _files(entry, root, description)
        elif entry.suffix.lower() not in ENDINGS:
            yield relative, False
        else:
            _refuse_other_encoding(relative, description)
            if inside(root, relative) is None:
                raise DataError(
                    f"{description}: {relative} is a link that leads nowhere or out of the folder"
                )
            yield relative, True


def _refuse_other_encoding(name: str, description: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{description}: the name of {name!r} is not UTF-8; rename it") from error


def _is_folder(entry: Path, root: Path, description: str) -> bool:
    if not entry.is_dir():
        return False
    if entry.is_symlink():
        raise DataError(
            f"{description}: {entry.relative_to(root)} is a link to a folder; such links are not"
            " followed"
        )
    return True


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


FORMAT = Format(Path.is_dir, lambda path, _: ImageFolder.open(path, str(path)))

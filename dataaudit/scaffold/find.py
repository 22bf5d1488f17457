"""Data and weights in a folder, and which split each data set seems to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataaudit.datasets import parquet
from dataaudit.datasets.coco import is_coco
from dataaudit.datasets.formats import ENDINGS_READ, FILE_ENDINGS
from dataaudit.datasets.hugging_face import is_saved
from dataaudit.datasets.images import ENDINGS
from dataaudit.datasets.samples import Role
from dataaudit.datasets.shard_paths import ENDING, shard_paths
from dataaudit.errors import DataError

WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
PROGRAM = ".pt2"
ESTIMATORS = (".joblib", ".pkl", ".pickle", ".skops")
FOLDERS_DEEP = 2
"""Data is looked for in the folder itself and so many levels below it."""

_WORDS: dict[Role, tuple[str, ...]] = {
    "train": ("train", "training"),
    "held_out": ("val", "valid", "validation", "dev", "held", "heldout", "holdout", "trusted"),
    "suspects": ("test", "testing", "eval", "evaluation", "suspects", "benchmark"),
}


@dataclass(frozen=True)
class Found:
    """What lies in a folder, by paths relative to it.

    Attributes
    ----------
    splits : mapping of role to path
        Always with "train".
    others : list of Path
        Data sets that seem to be none of the splits.
    models : list of Path
        What needs no code: folders that transformers saved, torch.export programs.
    weights, estimators : list of Path
        Files of weights; fitted estimators, which only the user's own code may unpickle.
    """

    splits: dict[Role, Path]
    others: list[Path]
    models: list[Path]
    weights: list[Path]
    estimators: list[Path]


def find(folder: Path) -> Found:
    """Look for data and weights.

    Raises
    ------
    DataError
        There is no such folder, or no data in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    data = list(_data_sets(folder, FOLDERS_DEEP))
    if not data:
        raise DataError(
            f"{folder}: holds no data that an audit can read; expected files ending in "
            f"{', '.join(ENDINGS_READ)}, image folders (class_name/picture.png), or folders "
            "saved by Hugging Face datasets"
        )
    splits: dict[Role, Path] = {}
    others = []
    for path in data:
        role = role_of(path.relative_to(folder))
        if role is None or role in splits:
            others.append(path.relative_to(folder))
        else:
            splits[role] = path.relative_to(folder)
    if "train" not in splits:
        # Without a name that says so, the largest of the rest is what a model was trained on.
        candidates = others or list(splits.values())
        largest = max(candidates, key=lambda path: (_size(folder / path), str(path)))
        splits = {role: path for role, path in splits.items() if path != largest}
        splits["train"] = largest
        others = [path for path in others if path != largest]
    return Found(
        splits=splits,
        others=others,
        models=[*_saved_models(folder), *_files(folder, (PROGRAM,))],
        weights=_files(folder, WEIGHTS),
        estimators=_files(folder, ESTIMATORS),
    )


def role_of(path: Path) -> Role | None:
    """Return the split that a path names, by the words in its name, then in its folders'."""
    for name in reversed(path.with_suffix("").parts):
        words = re.split(r"[^a-z]+", name.lower())
        for role, known in _WORDS.items():
            if any(word in known for word in words):
                return role
    return None


def _data_sets(folder: Path, levels: int) -> Iterator[Path]:
    yield from _shards(folder)
    parts: set[Path] = set()
    for pattern, paths in _parts(folder):
        yield pattern
        parts.update(paths)
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_file():
            known = entry.name.lower().endswith(FILE_ENDINGS) and not _describes(entry)
            if known and entry not in parts:
                yield entry
        elif entry.is_dir() and not entry.is_symlink():
            if is_saved(entry) or _is_image_folder(entry):
                yield entry
            elif levels > 0:
                yield from _data_sets(entry, levels - 1)


def _parts(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield Parquet files that are numbered as parts of one set, as a pattern for their names."""
    alike: dict[tuple[str, str], list[Path]] = {}
    for path in shard_paths(folder, parquet.ENDING) or []:
        if numbered := parquet.NUMBERED.fullmatch(path.name):
            alike.setdefault((numbered[1], numbered[3]), []).append(path)
    for (stem, count), paths in alike.items():
        if len(paths) > 1:
            yield folder / f"{stem}-*-of-{count}{parquet.ENDING}", paths


def _describes(path: Path) -> bool:
    """Tell whether a JSON file holds settings, and no rows: those begin with a list.

    The one object of a COCO file holds rows.
    """
    if path.suffix.lower() != ".json" or is_coco(path):
        return False
    with path.open("rb") as file:
        return not file.read(1024).decode("utf-8-sig", "replace").lstrip().startswith("[")


def _shards(folder: Path) -> Iterator[Path]:
    """Yield the tar files of a folder; those whose names differ only in a number at the end as one.

    Numbers are what `train-000.tar`, `train-001.tar`, … are told apart by.
    """
    alike: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{ENDING}")):
        if not path.name.startswith((".", "_")):
            alike.setdefault(path.stem.rstrip("0123456789"), []).append(path)
    for stem, paths in alike.items():
        yield paths[0] if len(paths) == 1 else folder / f"{stem}[0-9]*{ENDING}"


def _is_image_folder(folder: Path) -> bool:
    """Tell whether there is an image in each of the first folders, and none beside them."""
    if is_saved(folder):
        return False
    classes = [entry for entry in sorted(folder.iterdir()) if entry.is_dir()][:20]
    names = {role for entry in classes if (role := role_of(Path(entry.name))) is not None}
    if "train" in names:
        # Folders of splits, each of which is an image folder of its own.
        return False
    return bool(classes) and all(any(map(_is_image, entry.iterdir())) for entry in classes)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _size(path: Path) -> int:
    shards = shard_paths(path, path.suffix or ENDING)
    if shards is not None:
        return sum(shard.stat().st_size for shard in shards)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _saved_models(folder: Path) -> list[Path]:
    """Return the folders in which transformers saved a model with its weights."""
    found = [path.parent for level in ("*", "*/*") for path in folder.glob(f"{level}/config.json")]
    return sorted(path.relative_to(folder) for path in found if any(path.glob("*.safetensors")))


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    found = [path for level in ("*", "*/*") for path in sorted(folder.glob(level))]
    saved = _saved_models(folder)
    own = [path.relative_to(folder) for path in found if path.suffix.lower() in endings]
    return [path for path in own if path.parent not in saved]

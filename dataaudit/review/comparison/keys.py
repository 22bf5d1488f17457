"""What tells a training row of one audit from the others in both audits."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dataaudit.datasets.formats import open_source
from dataaudit.datasets.hugging_face import is_saved
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.shard_paths import shard_paths
from dataaudit.errors import RunDirectoryError
from dataaudit.run_directory.finished import FinishedAudit


def comparable_keys(old: FinishedAudit, new: FinishedAudit) -> tuple[pd.Index, pd.Index]:
    """Return a key for each row of `mislabels` of both audits; the same row has the same key.

    The key is the row id. Where an audit's ids are positions, they are taken for the same as long
    as there are as many rows; images, which are sorted by class and name, go by their name.

    Raises
    ------
    RunDirectoryError
        The rows cannot be told apart in both.
    """
    folders = [_image_folder(audit) for audit in (old, new)]
    if folders[0] is not None and folders[1] is not None:
        return _names(old, folders[0]), _names(new, folders[1])
    by_position = [_has_positions(audit) for audit in (old, new)]
    if by_position[0] != by_position[1] or (
        all(by_position) and len(old.mislabels) != len(new.mislabels)
    ):
        raise RunDirectoryError(
            f"{old.directory} and {new.directory}: rows are told apart by their position in "
            f"{len(old.mislabels):,} and {len(new.mislabels):,} rows; name an id column in "
            "audit.yaml (train: {id: ...}) to compare audits of data that gained or lost rows"
        )
    return pd.Index(old.mislabels["row_id"].map(str)), pd.Index(new.mislabels["row_id"].map(str))


def _image_folder(audit: FinishedAudit) -> Path | None:
    settings = audit.manifest["settings"]["train"]
    path = Path(settings["path"])
    if settings["id"] is not None or not path.is_dir() or is_saved(path) or shard_paths(path):
        return None
    return path


def _has_positions(audit: FinishedAudit) -> bool:
    """Tell whether the row ids are positions; shards have ids of their own, which are text."""
    named = audit.manifest["settings"]["train"]["id"] is not None
    return not named and pd.api.types.is_integer_dtype(audit.mislabels["row_id"].dtype)


def _names(audit: FinishedAudit, folder: Path) -> pd.Index:
    source = open_source(folder)
    paths = source.paths if isinstance(source, ImageFolder) else []
    if len(paths) != len(audit.mislabels):
        raise RunDirectoryError(
            f"{folder}: holds {len(paths):,} images, but {len(audit.mislabels):,} were audited "
            f"({audit.directory})"
        )
    names = pd.Index([path.split("/", 1)[1] for path in paths])
    repeated = names[names.duplicated()]
    if len(repeated):
        raise RunDirectoryError(
            f"{folder}: images of several classes are called {repeated[0]}; images can be "
            "compared where each has a name of its own"
        )
    return names

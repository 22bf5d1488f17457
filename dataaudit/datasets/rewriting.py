"""Corrected data: written in the format of the original, read again, then renamed into place."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.changes import Changes, as_labels
from dataaudit.datasets.images import image_path
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.mask_files import as_files, folder_beside
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError, writing


def refuse_unfit_target(
    samples: Samples, target: Path, option: str = "--out", *, pictures_named: bool = False
) -> None:
    """Raise a `DataError` where the corrected data cannot or should not be written to `target`.

    The original is shards; the target exists; its ending promises another format; it lies inside
    the original; or the rows name images by paths that would lead nowhere from there. `option` is
    the one that names the target. With `pictures_named` the user is told where the pictures are.
    """
    if samples.label_columns:
        raise DataError(
            f"{samples.source.description}: its labels are in the columns "
            f"{', '.join(samples.label_columns)}; expected one label column, because corrections "
            "are written into one"
        )
    _source(samples)
    refuse_existing(target, option)
    original = _original(samples)
    place = target.absolute().parent.resolve() / target.name
    if original.is_dir():
        if place.is_relative_to(original.resolve()):
            raise DataError(f"{target}: lies inside the original, {original}")
        return
    if target.suffix.lower() != original.suffix.lower():
        raise DataError(
            f"{target}: ends in {target.suffix!r}; the corrected data is written in the format of "
            f"the original, so {original.suffix!r} is expected"
        )
    if pictures_named and not samples.kind.per_pixel:
        return
    if relative_to(samples) is not None and place.parent != original.resolve().parent:
        raise DataError(
            f"{target}: the rows name images by paths relative to {original.parent}; write the "
            "corrected file into that folder with `dataaudit relabel`"
        )


def refuse_existing(target: Path, option: str = "--out") -> None:
    """Raise a `DataError` where there already is something, or no folder to write to."""
    if target.exists() or target.is_symlink():
        raise DataError(f"{target}: already exists; choose another name with {option}")
    if not target.absolute().parent.is_dir():
        raise DataError(f"{target}: there is no folder {target.parent}")


def write_corrected(samples: Samples, changes: Changes, target: Path) -> Path:
    """Write the data with its changes beside `target` under a temporary name, and check it.

    Parameters
    ----------
    samples : Samples
        The original, from a file or folder.
    changes : Changes
    target : Path
        Where the data will stand once the caller has renamed what is returned.

    Raises
    ------
    DataError
        The original cannot be read, or what was written does not read as it should.
    """
    # Random, so that nobody can lay a link in its place.
    name = f".dataaudit-{secrets.token_hex(8)}.tmp{target.suffix}"
    temporary = target.absolute().with_name(name)
    masks: Path | None = None
    try:
        with writing(target, DataError):
            written = changes
            if samples.kind.per_pixel and len(changes) and not _original(samples).is_dir():
                written = as_files(samples, changes, target.absolute())
                # Bytes stay in the table, and a folder of that name may be somebody's own.
                if any(isinstance(value, str) for value in written.values or ()):
                    masks = folder_beside(target.absolute())
            _source(samples).rewrite(samples, written, temporary)
            _check(samples, changes, temporary)
    except BaseException:
        discard(temporary)
        if masks is not None:
            shutil.rmtree(masks, ignore_errors=True)
        raise
    return temporary


def discard(temporary: Path) -> None:
    """Remove what `write_corrected` wrote, where it is still there."""
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _source(samples: Samples) -> ColumnSource:
    """Return the source, or raise a `DataError` where corrections cannot be written into it."""
    source = samples.source
    reason = "it cannot be written back"
    if isinstance(source, ColumnSource):
        refused = source.why_not_rewritten()
        if refused is None:
            return source
        reason = refused
    raise DataError(f"{source.description}: {reason}")


def _check(samples: Samples, changes: Changes, written: Path) -> None:
    """Read the labels again: a data set is not worth a silent mistake."""
    labelled = samples.label_column is not None
    again = open_samples(
        written,
        ReadSettings(
            samples.role,
            samples.label_column,
            id_column=samples.id_column,
            classes=list(samples.classes) or None,
            task=samples.task,
            tolerate=True,
            ignore=samples.ignore_label,
            separator=samples.separator,
            images=None if _original(samples).is_dir() else samples.folder,
            size=samples.labels.shape[1:] if samples.kind.per_pixel and labelled else None,
            answers=samples.answers,
            instruction=samples.instruction,
        ),
    )
    expected = samples.labels.copy()
    if len(changes):
        expected, new = samples.kind.alike([expected, as_labels(samples, changes)])
        expected[changes.positions] = new
    expected = np.delete(expected, changes.dropped, axis=0)
    ids = np.delete(samples.ids, changes.dropped)
    if samples.id_column is None:
        ids = samples.ids[: len(ids)]
    if _source(samples).rows_are_files():
        # Those which change their class change their place.
        same = sorted(again.labels) == sorted(expected) and len(again) == len(expected)
    else:
        found = again.labels
        if labelled:
            found, expected = samples.kind.alike([found, expected])
        same = np.array_equal(again.ids, ids) and _equal(found, expected)
    if not same:
        raise DataError(
            f"{samples.source.description}: the corrected data does not read as it should; "
            "nothing was written"
        )


def _equal(labels: NDArray[Any], expected: NDArray[Any]) -> bool:
    if labels.shape != expected.shape or not np.issubdtype(expected.dtype, np.floating):
        return np.array_equal(labels, expected)
    # A column of 32-bit numbers rounds what is written.
    return np.allclose(labels, expected, rtol=1e-6, atol=0, equal_nan=True)


def _original(samples: Samples) -> Path:
    return Path(samples.source.description)


def relative_to(samples: Samples) -> Path | None:
    """Return the folder of the file, where its rows name pictures by paths from there."""
    if samples.modality != "image" or samples.folder != _original(samples).parent:
        return None
    value = samples.take([0]).frame[samples.content_column].iloc[0]
    return None if image_path(value) is None else samples.folder

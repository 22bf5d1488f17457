"""A directory that holds what one command made, and nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from dataaudit.errors import RunDirectoryError
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.store import Writer


def check_directory(names: Collection[str], out: Path, *, overwrite: bool) -> None:
    """Refuse a directory that must not be written, before hours of work.

    Parameters
    ----------
    names : collection of str
        The files that will be written.
    out : Path
        Created where it is missing.
    overwrite : bool
        Whether these files may be replaced.

    Raises
    ------
    RunDirectoryError
        It holds other files, or these and they may not be replaced; or it cannot be created.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = {entry.name for entry in out.iterdir()}
    except (FileExistsError, NotADirectoryError):
        raise RunDirectoryError(f"{out}: is a file; expected a directory") from None
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be created: {error.strerror}") from None
    foreign = sorted(found - set(names))
    if foreign:
        raise RunDirectoryError(
            f"{out}: holds other files ({', '.join(foreign[:5])}); choose an empty directory"
        )
    if found and not overwrite:
        raise RunDirectoryError(
            f"{out}: holds earlier results ({', '.join(sorted(found))}); choose another "
            "directory, or pass --overwrite"
        )


def write_outputs(files: Mapping[str, Writer], out: Path, *, overwrite: bool) -> Path:
    """Write the files, each whole or not at all, in their order; return the directory's path.

    Raises
    ------
    RunDirectoryError
        See `check_directory`; or a file cannot be written.
    """
    check_directory(files, out, overwrite=overwrite)
    for name, write in files.items():
        try:
            write_atomically(out / name, write)
        except OSError as error:
            raise RunDirectoryError(
                f"{out / name}: cannot be written: {error.strerror or error}"
            ) from None
    return out.absolute()

"""Files that come with dataaudit: `templates/` and `sample_data/`."""

from __future__ import annotations

from pathlib import Path


def resource_folder(name: str) -> Path:
    """Return the folder `name`, in an installed package or in a checkout.

    A wheel carries these folders inside the package; a checkout (and with it an editable
    install) has them beside the package.

    Raises
    ------
    FileNotFoundError
        Neither is there: the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"{package / name}: this folder belongs to dataaudit but is missing")

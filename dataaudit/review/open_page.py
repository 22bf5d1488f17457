"""The page of a finished audit, opened where its rows are decided."""

from __future__ import annotations

import webbrowser
from pathlib import Path

from dataaudit.errors import RunDirectoryError
from dataaudit.run_directory.finished import read_report
from dataaudit.run_directory.store import REPORT


def open_page(directory: Path) -> str:
    """Open the page in the browser, and return its address.

    Raises
    ------
    RunDirectoryError
        There is no finished audit with a page, or no browser.
    """
    read_report(directory)
    path = (directory / REPORT).absolute()
    if not path.is_file():
        raise RunDirectoryError(
            f"{path}: is missing; `dataaudit report {directory}` renders it again"
        )
    address = f"{path.as_uri()}#decide"
    if not webbrowser.open(address):
        raise RunDirectoryError(f"no browser was found; open {address} in one")
    return address

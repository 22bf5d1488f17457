"""A spreadsheet that imports an export finds text in every cell that holds a stranger's text."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from injections import FORMULAS, HTML, TERMINAL

from dataaudit.inert import as_it_was
from dataaudit.review.exports.csv import FOUND, TO_FILL, write_csv
from dataaudit.review.exports.rows import ExportRow

TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
# A NUL is the end of a file to a spreadsheet.
CORPUS = [text for text in [*HTML, *FORMULAS, *TERMINAL] if "\0" not in text]
TEXT_COLUMNS = [0, 1, 2, len(FOUND) + len(TO_FILL)]
"""The row id, both labels and the text."""


def exported(path: Path) -> Path:
    rows = [
        ExportRow(
            row_id=text, given_label=text, suggested_label=text, score=0.5, probability=0.5,
            flagged=True, rank=number + 1, train_sha256="0" * 12, text=text, image=None, fields={},
        )
        for number, text in enumerate(CORPUS)
    ]  # fmt: skip
    write_csv(path, rows, ["text"], "text")
    return path


def test_no_exported_cell_begins_like_a_formula(tmp_path: Path) -> None:
    with exported(tmp_path / "corpus.csv").open(encoding="utf-8", newline="") as file:
        header, *lines = list(csv.reader(file))
    assert header[TEXT_COLUMNS[-1]] == "data.text"
    assert len(lines) == len(CORPUS)
    for line, text in zip(lines, CORPUS, strict=True):
        for column in TEXT_COLUMNS:
            assert line[column].lstrip(" ")[:1] not in tuple("=+-@\t\r\n＝＋－＠")
            assert as_it_was(line[column]) == text


def imported(source: Path, separator: str) -> list[ElementTree.Element]:
    """Return the cells that LibreOffice makes of a file whose cells this separates."""
    office = shutil.which("soffice")
    if office is None:
        pytest.skip("NOT TESTED IN A SPREADSHEET: no soffice on the path")
    folder = source.parent
    # The import filter's settings: the separator, 34 for the quote, 76 for UTF-8, the first line.
    command = [
        office, "--headless", f"-env:UserInstallation={(folder / 'profile').as_uri()}",
        f"--infilter=CSV:{ord(separator)},34,76,1", "--convert-to", "ods", "--outdir", folder,
        source,
    ]  # fmt: skip
    subprocess.run(
        command, check=True, capture_output=True, timeout=300, env={**os.environ, "HOME": folder}
    )
    with zipfile.ZipFile(source.with_suffix(".ods")) as archive:
        content = ElementTree.fromstring(archive.read("content.xml"))
    return list(content.iter(f"{TABLE}table-cell"))


def formulas(cells: list[ElementTree.Element]) -> list[str]:
    return [cell.attrib[f"{TABLE}formula"] for cell in cells if f"{TABLE}formula" in cell.attrib]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_libreoffice_imports_no_formula(tmp_path: Path, separator: str) -> None:
    cells = imported(exported(tmp_path / "corpus.csv"), separator)
    assert sum(cell.get(f"{OFFICE}value-type") == "string" for cell in cells) >= len(CORPUS)
    assert formulas(cells) == []


def test_libreoffice_runs_what_is_not_made_inert(tmp_path: Path) -> None:
    raw = tmp_path / "raw.csv"
    raw.write_text("a,b\n=1+1,x\n", encoding="utf-8")
    assert formulas(imported(raw, ",")) == ["of:=1+1"]

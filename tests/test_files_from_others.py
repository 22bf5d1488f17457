"""What docs/files-from-others.md promises is held by tests that exist and that pass or fail."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "files-from-others.md"


def rows() -> list[list[str]]:
    """Return the lines of the table that says what each kind of file can do at worst."""
    text = PAGE.read_text(encoding="utf-8")
    table = text.split("## What can happen at worst, file by file")[1].split("##")[0]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_each_kind_of_file_names_tests_that_exist() -> None:
    assert len(rows()) > 10
    for kind, worst, held in rows():
        named = re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", held)
        assert named, kind
        assert worst, kind
        for file, function in named:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function, f"{kind}: {file} names no test"
            assert function in names, f"{kind}: {file} has no test {function}"


def test_every_format_of_rows_stands_in_the_table() -> None:
    """A format that is read without a word of what it can do at worst fails here."""
    from dataaudit.datasets.formats import ENDINGS_READ

    kinds = " ".join(kind for kind, _, _ in rows()).lower()
    known = {".arrow": "arrow", ".feather": "arrow", ".tar": "tar"}
    for ending in ENDINGS_READ:
        name = "gz" if ending.endswith(".gz") else known.get(ending, ending.removeprefix("."))
        assert name in kinds, ending

"""The README: its example runs as it stands, its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project

import dataaudit

TOP = Path(__file__).resolve().parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def as_in_the_readme(project: Project) -> Project:
    (example,) = blocks("yaml")
    module = blocks("python")[0]
    (project.folder / "audit.yaml").write_text(example, encoding="utf-8")
    (project.folder / "my_model.py").write_text(module, encoding="utf-8")
    return project


def test_the_example_on_ones_own_data_runs(
    as_in_the_readme: Project, command_line: CommandLine
) -> None:
    folder = as_in_the_readme.folder
    outcome = command_line("run", folder / "audit.yaml", "--out", folder / "audit-2026-11")
    assert (outcome.code, outcome.err) == (1, "")  # its gates do not hold on this data
    written = {path.name for path in (folder / "audit-2026-11").iterdir()}
    assert written == set(re.findall(r"^\| `([\w.]+)` \|", README, flags=re.MULTILINE))
    columns = re.search(r"one line for every training row: (.*?) \|", README)
    assert columns is not None
    table = pd.read_parquet(folder / "audit-2026-11" / "mislabels.parquet")
    assert list(table.columns) == re.findall(r"`(\w+)`", columns[1])


def test_the_python_example_runs(
    as_in_the_readme: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(as_in_the_readme.folder)
    monkeypatch.syspath_prepend(as_in_the_readme.folder)
    names: dict[str, object] = {"dataaudit": dataaudit}
    exec(blocks("python")[0], names)
    torch.manual_seed(0)
    names["model"] = names["build"]()  # type: ignore[operator]
    for name, file in (("train", "train"), ("held_out", "val"), ("suspects", "test")):
        names[name] = pd.read_csv(f"{file}.csv")
    exec(blocks("python")[1].replace('"kind"', '"kind", classes=["apple", "pear", "plum"]'), names)
    assert Path("report.html").is_file()


def test_every_command_of_the_readme_shows_help_with_an_example() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "dataaudit", "--help"], check=True, capture_output=True, text=True
    ).stdout
    used = set(re.findall(r"(?:^|/)dataaudit ([a-z]+)\b", README, flags=re.MULTILINE))
    assert used >= {"run", "demo", "init", "export", "relabel", "compare", "report"}
    for command in used:
        assert command in shown
        page = subprocess.run(
            [sys.executable, "-m", "dataaudit", command, "--help"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert f"Example: dataaudit {command}" in page


def test_links_and_pictures_exist() -> None:
    for target in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (TOP / target).exists(), target

"""What docs/ says about review and CI is what the commands do."""

import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import CommandLine, Project
from review_examples import TEXTS, audited
from settings_page import keys, settings_page

import dataaudit
from dataaudit.cli import EXAMPLES
from dataaudit.config import AuditConfig

DOCS = Path(__file__).resolve().parent.parent / "docs"


def blocks(name: str, language: str) -> list[str]:
    text = (DOCS / name).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_workflow_is_yaml_and_its_commands_exist(command_line: CommandLine) -> None:
    gates, workflow, step = blocks("continuous-integration.md", "yaml")
    assert yaml.safe_load(gates) == {"gates": {"mislabel_rate": 0.05, "contaminated": 0}}
    steps = yaml.safe_load(workflow)["jobs"]["audit"]["steps"]
    commands = [item["run"] for item in [*steps, *yaml.safe_load(step)] if "run" in item]
    ours = [command.split() for command in commands if command.startswith("dataaudit ")]
    assert [words[1] for words in ours] == ["run", "compare"]
    for words in ours:
        assert command_line(words[1], "--help").code == 0


def test_gates_decide_as_documented(project: Project, command_line: CommandLine) -> None:
    text = project.yaml.read_text(encoding="utf-8")
    gates = blocks("continuous-integration.md", "yaml")[0]
    without_suspects = "\n".join(
        line for line in text.splitlines() if not line.startswith("suspects")
    )
    project.yaml.write_text(f"{without_suspects}\n{gates}", encoding="utf-8")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 1
    assert "gate contaminated: CANNOT TELL (found not measured, limit 0)" in outcome.out


def test_texts_are_read_back_as_documented(
    tmp_path: Path, command_line: CommandLine, monkeypatch
) -> None:
    audit = audited(tmp_path)
    monkeypatch.chdir(tmp_path)
    command_line(
        "export", audit.directory, "--to", "csv", "--only", "all", "--out", "to-review.csv"
    )
    names: dict = {}
    exec(blocks("review.md", "python")[0], names)
    assert {row["data.text"] for row in names["rows"]} == set(TEXTS)
    assert {row["row_id"] for row in names["rows"]} == {"a", "=b", "c", "d", "e", "f"}


def test_the_commands_of_the_round_trip_exist(command_line: CommandLine) -> None:
    [script] = blocks("review.md", "bash")
    commands = [line.split()[1] for line in script.splitlines() if line.startswith("dataaudit")]
    assert commands == ["run", "export", "relabel", "run", "compare"]
    for command in commands:
        assert command_line(command, "--help").code == 0


def test_influence_is_computed_as_documented(
    project: Project, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    names: dict = {"train": pd.read_csv("train.csv")}
    names["queries"] = pd.read_csv("val.csv").head(4).assign(source=["a", "b", "a", "b"])
    exec((project.folder / "fruit_model.py").read_text(encoding="utf-8"), names)
    names["model"] = names["build"]()
    exec(blocks("speed.md", "python")[0], names)
    assert names["found"].groups == ["a", "b"]
    assert len(names["found"].top(10)) == 20
    [command] = blocks("speed.md", "bash")
    assert command_line(*command.split()[1:2], "--help").code == 0
    assert command_line(*command.split()[1:], "--overwrite").code == 0


def test_the_page_of_settings_is_that_of_the_settings_and_explains_each() -> None:
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page(), "python tests/settings_page.py > docs/settings.md"
    for line in page.splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), f"nothing is said of {line}"
    for key in keys(AuditConfig):
        assert f"`{key.split('.')[-1]}`" in page


def test_every_command_and_every_public_name_is_documented() -> None:
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    for command in EXAMPLES:
        assert f"dataaudit {command.__name__}" in text, command.__name__
    for name in dataaudit.__all__:
        assert re.search(rf"\b{name}\b", text), name


def test_the_index_names_every_guide_and_every_link_leads_somewhere() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index, page.name
    for page in [*DOCS.rglob("*.md"), DOCS.parent / "README.md"]:
        for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not link.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_guides_say_what_to_do_and_measurements_what_was_found() -> None:
    dates = r"\b(?:Octo|Novem|Decem)ber 20\d\d\b|\b20\d\d-\d\d-\d\d\b"
    notes = re.compile(rf"python (?:-m )?benchmarks|{dates}")
    for page in DOCS.glob("*.md"):
        found = notes.search(page.read_text(encoding="utf-8"))
        assert found is None, f"{page.name}: {found}"

"""Text from a stranger's rows stays text: in the terminal, in audit.json, in a real browser."""

import csv
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from injections import FORMULAS, HTML, TERMINAL
from torch import nn

import dataaudit
from dataaudit.inert import printable

ALL = [*HTML, *FORMULAS, *TERMINAL]


def is_inert(text: str) -> bool:
    """Whether no character steers a terminal, but for the ends of lines."""
    return all(
        c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Zl", "Zp", "Cs") for c in text
    )


@pytest.mark.parametrize("text", ALL)
def test_what_is_printed_cannot_steer_a_terminal(text: str) -> None:
    assert is_inert(printable(text))


@pytest.mark.parametrize("text", TERMINAL)
def test_messages_about_hostile_rows_are_one_inert_line(
    project: Project, command_line: CommandLine, text: str
) -> None:
    path = project.folder / "train.csv"
    table = pd.read_csv(path)
    table.loc[3, "row_id"] = f"id {text}"
    table.loc[3, "kind"] = f"kind {text}"
    table.to_csv(path, index=False, lineterminator="\n", quoting=csv.QUOTE_ALL)
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert "is not one of the classes" in outcome.err
    assert is_inert(outcome.err)
    assert outcome.err.count("\n") == 1


def texts(frame: pd.DataFrame) -> torch.Tensor:
    return torch.tensor([[len(text) % 7, text.count("e")] for text in frame["text"]]).float()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an audit whose ids, texts and labels all attack."""
    classes = ["<script>window.pwned=1</script>", "=1+1\x1b[2J"]
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"id": ALL, "text": [f"a text of many words {text}" for text in ALL]})
    frame["label"] = [classes[number] for number in generator.integers(2, size=len(frame))]
    suspects = frame.assign(id=[f"{text} " for text in ALL])
    out = tmp_path_factory.mktemp("hostile") / "audit"
    torch.manual_seed(0)
    dataaudit.audit(
        nn.Linear(2, 2),
        frame,
        frame.assign(text=frame["text"] + " too"),
        suspects,
        preprocess=texts,
        id="id",
        classes=classes,
        out=out,
        name="<img src=x onerror=window.pwned=1>\x1b[2J",
        flags={"budget": len(frame)},
    )
    return out


def test_json_holds_every_text_unchanged(hostile: Path) -> None:
    content = (hostile / "audit.json").read_bytes()
    report = json.loads(content)
    assert {row["row_id"] for row in report["labels"]["rows"]} == set(ALL)
    # A reader that shows the raw file in a terminal is not steered by it either.
    assert is_inert(printable(content.decode("utf-8")))
    assert b"\x1b" not in content
    table = pd.read_parquet(hostile / "mislabels.parquet")
    assert table["row_id"].tolist() == ALL


def test_the_summary_is_inert(hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from dataaudit.commands.shared import print_summary
    from dataaudit.stages.auditing import read_report

    report = read_report(hostile)
    print_summary(report, hostile)
    out = capsys.readouterr().out
    assert is_inert(out)
    assert out.count("\n") == 2 + len(report.findings) + len(report.coverage.notes)


@pytest.mark.browser
def test_every_text_shows_as_text_in_a_browser(hostile: Path, browser: Any) -> None:
    said: list[str] = []
    requested: list[str] = []
    context = browser.new_context()
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: requested.append(request.url))
    page.goto((hostile / "report.html").as_uri() + "#decide&rows=all")
    everything = page.locator("#data").text_content()
    for text in HTML:
        page.get_by_label("Search").fill(text)
        assert text in page.locator("#view-decide, main").first.inner_text(), text
    assert everything is not None
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main iframe, main object, main embed").count() == 0
    context.close()
    assert said == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []

"""The draft of a public summary of training content."""

from pathlib import Path

import pandas as pd

from tests.conftest import CommandLine

HEADINGS = [
    "## 1. General information",
    "### 1.3 Modalities, size and other characteristics",
    "## 2. List of data sources",
    "### 2.1 Publicly available data sets",
    "### 2.5 Synthetic data",
    "## 3. Data processing",
    "### 3.2 Removal of illegal content",
]


def audited(folder: Path, command_line: CommandLine, rows: pd.DataFrame, about: str = "") -> Path:
    rows.to_json(folder / "train.jsonl", orient="records", lines=True)
    text = "task: causal-lm\n" if "text" in rows else ""
    (folder / "audit.yaml").write_text(
        f"name: corpus\n{text}train: {{path: train.jsonl}}\n{about}", encoding="utf-8"
    )
    outcome = command_line("run", folder / "audit.yaml", "--out", folder / "audit")
    assert outcome.code == 0, outcome.err
    return folder / "audit"


def test_what_is_known_is_filled_in_and_all_else_is_not_provided(
    tmp_path: Path, command_line: CommandLine
) -> None:
    texts = [f"text number {place} of the corpus" for place in range(40)] + [None]
    about = (
        'about: {provenance: "web\\n# pages <script>alert(1)</script> [x](javascript:1)", '
        "synthetic_share: 12 %}\n"
    )
    directory = audited(tmp_path, command_line, pd.DataFrame({"text": texts}), about)
    outcome = command_line("export", directory, "--to", "training-summary")
    assert outcome.code == 0, outcome.err
    written = (tmp_path / "audit.summary.md").read_text(encoding="utf-8")
    lines = written.splitlines()
    assert [line for line in lines if line in HEADINGS] == HEADINGS
    assert "- Size: 41 texts, 240 words (between blanks)" in lines
    assert "- Share of the rows: 12 %" in lines
    assert "- Whether and which: not provided" in lines
    # What people wrote stays words: no heading, tag or link.
    [provenance] = [line for line in lines if line.startswith("- Provenance")]
    assert provenance == (
        "- Provenance: web \\# pages &lt;script&gt;alert(1)&lt;/script&gt; \\[x\\](javascript:1)"
    )


def test_other_rows_are_refused(tmp_path: Path, command_line: CommandLine) -> None:
    frame = pd.DataFrame({"width": range(30), "height": range(30)})
    directory = audited(tmp_path, command_line, frame)
    outcome = command_line("export", directory, "--to", "training-summary")
    assert outcome.code == 2
    assert "for language and image models" in outcome.err
    assert not (tmp_path / "audit.summary.md").exists()

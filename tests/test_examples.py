"""docs/examples.md: every example runs as it stands, and finds what was planted."""

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import CommandLine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "examples.md"
SHARED, *SECTIONS = PAGE.read_text(encoding="utf-8").split("\n## ")
EXAMPLES = {section.partition("\n")[0]: section for section in SECTIONS if "```python" in section}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.filterwarnings("ignore")
def test_an_example_finds_what_was_planted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    for extra in re.findall(r"dataaudit\[(\w+)\]", EXAMPLES[name]):
        if importlib.util.find_spec(extra) is None:
            pytest.skip(f"{extra} is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("network", None)
    names: dict[str, Any] = {}
    for source in [*blocks(SHARED, "python"), *blocks(EXAMPLES[name], "python")]:
        exec(source, names)
    for settings in blocks(EXAMPLES[name], "yaml"):
        Path("audit.yaml").write_text(settings, encoding="utf-8")
    for command in blocks(EXAMPLES[name], "bash"):
        ran = command_line(*command.split()[1:])
        assert (ran.code, ran.err) == (0, "")
    result = names.get("result")
    flags = pd.read_parquet("audit/mislabels.parquet") if result is None else result.mislabels
    recall, precision = names["measured"](flags, names["wrong"])
    print(f"{name}: {len(names['wrong'])} planted, recall {recall:.3f}, precision {precision:.3f}")
    assert recall >= 0.8
    assert precision >= 0.7

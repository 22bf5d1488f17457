"""The benchmark of kinds of labels: finished lines are kept, whoever measures further ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def result(flagged: int) -> dict[str, Any]:
    return {
        "rows": 100,
        "wrong": 0.1,
        "flagged": flagged,
        "flagged_right": 4,
        "claims": {"flagged": [0.8, 4 / flagged]},
        "average_precision": 0.5,
        "trusted": 50,
        "rate": [0.1, 0.05, 0.2],
        "outcome": "found",
        "reasons": [],
        "by_loss": 0.4,
        "five_folds": None,
        "trusted_only": None,
        "suggestion": None,
        "seconds": 1.0,
        "more": {},
    }


def test_finished_lines_are_where_the_next_measurement_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import kind_lines

    measured: list[str] = []

    def line(name: str, flagged: int) -> Any:
        def measure() -> dict[str, Any]:
            measured.append(name)
            return result(flagged)

        return name, measure

    def finished() -> dict[str, dict[str, int]]:
        cells = json.loads((tmp_path / "other_tasks.json").read_text())["cells"]
        return {
            kind: {name: found["flagged"] for name, found in lines.items()}
            for kind, lines in cells.items()
        }

    tags = {"tags": lambda: iter([line("a / 0", 5), line("a / 1", 6)])}
    kind_lines.measure(tags, ["tags / a / 1"], False, tmp_path)
    assert finished() == {"tags": {"a / 1": 6}}

    # Another kind, then what was left: nothing is measured twice, nothing is lost.
    sets = {"sets": lambda: iter([line("b / 0", 7)])}
    kind_lines.measure(sets, ["*"], False, tmp_path)
    kind_lines.measure(sets | tags, ["*"], False, tmp_path)
    assert measured == ["a / 1", "b / 0", "a / 0"]
    assert finished() == {"sets": {"b / 0": 7}, "tags": {"a / 0": 5, "a / 1": 6}}
    assert list(finished()["tags"]) == ["a / 0", "a / 1"]
    page = (tmp_path / "other_tasks.md").read_text()
    assert "| b / 0 |" in page
    assert "| a / 1 |" in page

    # Asked for again, a line takes the place of the old one.
    kind_lines.measure({"tags": lambda: iter([line("a / 0", 9)])}, ["*"], True, tmp_path)
    assert finished() == {"tags": {"a / 0": 9, "a / 1": 6}, "sets": {"b / 0": 7}}


@pytest.mark.parametrize("parts", [False, True])
def test_no_planted_answer_is_right_in_other_words(
    parts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import instructions

    generator = np.random.default_rng(0)
    drawn = instructions.things(generator)
    columns = ["instruction", "output", "fitting"]
    table = pd.DataFrame([next(drawn) for _ in range(300)], columns=columns)
    before = table["output"].copy()
    assert all(row.output in row.fitting for row in table.itertuples())
    # The most alike instruction mostly asks for the same in other words.
    wrong = np.arange(60)
    instructions.spoil(table, wrong, parts, generator)
    assert not any(row.output in row.fitting for row in table[:60].itertuples())
    assert (table["output"][60:] == before[60:]).all()

"""The mislabel benchmark: stops without its data, counts costs, states medians."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_without_its_data_it_says_so_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mislabels

    monkeypatch.setattr(sys, "argv", ["mislabels.py", "--data", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        mislabels.main()
    assert stopped.value.code == (
        f"{tmp_path} has no benchmark data (cifar10n_train.parquet and others); "
        "name their folder with --data"
    )


def test_learning_a_sample_counts_three_forward_passes_in_copies_too() -> None:
    import copy

    from mislabel_training import Meter

    module = nn.Linear(2, 2)
    with Meter() as meter:
        meter.attach(module)
        copy.deepcopy(module)(torch.zeros(5, 2)).sum().backward()
        with torch.no_grad():
            torch.func.functional_call(module, {}, torch.zeros(7, 2))
    module(torch.zeros(100, 2))
    assert meter.cost.forward_passes == 3 * 5 + 7


def result(seed: int, **values: Any) -> dict[str, Any]:
    return {
        "setting": "sms/flipped/memorized/200",
        "seed": seed,
        "method": "ours",
        "rows": 100,
        "wrong": 10,
        "seconds": 1.0,
        "forward_passes": 2000.0,
        "claims": {},
        "measured": {"date": "2026-11-20", "code": "an older one"},
    } | values


def test_answers_say_whether_the_code_has_changed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mislabel_report

    assert mislabel_report.code() == mislabel_report.code()
    now = result(0, measured={"date": "2026-11-20", "code": mislabel_report.code()})
    rival = {**result(0), "method": "loss"}
    lines = mislabel_report.table([now, rival]).splitlines()
    assert [line.rpartition(" | ")[2] for line in lines[-2:]] == ["2026-11-20 |", "2026-11-20 |"]
    (tmp_path / "changed.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(mislabel_report, "PACKAGE", tmp_path)
    mislabel_report.code.cache_clear()
    assert "2026-11-20, older code" in mislabel_report.table([now])
    mislabel_report.code.cache_clear()


def test_the_table_has_medians_and_says_what_did_not_run() -> None:
    from mislabel_report import table

    results = [result(seed, average_precision=value) for seed, value in enumerate([0.5, 0.9, 0.6])]
    results.append({**result(0), "method": "dattri TRAK", "not_run": "dattri is not installed"})
    text = table(results)
    assert "10.0% wrong labels; seeds [0, 1, 2]" in text
    assert "| ours |  | 0.600 |" in text
    assert "| 2k | 2026-11-20, older code |" in text
    assert "| dattri TRAK | not run: dattri is not installed |" in text

"""A busy machine is told of where threads would wait for each other."""

import os

import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project

from dataaudit import audit
from dataaudit.errors import DataAuditError
from dataaudit.models.threads import busy_machine


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_only_a_busy_machine_is_told_of(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (2.9, 9.0, 9.0))
    assert busy_machine() == []
    monkeypatch.setattr(os, "getloadavg", lambda: (6.2, 0.0, 0.0))
    [line] = busy_machine()
    assert "load 6, 2 cores" in line
    assert "set OMP_NUM_THREADS=1" in line


def test_nobody_is_told_who_has_chosen(two_threads: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0, 0.0, 0.0))
    assert len(busy_machine()) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert busy_machine() == []
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert busy_machine() == []


def test_an_audit_says_so_first(
    project: Project,
    command_line: CommandLine,
    two_threads: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0, 0.0, 0.0))
    project.replace("audit.yaml", "train.csv", "nowhere.csv")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert outcome.err.startswith("this machine is busy (load 50, 2 cores)")


def test_an_audit_from_python_says_so_too(
    two_threads: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0, 0.0, 0.0))
    with pytest.raises(DataAuditError):
        audit(torch.nn.Linear(2, 2), pd.DataFrame({"x": [1.0], "label": [None]}))
    assert "this machine is busy" in capsys.readouterr().err

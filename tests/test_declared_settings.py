"""Every command reads the settings that it declares, and refuses the others by name."""

from pathlib import Path

import pytest
from conftest import CommandLine

import dataaudit
from dataaudit.config import AuditConfig
from dataaudit.errors import ConfigError
from dataaudit.stages import auditing
from dataaudit.studies.influence import run as influence
from dataaudit.studies.memorization import check as memorization
from dataaudit.studies.tracing import api as tracing
from dataaudit.studies.verification import check as verification

LABELLED = "model: {factory: 'm:build'}\ntrain: {path: t.csv}\nheld_out: {path: v.csv}\n"
GENERATIVE = (
    "task: causal-lm\nmodel: {path: gpt}\ntrain: {path: t.jsonl}\nsuspects: {path: q.jsonl}\n"
)
UNREAD = {
    "trace": {
        "precision: bfloat16": "precision",
        "compile: true": "compile",
        "engine: ray": "engine.kind",
        "mirror: {steps: 3}": "mirror.steps",
        "mirror: {kind: head}": "mirror.kind",
        "loss: {label_smoothing: 0.1}": "loss.label_smoothing",
        "images: {size: 8}": "images.size",
        "classes: [a, b]": "classes",
        "flags: {budget: 7}": "flags.budget",
        "flags: {target_precision: 0.9}": "flags.target_precision",
        "ignore_label: -100": "ignore_label",
    },
    "run": {"trace: {top: 3}": "trace.top"},
    "verify": {
        "precision: bfloat16": "precision",
        "compile: true": "compile",
        "engine: ray": "engine.kind",
        "mirror: {kind: head}": "mirror.kind",
        "loss: {class_weights: [1.0, 2.0]}": "loss.class_weights",
        "trace: {top: 3}": "trace.top",
        "batch_size: 9": "batch_size",
    },
    "memorization": {
        "mirror: {steps: 3}": "mirror.steps",
        "loss: {label_smoothing: 0.1}": "loss.label_smoothing",
        "trace: {top: 3}": "trace.top",
    },
    "influence": {
        "engine: ray": "engine.kind",
        "mirror: {steps: 3}": "mirror.steps",
        "loss: {label_smoothing: 0.1}": "loss.label_smoothing",
        "trace: {top: 3}": "trace.top",
    },
}
READ = {
    "run": auditing.READ,
    "trace": tracing.READ,
    "verify": verification.READ,
    "memorization": memorization.READ,
    "influence": influence.READ,
}


@pytest.mark.parametrize("command", UNREAD)
def test_what_a_command_does_not_read_is_refused_by_name(
    tmp_path: Path, command_line: CommandLine, command: str
) -> None:
    path = tmp_path / "audit.yaml"
    base = GENERATIVE if command == "trace" else LABELLED
    for line, key in UNREAD[command].items():
        path.write_text(f"{base}{line}\n", encoding="utf-8")
        outcome = command_line(command, path, "--out", tmp_path / "out")
        assert outcome.code == 2
        assert f"\n  {key}: is not read by " in outcome.err
        assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize("command", READ)
def test_what_is_declared_exists(command: str) -> None:
    for key in READ[command]:
        section, _, name = key.partition(".")
        field = AuditConfig.model_fields[section]
        assert not name or name in type(field.get_default()).model_fields


def test_a_setting_that_says_the_default_is_none(tmp_path: Path, command_line: CommandLine) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(f"{GENERATIVE}precision: float32\nmirror: {{kind: auto, seed: 3}}\n")
    outcome = command_line("trace", path, "--out", tmp_path / "out")
    assert "is not read" not in outcome.err


def test_python_calls_refuse_them_too() -> None:
    for call, given in (
        (dataaudit.audit, {"trace": {"top": 3}}),
        (dataaudit.verify, {"precision": "bfloat16"}),
        (lambda *_, **settings: dataaudit.memorization(None, None, **settings),
         {"loss": {"label_smoothing": 0.1}}),
        (dataaudit.trace, {"compile": True}),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="is not read by "):
            call(None, None, None, **given)
    with pytest.raises(ConfigError, match=r"engine\.kind: is not read by "):
        dataaudit.mirrored_influence(None, None, None, out="x", engine="ray")

"""Every command reads the settings that it declares, and refuses the others by name."""

import re
from pathlib import Path

import pytest
from conftest import CommandLine
from pydantic import ValidationError

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
        "trace: {draws: 3}": "trace.draws",
        "gates: {checks: {duplicates: 0}}": "gates.checks",
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
    "trace": tracing.READ.union(*tracing.READ_FOR.values()),
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
        kind = AuditConfig.model_fields[section].annotation
        # Of a section that may be left out: the settings, or None.
        kinds = [kind, *getattr(kind, "__args__", ())]
        assert not name or any(name in getattr(each, "model_fields", ()) for each in kinds)


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


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"train": {"path": "t.csv", "separator": ";"}}, "train.separator"),
        ({"train": {"path": "t.csv", "chosen": "good"}}, "train.chosen"),
        ({"train": {"path": "t.csv"}, "held_out": {"path": "v.csv", "prompt": "q"}},
         "held_out.prompt"),
        ({"train": {"path": "t.csv"}, "suspects": {"path": "v.csv", "text": "said"}},
         "suspects.text"),
        ({"train": {"path": "t.csv"}, "loss": {"beta": 0.5}}, "loss.beta"),
        ({"train": {"path": "t.csv"}, "model": {"path": "m", "template": "{prompt}"}},
         "model.template"),
        ({"train": {"path": "t.csv"}, "model": {"factory": "m:b", "max_length": 5}}, "max_length"),
        ({"train": {"path": "t.csv"}, "model": {"path": "m.pt2", "text": "said"}}, "text"),
        ({"train": {"path": "t.csv"}, "model": {"path": "m", "trusted": True}}, "trusted"),
    ],
)  # fmt: skip
def test_settings_of_another_task_or_kind_of_model_are_refused(
    settings: dict[str, object], key: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(key)):
        AuditConfig.model_validate(settings)


def test_settings_are_taken_for_the_task_that_reads_them() -> None:
    for settings in (
        {"task": "multi-label", "train": {"path": "t.csv", "separator": ";"}},
        {"task": "preference", "train": {"path": "t", "chosen": "a", "rejected": "b"},
         "loss": {"beta": 0.5}},
        {"task": "instruction", "train": {"path": "t", "prompt": "a", "input": "b"},
         "model": {"path": "m", "template": "{prompt}", "max_length": 9}},
        {"task": "causal-lm", "train": {"path": "t", "text": "said"}},
        {"train": {"path": "t", "separator": "|"}, "model": {"path": "m.pt2", "trusted": True}},
    ):  # fmt: skip
        AuditConfig.model_validate(settings)

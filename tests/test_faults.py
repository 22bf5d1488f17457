"""Kills at random moments, damaged inputs, generated settings and strings: a few of each.

`benchmarks/faults.py` has the long run of the same.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import CommandLine, Project
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataaudit.config import AuditConfig, load_config
from dataaudit.errors import ConfigError
from dataaudit.inert import one_line, printable

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"


def faults(*arguments: object, script: str = "faults") -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )


def test_random_kills_resume_to_identical_tables(project: Project) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("batch_size: 32\n")
    result = faults("kills", 2, "--audit", project.yaml)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("kills: tried 2 (")
    assert result.stdout.endswith("survived 2, lost 0\n")


def test_malformed_inputs_end_with_one_message() -> None:
    result = faults("inputs", 40, "--seed", 7)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("inputs: tried 40, survived 40, lost 0")


def test_altered_run_directories_end_with_one_message() -> None:
    result = faults("altered", 12, "--seed", 7, script="fault_directories")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("altered: tried 12, survived 12, lost 0")


def test_what_is_killed_while_it_writes_can_be_done_again() -> None:
    result = faults("killed", 2, "--seed", 7, script="fault_directories")
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("killed: tried 2, survived 2, lost 0; {'relabel': 1, 'fix': 1}")


def emptied(content: bytes) -> bytes:
    return b""


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


def missing_the_end(content: bytes) -> bytes:
    return content[:-1]


def scrambled(content: bytes) -> bytes:
    return bytes(byte ^ 0x5A if place % 97 == 3 else byte for place, byte in enumerate(content))


@pytest.mark.parametrize("damage", [emptied, cut_short, missing_the_end, scrambled])
@pytest.mark.parametrize(
    "file", ["train.csv", "val.csv", "test.csv", "model.safetensors", "audit.yaml"]
)
def test_every_input_cut_short_or_corrupt(
    project: Project, command_line: CommandLine, file: str, damage: Callable[[bytes], bytes]
) -> None:
    path = project.folder / file
    path.write_bytes(damage(path.read_bytes()))
    # Of a csv file without its last byte nothing is missing but the end of the last line.
    whole = damage is missing_the_end and file != "model.safetensors"
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    if whole or (damage is cut_short and outcome.code == 0):
        assert (outcome.code, outcome.err) == (0, "")
        return
    assert outcome.code == 2, outcome.out
    assert outcome.err.startswith("dataaudit: ")
    assert outcome.err.count("dataaudit: ") == 1
    assert "Traceback" not in outcome.err


KEYS = st.sampled_from([*AuditConfig.model_fields, "kind", "path", "seed", "steps", "x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
DOCUMENTS = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=6,
    ),
    max_size=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(document=DOCUMENTS)
def test_any_settings_load_or_are_refused(document: dict, tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    # Whatever else is raised is a defect.
    with contextlib.suppress(ConfigError):
        assert isinstance(load_config(path), AuditConfig)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode()))
def test_any_bytes_as_settings(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"audit\.yaml"):
        load_config(path)


@given(text=st.text())
def test_any_text_is_printed_without_control_characters(text: str) -> None:
    assert all(c.isprintable() or c == "\n" for c in printable(text))
    assert one_line(text).isprintable()

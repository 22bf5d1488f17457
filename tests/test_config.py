"""audit.yaml: what is read, and what a user is told."""

from pathlib import Path

import pytest

from dataaudit.config import load_config
from dataaudit.errors import ConfigError

SMALLEST = "model: {factory: 'my_model:build'}\ntrain: {path: train.csv}\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "audit.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def message(folder: Path, text: str) -> str:
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value).replace(str(path), "audit.yaml")


def test_the_example_of_the_design_is_read(tmp_path: Path) -> None:
    text = """
name: sms-spam, release 3
task: classification
model:
  factory: my_model:build
  weights: model.safetensors
preprocess: my_model:preprocess
classes: [ham, spam]
train:    {path: train.parquet, label: label, id: row_id}
held_out: {path: val.parquet, label: label}
suspects: {path: test.parquet, label: label, id: query_id}
mirror: {kind: auto, seed: 0}
gates: {mislabel_rate: 0.05, contaminated: 0}
"""
    config = load_config(written(tmp_path, text))
    assert config.name == "sms-spam, release 3"
    assert config.classes == ["ham", "spam"]
    assert config.train.path == tmp_path / "train.parquet"
    assert config.model.weights == tmp_path / "model.safetensors"
    assert config.held_out is not None
    assert config.held_out.id is None
    assert config.gates.contaminated == 0
    assert config.flags.target_precision == 0.5


def test_numbers_that_yaml_reads_as_text_are_numbers(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALLEST + "mirror: {learning_rate: 1e-3}\n"))
    assert config.mirror.learning_rate == 0.001


def test_all_errors_are_listed_with_key_value_and_expectation(tmp_path: Path) -> None:
    text = """
model: {factory: my_model}
train: {path: train.csv, lable: y}
mirror: {kind: fast, seed: no}
gates: {mislabel_rate: 5}
"""
    assert message(tmp_path, text).splitlines() == [
        "audit.yaml:",
        "  model.factory: found 'my_model', expected module:function, for example my_model:build",
        "  train.lable: unknown key; did you mean label?",
        "  mirror.kind: found 'fast': input should be 'auto', 'finite' or 'head'",
        "  mirror.seed: found False: a number is expected",
        "  gates.mislabel_rate: found 5: input should be less than or equal to 1",
    ]


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert message(tmp_path, "model: {factory: 'm:f'}").splitlines() == [
        "audit.yaml:",
        "  train: this key is required",
    ]


def test_an_unknown_key_far_from_all_lists_them(tmp_path: Path) -> None:
    found = message(tmp_path, SMALLEST + "gates: {zzz: 1}")
    assert found == (
        "audit.yaml:\n  gates.zzz: unknown key; expected one of mislabel_rate, contaminated, "
        "checks, undecided"
    )


def test_truth_values_among_the_classes_are_explained(tmp_path: Path) -> None:
    found = message(tmp_path, SMALLEST + "classes: [no, yes]")
    assert "YAML reads an unquoted yes/no" in found
    assert "put class names in quotes" in found


def test_a_class_named_twice_is_refused(tmp_path: Path) -> None:
    assert "every class may be named once" in message(tmp_path, SMALLEST + "classes: [a, a]")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "audit.yaml: expected keys such as model: and train:, found nothing"),
        ("- a\n", "audit.yaml: expected keys such as model: and train:, found list"),
        ("a: [", "audit.yaml: not valid YAML"),
        ("a: !!python/object:os.system {}", "audit.yaml: not valid YAML"),
        ("a: 2024-99-99", "audit.yaml: not valid YAML"),
    ],
)
def test_files_that_are_no_mapping(tmp_path: Path, text: str, expected: str) -> None:
    assert message(tmp_path, text).startswith(expected)


def test_a_missing_file_suggests_a_close_name(tmp_path: Path) -> None:
    written(tmp_path, SMALLEST)
    with pytest.raises(ConfigError, match=r"there is no such file; did you mean .*audit\.yaml\?"):
        load_config(tmp_path / "audti.yaml")


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigError, match="cannot be read as UTF-8 text"):
        load_config(path)

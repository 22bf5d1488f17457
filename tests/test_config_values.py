"""What somebody may write into settings, and nothing can be done with: named, in one message."""

from pathlib import Path

import pytest

from dataaudit.config import load_config
from dataaudit.errors import ConfigError
from dataaudit.stages.auditing import audit
from dataaudit.studies.influence.settings import influence_settings
from dataaudit.studies.memorization.settings import MemorizationSettings
from dataaudit.studies.verification.settings import VerifySettings

WHOLE = "model: {factory: 'm:build'}\ntrain: {path: train.csv}\n"
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "audit.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert len(message) <= 2000
    return message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (WHOLE + "train: {path: other.csv}\n", "line 3: the key train is given twice"),
        (WHOLE + "mirror: {seed: 1, seed: 2}\n", "line 3: the key seed is given twice"),
        (WHOLE + 'mirror: {seed: 1, "seed": 2}\n', "the key seed is given twice"),
        (WHOLE + 'name: "\\ud800"\n', "name: found \\ud800, half of a character"),
        (WHOLE + 'classes: [a, "\\udfff"]\n', "classes.1: found \\udfff"),
        (WHOLE + '"\\ud800": 1\n', "a key of (top level): found \\ud800"),
        (WHOLE + 'name: "a\\0b"\n', "name: found a NUL"),
        (WHOLE + f"batch_size: {'9' * 30}\n", "batch_size: found a whole number of more than 64"),
        (WHOLE + f"classes: [1, {'9' * 30}]\n", "classes.1: found a whole number of more than"),
        (WHOLE + f"ignore_label: -{'9' * 30}\n", "ignore_label: found a whole number of more"),
        (WHOLE + "images: {mean: [.nan]}\n", "images.mean.0: found nan; expected a finite number"),
        (WHOLE + "images: {mean: [nan]}\n", "images.mean.0: found 'nan': input should be a finite"),
        (WHOLE + "gates: {mislabel_rate: .inf}\n", "gates.mislabel_rate: found inf"),
        (WHOLE + "mirror: {learning_rate: 1e30}\n", "mirror.learning_rate: found '1e30': input"),
        (WHOLE + "mirror: {learning_rate: inf}\n", "mirror.learning_rate: found 'inf': input"),
        (WHOLE + "loss: {class_weights: [1.0, inf]}\n", "loss.class_weights"),
        (WHOLE + "batch_size: 99999999999\n", "batch_size: found 99999999999: input should be"),
        (WHOLE.replace("train.csv", "x" * 300), "train.path: found 'xxx"),
        (
            WHOLE.replace("'m:build'", "'m:build', weights: " + "é" * 130),
            "no file has a name of more than 255 bytes",
        ),
        (LAUGHS + WHOLE, "stands for more than 100,000 values, all aliases written out"),
        (LAUGHS + WHOLE + "classes: *a9\n", "stands for more than 100,000 values"),
        (WHOLE + "about: &a {purpose: [*a]}\n", "an alias stands for what it is part of"),
        (WHOLE + "name: " + "[" * 60 + "]" * 60 + "\n", "is nested more than 50 deep"),
        (WHOLE + "name: " + "[" * 90_000 + "]" * 90_000 + "\n", "not valid YAML"),
        (WHOLE + "".join(f"key_{n}: 1\n" for n in range(5000)), "more"),
        (WHOLE + f"{'k' * 900}: 1\n", "kkk…: unknown key; expected one of"),
        (WHOLE + '"a\\nb": 1\n', "a\\nb: unknown key"),
        (WHOLE + "? " + "x" * 2000 + "\n: 1\n" * 2, ""),
    ],
)
def test_what_no_audit_can_use_is_refused_when_it_is_read(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert expected in refused(tmp_path, text)


def test_an_alias_that_stands_for_little_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(WHOLE + "held_out: &other {path: val.csv}\nsuspects: *other\n")
    config = load_config(path)
    assert config.suspects == config.held_out


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"name": "\ud800"}, "name: found \\ud800"),
        ({"classes": [1, 10**30]}, "classes.1: found a whole number"),
        ({"flags": {"target_precision": float("nan")}}, "flags.target_precision: found nan"),
        ({"mirror": {"steps": 10**12}}, "mirror.steps: found 1000000000000"),
    ],
)
def test_the_same_from_python(settings: dict, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        audit(None, None, **settings)
    assert expected in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30, -1.0])
def test_numbers_of_studies_are_bounded(value: float) -> None:
    with pytest.raises(ConfigError, match="passes: found"):
        MemorizationSettings(passes=value)
    with pytest.raises(ConfigError, match="learning_rate: found"):
        MemorizationSettings(learning_rate=value)
    with pytest.raises(ConfigError, match="keep: found"):
        MemorizationSettings(keep=value)
    with pytest.raises(ConfigError, match="learning_rate: found"):
        VerifySettings(learning_rate=value)
    with pytest.raises(ConfigError, match="learning_rate: found"):
        influence_settings({"learning_rate": value})


@pytest.mark.parametrize("value", [10**20, 0])
def test_counts_of_studies_are_bounded(value: int) -> None:
    with pytest.raises(ConfigError, match="steps: found"):
        influence_settings({"steps": value})
    for name in ("epochs", "groups", "rows", "repeats"):
        with pytest.raises(ConfigError, match=f"{name}: found"):
            VerifySettings(**{name: value})
    with pytest.raises(ConfigError, match="draws: found"):
        MemorizationSettings(draws=value)

"""Tags: read, written as text, their losses, and what flags make of them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from torch import Tensor
from torch.nn import functional

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.flags import tags as tag_flags
from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.tables import FlagSettings
from dataaudit.flags.tags import flag_tags, tag_signals
from dataaudit.labels.kind import Reading
from dataaudit.labels.tags import as_text, carriers, corrected, of_one_width, tags_of_values
from dataaudit.tasks import Classification, TokenClassification
from dataaudit.tasks.weighted import WeightedTokenClassification

CLASSES = ["O", "PER", "LOC"]
TAGS = torch.tensor([[0, 1, -100, 2], [1, -100, -100, -100], [2, 2, 0, 1]], dtype=torch.int16)
OUTPUTS = torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TASK = TokenClassification.of(OUTPUTS, 3, 4)


def read(values: list[Any], **settings: Any) -> tuple[list[list[int]], list[Any]]:
    tags, classes = tags_of_values(
        pd.Series(values, dtype=object), np.arange(len(values)), "x",
        Reading(**{"classes": CLASSES, **settings}),
    )  # fmt: skip
    assert tags.dtype == np.int16
    return tags.tolist(), classes


def test_lists_of_tags_are_padded() -> None:
    rows = [["O", "PER"], np.array([2, -100, 1]), ("LOC",)]
    assert read(rows)[0] == [[0, 1, -100], [2, -100, 1], [2, -100, -100]]
    assert read([["O", "?"], ["PER"]], ignore="?")[0] == [[0, -100], [1, -100]]
    # The numbers of an array stay numbers in a list of their own.
    assert read([list(np.array([2, 0])), [np.float64(1)]])[0] == [[2, 0], [1, -100]]
    # A row without any token to be judged is not judged, an unusable one is set aside.
    rows = [[-100, -100], ["O"], "O PER", None, ["X"], [], [True]]
    assert read(rows, tolerate=True)[0] == [
        [-2, -2], [0, -100], [-1, -1], [-1, -1], [-1, -1], [-1, -1], [-1, -1],
    ]  # fmt: skip


def test_classes_may_be_counted_where_tags_are_numbers() -> None:
    assert read([[0, 3], [-100, 1]], classes=None) == ([[0, 3], [-100, 1]], [0, 1, 2, 3])
    # A name that is a number is the name, not the place.
    assert read([["1", "2"]], classes=["2", "1"])[0] == [[1, 0]]


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ([["O"], "O PER"], {}, r"x: row 1 \(id 1\): found 'O PER'; expected a list of tags, one"),
        ([["O"], []], {}, r"row 1 \(id 1\): found \[\]; expected a list of tags"),
        ([["O", "ORG"]], {}, r"tag 'ORG' is not one of the classes \[O, PER, LOC\]"),
        ([["O", 3]], {}, r"tag 3 is not one of the classes"),
        ([["O"]], {"classes": None}, r"tags are text; add the line `classes: \[O\]`"),
        ([[99_999]], {"classes": None}, r"found tag 99999; expected class indices below 30000"),
    ],
)
def test_tags_that_cannot_be_used_are_refused(
    values: list[Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(values, **settings)


def test_tags_as_text() -> None:
    assert as_text(np.array([0, -100, 2, -100]), CLASSES) == "O _ LOC"
    assert as_text(np.array([-1, -1]), CLASSES) == as_text(np.array([-2, -2]), CLASSES) == ""
    assert [carriers(TAGS.numpy(), place).tolist() for place in range(3)] == [
        [True, False, True], [True, True, True], [True, False, True],
    ]  # fmt: skip
    assert of_one_width([np.array([[1]]), np.zeros((2, 3))])[0].tolist() == [[1, -100, -100]]


def test_only_tags_that_change_are_written_anew() -> None:
    names = corrected("O LOC _", "O O _", ["O", "0", -100], CLASSES)
    assert names == ("O", "LOC", -100)
    assert corrected("O LOC", "O O", np.array([0, 0]), CLASSES) == (0, 2)
    assert corrected("2 1", "0 1", [0, 1], ["0", "1", "2"]) == (2, 1)


def samples_of(frame: pd.DataFrame, **settings: Any) -> Samples:
    common = ReadSettings("train", "tags", classes=CLASSES, task="token-classification")
    return samples_from_object(frame, replace(common, **settings))


def test_words_are_the_text_of_a_row() -> None:
    words = [["Ada", "left", "Oslo"], ["snow"]]
    tags = [["PER", "O", "LOC"], ["O"]]
    frame = pd.DataFrame({"lemmas": words, "tokens": words, "tags": tags})
    samples = samples_of(frame)
    assert (samples.task, samples.modality) == ("token-classification", "text")
    assert samples.content_column == "tokens"
    assert samples.label_values().tolist() == ["PER O LOC", "O"]
    counted = samples.kind.counts(samples.labels, samples.classes, samples.labels)
    assert counted == [("O", 2), ("PER", 1), ("LOC", 1)]
    # Tags of a model's own tokens have other lengths than the words.
    own = samples_of(frame.assign(tags=[["O"] * 7, ["O"] * 3]))
    assert own.modality == "table"


def test_a_row_with_a_tag_too_many_is_refused_or_set_aside() -> None:
    words = [["Ada", "left"], ["snow", "fell"], ["rain", "fell"]]
    frame = pd.DataFrame({"words": words, "tags": [["PER", "O"], ["O", "O", "O"], ["O", "O"]]})
    with pytest.raises(DataError, match=r"row 1 \(id 1\): found 3 tags for 2 words in column 'wor"):
        samples_of(frame)
    assert samples_of(frame, tolerate=True).labels[:, 0].tolist() == [1, -1, 0]


def test_the_loss_is_the_mean_over_the_judged_tokens() -> None:
    losses = TASK.losses(OUTPUTS, TAGS)
    for row in range(3):
        expected = functional.cross_entropy(OUTPUTS[row], TAGS[row].long(), ignore_index=-100)
        torch.testing.assert_close(losses[row], expected)
    probabilities = OUTPUTS.softmax(dim=2)
    task = TokenClassification.of(probabilities, 3, 4)
    assert task.token.outputs == "probabilities"
    torch.testing.assert_close(task.losses(probabilities, TAGS), losses)


def test_padding_changes_nothing() -> None:
    longer = torch.cat([OUTPUTS, torch.full((3, 2, 3), 9.0)], dim=1)
    torch.testing.assert_close(TASK.losses(longer, TAGS), TASK.losses(OUTPUTS, TAGS))
    torch.testing.assert_close(TASK.predictions(longer), TASK.predictions(OUTPUTS))
    shorter = TASK.losses(OUTPUTS[1:2, :2], TAGS[1:2])
    torch.testing.assert_close(shorter, TASK.losses(OUTPUTS, TAGS)[1:2])
    found = TASK.as_tokens(TASK.predictions(OUTPUTS[:, :2]).numpy())
    assert (found.shape, found[:, 2:].sum()) == ((3, 4, 3), 0)
    torch.testing.assert_close(torch.tensor(found[:, :2]), OUTPUTS.softmax(dim=2)[:, :2])


@pytest.mark.parametrize(
    ("weights", "smoothing"), [((1.0, 2.0, 5.0), 0.0), (None, 0.2), ((1.0, 2.0, 5.0), 0.2)]
)
def test_weighted_losses_are_those_of_torch(
    weights: tuple[float, ...] | None, smoothing: float
) -> None:
    losses = WeightedTokenClassification(TASK, weights, smoothing).losses(OUTPUTS, TAGS)
    given = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    for row in range(3):
        judged = TAGS[row] != -100
        each = functional.cross_entropy(
            OUTPUTS[row][judged], TAGS[row][judged].long(), given, reduction="none",
            label_smoothing=smoothing,
        )  # fmt: skip
        torch.testing.assert_close(losses[row], each.mean())


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (
            lambda: TokenClassification.of(OUTPUTS[:, 0], 3, 4),
            r"shape \(3, 3\); expected \[rows, t",
        ),
        (lambda: TokenClassification.of(OUTPUTS, 5, 4), r"\(3, 4, 3\); expected \[rows, tokens, 5"),
        (lambda: TASK.losses(OUTPUTS[:, :3], TAGS), "for 3 tokens where a row has tags for 4"),
    ],
)
def test_outputs_that_do_not_fit_are_refused(refused: Callable[[], Tensor], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        refused()


def test_one_tag_of_a_row_is_planted() -> None:
    predictions = TASK.predictions(OUTPUTS).numpy()
    tags = TAGS.numpy()
    for seed in range(20):
        wrong = TASK.wrong_labels(predictions, tags, np.random.default_rng(seed))
        assert ((wrong != tags).sum(axis=1) == 1).all()
        assert (wrong[tags == -100] == -100).all()
        assert wrong[tags != -100].min() >= 0


def test_half_of_the_planted_tags_are_those_that_the_model_confuses() -> None:
    found = np.full((2000, 2, 3), 1e-9)
    found[:, :, 0], found[:, 1, 2] = 1.0, 0.3
    wrong = TokenClassification(Classification(3), 2).wrong_labels(
        found.reshape(2000, 6), np.zeros((2000, 2), dtype=np.int16), np.random.default_rng(0)
    )
    # All of one half, a quarter of the other.
    assert (wrong[:, 1] == 2).mean() == pytest.approx(0.62, abs=0.04)


def test_the_metric_is_the_share_of_tags_right() -> None:
    outputs = functional.one_hot(TAGS.long().clamp_min(0), 3).double() * 9
    outputs[2, 0] = torch.tensor([9.0, 0.0, 0.0])
    found = TASK.metric(TASK.predictions(outputs).numpy(), TAGS.numpy())
    assert found.tolist() == [1.0, 1.0, 0.75]
    shares = np.array([2, 3, 3]) / 8
    assert TASK.guessing_loss(TAGS.numpy()) == pytest.approx(-(shares * np.log(shares)).sum())


def said(confidence: float, rows: int, wrong: list[tuple[int, int]]) -> np.ndarray[Any, Any]:
    """Return probabilities `[rows, 3, 3]` that find class 0 right but for some tokens."""
    found = np.full((rows, 3, 3), (1 - confidence) / 2)
    found[:, :, 0] = confidence
    for row, place in wrong:
        found[row, place] = [0.1, 0.1, 0.8]
    return found


def tagged_rows(
    tags: np.ndarray[Any, Any],
    before: np.ndarray[Any, Any],
    after: np.ndarray[Any, Any],
    words: list[list[str]] | None = None,
) -> LabelledRows:
    return LabelledRows(
        np.arange(len(tags)),
        tags,
        CLASSES,
        lambda labels: np.array([as_text(row, CLASSES) for row in labels], dtype=object),
        before.reshape(len(tags), -1),
        before.reshape(len(tags), -1),
        after.reshape(len(tags), -1),
        None if words is None else lambda positions: [words[row] for row in positions],
    )


def test_the_most_doubtful_token_tells_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tags = np.zeros((4, 3), dtype=np.int16)
    tags[1, 2] = -100
    before, after = said(0.9, 4, []), said(0.9, 4, [(1, 2), (2, 1), (3, 0), (3, 2)])
    signals = tag_signals(tags, [before, after])
    # Odds of .1 : .9, and of .9 : .1 where the model disagrees; padding never counts.
    np.testing.assert_allclose(signals[:, 0], np.log(1 / 9))
    np.testing.assert_allclose(signals[:, 1], np.log([1 / 9, 1 / 9, 9, 9]))
    planted = np.arange(40) % 4 == 0
    doubted = said(0.9, 40, [(line, line % 3) for line in np.flatnonzero(planted)])
    references = References(
        np.zeros((40, 3), dtype=np.int16),
        planted,
        said(0.9, 40, []).reshape(40, -1),
        doubted.reshape(40, -1),
    )
    rows = tagged_rows(tags, before, after, [["Ada", "left", "Oslo"]] * 4)
    found = flag_tags(rows, references)
    assert found.table["flagged"].tolist() == [False, False, True, True]
    assert found.table["given_label"].tolist() == ["O O O", "O O", "O O O", "O O O"]
    assert found.table["suggested_label"].tolist()[2:] == ["O LOC O", "LOC O LOC"]
    assert found.notes is not None
    assert found.notes[2] == (
        "After learning again: token 2 ('left') is tagged O, and LOC with probability 0.80."
    )
    assert "token 1 ('Ada') is tagged O" in found.notes[3]
    assert "token 3 ('Oslo') is tagged O" in found.notes[3]
    loss = found.signals["mirrored_loss"]
    assert loss[0] == pytest.approx(-np.log(0.9))
    assert loss[2] == pytest.approx(-(2 * np.log(0.9) + np.log(0.1)) / 3)
    assert (found.signals["mirrored_influence"] > 1e-9).tolist() == [False, False, True, True]
    monkeypatch.setattr(tag_flags, "NUMBERS_PER_PART", 2 * 9)
    again = flag_tags(rows, references)
    pd.testing.assert_frame_equal(found.table, again.table)
    assert found.notes == again.notes


def test_without_references_rows_are_ranked_all_the_same() -> None:
    tags = np.zeros((3, 3), dtype=np.int16)
    after = said(0.9, 3, [(1, 1)])
    found = flag_tags(tagged_rows(tags, after, after), None, FlagSettings(budget=1))
    assert found.table["flagged"].tolist() == [False, True, False]
    assert found.notes is not None
    assert "token 2 is tagged O, and LOC" in found.notes[1]


def test_two_classes_are_the_fewest() -> None:
    with pytest.raises(ModelError, match="found 1 class, expected at least 2"):
        TokenClassification.of(OUTPUTS[:, :, :1], 1, 4)
    assert TokenClassification.of(OUTPUTS[:, :, :2], 2, 4).token == Classification(2, "logits")


def test_without_a_model_the_tags_that_occur_are_the_classes(
    tmp_path: Path, command_line: CommandLine
) -> None:
    rows = [{"words": ["Ada", "left"], "tags": ["PER", "O"]}] * 29
    rows.append({"words": ["in", "Oslo"], "tags": [-100, "LOC"]})  # type: ignore[list-item]
    path, settings = tmp_path / "train.jsonl", tmp_path / "audit.yaml"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = "task: token-classification\ntrain: {path: train.jsonl, label: tags}\n"
    settings.write_text(task)
    outcome = command_line("run", settings, "--out", tmp_path / "audit")
    assert outcome.code == 0, outcome.err
    report = json.loads((tmp_path / "audit/audit.json").read_text())
    counts = {item["label"]: item["rows"] for item in report["composition"]["counts"]}
    assert counts == {"LOC": 1, "O": 29, "PER": 29}
    # Where no tags can be used at all, they are not what is meant.
    settings.write_text(f"classes: [B, I]\n{task}")
    outcome = command_line("run", settings, "--out", tmp_path / "other")
    assert outcome.code == 2
    assert "row 0 (id 0): tag 'PER' is not one of the classes [B, I]" in outcome.err

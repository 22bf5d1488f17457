"""Instructions: answers from any file to flags, decisions and corrected texts."""

import json
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from test_other_tasks import COLUMNS, found, project
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.instructions import INSTRUCTION
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.datasets.samples import Role, Samples
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.labels.answers import AFTER, ALONE, COUNT, END, WHOLE, InstructionColumns, as_texts
from dataaudit.mirror import left_out, queries
from dataaudit.mirror.queries import Pool
from dataaudit.models.answer_losses import worst_stretch
from dataaudit.models.answer_tokens import padded, without_padding
from dataaudit.models.tokens import NOT_SCORED
from dataaudit.models.trained import forward
from dataaudit.stages.loading import load_objects
from dataaudit.tasks.instruction import Instruction

ROWS = pd.DataFrame(
    {
        "instruction": ["Say hello.", "Add the numbers.", "Add the numbers."],
        "input": ["", "1 and 2", "2 and 2"],
        "output": ["Hello, you!", 'It is\n"3".', "42"],
    }
)
CHAT = [{"role": "user", "content": "Say hello."}, {"role": "assistant", "content": "Hello!"}]


def opened(path: Path, label: str = "output", *, tolerate: bool = False) -> Samples:
    columns = InstructionColumns("prompt")
    settings = ReadSettings(
        "train", label, task="instruction", instruction=columns, tolerate=tolerate
    )
    return open_samples(path, settings)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "rows.csv": lambda frame, path: frame.to_csv(path, index=False),
    "rows.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "rows.parquet": lambda frame, path: frame.to_parquet(path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_corrected_answer_is_written_in_every_format(name: str, tmp_path: Path) -> None:
    path, target = tmp_path / name, tmp_path / f"new{Path(name).suffix}"
    WRITERS[name](ROWS, path)
    samples = opened(path)
    assert samples.label_values().tolist() == ROWS["output"].tolist()
    shown = samples.take([0, 1]).frame[INSTRUCTION].tolist()
    assert shown == ["Say hello.", "Add the numbers.\n1 and 2"]
    changes = Changes.to_values({1: "It is 3, I think."}).without([0])
    write_corrected(samples, changes, target).rename(target)
    assert opened(target).label_values().tolist() == ["It is 3, I think.", "42"]


def test_the_last_message_of_a_chat_is_the_answer(tmp_path: Path) -> None:
    path, target = tmp_path / "chats.jsonl", tmp_path / "new.jsonl"
    long = [{"role": "system", "content": "Be brief."}, *CHAT]
    rows = [{"messages": CHAT}, {"messages": long}, {"messages": CHAT[:1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = opened(path, "messages", tolerate=True)
    assert samples.label_values().tolist() == ["Hello!", "Hello!", ""]
    shown = samples.take([0, 1]).frame[INSTRUCTION].tolist()
    assert shown == ["Say hello.", "system: Be brief.\nuser: Say hello."]
    with pytest.raises(DataError, match=r"row 2: the answer is missing \(1 such row\); expected"):
        opened(path, "messages")
    write_corrected(samples, Changes.to_values({1: "Good day!"}), target).rename(target)
    written = [json.loads(line)["messages"] for line in target.read_text().splitlines()]
    assert written == [CHAT, [*long[:-1], {**long[-1], "content": "Good day!"}], CHAT[:1]]


def test_answers_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": "a", "output": "b"}, {"prompt": "a", "output": " "}, {"prompt": "c"}]
    rows.append({"prompt": "a", "output": ["b"]})  # type: ignore[dict-item]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"row 1: the answer is empty \(3 such rows\); expected a"):
        opened(path)
    assert opened(path, tolerate=True).labels[:, 0].tolist() == [0, -1, -1, -1]
    with pytest.raises(DataError, match="no column 'answer'; an answer needs a column of its own"):
        opened(path, "answer")


def test_planted_errors_are_other_answers_and_parts_of_them() -> None:
    texts = ["one two three four five six", "un deux trois quatre cinq six", "eins"]
    labels = np.array([[place, WHOLE, place, WHOLE] for place in [0, 1, 2] * 40])
    said = np.zeros((120, 8))
    said[:, COUNT], said[:, END] = np.tile([9, 9, 2], 40), 1.0
    task = Instruction({0: 1, 1: 0})
    wrong = task.wrong_labels(said, labels, np.random.default_rng(0))
    given, planted = as_texts(labels, texts), as_texts(wrong, texts)
    assert (given != planted).all()
    kinds = {text for text in planted if text not in texts}
    starts = {text for text in kinds if texts[0].startswith(text)}
    assert starts, "an answer is cut off"
    mixed = {text for text in kinds if text.startswith("one") and text.endswith("cinq six")}
    assert mixed, "an answer ends as another's"
    # Without a token that ends answers, none is cut off; short ones never are.
    said[:, END] = 0
    whole = as_texts(task.wrong_labels(said, labels, np.random.default_rng(0)), texts)
    assert not {text for text in whole if texts[0].startswith(text)} - {texts[0]}
    assert set(whole[2::3]) <= {*texts[:2]}


@pytest.fixture(scope="module")
def remarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("remarks"), "Answers to instructions")


def test_foreign_answers_from_the_run_to_a_second_audit(
    remarks: Path, command_line: CommandLine
) -> None:
    first, second = remarks / "first", remarks / "second"
    outcome = command_line("run", remarks / "audit.yaml", "--out", first)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(first / "mislabels.parquet")
    assert list(table.columns) == COLUMNS
    precision, recall = found(remarks, table)
    assert precision >= 0.9
    assert recall >= 0.7
    assert (table["given_label"] == table["suggested_label"]).all()
    report = json.loads((first / "audit.json").read_text())
    row = report["labels"]["rows"][0]
    shown = report["samples"][row["sample"]]
    train = pd.read_json(remarks / "train.jsonl", lines=True)
    assert shown["text"] == train.loc[row["row_id"], "instruction"]
    assert shown["label"] == row["given_label"] == train.loc[row["row_id"], "output"]
    # The tokens are named, those of the answer with which the instruction does not go most of all.
    topic_words = row["given_label"].removeprefix("Think of ").rstrip(".").replace(",", "").split()
    assert all(f"“{word}” " in row["note"] for word in topic_words if word != "and")
    assert row["given_label"] in (first / "report.html").read_text()

    to_review = remarks / "review.json"
    outcome = command_line("export", first, "--to", "label-studio", "--out", to_review)
    assert outcome.code == 0, outcome.err
    view = ElementTree.parse(to_review.with_suffix(".xml")).getroot()
    assert view.find("TextArea").attrib["name"] == "label"  # type: ignore[union-attr]
    tasks = json.loads(to_review.read_text())
    right = json.loads((remarks / "right.json").read_text())
    for task in tasks:
        (suggestion,) = task["predictions"][0]["result"]
        assert suggestion["value"] == {"text": [task["data"]["given_label"]]}
        answer = {**suggestion, "value": {"text": [right[task["data"]["row_id"]]]}}
        task["annotations"] = [{"result": [answer]}]
    (remarks / "reviewed.json").write_text(json.dumps(tasks))
    corrected = remarks / "corrected.jsonl"
    outcome = command_line(
        "relabel", first, "--decisions", remarks / "reviewed.json", "--out", corrected
    )
    assert outcome.code == 0, outcome.err
    new = pd.read_json(corrected, lines=True)
    spoiled = set(np.loadtxt(remarks / "spoiled.txt", dtype=int).tolist())
    changed = set(np.flatnonzero(new["output"] != train["output"]))
    assert changed == set(np.flatnonzero(table["flagged"])) & spoiled
    assert new["output"][list(changed)].tolist() == [right[place] for place in changed]

    text = (remarks / "audit.yaml").read_text().replace("train.jsonl", "corrected.jsonl")
    (remarks / "again.yaml").write_text(text)
    assert command_line("run", remarks / "again.yaml", "--out", second).code == 0
    after = pd.read_parquet(second / "mislabels.parquet")
    assert after["flagged"].sum() < table["flagged"].sum() / 2


@pytest.fixture
def network(remarks: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(remarks))
    sys.modules.pop("word_model", None)
    import word_model  # type: ignore[import-not-found]
    from safetensors.torch import load_file

    model = word_model.build()
    model.load_state_dict(load_file(remarks / "model.safetensors"))
    return model, word_model.preprocess


def test_answers_are_judged_by_models_that_have_not_learned_them(
    remarks: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out, "OF_ANSWERS", ((5.0, 60),))
    monkeypatch.setattr(left_out, "REPEATS", 1)
    monkeypatch.setattr(left_out, "USUAL", (5.0, 30))
    train, trusted = (
        pd.read_json(remarks / f"{name}.jsonl", lines=True) for name in ("train", "trusted")
    )
    result = dataaudit.audit(
        network[0], train, trusted, label="output", task="instruction", preprocess=network[1],
        initial=remarks / "initial.safetensors",
    )  # fmt: skip
    precision, recall = found(remarks, result.mislabels)
    assert precision >= 0.8
    assert recall >= 0.6
    assert "each time without a part" in result.report.labels.method
    assert "helps least with" in result.report.labels.rows[0].note


def test_a_few_answers_beside_which_nothing_is_trusted(
    remarks: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(left_out, "OF_ANSWERS", ((5.0, 30),))
    monkeypatch.setattr(left_out, "REPEATS", 1)
    monkeypatch.setattr(left_out, "USUAL", (5.0, 30))
    few = pd.read_json(remarks / "train.jsonl", lines=True).head(50)
    result = dataaudit.audit(
        network[0], few, label="output", task="instruction", preprocess=network[1],
        initial=remarks / "initial.safetensors",
    )  # fmt: skip
    assert result.report.labels.outcome == "cannot tell"
    # All of them are so few that they are named: by models that have learned the others.
    assert "helps least with" in result.report.labels.rows[0].note


def test_answers_side_by_side_are_padded_to_the_right_and_scored_from_their_beginning_on() -> None:
    rows = [(torch.tensor([5, 6, 7]), 1), (torch.tensor([8, 9]), 1), (torch.tensor([4]), 1)]
    made = padded(rows, padding=3)
    no = NOT_SCORED
    assert made["input_ids"].tolist() == [[5, 6, 7], [8, 9, 3], [4, 3, 3]]
    assert made["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
    assert made["labels"].tolist() == [[no, 6, 7], [no, 9, no], [no, no, no]]
    narrow = without_padding({name: values[1:] for name, values in made.items()})
    assert {name: values.tolist() for name, values in narrow.items()} == {
        "input_ids": [[8, 9], [4, 3]],
        "attention_mask": [[1, 1], [1, 0]],
        "labels": [[no, 9], [no, no]],
    }


def test_inputs_that_are_made_ahead_are_those_of_each_step(
    remarks: Path, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits: dict[Role, Any] = {
        "train": pd.read_json(remarks / "train.jsonl", lines=True),
        "held_out": pd.read_json(remarks / "trusted.jsonl", lines=True),
        "suspects": None,
    }
    config = config_from_python("output", None, {"task": "instruction"})
    loaded = load_objects(network[0], splits, network[1], config, trusting=True)
    assert loaded.held_out is not None
    pools = [Pool.of(loaded.train), Pool.of(loaded.held_out)]
    asked = []
    take = type(loaded.model).inputs

    def counted(model: Any, batch: Any, samples: Any) -> Any:
        asked.append(len(batch))
        return take(model, batch, samples)

    monkeypatch.setattr(type(loaded.model), "inputs", counted)

    def ten(bytes_at_once: int) -> list[Any]:
        monkeypatch.setattr(queries, "PREPARED_BYTES", bytes_at_once)
        asked.clear()
        return list(islice(queries.endless_batches(loaded.model, pools, 8, seed=3), 10))

    ahead = ten(2**26)
    # Of each pool, two rows tell how much memory all of them need.
    assert sorted(asked)[:2] == [2, 2]
    assert len(asked) == 4
    step_by_step = ten(0)
    assert len(asked) > 10
    for one, other in zip(ahead, step_by_step, strict=True):
        for (inputs, labels), (expected, expected_labels) in zip(one, other, strict=True):
            assert torch.equal(labels, expected_labels)
            for name, values in expected.items():
                assert torch.equal(inputs[name], values), name


def test_what_does_not_fit_is_refused(network: Any) -> None:
    model, preprocess = network
    rows = pd.DataFrame({"prompt": ["Say it."] * 30, "output": ["Think of rain."] * 30})
    audit: dict[str, Any] = {"label": "output", "task": "instruction", "preprocess": preprocess}
    model.context_length = 5
    with pytest.raises(
        DataError, match=r"the first: row 0 \(id 0\): the answer has 5 tokens; expected 1 to 4"
    ):
        dataaudit.audit(model, rows, **audit)
    with pytest.raises(ConfigError, match="preprocess: needed for language models that are no"):
        dataaudit.audit(model, rows, label="output", task="instruction")
    with pytest.raises(ModelError, match="is beyond the model's vocabulary of 8"):
        dataaudit.audit(nn.Embedding(100, 8), rows, **audit)
    with pytest.raises(DataError, match="columns of instructions and answers"):
        dataaudit.audit(model, (["a"], ["b"]), **audit)
    for settings in ({"classes": ["a", "b"]}, {"mirror": {"kind": "head"}}):
        with pytest.raises(ConfigError):
            dataaudit.audit(model, rows, **audit, **settings)


def test_the_worst_stretch_lies_within_the_answer() -> None:
    values = torch.tensor([[1.0, 5.0, 3.0, -1.0], [-2.0, -4.0, 0.0, 0.0]])
    found = worst_stretch(values, torch.tensor([4, 2]), 2)
    assert found.tolist() == [4.0, -3.0]
    assert worst_stretch(values, torch.tensor([4, 2]), 8).tolist() == [2.0, -3.0]


def test_a_language_model_of_transformers_reads_its_chat_template(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from test_transformers import gpt2
    from transformers import AutoModelForCausalLM, GPT2LMHeadModel

    classifier, words = gpt2()
    words.chat_template = "soup {{ messages[0]['content'] }} home "
    GPT2LMHeadModel(classifier.config).eval().save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    frame = pd.DataFrame({"prompt": ["win a", "free"] * 4, "output": ["prize now", "cash"] * 4})
    splits: dict[Role, Any] = {"train": frame, "held_out": None, "suspects": None}
    config = config_from_python("output", None, {"task": "instruction"})
    loaded = load_objects(tmp_path, splits, None, config)
    inputs = loaded.model.inputs(loaded.train.take([0, 1]), loaded.train)
    with torch.inference_mode():
        said = forward(loaded.model.module, inputs)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path).eval()

    def loss(before: str, answer: str) -> tuple[float, int]:
        start = words(before)["input_ids"] if before else [words.bos_token_id or 3]
        rest = [*words(answer)["input_ids"], words.eos_token_id]
        with torch.inference_mode():
            logs = plain(torch.tensor([[*start, *rest]])).logits.log_softmax(-1)[0]
        each = [-logs[len(start) + place - 1, token] for place, token in enumerate(rest)]
        return float(torch.stack(each).mean()), len(rest)

    for line, (prompt, answer) in enumerate([("win a", "prize now"), ("free", "cash")]):
        mean, count = loss(f"soup {prompt} home ", answer)
        assert said[line, AFTER].item() == pytest.approx(mean, abs=1e-5)
        assert said[line, COUNT].item() == count
    assert "chat template" in loaded.model.description
    # Alone, an answer follows the first token of its row.
    first = inputs["input_ids"][0, :1].tolist()  # type: ignore[call-overload, index]
    rest = [*words("prize now")["input_ids"], words.eos_token_id]
    logs = plain(torch.tensor([[*first, *rest]])).logits.log_softmax(-1)[0]
    alone = -logs[range(len(rest)), rest].mean()
    assert said[0, ALONE].item() == pytest.approx(alone.item(), abs=1e-5)

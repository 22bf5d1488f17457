"""Preferences: pairs of answers from any file to flags, decisions and swapped columns."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from conftest import CommandLine
from sklearn.linear_model import LogisticRegression
from test_other_tasks import found, project
from torch import nn

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.datasets.samples import Role, Samples
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.labels.preferences import PairColumns
from dataaudit.models.answer_tokens import AnswerTokens
from dataaudit.models.tokens import Tokens
from dataaudit.models.trained import forward
from dataaudit.stages.loading import load_objects

COLUMNS = PairColumns("chosen", "rejected", "prompt")
PAIRS = pd.DataFrame(
    {
        "prompt": ["Why?", "How?", "When, exactly?"],
        "chosen": ["Because it rains.", 'Open it,\nthen "save".', "7"],
        "rejected": ["No idea.", "ask, somebody; else", "soon"],
    }
)


def opened(path: Path, answers: PairColumns = COLUMNS, *, tolerate: bool = False) -> Samples:
    settings = ReadSettings("train", None, task="preference", answers=answers, tolerate=tolerate)
    return open_samples(path, settings)


def saved(frame: pd.DataFrame, path: Path) -> None:
    data = datasets.Dataset(pa.Table.from_pandas(frame, preserve_index=False))
    data.save_to_disk(path)


WRITERS: dict[str, Callable[[pd.DataFrame, Path], object]] = {
    "pairs.csv": lambda frame, path: frame.to_csv(path, index=False),
    "pairs.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
    "pairs.parquet": lambda frame, path: frame.to_parquet(path),
    "pairs.feather": lambda frame, path: frame.to_feather(path),
    "saved": saved,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_corrected_pair_is_swapped_in_every_format(name: str, tmp_path: Path) -> None:
    path, target = tmp_path / name, tmp_path / f"new{Path(name).suffix}"
    WRITERS[name](PAIRS, path)
    samples = opened(path)
    changes = Changes.of({1: 1 - int(samples.labels[1])}).without([0])
    write_corrected(samples, changes, target).rename(target)
    again = opened(target)
    assert again.labels.tolist() == [1 - samples.labels[1], samples.labels[2]]
    frame = again.source.source.take([0, 1])  # type: ignore[attr-defined]
    assert frame["chosen"].tolist() == ["ask, somebody; else", "7"]
    assert frame["rejected"].tolist() == ['Open it,\nthen "save".', "soon"]
    # Nothing is left of what was written on the way.
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted([name, target.name])


def test_a_pair_is_the_same_either_way_round_but_for_its_label(tmp_path: Path) -> None:
    swapped = PAIRS.rename(columns={"chosen": "rejected", "rejected": "chosen"})
    many = pd.DataFrame({"chosen": [f"a{n}" for n in range(400)], "rejected": ["b"] * 400})
    for name, frame in {"one": PAIRS, "other": swapped, "many": many}.items():
        frame.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    one, other, even = (opened(tmp_path / f"{name}.jsonl") for name in ("one", "other", "many"))
    assert (one.labels == 1 - other.labels).all()
    texts = [list(samples.take([0, 1, 2]).frame["prompt and answers"]) for samples in (one, other)]
    assert texts[0] == texts[1]
    # Where the file has no prompts there are none, and the sides are about even.
    assert even.answers == PairColumns("chosen", "rejected", None)
    assert 0.4 < even.labels.mean() < 0.6


def test_pairs_that_cannot_be_used_are_set_aside_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"chosen": "good", "rejected": "bad"},
        {"chosen": "same  text", "rejected": "same text"},
        {"chosen": " ", "rejected": "bad"},
        {"chosen": "good"},
        {"chosen": "good", "rejected": ["bad"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = opened(path, tolerate=True)
    assert samples.labels.tolist()[1:] == [-1] * 4
    reasons = samples.take(range(1, 5)).frame["better answer"].tolist()
    assert reasons == [
        "both answers are the same",
        "the chosen answer is empty",
        "the rejected answer is missing",
        "the rejected answer is no text",
    ]
    with pytest.raises(DataError, match=r"row 1: both answers are the same \(4 such rows\)"):
        opened(path)
    with pytest.raises(DataError, match=r"no column 'question'; a pair needs one of the chosen"):
        opened(path, PairColumns("chosen", "rejected", "question"))


def test_a_column_that_is_called_like_one_of_the_audit_is_refused(tmp_path: Path) -> None:
    PAIRS.assign(**{"better answer": "left"}).to_csv(tmp_path / "pairs.csv", index=False)
    with pytest.raises(DataError, match="column 'better answer' has a name that the audit gives"):
        opened(tmp_path / "pairs.csv")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("answers"), "Preferred answers")


def test_swapped_pairs_from_the_run_to_a_second_audit_with_fewer_flags(
    answers: Path, command_line: CommandLine
) -> None:
    first, second = answers / "first", answers / "second"
    outcome = command_line("run", answers / "audit.yaml", "--out", first)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(first / "mislabels.parquet")
    precision, recall = found(answers, table)
    assert precision >= 0.9
    assert recall >= 0.9
    flagged = table[table["flagged"]]
    assert (flagged["given_label"] != flagged["suggested_label"]).all()
    report = json.loads((first / "audit.json").read_text())
    shown = report["samples"][report["labels"]["rows"][0]["sample"]]
    assert f"[{shown['label']} answer, given as better]\n" in shown["text"]
    # Which side an answer stands on says nothing.
    assert report["labels"]["confusions"] == report["labels"]["per_class"] == []

    to_review = answers / "review.json"
    outcome = command_line("export", first, "--to", "label-studio", "--out", to_review)
    assert outcome.code == 0, outcome.err
    view = ElementTree.parse(to_review.with_suffix(".xml")).getroot()
    (asked,) = view.iter("Pairwise")
    assert asked.attrib == {"name": "label", "toName": "left,right"}
    assert [text.get("value") for text in view.iter("Text")] == ["$left", "$right"]
    tasks = json.loads(to_review.read_text())
    spoiled = set(np.loadtxt(answers / "spoiled.txt", dtype=int).tolist())
    train = pd.read_json(answers / "train.jsonl", lines=True)
    for task in tasks[1:]:
        (suggestion,) = task["predictions"][0]["result"]
        given = {"selected": task["data"]["given_label"]}
        wrong = task["data"]["row_id"] in spoiled
        answer = suggestion if wrong else {**suggestion, "value": given}
        task["annotations"] = [{"result": [answer]}]
        given_answer = task["data"][task["data"]["given_label"]]
        assert given_answer == train.loc[task["data"]["row_id"], "chosen"]
    (answers / "reviewed.json").write_text(json.dumps(tasks))
    corrected = answers / "corrected.jsonl"
    outcome = command_line(
        "relabel", first, "--decisions", answers / "reviewed.json", "--out", corrected
    )
    assert outcome.code == 0, outcome.err
    # The page's decisions about the row that is left; fix writes those logged before, too.
    row = tasks[0]["data"]["row_id"]
    (answers / "decisions.csv").write_text(f"row_id,decision\n{row},relabel\n")
    outcome = command_line(
        "fix", first, "--decisions", answers / "decisions.csv", "--out", answers / "fixed"
    )
    assert outcome.code == 0, outcome.err
    new = pd.read_json(answers / "fixed" / "train.jsonl", lines=True)
    changed = new["chosen"] != train["chosen"]
    assert set(np.flatnonzero(changed)) == {*flagged["row_id"]} & spoiled | {row}
    assert (new.loc[changed, "chosen"] == train.loc[changed, "rejected"]).all()
    assert (new.loc[changed, "rejected"] == train.loc[changed, "chosen"]).all()

    text = (answers / "audit.yaml").read_text().replace("train.jsonl", "fixed/train.jsonl")
    (answers / "again.yaml").write_text(text)
    assert command_line("run", answers / "again.yaml", "--out", second).code == 0
    after = pd.read_parquet(second / "mislabels.parquet")
    assert after["flagged"].sum() < len(flagged) / 3


def letters(frame: pd.DataFrame) -> torch.Tensor:
    counts = [[text.count(letter) for letter in "abcdefgh"] for text in frame["answer"]]
    return torch.tensor(counts, dtype=torch.float32)


def test_frames_are_audited_and_a_swapped_evaluation_pair_is_the_same_one() -> None:
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcdefgh"), 9)) for _ in range(960)]
    worth = [sum("abcdefgh".index(letter) for letter in text) for text in texts]
    couples = zip(texts[::2], texts[1::2], worth[::2], worth[1::2], strict=True)
    ordered = [(a, b) if x > y else (b, a) for a, b, x, y in couples if x != y]
    pairs = pd.DataFrame(ordered, columns=["chosen", "rejected"])
    train, trusted = pairs[:300].reset_index(drop=True), pairs[300:400]
    wrong = np.zeros(300, dtype=bool)
    wrong[:30] = True
    train.loc[wrong, ["chosen", "rejected"]] = train.loc[wrong, ["rejected", "chosen"]].to_numpy()
    suspects = pd.concat([pairs[400:], train[5:8], train[40:42].rename(
        columns={"chosen": "rejected", "rejected": "chosen"})], ignore_index=True)  # fmt: skip
    reward = nn.Linear(8, 1, bias=False)
    reward.weight.data = torch.arange(8.0)[None]
    result = dataaudit.audit(
        reward, train, trusted, suspects, preprocess=letters, task="preference",
        mirror={"steps": 30}, flags={"budget": 30},
    )  # fmt: skip
    flagged = result.mislabels["flagged"].to_numpy()
    assert (flagged & wrong).sum() >= 27
    pairs_found = result.contamination[result.contamination["flagged"]]
    copies = pairs_found.set_index("query_id")["row_id"]
    start = len(suspects) - 5
    assert {int(copies[start + place]) for place in range(5)} == {5, 6, 7, 40, 41}
    assert result.report.method.settings["model"].endswith("run on both answers of each row")


def test_what_does_not_fit_is_refused() -> None:
    frame = pd.DataFrame({"chosen": ["ab", "cd"] * 20, "rejected": ["b", "d"] * 20})
    estimator = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ModelError, match="the model is an estimator; expected a torch module"):
        dataaudit.audit(estimator, frame, task="preference")
    with pytest.raises(ModelError, match=r"outputs of shape \(80, 3\) for 80 answers; expected"):
        dataaudit.audit(nn.Linear(8, 3), frame, preprocess=letters, task="preference")
    with pytest.raises(DataError, match="columns of chosen and rejected answers"):
        dataaudit.audit(nn.Linear(8, 1), (["ab"], [1]), preprocess=letters, task="preference")
    for settings, message in {
        "classes": "expected no classes for task preference",
        "loss": "class_weights are not for task preference",
    }.items():
        value = {"classes": ["left", "right"], "loss": {"class_weights": [1, 2]}}[settings]
        with pytest.raises(ConfigError, match=message):
            dataaudit.audit(nn.Linear(8, 1), frame, task="preference", **{settings: value})
    for columns in ({"labels": ["one", "two"]}, {"opinions": {"other": ["p_left", "p_right"]}}):
        with pytest.raises(ConfigError, match="labels, opinions: are not for task preference"):
            dataaudit.audit(nn.Linear(8, 1), frame, task="preference", **columns)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny language model, `initial` and, a step on, `trained`."""
    pytest.importorskip("transformers")
    from test_transformers import gpt2
    from transformers import GPT2LMHeadModel

    classifier, words = gpt2()
    folder = tmp_path_factory.mktemp("language model")
    model = GPT2LMHeadModel(classifier.config).eval()
    for name in ("initial", "trained"):
        model.save_pretrained(folder / name)
        words.save_pretrained(folder / name)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
    return folder


def test_a_language_model_rewards_what_has_become_likelier(language_model: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    frame = pd.DataFrame(
        {
            "prompt": ["soup at ", "win a free "] * 8,
            "chosen": ["seven", "prize now", "seven, home", "cash"] * 4,
            "rejected": ["train", "home", "now", "soup again now"] * 4,
        }
    )
    config = config_from_python("label", None, {"task": "preference", "loss": {"beta": 0.5}})
    splits: dict[Role, Any] = {"train": frame, "held_out": None, "suspects": None}
    initial = language_model / "initial"
    loaded = load_objects(language_model / "trained", splits, None, config, initial)
    batch = loaded.train.take(range(4))
    rewards = forward(loaded.model.module, loaded.model.inputs(batch, loaded.train))

    words = AutoTokenizer.from_pretrained(initial)
    networks = [
        AutoModelForCausalLM.from_pretrained(language_model / name).eval()
        for name in ("trained", "initial")
    ]

    def reward(prompt: str, answer: str) -> float:
        ids = torch.tensor([words(prompt + answer)["input_ids"]])
        start = len(words(prompt)["input_ids"])
        logs = [network(ids).logits.log_softmax(-1)[0] for network in networks]
        new, old = (
            sum(log[place - 1, ids[0, place]] for place in range(start, ids.shape[1]))
            for log in logs
        )
        return 0.5 * (new - old).item()

    sides = batch.frame[["left answer", "right answer"]].to_numpy()
    expected = [
        [reward(prompt, answer) for answer in pair]
        for prompt, pair in zip(batch.frame["prompt"], sides, strict=True)
    ]
    torch.testing.assert_close(rewards, torch.tensor(expected), atol=1e-5, rtol=1e-4)
    # What training started from is no parameter, and stays where it is.
    names = {name for name, _ in networks[0].named_parameters()}
    assert {name for name, _ in loaded.model.module.named_parameters()} == names
    assert "No initial weights" not in loaded.model.note

    alone = load_objects(language_model / "trained", splits, None, config)
    assert "an answer's own log-probability stands for its reward" in alone.model.note
    with pytest.raises(ModelError, match="ends in ForSequenceClassification or ForTokenClassific"):
        dataaudit.audit(language_model / "trained", frame.assign(label=0))


def test_a_long_prompt_loses_its_beginning_before_the_answer_its_end() -> None:
    def tokenize(texts: Sequence[str]) -> list[Tokens]:
        return [Tokens([ord(letter) for letter in text]) for text in texts]

    tokens = AnswerTokens(tokenize, "prompt", 5, 0)
    frame = pd.DataFrame({"prompt": ["abcd", "a"], "answer": ["xyz", "uvwxyz"]})
    made = tokens(frame)
    assert made["input_ids"].tolist() == [list(map(ord, "cdxyz")), list(map(ord, "auvwx"))]
    assert made["labels"].tolist() == [
        [-100, -100, *map(ord, "xyz")],
        [-100, *map(ord, "uvwx")],
    ]


def test_a_sequence_classifier_with_one_output_is_a_reward_model(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from test_transformers import bert, saved

    frame = pd.DataFrame(
        {"prompt": ["soup"] * 4, "chosen": ["free now"] * 4, "rejected": ["home"] * 4}
    ).assign(answer="which is another thing")
    model, words = bert(num_labels=1, id2label={0: "reward"}, label2id={"reward": 0})
    splits: dict[Role, Any] = {"train": frame, "held_out": None, "suspects": None}
    config = config_from_python("label", None, {"task": "preference"})
    loaded = load_objects(saved(tmp_path / "model", model, words), splits, None, config)
    batch = loaded.train.take([0])
    (rewards,) = forward(loaded.model.module, loaded.model.inputs(batch, loaded.train)).tolist()
    alone = words(["soup"] * 2, ["free now", "home"], padding=True, return_tensors="pt")
    expected = dict(zip(["free now", "home"], model(**alone).logits[:, 0].tolist(), strict=True))
    sides = batch.frame[["left answer", "right answer"]].iloc[0]
    assert rewards == pytest.approx([expected[answer] for answer in sides], abs=1e-5)

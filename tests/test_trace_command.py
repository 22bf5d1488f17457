"""`dataaudit trace` end to end: on a tiny model of the user's own, and on a transformers folder."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, fresh_copy, trace_refuses
from language_examples import ANIMALS, MODEL_SOURCE, language_project

import dataaudit
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.models.tokens import user_tokenize
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.studies.tracing.language_models import Columns, LanguageModelTracer


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_project(tmp_path_factory.mktemp("language"))


def rewritten(path: Path, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(change(line)) + "\n" for line in lines), encoding="utf-8")


@pytest.fixture
def audit_yaml(_made: Path, tmp_path: Path) -> Path:
    return fresh_copy(_made.parent, tmp_path) / "audit.yaml"


def test_passages_behind_each_prompt_come_first(
    audit_yaml: Path, command_line: CommandLine
) -> None:
    out = audit_yaml.parent / "traced"
    outcome = command_line("trace", audit_yaml, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[-1] == f"report: {out / 'report.html'}"
    assert sorted(path.name for path in out.iterdir()) == [
        "audit.json", "contamination.parquet", "manifest.json", "mislabels.parquet", "report.html"
    ]  # fmt: skip

    pairs = pd.read_parquet(out / "contamination.parquet")
    assert list(pairs.columns) == ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    assert set(pairs["query_id"]) == set(ANIMALS)
    assert (pairs.groupby("query_id").size() == 6).all()
    hits = 0
    for query, found in pairs.groupby("query_id"):
        assert found["rank"].tolist() == [1, 2, 3, 4, 5, 6]
        assert found["score"].is_monotonic_decreasing
        hits += found["row_id"].head(3).str.startswith(f"{query}-").sum()
    # By chance it were 3 of 18.
    assert hits >= 15
    assert pairs["p_value"].between(0, 1).all()

    rows = pd.read_parquet(out / "mislabels.parquet")
    assert len(rows) == 18
    assert not rows["flagged"].any()
    assert rows["suggested_label"].isna().all()

    report = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    shown = report["tracing"]["shown"][0]
    row = shown["rows"][0]["sample"]
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]
    changes = [token["after"] - token["before"] for token in row["tokens"]]
    assert np.mean(changes[1:]) == pytest.approx(row["loss_after"] - row["loss_before"], abs=1e-6)
    assert shown["rows"][0]["change"] == pytest.approx(np.mean(changes[1:]), abs=1e-6)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Training rows behind what was generated" in page
    assert "<b>" not in page
    assert "shade-5" in page


def test_run_does_the_same_as_trace(audit_yaml: Path, command_line: CommandLine) -> None:
    folder = audit_yaml.parent
    assert command_line("trace", audit_yaml, "--out", folder / "traced").code == 0
    with audit_yaml.open("a", encoding="utf-8") as file:
        file.write("gates: {contaminated: 6}\nbatch_size: 5\n")
    assert command_line("run", audit_yaml, "--out", folder / "run").code == 0
    one, other = (
        pd.read_parquet(folder / name / "contamination.parquet") for name in ("traced", "run")
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-3)
    assert command_line("report", folder / "run").code == 0


def test_what_a_trace_claims_is_certified_and_other_commands_say_what_it_is(
    audit_yaml: Path, command_line: CommandLine
) -> None:
    out = audit_yaml.parent / "traced"
    assert command_line("trace", audit_yaml, "--out", out).code == 0
    assert "generated samples flagged: " in command_line("certify", out).out
    assert "holds: " in command_line("certify", out, "--check").out
    for kind in ("croissant", "training-summary"):
        outcome = command_line("export", out, "--to", kind, "--out", out.parent / kind)
        assert (outcome.code, outcome.err) == (0, "")
    outcome = command_line("fix", out, "--out", out.parent / "fixed")
    assert outcome.code == 2
    assert "holds a trace, which says nothing of labels or copies" in outcome.err


def test_bad_input_is_named(audit_yaml: Path, command_line: CommandLine) -> None:
    folder = audit_yaml.parent
    train = "train: {path: train.jsonl, id: row_id}"
    suspects = "suspects: {path: prompts.jsonl, id: query_id}"
    model = "model: {factory: tiny_model:build, weights: model.safetensors}"
    faults = [
        (
            train,
            "train: {path: train.jsonl, text: words}",
            "no text column: expected words; the columns are 'row_id', 'text'",
        ),
        (
            suspects,
            "suspects: {path: prompts.jsonl, completion: answer}",
            "expected 'answer' (with 'prompt')",
        ),
        (suspects, "", "suspects: needed for task causal-lm"),
        ("preprocess: tiny_model:tokenize", "", "preprocess: needed for language models"),
        (model, "model: {path: .}", "preprocess: not with model.path"),
        (
            model,
            "model: {weights: model.safetensors}",
            "either factory or path is expected",
        ),
        ("task: causal-lm", "task: classification", "task: found classification, expected causal"),
        ("top: 6", "draws: 3", "trace.draws: is not read by a trace of task causal-lm"),
        (train, "train: {path: train.jsonl, label: kind}", "train.label: is not read by a trace"),
        (train, f"{train}\ngates: {{checks: {{duplicates: 0}}}}", "gates.checks: is not read by a"),
    ]
    trace_refuses(command_line, audit_yaml, faults)
    outcome = command_line("trace", "--model", folder, "--train", folder / "train.jsonl")
    assert outcome.code == 2
    assert "expected either AUDIT_YAML, or all of --model, --train and --queries" in outcome.err
    outcome = command_line("trace", audit_yaml, "--query-id", "number", "--out", folder / "out")
    assert outcome.code == 2
    assert "--query-id: found beside AUDIT_YAML, which names the id columns itself" in outcome.err
    outcome = command_line("trace", audit_yaml, "--task", "causal")
    assert outcome.err == "dataaudit: --task: found 'causal', expected causal-lm or diffusion\n"


def test_queries_are_read_from_the_column_that_they_name(
    audit_yaml: Path, command_line: CommandLine
) -> None:
    folder = audit_yaml.parent
    content = audit_yaml.read_text(encoding="utf-8")
    assert command_line("trace", audit_yaml, "--out", folder / "pairs").code == 0
    rewritten(
        folder / "prompts.jsonl",
        lambda line: {
            "query_id": line["query_id"],
            "text": "zzzz",
            "body": line["prompt"] + line["completion"],
        },
    )
    named = content.replace("id: query_id", "id: query_id, text: body")
    audit_yaml.write_text(named, encoding="utf-8")
    assert command_line("trace", audit_yaml, "--out", folder / "texts").code == 0
    found = pd.read_parquet(folder / "texts" / "contamination.parquet")
    best = found[found["rank"] == 1]
    right = [row.startswith(query) for query, row in zip(best.query_id, best.row_id, strict=True)]
    assert sum(right) >= 4
    report = json.loads((folder / "texts" / "audit.json").read_text(encoding="utf-8"))
    texts = {query["query"]["text"] for query in report["tracing"]["shown"]}
    assert "the owl is pink." in texts


def test_a_late_query_that_says_nothing_is_named_before_any_work(
    audit_yaml: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlearn(*arguments: object) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(LanguageModelTracer, "perturb", unlearn)
    # Beyond the first completions, of which the typical length is taken.
    monkeypatch.setattr("dataaudit.studies.tracing.language_models.QUERIES_MEASURED", 2)
    last = ANIMALS[-1]
    rewritten(
        audit_yaml.parent / "prompts.jsonl",
        lambda line: {**line, "completion": "" if line["query_id"] == last else " red."},
    )
    outcome = command_line("trace", audit_yaml, "--out", audit_yaml.parent / "traced")
    assert outcome.code == 2
    assert f"row 5 (id {last}): column 'completion': found an empty text" in outcome.err


def test_nothing_is_called_clear_where_nothing_could_be_compared(
    audit_yaml: Path, command_line: CommandLine
) -> None:
    folder = audit_yaml.parent
    rows = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()[:2]
    (folder / "train.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with audit_yaml.open("a", encoding="utf-8") as file:
        file.write("gates: {contaminated: 0}\n")
    outcome = command_line("trace", audit_yaml, "--out", folder / "traced")
    assert outcome.code == 1
    assert "gate contaminated: CANNOT TELL (found not measured, limit 0)" in outcome.out
    assert "which of them stand out beyond chance cannot be told" in outcome.out
    report = json.loads((folder / "traced" / "audit.json").read_text(encoding="utf-8"))
    assert report["tracing"]["can_tell"] is False
    assert report["counts"]["suspects_flagged"] is None
    page = (folder / "traced" / "report.html").read_text(encoding="utf-8")
    assert "cannot be told: too few unrelated samples" in page


def test_an_empty_text_is_named(audit_yaml: Path, command_line: CommandLine) -> None:
    train = audit_yaml.parent / "train.jsonl"
    lines = train.read_text(encoding="utf-8").splitlines()
    lines[4] = '{"row_id": "empty", "text": ""}'
    train.write_text("\n".join(lines), encoding="utf-8")
    outcome = command_line("trace", audit_yaml, "--out", audit_yaml.parent / "traced")
    assert outcome.code == 2
    assert "row 4 (id empty): no tokens; expected some text" in outcome.err


def test_rows_that_say_nothing_are_set_aside_where_that_is_allowed(
    audit_yaml: Path, command_line: CommandLine
) -> None:
    folder = audit_yaml.parent
    whole = folder / "whole"
    assert command_line("trace", audit_yaml, "--out", whole).code == 0
    train, queries = folder / "train.jsonl", folder / "prompts.jsonl"
    lines = train.read_text(encoding="utf-8").splitlines()
    empty = ['{"row_id": "empty", "text": ""}', '{"row_id": "none", "text": null}']
    train.write_text("\n".join([lines[0], *empty, *lines[1:]]) + "\n", encoding="utf-8")
    with queries.open("a", encoding="utf-8") as file:
        file.write('{"query_id": "silent", "prompt": "the owl is", "completion": ""}\n')
    with audit_yaml.open("a", encoding="utf-8") as file:
        file.write("bad_rows: {largest_share: 0.3}\n")
    outcome = command_line("trace", audit_yaml, "--out", folder / "traced")
    assert outcome.code == 0, outcome.err
    aside = pd.read_parquet(folder / "traced" / "set_aside.parquet")
    assert aside.to_numpy().tolist() == [
        ["empty", "train", "no tokens; expected some text"],
        ["none", "train", "column 'text': found no value, expected text"],
        [
            "silent",
            "suspects",
            "column 'completion': found an empty text, expected what the model generated",
        ],
    ]
    # Of the other rows all is as without these.
    before, after = (
        pd.read_parquet(d / "contamination.parquet") for d in (whole, folder / "traced")
    )
    silent = after[after["query_id"] == "silent"]
    assert silent["row_id"].isna().all()
    assert not silent["flagged"].any()
    pd.testing.assert_frame_equal(before, after[after["query_id"] != "silent"])
    rows = pd.read_parquet(folder / "traced" / "mislabels.parquet")
    assert rows["row_id"].tolist()[:4] == [
        json.loads(lines[0])["row_id"],
        "empty",
        "none",
        json.loads(lines[1])["row_id"],
    ]
    assert rows["given_label"].isna().all()
    report = json.loads((folder / "traced" / "audit.json").read_text(encoding="utf-8"))
    coverage = report["coverage"]
    assert (coverage["rows_not_scored"], coverage["suspects_not_scored"]) == (2, 1)
    assert "train: 2 of" in " ".join(coverage["notes"])
    again = command_line("trace", audit_yaml, "--out", folder / "traced", "--resume")
    assert again.code == 0, again.err


def a_tracer(settings: FiniteSettings) -> LanguageModelTracer:
    space: dict[str, object] = {}
    exec(MODEL_SOURCE, space)
    module = space["build"]().eval()
    model = TrainedModel(module, space["tokenize"], "tiny")
    return LanguageModelTracer(
        model, user_tokenize(space["tokenize"], "text"), Columns(), 48, settings, loss_change=100.0
    )


def samples(role: str, frame: pd.DataFrame):
    return samples_from_object(frame, ReadSettings(role, label=None, task="causal-lm"))


@pytest.mark.parametrize(("direction", "sign"), [("unlearn", 1.0), ("learn", -1.0)])
def test_one_plain_step_follows_the_gradient_of_the_completion_alone(
    direction: str, sign: float
) -> None:
    tracer = a_tracer(FiniteSettings(direction=direction, learning_rate=0.05, optimizer="sgd"))
    frame = pd.DataFrame({"prompt": ["the cat is"], "completion": [" red."]})
    found = tracer.perturb(samples("suspects", frame), 0)
    module = tracer.model.module
    (ids,) = tracer.tokenize(["the cat is red."])
    tokens = torch.tensor([list(ids.ids)])
    start = len("the cat is")
    log_probabilities = module(tokens)[0].log_softmax(dim=1)
    loss = -sum(log_probabilities[i - 1, tokens[0, i]] for i in range(start, tokens.shape[1]))
    names, values = zip(*module.named_parameters(), strict=True)
    for name, value, gradient in zip(names, values, torch.autograd.grad(loss, values), strict=True):
        torch.testing.assert_close(
            found.tensors[name], value.detach() + sign * 0.05 * gradient, atol=1e-5, rtol=1e-4
        )


def test_the_completion_itself_gets_harder_when_it_is_unlearned_and_easier_when_learned() -> None:
    frame = pd.DataFrame({"text": ["the owl is pink."]})
    for direction, sign in (("unlearn", 1), ("learn", -1)):
        tracer = a_tracer(FiniteSettings(direction=direction, learning_rate=1e-3))
        query = samples("suspects", frame)
        perturbed = tracer.perturb(query, 0)
        before, after = tracer.losses(query, query.take([0]), [UNPERTURBED, perturbed])[0]
        assert sign * (after - before) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_transformers_folder(tmp_path: Path, command_line: CommandLine) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    words = ["<s>", "the", "is", ".", *ANIMALS, "red", "blue", "pink", "gold", "grey", "lime"]
    vocabulary = {word: place for place, word in enumerate(words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<s>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", unk_token="<s>"
    )
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(words), n_positions=16, n_embd=16, n_layer=1, n_head=2, bos_token_id=0
    )
    folder = tmp_path / "gpt"
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = [{"text": f"the {animal} is red . the {animal} is blue ."} for animal in ANIMALS]
    prompts = [{"prompt": "the cat is", "completion": " red"}]
    for name, lines in (("corpus", rows), ("prompts", prompts)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    data = ["--train", tmp_path / "corpus.jsonl", "--queries", tmp_path / "prompts.jsonl"]
    out = tmp_path / "traced"
    outcome = command_line("trace", "--task", "causal-lm", "--model", folder, *data, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert len(pd.read_parquet(out / "contamination.parquet")) == 6
    report = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    query = report["tracing"]["shown"][0]["query"]
    assert "".join(token["text"] for token in query["tokens"]) == "the cat is red"

    weights = folder / "model.safetensors"
    torch.save({}, folder / "pytorch_model.bin")
    weights.unlink()
    refused = command_line("trace", "--model", folder, *data, "--out", tmp_path / "again")
    assert refused.code == 2
    assert "there are no .safetensors weights" in refused.err


def test_without_transformers_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(dataaudit.ModelError, match=r"pip install 'dataaudit\[transformers\]'"):
        dataaudit.trace(tmp_path, pd.DataFrame({"text": ["a b"]}), pd.DataFrame({"text": ["a b"]}))

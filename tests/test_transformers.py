"""Folders that transformers saved: tokenized as the model was trained, whatever the batch."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from safetensors.torch import load_file, save_file
from torch import Tensor

from dataaudit.config import AuditConfig, ImagesConfig, ModelConfig, config_from_python
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.inputs import Loaded
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.recognise import from_path
from dataaudit.models.trained import TrainedModel, forward
from dataaudit.scoring.local import LocalEngine, joined
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.stages.coverage import truncation
from dataaudit.stages.loading import load_objects
from dataaudit.tasks import Classification

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

TEXTS = [
    "soup at seven, home by train", "win a free prize now", "home", "see you at seven",
    "free free free cash now, win the prize before seven, win it now", "soup again now",
]  # fmt: skip
LABELS = ["ham", "spam", "ham", "ham", "spam", "ham"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def tokenizer(**tokens: str) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(TEXTS, trainers.WordLevelTrainer(special_tokens=SPECIAL))
    if "cls_token" in tokens:
        made.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", **tokens)


NAMES = {"id2label": {0: "ham", 1: "spam"}, "label2id": {"ham": 0, "spam": 1}}


def bert(**settings: Any) -> tuple[Any, Any]:
    from transformers import BertConfig, BertForSequenceClassification

    words = tokenizer(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=32, **{**NAMES, **settings},
    )  # fmt: skip
    return BertForSequenceClassification(config).eval(), words


def gpt2(side: str = "right") -> tuple[Any, Any]:
    """A model that finds the last token by itself, and a tokenizer without padding."""
    from transformers import GPT2Config, GPT2ForSequenceClassification

    words = tokenizer(eos_token="[SEP]", padding_side=side)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(words), n_embd=16, n_layer=1, n_head=2, n_positions=32, bos_token_id=3,
        eos_token_id=3, **NAMES,
    )  # fmt: skip
    return GPT2ForSequenceClassification(config).eval(), words


def saved(folder: Path, model: Any, words: Any) -> Path:
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def opened(folder: Path, **settings: Any) -> ModelAdapter:
    return from_path(folder, ModelConfig(path=folder, **settings), ImagesConfig())


def messages(**columns: Any) -> Samples:
    frame = pd.DataFrame({"text": TEXTS, "label": LABELS, **columns})
    return samples_from_object(frame, ReadSettings("train", "label", classes=["ham", "spam"]))


def outputs(model: TrainedModel, samples: Samples, positions: list[int]) -> Tensor:
    batch = samples.take(positions)
    with torch.inference_mode():
        return forward(model.module, model.inputs(batch, samples))


@pytest.mark.parametrize("make", [bert, gpt2, lambda: gpt2("left")])
def test_outputs_are_the_models_own_alone_or_in_any_batch(tmp_path: Path, make: Any) -> None:
    model, words = make()
    samples = messages()
    trained = opened(saved(tmp_path / "model", model, words)).trained(samples, None, 0)
    everything = list(range(len(TEXTS)))
    for position, text in enumerate(TEXTS):
        with torch.inference_mode():
            expected = model(**words(text, return_tensors="pt")).logits
        for batch in ([position], everything, everything[::-1]):
            found = outputs(trained, samples, batch)[batch.index(position)]
            torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [bert, gpt2])
def test_scores_and_features_do_not_depend_on_the_batch_size(tmp_path: Path, make: Any) -> None:
    samples = messages()
    trained = opened(saved(tmp_path / "model", *make())).trained(samples, None, 0)
    whole, single = (
        joined(list(LocalEngine(size).score(trained, Classification(2), samples, [UNPERTURBED])))
        for size in (6, 1)
    )
    np.testing.assert_allclose(whole.losses, single.losses, rtol=1e-4)
    np.testing.assert_allclose(whole.features, single.features, rtol=1e-2, atol=1e-3)


def test_a_model_that_sees_padding_gets_the_same_amount_always(tmp_path: Path) -> None:
    from dataaudit.models.text_inputs import TextInputs, padding_that_changes_nothing

    class Mean(torch.nn.Module):
        def forward(self, input_ids: Tensor, **ignored: Tensor) -> Tensor:
            return input_ids.float().mean(dim=1, keepdim=True)

    samples = messages()
    inputs = TextInputs(bert()[1], ("text",), 24)
    chosen = padding_that_changes_nothing(Mean(), inputs, samples.take(range(len(samples))).frame)
    assert chosen.to_full_length
    assert chosen(samples.take([0]).frame)["input_ids"].shape == (1, 24)


def test_long_texts_are_cut_off_and_the_report_says_so(tmp_path: Path) -> None:
    samples = messages()
    folder = saved(tmp_path / "model", *bert())
    trained = opened(folder, max_length=8).trained(samples, None, 0)
    inputs = trained.inputs(samples.take([0, 4]), samples)
    assert isinstance(inputs, dict)
    assert inputs["input_ids"].shape == (2, 8)
    # The beginning and the end mark stay: what is cut is the text between them.
    assert inputs["input_ids"][:, 0].tolist() == [2, 2]
    assert inputs["input_ids"][1, -1] == 3
    assert trained.note == (
        "The model sees the first 8 tokens of a text; 2 of 6 training rows looked at are longer, "
        "and are judged by their beginning."
    )
    assert "texts in text cut off after 8 tokens, padded on the right" in trained.description
    suspects = replace(samples, role="suspects")
    loaded = SimpleNamespace(model=trained, train=samples, held_out=None, suspects=suspects)
    assert truncation(cast(Loaded, loaded)) == (
        "texts cut off after 8 tokens: 2 of 6 training rows, 2 of 6 suspects"
    )
    assert opened(folder).trained(samples, None, 0).note == ""
    with pytest.raises(ConfigError, match=r"model\.max_length: found 40, the model takes 32"):
        opened(folder, max_length=40)


def test_pairs_of_sentences_go_together(tmp_path: Path) -> None:
    model, words = bert()
    samples = messages(answer=TEXTS[::-1])
    adapter = opened(saved(tmp_path / "model", model, words), text=["text", "answer"])
    found = outputs(adapter.trained(samples, None, 0), samples, [0, 1])
    with torch.inference_mode():
        expected = model(**words(TEXTS[1], TEXTS[-2], return_tensors="pt")).logits
    torch.testing.assert_close(found[1:], expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(
        ConfigError, match=r"model\.text: train \(DataFrame\) has no column nothing"
    ):
        opened(tmp_path / "model", text="nothing").trained(samples, None, 0)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        (LABELS, {0: "ham", 1: "spam"}, [0, 1, 0, 0, 1, 0]),
        (LABELS, {0: "spam", 1: "ham"}, [1, 0, 1, 1, 0, 1]),
        ([0, 1, 0, 0, 1, 0], {0: "spam", 1: "ham"}, [0, 1, 0, 0, 1, 0]),
        ([1, 2, 1, 1, 2, 1], {0: "1", 1: "2"}, [0, 1, 0, 0, 1, 0]),
        ([0, 1, 0, 0, 1, 0], {0: "LABEL_0", 1: "LABEL_1"}, [0, 1, 0, 0, 1, 0]),
    ],
)
def test_class_names_come_from_the_model(labels: Any, names: Any, expected: list[int]) -> None:
    model, words = bert(id2label=names, label2id={name: key for key, name in names.items()})
    frame = pd.DataFrame({"text": TEXTS, "label": labels})
    # The very training rows would not be trusted.
    other = frame.assign(text=frame["text"] + " again")
    splits: Any = {"train": frame, "held_out": other}
    loaded = load_objects(model, splits, words, config())
    for samples in (loaded.train, loaded.held_out):
        assert samples is not None
        assert samples.labels.tolist() == expected
    unnamed = next(iter(names.values())).startswith("LABEL")
    assert list(loaded.train.classes) == ([0, 1] if unnamed else list(names.values()))


def config() -> AuditConfig:
    return config_from_python("label", None, {})


def test_a_missing_text_is_one_bad_row(tmp_path: Path) -> None:
    model, words = bert()
    frame = pd.DataFrame({"text": [*TEXTS, None], "label": [*LABELS, "ham"]})
    with pytest.raises(DataError, match="row 6: the text in column 'text' is missing"):
        load_objects(model, {"train": frame}, words, config())


def test_folders_that_are_no_classifier_are_refused(tmp_path: Path) -> None:
    model, words = bert()
    whole = saved(tmp_path / "whole", model, words)

    def broken(name: str, **changes: Any) -> Path:
        folder = shutil.copytree(whole, tmp_path / name)
        settings = json.loads((folder / "config.json").read_text()) | changes
        (folder / "config.json").write_text(json.dumps(settings))
        return Path(folder)

    cases = {
        broken("base", architectures=["BertModel"]): "holds BertModel; expected an architecture",
        broken("bits", quantization_config={"quant_method": "gptq"}): "the model is quantised",
        broken("many", problem_type="multi_label_classification"): "its problem_type is multi",
        broken("kind", model_type="no such model"): "cannot be loaded: ValueError",
        broken("null", architectures=[None]): "holds None; expected an architecture",
        broken("fetched", attn_implementation="evil/kernel"): "found 'evil/kernel', expected one",
        broken("inner", text_config={"_attn_implementation": "e/k"}): "found 'e/k', expected one",
        broken("wide", id2label={str(i): str(i) for i in range(5)}): (
            r"weights of classifier\.bias, classifier\.weight are missing"
        ),
    }
    headless = broken("headless")
    state = load_file(headless / "model.safetensors")
    del state["classifier.weight"]
    save_file(state, headless / "model.safetensors", metadata={"format": "pt"})
    cases[headless] = r"weights of classifier\.weight are missing.*random ones would stand in"
    pickled = broken("pickled")
    (pickled / "model.safetensors").unlink()
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    cases[pickled] = "cannot be loaded: OSError: .*safetensors"
    for folder, reason in cases.items():
        with pytest.raises(ModelError, match=rf"model\.path: .*{folder.name}: .*{reason}"):
            opened(folder)


def test_language_models_are_read_by_the_same_rules(tmp_path: Path) -> None:
    from transformers import GPT2LMHeadModel

    from dataaudit.studies.tracing.language_model_loading import load_transformers

    classifier, words = gpt2()
    model = GPT2LMHeadModel(classifier.config).eval()
    module, _ = load_transformers(saved(tmp_path / "language", model, words))
    tokens = torch.tensor([[4, 5, 6]])
    with torch.inference_mode():
        torch.testing.assert_close(module(tokens).logits, model(tokens).logits)
    with pytest.raises(ModelError, match="holds GPT2ForSequenceClassification; expected an arch"):
        load_transformers(saved(tmp_path / "classifier", classifier, words))


def test_paths_that_are_no_model_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    (tmp_path / "adapters" / "adapter_config.json").write_text("{}")
    for name, reason in {
        "adapters": "PEFT adapters without the model.*PeftModel.from_pretrained",
        "model.joblib": r"only your own code may read it; write a factory.*joblib\.load",
        "model.safetensors": r"holds weights, not a model; name it in model\.weights",
        "notes.txt": r"expected a folder with the config\.json",
    }.items():
        if name != "adapters":
            (tmp_path / name).touch()
        with pytest.raises(ConfigError, match=reason):
            opened(tmp_path / name)


def test_an_audit_needs_no_code(tmp_path: Path, command_line: CommandLine) -> None:
    saved(tmp_path / "model", *bert())
    generator = np.random.default_rng(0)
    for name in ("train", "val"):
        chosen = generator.integers(len(TEXTS), size=80)
        frame = pd.DataFrame({"text": np.array(TEXTS)[chosen], "label": np.array(LABELS)[chosen]})
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "audit.yaml").write_text(
        "model: {path: model, max_length: 16}\n"
        "train: {path: train.csv}\nheld_out: {path: val.csv}\nmirror: {steps: 5}\n"
    )
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")
    report = json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert "cut off after 16 tokens" in report["method"]["settings"]["model"]


def test_a_folder_says_what_naming_its_start_would_bring(tmp_path: Path) -> None:
    model, words = bert()
    for part in (model, words):
        part.save_pretrained(tmp_path / "tuned")
    rows = pd.DataFrame({"text": TEXTS, "label": LABELS})
    splits: dict[Any, Any] = {"train": rows, "held_out": None, "suspects": None}
    config = config_from_python("label", None, {})

    def loaded(initial: Any = None) -> TrainedModel:
        return load_objects(tmp_path / "tuned", splits, None, config, initial).model

    assert "fine-tuned from a pre-trained model. Name that in model.initial" in loaded().note
    path = tmp_path / "tuned" / "config.json"
    content = json.loads(path.read_text()) | {"_name_or_path": "maker/base"}
    path.write_text(json.dumps(content))
    assert "fine-tuned from maker/base. Name that in model.initial" in loaded().note
    from transformers import BertForMaskedLM

    torch.manual_seed(1)
    BertForMaskedLM(model.config).save_pretrained(tmp_path / "base")
    found = loaded(tmp_path / "base")
    assert found.note == ""
    assert found.initial is not None
    # A language model has neither the pooler nor the classifier.
    assert found.initial.fresh == (
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"
    )  # fmt: skip

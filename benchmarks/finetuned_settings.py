"""Settings of the benchmark of fine-tuned models: pre-trained here, on rows the audit never sees.

Images: a residual network pre-trained on other CIFAR-10 images (`strong`: 10,000 of them, `weak`:
2,500 and fewer epochs), its head renewed. Texts: a small BERT pre-trained to fill in masked
words of other messages and of plays, its head new; fine-tuned as a whole or by LoRA.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mislabel_settings import FLIPPED, Problem, ResNet, Setting, Training, images
from mislabel_training import Meter, predict, replaced, train
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

IMAGE_ROWS, OTHER_IMAGES = 4000, {"strong": 8000, "weak": 2500}
HELD_OUT_AT_MOST, EVALUATED = 1000, 1000
TEXT_ROWS, TEXT_HELD_OUT = 2000, 400
TOKENS, VOCABULARY = 40, 3000
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
HEAD_SEED = 77
"""Of the renewed head; the audit draws its own."""


def _settings() -> list[Setting]:
    found = [
        Setting(f"cifar-{origin}", "random_label", model, held_out)
        for origin, model, held_out in itertools.product(
            ("strong", "weak"), ("memorized", "early"), (1000, 200)
        )
    ]
    return found + [
        Setting("sms", "flipped", model, held_out)
        for model, held_out in itertools.product(("memorized", "early", "lora"), (400, 100))
    ]


SETTINGS = _settings()


@dataclass(frozen=True)
class Finetuned:
    """A setting's data and where its training started.

    Attributes
    ----------
    problem : Problem
        Its `training` starts from the pre-trained weights, so that rivals that train again do too.
    initial : Path
        The pre-trained weights, without the head that fine-tuning renewed.
    """

    problem: Problem
    initial: Path


def make_finetuned(setting: Setting, seed: int, data: Path, cache: Path) -> Finetuned:
    """Read a setting's data and pre-train, unless that was done before."""
    if setting.data == "sms":
        return _texts(setting, seed, data, cache)
    return _images(setting, seed, data, cache)


def _images(setting: Setting, seed: int, data: Path, cache: Path) -> Finetuned:
    rows = pd.read_parquet(data / "cifar10n_train.parquet")
    test = pd.read_parquet(data / "cifar10_test.parquet")
    order = np.random.default_rng(seed).permutation(len(test))
    test = test.iloc[order][["image", "label"]].astype({"label": np.int64})
    held_out, evaluated = test[: setting.held_out], test[HELD_OUT_AT_MOST:][:EVALUATED]
    origin = setting.data.removeprefix("cifar-")
    unseen = rows[IMAGE_ROWS:][: OTHER_IMAGES[origin]]
    others = unseen[["image"]].assign(label=unseen["clean_label"].astype(np.int64))
    if origin == "strong":
        others = pd.concat([others, test[HELD_OUT_AT_MOST + EVALUATED :]])
    initial = cache / f"{setting.data}-seed{seed}-initial.safetensors"
    if not initial.exists():
        pre_training = Training(ResNet, 30 if origin == "strong" else 12, 100, augment=True)
        labels = torch.tensor(others["label"].to_numpy())
        module = train(pre_training, images(others), labels, 1000 + seed)
        found = predict(module, images(evaluated)).argmax(dim=1).numpy()
        _note(initial, {"test_accuracy": float((found == evaluated["label"]).mean())})
        body = {n: v.contiguous() for n, v in module.state_dict().items() if "last." not in n}
        replaced(initial, lambda path: save_file(body, path))
    given = rows[:IMAGE_ROWS]
    memorized = setting.model == "memorized"
    training = Training(
        functools.partial(_renewed, ResNet, initial),
        12 if memorized else 3,
        100,
        augment=not memorized,
        learning_rate=2e-3,
    )
    problem = _problem(
        setting,
        seed,
        given[["image"]].assign(label=given[setting.labels].astype(np.int64)),
        held_out,
        evaluated,
        given["clean_label"].to_numpy(np.int64),
        images,
        CLASSES,
        training,
    )
    return Finetuned(problem, initial)


def _renewed(make: Any, initial: Path) -> nn.Module:
    """Return the model as it was before fine-tuning: pre-trained, with a head of its own."""
    module = make()
    body = load_file(initial)
    names = module.state_dict()
    module.load_state_dict({n: v for n, v in body.items() if n in names}, strict=False)
    return module


def _problem(setting: Setting, seed: int, *parts: Any) -> Problem:
    rows, held_out, evaluated, truth, preprocess, classes, training = parts
    return Problem(
        setting,
        seed,
        rows.reset_index(drop=True),
        held_out.reset_index(drop=True),
        truth,
        preprocess,
        classes,
        preprocess(rows),
        preprocess(held_out),
        (preprocess(evaluated), torch.tensor(evaluated["label"].to_numpy())),
        training,
    )


def _note(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class TextClassifier(nn.Module):
    """A small BERT for two classes; token 0 is padding."""

    def __init__(self, lora: bool = False) -> None:
        super().__init__()
        from transformers import BertForSequenceClassification

        self.bert: Any = BertForSequenceClassification(_bert_config())
        if lora:
            from peft import LoraConfig, get_peft_model

            config = LoraConfig(
                r=8,
                lora_alpha=16,
                target_modules=["query", "value"],
                modules_to_save=["classifier", "pooler"],
            )
            self.bert = get_peft_model(self.bert, config)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.bert(input_ids=tokens, attention_mask=(tokens > 0).long()).logits
        return logits


def _bert_config() -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=192,
        max_position_embeddings=TOKENS,
        num_labels=2,
    )


@dataclass(frozen=True)
class Words:
    """Turns texts into tokens: 0 padding, 1 unknown, 2 mask, 3 the beginning."""

    numbers: dict[str, int]

    @classmethod
    def of(cls, texts: list[str]) -> Words:
        counts = pd.Series(list(itertools.chain.from_iterable(map(_split, texts)))).value_counts()
        frequent = sorted(counts.index[: VOCABULARY - 4])
        return cls({word: place for place, word in enumerate(frequent, start=4)})

    def __call__(self, frame: pd.DataFrame) -> Tensor:
        result = torch.zeros(len(frame), TOKENS, dtype=torch.int64)
        for line, text in enumerate(frame["text"]):
            found = [3, *(self.numbers.get(word, 1) for word in _split(str(text))[: TOKENS - 1])]
            result[line, : len(found)] = torch.tensor(found)
        return result


def _split(text: str) -> list[str]:
    import re

    return re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", text.lower())


def _texts(setting: Setting, seed: int, data: Path, cache: Path) -> Finetuned:
    rows = pd.read_parquet(data / "sms_spam.parquet")
    truth = (rows["label"] == "spam").to_numpy(dtype=np.int64)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(rows))
    bounds = np.cumsum([TEXT_ROWS, TEXT_HELD_OUT, EVALUATED])
    learned, held_out, evaluated, others = np.split(order, bounds)
    held_out = held_out[: setting.held_out]
    flipped = generator.random(len(learned)) < FLIPPED
    given = np.where(flipped, 1 - truth[learned], truth[learned])
    plays = (data / "tinyshakespeare.txt").read_text(encoding="utf-8").split("\n\n")
    unseen = pd.DataFrame({"text": [*rows["text"].iloc[others], *plays]})
    preprocess = Words.of(unseen["text"].tolist())
    initial = cache / f"sms-seed{seed}-initial.safetensors"
    if not initial.exists():
        body = _masked_language_model(preprocess(unseen), seed)
        replaced(initial, lambda path: save_file(body, path))
    lora = setting.model == "lora"
    make = functools.partial(_renewed_text, initial, lora)
    epochs = {"memorized": 15, "early": 3, "lora": 15}[setting.model]
    problem = _problem(
        setting,
        seed,
        rows[["text"]].iloc[learned].assign(label=given),
        rows[["text"]].iloc[held_out].assign(label=truth[held_out]),
        rows[["text"]].iloc[evaluated].assign(label=truth[evaluated]),
        truth[learned],
        preprocess,
        ["ham", "spam"],
        Training(make, epochs, 32, learning_rate=3e-3 if lora else 1e-3),
    )
    return Finetuned(problem, initial)


def _renewed_text(initial: Path, lora: bool) -> nn.Module:
    classifier = TextClassifier(lora)
    base = classifier.bert.get_base_model() if lora else classifier.bert
    inner = {name.replace(".base_layer.", "."): name for name in base.state_dict()}
    body = {n.removeprefix("bert."): v for n, v in load_file(initial).items()}
    base.load_state_dict({inner[n]: v for n, v in body.items() if n in inner}, strict=False)
    return classifier


def _masked_language_model(tokens: Tensor, seed: int) -> dict[str, Tensor]:
    """Pre-train to fill in masked words; return the encoder's weights, as TextClassifier's."""
    from transformers import BertForMaskedLM

    with torch.random.fork_rng():
        torch.manual_seed(1000 + seed)
        model: Any = BertForMaskedLM(_bert_config())
        steps, batch_size = 2500, 64
        optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
        model.train()
        per_pass = math.ceil(len(tokens) / batch_size)
        for step in range(steps):
            if step % per_pass == 0:
                order = torch.randperm(len(tokens))
            batch = tokens[order[step % per_pass * batch_size :][:batch_size]]
            hidden = (torch.rand(batch.shape) < 0.15) & (batch > 3)
            seen = torch.where(hidden, torch.full_like(batch, 2), batch)
            logits = model(input_ids=seen, attention_mask=(batch > 0).long()).logits
            loss = functional.cross_entropy(logits[hidden], batch[hidden])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    state = model.bert.state_dict()
    return {f"bert.bert.{name}": value.contiguous() for name, value in state.items()}


def finetuned_model(finetuned: Finetuned, cache: Path) -> nn.Module:
    """Return the setting's fine-tuned model, from the cache where it is there."""
    problem = finetuned.problem
    assert problem.training is not None
    path = cache / f"{problem.setting.model_name}-seed{problem.seed}.safetensors"
    if path.exists():
        module = problem.training.make()
        module.load_state_dict(load_file(path))
        return module.eval()
    with Meter() as meter:
        labels = torch.tensor(problem.labels)
        module = train(problem.training, problem.inputs, labels, problem.seed, meter)
    right = predict(module, problem.inputs).argmax(dim=1) == labels
    outputs = predict(module, problem.evaluated[0]).argmax(dim=1)
    described = {
        "train_accuracy": float(right.double().mean()),
        "test_accuracy": float((outputs == problem.evaluated[1]).double().mean()),
        "forward_passes": meter.cost.forward_passes,
        "seconds": meter.cost.seconds,
    }
    _note(path, described)
    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    replaced(path, lambda target: save_file(tensors, target))
    return module

"""Token classifiers that transformers saved: one output for each word, whatever its tokens."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine

from dataaudit.config import config_from_python
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.inputs import Loaded
from dataaudit.models.trained import forward
from dataaudit.stages.loading import load_objects

pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

CLASSES = ["O", "PER", "LOC"]
ROWS = [
    (["Ada", "left", "Turin"], ["PER", "O", "LOC"]),
    (["snow", "in", "Lima", "and", "Oslo"], ["O", "O", "LOC", "O", "LOC"]),
    (["Emil"], ["PER"]),
    (["Dora", "met", "Clara", "in", "Bern"], ["PER", "O", "PER", "O", "LOC"]),
]


def pieces(side: str = "right") -> Any:
    """Return a tokenizer that cuts every word into its letters."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = sorted({letter for words, _ in ROWS for word in words for letter in word})
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{one}" for one in letters)]
    vocabulary = {token: place for place, token in enumerate(known)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", padding_side=side
    )


def tagger(tokens: int = 64, kind: str = "BertForTokenClassification") -> Any:
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(pieces()), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=tokens,
        id2label=dict(enumerate(CLASSES)), label2id={n: i for i, n in enumerate(CLASSES)},
    )  # fmt: skip
    return getattr(transformers, kind)(config).eval()


def table() -> pd.DataFrame:
    return pd.DataFrame({"words": [row[0] for row in ROWS], "tags": [row[1] for row in ROWS]})


def loaded(model: Any, frame: pd.DataFrame, words: Any = None, **settings: Any) -> Loaded:
    config = config_from_python("tags", None, {"task": "token-classification", **settings})
    splits = {"train": frame, "held_out": None, "suspects": None}
    return load_objects(model, splits, words or pieces(), config)


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_first_token_of_a_word_speaks_for_it(side: str) -> None:
    model, words = tagger(), pieces(side)
    found = loaded(model, table(), words)
    assert list(found.train.classes) == CLASSES
    batch = found.train.take(range(4))
    outputs = forward(found.model.module, found.model.inputs(batch, found.train))
    assert tuple(outputs.shape) == (4, 5, 3)
    losses = found.task.losses(outputs, torch.tensor(batch.labels))
    for row, (own, tags) in enumerate(ROWS):
        tokens = words([" ".join(own)], return_tensors="pt", padding=False)
        with torch.inference_mode():
            logits = model(**tokens).logits[0]
        # Every word is as many tokens as it has letters, after [CLS].
        first = 1 + np.cumsum([0, *map(len, own[:-1])])
        torch.testing.assert_close(outputs[row, : len(own)], logits[first], rtol=1e-4, atol=1e-5)
        labels = torch.tensor([CLASSES.index(tag) for tag in tags])
        expected = torch.nn.functional.cross_entropy(logits[first], labels)
        torch.testing.assert_close(losses[row], expected, rtol=1e-4, atol=1e-5)


def test_an_audit_of_tags_needs_no_code(tmp_path: Path, command_line: CommandLine) -> None:
    tagger().save_pretrained(tmp_path / "model")
    pieces().save_pretrained(tmp_path / "model")
    for name in ("train", "trusted"):
        pd.concat([table()] * 15).to_parquet(tmp_path / f"{name}.parquet", index=False)
    (tmp_path / "audit.yaml").write_text(
        "task: token-classification\nmodel: {path: model}\nmirror: {steps: 5}\n"
        "train: {path: train.parquet, label: tags}\n"
        "held_out: {path: trusted.parquet, label: tags}\n"
    )
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")
    found = pd.read_parquet(tmp_path / "audit" / "mislabels.parquet")
    assert found["given_label"].tolist()[:2] == ["PER O LOC", "O O LOC O LOC"]
    assert "the first token of each word in words" in (tmp_path / "audit/audit.json").read_text()


def test_words_that_a_model_cannot_tag_are_refused() -> None:
    long = pd.concat([table(), pd.DataFrame({"words": [["Oslo"] * 9], "tags": [["LOC"] * 9]})],
                     ignore_index=True)  # fmt: skip
    with pytest.raises(DataError, match="row 4: column 'words' gives more than 30 tokens; split"):
        loaded(tagger(tokens=30), long)
    found = loaded(tagger(tokens=30), long, bad_rows={"largest_share": 0.5})
    assert found.set_aside["train"].positions.tolist() == [4]
    assert "more than 30 tokens" in found.set_aside["train"].reasons[0]
    empty = table().assign(words=[["Ada", "", "Oslo"], *table()["words"][1:]])
    with pytest.raises(DataError, match="row 0: the tokenizer makes nothing of word 2, ''"):
        loaded(tagger(), empty)
    with pytest.raises(ConfigError, match=r"model\.text: needed, because"):
        loaded(tagger(), table().drop(columns="words").assign(number=1))


def test_a_model_for_another_task_is_refused() -> None:
    texts = tagger(kind="BertForSequenceClassification")
    with pytest.raises(ModelError, match="ends in ForTokenClassification for task token-classif"):
        loaded(texts, table())
    frame = pd.DataFrame({"text": ["a b", "c d"] * 5, "label": CLASSES[:2] * 5})
    with pytest.raises(ModelError, match="ends in ForSequenceClassification for task classificat"):
        load_objects(tagger(), {"train": frame}, pieces(), config_from_python("label", None, {}))

"""Classifiers of texts or tokens that transformers saved: model, tokenizer and class names.

Nothing is fetched, no code from the folder is run, and weights are read from safetensors only.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dataaudit.datasets.answer_pairs import ANSWER
from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.text_inputs import TextInputs, padding_that_changes_nothing
from dataaudit.models.torch_module import described, mirrorable
from dataaudit.models.trained import Preprocess, TrainedModel
from dataaudit.models.transformers_folder import load_folder
from dataaudit.models.word_inputs import WordInputs, WordTagger

TEXTS, TOKENS = "ForSequenceClassification", "ForTokenClassification"
LANGUAGE_MODELS = ("ForCausalLM", "LMHeadModel")
MOST_TOKENS = 512
"""Where nothing else is said, longer texts are cut off."""
_ROWS_TRIED = 64
_ROWS_MEASURED = 2048


@dataclass(frozen=True)
class TransformersModel:
    """A sequence or token classifier and its tokenizer.

    Attributes
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    columns : list of str or None
        The column of text, or the two of a pair; None takes the only one there is.
    max_length : int
        Tokens of the longest input; what is longer is cut off.
    origin : str
        What the model was probably fine-tuned from, in words.
    """

    model: Any
    tokenizer: Any
    columns: Sequence[str] | None
    max_length: int
    origin: str = "a pre-trained model"

    label_values: None = None

    @classmethod
    def load(
        cls, folder: Path, columns: Sequence[str] | None, max_length: int | None
    ) -> TransformersModel:
        """Load what `save_pretrained` wrote into a folder.

        Raises
        ------
        ConfigError, ModelError
            It is no classifier of texts or tokens, lacks trained weights or a tokenizer, is
            quantised, or takes fewer tokens than asked for.
        """
        where = f"model.path: {folder}"
        model, tokenizer = load_folder(folder, _kind(folder), where)
        problem = getattr(model.config, "problem_type", None)
        if problem not in (None, "single_label_classification"):
            raise ModelError(
                f"{where}: its problem_type is {problem}; expected a classifier with one class "
                "for each text"
            )
        found = cls.of(model, tokenizer, columns, max_length)
        named = _config_of(folder).get("_name_or_path")
        return replace(found, origin=named) if isinstance(named, str) and named else found

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        columns: Sequence[str] | None = None,
        max_length: int | None = None,
    ) -> TransformersModel:
        """Join a model with its tokenizer, and agree on the token that pads.

        Raises
        ------
        ConfigError, ModelError
            There is no token to pad with, or the model takes fewer tokens than asked for.
        """
        if tokenizer.pad_token_id is None:
            # GPT-2 has none. Any will do, because the mask hides it; this is the usual one.
            stand_in = tokenizer.eos_token or tokenizer.unk_token
            if stand_in is None:
                raise ModelError(
                    "the tokenizer has no padding token, and no end or unknown token to stand in "
                    "for it; set tokenizer.pad_token and save it again"
                )
            tokenizer = copy.deepcopy(tokenizer)
            tokenizer.pad_token = stand_in
        if model.config.pad_token_id != tokenizer.pad_token_id:
            # Such models find the last token of a text by what is no padding.
            model = copy.deepcopy(model)
            model.config.pad_token_id = tokenizer.pad_token_id
        return cls(model, tokenizer, columns, most_tokens(model.config, tokenizer, max_length))

    @property
    def class_names(self) -> list[str] | None:
        """The names in `id2label`, or None where they are the LABEL_0, … of a fresh model."""
        names = self.model.config.id2label
        ordered = [str(names[index]) for index in sorted(names)]
        unnamed = [f"LABEL_{index}" for index in range(len(ordered))]
        return None if ordered == unnamed or len(ordered) < 2 else ordered

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model; see `ModelAdapter`."""
        tags_tokens = type(self.model).__name__.endswith(TOKENS)
        if train.kind.per_word != tags_tokens:
            expected = TOKENS if train.kind.per_word else TEXTS
            raise ModelError(
                f"the model is a {type(self.model).__name__}; expected one that ends in {expected} "
                f"for task {train.task}"
            )
        if tags_tokens and preprocess is None:
            return self._word_tagger(train)
        module, note = mirrorable(self.model)
        if preprocess is not None:
            return TrainedModel(module, preprocess, described(module), note)
        columns = self._columns(train)
        inputs = TextInputs(self.tokenizer, tuple(columns), self.max_length)
        inputs = padding_that_changes_nothing(module, inputs, _some_rows(train))
        notes = [note, _about_cut_texts(inputs, train)]
        return TrainedModel(
            module,
            inputs,
            f"{described(module)}; texts in {', '.join(columns)} cut off after {self.max_length} "
            f"tokens, {inputs.about_padding}; tokenizer sha256 {_sha256_of(self.tokenizer)}",
            " ".join(filter(None, notes)),
        )

    def _columns(self, train: Samples) -> list[str]:
        columns = list(self.columns or _only_text(train))
        missing = [name for name in columns if name not in train.take([0]).frame.columns]
        if missing:
            raise ConfigError(
                f"model.text: {train.source.description} has no column {', '.join(missing)}"
            )
        return columns

    def _word_tagger(self, train: Samples) -> TrainedModel:
        """Return the model with an output for each word."""
        columns = self._columns(train)
        if len(columns) != 1:
            raise ConfigError(
                f"model.text: found {len(columns)} columns, expected that of the words"
            )
        if not self.tokenizer.is_fast:
            raise ModelError(
                "the tokenizer cannot tell which word a token is of; expected a fast one, as "
                "AutoTokenizer loads from a tokenizer.json"
            )
        module, note = mirrorable(WordTagger(self.model))
        inputs = WordInputs(self.tokenizer, tuple(columns), self.max_length)
        frame = _some_rows(train)
        short_enough = inputs.lengths(frame) <= self.max_length
        if short_enough.any():
            # The others are refused where they are reached, or set aside.
            frame = frame[short_enough]
        inputs = padding_that_changes_nothing(module, inputs, frame)
        return TrainedModel(
            module,
            inputs,
            f"{described(self.model)}; the first token of each word in {columns[0]}, "
            f"{inputs.about_padding}; tokenizer sha256 {_sha256_of(self.tokenizer)}",
            note,
        )


def holds_language_model(folder: Path) -> bool:
    """Tell whether a folder's model predicts the next token."""
    named = _config_of(folder).get("architectures") or []
    return any(str(name).endswith(LANGUAGE_MODELS) for name in named)


def _kind(folder: Path) -> str:
    """Return what the folder's model is for; of one that is for neither, texts."""
    named = _config_of(folder).get("architectures") or []
    return TOKENS if any(str(name).endswith(TOKENS) for name in named) else TEXTS


def _config_of(folder: Path) -> dict[str, Any]:
    """Return what config.json says, or nothing where it cannot be read."""
    try:
        content = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        # The loader says what is wrong with the folder.
        content = None
    return content if isinstance(content, dict) else {}


def most_tokens(config: Any, tokenizer: Any, asked: int | None) -> int:
    """Return after how many tokens a text is cut off.

    Raises
    ------
    ConfigError
        The model takes fewer than asked for.
    """
    limit = _limit(config, tokenizer)
    if asked is not None and asked > limit:
        raise ConfigError(f"model.max_length: found {asked}, the model takes {limit}")
    return asked or min(limit, MOST_TOKENS)


def _limit(config: Any, tokenizer: Any) -> int:
    """Return how many tokens the model takes; some state it twice, some not at all."""
    names = ("max_position_embeddings", "n_positions")
    stated = [getattr(config, name, None) for name in names]
    limits = [value for value in stated if isinstance(value, int) and value > 0]
    return int(min([*limits, tokenizer.model_max_length]))


def _some_rows(train: Samples) -> pd.DataFrame:
    return train.take(range(min(_ROWS_TRIED, len(train)))).frame


def _only_text(train: Samples) -> list[str]:
    if train.answers is not None and train.answers.prompt is not None:
        return [train.answers.prompt, ANSWER]
    if train.modality != "text" or train.content_column is None:
        columns = ", ".join(map(repr, train.take([0]).frame.columns))
        raise ConfigError(
            f"model.text: needed, because {train.source.description} has no column that is "
            f"plainly the text, or more than one; the columns are {columns}"
        )
    return [train.content_column]


def _about_cut_texts(inputs: TextInputs, train: Samples) -> str:
    positions = spread(len(train), _ROWS_MEASURED)
    lengths = inputs.lengths(train.take(positions).frame)
    cut = int((lengths > inputs.max_length).sum())
    if not cut:
        return ""
    return (
        f"The model sees the first {inputs.max_length} tokens of a text; {cut:,} of "
        f"{len(positions):,} training rows looked at are longer, and are judged by their beginning."
    )


def _sha256_of(tokenizer: Any) -> str:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    whole = backend.to_str() if backend is not None else json.dumps(tokenizer.get_vocab())
    return hashlib.sha256(whole.encode()).hexdigest()[:16]

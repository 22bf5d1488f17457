"""Causal language models: a local transformers folder, or a module of the user's own."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from dataaudit.config import AuditConfig, DataConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, ModelError
from dataaudit.mirror.finite import Direction, FiniteSettings
from dataaudit.models.tokens import (
    CONTEXT_NAMES,
    most_at_once,
    transformers_tokenize,
    user_tokenize,
)
from dataaudit.models.torch_module import described, mirrorable
from dataaudit.models.trained import TrainedModel
from dataaudit.stages.loading import device_of
from dataaudit.studies.tracing.language_models import Columns, LanguageModelTracer

DIRECTION: Direction = "unlearn"
STEPS, LEARNING_RATE, LOSS_CHANGE = 60, 2e-3, 1.0


def language_model(
    config: AuditConfig, built: nn.Module | None, preprocess: Any, _train: Samples
) -> LanguageModelTracer:
    """Return the model of task `causal-lm`, its settings and its tokenizer.

    Parameters
    ----------
    config : AuditConfig
    built : torch.nn.Module or None
        None: the model and the tokenizer are those of `model.path`.
    preprocess : callable or None
        For `built`: from a data frame to token ids; see `user_tokenize`.

    Raises
    ------
    ConfigError, ModelError
        Something is missing, or the folder cannot be loaded.
    """
    columns = Columns(config.train.text, unseen_text=_named_text(config.held_out))
    if config.suspects is not None:
        columns = replace(
            columns,
            prompt=config.suspects.prompt,
            completion=config.suspects.completion,
            query_text=_named_text(config.suspects),
        )
    if built is None:
        if preprocess is not None:
            raise ConfigError("preprocess: not with model.path, which has its own tokenizer")
        assert config.trained_model.path is not None
        module, tokenizer = load_transformers(config.trained_model.path)
        module = module.to(device_of(config.device))
        tokenize = transformers_tokenize(tokenizer)
    elif preprocess is None:
        raise ConfigError(
            "preprocess: needed for language models that are no transformers folder: a function "
            f"from a data frame with the column {columns.text!r} to token ids"
        )
    else:
        module, tokenize = built, user_tokenize(preprocess, columns.text)
    module, note = mirrorable(module)
    settings = FiniteSettings(
        direction=config.trace.direction or DIRECTION,
        steps=config.trace.steps or STEPS,
        learning_rate=config.trace.learning_rate or LEARNING_RATE,
        seed=config.mirror.seed,
    )
    return LanguageModelTracer(
        TrainedModel(module, preprocess, described(module), note),
        tokenize,
        columns,
        config.trace.context or _context(module),
        settings,
        config.trace.loss_change or LOSS_CHANGE,
    )


def _named_text(split: DataConfig | None) -> str | None:
    """Return the column of texts that a split names for itself."""
    return split.text if split is not None and "text" in split.model_fields_set else None


def load_transformers(folder: Path) -> tuple[nn.Module, Any]:
    """Load a causal language model and its tokenizer from a local folder.

    Nothing is fetched, nothing is unpickled (safetensors only), no code in the folder is run.

    Raises
    ------
    ModelError
        transformers is not installed, or the folder cannot be loaded.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ModelError(
            "model.path: transformers is not installed; install it with "
            "pip install 'dataaudit[transformers]'"
        )
    from dataaudit.models.transformers import LANGUAGE_MODELS
    from dataaudit.models.transformers_folder import load_folder

    if not (folder / "config.json").is_file():
        raise ModelError(
            f"model.path: {folder}: there is no config.json; expected a transformers folder, "
            "as save_pretrained writes it"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"model.path: {folder}: there are no .safetensors weights; other kinds are not "
            "loaded, because loading them could run code"
        )
    kind, *also = LANGUAGE_MODELS
    module, tokenizer = load_folder(folder, kind, f"model.path: {folder}", also=tuple(also))
    return module.float(), tokenizer


def _context(module: nn.Module) -> int:
    found = most_at_once(module)
    if found is None:
        raise ConfigError(
            "trace.context: needed, because the model does not say how many tokens it takes at "
            f"once (none of {', '.join(CONTEXT_NAMES)})"
        )
    return found

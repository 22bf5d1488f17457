"""What kind of model this is: told from what a factory returned, or from what lies at a path.

There is no key for the kind. A returned object knows its type, and the files of a kind have
names of their own; a key could only repeat that, or contradict it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dataaudit.config import ImagesConfig, ModelConfig
from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.loading import (
    build,
    load_function,
    load_weights,
    refuse_half_made,
)
from dataaudit.models.torch_module import TorchModel

_PICKLES = (".joblib", ".pkl", ".pickle", ".skops")
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")


def from_config(settings: ModelConfig, images: ImagesConfig, folder: Path) -> ModelAdapter:
    """Open what `model` in `audit.yaml` names.

    Parameters
    ----------
    settings : ModelConfig
    images : ImagesConfig
    folder : Path
        Where the user's own module is looked for first.

    Raises
    ------
    ConfigError, ModelError
        It is of no known kind, cannot be loaded, or needs a package that is not installed.
    """
    if settings.path is not None:
        return from_path(settings.path, settings, images)
    return from_object(build_model(settings, folder), images)


def build_model(settings: ModelConfig, folder: Path) -> Any:
    """Call the user's factory, and load the weights into what it returns.

    Raises
    ------
    ConfigError, ModelError
        There is no such factory, it fails, or the weights do not fit.
    """
    assert settings.factory is not None
    built = build(load_function(settings.factory, folder, "model.factory"), settings.factory)
    if settings.weights is not None:
        if not isinstance(built, nn.Module):
            raise ConfigError(
                f"model.weights: {settings.factory} returned {type(built).__name__}; weights "
                "are loaded into torch modules only, so let the factory return the fitted estimator"
            )
        load_weights(built, settings.weights)
    return built


def from_object(built: Any, images: ImagesConfig, tokenizer: Any = None) -> ModelAdapter:
    """Return the adapter of an object: a module, an exported program, an estimator, or a path.

    Parameters
    ----------
    built : torch.nn.Module, torch.export.ExportedProgram, fitted estimator, str or Path
    images : ImagesConfig
    tokenizer : transformers tokenizer or None
        Of a module of transformers.

    Raises
    ------
    ConfigError, ModelError
        As `from_config`.
    """
    if tokenizer is not None:
        from dataaudit.models.implicit_reward import LanguageModel
        from dataaudit.models.transformers import LANGUAGE_MODELS, TransformersModel

        if type(built).__name__.endswith(LANGUAGE_MODELS):
            return LanguageModel.of(built, tokenizer)
        return TransformersModel.of(built, tokenizer)
    if isinstance(built, nn.Module):
        refuse_half_made(built)
        return TorchModel(built, images)
    if isinstance(built, torch.export.ExportedProgram):
        from dataaudit.models.exported import module_of

        return TorchModel(module_of(built, "the exported program"), images)
    if is_estimator(built):
        from dataaudit.models.estimator_model import EstimatorModel

        return EstimatorModel(built)
    if isinstance(built, str | Path):
        return from_path(Path(built), ModelConfig(path=Path(built)), images)
    raise ModelError(
        f"the model is a {type(built).__name__}; expected a torch.nn.Module, a torch.export "
        "program, a fitted scikit-learn estimator, or the path of a folder that transformers saved"
    )


def is_estimator(candidate: object) -> bool:
    """Tell whether `candidate` is a scikit-learn estimator, without importing scikit-learn."""
    return hasattr(candidate, "get_params") and hasattr(candidate, "predict")


def is_tokenizer(candidate: object) -> bool:
    """Tell whether `candidate` is a tokenizer of transformers, without importing that."""
    return hasattr(candidate, "model_input_names") and hasattr(candidate, "pad_token_id")


def from_path(path: Path, settings: ModelConfig, images: ImagesConfig) -> ModelAdapter:
    """Return the adapter of what lies at a path.

    Raises
    ------
    ConfigError, ModelError
        As `from_config`.
    """
    if not path.exists():
        raise ModelError(f"model.path: {path}: there is no such file or folder")
    if (path / "config.json").is_file():
        if importlib.util.find_spec("transformers") is None:
            raise ConfigError(
                f"model.path: {path}: transformers is not installed; "
                "pip install 'dataaudit[transformers]'"
            )
        from dataaudit.models.implicit_reward import LanguageModel
        from dataaudit.models.transformers import TransformersModel, holds_language_model

        if holds_language_model(path):
            return LanguageModel.load(path, settings.text, settings.max_length)
        return TransformersModel.load(path, settings.text, settings.max_length)
    if path.suffix.lower() == ".pt2":
        from dataaudit.models.exported import load_program

        return TorchModel(load_program(path, trusted=settings.trusted), images)
    raise ConfigError(f"model.path: {path}: {_not_a_model(path)}")


def _not_a_model(path: Path) -> str:
    if (path / "adapter_config.json").is_file():
        return (
            "holds PEFT adapters without the model they were added to; write a factory that "
            "returns PeftModel.from_pretrained(model, folder), and set mirror.parameters: adapters"
        )
    ending = path.suffix.lower()
    if ending in _PICKLES:
        return (
            "a pickled estimator runs code when it is read, so only your own code may read it; "
            "write a factory, for example `def build(): return joblib.load('model.joblib')`, and "
            "name it in model.factory"
        )
    if ending in _WEIGHTS:
        return (
            "holds weights, not a model; name it in model.weights, beside a model.factory that "
            "returns the module"
        )
    return (
        "expected a folder with the config.json that transformers saves, or a torch.export "
        "program (.pt2)"
    )

"""Folders that transformers saved: read without fetching, unpickling or running anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import constants
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer
from transformers.utils import logging

from dataaudit.errors import ModelError

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
ATTENTIONS = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
"""The names that transformers has for attention of its own."""


def load_folder(folder: Path, kind: str, where: str, also: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """Load model and tokenizer that `save_pretrained` wrote.

    Parameters
    ----------
    folder : Path
    kind : str
        What the architecture in its config.json ends in: "ForSequenceClassification".
    where : str
        The key and the folder, for errors.
    also : tuple of str
        Other endings of the same kind: GPT-2's language model is a GPT2LMHeadModel.

    Returns
    -------
    transformers.PreTrainedModel, in eval mode, and transformers.PreTrainedTokenizerBase

    Raises
    ------
    ModelError
        It is of another kind, is quantised, lacks trained weights or a tokenizer, is damaged, or
        needs code of its own or weights that are pickled.
    """
    _refuse_fetched_code(folder, where)
    with _loading(where):
        config = AutoConfig.from_pretrained(folder, **LOCAL)
    found = [str(name) for name in config.architectures or ["a model without a head"]]
    if not any(name.endswith((kind, *also)) for name in found):
        raise ModelError(
            f"{where}: holds {', '.join(found)}; expected an architecture that ends in {kind}"
        )
    if getattr(config, "quantization_config", None) is not None:
        raise ModelError(
            f"{where}: the model is quantised: its weights cannot take small steps, so nothing "
            "can be mirrored; audit with the model as it was before it was quantised"
        )
    with _loading(where):
        tokenizer = AutoTokenizer.from_pretrained(folder, **LOCAL)
        model, loading = getattr(transformers, f"AutoModel{kind}").from_pretrained(
            folder,
            config=config,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **LOCAL,
        )
    _refuse_random_weights(loading, where)
    return model.eval(), tokenizer


def load_weights_of(folder: Path, where: str) -> dict[str, Tensor]:
    """Return the weights in a folder, by their names in the model that it is of.

    Whatever that model is for: the encoder is what a classifier shares with a language model.

    Raises
    ------
    ModelError
        It is damaged, or needs code of its own or weights that are pickled.
    """
    _refuse_fetched_code(folder, where)
    with _loading(where):
        config = AutoConfig.from_pretrained(folder, **LOCAL)
        (name,) = config.architectures or ["AutoModel"]
        kind = getattr(transformers, name)
        model = kind.from_pretrained(folder, config=config, use_safetensors=True, **LOCAL)
    return dict(model.state_dict())


def _refuse_fetched_code(folder: Path, where: str) -> None:
    """Refuse an attention of another name than transformers' own: it would be fetched and run."""
    try:
        content = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return  # which the reader itself explains
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            for name in ("attn_implementation", "_attn_implementation"):
                chosen = part.get(name)
                if isinstance(chosen, str) and chosen not in ATTENTIONS:
                    raise ModelError(
                        f"{where}: config.json: {name}: found {chosen[:100]!r}, expected one of "
                        f"{', '.join(ATTENTIONS)}"
                    )
        waiting += (
            part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
        )


@contextlib.contextmanager
def _loading(where: str) -> Iterator[None]:
    """Let nothing be fetched, keep bars off the terminal, and say in one message what is wrong.

    Whatever the folder's files ask for; what is wrong with them is raised.
    """
    before = constants.HF_HUB_OFFLINE
    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    constants.HF_HUB_OFFLINE = True
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except Exception as error:
        # A folder from strangers fails in as many ways as there are models.
        text = " ".join(str(error).split())[:400]
        message = f"{where}: cannot be loaded: {type(error).__name__}: {text}"
        raise ModelError(message) from error
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _refuse_random_weights(loading: dict[str, Any], where: str) -> None:
    mismatched = [key if isinstance(key, str) else key[0] for key in loading["mismatched_keys"]]
    names = sorted({*loading["missing_keys"], *mismatched})
    if names:
        raise ModelError(
            f"{where}: the weights of {', '.join(names[:5])} are missing or of another shape, and "
            "random ones would stand in for them; expected the folder of the trained model, not "
            "of the one that it was made from"
        )

"""The kind of model in a folder, and what `audit.yaml` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataaudit.scaffold.find import PROGRAM, Found
from dataaudit.scaffold.literals import comment, scalar

_LIGHTNING = ".ckpt"
_INITIAL = (
    "  # initial: base.safetensors   # if it was fine-tuned: what it started from, a file or a "
    "folder; more wrong labels are found"
)


def describe_models(found: Found) -> list[str]:
    """Return a line for each model that was recognised and needs a word."""
    lines = []
    for path in found.models:
        kind = "a torch.export program" if path.suffix == PROGRAM else "a transformers model"
        lines.append(f"model: {path} ({kind}, needs no code)")
    lines += [
        f"weights: {path} (a Lightning checkpoint: the part that fits the module is taken)"
        for path in found.weights
        if path.suffix.lower() == _LIGHTNING
    ]
    lines += [
        f"estimator: {path} (reading it runs code, so only build() in your own module may)"
        for path in found.estimators
    ]
    return lines


def model_lines(found: Found, *, detects: bool) -> list[str]:
    """Return the lines of `audit.yaml` from `model` to `preprocess`; detectors take pictures."""
    if found.models:
        first, *rest = found.models
        others = f"; also found: {comment(', '.join(map(str, rest[:3])))}" if rest else ""
        lines = ["model:", f"  path: {scalar(first.as_posix())}   # guessed{others}"]
        if needs_trust(found):
            lines.append(
                "  trusted: false   # reading a .pt2 can run code; true, if you trust its maker"
            )
        return [*lines, _INITIAL]
    return [
        "model:",
        "  factory: my_model:build   # your code in my_model.py, and is run",
        *([] if is_estimator(found) else [*_weights(found), _INITIAL]),
        *([] if is_estimator(found) or detects else ["preprocess: my_model:preprocess"]),
    ]


def needs_trust(found: Found) -> bool:
    """Tell whether the user has to vouch for the model's file."""
    return bool(found.models) and found.models[0].suffix == PROGRAM


def is_estimator(found: Found) -> bool:
    """Tell whether the model is a fitted estimator, which takes the columns it was fitted on."""
    return bool(found.estimators) and not found.models and not found.weights


def is_language_model(folder: Path, found: Found) -> bool:
    """Tell whether the model writes text, so that what it wrote is traced."""
    names = _config(folder, found).get("architectures")
    return isinstance(names, list) and any(
        isinstance(name, str) and name.endswith(("ForCausalLM", "LMHeadModel")) for name in names
    )


def class_names(folder: Path, found: Found) -> list[str]:
    """Return the names that the model itself has for its classes; none where it has none."""
    names = _config(folder, found).get("id2label")
    if not isinstance(names, dict):
        return []
    named = [str(name) for name in names.values()]
    return [] if all(name.startswith("LABEL_") for name in named) else named


def _config(folder: Path, found: Found) -> dict[str, Any]:
    """Return the config.json of a folder that transformers saved; empty where there is none."""
    if not found.models or needs_trust(found):
        return {}
    try:
        path = folder / found.models[0] / "config.json"
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _weights(found: Found) -> list[str]:
    if not found.weights:
        return ["  # weights: model.safetensors   # or a torch file of plain tensors"]
    more = comment(", ".join(map(str, found.weights[1:4])))
    others = f"; also found: {more}" if more else ""
    return [f"  weights: {scalar(found.weights[0].as_posix())}   # guessed{others}"]

"""The kind of model in a folder, and what `audit.yaml` says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from dataaudit.scaffold.find import PROGRAM, Found

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


def model_lines(folder: Path, found: Found) -> list[str]:
    """Return the lines of `audit.yaml` from `model` to `preprocess`."""
    if found.models:
        first, *rest = found.models
        others = f"; also found: {', '.join(map(str, rest[:3]))}" if rest else ""
        lines = ["model:", f"  path: {scalar(first.as_posix())}   # guessed{others}"]
        if needs_trust(found):
            lines.append(
                "  trusted: false   # reading a .pt2 can run code; true, if you trust its maker"
            )
        return [*lines, _INITIAL]
    return [
        "model:",
        "  factory: my_model:build   # your code in my_model.py, and is run",
        *_weights(found),
        _INITIAL,
        "preprocess: my_model:preprocess",
    ]


def needs_trust(found: Found) -> bool:
    """Tell whether the user has to vouch for the model's file."""
    return bool(found.models) and found.models[0].suffix == PROGRAM


def names_classes(folder: Path, found: Found) -> bool:
    """Tell whether the model itself has names for its classes."""
    if not found.models or needs_trust(found):
        return False
    try:
        path = folder / found.models[0] / "config.json"
        names = json.loads(path.read_text(encoding="utf-8")).get("id2label")
    except (OSError, ValueError, AttributeError):
        return False
    if not isinstance(names, dict):
        return False
    return not all(str(name).startswith("LABEL_") for name in names.values())


def scalar(value: Any) -> str:
    """Return a value as YAML on one line, quoted where it has to be."""
    text = yaml.safe_dump(
        value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False
    )
    return str(text).removesuffix("...\n").strip()


def _weights(found: Found) -> list[str]:
    if not found.weights:
        return ["  # weights: model.safetensors   # or a torch file of plain tensors"]
    others = f"; also found: {', '.join(map(str, found.weights[1:4]))}" if found.weights[1:] else ""
    return [f"  weights: {scalar(found.weights[0].as_posix())}   # guessed{others}"]

"""The fingerprint: what the finished steps of an audit were made from.

Steps of an interrupted audit may be used again only with the same model, data, settings and code.
The fingerprint names each of these with a hash, so that a difference can be told by its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from dataaudit.config import AuditConfig
from dataaudit.inputs import AuditInputs
from dataaudit.models.trained import TrainedModel
from dataaudit.run_directory.manifest import versions

_LATER = {"name", "about", "gates", "flags", "engine", "checks"}
"""Settings that no finished step depends on: they concern flags and report, or only say where
the rows are scored."""
_WRITTEN = {".json", ".txt", ".model", ".jinja"}
"""Files of a model's folder that are no weights."""
_SCHEDULE = "scheduler_config.json"
_OWN_CODE = "code of dataaudit"
_PLACES = {
    "model": {"weights", "initial", "path"},
    "train": {"path"},
    "held_out": {"path"},
    "suspects": {"path"},
}
"""Paths: the content of what they lead to is hashed, wherever it lies."""


@dataclass(frozen=True)
class Fingerprint:
    """Names of inputs ("train", "mirror.steps", "package torch", …), each with what it was."""

    parts: dict[str, str]

    @classmethod
    def of(cls, config: AuditConfig, loaded: AuditInputs, folder: Path | None) -> Fingerprint:
        """Return the fingerprint of an audit.

        Parameters
        ----------
        config : AuditConfig
        loaded : AuditInputs
        folder : Path or None
            The folder of `audit.yaml`: the modules loaded from it are the user's own code.
        """
        parts: dict[str, str] = {
            samples.role: f"sha256 {samples.sha256}"
            for samples in (loaded.train, loaded.held_out, loaded.suspects)
            if samples is not None
        }
        parts |= _of_model(loaded.model)
        parts |= _of_model_folder(None if config.model is None else config.model.path)
        parts |= dict(_settings(config.model_dump(mode="json", exclude={*_LATER})))
        parts |= dict(_user_code(folder))
        parts[_OWN_CODE] = f"sha256 {_own_code()}"
        parts |= {f"package {name}": version for name, version in versions().items()}
        return cls(parts)

    @classmethod
    def read(cls, path: Path) -> Fingerprint | None:
        """Return the fingerprint in a file, or None where the file is damaged."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            parts, checksum = content["parts"], content["sha256"]
            found = cls({str(name): str(value) for name, value in parts.items()})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return None
        return found if found.sha256 == checksum else None

    def of_inputs(self, config: AuditConfig) -> dict[str, str]:
        """Return the parts that are inputs, those that only flags and report depend on as well.

        A finished audit was made from these; versions and code may be others by now.
        """
        inputs = {
            name: value
            for name, value in self.parts.items()
            if not name.startswith("package ") and name != _OWN_CODE
        }
        later = config.model_dump(mode="json", include={*_LATER} - {"engine"})
        return inputs | dict(_settings(later))

    @property
    def sha256(self) -> str:
        """The hash of all parts, hex."""
        return _sha256(json.dumps(self.parts, sort_keys=True).encode())

    def as_json(self) -> str:
        """Return the content of the file."""
        return json.dumps({"sha256": self.sha256, "parts": self.parts}, indent=2) + "\n"

    def changes(self, now: Fingerprint) -> list[str]:
        """Return what differs `now`, a phrase each, for example "mirror.steps: was 9, is 10"."""
        changes = []
        for name in dict.fromkeys([*self.parts, *now.parts]):
            before, after = self.parts.get(name, "absent"), now.parts.get(name, "absent")
            if before != after:
                changes.append(f"{name}: was {_short(before)}, is {_short(after)}")
        return changes


def _of_model(model: TrainedModel | None) -> dict[str, str]:
    if model is None:
        return {"model description": "none"}
    parts = {
        "model weights": f"sha256 {model.sha256()}",
        "model structure": f"sha256 {_sha256(str(model.module).encode())}",
    }
    if model.initial is not None:
        parts["initial weights"] = f"sha256 {model.initial.sha256()}"
    return parts | {"model description": model.description}


def _of_model_folder(path: Path | None) -> dict[str, str]:
    """Return what stands beside the weights of a saved model: its tokenizer, its noise schedule."""
    if path is None or not path.is_dir():
        return {}
    # The schedule of a diffusion model may stand beside the folder of its network. Nothing else of
    # deeper folders, of which one may be the run directory.
    around = [path, path.parent]
    schedules = [place / "scheduler" / _SCHEDULE for place in around] + [path.parent / _SCHEDULE]
    digest = hashlib.sha256()
    for file in [*sorted(path.iterdir()), *schedules]:
        if file.suffix in _WRITTEN and file.is_file():
            digest.update(f"{os.path.relpath(file, path)}\n".encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return {"model folder": f"sha256 {digest.hexdigest()}"}


def _settings(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for section, value in content.items():
        if not isinstance(value, dict):
            yield section, json.dumps(value)
            continue
        for name, item in value.items():
            if name not in _PLACES.get(section, ()):
                yield f"{section}.{name}", json.dumps(item)


def _user_code(folder: Path | None) -> Iterator[tuple[str, str]]:
    if folder is None:
        return
    for module in sorted(_modules_of(folder), key=lambda module: module.__name__):
        content = Path(str(module.__file__)).read_bytes()
        yield f"module {module.__name__}", f"sha256 {_sha256(content)}"


def _modules_of(folder: Path) -> Iterator[ModuleType]:
    inside = f"{folder}{os.sep}"
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # Packages that are installed in an environment beside the data have versions instead.
        if file and file.startswith(inside) and "site-packages" not in file:
            yield module


def _own_code() -> str:
    folder = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _short(value: str) -> str:
    return value if len(value) <= 60 or not value.startswith("sha256 ") else f"{value[:19]}…"

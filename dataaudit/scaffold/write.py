"""The two files that `dataaudit init` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataaudit.datasets.samples import Role
from dataaudit.errors import DataError, writing
from dataaudit.labels.by_task import KINDS
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.scaffold.columns import SplitGuess, guess
from dataaudit.scaffold.find import Found, find
from dataaudit.scaffold.kinds import (
    class_names,
    describe_models,
    is_estimator,
    is_language_model,
    model_lines,
    needs_trust,
)
from dataaudit.scaffold.literals import checked_python, checked_yaml, comment, scalar
from dataaudit.scaffold.model import model_source

YAML = "audit.yaml"
MODULE = "my_model.py"
ROLES: tuple[Role, ...] = ("train", "held_out", "suspects")
_KINDS = {
    "preference": "; pairs of a chosen and a rejected answer",
    "instruction": "; instructions and answers",
    "segmentation": "; a mask for each",
    "boxes": "; boxes in each",
}
_PURPOSE = {
    "train": "what the model was trained on",
    "held_out": "trusted samples that the model has not seen; they make mislabel flags sharp",
    "suspects": "samples that may be copies of training rows, such as a public test set",
}


def init(folder: Path) -> list[str]:
    """Write `audit.yaml` and `my_model.py` into a folder, and say what was recognised.

    Raises
    ------
    DataError
        One of the two exists already, there is no data, or it cannot be read.
    """
    for name in (YAML, MODULE):
        if (folder / name).exists():
            raise DataError(
                f"{folder / name}: already exists, and is not overwritten; move it away to start "
                "afresh"
            )
    folder = folder.absolute()
    found = find(folder)
    writes_text = is_language_model(folder, found)
    names = class_names(folder, found)
    path = folder / found.splits["train"]
    guesses = {"train": guess(path, None, names, writes_text=writes_text)}
    for role in ("held_out", "suspects"):
        if role in found.splits:
            path = folder / found.splits[role]
            guesses[role] = guess(path, guesses["train"].label or None, writes_text=writes_text)
    train = guesses["train"]
    settings = checked_yaml(_audit_yaml(folder, found, guesses), YAML)
    module = None if found.models else checked_python(model_source(train, found), MODULE)
    _write(folder / YAML, settings)
    lines = [
        *(_recognised(role, found, guesses[role]) for role in ROLES if role in guesses),
        *describe_models(found),
        *(f"not used: {path}" for path in found.others),
    ]
    run = f"dataaudit run {folder / YAML} --out {folder / 'audit'}"
    if train.task == "causal-lm":
        missing = "" if "suspects" in guesses else "name in suspects what the model wrote; "
        run = f"dataaudit trace {folder / YAML} --out {folder / 'traced'}"
        return [
            *lines,
            f"written: {folder / YAML}",
            f"next: {missing}check what was guessed; then {run}",
        ]
    if module is None:
        trust = (
            "trusted: true, if you trust its maker" if needs_trust(found) else "what was guessed"
        )
        return [*lines, f"written: {folder / YAML}", f"next: check {trust}; then {run}"]
    _write(folder / MODULE, module)
    if is_estimator(found):
        written = f"written: {folder / YAML} (check what was guessed) and {folder / MODULE}"
        step = f"set TRUSTED = True in {folder / MODULE}, if you trust the maker of the estimator"
        return [*lines, written, f"next: {step}; then {run}"]
    function = "load_model" if train.modality == "text" else "build"
    return [
        *lines,
        f"written: {folder / YAML} (check what was guessed) and {folder / MODULE}",
        f"next: fill in {function}() in {folder / MODULE}, then {run}",
    ]


def _recognised(role: Role, found: Found, split: SplitGuess) -> str:
    ids = f"ids in {split.id_column!r}" if split.id_column else "ids are positions"
    labels = f"; labels in {split.label!r}, {split.class_count} classes" if split.label else ""
    labels = f"; targets in {split.label!r}" if split.task == "regression" else labels
    labels = _KINDS.get(split.task, labels)
    others = ", ".join(map(repr, split.other_labels[:5]))
    maybe = f"; or are the labels in {others}?" if others and role == "train" else ""
    return (
        f"{role}: {found.splits[role]} ({split.rows:,} rows, {split.modality}{labels}; {ids})"
        f"{maybe}"
    )


def _audit_yaml(folder: Path, found: Found, guesses: dict[str, SplitGuess]) -> str:
    train = guesses["train"]
    lines = [
        "# Written by dataaudit init. What was guessed is marked; check it.",
        "# Paths are relative to this file.",
        f"name: {scalar(folder.resolve().name or 'audit')}",
        f"task: {train.task}",
        *model_lines(found, detects=KINDS[train.task].form == "rectangles"),
        *(_classes(train) if _needs_classes(folder, found, train) else []),
        "",
    ]
    for role in ROLES:
        lines.append(f"# {_PURPOSE[role]}")
        lines += _split(folder, role, found, guesses)
    if train.task == "causal-lm":
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "mirror: {kind: auto, seed: 0}",
        "",
        "# Limits for a release: dataaudit run exits with 1 when one is passed.",
        "# gates: {mislabel_rate: 0.05, contaminated: 0}",
        "",
        '# What only people know; the report says "not provided" where a line is missing.',
        "# about:",
        "#   version:",
        "#   licence:",
        "#   purpose:",
        "#   provenance:",
        "#   lineage:",
        "#   collection_dates:",
        "#   geography:",
        "#   synthetic_share:",
        "#   labelling_protocol:",
        "#   annotators:",
        "#   annotator_agreement:",
        "#   personal_data:",
        "#   legal_basis:",
        "#   known_biases:",
        "#   known_limits:",
    ]
    return "\n".join(lines) + "\n"


def _needs_classes(folder: Path, found: Found, train: SplitGuess) -> bool:
    """Tell whether only `audit.yaml` can say which classes there are."""
    kind = KINDS[train.task]
    has_classes = kind.has_classes and kind.form not in ("pair", "rectangles")
    return has_classes and not is_estimator(found) and not class_names(folder, found)


def _classes(train: SplitGuess) -> list[str]:
    if train.classes is None:
        return [f"# classes: the data itself says which ({train.class_count}), in its own order"]
    names = "a name for each pixel value" if KINDS[train.task].per_pixel else "all labels, sorted"
    return [
        f"# Guessed: {names}. The order must be that of the model's outputs.",
        f"classes: {scalar(train.classes)}",
    ]


def _split(folder: Path, role: Role, found: Found, guesses: dict[str, SplitGuess]) -> list[str]:
    if role not in found.splits:
        label = f", label: {scalar(guesses['train'].label)}" if guesses["train"].label else ""
        return [f"# {role}: {{path: ...{label}}}"]
    split = guesses[role]
    entry: dict[str, Any] = {"path": found.splits[role].as_posix()}
    if split.images is not None:
        entry["images"] = split.images.relative_to(folder).as_posix()
    if split.label:
        entry["label"] = split.label
    elif split.task == "causal-lm" and split.content_column not in (None, "text"):
        entry["text"] = split.content_column
    if split.instruction is not None:
        entry["prompt"] = split.instruction.prompt
        if split.instruction.input is not None:
            entry["input"] = split.instruction.input
    if split.id_column is not None:
        entry["id"] = split.id_column
    others = comment(", ".join(map(repr, split.other_labels[:5])))
    return [f"{role}: {scalar(entry)}   # guessed" + (f"; or label: {others}" if others else "")]


def _write(path: Path, text: str) -> None:
    with writing(path, DataError):
        write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))

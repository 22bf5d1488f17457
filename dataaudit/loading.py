"""The first stage: everything an audit reads, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from dataaudit.config import AuditConfig, DataConfig
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.loading import load_function
from dataaudit.models.parameters import moving_parameters
from dataaudit.models.recognise import from_config, from_object, is_tokenizer
from dataaudit.models.trained import Preprocess, TrainedModel, forward
from dataaudit.screening import Screening
from dataaudit.tasks import Classification

Classes = Sequence[str | int] | None


@dataclass(frozen=True)
class Loaded:
    """What an audit works on.

    Attributes
    ----------
    model : TrainedModel
        In eval mode, on the device asked for.
    task : Classification
    train : Samples
    held_out, suspects : Samples or None
    set_aside : mapping of role to SetAside
        The rows that none of these hold, because they cannot be used.
    """

    model: TrainedModel
    task: Classification
    train: Samples
    held_out: Samples | None
    suspects: Samples | None
    set_aside: dict[Role, SetAside]


def load(config: AuditConfig, folder: Path) -> Loaded:
    """Open what an `audit.yaml` names.

    Parameters
    ----------
    config : AuditConfig
    folder : Path
        The folder of `audit.yaml`, where the user's own module is looked for first.

    Raises
    ------
    ConfigError, DataError, ModelError
        Something is missing, unreadable, or does not fit the rest.
    """
    preprocess = (
        load_function(config.preprocess, folder, "preprocess") if config.preprocess else None
    )
    adapter = from_config(config.model, config.images, folder)

    def open_split(split: DataConfig, role: Role, classes: Classes) -> Samples:
        return open_samples(
            split.path,
            role=role,
            label=split.label,
            id_column=split.id,
            group_column=split.group,
            classes=classes,
            task=config.task,
            tolerate=config.bad_rows.asked,
            output_names=adapter.class_names,
        )

    return assemble(
        adapter,
        preprocess,
        {"train": config.train, "held_out": config.held_out, "suspects": config.suspects},
        open_split,
        config,
    )


def load_objects(
    built: Any,
    splits: dict[Role, Any],
    preprocess: Preprocess | None,
    config: AuditConfig,
) -> Loaded:
    """The same from Python objects: a module or estimator, and data frames or data sets.

    Parameters
    ----------
    built : torch.nn.Module, torch.export program, fitted scikit-learn classifier, or path
    splits : mapping of role to data object or None
    preprocess : callable, transformers tokenizer, or None
    config : AuditConfig
        Its label and id columns, classes, seed and device are used.
    """
    adapter = from_object(built, config.images)
    if is_tokenizer(preprocess):
        adapter, preprocess = from_object(built, config.images, tokenizer=preprocess), None

    def open_split(split: Any, role: Role, classes: Classes) -> Samples:
        columns: DataConfig = getattr(config, role) or config.train
        return samples_from_object(
            split,
            role=role,
            label=columns.label,
            id_column=columns.id,
            group_column=columns.group,
            classes=classes,
            task=config.task,
            tolerate=config.bad_rows.asked,
            output_names=adapter.class_names,
        )

    return assemble(adapter, preprocess, splits, open_split, config)


def assemble(
    adapter: ModelAdapter,
    preprocess: Preprocess | None,
    splits: dict[Any, Any],
    open_split: Callable[[Any, Role, Classes], Samples],
    config: AuditConfig,
) -> Loaded:
    """Open the splits with one set of classes, and join them with the model."""
    device = _device(config.device)
    classes: Classes = config.classes or adapter.label_values
    rows = Screening(open_split(splits["train"], "train", classes), config.bad_rows)
    model = adapter.trained(rows.samples, preprocess, config.mirror.seed).to(device)
    # Refused now, not after the rows have been read: a choice of parameters that has none.
    moving_parameters(model.module, config.mirror.parameters)
    rows.check_inputs(model)
    outputs = _sample_outputs(model, rows.samples)
    train = rows.samples
    if classes is None and isinstance(train.classes[0], int):
        rows.check_classes(_width(outputs))
        train = _with_classes_of_the_model(rows.samples, _width(outputs))
    task = Classification.of(outputs, len(train.classes))
    others: dict[Role, Samples] = {}
    set_aside: dict[Role, SetAside] = {"train": rows.result()}
    roles: tuple[Role, ...] = ("held_out", "suspects")
    for role in roles:
        if splits.get(role) is not None:
            samples = open_split(splits[role], role, list(train.classes))
            screening = Screening(samples, config.bad_rows)
            screening.check_inputs(model)
            others[role], set_aside[role] = screening.samples, screening.result()
            # Before hours of work: inputs of another kind than the training rows'.
            _sample_outputs(model, others[role])
    return Loaded(model, task, train, others.get("held_out"), others.get("suspects"), set_aside)


def _sample_outputs(model: TrainedModel, train: Samples) -> torch.Tensor:
    sample = train.take(range(min(64, len(train))))
    inputs = model.inputs(sample, train)
    with torch.inference_mode():
        outputs = forward(model.module, inputs)
    if outputs.ndim == 0 or len(outputs) != len(sample):
        raise ModelError(
            f"the model returned outputs of shape {tuple(outputs.shape)} for {len(sample)} rows; "
            "the first dimension must be the rows"
        )
    return outputs


def _width(outputs: torch.Tensor) -> int:
    """Return the number of classes that the outputs speak of; one logit speaks of two."""
    return outputs.shape[1] if outputs.ndim == 2 and outputs.shape[1] > 1 else 2


def _with_classes_of_the_model(train: Samples, width: int) -> Samples:
    """Count the classes by the model's outputs where the labels are plain numbers 0..C-1."""
    outside = np.flatnonzero(train.labels >= width)
    if len(outside):
        row = outside[0]
        raise DataError(
            f"{train.source.description}: label {train.labels[row]} in row {row} "
            f"(id {train.ids[row]}) is outside the classes: the model has {width} outputs, "
            f"so labels from 0 to {width - 1} were expected"
        )
    return replace(train, classes=list(range(width)))


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch goes on with a page about its own insides.
        reason = str(error).partition("\n")[0][:200]
        raise ConfigError(f"device: {name} cannot be used here: {reason}") from None
    return device


def composition(loaded: Loaded) -> pd.DataFrame:
    """Return `split`, `class`, `rows`: how many rows of each class each split has."""
    lines = []
    for samples in (loaded.train, loaded.held_out, loaded.suspects):
        if samples is not None:
            counts = np.bincount(samples.labels, minlength=len(samples.classes))
            for name, count in zip(samples.classes, counts, strict=True):
                lines.append({"split": samples.role, "class": str(name), "rows": int(count)})
    return pd.DataFrame(lines, columns=["split", "class", "rows"])

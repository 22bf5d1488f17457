"""The first stage: everything an audit reads, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from dataaudit.config import AuditConfig, DataConfig
from dataaudit.datasets.images import decode
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.models import scikit_learn
from dataaudit.models.loading import build, load_function, load_weights
from dataaudit.models.rescaled import rescaled
from dataaudit.models.scikit_learn_regressors import trained_regressor
from dataaudit.models.trained import Preprocess, TrainedModel, forward
from dataaudit.screening import Screening
from dataaudit.tasks import AuditTask, Classification, MultiLabel, Regression, Task
from dataaudit.tasks.weighted import WeightedClassification, WeightedMultiLabel

ROWS_PER_FORWARD = 256
ROWS_FOR_NOISE = 2000
"""Rows that the noise scale of a regression is estimated on, evenly spread where there are more."""


@dataclass(frozen=True)
class Loaded:
    """What an audit works on.

    Attributes
    ----------
    model : TrainedModel
        In eval mode, on the device asked for.
    task : AuditTask
    train : Samples
    held_out, suspects : Samples or None
    set_aside : mapping of role to SetAside
        The rows that none of these hold, because they cannot be used.
    learning_task : Task or None
        What the mirror learns by, where that is not `task`: weighted classes, smoothed labels.
    """

    model: TrainedModel
    task: AuditTask
    train: Samples
    held_out: Samples | None
    suspects: Samples | None
    set_aside: dict[Role, SetAside]
    learning_task: Task | None = None


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
    factory = load_function(config.model.factory, folder, "model.factory")
    built = build(factory, config.model.factory)
    if config.model.weights is not None:
        if not isinstance(built, nn.Module):
            raise ConfigError(
                f"model.weights: {config.model.factory} returned {type(built).__name__}; weights "
                "are loaded into torch modules only, so let the factory return the fitted estimator"
            )
        load_weights(built, config.model.weights)
    classes = config.classes

    def open_split(split: DataConfig, role: Role, known: Any) -> Samples:
        return open_samples(
            split.path,
            role=role,
            label=split.label,
            id_column=split.id,
            group_column=split.group,
            classes=known,
            task=config.task,
            tolerate=config.bad_rows.asked,
            ignore=config.ignore_label,
            separator=split.separator,
        )

    return assemble(
        built,
        preprocess,
        classes,
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
    built : torch.nn.Module or fitted scikit-learn classifier
    splits : mapping of role to data object or None
    preprocess : callable or None
    config : AuditConfig
        Its label and id columns, classes, seed and device are used.
    """

    def open_split(split: Any, role: Role, known: Any) -> Samples:
        columns: DataConfig = getattr(config, role) or config.train
        return samples_from_object(
            split,
            role=role,
            label=columns.label,
            id_column=columns.id,
            group_column=columns.group,
            classes=known,
            task=config.task,
            tolerate=config.bad_rows.asked,
            ignore=config.ignore_label,
            separator=columns.separator,
        )

    return assemble(built, preprocess, config.classes, splits, open_split, config)


def assemble(
    built: Any,
    preprocess: Preprocess | None,
    classes: Any,
    splits: dict[Any, Any],
    open_split: Callable[[Any, Role, Any], Samples],
    config: AuditConfig,
) -> Loaded:
    """Open the splits with one set of classes, and join them with the model."""
    device = _device(config.device)
    classifies = config.task == "classification"
    if classes is None and classifies and scikit_learn.is_estimator(built):
        classes = scikit_learn.classes_of(built)
    rows = Screening(open_split(splits["train"], "train", classes), config.bad_rows)
    model = _trained(built, preprocess, rows.samples, config).to(device)
    rows.check_inputs(model)
    outputs = _sample_outputs(model, rows.samples)
    train = rows.samples
    if classes is None and classifies and isinstance(train.classes[0], int):
        rows.check_classes(_width(outputs))
        train = _with_classes_of_the_model(rows.samples, _width(outputs))
    task, learning_task = _tasks(config, outputs, train)
    others: dict[Role, Samples] = {}
    set_aside: dict[Role, SetAside] = {"train": rows.result()}
    roles: tuple[Role, ...] = ("held_out", "suspects")
    for role in roles:
        if splits.get(role) is not None:
            known = list(train.classes) or None
            samples = open_split(splits[role], role, known)
            screening = Screening(samples, config.bad_rows)
            screening.check_inputs(model)
            others[role], set_aside[role] = screening.samples, screening.result()
            # Before hours of work: inputs of another kind than the training rows'.
            _sample_outputs(model, others[role])
    if isinstance(task, Regression):
        model = rescaled(model, train)
        # Residuals of rows that the model has memorized are too small to tell the noise.
        task = _with_noise_scale(task, model, others.get("held_out", train))
    held_out, suspects = others.get("held_out"), others.get("suspects")
    return Loaded(model, task, train, held_out, suspects, set_aside, learning_task)


def _tasks(
    config: AuditConfig, outputs: torch.Tensor, train: Samples
) -> tuple[AuditTask, Task | None]:
    """Return the task, and what the mirror learns by where that is another one."""
    if config.task == "regression":
        return Regression.of(outputs, config.loss.kind or "squared"), None
    weights = _class_weights(config, train)
    smoothing = config.loss.label_smoothing
    if config.task == "multi-label":
        labels = MultiLabel.of(outputs, len(train.classes))
        weighted_labels = WeightedMultiLabel(labels, weights, smoothing)
        return labels, weighted_labels if config.loss.weighs else None
    task = Classification.of(outputs, len(train.classes))
    weighted = WeightedClassification(task, weights, smoothing)
    return task, weighted if config.loss.weighs else None


def _class_weights(config: AuditConfig, train: Samples) -> tuple[float, ...] | None:
    given, names = config.loss.class_weights, [str(name) for name in train.classes]
    if isinstance(given, dict):
        by_name = {str(name): weight for name, weight in given.items()}
        unknown = [name for name in by_name if name not in names]
        if unknown:
            raise ConfigError(
                f"loss.class_weights: found {unknown[0]!r}, expected the classes "
                f"{', '.join(names[:20])}"
            )
        return tuple(by_name.get(name, 1.0) for name in names)
    if given is not None and len(given) != len(names):
        raise ConfigError(
            f"loss.class_weights: found {len(given)} weights, expected {len(names)}, one for each "
            f"of the classes {', '.join(names[:20])}"
        )
    return None if given is None else tuple(given)


def _with_noise_scale(task: Regression, model: TrainedModel, samples: Samples) -> Regression:
    count = min(ROWS_FOR_NOISE, len(samples))
    positions = np.unique(np.linspace(0, len(samples) - 1, count).astype(np.int64))
    residuals = []
    with torch.inference_mode():
        for start in range(0, len(positions), ROWS_PER_FORWARD):
            batch = samples.take(positions[start : start + ROWS_PER_FORWARD])
            outputs = forward(model.module, model.inputs(batch, samples))
            residuals.append(batch.labels - outputs.double().reshape(-1).cpu().numpy())
    return task.with_noise_of(np.concatenate(residuals), float(np.std(samples.labels)))


def _trained(
    built: Any, preprocess: Preprocess | None, train: Samples, config: AuditConfig
) -> TrainedModel:
    if isinstance(built, nn.Module):
        module = built.eval()
        count = sum(parameter.numel() for parameter in module.parameters())
        if count == 0:
            raise ModelError(f"{type(module).__name__} has no parameters; nothing can be mirrored")
        description = f"{type(module).__name__}, {count:,} parameters"
        return TrainedModel(module, preprocess or default_preprocess(train), description)
    if scikit_learn.is_estimator(built):
        adapt = trained_regressor if config.task == "regression" else scikit_learn.trained_model
        return adapt(built, preprocess, train, config.mirror.seed)
    raise ModelError(
        f"the model is a {type(built).__name__}; expected a torch.nn.Module "
        "or a fitted scikit-learn estimator"
    )


def default_preprocess(train: Samples) -> Preprocess:
    """Return what turns raw rows into inputs where the user gives nothing.

    Images become float32 `[rows, channels, height, width]` between 0 and 1; tables become
    float32 `[rows, columns]` of all number columns but label, id and group; tensors are stacked.

    Raises
    ------
    ConfigError
        The rows are text, or a table without number columns.
    """
    column = train.content_column
    if train.modality == "image":
        return _image_preprocess(train)
    if train.modality == "tensor":
        return lambda frame: torch.utils.data.default_collate(list(frame[column]))
    if train.modality == "text":
        raise ConfigError(
            "preprocess: needed for text, for example my_model:preprocess, a function from "
            "a data frame to the model's input tensors"
        )
    special = list(train.special_columns())
    sample = train.take([0]).frame.drop(columns=special, errors="ignore")
    numbers = [str(name) for name in sample.select_dtypes(["number", "bool"]).columns]
    if not numbers:
        raise ConfigError(
            f"preprocess: needed, because {train.source.description} has no number columns "
            "besides label, id and group"
        )
    return lambda frame: torch.tensor(frame[numbers].to_numpy(dtype=np.float32))


def _image_preprocess(train: Samples) -> Preprocess:
    column, where, folder = train.content_column, train.source.description, train.folder
    first = decode(train.take([0]).frame[column].iloc[0], where=where, folder=folder)
    mode = "L" if first.mode in ("1", "L") else "RGB"

    def preprocess(frame: pd.DataFrame) -> torch.Tensor:
        images = [
            np.asarray(decode(value, where=where, folder=folder).convert(mode))
            for value in frame[column]
        ]
        sizes = {image.shape[:2] for image in images}
        if len(sizes) > 1:
            raise DataError(
                f"{where}: images of several sizes ({', '.join(map(str, sorted(sizes)[:3]))}); "
                "give a preprocess function that resizes them"
            )
        pixels = torch.tensor(np.stack(images), dtype=torch.float32) / 255
        return pixels[:, None] if mode == "L" else pixels.permute(0, 3, 1, 2)

    return preprocess


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

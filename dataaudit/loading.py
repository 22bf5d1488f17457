"""The first stage: everything an audit reads, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from dataaudit.config import AuditConfig, DataConfig, ModelConfig
from dataaudit.datasets.images import decode
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.models import scikit_learn
from dataaudit.models.loading import build, load_function, load_weights
from dataaudit.models.trained import Preprocess, TrainedModel, forward
from dataaudit.screening import Screening
from dataaudit.tasks import Classification


class AuditInputs(Protocol):
    """What any audit works on, whatever its task; see `Loaded`."""

    @property
    def model(self) -> TrainedModel: ...  # noqa: D102

    @property
    def train(self) -> Samples: ...  # noqa: D102

    @property
    def held_out(self) -> Samples | None: ...  # noqa: D102

    @property
    def suspects(self) -> Samples | None: ...  # noqa: D102

    @property
    def set_aside(self) -> Mapping[Role, SetAside]: ...  # noqa: D102


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
    built = build_model(config.model, folder)
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
        )

    return assemble(
        built,
        preprocess,
        classes,
        {"train": config.train, "held_out": config.held_out, "suspects": config.suspects},
        open_split,
        config,
    )


def build_model(model: ModelConfig, folder: Path) -> Any:
    """Call the user's factory, and load the weights into what it returns.

    Raises
    ------
    ConfigError, ModelError
        There is no such factory, it fails, or the weights do not fit.
    """
    assert model.factory is not None
    built = build(load_function(model.factory, folder, "model.factory"), model.factory)
    if model.weights is not None:
        if not isinstance(built, nn.Module):
            raise ConfigError(
                f"model.weights: {model.factory} returned {type(built).__name__}; weights "
                "are loaded into torch modules only, so let the factory return the fitted estimator"
            )
        load_weights(built, model.weights)
    return built


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
    device = device_of(config.device)
    if classes is None and scikit_learn.is_estimator(built):
        classes = scikit_learn.classes_of(built)
    rows = Screening(open_split(splits["train"], "train", classes), config.bad_rows)
    model = _trained(built, preprocess, rows.samples, config.mirror.seed).to(device)
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


def _trained(built: Any, preprocess: Preprocess | None, train: Samples, seed: int) -> TrainedModel:
    if isinstance(built, nn.Module):
        description = describe(built)
        return TrainedModel(built.eval(), preprocess or default_preprocess(train), description)
    if scikit_learn.is_estimator(built):
        return scikit_learn.trained_model(built, preprocess, train, seed)
    raise ModelError(
        f"the model is a {type(built).__name__}; expected a torch.nn.Module "
        "or a fitted scikit-learn classifier"
    )


def describe(module: nn.Module) -> str:
    """Return what the report calls a module.

    Raises
    ------
    ModelError
        It has no parameters.
    """
    count = sum(parameter.numel() for parameter in module.parameters())
    if count == 0:
        raise ModelError(f"{type(module).__name__} has no parameters; nothing can be mirrored")
    return f"{type(module).__name__}, {count:,} parameters"


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
    special = {train.label_column, train.id_column, train.group_column}
    sample = train.take([0]).frame.drop(columns=[c for c in special if c], errors="ignore")
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


def device_of(name: str) -> torch.device:
    """Return the device, once it is sure that it can be used here."""
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

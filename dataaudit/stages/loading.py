"""The first stage: everything an audit reads, opened and checked against each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dataaudit.config import AuditConfig, DataConfig
from dataaudit.config_errors import changed
from dataaudit.datasets.frames import spread
from dataaudit.datasets.like_training import open_suspects, read_like
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings, columns_aside
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.set_aside import SetAside
from dataaudit.errors import ConfigError, DataError
from dataaudit.inputs import Loaded
from dataaudit.labels.answers import instruction_columns
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.preferences import pair_columns
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.answer_losses import answering
from dataaudit.models.initial import initial_of
from dataaudit.models.loading import load_function
from dataaudit.models.parameters import last_linear, moving_parameters
from dataaudit.models.recognise import from_config, from_object, is_tokenizer
from dataaudit.models.rescaled import Rescaled, rescaled
from dataaudit.models.rewards import comparing
from dataaudit.models.torch_module import TorchModel
from dataaudit.models.trained import Preprocess, TrainedModel, forward
from dataaudit.stages.alike_answers import alike_answers
from dataaudit.stages.model_check import check_model
from dataaudit.stages.reading_outputs import (
    labelled_outputs,
    outputs_of,
    with_outputs_read,
)
from dataaudit.stages.repeated_rows import REASON as IN_TRAIN
from dataaudit.stages.repeated_rows import repeated_rows
from dataaudit.stages.screening import Screening
from dataaudit.tasks import AuditTask, Regression, Task
from dataaudit.tasks.by_kind import Outputs, TrainedWith, make_task
from dataaudit.tasks.instruction import Instruction

SHOWN = 20
"""Classes that a message lists."""
ROWS_TRIED = 64
"""Rows of each split that the model is tried on first."""
ROWS_PER_FORWARD = 256
ROWS_FOR_NOISE = 2000
"""Rows that the noise scale of a regression is estimated on, evenly spread where there are more."""

Classes = Sequence[str | int] | None


def load(config: AuditConfig, folder: Path, built: Any = None, *, trusting: bool = False) -> Loaded:
    """Open what an `audit.yaml` names.

    Parameters
    ----------
    config : AuditConfig
    folder : Path
        The folder of `audit.yaml`, where the user's own module is looked for first.
    built : torch.nn.Module, fitted scikit-learn estimator, or None
        What the model's factory returned, where it has been called already.
    trusting : bool
        Whether held-out samples are there to be trusted: the model is held against them, and those
        that are training rows, too, are set aside. Else they are queries, which may well
        be training rows.

    Raises
    ------
    ConfigError, DataError, ModelError
        Something is missing, unreadable, or does not fit the rest.
    """
    preprocess = preprocess_of(config, folder)
    if built is None:
        adapter = from_config(config.trained_model, config.images, folder)
    else:
        adapter = from_object(built, config.images)
    return assemble(
        adapter,
        preprocess,
        split_paths(config),
        open_samples,
        config,
        config.trained_model.initial,
        trusting=trusting,
    )


def preprocess_of(config: AuditConfig, folder: Path) -> Preprocess | None:
    """Return the user's own preprocess, or None where `audit.yaml` names none."""
    if config.preprocess is None:
        return None
    return load_function(config.preprocess, folder, "preprocess")


def split_paths(config: AuditConfig) -> dict[Role, Path | None]:
    """Return where each split lies, or None for those that `audit.yaml` leaves out."""
    splits: dict[Role, DataConfig | None] = {
        "train": config.train,
        "held_out": config.held_out,
        "suspects": config.suspects,
    }
    return {role: None if split is None else split.path for role, split in splits.items()}


def load_objects(
    built: Any,
    splits: dict[Role, Any],
    preprocess: Preprocess | None,
    config: AuditConfig,
    initial: Any = None,
    *,
    trusting: bool = False,
) -> Loaded:
    """The same from Python objects: a module or estimator, and data frames or data sets.

    Parameters
    ----------
    built : torch.nn.Module, torch.export program, fitted scikit-learn classifier, or path
    splits : mapping of role to data object or None
    preprocess : callable, transformers tokenizer, or None
    config : AuditConfig
        Its label and id columns, classes, seed and device are used.
    initial : torch.nn.Module, path, state dict, or None
        Where training started.
    trusting : bool
        As for `load`.
    """
    adapter = from_object(built, config.images)
    if is_tokenizer(preprocess):
        adapter, preprocess = from_object(built, config.images, tokenizer=preprocess), None

    return assemble(
        adapter, preprocess, splits, samples_from_object, config, initial, trusting=trusting
    )


def assemble(
    adapter: ModelAdapter,
    preprocess: Preprocess | None,
    splits: Mapping[Role, Any],
    opened: Callable[[Any, ReadSettings], Samples],
    config: AuditConfig,
    initial: Any = None,
    *,
    trusting: bool = False,
) -> Loaded:
    """Open the splits with one set of classes, and join them with the model."""

    def settings_of(role: Role, classes: Classes) -> ReadSettings:
        columns: DataConfig = getattr(config, role) or config.train
        found = read_settings(config, columns, role, classes, tolerate=config.bad_rows.asked)
        return replace(found, output_names=adapter.class_names)

    device = device_of(config.device)
    kind = KINDS[config.task]
    known_classes = adapter.label_values if kind.indices else None
    _refuse_other_order(config.classes, known_classes or adapter.class_names)
    classes: Classes = config.classes or known_classes
    rows = Screening(opened(splits["train"], settings_of("train", classes)), config.bad_rows)
    rows.check_content()
    made = adapter.trained
    if kind.form == "pair":
        made = partial(comparing, adapter, initial=initial, beta=config.loss.beta)
    if kind.written:
        template = None if config.model is None else config.model.template
        made = partial(answering, adapter, template=template)
    model = made(rows.samples, preprocess, config.mirror.seed).to(device)
    _refuse_unread_images(config, adapter, preprocess, rows.samples)
    # Refused now, not after the rows have been read: a choice of parameters that has none.
    moving_parameters(model.module, config.mirror.parameters)
    rows.check_inputs(model)
    model = with_outputs_read(model, rows.samples, classes_known=classes is not None)
    outputs = _sample_outputs(model, rows.samples)
    train = rows.samples
    if classes is None and kind.indices and isinstance(train.classes[0], int):
        rows.check_classes(_width(outputs))
        train = _with_classes_of_the_model(rows.samples, _width(outputs))
    # Refused now, before the other splits are read: outputs that the task cannot use.
    _task(config, outputs, train)
    others: dict[Role, Samples] = {}
    set_aside: dict[Role, SetAside] = {"train": rows.result()}
    # Without trusted samples nothing is compared with the rows.
    repeats = {"held_out_in_train": 0, "held_out_rows": 0, "train_repeats": None}
    roles: tuple[Role, ...] = ("held_out", "suspects")
    for role in roles:
        if splits.get(role) is not None:
            known = list(train.classes) or None
            settings, open_split = settings_of(role, known), partial(opened, splits[role])
            if role == "suspects":
                samples = open_suspects(open_split, settings, train)
            else:
                samples = open_split(settings)
            screening = Screening(
                read_like(samples, train, own_code=preprocess is not None), config.bad_rows
            )
            screening.check_content()
            screening.check_inputs(model)
            if role == "held_out" and trusting:
                repeats = _without_repeated(screening, train)
            set_aside[role] = screening.result()
            if len(screening.samples):
                others[role] = screening.samples
                # Before hours of work: inputs of another kind than the training rows'.
                _sample_outputs(model, others[role])
    own, *rest = kind.alike([train.labels, *(samples.labels for samples in others.values())])
    train = replace(train, labels=own)
    for (role, samples), padded in zip(others.items(), rest, strict=True):
        others[role] = replace(samples, labels=padded)
    outputs, labels = labelled_outputs(model, others.get("held_out", train))
    task, learning_task = _task(config, outputs, train, labels)
    if isinstance(task, Regression):
        model = rescaled(model, train)
        # Residuals of rows that the model has memorized are too small to tell the noise.
        task = _with_noise_scale(task, model, others.get("held_out", train))
    if isinstance(task, Instruction) and "held_out" in others:
        task = replace(task, alike=alike_answers(others["held_out"]))
    # Last, for it goes by the names of the module that is mirrored.
    model = _with_initial(model, initial, adapter.origin)
    held_out, suspects = others.get("held_out"), others.get("suspects")
    check = None
    if trusting:
        read_as = task.reading
        if model.estimator is not None and kind.has_classes:
            read_as = "its own probabilities"
        quick = config.mirror.effort == "quick"
        check = check_model(model, task, train, held_out, read_as, repeats, quick=quick)
    return Loaded(model, task, train, held_out, suspects, set_aside, learning_task, check)


def _refuse_unread_images(
    config: AuditConfig, adapter: ModelAdapter, preprocess: Preprocess | None, train: Samples
) -> None:
    """Refuse settings of `images` where something else makes the model's inputs."""
    if preprocess is not None:
        reason = "preprocess makes the model's inputs"
    elif train.modality != "image":
        reason = f"{train.source.description} has no pictures that become inputs"
    elif not isinstance(adapter, TorchModel):
        reason = "the model takes rows as they are"
    else:
        return
    # Masks are brought to the size, too.
    read = {"size"} if train.kind.per_pixel else set()
    unread = [f"images.{name}" for name in changed(config.images) if name not in read]
    if unread:
        raise ConfigError(f"{', '.join(unread)}: not read, because {reason}; leave out")


def read_settings(
    config: AuditConfig, columns: DataConfig, role: Role, classes: Classes, *, tolerate: bool
) -> ReadSettings:
    """Return how a split is read, from the settings of all and those of its own columns."""
    if KINDS[config.task].per_pixel and config.images.size and config.images.fit == "crop":
        raise ConfigError("images.fit: crop cuts pictures off, and not their masks; use stretch")
    return ReadSettings(
        role,
        columns.label,
        id_column=columns.id,
        usual_id=config.train.id,
        group_column=columns.group,
        classes=classes,
        task=config.task,
        tolerate=tolerate,
        ignore=config.ignore_label,
        separator=columns.separator,
        images=columns.images,
        annotators=columns.labels if role == "train" else None,
        aside=columns_aside(config.train.labels, config.train.opinions),
        size=config.images.size,
        answers=pair_columns(KINDS[config.task], columns.model_dump()),
        instruction=instruction_columns(KINDS[config.task], columns.model_dump()),
    )


def _refuse_other_order(given: Classes, known: Classes) -> None:
    """Refuse `classes` that contradict what the model itself says of its outputs."""
    if given is None or known is None:
        return
    named, own = [str(name) for name in given], [str(name) for name in known]
    if named == own or set(named).isdisjoint(own):
        return
    # Other classes are refused; other names for all of them can be meant.
    raise ConfigError(
        f"classes: found {_listed(named)}, but the model's own classes, in the order of its "
        f"outputs, are {_listed(own)}; leave out classes, or give them in that order"
    )


def _listed(names: list[str]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"[{', '.join(names[:SHOWN])}{more}]"


def _without_repeated(screening: Screening, train: Samples) -> dict[str, Any]:
    """Leave out trusted samples that are training rows, and return how many there are."""
    held_out = screening.samples
    found = repeated_rows(train, held_out)
    if not found.by_nature:
        screening.leave_out({int(line): IN_TRAIN for line in found.lines})
    return {
        "held_out_in_train": len(found.lines),
        "held_out_rows": len(held_out),
        "train_repeats": found.train_repeats,
    }


def _with_initial(model: TrainedModel, given: Any, origin: str | None) -> TrainedModel:
    """Return the model with the weights that its training started from, where they are known."""
    last = last_linear(model.module) if isinstance(model.module, Rescaled) else None
    found = initial_of(model.module, given, last[1] if last else None)
    if found is not None:
        description = f"{model.description}; initial weights {found.description}"
        return replace(model, initial=found, description=description)
    if origin is None:
        return model
    advice = (
        f"The model was probably fine-tuned from {origin}. Name that in model.initial: labels are "
        "then judged from where training started, which finds more of the wrong ones."
    )
    return replace(model, note=f"{model.note} {advice}".strip())


def _task(
    config: AuditConfig,
    outputs: torch.Tensor,
    train: Samples,
    labels: torch.Tensor | None = None,
) -> tuple[AuditTask, Task | None]:
    loss = TrainedWith(
        config.loss.kind or "squared", _class_weights(config, train), config.loss.label_smoothing
    )
    width = train.labels.shape[-1]
    return make_task(config.task, Outputs(outputs, len(train.classes), width, labels), loss)


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
    positions = spread(len(samples), ROWS_FOR_NOISE)
    residuals = []
    with torch.inference_mode():
        step = samples.rows_at_once(ROWS_PER_FORWARD)
        for start in range(0, len(positions), step):
            batch = samples.take(positions[start : start + step])
            outputs = forward(model.module, model.inputs(batch, samples))
            residuals.append(batch.labels - outputs.double().reshape(-1).cpu().numpy())
    return task.with_noise_of(np.concatenate(residuals), float(np.std(samples.labels)))


def _sample_outputs(model: TrainedModel, samples: Samples) -> torch.Tensor:
    return outputs_of(
        model, samples, np.arange(min(samples.rows_at_once(ROWS_TRIED), len(samples)))
    )


def _width(outputs: torch.Tensor) -> int:
    """Return the number of classes that the outputs speak of; one logit speaks of two."""
    return outputs.shape[-1] if outputs.ndim > 1 and outputs.shape[-1] > 1 else 2


def _with_classes_of_the_model(train: Samples, width: int) -> Samples:
    """Count the classes by the model's outputs where the labels are plain numbers 0..C-1."""
    largest = train.labels.reshape(len(train), -1).max(axis=1)
    outside = np.flatnonzero(largest >= width)
    if len(outside):
        row = outside[0]
        raise DataError(
            f"{train.source.description}: label {largest[row]} in row {row} "
            f"(id {train.ids[row]}) is outside the classes: the model has {width} outputs, "
            f"so labels from 0 to {width - 1} were expected"
        )
    if train.votes is not None and train.votes.labels.max(initial=0) >= width:
        raise DataError(
            f"{train.source.description}: an annotator gave the label "
            f"{train.votes.labels.max()}: the model has {width} outputs, so labels from 0 to "
            f"{width - 1} were expected"
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

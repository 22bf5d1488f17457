"""A trained model as the audit sees it: a torch module, and how rows become its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dataaudit.datasets.answer_pairs import ANSWER, IN_FILE
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models.detector_inputs import detector_inputs
from dataaudit.models.estimator import Estimator
from dataaudit.models.initial import Initial
from dataaudit.models.parameters import sha256_of
from dataaudit.progress import LEARNING, count_rows

Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Preprocess: TypeAlias = Callable[[pd.DataFrame], Any]


@dataclass(frozen=True)
class TrainedModel:
    """A trained model.

    Attributes
    ----------
    module : torch.nn.Module
        In eval mode. Nothing in the audit changes its parameters or buffers.
    preprocess : callable
        Turns a table of raw rows into the module's inputs; first dimension = rows.
    description : str
        For the report, for example "SmallNet, 25,450 parameters".
    note : str
        What a reader must know, for example that the module is a surrogate; may be empty.
    estimator : Estimator or None
        The fitted classifier that the module was made of, or stands in for.
    initial : Initial or None
        The weights that training started from, where they are known.
    """

    module: nn.Module
    preprocess: Preprocess
    description: str
    note: str = ""
    original_sha256: str = ""
    """The hash of the module as it was given, where the audit works on a rewritten one."""
    estimator: Estimator | None = None
    initial: Initial | None = None

    def to(self, device: torch.device) -> TrainedModel:
        """Return the model on `device`."""
        initial = None if self.initial is None else self.initial.to(device)
        return replace(self, module=self.module.to(device), initial=initial)

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def sha256(self) -> str:
        """Hash names, shapes, types and values of all parameters and buffers, hex."""
        if self.original_sha256:
            return self.original_sha256
        return sha256_of(self.module.state_dict())

    def inputs(self, batch: Batch, samples: Samples) -> Inputs:
        """Turn a batch into the module's inputs, on its device, checked.

        Raises
        ------
        DataError
            `preprocess` fails, returns another number of rows, or NaN or infinite values.
        """
        where = f"{samples.role} ({samples.source.description})"
        try:
            frame = batch.frame
            if samples.kind.written:
                # Under the label of the batch, which need not be that of the file.
                if samples.label_column in frame:
                    frame = frame.assign(**{IN_FILE: frame[samples.label_column]})
                frame = frame.assign(**{ANSWER: samples.label_values(batch.labels)})
            raw = self.preprocess(frame)
            if samples.kind.own_loss:
                raw = detector_inputs(raw, batch.labels)
        except DataError:
            raise
        except Exception as error:
            raise DataError(
                f"{where}: preprocess failed on rows {_span(batch)}: "
                f"{type(error).__name__}: {error}"
            ) from error
        inputs = map_tensors(lambda value: self._tensor(value, where), raw)
        for name, tensor in named_tensors(inputs):
            if tensor.ndim == 0 or len(tensor) != len(batch):
                raise DataError(
                    f"{where}: preprocess returned {name} of shape {tuple(tensor.shape)} "
                    f"for {len(batch)} rows; the first dimension must be the rows"
                )
            if tensor.is_floating_point():
                finite = torch.isfinite(tensor).reshape(len(tensor), -1).all(dim=1)
                if not bool(finite.all()):
                    bad = int((~finite).nonzero()[0])
                    raise DataError(
                        f"{where}: row {batch.positions[bad]} (id {batch.ids[bad]}): "
                        f"preprocess returned NaN or infinite values in {name}"
                        f"{_missing_columns(batch.frame.iloc[bad])}; expected finite numbers"
                    )
        # Last, so that no check waits for the device.
        return map_tensors(self._placed, inputs)

    def measured(self, samples: Samples) -> Samples:
        """Return the samples with what one row takes as input, as the first one shows.

        Where that cannot be used, nothing is measured: the reason is given where rows are read.
        """
        try:
            inputs = self.inputs(samples.take([0]), samples)
        except DataError:
            return samples
        found = sum(tensor.numel() * tensor.element_size() for _, tensor in named_tensors(inputs))
        return replace(samples, input_bytes=found)

    def _placed(self, tensor: Tensor) -> Tensor:
        if self.device.type == "cuda" and tensor.device.type == "cpu":
            # Pinned memory is copied while the device computes.
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def _tensor(self, value: Any, where: str) -> Tensor:
        try:
            if isinstance(value, (pd.DataFrame, pd.Series)):
                value = value.to_numpy()
            # pandas may hand out read-only arrays, which torch must not alias.
            tensor = value if isinstance(value, Tensor) else torch.tensor(np.asarray(value))
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{where}: preprocess must return a tensor, or a dict or tuple of tensors; "
                f"found {type(value).__name__} ({error})"
            ) from None
        if tensor.is_floating_point():
            tensor = tensor.to(self._floating_type())
        return tensor.detach()

    def _floating_type(self) -> torch.dtype:
        for parameter in self.module.parameters():
            if parameter.is_floating_point():
                return parameter.dtype
        return torch.get_default_dtype()


def forward(module: Callable[..., Any], inputs: Inputs) -> Tensor:
    """Call `module` on `inputs` and return its output tensor (`logits` of a structured output).

    Raises
    ------
    ModelError
        As `called`, or the module returns no tensor.
    """
    return output_tensor(called(module, inputs))


def called(module: Callable[..., Any], inputs: Inputs) -> Any:
    """Call `module` on `inputs` and return what it returns.

    Raises
    ------
    ModelError
        The module fails on the inputs (a shape mismatch, say).
    """
    rows = next((len(tensor) for _, tensor in named_tensors(inputs)), 0)
    count_rows(LEARNING * rows if torch.is_grad_enabled() else rows)
    try:
        if isinstance(inputs, dict):
            return module(**inputs)
        if isinstance(inputs, tuple):
            return module(*inputs)
        return module(inputs)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shapes = ", ".join(
            f"{name} {tuple(t.shape)} {t.dtype}" for name, t in named_tensors(inputs)
        )
        raise ModelError(
            f"the model failed on the inputs that preprocess returned ({shapes}): {error}"
        ) from error


def output_tensor(result: Any) -> Tensor:
    """Return the output tensor in what a module returned (`logits` of a structured output).

    Raises
    ------
    ModelError
        There is none.
    """
    if isinstance(result, Mapping):
        result = result.get("logits", result)
    elif hasattr(result, "logits"):
        result = result.logits
    elif isinstance(result, (tuple, list)) and result:
        result = result[0]
    if not isinstance(result, Tensor):
        raise ModelError(
            f"the model returned {type(result).__name__}; expected a tensor of logits, "
            "or an output with `logits`"
        )
    return result


def map_tensors(function: Callable[[Any], Tensor], values: Any) -> Inputs:
    """Apply `function` to every tensor-like member of a tensor, tuple or dict."""
    if isinstance(values, Mapping):
        return {str(key): function(value) for key, value in values.items()}
    if isinstance(values, (tuple, list)) and any(hasattr(value, "shape") for value in values):
        return tuple(function(value) for value in values)
    return function(values)


def named_tensors(inputs: Inputs) -> Iterator[tuple[str, Tensor]]:
    """Yield (name, tensor) for every tensor in the inputs."""
    if isinstance(inputs, dict):
        yield from inputs.items()
    elif isinstance(inputs, tuple):
        for position, tensor in enumerate(inputs):
            yield f"input {position}", tensor
    else:
        yield "the input", inputs


def _span(batch: Batch) -> str:
    return f"{batch.positions[0]} to {batch.positions[-1]}"


def _missing_columns(row: pd.Series) -> str:
    missing = [str(name) for name, value in row.items() if np.isscalar(value) and pd.isna(value)]
    return f" (missing in the file: {', '.join(missing[:5])})" if missing else ""

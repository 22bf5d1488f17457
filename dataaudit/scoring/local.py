"""The local engine: forward passes in this process.

Each batch is read and preprocessed once, by threads that work ahead, then run through the model
itself and through every perturbed model back to back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import ModelError
from dataaudit.models.numerics import EXACT, Numerics
from dataaudit.models.parameters import last_linear
from dataaudit.models.rewards import of_each_row, parts_of_a_row
from dataaudit.models.trained import Inputs, TrainedModel
from dataaudit.progress import track
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.prefetch import made_ahead
from dataaudit.tasks import Task
from dataaudit.tasks.task import predictions_of

_ROWS_PER_BLOCK = 4096


@dataclass(frozen=True)
class LocalEngine:
    """Scores rows on one device, in batches of `batch_size`, preprocessed by `workers` threads."""

    batch_size: int = 256
    numerics: Numerics = EXACT
    workers: int = 1

    def score(
        self,
        model: TrainedModel,
        task: Task,
        samples: Samples,
        perturbations: Sequence[Perturbation],
        finished: Collection[int] = (),
        into: ScoreBlocks | None = None,
    ) -> Iterator[ScoreBlock]:
        """Score all rows, and yield block after block; see `Engine`."""
        batch_size = samples.rows_at_once(self.batch_size)
        rows_per_block = block_length(batch_size)
        parts: list[ScoreBlock] = []
        scorer = BatchScorer(model, task, samples, perturbations, self.numerics)
        skipped = {start // rows_per_block for start in finished}

        def inputs_of(batch: Batch) -> Inputs | None:
            needed = int(batch.positions[0]) // rows_per_block not in skipped
            return model.inputs(batch, samples) if needed else None

        expected = -(-len(samples) // batch_size)
        made = made_ahead(inputs_of, samples.batches(batch_size), self.workers)
        batches = track(made, f"scoring {samples.role}", total=expected)
        for batch, inputs in batches:
            if inputs is None:
                continue
            stop = int(batch.positions[0]) + len(batch)
            parts.append(scorer.score(batch, inputs))
            if stop % rows_per_block == 0 or stop == len(samples):
                yield joined(parts)
                parts = []


def block_length(batch_size: int) -> int:
    """Return the rows of a block: whole batches, about `_ROWS_PER_BLOCK` rows."""
    return max(1, _ROWS_PER_BLOCK // batch_size) * batch_size


@dataclass(frozen=True)
class BatchScorer:
    """Runs the model and every perturbed model on a batch."""

    model: TrainedModel
    task: Task
    samples: Samples
    perturbations: Sequence[Perturbation]
    numerics: Numerics = field(default=EXACT)

    @cached_property
    def _passes(self) -> Passes:
        return Passes(self.model.module, self.numerics)

    @cached_property
    def _watched(self) -> Passes:
        # What was compiled does not call the hook that catches the features.
        return Passes(self.model.module, replace(self.numerics, compiled=False))

    @torch.inference_mode()
    def score(self, batch: Batch, inputs: Inputs | None = None) -> ScoreBlock:
        """Return the scores of a batch, as a small block.

        Parameters
        ----------
        batch : Batch
        inputs : Inputs or None
            The model's inputs, where they have been made already.
        """
        if inputs is None:
            inputs = self.model.inputs(batch, self.samples)
        labels = torch.as_tensor(batch.labels, device=self.model.device)
        with FeatureTap(self.model.module) as tap:
            outputs = [*self._watched.outputs(inputs)]
        features = tap.features(len(batch), padding_mask(inputs))
        outputs += self._passes.outputs(inputs, self.perturbations)
        self._refuse_infinite(outputs, batch)
        losses = [self.task.losses(output, labels) for output in outputs]
        predictions = [predictions_of(self.task, output, labels) for output in outputs]
        return ScoreBlock(
            start=int(batch.positions[0]),
            losses=torch.stack(losses, dim=1).float().cpu().numpy(),
            predictions=torch.stack(predictions, dim=1).float().cpu().numpy(),
            features=features,
        )

    def _refuse_infinite(self, outputs: Sequence[Tensor], batch: Batch) -> None:
        # Asked once for all models: each question waits for the device.
        rows = [torch.isfinite(output).reshape(len(batch), -1).all(dim=1) for output in outputs]
        finite = torch.stack(rows).all(dim=0)
        if not bool(finite.all()):
            bad = int((~finite).nonzero()[0])
            raise ModelError(
                f"{self.samples.role} ({self.samples.source.description}): row "
                f"{batch.positions[bad]} (id {batch.ids[bad]}): the model returned NaN or "
                "infinite outputs; expected finite numbers"
            )


class FeatureTap:
    """Catches the inputs of a module's last linear layer during one forward pass."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        found = last_linear(module)
        self._layer = found[1] if found else None
        self._caught: Tensor | None = None
        self._handle: Any = None

    def __enter__(self) -> FeatureTap:
        """Start listening."""
        if self._layer is not None:
            self._handle = self._layer.register_forward_pre_hook(self._catch, with_kwargs=True)
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop listening."""
        if self._handle is not None:
            self._handle.remove()

    def _catch(self, module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        # A layer may be called by the name of its argument, too.
        taken = next(iter((*arguments, *named.values())), None)
        self._caught = taken if isinstance(taken, Tensor) else None

    def features(self, rows: int, mask: Tensor | None = None) -> Any:
        """Return float16 `[rows, width]`; width 0 where there is no such layer.

        Parameters
        ----------
        rows : int
        mask : `[rows, tokens]` or None
            1 for tokens, 0 for padding, which is left out where the layer sees every token.
        """
        caught, seen = self._caught, rows * parts_of_a_row(self._module)
        if caught is None or caught.ndim < 2 or len(caught) != seen:
            return np.zeros((rows, 0), dtype=np.float16)
        mask = None if mask is None else mask.flatten(0, -2)
        if mask is not None and caught.ndim == 3 and caught.shape[:2] == mask.shape:
            weights = mask.to(caught.dtype)[:, :, None]
            flat = (caught * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
        else:
            flat = caught.reshape(seen, -1) if caught.ndim == 2 else caught.mean(dim=1).flatten(1)
        flat = of_each_row(self._module, flat)
        largest = torch.finfo(torch.float16).max
        return flat.float().clamp(-largest, largest).half().cpu().numpy()


def padding_mask(inputs: Inputs) -> Tensor | None:
    """Return what tells tokens from padding, where the inputs say so."""
    return inputs.get("attention_mask") if isinstance(inputs, dict) else None


def joined(parts: Sequence[ScoreBlock]) -> ScoreBlock:
    """Return consecutive blocks as one."""

    def join(column: Callable[[ScoreBlock], Any]) -> Any:
        return np.concatenate([column(part) for part in parts])

    return ScoreBlock(
        start=parts[0].start,
        losses=join(lambda part: part.losses),
        predictions=join(lambda part: part.predictions),
        features=join(lambda part: part.features),
    )

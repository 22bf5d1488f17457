"""Streaming: rows in batches through groups that are ready, and out in blocks for the disk."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import ModelError
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import track
from dataaudit.scoring.prefetch import made_ahead
from dataaudit.studies.influence.blocks import InfluenceBlock
from dataaudit.studies.influence.mirrored import Mirrored

BLOCK_BYTES = 16 << 20
"""Of the scores that are written together."""
MOST_ROWS_PER_BLOCK = 4096


def rows_per_block(groups: int, batch_size: int) -> int:
    """Return the rows of a block: whole batches, of at most about `BLOCK_BYTES`."""
    rows = min(MOST_ROWS_PER_BLOCK, BLOCK_BYTES // (4 * groups))
    return max(1, rows // batch_size) * batch_size


def scored_batches(
    model: TrainedModel,
    rows: Samples,
    mirrored: Mirrored,
    batch_size: int,
    losses: NDArray[np.float64] | None = None,
) -> Iterator[InfluenceBlock]:
    """Yield the scores of each batch.

    Parameters
    ----------
    model : TrainedModel
    rows : Samples
    mirrored : Mirrored
        Groups that are ready.
    batch_size : int
    losses : float64 `[rows]` or None
        The rows' own losses, NaN where not known yet: they are filled in, and used where known.

    Raises
    ------
    DataError, ModelError
        Inputs or losses are not finite, or do not fit.
    """

    total = -(-len(rows) // batch_size)
    made = made_ahead(lambda batch: model.inputs(batch, rows), rows.batches(batch_size))
    for batch, inputs in track(made, "scoring the rows", total=total):
        labels = torch.as_tensor(batch.labels, device=model.device)
        known = None
        if losses is not None and not np.isnan(losses[batch.positions]).any():
            known = torch.as_tensor(losses[batch.positions], device=model.device)
        own, changes = mirrored.changes(inputs, labels, known)
        values, scores = own.double().cpu().numpy(), changes.float().cpu().numpy()
        _refuse_infinite(values, scores, batch, rows)
        if losses is not None:
            losses[batch.positions] = values
        start = int(batch.positions[0])
        yield InfluenceBlock(start, 0, batch.ids, values.astype(np.float32), scores)


def _refuse_infinite(
    losses: NDArray[np.float64], scores: NDArray[np.float32], batch: Batch, rows: Samples
) -> None:
    finite = np.isfinite(losses) & np.isfinite(scores).all(axis=1)
    if not finite.all():
        bad = int((~finite).argmax())
        raise ModelError(
            f"{rows.role} ({rows.source.description}): row {batch.positions[bad]} "
            f"(id {batch.ids[bad]}): the loss is NaN or infinite under the model or a perturbed "
            "one; expected finite numbers (a smaller mirror.learning_rate may help)"
        )


def joined_blocks(
    batches: Iterator[InfluenceBlock], rows_per_block: int, group_start: int, rows: int
) -> Iterator[InfluenceBlock]:
    """Join batches into blocks."""
    parts: list[InfluenceBlock] = []
    for part in batches:
        parts.append(part)
        stop = part.row_start + len(part.losses)
        if stop % rows_per_block == 0 or stop == rows:
            yield InfluenceBlock(
                parts[0].row_start,
                group_start,
                np.concatenate([each.row_ids for each in parts]),
                np.concatenate([each.losses for each in parts]),
                np.concatenate([each.scores for each in parts]),
            )
            parts = []

"""Mirrored influence of query groups on rows: load → choose → steps → forward passes → disk."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.atomic import write_atomically
from dataaudit.config import AuditConfig, config_from_python
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.engines.prefetch import prefetched
from dataaudit.errors import ModelError, RunDirectoryError
from dataaudit.influence.blocks import (
    DESCRIPTION,
    SCORES,
    Influence,
    InfluenceBlock,
    write_block,
)
from dataaudit.influence.cost import Prediction, choose, predict
from dataaudit.influence.groups import QueryGroup, query_groups
from dataaudit.influence.ready import Maker
from dataaudit.influence.settings import InfluenceSettings, influence_settings
from dataaudit.loading import Loaded, load_objects
from dataaudit.manifest import versions
from dataaudit.mirror.mirrored import Mirrored
from dataaudit.models.numerics import Numerics
from dataaudit.models.trained import Inputs, TrainedModel
from dataaudit.progress import track

BLOCK_BYTES = 16 << 20
"""Of the scores that are written together."""
MOST_ROWS_PER_BLOCK = 4096

log = logging.getLogger("dataaudit")


def mirrored_influence(
    model: Any,
    train: Any,
    queries: Any,
    *,
    out: str | Path,
    groups: str | Sequence[Any] | None = None,
    mirror: dict[str, Any] | None = None,
    preprocess: Any = None,
    label: str = "label",
    id: str | None = None,
    query_id: str | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> Influence:
    """Score every training row against every group of queries, and stream the scores to disk.

    A score is the loss of the row after the model has learned (or unlearned) the group, minus
    before, in nats (Ko et al., CVPR 2024, arXiv 2402.08922). Positive after `learn`: the group
    conflicts with the row's label. Nothing of size rows × groups is held in memory.

    Parameters
    ----------
    model : torch.nn.Module or fitted scikit-learn classifier
        The trained model. Its parameters are as before when this returns.
    train, queries : pandas.DataFrame, torch Dataset, Hugging Face Dataset or (X, y) arrays
    out : str or Path
        A directory for the scores.
    groups : str, sequence or None
        A column of the queries, or one name for each: queries of the same name share a perturbed
        model. None: each query stands alone, named after its id.
    mirror : mapping, optional
        `kind` (auto, finite, linear, head), `direction`, `steps`, `learning_rate`, `optimizer`,
        `batch_size`, `parameters`, `layers`, `first_order`, `seed`, `memory_mib`; see
        docs/speed.md.
    preprocess : callable, optional
        (pandas.DataFrame) -> the model's input: a tensor, or a dict or tuple of tensors.
    label, id, query_id : str, optional
        The label column, the rows' id column and the queries' (None: row numbers).
    overwrite : bool
        Whether a finished influence in `out` may be replaced.
    **settings
        Keys of `audit.yaml`: task, classes, bad_rows, batch_size, device, precision, compile.

    Raises
    ------
    DataAuditError
        The input, the mirror or the directory cannot be used; the message says what and where.
    """
    asked = influence_settings(mirror)
    config = config_from_python(label, id, settings)
    assert config.held_out is not None
    queries_columns = config.held_out.model_copy(update={"id": query_id})
    config = config.model_copy(update={"held_out": queries_columns})
    splits: dict[Any, Any] = {"train": train, "held_out": queries}
    loaded = load_objects(model, splits, preprocess, config)
    return influence_of(loaded, groups, asked, config, Path(out), overwrite=overwrite)


def influence_of(
    loaded: Loaded,
    groups: str | Sequence[Any] | None,
    settings: InfluenceSettings,
    config: AuditConfig,
    out: Path,
    *,
    overwrite: bool = False,
) -> Influence:
    """The same for what an audit has loaded: its held-out samples are the queries."""
    assert loaded.held_out is not None
    names = _names(loaded, groups)
    _make_room(out, overwrite)
    found = query_groups(loaded.held_out, names)
    model, rows = loaded.model, loaded.train
    sample = rows.take(range(min(3, len(rows))))
    trial = model.inputs(sample, rows), torch.as_tensor(sample.labels, device=model.device)
    choice = choose(model.module, trial[0], len(rows), found, settings)
    numerics = Numerics(config.precision, config.compile)
    maker = Maker(model, loaded.task, loaded.held_out, settings, choice.kind, numerics, trial)
    chunks = _chunks(found, maker, settings, config.batch_size)
    expected = predict(model, rows, found, maker.ready, config.batch_size, len(chunks))
    log.info(
        "%s; about %.0f s for the rows and %.0f s for the queries' steps",
        choice.reason,
        expected.scoring,
        expected.steps,
    )
    steps, scoring = _score(loaded, chunks, maker, config.batch_size, out)
    description = {
        "groups": [group.name for group in found],
        "rows": len(rows),
        "row_starts": list(range(0, len(rows), _rows_per_block(chunks, config.batch_size))),
        "group_starts": np.cumsum([0, *map(len, chunks)])[:-1].tolist(),
        "kind": choice.kind,
        "reason": choice.reason,
        "forward_passes": choice.forward_passes,
        "seconds_predicted": asdict(expected),
        "seconds": asdict(Prediction(scoring, steps)),
        "mirror": settings.model_dump(mode="json"),
        "precision": config.precision,
        "compile": config.compile,
        "batch_size": config.batch_size,
        "device": str(model.device),
        "model_sha256": model.sha256(),
        "train_sha256": rows.sha256,
        "queries_sha256": loaded.held_out.sha256,
        "groups_sha256": _hash(found),
        "versions": versions(),
    }
    text = json.dumps(description, indent=1) + "\n"
    write_atomically(out / DESCRIPTION, lambda path: path.write_text(text, encoding="utf-8"))
    return Influence(out)


def _names(loaded: Loaded, groups: str | Sequence[Any] | None) -> Sequence[Any] | None:
    queries = loaded.held_out
    assert queries is not None
    if groups is None:
        return None
    if isinstance(groups, str):
        # Groups may stand in a column, as rows that belong together do.
        return replace(queries, group_column=groups).groups().tolist()
    # One name for each query that was given; some may have been set aside since.
    aside = loaded.set_aside["held_out"].positions
    return np.delete(np.asarray(list(groups), dtype=object), aside).tolist()


def _hash(groups: Sequence[QueryGroup]) -> str:
    digest = hashlib.sha256()
    for group in groups:
        digest.update(f"{group.name} {group.positions.tolist()}\n".encode())
    return digest.hexdigest()


def _make_room(out: Path, overwrite: bool) -> None:
    """Create the directory, or empty it of a former influence.

    Raises
    ------
    RunDirectoryError
        It holds a finished influence and `overwrite` is not set, or something else.
    """
    try:
        present = {entry.name for entry in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be used: {error.strerror or error}") from None
    others = present - {DESCRIPTION, SCORES}
    if others:
        raise RunDirectoryError(f"{out}: holds other files ({sorted(others)[0]}); name another one")
    if DESCRIPTION in present and not overwrite:
        raise RunDirectoryError(f"{out}: holds a finished influence; set overwrite to replace it")
    try:
        (out / DESCRIPTION).unlink(missing_ok=True)
        if (out / SCORES).exists():
            shutil.rmtree(out / SCORES)
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be used: {error.strerror or error}") from None


def _chunks(
    groups: Sequence[QueryGroup], maker: Maker, settings: InfluenceSettings, batch_size: int
) -> list[Sequence[QueryGroup]]:
    """Divide the groups into those that are held in memory together."""
    budget = settings.memory_mib << 20
    per_group = 4 * maker.moving()
    # A batch's scores are held a few times over while they are computed.
    count = max(1, min(budget // per_group, budget // (64 * batch_size)))
    return [groups[start : start + count] for start in range(0, len(groups), count)]


def _rows_per_block(chunks: Sequence[Sequence[QueryGroup]], batch_size: int) -> int:
    rows = min(MOST_ROWS_PER_BLOCK, BLOCK_BYTES // (4 * len(chunks[0])))
    return max(1, rows // batch_size) * batch_size


def _score(
    loaded: Loaded,
    chunks: Sequence[Sequence[QueryGroup]],
    maker: Maker,
    batch_size: int,
    out: Path,
) -> tuple[float, float]:
    """Write all blocks; return the seconds of the queries' steps and of the rows."""
    rows_per_block = _rows_per_block(chunks, batch_size)
    losses: NDArray[np.float64] | None = None
    if len(chunks) > 1:
        # One number a row, like ids and labels, so that later chunks need no base pass.
        losses = np.full(len(loaded.train), np.nan)
    steps, scoring, group_start = 0.0, 0.0, 0
    for chunk in chunks:
        started = time.perf_counter()
        mirrored = maker.ready(chunk)
        learned = time.perf_counter()
        batches = _scored(loaded.model, loaded.train, mirrored, batch_size, losses)
        for block in _blocks(batches, rows_per_block, group_start, len(loaded.train)):
            write_block(out, block)
        steps += learned - started
        scoring += time.perf_counter() - learned
        group_start += len(chunk)
    return steps, scoring


def _scored(
    model: TrainedModel,
    rows: Samples,
    mirrored: Mirrored,
    batch_size: int,
    losses: NDArray[np.float64] | None,
) -> Iterator[InfluenceBlock]:
    """Yield the scores of each batch; keep the rows' own losses for the chunks that follow."""

    def loaded() -> Iterator[tuple[Batch, Inputs]]:
        for batch in rows.batches(batch_size):
            yield batch, model.inputs(batch, rows)

    total = -(-len(rows) // batch_size)
    for batch, inputs in track(prefetched(loaded()), "scoring the rows", total=total):
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


def _blocks(
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

"""Mirrored influence of query groups on rows: load → choose → steps → forward passes → disk."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.config import EVERYWHERE, LOADING, AuditConfig, config_from_python, load_config
from dataaudit.config_errors import refuse_unread
from dataaudit.errors import ConfigError, DataError, outlives_exits
from dataaudit.inputs import Loaded
from dataaudit.models.numerics import Numerics
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.manifest import versions
from dataaudit.run_directory.ownership import Kind
from dataaudit.run_directory.store import ResultsDirectory
from dataaudit.stages.loading import load, load_objects
from dataaudit.studies.influence.blocks import (
    DESCRIPTION,
    SCORES,
    Influence,
    write_block,
)
from dataaudit.studies.influence.cost import Choice, choose
from dataaudit.studies.influence.groups import QueryGroup, query_groups
from dataaudit.studies.influence.ready import Maker
from dataaudit.studies.influence.settings import InfluenceSettings, influence_settings
from dataaudit.studies.influence.streaming import joined_blocks, rows_per_block, scored_batches

INFLUENCES = Kind("influence", (DESCRIPTION, SCORES), DESCRIPTION, ("groups", "row_starts"))

READ = EVERYWHERE | LOADING | {"loss.kind", "batch_size", "precision", "compile"}
"""What an influence reads of the settings; how the queries are learned is said apart."""

log = logging.getLogger("dataaudit")


@outlives_exits
@torch.inference_mode(mode=False)
@torch.enable_grad()
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
        model. None: each query is a group of its own, named after its id.
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
    refuse_unread("mirrored_influence()", config, READ, "dataaudit.mirrored_influence")
    assert config.held_out is not None
    queries_columns = config.held_out.model_copy(update={"id": query_id})
    config = config.model_copy(update={"held_out": queries_columns})
    splits: dict[Any, Any] = {"train": train, "held_out": queries}
    loaded = load_objects(model, splits, preprocess, config)
    return influence_of(loaded, groups, asked, config, Path(out), overwrite=overwrite)


def influence_file(
    audit_yaml: Path,
    out: Path,
    groups: str | None,
    mirror: dict[str, Any],
    *,
    overwrite: bool = False,
) -> Influence:
    """The same for the rows and held-out samples of an `audit.yaml`; `dataaudit influence`.

    Raises
    ------
    DataAuditError
        As `mirrored_influence`, and where the file names no held-out samples.
    """
    config = load_config(audit_yaml)
    asked = influence_settings({"seed": config.mirror.seed, **mirror})
    refuse_unread(audit_yaml, config, READ, "dataaudit influence")
    if config.held_out is None:
        raise ConfigError(f"{audit_yaml}: held_out: needed, for its samples are the queries")
    # Suspects are not looked at.
    loaded = load(config.model_copy(update={"suspects": None}), audit_yaml.resolve().parent)
    return influence_of(loaded, groups, asked, config, out, overwrite=overwrite)


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
    with ResultsDirectory(out, INFLUENCES, overwrite=overwrite) as directory:
        # Before an earlier influence is removed: what cannot be used is refused beside it.
        made = _checked(loaded, groups, settings, config)
        directory.clear()
        try:
            return _influence(loaded, made, settings, config, directory.path)
        except BaseException:
            # Blocks without a description are of no use to anybody.
            directory.clear()
            raise


def _checked(
    loaded: Loaded,
    groups: str | Sequence[Any] | None,
    settings: InfluenceSettings,
    config: AuditConfig,
) -> tuple[list[QueryGroup], Choice, Maker]:
    """Return the groups, the mirror that is taken, and what makes it, once they go together."""
    assert loaded.held_out is not None
    found = query_groups(loaded.held_out, _names(loaded, groups))
    model, rows = loaded.model, loaded.train
    sample = rows.take(range(min(3, len(rows))))
    trial = model.inputs(sample, rows), torch.as_tensor(sample.labels, device=model.device)
    choice = choose(model.module, trial[0], len(rows), found, settings)
    numerics = Numerics(config.precision, config.compile)
    maker = Maker(model, loaded.task, loaded.held_out, settings, choice.kind, numerics, trial)
    return found, choice, maker


def _influence(
    loaded: Loaded,
    made: tuple[list[QueryGroup], Choice, Maker],
    settings: InfluenceSettings,
    config: AuditConfig,
    out: Path,
) -> Influence:
    found, choice, maker = made
    model, rows, queries = loaded.model, loaded.train, maker.queries
    batch_size = rows.rows_at_once(config.batch_size)
    chunks = _chunks(found, maker, settings, batch_size)
    log.info("%s", choice.reason)
    steps, scoring = _score(loaded, chunks, maker, batch_size, out)
    description = {
        "groups": [group.name for group in found],
        "rows": len(rows),
        "row_starts": list(range(0, len(rows), rows_per_block(len(chunks[0]), batch_size))),
        "group_starts": np.cumsum([0, *map(len, chunks)])[:-1].tolist(),
        "kind": choice.kind,
        "reason": choice.reason,
        "forward_passes": choice.forward_passes,
        "seconds": {"rows": scoring, "steps": steps},
        "mirror": settings.model_dump(mode="json"),
        "precision": config.precision,
        "compile": config.compile,
        "batch_size": config.batch_size,
        "device": str(model.device),
        "model_sha256": model.sha256(),
        "train_sha256": rows.sha256,
        "queries_sha256": queries.sha256,
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
        columns = list(queries.take([0]).frame.columns)
        if groups not in columns:
            raise DataError(
                f"groups: {queries.source.description} has no column {groups}; "
                f"it has {', '.join(map(str, columns[:10]))}"
            )
        # A column of groups is read as the column of rows that belong together is.
        return replace(queries, group_column=groups).groups().tolist()
    # One name for each query that was given; some may have been set aside since.
    names, aside = list(groups), set(loaded.set_aside["held_out"].positions.tolist())
    if len(names) != len(queries) + len(aside):
        raise DataError(
            f"groups: expected one name for each of the {len(queries) + len(aside)} queries, "
            f"found {len(names)}"
        )
    return [name for place, name in enumerate(names) if place not in aside]


def _hash(groups: Sequence[QueryGroup]) -> str:
    digest = hashlib.sha256()
    for group in groups:
        digest.update(f"{group.name} {group.positions.tolist()}\n".encode())
    return digest.hexdigest()


def _chunks(
    groups: Sequence[QueryGroup], maker: Maker, settings: InfluenceSettings, batch_size: int
) -> list[Sequence[QueryGroup]]:
    """Divide the groups into those that are held in memory together."""
    budget = settings.memory_mib << 20
    per_group = 4 * maker.moving()
    # A batch's scores are held a few times over while they are computed.
    count = max(1, min(budget // per_group, budget // (64 * batch_size)))
    return [groups[start : start + count] for start in range(0, len(groups), count)]


def _score(
    loaded: Loaded,
    chunks: Sequence[Sequence[QueryGroup]],
    maker: Maker,
    batch_size: int,
    out: Path,
) -> tuple[float, float]:
    """Write all blocks; return the seconds of the queries' steps and of the rows."""
    length = rows_per_block(len(chunks[0]), batch_size)
    losses: NDArray[np.float64] | None = None
    if len(chunks) > 1:
        # One number a row, like ids and labels, so that later chunks need no base pass.
        losses = np.full(len(loaded.train), np.nan)
    steps, scoring, group_start = 0.0, 0.0, 0
    for chunk in chunks:
        started = time.perf_counter()
        mirrored = maker.ready(chunk)
        learned = time.perf_counter()
        batches = scored_batches(loaded.model, loaded.train, mirrored, batch_size, losses)
        for block in joined_blocks(batches, length, group_start, len(loaded.train)):
            write_block(out, block)
        steps += learned - started
        scoring += time.perf_counter() - learned
        group_start += len(chunk)
    return steps, scoring

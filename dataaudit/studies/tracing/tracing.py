"""Tracing: unlearn (or learn) each query, stream the rows, keep those that react most.

Ko et al. (CVPR 2024, arXiv 2402.08922): how much a row's loss changes when the model unlearns a
query mirrors how much the row taught the model that query. Rows differ widely in how much any step
moves them, so each row's change is set against its own changes under unrelated queries. Nothing
that is kept grows with rows times queries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from dataaudit.datasets.samples import Samples
from dataaudit.flags.null_distribution import benjamini_hochberg, fit_null, p_values
from dataaudit.progress import track
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.studies.tracing.background import RunningBackground
from dataaudit.studies.tracing.top_rows import TopRows
from dataaudit.studies.tracing.tracer import Tracer

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.int64]
PERTURBED_BYTES = 1 << 30
"""What the perturbed models held at once may take; there is always room for one."""
CALIBRATION_NEEDED = 20
"""With so many unrelated queries, p-values are read from a fitted tail; with fewer, counted."""
QUERIES_ENOUGH = 8
"""So many queries are background enough: unrelated samples, which differ from queries in kind, made
ranks worse (docs/measurements/tracing.md)."""


@dataclass(frozen=True)
class TraceSettings:
    """How much is compared with what.

    Attributes
    ----------
    top : int
        Rows kept for each query.
    background : int
        The most samples that tell how each row reacts to anything: queries, and unrelated ones
        where there are fewer than `QUERIES_ENOUGH` queries.
    calibration : int
        Further ones that are traced like queries, for the p-values.
    batch_size : int
        Rows read at a time.
    seed : int
        Of the draw of unrelated samples.
    """

    top: int = 20
    background: int = 24
    calibration: int = 24
    batch_size: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Traces:
    """The rows behind each query.

    Attributes
    ----------
    rows : TopRows
        Scores in standard deviations of the row's own background, or where the tracer takes none
        the change itself, turned so that higher = the query owes the row more; changes in nats,
        as measured: positive where the row's loss rose.
    p_values : float64 `[queries, kept]`
        Chance that the best row of an unrelated query scores as high. NaN where no row is.
    flagged : bool `[queries, kept]`
        By Benjamini and Hochberg over the queries' best rows; lower rows follow as far as they
        are no less unlikely than the least unlikely best row that is flagged.
    unrelated : int
        How many unrelated samples the p-values compare with.
    can_tell : bool
        False where these are so few that no row could have been flagged, however it reacted.
    """

    rows: TopRows
    p_values: FloatArray
    flagged: NDArray[np.bool_]
    unrelated: int
    can_tell: bool


@dataclass(frozen=True)
class _Chosen:
    """A sample to perturb the model with; one that is a training row is not traced to itself."""

    samples: Samples
    position: int
    in_background: bool = False

    @property
    def own_row(self) -> int:
        return self.position if self.samples.role == "train" else -1


def trace_rows(
    tracer: Tracer,
    rows: Samples,
    queries: Samples,
    references: Samples,
    settings: TraceSettings,
    false_discovery_rate: float,
    steps: Steps,
) -> Traces:
    """Find the rows that each query owes most to.

    Parameters
    ----------
    tracer : Tracer
    rows : Samples
        The training rows.
    queries : Samples
    references : Samples
        Where unrelated samples are drawn from: trusted samples, or the rows themselves.
    settings : TraceSettings
    false_discovery_rate : float
        Expected share of unrelated pairs among the queries that are flagged.
    steps : Steps
        Where what is finished is kept, so that it need not be made again.
    """
    generator = np.random.default_rng(settings.seed)
    order = generator.permutation(len(references))
    most = settings.background if tracer.against_background else 0
    needed = order[: most + settings.calibration]
    drawn = [_Chosen(references, int(position)) for position in needed]
    others = set(generator.permutation(len(queries))[:most].tolist())
    asked = [_Chosen(queries, place, place in others) for place in range(len(queries))]
    # Queries tell best what is common to queries. Where they are few, unrelated samples join them;
    # of those, where they are few too, a third is left for the p-values.
    joining = most - len(others) if len(queries) < QUERIES_ENOUGH else 0
    size = min(joining, -(-2 * len(references) // 3))
    unrelated = drawn[size : size + settings.calibration]
    common = [*drawn[:size], *(item for item in asked if item.in_background)]
    background = _background(tracer, rows, common, settings, steps)
    best = _top_rows(tracer, rows, unrelated, 1, background, settings, steps.within("null", ""))
    found = _top_rows(
        tracer, rows, asked, settings.top, background, settings, steps.within("queries", "")
    )
    null_scores = best.scores[np.isfinite(best.scores[:, 0]), 0]
    p = _p_values(null_scores, found)
    count = len(null_scores)
    # A p-value that is counted is no smaller than this, and a larger one than the rate is no flag.
    can_tell = count >= CALIBRATION_NEEDED or 1 / (1 + count) <= false_discovery_rate
    return Traces(found, p, _flagged(p, false_discovery_rate), count, can_tell)


def _background(
    tracer: Tracer,
    rows: Samples,
    chosen: Sequence[_Chosen],
    settings: TraceSettings,
    steps: Steps,
) -> RunningBackground:
    content = steps.read("background")
    if content is not None:
        return RunningBackground(**load(content))
    background = RunningBackground.of(len(rows))
    for group in _groups(tracer, chosen):
        for positions, changes in _changes(tracer, rows, group, settings, "background"):
            background.add(positions, changes)
    steps.write("background", save(vars(background)))
    return background


def _top_rows(
    tracer: Tracer,
    rows: Samples,
    chosen: Sequence[_Chosen],
    kept: int,
    background: RunningBackground,
    settings: TraceSettings,
    steps: Steps,
) -> TopRows:
    sign = 1.0 if tracer.direction == "unlearn" else -1.0
    parts = []
    for number, group in enumerate(_groups(tracer, chosen)):
        content = steps.read(f"{number:06d}")
        if content is None:
            top = TopRows.of(len(group), min(kept, len(rows)))
            inside = np.array([item.in_background for item in group])
            for positions, changes in _changes(tracer, rows, group, settings, "tracing"):
                scores = sign * changes
                if tracer.against_background:
                    scores = sign * background.unusual(positions, changes, inside)
                top.add(positions, np.where(np.isfinite(scores), scores, -np.inf), changes)
            content = save(vars(top))
            steps.write(f"{number:06d}", content)
        parts.append(TopRows(**load(content)))
    if not parts:
        return TopRows.of(0, min(kept, len(rows)))
    return TopRows(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.changes for part in parts]),
    )


def _groups(tracer: Tracer, chosen: Sequence[_Chosen]) -> Iterator[Sequence[_Chosen]]:
    """Yield as many samples at a time as perturbed models fit into the memory allowed."""
    parameters = tracer.model.module.parameters()
    size = sum(value.numel() * value.element_size() for value in parameters)
    count = max(1, PERTURBED_BYTES // max(size, 1))
    for start in range(0, len(chosen), count):
        yield chosen[start : start + count]


def _changes(
    tracer: Tracer,
    rows: Samples,
    group: Sequence[_Chosen],
    settings: TraceSettings,
    purpose: str,
) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Yield positions and loss changes `[rows, queries]` of all rows, batch by batch."""
    perturbed = [tracer.perturb(item.samples, item.position) for item in group]
    models: list[Perturbation] = [UNPERTURBED, *perturbed]
    own = np.array([item.own_row for item in group])
    total = -(-len(rows) // settings.batch_size)
    for batch in track(rows.batches(settings.batch_size), f"{purpose}: rows", total):
        losses = tracer.losses(rows, batch, models)
        changes = losses[:, 1:] - losses[:, :1]
        changes[batch.positions[:, None] == own] = np.nan
        yield batch.positions, changes


def _p_values(null_scores: FloatArray, found: TopRows) -> FloatArray:
    finite = np.sort(null_scores)
    if len(finite) >= CALIBRATION_NEEDED:
        p = p_values(fit_null(finite, trusted=True), found.scores)
    else:
        above = len(finite) - np.searchsorted(finite, found.scores, side="left")
        p = np.asarray((1.0 + above) / (1.0 + len(finite)), np.float64)
    return np.where(found.positions >= 0, p, np.nan)


def _flagged(p: FloatArray, level: float) -> NDArray[np.bool_]:
    if p.size == 0:
        return np.zeros(p.shape, bool)
    first = benjamini_hochberg(np.nan_to_num(p[:, 0], nan=1.0), level)
    cut = p[first, 0].max() if first.any() else -1.0
    return np.asarray(first[:, None] & (p <= cut))

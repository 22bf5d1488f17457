"""The two sides of the hypothesis: what rows do to queries, and what queries do to rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.progress import track
from dataaudit.studies.verification.examples import Examples, losses
from dataaudit.studies.verification.groups import Positions
from dataaudit.studies.verification.retraining import Retrainer
from dataaudit.tasks import AuditTask

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Study:
    """What is trained on and asked about.

    Attributes
    ----------
    rows, queries : Examples
        Rows come first among the retrainer's examples, then the queries.
    query_groups : sequence of int64 arrays
        Positions among the queries.
    """

    task: AuditTask
    rows: Examples
    queries: Examples
    query_groups: Sequence[Positions]

    def included(
        self, left_out: Positions | None = None, added: Positions | None = None
    ) -> NDArray[np.bool_]:
        """Return which examples to train on, `[rows + queries]`: all rows and no query, but …"""
        chosen = np.arange(len(self.rows) + len(self.queries)) < len(self.rows)
        if left_out is not None:
            chosen[left_out] = False
        if added is not None:
            chosen[len(self.rows) + added] = True
        return chosen

    def query_losses(self, module: nn.Module) -> Floats:
        """Return the mean loss of each query group, `[query groups]`, nats."""
        found = losses(module, self.task, self.queries)
        return np.array([found[group].mean() for group in self.query_groups])


def row_influences(
    study: Study, retrainer: Retrainer, groups: Sequence[Positions], seeds: Sequence[int]
) -> Floats:
    """Measure what leaving rows out does to the queries, by training again.

    Returns
    -------
    float64 `[seeds, groups, query groups]`
        Mean loss of the query group after training without the group of rows, minus after
        training with all rows, nats. Positive: the rows help the queries.
    """
    result = np.empty((len(seeds), len(groups), len(study.query_groups)))
    trainings = [(s, g) for s in range(len(seeds)) for g in range(-1, len(groups))]
    base = np.zeros(len(study.query_groups))
    for s, g in track(trainings, "training again without some rows"):
        left_out = None if g < 0 else groups[g]
        found = study.query_losses(retrainer.train(study.included(left_out), seeds[s]))
        if g < 0:
            base = found
        else:
            result[s, g] = found - base
    return result


def retrained_mirror(study: Study, retrainer: Retrainer, seeds: Sequence[int]) -> Floats:
    """Measure what training on queries as well does to the rows: the mirror without shortcuts.

    Returns
    -------
    float64 `[rows, query groups]`
        Mirrored influence: loss of the row after training on all rows and the query group, minus
        after training on all rows, nats, averaged over seeds. Positive: the row conflicts with
        the queries.
    """
    result = np.zeros((len(study.rows), len(study.query_groups)))
    trainings = [(s, q) for s in range(len(seeds)) for q in range(-1, len(study.query_groups))]
    base = np.zeros(len(study.rows))
    for s, q in track(trainings, "training again with queries added"):
        added = None if q < 0 else study.query_groups[q]
        module = retrainer.train(study.included(added=added), seeds[s])
        found = losses(module, study.task, study.rows)
        if q < 0:
            base = found
        else:
            result[:, q] += (found - base) / len(seeds)
    return result


def stepped_mirror(study: Study, module: nn.Module, settings: FiniteSettings) -> Floats:
    """Measure what some optimizer steps on the queries do to the rows: the finite mirror.

    Returns
    -------
    float64 `[rows, query groups]`
        Mirrored influence: loss of the row after the steps minus before, nats. Positive after
        `learn`: the row conflicts with the queries.
    """
    before = losses(module, study.task, study.rows)
    columns = []
    for group in track(study.query_groups, "learning the queries"):
        part = study.queries.part(group)
        batches = ([part] for _ in range(settings.steps))
        perturbed = finite_mirror(module, study.task, batches, settings)
        columns.append(losses(module, study.task, study.rows, perturbed) - before)
    return np.stack(columns, axis=1)


def rehearsed_mirror(
    study: Study, module: nn.Module, settings: FiniteSettings, rehearsal: Rehearsal
) -> Floats:
    """Measure the same where the steps rehearse the training rows along with the queries.

    Queries learned alone are learned at the expense of everything else: after a few steps on one
    class the model says that class to every row. So each step learns training rows as well, and
    the rows' losses are compared with those after the same steps without the queries.

    Returns
    -------
    float64 `[rows, query groups]`
        Mirrored influence: loss of the row after the steps with the queries minus after those
        without, nats. Positive after `learn`: the row conflicts with the queries.
    """

    def after(group: Positions | None) -> Floats:
        batches = rehearsal.batches(study, group, settings.seed)
        perturbed = finite_mirror(module, study.task, batches, settings)
        return losses(module, study.task, study.rows, perturbed)

    before = after(None)
    groups = track(study.query_groups, "learning the queries among rows")
    return np.stack([after(group) - before for group in groups], axis=1)


@dataclass(frozen=True)
class Rehearsal:
    """How many rows and queries each step learns."""

    rows_per_step: int = 64
    queries_per_step: int = 8

    def batches(self, study: Study, group: Positions | None, seed: int) -> Iterator[list[Part]]:
        """Yield rows, each once before any again, with queries of the group drawn likewise."""
        rows = _endless(len(study.rows), min(self.rows_per_step, len(study.rows)), seed)
        if group is None:
            yield from ([study.rows.part(chosen)] for chosen in rows)
        else:
            queries = _endless(len(group), min(self.queries_per_step, len(group)), seed + 1)
            for chosen, asked in zip(rows, queries, strict=False):
                yield [study.rows.part(chosen), study.queries.part(group[asked])]


def _endless(count: int, batch_size: int, seed: int) -> Iterator[Positions]:
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(count)
        for start in range(0, count - batch_size + 1, batch_size):
            yield order[start : start + batch_size]


def predicted(scores: Floats, groups: Sequence[Positions]) -> Floats:
    """Return the influence that mirrored scores predict for groups of rows.

    Parameters
    ----------
    scores : float64 `[rows, query groups]`
        Mirrored influence after `learn`.
    groups : sequence of int64 arrays

    Returns
    -------
    float64 `[groups, query groups]`
        Minus the sum over the rows of each group, nats. Positive: the rows help the queries.
    """
    return -np.stack([scores[group].sum(axis=0) for group in groups])

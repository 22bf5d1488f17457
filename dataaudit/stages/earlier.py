"""What reviewers decided after earlier audits: a label that they settled is not flagged again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataAuditError
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.settled import without_settled
from dataaudit.likeness.repeats import content_columns, content_hashes
from dataaudit.run_directory.finished import FinishedAudit, as_read_back

NAMED = 5
"""Rows that a note names."""


@dataclass
class _Known:
    """The rows that reviewers decided about.

    `settled` are positions of rows with the label that was decided; `other_label` and
    `other_content` the ids of those that changed since.
    """

    settled: set[int] = field(default_factory=set)
    other_label: list[Any] = field(default_factory=list)
    other_content: list[Any] = field(default_factory=list)
    not_compared: list[str] = field(default_factory=list)


def earlier_audits(config: AuditConfig) -> list[FinishedAudit]:
    """Open the earlier audits that the settings name.

    Raises
    ------
    ConfigError
        One was of another task.
    RunDirectoryError
        There is no finished audit in a directory, or it is damaged.
    """
    audits = []
    for directory in config.earlier:
        with as_read_back(directory):
            audits.append(FinishedAudit.open(directory))
    for audit in audits:
        if audit.task != config.task:
            raise ConfigError(
                f"earlier: {audit.directory} is an audit of task {audit.task}, this one is of "
                f"{config.task}"
            )
    return audits


def knowing_decisions(
    flags: MislabelFlags, train: Samples, audits: Sequence[FinishedAudit], budget: int | None
) -> tuple[MislabelFlags, list[str]]:
    """Return the flags without what reviewers settled after earlier audits, and notes on it.

    A row is settled if it has the label that a reviewer gave or confirmed, and its content is
    what the reviewer saw. Where several audits were followed by a decision about it, the last
    one counts.

    Parameters
    ----------
    flags : MislabelFlags
    train : Samples
    audits : sequence of FinishedAudit
        From `earlier_audits`.
    budget : int or None
        As `flags.budget`.
    """
    if not audits:
        return flags, []
    known = _Known()
    for audit in audits:
        _take_in(known, audit, train)
    settled = np.zeros(len(train), dtype=bool)
    settled[list(known.settled)] = True
    groups = None if flags.noise_per_group is None else train.groups()
    return without_settled(flags, settled, budget, groups), _notes(known)


def _take_in(known: _Known, audit: FinishedAudit, train: Samples) -> None:
    decided = {
        str(item.row_id): str(item.before if item.after is None else item.after)
        for item in audit.report.remediation
        if item.what == "label" and item.decision in ("keep", "relabel")
    }
    positions = pd.Index([str(value) for value in train.ids]).get_indexer(list(decided))
    pairs = [(p, *pair) for p, pair in zip(positions, decided.items(), strict=True) if p >= 0]
    here = np.array([place for place, *_ in pairs], dtype=np.int64)
    shown = train.label_values(train.labels[here])
    same = _same_content(known, audit, train, here, [row_id for _, row_id, _ in pairs])
    for (place, row_id, label), now, unchanged in zip(pairs, shown, same, strict=True):
        known.settled.discard(int(place))
        if not train.kind.same(label, str(now)):
            known.other_label.append(row_id)
        elif not unchanged:
            known.other_content.append(row_id)
        else:
            known.settled.add(int(place))


def _same_content(
    known: _Known,
    audit: FinishedAudit,
    train: Samples,
    here: NDArray[np.int64],
    row_ids: Sequence[str],
) -> NDArray[np.bool_]:
    """Tell which rows are what they were in the earlier audit; all, where its data has gone."""
    try:
        before = audit.training_rows()
    except DataAuditError:
        known.not_compared.append(str(audit.directory))
        return np.ones(len(here), dtype=bool)
    there = pd.Index([str(value) for value in before.ids]).get_indexer(list(row_ids))
    columns = content_columns(train)
    if len(here) == 0 or not set(before.take([0]).frame.columns).issuperset(columns):
        return np.zeros(len(here), dtype=bool)
    hashes = [
        content_hashes(samples, samples.take(places).frame[columns])
        for samples, places in ((train, here), (before, there.clip(0)))
    ]
    return np.asarray((hashes[0] == hashes[1]) & (there >= 0))


def _notes(known: _Known) -> list[str]:
    notes = []
    if known.settled:
        notes.append(
            f"{_rows(len(known.settled))} the label that a reviewer gave or confirmed after an "
            "earlier audit, so it is not flagged again and counts as right"
        )
    if known.other_label:
        notes.append(
            f"{_rows(len(known.other_label))} another label now than a reviewer decided; "
            f"judged like all others: {_named(known.other_label)}"
        )
    if known.other_content:
        notes.append(
            f"{_rows(len(known.other_content))} content that changed since a reviewer saw it; "
            f"judged like all others: {_named(known.other_content)}"
        )
    notes += [
        f"whether rows changed since the audit in {directory} was not looked at: its training data "
        "has gone or changed"
        for directory in known.not_compared
    ]
    return notes


def _rows(count: int) -> str:
    return "1 row has" if count == 1 else f"{count:,} rows have"


def _named(ids: Sequence[Any]) -> str:
    more = f" and {len(ids) - NAMED:,} more" if len(ids) > NAMED else ""
    return ", ".join(map(str, ids[:NAMED])) + more

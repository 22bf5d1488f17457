"""`dataaudit fix`: corrected training data, a cleaned evaluation set, and a split without leaks."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.rewriting import (
    refuse_existing,
    refuse_unfit_target,
    relative_to,
    write_corrected,
)
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, RunDirectoryError, writing
from dataaudit.inputs import Files
from dataaudit.likeness.describing import RowSearch
from dataaudit.likeness.identity import Identity, identity
from dataaudit.report import formats
from dataaudit.report.data import AuditReport
from dataaudit.review.decisions.check import Decided
from dataaudit.review.decisions.log import with_earlier
from dataaudit.review.decisions.read import read_decisions
from dataaudit.review.relabel import changes_of, log_decisions
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.store import amending

CHANGES, SPLIT = "changes.jsonl", "split.csv"
IDENTICAL = "identical to a training row"


@dataclass(frozen=True)
class _Evaluation:
    """The suspects, which of them leave, and why; and how they go with training rows."""

    samples: Samples
    same: Identity
    leaving: dict[int, tuple[str, str]]


def fix(
    directory: Path,
    out: Path,
    *,
    decisions: Path | None = None,
    moved_to: Path | None = None,
    suspects_at: Path | None = None,
) -> list[str]:
    """Write the data as reviewers decided, in the formats of the originals, and say so in lines.

    The folder holds `train` with the new labels and without dropped rows; `evaluation` without the
    suspects that were decided to be copies and those that are identical to a training row, unless
    a reviewer decided that they are only similar; `split.csv`, which puts rows that belong together
    on one side; and `changes.jsonl`, a line for each change. The same decisions give the same
    bytes. The originals are only read.

    Parameters
    ----------
    directory : Path
        A finished audit.
    out : Path
        The folder; new.
    decisions : Path or None
        Decisions to log first, as `relabel` takes them; None: those that the log holds.
    moved_to, suspects_at : Path or None
        Where the training data, and the suspects, are now, if they were moved since the audit.

    Raises
    ------
    DataAuditError
        A decision does not fit the audit, the data has gone or changed, or `out` exists.
    """
    with amending(directory), as_read_back(directory):
        audit = FinishedAudit.open(directory)
        if audit.report.tracing is not None:
            raise RunDirectoryError(
                f"{directory}: holds a trace, which says nothing of labels or copies; fix is for "
                "audits of these"
            )
        said = [] if decisions is None else read_decisions(decisions)
        every, leaks = with_earlier(audit, said)
        train = audit.training_rows(moved_to)
        evaluation = None
        if "suspects" in audit.manifest["inputs"]:
            evaluation = _evaluation(train, audit.suspects(suspects_at), leaks)
        new = None if decisions is None else leaks
        return _write(audit, train, every, evaluation, out, new)


def _evaluation(train: Samples, suspects: Samples, leaks: Sequence[Decided]) -> _Evaluation:
    search = RowSearch.over(Files(train, None, suspects))
    same = identity(search.rows, search.describe(suspects))
    decided = {str(item.row_id): item for item in leaks if item.outcome != "unsure"}
    leaving = {}
    for position, row_id in enumerate(map(str, suspects.ids.tolist())):
        item = decided.get(row_id)
        if item is not None and item.outcome == "copy":
            leaving[position] = (item.comment or "decided to be a copy", item.reviewer)
        elif item is None and same.row[position] >= 0:
            leaving[position] = (IDENTICAL, "")
    return _Evaluation(suspects, same, leaving)


def _write(
    audit: FinishedAudit,
    train: Samples,
    every: Sequence[Decided],
    evaluation: _Evaluation | None,
    out: Path,
    new_leaks: Sequence[Decided] | None,
) -> list[str]:
    refuse_existing(out)
    # Random, so that nobody can lay a link in its place.
    folder = out.absolute().with_name(f".dataaudit-{secrets.token_hex(8)}.tmp")
    changes = changes_of(audit, train, every)
    log = _label_log(every)
    try:
        with writing(out, DataError):
            folder.mkdir()
            names = [_put(train, changes, folder, "train", out)]
            if evaluation is not None:
                gone = Changes.of({}).without(evaluation.leaving)
                names.append(_put(evaluation.samples, gone, folder, "evaluation", out))
                log += _evaluation_log(evaluation)
            split = _split(audit, train, evaluation)
            split.to_csv(folder / SPLIT, index=False, lineterminator="\n")
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in log)
            (folder / CHANGES).write_text(text, encoding="utf-8")
            # Before the folder is there: finished data means that all is logged.
            if new_leaks is not None:
                log_decisions(audit, every, new_leaks)
            folder.rename(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [
        f"training rows: {len(changes):,} relabeled, {len(changes.dropped):,} dropped",
        *([] if evaluation is None else _evaluation_lines(audit.report, evaluation)),
        *_picture_lines(train, evaluation),
        f"written: {', '.join(str(out.absolute() / name) for name in (*names, SPLIT, CHANGES))}",
    ]


def _put(samples: Samples, changes: Changes, folder: Path, name: str, out: Path) -> str:
    """Write a corrected split into the folder that will be `out`; return its name there."""
    target = folder / f"{name}{Path(samples.source.description).suffix}"
    try:
        refuse_unfit_target(samples, target, pictures_named=True)
    except DataError as error:
        raise DataError(str(error).replace(str(folder), str(out))) from None
    write_corrected(samples, changes, target).rename(target)
    return target.name


def _label_log(every: Sequence[Decided]) -> list[dict[str, Any]]:
    """Return a line for each row that changes; without dates, which differ from run to run."""
    return [
        {
            "file": "train",
            "row_id": item.row_id,
            "change": item.outcome,
            "before": item.before,
            "after": item.after if item.outcome == "relabel" else None,
            "reason": item.comment,
            "reviewer": item.reviewer,
        }
        for item in sorted(every, key=lambda item: item.position)
        if item.outcome in ("relabel", "drop")
    ]


def _evaluation_log(evaluation: _Evaluation) -> list[dict[str, Any]]:
    ids = evaluation.samples.ids.tolist()
    return [
        {
            "file": "evaluation",
            "row_id": ids[position],
            "change": "drop",
            "before": None,
            "after": None,
            "reason": reason,
            "reviewer": reviewer,
        }
        for position, (reason, reviewer) in sorted(evaluation.leaving.items())
    ]


def _picture_lines(train: Samples, evaluation: _Evaluation | None) -> list[str]:
    written = {"train": train} | ({} if evaluation is None else {"evaluation": evaluation.samples})
    places = {name: relative_to(samples) for name, samples in written.items()}
    return [
        f"pictures of {name}: not copied; their paths are still relative to {place}, which "
        "audit.yaml names as `images:` beside the new `path:`"
        for name, place in places.items()
        if place is not None
    ]


def _evaluation_lines(report: AuditReport, evaluation: _Evaluation) -> list[str]:
    identical = sum(reason == IDENTICAL for reason, _ in evaluation.leaving.values())
    lines = [
        f"evaluation rows: {len(evaluation.leaving):,} left out, {identical:,} of them because "
        "they are identical to a training row"
    ]
    found = report.leakage
    if found is not None and found.metric_all is not None and found.metric_clean is not None:
        before, after = found.metric_all.estimate, found.metric_clean.estimate
        lines.append(
            f"{found.metric_name} on all suspects {formats.metric(before)}, without those that the "
            f"audit flagged {formats.metric(after)}; audit again after training for the new one"
        )
    return lines


def _split(audit: FinishedAudit, train: Samples, evaluation: _Evaluation | None) -> pd.DataFrame:
    """Return `file`, `row_id`, `group`, `split`: rows that belong together stand on one side.

    Together are rows of the same content, pairs that were flagged as leaks, clusters of duplicates,
    and rows of one named group. A group with a training row is a training group.
    """
    rows = len(train)
    suspects = None if evaluation is None else evaluation.samples
    every = [train] if suspects is None else [train, suspects]
    total = sum(map(len, every))
    links = [np.empty((0, 2), np.int64), *_alike(audit, train, suspects)]
    if evaluation is not None:
        keys = np.concatenate([evaluation.same.keys, evaluation.same.suspect_keys])
        links.append(_first_with(keys))
    if all(samples.group_column is not None for samples in every):
        links.append(_first_with(np.concatenate([samples.groups() for samples in every])))
    pairs = np.concatenate(links)
    graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(total, total))
    group = connected_components(graph, directed=False)[1]
    in_train = np.isin(group, group[:rows])
    return pd.DataFrame(
        {
            "file": np.where(np.arange(total) < rows, "train", "evaluation"),
            "row_id": [row_id for samples in every for row_id in samples.ids.tolist()],
            "group": group,
            "split": np.where(in_train, "train", "evaluation"),
        }
    )


def _alike(
    audit: FinishedAudit, train: Samples, suspects: Samples | None
) -> list[NDArray[np.int64]]:
    """Return pairs that the audit found to be alike: leaks, and clusters of duplicates."""
    known = pd.Index(train.ids.astype(str))
    found = []
    if suspects is not None:
        leaks = audit.pairs()
        flagged = leaks[leaks["flagged"]]
        own = pd.Index(suspects.ids.astype(str)).get_indexer(flagged["query_id"].astype(str))
        rows = known.get_indexer(flagged["row_id"].astype(str))
        found.append(np.stack([rows, own + len(train)], axis=1)[(rows >= 0) & (own >= 0)])
    issues = audit.issues()
    clusters = issues[(issues["check"] == "duplicates") & issues["group"].notna()]
    places = known.get_indexer(clusters["row_id"].astype(str))
    group = clusters["group"].to_numpy(np.int64)
    first = pd.Series(places).groupby(group).transform("first").to_numpy(np.int64)
    found.append(np.stack([first, places], axis=1)[(places >= 0) & (first >= 0)])
    return [pairs.astype(np.int64) for pairs in found]


def _first_with(keys: NDArray[Any]) -> NDArray[np.int64]:
    """Return each position with the first of the same key; a missing key goes with nothing."""
    codes = pd.factorize(pd.Series(keys))[0]
    known = np.flatnonzero(codes >= 0)
    first = np.full(codes.max(initial=-1) + 1, len(keys))
    np.minimum.at(first, codes[known], known)
    return np.stack([first[codes[known]], known], axis=1).astype(np.int64)

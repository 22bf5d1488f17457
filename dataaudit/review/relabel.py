"""`dataaudit relabel`: reviewers' decisions back into a corrected data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.rewriting import discard, refuse_unfit_target, write_corrected
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError
from dataaudit.report.data import AuditReport, Decision, Review
from dataaudit.report.review_words import review_lines
from dataaudit.report.steps import open_steps
from dataaudit.review.decisions.check import Decided
from dataaudit.review.decisions.log import as_logged, with_earlier, write_log
from dataaudit.review.decisions.read import read_decisions
from dataaudit.review.precision import measure
from dataaudit.review.sampling.estimate import drawn_rows_speak
from dataaudit.review.written import write_report
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.store import REMEDIATION, amending


def relabel(
    directory: Path,
    decisions: Path,
    out: Path,
    *,
    evaluation: Path | None = None,
    moved_to: Path | None = None,
    suspects_at: Path | None = None,
) -> list[str]:
    """Apply decisions, log them, measure the precision reached, and say so in lines.

    The corrected data holds these decisions and those logged before. The originals are only read.

    Parameters
    ----------
    directory : Path
        A finished audit; its log, `audit.json` and `report.html` take the decisions in.
    decisions : Path
        A CSV file, or Label Studio's JSON export.
    out : Path
        The corrected data: a new file (or folder) in the format of the original.
    evaluation : Path or None
        The evaluation set without the suspects decided to be copies: a new file (or folder) in
        the format of the original.
    moved_to, suspects_at : Path or None
        Where the training data, and the suspects, are now, if they were moved since the audit.

    Raises
    ------
    DataAuditError
        A decision does not fit the audit, the data has gone or changed, or `out` exists.
    """
    with amending(directory), as_read_back(directory):
        audit = FinishedAudit.open(directory)
        return _relabel(audit, decisions, out, evaluation, moved_to, suspects_at)


def _relabel(
    audit: FinishedAudit,
    decisions: Path,
    out: Path,
    evaluation: Path | None,
    moved_to: Path | None,
    suspects_at: Path | None,
) -> list[str]:
    directory = audit.directory
    every, leaks = with_earlier(audit, read_decisions(decisions))
    samples = audit.training_rows(moved_to)
    refuse_unfit_target(samples, out)
    if evaluation is not None and evaluation.resolve() == out.resolve():
        raise ConfigError(f"--evaluation: {evaluation} is what --out names; expected another file")
    changes = changes_of(audit, samples, every)
    copies = [item.row_id for item in leaks if item.outcome == "copy"]
    targets: list[tuple[Path, Path]] = []
    try:
        # First: beside a table of corrected masks there are their files.
        if evaluation is not None:
            targets.append((_without_copies(audit, copies, evaluation, suspects_at), evaluation))
        targets.insert(0, (write_corrected(samples, changes, out), out))
        review, said = log_decisions(audit, every, leaks)
        # Last: finished data means that all is logged. The same call can be made again before.
        for temporary, target in targets:
            temporary.rename(target)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        for temporary, _ in targets:
            discard(temporary)
    return [
        *_counted(every, changes),
        *review_lines(review),
        *_leak_lines(leaks, copies, evaluation),
        f"corrected data: {out.absolute()}",
        f"log: {(directory / REMEDIATION).absolute()}",
        *said,
    ]


def log_decisions(
    audit: FinishedAudit, every: Sequence[Decided], leaks: Sequence[Decided]
) -> tuple[Review, list[str]]:
    """Write the log of all decisions, and the report with what they say of its precision.

    Returns
    -------
    Review, and lines on what rows that were drawn at random say
    """
    review = measure(audit.mislabels, every)
    logged = as_logged([*every, *leaks])
    report = reviewed(audit.report, logged, review)
    report, said = drawn_rows_speak(audit, report, every)
    write_log(audit.directory, logged)
    write_report(audit.directory, report)
    return review, said


def reviewed(report: AuditReport, decisions: Sequence[Decision], review: Review) -> AuditReport:
    """Return the report with decisions in every part that says what is left to do."""
    decided = report.model_copy(update={"remediation": list(decisions), "review": review})
    return decided.model_copy(update={"next_steps": open_steps(decided)})


def _counted(every: Sequence[Decided], changes: Changes) -> list[str]:
    rows = len({item.position for item in every})
    line = f"{rows:,} {'row' if rows == 1 else 'rows'} decided about, {len(changes):,} relabeled"
    dropped = len(changes.dropped)
    return [line + (f", {dropped:,} dropped" if dropped else "")]


def _leak_lines(
    leaks: Sequence[Decided], copies: Sequence[str | int], evaluation: Path | None
) -> list[str]:
    if not leaks:
        return []
    suspects = len({item.position for item in leaks})
    found = len(set(copies))
    line = (
        f"{suspects:,} {'leak' if suspects == 1 else 'leaks'} decided about, "
        f"{found:,} {'copy' if found == 1 else 'copies'}"
    )
    if evaluation is None:
        return [line + "; --evaluation FILE writes the evaluation set without them"]
    return [line, f"evaluation set without them: {evaluation.absolute()}"]


def _without_copies(
    audit: FinishedAudit, copies: Sequence[str | int], target: Path, moved_to: Path | None
) -> Path:
    """Write the suspects that are no copies under a temporary name, and return it."""
    suspects = audit.suspects(moved_to)
    refuse_unfit_target(suspects, target, "--evaluation")
    positions = pd.Index(suspects.ids).get_indexer(copies)
    return write_corrected(suspects, Changes.of({}).without({*positions.tolist()}), target)


def changes_of(audit: FinishedAudit, samples: Samples, decided: Sequence[Decided]) -> Changes:
    """Return the new labels of training rows, and the rows that are dropped."""
    dropped = {item.position for item in decided if item.outcome == "drop"}
    return _new_labels(audit, samples, decided).without(dropped)


def _new_labels(audit: FinishedAudit, samples: Samples, decided: Sequence[Decided]) -> Changes:
    new = {item.position: item for item in decided if item.outcome == "relabel"}
    if not new:
        return Changes.of({})
    values = samples.source.take(list(new))[samples.label_column]
    corrected = {
        position: samples.kind.corrected(item.after, item.before, value, audit.classes)
        for (position, item), value in zip(new.items(), values, strict=True)
    }
    return Changes.of(corrected) if samples.kind.one_class else Changes.to_values(corrected)

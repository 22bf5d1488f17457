"""`dataaudit relabel`: reviewers' decisions back into a corrected data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.rewriting import discard, refuse_unfit_target, write_corrected
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.report.data import AuditReport
from dataaudit.report.render import render
from dataaudit.report.review_words import review_lines
from dataaudit.review.decisions.check import Decided, checked
from dataaudit.review.decisions.log import as_logged, earlier_decisions, joined, write_log
from dataaudit.review.decisions.read import read_decisions
from dataaudit.review.precision import measure
from dataaudit.review.sampling.estimate import drawn_rows_speak
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.store import AUDIT, REMEDIATION, REPORT, amending


def relabel(
    directory: Path, decisions: Path, out: Path, *, moved_to: Path | None = None
) -> list[str]:
    """Apply decisions, log them, measure the precision reached, and say so in lines.

    The corrected data holds these decisions and those logged before. The original is only read.

    Parameters
    ----------
    directory : Path
        A finished audit; its log, `audit.json` and `report.html` take the decisions in.
    decisions : Path
        A CSV file, or Label Studio's JSON export.
    out : Path
        The corrected data: a new file (or folder) in the format of the original.
    moved_to : Path or None
        Where the training data is now, if it was moved since the audit.

    Raises
    ------
    DataAuditError
        A decision does not fit the audit, the data has gone or changed, or `out` exists.
    """
    with amending(directory), as_read_back(directory):
        return _relabel(FinishedAudit.open(directory), decisions, out, moved_to)


def _relabel(audit: FinishedAudit, decisions: Path, out: Path, moved_to: Path | None) -> list[str]:
    directory = audit.directory
    new = checked(audit, read_decisions(decisions))
    every = joined(earlier_decisions(audit), new)
    samples = audit.training_rows(moved_to)
    refuse_unfit_target(samples, out)
    changes = _changes(audit, samples, every)
    temporary = write_corrected(samples, changes, out)
    try:
        review = measure(audit.mislabels, every)
        logged = as_logged(every)
        report = audit.report.model_copy(update={"remediation": logged, "review": review})
        report, said = drawn_rows_speak(audit, report, every)
        write_log(directory, logged)
        _write_report(directory, report)
        # Last: finished data means that all is logged. The same call can be made again before.
        temporary.rename(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror or error}") from None
    finally:
        discard(temporary)
    rows = {item.position for item in every}
    return [
        f"{len(rows):,} {'row' if len(rows) == 1 else 'rows'} decided about, "
        f"{len(changes):,} relabeled",
        *review_lines(review),
        f"corrected data: {out.absolute()}",
        f"log: {(directory / REMEDIATION).absolute()}",
        *said,
    ]


def _changes(audit: FinishedAudit, samples: Samples, decided: Sequence[Decided]) -> Changes:
    new = {item.position: item for item in decided if item.outcome == "relabel"}
    values = samples.source.take(list(new))[samples.label_column]
    corrected = {
        position: samples.kind.corrected(item.after, item.before, value, audit.classes)
        for (position, item), value in zip(new.items(), values, strict=True)
    }
    return Changes.of(corrected) if samples.kind.one_class else Changes.to_values(corrected)


def _write_report(directory: Path, report: AuditReport) -> None:
    text = report.model_dump_json(indent=2) + "\n"
    write_atomically(directory / AUDIT, lambda path: path.write_text(text, encoding="utf-8"))
    page = render(report)
    write_atomically(directory / REPORT, lambda path: path.write_text(page, encoding="utf-8"))

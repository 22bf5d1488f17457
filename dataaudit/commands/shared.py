"""What several commands share: options, exit codes, and how they print."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dataaudit.commands.watching import own_stdout
from dataaudit.inert import one_line, printable

if TYPE_CHECKING:
    from dataaudit.report.data import AuditReport
    from dataaudit.report.result import AuditResult

EXIT_GATE_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_ENGINE_LOST = 3
EXIT_DEFECT = 70
EXIT_INTERRUPTED = 130

LONGEST_MESSAGE = 2000
"""Characters of a message on stderr: a file from somebody else may fill it with megabytes."""

Out = Annotated[Path, typer.Option(help="Directory for the report and the tables.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the audit in the directory.")]
OverwriteResults = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished audit in the directory.")
]
AuditDirectory = Annotated[Path, typer.Argument(help="A finished audit's directory.")]
MovedData = Annotated[
    Path | None, typer.Option("--data", help="Where the training data is now, if it was moved.")
]
MovedSuspects = Annotated[
    Path | None, typer.Option("--suspects", help="Where the suspects are now, if moved.")
]


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that may hold text of rows, each of them inert."""
    stdout = own_stdout()
    try:
        for line in lines:
            typer.echo(one_line(line), file=stdout)
    except BrokenPipeError:
        # Whoever read along has seen enough; what was done is done.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stdout.fileno())


def print_summary(audit_report: AuditReport, out: Path) -> None:
    """Print what an audit found, and where its report is."""
    from dataaudit.report.summary import summary_lines
    from dataaudit.storage.store import place_of

    page = out / "report.html"
    print_lines([*summary_lines(audit_report), f"report: {place_of(page) or page.absolute()}"])


def conclude(result: AuditResult, out: Path) -> None:
    """Print the summary of an audit, and exit with 1 where a gate in its file failed."""
    if result.finished_before:
        print_lines(["already finished, from the same inputs; nothing was done again"])
    print_summary(result.report, out)
    if not result.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


def print_error(message: str, error: BaseException) -> None:
    """Print a message and the notes of its error on stderr."""
    lines = "\n".join([message, *getattr(error, "__notes__", [])])
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    text = printable(lines)
    if len(text) > LONGEST_MESSAGE:
        more = f" … ({len(text) - LONGEST_MESSAGE + 100:,} more characters)"
        text = text[: LONGEST_MESSAGE - 100] + more
    console.print(f"dataaudit: {text}")

"""What several commands share: options, exit codes, and how they print."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dataaudit.inert import one_line, printable

if TYPE_CHECKING:
    from dataaudit.report.data import AuditReport
    from dataaudit.report.result import AuditResult

EXIT_GATE_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

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


def print_lines(lines: Iterable[str]) -> None:
    """Print lines that may hold text of rows, each of them inert."""
    for line in lines:
        typer.echo(one_line(line))


def print_summary(audit_report: AuditReport, out: Path) -> None:
    """Print what an audit found, and where its report is."""
    from dataaudit.report.summary import summary_lines

    print_lines(summary_lines(audit_report))
    typer.echo(f"report: {(out / 'report.html').absolute()}")


def conclude(result: AuditResult, out: Path) -> None:
    """Print the summary of an audit, and exit with 1 where a gate in its file failed."""
    print_summary(result.report, out)
    if not result.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


def print_error(message: str, error: BaseException) -> None:
    """Print a message and the notes of its error on stderr."""
    lines = "\n".join([message, *getattr(error, "__notes__", [])])
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"dataaudit: {printable(lines)}")


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """End on Ctrl-C with one line that says what is left, before typer ends without a word."""
    import pyarrow

    # While it parses, pyarrow puts a handler of its own in place, which loses some interrupts.
    pyarrow.enable_signal_handlers(False)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        print_error("interrupted", interrupt)
        raise typer.Exit(EXIT_INTERRUPTED) from None

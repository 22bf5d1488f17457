"""The command line. Exit codes: 0 done; 1 done and a gate failed; 2 bad input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dataaudit.errors import ConfigError, DataAuditError

if TYPE_CHECKING:
    from dataaudit.report.data import AuditReport

EXIT_GATE_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

# torch is imported inside the commands: it takes longer than `--help` should.
app = typer.Typer(
    name="dataaudit",
    help="Audit training data with the trained model: mislabeled rows, leaked rows, a report.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the audit in the directory.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the unfinished audit in the directory.")
]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"dataaudit {version('dataaudit')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: `dataaudit run audit.yaml --out audit-2026-11`")
def run(
    audit_yaml: Annotated[Path, typer.Argument(help="What to audit; see README.")],
    out: Annotated[Path, typer.Option(help="Directory for the report and the tables.")],
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Audit what AUDIT_YAML names; write report and tables to the directory given by --out.

    Exits with 0 when done, 1 when done and a gate in the file failed, 2 on bad input, and 130 when
    interrupted; the same command with --resume then goes on where it stopped.
    """
    with _interruptible():
        from dataaudit.auditing import run_file

        result = run_file(audit_yaml, out, overwrite=overwrite, resume=resume)
    _print_summary(result.report, out)
    if not result.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


@app.command(epilog="Example: `dataaudit demo --out audit-demo`")
def demo(
    out: Annotated[Path, typer.Option(help="Directory for the report and the tables.")] = Path(
        "audit-demo"
    ),
) -> None:
    """Audit the handwritten digits that come with dataaudit, and count the planted faults found."""
    with _interruptible():
        from dataaudit.demo import run_demo

        result, findings = run_demo(out)
    _print_summary(result.report, out)
    for line in findings:
        typer.echo(one_line(line))


@app.command(epilog="Example: `dataaudit report audit-demo`")
def report(
    directory: Annotated[Path, typer.Argument(help="A finished audit's directory.")],
) -> None:
    """Render report.html of a finished audit again, from its audit.json."""
    from dataaudit.auditing import render_again

    typer.echo(f"report: {render_again(directory)}")


def _print_summary(audit_report: AuditReport, out: Path) -> None:
    from dataaudit.summary import summary_lines

    for line in summary_lines(audit_report):
        typer.echo(one_line(line))
    typer.echo(f"report: {(out / 'report.html').absolute()}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """End on Ctrl-C with one line that says what is left, before typer ends without a word."""
    import pyarrow

    # While it parses, pyarrow puts a handler of its own in place, which loses some interrupts.
    pyarrow.enable_signal_handlers(False)
    try:
        yield
    except KeyboardInterrupt as interrupt:
        _say("interrupted", interrupt)
        raise typer.Exit(EXIT_INTERRUPTED) from None


def main() -> None:
    """Run the command line, turning every error of the user's into one message and exit code 2."""
    try:
        app(standalone_mode=True)
    except ConfigError as error:
        _say(str(error), error)
        sys.exit(EXIT_BAD_INPUT)
    except DataAuditError as error:
        # Only the settings have several lines to complain of; elsewhere a line may be forged.
        _say(one_line(str(error)), error)
        sys.exit(EXIT_BAD_INPUT)


def _say(message: str, error: BaseException) -> None:
    lines = "\n".join([message, *getattr(error, "__notes__", [])])
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    console.print(f"dataaudit: {printable(lines)}")


def printable(text: str) -> str:
    """Replace control characters, which a stranger's file could aim at the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def one_line(text: str) -> str:
    """Return `printable(text)` with ends of lines replaced too: a stranger's could forge a line."""
    return printable(text.replace("\n", "\\n"))

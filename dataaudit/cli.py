"""The command line. How commands end, and with which code: `dataaudit.commands.ending`."""

from __future__ import annotations

import atexit
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import Annotated

import typer

from dataaudit.commands.certify import certify
from dataaudit.commands.compare import compare
from dataaudit.commands.demo import demo
from dataaudit.commands.ending import ends_cleanly
from dataaudit.commands.estimate import estimate
from dataaudit.commands.export import export
from dataaudit.commands.fix import fix
from dataaudit.commands.influence import influence
from dataaudit.commands.init import init
from dataaudit.commands.memorization import memorization
from dataaudit.commands.plan import plan
from dataaudit.commands.relabel import relabel
from dataaudit.commands.report import report
from dataaudit.commands.review import review
from dataaudit.commands.run import run
from dataaudit.commands.sample import sample
from dataaudit.commands.shared import EXIT_DEFECT, EXIT_INTERRUPTED
from dataaudit.commands.trace import trace
from dataaudit.commands.verify import verify

EXAMPLES: dict[Callable[..., None], str] = {
    run: "run audit.yaml --out audit-2026-11",
    plan: "plan audit.yaml",
    demo: "demo --out audit-demo",
    init: "init my-project",
    verify: "verify audit.yaml --out verified --groups 24",
    memorization: "memorization audit.yaml --out memorized",
    report: "report audit-demo",
    export: "export audit-demo --to csv --out to-review.csv",
    sample: "sample audit-demo --rows 60 --out sample.csv",
    estimate: "estimate audit-demo --decisions sample.csv",
    review: "review audit-demo",
    relabel: "relabel audit-demo --decisions reviewed.csv --out train-2.parquet",
    fix: "fix audit-demo --decisions reviewed.csv --out fixed",
    certify: "certify audit-demo",
    compare: "compare audit-2026-10 audit-2026-11 --out compared",
    trace: "trace --task causal-lm --model my-gpt --train corpus.jsonl "
    "--queries prompts.jsonl --out traced",
    influence: "influence audit.yaml --out influence --kind head",
}
"""The commands in the order of `--help`, each with what its own help shows."""

# torch is imported inside the commands: it takes longer than `--help` should.
app = typer.Typer(
    name="dataaudit",
    help="Audit training data with the trained model: mislabeled rows, leaked rows, a report.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command, example in EXAMPLES.items():
    app.command(epilog=f"Example: `dataaudit {example}`")(ends_cleanly(command))


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


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A console that lacks a letter shows its code instead.
            stream.reconfigure(errors="backslashreplace")
    before = set(threading.enumerate())
    try:
        app()
    except SystemExit as stopped:
        _leave_threads(before, stopped.code)
        raise


def program() -> None:
    """Run the command line as a process of its own.

    An interrupted one ends by its code. Python itself would end by the signal, whatever was made of
    it, where it came in the midst of code that is text: a class being made by an import, say.
    """
    try:
        main()
    except SystemExit as stopped:
        if stopped.code != EXIT_INTERRUPTED:
            raise
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(EXIT_INTERRUPTED)


def _leave_threads(before: set[threading.Thread], code: object) -> None:
    """End the process where threads that somebody's code began would keep it from ending."""
    left = [each for each in threading.enumerate() if each not in before and not each.daemon]
    if left:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else EXIT_DEFECT)

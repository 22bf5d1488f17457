"""The command line. Exit codes: 0 done; 1 done and a gate failed; 2 bad input."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from dataaudit.commands.compare import compare
from dataaudit.commands.demo import demo
from dataaudit.commands.estimate import estimate
from dataaudit.commands.export import export
from dataaudit.commands.influence import influence
from dataaudit.commands.init import init
from dataaudit.commands.memorization import memorization
from dataaudit.commands.relabel import relabel
from dataaudit.commands.report import report
from dataaudit.commands.run import run
from dataaudit.commands.sample import sample
from dataaudit.commands.shared import EXIT_BAD_INPUT, print_error
from dataaudit.commands.trace import trace
from dataaudit.commands.verify import verify
from dataaudit.errors import ConfigError, DataAuditError
from dataaudit.inert import one_line

EXAMPLES: dict[Callable[..., None], str] = {
    run: "run audit.yaml --out audit-2026-11",
    demo: "demo --out audit-demo",
    init: "init my-project",
    verify: "verify audit.yaml --out verified --groups 24",
    memorization: "memorization audit.yaml --out memorized",
    report: "report audit-demo",
    export: "export audit-demo --to csv --out to-review.csv",
    sample: "sample audit-demo --rows 60 --out sample.csv",
    estimate: "estimate audit-demo --decisions sample.csv",
    relabel: "relabel audit-demo --decisions reviewed.csv --out train-2.parquet",
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
    app.command(epilog=f"Example: `dataaudit {example}`")(command)


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
    """Run the command line, turning every error of the user's into one message and exit code 2."""
    try:
        app(standalone_mode=True)
    except ConfigError as error:
        print_error(str(error), error)
        sys.exit(EXIT_BAD_INPUT)
    except DataAuditError as error:
        # Only the settings have several lines to complain of; elsewhere a line may be forged.
        print_error(one_line(str(error)), error)
        sys.exit(EXIT_BAD_INPUT)

"""The command line. Exit codes: 0 done; 1 done and a gate failed; 2 bad input."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dataaudit.errors import ConfigError, DataAuditError
from dataaudit.exports.choices import ExportFormat, Selection
from dataaudit.inert import one_line, printable

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
    _print_lines(findings)


@app.command(epilog="Example: `dataaudit init my-project`")
def init(
    folder: Annotated[Path, typer.Argument(help="Where your data and weights are.")] = Path(),
) -> None:
    """Look at your files; write a commented audit.yaml and a my_model.py with one function to fill.

    Nothing that exists is overwritten.
    """
    from dataaudit.scaffold.write import init as write_scaffold

    _print_lines(write_scaffold(folder))


@app.command(epilog="Example: `dataaudit verify audit.yaml --out verified --groups 24`")
def verify(
    audit_yaml: Annotated[Path, typer.Argument(help="What to verify; held_out are the queries.")],
    out: Annotated[Path, typer.Option(help="Directory for page, JSON and points.")],
    groups: Annotated[int, typer.Option(help="Groups of rows left out, of each design.")] = 16,
    group_size: Annotated[
        int | None, typer.Option(help="Rows left out together; 1 is leave-one-out.")
    ] = None,
    rows: Annotated[int, typer.Option(help="Training rows used; drawn where there are more.")] = (
        2000
    ),
    repeats: Annotated[int, typer.Option(help="Trainings of each kind, from other seeds.")] = 2,
    start: Annotated[
        str, typer.Option(help="Train again from `fresh` or from `trained` weights.")
    ] = "fresh",
    epochs: Annotated[int, typer.Option(help="Of training again.")] = 10,
    learning_rate: Annotated[float, typer.Option(help="Of training again.")] = 3e-3,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = (
        False
    ),
) -> None:
    """Check by training again how far influence can be trusted for this model and these data.

    The model is trained again without groups of rows, and with queries added; a logistic
    regression of scikit-learn is fitted again. Cost: repeats × (3 × groups + 14) trainings.
    """
    with _interruptible():
        from dataaudit.outputs import check_directory
        from dataaudit.verification.check import verify_file
        from dataaudit.verification.settings import VerifySettings
        from dataaudit.verification.write import FILES, write_verification

        settings = VerifySettings(
            groups=groups,
            group_size=group_size,
            rows=rows,
            repeats=repeats,
            start=start,
            epochs=epochs,
            learning_rate=learning_rate,
        )
        check_directory(FILES, out, overwrite=overwrite)
        result = verify_file(audit_yaml, settings)
        page = write_verification(result, out, overwrite=overwrite)
    _print_lines([result.report.headline])
    typer.echo(f"verification: {page}")


@app.command(epilog="Example: `dataaudit memorization audit.yaml --out memorized`")
def memorization(
    audit_yaml: Annotated[Path, typer.Argument(help="Whose training rows to look at.")],
    out: Annotated[Path, typer.Option(help="Directory for page, JSON and table.")],
    draws: Annotated[int, typer.Option(help="Halves of the rows that are relearned, even.")] = 8,
    passes: Annotated[float, typer.Option(help="Over each half.")] = 5.0,
    keep: Annotated[float, typer.Option(help="Share of the trained weights kept, 0 to 1.")] = 0.7,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results.")] = (
        False
    ),
) -> None:
    """Find the rows whose prediction depends on their having been trained on: the long tail.

    Writes memorization.parquet with one line for every training row, and a page of the rows at
    the top.
    """
    with _interruptible():
        from dataaudit.memorized.check import memorization_file
        from dataaudit.memorized.settings import MemorizationSettings
        from dataaudit.memorized.write import FILES, write_memorization
        from dataaudit.outputs import check_directory

        settings = MemorizationSettings(draws=draws, passes=passes, keep=keep)
        check_directory(FILES, out, overwrite=overwrite)
        result = memorization_file(audit_yaml, settings)
        page = write_memorization(result, out, overwrite=overwrite)
    _print_lines([result.report.headline])
    typer.echo(f"memorization: {page}")


@app.command(epilog="Example: `dataaudit report audit-demo`")
def report(
    directory: Annotated[Path, typer.Argument(help="A finished audit's directory.")],
) -> None:
    """Render report.html of a finished audit again, from its audit.json."""
    from dataaudit.auditing import render_again

    typer.echo(f"report: {render_again(directory)}")


AuditDirectory = Annotated[Path, typer.Argument(help="A finished audit's directory.")]
MovedData = Annotated[
    Path | None, typer.Option("--data", help="Where the training data is now, if it was moved.")
]


@app.command(epilog="Example: `dataaudit export audit-demo --to csv --out to-review.csv`")
def export(
    directory: AuditDirectory,
    to: Annotated[ExportFormat, typer.Option(help="The format.")],
    out: Annotated[Path | None, typer.Option(help="The file; else beside the directory.")] = None,
    only: Annotated[Selection, typer.Option(help="Which rows.")] = Selection.flagged,
    data: MovedData = None,
) -> None:
    """Write the rows of a finished audit for review, most suspicious first.

    In CSV, fill `decision` (keep, relabel, unsure), `new_label` and `reviewer`, then hand the file
    to `dataaudit relabel`. For Label Studio, a labelling configuration is written as well.
    """
    from dataaudit.exports.export import export as export_audit

    only_flagged = only is Selection.flagged
    _print_lines(export_audit(directory, to, out, only_flagged=only_flagged, moved_to=data))


@app.command(
    epilog="Example: `dataaudit relabel audit-demo --decisions reviewed.csv --out train-2.parquet`"
)
def relabel(
    directory: AuditDirectory,
    decisions: Annotated[
        Path, typer.Option(help="CSV with row_id and decision or new_label; or Label Studio JSON.")
    ],
    out: Annotated[Path, typer.Option(help="The corrected data, in the original's format.")],
    data: MovedData = None,
) -> None:
    """Write the training data with the reviewers' labels; log them, measure the precision reached.

    The original is never changed. Decisions that do not fit the audit are refused.
    """
    from dataaudit.relabel import relabel as relabel_data

    _print_lines(relabel_data(directory, decisions, out, moved_to=data))


@app.command(epilog="Example: `dataaudit compare audit-2026-10 audit-2026-11 --out compared`")
def compare(
    old: Annotated[Path, typer.Argument(help="The earlier audit's directory.")],
    new: Annotated[Path, typer.Argument(help="The later audit's directory.")],
    out: Annotated[
        Path | None, typer.Option(help="Directory for compare.html and compare.json.")
    ] = None,
) -> None:
    """Say which flagged rows and leaks were fixed, which are new, and which remain."""
    from dataaudit.compare.write import compare_directories

    _print_lines(compare_directories(old, new, out))


@app.command(
    epilog="Example: `dataaudit trace --task causal-lm --model my-gpt --train corpus.jsonl "
    "--queries prompts.jsonl --out traced`"
)
def trace(
    audit_yaml: Annotated[
        Path | None, typer.Argument(help="What to trace, as for run; or give the options below.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Directory for the report and the tables.")] = Path(
        "traced"
    ),
    task: Annotated[str | None, typer.Option(help="causal-lm or diffusion.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A local folder of the trained model, safetensors.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="The training rows, with `text`.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="What was generated: `prompt` and `completion`, or `text`.")
    ] = None,
    train_id: Annotated[
        str | None, typer.Option("--id", help="The id column of the training rows.")
    ] = None,
    query_id: Annotated[str | None, typer.Option(help="The id column of the queries.")] = None,
    overwrite: Overwrite = False,
    resume: Resume = False,
) -> None:
    """Find the training rows behind what a model generated; write report and tables to --out.

    contamination.parquet lists, for each query, the rows it owes most to, best first.
    """
    options = {"--model": model, "--train": train, "--queries": queries}
    given = [name for name, value in options.items() if value is not None]
    if (audit_yaml is None) == (not given) or (audit_yaml is None and len(given) < len(options)):
        raise ConfigError(
            "expected either AUDIT_YAML, or all of --model, --train and --queries; found "
            f"{', '.join([*(['AUDIT_YAML'] if audit_yaml else []), *given]) or 'neither'}"
        )
    with _interruptible():
        from dataaudit.attribution import api

        if audit_yaml is not None:
            result = api.trace_file(audit_yaml, out, task=task, overwrite=overwrite, resume=resume)
        else:
            result = api.trace(
                model,
                train,
                queries,
                task=task or "causal-lm",
                id=train_id,
                query_id=query_id,
                out=out,
                overwrite=overwrite,
                resume=resume,
            )
    _print_summary(result.report, out)
    if not result.passed:
        raise typer.Exit(EXIT_GATE_FAILED)


@app.command(epilog="Example: `dataaudit influence audit.yaml --out influence --kind head`")
def influence(
    audit_yaml: Annotated[Path, typer.Argument(help="Its train and held_out are used.")],
    out: Annotated[Path, typer.Option(help="Directory for the scores.")],
    kind: Annotated[str, typer.Option(help="The mirror: auto, finite, linear or head.")] = "auto",
    steps: Annotated[int, typer.Option(help="Steps that each group is learned for.")] = 1,
    learning_rate: Annotated[float, typer.Option(help="Of these steps.")] = 1e-2,
    groups: Annotated[
        str | None, typer.Option(help="Column of held_out: its values are the query groups.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the scores in the directory.")
    ] = False,
) -> None:
    """Score every training row against groups of held-out samples: what learning them does to it.

    Without --groups, each held-out sample stands alone. docs/speed.md describes the tables.
    """
    with _interruptible():
        from dataaudit.influence.run import influence_file

        mirror = {"kind": kind, "steps": steps, "learning_rate": learning_rate}
        found = influence_file(audit_yaml, out, groups, mirror, overwrite=overwrite)
    _print_lines(found.summary())


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(one_line(line))


def _print_summary(audit_report: AuditReport, out: Path) -> None:
    from dataaudit.summary import summary_lines

    _print_lines(summary_lines(audit_report))
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

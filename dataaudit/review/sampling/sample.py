"""`dataaudit sample`: rows drawn at random, for reviewers to decide."""

from __future__ import annotations

from pathlib import Path

from dataaudit.datasets.rewriting import refuse_existing
from dataaudit.errors import ConfigError, DataError
from dataaudit.review.exports.choices import ExportFormat
from dataaudit.review.exports.export import write_rows
from dataaudit.review.sampling.design import draw, positions
from dataaudit.review.sampling.record import Draw, add_draw
from dataaudit.review.sampling.shown import write_drawn
from dataaudit.run_directory.finished import FinishedAudit

FORMATS = {".csv": ExportFormat.csv, ".json": ExportFormat.label_studio}


def sample(
    directory: Path, rows: int, out: Path, *, seed: int = 0, moved_to: Path | None = None
) -> list[str]:
    """Draw rows to review, write them, and say what was drawn in lines.

    Parameters
    ----------
    directory : Path
        A finished audit; its `sample.json` records the draw.
    rows : int
        How many rows to draw, at least 1.
    out : Path
        A new `.csv` file, or a `.json` file for Label Studio.
    seed : int
        Of the draw; another seed draws other rows.
    moved_to : Path or None
        Where the training data is now, if it was moved since the audit.

    Raises
    ------
    DataAuditError
        There is no audit, its data has gone or changed, or the file exists already.
    """
    if rows < 1:
        raise ConfigError(f"--rows: found {rows}, expected at least 1")
    if not 0 <= seed < 2**53:
        raise ConfigError(f"--seed: found {seed}, expected 0 to {2**53 - 1}")
    to = FORMATS.get(out.suffix.lower())
    if to is None:
        raise ConfigError(f"--out: found {out}, expected a file that ends in .csv or .json")
    audit = FinishedAudit.open(directory)
    if audit.mislabels["probability"].isna().all():
        raise DataError(f"{directory}: no label was judged in this audit, so none can be drawn")
    refuse_existing(out)
    if to is ExportFormat.label_studio:
        refuse_existing(out.with_suffix(".xml"))
    samples = audit.training_rows(moved_to)
    strata = draw(audit.mislabels, rows, seed)
    # Before the rows: a file of rows whose draw nobody knows would be of no use.
    add_draw(directory, len(audit.mislabels), Draw.of(seed, strata))
    lines = write_rows(audit, samples, positions(strata), out, to)
    write_drawn(audit, samples, seed, strata)
    flagged = sum(len(item.drawn) for item in strata if item.flagged)
    below = sum(len(item.drawn) for item in strata if not item.flagged)
    return [
        f"drawn at random: {flagged:,} of {sum(s.rows for s in strata if s.flagged):,} flagged "
        f"rows, {below:,} of {sum(s.rows for s in strata if not s.flagged):,} others",
        *lines,
        f"next: decide them in the page (dataaudit review {directory} --serve) and then run "
        f"dataaudit estimate {directory}, or fill in decision and give it --decisions {out}",
    ]

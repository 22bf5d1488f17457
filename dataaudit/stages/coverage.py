"""Coverage: what of the data the audit could not look at, counted; what was not counted is None."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.flags.results import ContaminationFlags
from dataaudit.inputs import Loaded
from dataaudit.models.text_inputs import TextInputs
from dataaudit.models.word_inputs import WordInputs
from dataaudit.report.data import Coverage
from dataaudit.stages.leaks import CALIBRATION_ROWS
from dataaudit.stages.model_check import note as note_of_check
from dataaudit.stages.screening import note

ROWS_PER_READ = 4096
SPLITS = {"train": "training rows", "held_out": "trusted samples", "suspects": "suspects"}


def coverage(
    loaded: Loaded, contamination: ContaminationFlags | None, notes: Sequence[str]
) -> Coverage:
    """Return what was left out, missing, cut off or drawn, and the notes of the run."""
    asides = loaded.set_aside
    return Coverage(
        rows_not_scored=len(asides["train"]),
        suspects_not_scored=len(asides["suspects"]) if "suspects" in asides else 0,
        sampling=sampling(loaded, contamination),
        truncation=truncation(loaded),
        missing_values=missing_values(loaded.train),
        notes=[
            *([] if loaded.check is None else [note_of_check(loaded.check)]),
            *_how_files_were_read(loaded),
            *(note(aside) for aside in asides.values() if len(aside)),
            *notes,
        ],
    )


def _how_files_were_read(loaded: Loaded) -> list[str]:
    """Return what was guessed of how the rows of each split are written."""
    notes = []
    for samples in (loaded.train, loaded.held_out, loaded.suspects):
        source = None if samples is None else samples.source
        said = source.note() if isinstance(source, ColumnSource) else None
        if samples is not None and said is not None:
            notes.append(f"{samples.role} ({Path(samples.source.description).name}): {said}")
    return notes


def missing_values(samples: Samples) -> dict[str, int] | None:
    """Return, per column of a table, how many rows have no value; None where rows are no table.

    Columns without a missing value are left out.
    """
    if samples.modality != "table":
        return None
    totals: dict[str, int] = {}
    special = samples.special_columns()
    for batch in samples.batches(ROWS_PER_READ):
        frame = batch.frame
        for name in [name for name in frame.columns if name not in special]:
            totals[str(name)] = totals.get(str(name), 0) + int(frame[name].isna().sum())
    return {name: count for name, count in totals.items() if count}


def truncation(loaded: Loaded) -> str | None:
    """Count the texts that the model sees the beginning of only; None where nobody can count.

    What a `preprocess` of the user's own cuts off is not known. Lists of words are never cut off:
    such rows are refused.
    """
    inputs = loaded.model.preprocess
    if not isinstance(inputs, TextInputs) or isinstance(inputs, WordInputs):
        return None
    counts = []
    for samples in (loaded.train, loaded.held_out, loaded.suspects):
        if samples is not None:
            cut = sum(
                int((inputs.lengths(batch.frame) > inputs.max_length).sum())
                for batch in samples.batches(ROWS_PER_READ)
            )
            counts.append(f"{cut:,} of {len(samples):,} {SPLITS[samples.role]}")
    return f"texts cut off after {inputs.max_length} tokens: {', '.join(counts)}"


def sampling(loaded: Loaded, contamination: ContaminationFlags | None) -> str | None:
    """Say what was looked at in a part of the rows only; None where all were looked at."""
    if contamination is None:
        return None
    parts = []
    best = (contamination.table["rank"] == 1).to_numpy()
    found = contamination.evidence[best]
    unlearned = int(found["influence_score"].notna().sum())
    # Of what is identical to a row the model has nothing to say.
    if 0 < unlearned < int((found["kind"] != "exact").sum()):
        parts.append(
            f"{unlearned:,} of {len(found):,} suspects were unlearned, those most like a training "
            "row and not identical to one"
        )
    rows = len(loaded.train)
    if rows > CALIBRATION_ROWS:
        parts.append(
            f"at most {CALIBRATION_ROWS:,} of {rows:,} training rows, drawn at random, stood "
            "in for clean suspects"
        )
    return f"{'; '.join(parts)}; every row and suspect was scored" if parts else None

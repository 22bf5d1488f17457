"""`dataaudit memorization`: load, relearn halves, ask the other halves, report."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataaudit.config import EVERYWHERE, LOADING, AuditConfig, config_from_python, load_config
from dataaudit.config_errors import refuse_unread
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, outlives_exits
from dataaudit.inputs import Loaded
from dataaudit.report import formats
from dataaudit.report.label_findings import plain_label
from dataaudit.report.samples import clean_text, plain_id
from dataaudit.run_directory.ownership import Kind
from dataaudit.scoring.choice import make_engine
from dataaudit.stages.evidence import exhibits_of
from dataaudit.stages.loading import load, load_objects
from dataaudit.studies.memorization.data import ClassMemorization, MemorizationReport, MemorizedRow
from dataaudit.studies.memorization.estimate import FEWEST_ROWS, Estimated, Floats, estimate
from dataaudit.studies.memorization.page import MEMORIZED, render_memorization
from dataaudit.studies.memorization.settings import MemorizationSettings
from dataaudit.studies.results import StudyResult, common_facts, require_task

PAGE, DATA, ROWS = "memorization.html", "memorization.json", "memorization.parquet"
MEMORIZATIONS = Kind("memorization", (PAGE, DATA, ROWS), DATA, ("schema_version", "long_tail"))
READ = EVERYWHERE | LOADING | {"engine", "precision", "compile", "batch_size"}
"""What is read of the settings."""
TASK = "classification"
"""Of others, losses stand for densities, which have no upper bound to compare with."""
LONG_TAIL = 100
"""Rows shown; the table holds all."""
BINS_OF_ONE = 20


@dataclass(frozen=True, repr=False)
class MemorizationResult(StudyResult):
    """What was found.

    Attributes
    ----------
    rows : pandas.DataFrame
        One line for every training row, in their order: `row_id`, `label`, `memorization`
        (-1 to 1; positive: the row's own label is likelier because the row was trained on),
        `standard_error` (missing with two draws), `likelihood` (of the label under the trained
        model), `likelihood_without` (under models that relearned the other rows), `rank` (1 =
        most memorized).
    report : MemorizationReport
        The machine-readable whole, as in `memorization.json`.
    """

    rows: pd.DataFrame
    report: MemorizationReport

    kind = MEMORIZATIONS

    def _table(self) -> pd.DataFrame:
        return self.rows

    def _page(self) -> str:
        return render_memorization(self.report)


def memorization_file(
    audit_yaml: Path, settings: MemorizationSettings | None = None
) -> MemorizationResult:
    """Look at what an `audit.yaml` describes; what `dataaudit memorization` does.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    require_task(config, TASK)
    refuse_unread(audit_yaml, config, READ, "dataaudit memorization")
    # Only the training rows are looked at.
    config = config.model_copy(update={"held_out": None, "suspects": None})
    loaded = load(config, audit_yaml.resolve().parent)
    return _memorization(loaded, config, settings or MemorizationSettings())


@outlives_exits
def memorization(
    model: Any,
    train: Any,
    *,
    preprocess: Any = None,
    label: str = "label",
    id: str | None = None,
    settings: MemorizationSettings | None = None,
    **audit_settings: Any,
) -> MemorizationResult:
    """Find the rows whose prediction depends on their having been trained on.

    Parameters
    ----------
    model : torch.nn.Module or fitted scikit-learn classifier
        The trained model; it is not changed.
    train : pandas.DataFrame, torch Dataset, Hugging Face Dataset or (X, y) arrays
        The rows that it was trained on.
    preprocess : callable, optional
        (pandas.DataFrame) -> the model's input: a tensor, or a dict or tuple of tensors.
    label, id : str, optional
        The label column, and the id column (None: row numbers).
    settings : MemorizationSettings, optional
    **audit_settings
        Keys of `audit.yaml`: name, classes, mirror (seed), batch_size, device, engine, precision,
        compile.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = config_from_python(label, id, audit_settings)
    require_task(config, TASK)
    refuse_unread("memorization()", config, READ, "dataaudit.memorization")
    loaded = load_objects(model, {"train": train}, preprocess, config)
    return _memorization(loaded, config, settings or MemorizationSettings())


def _memorization(
    loaded: Loaded, config: AuditConfig, settings: MemorizationSettings
) -> MemorizationResult:
    start = time.perf_counter()
    rows = loaded.train
    if len(rows) < FEWEST_ROWS:
        raise DataError(
            f"{rows.source.description}: found {len(rows)} rows, expected at least {FEWEST_ROWS} "
            "to relearn halves of them"
        )
    seed = config.mirror.seed
    found = estimate(loaded.model, loaded.task, rows, make_engine(config), settings, seed)
    lines = _table(rows, found)
    memorized = int((found.memorization >= MEMORIZED).sum())
    counts, edges = np.histogram(found.memorization, _edges(found.memorization))
    report = MemorizationReport(
        **common_facts(loaded, [rows], config, start),
        headline=_headline(memorized, len(rows)),
        rows=len(rows),
        memorized=memorized,
        mean=float(found.memorization.mean()),
        edges=edges.tolist(),
        counts=counts.tolist(),
        classes=_classes(rows, found.memorization),
        long_tail=_long_tail(rows, lines),
        method=_method(settings),
        forward_passes=settings.forward_passes(len(rows)),
        settings=asdict(settings),
    )
    return MemorizationResult(lines, report)


def _table(rows: Samples, found: Estimated) -> pd.DataFrame:
    order = np.argsort(-found.memorization, kind="stable")
    rank = np.empty(len(rows), dtype=np.int64)
    rank[order] = np.arange(1, len(rows) + 1)
    return pd.DataFrame(
        {
            "row_id": rows.ids,
            "label": rows.label_values(),
            "memorization": found.memorization,
            "standard_error": found.spread,
            "likelihood": found.likelihood,
            "likelihood_without": found.likelihood_without,
            "rank": rank,
        }
    )


def _edges(values: Floats) -> Floats:
    """Return the edges of bins of one twentieth, one of them at one half."""
    lowest = int(np.floor(min(0.0, values.min()) * BINS_OF_ONE))
    return np.arange(lowest, BINS_OF_ONE + 1) / BINS_OF_ONE


def _headline(memorized: int, rows: int) -> str:
    if memorized == 0:
        return "No training row owes half of its prediction or more to having been trained on"
    verb = "owes" if memorized == 1 else "owe"
    return (
        f"{formats.rows(memorized, 'training row')} ({formats.percent(memorized / rows)}) {verb} "
        "half of the prediction or more to having been trained on"
    )


def _classes(rows: Samples, values: Floats) -> list[ClassMemorization]:
    result = []
    for index, name in enumerate(rows.classes):
        own = values[rows.labels == index]
        if len(own):
            result.append(
                ClassMemorization(
                    label=plain_label(name),
                    rows=len(own),
                    mean=float(own.mean()),
                    memorized=int((own >= MEMORIZED).sum()),
                )
            )
    return sorted(result, key=lambda item: -item.mean)


def _long_tail(rows: Samples, table: pd.DataFrame) -> list[MemorizedRow]:
    positions = np.argsort(table["rank"].to_numpy(), kind="stable")[:LONG_TAIL]
    lines = table.iloc[positions].to_dict("records")
    return [
        MemorizedRow(
            row_id=plain_id(line["row_id"]),
            label=plain_label(line["label"]),
            memorization=line["memorization"],
            standard_error=None if np.isnan(line["standard_error"]) else line["standard_error"],
            likelihood=line["likelihood"],
            likelihood_without=line["likelihood_without"],
            text=None if exhibit.text is None else clean_text(exhibit.text),
            image=exhibit.image,
            fields={clean_text(key): clean_text(value) for key, value in exhibit.fields.items()},
        )
        for line, exhibit in zip(lines, exhibits_of(rows, positions), strict=True)
    ]


def _method(settings: MemorizationSettings) -> str:
    return (
        f"{settings.draws} times, half of the rows was relearned ({settings.passes:g} passes of "
        f"AdamW, one cycle up to a learning rate of {settings.learning_rate:g}) from weights that "
        f"keep {formats.set_percent(settings.keep)} of the trained ones; a row's memorization is "
        "the likelihood of its label under the trained model, less that under the models that "
        "did not relearn the row"
    )

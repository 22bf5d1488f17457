"""An audit of files alone, without a model: what can be said of data in seconds."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.columns import ROWS_PER_READ
from dataaudit.checks.running import Checked, run_checks
from dataaudit.config import AuditConfig, DataConfig
from dataaudit.datasets.column_samples import column_samples
from dataaudit.datasets.distinct_labels import are_indices, distinct_labels
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.like_training import open_suspects, read_like
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role, Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError
from dataaudit.flags.results import ContaminationFlags
from dataaudit.inputs import Files
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.tags import NOT_JUDGED
from dataaudit.labels.values import short, unusable
from dataaudit.report.build import build_report
from dataaudit.report.data import AuditReport, Coverage, Method
from dataaudit.report.evidence import Evidence
from dataaudit.report.render import render
from dataaudit.report.result import AuditResult
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.finished import read_again
from dataaudit.run_directory.manifest import Clock, build_manifest, versions
from dataaudit.run_directory.store import (
    CONTAMINATION,
    ISSUES,
    MISLABELS,
    RunDirectory,
    audit_results,
)
from dataaudit.stages.checking import check_gates, examined, turned_off
from dataaudit.stages.composition import composition
from dataaudit.stages.coverage import missing_values
from dataaudit.stages.evidence import leak_evidence
from dataaudit.stages.flagging import no_pairs
from dataaudit.stages.leaks import find_contamination
from dataaudit.stages.loading import read_settings
from dataaudit.stages.reporting import gates_of, splits_of
from dataaudit.storage.on_disk import large_arrays_in

LABEL = DataConfig.model_fields["label"].default
"""The label column where none is named; data without it has no labels."""


def open_files(config: AuditConfig) -> Files:
    """Open the splits that an `audit.yaml` names, without a model.

    The classes are those that occur. Labels that are missing are kept, and reported.

    Raises
    ------
    DataError
        A split is missing or unreadable, or lacks a column that is named.
    """
    train, classes = _open_train(config)
    others: dict[Role, Samples] = {}
    roles: tuple[Role, ...] = ("held_out", "suspects")
    for role in roles:
        columns: DataConfig | None = getattr(config, role)
        if columns is None:
            continue
        settings = replace(_settings(config, columns, role), classes=classes)
        if not train.labelled:
            settings = replace(settings, label=None)
        if role == "suspects":
            opened = open_suspects(partial(_open, columns.path), settings, train)
        else:
            opened = _open(columns.path, settings)
        others[role] = replace(
            read_like(opened, train), labelled=train.labelled and opened.labelled
        )
    named = {
        item.name: _as_texts(
            _open(item.path, replace(_settings(config, item, "suspects"), label=None)), item
        )
        for item in config.benchmarks
    }
    return Files(
        train,
        others.get("held_out"),
        others.get("suspects"),
        benchmarks={name: read_like(samples, train) for name, samples in named.items()},
        benchmark_scores={
            item.name: _numbers(named[item.name], item.score)
            for item in config.benchmarks
            if item.score is not None
        },
    )


def _numbers(samples: Samples, column: str) -> NDArray[np.float64]:
    """Return a column of numbers, `[rows]`.

    Raises
    ------
    DataError
        There is no such column, or a value that is no number.
    """
    columns = [str(name) for name in samples.take([0]).frame.columns]
    if column not in columns:
        raise DataError(
            f"{samples.source.description}: no column {column!r} (score); the columns are "
            f"{', '.join(map(repr, columns[:20]))}"
        )
    parts = []
    for batch in samples.batches(ROWS_PER_READ):
        numbers = pd.to_numeric(batch.frame[column], errors="coerce")
        values = numbers.to_numpy(np.float64, na_value=np.nan)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            place = int(wrong[0])
            raise DataError(
                f"{samples.source.description}, row {batch.ids[place]}: found "
                f"{short(batch.frame[column].iloc[place])} in {column!r}, expected a number (score)"
            )
        parts.append(values)
    return np.concatenate(parts)


def _as_texts(samples: Samples, columns: DataConfig) -> Samples:
    """Return samples with the column of texts that is named, where it is there."""
    if columns.text not in samples.take([0]).frame.columns:
        return samples
    return replace(samples, modality="text", content_column=columns.text)


def _settings(config: AuditConfig, columns: DataConfig, role: Role) -> ReadSettings:
    return read_settings(config, columns, role, config.classes, tolerate=True)


def _open(path: Path, settings: ReadSettings) -> Samples:
    return column_samples(open_source(path, tolerate=True), settings)


def _open_train(config: AuditConfig) -> tuple[Samples, list[str | int] | None]:
    settings = _settings(config, config.train, "train")
    source = open_source(config.train.path, tolerate=True)
    named = config.train.label != LABEL or config.train.labels is not None or settings.answers
    if not named and LABEL not in source.columns():
        train = replace(column_samples(source, replace(settings, label=None)), labelled=False)
        return _as_texts(train, config.train) if config.task == "causal-lm" else train, None
    if config.classes is None and KINDS[config.task].indices:
        settings = replace(settings, classes=_classes_of(source, settings))
    train = column_samples(source, settings)
    if unusable(train.labels).all():
        # Where no label can be used, they are read otherwise than they are meant: say of the first.
        column_samples(source, replace(settings, tolerate=False))
    return train, list(train.classes) or None


def _classes_of(source: ColumnSource, settings: ReadSettings) -> list[str | int] | None:
    """Return the labels that occur, or None where the data says by itself what they are."""
    label = settings.label
    if not isinstance(label, str) or label not in source.columns():
        return None
    if source.stored_classes(label) is not None:
        return None
    unjudged = {str(settings.ignore)} if settings.ignore is not None else set()
    if settings.kind.per_word:
        unjudged.add(str(NOT_JUDGED))
    every = distinct_labels(source, label, several=settings.kind.per_word)
    values = [value for value in every if str(value) not in unjudged]
    return None if are_indices(values) or _are_fractions(values) else values


def _are_fractions(values: list[str | int]) -> bool:
    """Tell whether labels are numbers with a fraction, which the reader refuses with advice."""
    with contextlib.suppress(ValueError):
        return any(not float(value).is_integer() for value in values)
    return False


def audit_files(
    config: AuditConfig, files: Files, directory: RunDirectory, folder: Path, clock: Clock
) -> AuditResult:
    """Look for leaks by content, run all checks that need no model, and write the directory."""
    fingerprint = Fingerprint.of(config, files, folder)
    made_from = fingerprint.of_inputs(config)
    if directory.finished_before:
        return read_again(directory.path, made_from)
    steps = directory.begin(fingerprint)
    quick = files.quick_to_take(steps.folder)
    data = examined(quick, config)
    directory.notes.extend(turned_off(config))
    with clock.stage("flag contamination"), large_arrays_in(steps.folder):
        contamination = find_contamination(quick, None, config, data)
    with clock.stage("checks"), large_arrays_in(steps.folder):
        checked = run_checks(data.with_flags(None, contamination), config.checks)
    with clock.stage("report"):
        report = _report(config, quick, contamination, checked, directory, clock)
        page = render(report)
    rows = unjudged_rows(files.train)
    pairs = no_pairs(files) if contamination is None else contamination.table
    tables = {MISLABELS: rows, CONTAMINATION: pairs, ISSUES: checked.issues}
    manifest = build_manifest(config, files, clock, made_from)
    directory.publish(audit_results(tables, report.model_dump_json(indent=2), page, manifest))
    nothing = pd.DataFrame({"row_id": [], "split": [], "reason": []}, dtype=str)
    return AuditResult(rows, pairs, nothing, report, issues=checked.issues)


def unjudged_rows(train: Samples) -> pd.DataFrame:
    """Return `mislabels.parquet` where no label is judged: a line for every row, no scores."""
    count = len(train)
    given = np.full(count, None, dtype=object)
    if train.labelled:
        usable = train.kind.usable(train.labels, train.classes)
        given[usable] = train.label_values(train.labels[usable])
    return pd.DataFrame(
        {
            "row_id": train.ids,
            "given_label": pd.Series(given.tolist()).convert_dtypes(),
            "suggested_label": pd.array([None] * count, dtype="string"),
            "score": np.full(count, np.nan),
            "probability": np.full(count, np.nan),
            "flagged": np.zeros(count, dtype=bool),
            "rank": np.arange(1, count + 1, dtype=np.int64),
        }
    )


def _report(
    config: AuditConfig,
    files: Files,
    contamination: ContaminationFlags | None,
    checked: Checked,
    directory: RunDirectory,
    clock: Clock,
) -> AuditReport:
    pairs, contradictions = leak_evidence(contamination, files.train, files.suspects)
    return build_report(
        name=config.name,
        task=config.task,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        splits=splits_of(files),
        mislabels=None,
        contamination=contamination,
        evidence=Evidence({}, pairs, composition(files), contradictions),
        gates=[*gates_of(config, None, contamination), *check_gates(config, checked)],
        about=config.about,
        method=Method(
            model_sha256=None,
            device=None,
            thresholds=[],
            settings={"model": "none was given: the data alone was looked at"},
            seeds={"checks": config.mirror.seed},
            versions=versions(),
            timings_seconds=dict(clock.seconds),
        ),
        coverage=Coverage(
            rows_not_scored=0,
            suspects_not_scored=0,
            sampling=None,
            truncation=None,
            missing_values=missing_values(files.train),
            notes=list(directory.notes),
        ),
        limits=[],
        tracing=None,
        checks=checked.sections,
    )

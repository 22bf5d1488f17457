"""Tracing as an audit: load → trace → report, into a run directory like any other."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from dataaudit.config import AuditConfig
from dataaudit.report.render import render
from dataaudit.report.result import AuditResult
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.finished import read_again
from dataaudit.run_directory.manifest import Clock, build_manifest
from dataaudit.run_directory.store import (
    CONTAMINATION,
    MISLABELS,
    SET_ASIDE,
    RunDirectory,
    audit_results,
)
from dataaudit.stages.screening import table_of, with_unjudged_rows, with_unjudged_suspects
from dataaudit.studies.tracing.loading import TraceInputs
from dataaudit.studies.tracing.reporting import make_trace_report
from dataaudit.studies.tracing.tracing import Traces, TraceSettings, trace_rows

MOST_ROWS_PER_BATCH = 64


def run_tracing(
    inputs: TraceInputs,
    config: AuditConfig,
    directory: RunDirectory,
    folder: Path | None,
    clock: Clock,
) -> AuditResult:
    """Trace the suspects to training rows and write the run directory."""
    fingerprint = Fingerprint.of(config, inputs, folder)
    made_from = fingerprint.of_inputs(config)
    if directory.finished_before:
        return read_again(directory.path, made_from)
    steps = directory.begin(fingerprint)
    settings = trace_settings(config)
    references = inputs.train if inputs.held_out is None else inputs.held_out
    with clock.stage("trace"):
        traces = trace_rows(
            inputs.tracer,
            inputs.train,
            inputs.suspects,
            references,
            settings,
            config.flags.false_discovery_rate,
            steps,
        )
    aside = inputs.set_aside
    pairs = with_unjudged_suspects(pair_table(traces, inputs), aside["suspects"])
    rows = with_unjudged_rows(unjudged_rows(inputs), aside["train"], inputs.train)
    with clock.stage("report"):
        report = make_trace_report(inputs, config, asdict(settings), traces, directory.notes, clock)
        page = render(report)
    not_used = table_of(aside)
    tables = {MISLABELS: rows, CONTAMINATION: pairs}
    if config.bad_rows.asked:
        tables[SET_ASIDE] = not_used
    manifest = build_manifest(config, inputs, clock, made_from)
    directory.publish(audit_results(tables, report.model_dump_json(indent=2), page, manifest))
    return AuditResult(rows, pairs, not_used, report)


def trace_settings(config: AuditConfig) -> TraceSettings:
    """Return the settings of tracing that an `audit.yaml` states."""
    return TraceSettings(
        top=config.trace.top,
        background=config.trace.background,
        calibration=config.trace.calibration,
        batch_size=min(config.batch_size, MOST_ROWS_PER_BATCH),
        seed=config.mirror.seed,
    )


def pair_table(traces: Traces, inputs: TraceInputs) -> pd.DataFrame:
    """Return `contamination.parquet`: the rows behind each query, best first."""
    positions = traces.rows.positions
    query, place = np.nonzero(positions >= 0)
    return pd.DataFrame(
        {
            "query_id": inputs.suspects.ids[query],
            "row_id": inputs.train.ids[positions[query, place]],
            "rank": (place + 1).astype(np.int64),
            "score": traces.rows.scores[query, place],
            "p_value": traces.p_values[query, place],
            "flagged": traces.flagged[query, place],
        }
    )


def unjudged_rows(inputs: TraceInputs) -> pd.DataFrame:
    """Return `mislabels.parquet` of a task without labels: every row, none judged."""
    count = len(inputs.train)
    return pd.DataFrame(
        {
            "row_id": inputs.train.ids,
            "given_label": pd.array([None] * count, dtype="string"),
            "suggested_label": pd.array([None] * count, dtype="string"),
            "score": np.full(count, np.nan),
            "probability": np.full(count, np.nan),
            "flagged": np.zeros(count, dtype=bool),
            "rank": np.arange(1, count + 1, dtype=np.int64),
        }
    )

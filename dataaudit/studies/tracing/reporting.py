"""The report of a trace: the best rows of each query, and what unlearning the query did to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from pydantic import JsonValue

from dataaudit.config import AuditConfig
from dataaudit.report.build import build_report
from dataaudit.report.data import (
    AuditReport,
    Coverage,
    Gate,
    Method,
    TracedQuery,
    TracedRow,
    Tracing,
)
from dataaudit.report.evidence import Evidence
from dataaudit.report.gates import counted, make_gate
from dataaudit.run_directory.manifest import Clock, versions
from dataaudit.stages.reporting import splits_of
from dataaudit.stages.screening import note
from dataaudit.studies.tracing.loading import TraceInputs
from dataaudit.studies.tracing.tracing import QUERIES_ENOUGH, Traces

QUERIES_ON_PAGE = 40
ROWS_ON_PAGE = 5
"""Rows shown of each query; contamination.parquet holds more."""


def make_trace_report(
    inputs: TraceInputs,
    config: AuditConfig,
    settings: Mapping[str, JsonValue],
    traces: Traces,
    notes: Sequence[str],
    clock: Clock,
) -> AuditReport:
    """Show the queries with the rows behind them, and put the report together."""
    tracing = _tracing(inputs, config, traces)
    return build_report(
        name=config.name,
        task=config.task,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        splits=splits_of(inputs),
        mislabels=None,
        contamination=None,
        checks=[],
        tracing=tracing,
        evidence=Evidence({}, {}, pd.DataFrame({"split": [], "class": [], "rows": []})),
        gates=_gates(config, tracing),
        about=config.about,
        method=Method(
            model_sha256=inputs.model.sha256(),
            device=str(inputs.model.device),
            settings={
                "model": inputs.model.description,
                "trace": inputs.tracer.method,
                **{f"trace.{name}": value for name, value in settings.items() if name != "seed"},
            },
            seeds={"trace": config.mirror.seed},
            versions=versions(),
            timings_seconds=dict(clock.seconds),
            thresholds=[],
        ),
        # Tracing cuts nothing off.
        coverage=Coverage(
            rows_not_scored=len(inputs.set_aside["train"]),
            suspects_not_scored=len(inputs.set_aside["suspects"]),
            sampling=None,
            truncation=None,
            missing_values=None,
            notes=[*(note(aside) for aside in inputs.set_aside.values() if len(aside)), *notes],
        ),
        limits=[],
    )


def _tracing(inputs: TraceInputs, config: AuditConfig, traces: Traces) -> Tracing:
    count = len(inputs.suspects)
    # Those with the clearest trace first.
    order = np.argsort(-traces.rows.scores[:, 0], kind="stable")[:QUERIES_ON_PAGE]
    shown = [_shown(inputs, traces, int(query)) for query in order]
    rate = config.flags.false_discovery_rate
    source = "training rows" if inputs.held_out is None else "trusted samples"
    return Tracing(
        direction=inputs.tracer.direction,
        queries=count,
        queries_flagged=int(traces.flagged[:, 0].sum()),
        can_tell=traces.can_tell,
        false_discovery_rate=rate,
        shown=shown,
        queries_left_out=count - len(shown),
        method=(
            f"{inputs.tracer.method} {_scale(inputs, config, source)} P-values compare a sample's "
            f"best row with the best rows of {traces.unrelated} further unrelated {source}."
        ),
    )


def _scale(inputs: TraceInputs, config: AuditConfig, source: str) -> str:
    if not inputs.tracer.against_background:
        return "Scores are the changes of the rows' losses."
    return (
        f"Each row's change is set against its own changes under up to {config.trace.background} "
        f"other queries, and where there are fewer than {QUERIES_ENOUGH} under unrelated {source} "
        "too; scores are in standard deviations of those, plus the typical row's."
    )


def _shown(inputs: TraceInputs, traces: Traces, query: int) -> TracedQuery:
    tracer = inputs.tracer
    perturbation = tracer.perturb(inputs.suspects, query)
    positions = traces.rows.positions[query, :ROWS_ON_PAGE]
    positions = positions[positions >= 0]
    (itself,) = tracer.show(inputs.suspects, [query], perturbation)
    rows = [
        TracedRow(
            rank=place + 1,
            score=float(traces.rows.scores[query, place]),
            change=float(traces.rows.changes[query, place]),
            p_value=float(traces.p_values[query, place]),
            flagged=bool(traces.flagged[query, place]),
            sample=sample,
        )
        for place, sample in enumerate(tracer.show(inputs.train, positions.tolist(), perturbation))
    ]
    return TracedQuery(query=itself, rows=rows)


def _gates(config: AuditConfig, tracing: Tracing) -> list[Gate]:
    limits, gates = config.gates, []
    if limits.mislabel_rate is not None:
        gates.append(make_gate("mislabel_rate", limits.mislabel_rate, None, (), limits.undecided))
    if limits.contaminated is not None:
        found = counted(tracing.queries_flagged) if tracing.can_tell else None
        gates.append(make_gate("contaminated", limits.contaminated, found, (), limits.undecided))
    return gates

"""The reporting stage: flags, evidence and facts about the run, as one typed report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import numpy as np

from dataaudit.checks.running import Checked
from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.flags.inputs import Unseen
from dataaudit.flags.results import ContaminationFlags, MislabelFlags
from dataaudit.inputs import AuditInputs, Loaded
from dataaudit.mirror.plan import Plan
from dataaudit.mirror.relearn import Mirror
from dataaudit.report.build import build_report
from dataaudit.report.data import AuditReport, Gate, Method, Split
from dataaudit.report.evidence import Evidence
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.label_findings import select_rows
from dataaudit.run_directory.manifest import Clock, versions
from dataaudit.stages.checking import check_gates
from dataaudit.stages.composition import composition
from dataaudit.stages.coverage import coverage
from dataaudit.stages.evidence import leak_evidence, row_evidence
from dataaudit.stages.scoring import Scores


def make_report(
    loaded: Loaded,
    config: AuditConfig,
    plan: Plan,
    mirror: Mirror,
    scores: Scores,
    mislabels: MislabelFlags | None,
    contamination: ContaminationFlags | None,
    notes: Sequence[str],
    clock: Clock,
    crosswise: Unseen | None,
    checked: Checked,
) -> AuditReport:
    """Collect the evidence and put the report together."""
    return build_report(
        name=config.name,
        task=config.task,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        splits=splits_of(loaded),
        mislabels=mislabels,
        contamination=contamination,
        evidence=_evidence(loaded, scores, mislabels, contamination, crosswise),
        gates=[*gates_of(config, mislabels, contamination), *check_gates(config, checked)],
        about=config.about,
        method=_method(loaded, config, plan, mirror, clock),
        coverage=coverage(loaded, contamination, notes),
        limits=[loaded.model.note] if loaded.model.note else [],
        tracing=None,
        checks=checked.sections,
    )


def splits_of(inputs: AuditInputs) -> list[Split]:
    """Return what the report says of the data sets that went in."""
    splits = (inputs.train, inputs.held_out, inputs.suspects)
    return [split_of(samples) for samples in splits if samples is not None]


def split_of(samples: Samples) -> Split:
    """Return what a report says of one data set."""
    return Split(
        role=samples.role,
        source=samples.source.description,
        rows=len(samples),
        sha256=samples.sha256,
        id_column=samples.id_column,
        label_column=samples.label_column,
    )


def _evidence(
    loaded: Loaded,
    scores: Scores,
    mislabels: MislabelFlags | None,
    contamination: ContaminationFlags | None,
    crosswise: Unseen | None,
) -> Evidence:
    held_out_features = np.zeros((0, 0)) if scores.held_out is None else scores.held_out.features()
    pairs, contradictions = leak_evidence(contamination, loaded.train, loaded.suspects)
    rows = {}
    if mislabels is not None:
        rows = row_evidence(
            select_rows(mislabels),
            mislabels,
            loaded.train,
            scores.train,
            loaded.held_out,
            held_out_features,
            None if crosswise is None else crosswise.views[0].rows,
        )
    return Evidence(rows, pairs, composition(loaded), contradictions)


def gates_of(
    config: AuditConfig, mislabels: MislabelFlags | None, contamination: ContaminationFlags | None
) -> list[Gate]:
    """Return the gates of wrong labels and of leaks."""
    limits, gates = config.gates, []
    doubts: Sequence[str] = ()
    if limits.mislabel_rate is not None:
        found = None if mislabels is None else mislabels.noise_rate
        doubts = () if mislabels is None else mislabels.doubts
        gates.append(
            make_gate("mislabel_rate", limits.mislabel_rate, found, doubts, limits.undecided)
        )
    if limits.contaminated is not None:
        count, doubts = None, ()
        if contamination is not None:
            table, doubts = contamination.table, contamination.doubts
            count = counted(float(table.loc[table["flagged"], "query_id"].nunique()))
        gates.append(
            make_gate("contaminated", limits.contaminated, count, doubts, limits.undecided)
        )
    return gates


def _method(
    loaded: Loaded, config: AuditConfig, plan: Plan, mirror: Mirror, clock: Clock
) -> Method:
    # The attempt that was taken, which need not be the one that was planned first.
    steps = asdict(plan.settings) | {
        "learning_rate": mirror.attempt.learning_rate,
        "weights_kept": mirror.attempt.keep,
    }
    return Method(
        model_sha256=loaded.model.sha256(),
        device=str(loaded.model.device),
        settings={
            "model": loaded.model.description,
            "mirror": plan.reason,
            "mirror.cost_in_forward_passes_of_one_row": plan.forward_passes,
            **{f"mirror.{name}": value for name, value in steps.items() if name != "seed"},
            "batch_size": config.batch_size,
        },
        seeds={"mirror": config.mirror.seed},
        versions=versions(),
        timings_seconds=dict(clock.seconds),
        thresholds=[],
    )

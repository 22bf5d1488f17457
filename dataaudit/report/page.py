"""The page as the templates print it: every number formatted, every chart drawn.

Templates compute nothing. What they need stands here and in the `page_…` modules, in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from dataaudit.report import formats
from dataaudit.report.charts.limits import limit_line
from dataaudit.report.data import AuditReport, Finding, Gate, LabelFindings, Leakage, Tracing
from dataaudit.report.flagged_words import hardly_known, wrong_of_flagged
from dataaudit.report.page_checks import CheckView, view_checks
from dataaudit.report.page_data import island, kind_of, page_data
from dataaudit.report.page_evidence import EvidenceView, view_evidence
from dataaudit.report.page_labels import LabelsView, view_budget, view_labels
from dataaudit.report.page_leakage import LeakageView, view_leakage
from dataaudit.report.page_parts import GateView, KeyFigure
from dataaudit.report.page_record import RecordView, view_record
from dataaudit.report.page_tracing import TracingView, view_tracing
from dataaudit.report.steps import Step, build_steps, leak_progress_words, progress_words

VERDICTS = {
    "passed": "Ready",
    "failed": "Not ready",
    "cannot tell": "Cannot tell",
    "no gates": "No limits set",
}
OUTCOME_STYLES = {
    "passed": "passed",
    "failed": "failed",
    "cannot tell": "undecided",
    "no gates": "undecided",
}
GATE_STYLES = {"met": "passed", "not met": "failed", "cannot tell": "undecided"}
GATE_OUTCOMES = {"met": "met", "not met": "not met", "cannot tell": "cannot tell"}
GATE_WORDS = {
    "mislabel_rate": "Training labels estimated wrong",
    "contaminated": "Evaluation samples found in the training set",
}


@dataclass(frozen=True)
class Page:
    """Everything the templates print."""

    name: str
    date: str
    scope: str
    verdict: str
    headline: str
    outcome_style: str
    gates: list[GateView]
    key_figures: list[KeyFigure]
    findings: list[Finding]
    steps: list[Step]
    labels: LabelsView | None
    leakage: LeakageView | None
    tracing: TracingView | None
    checks: list[CheckView]
    quiet_checks: list[CheckView]
    evidence: EvidenceView
    record: RecordView
    island: Markup


def build_page(report: AuditReport) -> Page:
    """Return the page of a report."""
    budget, stops = view_budget(report.labels)
    decided = _decided(report)
    gates = [
        _gate(position, gate, decided.get(gate.name, ""))
        for position, gate in enumerate(report.verdict.gates)
    ]
    key_figures = [
        *_label_figures(report.labels, decided.get("mislabel_rate", "")),
        *_leakage_figures(report.leakage, decided.get("contaminated", "")),
        *_tracing_figures(report.tracing),
    ]
    steps = build_steps(
        report.labels,
        report.leakage,
        report.identity.about,
        report.tracing,
        report.remediation,
        report.drawn,
        report.reviewed_sample,
    )
    verdict, headline = VERDICTS[report.verdict.outcome], report.verdict.headline
    if report.tracing is not None and not gates:
        # Ranks are right where no single one of them stands out beyond chance.
        samples = formats.rows(report.tracing.queries, "generated sample")
        verdict = f"Read the rows behind {samples}"
        headline = "Each stands below with the training rows that it owes most to, best first"
    return Page(
        name=report.identity.name,
        date=formats.long_date(report.identity.date),
        scope=_scope(report),
        verdict=verdict,
        headline=f"{headline}.",
        outcome_style=OUTCOME_STYLES[report.verdict.outcome],
        gates=gates,
        key_figures=key_figures,
        findings=report.findings,
        steps=steps,
        labels=view_labels(
            report.labels,
            report.samples,
            budget,
            report.reviewed_sample,
            pairs=kind_of(report).repeats,
        )
        if report.labels
        else None,
        leakage=view_leakage(report.leakage, report.samples) if report.leakage else None,
        tracing=view_tracing(report.tracing) if report.tracing else None,
        checks=view_checks(report.checks, ("found", "cannot tell")),
        quiet_checks=view_checks(report.checks, ("clear", "not run")),
        evidence=view_evidence(report),
        record=view_record(report, gates, key_figures, steps),
        island=island(page_data(report, stops)),
    )


def _decided(report: AuditReport) -> dict[str, str]:
    """Return how far the decisions have come, in words, by the gate that they bear on."""
    labels, leakage = report.labels, report.leakage
    return {
        "mislabel_rate": progress_words(labels, report.remediation)[1] if labels else "",
        "contaminated": leak_progress_words(leakage, report.remediation)[1] if leakage else "",
    }


def _scope(report: AuditReport) -> str:
    counts = report.counts
    parts = [formats.rows(counts.train, "training row")]
    if counts.held_out:
        purpose = "check labels against" if report.tracing is None else "compare with"
        parts.append(f"{formats.rows(counts.held_out, 'trusted sample')} to {purpose}")
    if counts.suspects and report.tracing is not None:
        parts.append(f"{formats.rows(counts.suspects, 'generated sample')} to trace to them")
    elif counts.suspects:
        parts.append(f"{formats.rows(counts.suspects, 'evaluation sample')} to look for leaks")
    return "; ".join(parts)


def _gate(position: int, gate: Gate, decided: str) -> GateView:
    is_share = gate.name.endswith("_rate")
    measured = formats.percent if is_share else formats.set_number
    as_set = formats.set_percent if is_share else formats.set_number
    interval = None
    if gate.low is not None and gate.high is not None and gate.low != gate.high:
        interval = (gate.low, gate.high)
    name = GATE_WORDS.get(gate.name, formats.words(gate.name))
    words = f"limit {as_set(gate.limit)}"
    if interval is not None:
        words = f"{measured(interval[0])} to {measured(interval[1])}; {words}"
    if decided:
        words += f"; since then {decided}"
    return GateView(
        name=name,
        found="not measured" if gate.found is None else measured(gate.found),
        interval=words,
        limit=as_set(gate.limit),
        outcome=GATE_OUTCOMES[gate.outcome],
        style=GATE_STYLES[gate.outcome],
        chart=limit_line(
            f"gate-{position}", name, gate.limit, gate.found, interval, measured, as_set
        ),
    )


def _label_figures(labels: LabelFindings | None, decided: str) -> list[KeyFigure]:
    if labels is None:
        return []
    flagged = labels.rows_flagged
    if labels.expected_precision and flagged:
        note = f"{wrong_of_flagged(labels)} of them truly wrong"
        if labels.precision_flagged is not None and not hardly_known(labels):
            note += f"; 95% interval {formats.of_rows(labels.precision_flagged, flagged)}"
    else:
        note = f"of {formats.count(labels.rows_scored)}"
    if decided:
        note += f"; {decided}"
    figures = [
        KeyFigure(
            formats.count(flagged),
            f"{'row' if flagged == 1 else 'rows'} flagged for review",
            note,
            "",
        )
    ]
    if labels.noise_rate is not None:
        share = formats.percent(labels.noise_rate.estimate)
        words = f"estimate; 95% interval {formats.share_interval(labels.noise_rate)}"
        if formats.may_be_all(labels.noise_rate):
            # The estimate stands for errors that can be seen alone.
            least = labels.noise_rate.low
            share = f"≥ {formats.percent(least)}" if least > 0 else "—"
            words = f"how many {'more ' if least > 0 else ''}cannot be told"
        rate = KeyFigure(share, "of training labels wrong", words, "flagged")
        figures.insert(0, rate)
    return figures


def _leakage_figures(leakage: Leakage | None, decided: str) -> list[KeyFigure]:
    if leakage is None:
        return []
    figures = [
        KeyFigure(
            formats.count(leakage.suspects_flagged),
            f"evaluation {'sample' if leakage.suspects_flagged == 1 else 'samples'} leaked",
            f"of {formats.count(leakage.suspects)}{decided and f'; {decided}'}",
            "leak",
        )
    ]
    if leakage.suspects_flagged and leakage.metric_clean and leakage.metric_all:
        figures.append(
            KeyFigure(
                formats.metric(leakage.metric_clean.estimate),
                f"{leakage.metric_name} you may report",
                f"without the leaks; {formats.metric(leakage.metric_all.estimate)} with them",
                "",
            )
        )
    return figures


def _tracing_figures(tracing: Tracing | None) -> list[KeyFigure]:
    if tracing is None:
        return []
    return [
        KeyFigure(
            formats.count(tracing.queries),
            f"generated {'sample' if tracing.queries == 1 else 'samples'}",
            "each with its training rows by rank",
            "",
        ),
        KeyFigure(
            formats.count(tracing.queries_flagged) if tracing.can_tell else "—",
            "with a row beyond chance",
            f"at a false discovery rate of {formats.set_percent(tracing.false_discovery_rate)}"
            if tracing.can_tell
            else "cannot be told: too few unrelated samples",
            "leak" if tracing.can_tell else "",
        ),
    ]

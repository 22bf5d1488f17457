"""The sections that an auditor reads, as the templates print them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup
from pydantic import JsonValue

from dataaudit.report import formats
from dataaudit.report.charts.bars import bar
from dataaudit.report.data import AuditReport
from dataaudit.report.page_parts import ROLE_WORDS, Fact, Table, supplied, without_folders
from dataaudit.report.review_words import review_lines, sample_lines

CLASSES_IN_TABLE = 60
DECISIONS_ON_PAGE = 500
COMMENT_LENGTH = 200
SECTION_WORDS = {
    "labels": "Labels",
    "leakage": "Leakage",
    "checks": "Further checks",
    "identity": "Identity",
    "people": "Supplied by people",
    "composition": "Composition",
    "method": "For engineers",
    "coverage": "Coverage",
    "remediation": "Decisions",
    "limits": "Limits and sign-off",
    "crosswalk": "Crosswalk",
}


@dataclass(frozen=True)
class CrosswalkLine:
    """A line of the crosswalk, with links (section id, title) to what is evidence."""

    framework: str
    reference: str
    asks_for: str
    links: list[tuple[str, str]]


@dataclass(frozen=True)
class EvidenceView:
    """The sections on what the audit rests on."""

    contents: list[tuple[str, str]]
    identity: list[Fact]
    splits: Table
    people: list[Fact]
    composition: Table
    composition_words: str
    measures: Table
    method: list[Fact]
    thresholds: Table
    settings: list[Fact]
    versions: list[Fact]
    timings: list[Fact]
    coverage: list[Fact]
    review: list[str]
    remediation: Table
    remediation_left_out: str
    limits: list[str]
    sign_off: list[Fact]
    crosswalk: list[CrosswalkLine]


def view_evidence(report: AuditReport) -> EvidenceView:
    """Return the sections on what the audit rests on."""
    method = report.method
    return EvidenceView(
        contents=[
            (section, words)
            for section, words in SECTION_WORDS.items()
            if section not in ("labels", "leakage", "checks")
        ],
        identity=_identity(report),
        splits=_splits(report),
        people=_people(report),
        composition=_composition(report),
        composition_words=_composition_words(report),
        measures=_measures(report),
        method=_method(report),
        thresholds=Table(
            "Thresholds, and why they stand where they stand",
            ["threshold", "value", "reason"],
            [
                [item.name, formats.set_number(round(item.value, 6)), item.reason]
                for item in report.method.thresholds
            ],
            frozenset({1}),
        ),
        settings=[Fact(name, without_folders(value)) for name, value in flat(method.settings)],
        versions=[Fact(name, version) for name, version in method.versions.items()],
        timings=[
            Fact(formats.words(name), f"{formats.number(seconds)} s")
            for name, seconds in method.timings_seconds.items()
        ],
        coverage=_coverage(report),
        review=_review(report),
        remediation=_remediation(report),
        remediation_left_out=_remediation_left_out(report),
        limits=report.limits,
        sign_off=[
            supplied(
                "Changes since the last audit", report.identity.about.changes_since_last_audit
            ),
            supplied("Residual risk", report.identity.about.residual_risk),
            supplied("Signed off by", report.identity.about.signed_off_by),
        ],
        crosswalk=[
            CrosswalkLine(
                entry.framework,
                entry.reference,
                entry.asks_for,
                [(section, SECTION_WORDS[section]) for section in entry.sections],
            )
            for entry in report.crosswalk
        ],
    )


def flat(settings: Mapping[str, JsonValue], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested settings as lines: `mirror.kind`, `finite`."""
    lines: list[tuple[str, str]] = []
    for key, value in settings.items():
        if isinstance(value, dict) and value:
            lines.extend(flat(value, f"{prefix}{key}."))
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines.append((prefix + key, text))
    return lines


def _identity(report: AuditReport) -> list[Fact]:
    about = report.identity.about
    return [
        Fact("Audit", report.identity.name),
        Fact("Date", formats.long_date(report.identity.date)),
        Fact("Task", report.identity.task),
        supplied("Data set version", about.version),
        supplied("Licence", about.licence),
        supplied("Intended purpose", about.purpose),
        supplied("Auditor", about.auditor),
        supplied("Model hash (SHA-256)", report.method.model_sha256),
    ]


def _splits(report: AuditReport) -> Table:
    return Table(
        "What went into the audit",
        ["split", "source", "rows", "row ids", "content hash (SHA-256)"],
        [
            [
                ROLE_WORDS[split.role],
                without_folders(split.source),
                formats.count(split.rows),
                split.id_column or "position in the file",
                split.sha256,
            ]
            for split in report.identity.splits
        ],
        frozenset({2}),
    )


def _people(report: AuditReport) -> list[Fact]:
    about = report.identity.about
    return [
        supplied("Provenance", about.provenance),
        supplied("Made from other data", about.lineage),
        supplied("Collection", about.collection),
        supplied("Collected when", about.collection_dates),
        supplied("Collected where", about.geography),
        supplied("Share of synthetic data", about.synthetic_share),
        supplied("Labelling protocol", about.labelling_protocol),
        supplied("Annotators", about.annotators),
        supplied("Agreement of annotators", about.annotator_agreement),
        supplied("Personal data", about.personal_data),
        supplied("Legal basis or consent", about.legal_basis),
        supplied("Known biases", about.known_biases),
        supplied("Known limits", about.known_limits),
    ]


def _composition(report: AuditReport) -> Table:
    counts = report.composition.counts
    splits = list(dict.fromkeys(item.split for item in counts))
    labels = list(dict.fromkeys(item.label for item in counts))
    by_place = {(item.split, item.label): item for item in counts}
    first_words = ROLE_WORDS.get(splits[0], splits[0]) if splits else ""
    listed = labels[:CLASSES_IN_TABLE]
    caption = "Rows per class and split"
    if len(labels) > len(listed):
        caption += f"; the first {len(listed)} of {len(labels)} classes, audit.json holds all"
    lines = []
    for label in listed:
        items = [by_place.get((split, label)) for split in splits]
        first = items[0]
        lines.append(
            [
                formats.label(label),
                *(
                    f"{formats.count(item.rows)} ({formats.percent(item.share)})" if item else "—"
                    for item in items
                ),
                bar(first.share if first else 0.0, "kept"),
            ]
        )
    return Table(
        caption,
        ["class", *(ROLE_WORDS.get(split, split) for split in splits), f"share of {first_words}"],
        lines,
        frozenset(range(1, len(splits) + 1)),
    )


def _measures(report: AuditReport) -> Table:
    """Return what was measured of the kinds of quality that ISO/IEC 5259-2 names, with values."""
    lines: list[list[str | Markup]] = []
    rate = None if report.labels is None else report.labels.noise_rate
    if rate is not None:
        value = f"{formats.percent(1 - rate.estimate)} ({formats.percent(1 - rate.high)} to "
        value += f"{formats.percent(1 - rate.low)})"
        lines.append(["accuracy of labels", value, "estimated share of right labels, 95% interval"])
    missing, rows = report.coverage.missing_values, report.counts.train
    if missing is not None and rows:
        least = max(missing.values(), default=0)
        value = formats.percent(1 - least / rows)
        lines.append(["completeness", value, "rows with a value, in the column with fewest"])
    for split, ratio in report.composition.imbalance.items():
        what = f"the smallest class against the largest, {ROLE_WORDS.get(split, split)}"
        lines.append(["balance", f"{1 / ratio:.3g}" if ratio else "0", what])
    for check in report.checks:
        if check.name == "duplicates" and check.count is not None and rows:
            value = formats.percent(check.count / rows)
            lines.append(["similarity", value, "training rows in clusters of the same content"])
    if report.leakage is not None and report.leakage.suspects:
        share = report.leakage.suspects_flagged / report.leakage.suspects
        what = "evaluation samples that are no training rows, as far as was found"
        lines.append(["independence of test data", formats.percent(1 - share), what])
    return Table("Measures of data quality", ["measure", "value", "what it is"], lines)


def _composition_words(report: AuditReport) -> str:
    parts = [
        f"{ratio:,.1f} in {ROLE_WORDS.get(split, split)}"
        for split, ratio in report.composition.imbalance.items()
    ]
    if not parts:
        return ""
    return f"Rows of the largest class for each row of the smallest: {', '.join(parts)}."


def _method(report: AuditReport) -> list[Fact]:
    method = report.method
    facts = []
    if report.labels is not None:
        facts.append(Fact("How labels were judged", report.labels.method))
    if report.leakage is not None:
        facts.append(Fact("How leaks were looked for", report.leakage.method))
    if report.tracing is not None:
        facts.append(Fact("How samples were traced", report.tracing.method))
    facts.append(supplied("Device", method.device))
    facts.extend(
        Fact(f"Seed of {formats.words(name)}", str(seed)) for name, seed in method.seeds.items()
    )
    return facts


def _coverage(report: AuditReport) -> list[Fact]:
    coverage = report.coverage
    # What nobody counted is left out: "none" would be a claim.
    measured = []
    if coverage.sampling is not None:
        measured.append(Fact("Sampling", coverage.sampling))
    if coverage.truncation is not None:
        measured.append(Fact("Truncation", coverage.truncation))
    if coverage.missing_values is not None:
        whole = formats.count(report.counts.train)
        missing = ", ".join(
            f"{column}: {formats.count(rows)} of {whole}"
            for column, rows in coverage.missing_values.items()
        )
        measured.append(Fact("Missing values in training rows", missing or "none"))
    return [
        Fact("Training rows not scored", formats.count(coverage.rows_not_scored)),
        Fact("Suspects not scored", formats.count(coverage.suspects_not_scored)),
        *measured,
        *(Fact("Note", note) for note in coverage.notes),
    ]


def _review(report: AuditReport) -> list[str]:
    lines = [] if report.review is None else review_lines(report.review)
    if report.reviewed_sample is not None:
        lines += sample_lines(report.reviewed_sample)
    return [f"{line[:1].upper()}{line[1:]}." for line in lines]


def _remediation(report: AuditReport) -> Table:
    return Table(
        "Decisions about rows",
        ["row", "decision", "reviewer", "date", "before", "after", "comment"],
        [
            [
                str(item.row_id),
                item.decision,
                item.reviewer,
                item.date,
                formats.label(item.before),
                "—" if item.after is None else formats.label(item.after),
                item.comment
                if len(item.comment) <= COMMENT_LENGTH
                else item.comment[: COMMENT_LENGTH - 1] + "…",
            ]
            for item in report.remediation[:DECISIONS_ON_PAGE]
        ],
    )


def _remediation_left_out(report: AuditReport) -> str:
    left_out = len(report.remediation) - DECISIONS_ON_PAGE
    if left_out <= 0:
        return ""
    return (
        f"{formats.rows(left_out, 'further decision')} not on this page: remediation.jsonl and "
        "audit.json hold them all."
    )

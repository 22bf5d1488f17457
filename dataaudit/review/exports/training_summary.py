"""A draft of the public summary of training content, with what an audit knows of it.

The headings are those of the template of the European Commission for providers of general-purpose
AI models (C(2025) 8311, Article 53(1)(d) of Regulation (EU) 2024/1689). What the audit measured and
what people wrote under `about:` is filled in; all else is "not provided", for a person to write.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from dataaudit.about import NOT_PROVIDED
from dataaudit.datasets.samples import Samples
from dataaudit.errors import RunDirectoryError
from dataaudit.report import formats
from dataaudit.report.data import AuditReport, LabelFindings, Leakage
from dataaudit.report.samples import clean_text
from dataaudit.review.exports.spool import write_file
from dataaudit.run_directory.finished import FinishedAudit

BLOCK = 4096
"""Texts that are read at a time."""
NOTE = (
    "A draft by dataaudit, of the one data set that was audited: not a summary of all training "
    "content, and no statement that a requirement is met. A person has to complete and check it."
)


def write_training_summary(target: Path, audit: FinishedAudit, samples: Samples) -> None:
    """Write the draft as Markdown.

    Raises
    ------
    RunDirectoryError
        The rows are neither texts nor pictures: the template is about models of these.
    """
    if samples.modality not in ("text", "image"):
        raise RunDirectoryError(
            f"{audit.directory}: the summary is for language and image models, and the training "
            f"rows are of another kind: {samples.modality}"
        )
    text = "\n".join(summary_lines(audit.report, samples)) + "\n"
    write_file(target, lambda path: path.write_text(text, encoding="utf-8"))


def summary_lines(report: AuditReport, samples: Samples) -> Iterator[str]:
    """Yield the lines of the draft.

    Parameters
    ----------
    report : AuditReport
    samples : Samples
        The training data: texts or pictures.
    """
    about, identity = report.identity.about, report.identity
    train = next(split for split in identity.splits if split.role == "train")
    yield f"# Public summary of training content: {_inert(identity.name)}"
    yield f"\n{NOTE}"
    yield "\n## 1. General information"
    yield "\n### 1.1 Provider"
    yield from _lines({"Name and contact": None, "Authorised representative": None})
    yield "\n### 1.2 Model"
    yield from _lines(
        {
            "Model and version": None,
            "Weights, SHA-256": report.method.model_sha256,
            "Models that it was made from": None,
            "Placed on the market": None,
            "Intended purpose of the data": about.purpose,
        }
    )
    yield "\n### 1.3 Modalities, size and other characteristics"
    yield from _lines(
        {
            "Modality": samples.modality,
            "Size": _size(samples),
            "Types of content": about.collection,
            "Latest date of collection": about.collection_dates,
            "Geography and languages": about.geography,
            "Known gaps and biases": about.known_biases,
        }
    )
    yield "\n## 2. List of data sources"
    for heading in (
        "2.1 Publicly available data sets",
        "2.2 Private data sets from third parties",
        "2.3 Data crawled and scraped from online sources",
        "2.4 User data",
    ):
        yield f"\n### {heading}"
        yield from _lines({"Whether and which": None})
    yield "\n### 2.5 Synthetic data"
    yield from _lines({"Share of the rows": about.synthetic_share})
    yield "\n### 2.6 Other sources"
    yield from _lines({"Whether and which": None})
    yield "\n### The audited data set, to be placed under one of the above"
    yield from _lines(
        {
            "Version": about.version,
            "SHA-256": train.sha256,
            "Provenance": about.provenance,
            "Lineage": about.lineage,
            "Licence": about.licence,
        }
    )
    yield "\n## 3. Data processing"
    yield "\n### 3.1 Reservations of rights from text and data mining"
    yield from _lines({"Measures": None, "Legal basis or consent": about.legal_basis})
    yield "\n### 3.2 Removal of illegal content"
    yield from _lines({"Measures": None, "Personal data": about.personal_data})
    yield "\n### 3.3 Other information"
    yield from _lines(
        {
            "Doubtful labels": _outcome(report.labels),
            "Evaluation samples in the training data": _outcome(report.leakage),
            **{check.title: check.text for check in report.checks if check.outcome == "found"},
            "Known limits": about.known_limits,
            "Audited": f"{identity.date}, dataaudit {report.method.versions.get('dataaudit', '')}",
        }
    )


def _outcome(section: LabelFindings | Leakage | None) -> str:
    return (
        "not looked for" if section is None else f"{section.outcome}: {'; '.join(section.reasons)}"
    )


def _size(samples: Samples) -> str:
    rows = len(samples)
    if samples.modality == "image":
        return f"{formats.rows(rows, 'picture')}"
    words = 0
    for start in range(0, rows, BLOCK):
        texts = samples.take(range(start, min(start + BLOCK, rows))).frame[samples.content_column]
        words += int(texts.fillna("").astype(str).str.split().str.len().sum())
    return f"{formats.rows(rows, 'text')}, {formats.rows(words, 'word')} (between blanks)"


def _lines(facts: dict[str, str | None]) -> Iterator[str]:
    yield ""
    for name, value in facts.items():
        yield f"- {_inert(name)}: {_inert(NOT_PROVIDED if value is None else value)}"


def _inert(value: str) -> str:
    """Return text on one line, in which no markup is left."""
    text = html.escape(" ".join(clean_text(value).split()), quote=False)
    return "".join(f"\\{sign}" if sign in "\\`*_[]#|!" else sign for sign in text)

"""Which section of the report is evidence for what common frameworks ask about data.

The table says where to look. It never says that a requirement is met: that is for a person to
judge.
"""

from __future__ import annotations

from dataaudit.report.data import CrosswalkEntry


def crosswalk() -> list[CrosswalkEntry]:
    """Return the crosswalk, one entry for each thing a framework asks for."""
    return [
        CrosswalkEntry(framework=framework, reference=reference, asks_for=asks_for, sections=where)
        for framework, reference, asks_for, where in _ENTRIES
    ]


_ENTRIES: list[tuple[str, str, str, list[str]]] = [
    (
        "EU AI Act",
        "Article 10(2)(a), (d), (e)",
        "Design choices; assumptions about what the data measure and represent; availability, "
        "quantity and suitability of the data sets",
        ["identity", "people", "composition"],
    ),
    (
        "EU AI Act",
        "Article 10(2)(b)–(c)",
        "Data collection, origin, and preparation such as annotation and labelling",
        ["identity", "people"],
    ),
    (
        "EU AI Act",
        "Article 10(2)(f)–(h)",
        "Examination for possible biases; data gaps and shortcomings and how they are addressed",
        ["composition", "labels", "coverage", "remediation"],
    ),
    (
        "EU AI Act",
        "Article 10(3)",
        "Data sets relevant, sufficiently representative and, to the best extent possible, "
        "free of errors",
        ["labels", "leakage", "composition"],
    ),
    (
        "EU AI Act",
        "Article 10(4)–(5)",
        "The setting in which the system is used; special categories of personal data, where they "
        "are processed to detect bias",
        ["people", "composition", "limits"],
    ),
    (
        "EU AI Act",
        "Annex IV, 2(d)",
        "Data sheets: provenance, scope, characteristics, labelling procedures, data cleaning",
        ["identity", "people", "composition", "labels", "remediation"],
    ),
    (
        "ISO/IEC 5259",
        "Parts 2 and 3",
        "Data quality measures (such as accuracy, completeness, balance) and their management; "
        "those that were measured stand with their values under composition",
        ["labels", "composition", "coverage", "method"],
    ),
    (
        "ISO/IEC 42001",
        "Annex A.7",
        "Data for AI systems: acquisition, quality, provenance and preparation",
        ["identity", "people", "labels", "remediation"],
    ),
    (
        "NIST AI RMF",
        "MAP 2.3",
        "Scientific integrity; data collection and selection, test and validation considered",
        ["leakage", "method", "limits"],
    ),
    (
        "NIST AI RMF",
        "MEASURE 2.1",
        "Test sets, metrics and details of the tools used are documented",
        ["identity", "leakage", "method"],
    ),
    (
        "NIST AI 600-1",
        "Pre-deployment testing; content provenance",
        "Tests that are independent of the training data; where the data come from",
        ["leakage", "people", "limits"],
    ),
    (
        "Datasheets for Datasets",
        "Composition; collection; labelling; maintenance",
        "Errors, noise and redundancies in the data; recommended splits; who labelled and how",
        ["composition", "labels", "leakage", "people"],
    ),
    (
        "Croissant RAI",
        "Vocabulary 1.0",
        "Annotation protocol, known limitations and biases, collection, personal information",
        ["people", "labels", "limits"],
    ),
]

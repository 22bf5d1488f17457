"""The report: typed data first (`audit.json`), then charts and HTML made from it."""

from dataaudit.about import About
from dataaudit.report.build import build_report
from dataaudit.report.data import AuditReport, Coverage, Decision, Gate, Method, Split, Threshold
from dataaudit.report.label_findings import select_rows
from dataaudit.report.leakage import select_pairs
from dataaudit.report.render import render

__all__ = [
    "About",
    "AuditReport",
    "Coverage",
    "Decision",
    "Gate",
    "Method",
    "Split",
    "Threshold",
    "build_report",
    "render",
    "select_pairs",
    "select_rows",
]

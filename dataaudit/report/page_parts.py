"""What sections of the page are made of: tables, figures and facts, ready to be printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dataaudit.about import NOT_PROVIDED
from dataaudit.report import formats
from dataaudit.report.data import Split

ROLE_WORDS = {"train": "training", "held_out": "held-out", "suspects": "suspects"}


@dataclass(frozen=True)
class Table:
    """A table of text; `numeric` are the positions of columns aligned to the right."""

    caption: str
    header: list[str]
    rows: list[list[str | Markup]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """A chart with what it says, and its numbers in a table where the chart lacks them."""

    title: str
    caption: str
    chart: Markup
    table: Table | None = None


@dataclass(frozen=True)
class Fact:
    """A name and what is known of it; `missing` where nobody supplied it."""

    name: str
    value: str
    missing: bool = False


@dataclass(frozen=True)
class GateView:
    """A gate in words."""

    name: str
    found: str
    interval: str
    limit: str
    outcome: str
    style: str
    chart: Markup


@dataclass(frozen=True)
class KeyFigure:
    """One number of the summary, what it counts, and how sure it is."""

    value: str
    label: str
    note: str
    style: str


def supplied(name: str, value: str | None) -> Fact:
    """Return a fact that a person, or the audit's caller, may have left out."""
    known = value or NOT_PROVIDED
    return Fact(name, known, missing=known == NOT_PROVIDED)


def without_folders(source: str) -> str:
    """Return where data came from without the folders of the machine that read it.

    The page is meant to be sent to others; `audit.json` has the whole path.
    """
    return re.sub(r"^(?:[A-Za-z]:)?[\\/].*[\\/](?=[^\\/])", "", source)


def inputs_table(splits: Sequence[Split]) -> Table:
    """Return the table of the data sets that went in, each with its content hash."""
    return Table(
        "Data",
        ["data set", "source", "rows", "content hash (SHA-256)"],
        [
            [
                ROLE_WORDS[split.role],
                without_folders(split.source),
                formats.count(split.rows),
                split.sha256,
            ]
            for split in splits
        ],
        frozenset({2}),
    )

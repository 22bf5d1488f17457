"""What a check is: what it needs, what it looks at, what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from dataaudit.checks.examined import Examined
from dataaudit.datasets.samples import Modality

Need = Literal["labels", "held_out", "suspects", "time", "model"]
ANY: tuple[Modality, ...] = ("table", "text", "image", "tensor")
LEVEL = 0.004
"""Chance that a check which tests reports anything where nothing is wrong, over all its tests. Four
checks test, so that all of them together report on less than 2 % of clean data sets."""
MISSING = {
    "labels": "the rows have no label of one class or number",
    "held_out": "no trusted samples were given",
    "suspects": "no suspects were given",
    "time": "no column of times is named for both training and evaluation rows",
    "model": "no model was given",
}


@dataclass(frozen=True)
class Issue:
    """One thing that a check found: a line of its table.

    Attributes
    ----------
    what : str
        In words.
    split : str
        `train`, `held_out`, `suspects`, or the name of a benchmark.
    score : float
        How strong it is, in the check's own unit; higher is worse.
    row_id : str, int or None
        The row that it is about, where it is about one.
    column : str or None
    group : int or None
        Rows that belong together have one number.
    """

    what: str
    split: str
    score: float
    row_id: str | int | None = None
    column: str | None = None
    group: int | None = None


@dataclass(frozen=True)
class Found:
    """What a check found.

    Attributes
    ----------
    text : str
        A plain sentence or two: what was found, or that nothing was, and what that means.
    issues : sequence of Issue
        The worst first. Their number is what a gate limits.
    cannot_tell : bool
        Whether what the check rests on does not hold; `text` says why.
    """

    text: str
    issues: Sequence[Issue] = ()
    cannot_tell: bool = False


class Check(ABC):
    """One check. It reads rows in blocks, or an even choice of them, and draws with `data.seed`.

    Attributes
    ----------
    name : str
        In `audit.yaml` (`checks:`, `gates.checks:`) and in `issues.parquet`.
    title : str
        Of its section on the page.
    needs : set
        What has to be there; where something is missing, the check does not run and says so.
    modalities : sequence
        The kinds of rows that it can look at.
    serious : bool
        Whether what it finds leads the findings.
    own_pages : bool
        Whether what it finds has pages of its own, so that no section is made for it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[frozenset[Need]] = frozenset()
    modalities: ClassVar[tuple[Modality, ...]] = ANY
    serious: ClassVar[bool] = False
    own_pages: ClassVar[bool] = False

    @abstractmethod
    def look(self, data: Examined) -> Found:
        """Look at the data."""

    def lacking(self, data: Examined) -> str | None:
        """Return why the check cannot run on this data, or None where it can."""
        if data.train.modality not in self.modalities:
            return f"it looks at rows of another kind ({', '.join(self.modalities)})"
        there = {
            "labels": data.labelled,
            "held_out": data.held_out is not None,
            "suspects": data.suspects is not None,
            "time": data.timed,
            "model": data.right is not None,
        }
        lacks = [need for need in sorted(self.needs) if not there[need]]
        return MISSING[lacks[0]] if lacks else None

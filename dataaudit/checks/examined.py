"""What checks look at: the splits, and an even choice of their rows as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.columns import Columns, columns_of
from dataaudit.checks.pictures import Pictures
from dataaudit.datasets.samples import Role, Samples
from dataaudit.flags.results import ContaminationFlags, MislabelFlags
from dataaudit.likeness.describing import RowSearch

MOST_ROWS = 20_000
MOST_PICTURES = 4_000
"""Rows of each split that columns are made of, evenly spread where there are more."""


@dataclass(frozen=True)
class Examined:
    """The data of one audit.

    Attributes
    ----------
    train : Samples
    held_out, suspects : Samples or None
    seed : int
        Of everything that is drawn at random.
    times : mapping of role to str
        The columns of times, where they are named.
    right : float64 `[held_out]` or None
        How right the model is on each trusted sample, higher = better; None without a model.
    benchmarks : mapping of name to Samples
        Named sets of texts that must not be in the training texts.
    benchmark_scores : mapping of name to float64 `[texts]`
        What a model scored on each of these texts, higher = better, where it is given.
    mislabels : MislabelFlags or None
        The rows that were flagged; None where no label was judged.
    contamination : ContaminationFlags or None
        The suspects that were flagged; None where no leak was looked for.
    """

    train: Samples
    held_out: Samples | None = None
    suspects: Samples | None = None
    seed: int = 0
    times: Mapping[Role, str] = field(default_factory=dict)
    right: NDArray[np.float64] | None = None
    benchmarks: Mapping[str, Samples] = field(default_factory=dict)
    benchmark_scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    mislabels: MislabelFlags | None = None
    contamination: ContaminationFlags | None = None

    def with_flags(
        self, mislabels: MislabelFlags | None, contamination: ContaminationFlags | None
    ) -> Examined:
        """Return the same data with what was flagged in it."""
        flagged = replace(self, mislabels=mislabels, contamination=contamination)
        # What was made of the rows is not made again.
        made = {name: value for name, value in vars(self).items() if name not in vars(flagged)}
        vars(flagged).update(made)
        return flagged

    @property
    def labelled(self) -> bool:
        """Whether each row has one class, or one number."""
        kind = self.train.kind
        return self.train.labelled and (kind.one_class or kind.form == "number")

    @property
    def timed(self) -> bool:
        """Whether training rows and some others say when they are from."""
        return "train" in self.times and len(self.times) > 1

    @property
    def others(self) -> dict[Role, Samples]:
        """The splits that are held against the training rows."""
        given: dict[Role, Samples | None] = {"held_out": self.held_out, "suspects": self.suspects}
        return {role: samples for role, samples in given.items() if samples is not None}

    @cached_property
    def search(self) -> RowSearch:
        """The training rows, described so that rows alike to them can be searched for."""
        return RowSearch.over(self, self.pictures.watch)

    @cached_property
    def pictures(self) -> Pictures:
        """What is measured of pictures: while they are described for the search, where they are."""
        return Pictures(MOST_PICTURES)

    @cached_property
    def columns(self) -> Columns:
        """An even choice of training rows, as columns."""
        return self._columns(self.train, None)

    @cached_property
    def other_columns(self) -> dict[Role, Columns]:
        """The same of the other splits, with the columns of the training rows."""
        return {role: self._columns(samples, self.columns) for role, samples in self.others.items()}

    def _columns(self, samples: Samples, like: Columns | None) -> Columns:
        most = MOST_PICTURES if samples.modality in ("image", "tensor") else MOST_ROWS
        return columns_of(samples, most, self.pictures, like, self.times.get(samples.role))

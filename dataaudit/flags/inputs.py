"""What every flagger is given: the rows and the references, with what the models say of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.probabilities import Table

FEWEST_REFERENCES = 10
"""Of each kind, right and planted; with fewer nothing is fitted."""

Words = Callable[[NDArray[np.int64]], Sequence[Sequence[str]]]
"""Takes positions of rows and returns their words."""


Maps = Callable[[NDArray[np.int64]], Iterator[Table]]
"""Takes positions of rows, ascending, and yields the probabilities of each row's pixels after
learning again, `[height, width, C]`, one row in memory at a time."""


Pieces = Callable[[NDArray[np.int64]], Iterator[Sequence[tuple[str, float, float]]]]
"""Takes positions of rows, ascending, and yields the tokens of each answer: the piece of text, its
loss after the instruction, and alone, after learning again, nats."""


@dataclass(frozen=True)
class View:
    """Class probabilities from models that were fitted without the samples they judge.

    Attributes
    ----------
    name : str
        For the report.
    rows : `[rows, C]`
    trusted : `[trusted, C]`
    alone : bool
        Whether the models learned from trusted samples alone, and from no given label.
    """

    name: str
    rows: Table
    trusted: Table
    alone: bool = False


@dataclass(frozen=True)
class Unseen:
    """Views of rows and trusted samples, which were seen alike.

    Attributes
    ----------
    views : sequence of View
        At least one.
    trusted_labels : int64 `[trusted]`
        The right classes.
    """

    views: Sequence[View]
    trusted_labels: NDArray[np.int64]


@dataclass(frozen=True)
class SecondOpinion:
    """What is thought of some of the rows by what no given label has touched.

    Attributes
    ----------
    positions : int64 `[sampled rows]`
    unseen : Unseen
        Of these rows, and of trusted samples.
    whole : callable
        Returns the same of all rows. It is asked only where the sample shows that the first opinion
        does not hold, since it may take a pass of the model.
    """

    positions: NDArray[np.int64]
    unseen: Unseen
    whole: Callable[[], Unseen]


@dataclass(frozen=True)
class LabelledRows:
    """The training rows and what three models predict for them.

    Attributes
    ----------
    ids : `[rows]`
    labels : `[rows]`, of several labels for each row `[rows, width of a label]`
        As the kind of label holds them.
    classes : sequence, length C
        Empty where labels are no classes.
    shown : callable
        Turns labels into what tables show, `[rows]`.
    own, familiar, mirrored : `[rows, width]`
        Predictions of the trained model; of the model that knows the references as well as its
        rows; and of the model that learned again. As the task makes them: probabilities, or
        for regression one number.
    words : callable or None
        Asked only where a word is named; None where rows are no lists of words.
    maps : callable or None
        Asked of few rows; None where rows have no label for each pixel.
    pieces : callable or None
        Asked of few rows; None where labels are no texts.
    unseen : `[rows, width]` or None
        For classes and tags, probabilities from models that have not seen the row's label.
    contradicted : bool `[rows]` or None
        Rows whose label is outvoted by identical rows; None where that was not looked for.
    crosswise : Unseen or None
        For classes, what models say that were fitted without the sample; None where the model
        cannot be fitted anew.
    second_opinion : SecondOpinion or None
        For classes; None where there is none.
    trusted : int
        How many trusted samples there are, also where they are too few to be references.
    """

    ids: NDArray[Any]
    labels: NDArray[Any]
    classes: Sequence[str | int]
    shown: Callable[[NDArray[Any]], NDArray[Any]]
    own: Table
    familiar: Table
    mirrored: Table
    words: Words | None = None
    maps: Maps | None = None
    pieces: Pieces | None = None
    unseen: Table | None = None
    crosswise: Unseen | None = None
    contradicted: NDArray[np.bool_] | None = None
    second_opinion: SecondOpinion | None = None
    trusted: int = 0


@dataclass(frozen=True)
class References:
    """Trusted samples that were learned like training rows, some of them under a wrong label.

    Attributes
    ----------
    given_labels : as `LabelledRows.labels`
        The label that each was learned under.
    planted : bool `[references]`
        Whether that label is wrong.
    base, mirrored : `[references, width]`
        Predictions of the model before and after it learned again.
    learned_together : bool
        Whether the model before learned rows and references together, from scratch, so that they
        are as familiar to it as each other.
    unseen : `[references, width]` or None
        As `LabelledRows.unseen`.
    """

    given_labels: NDArray[Any]
    planted: NDArray[np.bool_]
    base: Table
    mirrored: Table
    learned_together: bool = False
    unseen: Table | None = None

    @property
    def are_enough(self) -> bool:
        """Whether there are enough of both kinds to fit on."""
        planted = int(self.planted.sum())
        return min(planted, len(self.planted) - planted) >= FEWEST_REFERENCES

"""What a reviewer looks at to decide, as the report takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Exhibit:
    """One sample as a person can look at it.

    Attributes
    ----------
    sample_id : str or int
    role : "train", "held_out" or "suspects"
    label : str
        The label that the file gives.
    text : str or None
        The (shortened) text.
    image : str or None
        A `data:image/webp;base64,…` thumbnail.
    fields : mapping of str to str
        Column name to (shortened) value, for table rows.
    note : str
        Why it stands here, for example "speaks against it, +0.42 nats".
    picture : str or None
        The image larger than its thumbnail, where it stands where a reviewer looks closely.
    """

    sample_id: str | int
    role: str
    label: str
    text: str | None
    image: str | None
    fields: Mapping[str, str]
    note: str
    picture: str | None = None


@dataclass(frozen=True)
class RowEvidence:
    """A flagged row with what speaks against its label.

    Attributes
    ----------
    row : Exhibit
    against : list of Exhibit
        Held-out samples whose learning made the row's label less plausible, strongest first.
    neighbours : list of Exhibit
        The training rows most alike in the model's features, nearest first.
    look_alikes : sequence of str
        Labels of the trusted samples most alike, whatever they are, nearest first.
    likeliest : sequence of (class, probability)
        What the model that learned again takes the row for, likeliest first.
    """

    row: Exhibit
    against: list[Exhibit]
    neighbours: list[Exhibit]
    look_alikes: Sequence[str] = ()
    likeliest: Sequence[tuple[str | int, float]] = ()


@dataclass(frozen=True)
class Evidence:
    """Exhibits for the rows and pairs that the report shows.

    Attributes
    ----------
    rows : mapping of row id to RowEvidence
    pairs : mapping of (query id, row id) to (Exhibit of the suspect, Exhibit of the row)
    contradictions : mapping of (row id, row id) to (Exhibit, Exhibit)
        Training rows of the same content whose labels differ.
    composition : pandas.DataFrame
        `split`, `class`, `rows`: counts per split and class.
    """

    rows: Mapping[str | int, RowEvidence]
    pairs: Mapping[tuple[str | int, str | int], tuple[Exhibit, Exhibit]]
    composition: pd.DataFrame
    contradictions: Mapping[tuple[str | int, str | int], tuple[Exhibit, Exhibit]] = field(
        default_factory=dict
    )

"""What is asked of a data set: which columns mean what, and how its labels are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataaudit.datasets.images import decode
from dataaudit.datasets.samples import Role
from dataaudit.labels.answers import InstructionColumns
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.kind import Kind, Reading
from dataaudit.labels.none import NO_LABELS
from dataaudit.labels.preferences import PairColumns
from dataaudit.labels.sets import SEPARATOR


def columns_aside(labels: Any, opinions: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the columns that hold what annotators and other models say.

    Parameters
    ----------
    labels : list of str, or another thing
        As `train.labels` in audit.yaml; where it is no list, no column is one of an annotator.
    opinions : mapping of name to sequence of str
        As `train.opinions` has them.
    """
    annotators = labels if isinstance(labels, list) else []
    return [*annotators, *(name for names in opinions.values() for name in names)]


@dataclass(frozen=True)
class ReadSettings:
    """How a data set is read as `Samples`.

    Attributes
    ----------
    role : "train", "held_out" or "suspects"
    label : str, sequence of str, or None
        The column that holds the labels; of an image folder, `label`. For task multi-label also
        several columns, each 0 or 1, one for each label. None: there are none, and all labels
        are 0.
    id_column : str or None
        The column that holds the row ids. Without one, the ids are the positions 0, 1, 2, …,
        even where a column happens to be called `row_id`: only what is named is relied on. Shards
        have keys of their own, which are the ids then.
    usual_id : str or None
        The id column of the training rows: used where `id_column` is None and this column is there
        and names every row.
    group_column : str or None
        The column that tells which rows belong together, such as the patient; not a feature.
    classes : sequence of str or int, or None
        The label values in the order of the model's outputs. May be None where labels are the
        numbers 0..C-1, or where the data itself names its classes: the sorted folders of an
        image folder, the ClassLabel of a Hugging Face data set.
    task : str
        As audit.yaml has it; it says of which kind labels are.
    tolerate : bool
        Whether rows that cannot be used are left to be set aside: a label that is missing or is
        no class is `UNUSABLE` then, and a path may lead to no image.
    ignore : str, int or None
        The label value that says that a row is not to be judged.
    separator : str
        Between the labels of a text, for task multi-label.
    output_names : sequence of str or None
        The names that the model has for its outputs, in their order: labels may be these names,
        or the numbers 0..C-1. They are used where `classes` is None.
    annotators : sequence of str, Path, or None
        The columns that hold a label of one annotator each, or a table of such labels: `row_id`,
        `annotator`, `label`. The label column need not be there then.
    aside : sequence of str
        Columns that are no features either, in any split: what annotators and other models say.
    images : Path or None
        What paths of pictures are relative to; None: the folder of the file.
    size : (height, width) or None
        That masks are brought to; None: they have one size.
    answers : PairColumns or None
        The columns that hold pairs of answers; they say what the label is, and `label` nothing.
    instruction : InstructionColumns or None
        The columns that hold instructions; `label` is that of their answers, or of chats.
    """

    role: Role
    label: str | Sequence[str] | None
    id_column: str | None = None
    usual_id: str | None = None
    group_column: str | None = None
    classes: Sequence[str | int] | None = None
    task: str = "classification"
    tolerate: bool = False
    ignore: str | int | None = None
    separator: str = SEPARATOR
    output_names: Sequence[str] | None = None
    annotators: Sequence[str] | Path | None = None
    aside: Sequence[str] = ()
    images: Path | None = None
    size: tuple[int, int] | None = None
    answers: PairColumns | None = None
    instruction: InstructionColumns | None = None

    @property
    def label_columns(self) -> list[str]:
        """The columns that hold labels."""
        return [self.label] if isinstance(self.label, str) else list(self.label or [])

    @property
    def annotator_columns(self) -> list[str]:
        """The columns that hold a label of one annotator each."""
        return [] if isinstance(self.annotators, Path) else list(self.annotators or [])

    @property
    def kind(self) -> Kind:
        """The kind of label."""
        return NO_LABELS if self.label is None else KINDS[self.task]

    def reading(
        self, stored_names: Sequence[str] | None = None, folder: Path | None = None
    ) -> Reading:
        """Return how labels are read.

        Parameters
        ----------
        stored_names : sequence of str or None
            The names that the data stores for its classes.
        folder : Path or None
            What paths of pictures are relative to.
        """
        return Reading(
            classes=self.classes,
            stored_names=stored_names,
            output_names=self.output_names,
            separator=self.separator,
            ignore=self.ignore,
            tolerate=self.tolerate,
            picture=lambda value, where: decode(value, where=where, folder=folder),
            size=self.size,
        )

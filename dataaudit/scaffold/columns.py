"""Which column holds the labels, which the ids, and what the rows are; guessed, and said so."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dataaudit.config import DataConfig
from dataaudit.datasets.answer_pairs import ANSWER
from dataaudit.datasets.coco import Coco
from dataaudit.datasets.distinct_labels import are_indices, distinct_labels
from dataaudit.datasets.formats import open_source
from dataaudit.datasets.identifiers import row_ids
from dataaudit.datasets.images import decode
from dataaudit.datasets.instructions import is_chat
from dataaudit.datasets.mask_folder import MaskFolder
from dataaudit.datasets.modality import ROWS_SEEN, modality_of
from dataaudit.datasets.samples import Modality
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError
from dataaudit.labels.answers import InstructionColumns
from dataaudit.labels.by_task import KINDS
from dataaudit.labels.masks import VOID
from dataaudit.models.answer_losses import TEXT

CHOSEN, REJECTED = (DataConfig.model_fields[name].default for name in ("chosen", "rejected"))
INSTRUCTIONS = (
    ("instruction", "output"), ("instruction", "response"), ("prompt", "completion"),
    ("prompt", "response"),
)  # fmt: skip
"""Columns of instructions, and of their answers."""
CHATS = "messages"
LABEL_NAMES = (
    "label", "labels", "class", "class_label", "target", "y", "category", "kind", "species",
    "sentiment", "intent", "type", "outcome", "cls", "json.label", "json.class",
)  # fmt: skip
ID_NAMES = (
    "row_id", "id", "sample_id", "query_id", "uid", "uuid", "guid", "key", "example_id",
    "item_id", "image_id", "index", "idx",
)  # fmt: skip
MOST_CLASSES = 200
"""A column of more different values is no column of labels, unless its name says so."""
_ROWS_THAT_TELL = 20
"""So many different words are no chance."""
_MASKS_SEEN = 200


@dataclass(frozen=True)
class SplitGuess:
    """What a data set seems to be.

    Attributes
    ----------
    label : str
        The label column; empty where rows have none.
    other_labels : list of str
        Columns that might be it as well.
    id_column : str or None
    modality : "table", "text", "image" or "tensor"
    content_column : str or None
        The column of text or images.
    is_grey : bool
        Of images: whether the first one has no colours.
    number_columns : list of str
        Columns of numbers besides label and id.
    classes : list of str or int, or None
        The label values, where `audit.yaml` has to name them.
    class_count : int
    rows : int
    task : str
        As `audit.yaml` has it.
    images : Path or None
        The folder of the pictures that the data names, where that is not its own.
    instruction : InstructionColumns or None
        Where labels are answers in a column of their own.
    """

    label: str
    other_labels: list[str]
    id_column: str | None
    modality: Modality
    content_column: str | None
    is_grey: bool
    number_columns: list[str]
    classes: list[str | int] | None
    class_count: int
    rows: int
    task: str
    images: Path | None
    instruction: InstructionColumns | None


def guess(
    path: Path,
    label: str | None = None,
    class_names: Collection[str] = (),
    *,
    writes_text: bool = False,
) -> SplitGuess:
    """Look into a data set.

    Parameters
    ----------
    path : Path
    label : str or None
        The label column of the training set: the other splits have the same.
    class_names : collection of str
        What the model calls its classes: they tell which column is the label.
    writes_text : bool
        Whether the model is a language model, whose rows have no labels.

    Raises
    ------
    DataError
        It cannot be read, has no rows, or no column looks like labels.
    """
    source = open_source(path)
    if len(source) == 0:
        raise DataError(f"{path}: there are no rows")
    # Across parts and blocks: how the rows are cut must not decide.
    first = next(source.frames(ROWS_SEEN))
    names = source.columns()
    others: list[str] = []
    task, instruction, answers = _task(source), *_instruction(source, first)
    task = "instruction" if answers else "causal-lm" if writes_text else task
    kind = KINDS[task]
    if answers:
        label = answers
    elif kind.form in ("pair", "rectangles") or kind.per_pixel or not kind.has_classes:
        label = ""
    elif not label or label not in names:
        label, *others = _label_columns(source, first, path, set(class_names))
    id_column = source.key_column() or _id_column(source, label)
    features = [name for name in names if name not in (label, id_column)]
    folder = path if path.is_dir() else path.parent
    images = _folder_of_images(source, folder)
    folder = images or folder
    modality, content = modality_of(first, features, folder)
    if kind.form == "pair":
        modality, content = "text", ANSWER
    if answers:
        modality, content = "text", TEXT
    if id_column is None and modality == "table":
        id_column = _telling_column(source, first[features])
        features = [name for name in features if name != id_column]
    is_grey = False
    if content is not None and modality == "image":
        image = decode(first[content].iloc[0], where=str(path), folder=folder)
        is_grey = image.mode in ("1", "L")
    numbers = first[features].select_dtypes(["number", "bool"]).columns
    values = distinct_labels(source, label) if label and not answers else _pixel_classes(source)
    stored = source.stored_classes(label) is not None
    if task == "classification" and not stored and _are_targets(values):
        task, values = "regression", []
    return SplitGuess(
        label=label,
        other_labels=others,
        id_column=id_column,
        modality=modality,
        content_column=content,
        is_grey=is_grey,
        number_columns=[str(name) for name in numbers],
        classes=None if stored or are_indices(values) else values,
        class_count=len(values),
        rows=len(source),
        task=task,
        images=images,
        instruction=instruction,
    )


def _instruction(
    source: ColumnSource, first: pd.DataFrame
) -> tuple[InstructionColumns | None, str]:
    """Return the columns of instructions, and that of their answers or of chats, if any."""
    names = source.columns()
    for prompt, answers in INSTRUCTIONS:
        if prompt in names and answers in names:
            return InstructionColumns(prompt, "input" if "input" in names else None), answers
    is_chats = CHATS in names and any(map(is_chat, first[CHATS]))
    return None, CHATS if is_chats else ""


def _task(source: ColumnSource) -> str:
    if isinstance(source, MaskFolder):
        return "segmentation"
    if isinstance(source, Coco):
        return "boxes"
    return "preference" if {CHOSEN, REJECTED} <= set(source.columns()) else "classification"


def _folder_of_images(source: ColumnSource, beside: Path) -> Path | None:
    """Return the folder near a COCO file that has its first picture; None where it has it itself.

    None as well where no folder has it.
    """
    if not isinstance(source, Coco) or (beside / source.names[0]).is_file():
        return None
    folders = sorted(entry for level in ("*", "*/*") for entry in beside.glob(level))
    return next((entry for entry in folders if (entry / source.names[0]).is_file()), None)


def _are_targets(values: list[str | int]) -> bool:
    """Tell whether labels are numbers, some of them with a fraction, as no class has."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return False
    return any(math.isfinite(number) and not number.is_integer() for number in numbers)


def _pixel_classes(source: ColumnSource) -> list[str | int]:
    """Return a name for each pixel value of masks, up to the largest of those that are seen."""
    if not isinstance(source, MaskFolder):
        return []
    largest = 1
    for name in source.masks[:_MASKS_SEEN]:
        mask = np.asarray(decode(name, where=source.description, folder=source.folder))
        largest = max(largest, int(mask[mask != VOID].max(initial=0)))
    return [f"class {value}" for value in range(largest + 1)]


def _label_columns(
    source: ColumnSource, first: pd.DataFrame, path: Path, class_names: set[str]
) -> list[str]:
    """Return the columns that may hold the labels, the likeliest first."""
    names = source.columns()
    # Labels repeat, and mostly stand last.
    repeating = [name for name in reversed(names) if _repeats(first[name])]
    by_lower_case = {str(name).lower(): name for name in names}
    known = [by_lower_case[name] for name in LABEL_NAMES if name in by_lower_case]
    told = [
        name
        for name in [*known, *repeating]
        if class_names and set(map(str, first[name].dropna().tolist())) <= class_names
    ]
    found = list(dict.fromkeys([*told, *known, *repeating]))
    if not found:
        raise DataError(
            f"{path}: no column looks like labels; the columns are "
            f"{', '.join(map(repr, names[:20]))}; rename one to 'label', or write audit.yaml by "
            "hand"
        )
    return found


def _repeats(column: pd.Series) -> bool:
    """Tell whether a column holds few values, over and over, as labels do."""
    values = column.dropna().tolist()
    plain = all(isinstance(value, str | int) for value in values)
    return plain and 2 <= len(set(map(str, values))) <= min(MOST_CLASSES, len(values) // 3)


def _id_column(source: ColumnSource, label: str) -> str | None:
    by_lower_case = {str(name).lower(): name for name in source.columns() if name != label}
    for known in ID_NAMES:
        name = by_lower_case.get(known)
        if name is not None and _is_unique(source, name):
            return name
    return None


def _telling_column(source: ColumnSource, first: pd.DataFrame) -> str | None:
    """Return the first column of words that is different in each row; of few rows none is."""
    if len(source) < _ROWS_THAT_TELL:
        return None
    for name, values in first.items():
        words = all(isinstance(value, str) and len(value.split()) == 1 for value in values)
        if words and _is_unique(source, str(name)):
            return str(name)
    return None


def _is_unique(source: ColumnSource, name: str) -> bool:
    values = pd.concat(list(source.stream([name])), ignore_index=True)[name]
    try:
        row_ids(values, where=name)
    except DataError:
        return False
    return True

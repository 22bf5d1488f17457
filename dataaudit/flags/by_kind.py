"""The flagger of each kind of label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dataaudit.flags.answers import flag_answers
from dataaudit.flags.boxes import flag_boxes
from dataaudit.flags.grades import flag_grades
from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.label_sets import flag_label_sets
from dataaudit.flags.masks import flag_masks
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.preferences import flag_preferences
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import FlagSettings
from dataaudit.flags.tags import flag_tags
from dataaudit.flags.targets import flag_targets


class Flagger(Protocol):
    """Arrays in, tables out: which labels are probably wrong."""

    def __call__(
        self, rows: LabelledRows, references: References | None, settings: FlagSettings
    ) -> MislabelFlags:
        """Return the flags of all rows.

        Parameters
        ----------
        rows : LabelledRows
        references : References or None
            The yardstick; None or too few: probabilities rest on assumptions.
        settings : FlagSettings
        """
        ...


FLAGGERS: Mapping[str, Flagger] = {
    "classification": flag_mislabels,
    "ordinal": flag_grades,
    "regression": flag_targets,
    "multi-label": flag_label_sets,
    "token-classification": flag_tags,
    "boxes": flag_boxes,
    "segmentation": flag_masks,
    "preference": flag_preferences,
    "instruction": flag_answers,
}
"""By `task`, as audit.yaml has it."""

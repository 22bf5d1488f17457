"""The kind of label of each task."""

from __future__ import annotations

from collections.abc import Mapping

from dataaudit.labels.answers import ANSWERS
from dataaudit.labels.boxes import BOXES
from dataaudit.labels.classes import CLASSES
from dataaudit.labels.grades import GRADES
from dataaudit.labels.kind import Kind
from dataaudit.labels.masks import MASKS
from dataaudit.labels.none import NO_LABELS
from dataaudit.labels.preferences import PREFERENCES
from dataaudit.labels.sets import SETS
from dataaudit.labels.tags import TAGS
from dataaudit.labels.targets import TARGETS

KINDS: Mapping[str, Kind] = {
    "classification": CLASSES,
    "ordinal": GRADES,
    "regression": TARGETS,
    "multi-label": SETS,
    "token-classification": TAGS,
    "boxes": BOXES,
    "segmentation": MASKS,
    "preference": PREFERENCES,
    "instruction": ANSWERS,
    "causal-lm": NO_LABELS,
    "diffusion": NO_LABELS,
}
"""By `task`, as audit.yaml has it. `tasks.by_kind` and `flags.by_kind` hold what needs torch, and
how labels are judged, under the same names."""

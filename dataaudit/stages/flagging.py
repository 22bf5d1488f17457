"""The flagging stage: scores in, flagged rows and pairs out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import is_list
from dataaudit.flags.label_evidence import ReferenceRows
from dataaudit.flags.label_sets import ReferenceSets, flag_label_sets
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import FlagSettings
from dataaudit.flags.tags import ReferenceTags, TaggedRows, flag_tags
from dataaudit.flags.targets import ReferenceTargets, flag_targets
from dataaudit.inputs import Loaded
from dataaudit.mirror.queries import Pool
from dataaudit.mirror.relearn import Mirror
from dataaudit.models.estimator import Estimator
from dataaudit.scoring.blocks import Floats, ScoreBlocks
from dataaudit.stages.scoring import FAMILIAR, ITSELF, RELEARNED, Scores
from dataaudit.tasks import MultiLabel, Regression, TokenClassification

REFITTED = (
    "The model as it was is here the estimator itself, fitted anew on training rows and trusted "
    "samples; the model that learned again is the network that imitates it."
)
NOT_REFITTED = (
    "The estimator could not be fitted anew, so the network that imitates it speaks for it "
    "throughout."
)


def find_mislabels(
    loaded: Loaded, mirror: Mirror, scores: Scores, config: AuditConfig
) -> MislabelFlags:
    """Flag training rows that are probably mislabeled."""
    train = loaded.train
    settings = FlagSettings(
        target_precision=config.flags.target_precision,
        budget=config.flags.budget,
        row_groups=train.groups() if train.group_column else None,
        seed=config.mirror.seed,
    )
    known = _references(mirror, scores)
    classes = list(train.classes)
    if isinstance(loaded.task, TokenClassification):
        tags = None
        if known is not None:
            labels, planted, before, after = known
            as_tokens = loaded.task.as_tokens
            tags = ReferenceTags(labels, planted, as_tokens(before), as_tokens(after))
        parts = _TaggedParts(loaded.task, train, scores.train)
        return flag_tags(train.ids, classes, train.labels, parts, tags, settings)
    own, familiar, mirrored = (
        scores.train.predictions(models) for models in (ITSELF, FAMILIAR, RELEARNED)
    )
    if isinstance(loaded.task, Regression):
        targets = None
        if known is not None:
            labels, planted, before, after = known
            targets = ReferenceTargets(labels, planted, _column(before), _column(after))
        return flag_targets(
            train.ids,
            train.labels,
            _column(own),
            _column(familiar),
            _column(mirrored),
            targets,
            settings,
        )
    if isinstance(loaded.task, MultiLabel):
        return flag_label_sets(
            train.ids,
            classes,
            train.labels,
            own,
            familiar,
            mirrored,
            None if known is None else ReferenceSets(*known),
            train.label_values,
            settings,
        )
    rows = None if known is None else ReferenceRows(*known)
    estimator, said = loaded.model.estimator, ""
    if estimator is not None:
        own = estimator.probabilities(train)
        if rows is None or mirror.references is None:
            familiar = own
        elif (anew := _fitted_anew(estimator, loaded, mirror.references.pool, config)) is None:
            said = f" {NOT_REFITTED}"
        else:
            said, familiar = f" {REFITTED}", anew.probabilities(train)
            pool = mirror.references.pool
            base = anew.probabilities(pool.samples)[pool.positions]
            rows = replace(rows, base_probabilities=base, learned_together=True)
    flags = flag_mislabels(
        train.ids, classes, train.labels, own, familiar, mirrored, rows, settings
    )
    return replace(flags, method=flags.method + said)


@dataclass(frozen=True)
class _TaggedParts:
    """The training rows with what the models say of their tokens, one score block at a time."""

    task: TokenClassification
    train: Samples
    scores: ScoreBlocks

    def __iter__(self) -> Iterator[TaggedRows]:
        has_words = _has_words(self.train)
        for block in self.scores:
            positions = np.arange(block.start, block.start + len(block))
            own, familiar, mirrored = (
                self.task.as_tokens(block.predictions[:, models].mean(axis=1))
                for models in (ITSELF, FAMILIAR, RELEARNED)
            )
            words = partial(_words, self.train, positions) if has_words else None
            yield TaggedRows(self.train.labels[positions], own, familiar, mirrored, words)


def _has_words(train: Samples) -> bool:
    if train.modality != "text":
        return False
    return is_list(train.source.take([0])[train.content_column].iloc[0])


def _words(train: Samples, positions: NDArray[np.int64]) -> list[list[str]]:
    return [list(words) for words in train.source.take(positions.tolist())[train.content_column]]


def _column(predictions: Floats) -> NDArray[np.float64]:
    return predictions[:, 0].astype(np.float64)


def _references(mirror: Mirror, scores: Scores) -> tuple[Any, Any, Floats, Floats] | None:
    """Return labels, whether planted, and both models' predictions of the references."""
    if mirror.references is None or scores.held_out is None:
        return None
    pool = mirror.references.pool
    return (
        pool.labels,
        mirror.references.planted,
        scores.held_out.predictions(FAMILIAR)[pool.positions],
        scores.held_out.predictions(RELEARNED)[pool.positions],
    )


def _fitted_anew(
    estimator: Estimator, loaded: Loaded, references: Pool, config: AuditConfig
) -> Estimator | None:
    """Return the estimator fitted on rows and held-out samples, references under their labels.

    None where it cannot be fitted again: an ensemble of models that were fitted before, say. Then
    its stand-in speaks for it here too.
    """
    labels = references.samples.labels.copy()
    labels[references.positions] = references.labels
    splits = [(loaded.train, loaded.train.labels), (references.samples, labels)]
    try:
        return estimator.fitted_anew(splits, config.mirror.seed)
    # Anything may be wrong with a user's estimator, and the audit does not depend on it.
    except Exception:
        return None


def no_pairs(loaded: Loaded) -> pd.DataFrame:
    """Return the table of contamination without a line."""
    return pd.DataFrame(
        {
            "query_id": np.zeros(0, dtype=object),
            "row_id": loaded.train.ids[:0],
            "rank": np.zeros(0, dtype=np.int64),
            "score": np.zeros(0),
            "p_value": np.zeros(0),
            "flagged": np.zeros(0, dtype=bool),
        }
    )

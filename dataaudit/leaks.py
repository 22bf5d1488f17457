"""The flagging stage for suspects: content and influence of pairs, decisions, consequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.content.all import (
    Descriptors,
    Matches,
    concatenated,
    describe_images,
    describe_table,
    describe_texts,
    match,
)
from dataaudit.content.small_images import (
    LARGEST_SIDE,
    SmallImageDescriptors,
    are_small,
    describe_small_images,
    match_small_images,
)
from dataaudit.datasets.images import decode
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.flags.contamination import (
    PairDecisions,
    flag_contamination,
    influence_scores,
    metric_change,
)
from dataaudit.flags.results import ContaminationFlags, Interval
from dataaudit.loading import Loaded
from dataaudit.mirror.unlearning import reactions, unlearned
from dataaudit.scoring import ITSELF, Scores

MATCHES = 3
"""Best matches kept for each suspect."""
CALIBRATION_ROWS = 1000
"""Training rows that stand in for clean suspects, each matched with the rest of the rows."""
INFLUENCE_SUSPECTS = 1000
"""Influence is computed for so many suspects, those most alike to their match first."""
INFLUENCE_CALIBRATION = 200
BACKGROUNDS = 24
"""Clean queries that a row's reaction is judged against."""
ROWS_PER_READ = 2048
EXACT = 0.9999
SCORE_FLOOR = 1e-3
"""Small images: differences in similarity below this count for little."""
CLEARLY_ALIKE = 0.01
"""A p-value up to which one kind of evidence counts as seen."""

Described = Descriptors | SmallImageDescriptors
IndexArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def find_contamination(
    loaded: Loaded, scores: Scores, config: AuditConfig
) -> ContaminationFlags | None:
    """Flag suspects that are probably copies of training rows; None where none are given.

    Parameters
    ----------
    loaded : Loaded
    scores : Scores
        The suspects' own predictions are read from it, for the consequence.
    config : AuditConfig
    """
    if loaded.suspects is None or scores.suspects is None:
        return None
    generator = np.random.default_rng(config.mirror.seed)
    search = _Search.over(loaded)
    suspects = search.describe(loaded.suspects)
    found = _match(suspects, search.rows)
    count = min(CALIBRATION_ROWS, len(loaded.train))
    clean = np.sort(generator.choice(len(loaded.train), count, replace=False))
    clean_matches = _match(search.rows.take(clean), search.rows, exclude=clean)
    influence = _influence(loaded, search, found, generator)
    decisions = flag_contamination(
        loaded.suspects.ids.tolist(),
        loaded.train.ids.tolist(),
        found.rows,
        found.score,
        clean_matches.score[:, 0],
        influence=None if influence is None else influence.suspects,
        influence_calibration=None if influence is None else influence.clean,
        level=config.flags.false_discovery_rate,
    )
    similarity = found.similarity[found.rows >= 0]
    return _with_consequence(loaded, scores, decisions, similarity, config)


@dataclass(frozen=True)
class _Search:
    """The training rows, described so that copies of them can be searched for.

    `like` holds some training rows with the columns that every split has; None unless they are
    tables.
    """

    rows: Described
    like: pd.DataFrame | None

    @classmethod
    def over(cls, loaded: Loaded) -> _Search:
        train = loaded.train
        if _is_vectors(train):
            table = _table(train, [])
        elif train.modality == "table":
            table = _table(train, _shared_features(loaded))
        else:
            return cls(_describe(train), None)
        return cls(describe_table(table), table)

    def describe(self, samples: Samples) -> Described:
        if self.like is None:
            return _describe(samples)
        return describe_table(_table(samples, list(self.like.columns)), like=self.like)


def _is_vectors(samples: Samples) -> bool:
    if samples.modality != "tensor":
        return False
    first = samples.take([0]).frame[samples.content_column].iloc[0]
    return np.ndim(first) <= 1


def _table(samples: Samples, columns: list[str]) -> pd.DataFrame:
    """Return the named columns; of tensors, one column for each number."""
    frames = samples.source.frames(ROWS_PER_READ)
    if samples.modality == "table":
        return pd.concat([frame[columns] for frame in frames])
    vectors = [np.atleast_1d(value) for frame in frames for value in frame[samples.content_column]]
    return pd.DataFrame(np.stack(vectors)).rename(columns=str)


def _shared_features(loaded: Loaded) -> list[str]:
    """Return the columns that every split has, labels and ids left out."""
    splits = [s for s in (loaded.train, loaded.held_out, loaded.suspects) if s is not None]
    special = {name for split in splits for name in (split.label_column, split.id_column)}
    known = [set(split.take([0]).frame.columns) for split in splits]
    columns = [name for name in loaded.train.take([0]).frame.columns if name not in special]
    shared = [name for name in columns if all(name in names for names in known)]
    if not shared:
        raise DataError(
            f"{splits[-1].source.description}: has no feature column in common with "
            f"{loaded.train.source.description} ({', '.join(map(str, columns[:5]))}); leaks "
            "cannot be looked for"
        )
    return shared


def _match(suspects: Described, rows: Described, exclude: IndexArray | None = None) -> Matches:
    if isinstance(suspects, SmallImageDescriptors) and isinstance(rows, SmallImageDescriptors):
        positions, similarity = match_small_images(suspects, rows, MATCHES, exclude)
        return Matches(positions, similarity, -np.log(1 + SCORE_FLOOR - similarity))
    if isinstance(suspects, SmallImageDescriptors) or isinstance(rows, SmallImageDescriptors):
        raise DataError(
            "suspects and training rows are images of different sizes, one of them of at most "
            f"{LARGEST_SIDE} pixels a side; they cannot be compared"
        )
    return match(suspects, rows, keep=MATCHES, exclude=exclude)


def _describe(samples: Samples) -> Described:
    """Describe images, texts, or tensors (as images where they have such a shape)."""
    column = samples.content_column
    frames = samples.source.frames(ROWS_PER_READ)
    if samples.modality == "text":
        return concatenated([describe_texts(frame[column].astype(str)) for frame in frames])
    small: list[SmallImageDescriptors] = []
    large: list[Descriptors] = []
    for frame in frames:
        pictures = [_as_picture(samples, value) for value in frame[column]]
        # Once one image is large, all are: descriptors of both kinds cannot be compared.
        if not large and are_small(pictures):
            small.append(describe_small_images(pictures))
        elif not small:
            large.append(describe_images(pictures))
        else:
            raise DataError(
                f"{samples.source.description}: images of at most {LARGEST_SIDE} pixels a side "
                "stand beside larger ones; leaks among them cannot be looked for"
            )
    if large:
        return concatenated(large)
    return SmallImageDescriptors(np.concatenate([part.pixels for part in small]))


def _as_picture(samples: Samples, value: Any) -> NDArray[Any]:
    """Return `[height, width]` or `[height, width, 3]`."""
    if samples.modality == "image":
        image = decode(value, where=samples.source.description, folder=samples.folder)
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    array = np.asarray(value, dtype=np.float32)
    if array.ndim == 3 and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 2 and array.shape[2:] != (3,):
        # Anything else (volumes, many channels) is laid out flat, which keeps exact copies alike.
        array = array.reshape(len(array), -1)
    low, high = float(array.min()), float(array.max())
    return (array - low) / max(high - low, 1e-12)


@dataclass(frozen=True)
class _Influence:
    """`suspects` `[suspects, matches]` and `clean` `[calibration suspects]`, robust deviations."""

    suspects: FloatArray
    clean: FloatArray


def _influence(
    loaded: Loaded, search: _Search, found: Matches, generator: np.random.Generator
) -> _Influence | None:
    """Unlearn the suspects, and clean queries for comparison; None without held-out samples."""
    rows, alike = found.rows, found.score[:, 0]
    suspects, held_out = loaded.suspects, loaded.held_out
    if suspects is None or held_out is None or len(held_out) < 2 * BACKGROUNDS:
        return None
    order = generator.permutation(len(held_out))
    backgrounds = [
        unlearned(loaded.model, loaded.task, held_out, int(position))
        for position in order[:BACKGROUNDS]
    ]
    chosen = np.sort(np.argsort(-alike, kind="stable")[:INFLUENCE_SUSPECTS])
    changes, background = reactions(
        loaded.model, loaded.task, suspects, chosen, loaded.train, rows[chosen], backgrounds
    )
    scores = np.full(rows.shape, np.nan)
    scores[chosen] = influence_scores(changes, background)
    # A clean query and its best match are alike too, but nothing of it was learned.
    clean = np.sort(order[BACKGROUNDS : BACKGROUNDS + INFLUENCE_CALIBRATION])
    clean_matches = _match(search.describe(held_out).take(clean), search.rows).rows[:, :1]
    changes, background = reactions(
        loaded.model, loaded.task, held_out, clean, loaded.train, clean_matches, backgrounds
    )
    return _Influence(scores, influence_scores(changes, background)[:, 0])


def _with_consequence(
    loaded: Loaded,
    scores: Scores,
    decisions: PairDecisions,
    similarity: NDArray[np.float32],
    config: AuditConfig,
) -> ContaminationFlags:
    assert loaded.suspects is not None
    assert scores.suspects is not None
    table = decisions.table.assign(content=similarity)
    flagged_ids = set(decisions.flagged_queries)
    flagged = np.array([sample_id in flagged_ids for sample_id in loaded.suspects.ids.tolist()])
    predicted = scores.suspects.probabilities(ITSELF).argmax(axis=1)
    right = (predicted == loaded.suspects.labels).astype(np.float64)
    change = metric_change(right, flagged, seed=config.mirror.seed)
    hits = pd.DataFrame(
        {
            "class": [str(name) for name in loaded.suspects.classes],
            "suspects": np.bincount(loaded.suspects.labels, minlength=loaded.task.classes),
            "flagged": np.bincount(loaded.suspects.labels[flagged], minlength=loaded.task.classes),
        }
    )
    evidence = table[["content", "influence"]].rename(
        columns={"content": "content_score", "influence": "influence_score"}
    )
    evidence["kind"] = _kinds(table)
    columns = ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    return ContaminationFlags(
        table=table[columns],
        evidence=evidence,
        false_discovery_rate=config.flags.false_discovery_rate,
        metric_name="accuracy",
        metric_all=Interval(change.all, np.nan, np.nan),
        metric_clean=Interval(change.clean, np.nan, np.nan),
        metric_difference=Interval(change.difference, change.low, change.high),
        hits_per_class=hits,
        method=_method(decisions),
    )


def _kinds(table: pd.DataFrame) -> list[str]:
    kinds = []
    for line in table.itertuples():
        if not line.flagged:
            kinds.append("none")
        elif line.content >= EXACT:
            kinds.append("exact")
        elif line.content_p_value > CLEARLY_ALIKE:
            kinds.append("influence only")
        elif line.influence_p_value <= CLEARLY_ALIKE or np.isnan(line.influence_p_value):
            kinds.append("near")
        else:
            kinds.append("near, no influence seen")
    return kinds


def _method(decisions: PairDecisions) -> str:
    return " ".join(
        [
            "Each suspect was compared with the training rows that look most like it, and was "
            "unlearned to see whether its match reacts more than to clean samples. P-values "
            "compare a suspect with training rows held against the rest of the training set; "
            "suspects are flagged by Benjamini–Hochberg.",
            *(f"{note[:1].upper()}{note[1:]}." for note in decisions.notes),
        ]
    )

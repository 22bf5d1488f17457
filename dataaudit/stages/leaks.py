"""The flagging stage for suspects: content and influence of pairs, decisions, consequences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.flags.consequence import (
    disagreeing_duplicates,
    identical_pairs,
    metric_without,
    shared_groups,
)
from dataaudit.flags.contamination import (
    ExactCopies,
    PairDecisions,
    flag_contamination,
    influence_scores,
)
from dataaudit.flags.null_distribution import fit_null
from dataaudit.flags.results import ContaminationFlags
from dataaudit.inputs import Loaded
from dataaudit.likeness.describing import RowSearch
from dataaudit.likeness.identity import content_keys
from dataaudit.likeness.matching import Matcher, Matches
from dataaudit.mirror.unlearning import reactions, unlearned
from dataaudit.stages.scoring import ITSELF, Scores

MATCHES = 3
"""Best matches kept for each suspect."""
CALIBRATION_ROWS = 1000
"""Training rows that stand in for clean suspects, each matched with the rest of the rows."""
INFLUENCE_SUSPECTS = 1000
"""Influence is computed for so many suspects, those most alike to their match first."""
INFLUENCE_CALIBRATION = 200
BACKGROUNDS = 24
"""Clean queries that a row's reaction is judged against."""
FEWEST_ROWS = 20
CLEARLY_ALIKE = 0.01
"""A p-value up to which one kind of evidence counts as seen."""

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
    search = RowSearch.over(loaded)
    suspects = search.describe(loaded.suspects)
    matcher = Matcher(search.rows)
    found = matcher.match(suspects, keep=MATCHES)
    count = min(CALIBRATION_ROWS, len(loaded.train))
    if count < FEWEST_ROWS:
        raise DataError(
            f"{loaded.train.source.description}: has {count} rows; to judge how alike clean "
            f"samples are, at least {FEWEST_ROWS} are needed; leave out suspects:"
        )
    clean = np.sort(generator.choice(len(loaded.train), count, replace=False))
    clean_matches = matcher.match(search.rows.take(clean), keep=1, exclude=clean)
    keys = content_keys(search.rows)
    exact = exact_copies(keys, content_keys(suspects), clean)
    influence = _influence(loaded, search, matcher, found, generator)
    decisions = flag_contamination(
        loaded.suspects.ids.tolist(),
        loaded.train.ids.tolist(),
        found.rows,
        found.score,
        clean_matches.score[:, 0],
        influence=None if influence is None else influence.suspects,
        influence_calibration=None if influence is None else influence.clean,
        exact=exact,
        level=config.flags.false_discovery_rate,
    )
    evidence = _evidence(decisions, found, exact)
    flags = _with_consequence(loaded, scores, decisions, evidence, config)
    return replace(
        flags,
        disagreeing_duplicates=_disagreeing(loaded.train, keys, clean, clean_matches),
        shared_groups=_shared_groups(loaded.train, loaded.suspects),
    )


def exact_copies(
    keys: NDArray[np.object_], suspect_keys: NDArray[np.object_], clean: IndexArray
) -> ExactCopies:
    """Say which suspects and calibration rows are identical to a training row.

    Parameters
    ----------
    keys, suspect_keys : `[rows]`, `[suspects]`
        From `content_keys`.
    clean : `[calibration rows]`
        Their positions among the rows.
    """
    times = pd.Series(keys).map(pd.Series(keys).value_counts()).to_numpy()
    return ExactCopies(
        suspects=np.isin(suspect_keys.astype("S16"), keys.astype("S16")),
        calibration=times[clean] > 1,
        repeated=int((times > 1).sum()),
        rows=len(keys),
    )


def _disagreeing(
    train: Samples, keys: NDArray[np.object_], clean: IndexArray, clean_matches: Matches
) -> pd.DataFrame:
    """List identical rows of all, and near ones of the calibration sample, whose labels differ."""
    given = train.label_values()
    identical = identical_pairs(keys.tolist(), given)
    near = fit_null(clean_matches.score[:, 0]).excluded & (clean_matches.rows[:, 0] >= 0)
    pairs = np.concatenate(
        [identical, np.stack([clean[near], clean_matches.rows[near, 0]], axis=1)]
    )
    similarity = np.r_[np.ones(len(identical)), clean_matches.similarity[near, 0]]
    shown = given.astype(str).astype(object) if train.kind.has_classes else given
    return disagreeing_duplicates(train.ids.tolist(), shown, pairs, similarity)


def _shared_groups(train: Samples, suspects: Samples) -> pd.DataFrame | None:
    if train.group_column is None or suspects.group_column is None:
        return None
    return shared_groups(suspects.groups(), train.groups())


@dataclass(frozen=True)
class _Influence:
    """`suspects` `[suspects, matches]` and `clean` `[calibration suspects]`, robust deviations."""

    suspects: FloatArray
    clean: FloatArray


def _influence(
    loaded: Loaded,
    search: RowSearch,
    matcher: Matcher,
    found: Matches,
    generator: np.random.Generator,
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
    clean_matches = matcher.match(search.describe(held_out).take(clean), keep=1).rows
    changes, background = reactions(
        loaded.model, loaded.task, held_out, clean, loaded.train, clean_matches, backgrounds
    )
    return _Influence(scores, influence_scores(changes, background)[:, 0])


def _with_consequence(
    loaded: Loaded,
    scores: Scores,
    decisions: PairDecisions,
    evidence: pd.DataFrame,
    config: AuditConfig,
) -> ContaminationFlags:
    assert loaded.suspects is not None
    assert scores.suspects is not None
    flagged = np.isin(
        np.arange(len(loaded.suspects)),
        pd.Index(loaded.suspects.ids).get_indexer(decisions.flagged_queries),
    )
    right = loaded.task.metric(scores.suspects.predictions(ITSELF), loaded.suspects.labels)
    metric = metric_without(right, flagged, seed=config.mirror.seed)
    columns = ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    table = decisions.table[columns].astype({"rank": np.int64})
    # Ids come back as Python objects; the tables keep the types of the files.
    for column, samples in (("query_id", loaded.suspects), ("row_id", loaded.train)):
        table[column] = table[column].to_numpy().astype(samples.ids.dtype)
    return ContaminationFlags(
        table=table,
        evidence=evidence,
        false_discovery_rate=config.flags.false_discovery_rate,
        metric_name=loaded.task.metric_name,
        metric_all=metric.everything,
        metric_clean=metric.clean,
        metric_difference=metric.difference,
        hits_per_class=_hits_per_class(loaded.suspects, flagged),
        method=_method(decisions),
    )


def _hits_per_class(suspects: Samples, flagged: NDArray[np.bool_]) -> pd.DataFrame:
    """Count suspects of each class (or that carry each label), and those flagged among them."""
    if not suspects.kind.has_classes:
        return pd.DataFrame({"class": [], "suspects": [], "flagged": []})
    labels, counts = suspects.labels, suspects.kind.counts
    table = pd.DataFrame(counts(labels, suspects.classes, labels), columns=["class", "suspects"])
    hits = counts(labels[flagged], suspects.classes, labels)
    return table.assign(flagged=[count for _, count in hits])


def _evidence(decisions: PairDecisions, found: Matches, exact: ExactCopies) -> pd.DataFrame:
    """Return what each pair of `decisions.table` rests on, in its order."""
    table = decisions.table
    lines, places = np.nonzero(found.rows >= 0)
    # The best match of a suspect that is identical to a row is such a row.
    identical = exact.suspects[lines] & (places == 0)
    kinds = [_kind(pair, same) for pair, same in zip(table.itertuples(), identical, strict=True)]
    return pd.DataFrame(
        {
            "content_score": found.similarity[lines, places].astype(np.float64),
            "influence_score": table["influence"].to_numpy(np.float64),
            "kind": kinds,
        }
    )


def _kind(pair: Any, same: bool) -> str:
    if same:
        return "exact"
    if not pair.flagged:
        return "none"
    if pair.content_p_value > CLEARLY_ALIKE:
        return "influence only"
    if pair.influence_p_value <= CLEARLY_ALIKE or np.isnan(pair.influence_p_value):
        return "near"
    return "near, no influence seen"


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

"""The flagging stage for suspects: content and influence of pairs, decisions, consequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.checks.examined import Examined
from dataaudit.checks.leaks import Leaks
from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataAuditError, EngineError, RunDirectoryError
from dataaudit.flags.clean_null import FEWEST_SCORES, clean_null
from dataaudit.flags.consequence import (
    NO_METRIC,
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
    shown_pairs,
)
from dataaudit.flags.null_distribution import Null, fit_null
from dataaudit.flags.probabilities import row_blocks
from dataaudit.flags.results import ContaminationFlags
from dataaudit.inputs import Files, Loaded
from dataaudit.likeness.describing import RowSearch
from dataaudit.likeness.descriptors import Descriptors, concatenated
from dataaudit.likeness.dressing import dressed
from dataaudit.likeness.identity import Identity, identity, nothing_identical
from dataaudit.likeness.matching import Matcher, Matches
from dataaudit.mirror.unlearning import each_unlearned, reactions
from dataaudit.stages.checking import wanted
from dataaudit.stages.scoring import ITSELF, Scores

MATCHES = 3
"""Best matches kept for each suspect."""
CALIBRATION_ROWS = 1000
"""Training rows that stand in for clean suspects, each matched with the rest of the rows."""
INFLUENCE_SUSPECTS = 1000
"""Influence is computed for so many of the suspects that are not identical to a row, those most
alike to their match."""
INFLUENCE_CALIBRATION = 200
BACKGROUNDS = 24
"""Clean queries that a row's reaction is judged against."""
CLEARLY_ALIKE = 0.01
"""A p-value up to which one kind of evidence counts as seen."""

IndexArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


def find_contamination(
    loaded: Loaded | Files, scores: Scores | None, config: AuditConfig, data: Examined
) -> ContaminationFlags | None:
    """Flag suspects that are probably copies of training rows; None where that is not asked for.

    Whatever goes wrong here ends in the outcome "cannot tell" with its reason: other results of
    the audit do not depend on it.

    Parameters
    ----------
    loaded : Loaded or Files
        Without a model, content alone is compared.
    scores : Scores or None
        The suspects' own predictions are read from it, for the consequence; None without a model.
    config : AuditConfig
    data : Examined
        The same splits; its training rows are described once for checks and leaks.
    """
    if loaded.suspects is None or not wanted(config, Leaks):
        return None
    try:
        search = data.search
        suspects = search.describe(loaded.suspects)
        same = identity(search.rows, suspects)
    except _PASSED_ON:
        raise
    except Exception as error:
        return _conclude(
            loaded,
            scores,
            config,
            _identical_only(
                loaded, nothing_identical(len(loaded.suspects)), config, _in_words(error)
            ),
        )
    try:
        found = _search(loaded, search, suspects, same, config)
    except _PASSED_ON:
        raise
    except Exception as error:
        found = _identical_only(loaded, same, config, _in_words(error))
    return _conclude(loaded, scores, config, found)


_PASSED_ON = (OSError, MemoryError, RunDirectoryError, EngineError)
"""Errors that are not about the suspects: a full disk, say, or a lost cluster."""


def _in_words(error: Exception) -> str:
    if isinstance(error, DataAuditError):
        return str(error)
    said = str(error).partition("\n")[0][:200]
    return f"the search for leaks failed ({type(error).__name__}: {said})"


@dataclass(frozen=True)
class _Found:
    """What was found, before anything is said of its consequences.

    `evidence` is aligned with `decisions.table`; `doubts` say what could not be judged.
    """

    decisions: PairDecisions
    evidence: pd.DataFrame
    doubts: list[str]
    notes: list[str]
    repeated: int
    disagreeing: pd.DataFrame | None = None


def _search(
    loaded: Loaded | Files,
    search: RowSearch,
    suspects: Descriptors,
    same: Identity,
    config: AuditConfig,
) -> _Found:
    """Look for suspects that are alike to a row, and judge how unusual that is."""
    generator = np.random.default_rng(config.mirror.seed)
    level = config.flags.false_discovery_rate
    clean = calibration_rows(same, generator)
    queries, more = _clean_queries(loaded, generator), []
    if queries is not None and loaded.held_out is not None:
        more.append(search.describe(loaded.held_out).take(queries.calibration))
    content = content_of(search.rows, suspects, same, clean, level, generator, more)
    influence = None
    if isinstance(content.null, Null) and queries is not None and isinstance(loaded, Loaded):
        influence = _influence(loaded, content.found, same, queries, content.more[0].rows[:, :1])
    exact = ExactCopies(identical_pairs_of(content.found, same), same.repeated, len(same.keys))
    assert loaded.suspects is not None
    decisions = flag_contamination(
        loaded.suspects.ids.tolist(),
        loaded.train.ids,
        content.found.rows,
        content.found.score,
        content.null,
        influence=None if influence is None else influence.suspects,
        influence_null=None if influence is None else influence.null,
        exact=exact,
        level=level,
    )
    doubts = [d for d in (exact.by_chance, content.null) if isinstance(d, str) and d]
    notes = list(content.notes)
    if search.left_out:
        names = ", ".join(search.left_out[:10])
        notes.append(f"compared without the columns that suspects lack: {names}")
    disagreeing = None
    if _can_contradict(loaded.train):
        disagreeing = _disagreeing(loaded.train, same, clean, content.clean)
    evidence = _evidence(decisions, content.found)
    return _Found(decisions, evidence, doubts, notes, same.repeated, disagreeing)


@dataclass(frozen=True)
class Content:
    """How alike suspects are to rows, and how alike clean samples are.

    `clean` are the matches of the calibration rows, None where these were cut down to what
    suspects are; `more` those of further samples. `null` is text where it cannot be told.
    """

    found: Matches
    null: Null | str
    notes: list[str]
    clean: Matches | None
    more: list[Matches]


def calibration_rows(same: Identity, generator: np.random.Generator) -> IndexArray:
    """Draw the rows that stand in for clean suspects, from those that do not repeat each other.

    Only suspects that are not identical to a row are held against them.
    """
    single = len(same.repeats) - same.repeated
    drawn = np.sort(generator.choice(single, min(CALIBRATION_ROWS, single), replace=False))
    return _places_of(drawn, same.repeats)


def _places_of(numbers: IndexArray, repeats: NDArray[np.bool_]) -> IndexArray:
    """Return where the rows stand that have some numbers, ascending, among the false ones."""
    found, before = [np.zeros(0, np.int64)], 0
    for part in row_blocks(len(repeats)):
        single = np.flatnonzero(~repeats[part])
        low, high = np.searchsorted(numbers, [before, before + len(single)])
        found.append(single[numbers[low:high] - before] + part.start)
        before += len(single)
    return np.concatenate(found)


def content_of(
    rows: Descriptors,
    suspects: Descriptors,
    same: Identity,
    clean: IndexArray,
    level: float,
    generator: np.random.Generator,
    more: Sequence[Descriptors] = (),
) -> Content:
    """Match suspects, calibration rows and further samples with the rows, and judge likeness.

    Parameters
    ----------
    rows, suspects : Descriptors
    same : Identity
    clean : int64 `[calibration rows]`
        From `calibration_rows`.
    level : float
        The false discovery rate for suspects.
    generator : numpy Generator
    more : sequence of Descriptors
        Further samples to match with the rows on the same way through them.
    """
    matcher = Matcher(rows)
    stand_ins, said = dressed(rows.take(clean), suspects, generator)
    found, clean_matches, *others = match_together(matcher, [suspects, stand_ins, *more], clean)
    found = with_identical_first(found, matcher, suspects, same)
    similar = found.score[~same.suspects, 0]
    null, notes = clean_null(clean_matches.score[:, 0], similar, level)
    if isinstance(null, str) and same.repeated:
        null += f" ({same.repeated} of {len(same.keys)} are identical to another one)"
    notes += matcher.notes
    # A row that was cut is alike to others for what is left of it.
    return Content(
        found, null, [*notes, said] if said else notes, None if said else clean_matches, others
    )


def match_together(
    matcher: Matcher, parts: Sequence[Descriptors], clean: IndexArray
) -> list[Matches]:
    """Match several sets of samples with the rows, which are gone through once for all of them.

    `clean` are the positions of the second set among the rows; no row is matched with itself.
    """
    ends = np.cumsum([len(part) for part in parts])
    exclude = np.full(int(ends[-1]), -1)
    exclude[ends[0] : ends[1]] = clean
    whole = matcher.match(concatenated(parts), keep=MATCHES, exclude=exclude)
    starts = [0, *ends[:-1]]
    return [
        Matches(whole.rows[a:b], whole.similarity[a:b], whole.score[a:b])
        for a, b in zip(starts, ends, strict=True)
    ]


def with_identical_first(
    found: Matches, matcher: Matcher, suspects: Descriptors, same: Identity
) -> Matches:
    """Put the rows that a suspect is identical to before all others; the search may miss them."""
    missed = np.flatnonzero(same.suspects & ~identical_pairs_of(found, same).any(axis=1))
    rows, similarity, score = found.rows.copy(), found.similarity.copy(), found.score.copy()
    if len(missed):
        rows[missed, -1] = same.row[missed]
        score[missed, -1] = matcher.scores_of_pairs(suspects.take(missed), same.row[missed])
    identical = identical_pairs_of(Matches(rows, similarity, score), same)
    similarity[identical] = 1.0
    order = np.argsort(~identical, axis=1, kind="stable")
    return Matches(
        np.take_along_axis(rows, order, axis=1),
        np.take_along_axis(similarity, order, axis=1),
        np.take_along_axis(score, order, axis=1),
    )


def identical_pairs_of(found: Matches, same: Identity) -> NDArray[np.bool_]:
    """Tell which matches are identical to their suspect, `[suspects, matches]`."""
    if len(same.keys) == 0:
        return np.zeros(found.rows.shape, bool)
    return (same.keys[found.rows] == same.suspect_keys[:, None]) & (found.rows >= 0)


def _identical_only(
    loaded: Loaded | Files, same: Identity, config: AuditConfig, reason: str
) -> _Found:
    """Name the identical suspects alone, where nothing else could be looked for."""
    rows = same.row[:, None]
    score = np.where(rows >= 0, 0.0, -np.inf)
    found = Matches(rows, np.where(rows >= 0, 1.0, -np.inf).astype(np.float32), score)
    exact = ExactCopies(rows >= 0, same.repeated, len(loaded.train))
    assert loaded.suspects is not None
    decisions = flag_contamination(
        loaded.suspects.ids.tolist(),
        loaded.train.ids,
        rows,
        score,
        reason,
        exact=exact,
        level=config.flags.false_discovery_rate,
    )
    doubts = [doubt for doubt in (exact.by_chance, reason) if doubt]
    return _Found(decisions, _evidence(decisions, found), doubts, [], same.repeated)


def _can_contradict(train: Samples) -> bool:
    """Tell whether of two labels of the same content one is wrong.

    An instruction has many right answers, and targets of the same features differ by their noise.
    """
    return not train.kind.written and train.kind.form != "number"


def _disagreeing(
    train: Samples, same: Identity, clean: IndexArray, clean_matches: Matches | None
) -> pd.DataFrame:
    """List identical rows of all, and near ones of the calibration sample, whose labels differ."""

    def given(rows: IndexArray) -> NDArray[Any]:
        return train.label_values(train.labels[rows])

    def shown(rows: IndexArray) -> NDArray[Any]:
        return given(rows).astype(str).astype(object) if train.kind.has_classes else given(rows)

    identical = identical_pairs(same.groups, given)
    pairs, similarity = identical, np.ones(len(identical))
    if clean_matches is not None:
        score = clean_matches.score[:, 0]
        if np.isfinite(score).sum() >= FEWEST_SCORES:
            near = fit_null(score).excluded & (clean_matches.rows[:, 0] >= 0)
            others = np.stack([clean[near], clean_matches.rows[near, 0]], axis=1)
            pairs = np.concatenate([identical, others])
            similarity = np.r_[similarity, clean_matches.similarity[near, 0]]
    # Of a row whose label cannot be used, which a model would have set aside, nothing is said.
    known = train.kind.usable(train.labels, train.classes)[pairs].all(axis=1)
    return disagreeing_duplicates(train.ids, shown, pairs[known], similarity[known])


def _shared_groups(train: Samples, suspects: Samples) -> pd.DataFrame | None:
    if train.group_column is None or suspects.group_column is None:
        return None
    return shared_groups(suspects.groups(), train.groups())


@dataclass(frozen=True)
class _Influence:
    """`suspects` `[suspects, matches]`, robust deviations, and how clean suspects score."""

    suspects: FloatArray
    null: Null


@dataclass(frozen=True)
class _CleanQueries:
    """Positions of held-out samples: a row's background, and stand-ins for clean suspects."""

    backgrounds: IndexArray
    calibration: IndexArray


def _clean_queries(loaded: Loaded | Files, generator: np.random.Generator) -> _CleanQueries | None:
    """None without labels to unlearn by, or with too few held-out samples to compare with."""
    suspects, held_out = loaded.suspects, loaded.held_out
    if suspects is None or held_out is None or len(held_out) < BACKGROUNDS + FEWEST_SCORES:
        return None
    if not suspects.labelled or isinstance(loaded, Files):
        return None
    order = generator.permutation(len(held_out))
    calibration = order[BACKGROUNDS : BACKGROUNDS + INFLUENCE_CALIBRATION]
    return _CleanQueries(order[:BACKGROUNDS], np.sort(calibration))


def _influence(
    loaded: Loaded,
    found: Matches,
    same: Identity,
    queries: _CleanQueries,
    query_rows: IndexArray,
) -> _Influence | None:
    """Unlearn the suspects, and clean queries for comparison; None where they say nothing.

    What is identical to a row is not unlearned: it is flagged, whatever the model makes of it.
    """
    rows, alike = found.rows, found.score[:, 0]
    suspects, held_out, model = loaded.suspects, loaded.held_out, loaded.model
    assert suspects is not None
    assert held_out is not None
    ordered = np.argsort(-alike, kind="stable")
    chosen = np.sort(ordered[~same.suspects[ordered]][:INFLUENCE_SUSPECTS])
    if len(chosen) == 0:
        return None
    backgrounds = [*each_unlearned(model, loaded.task, held_out, queries.backgrounds)]
    changes, background = reactions(
        model, loaded.task, suspects, chosen, loaded.train, rows[chosen], backgrounds
    )
    scores = np.full(rows.shape, np.nan)
    scores[chosen] = influence_scores(changes, background)
    # A clean query and its best match are alike too, but nothing of it was learned.
    changes, background = reactions(
        model, loaded.task, held_out, queries.calibration, loaded.train, query_rows, backgrounds
    )
    calibration = influence_scores(changes, background)[:, 0]
    if np.isfinite(calibration).sum() < FEWEST_SCORES:
        return None
    return _Influence(scores, fit_null(calibration, trusted=True))


def _conclude(
    loaded: Loaded | Files, scores: Scores | None, config: AuditConfig, found: _Found
) -> ContaminationFlags:
    """Say what the flags mean: for the metric, for the classes, for groups."""
    suspects, decisions = loaded.suspects, found.decisions
    assert suspects is not None
    flagged = np.isin(
        np.arange(len(suspects)), pd.Index(suspects.ids).get_indexer(decisions.flagged_queries)
    )
    metric, hits = NO_METRIC, pd.DataFrame({"class": [], "suspects": [], "flagged": []})
    metric_name = loaded.task.metric_name if isinstance(loaded, Loaded) else "the metric"
    if suspects.labelled:
        if isinstance(loaded, Loaded) and scores is not None and scores.suspects is not None:
            right = loaded.task.metric(scores.suspects.predictions(ITSELF), suspects.labels)
            metric = metric_without(right, flagged, seed=config.mirror.seed)
        hits = _hits_per_class(suspects, flagged)
    notes = [*decisions.notes, *found.notes]
    if isinstance(loaded, Files):
        notes.append("no model was given, so content alone was compared")
    elif not suspects.labelled:
        notes.append(f"the suspects have no labels, so {metric_name} is left out")
    return ContaminationFlags(
        table=_as_in_files(decisions.table, suspects, loaded.train),
        evidence=found.evidence,
        false_discovery_rate=config.flags.false_discovery_rate,
        metric_name=metric_name,
        metric_all=metric.everything,
        metric_clean=metric.clean,
        metric_difference=metric.difference,
        hits_per_class=hits,
        method=_method(notes, unlearned=bool(decisions.table["influence"].notna().any())),
        disagreeing_duplicates=found.disagreeing,
        shared_groups=_shared_groups(loaded.train, suspects),
        doubts=found.doubts,
        rows_repeated=found.repeated,
    )


def _as_in_files(table: pd.DataFrame, suspects: Samples, train: Samples) -> pd.DataFrame:
    """Return the contract's columns; ids come back as Python objects and get the files' types."""
    columns = ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    shown = table[columns].astype({"rank": np.int64})
    for column, samples in (("query_id", suspects), ("row_id", train)):
        values = shown[column]
        if not values.isna().any():
            shown[column] = values.to_numpy().astype(samples.ids.dtype)
        elif samples.ids.dtype.kind in "iu":
            shown[column] = values.astype("Int64")
    return shown


def _hits_per_class(suspects: Samples, flagged: NDArray[np.bool_]) -> pd.DataFrame:
    """Count suspects of each class (or that carry each label), and those flagged among them."""
    if not suspects.kind.has_classes:
        return pd.DataFrame({"class": [], "suspects": [], "flagged": []})
    # Without a model, suspects whose label cannot be used are not set aside.
    usable = suspects.kind.usable(suspects.labels, suspects.classes)
    labels, counts = suspects.labels[usable], suspects.kind.counts
    table = pd.DataFrame(counts(labels, suspects.classes, labels), columns=["class", "suspects"])
    hits = counts(labels[flagged[usable]], suspects.classes, labels)
    return table.assign(flagged=[count for _, count in hits])


def _evidence(decisions: PairDecisions, found: Matches) -> pd.DataFrame:
    """Return what each pair of `decisions.table` rests on, in its order."""
    table = decisions.table
    lines, places = np.nonzero(shown_pairs(found.rows))
    similarity = found.similarity[lines, places].astype(np.float64)
    return pd.DataFrame(
        {
            "content_score": np.where(np.isfinite(similarity), similarity, np.nan),
            "influence_score": table["influence"].to_numpy(np.float64),
            "kind": [_kind(pair) for pair in table.itertuples()],
        }
    )


def _kind(pair: Any) -> str:
    if pair.identical:
        return "exact"
    if not pair.flagged:
        return "none"
    # Where most suspects are flagged, so are some whose likeness alone is not clear.
    if pair.influence_p_value <= CLEARLY_ALIKE:
        return "influence only" if pair.content_p_value > CLEARLY_ALIKE else "near"
    return "near" if np.isnan(pair.influence_p_value) else "near, no influence seen"


def _method(notes: Sequence[str], *, unlearned: bool) -> str:
    asked = (
        "Of the others, each was compared with the training rows that look most like it, and was "
        "unlearned to see whether its match reacts more than to clean samples."
        if unlearned
        else "Of the others, each was compared with the training rows that look most like it. None "
        "was unlearned, so that nothing rests on what the model makes of them."
    )
    return " ".join(
        [
            f"A suspect that is identical to a training row is counted as it is. {asked} P-values "
            "compare a suspect with training rows held against the rest of the training set; "
            "suspects that only resemble a row are flagged by Benjamini–Hochberg.",
            *(f"{note[:1].upper()}{note[1:]}." for note in notes),
        ]
    )

"""The flagging stage: scores in, flagged rows and pairs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.words import is_list
from dataaudit.flags.annotators import with_annotators
from dataaudit.flags.by_kind import FLAGGERS
from dataaudit.flags.inputs import LabelledRows, References, SecondOpinion, Unseen, View
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import FlagSettings
from dataaudit.inputs import Loaded, Splits
from dataaudit.likeness.repeats import contradicted
from dataaudit.mirror.left_out import references_of
from dataaudit.mirror.probes import Judged
from dataaudit.mirror.references import PLANTED_SHARE, pool_predictions
from dataaudit.mirror.relearn import Mirror
from dataaudit.scoring.passes import Passes
from dataaudit.stages.answer_pieces import answer_pieces
from dataaudit.stages.opinions import pooled
from dataaudit.stages.scoring import FAMILIAR, ITSELF, RELEARNED, Scores
from dataaudit.tasks.segmentation import Segmentation
from dataaudit.tasks.task import Predictions, SaysOfLabels

MOST_MAPPED = 32
"""Rows whose pixels are asked for at a time, at most."""

PROBED = (
    "Nothing was learned again. Linear probes of what the model saw before it was trained were "
    "fitted to training rows and trusted samples, and every sample is judged by probes that were "
    "fitted without it; where a loss after learning again is given, it is theirs. The score is "
    "what they hold against the given label, as log odds that it is wrong; the yardstick is {} "
    "trusted samples, a quarter of them judged under a wrong label on purpose."
)
NOT_REFITTED = (
    "The estimator could not be fitted anew, so the network that imitates it speaks for it "
    "throughout."
)


def find_mislabels(
    loaded: Loaded,
    mirror: Mirror,
    scores: Scores,
    config: AuditConfig,
    probes: Judged | None = None,
    crosswise: Unseen | None = None,
    opinions: Sequence[View] = (),
    second: SecondOpinion | None = None,
    beside: View | None = None,
) -> MislabelFlags:
    """Flag training rows that are probably mislabeled.

    Parameters
    ----------
    loaded, mirror, scores, config
    probes : Judged or None
        What linear probes say that were fitted without the sample.
    crosswise : Unseen or None
        What the estimator says that was fitted anew without the sample.
    opinions : sequence of View
        What other models say of rows and trusted samples.
    second : SecondOpinion or None
        What is thought of some rows by what no given label has touched.
    beside : View or None
        What models say that learned again without the sample, beside the mirror.
    """
    train = loaded.train
    settings = FlagSettings(
        target_precision=config.flags.target_precision,
        budget=config.flags.budget,
        row_groups=train.groups() if train.group_column else None,
        seed=config.mirror.seed,
    )
    # What learned nothing of the labels is weighed as one, but for what stands for the mirror.
    unseen = pooled([*([probes] if probes and mirror.relearned else []), *opinions])
    if beside is not None:
        unseen = Judged(beside.rows, beside.trusted)
    known = _references(loaded, mirror, scores, unseen)
    if crosswise is not None and not train.kind.has_classes:
        known = _planted(loaded, crosswise, config.mirror.seed)
    if crosswise is None and not mirror.relearned:
        known = _planted_for_probes(loaded, probes, unseen, config.mirror.seed)
    own = scores.train.predictions(ITSELF)
    if mirror.relearned:
        familiar, mirrored = map(scores.train.predictions, (FAMILIAR, RELEARNED))
    elif crosswise is not None:
        familiar = mirrored = crosswise.views[0].rows
    else:
        # What the trained model says counts for nothing: it knows rows, and no trusted sample.
        assert probes is not None
        familiar = mirrored = probes.rows
    estimator, said = loaded.model.estimator, ""
    if estimator is not None:
        own = estimator.probabilities(train)
        said = "" if crosswise is not None else f" {NOT_REFITTED}"
    words = partial(_words, train) if _has_words(train) else None
    maps = partial(_maps, loaded, mirror) if train.kind.per_pixel else None
    pieces = partial(answer_pieces, loaded, mirror, config) if train.kind.written else None
    rows = LabelledRows(
        train.ids,
        train.labels,
        train.classes,
        train.label_values,
        own,
        familiar,
        mirrored,
        words,
        maps,
        pieces,
        None if unseen is None else unseen.rows,
        None if crosswise is None else replace(crosswise, views=[*crosswise.views, *opinions]),
        contradicted(train) if train.kind.probed else None,
        second,
        0 if loaded.held_out is None else len(loaded.held_out),
    )
    flags = FLAGGERS[config.task](rows, known, settings)
    method = (
        flags.method
        if mirror.relearned or crosswise is not None
        else PROBED.format(0 if known is None else len(known.planted))
    )
    flags = replace(flags, method=method + said)
    if train.votes is not None:
        flags = with_annotators(flags, rows, train.votes, settings, ordered=train.kind.ordered)
    return flags


def _has_words(train: Samples) -> bool:
    if train.modality != "text":
        return False
    return is_list(train.source.take([0])[train.content_column].iloc[0])


def _words(train: Samples, positions: NDArray[np.int64]) -> list[list[str]]:
    return [list(words) for words in train.source.take(positions.tolist())[train.content_column]]


def _maps(
    loaded: Loaded, mirror: Mirror, positions: NDArray[np.int64]
) -> Iterator[NDArray[np.floating[Any]]]:
    """Yield the mean probability of each row's pixels under the models that learned again."""
    train, task = loaded.train, loaded.task
    assert isinstance(task, Segmentation)
    passes, size = Passes(loaded.model.module), train.labels.shape[1:]
    step = train.rows_at_once(MOST_MAPPED)
    for start in range(0, len(positions), step):
        batch = train.take(positions[start : start + step])
        inputs = loaded.model.inputs(batch, train)
        found = [
            task.log_probabilities(outputs, size).exp()
            for outputs in passes.outputs(inputs, mirror.relearned)
        ]
        yield from torch.stack(found).mean(dim=0).cpu().numpy()


def _references(
    loaded: Loaded, mirror: Mirror, scores: Scores, unseen: Judged | None
) -> References | None:
    if mirror.references is None or scores.held_out is None:
        return None
    pool = mirror.references.pool
    others = None if unseen is None else unseen.trusted[pool.positions]
    if isinstance(loaded.task, SaysOfLabels):
        # Score blocks have them under their right labels.
        base, *relearned = (
            pool_predictions(loaded.model, loaded.task, pool, model)
            for model in (mirror.familiar, *mirror.relearned)
        )
        return References(pool.labels, mirror.references.planted, base, np.mean(relearned, axis=0))
    return References(
        pool.labels,
        mirror.references.planted,
        scores.held_out.predictions(FAMILIAR)[pool.positions],
        scores.held_out.predictions(RELEARNED)[pool.positions],
        unseen=others,
    )


def _planted(loaded: Loaded, crosswise: Unseen, seed: int) -> References | None:
    """Return the trusted samples that models judged which were fitted without them.

    A quarter is judged under a wrong label. The models never saw the label, so it need not be
    learned for that.
    """
    said, right = crosswise.views[0].trusted, crosswise.trusted_labels
    if loaded.train.kind.written:
        if loaded.held_out is None:
            return None
        # What is said of an answer needs it: they were judged under these.
        return References(right, references_of(loaded, seed).planted, said, said)
    given, planted = _with_errors(loaded, said, right, seed)
    return References(given, planted, said, said)


def _planted_for_probes(
    loaded: Loaded, probes: Judged | None, unseen: Judged | None, seed: int
) -> References | None:
    """Return all trusted samples, as the probes judge them that were fitted without them.

    A quarter is judged under a wrong label, one that the probes confuse with the right one.
    """
    if loaded.held_out is None or probes is None:
        return None
    said = probes.trusted
    given, planted = _with_errors(loaded, said, loaded.held_out.labels, seed)
    others = None if unseen is None else unseen.trusted
    return References(given, planted, said, said, unseen=others)


def _with_errors(
    loaded: Loaded, said: Predictions, right: NDArray[Any], seed: int
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return labels of which a share is wrong, by what models say of them, and which are."""
    generator = np.random.default_rng(seed)
    planted = generator.permutation(len(right)) < round(PLANTED_SHARE * len(right))
    return np.where(planted, loaded.task.wrong_labels(said, right, generator), right), planted


def no_pairs(loaded: Splits) -> pd.DataFrame:
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

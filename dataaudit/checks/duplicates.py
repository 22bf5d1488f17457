"""Training rows that are the same, or nearly so, as clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.set_aside import Kept
from dataaudit.likeness.alignment import aligned_similarity
from dataaudit.likeness.describing import RowSearch
from dataaudit.likeness.descriptors import (
    Descriptors,
    FloatArray,
    ImageDescriptors,
    TextDescriptors,
)
from dataaudit.likeness.identity import content_keys
from dataaudit.likeness.images import ImageRows
from dataaudit.likeness.near_pairs import near_pairs
from dataaudit.likeness.parts import in_parts
from dataaudit.likeness.repeats import content_columns, row_hashes
from dataaudit.likeness.texts import TextRows
from dataaudit.report import formats
from dataaudit.storage.on_disk import Growing
from dataaudit.storage.same_keys import SameKeys

MOST_ROWS = 50_000
"""Rows, evenly spread where there are more, among which near duplicates are looked for."""
SEARCHED_TEXT, SEARCHED_PICTURE = 0.75, 0.9
"""Cosines of the vectors to search with from which a pair is looked at closely."""
NEAR_TEXT = 0.85
"""Of the weight of words, the share that two texts have in common, both ways."""
NEAR_PICTURE = 0.92
"""Correlation of two pictures laid over each other in the best way."""
PAIRS_PER_STEP = 16
BY_NATURE = 0.5
"""Where so many repeats are left once every column has been shuffled, they are natural."""

Pairs = NDArray[np.int64]


class Duplicates(Check):
    """Finds identical rows by the hash of their content, and near ones by likeness.

    Near duplicates are looked for among texts and pictures. Rows of a table that repeat each other
    because their columns have few values are none.
    """

    name = "duplicates"
    title = "Duplicates within the training rows"

    def look(self, data: Examined) -> Found:
        """Hash all rows; compare an even choice of texts or pictures."""
        train = data.train
        exact = _equal(SameKeys(row_hashes(train, content_columns(train))))
        if train.modality == "table" and len(exact) and _natural(train, len(exact), data.seed):
            return Found(
                f"{formats.rows(len(exact))} repeat another one, and about as many would if the "
                "values of each column were dealt at random: the columns have few values, so this "
                "says nothing."
            )
        near = _near(data) if train.modality in ("text", "image") else np.empty((0, 2), np.int64)
        issues = _clusters(train, exact, near)
        looked = (
            f" Near duplicates were looked for among {formats.rows(MOST_ROWS)}."
            if train.modality in ("text", "image") and len(train) > MOST_ROWS
            else ""
        )
        if not issues:
            return Found(f"No training row repeats another one.{looked}")
        clusters = len({issue.group for issue in issues})
        return Found(
            f"{formats.rows(len(issues))} stand in {formats.rows(clusters, 'cluster')} of the same "
            "or nearly the same content. Split by cluster, not by row: copies on both sides make a "
            f"model look better than it is.{looked}",
            issues,
        )


def _equal(same: SameKeys) -> Pairs:
    """Return each row that repeats an earlier one, and the first such, `[repeats, 2]`."""
    pairs = [np.zeros((0, 2), np.int64)]
    for rows, first in same.with_first():
        later = first != rows
        pairs.append(np.stack([first[later], rows[later]], axis=1))
    return np.concatenate(pairs)


def _natural(train: Samples, repeats: int, seed: int) -> bool:
    """Tell whether columns that are shuffled, each by itself, repeat about as often."""
    special = train.special_columns()
    generator = np.random.default_rng(seed)
    hashes = Growing()
    for frame in train.source.frames(MOST_ROWS):
        features = frame[[name for name in frame.columns if name not in special]].astype(str)
        shuffled = {name: generator.permutation(features[name]) for name in features}
        hashes.add(pd.util.hash_pandas_object(pd.DataFrame(shuffled), index=False).to_numpy())
    return len(_equal(SameKeys(hashes.finished()))) >= BY_NATURE * repeats


def _near(data: Examined) -> Pairs:
    """Return pairs of nearly the same content, positions `[pairs, 2]`."""
    train, count = data.train, len(data.train)
    chosen = spread(count, MOST_ROWS)
    if data.suspects is not None or len(chosen) == count:
        # The search for leaks needs all rows described; once is enough.
        rows = data.search.rows.take(chosen)
    else:
        source = Kept(train.source, chosen)
        rows = RowSearch.over(
            Examined(
                replace(train, source=source, ids=train.ids[chosen], labels=train.labels[chosen])
            )
        ).rows
    return chosen[_close(rows, data.seed)]


def _close(rows: Descriptors, seed: int) -> Pairs:
    if not isinstance(rows, TextDescriptors | ImageDescriptors):
        return np.empty((0, 2), np.int64)
    # Rows of one content, of which there may be thousands, are held against others by the first.
    _, first, place = np.unique(content_keys(rows), return_index=True, return_inverse=True)
    later = np.flatnonzero(first[place] != np.arange(len(place)))
    same = np.stack([first[place][later], later], axis=1)
    first.sort()
    return np.concatenate([same, _alike(rows, first, seed)])


def _alike(rows: TextDescriptors | ImageDescriptors, chosen: NDArray[np.int64], seed: int) -> Pairs:
    """Return pairs of the chosen rows of nearly the same content, positions `[pairs, 2]`."""
    if isinstance(rows, TextDescriptors):
        texts = TextRows(rows)
        vectors = texts.vectors(slice(None))[chosen, 0]
        pairs = chosen[near_pairs(vectors, SEARCHED_TEXT, seed)]
        reach, folded = texts.rarity.reach, rows.folded
        near = [reach(folded[a], folded[b], NEAR_TEXT) for a, b in pairs]
        return pairs[np.array(near, dtype=bool)]
    vectors = ImageRows(rows, rows.thumbnails.shape[3]).vectors(slice(None))[chosen, 0]
    pairs = chosen[near_pairs(vectors, SEARCHED_PICTURE, seed)]
    pictures = rows.thumbnails

    def correlation(part: slice) -> FloatArray:
        first, second = pairs[part].T
        there = np.ones((len(first), 1), bool)
        return aligned_similarity(pictures[first], pictures[second][:, None], there)[:, 0]

    correlations = in_parts(correlation, len(pairs), PAIRS_PER_STEP, "comparing training rows")
    return pairs[np.concatenate([np.empty(0, np.float32), *correlations]) >= NEAR_PICTURE]


def _clusters(train: Samples, exact: Pairs, near: Pairs) -> list[Issue]:
    """Return a line for each row of each cluster, the largest clusters first."""
    pairs = np.concatenate([exact, near])
    if len(pairs) == 0:
        return []
    # Only rows with a partner, which are few, are numbered and joined.
    members, places = np.unique(pairs, return_inverse=True)
    ends = places.reshape(pairs.shape).T
    size = (len(members), len(members))
    links = coo_matrix((np.ones(len(pairs)), (ends[0], ends[1])), shape=size)
    cluster = connected_components(links, directed=False)[1].tolist()
    counts = np.bincount(cluster).tolist()
    group = dict(zip(members.tolist(), cluster, strict=True))
    same = {int(row) for row in exact.ravel()}
    order = sorted(group, key=lambda row: (-counts[group[row]], group[row], row))
    number = {old: new for new, old in enumerate(dict.fromkeys(map(group.get, order)), start=1)}
    return [
        Issue(
            f"{'the same as' if row in same else 'nearly the same as'} "
            f"{formats.rows(counts[group[row]] - 1, 'other row')} of the cluster",
            "train",
            float(counts[group[row]]),
            row_id=train.ids[row].item() if hasattr(train.ids[row], "item") else train.ids[row],
            group=number[group[row]],
        )
        for row in order
    ]

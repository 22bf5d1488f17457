"""Pairs of alike vectors within one set, by an inverted file: lists around centres.

Rows are dealt to the lists of their nearest centres (k-means on a sample); each row is held against
the rows of its own list. With three lists a row, a pair of cosine .9 is hardly ever missed, and the
work grows with rows to the power 1.5. H. Jégou, M. Douze and C. Schmid, "Product quantization for
nearest neighbor search", PAMI 2011.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans

from dataaudit.likeness.descriptors import FloatArray, IndexArray

EXHAUSTIVE = 4000
"""So many rows are all held against each other."""
LISTS = 3
ROWS_PER_CENTRE = 39
"""Rows that centres are fitted on, for each of them."""
BLOCK = 1024
PARTNERS = 8
"""Most partners kept for each row."""


def near_pairs(vectors: FloatArray, least: float, seed: int) -> IndexArray:
    """Find pairs of rows whose cosine is at least `least`.

    Parameters
    ----------
    vectors : float32 `[rows, width]`
        Of unit length.
    least : float
    seed : int
        Of the centres.

    Returns
    -------
    int64 `[pairs, 2]`
        Positions, the smaller first, each pair once; of each row at most `PARTNERS` partners, the
        most alike.
    """
    rows = len(vectors)
    if rows <= EXHAUSTIVE:
        everyone = np.arange(rows)
        found = _within(vectors, everyone, everyone, least)
    else:
        lists = _lists(vectors, seed)
        found = np.concatenate(
            [
                _within(vectors, np.flatnonzero(lists[:, 0] == centre), members, least)
                for centre, members in _members(lists)
            ]
        )
    return np.unique(np.sort(found, axis=1), axis=0)


def _lists(vectors: FloatArray, seed: int) -> IndexArray:
    """Return the nearest centres of each row, int64 `[rows, LISTS]`, nearest first."""
    count = round(len(vectors) ** 0.5)
    generator = np.random.default_rng(seed)
    sample = generator.choice(
        len(vectors), min(len(vectors), ROWS_PER_CENTRE * count), replace=False
    )
    # Rows as the first centres: choosing these far apart takes longer than all the rest.
    fitted = MiniBatchKMeans(
        count, init="random", random_state=seed, batch_size=4096, n_init=1, max_iter=20
    )
    centres = fitted.fit(vectors[np.sort(sample)]).cluster_centers_.astype(np.float32)
    lengths = (centres**2).sum(axis=1) / 2
    near = np.empty((len(vectors), LISTS), np.int64)
    for start in range(0, len(vectors), BLOCK):
        closeness = vectors[start : start + BLOCK] @ centres.T - lengths
        best = np.argpartition(-closeness, LISTS - 1, axis=1)[:, :LISTS]
        order = np.argsort(-np.take_along_axis(closeness, best, 1), axis=1, kind="stable")
        near[start : start + BLOCK] = np.take_along_axis(best, order, 1)
    return near


def _members(lists: IndexArray) -> list[tuple[int, IndexArray]]:
    order = np.argsort(lists.ravel(), kind="stable")
    centres, starts = np.unique(lists.ravel()[order], return_index=True)
    parts = np.split(order // lists.shape[1], starts[1:])
    return list(zip(centres.tolist(), parts, strict=True))


def _within(
    vectors: FloatArray, rows: IndexArray, others: IndexArray, least: float
) -> NDArray[np.int64]:
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, len(rows), BLOCK):
        here = rows[start : start + BLOCK]
        cosine = vectors[here] @ vectors[others].T
        cosine[here[:, None] == others] = -1.0
        if cosine.shape[1] > PARTNERS:
            # Only the most alike of each row can count.
            least_kept = np.partition(cosine, -PARTNERS, axis=1)[:, -PARTNERS]
            line, place = np.nonzero(cosine >= np.maximum(least, least_kept)[:, None])
        else:
            line, place = np.nonzero(cosine >= least)
        pairs.append(np.stack([here[line], others[place]], axis=1))
    return np.concatenate(pairs)

"""Mislabel flags for boxes: which pictures have a box that is wrong, too much, or missing.

The detections of the model that learned again are held against the given boxes. Four things are
doubted, each by a log ratio of scores: a given box without a detection in its place (`extra`), with
one of another class (`swapped`), with one of its class that only overlaps it (`misplaced`), and a
detection without a given box (`missing`). How doubtful right pictures look in each of the four is
measured on the references, so that the four can be compared; a picture counts by its worst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.most_doubtful import (
    NAMED,
    Suggestions,
    flag_by_the_most_doubtful,
    note,
)
from dataaudit.flags.probabilities import Table, Values
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import DEFAULTS, FlagSettings
from dataaudit.labels.boxes import (
    BOX,
    as_boxes,
    as_label,
    carriers,
    judged,
    one_as_text,
    overlap,
    text_of,
)

NUMBERS_PER_PART = 2**22
"""Overlaps of given boxes and detections that are held at a time."""
FLOOR = 0.02
"""What is not detected counts as detected with this score."""
SAME = 0.5
"""Overlap around which two boxes come to be the same place,"""
SOFT = 0.08
"""and by how much it matters on either side."""
TOUCHES = 0.1
"""Overlap from which on a detection may be the right place of a badly placed box."""
IN_CROWD = 0.5
LEAST = 0.1
RARE = 0.05
ABOUT_BOXES = (
    "A picture counts as wrong when any of its boxes is; a planted error is one box too much, one "
    "missing, one of another class, or one badly placed. Rates by class are those of the pictures "
    "that have such a box. The suggestion mends every box that is more doubtful than right "
    "references' are, and at least the most doubtful one."
)

Doubts = NDArray[np.float64]


def flag_boxes(
    rows: LabelledRows, references: References | None, settings: FlagSettings = DEFAULTS
) -> MislabelFlags:
    """Flag pictures of whose boxes at least one is probably wrong, too much or missing.

    Parameters
    ----------
    rows : LabelledRows
        Labels are `[rows, boxes * BOX]`, predictions loss and detections,
        `[rows, 1 + detections * BOX]`.
    references : References or None
        The planted ones have one error.
    settings : FlagSettings
    """
    known, usual = None, None
    if references is not None and references.are_enough:
        tables = [
            _worst(references.given_labels, table)
            for table in (references.base, references.mirrored)
        ]
        usual = [_Usual.of(table[~references.planted]) for table in tables]
        pairs = zip(usual, tables, strict=True)
        known = np.stack([own.signal(table) for own, table in pairs], axis=1), references.planted
    tables = [_worst(rows.labels, table) for table in (rows.familiar, rows.mirrored)]
    usual = usual or [_Usual.of(table) for table in tables]
    return flag_by_the_most_doubtful(
        rows.ids,
        rows.shown(rows.labels),
        {
            str(name): carried
            for place, name in enumerate(rows.classes)
            if (carried := carriers(rows.labels, place)).any()
        },
        np.stack([own.signal(table) for own, table in zip(usual, tables, strict=True)], axis=1),
        known,
        np.stack([rows.own[:, 0], rows.mirrored[:, 0]], axis=1).astype(np.float64),
        lambda share: _suggestions(rows, usual[1]),
        ABOUT_BOXES,
        settings,
    )


@dataclass(frozen=True)
class _Usual:
    """How doubtful right pictures look, for each of the four kinds.

    Attributes
    ----------
    center, scale : `[4]`
        Median, and mean excess over it: beyond the median doubts fall off like an exponential.
    limit : float
        The signal that a twentieth of them exceeds.
    """

    center: Values
    scale: Values
    limit: float = 0.0

    @classmethod
    def of(cls, worst: Doubts) -> _Usual:
        center = np.median(worst, axis=0)
        above = np.clip(worst - center, 0, None)
        found = cls(center, above.sum(axis=0) / np.maximum((above > 0).sum(axis=0), 1) + LEAST)
        return cls(found.center, found.scale, float(np.quantile(found.signal(worst), 1 - RARE)))

    def signal(self, worst: Doubts) -> Values:
        """Return minus the log of the share of right pictures that look as doubtful, `[rows]`."""
        return np.asarray(((worst - self.center) / self.scale).max(axis=1))

    def beyond(self, kind: int, doubts: Doubts) -> Doubts:
        """Return by how much doubts of one kind exceed what is usual."""
        return np.asarray((doubts - self.center[kind]) / self.scale[kind] - self.limit)


@dataclass(frozen=True)
class _Doubted:
    """What speaks against the boxes of some pictures; -inf where there is nothing to doubt.

    Attributes
    ----------
    extra, swapped, misplaced : `[rows, boxes]`
        Of the given boxes; log odds, nats.
    missing : `[rows, detections]`
    other, place : int64 `[rows, boxes]`
        The detections that speak for another class, and for another place.
    """

    extra: Doubts
    swapped: Doubts
    misplaced: Doubts
    missing: Doubts
    other: NDArray[np.int64]
    place: NDArray[np.int64]

    @property
    def each(self) -> tuple[Doubts, ...]:
        return self.extra, self.swapped, self.misplaced, self.missing

    def worst(self) -> Doubts:
        """Return the largest of each kind, `[rows, 4]`; the least doubt where there is none."""
        least = _log_odds(np.array(FLOOR))
        return np.stack([np.max(x, axis=1, initial=float(least)) for x in self.each], axis=1)


def _parts(labels: NDArray[Any], predictions: Table) -> Iterator[slice]:
    """Yield rows in parts; predictions may lie on disk."""
    pairs = (labels.shape[1] // BOX) * (predictions.shape[1] // BOX)
    step = max(1, NUMBERS_PER_PART // max(pairs, 1))
    yield from (slice(start, start + step) for start in range(0, len(labels), step))


def _worst(labels: NDArray[Any], predictions: Table) -> Doubts:
    """Return how doubtful each picture is by its worst box, of each kind, `[rows, 4]`."""
    parts = _parts(labels, predictions)
    return np.concatenate([_doubted(labels[part], predictions[part]).worst() for part in parts])


def _suggestions(rows: LabelledRows, usual: _Usual) -> Suggestions:
    texts: list[str] = []
    notes: list[str] = []
    worst: list[Values] = []
    for part in _parts(rows.labels, rows.mirrored):
        doubted = _doubted(rows.labels[part], rows.mirrored[part])
        off = [usual.beyond(kind, doubts) for kind, doubts in enumerate(doubted.each)]
        worst.append(np.max([table.max(axis=1, initial=-np.inf) for table in off], axis=0))
        given, found = as_boxes(rows.labels[part]), as_boxes(rows.mirrored[part, 1:])
        for line in range(len(given)):
            mended, named = _mended(
                given[line],
                found[line],
                [table[line] for table in off],
                (doubted.other[line], doubted.place[line]),
                rows.classes,
            )
            texts.append(text_of([one_as_text(box, rows.classes) for box in mended]))
            notes.append(note(named[:NAMED], len(named)))
    return Suggestions(np.array(texts, dtype=object), np.concatenate(worst), notes)


def _mended(
    given: NDArray[Any],
    found: NDArray[Any],
    off: Sequence[Doubts],
    instead: tuple[NDArray[np.int64], NDArray[np.int64]],
    classes: Sequence[str | int],
) -> tuple[NDArray[Any], list[str]]:
    """Return one picture's boxes with the doubtful ones mended, and what was doubtful in words.

    Parameters
    ----------
    given, found : `[boxes, BOX]`, `[detections, BOX]`
    off : four arrays
        By how much each box (of `missing`, each detection) is more doubtful than usual.
    instead : int64 `[boxes]`, int64 `[boxes]`
        The detections that speak for another class, and for another place.
    """
    least = min(0.0, max(float(table.max(initial=-np.inf)) for table in off))
    boxes, said = [], []
    by_box = np.stack(off[:3])
    for place in np.flatnonzero(judged(given)):
        box, kind = np.array(given[place]), int(by_box[:, place].argmax())
        doubt, name = by_box[kind, place], one_as_text(given[place], classes)
        if doubt < least:
            boxes.append(box)
        elif kind == 0:
            said.append((doubt, f"{name} is probably no box: nothing of its class is there"))
        else:
            other = found[instead[kind - 1][place]]
            box[slice(0, 1) if kind == 1 else slice(1, 5)] = _whole(other)[
                slice(0, 1) if kind == 1 else slice(1, 5)
            ]
            what = "has probably another class" if kind == 1 else "is probably badly placed"
            said.append((doubt, f"{name} {what}: {_expected(box, other, classes)}"))
            boxes.append(box)
    for place in np.argsort(-off[3], kind="stable"):
        box = _whole(found[place])
        if off[3][place] < least or not np.isfinite(off[3][place]):
            break
        others = np.array([other[1:5] for other in boxes]).reshape(-1, 4)
        if overlap(box[None, 1:5], others).max(initial=0) < SAME and (box[3:5] > box[1:3]).all():
            boxes.append(box)
            doubt = off[3][place]
            said.append(
                (doubt, f"a box is probably missing: {_expected(box, found[place], classes)}")
            )
    mended = np.array(boxes, dtype=np.float32).reshape(-1, BOX)
    said.sort(key=lambda item: -item[0])
    return as_label(mended, mended.size).reshape(-1, BOX), [text for _, text in said]


def _whole(found: NDArray[Any]) -> NDArray[Any]:
    """Return a detection as a box that a label may hold."""
    corners = np.clip(np.round(found[1:5], 2), 0, None)
    return np.array([found[0], *corners, 0], dtype=np.float32)


def _expected(box: NDArray[Any], found: NDArray[Any], classes: Sequence[str | int]) -> str:
    return f"{one_as_text(box, classes)} with score {found[5]:.2f}"


def _doubted(labels: NDArray[Any], predictions: Table) -> _Doubted:
    given, found = as_boxes(labels).astype(np.float64), as_boxes(predictions[:, 1:])
    found = np.asarray(found, dtype=np.float64)
    own, there = judged(given), found[..., 0] >= 0
    shares = overlap(given[..., 1:5], found[..., 1:5])
    shares = np.where(own[:, :, None] & there[:, None, :], shares, 0.0)
    scores = np.where(there, np.clip(found[..., 5], 0, 1), 0.0)[:, None, :]
    here = 1 / (1 + np.exp((SAME - shares) / SOFT))
    same_class = given[:, :, None, 0] == found[:, None, :, 0]
    backed = scores * here
    support = np.max(np.where(same_class, backed, 0), axis=2, initial=0)
    others = np.where(same_class, 0, backed)
    free = 1 - _of_the_others(here)
    near = np.where(same_class & (shares >= TOUCHES), scores * (1 - here) * free, 0)
    anything = np.max(np.where(shares >= TOUCHES, scores * free, 0), axis=2, initial=0)
    unclaimed = there & ~_in_crowds(given, found)
    claimed = np.max(here, axis=1, initial=0)
    nothing = np.full(own.shape, -np.inf)
    ground = np.log(np.maximum(support, FLOOR))
    return _Doubted(
        np.where(own, _log_odds(1 - np.maximum(support, 0.5 * anything)), nothing),
        np.where(own, _instead(others.max(axis=2, initial=0), ground), nothing),
        np.where(own, _instead(near.max(axis=2, initial=0), ground), nothing),
        np.where(unclaimed, _log_odds(scores[:, 0] * (1 - claimed)), -np.inf),
        others.argmax(axis=2),
        near.argmax(axis=2),
    )


def _of_the_others(here: NDArray[Any]) -> NDArray[Any]:
    """Return how far boxes other than each one claim each detection, as `here` has it."""
    first = here.max(axis=1, keepdims=True, initial=0)
    own = here == first
    second = np.where(own, 0, here).max(axis=1, keepdims=True, initial=0)
    return np.where(own, second, first)


def _instead(scores: NDArray[Any], ground: Doubts) -> Doubts:
    """Return the log ratio of what speaks for another box to what speaks for the given one.

    Where nothing speaks for another one, none is doubted for it, however little the given one has.
    """
    ratio = np.log(np.maximum(scores, FLOOR)) - ground
    return np.asarray(np.where(scores > FLOOR, ratio, np.log(FLOOR)))


def _log_odds(shares: NDArray[Any]) -> Doubts:
    kept = np.clip(shares, FLOOR, 1 - FLOOR)
    return np.asarray(np.log(kept) - np.log1p(-kept))


def _in_crowds(given: NDArray[Any], found: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which detections lie in a crowd by more than half, `[rows, detections]`."""
    crowds = (given[..., 0] >= 0) & ~judged(given)
    a, b = found[:, :, None, 1:5], given[:, None, :, 1:5]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    areas = np.clip(a[..., 2:] - a[..., :2], 0, None).prod(axis=-1)
    inside = np.clip(sides, 0, None).prod(axis=-1) > IN_CROWD * areas
    return np.asarray((inside & crowds[:, None, :]).any(axis=2))

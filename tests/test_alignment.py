"""Pictures laid over each other, one alignment after the other; their keys and percentiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dataaudit.checks.pictures import _percentiles
from dataaudit.likeness import parts
from dataaudit.likeness.alignment import (
    FLIP_PENALTY,
    NOISE_FLOOR,
    UNSEEN_AREA_PENALTY,
    Alignments,
    aligned_similarity,
    zoom_matrix,
)
from dataaudit.likeness.meaning import picture_key
from dataaudit.likeness.parts import in_parts

ZOOMS = (0.8, 1.0, 1.25)
EXPECTED_FIRST = [0.9906617, 0.9106617, 0.9175827, 0.9654954]
EXPECTED_SUMS = [2.4860373, 2.7591763, 2.7890987, 2.5979068]
"""Of the version that compared one suspect after the other, 2026-11-29."""


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Twelve smooth random colour images of 32 x 32 pixels."""
    noise = np.random.default_rng(0).normal(size=(12, 32, 32, 3))
    smooth = gaussian_filter(noise, (0, 3, 3, 0))
    smooth *= 50 / smooth.std()
    return (smooth + 128).clip(0, 255).astype(np.uint8)


def everyone(suspects: int, candidates: int) -> np.ndarray:
    return np.ones((suspects, candidates), bool)


def test_correlations_are_those_of_one_alignment_after_the_other() -> None:
    side, shift = 8, 1
    generator = np.random.default_rng(1)
    images = generator.normal(scale=9, size=(2, 3, side, side)).astype(np.float32)
    candidates = generator.normal(scale=9, size=(2, 4, 3, side, side)).astype(np.float32)
    alignments = Alignments(side, shift, ZOOMS)
    found = alignments.correlate(images, candidates)
    for number in np.ndindex(*found.shape):
        place, other, alignment = number
        flip, zoom, down, right = (int(part) for part in alignments.moves(np.array(alignment)))
        image = images[place, :, :, ::-1] if flip else images[place]
        matrix, seen = zoom_matrix(ZOOMS[zoom], side, shift)
        ground = np.einsum("li,cij,mj->clm", matrix, image, matrix)
        window = slice(down, down + side), slice(right, right + side)
        mask = np.outer(seen, seen)[window].astype(bool)
        ours, theirs = ground[:, *window][:, mask], candidates[place, other][:, mask]
        ours, theirs = (part - part.mean(1, keepdims=True) for part in (ours, theirs))
        floor = NOISE_FLOOR**2 * mask.sum()
        expected = (ours * theirs).sum() / np.sqrt(
            ((ours**2).sum() + floor) * ((theirs**2).sum() + floor)
        )
        weight = UNSEEN_AREA_PENALTY / (4 if ZOOMS[zoom] == 1 else 1)
        expected -= weight * (1 - mask.mean()) + FLIP_PENALTY * flip
        np.testing.assert_allclose(found[number], expected, atol=2e-6)


def test_similarities_are_those_of_the_first_version(pictures: np.ndarray) -> None:
    edited = pictures[0].astype(float)
    suspects = [
        pictures[0],
        pictures[0][:, ::-1],
        np.roll(pictures[0], (2, -1), (0, 1)),
        (edited * 0.8 + np.random.default_rng(2).normal(0, 6, edited.shape)).clip(0, 255),
    ]
    suspects = np.array(suspects).astype(np.uint8)
    found = aligned_similarity(suspects, np.stack([pictures] * 4), everyone(4, 12))
    np.testing.assert_allclose(found[:, 0], EXPECTED_FIRST, atol=1e-6)
    np.testing.assert_allclose(found.sum(1), EXPECTED_SUMS, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_and_missing_candidates_change_nothing(pictures: np.ndarray, channels: int) -> None:
    rows = pictures[..., :channels]
    chosen = np.stack([np.roll(np.arange(12), start) for start in range(5)])
    present = np.random.default_rng(3).random(chosen.shape) < 0.7
    present[1] = False
    present[2, 3:] = False
    suspects = np.roll(rows[:5], 2, axis=1)
    together = aligned_similarity(suspects, rows[chosen], present)
    assert np.isneginf(together[~present]).all()
    for place in range(5):
        there = chosen[place][present[place]]
        if len(there):
            alone = aligned_similarity(
                suspects[place : place + 1], rows[there][None], everyone(1, len(there))
            )
            np.testing.assert_allclose(together[place][present[place]], alone[0], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 4])
def test_parts_come_in_their_order(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "threadpool_info", lambda: [{"num_threads": threads}])
    found = in_parts(lambda part: list(range(10))[part], 10, 3, "counting")
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert in_parts(lambda part: part, 0, 3, "counting") == []
    with pytest.raises(ZeroDivisionError):
        in_parts(lambda part: 1 // part.start, 10, 3, "dividing")


def test_a_picture_has_one_key_in_whatever_type_its_values_stand() -> None:
    colour = np.random.default_rng(4).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    opaque = np.concatenate([colour, np.full((6, 6, 1), 255, np.uint8)], axis=2)
    for same in (colour / 255, colour.astype(np.int64), colour.astype(np.float32), opaque):
        assert picture_key(same) == picture_key(colour)
    grey = colour[..., :1]
    for same in (grey[..., 0], np.repeat(grey, 3, axis=2), grey[..., 0] / 255):
        assert picture_key(same) == picture_key(grey)
    assert picture_key(-np.zeros((4, 4))) == picture_key(np.zeros((4, 4)))
    keys = {picture_key(other) for other in (colour, grey, colour + 256.0, colour + 0.5)}
    assert len(keys) == 4


@pytest.mark.parametrize("size", [1, 2, 99, 1024])
def test_percentiles_from_counts_are_those_of_the_values(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 256, size)
    counts = np.bincount(values, minlength=256)
    for percent in (1, 99):
        expected = np.percentile(values / 255, percent)
        assert _percentiles(counts[None], percent) == pytest.approx(expected, abs=1e-12)

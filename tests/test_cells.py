"""Candidate search by cells, against the search through all rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from dataaudit.likeness import matching
from dataaudit.likeness.cells import FINER, Cells, enough
from dataaudit.likeness.descriptors import FloatArray, ImageDescriptors
from dataaudit.likeness.images import ImageRows
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.search import nearest

ROWS, COPIES, COUNT = 1500, 60, 20


@pytest.fixture(scope="module")
def rows() -> ImageRows:
    noise = np.random.default_rng(0).normal(size=(ROWS, 32, 32, 3))
    smooth = gaussian_filter(noise, (0, 3, 3, 0))
    smooth *= 50 / smooth.std()
    return ImageRows(ImageDescriptors((smooth + 128).clip(0, 255).astype(np.uint8)), 3)


@pytest.fixture(scope="module")
def cells(rows: ImageRows) -> Cells:
    return Cells(rows.vectors, ROWS)


@pytest.fixture(scope="module")
def copies(rows: ImageRows) -> tuple[np.ndarray, ImageDescriptors]:
    generator = np.random.default_rng(1)
    sources = generator.choice(ROWS, COPIES, replace=False)
    return sources, rows.copies(sources, generator)


def views_of(rows: ImageRows, suspects: ImageDescriptors):  # type: ignore[no-untyped-def]
    places = np.arange(len(suspects))

    def views(part: slice) -> FloatArray:
        return rows.views(suspects.take(places[part]))

    return views


def all_rows(rows: ImageRows, suspects: ImageDescriptors) -> np.ndarray:
    views = views_of(rows, suspects)
    return nearest(views, len(suspects), rows.vectors, ROWS, COUNT, None, 2**20)


def test_all_cells_give_what_all_rows_give(
    rows: ImageRows, cells: Cells, copies: tuple[np.ndarray, ImageDescriptors]
) -> None:
    sources, suspects = copies
    found = cells.nearest(views_of(rows, suspects), COPIES, COUNT, None, len(cells))
    exact = all_rows(rows, suspects)
    assert (exact[:, 0] == sources).mean() > 0.9
    assert (found[:, 0] == exact[:, 0]).mean() > 0.95
    assert np.mean([np.isin(a, b).mean() for a, b in zip(found, exact, strict=True)]) > 0.85


def test_each_row_is_found_once_and_best_first(
    rows: ImageRows, cells: Cells, copies: tuple[np.ndarray, ImageDescriptors]
) -> None:
    suspects = copies[1]
    found = cells.nearest(views_of(rows, suspects), COPIES, COUNT, None, 8)
    for line in found:
        known = line[line >= 0]
        assert len(np.unique(known)) == len(known)
        assert (line[len(known) :] == -1).all()
    # The same with few suspects at once.
    views = views_of(rows, suspects)
    alone = cells.nearest(lambda part: views(slice(7, 8))[part], 1, COUNT, None, 8)
    assert alone[0].tolist() == found[7].tolist()


def test_no_row_is_matched_with_itself(rows: ImageRows, cells: Cells) -> None:
    own = np.arange(0, ROWS, 100)
    views = views_of(rows, rows.rows.take(own))
    assert (cells.nearest(views, len(own), COUNT, None, 8)[:, 0] == own).all()
    assert not (cells.nearest(views, len(own), COUNT, own, 8) == own[:, None]).any()


def test_the_depth_is_as_large_as_planted_copies_need(
    rows: ImageRows, cells: Cells, copies: tuple[np.ndarray, ImageDescriptors]
) -> None:
    sources, suspects = copies
    by_all = (all_rows(rows, suspects) == sources[:, None]).any(axis=1)
    asked: list[int] = []

    def found_by_all(some: np.ndarray) -> np.ndarray:
        asked.extend(some.tolist())
        return by_all[some]

    depth = enough(cells, views_of(rows, suspects), sources, COUNT, found_by_all)
    assert depth.planted == COPIES
    # Asked once each, and only of those that the cells missed.
    assert len(asked) == len(set(asked)) < COPIES
    assert depth.found_by_all >= by_all.sum()
    assert depth.found >= depth.found_by_all - 0.005 * COPIES
    assert depth.cells <= len(cells)
    assert f"{depth.cells} cells" in str(depth)


def test_whole_vectors_put_the_best_rows_in_order(
    rows: ImageRows, cells: Cells, copies: tuple[np.ndarray, ImageDescriptors]
) -> None:
    suspects = copies[1]
    exact, views = all_rows(rows, suspects), views_of(rows, suspects)
    alike = {}
    for finer in (1, *FINER):
        found = cells.nearest(views, COPIES, COUNT, None, len(cells), finer)
        alike[finer] = (found == exact).mean()
    assert alike[4] > 0.99
    assert alike[1] < alike[2] <= alike[4]


def test_no_more_cells_are_searched_where_more_find_nothing() -> None:
    class Blind:
        def __len__(self) -> int:
            return 4000

        def nearest(self, _views: object, suspects: int, *_: object) -> np.ndarray:
            return np.full((suspects, COUNT), -1)

    sources = np.arange(COPIES)
    depth = enough(Blind(), None, sources, COUNT, lambda some: some % 2 == 0)  # type: ignore[arg-type]
    assert (depth.cells, depth.found, depth.found_by_all) == (8, 0, COPIES // 2)
    assert "0 found their row, and 30 where all rows were searched" in str(depth)


def test_many_pairs_of_pictures_are_searched_by_cells(
    rows: ImageRows,
    copies: tuple[np.ndarray, ImageDescriptors],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources, suspects = copies
    exact = Matcher(rows.rows).match(suspects)
    monkeypatch.setattr(matching, "FEW_ROWS", 1000)
    monkeypatch.setattr(matching, "MOST_PICTURE_PAIRS", 1000)
    monkeypatch.setattr(matching, "PLANTED_COPIES", 100)
    matcher = Matcher(rows.rows)
    found = matcher.match(suspects)
    assert len(matcher.notes) == 1
    same = found.rows[:, 0] == exact.rows[:, 0]
    assert same.mean() > 0.95
    np.testing.assert_allclose(found.score[same, 0], exact.score[same, 0], rtol=1e-6)
    assert (found.rows[:, 0] == sources).mean() >= (exact.rows[:, 0] == sources).mean() - 0.02


def test_vectors_are_of_the_whole_picture_its_corners_and_its_middle() -> None:
    generator = np.random.default_rng(2)
    pictures = generator.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    found = ImageRows(ImageDescriptors(pictures), 3).vectors(slice(None))
    found = found.reshape(3, 6, 3, 8, 8)
    blocks = pictures.reshape(3, 8, 4, 8, 4, 3).mean((2, 4)).transpose(0, 3, 1, 2)
    whole = blocks - blocks.mean((2, 3), keepdims=True)
    whole /= np.sqrt((whole**2).sum((1, 2, 3), keepdims=True))
    assert found[:, 0] == pytest.approx(whole, abs=1e-5)
    mirrored = ImageRows(ImageDescriptors(pictures[:, :, ::-1]), 3).vectors(np.arange(3))
    mirrored = mirrored.reshape(3, 6, 3, 8, 8)[..., ::-1]
    # The middle is not quite in the middle: five spare pixels are two before it and three after.
    assert mirrored[:, [0, 2, 1, 4, 3]] == pytest.approx(found[:, :5], abs=1e-5)
    turned = ImageRows(ImageDescriptors(pictures.swapaxes(1, 2)), 3).vectors(slice(None))
    turned = turned.reshape(3, 6, 3, 8, 8).swapaxes(3, 4)
    assert turned[:, [0, 1, 3, 2, 4, 5]] == pytest.approx(found, abs=1e-5)
    # A picture that is grey but for its last five lines and columns has its first corner grey.
    edge = np.full((1, 32, 32, 3), 128, np.uint8)
    edge[:, 27:], edge[:, :, 27:] = pictures[:1, 27:], pictures[:1, :, 27:]
    first = ImageRows(ImageDescriptors(edge), 3).vectors(slice(None)).reshape(6, 3, 8, 8)
    assert abs(first[1, :, :7, :7]).max() < abs(first[4]).max() / 5


def test_one_picture_alone_has_the_vectors_that_it_has_among_many(rows: ImageRows) -> None:
    together = rows.vectors(slice(0, 300))
    alone = np.concatenate([rows.vectors(slice(place, place + 1)) for place in range(300)])
    assert alone == pytest.approx(together, abs=1e-6)

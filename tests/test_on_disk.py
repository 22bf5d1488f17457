"""Large arrays and tables: the same values on disk as in memory, written in parts or as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from dataaudit.likeness import descriptors, texts
from dataaudit.likeness.descriptors import (
    Descriptors,
    ImageDescriptors,
    SmallImageDescriptors,
    TextDescriptors,
    concatenated,
)
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.tables import describe_table
from dataaudit.likeness.texts import describe_texts
from dataaudit.run_directory import store
from dataaudit.storage import many_texts, on_disk
from dataaudit.storage.many_texts import GrowingTexts, ManyTexts
from dataaudit.storage.on_disk import Growing, large_arrays_in, one_array


@pytest.fixture
def all_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)


@pytest.mark.parametrize(
    "parts",
    [
        [np.arange(6.0).reshape(3, 2), np.ones((0, 2)), np.full((2, 2), np.nan)],
        [np.array([b"a" * 16, b"\0b"], "S16"), np.array([b"c"], "S16")],
        [np.array(["text", None], object), np.array([""], object)],
    ],
)
@pytest.mark.usefixtures("all_large")
def test_parts_come_back_as_one_array(parts: list[np.ndarray], tmp_path: Path) -> None:
    with large_arrays_in(tmp_path):
        whole = one_array(iter(parts))
        assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    assert whole.dtype == parts[0].dtype
    assert whole.flags.writeable is whole.dtype.hasobject


@pytest.mark.usefixtures("all_large")
def test_lines_of_another_width_or_type_are_refused() -> None:
    growing = Growing()
    growing.add(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"found lines of float64 \(4,\), expected float64 \(3,\)"):
        growing.add(np.zeros((2, 4)))
    with pytest.raises(ValueError, match="found lines of float32"):
        growing.add(np.zeros((2, 3), np.float32))


def test_texts_are_the_same_in_memory_and_on_disk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts = [[""], ["one", "zwei ü", "\ud800"], [], ["", "三", "a\0b"], [""], ["the last"]]
    whole = [text for part in parts for text in part]
    for largest in (2**22, 5, 0):
        monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", largest)
        monkeypatch.setattr(many_texts, "TEXTS_AT_ONCE", 3)
        growing = GrowingTexts()
        with large_arrays_in(tmp_path):
            for part in parts:
                growing.add(part)
            found = growing.finished()
        assert list(tmp_path.iterdir()) == []
        assert isinstance(found, ManyTexts) is (largest < 2**22)
        assert len(found) == len(whole)
        assert [*found] == whole
        assert [found[place] for place in range(len(whole))] == whole
        some = found[np.array([5, 0, 5, 8])]
        assert some.dtype == object
        assert some.tolist() == [whole[5], "", whole[5], "the last"]
    assert len(GrowingTexts().finished()) == 0


@pytest.mark.usefixtures("all_large")
def test_the_named_folder_is_used_and_no_other(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with large_arrays_in(missing), pytest.raises(FileNotFoundError):
        one_array([np.zeros(3)])
    assert one_array([np.zeros(3)]).tolist() == [0, 0, 0]


def described() -> list[list[Descriptors]]:
    generator = np.random.default_rng(0)
    pictures = generator.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    small = generator.random((5, 8, 8, 1), dtype=np.float32)
    keys = np.array([b"%d" % place for place in range(5)], "S16")
    table = pd.DataFrame({"a": generator.normal(size=9), "b": [*"abcabcabc"]})
    return [
        [ImageDescriptors(pictures[:2, ..., :1]), ImageDescriptors(pictures[2:])],
        [
            ImageDescriptors(pictures[:3], keys[:3]),
            ImageDescriptors(pictures[3:, ..., :1], keys[3:]),
        ],
        [SmallImageDescriptors(small[:4], keys[:4]), SmallImageDescriptors(small[4:], keys[4:])],
        [describe_texts(["one text", "and another"]), describe_texts(["", "a third text"])],
        [describe_table(table[:4], like=table), describe_table(table[4:], like=table)],
    ]


@pytest.mark.parametrize("parts", described())
def test_descriptors_are_joined_alike_in_memory_and_on_disk(
    parts: list[Descriptors], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = concatenated(iter(parts))
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    mapped = concatenated(iter(parts))
    assert len(mapped) == sum(map(len, parts))
    for name, one in vars(in_memory).items():
        other = getattr(mapped, name)
        if sparse.issparse(one):
            one, other = one.toarray(), other.toarray()
        np.testing.assert_array_equal(one, other)
    if isinstance(mapped, ImageDescriptors):
        grey = next(part for part in parts if part.thumbnails.shape[3] == 1)  # type: ignore[union-attr]
        place = 0 if grey is parts[0] else len(parts[0])
        shown = mapped.thumbnails[place : place + len(grey)]
        np.testing.assert_array_equal(shown, np.repeat(grey.thumbnails, 3, axis=3))  # type: ignore[union-attr]
    if isinstance(mapped, TextDescriptors):
        counts = sparse.vstack([part.counts for part in parts])  # type: ignore[union-attr]
        np.testing.assert_array_equal(mapped.counts.toarray(), counts.toarray())


def test_texts_are_matched_alike_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.array([*"abcdefghijklmnop"])
    drawn = np.random.default_rng(2).integers(0, len(words), (40, 6))
    lines = [" ".join(word * 4 for word in words[line]) for line in drawn]
    suspects = describe_texts([line.replace("aaaa", "other") for line in lines[:8]])
    first = Matcher(describe_texts(lines)).match(suspects)
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(texts, "FEATURES_PER_STEP", 50)
    monkeypatch.setattr(descriptors, "MOST_COUNTED_BRIEFLY", 100)
    monkeypatch.setattr(descriptors, "COUNTS_PER_STEP", 70)
    rows = concatenated(describe_texts(lines[start : start + 10]) for start in (0, 10, 20, 30))
    second = Matcher(rows).match(suspects)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.score, second.score)


def test_rows_are_matched_alike_in_memory_and_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(1)
    table = pd.DataFrame({"a": generator.normal(size=60), "b": generator.integers(0, 5, 60)})
    suspects = describe_table(table[:6] * 1.001, like=table)
    first = Matcher(describe_table(table)).match(suspects)
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    rows = concatenated(
        describe_table(table[start : start + 20], like=table) for start in (0, 20, 40)
    )
    second = Matcher(rows).match(suspects)
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.score, second.score)


@pytest.mark.parametrize("lines", [0, 1, 40])
def test_a_table_is_written_in_parts_as_in_one(
    lines: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = pd.DataFrame(
        {
            "row_id": range(40),
            # Only later parts say what these hold.
            "given": [None] * 20 + ["a"] * 20,
            "tags": [None] * 30 + [[1, 2]] * 10,
            "count": pd.array([None, 2] * 20, dtype="Int64"),
            "flagged": [True, False] * 20,
        }
    )[:lines]
    whole, parts = tmp_path / "whole.parquet", tmp_path / "parts.parquet"
    rows.to_parquet(whole, index=False)
    store.table(rows)(parts)
    assert parts.read_bytes() == whole.read_bytes()
    monkeypatch.setattr(store, "ROWS_PER_PART", 7)
    store.table(rows)(parts)
    pd.testing.assert_frame_equal(pd.read_parquet(parts), pd.read_parquet(whole))

"""Rows that have a key in common: the same, whatever of the keys is in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from dataaudit.checks import duplicates
from dataaudit.flags.consequence import identical_pairs
from dataaudit.likeness import identity as identities
from dataaudit.likeness.descriptors import TableDescriptors
from dataaudit.likeness.identity import identity, identity_of
from dataaudit.likeness.repeats import contradicted
from dataaudit.likeness.tables import describe_table
from dataaudit.storage import on_disk, same_keys
from dataaudit.storage.on_disk import blank, large_arrays_in
from dataaudit.storage.same_keys import SameKeys
from tests.test_estimator import as_samples

KINDS = ("numbers", "bytes", "one key", "no first bits")


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    monkeypatch.setattr(same_keys, "KEYS_PER_PART", 7)
    monkeypatch.setattr(identities, "ITEMS_PER_STEP", 5)


def keys_of(kind: str, rows: int) -> NDArray[np.generic]:
    generator = np.random.default_rng(rows)
    drawn = generator.integers(0, 2**63, max(rows // 2, 1), dtype=np.uint64) * np.uint64(2)
    if kind == "one key":
        drawn = drawn[:1]
    if kind == "no first bits":
        drawn >>= np.uint64(40)
    numbers = generator.choice(drawn, rows)
    if kind != "bytes":
        return numbers
    return np.ascontiguousarray(np.stack([numbers, numbers], 1)).view("S16").ravel()


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 100, 1000])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("few_at_once")
def test_rows_of_one_key_are_those_of_a_plain_count(kind: str, rows: int, tmp_path: Path) -> None:
    keys = keys_of(kind, rows)
    of_key = pd.Series(range(rows), dtype=np.int64).groupby(keys.tolist())
    expected = {
        int(place): set(others.tolist())
        for others in (group for _, group in of_key if len(group) > 1)
        for place in others
    }
    with large_arrays_in(tmp_path):
        same = SameKeys(keys)
        found: dict[int, set[int]] = {}
        for positions, groups in same:
            assert np.all(np.diff(positions) > 0)
            for group in np.unique(groups):
                members = set(positions[groups == group].tolist())
                # Nobody comes twice, in this part or another one.
                assert not members & found.keys()
                found |= dict.fromkeys(members, members)
        assert found == expected
        first = {int(a): int(b) for part in same.with_first() for a, b in zip(*part, strict=True)}
        assert first == {place: min(others) for place, others in expected.items()}
        assert set(np.flatnonzero(same.repeated()).tolist()) == set(expected)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("few_at_once")
def test_what_is_blank_can_be_written_and_a_folder_that_is_gone_is_told_of(tmp_path: Path) -> None:
    with large_arrays_in(tmp_path):
        values = blank(10, np.dtype(np.int64))
        values[[3, 9]] = 7, -1
    assert values.tolist() == [0, 0, 0, 7, 0, 0, 0, 0, 0, -1]
    with large_arrays_in(tmp_path / "missing"), pytest.raises(FileNotFoundError):
        blank(10, np.dtype(np.int64))


@pytest.mark.usefixtures("few_at_once")
def test_suspects_are_identical_to_the_first_row_of_their_key() -> None:
    keys = keys_of("bytes", 300)
    others = np.array([b"another one", b"", b"a third"], "S16")
    suspects = np.concatenate([keys[[200, 17, 200]], others])
    same = identity_of(keys, suspects)
    expected = [keys.tolist().index(key) for key in suspects[:3].tolist()]
    assert same.row.tolist() == [*expected, -1, -1, -1]
    assert same.suspects.tolist() == [True] * 3 + [False] * 3
    repeats = [keys.tolist().count(key) > 1 for key in keys.tolist()]
    assert same.repeats.tolist() == repeats
    assert same.repeated == sum(repeats)
    nothing = identity_of(keys[:0], suspects)
    assert nothing.row.tolist() == [-1] * 6
    assert nothing.repeated == 0
    assert identity_of(keys, suspects[:0]).row.shape == (0,)


def test_identical_rows_of_a_table_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "a": generator.integers(0, 9, 120).astype(np.float64),
            "b": generator.choice([0.1, np.float32(0.1), np.nan], 120),
            "c": generator.choice([*"xyz"], 120),
        }
    )
    rows, suspects = describe_table(frame), describe_table(frame[:30], like=frame)
    assert isinstance(rows, TableDescriptors)
    labels = generator.integers(0, 3, 120)
    whole = identity(rows, suspects)
    pairs = identical_pairs(whole.groups, labels.__getitem__)
    assert 0 < whole.repeated < 120
    monkeypatch.setattr(same_keys, "KEYS_PER_PART", 16)
    monkeypatch.setattr(identities, "ITEMS_PER_STEP", 7)
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    parts = identity(rows, suspects)
    for name in ("keys", "suspect_keys", "row", "repeats"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    again = identical_pairs(parts.groups, labels.__getitem__)
    np.testing.assert_array_equal(again[np.argsort(again[:, 1])], pairs)


def test_contradictions_and_clusters_are_the_same_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"line number {place}" for place in [*range(97), 3, 5, 3]]
    labels = ["a", "b"] * 48 + ["a", "b", "a", "b"]
    rows = as_samples(pd.DataFrame({"text": lines, "label": labels}))
    outvoted = contradicted(rows)
    pairs = duplicates._equal(SameKeys(keys_of("numbers", 100)))
    clusters = duplicates._clusters(rows, pairs, pairs[:0])
    assert np.flatnonzero(outvoted).tolist() == [98]
    assert len({issue.group for issue in clusters}) > 10
    monkeypatch.setattr(same_keys, "KEYS_PER_PART", 9)
    monkeypatch.setattr(on_disk, "LARGEST_IN_MEMORY", 0)
    np.testing.assert_array_equal(contradicted(rows), outvoted)
    again = duplicates._equal(SameKeys(keys_of("numbers", 100)))
    assert duplicates._clusters(rows, again, again[:0]) == clusters

"""Evidence: neighbours and opposing samples, by brute force."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.flags.results import Interval, MislabelFlags
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.stages.evidence import _Nearest, exhibits_of, pair_evidence, row_evidence, shortened


def samples(role: str, labels: list[str], prefix: str) -> Samples:
    frame = pd.DataFrame(
        {
            "id": [f"{prefix}{number}" for number in range(len(labels))],
            "size": np.arange(len(labels)) / 2,
            "note": ["x" * 200] * len(labels),
            "kind": labels,
        }
    )
    return samples_from_object(
        frame, ReadSettings(role, "kind", id_column="id", classes=["cat", "dog"])
    )


def flags_of(table: pd.DataFrame) -> MislabelFlags:
    """Return flags of which nothing but the table is asked."""
    nothing = pd.DataFrame()
    return MislabelFlags(
        table,
        nothing,
        Interval(0, 0, 0),
        nothing,
        nothing,
        nothing,
        0.5,
        "",
        *[None] * 4,
        (),
        (),
        None,
    )


@pytest.mark.parametrize("rows_per_block", [2, 3, 100])
def test_neighbours_and_opposing_samples_are_the_nearest_by_cosine(
    tmp_path: Path, rows_per_block: int
) -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(12, 5)).astype(np.float16)
    held_out_features = generator.normal(size=(8, 5))
    train = samples("train", ["cat"] * 12, "row")
    held_out = samples("held_out", ["cat", "dog"] * 4, "held")
    blocks = ScoreBlocks(Steps(tmp_path / "train", "for the test"))
    for start in range(0, 12, rows_per_block):
        part = features[start : start + rows_per_block]
        empty = np.zeros((len(part), 1), np.float32)
        blocks.write(ScoreBlock(start, empty, empty[:, :, None], part))
    table = pd.DataFrame({"row_id": train.ids, "suggested_label": ["dog"] * 12})
    flags = flags_of(table)
    found = row_evidence(["row7", "row2"], flags, train, blocks, held_out, held_out_features)
    assert list(found) == ["row7", "row2"]

    def cosine(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        left, right = left.astype(np.float64), right.astype(np.float64)
        lengths = np.linalg.norm(left) * np.linalg.norm(right, axis=1)
        return right @ left / lengths

    for row_id, position in (("row7", 7), ("row2", 2)):
        evidence = found[row_id]
        alike = cosine(features[position], features)
        alike[position] = -2
        nearest = [f"row{place}" for place in np.argsort(-alike)[:3]]
        assert [exhibit.sample_id for exhibit in evidence.neighbours] == nearest
        opposing = cosine(features[position], held_out_features)
        opposing[::2] = -2  # cats do not speak for a dog
        expected = [f"held{place}" for place in np.argsort(-opposing)[:3]]
        assert [exhibit.sample_id for exhibit in evidence.against] == expected
        assert all(exhibit.label == "dog" for exhibit in evidence.against)
        assert evidence.row.fields["size"] == str(position / 2)
        assert set(evidence.row.fields) == {"size", "note"}
        assert len(evidence.row.fields["note"]) == 80


def test_without_held_out_samples_nothing_speaks_against(tmp_path: Path) -> None:
    train = samples("train", ["cat", "dog"], "row")
    blocks = ScoreBlocks(Steps(tmp_path / "train", "for the test"))
    blocks.write(ScoreBlock(0, np.zeros((2, 1)), np.zeros((2, 1, 2)), np.zeros((2, 0), np.float16)))
    table = pd.DataFrame({"row_id": train.ids, "suggested_label": ["dog", "cat"]})
    flags = flags_of(table)
    evidence = row_evidence(["row1"], flags, train, blocks, None, np.zeros((0, 0)))
    assert evidence["row1"].against == []
    assert evidence["row1"].neighbours == []


def test_both_sides_of_a_pair() -> None:
    train, suspects = samples("train", ["cat", "dog"], "row"), samples("suspects", ["dog"], "q")
    pairs = pair_evidence([("q0", "row1"), ("q0", "row0")], train, suspects)
    left, right = pairs[("q0", "row1")]
    assert (left.sample_id, left.role, right.sample_id, right.label) == (
        "q0", "suspects", "row1", "dog",
    )  # fmt: skip
    assert pairs[("q0", "row0")][1].label == "cat"


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"


@pytest.mark.parametrize("widths", [[40], [1, 2, 3, 34], [3, 37], [7] * 5 + [5]])
def test_the_nearest_are_those_of_a_full_stable_sort_whatever_the_parts(widths: list[int]) -> None:
    generator = np.random.default_rng(2)
    # Few different values, so that there are many ties.
    values = generator.integers(6, size=(50, 40)).astype(np.float32)
    values[np.arange(40), np.arange(40)] = -np.inf
    nearest = _Nearest(50, 3)
    start = 0
    for width in widths:
        nearest.see(values[:, start : start + width], start)
        start += width
    order = np.argsort(-values, axis=1, kind="stable")[:, :3]
    np.testing.assert_array_equal(nearest.places, order)
    np.testing.assert_array_equal(nearest.values, np.take_along_axis(values, order, axis=1))


def test_fields_are_shown_as_a_row_of_the_frame_holds_them() -> None:
    numbers = pd.DataFrame(
        {"whole": [1, 2], "half": np.array([0.1, 2.5], np.float32), "kind": [0, 1]}
    )
    mixed = numbers.assign(
        when=pd.to_datetime(["2020-01-01", None]), yes=[True, False], word=["a", None]
    )
    for frame in (numbers, mixed):
        read = samples_from_object(frame, ReadSettings("train", "kind"))
        for line, exhibit in enumerate(exhibits_of(read, [0, 1])):
            row = frame.iloc[line]
            names = [name for name in frame.columns if name != "kind"]
            shown = {name: "missing" if pd.isna(row[name]) else str(row[name]) for name in names}
            assert exhibit.fields == shown

"""Files and frames as samples: rows, ids, labels, classes; and what every mistake is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from reading import message, opened, taken

ROWS = pd.DataFrame(
    {
        "row_id": [10, 11, 12, 13, 14],
        "text": [
            "win a big prize, just reply to this now",
            'see you\nat "six"',
            "",
            "NA",
            "ünï, code",
        ],
        "length": [1.5, None, 3.0, 4.0, 5.0],
        "count": [1, 2, 3, 4, 5],
        "label": ["spam", "ham", "ham", "ham", "spam"],
    }
)
WRITERS = {
    "csv": lambda frame, path: frame.to_csv(path, index=False),
    "parquet": lambda frame, path: frame.to_parquet(path, index=False, row_group_size=2),
    "jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True),
}


@pytest.fixture(params=list(WRITERS))
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"rows.{request.param}"
    WRITERS[request.param](ROWS, path)
    return path


def test_rows_come_back_as_they_were_written(path: Path) -> None:
    samples = opened(path, id_column="row_id", classes=["ham", "spam"])
    frame = pd.concat([batch.frame for batch in samples.batches(2)])
    pd.testing.assert_frame_equal(frame, ROWS)
    assert samples.ids.tolist() == [10, 11, 12, 13, 14]
    assert samples.ids.dtype == np.int64
    assert samples.labels.tolist() == [1, 0, 0, 0, 1]
    assert samples.labels.dtype == np.int64
    assert list(samples.classes) == ["ham", "spam"]
    assert len(samples) == 5
    assert samples.content_column == "text"


def test_without_an_id_column_positions_are_the_ids(path: Path) -> None:
    samples = opened(path, classes=["ham", "spam"])
    assert samples.ids.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 1000])
def test_frames_have_the_asked_length_and_concatenate_to_the_same_table(
    path: Path, rows: int
) -> None:
    source = opened(path, classes=["ham", "spam"]).source
    frames = list(source.frames(rows))
    assert [len(frame) for frame in frames[:-1]] == [rows] * (len(frames) - 1)
    pd.testing.assert_frame_equal(pd.concat(frames), ROWS)
    for frame in frames:
        assert (frame.dtypes == ROWS.dtypes).all()


def test_take_is_iloc(path: Path) -> None:
    samples = opened(path, id_column="row_id", classes=["ham", "spam"])
    for positions in ([3, 0, 3], [4], [], [0, 1, 2, 3, 4]):
        batch = samples.take(positions)
        pd.testing.assert_frame_equal(batch.frame, ROWS.iloc[positions], check_index_type=False)
        assert batch.ids.tolist() == ROWS["row_id"].iloc[positions].tolist()
        assert batch.labels.tolist() == samples.labels[positions].tolist()


def test_a_frame_in_memory_reads_like_a_file() -> None:
    samples = taken(ROWS.set_axis([9, 8, 7, 6, 5]), id_column="row_id", classes=["ham", "spam"])
    pd.testing.assert_frame_equal(pd.concat(samples.source.frames(2)), ROWS)
    pd.testing.assert_frame_equal(
        samples.take([3, 0]).frame, ROWS.iloc[[3, 0]], check_index_type=False
    )
    assert samples.sha256 == taken(ROWS, classes=["ham", "spam"]).sha256
    assert samples.sha256 != taken(ROWS.iloc[::-1], classes=["ham", "spam"]).sha256


def test_missing_path_suggests_what_is_there(path: Path) -> None:
    wrong = path.with_stem("row")
    suffix = path.suffix
    assert message(wrong) == (
        f"/row{suffix}: there is no such file or folder; did you mean /rows{suffix}?"
    )


def test_missing_column_suggests_the_close_one(path: Path) -> None:
    assert message(path, label="lable") == (
        f"/{path.name}: no label column 'lable'; the columns are 'row_id', 'text', 'length',"
        " 'count', 'label'; did you mean 'label'?"
    )
    assert message(path, id_column="zzz") == (
        f"/{path.name}: no id column 'zzz'; the columns are 'row_id', 'text', 'length',"
        " 'count', 'label'"
    )


def test_text_labels_without_classes_propose_the_line(path: Path) -> None:
    assert message(path) == (
        f"/{path.name}: column 'label': labels are text; add the line `classes: [ham, spam]`, in"
        " the order of the model's outputs"
    )


def test_label_outside_the_classes(path: Path) -> None:
    assert message(path, classes=["ham", "eggs"], id_column="row_id") == (
        f"/{path.name}: column 'label': row 0 (id 10): label 'spam' is not one of the classes"
        " [ham, eggs]"
    )

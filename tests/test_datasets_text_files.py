"""CSV and JSONL: what is written comes back, types never change midway, errors name the line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataaudit.datasets import text_lines
from dataaudit.datasets.comma_separated import CommaSeparated
from dataaudit.datasets.json_lines import JsonLines
from dataaudit.errors import DataError

TEXT = pd.Series([""]).dtype
# Small blocks, so that a few rows make many of them.
BLOCKS = [1, 40, text_lines.BLOCK_BYTES]


@pytest.fixture(params=BLOCKS)
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "BLOCK_BYTES", request.param)


def csv_frame(tmp_path: Path, content: str | bytes) -> pd.DataFrame:
    return frame_of(CommaSeparated.open(written(tmp_path, "rows.csv", content), "rows.csv"))


def jsonl_frame(tmp_path: Path, content: str | bytes) -> pd.DataFrame:
    return frame_of(JsonLines.open(written(tmp_path, "rows.jsonl", content), "rows.jsonl"))


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def frame_of(source: CommaSeparated | JsonLines) -> pd.DataFrame:
    whole = pd.concat(list(source.frames(1000)))
    for rows in (1, 3):
        parts = list(source.frames(rows))
        assert all((part.dtypes == whole.dtypes).all() for part in parts)
        pd.testing.assert_frame_equal(pd.concat(parts), whole)
    positions = list(range(len(whole)))[::-2]
    pd.testing.assert_frame_equal(
        source.take(positions), whole.iloc[positions], check_index_type=False
    )
    return whole


def refused(kind: type[CommaSeparated] | type[JsonLines], path: Path) -> str:
    with pytest.raises(DataError) as caught:
        kind.open(path, path.name)
    return str(caught.value)


# --- CSV -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["1", "2", "30"], pd.Series([1, 2, 30])),
        (["1", "", "30"], pd.Series([1, np.nan, 30])),
        (["1", "2", "0.5"], pd.Series([1, 2, 0.5])),
        (["1", " 2", "-.5e3 "], pd.Series([1, 2, -500.0])),
        (["1", "NA", "inf"], pd.Series([1, np.nan, np.inf])),
        (["", "", "NaN"], pd.Series([np.nan] * 3)),
        (["true", "False", "TRUE"], pd.Series([True, False, True])),
        (["true", "", "False"], pd.Series(["true", "", "False"], dtype=TEXT)),
        (["1", "2", "x"], pd.Series(["1", "2", "x"], dtype=TEXT)),
        (["1", "", "x"], pd.Series(["1", "", "x"], dtype=TEXT)),
        (["NA", "None", "x"], pd.Series(["NA", "None", "x"], dtype=TEXT)),
        (["012", "13", "14"], pd.Series(["012", "13", "14"], dtype=TEXT)),
        (["+5", "6", "7"], pd.Series(["+5", "6", "7"], dtype=TEXT)),
        (["1", "-0", "2"], pd.Series([1.0, -0.0, 2.0])),
        (["1,5", "2", "3"], pd.Series(["1,5", "2", "3"], dtype=TEXT)),
        ([str(2**63 - 1), "1", "2"], pd.Series([2**63 - 1, 1, 2])),
        ([str(2**63), "1", "2"], pd.Series([str(2**63), "1", "2"], dtype=TEXT)),
        ([str(2**60 + 1), "", "2"], pd.Series([str(2**60 + 1), "", "2"], dtype=TEXT)),
        ([str(10**20), "1.5", "2"], pd.Series([1e20, 1.5, 2.0])),
        (["2020-01-01", "2020", "3"], pd.Series(["2020-01-01", "2020", "3"], dtype=TEXT)),
        (['say "hi"', "a\nb", "\r\n"], pd.Series(['say "hi"', "a\nb", "\r\n"], dtype=TEXT)),
    ],
)  # fmt: skip
def test_type_of_a_csv_column(tmp_path: Path, values: list[str], expected: pd.Series) -> None:
    file = io.StringIO()
    csv.writer(file).writerows([["x", "last"], *([value, "1"] for value in values)])
    frame = csv_frame(tmp_path, file.getvalue())
    pd.testing.assert_series_equal(frame["x"], expected, check_names=False)


@pytest.mark.usefixtures("block_bytes")
def test_csv_details(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf"a","b\nc"\r\n\r\n5" pipe,"x"tail\r\n"",1\n"last ""line""",'
    frame = csv_frame(tmp_path, content)
    assert frame.columns.tolist() == ["a", "b\nc"]
    assert frame["a"].tolist() == ['5" pipe', "", 'last "line"']
    assert frame["b\nc"].tolist() == ["xtail", "1", ""]


def test_csv_with_names_only_has_no_rows(tmp_path: Path) -> None:
    assert len(CommaSeparated.open(written(tmp_path, "rows.csv", "a,b\n"), "rows.csv")) == 0


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "rows.csv: the file is empty"),
        (b"\n\r\n", "rows.csv: the file is empty"),
        (b"a,b\n1,2\n\n3\n4,5\n", "rows.csv: line 4: expected 2 fields, found 1"),
        (b'a,b\n"x\n\ny",2\n1,2,3\n', "rows.csv: line 5: expected 2 fields, found 3"),
        (
            b'a,b\n1,2\n"x,3\n4,5\n',
            "rows.csv: line 3: a quote is opened and never closed",
        ),
        (
            b"a,b\nx,caf\xe9\n",
            "rows.csv: line 2: byte 0xe9 at column 6 is not UTF-8; save the file as UTF-8",
        ),
        (
            "a,b\n1,2\n".encode("utf-16"),
            "rows.csv: line 1: byte 0xff at column 1 is not UTF-8 (it looks like UTF-16); save the"
            " file as UTF-8",
        ),
        (b"a,a\n1,2\n", "rows.csv: two columns are called 'a'; rename one"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path: Path, content: bytes, expected: str) -> None:
    assert refused(CommaSeparated, written(tmp_path, "rows.csv", content)) == expected


def test_record_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_lines, "RECORD_BYTES", 2**20)
    path = written(tmp_path, "rows.csv", b"a,b\n1,2\n" + b"x" * 2**21)
    assert refused(CommaSeparated, path) == (
        "rows.csv: the record that begins in line 3 is longer than 1 MiB: a quote is not closed, or"
        " the lines have no ends"
    )


def test_csv_that_changes_while_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "rows.csv", b"a,b\n1,2\n3,4\n")
    source = CommaSeparated.open(path, "rows.csv")
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(DataError, match=r"^rows.csv: the file changed while it was being read$"):
        list(source.frames(1))
    path.unlink()
    with pytest.raises(DataError, match=r"^rows.csv: cannot be read as a text file: "):
        source.take([0])


FIELDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.lists(FIELDS, min_size=2, max_size=2), min_size=1, max_size=8),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    size=st.sampled_from(BLOCKS),
)
def test_any_text_comes_back_from_csv(
    tmp_path: Path, rows: list[list[str]], quoting: Any, size: int
) -> None:
    file = io.StringIO()
    # The letter keeps the columns text, the whole record from being blank.
    rows = [[f"t{first}", f"{second}t"] for first, second in rows]
    csv.writer(file, quoting=quoting).writerows([["a", "b"], *rows])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        frame = csv_frame(tmp_path, file.getvalue())
    assert frame.to_numpy().tolist() == rows


# --- JSONL ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2, 3], pd.Series([1, 2, 3])),
        ([1, None, 3], pd.Series([1, np.nan, 3])),
        ([1, 2.5, 3], pd.Series([1, 2.5, 3])),
        ([True, False, True], pd.Series([True, False, True])),
        ([True, None, True], pd.Series([True, None, True], dtype=object)),
        (["a", "", None], pd.Series(["a", "", None], dtype=TEXT)),
        (["a", 1, 2.5], pd.Series(["a", "1", "2.5"], dtype=TEXT)),
        (["a", True, None], pd.Series(["a", "true", None], dtype=TEXT)),
        ([2**63, 1, 2], pd.Series([str(2**63), "1", "2"], dtype=TEXT)),
        ([2**60 + 1, None, 2], pd.Series([str(2**60 + 1), None, "2"], dtype=TEXT)),
        ([None, None, None], pd.Series([None] * 3, dtype=object)),
        ([[1], {"a": 2}, None], pd.Series([[1], {"a": 2}, None], dtype=object)),
        (["012", "é\n", "😀"], pd.Series(["012", "é\n", "😀"], dtype=TEXT)),
    ],
)
def test_type_of_a_jsonl_column(tmp_path: Path, values: list[Any], expected: pd.Series) -> None:
    lines = [json.dumps({"x": value, "last": 1}) for value in values]
    frame = jsonl_frame(tmp_path, "\n".join(lines))
    pd.testing.assert_series_equal(frame["x"], expected, check_names=False)


@pytest.mark.usefixtures("block_bytes")
def test_missing_keys_and_blank_lines(tmp_path: Path) -> None:
    frame = jsonl_frame(tmp_path, '\n{"a": 1}\r\n\n{"b": "x"}\n')
    assert frame.columns.tolist() == ["a", "b"]
    assert frame["a"].tolist()[0] == 1
    assert frame.isna().to_numpy().tolist() == [[False, True], [True, False]]


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"{", "not JSON: Expecting property name enclosed in double quotes at column 2"),
        (b"[1]", "expected a JSON object {…}, found a list"),
        (b'"a"', "expected a JSON object {…}, found text"),
        (b"1", "expected a JSON object {…}, found a number"),
        (b"null", "expected a JSON object {…}, found null"),
        (b'{"a": "\\ud800"}', "\\ud800 is half of a character"),
        (b'{"a": "\xff"}', "byte 0xff at column 8 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_jsonl_that_cannot_be_read(tmp_path: Path, line: bytes, expected: str) -> None:
    path = written(tmp_path, "rows.jsonl", b'{"a": 1}\n\n' + line + b"\n")
    assert refused(JsonLines, path) == f"rows.jsonl: line 3: {expected}"


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' + "9" * 10_000 + "}", '{"a":' * 10_000])
def test_json_that_exhausts_the_parser(tmp_path: Path, line: str) -> None:
    path = written(tmp_path, "rows.jsonl", line)
    assert refused(JsonLines, path).startswith("rows.jsonl: line 1: not ")


def test_keys_that_are_values(tmp_path: Path) -> None:
    record = json.dumps({str(key): 0 for key in range(10_001)})
    path = written(tmp_path, "rows.jsonl", record)
    assert refused(JsonLines, path) == "rows.jsonl: more than 10000 different keys"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(max_size=4),
    st.lists(st.integers(), max_size=2),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    records=st.lists(
        st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3), min_size=1, max_size=8
    ),
    size=st.sampled_from(BLOCKS),
)
def test_any_json_comes_back(tmp_path: Path, records: list[dict[str, Any]], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_lines, "BLOCK_BYTES", size)
        source = JsonLines.open(
            written(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, records))), "rows.jsonl"
        )
        if not source.columns():
            return
        frame = frame_of(source)
    assert len(frame) == len(records)
    for row, record in enumerate(records):
        for name in frame.columns:
            found, value = frame[name][row], record.get(name)
            if value is None:
                assert found is None or found != found
            elif isinstance(found, str) and not isinstance(value, str):
                assert found == json.dumps(value)
            else:
                assert found == value

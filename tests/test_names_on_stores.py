"""What a store may name: nothing is written outside of the folder, nothing taken for granted."""

from pathlib import Path

import pytest

from dataaudit.errors import DataError, RunDirectoryError
from dataaudit.run_directory.on_store import worked_in_here
from dataaudit.storage.fetching import here
from dataaudit.storage.store import Store

pytest.importorskip("fsspec", reason="NOT TESTED ON A STORE: no fsspec")


@pytest.mark.parametrize("name", ["work/../../evil.step", "work/a/../../../../evil.step"])
def test_a_step_whose_name_climbs_up_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(Store, "listing", lambda own: {name: {"size": 4}})
    monkeypatch.setattr(Store, "chunks", lambda own, below, size: iter([b"evil"]))
    with (
        pytest.raises(RunDirectoryError, match="holds files that are no audit's"),
        worked_in_here(Path("memory://bucket/run")),
    ):
        pass
    assert not list(tmp_path.parent.rglob("evil.step"))


def test_a_store_that_tells_no_size_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path))
    monkeypatch.setattr(Store, "listing", lambda own: {"": {"size": None, "ETag": "one"}})
    with pytest.raises(DataError, match="does not say how many bytes the file has"):
        here(Path("memory://bucket/train.csv"))

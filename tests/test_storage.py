"""Data, weights and run directory on an S3 server on this machine, one that fails on purpose."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from conftest import CommandLine, Project

from dataaudit.errors import ConfigError, DataError, RunDirectoryError
from dataaudit.run_directory.on_store import worked_in_here
from dataaudit.run_directory.store import AUDITS, ResultsDirectory
from dataaudit.storage import store as storage
from dataaudit.storage.fetching import cache, here
from dataaudit.storage.store import Store, place_of

HAS_SERVER = all(importlib.util.find_spec(name) for name in ("s3fs", "moto", "flask", "flask_cors"))
pytestmark = pytest.mark.skipif(not HAS_SERVER, reason="NOT TESTED ON A STORE: no s3fs or no moto")

SECRET = "a-secret-that-nobody-may-see"
SECONDS_FOR_AN_ANSWER = 2


class Faults:
    """What the server does wrong with the next requests for content; one fault for each."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.waiting: list[str] = []
        self.made: list[str] = []

    def __call__(self, environment: dict[str, Any], begin: Callable[..., Any]) -> Any:
        with_content = environment["REQUEST_METHOD"] in ("GET", "PUT")
        if not (with_content and self.waiting and "list-type" not in environment["QUERY_STRING"]):
            return self.application(environment, begin)
        fault = self.waiting.pop(0)
        self.made.append(fault)
        if fault == "error":
            begin("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        if fault == "slow":
            time.sleep(SECONDS_FOR_AN_ANSWER + 1)
        answer = self.application(environment, begin)
        return self._cut(answer) if fault == "cut" else answer

    def _cut(self, answer: Any) -> Iterator[bytes]:
        content = b"".join(answer)
        yield content[: len(content) // 2]
        raise ConnectionResetError("cut off")


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    """An S3 server (moto's), with credentials and address in the environment."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Silent(WSGIRequestHandler):
        def log(self, *arguments: Any) -> None:
            """Say nothing."""

    faults = Faults(DomainDispatcherApplication(create_backend_app))
    http = make_server("127.0.0.1", 0, faults, threaded=True, request_handler=Silent)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.server_port}")
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("AWS_ACCESS_KEY_ID", "tester")
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import fsspec

        patch.setitem(
            fsspec.config.conf,
            "s3",
            {
                "config_kwargs": {
                    "read_timeout": SECONDS_FOR_AN_ANSWER,
                    "retries": {"max_attempts": 1},
                }
            },
        )
        Store.at("s3://bucket").files.mkdir("bucket")
        yield faults
    http.shutdown()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(storage, "FIRST_WAIT", 0.01)


def put(place: str, content: bytes) -> None:
    store = Store.at(place)
    store.files.pipe_file(store.root, content)


@pytest.mark.parametrize("fault", ["error", "slow", "cut"])
def test_a_file_is_copied_whole_whatever_happens_on_the_way(
    server: Faults, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "CHUNK_BYTES", 1000)
    content = os.urandom(3500)
    put("s3://bucket/one/rows.bin", content)
    before = len(server.made)
    server.waiting += [fault] if fault == "slow" else [fault] * 2
    copied = here(Path("s3://bucket/one/rows.bin"))
    assert server.made[before:] == ([fault] if fault == "slow" else [fault] * 2)
    assert copied == cache() / "s3/bucket/one/rows.bin"
    assert copied.read_bytes() == content


def test_what_was_copied_is_copied_again_only_where_it_changed(server: Faults) -> None:
    put("s3://bucket/two/a.csv", b"first")
    put("s3://bucket/two/deep/b.csv", b"second")
    folder = here(Path("s3://bucket/two"))
    first = {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.csv")}
    assert sorted(first) == ["a.csv", "b.csv"]
    put("s3://bucket/two/a.csv", b"other")
    store = Store.at("s3://bucket/two/deep/b.csv")
    assert here(Path("s3://bucket/two")) == folder
    assert (folder / "a.csv").read_bytes() == b"other"
    assert (folder / "deep/b.csv").stat().st_mtime_ns == first["b.csv"]
    store.remove("")
    here(Path("s3://bucket/two"))
    assert [path.name for path in folder.rglob("*.csv")] == ["a.csv"]


def test_what_is_no_copy_is_left_alone(server: Faults) -> None:
    put("s3://bucket/own/a.csv", b"first")
    folder = here(Path("s3://bucket/own"))
    (folder / "mine.csv").write_text("mine")
    here(Path("s3://bucket/own"))
    here(Path("s3://bucket/own/*.csv"))
    assert (folder / "mine.csv").read_text() == "mine"


def test_a_pattern_copies_what_fits_it(server: Faults) -> None:
    for name in ("part-000.tar", "part-001.tar", "notes.txt"):
        put(f"s3://bucket/three/{name}", b"x")
    pattern = here(Path("s3://bucket/three/part-{000..001}.tar"))
    assert pattern.name == "part-{000..001}.tar"
    found = sorted(path.name for path in pattern.parent.iterdir())
    assert found == ["part-000.tar", "part-001.tar"]
    Store.at("s3://bucket/three/part-001.tar").remove("")
    here(Path("s3://bucket/three/*.tar"))
    assert [path.name for path in pattern.parent.iterdir()] == ["part-000.tar"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://user:secret@bucket/rows.csv", "s3://…@bucket: a place may not hold a user"),
        ("https://store/rows.csv?X-Amz-Signature=secret", "https://store/rows.csv?…: a place may"),
        ("file:///rows.csv", "file://rows.csv: expected the path of a file"),
        ("s3://bucket/rows.csv", None),
        ("rows/s3.csv", None),
        ("c:/rows.csv", None),
    ],
)
def test_places(place: str, message: str | None) -> None:
    if message is None:
        assert place_of(Path(place)) == (place if place.startswith("s3") else None)
        return
    with pytest.raises(ConfigError) as caught:
        place_of(Path(place))
    assert str(caught.value).startswith(message)
    assert "secret" not in str(caught.value)


def test_messages(server: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"s3://bucket/nothing\.csv: there is no such file or"):
        here(Path("s3://bucket/nothing.csv"))
    with pytest.raises(DataError, match="no file there fits"):
        here(Path("s3://bucket/nothing/*.tar"))
    with pytest.raises(ConfigError, match="nosuchstore://bucket/a: Protocol not known"):
        here(Path("nosuchstore://bucket/a"))
    with pytest.raises(ConfigError, match="only audits by `dataaudit run` are written to"):
        ResultsDirectory(Path("s3://bucket/audit"), AUDITS)

    def fails(**_: Any) -> bytes:
        raise OSError(f"refused {SECRET}")

    tries: list[int] = []
    store = Store("s3://bucket/a", SimpleNamespace(), "bucket/a")
    with pytest.raises(DataError) as caught:
        store.tried(lambda: tries.append(1) or fails(), "read")
    assert len(tries) == storage.TRIES
    assert str(caught.value) == "s3://bucket/a: cannot be read 6 times: OSError: refused …"


def test_a_place_that_holds_something_else_is_left_alone(server: Faults) -> None:
    put("s3://bucket/four/thesis.txt", b"mine")
    with (
        pytest.raises(RunDirectoryError, match="holds files that are no audit's"),
        worked_in_here(Path("s3://bucket/four")),
    ):
        pass
    assert list(Store.at("s3://bucket/four").listing()) == ["thesis.txt"]


def test_what_cannot_be_copied_is_kept_here(
    server: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Store, below: str, file: Path) -> None:
        raise DataError("the store is full")

    monkeypatch.setattr(Store, "write", refused)
    with (
        pytest.raises(RunDirectoryError, match="the store is full; what was finished is") as caught,
        worked_in_here(Path("s3://bucket/five")) as folder,
    ):
        (folder / "report.html").write_text("all of it")
    assert str(caught.value).endswith(str(folder))
    assert (folder / "report.html").read_text() == "all of it"


def on_the_store(project: Project) -> Path:
    """Put the project's data and weights on the store, and return its audit.yaml."""
    for name in ("train.csv", "val.csv", "test.csv", "model.safetensors"):
        put(f"s3://bucket/fruit/{name}", (project.folder / name).read_bytes())
        if name.endswith(".csv"):
            project.replace("audit.yaml", f"path: {name}", f"path: 's3://bucket/fruit/{name}'")
        else:
            project.replace("audit.yaml", f"weights: {name}", f"weights: s3://bucket/fruit/{name}")
        (project.folder / name).unlink()
    return project.yaml


def test_a_killed_audit_on_a_store_goes_on_and_gives_the_tables_of_one_here(
    project: Project, command_line: CommandLine, server: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.replace("audit.yaml", "{kind: auto, seed: 0}", "{effort: quick}")
    assert command_line("run", project.yaml, "--out", project.folder / "here").code == 0
    audit_yaml = on_the_store(project)
    out = "s3://bucket/audits/fruit"
    command = [sys.executable, "-m", "dataaudit", "run", str(audit_yaml), "--out", out]
    # The child copies at once, and is killed when the store holds its first step.
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store = Store.at(out)
    while not any(name.endswith(".step") for name in store.listing()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = set(store.listing())
    assert "manifest.json" not in left
    assert "work/fingerprint.json" in left

    outcome = command_line("run", audit_yaml, "--out", out)
    assert outcome.code == 2
    assert f"{out}: holds an unfinished audit" in outcome.err
    assert set(store.listing()) == left

    server.waiting += ["error", "cut"]
    outcome = command_line("run", audit_yaml, "--out", out, "--resume")
    assert (outcome.code, outcome.err) == (0, "")
    assert f"report: {out}/report.html" in outcome.out
    files = store.listing()
    assert not any(name.startswith("work/") for name in files)
    for name in ("mislabels.parquet", "contamination.parquet"):
        there = project.folder / name
        there.write_bytes(store.files.cat_file(store.path(name)))
        expected = pd.read_parquet(project.folder / "here" / name)
        pd.testing.assert_frame_equal(pd.read_parquet(there), expected, rtol=1e-6)
    for name in files:
        assert SECRET.encode() not in store.files.cat_file(store.path(name))
    assert b"interrupted and resumed" in store.files.cat_file(store.path("audit.json"))

    outcome = command_line("run", audit_yaml, "--out", out, "--resume")
    assert "already finished" in outcome.out

"""What several test files use: the command line in this process, and a user's own project."""

import functools
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from dataaudit import progress
from dataaudit.cli import main
from dataaudit.commands import watching
from dataaudit.report.schema import SCHEMA_PATH
from dataaudit.scoring import cluster

# One thread each: test processes side by side, and the commands that they start, must not fight
# for the cores.
torch.set_num_threads(1)
threadpool_limits(1)
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")


# What is imported is no garbage, and is not searched for any until the tests begin, nor afterwards.
gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()


@pytest.fixture(autouse=True)
def _one_thread_for_the_next() -> Iterator[None]:
    """A command may choose its threads, and would choose them for all tests that come after it."""
    yield
    torch.set_num_threads(1)


SAID_BY_THE_CLOCK = {
    (progress, "SECONDS_APART"): float("inf"),
    (watching, "SECONDS_OF_PATIENCE"): 1e6,
    (cluster, "SECONDS_TO_TELL"): cluster.SECONDS_TO_START,
}
"""After how many seconds a command says that it is still there, and what the tests take instead."""


@pytest.fixture(autouse=True)
def _nothing_said_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a command says must not depend on how busy the machine is."""
    for (module, name), seconds in SAID_BY_THE_CLOCK.items():
        monkeypatch.setattr(module, name, seconds)


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


CommandLine = Callable[..., Outcome]


@pytest.fixture
def command_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> CommandLine:
    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["dataaudit", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code if isinstance(stopped.code, int) else 0
        captured = capsys.readouterr()
        for argument in map(Path, map(str, arguments)):
            check_against_schema(argument / "audit.json")
        return Outcome(code, captured.out, captured.err)

    return run


def trace_refuses(
    command_line: CommandLine, audit_yaml: Path, faults: list[tuple[str, str, str]]
) -> None:
    """Put the second text of each fault for the first, and expect the third as the message."""
    content = audit_yaml.read_text(encoding="utf-8")
    for number, (old, new, message) in enumerate(faults):
        assert old in content
        audit_yaml.write_text(content.replace(old, new), encoding="utf-8")
        outcome = command_line("trace", audit_yaml, "--out", audit_yaml.parent / f"out-{number}")
        assert outcome.code == 2
        assert message in outcome.err
        assert "Traceback" not in outcome.err


CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """Return the path of the browser, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        message = "NOT TESTED IN A BROWSER: no Chromium found on the path or in $CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield launched
        launched.close()


def go_to(page, fragment: str) -> None:
    """Go to a place in the page that is open, and return when the page is there.

    `page.goto` returns before the page hears of a new fragment: a key pressed then still goes to
    what was shown before.
    """
    page.evaluate(
        """fragment => new Promise((there) => {
            if (location.hash === fragment) return there();
            addEventListener("hashchange", () => there(), { once: true });
            location.hash = fragment;
        })""",
        fragment,
    )


@functools.cache
def _schema() -> Any:
    return jsonschema_rs.validator_for(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")))


def check_against_schema(path: Path) -> None:
    """Hold every `audit.json` that a test's command leaves behind against the published schema."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return  # not there, or broken on purpose
    if content:
        _schema().validate(content)


MODEL_SOURCE = '''
"""A model and a data set that dataaudit has never seen."""
import torch
from torch import nn

FEATURES = ["width", "height", "weight"]


def build():
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))


def preprocess(frame):
    return torch.tensor(frame[FEATURES].to_numpy(), dtype=torch.float32)
'''

AUDIT_YAML = """
name: fruit, release 1
task: classification
model:
  factory: fruit_model:build
  weights: model.safetensors
preprocess: fruit_model:preprocess
classes: [apple, pear, plum]
train:    {path: train.csv, label: kind, id: row_id}
held_out: {path: val.csv, label: kind}
suspects: {path: test.csv, label: kind, id: query_id}
mirror: {kind: auto, seed: 0}
"""

CLASSES = ["apple", "pear", "plum"]


def fruit(count: int, seed: int) -> pd.DataFrame:
    """Three clouds of points, overlapping a little."""
    generator = np.random.default_rng(seed)
    kinds = generator.integers(3, size=count)
    centres = np.array([[0.0, 0.0, 2.0], [2.5, 0.0, 0.0], [0.0, 2.5, 0.0]])
    values = centres[kinds] + generator.normal(scale=0.7, size=(count, 3))
    frame = pd.DataFrame(values, columns=["width", "height", "weight"])
    frame["kind"] = np.array(CLASSES)[kinds]
    return frame


@dataclass(frozen=True)
class Project:
    """A user's folder: three csv files, a module of their own, weights and audit.yaml."""

    folder: Path
    mislabeled: set[str]
    leaked: set[int]

    @property
    def yaml(self) -> Path:
        return self.folder / "audit.yaml"

    def replace(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.fixture(scope="session")
def _made_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("fruit")
    train, val, test = fruit(400, 1), fruit(150, 2), fruit(120, 3)
    generator = np.random.default_rng(4)
    wrong = generator.choice(400, 40, replace=False)
    turned = (np.array([CLASSES.index(kind) for kind in train["kind"].iloc[wrong]]) + 1) % 3
    train.loc[wrong, "kind"] = np.array(CLASSES)[turned]
    train.insert(0, "row_id", [f"fruit-{number}" for number in range(400)])
    copies = generator.choice(np.setdiff1d(np.arange(400), wrong), 6, replace=False)
    columns = ["width", "height", "weight", "kind"]
    test.loc[:5, columns] = train.loc[copies, columns].to_numpy()
    test.insert(0, "query_id", range(1000, 1120))
    for name, frame in (("train", train), ("val", val), ("test", test)):
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "fruit_model.py").write_text(MODEL_SOURCE, encoding="utf-8")
    (folder / "audit.yaml").write_text(AUDIT_YAML, encoding="utf-8")

    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 3))
    inputs = torch.tensor(train[["width", "height", "weight"]].to_numpy(), dtype=torch.float32)
    targets = torch.tensor([CLASSES.index(kind) for kind in train["kind"]])
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(200):
        loss = nn.functional.cross_entropy(module(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save_file(module.state_dict(), folder / "model.safetensors")
    mislabeled = {f"fruit-{number}" for number in wrong}
    return Project(folder, mislabeled, set(range(1000, 1006)))


def fresh_copy(folder: Path, tmp_path: Path) -> Path:
    """Return a copy of a user's folder, without what an earlier test's run left there."""
    copied = tmp_path / "project"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("__pycache__", "audit"))
    return copied


@pytest.fixture
def project(_made_project: Project, tmp_path: Path) -> Project:
    """A fresh copy of the user's folder, to be run or to be broken."""
    folder = fresh_copy(_made_project.folder, tmp_path)
    return Project(folder, _made_project.mislabeled, _made_project.leaked)

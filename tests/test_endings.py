"""How commands end: one message, and a code that means one thing."""

import errno
import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from language_examples import language_project
from torch import nn

import dataaudit
from dataaudit import cli
from dataaudit.cli import main
from dataaudit.commands import watching
from dataaudit.commands.shared import LONGEST_MESSAGE, print_lines
from dataaudit.errors import DataError, EngineError, ModelError
from dataaudit.stages import auditing

ENDS = {
    "exit(0)": "ended the program (exit code 0)",
    "sys.exit()": "ended the program (exit code None)",
    "sys.exit('bye')": "ended the program (exit code 'bye')",
    "os._exit(0)": "ended the program (os._exit(0))",
    "raise KeyboardInterrupt": "raised KeyboardInterrupt",
    "raise BaseException('x')": "raised BaseException: x",
}
PLACES = {
    "build": "def build():\n    {end}\n    return",
    "preprocess": "def preprocess(frame):\n    {end}\n    return",
    "forward": (
        "class Own(nn.Sequential):\n    def forward(self, values):\n        {end}\n"
        "        return super().forward(values)\n\n\ndef build():\n    return Own(\n"
        "        *nn.Sequential("
    ),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_users_code_that_ends_the_program_is_no_success(
    project: Project, command_line: CommandLine, place: str, end: str
) -> None:
    file = project.folder / "fruit_model.py"
    source = file.read_text(encoding="utf-8")
    if place == "forward":
        source = source.replace("nn.Linear(16, 3))\n", "nn.Linear(16, 3)))\n").replace(
            "def build():\n    return nn.Sequential(", PLACES[place].format(end=end)
        )
    else:
        old = PLACES[place].format(end="").replace("    \n", "")
        source = source.replace(old, PLACES[place].format(end=end))
    file.write_text("import os\nimport sys\n" + source, encoding="utf-8")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert outcome.out == ""
    assert re.fullmatch(
        rf"dataaudit: {re.escape(str(file))}, line \d+, in {place}: {re.escape(ENDS[end])}.*\n",
        outcome.err,
    )
    assert not (project.folder / "audit" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EngineError("engine: a worker died"), 3, "dataaudit: engine: a worker died\n"),
        (DataError("train.csv: odd\nline"), 2, "dataaudit: train.csv: odd\\nline\n"),
        (MemoryError(), 2, "dataaudit: out of memory; "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "dataaudit: out of memory"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "x.json"), 2,
         "dataaudit: x.json: No space left on device\n"),
        (EOFError(), 70, "dataaudit: a defect of dataaudit"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "dataaudit: Broken pipe\n"),
        (ZeroDivisionError("division by zero"), 70, "dataaudit: a defect of dataaudit"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)  # fmt: skip
def test_only_a_failed_gate_ends_with_1(
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    code: int,
    message: str,
) -> None:
    # Raised by code that has no file of the user's in its traceback.
    raising = {"error": error}
    exec("def run_file(*_, **__):\n    raise error", raising)
    monkeypatch.setattr(auditing, "run_file", raising["run_file"])
    settings = SimpleNamespace(task="classification")
    monkeypatch.setattr("dataaudit.config.load_config", lambda path: settings)
    outcome = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert outcome.code == code
    assert outcome.err.startswith(message)
    assert ("Traceback" in outcome.err) == (code == 70)


def test_a_users_stop_iteration_is_told_as_such(tmp_path: Path, command_line: CommandLine) -> None:
    path = language_project(tmp_path)
    model = tmp_path / "tiny_model.py"
    source = model.read_text(encoding="utf-8")
    line = "    def forward(self, ids):\n"
    model.write_text(source.replace(line, f"{line}        raise StopIteration\n"), encoding="utf-8")
    outcome = command_line("trace", path, "--out", tmp_path / "traced")
    assert outcome.code == 2
    assert re.fullmatch(r"dataaudit: .*, in forward: raised StopIteration\n", outcome.err)


def test_prints_of_a_users_code_stay_off_stdout(
    project: Project, command_line: CommandLine
) -> None:
    with (project.folder / "fruit_model.py").open("a", encoding="utf-8") as file:
        file.write("\nprint('loaded the model')\n")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 0
    assert "loaded the model" not in outcome.out
    assert "loaded the model" in outcome.err
    assert outcome.out.splitlines()[-1].startswith("report: ")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_users_code_cannot_close_where_errors_are_told(
    project: Project, command_line: CommandLine, stream: str
) -> None:
    file = project.folder / "fruit_model.py"
    source = file.read_text(encoding="utf-8")
    closing = f"    import sys\n\n    with sys.{stream}:\n        sys.{stream}.close()\n"
    source = source.replace("def build():\n", f"def build():\n{closing}")
    file.write_text(source, encoding="utf-8")
    good = command_line("plan", project.yaml)
    assert (good.code, good.err) == (0, "")
    assert good.out
    file.write_text(source.replace(closing, f"{closing}    raise ValueError('after')\n"))
    sys.modules.pop("fruit_model", None)
    bad = command_line("plan", project.yaml)
    assert bad.code == 2
    assert "build() failed: ValueError: after" in bad.err


def test_a_finished_audit_is_not_done_again(project: Project, command_line: CommandLine) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("gates: {contaminated: 0, mislabel_rate: 0.0001}\n")
    out = project.folder / "audit"
    first = command_line("run", project.yaml, "--out", out)
    assert first.code == 1
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    again = command_line("run", project.yaml, "--out", out, "--resume")
    assert again.code == 1
    assert again.out.splitlines()[0] == (
        "already finished, from the same inputs; nothing was done again"
    )
    assert again.out.splitlines()[1:] == first.out.splitlines()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    for old, new, what in (
        ("0.0001", "0.9", "gates.mislabel_rate: was 0.0001, is 0.9"),
        ("seed: 0", "seed: 1", "mirror.seed: was 0, is 1"),
    ):
        project.replace("audit.yaml", old, new)
        changed = command_line("run", project.yaml, "--out", out, "--resume")
        assert changed.code == 2
        assert "holds a finished audit of something else: " in changed.err
        assert what in changed.err
        project.replace("audit.yaml", new, old)
    lines = (project.folder / "train.csv").read_text(encoding="utf-8").splitlines()
    (project.folder / "train.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    assert "train: was sha256" in command_line("run", project.yaml, "--out", out, "--resume").err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_hang_says_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "SECONDS_OF_PATIENCE", 0.2)
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.02)

    def waits_for_a_server() -> None:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            pass

    with watching.watched():
        waits_for_a_server()
    said = capsys.readouterr().err
    assert re.search(rf"no progress for .* s: in waits_for_a_server \({re.escape(__file__)}", said)


def test_work_that_goes_on_is_no_hang(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataaudit.progress import track

    monkeypatch.setattr(watching, "SECONDS_OF_PATIENCE", 0.5)
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.02)
    with watching.watched():
        for _ in track(range(30), "work"):
            time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_console_without_a_letter_shows_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    stdout = io.TextIOWrapper(content, encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["dataaudit", "--version"])
    with pytest.raises(SystemExit):
        main()
    print_lines(["Бирне, 梨, pear"])
    stdout.flush()
    assert content.getvalue().splitlines()[-1] == (
        b"\\u0411\\u0438\\u0440\\u043d\\u0435, \\u68a8, pear"
    )


def test_a_message_is_never_longer_than_a_page(tmp_path: Path, command_line: CommandLine) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text("".join(f"key_{number}: {'x' * 900}\n" for number in range(3000)))
    outcome = command_line("run", path, "--out", tmp_path / "audit")
    assert outcome.code == 2
    assert len(outcome.err) <= LONGEST_MESSAGE + 20
    assert "more" in outcome.err


def test_a_reader_that_stops_reading_changes_no_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    print_lines(["one", "two"])


def test_watching_keeps_nothing_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SECONDS_BETWEEN_LOOKS", 0.2)
    ended_in = []

    class Noted:
        def __del__(self) -> None:
            ended_in.append(threading.current_thread().name)

    def work() -> None:
        noted = Noted()
        time.sleep(0.3)
        assert noted

    with watching.watched():
        work()
        assert ended_in == [threading.main_thread().name]


def test_no_thread_is_left_of_watching() -> None:
    with watching.watched():
        pass
    assert "dataaudit-watch" not in {thread.name for thread in threading.enumerate()}


def test_every_command_prints_by_one_way() -> None:
    # Others write to where the prints of the user's code go, and show control characters.
    folder = Path(cli.__file__).parent / "commands"
    for path in sorted(folder.glob("*.py")):
        if path.name not in ("shared.py", "watching.py"):
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"typer\.echo|(?<!_)\bprint\(", text), path.name


@pytest.mark.parametrize("place", ["forward", "preprocess"])
def test_from_python_an_exit_of_the_model_is_an_error(place: str, tmp_path: Path) -> None:
    """Passed on, it would end the caller's program with the code that means success."""

    class Own(nn.Linear):
        def forward(self, values: torch.Tensor) -> torch.Tensor:
            if place == "forward":
                sys.exit(0)
            return super().forward(values)

    def preprocess(frame: pd.DataFrame) -> torch.Tensor:
        if place == "preprocess":
            sys.exit(0)
        return torch.tensor(frame[["x"]].to_numpy(), dtype=torch.float32)

    frame = pd.DataFrame({"x": [0.0, 1.0] * 30, "label": [0, 1] * 30})
    calls: list[Callable[[], object]] = [
        lambda: dataaudit.audit(Own(1, 2), frame, frame, preprocess=preprocess),
        lambda: dataaudit.memorization(Own(1, 2), frame, preprocess=preprocess),
        lambda: dataaudit.verify(Own(1, 2), frame, frame, preprocess=preprocess),
        lambda: dataaudit.mirrored_influence(
            Own(1, 2), frame, frame, preprocess=preprocess, out=tmp_path / "out"
        ),
    ]
    for call in calls:
        with pytest.raises(ModelError) as caught:
            call()
        said = rf"{re.escape(__file__)}, line \d+, in {place}: ended the program \(exit code 0\) "
        assert re.match(said, str(caught.value))

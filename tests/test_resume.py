"""An audit that is interrupted anywhere can be resumed, and ends with the same tables."""

import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import CommandLine, Project

from dataaudit.config import config_from_python
from dataaudit.flags import whose_word
from dataaudit.mirror import probes
from dataaudit.run_directory import fingerprint, steps, store
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.store import RunDirectory
from dataaudit.scoring import local
from dataaudit.stages import auditing

TABLES = ("mislabels.parquet", "contamination.parquet")


@pytest.fixture(scope="module", autouse=True)
def _small_blocks() -> None:
    """Let even the small project have several blocks."""
    patch = pytest.MonkeyPatch()
    patch.setattr(local, "_ROWS_PER_BLOCK", 64)
    yield
    patch.undo()


@pytest.fixture(scope="module", autouse=True)
def _few_fits() -> None:
    """Nothing here is about intervals or opinions: half of what a small audit does."""
    patch = pytest.MonkeyPatch()
    few = functools.partial(whose_word.judge_labels, bootstrap_repeats=5)
    patch.setattr(whose_word, "judge_labels", few)
    patch.setattr(whose_word, "REDRAWS_OF_SECOND", 2)
    patch.setattr(probes, "RIDGES", probes.RIDGES[:1])
    patch.setattr(probes, "DOUBTS", probes.DOUBTS[:1])
    yield
    patch.undo()


@pytest.fixture(scope="module")
def undisturbed(_made_project: Project, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Return the tables of an audit that nobody interrupted."""
    folder = tmp_path_factory.mktemp("undisturbed") / "project"
    shutil.copytree(_made_project.folder, folder)
    make_small(folder)
    auditing.run_file(folder / "audit.yaml", folder / "audit")
    return tables(folder / "audit")


@pytest.fixture
def small(project: Project) -> Project:
    make_small(project.folder)
    return project


@pytest.fixture(scope="module")
def begun(_made_project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of an audit that was interrupted while its suspects were scored."""
    folder = tmp_path_factory.mktemp("begun") / "project"
    shutil.copytree(_made_project.folder, folder)
    make_small(folder)
    with pytest.MonkeyPatch.context() as patch:
        interrupt_write(patch, 12, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            auditing.run_file(folder / "audit.yaml", folder / "audit")
    return folder / "audit"


def make_small(folder: Path) -> None:
    for name, rows in (("val.csv", 60), ("test.csv", 70)):
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        (folder / name).write_text("\n".join(lines[: rows + 1]) + "\n", encoding="utf-8")
    settings = folder / "audit.yaml"
    text = settings.read_text(encoding="utf-8").replace("seed: 0}", "seed: 0, steps: 60}")
    settings.write_text(f"{text}batch_size: 32\n", encoding="utf-8")


def tables(directory: Path) -> list[bytes]:
    return [(directory / name).read_bytes() for name in TABLES]


def interrupt_write(
    monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException
) -> Callable[[], None]:
    """Let the `number`-th file that the audit writes fail; return what lifts that again."""
    left = [number]
    original = steps.write_atomically

    def write(target: Path, fill: Callable[[Path], object]) -> None:
        left[0] -= 1
        if left[0] == 0:
            if isinstance(error, KeyboardInterrupt):
                # Pressed, not raised: a user's code may raise it without anybody at the keyboard.
                signal.raise_signal(signal.SIGINT)
            raise error
        original(target, fill)

    monkeypatch.setattr(steps, "write_atomically", write)
    monkeypatch.setattr(store, "write_atomically", write)
    return monkeypatch.undo


# 1: fingerprint, 2: mirror, 3 to 12: score blocks, 13 to 17: results, the manifest last.
@pytest.mark.parametrize("number", [2, 3, 6, 11, 13, 17])
def test_an_interrupted_audit_is_resumed_to_identical_tables(
    small: Project, command_line: CommandLine, undisturbed: list[bytes], number: int
) -> None:
    out = small.folder / "audit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_ROWS_PER_BLOCK", 64)
        interrupt_write(patch, number, KeyboardInterrupt())
        stopped = command_line("run", small.yaml, "--out", out)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err
    if number == 2:
        # Nothing was finished, so that nothing is left.
        assert stopped.err == "dataaudit: interrupted\n"
        assert list(out.iterdir()) == []
    else:
        assert stopped.err == (
            f"dataaudit: interrupted\nWhat was finished is kept in {out}: the same command with "
            "--resume goes on from there.\n"
        )
        assert [path.name for path in out.iterdir()] == ["work"]
        refused = command_line("run", small.yaml, "--out", out)
        assert refused.code == 2
        assert "holds an unfinished audit" in refused.err
        assert "pass --resume to go on with it, or --overwrite to start over" in refused.err
    if number == 6:
        # Threads may be more than before.
        with small.yaml.open("a", encoding="utf-8") as file:
            file.write("engine: {workers: 2}\n")
    resumed = command_line("run", small.yaml, "--out", out, "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert tables(out) == undisturbed
    assert not (out / "work").exists()
    if number > 2:
        assert "note: The audit was interrupted and resumed" in resumed.out


@pytest.fixture
def interrupted(small: Project, begun: Path) -> Path:
    """Return a project's own directory of an interrupted audit."""
    return shutil.copytree(begun, small.folder / "audit")


def test_finished_steps_are_not_made_again(
    small: Project, command_line: CommandLine, undisturbed: list[bytes]
) -> None:
    out = small.folder / "audit"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_write(patch, 13, KeyboardInterrupt())
        assert command_line("run", small.yaml, "--out", out).code == 130
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_ROWS_PER_BLOCK", 64)
        patch.setattr(auditing, "relearn", lambda *_: pytest.fail("learned again"))
        patch.setattr(local.BatchScorer, "score", lambda *_: pytest.fail("scored again"))
        assert command_line("run", small.yaml, "--out", out, "--resume").code == 0
    assert tables(out) == undisturbed


def test_overwrite_starts_over(
    small: Project, interrupted: Path, command_line: CommandLine, undisturbed: list[bytes]
) -> None:
    outcome = command_line("run", small.yaml, "--out", interrupted, "--overwrite")
    assert (outcome.code, outcome.err) == (0, "")
    assert "resumed" not in outcome.out
    assert tables(interrupted) == undisturbed


def truncated(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def one_bit_flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def replaced_by_noise(path: Path) -> None:
    path.write_bytes(os.urandom(500))


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "damage", [truncated, one_bit_flipped, emptied, replaced_by_noise, removed]
)
def test_a_damaged_step_is_made_again_with_a_note(
    small: Project,
    interrupted: Path,
    command_line: CommandLine,
    undisturbed: list[bytes],
    damage: Callable,
) -> None:
    for name in ("mirror.step", "train/000000000128.step", "suspects/000000000000.step"):
        damage(interrupted / "work" / name)
    outcome = command_line("run", small.yaml, "--out", interrupted, "--resume")
    assert (outcome.code, outcome.err) == (0, "")
    assert tables(interrupted) == undisturbed
    if damage is not removed:
        assert "train/000000000128.step is damaged; it was made again" in outcome.out
        coverage = json.loads((interrupted / "audit.json").read_text(encoding="utf-8"))["coverage"]
        assert any("mirror.step is damaged" in note for note in coverage["notes"])


def test_a_block_of_another_audit_is_not_used(
    small: Project, interrupted: Path, command_line: CommandLine, undisturbed: list[bytes]
) -> None:
    work = interrupted / "work"
    shutil.copy(work / "train" / "000000000064.step", work / "held_out" / "000000000000.step")
    outcome = command_line("run", small.yaml, "--out", interrupted, "--resume")
    assert "held_out/000000000000.step was made from something else" in outcome.out
    assert tables(interrupted) == undisturbed


def test_a_damaged_fingerprint_leaves_each_step_to_its_own_check(
    small: Project, interrupted: Path, command_line: CommandLine, undisturbed: list[bytes]
) -> None:
    truncated(interrupted / "work" / "fingerprint.json")
    outcome = command_line("run", small.yaml, "--out", interrupted, "--resume")
    assert (outcome.code, outcome.err) == (0, "")
    assert "fingerprint.json was damaged" in outcome.out
    assert tables(interrupted) == undisturbed


CHANGES: list[tuple[Callable[[Project], object], str]] = [
    (lambda p: p.replace("train.csv", "plum", "pear"), "train: was sha256 "),
    (lambda p: p.replace("val.csv", "plum", "pear"), "held_out: was sha256 "),
    (lambda p: p.replace("audit.yaml", "seed: 0", "seed: 1"), "mirror.seed: was 0, is 1"),
    (lambda p: p.replace("audit.yaml", "batch_size: 32", "batch_size: 33"),
     "batch_size: was 32, is 33"),
    (lambda p: p.replace("fruit_model.py", "import torch", "import torch  # changed"),
     "module fruit_model: was sha256 "),
    (lambda p: p.replace("audit.yaml", "suspects:", "# suspects:"), "suspects: was sha256 "),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[message for _, message in CHANGES])
def test_a_changed_input_is_refused_by_name(
    small: Project,
    interrupted: Path,
    command_line: CommandLine,
    change: Callable[[Project], object],
    message: str,
) -> None:
    before = sorted(interrupted.rglob("*"))
    change(small)
    outcome = command_line("run", small.yaml, "--out", interrupted, "--resume")
    assert outcome.code == 2
    assert "cannot be resumed, because it was begun with something else" in outcome.err
    assert message in outcome.err
    assert outcome.err.endswith("Restore that, or pass --overwrite to start over\n")
    assert sorted(interrupted.rglob("*")) == before


def test_changed_weights_code_and_packages_are_named(
    small: Project, interrupted: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", 64)
    monkeypatch.setattr(fingerprint, "_own_code", lambda: "0" * 64)
    monkeypatch.setattr(fingerprint, "versions", lambda: {"torch": "0.0"})
    small.replace("audit.yaml", "  weights: model.safetensors\n", "")
    outcome = command_line("run", small.yaml, "--out", interrupted, "--resume")
    for part in ("model weights: ", "code of dataaudit: ", "package torch: "):
        assert part in outcome.err


def test_flags_gates_and_name_may_change(
    small: Project, interrupted: Path, command_line: CommandLine
) -> None:
    small.replace("audit.yaml", "name: fruit, release 1", "name: other\nflags: {budget: 7}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auditing, "relearn", lambda *_: pytest.fail("learned again"))
        assert command_line("run", small.yaml, "--out", interrupted, "--resume").code == 0


def test_moved_data_are_still_the_same(
    small: Project, interrupted: Path, command_line: CommandLine
) -> None:
    (small.folder / "train.csv").rename(small.folder / "moved.csv")
    small.replace("audit.yaml", "train.csv", "moved.csv")
    assert command_line("run", small.yaml, "--out", interrupted, "--resume").code == 0


def test_two_audits_in_one_directory(small: Project, command_line: CommandLine) -> None:
    out = small.folder / "audit"
    with RunDirectory(out):
        before = sorted(out.rglob("*"))
        for option in ([], ["--resume"], ["--overwrite"]):
            outcome = command_line("run", small.yaml, "--out", out, *option)
            assert outcome.code == 2
            assert "another audit is running in it" in outcome.err
        assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize("number", [3, 9, 14])
def test_a_full_disk_loses_nothing(
    small: Project, command_line: CommandLine, undisturbed: list[bytes], number: int
) -> None:
    out = small.folder / "audit"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_ROWS_PER_BLOCK", 64)
        interrupt_write(patch, number, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        outcome = command_line("run", small.yaml, "--out", out)
    assert outcome.code == 2
    assert "cannot be written: No space left on device" in outcome.err
    assert "--resume goes on from there" in outcome.err
    assert "Traceback" not in outcome.err
    assert command_line("run", small.yaml, "--out", out, "--resume").code == 0
    assert tables(out) == undisturbed


def test_a_failed_overwrite_leaves_the_earlier_audit_whole(
    small: Project, command_line: CommandLine, undisturbed: list[bytes]
) -> None:
    out = small.folder / "audit"
    assert command_line("run", small.yaml, "--out", out).code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_ROWS_PER_BLOCK", 64)
        interrupt_write(patch, 16, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        assert command_line("run", small.yaml, "--out", out, "--overwrite").code == 2
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    plain = command_line("run", small.yaml, "--out", out)
    assert "holds a finished audit" in plain.err
    assert "--resume to go on with the unfinished one" in plain.err
    assert command_line("run", small.yaml, "--out", out, "--resume").code == 0
    assert tables(out) == undisturbed


def test_a_read_only_directory(
    small: Project, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(store.FileLock, "acquire", refuse)
    outcome = command_line("run", small.yaml, "--out", small.folder / "audit")
    assert outcome.code == 2
    assert outcome.err == (
        f"dataaudit: {small.folder / 'audit'}: cannot be written: Read-only file system\n"
    )


def test_left_over_temporary_files_are_no_strangers(
    small: Project, command_line: CommandLine
) -> None:
    out = small.folder / "audit"
    out.mkdir()
    (out / ".report.html.4711.tmp").write_text("cut short", encoding="utf-8")
    assert command_line("run", small.yaml, "--out", out).code == 0
    assert not (out / ".report.html.4711.tmp").exists()


def test_a_fingerprint_read_back_is_the_same(tmp_path: Path) -> None:
    made = Fingerprint({"train": "sha256 " + "a" * 64, "mirror.seed": "0"})
    (tmp_path / "fingerprint.json").write_text(made.as_json(), encoding="utf-8")
    assert Fingerprint.read(tmp_path / "fingerprint.json") == made
    assert made.changes(Fingerprint({"train": "sha256 " + "b" * 64})) == [
        "train: was sha256 aaaaaaaaaaaa…, is sha256 bbbbbbbbbbbb…",
        "mirror.seed: was 0, is absent",
    ]


def test_control_c_in_a_real_process(small: Project) -> None:
    small.replace("audit.yaml", "steps: 60", "steps: 5000")
    out = small.folder / "audit"
    command = [sys.executable, "-m", "dataaudit", "run", str(small.yaml), "--out", str(out)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background has them ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (out / "work" / "fingerprint.json").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.startswith("dataaudit: interrupted")
    assert "Traceback" not in err


def test_control_c_in_the_midst_of_code_that_is_text(small: Project) -> None:
    """Python itself then ends by the signal, though the interrupt was seen to: -2, and not 130."""
    text = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"
    begins = "def preprocess(frame):\n"
    small.replace("fruit_model.py", begins, f"{begins}    exec({text!r})\n")
    command = [sys.executable, "-m", "dataaudit", "run", str(small.yaml)]
    done = subprocess.run(
        [*command, "--out", str(small.folder / "audit")],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert (done.returncode, done.stderr) == (130, "dataaudit: interrupted\n")


def test_a_tokenizer_or_a_noise_schedule_that_changed_is_no_reason_to_go_on(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    (tmp_path / "scheduler").mkdir()
    nothing = SimpleNamespace(train=None, held_out=None, suspects=None, model=None)
    config = config_from_python("label", None, {"model": {"path": str(folder)}})

    def made(name: str, content: str) -> Fingerprint:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return Fingerprint.of(config, nothing, None)

    first = made("unet/tokenizer.json", "{}")
    for name in ("unet/tokenizer.json", "scheduler/scheduler_config.json"):
        changed = made(name, '{"a": 1}')
        (change,) = first.changes(changed)
        assert change.startswith("model folder: was sha256 ")
        first = changed
    # Weights have a hash of their own, and may be large; the run directory may lie in the folder.
    (folder / "audit").mkdir()
    for name in ("unet/model.safetensors", "unet/audit/manifest.json"):
        assert made(name, "x") == first

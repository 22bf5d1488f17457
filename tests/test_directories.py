"""One rule for the directories that commands write: whose they are, and what may be replaced."""

import errno
import os
from pathlib import Path

import pytest
from conftest import CommandLine
from review_examples import audited

from dataaudit.datasets.changes import Changes
from dataaudit.datasets.image_folder import moved_paths
from dataaudit.errors import DataError, RunDirectoryError
from dataaudit.review.comparison.build import COMPARISONS
from dataaudit.run_directory import atomic
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.ownership import MARK, Kind
from dataaudit.run_directory.steps import Steps
from dataaudit.run_directory.store import (
    AUDITS,
    ResultsDirectory,
    RunDirectory,
    amending,
    as_json,
    text,
)
from dataaudit.studies.influence.run import INFLUENCES
from dataaudit.studies.memorization.check import MEMORIZATIONS
from dataaudit.studies.verification.check import VERIFICATIONS

KINDS = [AUDITS, COMPARISONS, INFLUENCES, MEMORIZATIONS, VERIFICATIONS]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.noun)


def publish(out: Path, kind: Kind, *, overwrite: bool = False, word: str = "first") -> None:
    content = dict.fromkeys(kind.keys, word)
    with ResultsDirectory(out, kind, overwrite=overwrite) as directory:
        directory.publish({kind.finished: as_json(content)})


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in folder.rglob("*")
    }


@every_kind
def test_finished_results_are_replaced_only_when_asked(kind: Kind, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(out, kind)
    assert [path.name for path in out.iterdir()] == [kind.finished]
    with pytest.raises(RunDirectoryError, match=f"holds a finished {kind.noun}; choose another"):
        publish(out, kind, word="second")
    assert b"first" in (out / kind.finished).read_bytes()
    publish(out, kind, word="second", overwrite=True)
    assert b"second" in (out / kind.finished).read_bytes()


@every_kind
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_only_bears_our_names_is_not_ours(kind: Kind, overwrite: bool, tmp_path: Path) -> None:
    for number, name in enumerate([*kind.files, "work", "notes.txt"]):
        out = tmp_path / f"out-{number}"
        if name == "work":
            (out / "work").mkdir(parents=True)
            (out / "work" / "thesis.tex").write_text("years of work")
        else:
            out.mkdir()
            (out / name).write_text('{"mine": true}')
        before = tree(out)
        with pytest.raises(RunDirectoryError, match=f"holds files that are no {kind.noun}'s"):
            publish(out, kind, overwrite=overwrite)
        assert tree(out) == before


def test_an_audit_takes_no_folder_work_of_the_user(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "work").mkdir(parents=True)
    (out / "work" / "thesis.tex").write_text("years of work")
    for settings in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(RunDirectoryError, match=r"no audit's \(work\)"):
            RunDirectory(out, **settings).__enter__()
    assert (out / "work" / "thesis.tex").is_file()


@every_kind
def test_another_commands_results_are_refused(kind: Kind, tmp_path: Path) -> None:
    for other in KINDS:
        if other is kind:
            continue
        out = tmp_path / other.noun
        publish(out, other)
        before = tree(out)
        with pytest.raises(RunDirectoryError, match=f"no {kind.noun}'s"):
            publish(out, kind, overwrite=True)
        assert tree(out) == before


def test_nothing_is_removed_or_written_through_a_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").write_bytes(MARK)
    (elsewhere / "mirror.step").write_text("mine")
    (elsewhere / "manifest.json").write_text('{"manifest_version": 1, "inputs": 1, "settings": 1}')
    before = tree(elsewhere)
    for name in ("work", "manifest.json", "report.html"):
        out = tmp_path / f"out-{name}"
        out.mkdir()
        target = elsewhere if name == "work" else elsewhere / "manifest.json"
        (out / name).symlink_to(target)
        for settings in ({}, {"overwrite": True}, {"resume": True}):
            with pytest.raises(RunDirectoryError, match="holds files that are no audit's"):
                RunDirectory(out, **settings).__enter__()
    assert tree(elsewhere) == before


def test_a_link_among_the_steps_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "000.step").write_text("mine")
    work = tmp_path / "out" / "work"
    work.mkdir(parents=True)
    (work / "lock").write_bytes(MARK)
    (work / "fingerprint.json").write_text("{}")
    (work / "train").symlink_to(elsewhere)
    with pytest.raises(RunDirectoryError, match="is a link, which no audit makes"):
        RunDirectory(tmp_path / "out", resume=True).__enter__()
    with RunDirectory(tmp_path / "out", overwrite=True):
        assert [path.name for path in work.iterdir()] == ["lock"]
    assert (elsewhere / "000.step").read_text() == "mine"


@every_kind
def test_left_overs_of_a_kill_never_block(kind: Kind, tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(out, kind)
    (out / ".dataaudit-0123456789abcdef.tmp").write_text("cut short")
    (out / f".{kind.finished}.4711.tmp").write_text("cut short")
    (out / ".dataaudit-0123456789abcde0.tmp").mkdir()
    (out / ".dataaudit-0123456789abcde1.tmp").mkdir()
    (out / ".dataaudit-0123456789abcde1.tmp" / "lock").write_bytes(MARK)
    (out / "work").mkdir()
    (out / "work" / "lock").write_bytes(MARK)
    publish(out, kind, overwrite=True, word="second")
    assert [path.name for path in out.iterdir()] == [kind.finished]


@every_kind
def test_a_directory_is_used_by_one_command_at_a_time(kind: Kind, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        ResultsDirectory(out, kind),
        pytest.raises(RunDirectoryError, match=f"another {kind.noun} is running in it"),
    ):
        publish(out, kind, overwrite=True)
    publish(out, kind)


def test_a_finished_audit_is_amended_by_one_command_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "out"
    publish(out, AUDITS)
    with amending(out):
        with pytest.raises(RunDirectoryError, match="another audit is running in it"):
            publish(out, AUDITS, overwrite=True)
        with pytest.raises(RunDirectoryError, match="another audit is running in it"):
            amending(out).__enter__()
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_temporary_names_are_random_and_follow_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    monkeypatch.setattr(atomic.secrets, "token_hex", lambda count: "0" * 2 * count)
    (tmp_path / f".dataaudit-{'0' * 16}.tmp").symlink_to(mine)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "report.html", text("page"))
    assert mine.read_text() == "mine"
    monkeypatch.undo()
    names = []
    for _ in range(2):
        write_atomically(tmp_path / "report.html", lambda path: names.append(path.name))
    assert len(set(names)) == 2


def test_finished_files_have_the_usual_rights(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", text("page"))
    (tmp_path / "plain").write_text("page")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_comparison_does_not_go_into_a_finished_audit(
    tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path)
    before = tree(audit.directory)
    for option in ([], ["--overwrite"]):
        outcome = command_line(
            "compare", audit.directory, audit.directory, "--out", audit.directory, *option
        )
        assert outcome.code == 2
        assert "holds files that are no comparison's" in outcome.err
    assert tree(audit.directory) == before


def test_a_comparison_is_replaced_only_when_asked(
    tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path)
    arguments = ["compare", audit.directory, audit.directory, "--out", tmp_path / "compared"]
    assert command_line(*arguments).code == 0
    refused = command_line(*arguments)
    assert (refused.code, "holds a finished comparison" in refused.err) == (2, True)
    assert command_line(*arguments, "--overwrite").code == 0


@pytest.mark.parametrize("label", ["../../evil", "..", "a/b", "a\\b", "/tmp/evil", "C:evil", ""])
def test_a_class_of_a_strangers_audit_leads_out_of_no_folder(label: str, tmp_path: Path) -> None:
    class Folder:
        paths = ("cat/1.png", "dog/1.png")
        class_names = ("cat", "dog")

    class Rows:
        classes = ("cat", "dog", label)

    with pytest.raises(DataError, match="is no name of a folder"):
        moved_paths(Rows(), Folder(), Changes.of({0: 2}))
    assert moved_paths(Rows(), Folder(), Changes.of({0: 1})) == {"cat/1.png": "dog/1 (was cat).png"}


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), MemoryError()],
    ids=["disk", "memory"],
)
@pytest.mark.parametrize("command", ["report", "export", "compare", "relabel"])
def test_without_room_there_is_one_message(
    tmp_path: Path,
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    error: Exception,
) -> None:
    audit = audited(tmp_path)
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("row_id,decision,new_label\n=b,relabel,dog\n")
    options = {
        "report": [],
        "export": ["--to", "csv", "--out", tmp_path / "rows.csv"],
        "compare": [audit.directory, "--out", tmp_path / "compared"],
        "relabel": ["--decisions", decisions, "--out", tmp_path / "new.csv"],
    }
    before = {path: path.read_bytes() for path in audit.directory.iterdir()}

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(atomic, "create_exclusively", refuse)
    outcome = command_line(command, audit.directory, *options[command])
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("dataaudit: ")
    assert outcome.err.count("\n") == 1
    assert ("No space left" in outcome.err) or ("out of memory" in outcome.err)
    assert {path: path.read_bytes() for path in audit.directory.iterdir()} == before
    assert not (tmp_path / "new.csv").exists()


def test_a_folder_where_a_step_should_be_is_made_again(tmp_path: Path) -> None:
    steps = Steps(tmp_path / "work", "tie")
    steps.write("mirror", b"content")
    (tmp_path / "work" / "mirror.step").unlink()
    (tmp_path / "work" / "mirror.step").mkdir()
    assert steps.read("mirror") is None
    steps.write("mirror", b"again")
    assert steps.read("mirror") == b"again"
    assert "mirror.step cannot be read" in steps.notes[0]

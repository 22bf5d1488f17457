"""Run directories from strangers: damaged and hostile ones, read by every command that reads them.

    python benchmarks/fault_directories.py altered 2000 --seed 0
    python benchmarks/fault_directories.py killed 50 --seed 0

`altered`: a finished audit is altered at random (values of its JSON files, cells and columns of its
tables, bytes, files that become folders or links, files that are not its own), and one command is
run on it in this process. It survives when the command ends with exit code 0, or 1 for a gate, or
with 2 and one message of at most 2,000 characters, when nothing outside of what it was told to
write has changed, and within a minute. Prints how many were drawn of each kind, survived and lost.

`killed`: each command that writes is killed (SIGKILL) in a process of its own, at one of the
moments at which it opens a file to write, renames, removes or makes a folder, or shortly after, and
is given again; it survives when it ends with 0 and wrote what an undisturbed one writes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fault_judging import SHORT, Ending, alarm, call, judged
from fault_projects import write_project
from fault_spoils import NASTY, flip_bytes, truncate

COMMANDS: dict[str, list[str]] = {
    "report": ["report", "{audit}"],
    "export csv": ["export", "{audit}", "--to", "csv", "--out", "{made}/rows.csv"],
    "export jsonl": ["export", "{audit}", "--to", "jsonl", "--out", "{made}/r.jsonl", "--only=all"],
    "export label-studio": ["export", "{audit}", "--to", "label-studio", "--out", "{made}/r.json"],
    "export croissant": ["export", "{audit}", "--to", "croissant", "--out", "{made}/r.json"],
    "relabel": ["relabel", "{audit}", "--decisions", "{decisions}", "--out", "{made}/new.csv"],
    "compare": ["compare", "{whole}", "{audit}", "--out", "{made}/compared"],
    "compare old": ["compare", "{audit}", "{whole}"],
    "export sarif": ["export", "{audit}", "--to", "sarif", "--out", "{made}/r.sarif"],
    "fix": ["fix", "{audit}", "--decisions", "{decisions}", "--out", "{made}/fixed"],
    "certify": ["certify", "{audit}"],
    "certify --check": ["certify", "{audit}", "--check"],
    "sample": ["sample", "{audit}", "--rows", "5", "--out", "{made}/sample.csv"],
    "estimate": ["estimate", "{audit}", "--decisions", "{sampled}"],
    "review": ["review", "{audit}"],
    "run": ["run", "{yaml}", "--out", "{audit}"],
    "run --resume": ["run", "{yaml}", "--out", "{audit}", "--resume"],
}  # fmt: skip
ODD: list[Any] = [
    None, True, -1, 0, 2**63, 10**30, 1e308, [], {}, [[]], "", "x" * 5000, *NASTY,
]  # fmt: skip
Change = Callable[[Path, random.Random], None]


def change_json(directory: Path, chance: random.Random) -> None:
    """Put something odd for one to three values, anywhere in a JSON file."""
    path = directory / chance.choice(["audit.json", "audit.json", "manifest.json"])
    content = json.loads(path.read_bytes())
    for _ in range(chance.randint(1, 3)):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = chance.choice(keys)
            inside = place[key]
            if isinstance(inside, dict | list) and inside and chance.random() < 0.9:
                place = inside
                continue
            how = chance.random()
            if how < 0.15:
                del place[key]
            elif how < 0.3 and isinstance(place, list):
                place.append(copy.deepcopy(inside))
            elif isinstance(inside, int | float) and how < 0.6:
                place[key] = chance.choice([-1, 0, 1e300, 2**63, 10**30, inside * 1000])
            else:
                place[key] = chance.choice(ODD)
            break
    text = json.dumps(content)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")


def change_table(directory: Path, chance: random.Random) -> None:
    """Change cells, the rows or the columns of a table."""
    path = directory / chance.choice(["mislabels.parquet", "contamination.parquet"])
    frame = pd.read_parquet(path)
    name = chance.choice(list(frame.columns))
    how = chance.randrange(5)
    if how == 0:
        frame = frame.drop(columns=[name])
    elif how == 1:
        frame = frame.iloc[: chance.randrange(len(frame) + 1)]
    elif how == 2:
        frame[name] = [chance.choice(["", "a", "b", "\x1b[2J", None]) for _ in range(len(frame))]
    elif how == 3:
        frame[name] = chance.choice([float("nan"), -1.0, 2.0**63, float("inf")])
    else:
        frame = pd.concat([frame, frame], ignore_index=True)
    frame.to_parquet(path, index=False)


def change_bytes(directory: Path, chance: random.Random) -> None:
    """Flip bytes of a file, or cut it short."""
    path = chance.choice(sorted(path for path in directory.iterdir() if path.is_file()))
    chance.choice([flip_bytes, truncate])(path, chance)


def change_kind(directory: Path, chance: random.Random) -> None:
    """Let a file be missing, a folder, or a link that leads elsewhere."""
    path = directory / chance.choice(
        ["audit.json", "manifest.json", "mislabels.parquet", "contamination.parquet", "report.html",
         "remediation.jsonl", "sample.json", "work", "set_aside.parquet"]
    )  # fmt: skip
    path.unlink(missing_ok=True)
    how = chance.randrange(4)
    if how == 0:
        path.mkdir()
    elif how == 1:
        path.symlink_to(directory.parent / "elsewhere")
    elif how == 2:
        path.symlink_to(directory.parent / "elsewhere" / "mine.txt")


def add_file(directory: Path, chance: random.Random) -> None:
    """Put a file there that is no audit's, or decisions that nobody made."""
    name = chance.choice(["notes.txt", "remediation.jsonl", "sample.json", "work", ".x.1.tmp"])
    lines = [
        json.dumps({
            "row_id": "row-1", "decision": "relabel", "reviewer": "r", "date": "", "comment": "",
            "before": "a", "after": chance.choice(["../../x", "b", 10**30, None]),
        }),
        json.dumps(chance.choice(ODD)),
        chance.choice(NASTY),
    ]  # fmt: skip
    content = chance.choice(lines).encode("utf-8", "surrogatepass")
    with contextlib.suppress(OSError):
        (directory / name).write_bytes(content)


CHANGES: list[Change] = [
    change_json,
    change_json,
    change_table,
    change_bytes,
    change_kind,
    add_file,
]


def altered(count: int, seed: int) -> int:
    """Run commands on `count` altered directories; return how many were lost."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, alarm():
        folder = Path(name)
        write_project(folder / "project", "csv")
        places = {"yaml": folder / "project" / "audit.yaml", "whole": folder / "whole"}
        ended = call(["run", str(places["yaml"]), "--out", str(places["whole"])])
        if ended.code != 0:
            raise SystemExit(f"the audit to alter: exit code {ended.code}: {ended.message}")
        sampled = folder / "sampled.csv"
        call(["sample", str(places["whole"]), "--rows", "12", "--out", str(sampled)])
        rows = pd.read_csv(sampled, dtype=str, keep_default_na=False)
        rows.assign(decision="keep").to_csv(sampled, index=False)
        call(["certify", str(places["whole"])])
        for number in range(count):
            case = folder / "case"
            shutil.copytree(places["whole"], case / "audit")
            (case / "made").mkdir()
            (case / "elsewhere").mkdir()
            (case / "elsewhere" / "mine.txt").write_text("mine")
            decisions = "row_id,decision,new_label\nrow-1,relabel,a\nrow-2,keep,\n"
            (case / "decisions.csv").write_text(decisions)
            shutil.copy(folder / "sampled.csv", case / "sampled.csv")
            change = chance.choice(CHANGES)
            change(case / "audit", chance)
            command = chance.choice(list(COMMANDS))
            drawn[f"{change.__name__}, {command}"] += 1
            here = {**places, "audit": case / "audit", "made": case / "made",
                    "decisions": case / "decisions.csv",
                    "sampled": case / "sampled.csv"}  # fmt: skip
            before = tree(folder, case)
            ended = call([word.format(**here) for word in COMMANDS[command]])
            outcome = judged(ended)
            if tree(folder, case) != before:
                outcome = "lost: wrote elsewhere"
            outcomes[outcome] += 1
            if outcome.startswith("lost"):
                kept = Path(tempfile.gettempdir()) / f"dataaudit-directory-{seed}-{number}"
                shutil.copytree(case, kept, dirs_exist_ok=True, symlinks=True)
                told = f"{outcome}: {command} after {change.__name__}, kept in {kept}"
                print(f"{told}: {ended.message}", file=sys.stderr)
            shutil.rmtree(case)
            sys.modules.pop("faulty_model", None)
    lost = sum(found for outcome, found in outcomes.items() if outcome.startswith("lost"))
    print(f"altered: tried {count}, survived {count - lost}, lost {lost}; {dict(outcomes)}")
    print("drawn:", dict(sorted(drawn.items())))
    return lost


@dataclass(frozen=True)
class Writing:
    """A command that writes: its words, a file by which to tell what it wrote, and on what."""

    words: list[str]
    written: str
    task: str = "classification"
    whole: bool = False
    """Whether it refuses a file that is there: what a killed one left has to be whole then."""


WRITINGS = {
    "relabel": Writing(COMMANDS["relabel"], "{made}/new.csv", whole=True),
    "fix": Writing(COMMANDS["fix"], "{made}/fixed/train.csv", whole=True),
    "certify": Writing(COMMANDS["certify"], "{audit}/certificate.json"),
    "compare": Writing([*COMMANDS["compare"], "--overwrite"], "{made}/compared/compare.json"),
    "run": Writing(["run", "{yaml}", "--out", "{plain}", "--overwrite"],
                   "{plain}/mislabels.parquet"),
    "run --resume": Writing(["run", "{yaml}", "--out", "{made}/audit", "--resume"],
                            "{made}/audit/mislabels.parquet"),
    "verify": Writing(["verify", "{yaml}", "--out", "{made}", "--overwrite", *SHORT["verify"]],
                      "{made}/points.parquet"),
    "memorization": Writing(["memorization", "{yaml}", "--out", "{made}", "--overwrite",
                             *SHORT["memorization"]], "{made}/memorization.parquet"),
    "influence": Writing(["influence", "{yaml}", "--out", "{made}/influence", "--overwrite",
                          *SHORT["influence"]],
                         "{made}/influence/scores/groups-000000/rows-000000000000.parquet"),
    "trace": Writing(["trace", "{yaml}", "--out", "{made}/traced", "--resume"],
                     "{made}/traced/contamination.parquet", task="causal-lm"),
    "init": Writing(["init", "{bare}"], "{bare}/audit.yaml", whole=True),
    "report": Writing(["report", "{audit}"], "{audit}/report.html"),
    "export csv": Writing(COMMANDS["export csv"], "{made}/rows.csv", whole=True),
    "export label-studio": Writing(COMMANDS["export label-studio"], "{made}/r.json", whole=True),
    "export croissant": Writing(COMMANDS["export croissant"], "{made}/r.json", whole=True),
    "export sarif": Writing(COMMANDS["export sarif"], "{made}/r.sarif", whole=True),
    "sample": Writing(COMMANDS["sample"], "{made}/sample.csv", whole=True),
    "estimate": Writing(["estimate", "{audit}", "--decisions", "{sample}"],
                        "{audit}/estimate.json"),
}  # fmt: skip


def killed(count: int, seed: int) -> int:
    """Kill `count` commands, give them again, and return how many were lost."""
    torch.set_num_threads(1)
    chance = random.Random(seed)
    drawn: Counter[str] = Counter()
    lost = 0
    with tempfile.TemporaryDirectory() as name, alarm():
        folder = Path(name)
        for task in ("classification", "causal-lm"):
            write_project(folder / task, "csv", task)
            path = folder / task / "audit.yaml"
            # A study takes steps of its own, and refuses those of an audit.
            path.write_text(path.read_text().replace("mirror: {steps: 2}\n", ""))
        case = folder / "case"
        here = {"whole": folder / "whole", "audit": case / "audit", "made": case / "made",
                "bare": case / "bare", "plain": case / "plain",
                "decisions": folder / "decisions.csv",
                "sample": folder / "sample.csv"}  # fmt: skip
        here["decisions"].write_text("row_id,decision,new_label\nrow-1,relabel,a\nrow-2,keep,\n")
        for words in (
            ["run", str(folder / "classification" / "audit.yaml"), "--out", str(here["whole"])],
            ["sample", str(here["whole"]), "--rows", "12", "--out", str(here["sample"])],
        ):
            ended = call(words)
            if ended.code != 0:
                raise SystemExit(f"{words[0]}: exit code {ended.code}: {ended.message}")
            if words[0] == "run":
                # An audit whose rows a reviewer has is replaced by none.
                shutil.copytree(here["whole"], folder / "plain")
        rows = pd.read_csv(here["sample"], dtype=str, keep_default_na=False)
        rows.assign(decision="keep").to_csv(here["sample"], index=False)
        expected: dict[str, tuple[int, bytes]] = {}
        moments = Moments(case)
        sys.addaudithook(moments.see)
        tried = 0
        while tried < count:
            command = list(WRITINGS)[tried % len(WRITINGS)]
            writing = WRITINGS[command]
            places = {**here, "yaml": folder / writing.task / "audit.yaml"}
            words = [word.format(**places) for word in writing.words]
            target = Path(writing.written.format(**places))
            shutil.copytree(here["whole"], case / "audit")
            shutil.copytree(folder / "plain", case / "plain")
            (case / "made").mkdir()
            shutil.copytree(folder / "classification", case / "bare")
            (case / "bare" / "audit.yaml").unlink()
            if command not in expected:
                moments.count = 0
                ended = call(words)
                if ended.code != 0:
                    raise SystemExit(f"{command}: exit code {ended.code}: {ended.message}")
                expected[command] = moments.count, settled(target)
            elif dies(words, moments, chance.randint(1, expected[command][0]), chance):
                tried += 1
                drawn[command] += 1
                done = writing.whole and target.exists()
                ended = Ending(0, "", "") if done else call(words)
                if ended.code != 0 or settled(target) != expected[command][1]:
                    lost += 1
                    print(f"lost: {command}: {ended.code}: {ended.message}", file=sys.stderr)
            shutil.rmtree(case)
            sys.modules.pop("faulty_model", None)
    print(f"killed: tried {tried}, survived {tried - lost}, lost {lost}; {dict(drawn)}")
    return lost


def settled(path: Path) -> bytes:
    """Return what a file says, but for the date at which it was written."""
    return re.sub(rb'"date": "[^"]*"', b"", path.read_bytes()) if path.is_file() else b""


@dataclass
class Moments:
    """The moments at which this process writes inside a folder, and the one at which it dies."""

    folder: Path
    count: int = 0
    last: int = 0
    """Of a process that is killed, the moment; 0 where none is."""
    later: float = 0.0
    """Seconds from then to the kill."""

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count what Python's audit events tell (`sys.addaudithook`), and end this process."""
        writes = event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate")
        if event == "open" and isinstance(arguments[2], int):
            writes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and str(self.folder) in str(arguments[0]):
            self.count += 1
            if self.count == self.last:
                if self.later:
                    threading.Timer(self.later, os.kill, (os.getpid(), signal.SIGKILL)).start()
                else:
                    os.kill(os.getpid(), signal.SIGKILL)


def dies(words: list[str], moments: Moments, last: int, chance: random.Random) -> bool:
    """Run a command in a forked process, killed at a moment; return whether it was."""
    later = chance.choice([0.0, 0.0, 0.001, 0.1])
    child = os.fork()
    if child == 0:
        moments.count, moments.last, moments.later = 0, last, later
        with contextlib.suppress(BaseException):
            call(words)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def tree(folder: Path, case: Path) -> dict[str, bytes]:
    """Return all files that no command was told to write."""
    return {
        str(path): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not path.is_relative_to(case / "made")
        and not path.is_relative_to(case / "audit")
        and "__pycache__" not in path.parts
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["altered", "killed"])
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    lost = (killed if chosen.what == "killed" else altered)(chosen.count, chosen.seed)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

"""Faults by the hundred: kills, worker kills and malformed inputs; prints tried, survived, lost.

    python benchmarks/faults.py kills 20
    python benchmarks/faults.py inputs 10000
    python benchmarks/faults.py all

`kills`: an audit of the sample data is killed (SIGKILL) at a random moment, up to three times in a
row, and resumed; it survives when its tables are those of an undisturbed audit, byte for byte.

`inputs`: a small project of the user's own (rows, settings, weights, code), of any task and in any
format, is spoiled at random, or its finished audit, or the reviewer's decisions, and one of the
commands is given in this process. It survives when that ends with exit code 0 or 1, what it should
have written and no other word on stderr, or with exit code 2 and one message of at most 2,000
characters; it is lost on a traceback, a hang (60 seconds of the processor's time, or ten minutes),
more or less than one message, a warning of another library, a wrong success, or a file that it was
not told to write.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
import torch._dynamo  # What every optimizer imports: once here, and not in each child of `kills`.
import yaml
from fault_directories import CHANGES
from fault_judging import SHORT, Ending, alarm, call, judged
from fault_projects import TABLES, TASKS, read_table, rows_at, write_project
from fault_spoils import spoil, spoil_decisions

from dataaudit.datasets.images import ENDINGS
from dataaudit.resources import resource_folder
from dataaudit.scoring import local
from dataaudit.stages.auditing import run_file

RESULT_TABLES = ("mislabels.parquet", "contamination.parquet")


def kills(count: int, seed: int, audit_yaml: Path) -> int:
    """Kill and resume `count` audits; return how many were lost."""
    generator = random.Random(seed)
    # Nothing here may start torch's threads: children are forked from this process.
    local._ROWS_PER_BLOCK = 64
    lost = tried = blows = 0
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        _run_in_child(audit_yaml, Path(folder) / "undisturbed", None)
        duration = time.monotonic() - start
        expected = [(Path(folder) / "undisturbed" / name).read_bytes() for name in RESULT_TABLES]
        while tried < count:
            out = Path(folder) / f"killed-{tried}"
            hit = False
            for _ in range(generator.randint(1, 3)):
                if (out / "manifest.json").exists():
                    break
                died = _run_in_child(audit_yaml, out, generator.uniform(0.05, 0.98) * duration)
                hit, blows = hit or died, blows + died
            if not (out / "manifest.json").exists() or (out / "work").exists():
                _run_in_child(audit_yaml, out, None)
            if not hit:
                shutil.rmtree(out)
                continue
            tried += 1
            same = [(out / name).is_file() and (out / name).read_bytes() for name in RESULT_TABLES]
            if same != expected or (out / "work").exists():
                lost += 1
                print(f"lost: {out.name}", file=sys.stderr)
            shutil.rmtree(out)
    print(f"kills: tried {tried} ({blows} kills), survived {tried - lost}, lost {lost}")
    return lost


def _run_in_child(audit_yaml: Path, out: Path, seconds: float | None) -> bool:
    """Audit in a forked process, killed after `seconds`; return whether it was."""
    child = os.fork()
    if child == 0:
        try:
            torch.set_num_threads(1)
            run_file(audit_yaml, out, resume=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if os.waitpid(child, os.WNOHANG)[0]:
                return False
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return seconds is not None


AUDITS = ("run", "plan", "init", "verify", "memorization", "influence")
OF_TEXTS = ("run", "plan", "init", "trace")
WITHOUT_A_HEAD = ("regression", "preference", "instruction", "segmentation", "boxes")
"""Targets are rescaled behind the last layer, a pair has two rewards, an answer is read twice, and
neither pixels nor boxes have a linear layer."""
RESULTS = {"run": "report.html", "trace": "contamination.parquet", "verify": "verify.json",
           "memorization": "memorization.json", "influence": "influence.json"}  # fmt: skip
AFTERWARDS = {
    "report": (["report", "{audit}"], "{audit}/report.html"),
    "review": (["review", "{audit}"], None),
    "export csv": (["export", "{audit}", "--to", "csv", "--only", "all", "--out", "{made}/r.csv"],
                   "{made}/r.csv"),
    "export label-studio": (["export", "{audit}", "--to", "label-studio", "--out", "{made}/r.json"],
                            "{made}/r.json"),
    "export croissant": (["export", "{audit}", "--to", "croissant", "--out", "{made}/c.json"],
                         "{made}/c.json"),
    "export sarif": (["export", "{audit}", "--to", "sarif", "--out", "{made}/r.sarif"],
                     "{made}/r.sarif"),
    "fix": (["fix", "{audit}", "--decisions", "{decisions}", "--out", "{made}/fixed"],
            "{made}/fixed/changes.jsonl"),
    "certify": (["certify", "{audit}"], "{audit}/certificate.json"),
    "certify --check": (["certify", "{audit}", "--check"], None),
    "relabel": (["relabel", "{audit}", "--decisions", "{decisions}", "--out", "{made}/{new}"],
                "{made}/{new}"),
    "compare": (["compare", "{whole}", "{audit}", "--out", "{made}/compared"],
                "{made}/compared/compare.json"),
    "sample": (["sample", "{audit}", "--rows", "5", "--out", "{made}/sample.csv"],
               "{made}/sample.csv"),
    "estimate": (["estimate", "{audit}", "--decisions", "{sample}"], "{audit}/estimate.json"),
}  # fmt: skip
"""Commands on a finished audit, and what they write."""


def inputs(count: int, seed: int, prepared: Path | None = None) -> int:
    """Give commands `count` spoiled projects in this process; return how many were lost.

    What is prepared once, the projects and their audits, is kept in `prepared` for further seeds.
    """
    torch.set_num_threads(1)
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    drawn: dict[str, Counter[str]] = {name: Counter() for name in DRAWN}
    with tempfile.TemporaryDirectory() as name, alarm():
        folder = prepared or Path(name)
        for number in range(count):
            case = Case.draw(chance)
            outcome, detail, spoiled = case.run(folder, chance)
            outcomes[outcome] += 1
            told = (case.task, case.form, case.command, " and ".join(sorted(spoiled)) or "nothing")
            for kind, value in zip(DRAWN, told, strict=True):
                drawn[kind][value] += 1
            if outcome.startswith("lost"):
                kept = Path(tempfile.gettempdir()) / f"dataaudit-lost-{seed}-{number}"
                shutil.copytree(folder / "case", kept, dirs_exist_ok=True, symlinks=True,
                                ignore=_no_pipes)  # fmt: skip
                print(f"{outcome}: {' '.join(told)}, kept in {kept}: {detail[:3000]}",
                      file=sys.stderr, flush=True)  # fmt: skip
            shutil.rmtree(folder / "case")
            sys.modules.pop("faulty_model", None)
    lost = sum(found for outcome, found in outcomes.items() if outcome.startswith("lost"))
    print(f"inputs: tried {count}, survived {count - lost}, lost {lost}; {dict(outcomes)}")
    for kind, counted in drawn.items():
        print(f"{kind}: {dict(counted.most_common())}")
    print(f"{time.process_time():.0f} s of CPU, seed {seed}")
    return lost


DRAWN = ("task", "format", "command", "spoiled")


@dataclass(frozen=True)
class Case:
    """A project in one format, and a command on it."""

    task: str
    form: str
    command: str

    @classmethod
    def draw(cls, chance: random.Random) -> Case:
        """Draw task, format and command."""
        task = chance.choice(list(TASKS))
        form = chance.choice(TASKS[task].formats)
        audits = OF_TEXTS if task == "causal-lm" else AUDITS
        command = chance.choice(["run", *audits] if chance.random() < 0.6 else list(AFTERWARDS))
        return cls(task, form, command)

    def run(self, folder: Path, chance: random.Random) -> tuple[str, str, set[str]]:
        """Spoil the project in `folder / "case"` and run the command on it.

        Returns
        -------
        What came of it, what was said, and what was spoiled.
        """
        case = folder / "case"
        project = case / "project"
        whole = folder / f"{self.task}-{self.form}"
        if not whole.exists():
            self._prepare(case, whole)
        shutil.copytree(whole, case)
        for place in (case / "made", case / "elsewhere"):
            place.mkdir()
        (case / "elsewhere" / "mine.txt").write_text("mine")
        audit = case / "audit"
        spoiled = set()
        for _ in range(chance.choice([0, *[1] * 12, *[2] * 5, 3, 3])):
            if self.command in AUDITS or self.command == "trace" or chance.random() < 0.3:
                spoiled.add(spoil(project, self.form, chance))
            elif self.command in ("relabel", "fix", "estimate") and chance.random() < 0.5:
                name = "sample.csv" if self.command == "estimate" else "decisions.csv"
                # Of a generative model nothing is decided, and there is no such file; and where an
                # earlier fault left nothing to read, that fault is enough.
                with contextlib.suppress(OSError, ValueError, LookupError):
                    spoil_decisions(case / name, chance)
                spoiled.add("decisions")
            else:
                with contextlib.suppress(OSError, ValueError, LookupError):
                    chance.choice(CHANGES)(audit, chance)
                spoiled.add("run directory")
        if self.command in AFTERWARDS:
            words, target = AFTERWARDS[self.command]
            new = f"new{rows_at(Path(), 'x', self.form).name[1:]}"
            places = {"audit": audit, "whole": whole / "audit", "made": case / "made", "new": new,
                      "decisions": case / "decisions.csv",
                      "sample": case / "sample.csv"}  # fmt: skip
            arguments = [word.format(**places) for word in words]
            expected = None if target is None else Path(target.format(**places))
        else:
            arguments, expected = self._audit(project, case / "made" / "out")
        before = tree(case)
        ended = call(arguments)
        outcome, detail = judged(ended), ended.message
        if outcome == "done":
            outcome, detail = self._checked(project, case / "made" / "out", expected, ended)
        elif outcome == "refused" and not spoiled and self.possible():
            outcome = "lost: refused what nobody spoiled"
        if tree(case) != before and self.command != "init":
            outcome = "lost: wrote elsewhere"
        return outcome, detail, spoiled

    def possible(self) -> bool:
        """Whether the command can work on such a project at all."""
        if self.command == "init":
            return True
        # Packed rows are not written; names of pictures are relative to their own folder.
        if self.form in ("shards", "parts", "csv.gz", "json", "paths") and self.command in (
            "relabel",
            "fix",
        ):
            return False
        if self.task == "causal-lm":
            return self.command in ("run", "trace", "report", "review")
        if self.command == "memorization":
            return self.task in ("classification", "pictures")
        if self.command == "verify":
            return self.task in ("classification", "pictures", "regression")
        return True

    def _audit(self, project: Path, out: Path) -> tuple[list[str], Path | None]:
        settings = project / "audit.yaml"
        if self.command == "init":
            settings.unlink(missing_ok=True)
            return ["init", str(project)], settings
        if self.command == "plan":
            return ["plan", str(settings)], None
        if self.command in ("memorization", "influence", "verify") and settings.is_file():
            # Which take steps of their own, and refuse those of an audit.
            content = settings.read_bytes()
            settings.write_bytes(content.replace(b"mirror: {steps: 2}\n", b""))
        further = SHORT.get(self.command, [])
        if self.command == "influence" and self.task in WITHOUT_A_HEAD:
            further = []
        return [self.command, str(settings), "--out", str(out), *further], out / RESULTS[
            self.command
        ]

    def _prepare(self, case: Path, whole: Path) -> None:
        """Write the project, audit it, and decide some of its rows."""
        write_project(case / "project", self.form, self.task)
        audit = case / "audit"
        ended = call(["run", str(case / "project" / "audit.yaml"), "--out", str(audit)])
        if ended.code != 0 and ended.code != 1:
            raise SystemExit(f"{self.task}, {self.form}: {ended.code}: {ended.message}")
        labels = audit / "mislabels.parquet"
        if labels.is_file():
            found = pd.read_parquet(labels).head(12).astype(object)
            decisions = found[["row_id", "suggested_label"]].assign(decision="relabel")
            decisions = decisions.rename(columns={"suggested_label": "new_label"})
            same = found.suggested_label.isna() | (found.suggested_label == found.given_label)
            decisions.loc[same, ["decision", "new_label"]] = ["keep", ""]
            decisions.to_csv(case / "decisions.csv", index=False)
        call(["sample", str(audit), "--rows", "12", "--out", str(case / "sample.csv")])
        if (case / "sample.csv").is_file():
            sample = pd.read_csv(case / "sample.csv", dtype=str, keep_default_na=False)
            sample.assign(decision="keep").to_csv(case / "sample.csv", index=False)
        call(["certify", str(audit)])
        shutil.move(case, whole)

    def _checked(
        self, project: Path, out: Path, expected: Path | None, ended: Ending
    ) -> tuple[str, str]:
        """Check what a command that ended well has left."""
        if expected is None:
            return ("done", "") if ended.out else ("lost: a success without a word", "")
        if not expected.exists():
            return "lost: wrong success", f"there is no {expected}"
        if ended.code == 1 and self.command != "run":
            return "lost: exit code 1 without a gate", ended.message
        if self.command == "init":
            try:
                yaml.safe_load(expected.read_text(encoding="utf-8"))
                if (project / "my_model.py").is_file():
                    ast.parse((project / "my_model.py").read_text(encoding="utf-8"))
            except (ValueError, SyntaxError, yaml.YAMLError) as error:
                return "lost: wrote what cannot be read", str(error)
        if self.command == "run" and self.task != "causal-lm":
            return self._fits(project, out)
        return "done", ""

    def _fits(self, project: Path, out: Path) -> tuple[str, str]:
        """Check an audit against the rows as another reader finds them."""
        found = pd.read_parquet(out / "mislabels.parquet")
        settings = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        path = Path(settings["settings"]["train"]["path"])
        try:
            if self.form in TABLES:
                rows = len(read_table(path, self.form))
            elif self.form == "folder":
                rows = sum(each.is_file() for each in path.rglob("*.[pP][nN][gG]"))
                rows += sum(each.is_file() for each in path.rglob("*.jfif"))
            elif self.form == "paths":
                rows = len(read_table(path, "csv"))
            elif self.form == "coco":
                rows = len(json.loads(path.read_text(encoding="utf-8"))["images"])
            elif self.form == "masks":
                rows = sum(
                    each.suffix.lower() in ENDINGS for each in (path / "images").rglob("*.*")
                )
            else:
                rows = len(found)
        except Exception as error:
            return "done, and pandas cannot read it", str(error)
        judged_rows = found["probability"].notna()
        right = found.loc[judged_rows, "probability"].between(0, 1).all()
        if len(found) != rows or not right:
            return "lost: wrong success", f"{len(found)} lines for {rows} rows"
        return "done", ""


def _no_pipes(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if (Path(folder) / name).is_fifo()}


def tree(case: Path) -> dict[str, bytes]:
    """Return all files that no command was told to write."""
    ours = (case / "made", case / "audit")
    return {
        str(path): path.read_bytes()
        for path in case.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not any(path.is_relative_to(place) for place in ours)
        and "__pycache__" not in path.parts
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["kills", "inputs", "all"])
    parser.add_argument("count", type=int, nargs="?")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--prepared", type=Path, help="where `inputs` keeps its audits; a folder")
    parser.add_argument("--audit", type=Path, help="what `kills` audits, not sample_data")
    chosen = parser.parse_args()
    audit_yaml = chosen.audit or resource_folder("sample_data") / "audit.yaml"
    lost = 0
    if chosen.what in ("kills", "all"):
        lost += kills(chosen.count or 20, chosen.seed, audit_yaml)
    if chosen.what in ("inputs", "all"):
        lost += inputs(chosen.count or 10_000, chosen.seed, chosen.prepared)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

"""Faults by the hundred: kills, worker kills and malformed inputs; prints tried, survived, lost.

    python benchmarks/faults.py kills 20
    python benchmarks/faults.py inputs 10000
    python benchmarks/faults.py all

`kills`: an audit of the sample data is killed (SIGKILL) at a random moment, up to three times in a
row, and resumed; it survives when its tables are those of an undisturbed audit, byte for byte.

`inputs`: a small project of the user's own (table, settings, weights, model code) is spoiled at
random, and one of the commands that load it (run, verify, memorization, influence) is run in this
process. It survives when that ends with exit code 0 or 1 and what fits the rows, or with exit code
2 and one message of at most 2,000 characters; it is lost on a traceback, a hang of over 60 seconds,
more or less than one message, or a wrong success.
"""

from __future__ import annotations

import argparse
import contextlib
import io
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
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dataaudit import cli
from dataaudit.resources import resource_folder
from dataaudit.scoring import local
from dataaudit.stages.auditing import run_file

TABLES = ("mislabels.parquet", "contamination.parquet")
LONGEST = 60


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
        expected = [(Path(folder) / "undisturbed" / name).read_bytes() for name in TABLES]
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
            same = [(out / name).is_file() and (out / name).read_bytes() for name in TABLES]
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


MODEL = """
import torch
from torch import nn

def build():
    return nn.Linear(2, 2)

def preprocess(frame):
    return torch.tensor(frame[["x", "y"]].to_numpy(), dtype=torch.float32)
"""

YAML = """name: faults
model: {factory: faulty_model:build, weights: model.safetensors}
preprocess: faulty_model:preprocess
classes: [a, b]
train: {path: train.%s, label: kind, id: id}
held_out: {path: val.%s, label: kind}
suspects: {path: test.%s, label: kind, id: id}
mirror: {steps: 2}
"""

NASTY = [
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-0", "1,5", "0x10", "٣", "9" * 40, "null",
    "None", "true", "no", "\x00", "\x1b[2J", "\ud7ff", "\u202e", "é" * 300, "=1+1", '"', "'", "\n",
    "\r", "\t", ",", ";", "a\nb", "<script>", "{{7*7}}", "%s%n", "../../etc/passwd", "/dev/zero",
    "b ", "A", "ａ", "1", "[]", "{}", "!!python/object:os.system", "&a *a", "~", "2001-01-01",
]  # fmt: skip


def table(rows: int, seed: int) -> pd.DataFrame:
    """Return a small table of two classes."""
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(rows, 2)).round(4)
    frame = pd.DataFrame(values, columns=["x", "y"])
    frame.insert(0, "id", [f"row-{number}" for number in range(rows)])
    frame["kind"] = np.where(values.sum(axis=1) + generator.normal(size=rows) / 3 > 0, "b", "a")
    return frame


def write_project(folder: Path, ending: str) -> None:
    """Write a project of the user's own, whose tables are of one kind of file."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    for number, (name, rows) in enumerate((("train", 40), ("val", 30), ("test", 20))):
        frame = table(rows, number)
        path = folder / f"{name}.{ending}"
        if ending == "csv":
            frame.to_csv(path, index=False)
        elif ending == "jsonl":
            path.write_text(frame.to_json(orient="records", lines=True), encoding="utf-8")
        else:
            frame.to_parquet(path, index=False)
    (folder / "faulty_model.py").write_text(MODEL, encoding="utf-8")
    (folder / "audit.yaml").write_text(YAML % (ending, ending, ending), encoding="utf-8")
    # A model that knows the classes: an audit refuses one that is worse than chance.
    weights = {"weight": torch.tensor([[-2.0, -2.0], [2.0, 2.0]]), "bias": torch.zeros(2)}
    save_file(weights, folder / "model.safetensors")


def flip_bytes(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 8)):
        if content:
            content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def truncate(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def insert(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    place = chance.randrange(len(content) + 1)
    piece = chance.choice(NASTY).encode("utf-8", "surrogatepass") * chance.randint(1, 3)
    path.write_bytes(content[:place] + piece + content[place:])


def shuffle_pieces(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    cuts = sorted(chance.randrange(len(content) + 1) for _ in range(3))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    chance.shuffle(pieces)
    path.write_bytes(b"".join(pieces))


def noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(chance.randrange(2000)))


def spoil_value(path: Path, chance: random.Random) -> None:
    """Put something nasty in one field, or a row or a column too many or too few."""
    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
        column = chance.choice(list(frame.columns))
        values = frame[column].astype(object)
        row = chance.randrange(len(frame))
        values.iloc[row] = chance.choice(
            [None, float("nan"), float("inf"), chance.choice(NASTY), values.iloc[row - 1]]
        )
        if any(isinstance(value, str) for value in values):
            values = values.map(lambda value: value if value is None else str(value))
        frame[column] = values
        if chance.random() < 0.2:
            frame = frame.drop(columns=[chance.choice(list(frame.columns))])
        frame.to_parquet(path, index=False)
        return
    lines = path.read_text(encoding="utf-8").split("\n")
    row = chance.randrange(len(lines))
    if path.suffix == ".jsonl" and lines[row]:
        record = json.loads(lines[row])
        key = chance.choice([*record, chance.choice(NASTY)])
        record[key] = chance.choice([None, [], {}, True, 10**30, 1.5, *NASTY])
        lines[row] = json.dumps(record)
    else:
        fields = lines[row].split(",")
        fields[chance.randrange(len(fields))] = chance.choice(NASTY)
        lines[row] = ",".join(fields)
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


def spoil_settings(path: Path, chance: random.Random) -> None:
    """Change one value or key of audit.yaml to something else."""
    lines = path.read_text(encoding="utf-8").split("\n")
    extra = [
        f"batch_size: {chance.choice(NASTY)}",
        f"mirror: {{steps: {chance.choice(['0', '-1', '1e3', 'x', '2'])}}}",
        f"gates: {{mislabel_rate: {chance.choice(NASTY)}}}",
        f"flags: {{budget: {chance.choice(['0', '3', '1000000', 'no'])}}}",
        f"bad_rows: {{largest_share: {chance.choice(['0.5', '1', '2', '-1', 'x'])}}}",
        f"engine: {chance.choice(['local', 'spark', '{kind: local}', '7'])}",
        f"device: {chance.choice(['cpu', 'warp', 'cuda:99', '7', 'cpu:1', 'mps'])}",
        f"classes: [{chance.choice(NASTY)}, b]",
        f"{chance.choice(NASTY)}: {chance.choice(NASTY)}",
        "about: {licence: [1, 2]}",
        f"mirror: {{learning_rate: {chance.choice(['nan', '.inf', '1e30', '1e-3'])}}}",
        f"images: {{mean: [{chance.choice(['.nan', 'nan', '0.5'])}]}}",
        f"loss: {{class_weights: [1, {chance.choice(['.inf', '1e300', '2', '0'])}]}}",
        f"mirror: {{seed: 1, {chance.choice(['seed: 2', 'steps: 2', 'kind: head'])}}}",
        'name: "' + chance.choice(["\\ud800", "\\0", "\\x1b[2J", "x" * 5000]) + '"',
        f"ignore_label: {chance.choice(['9' * 30, '-100', 'a'])}",
        f"precision: {chance.choice(['bfloat16', 'float32', 'float8'])}",
        f"trace: {{top: {chance.choice(['3', '0', 'x'])}}}",
        f"gates: {{mislabel_rate: {chance.choice(['0.0', '1', '.nan'])}}}",
        "a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\n"
        "c: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\n"
        "e: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nabout: {purpose: [*e, *e, *e, *e]}",
        "about: &a {purpose: [*a]}",
        "".join(f"key_{number}: 1\n" for number in range(chance.choice([30, 3000]))),
        f"train: {{path: {chance.choice(NASTY)}}}",
    ]
    if chance.random() < 0.5:
        lines.append(chance.choice(extra))
    else:
        row = chance.randrange(len(lines))
        words = lines[row].split(" ")
        words[chance.randrange(len(words))] = chance.choice(NASTY)
        lines[row] = " ".join(words)
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


def spoil_code(path: Path, chance: random.Random) -> None:
    """Let the user's own code end the program, raise, print, or return something odd."""
    ends = ["exit(0)", "sys.exit(1)", "os._exit(0)", "raise KeyboardInterrupt", "1 / 0",
            "raise MemoryError", "raise OSError(28, 'full')", "print('hello')", "return None",
            "return 'x'", "raise StopIteration", "input()"]  # fmt: skip
    line = chance.choice(["def build():", "def preprocess(frame):"])
    code = path.read_text(encoding="utf-8").replace(line, f"{line}\n    {chance.choice(ends)}")
    path.write_text(f"import os\nimport sys\n{code}", encoding="utf-8")


ANY_FILE: list[Callable[[Path, random.Random], None]] = [
    flip_bytes, truncate, insert, shuffle_pieces, noise,
]  # fmt: skip


class Hang(BaseException):
    pass


def inputs(count: int, seed: int) -> int:
    """Audit `count` spoiled projects in this process; return how many were lost."""
    torch.set_num_threads(1)
    generator = random.Random(seed)
    outcomes: Counter[str] = Counter()
    drawn: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, alarm():
        folder = Path(name)
        for ending in ("csv", "jsonl", "parquet"):
            write_project(folder / ending, ending)
        for number in range(count):
            ending = generator.choice(["csv", "jsonl", "parquet"])
            project = folder / "project"
            shutil.copytree(folder / ending, project)
            for _ in range(generator.choice([1, 1, 1, 2, 3])):
                spoil(project, ending, generator)
            command = generator.choice(["run", "run", *OTHERS])
            outcome, detail = judge(project, ending, command)
            outcomes[outcome] += 1
            drawn[f"{command}, {ending}"] += 1
            if outcome.startswith("lost"):
                kept = Path(tempfile.gettempdir()) / f"dataaudit-lost-{seed}-{number}"
                shutil.copytree(project, kept, dirs_exist_ok=True)
                print(f"{outcome}, kept in {kept}: {detail}", file=sys.stderr)
            shutil.rmtree(project)
            sys.modules.pop("faulty_model", None)
    lost = sum(found for outcome, found in outcomes.items() if outcome.startswith("lost"))
    print(f"inputs: tried {count}, survived {count - lost}, lost {lost}; {dict(outcomes)}")
    print("drawn:", dict(sorted(drawn.items())))
    return lost


def spoil(project: Path, ending: str, chance: random.Random) -> None:
    data = [f"{name}.{ending}" for name in ("train", "val", "test")]
    target = project / chance.choice(
        [*data, *data, "audit.yaml", "audit.yaml", "model.safetensors", "faulty_model.py"]
    )
    special = spoil_settings if target.suffix == ".yaml" else spoil_value
    if target.suffix == ".py":
        spoil_code(target, chance)
        return
    if target.suffix != ".safetensors" and chance.random() < 0.6:
        # Where an earlier fault left nothing to read, that fault is enough.
        with contextlib.suppress(Exception):
            special(target, chance)
    else:
        chance.choice(ANY_FILE)(target, chance)


OTHERS = {
    "verify": ["--groups", "4", "--repeats", "1", "--epochs", "1"],
    "memorization": ["--draws", "2", "--passes", "1"],
    "influence": ["--kind", "head"],
}
FINISHED = {"verify": "verify.json", "memorization": "memorization.json",
            "influence": "influence.json"}  # fmt: skip


def judge(project: Path, ending: str, command: str) -> tuple[str, str]:
    """Run a command on a project and say what came of it."""
    out, err = io.StringIO(), io.StringIO()
    if command in ("memorization", "influence"):
        # Which take steps of their own, and refuse those of an audit.
        path = project / "audit.yaml"
        content = path.read_bytes()
        path.write_bytes(content.replace(b"mirror: {steps: 2}\n", b""))
    arguments = ["dataaudit", command, str(project / "audit.yaml"), "--out", str(project / "out"),
                 *OTHERS.get(command, [])]  # fmt: skip
    before = sys.argv
    signal.alarm(LONGEST)
    try:
        sys.argv = arguments
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
        code: object = 0
    except SystemExit as stopped:
        code = stopped.code or 0
    except Hang:
        return "lost: hang", ""
    except BaseException:
        return "lost: traceback", traceback.format_exc()
    finally:
        signal.alarm(0)
        sys.argv = before
    # What the user's code prints is no message of dataaudit.
    message = err.getvalue().replace("hello\n", "")
    if len(message) > 2100:
        return "lost: a message without end", message[:3000]
    if code == 2:
        if message.count("dataaudit: ") < 1 or "Traceback" in message:
            return "lost: not one message", message
        lines = message.rstrip("\n").split("\n")
        if len(lines) > 1 and not all(map(belongs, lines[1:])):
            return "lost: not one message", message
        return "refused", message
    if code not in (0, 1):
        return f"lost: exit code {code}", message
    if command in FINISHED:
        finished = (project / "out" / FINISHED[command]).is_file()
        return ("done", "") if finished and code == 0 else ("lost: wrong success", message)
    return fits(project, ending)


def belongs(line: str) -> bool:
    """Whether a further line is one more setting, or says how to go on."""
    return line.startswith((" ", "What was finished is kept"))


def fits(project: Path, ending: str) -> tuple[str, str]:
    """Check a success against the rows as another reader finds them."""
    found = pd.read_parquet(project / "out" / "mislabels.parquet")
    settings = json.loads((project / "out" / "manifest.json").read_text(encoding="utf-8"))
    path = Path(settings["settings"]["train"]["path"])
    try:
        if path.suffix == ".csv":
            rows = len(pd.read_csv(path, dtype=str, keep_default_na=False))
        elif path.suffix == ".jsonl":
            rows = sum(bool(line.strip()) for line in path.read_bytes().split(b"\n"))
        else:
            rows = len(pd.read_parquet(path))
    except Exception as error:
        return "audited what pandas cannot read", str(error)
    judged = found["probability"].notna()
    if len(found) != rows or not found.loc[judged, "probability"].between(0, 1).all():
        return "lost: wrong success", f"{len(found)} lines for {rows} rows"
    return "audited", ""


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["kills", "inputs", "all"])
    parser.add_argument("count", type=int, nargs="?")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--audit", type=Path, help="what `kills` audits, not sample_data")
    chosen = parser.parse_args()
    audit_yaml = chosen.audit or resource_folder("sample_data") / "audit.yaml"
    lost = 0
    if chosen.what in ("kills", "all"):
        lost += kills(chosen.count or 20, chosen.seed, audit_yaml)
    if chosen.what in ("inputs", "all"):
        lost += inputs(chosen.count or 10_000, chosen.seed)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())

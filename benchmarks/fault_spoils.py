"""How a user's project is spoiled: bytes, values, columns, pictures, settings, weights and code."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fault_projects import FOLDERS, SPLITS, TABLES, read_table, rows_at, write_table

NASTY = [
    "", " ", "nan", "NaN", "inf", "-inf", "1e999", "-0", "1,5", "0x10", "٣", "9" * 40, "null",
    "None", "true", "no", "\x00", "\x1b[2J", "\ud7ff", "\u202e", "é" * 300, "=1+1", '"', "'", "\n",
    "\r", "\t", ",", ";", "a\nb", "<script>", "{{7*7}}", "%s%n", "../../etc/passwd", "/dev/zero",
    "b ", "A", "ａ", "1", "[]", "{}", "!!python/object:os.system", "&a *a", "~", "2001-01-01",
]  # fmt: skip


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
        f"task: {chance.choice(['classification', 'ordinal', 'regression', 'multi-label'])}",
        f"mirror: {{effort: {chance.choice(['quick', 'none'])}, steps: 2}}",
        f"mirror: {{kind: head, steps: 2, parameters: {chance.choice(['last', '[x]', '[]'])}}}",
        f"flags: {{target_precision: {chance.choice(['0.01', '0.99', '1', 'x'])}}}",
        f"images: {{size: {chance.choice(['8', '4', '[8, 9]', '0', '99999'])}}}",
        f"model: {{factory: {chance.choice(['faulty_model:no', 'os:getcwd', 'x', 'no.py:x'])}}}",
        f"model: {{path: {chance.choice(['.', 'model.safetensors', '../..', '/'])}}}",
        f"preprocess: faulty_model:{chance.choice(['build', 'nothing', 'torch'])}",
        f"batch_size: {chance.choice(['1', '3', '100000'])}",
    ]
    if chance.random() < 0.6:
        new = chance.choice(extra)
        if chance.random() < 0.9:
            # In place of the same key, which may not stand there twice.
            key = new.partition(":")[0]
            lines = [line for line in lines if not line.startswith(f"{key}:")]
        lines.append(new)
    else:
        row = chance.randrange(len(lines))
        words = lines[row].split(" ")
        words[chance.randrange(len(words))] = chance.choice(NASTY)
        lines[row] = " ".join(words)
    path.write_text("\n".join(lines), encoding="utf-8", errors="surrogatepass")


def spoil_field(path: Path, chance: random.Random) -> None:
    """Put something nasty in one field of a text file, or a field too many or too few."""
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


def _cell(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    column = chance.choice(list(frame.columns))
    values = frame[column].astype(object)
    row = chance.randrange(len(frame))
    values.iloc[row] = chance.choice(
        [None, float("nan"), float("inf"), 1e300, chance.choice(NASTY), values.iloc[row - 1]]
    )
    if any(isinstance(value, str) for value in values):
        values = values.map(lambda value: value if value is None else str(value))
    return frame.assign(**{column: values})


def _column_gone(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    return frame.drop(columns=[chance.choice(list(frame.columns))])


def _column_more(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    name = chance.choice([*NASTY, "row_id", "label", "probability", "__index_level_0__"])
    value = chance.choice(["x", 1.5, None, True])
    return frame.assign(**{name: value})


def _column_renamed(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    return frame.rename(columns={chance.choice(list(frame.columns)): chance.choice(NASTY)})


def _columns_in_another_order(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    names = list(frame.columns)
    chance.shuffle(names)
    return frame[names]


def _other_type(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    column = chance.choice(list(frame.columns))
    values = frame[column]
    ways: list[Callable[[], Any]] = [
        lambda: values.astype(str),
        lambda: values.astype("category"),
        lambda: values.astype("string"),
        lambda: [[value] for value in values],
        lambda: [{"a": value} for value in values],
        lambda: [Decimal(place) for place in range(len(values))],
        lambda: pd.date_range("2001-01-01", periods=len(values)),
        lambda: [str(value).encode() for value in values],
        lambda: values.astype("float16"),
        lambda: values.astype("bool"),
        lambda: pd.Series(range(2**63, 2**63 + len(values)), dtype="uint64"),
        lambda: [None] * len(values),
    ]
    return frame.assign(**{column: chance.choice(ways)()})


def _other_rows(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    ways: list[Callable[[], pd.DataFrame]] = [
        lambda: frame[:0],
        lambda: frame[:1],
        lambda: frame[: chance.randrange(1, len(frame))],
        lambda: pd.concat([frame, frame], ignore_index=True),
        lambda: pd.concat([frame, frame[:1]], ignore_index=True),
        lambda: pd.concat([frame[:1]] * len(frame), ignore_index=True),
        lambda: frame.sample(frac=1, random_state=chance.randrange(1000)),
    ]
    return chance.choice(ways)()


def _labels(frame: pd.DataFrame, chance: random.Random) -> pd.DataFrame:
    if "kind" not in frame:
        return _cell(frame, chance)
    first = frame["kind"].iloc[0]
    ways: list[Callable[[Any], Any]] = [
        lambda value: first,
        lambda value: value if chance.random() < 0.9 else f"{value} ",
        lambda value: str(value).upper(),
        lambda value: unicodedata.normalize("NFD", f"é{value}"),
        lambda value: chance.choice(NASTY),
        lambda value: value if chance.random() < 0.9 else chance.choice(list(frame["kind"])),
        lambda value: value if chance.random() < 0.9 else None,
        lambda value: value * 2,
    ]
    return frame.assign(kind=frame["kind"].map(chance.choice(ways)))


FRAME_CHANGES: list[Callable[[pd.DataFrame, random.Random], pd.DataFrame]] = [
    _cell, _cell, _cell, _column_gone, _column_more, _column_renamed, _columns_in_another_order,
    _other_type, _other_rows, _labels, _labels,
]  # fmt: skip


def spoil_rows(path: Path, form: str, chance: random.Random) -> None:
    """Change cells, labels, rows or columns, and write them in the same format."""
    if form in ("csv", "jsonl") and chance.random() < 0.4:
        spoil_field(path, chance)
        return
    frame = chance.choice(FRAME_CHANGES)(read_table(path, form), chance)
    write_table(frame, path, form)


def spoil_coco(path: Path, chance: random.Random) -> None:
    """Change, drop or repeat an entry of a COCO file, or a value or key of one."""
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = content[chance.choice(["images", "annotations", "annotations", "categories"])]
    entry = chance.choice(entries)
    odd = [None, [], {}, True, -1, 10**30, 1.5, 1e300, *NASTY]
    how = chance.randrange(6)
    if how == 0:
        entries.remove(entry)
    elif how == 1:
        entries.append(entry if chance.random() < 0.5 else chance.choice(odd))
    elif how == 2:
        entry.pop(chance.choice(list(entry)))
    elif how == 3 and "bbox" in entry:
        entry["bbox"][chance.randrange(4)] = chance.choice(odd)
    elif how == 4:
        content[chance.choice([*content, *NASTY])] = chance.choice(odd)
    else:
        entry[chance.choice([*entry, "iscrowd"])] = chance.choice(odd)
    path.write_text(json.dumps(content), encoding="utf-8")


def spoil_pictures(path: Path, chance: random.Random) -> None:
    """Damage a picture, change its size, its mode or its name, or put something else there."""
    files = sorted(path.rglob("*.png"))
    file = chance.choice(files)
    from PIL import Image

    how = chance.randrange(9)
    if how < 2:
        chance.choice(ANY_FILE)(file, chance)
    elif how == 2:
        size = (chance.choice([1, 8, 300]), chance.choice([1, 8, 300]))
        Image.new(chance.choice(["L", "RGBA", "P", "1", "I;16", "LA"]), size).save(file)
    elif how == 3:
        name = chance.choice([n for n in NASTY if n and "/" not in n and "\0" not in n])
        file.rename(file.with_name(f"{name[:60]}.png"))
    elif how == 4:
        file.rename(file.with_suffix(chance.choice([".jfif", ".PNG", ".heic", ".txt", ""])))
    elif how == 5:
        (file.parent / chance.choice(["Thumbs.db", ".DS_Store", "notes.txt"])).write_bytes(b"x")
    elif how == 6:
        shutil.rmtree(file.parent)
    elif how == 7:
        file.unlink()
        file.symlink_to(chance.choice(["/etc/hostname", "../nothing", str(files[0])]))
    else:
        inner = file.parent / "deeper"
        inner.mkdir()
        file.rename(inner / file.name)


def spoil_place(path: Path, chance: random.Random) -> None:
    """Let rows be missing, a folder, a link, empty, or in a file of another ending."""
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    how = chance.randrange(6)
    if how == 1:
        path.mkdir()
    elif how == 2:
        path.symlink_to(elsewhere)
    elif how == 3:
        path.symlink_to(path)
    elif how == 4:
        path.write_bytes(b"")
    elif how == 5 and elsewhere.is_file():
        os.mkfifo(path)


def spoil_weights(path: Path, chance: random.Random) -> None:
    """Give weights other names, shapes, types or values, or bytes."""
    from safetensors.torch import load_file, save_file

    if chance.random() < 0.3:
        chance.choice(ANY_FILE)(path, chance)
        return
    weights = load_file(path)
    name = chance.choice(list(weights))
    ways: list[Callable[[], object]] = [
        lambda: weights.update({f"module.{key}": weights.pop(key) for key in list(weights)}),
        lambda: weights.pop(name),
        lambda: weights.update({chance.choice(NASTY) or "x": torch.zeros(1)}),
        lambda: weights.update({name: weights[name][:1].clone()}),
        lambda: weights.update({name: torch.full_like(weights[name], float("nan"))}),
        lambda: weights.update({name: weights[name] * 1e30}),
        lambda: weights.update({name: torch.zeros_like(weights[name])}),
        lambda: weights.update({name: weights[name].half()}),
        lambda: weights.update({name: weights[name].long()}),
        lambda: weights.clear(),
    ]
    chance.choice(ways)()
    save_file(weights, path)


def spoil_code(path: Path, chance: random.Random) -> None:
    """Let the user's own code end the program, raise, print, warn, or return something odd."""
    ends = ["exit(0)", "sys.exit(1)", "os._exit(0)", "raise KeyboardInterrupt", "1 / 0",
            "raise MemoryError", "raise OSError(28, 'full')", "print('hello')", "return None",
            "return 'x'", "raise StopIteration", "input()", "raise SystemExit",
            "import nowhere", "warnings.warn('hello')", "sys.stdout.write('hello\\n')",
            "torch.manual_seed(1)", "raise Exception('x' * 100000)", "os.chdir('/')",
            "sys.stdout.close()"]  # fmt: skip
    code = path.read_text(encoding="utf-8")
    functions = [line for line in code.split("\n") if line.lstrip().startswith("def ")]
    line = chance.choice(functions)
    indent = " " * (len(line) - len(line.lstrip()) + 4)
    if chance.random() < 0.7:
        code = code.replace(line, f"{line}\n{indent}{chance.choice(ends)}")
    else:
        returned = [each for each in code.split("\n") if each.lstrip().startswith("return ")]
        old = chance.choice(returned)
        value = old.lstrip().removeprefix("return ")
        new = chance.choice(
            ["({0}, {0})", "[{0}]", "{{'a': {0}}}", "({0}) * float('nan')", "({0})[:1]", "({0})[0]",
             "({0}).double()", "({0}).half()", "({0}).tolist()", "({0}).numpy()", "lambda: {0}",
             "({0}) * 1e30", "({0}).sum()", "({0})[..., None]", "({0}).long()"]
        )  # fmt: skip
        code = code.replace(old, old.replace(value, new.format(value)))
    path.write_text(
        f"import os\nimport sys\nimport warnings\nimport torch\n{code}", encoding="utf-8"
    )


def spoil_decisions(path: Path, chance: random.Random) -> None:
    """Change a field, a column or the bytes of a reviewer's file."""
    chance.choice([spoil_field, spoil_field, *ANY_FILE])(path, chance)


ANY_FILE: list[Callable[[Path, random.Random], None]] = [
    flip_bytes, truncate, insert, shuffle_pieces, noise,
]  # fmt: skip


def spoil(project: Path, form: str, chance: random.Random) -> str:
    """Spoil one thing of a project; return what was spoiled, for the table of what was drawn."""
    split = chance.choice([*SPLITS, "train"])
    target = rows_at(project, split, form)
    if target.is_fifo():
        return "nothing left to spoil"  # Nobody would ever write what is read here.
    # Where an earlier fault left nothing to read, that fault is enough.
    with contextlib.suppress(Exception):
        kind = chance.choice(["rows"] * 5 + ["settings"] * 4 + ["weights", "code", "code", "place"])
        if kind == "settings":
            yaml = project / "audit.yaml"
            (spoil_settings if chance.random() < 0.8 else chance.choice(ANY_FILE))(yaml, chance)
            return kind
        if kind == "weights":
            spoil_weights(project / "model.safetensors", chance)
            return kind
        if kind == "code":
            spoil_code(project / "faulty_model.py", chance)
            return kind
        if kind == "place":
            spoil_place(target, chance)
            return kind
        files = (
            [target]
            if form not in FOLDERS
            else sorted(path for path in target.rglob("*") if path.is_file())
        )
        if form == "coco" and chance.random() < 0.6:
            spoil_coco(target, chance)
            return "values"
        if form in ("folder", "paths", "masks", "coco") and chance.random() < 0.8:
            spoil_pictures(project / split, chance)
            return "pictures"
        if form in TABLES and chance.random() < 0.7:
            spoil_rows(target, form, chance)
            return "values"
        chance.choice(ANY_FILE)(chance.choice(files), chance)
        return "bytes"
    return "nothing left to spoil"

"""Small projects of a user's own to be spoiled: every task, in every format of its rows."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import torch
from PIL import Image

SPLITS = {"train": 40, "val": 30, "test": 20}
TABLES = ("csv", "tsv", "csv.gz", "jsonl", "json", "parquet", "parts", "arrow")
WITH_LISTS = ("jsonl", "json", "parquet", "parts", "arrow")
FOLDERS = ("parts", "folder", "masks")
OF_PICTURES = ("pictures", "segmentation", "boxes")
WORDS = ["ash", "birch", "cedar", "elm", "fir", "oak", "pine", "yew"]

LINEAR = """
import torch
from torch import nn

def build():
    return nn.Linear(2, {outputs})

def preprocess(frame):
    return torch.tensor(frame[["x", "y"]].to_numpy(), dtype=torch.float32)
"""
TAGGER = """
import zlib

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

def build():
    return nn.Sequential(nn.Embedding(8, 2), nn.Linear(2, 2))

def preprocess(frame):
    rows = [torch.tensor([zlib.crc32(word.encode()) % 8 for word in row]) for row in frame["words"]]
    return pad_sequence(rows, batch_first=True)
"""
PICTURES = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
"""
MASKS = """
from torch import nn

def build():
    return nn.Conv2d(3, 2, 1)
"""
REWARDS = """
import zlib

import torch
from torch import nn

def build():
    return nn.Linear(8, 1)

def preprocess(frame):
    counts = torch.zeros(len(frame), 8)
    for row, answer in enumerate(frame["answer"]):
        for word in answer.split():
            counts[row, zlib.crc32(word.encode()) % 8] += 1
    return counts
"""
ANSWERS = """
import re

from torch import nn

class Words(nn.Module):
    eos_token_id = 0

    def __init__(self):
        super().__init__()
        self.words, self.head = nn.Embedding(9, 2), nn.Linear(2, 9)

    def forward(self, input_ids):
        return self.head(self.words(input_ids).cumsum(dim=1))

def build():
    return Words()

def preprocess(frame):
    found = [list(re.finditer("[^ ]+", text)) for text in frame["text"]]
    return {
        "input_ids": [["abcefopy".find(word[0][0]) + 1 for word in row] for row in found],
        "offset_mapping": [[word.span() for word in row] for row in found],
    }
"""
BOXES = """
import torch
from torch import nn
from torch.nn import functional

class Quarters(nn.Module):
    def __init__(self):
        super().__init__()
        self.score = nn.Conv2d(3, 2, 1)

    def forward(self, images, targets=None):
        scores = self.score(functional.adaptive_avg_pool2d(torch.stack(images), 2))
        if self.training:
            return {"classes": self.loss(scores, targets)}
        return [self.found(each) for each in scores.sigmoid()]

    def loss(self, scores, targets):
        wanted = torch.zeros_like(scores)
        for line, target in enumerate(targets):
            middle = (target["boxes"][:, :2] + target["boxes"][:, 2:]) / 2
            x, y = (middle // 6).long().clamp(0, 1).T
            wanted[line, target["labels"] - 1, y, x] = 1
        return functional.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")

    def found(self, scores):
        labels, y, x = (scores > 0.05).nonzero(as_tuple=True)
        corner = 6.0 * torch.stack([x, y], dim=1)
        boxes = torch.cat([corner, corner + 6], dim=1)
        return {"boxes": boxes, "labels": labels + 1, "scores": scores[labels, y, x]}

def build():
    return Quarters()
"""
LANGUAGE = """
import torch
from torch import nn

class Bigrams(nn.Module):
    context_length = 32

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(28, 8)
        self.head = nn.Linear(8, 28)

    def forward(self, ids):
        return self.head(self.tokens(ids))

def build():
    return Bigrams()

def preprocess(frame):
    letters = " abcdefghijklmnopqrstuvwxyz"
    rows = [[letters.find(letter) + 1 for letter in text] for text in frame["text"]]
    spans = [[(place, place + 1) for place in range(len(ids))] for ids in rows]
    return {"input_ids": rows, "offset_mapping": spans}
"""


@dataclass(frozen=True)
class Task:
    """What the rows of a task look like, in which formats, and a model that knows them.

    Attributes
    ----------
    frame : function of (rows, generator) to a data frame
    formats : tuple of str
    code : str
        The user's module.
    weights : dict of tensors
    settings : str
        Lines of `audit.yaml`.
    label : str or None
        The label column.
    """

    frame: Callable[[int, np.random.Generator], pd.DataFrame]
    formats: tuple[str, ...]
    code: str
    weights: dict[str, torch.Tensor]
    settings: str
    label: str | None = "kind"


def _numbers(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame(generator.normal(size=(rows, 2)).round(4), columns=["x", "y"])
    frame.insert(0, "id", [f"row-{number}" for number in range(rows)])
    return frame


def _classes(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    frame = _numbers(rows, generator)
    total = frame.x + frame.y + generator.normal(size=rows) / 3
    return frame.assign(kind=np.where(total > 0, "b", "a"))


def _grades(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    frame = _numbers(rows, generator)
    total = frame.x + frame.y + generator.normal(size=rows) / 3
    return frame.assign(kind=np.array(["low", "mid", "high"])[np.digitize(total, [-0.7, 0.7])])


def _targets(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    frame = _numbers(rows, generator)
    noise = generator.normal(size=rows) / 5
    return frame.assign(kind=(2 * frame.x - frame.y + noise).round(4))


def _sets(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    frame = _numbers(rows, generator)
    named = [
        "|".join([*["p"] * (x > 0), *["q"] * (y > 0)]) or "r"
        for x, y in zip(frame.x, frame.y, strict=True)
    ]
    return frame.assign(kind=named)


def _sentences(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    words = [list(generator.choice(WORDS, generator.integers(1, 6))) for _ in range(rows)]
    tags = [["AB"[zlib.crc32(word.encode()) % 2] for word in row] for row in words]
    ids = [f"row-{number}" for number in range(rows)]
    return pd.DataFrame({"id": ids, "words": words, "kind": tags})


def _texts(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    texts = [" ".join(generator.choice(WORDS, 4)) for _ in range(rows)]
    ids = [f"row-{number}" for number in range(rows)]
    prompts = [text.rpartition(" ")[0] for text in texts]
    ends = [text[len(prompt) :] for text, prompt in zip(texts, prompts, strict=True)]
    columns = {"id": ids, "text": texts, "prompt": prompts, "completion": ends}
    return pd.DataFrame(columns)


def _pairs(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    # Words with an even number are the better ones.
    even = [word for word in WORDS if zlib.crc32(word.encode()) % 2 == 0]
    odd = [word for word in WORDS if word not in even]
    columns = {
        "id": [f"row-{number}" for number in range(rows)],
        "prompt": [" ".join(generator.choice(WORDS, 2)) for _ in range(rows)],
    }
    for name, known in (("chosen", even), ("rejected", odd)):
        columns[name] = [" ".join([generator.choice(known), *generator.choice(WORDS, 2)])
                         for _ in range(rows)]  # fmt: skip
    return pd.DataFrame(columns)


def _answers(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    # Odd words follow the first word, and even ones the second.
    halves = WORDS[2::2], WORDS[3::2]
    asked = generator.integers(0, 2, rows)
    answers = [" ".join(generator.choice(halves[place], 4)) for place in asked]
    ids = [f"row-{number}" for number in range(rows)]
    prompts = [" ".join(["name", *generator.choice(WORDS[2:], 2), WORDS[place]]) for place in asked]
    return pd.DataFrame({"id": ids, "prompt": prompts, "kind": answers})


def _masked(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    masks = np.zeros((rows, 8, 8), dtype=np.uint8)
    for mask, (top, left) in zip(masks, generator.integers(0, 4, (rows, 2)), strict=True):
        mask[top : top + 4, left : left + 4] = 1
    shades = generator.integers(0, 100, (rows, 8, 8, 3)) + masks[..., None] * 150
    return pd.DataFrame({"picture": [_png(each) for each in shades],
                         "mask": [_png(each) for each in masks]})  # fmt: skip


def _boxed(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    shades = generator.integers(0, 60, (rows, 12, 12, 3))
    boxes = []
    for picture in shades:
        corners = [(x, y) for x in (0, 6) for y in (0, 6) if generator.random() < 0.5]
        boxes.append([(int(generator.integers(2)), *corner) for corner in corners])
        for kind, x, y in boxes[-1]:
            picture[y : y + 6, x : x + 6, 2 * kind] += 180
    return pd.DataFrame({"picture": [_png(each) for each in shades], "boxes": boxes})


def _pictures(rows: int, generator: np.random.Generator) -> pd.DataFrame:
    bright = generator.integers(0, 2, rows)
    shades = generator.integers(0, 128, (rows, 8, 8, 3)) + bright[:, None, None, None] * 100
    names = np.array(["a", "b"])[bright]
    return pd.DataFrame({"picture": [_png(each) for each in shades], "kind": names})


def _png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values.astype("uint8")).save(file, "PNG")
    return file.getvalue()


def _sums(*factors: list[float], bias: list[float] | None = None) -> dict[str, torch.Tensor]:
    weight = torch.tensor(factors, dtype=torch.float32)
    return {"weight": weight, "bias": torch.tensor(bias or [0.0] * len(factors))}


def _of_tags() -> dict[str, torch.Tensor]:
    known = torch.zeros(8, 2)
    for word in WORDS:
        number = zlib.crc32(word.encode())
        known[number % 8, number % 2] = 4.0
    return {"0.weight": known, "1.weight": torch.eye(2), "1.bias": torch.zeros(2)}


def _of_letters() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"tokens.weight": torch.randn(28, 8), "head.weight": torch.randn(28, 8) / 3,
            "head.bias": torch.zeros(28)}  # fmt: skip


def _of_words() -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[1.0, -1.0] * 4]), "bias": torch.zeros(1)}


def _of_answers() -> dict[str, torch.Tensor]:
    words, scores = torch.zeros(9, 2), torch.zeros(9, 2)
    for number in range(len(WORDS)):
        words[number + 1, number % 2] = 3.0 if number < 2 else 0.1
        scores[number + 1, number % 2] = float(number > 1)
    return {"words.weight": words, "head.weight": scores, "head.bias": torch.zeros(9)}


def _of_squares() -> dict[str, torch.Tensor]:
    weight = torch.stack([torch.full((3, 1, 1), -1.0), torch.full((3, 1, 1), 1.0)])
    return {"weight": weight, "bias": torch.zeros(2)}


def _of_quarters() -> dict[str, torch.Tensor]:
    weight = torch.tensor([[30.0, 0.0, -30.0], [-30.0, 0.0, 30.0]])
    return {"score.weight": weight[:, :, None, None], "score.bias": torch.full((2,), -9.0)}


def _of_brightness() -> dict[str, torch.Tensor]:
    rows = torch.stack([torch.full((192,), -0.1), torch.full((192,), 0.1)])
    return {"1.weight": rows, "1.bias": torch.tensor([8.0, -8.0])}


TASKS = {
    "classification": Task(
        _classes, TABLES, LINEAR.format(outputs=2), _sums([-2, -2], [2, 2]), "classes: [a, b]\n"
    ),
    "ordinal": Task(
        _grades, TABLES, LINEAR.format(outputs=3),
        _sums([-3, -3], [0, 0], [3, 3], bias=[0, 2, 0]), "classes: [low, mid, high]\n",
    ),
    "regression": Task(_targets, TABLES, LINEAR.format(outputs=1), _sums([2, -1]), ""),
    "multi-label": Task(
        _sets, TABLES, LINEAR.format(outputs=3), _sums([6, 0], [0, 6], [-3, -3]),
        "classes: [p, q, r]\n",
    ),
    "token-classification": Task(
        _sentences, WITH_LISTS, TAGGER, _of_tags(), "classes: [A, B]\n"
    ),
    "causal-lm": Task(
        _texts, TABLES, LANGUAGE, _of_letters(),
        "trace: {top: 3, background: 3, calibration: 3, steps: 2}\n", label=None,
    ),
    "preference": Task(_pairs, TABLES, REWARDS, _of_words(), "", label=None),
    "instruction": Task(_answers, TABLES, ANSWERS, _of_answers(), ""),
    "segmentation": Task(
        _masked, ("masks",), MASKS, _of_squares(), "classes: [ground, square]\n", label=None
    ),
    "boxes": Task(_boxed, ("coco",), BOXES, _of_quarters(), "", label=None),
    "pictures": Task(
        _pictures, ("folder", "shards", "paths"), PICTURES, _of_brightness(), "classes: [a, b]\n"
    ),
}  # fmt: skip


def rows_at(project: Path, split: str, form: str) -> Path:
    """Return where the rows of a split stand."""
    ending = {
        "parts": "",
        "folder": "",
        "masks": "",
        "coco": ".json",
        "shards": ".tar",
        "paths": ".csv",
    }.get(form, f".{form}")
    return project / f"{split}{ending}"


def write_project(folder: Path, form: str, task: str = "classification") -> None:
    """Write a project of the user's own: rows, settings, weights and code."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    made = TASKS[task]
    for number, (split, rows) in enumerate(SPLITS.items()):
        # What a language model wrote is traced, one after the other.
        rows = 6 if task == "causal-lm" and split == "test" else rows
        frame = made.frame(rows, np.random.default_rng(number))
        if task == "segmentation":
            write_masks(frame, folder / split)
        elif task == "boxes":
            write_coco(frame, folder / split)
        elif task == "pictures":
            write_pictures(frame, rows_at(folder, split, form), form)
        else:
            write_table(frame, rows_at(folder, split, form), form)
    (folder / "faulty_model.py").write_text(made.code, encoding="utf-8")
    (folder / "audit.yaml").write_text(_settings(task, form), encoding="utf-8")
    # A model that knows the labels: an audit refuses one that is worse than chance.
    save_file(made.weights, folder / "model.safetensors")


def _settings(task: str, form: str) -> str:
    made = TASKS[task]
    path = {split: rows_at(Path(), split, form) for split in SPLITS}
    label = {"shards": ", label: cls", "folder": ""}.get(form, f", label: {made.label}")
    if made.label is None:
        label = ""
    key = "" if task in OF_PICTURES else ", id: id"
    lines = [
        "name: faults",
        f"task: {'classification' if task == 'pictures' else task}",
        "model: {factory: faulty_model:build, weights: model.safetensors}",
    ]
    if task not in OF_PICTURES:
        lines.append("preprocess: faulty_model:preprocess")
    images = {split: f", images: {split}" if form == "coco" else "" for split in SPLITS}
    lines.append(f"train: {{path: {path['train']}{label}{key}{images['train']}}}")
    if task != "causal-lm":
        lines.append(f"held_out: {{path: {path['val']}{label}{images['val']}}}")
        lines.append("mirror: {steps: 2}")
    lines.append(f"suspects: {{path: {path['test']}{label}{key}{images['test']}}}")
    return "\n".join([*lines, made.settings])


def write_table(frame: pd.DataFrame, path: Path, form: str) -> None:
    """Write a data frame in one of `TABLES`."""
    if form in ("csv", "tsv", "csv.gz"):
        frame.to_csv(path, index=False, sep="\t" if form == "tsv" else ",")
    elif form == "jsonl":
        path.write_text(frame.to_json(orient="records", lines=True), encoding="utf-8")
    elif form == "json":
        path.write_text(frame.to_json(orient="records"), encoding="utf-8")
    elif form == "parquet":
        frame.to_parquet(path, index=False)
    elif form == "parts":
        path.mkdir(exist_ok=True)
        half = len(frame) // 2
        for number, part in enumerate((frame[:half], frame[half:])):
            part.to_parquet(path / f"{path.name}-{number:05}-of-00002.parquet", index=False)
    else:
        pa.feather.write_feather(pa.Table.from_pandas(frame, preserve_index=False), str(path))


def read_table(path: Path, form: str) -> pd.DataFrame:
    """Read what `write_table` wrote, with pandas."""
    if form in ("csv", "tsv", "csv.gz"):
        separator = "\t" if form == "tsv" else ","
        return pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    if form in ("jsonl", "json"):
        text = path.read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
        return pd.DataFrame(lines if form == "jsonl" else lines[0])
    return pd.read_feather(path) if form == "arrow" else pd.read_parquet(path)


def write_pictures(frame: pd.DataFrame, path: Path, form: str) -> None:
    """Write pictures as a folder of classes, as a tar shard, or as files that a table names."""
    if form == "shards":
        with tarfile.open(path, "w") as archive:
            for number, (picture, kind) in enumerate(zip(frame.picture, frame.kind, strict=True)):
                for ending, content in (("png", picture), ("cls", kind.encode())):
                    member = tarfile.TarInfo(f"{number:03}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return
    folder = path.with_suffix("") if form == "paths" else path
    names = []
    for number, (picture, kind) in enumerate(zip(frame.picture, frame.kind, strict=True)):
        file = folder / kind / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture)
        names.append(file.relative_to(path.parent).as_posix())
    if form == "paths":
        pd.DataFrame({"file_name": names, "kind": frame.kind}).to_csv(path, index=False)


def write_masks(frame: pd.DataFrame, path: Path) -> None:
    """Write pictures and their masks as two folders of the same names."""
    for name in ("picture", "mask"):
        folder = path / {"picture": "images", "mask": "masks"}[name]
        folder.mkdir(parents=True)
        for number, content in enumerate(frame[name]):
            (folder / f"{number:03}.png").write_bytes(content)


def write_coco(frame: pd.DataFrame, path: Path) -> None:
    """Write pictures into a folder, and their boxes into a COCO file beside it."""
    path.mkdir(parents=True)
    images, annotations = [], []
    for number, (picture, boxes) in enumerate(zip(frame.picture, frame.boxes, strict=True)):
        (path / f"{number:03}.png").write_bytes(picture)
        images.append({"id": number, "file_name": f"{number:03}.png", "width": 12, "height": 12})
        for kind, x, y in boxes:
            annotations.append({"id": len(annotations), "image_id": number,
                                "category_id": kind + 1, "bbox": [x, y, 6, 6]})  # fmt: skip
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")

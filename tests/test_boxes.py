"""Boxes: what they are as text and in COCO files, the loss of a picture, and the whole way."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from PIL import Image
from torch import Tensor, nn

import dataaudit
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.coco import Coco
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.flags.boxes import flag_boxes
from dataaudit.flags.inputs import LabelledRows
from dataaudit.labels.boxes import BOX, BOXES, as_boxes
from dataaudit.labels.kind import Reading
from dataaudit.mirror.augmentation import augmented
from dataaudit.models.detector import Detector
from dataaudit.models.detector_inputs import detector_inputs
from dataaudit.tasks.boxes import Detection

TASKS = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"
CLASSES = ["cat", "dog"]
NORM = 1 / (1 + 1e-5) ** 0.5
"""Of batch norm as it is kept before anything was learned."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the example in the document."""
    folder = tmp_path_factory.mktemp("shapes")
    section = TASKS.read_text(encoding="utf-8").split("## Boxes in pictures\n")[1].split("\n## ")[0]
    for block in re.findall(r"```\w+\n(# (\S+)\n.*?)```", section, flags=re.DOTALL):
        (folder / block[1]).write_text(block[0], encoding="utf-8")
    subprocess.run([sys.executable, "prepare.py"], cwd=folder, check=True)
    return folder


def test_boxes_from_the_run_to_a_second_audit_with_fewer_flags(
    shapes: Path, command_line: CommandLine
) -> None:
    out, yaml = shapes / "run", shapes / "audit.yaml"
    outcome = command_line("run", yaml, "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    spoiled = np.loadtxt(shapes / "spoiled.txt", dtype=int)
    flagged = table.index[table["flagged"]]
    assert table["row_id"].tolist() == [str(row) for row in range(120)]
    assert np.isin(flagged, spoiled).mean() >= 0.6
    assert np.isin(spoiled, flagged).mean() >= 0.6
    report = json.loads((out / "audit.json").read_text())
    assert [item["label"] for item in report["labels"]["per_class"]] == ["disc", "square"]
    assert "After learning again: " in report["labels"]["rows"][0]["note"]
    shown = report["samples"][report["labels"]["rows"][0]["sample"]]
    assert shown["fields"] == {"size": "32 x 32"}

    outcome = command_line("export", out, "--to", "label-studio", "--out", shapes / "ls.json")
    assert outcome.code == 0, outcome.err
    tasks = json.loads((shapes / "ls.json").read_text())
    (asked,) = ElementTree.parse(shapes / "ls.xml").getroot().iter("RectangleLabels")
    assert [label.get("value") for label in asked] == ["disc", "square"]
    # A reviewer accepts what is suggested, and takes all boxes off one picture.
    for task in tasks:
        task["annotations"] = [{"result": task["predictions"][0]["result"]}]
    tasks[-1]["annotations"] = [{"result": []}]
    (shapes / "reviewed.json").write_text(json.dumps(tasks))
    corrected = shapes / "corrected.json"
    outcome = command_line(
        "relabel", out, "--decisions", shapes / "reviewed.json", "--out", corrected
    )
    assert outcome.code == 0, outcome.err
    samples = open_samples(
        corrected, ReadSettings("train", "label", task="boxes", images=shapes / "pictures")
    )
    expected = table["given_label"].astype(object)
    for task in tasks[:-1]:
        expected[int(task["data"]["row_id"])] = task["data"]["suggested_label"]
    expected[int(tasks[-1]["data"]["row_id"])] = "(none)"
    assert samples.label_values().tolist() == expected.tolist()

    (shapes / "again.yaml").write_text(yaml.read_text().replace("train.json", "corrected.json"))
    assert command_line("run", shapes / "again.yaml", "--out", shapes / "again").code == 0
    again = pd.read_parquet(shapes / "again" / "mislabels.parquet")
    assert again["flagged"].sum() < len(flagged)


class Centre(nn.Module):
    """Finds one box of class 1 around the centre of each picture, as sure as its weight says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(0.5))
        self.norm = nn.BatchNorm2d(1)

    def forward(
        self, images: list[Tensor], targets: list[dict[str, Tensor]] | None = None
    ) -> object:
        levels = torch.stack([self.norm(image[None]).mean() for image in images])
        if not self.training:
            side = [torch.tensor(image.shape[1:]).flip(0) for image in images]
            return [
                {
                    "boxes": torch.cat([own / 4, 3 * own / 4])[None],
                    "labels": torch.ones(1, dtype=torch.int64),
                    "scores": self.weight.sigmoid()[None],
                }
                for own in side
            ]
        assert targets is not None
        sums = torch.stack([target["boxes"].sum() + target["labels"].sum() for target in targets])
        return {"a": (self.weight * sums).mean(), "b": (levels * self.weight).mean()}


def test_a_loss_is_that_of_the_picture_alone_and_can_be_learned() -> None:
    model = Centre().eval()
    detector = Detector(model).eval()
    labels, _ = BOXES.read(
        pd.Series(["dog 1,2,3,4", "(none)", "cat 0,0,4,6 | dog 1,1,2,2"], dtype=object),
        np.arange(3), "here", Reading(classes=CLASSES),
    )  # fmt: skip
    pictures = [torch.rand(1, 8, 8), torch.rand(1, 6, 10), torch.rand(1, 9, 5)]
    inputs = detector_inputs(pictures, labels)
    assert inputs["images"].shape == (3, 1, 9, 10)
    with torch.inference_mode():
        outputs = detector(**inputs)
    expected = [
        0.5 * total + 0.5 * float(picture.mean()) * NORM
        for total, picture in zip((1 + 2 + 3 + 4 + 2, 0, 4 + 6 + 1 + 6 + 2), pictures, strict=True)
    ]
    task = Detection.of(outputs, 2)
    assert task.losses(outputs, inputs["labels"]).tolist() == pytest.approx(expected, rel=1e-5)
    assert outputs[1, 1:7].tolist() == pytest.approx([0, 2.5, 1.5, 7.5, 4.5, 0.6225], rel=1e-3)
    assert not any(part.training for part in model.modules())
    # Learned together, their mean.
    learned = task.losses(detector(**inputs), inputs["labels"])
    assert learned.tolist() == pytest.approx([np.mean(expected)] * 3, rel=1e-5)
    learned.sum().backward()
    assert model.weight.grad is not None
    assert float(model.weight.grad) == pytest.approx(np.sum(expected) / 0.5, rel=1e-5)
    assert list(dict(detector.named_parameters())) == list(dict(model.named_parameters()))


def test_pictures_are_shifted_with_their_boxes() -> None:
    generator = np.random.default_rng(0)
    corners = generator.integers(1, 9, (20, 2))
    texts = [f"cat {x},{y},{x + 4},{y + 3}" for x, y in corners.tolist()]
    labels, _ = BOXES.read(pd.Series(texts), np.arange(20), "here", Reading(classes=CLASSES))
    pictures = torch.zeros(20, 1, 16, 16)
    for picture, (x, y) in zip(pictures, corners.tolist(), strict=True):
        picture[0, y : y + 3, x : x + 4] = 1
    inputs = detector_inputs(pictures, labels)
    ((shifted, _),) = next(augmented(iter([[(inputs, inputs["labels"])]]), False, 0))
    assert isinstance(shifted, dict)
    moved = 0
    for picture, label, old in zip(shifted["images"], shifted["labels"], labels, strict=True):
        left, top, right, bottom = label[1:5].int().tolist()
        # What is reflected at the edge is no part of the box.
        assert (picture[0, top:bottom, left:right] == 1).all()
        moved += label[1:5].tolist() != old[1:5].tolist()
    assert moved > 10


def test_boxes_from_python() -> None:
    model, generator = Centre(), np.random.default_rng(0)
    pictures = [torch.rand(1, 16, 16 + row % 2) for row in range(60)]
    here = torch.tensor([4.0, 4.0, 12.0, 12.0])
    targets = [
        {"boxes": here[None] + generator.normal(0, 0.2), "labels": torch.tensor([1])}
        for _ in pictures
    ]
    targets[7] = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    result = dataaudit.audit(
        model, (pictures[:20], targets[:20]), (pictures[20:50], targets[20:50]),
        ([*pictures[50:], *pictures[:2]], [*targets[50:], *targets[:2]]),
        task="boxes", classes=CLASSES, mirror={"steps": 2},
    )  # fmt: skip
    found = result.mislabels
    assert found["given_label"][7] == "(none)"
    assert found["suggested_label"][7].startswith("cat 4")
    assert found["rank"][7] == 1
    copies = result.contamination[result.contamination["flagged"]]
    assert copies["query_id"].tolist() == [10, 11]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), "expected a detector as torchvision has"),
        (nn.Conv2d(1, 2, 1), "expected a detector as torchvision has them"),
    ],
)
def test_another_kind_of_module_is_refused(model: nn.Module, said: str) -> None:
    pictures = [torch.rand(1, 8, 8) for _ in range(4)]
    with pytest.raises(ModelError, match=said):
        dataaudit.audit(model, (pictures, ["cat 1,1,2,2"] * 4), task="boxes", classes=CLASSES)


RIGHT = {"boxes": torch.ones(2, 4), "labels": torch.ones(2), "scores": torch.ones(2)}


@pytest.mark.parametrize(
    ("losses", "found", "said"),
    [
        ({"places": (torch.ones(1),) * 2}, RIGHT, "returned tuple as 'places', not a tensor"),
        ({"places": 0.5}, RIGHT, "returned float as 'places', not a tensor of floating numbers"),
        ({"places": torch.ones(1, dtype=torch.long)}, RIGHT, "not a tensor of floating numbers"),
        ({}, RIGHT, "in training mode the model returned dict"),
        (None, {**RIGHT, "labels": torch.zeros(2)}, "detects label 0, the background; expected la"),
        (None, {**RIGHT, "scores": [1.0, 1.0]}, "returned list as 'scores', not a tensor"),
        (None, {**RIGHT, "labels": torch.ones(3)}, r"'labels' of shape \(3,\) for 2 scores"),
        (None, {**RIGHT, "boxes": torch.ones(2, 5)}, r"'boxes' of shape \(2, 5\) for 2 scores"),
    ],
)
def test_what_a_detector_returns_is_looked_at(losses: object, found: object, said: str) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, images: list[Tensor], targets: object = None) -> object:
            if self.training:
                return {"places": self.weight.sum()} if losses is None else losses
            return [found for _ in images]

    pictures = [torch.rand(1, 8, 8) for _ in range(4)]
    with pytest.raises(ModelError, match=said):
        dataaudit.audit(Odd(), (pictures, ["cat 1,1,2,2"] * 4), task="boxes", classes=CLASSES)


def test_the_last_layer_alone_learns_no_boxes() -> None:
    with pytest.raises(ConfigError, match="which task boxes cannot"):
        dataaudit.audit(
            Centre(), ([torch.rand(1, 8, 8)], ["cat 1,1,2,2"]), task="boxes", classes=CLASSES,
            mirror={"effort": "quick"},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("cat 1,2,3", "'cat 1,2,3' is no box; expected a class and its corners in pixels"),
        ("cat 5,2,3,4", "it is -2 wide and 2 high; expected more than 0"),
        ("cow 1,2,3,4", "class 'cow' is not one of the classes [cat, dog]"),
        ("cat 1,2,3,1e9", "a corner is no number, or beyond 100,000 pixels"),
        ({"boxes": [[1, 2, 3, 4]], "labels": [0]}, "found label 0; expected 1 to 2"),
        ({"boxes": [[1, 2, 3, 4]], "labels": []}, "found 1 boxes and 0 labels"),
        ({"boxes": [[1, 2, 3]], "labels": [1]}, "expected four numbers"),
        (7, "it has no boxes: expected text such as"),
        (" | ".join(["cat 1,2,3,4"] * 501), "it has 501 boxes; expected 500 at most"),
    ],
)
def test_what_is_no_box_is_refused(value: object, said: str) -> None:
    values = pd.Series(["dog 1,2,3,4", value], dtype=object)
    with pytest.raises(DataError, match=re.escape(f"here: row 1: {said}")):
        BOXES.read(values, np.arange(2), "here", Reading(classes=CLASSES))
    labels, _ = BOXES.read(values, np.arange(2), "here", Reading(classes=CLASSES, tolerate=True))
    assert BOXES.usable(labels, CLASSES).tolist() == [True, False]


def test_the_same_boxes_are_written_alike() -> None:
    values = pd.Series(
        [
            "dog 5,6,20,30|cat  10, 20,30.25,40.004",
            {"boxes": torch.tensor([[10, 20, 30.25, 40], [5, 6, 20, 30]]), "labels": [1, "dog"]},
            ["cat 10,20,30.25,40", "dog 5,6,20,30"],
            {"boxes": [[10, 20, 30.25, 40], [5, 6, 20, 30]], "labels": list(np.array([1, 2]))},
        ],
        dtype=object,
    )
    labels, classes = BOXES.read(values, np.arange(4), "here", Reading(classes=CLASSES))
    text = "cat 10,20,30.25,40 | dog 5,6,20,30"
    assert BOXES.shown(labels, classes).tolist() == [text] * 4
    assert BOXES.typed(" dog 5,6,20,30 | cat 10,20,30.25,40 ", CLASSES, "") == text
    with pytest.raises(ValueError, match="'cta' is none of the classes 'cat', 'dog'; did you mean"):
        BOXES.typed("cta 1,2,3,4", CLASSES, "")


def coco(folder: Path, **changes: object) -> Path:
    """Write a COCO file with a gap among its ids, a crowd, and annotations without a box."""

    def box(number: int, image: object, category: int, bbox: object, **more: object) -> object:
        return {"id": number, "image_id": image, "category_id": category, "bbox": bbox, **more}

    content = {
        "info": {"year": 2026},
        "images": [
            {"id": "a7", "file_name": "one.png", "width": 32, "height": 24, "license": 3},
            {"id": "b", "file_name": "two.png"},
        ],
        "annotations": [
            box(5, "a7", 3, [1, 2, 10, 10], segmentation=[[1, 2, 3]], score=0.5),
            box(6, "a7", 1, [4, 5, 6, 7], iscrowd=0),
            box(7, "a7", 1, [0, 0, 30, 20], iscrowd=1, segmentation={"counts": [3]}),
            box(8, "b", 1, [4, 5, 0, 7]),
            box(9, "c", 1, [4, 5, 6, 7]),
            box(10, "b", 2, [4, 5, 6, 7]),
            box(11, "b", 1, "wide"),
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat", "color": "red"}],
        **changes,
    }  # fmt: skip
    for name in ("one", "two"):
        Image.new("RGB", (32, 24)).save(folder / f"{name}.png")
    (folder / "instances.json").write_text(json.dumps(content))
    return folder / "instances.json"


def test_a_coco_file_is_read_with_its_crowds_and_gaps(tmp_path: Path) -> None:
    path = coco(tmp_path)
    samples = open_samples(path, ReadSettings("train", "label", task="boxes"))
    assert samples.ids.tolist() == ["a7", "b"]
    assert samples.classes == ["cat", "(no category 2)", "dog"]
    assert samples.modality == "image"
    assert samples.label_values().tolist() == ["cat 4,5,10,12 | dog 1,2,11,12", "(none)"]
    assert as_boxes(samples.labels)[0, 0].tolist() == [0, 0, 0, 30, 20, 1]
    assert isinstance(samples.source, Coco)
    note = samples.source.note()
    assert note is not None
    assert "4 annotations: annotation 8: it is 0 wide and 7 high; expected more than 0" in note
    assert "there is no image 'c'; annotation 10: there is no category 2; and 1 more" in note
    named = ReadSettings("train", "label", task="boxes", classes=["dog", "cat"])
    assert as_boxes(open_samples(path, named).labels)[0, :2, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"categories": [{"id": 0, "name": "cat"}], "annotations": []},
            "category 0 would be the background",
        ),
        ({"categories": [{"id": 1, "name": "x"}] * 2}, r"category 1 \('x'\) is named twice"),
        ({"images": [{"id": 1}]}, "expected an id and a file_name in each"),
        ({"images": [{"id": 1, "file_name": "\ud800.png"}]}, "holds half of a character"),
        ({"annotations": {}}, "annotations is no list of objects"),
        (
            {"annotations": [{"id": 1, "image_id": "one", "category_id": 1, "bbox": [1, 2, 3, 4]}]},
            "none of the 1 annotations holds a box of these images and categories; annotation 1: "
            "there is no image 'one'",
        ),
        ({"images": []}, "there are no rows"),
    ],
)
def test_a_damaged_coco_file_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    path = coco(tmp_path, **changes)
    with pytest.raises(DataError, match=said):
        open_samples(path, ReadSettings("train", "label", task="boxes", images=tmp_path))


def test_a_category_0_is_what_the_classes_say(tmp_path: Path) -> None:
    path = coco(tmp_path, categories=[{"id": 0, "name": "owl"}, {"id": 1, "name": "cat"}])
    named = ReadSettings("train", "label", task="boxes", classes=["cat", "owl"])
    assert list(open_samples(path, named).classes) == ["cat", "owl"]


def test_numbers_as_other_programs_write_them(tmp_path: Path) -> None:
    whole = {"image_id": 1.0, "category_id": 1.0}
    path = coco(
        tmp_path,
        images=[{"id": 1, "file_name": "one.png"}],
        annotations=[
            {"id": 7.0, **whole, "bbox": [1, 2, 3, 4], "iscrowd": None, "caption": "\ud800"},
            {"id": 8, **whole, "bbox": [1, 2, 10**400, 4]},
            {"id": 9, **whole, "bbox": [1, 2, float("nan"), 4]},
        ],
        categories=[{"id": 1.0, "name": "cat"}],
    )
    samples = open_samples(path, ReadSettings("train", "label", task="boxes"))
    assert samples.label_values().tolist() == ["cat 1,2,4,6"]
    assert "set aside, because they hold no box: 2 annotations" in str(samples.source.note())  # type: ignore[attr-defined]
    changes = Changes.to_values({0: "cat 1,2,4,7 | cat 20,2,24,7"})
    written = json.loads(write_corrected(samples, changes, tmp_path / "new.json").read_text())
    assert [item["id"] for item in written["annotations"]] == [8, 9, 7.0, 10]
    assert written["annotations"][2]["caption"] == "\ud800"


def test_no_box_of_a_category_that_the_file_lacks_is_written(tmp_path: Path) -> None:
    named = ReadSettings("train", "label", task="boxes", classes=["cat", "dog", "fox"])
    samples = open_samples(coco(tmp_path), named)
    for name in ("fox", "dog"):
        changes = Changes.to_values({1: f"{name} 1,2,3,4"})
        if name == "dog":
            write_corrected(samples, changes, tmp_path / "new.json")
            continue
        with pytest.raises(DataError, match="image 'b': the file has no category 'fox', so"):
            write_corrected(samples, changes, tmp_path / "new.json")


def test_an_annotation_of_no_category_stays_beside_corrections(tmp_path: Path) -> None:
    path = coco(tmp_path)
    content = json.loads(path.read_text())
    image = content["images"][0]["id"]
    odd = {"id": 99, "image_id": image, "category_id": [1], "bbox": [1, 1, 2, 2]}
    content["annotations"].append(odd)
    path.write_text(json.dumps(content))
    samples = open_samples(path, ReadSettings("train", "label", task="boxes"))
    written = write_corrected(samples, Changes.to_values({0: "(none)"}), tmp_path / "new.json")
    assert odd in json.loads(written.read_text())["annotations"]


def test_corrections_leave_the_rest_of_a_coco_file_as_it_was(tmp_path: Path) -> None:
    path = coco(tmp_path)
    samples = open_samples(path, ReadSettings("train", "label", task="boxes"))
    new = {0: "dog 4,5,10,12 | dog 3,2,13,12", 1: "cat 1,1,3.5,4"}
    written = write_corrected(samples, Changes.to_values(new), tmp_path / "new.json")
    before, after = json.loads(path.read_text()), json.loads(written.read_text())
    old, mended = (
        {item["id"]: item for item in content.pop("annotations")} for content in (before, after)
    )
    assert after == before
    assert mended.pop(6) == {**old.pop(6), "category_id": 3}
    moved = {"bbox": [3, 2, 10, 10], "area": 100, "segmentation": []}
    assert mended.pop(5) == {**old.pop(5), **moved}
    added = {"id": 12, "image_id": "b", "category_id": 1, "iscrowd": 0, "bbox": [1, 1, 2.5, 3]}
    assert mended.pop(12) == {**added, "area": 7.5, "segmentation": []}
    assert mended == old


def detected(*boxes: list[float]) -> np.ndarray:
    """Return predictions of one picture: loss 0, and detections with scores."""
    table = np.full((4, BOX), -100.0)
    table[: len(boxes)] = boxes
    return np.concatenate([[0.0], table.ravel()])


def test_each_kind_of_error_is_named_and_mended() -> None:
    given = ["cat 10,10,20,20"] * 30 + [
        "cat 10,10,20,20 | dog 30,30,40,40", "(none)", "dog 10,10,20,20", "cat 13,13,24,23",
        # What is detected is held by another box: this one belongs nowhere.
        "cat 10,10,20,20 | cat 13,13,24,23",
        "cat 10,10,20,20 | cat 40,40,50,50",
    ]  # fmt: skip
    labels, _ = BOXES.read(
        pd.Series(given, dtype=object), np.arange(36), "here", Reading(classes=CLASSES)
    )
    rows = np.stack([detected([0, 10, 10, 20, 20, 0.95])] * 36)
    found = flag_boxes(
        LabelledRows(
            np.arange(36), labels, CLASSES, lambda x: BOXES.shown(x, CLASSES), rows, rows, rows
        ),
        None,
    )
    table = found.table.sort_values("rank")
    assert sorted(table["row_id"][:6]) == [30, 31, 32, 33, 34, 35]
    assert found.table["suggested_label"][30:].tolist() == ["cat 10,10,20,20"] * 6
    assert found.notes is not None
    for row, words in zip(
        (30, 34, 35, 31, 32, 33),
        (
            *["is probably no box"] * 3,
            "is probably missing",
            "another class",
            "is probably badly placed",
        ),
        strict=True,
    ):
        assert words in found.notes[row]


def test_planted_errors_are_of_four_kinds() -> None:
    text = "cat 10,10,20,20 | dog 30,30,40,40"
    values = pd.Series([text] * 200 + ["dog 1,30,9,40 | cat 30,1,38,12 | cat 20,20,28,28"])
    labels, _ = BOXES.read(values, np.arange(201), "here", Reading(classes=CLASSES))
    wrong = Detection(2, 4).wrong_labels(np.zeros((201, 25)), labels, np.random.default_rng(0))
    shown = BOXES.shown(wrong, CLASSES)[:200]
    boxes = [len(line.split(" | ")) for line in shown]
    assert (shown != text).all()
    assert min(np.bincount(boxes)[1:]) > 30
    same = [line for line, count in zip(shown, boxes, strict=True) if count == 2]
    swapped = [line for line in same if re.sub("cat|dog", "", line) == re.sub("cat|dog", "", text)]
    assert 30 < len(swapped) < len(same) - 30

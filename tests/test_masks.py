"""Masks end to end, as docs/tasks.md has them, and piece by piece."""

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from PIL import Image
from test_other_tasks import COLUMNS, found, project
from transformers import SegformerConfig, SegformerForSemanticSegmentation

import dataaudit
from dataaudit.config import config_from_python
from dataaudit.datasets import rewriting
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.rewriting import write_corrected
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.set_aside import bad_labels
from dataaudit.errors import ConfigError, DataError, ModelError
from dataaudit.flags.masks import doubtful_regions
from dataaudit.labels.kind import Reading
from dataaudit.labels.masks import (
    MASKS,
    NOT_JUDGED,
    Region,
    amended,
    as_text,
    nearest,
    outlined,
    regions_of,
)
from dataaudit.review.decisions.label_studio import read_label_studio
from dataaudit.review.exports.brush import packed, unpacked
from dataaudit.stages.loading import load_objects
from dataaudit.tasks.segmentation import DOUBTS, LOSS, RIGHT, Segmentation, pooled, sides

CLASSES = ["ground", "disc", "square"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project(tmp_path_factory.mktemp("shapes"), "One class for each pixel")


def test_masks_from_the_run_to_a_second_audit(shapes: Path, command_line: CommandLine) -> None:
    out = shapes / "run"
    outcome = command_line("run", shapes / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    assert list(table.columns) == COLUMNS
    precision, recall = found(shapes, table)
    assert precision >= 0.7
    assert recall >= 0.7
    assert table["row_id"][0] == "images/000.png"
    assert table["given_label"][0].startswith("24 x 24: ground ")

    report = json.loads((out / "audit.json").read_text())
    first = report["labels"]["rows"][0]
    region, *_ = regions_of(first["suggested_label"])
    assert f"pixels at {region.box}, given as {region.was}, are {region.name}" in first["note"]
    counts = {item["label"]: item["rows"] for item in report["composition"]["counts"][:3]}
    masks = [np.asarray(Image.open(path)) for path in sorted((shapes / "train/masks").iterdir())]
    assert counts == {name: sum((m == c).any() for m in masks) for c, name in enumerate(CLASSES)}
    # The page outlines the region: the picture there is not the plain one.
    shown = picture_of(report["samples"][first["sample"]]["image"])
    assert max(shown.size) == 192
    page = (out / "report.html").read_text()
    assert f"{region.was} read as {region.name} at {region.box}" in page

    outcome = command_line("export", out, "--to", "label-studio", "--out", shapes / "ls.json")
    assert outcome.code == 0, outcome.err
    (brush,) = ElementTree.parse(shapes / "ls.xml").getroot().iter("BrushLabels")
    assert [label.get("value") for label in brush] == CLASSES
    tasks = json.loads((shapes / "ls.json").read_text())
    results = tasks[0]["predictions"][0]["result"]
    tasks[0]["annotations"] = [{"result": results}]
    # Nothing painted: the mask stays as it is.
    tasks[1]["annotations"] = [{"result": []}]
    tasks[2]["annotations"] = [{"result": [], "was_cancelled": True}]
    (shapes / "ls.json").write_text(json.dumps(tasks))
    taken, kept, skipped = read_label_studio(shapes / "ls.json")
    assert kept.new_label == tasks[1]["data"]["given_label"]
    assert skipped.decision == "unsure"
    mask = np.zeros((1, 24, 24), dtype=np.int16)
    both = [taken.new_label, tasks[0]["data"]["suggested_label"]]
    same = [amended(mask - 9, [text], CLASSES) for text in both]
    assert (same[0] == same[1]).all()

    decisions = shapes / "decisions.csv"
    assert command_line("export", out, "--to", "csv", "--out", decisions).code == 0
    rows = pd.read_csv(decisions, dtype=str).fillna("")
    rows["decision"] = "relabel"
    rows.loc[rows.index[-1], "decision"] = "drop"
    rows.to_csv(decisions, index=False)
    outcome = command_line("relabel", out, "--decisions", decisions, "--out", shapes / "corrected")
    assert outcome.code == 0, outcome.err
    dropped = rows["row_id"].iloc[-1]
    assert not (shapes / "corrected" / dropped).exists()
    assert not (shapes / "corrected/masks" / Path(dropped).name).exists()
    changed = rows["row_id"].iloc[0]
    for number, before in enumerate(masks):
        name = f"{number:03}.png"
        if f"images/{name}" == dropped:
            continue
        after = Image.open(shapes / "corrected/masks" / name)
        assert after.mode == "P"
        assert after.getpalette()[:9] == [0, 0, 0, 200, 60, 60, 60, 180, 80]
        text = table["suggested_label"][number]
        if f"images/{name}" in rows["row_id"].to_numpy():
            before = amended(before[None].astype(np.int16), [text], CLASSES)[0]
        assert (np.asarray(after) == before).all()
    assert f"{changed}" in set(table["row_id"])

    again = shapes / "again.yaml"
    again.write_text(
        (shapes / "audit.yaml").read_text().replace("{path: train}", "{path: corrected}")
    )
    assert command_line("run", again, "--out", shapes / "second").code == 0
    after = pd.read_parquet(shapes / "second" / "mislabels.parquet")
    assert len(after) == len(table) - 1
    assert after["flagged"].sum() < table["flagged"].sum() / 2
    compared = command_line("compare", out, shapes / "second")
    assert compared.code == 0, compared.err


def picture_of(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_regions_as_text_and_back() -> None:
    pixels = np.zeros((9, 12), dtype=bool)
    pixels[2:5, 3:7] = True
    pixels[4, 7] = True
    region = Region.of(pixels, "a disc", "square #2")
    assert str(region).startswith("a disc read as square #2 at 3,2-7,4 #")
    mask = np.zeros((1, 9, 12), dtype=np.int16)
    names = ["ground", "a disc", "square #2"]
    (changed,) = amended(mask, [str(region)], names)
    assert ((changed == 2) == pixels).all()
    assert (mask == 0).all()
    given = "12 x 9: ground 100.0%"
    both = as_text([region, Region.of(~pixels, "ground", "a disc")])
    assert MASKS.typed(both, names, given) == both
    assert MASKS.typed(given, names, given) == given
    with pytest.raises(ValueError, match="is no region; expected"):
        MASKS.typed("disc", names, given)
    with pytest.raises(ValueError, match="is none of the classes 'ground'"):
        MASKS.typed(str(region), ["ground", "a disc"], given)
    with pytest.raises(ValueError, match="leads out of the mask, 6 x 9"):
        MASKS.typed(str(region), names, "6 x 9: ground 100.0%")
    with pytest.raises(ValueError, match="the shape of the region at 3,2-7,4 was damaged"):
        MASKS.typed(str(region)[:-6], names, given)
    with pytest.raises(ValueError, match="is empty or too large"):
        Region.parse("a read as b at 0,0-99999,99999 #eNoDAAAAAAE=")


def written(folder: Path, masks: list[np.ndarray], sizes: list[tuple[int, int]]) -> Path:
    for number, (mask, size) in enumerate(zip(masks, sizes, strict=True)):
        Image.new("RGB", size, (10 * number, 0, 0)).save(folder / f"p{number}.png")
        Image.fromarray(mask).save(folder / f"m{number}.png")
    names = range(len(masks))
    table = pd.DataFrame(
        {"image": [f"p{n}.png" for n in names], "label": [f"m{n}.png" for n in names]}
    )
    table.to_csv(folder / "train.csv", index=False)
    return folder / "train.csv"


def opened(path: Path, **settings: object) -> Samples:
    return open_samples(
        path, ReadSettings("train", "label", task="segmentation", classes=CLASSES, **settings)
    )


def test_masks_of_a_table_are_read_and_those_that_do_not_fit_refused_or_marked(
    tmp_path: Path,
) -> None:
    right = np.array([[0, 1, 2, 255], [0, 0, 1, 1]], dtype=np.uint8)
    beyond = np.where(right == 2, 3, right)
    path = written(tmp_path, [right, beyond, right], [(4, 2), (4, 2), (4, 3)])
    with pytest.raises(DataError, match=r"row 1 \(id 1\): the mask has the pixel value 3"):
        opened(path)
    samples = opened(path, tolerate=True)
    assert samples.modality == "image"
    assert samples.labels[0].tolist() == [[0, 1, 2, NOT_JUDGED], [0, 0, 1, 1]]
    assert (samples.labels[1:] == -1).all()
    reasons = bad_labels(samples)
    assert list(reasons) == [1, 2]
    assert "another size than its picture" in reasons[2]
    assert MASKS.shown(samples.labels[:1], CLASSES)[0] == (
        "4 x 2: ground 37.5%, disc 37.5%, square 12.5%"
    )
    Image.fromarray(right).save(tmp_path / "m1.png")
    with pytest.raises(DataError, match=r"4 x 2 pixels, its picture 4 x 3; expected the same"):
        opened(path)
    # Brought to one size, sizes may differ; the hash knows the masks.
    small = opened(path, size=(1, 2))
    assert small.labels.shape == (3, 1, 2)
    before = small.sha256
    Image.fromarray(right[::-1].copy()).save(tmp_path / "m1.png")
    assert opened(path, size=(1, 2)).sha256 != before
    Image.new("RGB", (4, 2)).save(tmp_path / "m1.png")
    with pytest.raises(DataError, match="picture of mode RGB; expected one value for each pixel"):
        opened(path, size=(1, 2))
    table = pd.read_csv(path).replace("m1.png", "../m1.png")
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=r"there is no image '../m1.png' inside"):
        opened(path, size=(1, 2))


def test_a_folder_without_a_mask_for_each_picture_is_refused(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / "a.png")
    assert len(opened(tmp_path)) == 1
    Image.new("L", (2, 2)).save(tmp_path / "images/b.jpg")
    with pytest.raises(DataError, match=r"images/b.jpg has nothing of its name in masks/"):
        opened(tmp_path)


def test_a_size_that_no_memory_holds_is_refused_before_a_mask_is_made() -> None:
    masks = pd.Series([np.zeros((2, 2), dtype=np.uint8)])
    reading = Reading(classes=["a", "b"], size=(99_999, 99_999))
    with pytest.raises(DataError, match="1 masks of 99999 x 99999 pixels are too many"):
        MASKS.read(masks, np.arange(1), "train", reading)


def test_nearest_pixels_come_back_from_a_larger_size() -> None:
    values = np.arange(12).reshape(3, 4)
    larger = nearest(values, (7, 9))
    assert (nearest(larger, (3, 4)) == values).all()
    assert (nearest(values, (3, 4)) == values).all()


def test_what_is_said_of_a_mask_against_a_loop_over_its_pixels() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(3, 4, 18, 20, dtype=torch.float64)
    labels = torch.randint(0, 4, (3, 18, 20), dtype=torch.int16)
    labels[0, :5] = NOT_JUDGED
    task = Segmentation.of(outputs, 4, labels)
    said = task.said_of(outputs, labels).numpy()
    logs = outputs.log_softmax(dim=1).numpy()
    for row in range(3):
        judged = labels[row].numpy() != NOT_JUDGED
        places = list(zip(*np.nonzero(judged), strict=True))
        losses = {p: -logs[row, labels[row][p], p[0], p[1]] for p in places}
        assert said[row, LOSS] == pytest.approx(np.mean(list(losses.values())))
        best = logs[row].argmax(axis=0)
        right = np.mean([best[p] == labels[row][p] for p in places])
        assert said[row, RIGHT] == pytest.approx(right)
        odds = {p: np.clip(np.log(np.expm1(loss)), -7, 7) for p, loss in losses.items()}
        for column, side in enumerate(sides(18, 20)):
            half = side // 2
            means = []
            for down, across in places:
                near = [
                    odds[p] for p in places if max(abs(p[0] - down), abs(p[1] - across)) <= half
                ]
                means.append(sum(near) / max(len(near), side * side / 2))
            assert said[row, DOUBTS + column] == pytest.approx(max(means), abs=1e-6)
    assert task.losses(outputs, labels).numpy() == pytest.approx(said[:, LOSS])
    answers = task.answers(said)
    predicted, given = next(iter(task.choices(answers, labels.numpy())))
    assert len(predicted) == len(given) == 3 * 16 - 4
    with pytest.raises(ModelError, match=r"expected \[rows, 3, height, width\]"):
        Segmentation.of(outputs, 3)


def test_what_is_held_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    for side in (16, 64):
        labels = torch.zeros(2, side, side, dtype=torch.int16)
        said = Segmentation.of(torch.randn(2, 3, side, side), 3).said_of(
            torch.randn(2, 3, side, side), labels
        )
        assert said.shape == (2, 2 + 3 + 16)
    small = np.zeros((2, 4), dtype=np.uint8)
    samples = opened(written(tmp_path, [small], [(4, 2)]))
    assert samples.rows_at_once(256) == 256
    large = replace(samples, labels=np.broadcast_to(np.int16(0), (100, 512, 512)))
    assert large.rows_at_once(256) == 2**24 // (512 * 512 * 3)


def test_outputs_of_a_quarter_of_the_size_and_one_map_of_logits() -> None:
    labels = torch.zeros(2, 16, 16, dtype=torch.int16)
    labels[:, :8] = 1
    coarse = torch.zeros(2, 1, 4, 4)
    coarse[:, :, :2] = 6.0
    coarse[:, :, 2:] = -6.0
    task = Segmentation.of(coarse, 2, labels)
    assert task.pixel.outputs == "one logit"
    assert task.losses(coarse, labels).max() < 0.15
    assert (task.said_of(coarse, labels)[:, RIGHT] == 1).all()


def test_pixels_that_are_not_judged_take_no_part_in_squares() -> None:
    values = torch.full((1, 5, 5), 2.0)
    judged = torch.ones(1, 5, 5, dtype=torch.bool)
    judged[0, 0, 0] = False
    found = pooled(values, judged, 3)
    assert found[0, 2, 2] == 2.0
    assert found[0, 0, 0] == -7.0


def test_each_planted_mask_has_one_wrong_region() -> None:
    generator = np.random.default_rng(0)
    masks = np.zeros((40, 24, 24), dtype=np.int16)
    masks[:, 4:11, 5:12] = 1
    masks[:, 14:20, 3:22] = 2
    masks[:, 23] = NOT_JUDGED
    task = Segmentation.of(torch.zeros(1, 3, 24, 24), 3)
    wrong = task.wrong_labels(np.zeros((40, 21)), masks, generator)
    changed = (wrong != masks).sum(axis=(1, 2))
    assert (changed > 0).mean() >= 0.95
    assert changed.max() < 24 * 24 / 2
    assert ((wrong == NOT_JUDGED) == (masks == NOT_JUDGED)).all()
    assert set(np.unique(wrong)) == {0, 1, 2, NOT_JUDGED}


def test_doubtful_regions_are_connected_and_no_borders() -> None:
    truth = np.zeros((40, 40), dtype=np.int64)
    truth[5:15, 5:15] = 1
    truth[25:35, 20:30] = 2
    mask = truth.astype(np.int16)
    mask[25:35, 20:30] = 1
    # Its border is one pixel off.
    mask[5:15, 15] = 1
    probabilities = np.full((40, 40, 3), 0.02)
    np.put_along_axis(probabilities, truth[:, :, None], 0.96, axis=2)
    ((pixels, was, now),) = doubtful_regions(mask, probabilities)
    assert (was, now) == (1, 2)
    assert (pixels == (truth == 2)).all()


def test_no_masks_are_left_where_a_table_cannot_be_corrected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grey = np.zeros((6, 8), dtype=np.uint8)
    samples = opened(written(tmp_path, [grey] * 3, [(8, 6)] * 3))
    every = str(Region.of(np.ones((6, 8), dtype=bool), "ground", "disc"))
    changes = Changes.to_values({0: every, 1: every})
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(rewriting, "_equal", lambda *_: False)
        with pytest.raises(DataError, match="does not read as it should; nothing was written"):
            write_corrected(samples, changes, tmp_path / "new.csv")
    assert sorted(tmp_path.iterdir()) == before
    (tmp_path / "m1.png").unlink()
    with pytest.raises(DataError, match=r"m1\.png"):
        write_corrected(samples, changes, tmp_path / "new.csv")
    assert not (tmp_path / "new_masks").exists()


def test_pixels_that_are_not_judged_are_not_changed() -> None:
    mask = np.array([[[0, NOT_JUDGED], [0, 0]]], dtype=np.int16)
    every = str(Region.of(np.ones((2, 2), dtype=bool), "ground", "disc"))
    assert amended(mask, [every], CLASSES).tolist() == [[[1, NOT_JUDGED], [1, 1]]]
    with pytest.raises(ValueError, match="broadcast"):
        amended(mask[:, :1], [every], CLASSES)


def test_outlines_are_drawn_in_black_and_white_and_numbered() -> None:
    pixels = np.zeros((32, 32), dtype=bool)
    pixels[8:24, 8:24] = True
    text = str(Region.of(pixels, "disc", "square"))
    grey = Image.new("RGB", (32, 32), (120, 120, 120))
    drawn = np.asarray(outlined(grey, text, (32, 32)))
    assert drawn.shape == (192, 192, 3)
    line = drawn[96, 48:51].tolist()
    assert line == [[255] * 3, [0] * 3, [255] * 3]
    assert drawn[96, 96].tolist() == [120] * 3
    assert outlined(grey, "32 x 32: disc 100.0%", (32, 32)) is grey


class Coarse(torch.nn.Module):
    """As torchvision's models: a dict of maps, the main ones under `out`."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 8, 4, stride=4)
        self.last = torch.nn.Conv2d(8, 3, 1)

    def forward(self, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.last(self.first(pictures).relu())
        return {"out": found, "aux": found.detach() * 0}


def data(rows: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    generator = np.random.default_rng(seed)
    masks = np.repeat(np.repeat(generator.integers(0, 3, (rows, 4, 4)), 4, axis=1), 4, axis=2)
    pictures = np.eye(3)[masks] + generator.normal(0, 0.1, (rows, 16, 16, 3))
    return torch.tensor(pictures, dtype=torch.float32).permute(0, 3, 1, 2), masks


def test_arrays_from_python_and_a_dict_of_outputs_at_a_quarter_of_the_size() -> None:
    torch.manual_seed(0)
    network, (inputs, masks) = Coarse(), data(120, 0)
    given = masks.copy()
    given[:8, 4:12, 4:12] = (given[:8, 4:12, 4:12] + 1) % 3
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(150):
        loss = torch.nn.functional.cross_entropy(
            torch.nn.functional.interpolate(network(inputs)["out"], (16, 16), mode="bilinear"),
            torch.tensor(given),
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    result = dataaudit.audit(
        network,
        (inputs, [Image.fromarray(mask.astype(np.uint8)) for mask in given]),
        data(60, 1),
        (
            torch.cat([inputs[20:23], data(20, 2)[0]]),
            np.concatenate([given[20:23], data(20, 2)[1]]),
        ),
        task="segmentation",
        classes=CLASSES,
        preprocess=lambda frame: torch.stack(list(frame["input"])),
        mirror={"steps": 60, "batch_size": 32},
    )
    table = result.mislabels
    assert set(table.index[table["rank"] <= 8]) == set(range(8))
    assert table["flagged"][:8].all()
    leaks = result.contamination.query("flagged")
    assert leaks["query_id"].tolist() == [0, 1, 2]
    assert leaks["row_id"].tolist() == [20, 21, 22]
    assert "of each pixel" in result.report.model_dump_json()


def test_the_brush_is_packed_as_documented() -> None:
    pixels = np.zeros((3, 5), dtype=bool)
    pixels[1, 1:4] = True
    bits = "".join(f"{byte:08b}" for byte in packed(pixels))
    assert bits[:53] == f"{60:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    runs = [bits[53 + 27 * run : 80 + 27 * run] for run in range(3)]
    assert runs == [
        f"111{length - 1:016b}{value:08b}" for length, value in ((24, 0), (12, 255), (24, 0))
    ]
    assert set(bits[53 + 81 :]) <= {"0"}
    assert (unpacked(packed(pixels), 3, 5) == pixels).all()
    whole = np.ones((300, 300), dtype=bool)
    assert unpacked(packed(whole), 300, 300).all()
    # Values one by one, as Label Studio packs what changes at every pixel.
    alone = f"{8:032b}00111" + "0010001101111111" + "000111" + "00000000" * 4 + "11111111" * 4
    content = [int(alone.ljust(128, "0")[place : place + 8], 2) for place in range(0, 128, 8)]
    assert unpacked(content, 1, 2).tolist() == [[False, True]]
    for damaged in (content[:6], content[:8], "abc", [300], None):
        with pytest.raises(ValueError, match="are no brush of 2 x 1 pixels"):
            unpacked(damaged, 1, 2)
    with pytest.raises(ValueError, match="are no brush of 3 x 1 pixels"):
        unpacked(content, 1, 3)


def test_a_table_is_corrected_with_new_masks_beside_it(tmp_path: Path) -> None:
    grey = np.zeros((6, 8), dtype=np.uint8)
    grey[0, 0] = 255
    path = written(tmp_path, [grey, grey, grey], [(8, 6)] * 3)
    pixels = np.zeros((3, 4), dtype=bool)
    pixels[1:, 2:] = True
    # Judged at half of the size: the region is twice as wide in the file.
    samples = opened(path, size=(3, 4))
    changes = Changes.to_values({1: str(Region.of(pixels, "ground", "square"))})
    target = tmp_path / "new.csv"
    write_corrected(samples, changes.without({0}), target).rename(target)
    table = pd.read_csv(target)
    assert table["label"].tolist() == ["new_masks/m1_1.png", "m2.png"]
    after = np.asarray(Image.open(tmp_path / "new_masks/m1_1.png"))
    assert (after[2:, 4:] == 2).all()
    assert after.sum() == 255 + 2 * 16
    assert (np.asarray(Image.open(tmp_path / "m1.png")) == grey).all()
    with pytest.raises(DataError, match="new_masks: already exists"):
        write_corrected(samples, changes, target)
    # What nobody judges stays so, in the file and in what was read of it.
    whole = Changes.to_values({1: str(Region.of(np.ones((3, 4), dtype=bool), "ground", "square"))})
    write_corrected(samples, whole, tmp_path / "whole.csv")
    after_all = np.asarray(Image.open(tmp_path / "whole_masks/m1_1.png"))
    assert after_all[0, 0] == 255
    assert (after_all.ravel()[1:] == 2).all()
    # Masks that stand in the table itself stay there.
    stored = pd.DataFrame(
        {
            "image": [(tmp_path / f"p{n}.png").read_bytes() for n in range(3)],
            "label": [(tmp_path / f"m{n}.png").read_bytes() for n in range(3)],
        }
    )
    stored.to_parquet(tmp_path / "train.parquet")
    samples = opened(tmp_path / "train.parquet")
    whole = np.zeros((6, 8), dtype=bool)
    whole[2:, 4:] = True
    changes = Changes.to_values({1: str(Region.of(whole, "ground", "square"))})
    again = write_corrected(samples, changes, tmp_path / "new.parquet")
    mask = Image.open(io.BytesIO(pd.read_parquet(again)["label"][1]))
    assert (np.asarray(mask) == after).all()
    assert not (tmp_path / "new_masks").joinpath("m1_1.png").samefile(tmp_path / "m1.png")


def test_a_transformers_model_is_read_as_it_is() -> None:
    sizes = {"hidden_sizes": [8, 8], "depths": [1, 1], "num_attention_heads": [1, 1]}
    shapes = {"patch_sizes": [3, 3], "strides": [4, 2], "sr_ratios": [1, 1], "mlp_ratios": [1, 1]}
    config = SegformerConfig(
        num_encoder_blocks=2, decoder_hidden_size=8, num_labels=3, **sizes, **shapes
    )
    model = SegformerForSemanticSegmentation(config)
    loaded = load_objects(
        model,
        {"train": data(40, 0), "held_out": data(40, 1)},
        lambda frame: torch.stack(list(frame["input"])),
        config_from_python("label", None, {"task": "segmentation", "classes": CLASSES}),
    )
    assert isinstance(loaded.task, Segmentation)
    assert loaded.task.pixel.outputs == "logits"
    assert loaded.train.labels.shape == (40, 16, 16)


def test_settings_that_do_not_fit_masks_are_refused(shapes: Path) -> None:
    inputs = data(60, 1)
    with pytest.raises(DataError, match=r"masks name no classes; add the line"):
        load_objects(
            Coarse(),
            {"train": inputs},
            lambda frame: torch.stack(list(frame["input"])),
            config_from_python("label", None, {"task": "segmentation"}),
        )
    for names, message in (
        (["a", "b; c"], "cannot be told apart in the text of a region"),
        (["a read as b", "c"], "cannot be told apart"),
    ):
        with pytest.raises(ConfigError, match=message):
            config_from_python("label", None, {"task": "segmentation", "classes": names})

"""Each check finds what was planted, and nothing where nothing was; files alone are audited."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine
from PIL import Image

from dataaudit.checks import duplicates, registry
from dataaudit.checks.check import Check, Found
from dataaudit.checks.drift import Drift
from dataaudit.checks.duplicates import Duplicates
from dataaudit.checks.examined import Examined
from dataaudit.checks.imbalance import Imbalance
from dataaudit.checks.later import Later
from dataaudit.checks.missing import Missing
from dataaudit.checks.odd_pictures import OddPictures
from dataaudit.checks.order import Order
from dataaudit.checks.outliers import Outliers
from dataaudit.checks.shortcuts import Shortcuts
from dataaudit.checks.slices import Slices
from dataaudit.checks.target_leak import TargetLeak
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError
from dataaudit.likeness.near_pairs import EXHAUSTIVE, near_pairs

DOCS = Path(__file__).resolve().parent.parent / "docs"
WORDS = np.array([f"word{number}" for number in range(400)])


def table(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    size = generator.normal(10, 2, rows)
    return pd.DataFrame(
        {
            "size": size.round(3),
            "weight": generator.lognormal(size=rows).round(4),
            "colour": generator.choice(["red", "blue", "green"], rows),
            "label": ((size - 10) / 2 + generator.normal(size=rows) > 0).astype(int),
        }
    )


def texts(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    made = [" ".join(generator.choice(WORDS, 15)) for _ in range(rows)]
    return pd.DataFrame({"text": made, "label": generator.integers(0, 2, rows)})


def pictures(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "image": [encoded(generator.integers(0, 255, (24, 24, 3))) for _ in range(rows)],
            "label": generator.integers(0, 2, rows),
        }
    )


def encoded(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def samples(frame: pd.DataFrame, role: str = "train") -> Samples:
    return samples_from_object(frame, ReadSettings(role, "label", classes=None, tolerate=True))


def examined(train: pd.DataFrame, held_out: pd.DataFrame | None = None, **more) -> Examined:
    other = None if held_out is None else samples(held_out, "held_out")
    return Examined(samples(train), other, **more)


def columns(found: Found) -> list[str | None]:
    return [issue.column for issue in found.issues]


def rows(found: Found) -> set:
    return {issue.row_id for issue in found.issues}


@pytest.mark.parametrize("check", registry.CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("make", [table, texts, pictures])
def test_a_check_finds_nothing_where_nothing_is_wrong(check: Check, make) -> None:
    count = 60 if make is pictures else 400
    data = examined(make(count, 0), make(count, 1), right=np.ones(count))
    if check.lacking(data) is None:
        assert check.look(data).issues == ()


@pytest.mark.parametrize(("make", "rows"), [(table, 400), (texts, 150)])
def test_hardly_any_clean_data_set_raises_anything(make, rows) -> None:
    """All checks together, at their defaults: one of 25 at most."""
    raised = []
    for seed in range(25):
        right = (np.random.default_rng(seed).random(rows) < 0.8).astype(float)
        data = examined(make(rows, 2 * seed), make(rows, 2 * seed + 1), right=right, seed=seed)
        able = [check for check in registry.CHECKS if check.lacking(data) is None]
        raised.append([check.name for check in able if check.look(data).issues])
    assert sum(map(bool, raised)) <= 1, raised


def test_missing_and_constant_values() -> None:
    train = table(400, 0).assign(always="x")
    train.loc[3:9, "size"] = np.nan
    train.loc[5, "colour"] = " "
    train["label"] = train["label"].astype("Int64")
    train.loc[7, "label"] = pd.NA
    found = Missing().look(examined(train))
    assert columns(found) == ["always", "size", "colour", "label"]
    assert found.issues[1].what == "1.8% of the rows have no value (7)"


def test_duplicates_are_clusters_of_identical_and_of_nearly_identical_texts() -> None:
    train = texts(300, 0)
    train.loc[298, "text"] = train.loc[10, "text"]
    words = train.loc[20, "text"].split()
    train.loc[299, "text"] = " ".join([*words[:7], "another", *words[7:]])
    found = Duplicates().look(examined(train))
    assert {issue.group: set() for issue in found.issues}.keys() == {1, 2}
    assert [rows_of(found, group) for group in (1, 2)] == [{10, 298}, {20, 299}]
    assert "the same as 1 other row" in found.issues[0].what
    assert "nearly the same as 1 other row" in found.issues[-1].what


def test_of_many_rows_of_one_content_one_is_held_against_the_others(monkeypatch) -> None:
    train = texts(300, 0)
    train.loc[50:249, "text"] = train.loc[50, "text"]
    train.loc[60, "text"] = train.loc[50, "text"].upper() + "!"
    words = train.loc[50, "text"].split()
    train.loc[299, "text"] = " ".join([*words[:7], *words[8:]])
    asked = []

    def near(vectors, least, seed):
        asked.append(len(vectors))
        return near_pairs(vectors, least, seed)

    monkeypatch.setattr(duplicates, "near_pairs", near)
    found = Duplicates().look(examined(train))
    assert asked == [101]
    assert rows_of(found, 1) == {*range(50, 250), 299}
    assert {issue.group for issue in found.issues} == {1}


def rows_of(found: Found, group: int) -> set:
    return {issue.row_id for issue in found.issues if issue.group == group}


def test_duplicates_of_pictures_that_were_compressed_again() -> None:
    generator = np.random.default_rng(0)
    train = pictures(80, 0)
    smooth = np.asarray(
        Image.fromarray(generator.integers(0, 255, (6, 6, 3)).astype(np.uint8)).resize((48, 48))
    )
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=60)
    train.loc[3, "image"], train.loc[70, "image"] = encoded(smooth), file.getvalue()
    assert rows(Duplicates().look(examined(train))) == {3, 70}


def test_near_pairs_among_more_rows_than_are_all_compared() -> None:
    """Nearly all of those that comparing everything finds, and nothing else."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(EXHAUSTIVE + 500, 64))
    vectors[-200:] = vectors[:200] + generator.normal(0, 0.4, (200, 64))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = near_pairs(vectors.astype(np.float32), 0.8, 0)
    every = np.argwhere(np.triu(vectors @ vectors.T, 1) >= 0.8)
    right = {tuple(pair) for pair in every.tolist()}
    pairs = {tuple(pair) for pair in found.tolist()}
    assert pairs <= right
    assert len(pairs) >= 0.95 * len(right) > 150


def test_repeats_by_nature_are_no_duplicates() -> None:
    generator = np.random.default_rng(0)
    train = pd.DataFrame(generator.integers(0, 3, (400, 3)), columns=["a", "b", "label"])
    found = Duplicates().look(examined(train))
    assert not found.issues
    assert "the columns have few values" in found.text


def test_rare_classes() -> None:
    train = table(400, 0)
    train["label"] = [0] * 380 + [1] * 17 + [2] * 3
    found = Imbalance().look(examined(train))
    assert [issue.what for issue in found.issues] == [
        "3 rows of class 2; an even share would be 133"
    ]


@pytest.mark.parametrize(
    "planted",
    [
        lambda label: label * 10.0 + np.random.default_rng(3).random(len(label)),
        lambda label: [f"K{value}-{place % 97}" for place, value in enumerate(label)],
        lambda label: np.random.default_rng(3).integers(10, 99, len(label)) * 10 + label,
    ],
    ids=["rounded", "grouped", "last digit"],
)
def test_a_feature_that_gives_the_label_away(planted) -> None:
    train = table(400, 0)
    train["copy"] = planted(train["label"].to_numpy())
    assert columns(TargetLeak().look(examined(train))) == ["copy"]


def test_a_shortcut_helps_in_training_only() -> None:
    train, trusted = table(600, 0), table(600, 1)
    generator = np.random.default_rng(0)
    right = generator.random(600) < 0.9
    train["scanner"] = np.where(right, train["label"], 1 - train["label"]).astype(str)
    trusted["scanner"] = generator.choice(["0", "1"], 600)
    assert columns(Shortcuts().look(examined(train, trusted))) == ["scanner"]


def test_drift_of_numbers_words_and_labels() -> None:
    train, trusted = table(600, 0), table(600, 1)
    trusted["size"] += 1.5
    trusted.loc[:200, "colour"] = "red"
    trusted.loc[:300, "label"] = 1
    found = Drift().look(examined(train, trusted))
    assert set(columns(found)) == {"size", "colour", "(label)"}


@pytest.mark.parametrize("check", [TargetLeak, Shortcuts, Slices], ids=lambda check: check.name)
def test_numbers_that_stand_for_none_may_be_the_largest_there_are(check: type[Check]) -> None:
    train, held_out = table(400, 0), table(400, 1)
    for rows_of_one in (train, held_out):
        rows_of_one.loc[::5, "weight"] = -1.7976931348623157e308
    found = check().look(examined(train, held_out, right=np.arange(400) % 7 / 7))
    assert found.issues == ()


def test_what_was_not_compared_is_not_said_to_be_alike() -> None:
    train, other = table(200, seed=0), table(200, seed=1)
    assert "Not compared" not in Drift().look(examined(train, other)).text
    assert Drift().look(examined(train, other[:29])).cannot_tell
    words = Drift().look(examined(train, other.assign(size="n/a")))
    assert not words.cannot_tell
    assert "with fewer than 30 values of its kind: size of trusted samples" in words.text
    assert Shortcuts().look(examined(train, other[["label"]].assign(other=1.0))).cannot_tell


def test_rows_that_are_sorted() -> None:
    train = table(600, 0).sort_values("label", ignore_index=True)
    # What goes with the label is sorted with it.
    assert set(columns(Order().look(examined(train)))) == {"(label)", "size"}


def test_outliers_of_one_column_and_of_all() -> None:
    train = table(600, 0)
    train.loc[5, "size"] *= 1000
    found = Outliers().look(examined(train))
    assert [(issue.row_id, issue.column) for issue in found.issues] == [(5, "size")]
    mixed_up = table(600, 0)
    mixed_up.loc[:4, "size"] *= 100
    assert rows(Outliers().look(examined(mixed_up))) == {0, 1, 2, 3, 4}
    rare = table(600, 0).assign(flag=[*[1] * 5, *[0] * 595])
    assert Outliers().look(examined(rare)).issues == ()
    generator = np.random.default_rng(0)
    common = generator.normal(size=600)
    near = {f"x{i}": common + generator.normal(0, 0.01, 600) for i in range(4)}
    train = pd.DataFrame({**near, "label": generator.integers(0, 2, 600)})
    train.loc[7, ["x0", "x1"]] = [1.5, -1.5]
    assert rows(Outliers().look(examined(train))) == {7}


def test_odd_pictures() -> None:
    train = pictures(60, 0)
    generator = np.random.default_rng(1)
    train.loc[3, "image"] = encoded(generator.integers(0, 20, (24, 24, 3)))
    train.loc[4, "image"] = encoded(generator.integers(235, 255, (24, 24, 3)))
    train.loc[5, "image"] = encoded(np.full((24, 24, 3), 90))
    train.loc[6, "image"] = encoded(generator.integers(0, 255, (24, 240, 3)))
    found = OddPictures().look(examined(train))
    kinds = {(issue.row_id, issue.what) for issue in found.issues}
    expected = [(3, "dark"), (4, "bright"), (5, "nearly empty"), (6, "of another shape")]
    assert kinds.issuperset(expected)
    assert {row for row, _ in kinds} == {3, 4, 5, 6}


def test_pictures_of_16_bits_and_on_transparent_ground_are_measured_as_they_are_seen() -> None:
    generator = np.random.default_rng(0)

    def deep(low: int, high: int) -> bytes:
        file = io.BytesIO()
        values = generator.integers(low, high, (24, 24)).astype(np.uint16)
        Image.fromarray(values).save(file, "PNG")
        return file.getvalue()

    def drawn() -> bytes:
        black = np.zeros((24, 24, 4))
        black[..., 3] = generator.integers(0, 256, (24, 24))
        return encoded(black)

    train = pictures(60, 0)
    train.loc[:29, "image"] = [deep(0, 65535) for _ in range(30)]
    train.loc[30:44, "image"] = [drawn() for _ in range(15)]
    train.loc[7, "image"] = deep(0, 4000)
    found = OddPictures().look(examined(train))
    assert {issue.row_id for issue in found.issues} == {7}


def test_slices_in_which_the_model_fails() -> None:
    trusted = table(800, 1)
    generator = np.random.default_rng(0)
    bad = (trusted["colour"] == "red").to_numpy()
    right = (generator.random(800) < np.where(bad, 0.4, 0.95)).astype(float)
    found = Slices().look(examined(table(400, 0), trusted, right=right))
    assert len(found.issues) == 1
    assert found.issues[0].what.startswith("colour = red")


def test_training_rows_later_than_evaluation_rows() -> None:
    train, trusted = table(40, 0), table(40, 1)
    days = pd.date_range("2026-01-01", periods=80)
    train["day"], trusted["day"] = days[:40].astype(str), days[40:].astype(str)
    times = {"train": "day", "held_out": "day"}
    assert not Later().look(examined(train, trusted, times=times)).issues
    train.loc[3, "day"] = "2026-03-20"
    assert rows(Later().look(examined(train, trusted, times=times))) == {3}
    assert Later().lacking(examined(train, trusted)) is not None


def dated(train: list[str], trusted: list[str]) -> Any:
    frames = [pd.DataFrame({"a": range(len(days)), "day": days, "label": 0})
              for days in (train, trusted)]  # fmt: skip
    return Later().look(examined(*frames, times={"train": "day", "held_out": "day"}))


def test_the_order_of_day_and_month_is_one_for_all_dates() -> None:
    # Each by itself would be read as it can be: 13/02 is no month, 05/03 would be May.
    assert not dated(["01/02/2020", "05/03/2020"], ["06/03/2020", "13/03/2020"]).issues
    assert rows(dated(["01/02/2020", "07/03/2020"], ["06/03/2020", "13/03/2020"])) == {1}
    assert not dated(["01/12/2020", "02/05/2020"], ["12/13/2020"]).issues
    assert not dated(["01.12.2020"], ["02.12.2020"]).issues
    assert not dated(["05.03.2020 10:00"], ["06.03.2020 09:00", "01.04.2020 09:00"]).issues
    with pytest.raises(
        DataError, match="the day stands first in '13/02/2020', the month in '02/13"
    ):
        dated(["13/02/2020"], ["02/13/2020"])


def test_dates_that_can_be_read_in_two_ways_are_named() -> None:
    found = dated(["05/03/2020"], ["06/02/2020"])
    assert found.cannot_tell
    assert not found.issues
    assert "Dates such as 05/03/2020 may have the day first or the month" in found.text
    same = dated(["05/03/2020", "01/02/2020"], ["04/03/2020"])
    assert rows(same) == {0}
    assert "Dates such as 05/03/2020 were read month first, which no value decides; read day" in (
        same.text
    )
    iso = dated(["2020-03-05", "2020/03/05", None], ["2020-04-01"])
    assert iso.text.endswith("evaluation row. Of 1 training row no time could be read.")


def test_splits_without_a_column_of_times_are_left_out() -> None:
    frames = [pd.DataFrame({"a": [1.0], "day": [day], "label": [0]})
              for day in ("2020-05-01", "2020-01-01", "2020-04-01")]  # fmt: skip
    data = examined(
        *frames[:2],
        suspects=samples(frames[2], "suspects"),
        times={"train": "day", "suspects": "day"},
    )
    (issue,) = Later().look(data).issues
    assert issue.what.startswith("as late as the earliest row of suspects")


def test_times_of_two_kinds_are_not_compared() -> None:
    frames = [pd.DataFrame({"a": [1, 2], "day": days, "label": 0})
              for days in ([2019, 2020], ["2019-01-01", "2020-01-01"])]  # fmt: skip
    with pytest.raises(DataError, match=r"holds numbers, and .* does not; expected times"):
        Later().look(examined(*frames, times={"train": "day", "held_out": "day"}))


BARE = "name: fruit\ntrain: {path: train.csv}\nheld_out: {path: val.csv}\n"


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    train = table(300, 0).replace({"label": {0: "no", 1: "yes"}})
    train.loc[299] = train.loc[0]
    train.to_csv(tmp_path / "train.csv", index=False)
    val = table(300, 1).replace({"label": {0: "no", 1: "yes"}})
    val.to_csv(tmp_path / "val.csv", index=False)
    (tmp_path / "audit.yaml").write_text(BARE, encoding="utf-8")
    return tmp_path


def test_files_alone_are_audited(bare: Path, command_line: CommandLine) -> None:
    outcome = command_line("run", bare / "audit.yaml", "--out", bare / "out")
    assert outcome.code == 0, outcome.err
    report = json.loads((bare / "out" / "audit.json").read_text(encoding="utf-8"))
    outcomes = {check["name"]: check["outcome"] for check in report["checks"]}
    assert list(outcomes) == [check.name for check in registry.CHECKS if not check.own_pages]
    assert outcomes["duplicates"] == "found"
    assert outcomes["slices"] == outcomes["odd_pictures"] == "not run"
    issues = pd.read_parquet(bare / "out" / "issues.parquet")
    assert issues["row_id"].tolist() == ["0", "299"]
    assert set(issues["check"]) == {"duplicates"}
    mislabels = pd.read_parquet(bare / "out" / "mislabels.parquet")
    assert mislabels["given_label"].isin(["no", "yes"]).all()
    assert mislabels["score"].isna().all()
    assert not mislabels["flagged"].any()
    page = (bare / "out" / "report.html").read_text(encoding="utf-8")
    assert "Duplicates within the training rows: found" in page
    again = command_line("run", bare / "audit.yaml", "--out", bare / "out", "--resume")
    assert again.code == 0
    assert "already finished" in again.out


def test_labels_that_cannot_be_used_are_no_class(bare: Path, command_line: CommandLine) -> None:
    train, suspects = pd.read_csv(bare / "train.csv"), pd.read_csv(bare / "val.csv")
    suspects.loc[0] = train.loc[5]
    suspects.loc[[1, 2], "label"] = [None, "other"]
    # Row 299 repeats row 0: that it has no label contradicts nobody.
    train.loc[[5, 299], "label"] = None
    train.to_csv(bare / "train.csv", index=False)
    suspects.to_csv(bare / "test.csv", index=False)
    with (bare / "audit.yaml").open("a", encoding="utf-8") as file:
        file.write("suspects: {path: test.csv}\n")
    outcome = command_line("run", bare / "audit.yaml", "--out", bare / "out")
    assert outcome.code == 0, outcome.err
    report = json.loads((bare / "out" / "audit.json").read_text(encoding="utf-8"))
    assert not any("failed" in check["text"] for check in report["checks"])
    leakage = report["leakage"]
    assert sum(item["suspects"] for item in leakage["hits_per_class"]) == 298
    assert leakage["disagreeing_rows"] == []
    pair = leakage["pairs"][0]
    assert (pair["query_id"], pair["row_id"], pair["kind"]) == (0, 5, "exact")
    assert report["samples"][pair["row"]]["label"] == "none given"
    page = (bare / "out" / "report.html").read_text(encoding="utf-8")
    assert "the training row has no label" in page


def test_checks_are_turned_off_and_limited_by_name(bare: Path, command_line: CommandLine) -> None:
    yaml = bare / "audit.yaml"
    yaml.write_text(f"{BARE}gates: {{checks: {{duplicates: 1}}}}\n", encoding="utf-8")
    outcome = command_line("run", yaml, "--out", bare / "limited")
    assert outcome.code == 1
    assert "gate duplicates: FAILED (found 2, limit 1)" in outcome.out
    yaml.write_text(f"{BARE}checks: {{duplicates: false}}\n", encoding="utf-8")
    assert command_line("run", yaml, "--out", bare / "off").code == 0
    assert len(pd.read_parquet(bare / "off" / "issues.parquet")) == 0
    yaml.write_text(f"{BARE}checks: {{duplicate: false}}\n", encoding="utf-8")
    outcome = command_line("run", yaml, "--out", bare / "unknown")
    assert outcome.code == 2
    assert "checks: there is no check 'duplicate'; did you mean duplicates?" in outcome.err


def test_other_commands_need_a_model(bare: Path, command_line: CommandLine) -> None:
    for command in ("plan", "verify", "memorization"):
        more = () if command == "plan" else ("--out", bare / command)
        outcome = command_line(command, bare / "audit.yaml", *more)
        assert outcome.code == 2, command
        assert "model: needed here" in outcome.err


def test_a_check_that_fails_says_so_and_the_others_run(
    bare: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Duplicates, "look", lambda *_: 1 / 0)
    yaml = bare / "audit.yaml"
    yaml.write_text(f"{BARE}gates: {{checks: {{duplicates: 1}}}}\n", encoding="utf-8")
    outcome = command_line("run", yaml, "--out", bare / "out")
    assert "gate duplicates: CANNOT TELL" in outcome.out
    report = json.loads((bare / "out" / "audit.json").read_text(encoding="utf-8"))
    [failed] = [check for check in report["checks"] if check["name"] == "duplicates"]
    assert failed["text"] == "This check failed: ZeroDivisionError: division by zero"


def test_a_check_is_added_as_the_architecture_page_says(
    bare: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One new file, as printed there, and one line in the registry."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names: dict = {}
    exec(code, names)
    monkeypatch.setattr(registry, "CHECKS", registry.CHECKS)
    registry.CHECKS.append(names["Shouting"]())
    try:
        train = pd.read_csv(bare / "train.csv")
        train["colour"] = train["colour"].str.upper()
        train.to_csv(bare / "train.csv", index=False)
        yaml = bare / "audit.yaml"
        yaml.write_text(f"{BARE}gates: {{checks: {{shouting: 0}}}}\n", encoding="utf-8")
        outcome = command_line("run", yaml, "--out", bare / "out")
    finally:
        registry.CHECKS.pop()
    assert "gate shouting: FAILED (found 1, limit 0)" in outcome.out
    issues = pd.read_parquet(bare / "out" / "issues.parquet")
    assert issues.loc[issues["check"] == "shouting", "column"].tolist() == ["colour"]
    page = (bare / "out" / "report.html").read_text(encoding="utf-8")
    assert "Values in capitals: found" in page


def test_a_passage_of_a_benchmark_is_found_inside_a_long_text(
    tmp_path: Path, command_line: CommandLine
) -> None:
    generator = np.random.default_rng(0)
    corpus = [" ".join(generator.choice(WORDS, 200)) for _ in range(30)]
    law = " ".join(generator.choice(WORDS, 40))
    corpus = [f"{text} {law}" for text in corpus]
    questions = [" ".join(generator.choice(WORDS, 30)) for _ in range(10)]
    corpus[4] = f"{corpus[4][:300]} {questions[3].upper()} {corpus[4][300:]}"
    corpus[7] = questions[8]
    corpus[9] = " "
    pd.DataFrame({"text": corpus}).to_json(tmp_path / "corpus.jsonl", orient="records", lines=True)
    for name, texts_of in (
        ("exam", questions),
        ("laws", [*(f"{law} {q}" for q in questions[:2]), " "]),
    ):
        right = [place in (3, 8, 9) for place in range(len(texts_of))]
        frame = pd.DataFrame({"question": texts_of, "right": right})
        frame.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    yaml = tmp_path / "audit.yaml"
    yaml.write_text(
        "task: causal-lm\ntrain: {path: corpus.jsonl}\nsuspects:\n"
        "  - {name: exam, path: exam.jsonl, text: question, score: right}\n"
        "  - {name: laws, path: laws.jsonl, text: question}\n"
        "gates: {checks: {passages: 0}}\n",
        encoding="utf-8",
    )
    outcome = command_line("run", yaml, "--out", tmp_path / "out")
    assert outcome.code == 1, outcome.err
    issues = pd.read_parquet(tmp_path / "out" / "issues.parquet")
    found = issues[issues["check"] == "passages"]
    # What thirty texts share is boilerplate, so no law is found, and what is empty is no copy.
    lines = sorted(found[["split", "row_id"]].to_numpy().tolist())
    assert lines == [["exam", "3"], ["exam", "8"]]
    assert "the same as training row 7" in found["what"].tolist()
    report = json.loads((tmp_path / "out" / "audit.json").read_text(encoding="utf-8"))
    [section] = [check for check in report["checks"] if check["name"] == "passages"]
    assert (
        "exam: 2 texts of 10 (20.0%, 2 of them word for word), mean score 30.0%, without them "
        "12.5%; laws: 0 texts of 3 (0%)"
    ) in section["text"]
    yaml.write_text(yaml.read_text(encoding="utf-8").replace("right", "question"), encoding="utf-8")
    outcome = command_line("run", yaml, "--out", tmp_path / "words")
    assert outcome.code == 2
    assert "in 'question', expected a number (score)" in outcome.err

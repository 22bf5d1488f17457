"""Several annotators: their consensus, their quality, and an audit of what they labelled."""

import json
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import dataaudit
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.set_aside import without
from dataaudit.errors import DataAuditError
from dataaudit.flags.annotators import with_annotators
from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.tables import DEFAULTS
from dataaudit.labels import consensus
from dataaudit.labels.consensus import Votes, agree, krippendorff_alpha, majority

PIXELS = [f"pixel{place}" for place in range(64)]
PEOPLE = ["ann", "bob", "cy"]
MODEL = """
from pathlib import Path
import pandas as pd
from sklearn.linear_model import LogisticRegression

def build():
    train = pd.read_csv(Path(__file__).parent / "train.csv")
    return LogisticRegression(max_iter=200, C=0.1).fit(train.filter(like="pixel"), train["label"])
"""
AUDIT = """
model: {factory: "digits_model:build"}
train: {path: train.csv, labels: [ann, bob, cy]}
held_out: {path: trusted.csv}
"""


def simulated(
    accuracies: list[float], rows: int = 600, classes: int = 3, share: float = 1.0
) -> tuple[np.ndarray, Votes]:
    """Return true classes, and votes of annotators who err alike on all classes."""
    generator = np.random.default_rng(0)
    truth = generator.integers(classes, size=rows)
    right = generator.random((rows, len(accuracies))) < np.array(accuracies)
    off = (truth[:, None] + generator.integers(1, classes, right.shape)) % classes
    given = np.where(right, truth[:, None], off)
    row, person = np.nonzero(generator.random(right.shape) < share)
    names = tuple(map(str, range(len(accuracies))))
    return truth, Votes(row, person, given[row, person], names)


def test_agreement_is_that_of_the_published_example() -> None:
    # Krippendorff (2011): four observers, twelve units; alpha .743 nominal, .815 ordinal.
    observers = ["123321412***", "1233224125*3", "*3332342251*", "12332441251*"]
    found = [
        (unit, place, int(cell) - 1)
        for place, line in enumerate(observers)
        for unit, cell in enumerate(line)
        if cell != "*"
    ]
    rows, annotators, labels = np.array(sorted(found)).T
    votes = Votes(rows, annotators, labels, ("a", "b", "c", "d"))
    assert krippendorff_alpha(votes, 5) == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(votes, 5, ordered=True) == pytest.approx(0.815, abs=5e-4)
    alone = Votes(np.arange(3), np.zeros(3, dtype=int), np.arange(3), ("a",))
    assert krippendorff_alpha(alone, 5) is None


def test_accuracies_and_true_classes_are_found_without_any_truth() -> None:
    accuracies = [0.95, 0.85, 0.8, 0.6, 1 / 3]
    truth, votes = simulated(accuracies)
    found = agree(votes, 600, 3)
    assert found.quality == pytest.approx(accuracies, abs=0.06)
    right = found.labels == truth
    assert right.mean() > (majority(votes, 600, 3) == truth).mean() + 0.02
    assert found.probability.mean() == pytest.approx(right.mean(), abs=0.02)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, votes = simulated([0.9, 0.7, 0.6], rows=100, share=0.6)
    says = np.log(np.where(np.eye(3)[truth] > 0, 0.6, 0.2))
    whole = agree(votes, 100, 3, lambda rows: says[rows], truth)
    for name, few in (("ROWS_PER_BLOCK", 7), ("VALUES_PER_BLOCK", 6)):
        monkeypatch.setattr(consensus, name, few)
        parts = agree(votes, 100, 3, lambda rows: says[rows], truth)
        for name, value in vars(whole).items():
            assert getattr(parts, name) == pytest.approx(value), name


def test_two_tables_of_annotators_and_classes_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    people, classes, rows = 64, 128, 300
    generator = np.random.default_rng(0)
    places = np.repeat(np.arange(rows), 3)
    given = generator.integers(0, classes, len(places))
    who = generator.integers(0, people, len(places))
    votes = Votes(places, who, given, tuple(map(str, range(people))))
    monkeypatch.setattr(consensus, "VALUES_PER_BLOCK", 2**12)
    monkeypatch.setattr(consensus, "STEPS", 2)
    tracemalloc.start()
    try:
        agree(votes, rows, classes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * 8 * people * classes**2


def test_one_class_is_agreed_upon() -> None:
    votes = Votes(np.arange(4), np.array([0, 1, 0, 1]), np.zeros(4, dtype=int), ("a", "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = agree(votes, 4, 1)
    assert found.labels.tolist() == [0] * 4
    assert np.isfinite(found.quality).all()
    assert found.probability.tolist() == [1.0] * 4


def test_a_model_is_believed_as_far_as_it_is_right() -> None:
    truth, votes = simulated([0.7, 0.6, 0.6], share=0.7)
    alone = (agree(votes, 600, 3).labels == truth).mean()
    generator = np.random.default_rng(1)
    noise = np.log(generator.dirichlet([1.0, 1.0, 1.0], 600))
    useless = agree(votes, 600, 3, lambda rows: noise[rows])
    assert useless.believed < 0.1
    assert (useless.labels == truth).mean() == pytest.approx(alone, abs=0.03)
    # Right nine times of ten, and says so with .5: believed more than it says.
    classes = np.where(generator.random(600) < 0.9, truth, (truth + 1) % 3)
    timid = np.log(np.where(np.eye(3)[classes] > 0, 0.5, 0.25))
    useful = agree(votes, 600, 3, lambda rows: timid[rows])
    assert useful.believed > 1.5
    assert (useful.labels == truth).mean() > max(alone + 0.1, (classes == truth).mean() - 0.01)


def test_odds_are_those_of_the_class_asked_about() -> None:
    truth, votes = simulated([0.9, 0.8, 0.8])
    asked = (truth + 1) % 3
    found = agree(votes, 600, 3, asked=asked)
    assert (found.odds > 0).mean() > 0.9
    assert (found.other == truth).mean() > 0.9
    assert (agree(votes, 600, 3, asked=truth).odds < 0).mean() > 0.9


def test_what_cannot_be_told_of_all_labels_is_not_told_of_a_class() -> None:
    truth, votes = simulated([0.9, 0.8])
    even = np.full((600, 3), 1 / 3)
    rows = LabelledRows(
        np.arange(600), truth, ["a", "b", "c"], lambda labels: labels, even, even, even
    )
    flags = with_annotators(flag_mislabels(rows, None), rows, votes, DEFAULTS)
    assert flags.doubts
    assert flags.noise_per_class[["low", "high"]].to_numpy().tolist() == [[0.0, 1.0]] * 3


def test_rows_without_a_label_have_no_majority() -> None:
    votes = Votes(
        np.array([0, 0, 0, 2]), np.array([0, 1, 2, 0]), np.array([1, 1, 0, 2]), ("a",) * 3
    )
    assert majority(votes, 3, 3).tolist() == [1, -1, 2]
    assert votes.kept(np.array([0, 2])).rows.tolist() == [0, 0, 0, 1]
    assert votes.of(slice(1, 3)).rows.tolist() == [1]


def read(frame: pd.DataFrame, **settings: object) -> dataaudit.datasets.samples.Samples:
    known = {"id_column": "key", "classes": ["cat", "dog"], **settings}
    return samples_from_object(frame, ReadSettings("train", "label", **known))


FRAME = pd.DataFrame(
    {"key": [7, 8, 9], "x": [0.1, 0.2, 0.3], "a": ["cat", None, "dog"], "b": ["cat", "dog", "cat"],
     "c": ["dog", "dog", "cat"]}
)  # fmt: skip


def test_columns_and_a_table_say_the_same(tmp_path: Path) -> None:
    long = FRAME.melt("key", ["a", "b", "c"], "annotator", "label").rename(
        {"key": "row_id"}, axis=1
    )
    long.dropna().to_csv(tmp_path / "votes.csv", index=False)
    columns = read(FRAME, annotators=["a", "b", "c"])
    table = read(FRAME[["key", "x"]], annotators=tmp_path / "votes.csv")
    for samples in (columns, table):
        assert samples.label_values().tolist() == ["cat", "dog", "cat"]
        assert samples.votes.names == ("a", "b", "c")
        assert samples.votes.rows.tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
        assert samples.votes.labels.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert columns.special_columns() == {"key", "label", "a", "b", "c"}
    fewer = without(columns, {0: "bad"})
    assert fewer.votes.rows.tolist() == [0, 0, 1, 1, 1]
    long.assign(label="cat").to_csv(tmp_path / "votes.csv", index=False)
    assert read(FRAME[["key", "x"]], annotators=tmp_path / "votes.csv").sha256 != table.sha256


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "feather"])
def test_the_label_of_most_stands_in_a_file_of_any_format(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train.{ending}"
    frame = pd.DataFrame({"x": range(5), "ann": list("abaab"), "bob": list("aaabb"), "cy": "a"})
    if ending == "csv":
        frame.to_csv(path, index=False)
    elif ending == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        getattr(frame, f"to_{ending}")(path)
    read = ReadSettings("train", "label", classes=["a", "b"], annotators=["ann", "bob", "cy"])
    samples = open_samples(path, read)
    assert samples.labels.tolist() == [0, 0, 0, 0, 1]
    assert samples.take([4, 0]).frame["label"].tolist() == ["b", "a"]


def test_a_table_names_rows_as_the_audit_does(tmp_path: Path) -> None:
    """By an index, or the paths of pictures, where no column of ids is named."""
    lines = ["row_id,annotator,label", "r1,a,cat", "r1,b,cat", "r3,b,dog"]
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(lines) + "\n")
    frame = FRAME[["x"]].set_axis(["r1", "r2", "r3"])
    votes = read(frame, id_column=None, annotators=path, tolerate=True).votes
    assert votes is not None
    assert votes.rows.tolist() == [0, 0, 2]
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(name)).save(tmp_path / "pets" / name)
    path.write_text("\n".join(lines).replace("r1", "cat/1.png").replace("r3", "dog/1.png") + "\n")
    settings = ReadSettings(
        "train", "label", classes=["cat", "dog"], annotators=path, tolerate=True
    )
    votes = open_samples(tmp_path / "pets", settings).votes
    assert votes is not None
    assert votes.rows.tolist() == [0, 0, 2]


def test_the_label_in_use_stays_the_one_in_the_file() -> None:
    given = FRAME.assign(label=["dog", "dog", "dog"])
    assert read(given, annotators=["a", "b"]).label_values().tolist() == ["dog", "dog", "dog"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,a,cat", "7,b,dog"], "row 0: row_id '1' is none of train"),
        (["7,a,cat", "7,a,dog"], "row 1: annotator 'a' labels row '7' a second time"),
        (["7,a,cat", "8,,dog"], r"row 1: the annotator is missing \(1 such row\)"),
        (["7,a,cat", "8,a,dog"], "expected labels of 2 annotators at least"),
        (["7,a,cat", "8,b,cow"], "label 'cow' is not one of the classes"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = tmp_path / "votes.csv"
    path.write_text("\n".join(["row_id,annotator,label", *lines]) + "\n")
    with pytest.raises(DataAuditError, match=message):
        read(FRAME[["key", "x"]], annotators=path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["a", "z"]}, "no column 'z', named among the annotators"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": ["a", "b"], "task": "regression"}, "several annotators are for training rows"),
    ],
)
def test_annotators_that_cannot_be_read_are_refused(
    settings: dict[str, object], message: str
) -> None:
    model = LogisticRegression().fit([[0], [1]], ["cat", "dog"])
    with pytest.raises(DataAuditError, match=message):
        dataaudit.audit(model, FRAME, **settings)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write digits that three people labelled, one of them badly; and the truth."""
    folder = tmp_path_factory.mktemp("digits")
    images, digit = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    order = generator.permutation(len(digit))[:600]
    table = pd.DataFrame(images[order] / 16, columns=PIXELS).round(3)
    truth = digit[order]
    for name, accuracy in zip(PEOPLE, (0.9, 0.8, 0.5), strict=True):
        wrong = generator.random(600) > accuracy
        table[name] = np.where(wrong, generator.integers(0, 10, 600), truth)
    table["label"] = table[PEOPLE].mode(axis=1)[0].astype(int)
    table[:400].to_csv(folder / "train.csv", index=False)
    table.drop(columns=PEOPLE).assign(label=truth)[400:].to_csv(folder / "trusted.csv", index=False)
    np.savetxt(folder / "truth.txt", truth[:400], fmt="%d")
    (folder / "digits_model.py").write_text(MODEL)
    (folder / "audit.yaml").write_text(AUDIT)
    return folder


def test_from_the_run_to_a_second_audit_with_fewer_flags(
    digits: Path, command_line: CommandLine
) -> None:
    out, truth = digits / "run", np.loadtxt(digits / "truth.txt", dtype=int)
    outcome = command_line("run", digits / "audit.yaml", "--out", out)
    assert outcome.code == 0, outcome.err
    table = pd.read_parquet(out / "mislabels.parquet")
    agreed = pd.read_parquet(out / "consensus.parquet")
    train = pd.read_csv(digits / "train.csv")
    assert table["given_label"].tolist() == train["label"].tolist()
    wrong = (table["given_label"] != truth).to_numpy()
    assert wrong[table["flagged"]].mean() > 0.8
    assert table["flagged"][wrong].mean() > 0.7
    right = agreed["consensus_label"] == truth
    assert right.mean() > 1 - wrong.mean() / 2
    assert agreed["once_more"].sort_values().tolist() == list(range(1, 401))
    assert right[agreed["once_more"] > 40].mean() > right[agreed["once_more"] <= 40].mean()
    people = pd.read_parquet(out / "annotators.parquet")
    assert people["annotator"].tolist() == ["cy", "bob", "ann"]
    real = [(train[name] == truth).mean() for name in people["annotator"]]
    assert people["quality"].tolist() == pytest.approx(real, abs=0.05)

    report = json.loads((out / "audit.json").read_text())
    findings = report["labels"]["annotators"]
    assert [item["name"] for item in findings["annotators"]] == ["cy", "bob", "ann"]
    assert 0.3 < findings["alpha"] < 0.8
    assert "ann" in report["labels"]["rows"][0]["note"]
    page = (out / "report.html").read_text()
    assert "Who gave the labels" in page
    assert "Krippendorff" in page

    # A reviewer takes all suggestions over in Label Studio.
    export = digits / "tasks.json"
    assert command_line("export", out, "--to", "label-studio", "--out", export).code == 0
    tasks = json.loads(export.read_text())
    for task in tasks:
        task["annotations"] = [{"result": task["predictions"][0]["result"]}]
    (digits / "reviewed.json").write_text(json.dumps(tasks))
    fixed = digits / "fixed.csv"
    outcome = command_line("relabel", out, "--decisions", digits / "reviewed.json", "--out", fixed)
    assert outcome.code == 0, outcome.err
    text = (digits / "audit.yaml").read_text().replace("train.csv", "fixed.csv")
    (digits / "again.yaml").write_text(text)
    assert command_line("run", digits / "again.yaml", "--out", digits / "run2").code == 0
    again = pd.read_parquet(digits / "run2" / "mislabels.parquet")
    assert again["flagged"].sum() < table["flagged"].sum() / 4


def test_without_a_label_column_the_majority_is_judged(
    digits: Path, command_line: CommandLine
) -> None:
    train = pd.read_csv(digits / "train.csv")
    trusted = pd.read_csv(digits / "trusted.csv")
    model = LogisticRegression(max_iter=200, C=0.1).fit(train[PIXELS], train["label"])
    out = digits / "python"
    result = dataaudit.audit(model, train.drop(columns="label"), trusted, labels=PEOPLE, out=out)
    truth = np.loadtxt(digits / "truth.txt", dtype=int)
    given = result.mislabels["given_label"]
    most = train[PEOPLE].mode(axis=1)
    alone = most[1].isna()
    assert (given[alone] == most[0][alone]).all()
    wrong = (given != truth).to_numpy()
    assert wrong[result.mislabels["flagged"]].mean() > 0.8
    assert result.report.labels.annotators.believed > 0.5

    train.drop(columns="label").to_csv(digits / "bare.csv", index=False)
    text = (digits / "audit.yaml").read_text().replace("train.csv", "bare.csv")
    (digits / "bare.yaml").write_text(text)
    assert command_line("run", digits / "bare.yaml", "--out", digits / "bare").code == 0
    (digits / "d.csv").write_text("row_id,decision\n0,keep\n")
    outcome = command_line(
        "relabel", digits / "bare", "--decisions", digits / "d.csv", "--out", digits / "no.csv"
    )
    assert outcome.code == 2
    assert "there is no column 'label' to write corrections into" in outcome.err

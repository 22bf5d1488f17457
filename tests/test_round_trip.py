"""Flags → decisions → corrected data → second audit, on the sample data."""

import csv
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import CommandLine

from dataaudit.report.data import AuditReport
from dataaudit.resources import resource_folder


def test_a_second_audit_of_the_corrected_data_flags_fewer_rows(
    tmp_path: Path, command_line: CommandLine
) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(resource_folder("sample_data"), folder)
    yaml = folder / "audit.yaml"
    first, second = tmp_path / "first", tmp_path / "second"
    assert command_line("run", yaml, "--out", first).code == 0

    to_review = tmp_path / "to-review.csv"
    assert command_line("export", first, "--to", "csv", "--out", to_review).code == 0
    truth = pd.read_csv(folder / "truth_mislabels.csv", dtype=str)
    true_label = dict(zip(truth["row_id"], truth["true_label"], strict=True))
    with to_review.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["new_label"] = true_label.get(row["row_id"], row["given_label"])
        row["reviewer"] = "the script that planted the faults"
    with to_review.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    corrected = folder / "corrected.parquet"
    outcome = command_line("relabel", first, "--decisions", to_review, "--out", corrected)
    assert outcome.code == 0, outcome.err
    review = AuditReport.model_validate_json((first / "audit.json").read_bytes()).review
    assert review is not None
    assert review.flagged_reviewed == len(rows)
    assert review.precision is not None
    assert review.precision_claimed is not None
    # The precision measured is that of the truth; the one claimed is that of the flags.
    wrong = sum(row["row_id"] in true_label for row in rows)
    assert review.precision.estimate == pytest.approx(wrong / len(rows))
    flags = pd.read_parquet(first / "mislabels.parquet").query("flagged")
    assert review.precision_claimed == pytest.approx(flags["probability"].mean())

    old, new = pd.read_parquet(folder / "train.parquet"), pd.read_parquet(corrected)
    pd.testing.assert_frame_equal(old.drop(columns="label"), new.drop(columns="label"))
    changed = old.loc[old["label"] != new["label"], "row_id"]
    assert set(changed) == {row["row_id"] for row in rows if row["row_id"] in true_label}

    text = yaml.read_text(encoding="utf-8")
    again = folder / "again.yaml"
    again.write_text(text.replace("path: train.parquet", "path: corrected.parquet"), "utf-8")
    assert command_line("run", again, "--out", second).code == 0
    before, after = (pd.read_parquet(path / "mislabels.parquet") for path in (first, second))
    assert after["flagged"].sum() < before["flagged"].sum() / 3
    log = (first / "remediation.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(log) == len(rows)
    assert json.loads(log[0])["reviewer"] == "the script that planted the faults"

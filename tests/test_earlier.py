"""What reviewers settled after an earlier audit is not flagged again, unless something changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine, Project

from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.mislabels import flag_mislabels
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.settled import without_settled
from dataaudit.flags.tables import FlagSettings

SITES = np.array(["here", None, 7] * 66 + ["here"] * 2, dtype=object)


@pytest.fixture(scope="module", params=[["a", "b", "c"], [0, 1, 2]], ids=["text", "numbers"])
def flags(request: pytest.FixtureRequest) -> MislabelFlags:
    generator = np.random.default_rng(0)
    said = generator.dirichlet([0.3, 0.3, 0.3], 200)
    rows = LabelledRows(
        np.arange(200),
        generator.integers(3, size=200),
        request.param,
        lambda labels: np.array(request.param)[labels],
        said,
        said,
        said,
    )
    return flag_mislabels(rows, None, FlagSettings(row_groups=SITES))


def test_settled_rows_are_the_last_and_count_as_right(flags: MislabelFlags) -> None:
    settled = np.zeros(200, dtype=bool)
    settled[flags.table.sort_values("rank").index[:30]] = True
    after = without_settled(flags, settled, None, SITES)
    table = after.table
    assert (table.loc[settled, "probability"] == 0).all()
    assert not table.loc[settled, "flagged"].any()
    assert sorted(table["rank"]) == list(range(1, 201))
    assert table.loc[settled, "rank"].min() > table.loc[~settled, "rank"].max()
    assert (np.diff(table.sort_values("rank")["probability"]) <= 0).all()
    pd.testing.assert_frame_equal(
        table.loc[~settled, ["score", "probability", "flagged"]],
        flags.table.loc[~settled, ["score", "probability", "flagged"]],
    )
    cleared = flags.table.loc[settled, "probability"].sum() / 200
    assert after.noise_rate.estimate == pytest.approx(flags.noise_rate.estimate - cleared)
    assert after.noise_rate.low <= after.noise_rate.estimate <= after.noise_rate.high
    assert after.noise_per_class["flagged"].sum() == table["flagged"].sum()
    of_sites = after.noise_per_group.set_index("group")
    here = table[SITES == "here"]
    assert of_sites.loc["here", "flagged"] == here["flagged"].sum()
    assert of_sites.loc["here", "noise_rate"] == pytest.approx(here["probability"].mean())
    errors = [
        table.to_numpy() * (1 - np.eye(3)) for table in (flags.noise_table, after.noise_table)
    ]
    assert errors[0].sum() - errors[1].sum() > 0.5 * 200 * cleared
    # Each line of the table of classes still adds up to the rows with that label.
    np.testing.assert_allclose(after.noise_table.sum(axis=1), flags.noise_table.sum(axis=1))
    last = after.expected_precision.iloc[-1]
    assert last["expected_found"] == pytest.approx(table["probability"].sum())


def test_a_budget_goes_to_rows_that_nobody_settled(flags: MislabelFlags) -> None:
    settled = np.zeros(200, dtype=bool)
    settled[flags.table.sort_values("rank").index[:30]] = True
    table = without_settled(flags, settled, 25).table
    assert table["flagged"].sum() == 25
    assert set(table.index[table["flagged"]]) == set(flags.table.sort_values("rank").index[30:55])


def decide(project: Project, command_line: CommandLine, out: Path, *lines: str) -> Path:
    decisions = project.folder / f"{out.name}-decided.csv"
    decisions.write_text("\n".join(["row_id,decision,new_label", *lines]) + "\n", "utf-8")
    corrected = project.folder / f"{out.name}-corrected.csv"
    outcome = command_line("relabel", out, "--decisions", decisions, "--out", corrected)
    assert outcome.code == 0, outcome.err
    return corrected


def test_the_next_audit_knows_the_decisions(project: Project, command_line: CommandLine) -> None:
    first = project.folder / "first"
    assert command_line("run", project.yaml, "--out", first).code == 0
    before = pd.read_parquet(first / "mislabels.parquet").set_index("row_id")
    kept, moved, edited, given = before[before["flagged"]].sort_values("rank").index[:4]
    corrected = decide(
        project, command_line, first, f"{kept},keep,", f"{moved},keep,", f"{edited},keep,",
        f"{given},relabel,{before.loc[given, 'suggested_label']}",
    )  # fmt: skip
    train = pd.read_csv(corrected).set_index("row_id")
    other = next(c for c in ("apple", "pear", "plum") if c != train.loc[moved, "kind"])
    train.loc[moved, "kind"] = other
    train.loc[edited, "width"] += 0.001
    train.to_csv(project.folder / "second.csv")
    project.replace("audit.yaml", "path: train.csv", "path: second.csv")
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("earlier: first\n")

    second = project.folder / "second"
    outcome = command_line("run", project.yaml, "--out", second)
    assert outcome.code == 0, outcome.err
    after = pd.read_parquet(second / "mislabels.parquet").set_index("row_id")
    assert not after.loc[[kept, given], "flagged"].any()
    assert (after.loc[[kept, given], "probability"] == 0).all()
    assert (after.loc[[moved, edited], "probability"] > 0).all()
    notes = " ".join(json.loads((second / "audit.json").read_text("utf-8"))["coverage"]["notes"])
    assert "2 rows have the label that a reviewer gave or confirmed" in notes
    assert f"another label now than a reviewer decided; judged like all others: {moved}" in notes
    assert f"changed since a reviewer saw it; judged like all others: {edited}" in notes


def test_no_audit_where_one_is_named(project: Project, command_line: CommandLine) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("earlier: [nowhere]\n")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert "nowhere" in outcome.err


def test_a_decision_about_a_row_that_the_earlier_data_lack(
    project: Project, command_line: CommandLine
) -> None:
    first = project.folder / "first"
    assert command_line("run", project.yaml, "--out", first).code == 0
    flagged = pd.read_parquet(first / "mislabels.parquet").query("flagged")["row_id"].iloc[0]
    decide(project, command_line, first, f"{flagged},keep,")
    # Somebody else's directory may say anything.
    content = json.loads((first / "audit.json").read_text("utf-8"))
    content["remediation"].append({**content["remediation"][0], "row_id": "fruit-new"})
    (first / "audit.json").write_text(json.dumps(content), "utf-8")
    new = pd.read_csv(project.folder / "train.csv").head(1).assign(row_id="fruit-new")
    every = pd.concat([pd.read_csv(project.folder / "train.csv"), new])
    every.to_csv(project.folder / "second.csv", index=False)
    project.replace("audit.yaml", "path: train.csv", "path: second.csv")
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("earlier: [first]\n")
    second = project.folder / "second"
    outcome = command_line("run", project.yaml, "--out", second)
    assert outcome.code == 0, outcome.err
    after = pd.read_parquet(second / "mislabels.parquet").set_index("row_id")
    assert after.loc[flagged, "probability"] == 0
    assert after.loc["fruit-new", "probability"] > 0


def test_sets_of_labels_have_no_earlier(project: Project, command_line: CommandLine) -> None:
    project.replace("audit.yaml", "task: classification", "task: multi-label\nearlier: first")
    outcome = command_line("run", project.yaml, "--out", project.folder / "audit")
    assert outcome.code == 2
    assert "earlier is for tasks with one label for each row, not multi-label" in outcome.err

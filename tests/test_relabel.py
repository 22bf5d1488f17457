"""`dataaudit relabel`: decisions become corrected data; what does not fit is refused."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from conftest import CommandLine, Project
from review_examples import (
    CLASSES,
    FORMATS,
    Audited,
    audited,
    png,
    with_suspects,
    write_arrow,
    write_decisions,
    write_images,
    write_jsonl,
    write_parquet,
    write_saved,
)

from dataaudit.datasets.json_lines import value_span
from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.review.precision import wilson


def relabel(
    command_line: CommandLine, audit: Audited, decisions: Path, out: Path, code: int = 0
) -> str:
    outcome = command_line("relabel", audit.directory, "--decisions", decisions, "--out", out)
    assert outcome.code == code, outcome.err
    return outcome.err if code else outcome.out


def test_csv_keeps_every_other_byte(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(
        tmp_path / "decided.csv",
        "=b,relabel,dog,Ada,clearly a dog",
        "e,keep,,Ada,",
        header="row_id,decision,new_label,reviewer,comment",
    )
    before = audit.data.read_bytes()
    out = tmp_path / "train-2.csv"
    printed = relabel(command_line, audit, decisions, out)
    assert out.read_bytes() == before.replace(b",0.1,cat\r\n", b",0.1,dog\r\n")
    assert audit.data.read_bytes() == before
    assert printed.splitlines() == [
        "2 rows decided about, 1 relabeled",
        "precision reached: 50.0% (1 of 2 flagged rows reviewed were wrong; "
        "95% interval 9.5% to 90.5%)",
        "precision claimed for these rows: 85.8%, inside that interval",
        "suggested label right: 1 of 1",
        f"corrected data: {out}",
        f"log: {audit.directory / 'remediation.jsonl'}",
        "these rows were not all drawn by `dataaudit sample`: what was measured speaks for them "
        "alone",
    ]
    log = (audit.directory / "remediation.jsonl").read_text(encoding="utf-8").splitlines()
    first = json.loads(log[0])
    assert first.pop("date").startswith("20")
    assert first == {
        "what": "label", "row_id": "=b", "decision": "relabel", "reviewer": "Ada",
        "before": "cat", "after": "dog", "comment": "clearly a dog",
    }  # fmt: skip
    report = audit.report
    assert [item.decision for item in report.remediation] == ["relabel", "keep"]
    assert report.review is not None
    assert (report.review.flagged_reviewed, report.review.flagged_wrong) == (2, 1)
    page = (audit.directory / "report.html").read_text(encoding="utf-8")
    assert "clearly a dog" in page
    assert "Precision reached: 50.0%" in page


def test_jsonl_keeps_every_other_byte(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_jsonl)
    decisions = write_decisions(tmp_path / "decided.csv", "=b,,dog")
    out = tmp_path / "train-2.jsonl"
    relabel(command_line, audit, decisions, out)
    before = audit.data.read_bytes()
    assert out.read_bytes() == before.replace(b'"label"  :\t"cat"', b'"label"  :\t"dog"')


def test_parquet_keeps_types_metadata_and_row_groups(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_parquet)
    decisions = write_decisions(tmp_path / "decided.csv", "e,relabel,owl")
    out = tmp_path / "train-2.parquet"
    relabel(command_line, audit, decisions, out)
    old, new = (pyarrow.parquet.ParquetFile(path) for path in (audit.data, out))
    assert new.schema_arrow.equals(old.schema_arrow, check_metadata=True)
    assert [new.metadata.row_group(n).num_rows for n in range(new.num_row_groups)] == [4, 2]
    assert new.metadata.row_group(0).column(0).compression == "ZSTD"
    assert new.read(["key", "text", "price"]).equals(old.read(["key", "text", "price"]))
    labels = [item.as_py() for item in new.read()["label"]]
    assert labels == ["cat", "cat", "cat", "dog", "owl", "owl"]


def test_arrow_keeps_schema_and_batches(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_arrow)
    out = tmp_path / "train-2.arrow"
    relabel(command_line, audit, write_decisions(tmp_path / "d.csv", "e,relabel,"), out)
    with pa.ipc.open_file(audit.data) as old, pa.ipc.open_file(out) as new:
        assert new.schema.equals(old.schema, check_metadata=True)
        assert new.num_record_batches == old.num_record_batches
        assert new.read_all().drop(["label"]).equals(old.read_all().drop(["label"]))
        assert new.read_all()["label"].to_pylist()[4] == "owl"


def test_a_saved_data_set_gets_another_fingerprint(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_saved)
    out = tmp_path / "corrected"
    relabel(command_line, audit, write_decisions(tmp_path / "d.csv", "=b,relabel,owl"), out)
    names = sorted(path.name for path in out.iterdir())
    assert names == ["data-00000-of-00001.arrow", "dataset_info.json", "state.json"]
    with pa.ipc.open_stream(out / "data-00000-of-00001.arrow") as reader:
        assert reader.read_all()["label"].to_pylist() == [0, 2, 0, 1, 1, 2]
    old, new = (json.loads((folder / "state.json").read_text()) for folder in (audit.data, out))
    assert new.pop("_fingerprint") != old.pop("_fingerprint")
    assert new == old


def test_images_move_to_the_folder_of_their_class(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, write_images, flagged=(2,))
    out = tmp_path / "corrected"
    relabel(
        command_line,
        audit,
        write_decisions(tmp_path / "d.csv", "cat/more/1.1.png,relabel,dog"),
        out,
    )

    def files(folder: Path) -> set[str]:
        return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")}

    assert files(audit.data) - files(out) == {"cat/more/1.1.png"}
    # The class had an image of that name.
    assert files(out) - files(audit.data) == {"dog/more/1.1 (was cat).png"}
    assert (out / "dog" / "more" / "1.1 (was cat).png").read_bytes() == png(40)
    assert (out / "dog" / "more" / "1.1.png").read_bytes() == png(200)
    assert not (out / "dog" / "more" / "1.1.png").samefile(audit.data / "dog" / "more" / "1.1.png")


@pytest.mark.parametrize("name", FORMATS)
def test_an_export_that_a_person_filled_comes_back(
    tmp_path, command_line: CommandLine, name: str
) -> None:
    audit = audited(tmp_path, FORMATS[name])
    filled = tmp_path / "to-review.csv"
    command_line("export", audit.directory, "--to", "csv", "--out", filled)
    with filled.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    for record in records:
        record |= {"decision": "relabel", "reviewer": "=Ada"}
    with filled.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
    out = tmp_path / f"corrected{audit.data.suffix}"
    relabel(command_line, audit, filled, out)
    id_column = None if name == "image folder" else "key"
    again = open_samples(out, ReadSettings("train", "label", id_column=id_column, classes=CLASSES))
    suggested = audit.mislabels.assign(now=audit.mislabels["given_label"])
    suggested.loc[suggested["flagged"], "now"] = suggested["suggested_label"]
    assert sorted(CLASSES[label] for label in again.labels) == sorted(suggested["now"])


@pytest.mark.parametrize("kind", FORMATS)
def test_dropped_rows_are_left_out_and_nothing_else_changes(
    kind: str, tmp_path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path / "one", FORMATS[kind])
    ids = [str(value) for value in audit.mislabels["row_id"]]
    guarded = ["'" + ids[1] if ids[1].startswith("=") else ids[1], ids[4], ids[2]]
    decisions = write_decisions(
        tmp_path / "decided.csv",
        f"{guarded[0]},drop,",
        f"{guarded[1]},relabel,owl",
        f"{guarded[2]},drop,",
    )
    out = tmp_path / "one" / f"train-2{audit.data.suffix}"
    printed = relabel(command_line, audit, decisions, out)
    assert printed.startswith("3 rows decided about, 1 relabeled, 2 dropped\n")
    id_column = None if kind == "image folder" else "key"
    settings = ReadSettings("train", "label", id_column=id_column, classes=CLASSES)
    before, after = open_samples(audit.data, settings), open_samples(out, settings)
    assert len(after) == len(before) - 2
    named = dict(zip(map(str, before.ids), before.labels.tolist(), strict=True))
    for gone in (ids[1], ids[2]):
        del named[gone]
    if kind == "image folder":
        assert sum(1 for _ in out.rglob("*.png")) == len(named)
        return
    named[ids[4]] = CLASSES.index("owl")
    assert dict(zip(map(str, after.ids), after.labels.tolist(), strict=True)) == named
    columns = [name for name in before.source.columns() if name != "label"]
    kept = [place for place in range(len(before)) if place not in (1, 2)]
    expected = before.source.take(kept)[columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(after.source.take(range(len(after)))[columns], expected)


def test_a_dropped_record_takes_its_lines_with_it_in_csv(
    tmp_path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "decided.csv", "c,drop,", "f,drop,")
    out = tmp_path / "train-2.csv"
    relabel(command_line, audit, decisions, out)
    lines = audit.data.read_bytes().splitlines(keepends=True)
    gone = [b"c,", b"line two", b"f,"]
    expected = [line for line in lines if not any(line.startswith(one) for one in gone)]
    assert out.read_bytes() == b"".join(expected)


@pytest.mark.parametrize("kind", FORMATS)
def test_copies_are_taken_out_of_the_evaluation_set_in_its_own_format(
    kind: str, tmp_path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path / "one", FORMATS[kind])
    suspects = with_suspects(audit, tmp_path / "suspects", FORMATS[kind])
    ids = [str(value) for value in audit.mislabels["row_id"]]
    decisions = write_decisions(
        tmp_path / "decided.csv",
        f"{ids[0]},copy,,Ada,leak",
        f"{ids[3]},similar,,Ada,leak",
        f"{ids[4]},keep,,Ada,label",
        header="row_id,decision,new_label,reviewer,what",
    )
    evaluation = suspects.with_name(f"clean{suspects.suffix}")
    out = audit.data.with_name(f"train-2{audit.data.suffix}")
    outcome = command_line(
        *("relabel", audit.directory, "--decisions", decisions, "--out", out),
        *("--evaluation", evaluation),
    )
    assert outcome.code == 0, outcome.err
    assert "2 leaks decided about, 1 copy\n" in outcome.out
    assert f"evaluation set without them: {evaluation}" in outcome.out
    id_column = None if kind == "image folder" else "key"
    settings = ReadSettings("suspects", "label", id_column=id_column, classes=CLASSES)
    left = open_samples(evaluation, settings)
    assert len(left) == len(ids) - 1
    if id_column is not None:
        assert list(left.ids) == ids[1:]
    logged = [(item.what, item.decision) for item in audit.report.remediation]
    assert logged == [("label", "keep"), ("leak", "copy"), ("leak", "similar")]
    again = command_line(
        *("relabel", audit.directory, "--decisions", decisions),
        *("--out", out.with_name(f"train-3{out.suffix}")),
    )
    assert again.code == 0
    assert "--evaluation FILE writes the evaluation set without them" in again.out
    assert len(audit.report.remediation) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nobody,copy,leak", "there is no suspect 'nobody' in this audit"),
        ("a,keep,leak", "unknown decision 'keep' about a leak; expected one of copy, similar"),
        ("a,copy,both", "unknown what 'both'; expected label or leak"),
    ],
)
def test_decisions_about_leaks_that_do_not_fit_are_refused(
    line: str, message: str, tmp_path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path)
    with_suspects(audit, tmp_path / "suspects", FORMATS["csv"])
    decisions = write_decisions(tmp_path / "d.csv", line, header="row_id,decision,what")
    out = tmp_path / "train-2.csv"
    assert message in relabel(command_line, audit, decisions, out, code=2)
    assert not out.exists()


def test_of_labels_that_nobody_decided_nothing_is_said(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    with_suspects(audit, tmp_path / "suspects", FORMATS["csv"])
    decisions = write_decisions(tmp_path / "d.csv", "a,leak,copy", header="row_id,what,decision")
    assert "drawn by" not in relabel(command_line, audit, decisions, tmp_path / "train-2.csv")


def test_decisions_about_other_suspects_are_refused(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    with_suspects(audit, tmp_path / "suspects", FORMATS["csv"])
    exported = tmp_path / "leaks.csv"
    export = ("export", audit.directory, "--what", "leak", "--to", "csv", "--out", exported)
    assert command_line(*export).code == 0
    table = pd.read_csv(exported, dtype=str, keep_default_na=False)
    table.assign(decision="copy").to_csv(exported, index=False)
    manifest = json.loads((audit.directory / "manifest.json").read_bytes())
    known = manifest["inputs"]["suspects"]["sha256"]
    manifest["inputs"]["suspects"]["sha256"] = "beef" * 16
    (audit.directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    said = relabel(command_line, audit, exported, tmp_path / "train-2.csv", code=2)
    assert said == (
        f"dataaudit: {exported}: line 2: this decision is about other suspects: suspects_sha256 is "
        f"{known[:12]!r}, expected 'beefbeefbeef' ({audit.directory})\n"
    )


def test_later_decisions_join_the_earlier_ones(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    first = write_decisions(tmp_path / "first.csv", "=b,relabel,dog")
    second = write_decisions(tmp_path / "second.csv", "e,relabel,owl", "=b,relabel,dog", "a,keep,")
    relabel(command_line, audit, first, tmp_path / "one.csv")
    printed = relabel(command_line, audit, second, tmp_path / "two.csv")
    assert printed.splitlines()[0] == "3 rows decided about, 2 relabeled"
    assert "not flagged but wrong: 0 of 1 such row reviewed" in printed
    assert pd.read_csv(tmp_path / "two.csv")["label"].tolist() == [
        "cat", "dog", "cat", "dog", "owl", "owl",
    ]  # fmt: skip
    third = write_decisions(tmp_path / "third.csv", "=b,keep,")
    log = audit.directory / "remediation.jsonl"
    assert relabel(command_line, audit, third, tmp_path / "three.csv", code=2) == (
        f"dataaudit: {third}: line 2: row =b: keep, but {log}: line 1 says relabel as 'dog'; "
        "expected one decision for each row\n"
    )
    assert len(log.read_text().splitlines()) == 3
    again = command_line("run", "audit.yaml", "--out", audit.directory, "--overwrite")
    assert again.code == 2


def test_rows_that_were_set_aside_are_neither_exported_nor_decided_about(
    project: Project, command_line: CommandLine
) -> None:
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("bad_rows: {largest_share: 0.05}\n")
    lines = (project.folder / "train.csv").read_text(encoding="utf-8").splitlines()
    lines[8] = lines[8].rsplit(",", 1)[0] + ","
    (project.folder / "train.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = project.folder / "audit"
    ran = command_line("run", project.yaml, "--out", out)
    assert ran.code == 0, ran.err
    exported = project.folder / "all.csv"
    assert command_line(
        "export", out, "--to", "csv", "--only", "all", "--out", exported
    ).code == 0  # fmt: skip
    table = pd.read_parquet(out / "mislabels.parquet")
    aside = table.loc[table["probability"].isna(), "row_id"].tolist()
    assert "fruit-7" in aside
    assert set(pd.read_csv(exported)["row_id"]) == set(table["row_id"]) - set(aside)
    decisions = write_decisions(project.folder / "d.csv", "fruit-7,relabel,pear")
    target = project.folder / "train-2.csv"
    refused = command_line("relabel", out, "--decisions", decisions, "--out", target)
    assert refused.code == 2
    assert refused.err == (
        f"dataaudit: {decisions}: line 2: row fruit-7 was set aside, not judged; "
        "set_aside.parquet of the audit says why. Mend the data, and audit it again\n"
    )
    decisions = write_decisions(project.folder / "d.csv", "fruit-1,unsure,")
    done = command_line("relabel", out, "--decisions", decisions, "--out", target)
    assert done.code == 0, done.err
    assert target.read_bytes() == (project.folder / "train.csv").read_bytes()


def test_an_end_of_line_in_a_class_is_quoted(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, classes=[*CLASSES, "fox\rred"])
    decisions = tmp_path / "d.csv"
    decisions.write_bytes(b'row_id,decision,new_label\n=b,relabel,"fox\rred"\n')
    out = tmp_path / "corrected.csv"
    relabel(command_line, audit, decisions, out)
    assert b',"fox\rred"\r\n' in out.read_bytes()


def test_a_class_that_no_row_has_is_written_in_the_type_of_the_column(
    tmp_path, command_line: CommandLine
) -> None:
    for name in ("csv", "jsonl", "parquet", "arrow", "saved by datasets", "image folder"):
        classes = [*CLASSES, "fox, red"] if name != "saved by datasets" else CLASSES
        audit = audited(tmp_path / name, FORMATS[name], classes=classes)
        row = audit.mislabels["row_id"].iloc[1] if name == "image folder" else "=b"
        new = classes[-1]
        decisions = write_decisions(tmp_path / name / "d.csv", f'{row},relabel,"{new}"')
        out = tmp_path / name / f"corrected{audit.data.suffix}"
        printed = relabel(command_line, audit, decisions, out)
        assert printed.startswith("1 row decided about, 1 relabeled")


REFUSED = [
    ("x,relabel,dog", "line 2: there is no row 'x' in this audit ({audit}, 6 rows); expected a "
     "row_id of mislabels.parquet, for example 'a'"),
    ("=b,relabel,fish", "line 2: row =b: 'fish' is none of the classes 'cat', 'dog', 'owl'"),
    ("=b,relabel,dgo", "line 2: row =b: 'dgo' is none of the classes 'cat', 'dog', 'owl'; did you "
     "mean 'dog'?"),
    ("=b,relabel,cat", "line 2: row =b: the decision is to relabel, but the label is 'cat' "
     "already"),
    ("=b,keep,dog", "line 2: row =b: the decision is to keep 'cat', but new_label is 'dog'"),
    ("=b,remove,", "line 2: unknown decision 'remove'; expected one of keep, relabel, drop, "
     "unsure"),
    ("=b,keep,\ne,keep,\n=b,relabel,dog", "line 4: row =b: relabel as 'dog', but {decisions}: line "
     "2 says keep; expected one decision for each row"),
    ("=b,,", "holds no decision yet; nothing to do"),
    ("=b,keep", "line 2: expected 3 fields, found 2"),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "message"), REFUSED)
def test_decisions_that_do_not_fit_are_refused(
    tmp_path, command_line: CommandLine, lines: str, message: str
) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "decided.csv", lines)
    before = (audit.directory / "audit.json").read_bytes()
    said = relabel(command_line, audit, decisions, tmp_path / "train-2.csv", code=2)
    expected = message.format(audit=audit.directory, decisions=decisions)
    assert said == f"dataaudit: {decisions}: {expected}\n"
    assert (audit.directory / "audit.json").read_bytes() == before
    assert not (audit.directory / "remediation.jsonl").exists()
    assert sorted(path.name for path in tmp_path.glob("*train*")) == ["train.csv"]


def test_nothing_is_written_where_no_label_is_suggested(
    tmp_path, command_line: CommandLine
) -> None:
    rows = [{"prompt": f"Say {n}.", "output": f"answer {n}"} for n in range(30)]
    pd.DataFrame(rows).to_csv(tmp_path / "train.csv", index=False)
    (tmp_path / "audit.yaml").write_text(
        "task: instruction\ntrain: {path: train.csv, label: output}\n"
    )
    audit, out = tmp_path / "audit", tmp_path / "new.csv"
    assert command_line("run", tmp_path / "audit.yaml", "--out", audit).code == 0
    decisions = tmp_path / "decided.csv"
    decisions.write_text("row_id,decision\n4,relabel\n")
    result = command_line("relabel", audit, "--decisions", decisions, "--out", out)
    assert result.code == 2
    assert "row 4: the decision is to relabel, but the audit suggests no label for it" in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("rowid,decision", "a,keep", "no column 'row_id'; the columns are 'rowid', 'decision'; did "
         "you mean 'rowid'?"),
        ("row_id,label", "a,cat", "no column 'decision' and none 'new_label'; the columns are "
         "'row_id', 'label'"),
        ("row_id;decision", "a;keep", "the fields seem to be separated by ';', expected commas"),
        ("row_id,decision,train_sha256", "a,keep,0123456789ab", "line 2: this decision is about "
         "other training data: train_sha256 is '0123456789ab', expected"),
        ("row_id,decision,given_label", "a,keep,dog", "line 2: row a had the label 'dog' when it "
         "was exported; in this audit it has 'cat'"),
    ],
)  # fmt: skip
def test_files_that_are_no_decisions_about_this_audit_are_refused(
    tmp_path, command_line: CommandLine, header: str, line: str, message: str
) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "decided.csv", line, header=header)
    said = relabel(command_line, audit, decisions, tmp_path / "train-2.csv", code=2)
    assert said.startswith(f"dataaudit: {decisions}: {message}")


def test_targets_that_do_not_fit_are_refused(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "decided.csv", "=b,relabel,dog")
    assert relabel(command_line, audit, decisions, audit.data, code=2) == (
        f"dataaudit: {audit.data}: already exists; choose another name with --out\n"
    )
    other = tmp_path / "train-2.parquet"
    assert relabel(command_line, audit, decisions, other, code=2) == (
        f"dataaudit: {other}: ends in '.parquet'; the corrected data is written in the format of "
        "the original, so '.csv' is expected\n"
    )
    nowhere = tmp_path / "nowhere" / "train.csv"
    assert relabel(command_line, audit, decisions, nowhere, code=2) == (
        f"dataaudit: {nowhere}: there is no folder {nowhere.parent}\n"
    )
    images = audited(tmp_path / "images", write_images)
    inside = images.data / "corrected"
    row = images.mislabels["row_id"].iloc[1]
    decisions = write_decisions(tmp_path / "images.csv", f"{row},relabel,dog")
    assert relabel(command_line, images, decisions, inside, code=2) == (
        f"dataaudit: {inside}: lies inside the original, {images.data}\n"
    )


def write_paths_of_images(folder: Path) -> Path:
    for name in ("a", "b", "c"):
        (folder / f"{name}.png").write_bytes(png(ord(name)))
    path = folder / "train.csv"
    path.write_text("key,file,label\na,a.png,cat\nb,b.png,cat\nc,c.png,dog\n")
    return path


def test_paths_of_images_must_go_on_leading_somewhere(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path / "data", write_paths_of_images, flagged=(1,))
    decisions = write_decisions(tmp_path / "decided.csv", "b,relabel,dog")
    elsewhere = tmp_path / "train-2.csv"
    assert relabel(command_line, audit, decisions, elsewhere, code=2) == (
        f"dataaudit: {elsewhere}: the rows name images by paths relative to {audit.data.parent}; "
        "write the corrected file into that folder with `dataaudit relabel`\n"
    )
    relabel(command_line, audit, decisions, audit.data.parent / "train-2.csv")


def test_fix_says_where_pictures_that_are_named_by_paths_are(
    tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audited(tmp_path / "data", write_paths_of_images, flagged=(1,))
    decisions = write_decisions(tmp_path / "decided.csv", "b,relabel,dog")
    no_issues = pd.DataFrame(columns=["check", "split", "row_id", "group"])
    no_issues.to_parquet(audit.directory / "issues.parquet")
    out = tmp_path / "fixed"
    outcome = command_line("fix", audit.directory, "--decisions", decisions, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    folder = audit.data.parent
    assert f"their paths are still relative to {folder}, which audit.yaml names" in outcome.out
    settings = ReadSettings("train", "label", id_column="key", classes=["cat", "dog"])
    fixed = open_samples(out / "train.csv", replace(settings, images=folder))
    assert fixed.labels.tolist() == [0, 1, 1]
    assert fixed.modality == "image"


def label_studio_export(*annotations: dict, data: dict | None = None) -> list[dict]:
    """What Label Studio exports as "JSON": predictions have become numbers."""
    data = {"row_id": "=b", "given_label": "cat"} if data is None else data
    task = {"id": 7, "data": data, "annotations": list(annotations), "predictions": [3]}
    return [task, {"id": 8, "data": {"row_id": "e"}, "annotations": [], "predictions": [4]}]


def annotation(*choices: str, **more: object) -> dict:
    result = [
        {"from_name": "comment", "to_name": "sample", "type": "textarea",
         "value": {"text": ["a wagging tail"]}},
    ]  # fmt: skip
    if choices:
        value = {"choices": list(choices)}
        result.append(
            {"from_name": "label", "to_name": "sample", "type": "choices", "value": value}
        )
    return {
        "id": 1,
        "completed_by": 5,
        "result": result,
        "created_at": "2026-11-23T10:00:00Z",
    } | more


def test_label_studio_decisions_are_joined_on_row_id(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    exported = tmp_path / "project-1.json"
    exported.write_text(json.dumps(label_studio_export(annotation("dog"))))
    out = tmp_path / "train-2.csv"
    relabel(command_line, audit, exported, out)
    assert pd.read_csv(out)["label"].tolist() == ["cat", "dog", "cat", "dog", "dog", "owl"]
    [decision] = audit.report.remediation
    assert decision.model_dump() == {
        "what": "label", "row_id": "=b", "decision": "relabel", "reviewer": "Label Studio user 5",
        "date": "2026-11-23T10:00:00Z", "before": "cat", "after": "dog",
        "comment": "a wagging tail",
    }  # fmt: skip


def test_what_label_studio_itself_exported_comes_back(tmp_path, command_line: CommandLine) -> None:
    # Imported into Label Studio 1.23.2, annotated there, exported as JSON; see docs/review.md.
    audit = audited(tmp_path)
    exported = Path(__file__).parent / "gold" / "label_studio_1.23.2.json"
    out = tmp_path / "train-2.csv"
    relabel(command_line, audit, exported, out)
    assert pd.read_csv(out)["label"].tolist() == ["cat", "dog", "cat", "dog", "dog", "owl"]
    assert [(item.row_id, item.decision, item.comment) for item in audit.report.remediation] == [
        ("=b", "relabel", ""), ("e", "keep", "looks odd"),
    ]  # fmt: skip


def test_to_be_unsure_contradicts_nobody(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    first = write_decisions(tmp_path / "first.csv", "=b,unsure,", "=b,relabel,dog", "e,unsure,")
    relabel(command_line, audit, first, tmp_path / "one.csv")
    second = write_decisions(tmp_path / "second.csv", "e,keep,")
    printed = relabel(command_line, audit, second, tmp_path / "two.csv")
    assert "1 of 2 flagged rows reviewed were wrong" in printed
    assert "reviewer unsure" not in printed


def test_a_task_that_was_skipped_is_unsure(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    exported = tmp_path / "project-1.json"
    by = {"id": 5, "email": "ada@example.com"}
    exported.write_text(
        json.dumps(label_studio_export(annotation(was_cancelled=True, completed_by=by)))
    )
    out = tmp_path / "train-2.csv"
    assert relabel(command_line, audit, exported, out).splitlines()[:2] == [
        "1 row decided about, 0 relabeled", "reviewer unsure: 1 row",
    ]  # fmt: skip
    assert out.read_bytes() == audit.data.read_bytes()
    assert audit.report.remediation[0].reviewer == "ada@example.com"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as JSON exported by Label Studio"),
        ("{}", "expected a list of tasks, found a dict"),
        ('[{"row_id": 1, "label": "cat"}]', "task 0: has no data; export as JSON from Label Studio "
         "(not JSON-MIN, not CSV)"),
        (json.dumps(label_studio_export(annotation("dog"), data={})), "task 0: data has no row_id"),
        (json.dumps(label_studio_export(annotation("dog", "owl"))), "task 0: expected one label, "
         "found ['dog', 'owl']"),
        (json.dumps(label_studio_export(annotation("dog"), annotation("owl"))), "task 0: row =b: "
         "relabel as 'owl', but"),
        (json.dumps(label_studio_export(annotation("fish"))), "task 0: row =b: 'fish' is none of"),
        ("[]", "holds no decision yet; nothing to do"),
    ],
)  # fmt: skip
def test_exports_of_other_kinds_are_refused(
    tmp_path, command_line: CommandLine, content: str, message: str
) -> None:
    audit = audited(tmp_path)
    exported = tmp_path / "project-1.json"
    exported.write_text(content)
    said = relabel(command_line, audit, exported, tmp_path / "train-2.csv", code=2)
    assert said.startswith(f"dataaudit: {exported}: {message}")


def test_other_files_are_refused(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    assert relabel(command_line, audit, tmp_path / "d.xlsx", tmp_path / "o.csv", code=2) == (
        f"dataaudit: {tmp_path / 'd.xlsx'}: decisions are read from .csv files, and from the .json "
        "that Label Studio exports; found '.xlsx'\n"
    )


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('{"label": "cat"}', '"cat"'),
        ('  {"x":{"label":1},"label":2 , "y":[]}', "2"),
        ('{"label": 1, "label": "again"}', '"again"'),
        ('{"lab\\u0065l": "a\\"b"}', '"a\\"b"'),
    ],
)
def test_the_value_of_a_key_is_found_in_its_line(line: str, value: str) -> None:
    start, end = value_span(line, "label")
    assert line[start:end] == value


def test_wilson_intervals_are_those_of_the_book() -> None:
    # Newcombe, Statistics in Medicine 1998, table I: 81/263 and 0/20, method 3.
    interval = wilson(81, 263)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    none = wilson(0, 20)
    assert (none.low, round(none.high, 4)) == (0.0, 0.1611)


def rows_of(*ids: str) -> Callable[[Path], Path]:
    """Return what writes rows with these ids, in a format that holds any text."""

    def write(folder: Path) -> Path:
        path = folder / "train.parquet"
        labels = [CLASSES[number % len(CLASSES)] for number in range(len(ids))]
        table = pd.DataFrame({"key": ids, "text": [f"text {key}" for key in ids], "label": labels})
        table.to_parquet(path, index=False)
        return path

    return write


def test_the_log_means_the_very_rows_that_were_decided(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, rows_of("'=x", "=x", "c"), flagged=(0, 1))
    first = write_decisions(tmp_path / "first.csv", "''=x,drop,")
    relabel(command_line, audit, first, tmp_path / "second.parquet")
    more = write_decisions(tmp_path / "more.csv", "c,keep,")
    relabel(command_line, audit, more, tmp_path / "third.parquet")
    for name in ("second", "third"):
        assert pd.read_parquet(tmp_path / f"{name}.parquet")["key"].tolist() == ["=x", "c"]


def test_label_studio_means_the_very_row_of_its_task(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path, rows_of("'=x", "=x", "c"), flagged=(0, 1))
    result = [{"from_name": "label", "type": "choices", "value": {"choices": ["owl"]}}]
    content = [{"data": {"row_id": "'=x", "given_label": "cat"}, "annotations": [
        {"result": result, "was_cancelled": False}]}]  # fmt: skip
    decisions = tmp_path / "decided.json"
    decisions.write_text(json.dumps(content), encoding="utf-8")
    relabel(command_line, audit, decisions, tmp_path / "second.parquet")
    table = pd.read_parquet(tmp_path / "second.parquet").set_index("key")["label"]
    assert table.to_dict() == {"'=x": "owl", "=x": "dog", "c": "owl"}


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\r"])
def test_any_end_of_a_line_in_a_text_leaves_the_log_readable(
    tmp_path, command_line: CommandLine, end: str
) -> None:
    audit = audited(tmp_path, rows_of(f"a{end}b", "b", "c"), flagged=(0,))
    decisions = tmp_path / "decided.csv"
    with decisions.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [("row_id", "decision", "comment"), (f"a{end}b", "drop", f"see{end}here")]
        )
    relabel(command_line, audit, decisions, tmp_path / "second.parquet")
    more = write_decisions(tmp_path / "more.csv", "b,keep,")
    relabel(command_line, audit, more, tmp_path / "third.parquet")
    assert pd.read_parquet(tmp_path / "third.parquet")["key"].tolist() == ["b", "c"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("row_id,decision,decision", "the column 'decision' is there twice, expected once"),
        ("row_id,Decision,new_label", "the column 'Decision' would not be read; did you mean "
         "'decision'?"),
        ("row_id,decision,New Label", "the column 'New Label' would not be read; did you mean "
         "'new_label'?"),
        ("row_id,decision,what ", "the column 'what ' would not be read; did you mean 'what'?"),
    ],
)  # fmt: skip
def test_no_column_of_decisions_is_passed_over(
    tmp_path, command_line: CommandLine, header: str, message: str
) -> None:
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "decided.csv", "a,drop,", header=header)
    said = relabel(command_line, audit, decisions, tmp_path / "train-2.csv", code=2)
    assert said == f"dataaudit: {decisions}: {message}\n"


def test_a_label_that_the_file_does_not_know_is_not_compared(
    tmp_path, command_line: CommandLine
) -> None:
    # The page writes so about rows that it does not hold.
    audit = audited(tmp_path)
    decisions = write_decisions(tmp_path / "d.csv", "c,,drop", header="row_id,given_label,decision")
    said = relabel(command_line, audit, decisions, tmp_path / "train-2.csv")
    assert said.startswith("1 row decided about, 0 relabeled, 1 dropped")


def test_training_and_evaluation_set_go_to_two_files(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    with_suspects(audit, tmp_path / "test", FORMATS["csv"])
    decisions = write_decisions(
        tmp_path / "d.csv", "a,leak,copy", "c,label,drop", header="row_id,what,decision"
    )
    out = tmp_path / "second.csv"
    again = tmp_path / "test" / ".." / "second.csv"
    arguments = ["relabel", audit.directory, "--decisions", decisions, "--out", out, "--evaluation"]
    assert command_line(*arguments, again).err == (
        f"dataaudit: --evaluation: {again} is what --out names; expected another file\n"
    )
    assert not out.exists()
    again = tmp_path / "test" / "train.csv"
    assert command_line(*arguments, again).err == (
        f"dataaudit: {again}: already exists; choose another name with --evaluation\n"
    )

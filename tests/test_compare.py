"""`dataaudit compare`: fixed, new and remaining rows and leaks, in words, HTML and JSON."""

import json
from pathlib import Path

import jsonschema_rs
import pandas as pd
import pytest
from conftest import CommandLine
from report_examples import HOSTILE, example_report
from review_examples import Audited, audited, write_images

from dataaudit.report.data import Decision
from dataaudit.report.gates import counted, make_gate
from dataaudit.review.comparison.build import render_comparison
from dataaudit.review.comparison.data import SCHEMA_PATH, Comparison, schema_text


def change(audit: Audited, **columns: list) -> None:
    table = audit.mislabels
    table.assign(**columns).to_parquet(audit.directory / "mislabels.parquet", index=False)


def with_report(audit: Audited, **changes: object) -> None:
    report = audit.report.model_copy(update=changes)
    (audit.directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")


def leaks(audit: Audited, flagged: list[tuple[int, str]]) -> None:
    with_report(audit, leakage=example_report("text", rows=20, flagged=2).leakage)
    table = pd.DataFrame(
        [(query, row, True) for query, row in flagged] + [(9, "c", False)],
        columns=["query_id", "row_id", "flagged"],
    )
    table.to_parquet(audit.directory / "contamination.parquet", index=False)


def two_audits(tmp_path: Path) -> tuple[Audited, Audited]:
    """Row =b relabeled, e removed, f added and flagged, c newly flagged, d flagged in both."""
    old = audited(tmp_path / "old", flagged=(1, 3, 4))
    new = audited(tmp_path / "new", flagged=(2, 3, 5))
    change(
        new,
        given_label=["cat", "dog", "cat", "dog", "dog", "owl"],
        row_id=["a", "=b", "c", "d", "g", "f"],
    )
    change(old, row_id=["a", "=b", "c", "d", "e", "h"])
    leaks(old, [(1, "a"), (2, "c")])
    leaks(new, [(2, "c"), (3, "d")])
    gate = make_gate("mislabel_rate", 0.05, counted(0.2), (), "fail")
    for audit, passed in ((old, False), (new, True)):
        verdict = audit.report.verdict.model_copy(
            update={
                "gates": [
                    gate.model_copy(
                        update={"passed": passed, "outcome": "met" if passed else "not met"}
                    )
                ]
            }
        )
        with_report(audit, verdict=verdict)
    return old, new


def test_what_became_of_rows_and_leaks(tmp_path, command_line: CommandLine) -> None:
    old, new = two_audits(tmp_path)
    out = tmp_path / "compared"
    outcome = command_line("compare", old.directory, new.directory, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert lines[0] == (
        "Labels: 2 fixed, 2 new, 1 still flagged. Leaks: 1 fixed, 1 new, 1 still there"
    )
    assert lines[1].startswith("training labels wrong: ")
    assert lines[2] == "gate mislabel_rate: not met before, met now"
    assert lines[-1] == f"comparison: {out / 'compare.html'}"

    content = json.loads((out / "compare.json").read_text(encoding="utf-8"))
    jsonschema_rs.validate(json.loads(SCHEMA_PATH.read_text(encoding="utf-8")), content)
    labels = content["labels"]
    assert [(row["row_id"], row["change"]) for row in labels["fixed"]] == [
        ("=b", "relabeled"), ("e", "removed"),
    ]  # fmt: skip
    assert labels["fixed"][0]["old_label"] == "cat"
    assert labels["fixed"][0]["new_label"] == "dog"
    assert [(row["row_id"], row["change"]) for row in labels["new"]] == [
        ("c", "newly flagged"), ("f", "added"),
    ]  # fmt: skip
    assert [row["row_id"] for row in labels["still"]] == ["d"]
    found = {
        kind: [item["query_id"] for item in content["leaks"][kind]]
        for kind in ("fixed", "new", "still")
    }
    assert found == {"fixed": [1], "new": [3], "still": [2]}
    assert {path.name for path in out.iterdir()} == {"compare.html", "compare.json"}


def test_only_what_somebody_changed_is_called_fixed(tmp_path, command_line: CommandLine) -> None:
    old = audited(tmp_path / "old", flagged=(1, 3, 4))
    new = audited(tmp_path / "new", flagged=(0,))
    keep = Decision(
        what="label", row_id="d", decision="keep", reviewer="Ada", date="", before="dog",
        after=None, comment="",
    )  # fmt: skip
    with_report(old, remediation=[keep])
    change(new, given_label=["cat", "dog", "cat", "dog", "dog", "owl"])
    out = tmp_path / "compared"
    outcome = command_line("compare", old.directory, new.directory, "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines()[0] == (
        "Labels: 1 fixed, 1 new, 0 still flagged, 1 kept by a reviewer, "
        "1 no longer flagged though nobody changed them"
    )
    labels = json.loads((out / "compare.json").read_text(encoding="utf-8"))["labels"]
    ids = {kind: [row["row_id"] for row in labels[kind]] for kind in ("fixed", "kept", "dropped")}
    assert ids == {"fixed": ["=b"], "kept": ["d"], "dropped": ["e"]}


def test_numbers_as_labels_stay_what_they_are_where_a_row_was_removed(
    tmp_path, command_line: CommandLine
) -> None:
    old = audited(tmp_path / "old", flagged=(1, 3, 4))
    new = audited(tmp_path / "new", flagged=(0,))
    for audit in (old, new):
        change(audit, given_label=[0, 0, 0, 1, 1, 2])
    new.mislabels.iloc[:5].to_parquet(new.directory / "mislabels.parquet", index=False)
    outcome = command_line("compare", old.directory, new.directory)
    assert outcome.out.splitlines()[0] == (
        "Labels: 0 fixed, 1 new, 0 still flagged, 3 no longer flagged though nobody changed them"
    )


def test_suspects_without_ids_are_not_compared_once_some_are_gone(
    tmp_path, command_line: CommandLine
) -> None:
    old, new = audited(tmp_path / "old"), audited(tmp_path / "new")
    leaks(old, [(1, "a"), (2, "c"), (3, "d")])
    # What was suspect 2 and 3 is 1 and 2, since the first was taken out.
    leaks(new, [(1, "c"), (2, "d")])
    out = tmp_path / "compared"
    outcome = command_line("compare", old.directory, new.directory, "--out", out)
    assert outcome.out.splitlines()[0] == "Labels: 0 fixed, 0 new, 2 still flagged"
    note = (
        "Leaks are not compared: suspects are told apart by their position among 4 before and 3 "
        "now; name an id column in audit.yaml (suspects: {id: ...})."
    )
    assert note in outcome.out
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "Decide 2 rows and 2 leaks" in page
    assert json.loads((out / "compare.json").read_text(encoding="utf-8"))["leaks"] is None


def test_labels_that_no_audit_judged_are_not_counted(tmp_path, command_line: CommandLine) -> None:
    old, new = audited(tmp_path / "old"), audited(tmp_path / "new")
    with_report(old, labels=None)
    out = tmp_path / "compared"
    outcome = command_line("compare", old.directory, new.directory, "--out", out)
    assert outcome.out.splitlines()[0] == (
        "Labels: not compared, one of the audits did not judge them"
    )
    page = (out / "compare.html").read_text(encoding="utf-8")
    assert "Not compared: one of the audits judged no labels." in page
    assert "flagged rows fixed" not in page


def test_a_row_that_was_set_aside_since_is_not_called_relabeled(
    tmp_path, command_line: CommandLine
) -> None:
    old, new = audited(tmp_path / "old", flagged=(1, 4)), audited(tmp_path / "new", flagged=(4,))
    change(new, given_label=["cat", None, "cat", "dog", "dog", "owl"])
    outcome = command_line("compare", old.directory, new.directory)
    assert outcome.out.splitlines()[0] == (
        "Labels: 0 fixed, 0 new, 1 still flagged, 1 no longer flagged though nobody changed them"
    )
    outcome = command_line("compare", new.directory, old.directory, "--out", tmp_path / "back")
    assert outcome.code == 0
    labels = json.loads((tmp_path / "back" / "compare.json").read_text(encoding="utf-8"))["labels"]
    assert [row["change"] for row in labels["new"]] == ["newly flagged"]


def test_without_a_directory_nothing_is_written(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    outcome = command_line("compare", audit.directory, audit.directory)
    assert outcome.out.splitlines()[0] == "Labels: 0 fixed, 0 new, 2 still flagged"
    assert outcome.out.splitlines()[-1] == ("Both audits looked at the very same training data.")


def test_positions_are_no_ids_once_rows_come_or_go(tmp_path, command_line: CommandLine) -> None:
    old, new = audited(tmp_path / "old"), audited(tmp_path / "new")
    for audit in (old, new):
        path = audit.directory / "manifest.json"
        content = json.loads(path.read_text())
        content["settings"]["train"]["id"] = None
        path.write_text(json.dumps(content))
        table = audit.mislabels.assign(row_id=range(6))
        table.to_parquet(audit.directory / "mislabels.parquet", index=False)
    assert command_line("compare", old.directory, new.directory).code == 0
    new.mislabels.iloc[:5].to_parquet(new.directory / "mislabels.parquet", index=False)
    outcome = command_line("compare", old.directory, new.directory)
    assert outcome.code == 2
    assert outcome.err == (
        f"dataaudit: {old.directory} and {new.directory}: rows are told apart by their position "
        "in 6 and 5 rows; name an id column in audit.yaml (train: {id: ...}) to compare audits of "
        "data that gained or lost rows\n"
    )


def test_images_go_by_their_names(tmp_path, command_line: CommandLine) -> None:
    def few(folder: Path) -> Path:
        path = write_images(folder)
        (path / "dog" / "more" / "1.1.png").unlink()
        return path

    def moved(folder: Path) -> Path:
        path = few(folder)
        (path / "cat" / "more" / "0.2.png").rename(path / "dog" / "more" / "0.2.png")
        return path

    old = audited(tmp_path / "old", few, flagged=(1,))
    new = audited(tmp_path / "new", moved, flagged=())
    out = tmp_path / "compared"
    assert command_line("compare", old.directory, new.directory, "--out", out).code == 0
    [fixed] = json.loads((out / "compare.json").read_text())["labels"]["fixed"]
    assert (fixed["change"], fixed["old_label"], fixed["new_label"]) == ("relabeled", "cat", "dog")
    both = audited(tmp_path / "both", write_images)
    twice = command_line("compare", both.directory, both.directory)
    assert twice.code == 2
    assert "images of several classes are called more/1.1.png" in twice.err


def test_what_is_no_audit_is_refused(tmp_path, command_line: CommandLine) -> None:
    audit = audited(tmp_path)
    outcome = command_line("compare", audit.directory, tmp_path)
    assert outcome.code == 2
    assert outcome.err == (
        f"dataaudit: {tmp_path / 'audit.json'}: cannot be read (No such file or directory); "
        "expected a finished audit's directory\n"
    )
    file = tmp_path / "file"
    file.write_text("")
    refused = command_line("compare", audit.directory, audit.directory, "--out", file)
    assert refused.code == 2
    assert refused.err == f"dataaudit: {file}: is a file; expected a directory\n"


def test_the_published_schema_is_the_one_of_the_data() -> None:
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()


def test_text_of_rows_is_inert(tmp_path) -> None:
    page = render_comparison(hostile_comparison())
    assert "<script" not in page.replace("&lt;script", "")
    assert "<img" not in page


def hostile_comparison() -> Comparison:
    side = {
        "name": HOSTILE, "date": "2026-11-23", "train_rows": 3, "train_sha256": HOSTILE,
        "held_out_sha256": None, "suspects_sha256": None, "model_sha256": None,
        "rows_flagged": 1, "suspects_flagged": 1,
    }  # fmt: skip
    row = {
        "row_id": HOSTILE, "change": "relabeled", "old_label": HOSTILE, "new_label": HOSTILE,
        "old_probability": 0.5, "new_probability": None,
    }  # fmt: skip
    rate = {"estimate": 0.1, "low": 0.05, "high": 0.2}
    suspect = {"query_id": HOSTILE, "old_row_id": HOSTILE, "new_row_id": None}
    gate = {
        "name": HOSTILE, "old_found": 1.0, "old_limit": 0.5, "old_passed": False,
        "new_found": None, "new_limit": None, "new_passed": None,
        "old_outcome": "not met", "new_outcome": None,
    }  # fmt: skip
    return Comparison.model_validate(
        {
            "old": side,
            "new": side,
            "notes": [HOSTILE],
            "labels": {
                "fixed": [row] * 320, "new": [row], "still": [], "rate_old": rate,
                "kept": [row], "dropped": [row],
                "rate_new": rate,
            },
            "leaks": {
                "fixed": [suspect], "new": [], "still": [], "metric_name": HOSTILE,
                "metric_old": rate, "metric_new": rate,
            },
            "gates": [gate],
        }
    )  # fmt: skip


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_silent_and_axe_finds_nothing(browser, tmp_path, width: int) -> None:
    from importlib import resources

    path = tmp_path / "compare.html"
    path.write_text(render_comparison(hostile_comparison()), encoding="utf-8")
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    said, requested = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    assert page.evaluate("window.pwned") is None
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js")
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert [violation["id"] for violation in found["violations"]] == []
    context.close()

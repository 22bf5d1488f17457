"""`dataaudit sample` and `estimate`: rows drawn by a design, and what they say of all rows."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import CommandLine, go_to
from playwright.sync_api import expect
from report_examples import example_report
from review_examples import Audited, audit_to_decide, audited

from dataaudit.checks.check import Issue
from dataaudit.checks.labels import Labels, issues_of
from dataaudit.checks.leaks import Leaks
from dataaudit.checks.running import table_of
from dataaudit.flags.results import Interval
from dataaudit.report.data import AuditReport, ReviewedSample
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.reviewed import with_reviewed_sample
from dataaudit.review.sampling.design import draw, positions
from dataaudit.review.sampling.inference import Counted, corrected_for_reviewers, share_wrong
from dataaudit.review.sampling.recalibration import recalibrated

ROWS = 400


def table(rows: int = 1000, flagged: int = 100) -> pd.DataFrame:
    rank = np.random.default_rng(5).permutation(rows) + 1
    return pd.DataFrame({"rank": rank, "probability": 0.5, "flagged": rank <= flagged})


def test_most_of_a_small_draw_is_flagged_and_every_row_belongs_to_one_stratum():
    flags = table()
    strata = draw(flags, 60, seed=1)
    assert sum(item.rows for item in strata) == 1000
    assert sum(item.rows for item in strata if item.flagged) == 100
    assert sum(len(item.drawn) for item in strata if item.flagged) == 45
    assert len(positions(strata)) == len(set(positions(strata).tolist())) == 60
    ranks = flags["rank"].to_numpy()
    for item in strata:
        assert all(item.first_rank <= ranks[place] <= item.last_rank for place in item.drawn)
    assert draw(flags, 60, seed=1) == strata
    assert draw(flags, 60, seed=2) != strata


@pytest.mark.parametrize("flagged", [0, 3, 100, 1000])
@pytest.mark.parametrize("rows", [1, 7, 60, 999, 5000])
def test_as_many_rows_are_drawn_as_asked_for_and_there_are(flagged, rows):
    assert len(positions(draw(table(1000, flagged), rows, seed=0))) == min(rows, 1000)


def test_every_row_of_a_stratum_is_drawn_equally_often():
    flags = table(rows=40, flagged=10)
    times = np.zeros(40)
    for seed in range(600):
        times[positions(draw(flags, 8, seed))] += 1
    above, below = times[flags["flagged"]], times[~flags["flagged"]]
    for part in (above, below):
        share = part.sum() / len(part) / 600
        assert np.abs(part / 600 - share).max() < 4.5 * np.sqrt(share * (1 - share) / 600)


def test_rows_that_were_set_aside_are_not_drawn():
    flags = table(rows=50, flagged=5)
    flags.loc[::2, "probability"] = np.nan
    drawn = positions(draw(flags, 50, seed=0))
    assert drawn.tolist() == list(range(1, 50, 2))


def test_a_share_is_that_of_horvitz_and_thompson_and_exact_where_all_rows_were_reviewed():
    found = share_wrong([Counted(100, 20, 10), Counted(900, 30, 3)])
    assert found.estimate == pytest.approx((100 * 10 / 20 + 900 * 3 / 30) / 1000)
    assert found.low < found.estimate < found.high
    assert share_wrong([Counted(30, 30, 12)]) == Interval(0.4, 0.4, 0.4)
    untouched = share_wrong([Counted(50, 50, 25), Counted(50, 0, 0)])
    assert (untouched.low, untouched.high) == pytest.approx((0.25, 0.75))


def test_one_stratum_has_the_interval_of_clopper_and_pearson():
    found = share_wrong([Counted(10**9, 20, 0)])
    assert found.low == 0
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 20), abs=0.01)


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("ranked_well", [True, False])
def test_intervals_hold_whatever_the_model_did(rate, ranked_well):
    generator = np.random.default_rng(3)
    wrong = np.zeros(1000, dtype=bool)
    wrong[generator.choice(1000, round(rate * 1000), replace=False)] = True
    suspicion = generator.normal(size=1000) + (2.5 * wrong if ranked_well else 0)
    rank = np.empty(1000, dtype=int)
    rank[np.argsort(-suspicion)] = np.arange(1, 1001)
    flags = pd.DataFrame({"rank": rank, "probability": 0.5, "flagged": rank <= 60})
    held = 0
    for seed in range(80):
        strata = draw(flags, 60, seed)
        parts = [Counted(s.rows, len(s.drawn), int(wrong[list(s.drawn)].sum())) for s in strata]
        found = share_wrong(parts)
        held += found.low <= wrong.mean() <= found.high
    # 93 % is claimed; so few draws may fall short of it by chance.
    assert held >= 70


def test_reviewers_who_err_widen_the_interval_and_never_narrow_it():
    found = corrected_for_reviewers(Interval(0.1, 0.06, 0.16), 0.05)
    assert found.low == pytest.approx(0.01 / 0.9)
    assert found.high == pytest.approx(0.16)
    assert found.estimate == pytest.approx(0.05 / 0.9)


def test_corrected_probabilities_keep_the_order_and_give_the_share():
    generator = np.random.default_rng(0)
    claimed = np.sort(generator.beta(0.3, 20, 1000))[::-1]
    rank = np.arange(1, 1001.0)
    drawn = np.arange(0, 1000, 20)
    wrong = (drawn < 200).astype(float)
    for values in (claimed, np.full(1000, 1e-9)):
        corrected = recalibrated(values, rank, drawn, wrong, np.full(50, 20.0), 0.2)
        assert corrected.mean() == pytest.approx(0.2, abs=1e-6)
        assert (np.diff(corrected) <= 1e-12).all()
        assert corrected[:100].mean() > 0.5


def write_many(folder: Path) -> Path:
    path = folder / "train.csv"
    labels = ["cat", "dog", "owl"]
    lines = [f"r{n},said {n},{labels[n % 3]}" for n in range(ROWS)]
    path.write_text("\n".join(["key,text,label", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def audit(tmp_path: Path) -> Audited:
    """400 rows of which the first 40 are flagged; the first 30 of these are really wrong."""
    made = audited(tmp_path, write_many, tuple(range(40)))
    report = example_report("text", rows=ROWS, flagged=40, suspects=0)
    gate = make_gate("mislabel_rate", 0.01, Interval(0.0, 0.0, 0.0), (), "fail")
    verdict = report.verdict.model_copy(update={"gates": [gate]})
    composition = made.report.composition
    report = report.model_copy(update={"composition": composition, "verdict": verdict})
    (made.directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")
    return made


def decide(path: Path, unsure: int = 0) -> Path:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for place, row in enumerate(rows):
        assert row["decision"] == row["new_label"] == ""
        row["decision"] = "relabel" if int(row["row_id"][1:]) < 30 else "keep"
        if place < unsure:
            row["decision"] = "unsure"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_drawn_rows_that_were_decided_speak_for_all_rows(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    out, directory = tmp_path / "sample.csv", audit.directory
    before = audit.mislabels
    drawn = command_line("sample", directory, "--rows", 60, "--out", out)
    assert drawn.code == 0, drawn.err
    assert "drawn at random: 40 of 40 flagged rows, 20 of 360 others" in drawn.out

    done = command_line("estimate", directory, "--decisions", decide(out))
    assert done.code == 0, done.err
    assert "wrong labels among the flagged rows: 75.0%" in done.out
    found = ReviewedSample.model_validate_json((directory / "estimate.json").read_bytes())
    assert found.reviewed == 60
    assert found.precision_flagged is not None
    # All flagged rows were drawn: nothing is left to chance.
    assert found.precision_flagged.estimate == 0.75
    assert found.precision_flagged.low == found.precision_flagged.high == 0.75
    assert found.noise_rate.estimate == pytest.approx(30 / 400)
    assert found.noise_rate.low == pytest.approx(30 / 400)

    after, report = audit.mislabels, audit.report
    assert report.reviewed_sample == found.model_copy(
        update={"noise_rate_claimed": report.reviewed_sample.noise_rate_claimed}
    )
    assert after["probability"].mean() == pytest.approx(30 / 400, abs=1e-4)
    kept = pd.read_parquet(directory / "mislabels.claimed.parquet")
    pd.testing.assert_frame_equal(kept, before)
    assert report.labels is not None
    assert report.labels.rows_flagged == report.counts.rows_flagged == after["flagged"].sum()
    assert report.labels.outcome == "found"
    assert report.labels.noise_rate == found.noise_rate
    (gate,) = report.verdict.gates
    assert (gate.outcome, gate.passed) == ("not met", False)
    assert "60 of 60 rows drawn at random" in (directory / "report.html").read_text("utf-8")

    again = command_line("estimate", directory, "--decisions", out)
    assert again.code == 0, again.err
    assert again.out == done.out


def test_limits_and_lines_on_flagged_rows_follow_the_review(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    gate = make_gate("labels", 0, counted(40), (), "fail")
    verdict = audit.report.verdict.model_copy(update={"gates": [gate]})
    report = audit.report
    assert report.labels is not None
    labels = report.labels.model_copy(update={"rows": [], "rows_left_out": 40})
    report = report.model_copy(update={"verdict": verdict, "labels": labels})
    (audit.directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")
    other = Issue("a copy", "suspects", 1.0, 7)
    before = table_of([(Labels(), issues_of(audit.mislabels)), (Leaks(), [other])])
    before.to_parquet(audit.directory / "issues.parquet", index=False)
    out = tmp_path / "sample.csv"
    assert command_line("sample", audit.directory, "--rows", 60, "--out", out).code == 0
    text = decide(out).read_text(encoding="utf-8").replace(",relabel,", ",keep,")
    out.write_text(text, encoding="utf-8")
    done = command_line("estimate", audit.directory, "--decisions", out)
    assert done.code == 0, done.err
    assert audit.mislabels["flagged"].sum() == 0
    (found,) = audit.report.verdict.gates
    assert (found.found, found.outcome) == (0, "met")
    issues = pd.read_parquet(audit.directory / "issues.parquet")
    pd.testing.assert_frame_equal(issues, before[before["check"] == "leaks"].reset_index(drop=True))


def test_rows_of_single_labels_are_counted_where_a_row_has_one(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    out = tmp_path / "sample.csv"
    assert command_line("sample", audit.directory, "--rows", 60, "--out", out).code == 0
    done = command_line("estimate", audit.directory, "--decisions", decide(out))
    assert done.code == 0, done.err
    report = audit.report
    assert report.labels is not None
    assert report.reviewed_sample is not None
    assert len(report.labels.per_class) > 1
    # The text of a set is that of no single label.
    identity = report.identity.model_copy(update={"task": "multi-label"})
    of_sets = with_reviewed_sample(
        report.model_copy(update={"identity": identity}),
        report.reviewed_sample,
        audit.mislabels,
        "fail",
    )
    assert of_sets.labels is not None
    assert of_sets.labels.per_class == []


def test_decisions_of_an_earlier_draw_are_not_lost_by_a_later_one(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert command_line("sample", audit.directory, "--rows", 50, "--out", first).code == 0
    more = ("sample", audit.directory, "--rows", 90, "--seed", 1, "--out", second)
    assert command_line(*more).code == 0
    done = command_line("estimate", audit.directory, "--decisions", decide(first, unsure=2))
    assert done.code == 0, done.err
    assert "reviewed: 48 of 50 rows drawn at random" in done.out
    assert "reviewer unsure: 2 rows" in done.out


def test_what_cannot_be_estimated_is_refused(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    decisions = tmp_path / "decisions.csv"
    decisions.write_text("row_id,decision\nr399,keep\n", encoding="utf-8")
    undrawn = command_line("estimate", audit.directory, "--decisions", decisions)
    assert undrawn.code == 2
    assert "no rows were drawn from this audit" in undrawn.err
    out = tmp_path / "sample.csv"
    assert command_line("sample", audit.directory, "--rows", 1, "--out", out).code == 0
    other = next(n for n in range(399, 0, -1) if f"r{n}," not in out.read_text(encoding="utf-8"))
    decisions.write_text(f"row_id,decision\nr{other},keep\n", encoding="utf-8")
    elsewhere = command_line("estimate", audit.directory, "--decisions", decisions)
    assert elsewhere.code == 2
    assert "none of the rows that were drawn" in elsewhere.err
    assert not (audit.directory / "estimate.json").exists()
    record = audit.directory / "sample.json"
    text = json.loads(record.read_text(encoding="utf-8"))
    for damage in ([4000], [-1], ["a"]):
        text["draws"][0]["strata"][0]["drawn"] = damage
        record.write_text(json.dumps(text), encoding="utf-8")
        refused = command_line("estimate", audit.directory, "--decisions", decisions)
        assert refused.code == 2
        assert "sample.json" in refused.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--rows", 0, "--out", "s.csv"), "--rows: found 0, expected at least 1"),
        (("--rows", 5, "--out", "s.txt"), "expected a file that ends in .csv or .json"),
        (("--rows", 5, "--seed", -1, "--out", "s.csv"), "--seed: found -1"),
    ],
)
def test_draws_that_make_no_sense_are_refused(
    audit: Audited, tmp_path: Path, command_line: CommandLine, arguments, expected
) -> None:
    *rest, name = arguments
    outcome = command_line("sample", audit.directory, *rest, tmp_path / name)
    assert outcome.code == 2
    assert expected in outcome.err
    assert not (audit.directory / "sample.json").exists()


def test_a_clean_sample_makes_an_audit_clear_only_where_few_rows_can_be_wrong():
    from dataaudit.report.reviewed import with_reviewed_sample

    report = example_report("text", rows=50, flagged=0, suspects=0)
    flags = pd.DataFrame(
        {
            "row_id": [row.row_id for row in report.labels.rows],
            "given_label": "shirt",
            "suggested_label": "coat",
            "probability": 0.001,
            "flagged": False,
            "rank": range(1, 51),
        }
    )

    def outcome(high: float) -> str:
        sample = ReviewedSample(
            seed=0,
            drawn=20,
            reviewed=20,
            unsure=0,
            wrong=0,
            noise_rate={"estimate": 0, "low": 0, "high": high},
            noise_rate_claimed=None,
            precision_flagged=None,
            precision_claimed=None,
            precision_at_budget=[],
            reviewer_error=0.05,
            noise_rate_if_reviewers_err={"estimate": 0, "low": 0, "high": high},
        )
        made: AuditReport = with_reviewed_sample(report, sample, flags, "fail")
        return made.labels.outcome

    assert outcome(0.04) == "clear"
    assert outcome(0.2) == "cannot tell"


def test_relabel_makes_the_same_estimate_where_its_decisions_cover_a_draw(
    audit: Audited, tmp_path: Path, command_line: CommandLine
) -> None:
    out = tmp_path / "sample.csv"
    assert command_line("sample", audit.directory, "--rows", 60, "--out", out).code == 0
    few = tmp_path / "few.csv"
    few.write_text("row_id,decision\nr0,relabel\n", encoding="utf-8")
    part = ("relabel", audit.directory, "--decisions", few, "--out", tmp_path / "one.csv")
    chosen = command_line(*part)
    assert chosen.code == 0, chosen.err
    assert "these rows were not all drawn by `dataaudit sample`" in chosen.out
    assert not (audit.directory / "estimate.json").exists()
    whole = ("relabel", audit.directory, "--decisions", decide(out), "--out", tmp_path / "two.csv")
    drawn = command_line(*whole)
    assert drawn.code == 0, drawn.err
    assert "wrong labels among all rows: 7.5%" in drawn.out
    assert "not all drawn" not in drawn.out
    assert audit.report.reviewed_sample is not None
    assert audit.report.review is not None
    assert (audit.directory / "estimate.json").exists()


@pytest.mark.browser
def test_the_drawn_rows_are_decided_in_the_page_and_stand_beside_what_was_claimed(
    browser, tmp_path: Path, command_line: CommandLine
) -> None:
    audit = audit_to_decide(tmp_path)
    drawn = command_line("sample", audit.directory, "--rows", 40, "--out", tmp_path / "sample.csv")
    assert drawn.code == 0, drawn.err
    parts = audit.report.drawn.parts
    ids = {str(row_id) for part in parts for row_id in part.drawn}
    assert len(ids) == 40
    assert audit.report.next_steps[0].startswith("Decide 40 rows drawn at random")
    page = browser.new_context().new_page()
    page.goto((audit.directory / "report.html").as_uri())
    page.locator('[data-step="sample"] a').click()
    expect(page.locator(".item-head .quiet")).to_have_text("1 of 40")
    expect(page.locator("#foot-words")).to_contain_text("0 of 40 rows drawn at random decided")
    for _ in range(10):
        page.keyboard.press("k")
    for _ in range(30):
        page.keyboard.press("x")
    foot = page.locator("#foot-words")
    expect(foot).to_contain_text("40 of 40 rows drawn at random decided, 30 wrong")
    said = foot.inner_text()
    go_to(page, "#read")
    expect(page.locator('[data-step="sample"]')).to_contain_text("40 of 40 decided")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download decisions").click()
    file = tmp_path / "decisions.csv"
    download.value.save_as(file)
    page.context.close()
    records = list(csv.DictReader(file.open(encoding="utf-8", newline="")))
    assert {record["row_id"] for record in records} == ids
    # The rows that the ranking does not show are there with what they hold.
    assert all(row.sample in audit.report.samples for row in audit.report.drawn.shown)
    done = command_line("estimate", audit.directory, "--decisions", file)
    assert done.code == 0, done.err
    found = audit.report.reviewed_sample
    assert f"about {100 * found.noise_rate.estimate:.1f}% are wrong by these rows" in said
    assert f"{100 * found.noise_rate_claimed.estimate:.1f}% was claimed" in said
    assert not any("drawn at random" in step for step in audit.report.next_steps)
    text = (audit.directory / "report.html").read_text(encoding="utf-8")
    assert "Wrong labels: claimed and reviewed" in text

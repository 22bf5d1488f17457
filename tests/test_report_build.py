"""From flags to the report: what is counted, bounded, left out, and said in words."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from report_examples import (
    NOTHING_MISSED,
    contamination_flags,
    evidence_for,
    example_report,
    exhibit,
    mislabel_flags,
)

from dataaudit.flags.results import Interval
from dataaudit.report import About, select_pairs, select_rows
from dataaudit.report import label_findings as bounds
from dataaudit.report.evidence import Evidence
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.render import render
from dataaudit.report.samples import SamplePool


def empty_evidence():
    return Evidence({}, {}, pd.DataFrame({"split": [], "class": [], "rows": []}))


def test_flagged_rows_come_first_by_rank_then_the_next_in_line():
    flags = mislabel_flags(rows=50, flagged=4)
    by_rank = flags.table.sort_values("rank")["row_id"].tolist()
    assert select_rows(flags) == by_rank
    report = example_report("text", rows=50, flagged=4)
    assert [row.flagged for row in report.labels.rows] == [True] * 4 + [False] * 46
    assert [row.rank for row in report.labels.rows] == list(range(1, 51))


def test_the_page_is_bounded_and_says_what_it_leaves_out(monkeypatch):
    monkeypatch.setattr(bounds, "ROWS_ON_PAGE", 30)
    monkeypatch.setattr(bounds, "KEPT_ROWS_ON_PAGE", 10)
    report = example_report("text", rows=300, flagged=70)
    assert len(report.labels.rows) == 30
    assert report.labels.rows_flagged == 70
    assert report.labels.rows_left_out == 40
    few = example_report("text", rows=300, flagged=25)
    assert len(few.labels.rows) == 30
    assert few.labels.rows_left_out == 0


def test_samples_beyond_the_budget_are_left_out_and_counted():
    pool = SamplePool(budget=700)
    keys = [pool.add(exhibit("text", "train", number, "ham", "")) for number in range(9)]
    assert None in keys
    assert keys[0] is not None
    assert pool.add(exhibit("text", "train", 0, "ham", "")) == keys[0]
    assert set(pool.samples) == {key for key in keys if key}


def test_rows_without_evidence_are_counted():
    flags = mislabel_flags(rows=60, flagged=10)
    evidence = evidence_for("text", flags, None)
    some = dict(list(evidence.rows.items())[:7])
    report = example_report("text", 60, 10, 0, 0, evidence=replace(evidence, rows=some))
    assert report.labels.rows_without_evidence == 53
    assert report.labels.rows[7].sample is None
    assert report.labels.rows[7].against == []


def test_signals_say_how_many_rows_lie_below():
    report = example_report("text", rows=101, flagged=5)
    flags = mislabel_flags(101, 5)
    top = flags.signals["loss"].idxmax()
    row_id = flags.table["row_id"][top]
    row = next(row for row in report.labels.rows if row.row_id == row_id)
    assert row.signals["loss"].percentile == pytest.approx(100 / 101)
    assert row.signals["loss"].value == flags.signals["loss"][top]


def test_a_signal_that_was_not_computed_is_left_out():
    flags = mislabel_flags(40, 5)
    signals = flags.signals.assign(cleanlab=np.nan)
    signals.loc[flags.table["rank"] == 1, "loss"] = np.inf
    report = example_report("text", 40, 5, 0, 0, mislabels=replace(flags, signals=signals))
    assert set(report.labels.rows[0].signals) == {"mirrored_influence", "margin"}
    assert "cleanlab" not in {histogram.name for histogram in report.labels.histograms}


def test_histograms_count_every_row_once():
    report = example_report("text", rows=500, flagged=40)
    for histogram in report.labels.histograms:
        assert sum(histogram.flagged) == 40
        assert sum(histogram.kept) == 460
    assert report.labels.histograms[0].name == "probability"
    assert report.labels.histograms[0].threshold == 0.5


def test_only_the_classes_with_most_errors_stand_in_the_noise_table():
    classes = [f"class {number:02}" for number in range(60)]
    flags = mislabel_flags(rows=3000, flagged=200, classes=classes)
    report = example_report("text", 3000, 200, 0, 0, mislabels=flags)
    table = report.labels.noise_table
    assert len(table.given) == bounds.CLASSES_IN_NOISE_TABLE
    assert table.given == sorted(table.given)
    assert table.classes_left_out == 60 - bounds.CLASSES_IN_NOISE_TABLE
    assert len(report.labels.confusions) == bounds.CONFUSIONS
    most = report.labels.confusions[0]
    assert most.rows == pytest.approx(flags.noise_table.loc[most.given, most.true])


def test_regression_has_targets_and_no_classes():
    flags = mislabel_flags(rows=80, flagged=6)
    generator = np.random.default_rng(1)
    flags = replace(
        flags,
        table=flags.table.assign(
            given_label=generator.normal(size=80), suggested_label=generator.normal(size=80)
        ),
        noise_per_class=flags.noise_per_class.iloc[:0],
        noise_table=pd.DataFrame(),
    )
    report = example_report("table", 80, 6, 0, 0, mislabels=flags, task="regression")
    assert report.labels.noise_table is None
    assert report.labels.per_class == []
    assert isinstance(report.labels.rows[0].given_label, float)


def test_integer_ids_and_labels_stay_integers():
    flags = mislabel_flags(rows=30, flagged=3, classes=[0, 1, 2])
    flags = replace(flags, table=flags.table.assign(row_id=np.arange(30)))
    evidence = evidence_for("text", flags, None)
    report = example_report("text", 30, 3, 0, 0, mislabels=flags, evidence=evidence)
    row = report.labels.rows[0]
    assert type(row.row_id) is int
    assert type(row.given_label) is int
    assert row.sample == f"train:{row.row_id}"


def test_an_estimate_that_could_not_be_made_is_null():
    flags = mislabel_flags(30, 3)
    flags = replace(flags, noise_rate=Interval(float("nan"), float("nan"), float("nan")))
    leaks = replace(contamination_flags(20, 4), metric_clean=Interval(float("nan"), 0, 1))
    report = example_report("text", 30, 3, 20, 4, mislabels=flags, contamination=leaks)
    assert report.labels.noise_rate is None
    assert report.leakage.metric_clean is None


def test_pairs_come_best_match_first_and_are_bounded(monkeypatch):
    flags = contamination_flags(suspects=40, leaked=10)
    assert select_pairs(flags) == [(number, f"row-{number}") for number in range(10)]
    monkeypatch.setattr("dataaudit.report.leakage.PAIRS_ON_PAGE", 6)
    report = example_report("text", 30, 3, 40, 10)
    assert [pair.query_id for pair in report.leakage.pairs] == list(range(6))
    assert report.leakage.pairs_left_out == 4
    assert report.leakage.suspects_flagged == 10
    assert {item.kind: item.suspects for item in report.leakage.kinds} == {
        "exact": 3,
        "near": 3,
        "near, no influence seen": 2,
        "influence only": 2,
    }


def test_several_matches_of_a_suspect_stay_together_and_count_once():
    flags = contamination_flags(suspects=3, leaked=2)
    second = flags.table.iloc[[1]].assign(row_id="row-77", rank=2, score=0.1)
    flags = replace(
        flags,
        table=pd.concat([flags.table, second], ignore_index=True),
        evidence=pd.concat([flags.evidence, flags.evidence.iloc[[1]]], ignore_index=True),
    )
    assert select_pairs(flags) == [(0, "row-0"), (1, "row-1"), (1, "row-77")]
    report = example_report("text", 30, 3, 3, 2, contamination=flags)
    assert report.leakage.suspects_flagged == 2
    assert report.counts.suspects_flagged == 2


def test_the_findings_in_words():
    report = example_report("text", rows=2000, flagged=240, suspects=200, leaked=23)
    assert [finding.title for finding in report.findings] == [
        "About 14.7% of the training labels are wrong",
        "6 of 200 evaluation samples are also training rows, 17 more resemble a training row",
        "1 pair of training rows has the same content and two labels",
    ]
    assert report.findings[1].text == (
        "6 exact copies, 12 near copies and 5 linked by the model only. Without them accuracy is "
        "89.6% instead of 93.1%."
    )
    assert report.next_steps == [
        "Decide 240 rows: about 212 will be wrong (of the first 100, about 96). About 82 more are "
        "expected below the line, half of them in the next 116 rows.",
        "Settle 1 pair of rows with the same content and two labels.",
        "Decide 23 leaks, and take the copies out of the evaluation set; without them accuracy is "
        "89.6%.",
        "Look at the labelling instructions for “shirt” and “coat”.",
        "Say what is missing: 17 of 20 facts.",
        "Correct, retrain, and audit again with the same settings.",
    ]


def test_no_estimate_is_a_finding_where_any_share_of_the_labels_may_be_wrong():
    hidden = "errors such as these cannot be seen, and how many there are cannot be told"
    flags = mislabel_flags(200, 24)
    bounded = replace(flags, noise_rate=Interval(0.1, 0.06, 1.0), untold=[hidden])
    report = example_report("text", 200, 24, 0, 0, mislabels=bounded)
    assert report.labels.outcome == "found"
    assert report.findings[0].title == "At least 6.0% of the training labels are wrong"
    assert report.findings[0].text.endswith(
        "Errors such as these cannot be seen, and how many there are cannot be told."
    )
    page = render(report)
    assert "≥ 6.0%" in page
    assert "how many more cannot be told" in page
    nothing = replace(flags, noise_rate=Interval(0.1, 0.0, 1.0), untold=[hidden])
    report = example_report("text", 200, 24, 0, 0, mislabels=nothing)
    assert report.findings[0].title == "24 rows with a doubtful label"
    assert "how many cannot be told" in render(report)


def test_a_difference_that_chance_could_make_is_not_called_an_effect():
    leaks = replace(contamination_flags(20, 4), metric_difference=Interval(0.01, -0.02, 0.04))
    report = example_report("text", 0, 0, 20, 4, contamination=leaks)
    leak = next(finding for finding in report.findings if finding.section == "leakage")
    assert leak.text.endswith("a difference that chance alone could make.")


def test_a_clean_audit_says_so():
    leaks = replace(contamination_flags(50, 0), disagreeing_duplicates=None)
    report = example_report(
        "text", 200, 0, 50, 0, gates=[], coverage=NOTHING_MISSED, contamination=leaks
    )
    assert [finding.severity for finding in report.findings] == ["clear"] * 3
    assert report.findings[0].title == "No training label stands out as wrong"
    assert report.verdict.outcome == "no gates"
    assert len(report.next_steps) == 1


def test_nearly_clean_labels_are_said_to_be():
    flags = mislabel_flags(400, 5)
    rare = replace(flags, noise_rate=Interval(0.006, 0.002, 0.011))
    finding = example_report("text", 400, 5, 0, 0, mislabels=rare).findings[0]
    assert finding.title == "Few training labels stand out as wrong"
    assert finding.text == (
        "Little was found: of 400 rows, 5 rows are flagged, with a probability of 50% or more that "
        "the label is wrong. The share of wrong labels is estimated at 0.6% "
        "(95% interval 0.2% to 1.1%)."
    )
    titles = [
        example_report("text", 400, flagged, 0, 0, mislabels=other).findings[0].title
        for flagged, other in [
            (5, replace(flags, noise_rate=Interval(0.02, 0.01, 0.03))),
            (9, replace(mislabel_flags(400, 9), noise_rate=Interval(0.006, 0.002, 0.011))),
        ]
    ]
    assert titles == [
        "About 2.0% of the training labels are wrong",
        "About 0.6% of the training labels are wrong",
    ]


def test_a_part_that_was_not_audited_is_said_not_to_be():
    report = example_report("text", rows=0, flagged=0, suspects=0, leaked=0)
    assert report.labels is None
    assert report.leakage is None
    assert [finding.title for finding in report.findings] == [
        "Label errors were not looked for",
        "Leaks were not looked for",
    ]


def test_the_verdict_counts_the_limits_exceeded():
    good = make_gate("contaminated", 0, counted(0), (), "fail")
    bad = make_gate("mislabel_rate", 0.05, Interval(0.2, 0.1, 0.3), (), "fail")
    unsure = make_gate("mislabel_rate", 0.05, Interval(0.04, 0.02, 0.3), (), "fail")
    unmeasured = make_gate("mislabel_rate", 0.05, None, (), "fail")
    one = example_report("text", 30, 3, gates=[good])
    both = example_report("text", 30, 3, gates=[good, bad])
    assert (one.verdict.outcome, one.verdict.headline) == ("passed", "Within its limit")
    assert (both.verdict.outcome, both.verdict.headline) == ("failed", "1 of 2 limits exceeded")
    for open_one in (unsure, unmeasured):
        verdict = example_report("text", 30, 3, gates=[good, open_one]).verdict
        headline = "Cannot tell whether 1 of 2 limits is met"
        assert (verdict.outcome, verdict.headline) == ("cannot tell", headline)


def test_what_nobody_supplied_reads_not_provided():
    about = About.model_validate(
        {"version": 3, "licence": None, "purpose": "  ", "known_biases": ["urban", "2019"]}
    )
    assert about.version == "3"
    assert about.licence == "not provided"
    assert about.purpose == "not provided"
    assert about.known_biases == "urban; 2019"


def test_an_unknown_fact_about_the_data_set_is_refused():
    with pytest.raises(ValidationError, match=r"lisence\s+Extra inputs are not permitted"):
        About.model_validate({"lisence": "MIT"})


def test_only_embedded_pictures_are_taken_in():
    sample = replace(exhibit("text", "train", 1, "ham", ""), image="https://example.org/a.png")
    with pytest.raises(ValidationError, match="image"):
        SamplePool(10_000).add(sample)


def test_text_that_utf8_cannot_hold_is_mended():
    pool = SamplePool(10_000)
    key = pool.add(replace(exhibit("text", "train", 1, "ham", ""), text="broken \ud83d here"))
    assert pool.samples[key].text == "broken ? here"


def test_an_empty_composition_is_allowed():
    report = example_report("text", 0, 0, 0, 0, splits=[], evidence=empty_evidence())
    assert report.composition.counts == []

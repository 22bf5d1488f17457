"""Outcomes in three words: what was found, what is clear, and what cannot be told."""

from dataclasses import replace

import numpy as np
import pytest
from report_examples import contamination_flags, mislabel_flags

from dataaudit.flags.by_kind import FLAGGERS
from dataaudit.flags.inputs import LabelledRows
from dataaudit.flags.judgement import gate_outcome, judge_labels, judge_leaks
from dataaudit.flags.results import Interval
from dataaudit.flags.tables import FlagSettings
from dataaudit.report.gates import counted, make_gate


@pytest.mark.parametrize(
    ("found", "doubts", "outcome"),
    [
        (Interval(0.02, 0.01, 0.05), (), "met"),
        (Interval(0.02, 0.01, 0.051), (), "cannot tell"),
        (Interval(0.09, 0.04, 0.2), (), "cannot tell"),
        (Interval(0.09, 0.06, 0.2), (), "not met"),
        (Interval(0.09, 0.06, 0.2), ("few trusted rows",), "not met"),
        (Interval(0.0, 0.0, 0.01), ("few trusted rows",), "cannot tell"),
        (Interval(0.5, 0.0, 1.0), (), "cannot tell"),
        (None, (), "cannot tell"),
    ],
)
def test_a_limit_is_met_only_where_the_whole_interval_lies_within_it(found, doubts, outcome):
    assert gate_outcome(0.05, found, doubts) == outcome


def test_an_undecided_gate_fails_unless_the_file_says_that_it_passes():
    wide = Interval(0.02, 0.0, 0.2)
    assert not make_gate("mislabel_rate", 0.05, wide, (), "fail").passed
    assert make_gate("mislabel_rate", 0.05, wide, (), "pass").passed
    assert not make_gate("contaminated", 0, counted(1), (), "pass").passed
    assert make_gate("contaminated", 0, counted(0), (), "fail").passed


def with_rate(flagged: int, low: float, high: float, doubts: tuple[str, ...] = ()):
    rate = Interval((low + high) / 2, low, high)
    return replace(mislabel_flags(rows=50, flagged=flagged), noise_rate=rate, doubts=doubts)


def test_labels_are_clear_only_where_few_can_be_wrong():
    assert judge_labels(with_rate(0, 0.0, 0.02)).outcome == "clear"
    assert judge_labels(with_rate(3, 0.0, 0.1)).outcome == "found"
    assert judge_labels(with_rate(0, 0.01, 0.1)).outcome == "found"
    too_wide = judge_labels(with_rate(0, 0.0, 0.2))
    assert too_wide.outcome == "cannot tell"
    assert "up to 20.0%" in too_wide.reasons[0]


def test_the_reason_says_how_many_of_the_flagged_rows_are_wrong():
    flags = replace(with_rate(2, 0.0, 0.1), precision_flagged=Interval(0.6, 0.0, 1.0))
    assert "2 rows reach the threshold, 0 to 2 of them wrong;" in judge_labels(flags).reasons[0]
    unknown = judge_labels(replace(flags, precision_flagged=None))
    assert "2 rows reach the threshold; 0.0% to 10.0%" in unknown.reasons[0]


def test_a_doubt_is_the_reason_why_labels_cannot_be_told():
    judged = judge_labels(with_rate(0, 0.0, 0.0, ("only 3 samples are trusted",)))
    assert (judged.outcome, judged.reasons) == ("cannot tell", ("only 3 samples are trusted",))


def test_leaks_that_were_found_stay_found_where_others_cannot_be_told():
    found = contamination_flags(suspects=20, leaked=2)
    none = replace(found, table=found.table.assign(flagged=False))
    assert judge_leaks(found).outcome == "found"
    assert judge_leaks(none).outcome == "clear"
    assert judge_leaks(replace(none, doubts=("one narrow column",))).outcome == "cannot tell"
    both = judge_leaks(replace(found, doubts=("one narrow column",)))
    assert both.outcome == "found"
    assert both.reasons[-1] == "one narrow column"


def test_what_was_found_stays_found_where_a_single_class_cannot_be_told():
    untold = ("too few trusted samples are of 'fraud'",)
    found = judge_labels(replace(with_rate(3, 0.0, 0.1), untold=untold))
    assert (found.outcome, found.reasons[1:]) == ("found", untold)
    none = judge_labels(replace(with_rate(0, 0.0, 0.02), untold=untold))
    assert (none.outcome, none.reasons) == ("cannot tell", untold)


@pytest.mark.parametrize("task", ["classification", "ordinal", "regression", "multi-label"])
def test_without_trusted_samples_nothing_is_told_of_any_kind_of_label(task):
    generator = np.random.default_rng(0)
    said = generator.dirichlet(np.ones(3), 60).astype(np.float32)
    given, classes = generator.integers(0, 3, 60), [0, 1, 2]
    if task == "regression":
        said, given, classes = generator.normal(size=(60, 1)), generator.normal(size=60), []
    if task == "multi-label":
        given = (generator.random((60, 3)) < 0.5).astype(np.int8)
    rows = LabelledRows(
        np.arange(60), given, classes, lambda labels: np.arange(len(labels)), said, said, said
    )
    flags = FLAGGERS[task](rows, None, FlagSettings())
    assert [flags.noise_rate.low, flags.noise_rate.high] == [0.0, 1.0]
    assert judge_labels(flags).outcome == "cannot tell"

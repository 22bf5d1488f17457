"""Decisions about suspects: valid p-values, a controlled false discovery rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dataaudit.flags.contamination import (
    ExactCopies,
    combined_p_values,
    flag_contamination,
    influence_scores,
)
from dataaudit.flags.null_distribution import (
    _fit_clean_tail,
    benjamini_hochberg,
    choose_null,
    fit_null,
    p_values,
)


def flag(content, calibration, exact=None, influence_calibration=None, **more):
    """Judge suspects with one match each; return the decisions, and what is said of the null."""
    content = np.asarray(content, float)[:, None]
    names = [f"q{i}" for i in range(len(content))]
    similar = content[:, 0] if exact is None else content[~exact.suspects, 0]
    null, note = choose_null(calibration, similar, 0.10)
    if influence_calibration is not None:
        more["influence_null"] = fit_null(influence_calibration, trusted=True)
    decisions = flag_contamination(
        names, ["r0"], np.zeros((len(names), 1), int), content, null, exact=exact, **more
    )
    return decisions, note


def flagged_by(content, calibration, **more):
    return flag(content, calibration, **more)[0].flagged_queries


def test_counted_p_values_are_conformal():
    null = fit_null(np.arange(1000.0), trusted=True)
    assert p_values(null, [500.0])[0] == pytest.approx(501 / 1001)
    assert p_values(null, [-1.0])[0] == 1.0
    assert p_values(null, [-np.inf])[0] == 1.0


@pytest.mark.parametrize("trusted", [True, False])
def test_p_values_of_clean_suspects_are_uniform_or_larger(trusted):
    generator = np.random.default_rng(0)
    below = []
    for _ in range(200):
        null = fit_null(generator.normal(size=500), trusted=trusted)
        below.append(
            [(p_values(null, generator.normal(size=500)) <= t).mean() for t in (0.01, 0.1)]
        )
    assert np.mean(below, axis=0) == pytest.approx([0.01, 0.1], rel=0.25)


def test_tail_p_values_follow_the_distribution():
    generator = np.random.default_rng(0)
    null = fit_null(generator.exponential(size=20_000))
    p = p_values(null, [12.0])[0]
    assert np.log(stats.expon.sf(12.0)) == pytest.approx(np.log(p), abs=3)
    assert p < null.resolution


def test_p_values_fall_as_scores_rise():
    null = fit_null(np.random.default_rng(0).normal(size=300))
    p = p_values(null, np.linspace(-5, 50, 400))
    assert (np.diff(p) <= 1e-12).all()
    assert p.min() > 0


def test_duplicates_in_the_calibration_set_are_cut_out():
    generator = np.random.default_rng(0)
    calibration = np.r_[generator.normal(size=1980), np.full(20, 30.0)]
    null = fit_null(calibration)
    assert null.excluded[-20:].all()
    assert null.excluded.sum() <= 23
    assert fit_null(calibration, trusted=True).excluded.sum() == 0
    flags, note = flag(np.r_[generator.normal(size=300), np.full(12, 30.0)], calibration)
    assert [name for name in flags.flagged_queries if int(name[1:]) >= 300] == [
        f"q{i}" for i in range(300, 312)
    ]
    assert len(flags.flagged_queries) <= 14
    assert "calibration samples repeat training rows" in note


def test_duplicates_as_common_as_among_training_rows_are_no_leak():
    generator = np.random.default_rng(0)
    calibration = np.r_[generator.normal(size=1980), np.full(20, 30.0)]
    flags, note = flag(np.r_[generator.normal(size=990), np.full(10, 30.0)], calibration)
    assert flags.flagged_queries == []
    assert "no more often than calibration samples" in note


def test_too_few_calibration_suspects():
    with pytest.raises(ValueError, match="expected at least 20 finite scores, found 3"):
        fit_null([1.0, 2.0, 3.0, np.nan])


def test_constant_calibration_scores():
    null = fit_null(np.zeros(50))
    assert p_values(null, [0.0])[0] == 1.0


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.01, 0.5))
def test_benjamini_hochberg_equals_its_definition(p, level):
    ordered = sorted(p)
    largest = max(
        (k for k in range(1, len(p) + 1) if ordered[k - 1] <= level * k / len(p)), default=0
    )
    cut = ordered[largest - 1] if largest else -1.0
    assert benjamini_hochberg(p, level).tolist() == [value <= cut for value in p]


def test_no_leak_no_flags():
    generator = np.random.default_rng(0)
    shares = [
        len(flagged_by(generator.normal(size=1000), generator.normal(size=1000))) / 1000
        for _ in range(50)
    ]
    assert np.mean(shares) <= 0.001
    assert max(shares) <= 0.01


def test_realised_false_discovery_rate_and_recall():
    generator = np.random.default_rng(0)
    false, recall = [], []
    for _ in range(50):
        content = np.r_[generator.normal(size=950), generator.normal(6, 1, 50)]
        named = flagged_by(content, generator.normal(size=1000))
        leaked = [int(name[1:]) >= 950 for name in named]
        false.append(1 - np.mean(leaked))
        recall.append(np.sum(leaked) / 50)
    assert np.mean(false) <= 0.13
    assert np.mean(recall) >= 0.97


def test_influence_is_judged_against_the_rows_own_background():
    background = np.array([[[0.0, 1.0, 2.0, 3.0, 4.0]], [[0.0, 0.1, 0.2, 0.3, 0.4]]])
    scores = influence_scores([[4.0], [4.0]], background)
    assert scores[1, 0] > 5 * scores[0, 0] > 0
    assert influence_scores([[2.0]], background[:1])[0, 0] == 0.0


def test_evidence_of_each_kind():
    generator = np.random.default_rng(0)
    calibration = generator.normal(size=2000)
    content = np.r_[generator.uniform(-1, 1, 97), 30.0, 30.0, 0.0]
    influence = np.r_[generator.uniform(-1, 1, 97), 30.0, 0.0, 30.0][:, None]
    flags, _ = flag(content, calibration, influence=influence, influence_calibration=calibration)
    last = flags.table.tail(3)
    assert last["evidence"].tolist() == ["both", "content", "influence"]
    assert last["flagged"].all()
    assert combined_p_values(np.array([0.9]), np.array([0.2]))[0] == 1.0


def test_what_was_not_unlearned_is_not_said_to_show_no_influence():
    calibration = np.random.default_rng(0).normal(size=2000)
    influence = np.array([np.nan, 0.0])[:, None]
    flags, _ = flag(
        [30.0, 30.0], calibration, influence=influence, influence_calibration=calibration
    )
    assert flags.table["influence_p_value"].isna().tolist() == [True, False]
    assert flags.table["p_value"].nunique() == 1
    assert flags.table["flagged"].all()


def test_the_table_is_the_contract():
    calibration = np.random.default_rng(0).normal(size=100)
    flags = flag_contamination(
        ["a", "b", "c"],
        ["x", "y"],
        [[1, 0], [0, -1], [-1, -1]],
        [[99.0, 0.0], [0.0, -np.inf], [-np.inf, -np.inf]],
        fit_null(calibration),
    )
    head = flags.table[["query_id", "row_id", "rank", "score", "flagged"]]
    assert head.values[:3].tolist() == [
        ["a", "y", 1, 99.0, True],
        ["a", "x", 2, 0.0, False],
        ["b", "x", 1, 0.0, False],
    ]
    assert flags.table["p_value"].between(0, 1).all()
    # A suspect without a match has a line, too.
    last = head.iloc[3]
    assert (last["query_id"], last["rank"], last["flagged"]) == ("c", 1, False)
    assert last[["row_id", "score"]].isna().all()


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected matches and content of shape \[1, matches\]"):
        flag_contamination(["a"], ["x"], [[0, 1]], [[1.0]], fit_null(np.arange(30.0)))
    with pytest.raises(ValueError, match="influence needs influence_null"):
        flag([1.0], np.arange(30.0), influence=[[1.0]])


def with_identical(suspects: int, planted: int, repeated: int, rows: int = 1000):
    """Return flags of normal scores, the first `planted` suspects being identical to a row."""
    generator = np.random.default_rng(0)
    content = np.r_[np.full(planted, 30.0), generator.normal(size=suspects - planted)]
    exact = ExactCopies((content == 30)[:, None], repeated, rows)
    return flag(content, generator.normal(size=rows - repeated), exact=exact)[0]


@pytest.mark.parametrize("repeated", [0, 10, 60, 200, 1000])
def test_identical_suspects_are_flagged_whatever_training_rows_repeat(repeated):
    flags = with_identical(500, 30, repeated, rows=2000)
    found = {int(name[1:]) for name in flags.flagged_queries}
    assert set(range(30)) <= found
    assert len(found) <= 32
    assert flags.notes[0] == (
        f"30 of 500 suspects are identical to a training row, and so are {repeated} of 2000 "
        "training rows to another one"
    )
    share = (1 + repeated) / 2001
    assert flags.table["p_value"][:30].to_numpy() == pytest.approx(np.full(30, share))


def test_identical_suspects_let_no_others_pass():
    """Many identical suspects say nothing of those that are only alike."""
    generator = np.random.default_rng(1)
    content = np.r_[np.full(400, 30.0), generator.normal(size=600)]
    exact = ExactCopies((content == 30)[:, None], 0, 1000)
    found = flagged_by(content, generator.normal(size=1000), exact=exact)
    assert len(found) <= 402


def test_rows_that_repeat_each_other_do_not_hide_near_copies():
    generator = np.random.default_rng(0)
    content = np.r_[np.full(50, 30.0), np.full(50, 12.0), generator.normal(size=400)]
    exact = ExactCopies((content == 30)[:, None], 100, 1000)
    found = flagged_by(content, generator.normal(size=900), exact=exact)
    assert set(range(100)) <= {int(name[1:]) for name in found}
    assert len(found) <= 110


def test_without_a_null_only_identical_suspects_are_flagged():
    exact = ExactCopies(np.array([[True, True], [False, False]]), 3, 10)
    decisions = flag_contamination(
        ["a", "b"], ["x", "y"], [[0, 1], [1, 0]], [[5.0, 5.0], [4.0, 1.0]], "too few", exact=exact
    )
    assert decisions.table["flagged"].tolist() == [True, True, False, False]
    assert not decisions.similar_judged
    assert decisions.table["p_value"].isna().tolist() == [False, False, True, True]
    assert decisions.notes[-1] == "too few"


def test_identical_suspects_that_chance_alone_gives_are_said_to_be_so():
    pairs = (np.arange(100) < 30)[:, None]
    assert "about 29 of 100 suspects would be identical" in ExactCopies(pairs, 290, 1000).by_chance
    assert ExactCopies(pairs, 100, 1000).by_chance == ""
    assert ExactCopies(~pairs & pairs, 290, 1000).by_chance == ""


def test_points_that_nearly_coincide_are_fitted_without_a_word(recwarn):
    distance = np.array([1e-9, 1e-9 + 1e-24, 1.0])
    _fit_clean_tail(0.5, distance, np.array([0.3, 0.2, 0.1]), 0.0)
    _fit_clean_tail(0.5, np.zeros(3) + 1e-12, np.array([0.3, 0.2, 0.1]), 0.0)
    assert [str(warning.message) for warning in recwarn] == []

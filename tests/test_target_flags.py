"""Flags for targets and label sets, from arrays: calibrated, of the right sign, without units."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from scipy.stats import lognorm, t

from dataaudit.flags import label_sets
from dataaudit.flags.inputs import LabelledRows, References
from dataaudit.flags.judgement import judge_labels
from dataaudit.flags.label_sets import flag_label_sets
from dataaudit.flags.probabilities import row_blocks
from dataaudit.flags.results import MislabelFlags
from dataaudit.flags.tables import FlagSettings
from dataaudit.flags.target_evidence import Sizes, TargetEvidence, fit_target_evidence
from dataaudit.flags.targets import flag_targets, highest_rate, target_signals

ROWS = 1500


def rows_of(targets: np.ndarray, predictions: np.ndarray) -> LabelledRows:
    found = predictions[:, None]
    return LabelledRows(np.arange(len(targets)), targets, [], lambda x: x, found, found, found)


def references_of(targets: np.ndarray, planted: np.ndarray, predictions: np.ndarray) -> References:
    return References(targets, planted, predictions[:, None], predictions[:, None])


def flags(
    gross: float, rate: float, unit: float = 1.0, references: bool = True, budget: int | None = None
) -> tuple[MislabelFlags, np.ndarray]:
    """Targets with noise of size 1, some wrong by about `gross`; planted ones by about 4."""
    generator = np.random.default_rng(0)
    truth = generator.normal(50, 5, ROWS)
    targets = truth + generator.standard_t(6, ROWS)
    wrong = np.arange(ROWS) < rate * ROWS
    size = gross * np.exp(generator.normal(0, 0.2, ROWS)) * generator.choice([-1, 1], ROWS)
    targets[wrong] += size[wrong]
    known = None
    if references:
        held_out = generator.normal(50, 5, 400)
        planted = np.arange(400) < 100
        shift = generator.choice([-1, 1], 400) * generator.uniform(2, 8, 400)
        given = held_out + generator.standard_t(6, 400) + np.where(planted, shift, 0)
        known = references_of(given * unit, planted, held_out * unit)
    settings = FlagSettings(budget=budget, row_groups=np.array(["a site"] * ROWS, dtype=object))
    found = flag_targets(rows_of(targets * unit, truth * unit), known, settings)
    return found, wrong


@pytest.mark.parametrize("gross", [8.0, 300.0])
def test_gross_errors_are_found_with_the_rate_and_precision_claimed(gross: float) -> None:
    found, wrong = flags(gross, 0.06)
    table = found.table
    flagged = table["flagged"].to_numpy()
    assert wrong[flagged].mean() >= 0.85
    assert wrong[flagged].sum() >= 0.9 * wrong.sum()
    claimed = table["probability"][flagged].mean()
    assert claimed == pytest.approx(wrong[flagged].mean(), abs=0.07)
    assert found.noise_rate.low <= 0.06 <= found.noise_rate.high
    assert found.noise_rate.estimate == pytest.approx(0.06, abs=0.02)


def test_clean_targets_get_hardly_a_flag() -> None:
    found, _ = flags(8.0, 0.0)
    assert found.table["flagged"].mean() < 0.01
    assert found.noise_rate.estimate < 0.02
    assert found.noise_rate.low == 0
    assert found.noise_per_group is not None
    assert found.noise_per_group["high"].tolist() == [pytest.approx(found.noise_rate.high)]


def drawn(
    rows: int, outliers: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Noise of size 1, of which a share lies far off by nature; and which does."""
    noise = generator.standard_t(20, rows)
    far = generator.random(rows) < outliers
    sign = generator.choice([-1, 1], rows)
    return np.where(far, sign * np.exp(generator.normal(1.6, 0.4, rows)), noise), far


@pytest.mark.parametrize("rate", [0.0, 0.06])
def test_what_lies_far_off_by_nature_is_no_error(rate: float) -> None:
    generator = np.random.default_rng(7)
    targets, far = drawn(ROWS, 0.08, generator)
    wrong = np.arange(ROWS) < rate * ROWS
    targets[wrong] = 60 * np.exp(generator.normal(0, 0.2, wrong.sum()))
    given, _ = drawn(400, 0.08, generator)
    planted = np.arange(400) < 100
    given[planted] += generator.choice([-1, 1], 100) * generator.uniform(2, 8, 100)
    nothing = np.zeros(ROWS)
    known = references_of(given, planted, nothing[:400])
    found = flag_targets(rows_of(targets, nothing), known)
    flagged = found.table["flagged"].to_numpy()
    assert flagged[far & ~wrong].mean() < 0.15
    assert flagged[~wrong].mean() < 0.02
    assert flagged[wrong].all()
    assert found.noise_rate.low <= rate <= found.noise_rate.high


def by_a_rule(rate: float) -> tuple[np.ndarray, np.ndarray, References]:
    """Targets off by nothing, or by anything up to 12; some by 20 and more; and references."""
    generator = np.random.default_rng(9)

    def right(count: int) -> np.ndarray:
        off = np.minimum(np.exp(generator.normal(-0.3, 1.9, count)), 12)
        return np.where(generator.random(count) < 0.1, 0.0, off)

    targets, given = right(400), right(400)
    wrong = np.arange(400) < rate * 400
    targets[wrong] = generator.uniform(16, 42, wrong.sum())
    planted = np.arange(400) < 100
    given[planted] = generator.uniform(9, 42, 100)
    return targets, wrong, references_of(given, planted, np.zeros(400))


@pytest.mark.parametrize("rate", [0.0, 0.08, 0.2])
def test_rows_as_far_off_as_right_references_are_no_errors(rate: float) -> None:
    # A forest predicts grades that follow a rule: many exactly, others are off by any amount.
    targets, wrong, known = by_a_rule(rate)
    found = flag_targets(rows_of(targets, np.zeros(400)), known)
    flagged = found.table["flagged"].to_numpy()
    assert found.doubts == ()
    assert flagged[wrong].all()
    assert flagged[~wrong].mean() < 0.02
    assert found.noise_rate.low <= rate <= found.noise_rate.high


def test_nothing_is_told_where_right_references_look_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataaudit.flags.target_evidence.RIGHT_BELOW", 0.0)
    monkeypatch.setattr("dataaudit.flags.target_evidence.MOST_OUTLIERS", 0.5)
    monkeypatch.setattr("dataaudit.flags.targets.MOST_BELIEVED", 1.0)
    targets, _, known = by_a_rule(0.06)
    rows = rows_of(targets, np.zeros(400))
    found = flag_targets(rows, known)
    (doubt,) = found.doubts
    assert "of the right targets of trusted samples lie as far off" in doubt
    assert not found.table["flagged"].any()
    assert (found.noise_rate.low, found.noise_rate.high) == (0, 1)
    assert judge_labels(found).outcome == "cannot tell"
    # Who asks for so many rows gets the first ones, and no word of how many of them are wrong.
    first = flag_targets(rows, known, FlagSettings(budget=10))
    assert first.doubts == found.doubts
    assert first.table["flagged"].sum() == 10
    assert first.precision_flagged is None


def test_targets_that_mostly_contradict_trusted_samples_are_not_judged() -> None:
    targets, _, known = by_a_rule(0.7)
    found = flag_targets(rows_of(targets, np.zeros(400)), known)
    assert found.doubts[0].startswith("more than half of the given targets contradict")
    assert not found.table["flagged"].any()
    assert judge_labels(found).outcome == "cannot tell"


def test_planted_errors_that_look_right_do_not_stand_in_for_right_targets() -> None:
    # Hours of work: nearly all right targets are about equally far off, as no Student's t has it.
    generator = np.random.default_rng(8)
    targets = generator.choice([-1, 1], ROWS) * generator.uniform(0.6, 1.1, ROWS)
    wrong = np.arange(ROWS) < 0.08 * ROWS
    targets[wrong] = 9.0
    given = generator.choice([-1, 1], 400) * generator.uniform(0.6, 1.1, 400)
    planted = np.arange(400) < 100
    nothing = np.zeros(ROWS)
    known = references_of(given, planted, nothing[:400])
    found = flag_targets(rows_of(targets, nothing), known)
    assert found.table["flagged"].to_numpy().tolist() == wrong.tolist()
    assert found.noise_rate.estimate == pytest.approx(0.08, abs=0.01)


def test_the_interval_counts_slips_that_the_noise_hides() -> None:
    generator = np.random.default_rng(5)
    size = np.abs(generator.standard_t(10, 1000))
    size[:80] = np.exp(generator.normal(np.log(2), 0.4, 80))
    right = np.log1p(generator.standard_t(10, 300) ** 2)
    slips = np.log1p(np.exp(2 * generator.normal(np.log(2), 0.4, 100)))
    assert 0.08 < highest_rate(np.log1p(size**2), right, slips) < 0.25
    # Errors far beyond the noise cannot hide.
    assert highest_rate(np.log1p(size[80:] ** 2), right, slips + 8) < 0.01
    # Of errors that look right, any number may be there.
    assert highest_rate(np.log1p(size**2), right, right - 1) == 1.0


def test_without_references_gross_errors_are_still_found_and_no_interval_is_claimed() -> None:
    found, wrong = flags(20.0, 0.06, references=False)
    flagged = found.table["flagged"].to_numpy()
    assert wrong[flagged].mean() >= 0.9
    assert wrong[flagged].sum() >= 0.9 * wrong.sum()
    assert (found.noise_rate.low, found.noise_rate.high) == (0.0, 1.0)


def test_the_unit_of_the_targets_changes_nothing() -> None:
    one, _ = flags(8.0, 0.06)
    thousand, _ = flags(8.0, 0.06, unit=1000.0)
    np.testing.assert_allclose(
        one.table["probability"], thousand.table["probability"], rtol=0, atol=1e-9
    )
    np.testing.assert_allclose(
        1000 * one.table["suggested_label"], thousand.table["suggested_label"]
    )


def test_the_table_says_what_is_expected_and_the_note_by_how_much() -> None:
    found, _ = flags(300.0, 0.06, budget=7)
    table = found.table
    assert table["flagged"].sum() == 7
    first = table.index[table["rank"] == 1][0]
    assert found.notes is not None
    off = table["given_label"][first] - table["suggested_label"][first]
    side = "above" if off > 0 else "below"
    assert f"{abs(off):.4g} {side} what the model expects" in found.notes[first]
    assert found.noise_per_class.empty
    assert found.noise_table.empty
    order = np.argsort(table["rank"].to_numpy())
    assert (np.diff(table["probability"].to_numpy()[order]) <= 0).all()


def test_the_more_a_target_is_off_the_more_suspicious_it_is() -> None:
    size = np.array([0.0, 1.0, 5.0, 1e3, 1e9])
    signals = target_signals(size, np.zeros(5), np.zeros(5), (1.0, 2.0))
    assert (np.diff(signals, axis=0) > 0).all()
    np.testing.assert_allclose(signals[2], [np.log(26), np.log(1 + 6.25)])
    evidence = TargetEvidence(1.0, 6.0, (Sizes(1.0, 0.3), Sizes(2.0, 0.4)), (0.02, 0.01))
    ratios = evidence.log_ratios(signals[:, :1])
    assert (np.diff(ratios) >= 0).all()


def test_the_evidence_is_the_ratio_of_the_two_densities() -> None:
    kinds = (Sizes(1.2, 0.3), Sizes(2.0, 0.5))
    evidence = TargetEvidence(0.8, 6.0, kinds, (0.03, 0.01))
    size = np.array([2.0, 3.0, 5.0])
    right = 2 * t.pdf(size, 6, scale=0.8)
    wrong = 0.75 * lognorm.pdf(size, 0.3, scale=np.exp(1.2))
    wrong += 0.25 * lognorm.pdf(size, 0.5, scale=np.exp(2.0))
    found = evidence.log_ratios(np.log1p(size**2)[:, None])
    np.testing.assert_allclose(found, np.log(wrong / right), rtol=0, atol=5e-3)
    natural = TargetEvidence(0.8, 6.0, kinds, (0.03, 0.01), Sizes(1.5, 0.4), 0.1)
    right = 0.9 * right + 0.1 * lognorm.pdf(size, 0.4, scale=np.exp(1.5))
    found = natural.log_ratios(np.log1p(size**2)[:, None])
    np.testing.assert_allclose(found[:2], np.log(wrong / right)[:2], rtol=0, atol=5e-3)
    assert found[2] > found[1]  # Where the ratio of the densities falls already.


def test_the_fit_finds_the_distributions_that_residuals_came_from() -> None:
    generator = np.random.default_rng(3)
    size = np.abs(generator.standard_t(5, 2000)) * 0.7
    size[:100] = np.exp(generator.normal(3, 0.4, 100))
    fit = fit_target_evidence(np.log1p(size**2))
    assert fit.scale == pytest.approx(0.7, rel=0.1)
    assert fit.kinds[-1].mean == pytest.approx(3, abs=0.3)
    assert sum(fit.rates) == pytest.approx(0.05, abs=0.01)


def set_flags(wrong_share: float) -> tuple[MislabelFlags, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)

    def sample(rows: int, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        truth = generator.integers(0, 2, (rows, 3)).astype(np.int8)
        odds = np.where(truth > 0, 3.0, -3.0) + generator.normal(0, 1.2, (rows, 3))
        given = truth.copy()
        place = generator.integers(0, 3, rows)
        lines = np.flatnonzero(wrong)
        given[lines, place[lines]] = 1 - given[lines, place[lines]]
        return given, 1 / (1 + np.exp(-odds)), truth

    wrong = np.arange(1000) < wrong_share * 1000
    given, mirrored, truth = sample(1000, wrong)
    planted = np.arange(400) < 100
    known, known_mirrored, _ = sample(400, planted)
    references = References(known, planted, known_mirrored, known_mirrored)

    def text(members: np.ndarray) -> np.ndarray:
        return np.array(["".join(map(str, row)) for row in members], dtype=object)

    rows = LabelledRows(np.arange(1000), given, ["a", "b", "c"], text, mirrored, mirrored, mirrored)
    found = flag_label_sets(rows, references)
    return found, wrong, text(truth)


def test_wrong_sets_are_found_and_the_right_ones_suggested() -> None:
    found, wrong, truth = set_flags(0.1)
    flagged = found.table["flagged"].to_numpy()
    assert wrong[flagged].mean() >= 0.8
    assert wrong[flagged].sum() >= 0.8 * wrong.sum()
    assert found.table["probability"][flagged].mean() == pytest.approx(
        wrong[flagged].mean(), abs=0.1
    )
    assert (found.table["suggested_label"].to_numpy() == truth)[wrong & flagged].mean() > 0.9
    assert found.noise_rate.low <= 0.1 <= found.noise_rate.high
    assert found.noise_per_class["class"].tolist() == ["a", "b", "c"]
    assert (found.table["suggested_label"] != found.table["given_label"]).all()


def test_sets_are_judged_alike_however_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _, _ = set_flags(0.1)
    sizes = []

    def few(rows: int, width: int) -> Iterator[slice]:
        sizes.append((rows, width))
        yield from row_blocks(rows, width, cells=7 * width)

    monkeypatch.setattr(label_sets, "row_blocks", few)
    parts, _, _ = set_flags(0.1)
    assert sizes == [(1000, 3)]
    pd.testing.assert_frame_equal(parts.table, whole.table)
    pd.testing.assert_frame_equal(parts.signals, whole.signals)
    assert parts.notes == whole.notes


def test_the_note_names_the_doubtful_label() -> None:
    found, _, _ = set_flags(0.1)
    assert found.notes is not None
    first = found.table.index[found.table["rank"] == 1][0]
    given, suggested = found.table.loc[first, ["given_label", "suggested_label"]]
    changed = next(place for place in range(3) if given[place] != suggested[place])
    state = "given" if given[changed] == "1" else "missing"
    assert f"{'abc'[changed]} is {state}" in found.notes[first]
    assert not set_flags(0.0)[0].table["flagged"].mean() > 0.02

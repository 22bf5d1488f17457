"""The benchmarks of verification and memorization: stop without data, and count right."""

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def _beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def test_without_its_data_it_says_so_and_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import memorization

    monkeypatch.setattr(memorization, "DATA", tmp_path)
    monkeypatch.setattr(sys, "argv", ["memorization.py", "--threads", "1"])
    with pytest.raises(SystemExit) as stopped:
        memorization.main()
    assert stopped.value.code == f"{tmp_path}: no CIFAR rows there; see shared/data"


def test_memorization_is_the_difference_of_two_shares() -> None:
    from memorization_truth import Truth

    included = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    right = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 0]], dtype=bool)
    truth = Truth(included, right * 0.5, right)
    # Row 0: 2 of 2 with it, 0 of 1 without. Row 1: 1 of 2, 0 of 1. Row 2 was never in.
    np.testing.assert_allclose(truth.memorization(), [1.0, 0.5, 0.0])
    np.testing.assert_allclose(truth.by_probability(), [0.5, 0.25, 0.0])
    np.testing.assert_allclose(truth.first(2).memorization(), [0.0, 1.0, 0.0])


def test_groups_of_a_study_hold_the_noise_that_they_should() -> None:
    from sklearn.datasets import load_digits
    from verify_studies import GROUPS, ROWS_PER_GROUP, digits_network

    case = digits_network(seed=0)
    rows = GROUPS * ROWS_PER_GROUP
    truth = load_digits().target[np.random.default_rng(0).permutation(1797)][:rows]
    wrong = case.study.rows.labels.numpy() != truth
    for groups in case.groups.values():
        assert np.sort(np.concatenate(groups)).tolist() == list(range(rows))
    graded = [int(wrong[group].sum()) for group in case.groups["graded noise"]]
    assert (graded[0], graded[-1]) == (0, 32)
    assert graded == sorted(graded)
    equal = {int(wrong[group].sum()) for group in case.groups["equal noise"]}
    assert max(equal) - min(equal) <= 1


def test_results_are_read_back_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import verify

    monkeypatch.setattr(verify, "CACHE", tmp_path)
    made = {"influence": np.arange(6.0).reshape(2, 3).T, "accuracy": 0.5}
    for make in (lambda: made, lambda: pytest.fail("made again")):
        found = verify._cached("study", make)
        np.testing.assert_array_equal(found["influence"], made["influence"])
        assert found["accuracy"] == 0.5

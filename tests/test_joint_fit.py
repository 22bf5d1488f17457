"""Right classes and kinds of errors, fitted together to trusted samples and rows."""

from __future__ import annotations

import numpy as np
from test_unseen_labels import problem

from dataaudit.flags.inputs import Unseen
from dataaudit.flags.joint_fit import MOST_LOST, Seen, first_fits
from dataaudit.flags.kinds_of_error import ByClass
from dataaudit.flags.probabilities import Labels, pick
from dataaudit.flags.right_classes import RightClasses, Scale, targets


def seen_of(given: Labels, unseen: Unseen) -> Seen:
    view, right = unseen.views[0], unseen.trusted_labels
    scale = Scale.of([view.rows])
    return Seen(
        scale.read([view.trusted]),
        targets(right, view.rows.shape[1]),
        np.ones(len(right)),
        scale.read([view.rows]),
        given,
    )


def test_rows_show_how_sure_a_view_may_be_believed() -> None:
    # 40 trusted samples say little of a model that errs once in a hundred times; the rows do.
    gains = []
    for seed in range(4):
        given, right, unseen = problem(0.1, seed, trusted=40, noise=0.3)
        seen = seen_of(given, unseen)
        ((_, together),) = first_fits(seen, [ByClass.even])
        alone = RightClasses.fit(seen.trusted_logs, seen.trusted_right, seen.trusted_times)
        losses = [
            -np.log(pick(fitted.probabilities_of(seen.row_logs), right)).mean()
            for fitted in (alone, together.right_classes)
        ]
        gains.append(losses[0] - losses[1])
        assert together.row_share > 0
    assert np.mean(gains) > 0


def test_rows_cannot_overrule_trusted_samples() -> None:
    # All that the model says is given to the rows: to believe them is to believe no error at all.
    _, _, unseen = problem(0.0, noise=0.7)
    given = unseen.views[0].rows.argmax(axis=1)
    seen = seen_of(given, unseen)
    alone = RightClasses.fit(seen.trusted_logs, seen.trusted_right, seen.trusted_times)
    ((_, together),) = first_fits(seen, [ByClass.even])
    labels = unseen.trusted_labels

    def likelihood(fitted: RightClasses) -> float:
        return float(np.log(pick(fitted.probabilities_of(seen.trusted_logs), labels)).sum())

    assert together.row_share < 1.0
    assert likelihood(together.right_classes) > likelihood(alone) - MOST_LOST


def test_kinds_that_are_out_of_the_question_are_left_out() -> None:
    given, right, unseen = problem(0.0)
    given = np.where((right == 0) & (np.arange(len(right)) % 3 == 0), 1, given)
    kinds = [ByClass.even, ByClass.free]
    assert [fit for fit, _ in first_fits(seen_of(given, unseen), kinds)] == [ByClass.free]


def test_what_trusted_samples_do_not_show_is_as_much_for_any_number_of_classes() -> None:
    for classes in (2, 10, 100):
        right = targets(np.array([0, 1, 1]), classes, slips=0.02)
        assert np.allclose(right.sum(axis=1), 1)
        assert np.allclose(pick(right, np.array([0, 1, 1])), 0.99)

"""A plain linear classifier beside an estimator: fitted to the same inputs, never a need."""

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from dataaudit.flags.unseen_labels import judge_unseen
from dataaudit.models.distillation import probabilities
from dataaudit.models.estimator import Estimator
from dataaudit.models.plain import plain_classifier
from dataaudit.stages import crosswise
from dataaudit.stages.crosswise import LabelledInputs, judged_crosswise, with_plain_views

TEXTS = pd.Series(["good day", "bad night", "good night", "bad day"] * 10)
GAPS = pd.DataFrame({"a": [0.0, 1.0, np.nan, 3.0] * 10, "b": ["x", "y", None, "z"] * 10})
LABELS = np.array([0, 1, 0, 1] * 10)


def fitted(model: Any, inputs: Any, labels: Any) -> Estimator:
    return Estimator(model.fit(inputs, labels), lambda rows: rows, probabilities)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (make_pipeline(CountVectorizer(), MultinomialNB()), TEXTS),
        (
            make_pipeline(
                make_column_transformer((OrdinalEncoder(), ["b"]), remainder="passthrough"),
                HistGradientBoostingClassifier(),
            ),
            GAPS,
        ),
        (HistGradientBoostingClassifier(), GAPS[["a"]]),
        (GaussianNB(), np.arange(80.0).reshape(40, 2)),
    ],
    ids=["texts", "gaps behind steps", "gaps", "array"],
)  # fmt: skip
def test_it_takes_what_the_estimator_takes(model: Any, inputs: Any) -> None:
    names = np.array(["no", "yes"])
    estimator = fitted(model, inputs, names[LABELS])
    plain = plain_classifier(estimator, inputs, LABELS)
    assert plain is not None
    assert plain.fitted.classes_.tolist() == ["no", "yes"]
    anew = plain.fitted_to(inputs, LABELS, 0)
    found = anew.predict(anew.fitted, inputs)
    assert found.shape == (40, 2)
    assert np.isfinite(found).all()


def test_there_is_none_beside_a_logistic_regression_nor_of_pictures() -> None:
    values = np.arange(80.0).reshape(40, 2)
    for model in (LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())):
        assert plain_classifier(fitted(model, values, LABELS), values, LABELS) is None

    class OfPictures(DecisionTreeClassifier):
        def fit(self, pictures: Any, labels: Any) -> Any:
            return super().fit(pictures.reshape(len(pictures), -1), labels)

    pictures = np.arange(160.0).reshape(40, 2, 2)
    assert plain_classifier(fitted(OfPictures(), pictures, LABELS), pictures, LABELS) is None


def drawn(rows: int, seed: int) -> tuple[Any, Any]:
    """Return points whose first two columns say the same: naive Bayes counts them twice."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, rows)
    shared = generator.normal(size=rows)
    first = shared + 0.8 * (labels - 0.5)
    second = shared - 0.8 * (labels - 0.5)
    return np.stack([first, second, shared + 0.1 * generator.normal(size=rows)], axis=1), labels


def test_what_it_sees_besides_ranks_errors_better() -> None:
    (rows, right), (trusted, trusted_right) = drawn(600, 0), drawn(150, 1)
    wrong = np.random.default_rng(2).random(600) < 0.1
    given = np.where(wrong, 1 - right, right)
    inputs = LabelledInputs(rows, given, trusted, trusted_right)
    asked = fitted(GaussianNB(), rows, given), inputs, 0
    own = judged_crosswise(*asked)
    both = with_plain_views(own, *asked)
    assert [view.alone for view in both.views] == [False, True, False, True]
    assert [view.name for view in both.views[:2]] == [view.name for view in own.views]
    before, after = (
        average_precision_score(wrong, judge_unseen(given, seen, repeats=3).score)
        for seen in (own, both)
    )
    assert after > before + 0.1


def test_where_it_fails_the_estimator_speaks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    (rows, right), (trusted, trusted_right) = drawn(100, 0), drawn(50, 1)
    inputs = LabelledInputs(rows, right, trusted, trusted_right)
    asked = fitted(GaussianNB(), rows, right), inputs, 0
    own = judged_crosswise(*asked)

    def fails(*_: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(crosswise, "plain_classifier", fails)
    assert with_plain_views(own, *asked) is own


class Watched(LinearRegression):
    """Keeps the targets of each fit."""

    learned: ClassVar[list[Any]] = []

    def fit(self, inputs: Any, targets: Any, sample_weight: Any = None) -> LinearRegression:
        self.learned.append(np.asarray(targets))
        return super().fit(inputs, targets, sample_weight)


def test_right_targets_that_are_seldom_met_are_learned_crosswise() -> None:
    # Hours of work: 40 exactly in most rows, and of the others nobody says more than about what.
    generator = np.random.default_rng(0)

    def drawn(count: int) -> tuple[Any, Any]:
        other = generator.random(count) < 0.3
        slope = generator.normal(size=count) * other
        scatter = other * generator.normal(0, 12, count)
        return np.stack([other, slope], axis=1), 40 + 8 * slope + scatter

    (rows, given), (trusted, right) = drawn(1500), drawn(60)
    given[:10] += 200
    estimator = Estimator(
        Watched().fit(rows, given), lambda rows: rows, lambda m, x: m.predict(x)[:, None]
    )
    Watched.learned.clear()
    judged_crosswise(estimator, LabelledInputs(rows, given, trusted, right), 0)
    first, second = Watched.learned[:5], Watched.learned[5:]
    assert max(targets.max() for targets in first) > 200
    assert max(targets.max() for targets in second) < 200
    usual = [(targets != 40).mean() for targets in second]
    assert min(usual) > 0.2  # Of .3; a bound by the median alone leaves .09.

"""Training again against closed forms: logistic regression by Newton, ridge by its solution."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.linear_model import LogisticRegression
from torch import nn

from dataaudit.errors import ModelError
from dataaudit.mirror.finite import FiniteSettings
from dataaudit.studies.verification.examples import Examples, joined, losses
from dataaudit.studies.verification.measuring import (
    Rehearsal,
    Study,
    predicted,
    rehearsed_mirror,
    retrained_mirror,
    row_influences,
    stepped_mirror,
)
from dataaudit.studies.verification.retraining import Descent, Recipe, Refit, fresh
from dataaudit.tasks import Classification


def points(count: int, seed: int) -> Examples:
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=count)
    centres = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
    inputs = centres[labels] + generator.normal(size=(count, 2))
    return Examples(torch.tensor(inputs), torch.tensor(labels))


def fitted(rows: Examples, penalty: float = 1.0) -> LogisticRegression:
    estimator = LogisticRegression(C=penalty)
    return estimator.fit(rows.inputs.numpy(), rows.labels.numpy())


def newton(rows: Examples, penalty: float) -> torch.Tensor:
    """Return weights and biases `[3, 3]` at the optimum: sum of losses + |weights|² / (2 C)."""
    design = torch.cat([rows.inputs, torch.ones(len(rows), 1, dtype=torch.float64)], dim=1)

    def objective(weights: torch.Tensor) -> torch.Tensor:
        matrix = weights.view(3, 3)
        data = nn.functional.cross_entropy(design @ matrix.T, rows.labels, reduction="sum")
        return data + matrix[:, :2].square().sum() / (2 * penalty)

    weights = torch.zeros(9, dtype=torch.float64)
    for _ in range(30):
        gradient = torch.func.grad(objective)(weights)
        hessian = torch.func.hessian(objective)(weights)
        # Adding the same number to all biases changes nothing: the hessian is singular.
        weights = weights - torch.linalg.pinv(hessian, hermitian=True) @ gradient
    return weights.view(3, 3)


def study(rows: int = 60, queries: int = 12) -> Study:
    return Study(
        Classification(3),
        points(rows, 0),
        points(queries, 1),
        [np.array([q]) for q in range(queries)],
    )


def test_a_logistic_regression_is_fitted_to_the_optimum() -> None:
    rows = points(60, 0)
    examples = joined([rows, points(12, 1)])
    included = np.arange(72) < 60
    included[[3, 17]] = False
    module = Refit(fitted(rows, 0.7), examples, 3).train(included, seed=0)
    kept = Examples(*rows.part(np.flatnonzero(included[:60])))
    optimum = newton(kept, 0.7)
    outside = points(50, 2)
    logits = outside.inputs @ optimum[:, :2].T + optimum[:, 2]
    expected = nn.functional.cross_entropy(logits, outside.labels, reduction="none")
    np.testing.assert_allclose(losses(module, Classification(3), outside), expected, atol=1e-6)


def test_influence_and_its_mirror_agree_for_a_convex_model() -> None:
    asked = study()
    retrainer = Refit(fitted(asked.rows, 0.1), joined([asked.rows, asked.queries]), 3)
    single = [np.array([row]) for row in range(60)]
    influence = row_influences(asked, retrainer, single, [0])[0]
    mirrored = predicted(retrained_mirror(asked, retrainer, [0]), single)
    assert pearsonr(influence.ravel(), mirrored.ravel()).statistic > 0.99


def test_the_sign_of_influence_and_mirror() -> None:
    # A query that is a copy of row 0: leaving row 0 out hurts it, learning it helps row 0.
    rows = points(30, 0)
    copy = Examples(*rows.part(np.array([0])))
    asked = Study(Classification(3), rows, copy, [np.array([0])])
    retrainer = Refit(fitted(rows), joined([rows, copy]), 3)
    assert row_influences(asked, retrainer, [np.array([0])], [0])[0, 0, 0] > 0
    assert retrained_mirror(asked, retrainer, [0])[0, 0] < 0
    module = retrainer.train(asked.included(), 0)
    settings = FiniteSettings(steps=5, learning_rate=1e-2)
    assert stepped_mirror(asked, module, settings)[0, 0] < 0
    rehearsed = rehearsed_mirror(asked, module, settings, Rehearsal(8, 1))
    assert rehearsed[0, 0] < 0
    assert predicted(rehearsed, [np.array([0])])[0, 0] == -rehearsed[0, 0]


def test_prediction_sums_over_the_rows_of_a_group() -> None:
    scores = np.arange(12.0).reshape(6, 2)
    found = predicted(scores, [np.array([0, 2]), np.array([5])])
    np.testing.assert_array_equal(found, [[-4.0, -6.0], [-10.0, -11.0]])


def test_steps_that_are_small_give_the_gradient_product() -> None:
    asked = study(rows=20, queries=2)
    module = Refit(fitted(asked.rows), joined([asked.rows, asked.queries]), 3).train(
        asked.included(), 0
    )
    rate = 1e-6
    settings = FiniteSettings(steps=1, learning_rate=rate, optimizer="sgd")
    found = stepped_mirror(asked, module, settings)

    def gradient(part: tuple) -> torch.Tensor:
        loss = nn.functional.cross_entropy(module(part[0]), part[1])
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, module.parameters())])

    for row in range(20):
        for query in range(2):
            product = gradient(asked.rows.part([row])) @ gradient(asked.queries.part([query]))
            assert found[row, query] == pytest.approx(-rate * float(product), rel=1e-3, abs=1e-11)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).eval()


def descent(rows: Examples, queries: Examples, **changes: object) -> Descent:
    recipe = replace(Recipe(epochs=4, batch_size=16, learning_rate=1e-2), **changes)
    parts = [Examples(part.inputs.float(), part.labels) for part in (rows, queries)]
    return Descent(network(), Classification(3), joined(parts), len(rows), recipe)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in module.state_dict().values()])


def test_training_again_depends_on_seed_and_rows_and_nothing_else() -> None:
    trainer = descent(points(60, 0), points(12, 1))
    included = np.arange(72) < 60
    once, again = (weights(trainer.train(included, seed=5)) for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, weights(trainer.train(included, seed=6)))
    fewer = included.copy()
    fewer[:20] = False
    assert not torch.equal(once, weights(trainer.train(fewer, seed=5)))


def test_rows_left_out_are_never_looked_at() -> None:
    rows, queries = points(60, 0), points(12, 1)
    included = np.arange(72) < 60
    included[7] = False
    expected = weights(descent(rows, queries).train(included, seed=1))
    spoiled = rows.inputs.clone()
    spoiled[7] = 1e6
    found = weights(descent(Examples(spoiled, rows.labels), queries).train(included, seed=1))
    assert torch.equal(found, expected)


def test_fresh_weights_owe_nothing_to_the_trained_ones() -> None:
    one, other = network(), network()
    with torch.no_grad():
        for value in other.parameters():
            value.add_(3.0)
    other[1].running_mean.fill_(9.0)
    assert torch.equal(weights(fresh(one, 4)), weights(fresh(other, 4)))
    started = descent(points(60, 0), points(12, 1), start="trained")
    assert "the trained weights" in started.words
    assert "fresh weights" in descent(points(60, 0), points(12, 1)).words


def test_a_class_that_is_gone_is_named() -> None:
    rows = points(30, 0)
    included = rows.labels.numpy() != 2
    with pytest.raises(ModelError, match="2 of 3 classes are left; expected all"):
        Refit(fitted(rows), rows, 3).train(included, seed=0)

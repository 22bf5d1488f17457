"""Fitted scikit-learn classifiers as torch modules.

Logistic regression and multi-layer perceptrons become modules with the very same outputs. Any
other classifier with `predict_proba` is stood in for by a small network that learned to give
the same probabilities on the training rows (distillation); the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models.trained import Preprocess, TrainedModel
from dataaudit.progress import track

_SURROGATE_WIDTH = 128
_SURROGATE_STEPS = 1000
_SURROGATE_ROWS = 50_000
"""Rows that the stand-in learns from, drawn at random where there are more."""
_ROWS_PER_STEP = 128
_ROWS_PER_READ = 4096


def is_estimator(candidate: object) -> bool:
    """Tell whether `candidate` is a scikit-learn estimator, without importing scikit-learn."""
    return hasattr(candidate, "get_params") and hasattr(candidate, "predict")


@dataclass(frozen=True)
class Estimator:
    """A fitted classifier, or a pipeline that ends in one."""

    estimator: Any

    class_names: None = None

    @property
    def label_values(self) -> list[str | int]:
        """Its classes, in the order of its outputs."""
        return classes_of(self.estimator)

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model; see `ModelAdapter`."""
        return trained_model(self.estimator, preprocess, train, seed)


def classes_of(estimator: Any) -> list[str | int]:
    """Return the classes of a fitted classifier, in the order of its outputs.

    Raises
    ------
    ModelError
        The estimator is not fitted, or is no classifier with probabilities.
    """
    if not hasattr(estimator, "predict_proba") and not _is_exact(_final_step(estimator)):
        raise ModelError(
            f"{type(estimator).__name__} has no predict_proba; expected a fitted classifier "
            "that gives probabilities (for an SVM: probability=True)"
        )
    try:
        return [value.item() if hasattr(value, "item") else value for value in estimator.classes_]
    except AttributeError:
        raise ModelError(
            f"{type(estimator).__name__} is not fitted; call fit before auditing it"
        ) from None


def trained_model(
    estimator: Any, preprocess: Preprocess | None, train: Samples, seed: int
) -> TrainedModel:
    """Turn a fitted classifier into a `TrainedModel`.

    Parameters
    ----------
    estimator : fitted classifier or pipeline that ends in one
    preprocess : callable or None
        From raw rows to what the estimator takes; None takes the columns it was fitted on.
    train : Samples
        Read to fit the stand-in, where one is needed.
    seed : int
        Of the stand-in.

    Raises
    ------
    ModelError, DataError
        The estimator is not fitted, or its columns are not in the data.
    """
    select = preprocess or _column_selection(estimator, train)
    transform = _transformation(estimator, select)
    final = _final_step(estimator)
    name = type(final).__name__
    if _is_exact(final):
        module = _exact_module(final).eval()
        return TrainedModel(module, transform, f"scikit-learn {name}, as an exact torch module")
    module = _distil(estimator, select, transform, train, seed)
    return TrainedModel(
        module,
        transform,
        f"scikit-learn {name}, through a distilled network",
        note=(
            f"{name} has no gradients. A network of one hidden layer ({_SURROGATE_WIDTH} units) "
            "was fitted to its probabilities on training rows, and all scores are that "
            "network's."
        ),
    )


def _final_step(estimator: Any) -> Any:
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _is_exact(final: Any) -> bool:
    kind = type(final).__name__
    if kind == "LogisticRegression":
        return hasattr(final, "coef_")
    if kind == "MLPClassifier":
        return hasattr(final, "coefs_") and final.out_activation_ in ("softmax", "logistic")
    return False


def _exact_module(final: Any) -> nn.Module:
    if type(final).__name__ == "LogisticRegression":
        return _linear(final.coef_.T, final.intercept_)
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "logistic": nn.Sigmoid,
        "identity": nn.Identity,
    }
    layers: list[nn.Module] = []
    for weights, biases in zip(final.coefs_, final.intercepts_, strict=True):
        layers += [_linear(weights, biases), activations[final.activation]()]
    return nn.Sequential(*layers[:-1])


def _linear(weights: NDArray[Any], biases: NDArray[Any]) -> nn.Linear:
    inputs, outputs = weights.shape
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights.T))
        layer.bias.copy_(torch.tensor(np.broadcast_to(biases, outputs).copy()))
    return layer


def _column_selection(estimator: Any, train: Samples) -> Preprocess:
    special = {train.label_column, train.id_column, train.group_column}
    if _takes_text(estimator):
        column = train.content_column
        if column is None:
            raise DataError(
                f"{train.source.description}: the pipeline starts with a text vectorizer, "
                "but no text column was found; give a preprocess function"
            )
        return lambda frame: frame[column]
    names: Sequence[str] | None = getattr(estimator, "feature_names_in_", None)
    if names is None:
        sample = train.take([0]).frame
        names = [str(column) for column in sample.columns if column not in special]
        expected = getattr(estimator, "n_features_in_", len(names))
        if len(names) != expected:
            raise DataError(
                f"{train.source.description}: the estimator was fitted on {expected} columns, "
                f"found {len(names)} besides label and id; give a preprocess function"
            )
        # Fitted on a plain array: scikit-learn warns when it is given column names later.
        return lambda frame: frame[list(names)].to_numpy()
    wanted = list(names)

    def select(frame: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise DataError(
                f"the estimator was fitted on columns that the data lacks: {', '.join(missing)}; "
                f"found {', '.join(map(str, frame.columns))}"
            )
        return frame[wanted]

    return select


def _takes_text(estimator: Any) -> bool:
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    return type(first).__name__ in ("TfidfVectorizer", "CountVectorizer", "HashingVectorizer")


def _transformation(estimator: Any, select: Preprocess) -> Preprocess:
    before = estimator[:-1] if hasattr(estimator, "steps") and len(estimator.steps) > 1 else None

    def transform(frame: pd.DataFrame) -> Tensor:
        values = select(frame)
        if before is not None:
            values = before.transform(values)
        if hasattr(values, "toarray"):
            values = values.toarray()
        return torch.tensor(np.asarray(values, dtype=np.float64))

    return transform


class _Surrogate(nn.Module):
    """A standardising input and one hidden layer."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.layers = nn.Sequential(
            nn.Linear(len(mean), _SURROGATE_WIDTH),
            nn.ReLU(),
            nn.Linear(_SURROGATE_WIDTH, classes),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.layers((inputs - self.mean) / self.scale)
        return result


def _distil(
    estimator: Any, select: Preprocess, transform: Preprocess, train: Samples, seed: int
) -> nn.Module:
    inputs, targets = _distillation_set(estimator, select, transform, train, seed)
    mean, scale = inputs.mean(dim=0), inputs.std(dim=0, correction=0)
    scale[scale < 1e-12] = 1.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _Surrogate(mean, scale, targets.shape[1])
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
        for _ in track(range(_SURROGATE_STEPS), "fitting a network to the estimator"):
            chosen = torch.randint(len(inputs), (_ROWS_PER_STEP,))
            loss = nn.functional.cross_entropy(module(inputs[chosen]), targets[chosen])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return module.eval()


def _distillation_set(
    estimator: Any, select: Preprocess, transform: Preprocess, train: Samples, seed: int
) -> tuple[Tensor, Tensor]:
    """Return inputs `[rows, columns]` and the estimator's probabilities `[rows, classes]`."""
    positions = np.arange(len(train))
    if len(positions) > _SURROGATE_ROWS:
        generator = np.random.default_rng(seed)
        positions = np.sort(generator.choice(positions, _SURROGATE_ROWS, replace=False))
    inputs, targets = [], []
    for start in range(0, len(positions), _ROWS_PER_READ):
        frame = train.take(positions[start : start + _ROWS_PER_READ]).frame
        inputs.append(transform(frame).float())
        targets.append(torch.tensor(estimator.predict_proba(select(frame))).float())
    return torch.cat(inputs), torch.cat(targets)

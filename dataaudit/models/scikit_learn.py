"""Fitted scikit-learn classifiers as torch modules.

Linear classifiers and multi-layer perceptrons become modules with the very same outputs. Any other
classifier is stood in for by a small network that learned to give the same probabilities on the
training rows (distillation); the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.errors import DataError, ModelError
from dataaudit.models.distillation import SURROGATE_WIDTH, as_probabilities, distil, probabilities
from dataaudit.models.estimator import Estimator
from dataaudit.models.trained import Preprocess, TrainedModel

_ROWS_COMPARED = 64
_LOGISTIC = {"LogisticRegression", "LogisticRegressionCV"}
_LINEAR = _LOGISTIC | {
    "LinearDiscriminantAnalysis", "LinearSVC", "RidgeClassifier", "RidgeClassifierCV",
    "SGDClassifier", "Perceptron", "PassiveAggressiveClassifier",
}  # fmt: skip


def classes_of(estimator: Any) -> list[str | int]:
    """Return the classes of a fitted classifier, in the order of its outputs.

    Raises
    ------
    ModelError
        The estimator is not fitted, or is no classifier with probabilities.
    """
    if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
        raise ModelError(
            f"{type(estimator).__name__} has neither predict_proba nor decision_function; expected "
            "a fitted classifier"
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
    select = preprocess or column_selection(estimator, train)
    final = final_step(estimator)
    name = type(final).__name__
    prepare = prepared(estimator, select)
    if _is_exact(final):
        module: nn.Module = exact_module(final).eval()

        def transform(frame: pd.DataFrame) -> Tensor:
            return torch.tensor(np.asarray(prepare(frame), dtype=np.float64))

        agrees = _agrees(module, transform, estimator, select, train)
        note = "" if agrees else f"The decision values of {name} are taken as logits."
        return TrainedModel(
            module,
            transform,
            f"scikit-learn {name}, as an exact torch module",
            note,
            estimator=Estimator(estimator, select, probabilities),
        )
    module, encoding = distil(
        prepare,
        lambda frame: probabilities(estimator, select(frame)),
        nn.functional.cross_entropy,
        train,
        seed,
    )
    taken = "" if hasattr(estimator, "predict_proba") else ", its decision values taken as logits"
    return TrainedModel(
        module,
        lambda frame: torch.tensor(encoding(prepare(frame))),
        f"scikit-learn {name}, through a distilled network",
        note=(
            f"{name} has no gradients. A network of one hidden layer ({SURROGATE_WIDTH} units) "
            f"was fitted to its probabilities on training rows{taken}; whatever needs the model to "
            "learn again, and all of the search for leaks, is that network's."
        ),
        estimator=Estimator(estimator, select, probabilities),
    )


def final_step(estimator: Any) -> Any:
    """Return the estimator, or the last step of a pipeline."""
    return estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator


def _is_exact(final: Any) -> bool:
    kind = type(final).__name__
    if kind in _LINEAR:
        return hasattr(final, "coef_")
    if kind == "MLPClassifier":
        return hasattr(final, "coefs_") and final.out_activation_ in ("softmax", "logistic")
    return False


def exact_module(final: Any) -> nn.Module:
    """Return the layers of a linear model or a perceptron, float64."""
    if type(final).__name__ in _LINEAR:
        return linear(np.atleast_2d(dense(final.coef_)).T, final.intercept_)
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "logistic": nn.Sigmoid,
        "identity": nn.Identity,
    }
    layers: list[nn.Module] = []
    for weights, biases in zip(final.coefs_, final.intercepts_, strict=True):
        layers += [linear(weights, biases), activations[final.activation]()]
    return nn.Sequential(*layers[:-1])


def dense(weights: Any) -> NDArray[Any]:
    """Return weights as an array, those that `sparsify` packed, too."""
    return np.asarray(weights.toarray() if sparse.issparse(weights) else weights)


def linear(weights: NDArray[Any], biases: NDArray[Any]) -> nn.Linear:
    """Return a layer of these weights, `[inputs, outputs]`, and biases, float64."""
    inputs, outputs = weights.shape
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights.T))
        layer.bias.copy_(torch.tensor(np.broadcast_to(biases, outputs).copy()))
    return layer


def column_selection(estimator: Any, train: Samples) -> Preprocess:
    """Return what picks the columns that the estimator was fitted on."""
    special = train.special_columns()
    if _takes_text(estimator):
        column = train.content_column
        if column is None:
            raise DataError(
                f"{train.source.description}: the pipeline starts with a text vectorizer, "
                "but no text column was found; give a preprocess function"
            )
        return lambda frame: frame[column]
    known: Sequence[str] | None = getattr(estimator, "feature_names_in_", None)
    if train.modality == "tensor" and train.content_column is not None:
        return _stacked_rows(train.content_column, known)
    if known is None:
        sample = train.take([0]).frame
        names = [column for column in sample.columns if column not in special]
        expected = getattr(estimator, "n_features_in_", len(names))
        if len(names) != expected:
            raise DataError(
                f"{train.source.description}: the estimator was fitted on {expected} columns, "
                f"found {len(names)} besides label and id; give a preprocess function"
            )
        # Fitted on a plain array: scikit-learn warns when it is given column names later.
        return lambda frame: frame[names].to_numpy()
    wanted = list(known)
    source = train.source
    stored = source.categories() if isinstance(source, ColumnSource) else {}
    # Estimators that take categories want them as they were fitted, not as text.
    kinds = {name: pd.CategoricalDtype(stored[name]) for name in wanted if name in stored}

    def select(frame: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in wanted if name not in frame.columns]
        if missing:
            raise DataError(
                f"the estimator was fitted on columns that the data lacks: {', '.join(missing)}; "
                f"found {', '.join(map(str, frame.columns))}"
            )
        return frame[wanted].astype(kinds)

    return select


def _stacked_rows(column: str, names: Sequence[str] | None) -> Preprocess:
    """Return what stacks rows that were handed in as arrays; named as the estimator knows them."""

    def select(frame: pd.DataFrame) -> Any:
        values = np.stack([np.asarray(value) for value in frame[column]])
        if names is None or values.shape[1:] != (len(names),):
            return values
        return pd.DataFrame(values, columns=list(names), index=frame.index)

    return select


def _takes_text(estimator: Any) -> bool:
    first = estimator.steps[0][1] if hasattr(estimator, "steps") else estimator
    return type(first).__name__ in ("TfidfVectorizer", "CountVectorizer", "HashingVectorizer")


def prepared(estimator: Any, select: Preprocess) -> Callable[[pd.DataFrame], Any]:
    """Return what turns raw rows into what the last step of a pipeline is given."""
    before = estimator[:-1] if hasattr(estimator, "steps") and len(estimator.steps) > 1 else None

    def prepare(frame: pd.DataFrame) -> Any:
        values = select(frame)
        if before is not None:
            values = before.transform(values)
        return values.toarray() if hasattr(values, "toarray") else values

    return prepare


def _agrees(
    module: nn.Module, transform: Preprocess, estimator: Any, select: Preprocess, train: Samples
) -> bool:
    """Tell whether softmax, or the sigmoid, of the module's outputs are the probabilities."""
    if type(final_step(estimator)).__name__ not in _LINEAR - _LOGISTIC:
        return True
    if not hasattr(estimator, "predict_proba"):
        return False
    frame = train.take(range(min(_ROWS_COMPARED, len(train)))).frame
    with torch.inference_mode():
        found = as_probabilities(module(transform(frame)).numpy())
    own = probabilities(estimator, select(frame))
    return bool(found.shape == own.shape and np.allclose(found, own, atol=1e-6))

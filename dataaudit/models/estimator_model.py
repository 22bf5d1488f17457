"""scikit-learn estimators as trained models: classifiers and regressors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.labels.kind import Form
from dataaudit.models.scikit_learn import classes_of, final_step, trained_model
from dataaudit.models.scikit_learn_regressors import trained_regressor
from dataaudit.models.trained import Preprocess, TrainedModel

MORE_THAN_ONE: dict[Form, str] = {
    "rectangles": "boxes",
    "brush": "masks",
    "pair": "pairs of answers",
    "text": "tags or texts",
}
"""Forms of labels that no estimator predicts, and what they are."""


@dataclass(frozen=True)
class EstimatorModel:
    """A fitted classifier or regressor, or a pipeline that ends in one."""

    estimator: Any

    class_names: None = None
    origin: None = None

    @property
    def label_values(self) -> list[str | int]:
        """The classes of a classifier, in the order of its outputs."""
        return classes_of(self.estimator)

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model; see `ModelAdapter`."""
        if train.kind.form in MORE_THAN_ONE:
            name = type(final_step(self.estimator)).__name__
            raise ModelError(
                f"the model is a {name} of scikit-learn, which says one class or one number of "
                "each row; labels that are "
                f"{MORE_THAN_ONE[train.kind.form]} need a torch or transformers model"
            )
        adapt = trained_model if train.kind.has_classes else trained_regressor
        return adapt(self.estimator, preprocess, train, seed)

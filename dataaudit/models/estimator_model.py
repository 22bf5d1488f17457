"""scikit-learn estimators as trained models: classifiers and regressors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataaudit.datasets.samples import Samples
from dataaudit.models.scikit_learn import classes_of, trained_model
from dataaudit.models.scikit_learn_regressors import trained_regressor
from dataaudit.models.trained import Preprocess, TrainedModel


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
        adapt = trained_model if train.kind.has_classes else trained_regressor
        return adapt(self.estimator, preprocess, train, seed)

"""What a method of the mislabel benchmark is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mislabel_settings import Problem
from mislabel_training import Cost, Meter, predict
from numpy.typing import NDArray
from torch import nn


@dataclass(frozen=True)
class Answer:
    """What a method says.

    Attributes
    ----------
    score : `[rows]`, higher = more suspicious
    flagged : bool `[rows]` or None
        None where the method gives scores only.
    suggested : int64 `[rows]` or None
    cost : Cost
        Forward passes are NaN where the model is not made of them.
    claims : mapping
        What the method says of itself: precision at budgets, the noise rate and its interval.
    """

    score: NDArray[np.floating]
    flagged: NDArray[np.bool_] | None
    suggested: NDArray[np.int64] | None
    cost: Cost
    claims: dict[str, Any]


@dataclass(frozen=True)
class Workbench:
    """The problem, its trained model (a module or an estimator), and where things are kept."""

    problem: Problem
    model: Any
    cache: Path

    @property
    def module(self) -> nn.Module:
        if not isinstance(self.model, nn.Module):
            raise NotApplicableError("needs gradients or features")
        return self.model

    def probabilities(self, meter: Meter) -> NDArray[np.float64]:
        """Return the trained model's, in-sample, `[rows, C]`."""
        if not isinstance(self.model, nn.Module):
            meter.cost.forward_passes = float("nan")
            return self.model.predict_proba(self.problem.train.drop(columns="label"))
        meter.attach(self.model)
        return predict(self.model, self.problem.inputs).numpy()


class NotApplicableError(Exception):
    """The method cannot work on this setting; the message says why."""


Method = Callable[[Workbench, Meter], Answer]


def answer(
    bench: Workbench,
    meter: Meter,
    score: NDArray[np.floating],
    probabilities: NDArray[np.float64] | None = None,
    flagged: NDArray[np.bool_] | None = None,
) -> Answer:
    suggested = None
    if probabilities is not None:
        others = probabilities.copy()
        others[np.arange(len(others)), bench.problem.labels] = -1
        suggested = others.argmax(axis=1)
    return Answer(score, flagged, suggested, meter.cost, {})


def need_trusted(bench: Workbench) -> None:
    if bench.problem.setting.held_out == 0:
        raise NotApplicableError("needs trusted samples")


def last_layer(module: nn.Module) -> tuple[str, nn.Linear]:
    linear = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return linear[-1]

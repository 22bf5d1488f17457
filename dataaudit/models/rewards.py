"""Reward models: a module that judges one answer becomes one that compares the two of a row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from dataaudit.datasets.answer_pairs import ANSWER, DERIVED, LEFT, RIGHT
from dataaudit.datasets.like_training import AsTraining
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models.adapter import ModelAdapter
from dataaudit.models.outputs import OutputsOf
from dataaudit.models.trained import Inputs, Preprocess, TrainedModel, map_tensors, output_tensor


class BothRewards(OutputsOf):
    """A module that runs another one on both answers of each row.

    Its inputs are those of the other module, `[rows, 2, …]`, its outputs the rewards, `[rows, 2]`.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__(inner, None, flatten=False)

    def forward(self, *arguments: Tensor, **named: Tensor) -> Tensor:
        """Return the rewards of both answers, `[rows, 2]`."""
        apart = [value.flatten(0, 1) for value in arguments]
        result = self.__dict__["_inner"][0](
            *apart, **{name: value.flatten(0, 1) for name, value in named.items()}
        )
        rewards = output_tensor(result)
        rows = len(next(iter((*arguments, *named.values()))))
        if rewards.numel() != 2 * rows:
            raise ModelError(
                f"the model returned outputs of shape {tuple(rewards.shape)} for {2 * rows} "
                f"answers; expected [{2 * rows}] or [{2 * rows}, 1], one reward for each answer"
            )
        return rewards.reshape(rows, 2)


@dataclass(frozen=True)
class BothAnswers:
    """Turns rows into a module's inputs, `[rows, 2, …]`: the left answers and the right ones.

    Attributes
    ----------
    inner : callable
        Makes inputs of rows with one answer, in the column `answer`; the other columns are those
        of the file, but for chosen and rejected answers.
    """

    inner: Preprocess

    def __call__(self, frame: pd.DataFrame) -> Inputs:
        """Return the inputs of both answers of each row.

        Raises
        ------
        DataError
            There are fewer or more than one for each answer.
        """
        others = frame.drop(columns=list(DERIVED))
        sides = [others.assign(**{ANSWER: frame[side]}) for side in (LEFT, RIGHT)]
        order = np.arange(2 * len(frame)).reshape(2, -1).T.ravel()
        made = self.inner(pd.concat(sides).iloc[order])
        return map_tensors(lambda value: _by_row(value, len(frame)), made)


def _by_row(value: Any, rows: int) -> Tensor:
    if isinstance(value, pd.DataFrame | pd.Series):
        value = value.to_numpy()
    tensor = value if isinstance(value, Tensor) else torch.tensor(np.asarray(value))
    if tensor.ndim == 0 or len(tensor) != 2 * rows:
        raise DataError(
            f"preprocess returned a tensor of shape {tuple(tensor.shape)} for {2 * rows} answers; "
            "the first dimension must be the answers"
        )
    return tensor.reshape(rows, 2, *tensor.shape[1:])


def comparing(
    adapter: ModelAdapter,
    train: Samples,
    preprocess: Preprocess | None,
    seed: int,
    *,
    initial: Any,
    beta: float,
) -> TrainedModel:
    """Return a model of one answer as one that compares two.

    Parameters
    ----------
    adapter, train, preprocess, seed
        As `ModelAdapter.trained` takes them.
    initial : as `initial_of` takes it, or None
        Where training started: what a causal language model's rewards are against.
    beta : float
        Of those rewards, as in DPO.

    Raises
    ------
    ConfigError, DataError, ModelError
        As `ModelAdapter.trained`; or the model is an estimator.
    """
    if adapter.label_values is not None:
        raise ModelError(
            "the model is an estimator; expected a torch module or a folder that transformers "
            f"saved for task {train.task}, which gives one reward for one answer"
        )
    answers = AsTraining(train.source, LEFT, ANSWER, None)
    model = adapter.trained(replace(train, source=answers, content_column=ANSWER), preprocess, seed)
    if type(adapter).__name__ == "LanguageModel":
        # transformers need not be installed.
        from dataaudit.models.implicit_reward import rewarding

        model = rewarding(model, initial, beta)
    return replace(
        model,
        module=BothRewards(model.module),
        preprocess=BothAnswers(model.preprocess),
        description=f"{model.description}; run on both answers of each row",
    )


def of_each_row(module: nn.Module, features: Tensor) -> Tensor:
    """Return one vector a row, `[rows, width]`, of what a module's parts took or gave.

    Of two answers it is the difference, left minus right: to that, a last linear layer's weights
    give the difference of the rewards.
    """
    return features[::2] - features[1::2] if isinstance(module, BothRewards) else features


def parts_of_a_row(module: nn.Module) -> int:
    """Return how many samples a module's parts see for each row."""
    return 2 if isinstance(module, BothRewards) else 1

"""The protocol that every kind of model is brought to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dataaudit.datasets.samples import Samples
from dataaudit.models.trained import Preprocess, TrainedModel


class ModelAdapter(Protocol):
    """A model of one kind, before its rows are known.

    Each kind has a file of its own, which alone imports what that kind needs.
    """

    @property
    def label_values(self) -> Sequence[str | int] | None:
        """The labels themselves, in the order of the outputs, where the model knows them."""
        ...

    @property
    def class_names(self) -> Sequence[str] | None:
        """Names of the outputs, in their order: labels may be names, or numbers from 0 on."""
        ...

    @property
    def origin(self) -> str | None:
        """What a model of this kind was probably fine-tuned from, in words, or None."""
        ...

    def trained(self, train: Samples, preprocess: Preprocess | None, seed: int) -> TrainedModel:
        """Return the model with what turns rows into its inputs.

        Parameters
        ----------
        train : Samples
            The training rows, labels not yet known to fit the model.
        preprocess : callable or None
            The user's own, where there is one.
        seed : int
            Of whatever has to be drawn at random.

        Raises
        ------
        ConfigError, DataError, ModelError
            The model cannot be mirrored, or the rows need a `preprocess`.
        """
        ...

"""Texts as a model's inputs: tokenized, cut off, padded, and that without changing a result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.errors import DataError
from dataaudit.models.trained import forward

SomeInputs = TypeVar("SomeInputs", bound="TextInputs")
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class TextInputs:
    """Turns a column of texts, or a pair of columns, into the tensors that a tokenizer makes.

    Attributes
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
        With a padding token.
    columns : tuple of one or two str
    max_length : int
        Tokens after which a text is cut off.
    side : "left", "right" or None
        Where padding goes; None is the tokenizer's own choice.
    to_full_length : bool
        Whether all are padded to `max_length`, not only to the longest of the batch.
    """

    tokenizer: Any
    columns: tuple[str, ...]
    max_length: int
    side: Literal["left", "right"] | None = None
    to_full_length: bool = False

    def __call__(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Return int64 `[rows, tokens]` tensors by the names of the model's arguments.

        Raises
        ------
        DataError
            A text is missing.
        """
        tokens = self.tokenizer(
            *(self._texts(frame, name) for name in self.columns),
            padding="max_length" if self.to_full_length else "longest",
            truncation=True,
            max_length=self.max_length,
            padding_side=self.side or self.tokenizer.padding_side,
            return_tensors="pt",
        )
        return dict(tokens)

    @property
    def about_padding(self) -> str:
        """For the report."""
        length = "that length" if self.to_full_length else "the longest of a batch"
        return f"padded on the {self.side or self.tokenizer.padding_side} to {length}"

    def lengths(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Return the number of tokens of each row before it is cut off, `[rows]`."""
        texts = (self._texts(frame, name) for name in self.columns)
        tokens = self.tokenizer(*texts, truncation=False, padding=False, verbose=False)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)

    def _texts(self, frame: pd.DataFrame, name: str) -> list[str]:
        missing = frame.index[frame[name].isna()]
        if len(missing):
            raise DataError(f"row {missing[0]}: the text in column {name!r} is missing")
        return frame[name].astype(str).tolist()


def padding_that_changes_nothing(
    module: nn.Module, inputs: SomeInputs, frame: pd.DataFrame
) -> SomeInputs:
    """Return `inputs` with a padding under which a text's outputs do not depend on its batch.

    Models differ in the side that they can be padded on, and files are often wrong about it; so
    it is tried: the shortest of some texts alone and beside the longest. Where neither side will
    do, all texts are padded to the full length, alone or not.
    """
    lengths = inputs.lengths(frame)
    short, long = int(lengths.argmin()), int(lengths.argmax())
    own = inputs.tokenizer.padding_side
    for side in (own, "left" if own == "right" else "right"):
        candidate = replace(inputs, side=side)
        alone = _outputs(module, candidate, frame.iloc[[short]])
        beside = _outputs(module, candidate, frame.iloc[[short, long]])[:1]
        # A tagger's outputs are those of the words, and shorter texts have fewer.
        beside = beside[:, : alone.shape[1]]
        scale = max(1.0, float(alone.abs().max()))
        if float((alone - beside).abs().max()) <= _TOLERANCE * scale:
            return candidate
    return replace(inputs, side=own, to_full_length=True)


@torch.inference_mode()
def _outputs(module: nn.Module, inputs: TextInputs, frame: pd.DataFrame) -> Tensor:
    return forward(module, inputs(frame)).float()

"""Lists of words as a token classifier's inputs, and its outputs as one for each word.

A word's tag is that of its first token, as such models are trained (Devlin et al., NAACL 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.datasets.words import is_list
from dataaudit.errors import DataError
from dataaudit.models.text_inputs import TextInputs
from dataaudit.models.trained import output_tensor


class WordTagger(nn.Module):
    """A token classifier that returns what it says of the first token of each word."""

    def __init__(self, tagger: nn.Module) -> None:
        super().__init__()
        self.tagger = tagger

    def forward(self, first_tokens: Tensor, **inputs: Tensor) -> Tensor:
        """Return logits `[rows, words, C]`; of padding, those of whatever token comes first.

        Parameters
        ----------
        first_tokens : int64 `[rows, words]`
            Place of each word's first token; 0 where a row has no more words.
        **inputs : `[rows, tokens]`
            What the tokenizer made.
        """
        logits = output_tensor(self.tagger(**inputs))
        places = first_tokens[:, :, None].expand(-1, -1, logits.shape[2])
        return logits.gather(1, places)


@dataclass(frozen=True)
class WordInputs(TextInputs):
    """Turns a column of lists of words into tensors. Rows are refused where texts are cut off."""

    def __call__(self, frame: pd.DataFrame) -> dict[str, Tensor]:
        """Return int64 `[rows, tokens]` tensors, and `first_tokens` `[rows, words]`.

        Raises
        ------
        DataError
            A row has no list of words, is too long for the model, or has a word without tokens.
        """
        words = self._words(frame)
        tokens = self.tokenizer(
            words,
            is_split_into_words=True,
            padding="max_length" if self.to_full_length else "longest",
            max_length=self.max_length if self.to_full_length else None,
            truncation=False,
            padding_side=self.side or self.tokenizer.padding_side,
            return_tensors="np",
            verbose=False,
        )
        lengths = tokens["attention_mask"].sum(axis=1)
        # Of what is cut off the model says nothing, and so nothing can be said of its tags.
        too_long = f"gives more than {self.max_length} tokens; split the text into shorter rows"
        self._refuse(frame, lengths > self.max_length, too_long)
        first = np.zeros((len(words), max(map(len, words))), dtype=np.int64)
        for row, own in enumerate(words):
            places: dict[int, int] = {}
            for place, word in enumerate(tokens.word_ids(row)):
                if word is not None:
                    places.setdefault(word, place)
            lost = next((word for word in range(len(own)) if word not in places), None)
            if lost is not None:
                raise DataError(
                    f"row {frame.index[row]}: the tokenizer makes nothing of word {lost + 1}, "
                    f"{own[lost]!r}; expected at least one token for each tag"
                )
            first[row, : len(own)] = [places[word] for word in range(len(own))]
        tensors = {name: torch.tensor(values) for name, values in tokens.items()}
        return {"first_tokens": torch.tensor(first), **tensors}

    def lengths(self, frame: pd.DataFrame) -> NDArray[np.int64]:
        """Return the number of tokens of each row, `[rows]`."""
        words = self._words(frame)
        tokens = self.tokenizer(words, is_split_into_words=True, padding=False, verbose=False)
        return np.array([len(row) for row in tokens["input_ids"]], dtype=np.int64)

    def _words(self, frame: pd.DataFrame) -> list[list[str]]:
        (name,) = self.columns
        values = frame[name].tolist()
        self._refuse(frame, [not is_list(value) for value in values], "holds no list of words")
        return [[str(word) for word in value] for value in values]

    def _refuse(self, frame: pd.DataFrame, wrong: Any, what: str) -> None:
        if np.any(wrong):
            row = frame.index[int(np.flatnonzero(wrong)[0])]
            raise DataError(f"row {row}: column {self.columns[0]!r} {what}")

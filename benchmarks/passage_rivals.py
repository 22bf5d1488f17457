"""Rivals for finding the passages behind a completion: words, features, gradients.

Every function returns scores `[passages, questions]`, higher = more to do with the question.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor
from torch.nn import functional

Scores = NDArray[np.float64]
PROJECTED = 512


def bm25(passages: Sequence[str], questions: Sequence[str]) -> Scores:
    """Return Okapi BM25 (Robertson and Zaragoza, 2009) with k1 = 1.5 and b = 0.75."""
    documents = [Counter(words(text)) for text in passages]
    lengths = np.array([sum(document.values()) for document in documents])
    norm = 1.5 * (1 - 0.75 + 0.75 * lengths / lengths.mean())
    scores = np.zeros((len(passages), len(questions)))
    for column, question in enumerate(questions):
        for word in set(words(question)):
            counts = np.array([document[word] for document in documents], float)
            found = int((counts > 0).sum())
            rarity = np.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
            scores[:, column] += rarity * counts * 2.5 / (counts + norm)
    return scores


def tf_idf(passages: Sequence[str], questions: Sequence[str]) -> Scores:
    """Return the cosine of TF-IDF vectors."""
    vectorizer = TfidfVectorizer(tokenizer=words, token_pattern=None)
    found = vectorizer.fit_transform(passages)
    return (found @ vectorizer.transform(questions).T).toarray()


def words(text: str) -> list[str]:
    """Return the words of a text, in lower case."""
    return re.findall(r"\w+", text.lower())


@torch.inference_mode()
def hidden_states(
    model: torch.nn.Module, passages: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]
) -> Scores:
    """Return the cosine of the model's last hidden states, the mean over the tokens."""

    def embedded(documents: Sequence[Sequence[int]]) -> Tensor:
        return torch.stack(
            [
                model(input_ids=torch.tensor([list(ids)]), output_hidden_states=True)
                .hidden_states[-1][0]
                .mean(dim=0)
                for ids in documents
            ]
        )

    left, right = embedded(passages), embedded(questions)
    centre = left.mean(dim=0)
    return (functional.normalize(left - centre) @ functional.normalize(right - centre).T).numpy()


class Gradients:
    """Gradients of passages and completions, as TracIn and TRAK compare them.

    Parameters
    ----------
    model : torch.nn.Module
    questions : sequence of (token ids, where the completion begins)
    """

    def __init__(
        self, model: torch.nn.Module, questions: Sequence[tuple[Sequence[int], int]]
    ) -> None:
        self._model = model
        self._questions = [self._gradient(ids, start) for ids, start in questions]

    def _gradient(self, ids: Sequence[int], start: int) -> Tensor:
        tokens = torch.tensor([list(ids)])
        logits = self._model(input_ids=tokens).logits[0, start - 1 : -1]
        loss = functional.cross_entropy(logits, tokens[0, start:], reduction="sum")
        parameters = [value for value in self._model.parameters() if value.requires_grad]
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, parameters)])

    def compare(self, passages: Sequence[Sequence[int]]) -> dict[str, Scores]:
        """Return the scores of TracIn (Pruthi et al., 2020), its cosine, and TRAK (2023).

        TRAK in a few lines of its own: one checkpoint, gradients of the loss projected to 512
        numbers by random signs in blocks, then the inverse of their covariance between them.
        """
        questions = torch.stack(self._questions)
        dots, lengths, projected = [], [], []
        for ids in passages:
            gradient = self._gradient(ids, 1)
            dots.append(questions @ gradient)
            lengths.append(gradient.norm())
            projected.append(_projected(gradient[None])[0])
        product = torch.stack(dots)
        cosine = product / torch.stack(lengths)[:, None] / questions.norm(dim=1)
        left, right = torch.stack(projected).double(), _projected(questions).double()
        covariance = left.T @ left
        damping = 1e-2 * covariance.diagonal().mean()
        solved = torch.linalg.solve(covariance + damping * torch.eye(PROJECTED), right.T)
        return {
            "TracIn (gradient dot product)": product.numpy(),
            "gradient cosine": cosine.numpy(),
            "TRAK (own lines, 1 checkpoint)": (left @ solved).numpy(),
        }


def _projected(gradients: Tensor) -> Tensor:
    """Return a sparse random projection: each number goes to one place, with a random sign."""
    generator = torch.Generator().manual_seed(0)
    size = gradients.shape[1]
    places = torch.randint(0, PROJECTED, (size,), generator=generator)
    signs = torch.randint(0, 2, (size,), generator=generator) * 2.0 - 1.0
    result = torch.zeros(len(gradients), PROJECTED)
    return result.index_add_(1, places, gradients * signs)

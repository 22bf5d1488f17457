"""Windows and token losses: against the plain computation, document by document."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import log_softmax

from dataaudit.errors import DataError, ModelError
from dataaudit.models.tokens import NOT_SCORED, completion_start, token_losses, user_tokenize
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.studies.tracing.token_losses import TokenTask, document_losses
from dataaudit.studies.tracing.windows import window_batches, windows

VOCABULARY = 11


class Remembering(nn.Module):
    """A recurrent model: each prediction depends on all tokens before it, and on none after."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.remember = nn.GRU(8, 16, batch_first=True)
        self.head = nn.Linear(16, VOCABULARY)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.remember(self.embed(ids))[0])


def some_documents(*lengths: int) -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(1, VOCABULARY, length).tolist() for length in lengths]


@torch.inference_mode()
def plain_losses(module: nn.Module, ids: list[int]) -> list[float]:
    """One document alone, whole, token by token."""
    log_probabilities = log_softmax(module(torch.tensor([ids]))[0].double(), dim=1)
    return [0.0] + [-float(log_probabilities[i - 1, ids[i]]) for i in range(1, len(ids))]


@pytest.mark.parametrize("tokens_per_batch", [1, 40, 10_000])
def test_losses_do_not_depend_on_padding_or_batch(tokens_per_batch: int) -> None:
    module, documents = Remembering().eval(), some_documents(3, 17, 1, 9, 17)
    found = document_losses(module, [UNPERTURBED], documents, 100, tokens_per_batch)
    for ids, losses in zip(documents, found, strict=True):
        np.testing.assert_allclose(losses[:, 0], plain_losses(module, ids), atol=1e-5)


def test_a_longer_document_is_scored_in_windows_each_token_once_with_half_a_window_before() -> None:
    module, context = Remembering().eval(), 8
    (ids,) = some_documents(29)
    (found,) = document_losses(module, [UNPERTURBED], [ids], context, 10_000)
    expected = plain_losses(module, ids[:context])
    for first in range(8, 29, 4):
        # Every further window brings four tokens, and has four of context before them.
        stop = min(first + 4, 29)
        window = plain_losses(module, ids[stop - context : stop])
        expected += window[-(stop - first) :]
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-5)


@pytest.mark.parametrize("context", [2, 3, 7, 8])
def test_windows_score_every_token_but_the_first_exactly_once(context: int) -> None:
    for length in range(1, 40):
        cut = list(windows([length], context))
        scored = [place for window in cut for place in range(window.first, window.stop)]
        assert scored == list(range(1, length))
        assert all(0 <= window.start < window.stop <= length for window in cut)
        assert all(window.stop - window.start <= context for window in cut)
        assert all(window.first - window.start >= context // 2 for window in cut[1:])


def test_only_the_completion_is_scored_where_that_is_asked() -> None:
    documents = some_documents(6, 12)
    for batch in window_batches(documents, 5, 1000, scored_from=[4, 9]):
        for line, window in enumerate(batch.windows):
            first = [4, 9][window.document]
            labels = batch.labels[line].tolist()
            for place, label in enumerate(labels):
                token = window.start + place
                wanted = window.first <= token < window.stop and token >= first
                expected = documents[window.document][token] if wanted else NOT_SCORED
                assert label == expected


def test_the_task_sums_the_losses_of_the_tokens_asked_for() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, VOCABULARY, dtype=torch.float64)
    labels = torch.tensor([[5, 3, NOT_SCORED, 1], [NOT_SCORED, NOT_SCORED, 2, NOT_SCORED]])
    log_probabilities = log_softmax(logits, dim=2)
    expected = [
        -float(log_probabilities[0, 0, 3] + log_probabilities[0, 2, 1]),
        -float(log_probabilities[1, 1, 2]),
    ]
    np.testing.assert_allclose(TokenTask().losses(logits, labels), expected)
    assert token_losses(logits, labels)[0, 0] == 0


def test_a_wrong_shape_or_a_foreign_token_is_named() -> None:
    flat = nn.Linear(1, 1)
    flat.forward = lambda ids: torch.zeros(len(ids), 3)
    with pytest.raises(ModelError, match=r"shape \(1, 3\).*expected logits \[rows, tokens, voc"):
        document_losses(flat, [UNPERTURBED], [[1, 2]], 10, 100)
    module = Remembering()
    module.forward = lambda ids: torch.zeros(*ids.shape, VOCABULARY)
    with pytest.raises(ModelError, match="token id 99 is beyond the model's vocabulary of 11"):
        document_losses(module, [UNPERTURBED], [[1, 99]], 10, 100)


def test_infinite_logits_are_refused() -> None:
    module = Remembering()
    module.forward = lambda ids: torch.full((*ids.shape, VOCABULARY), float("nan"))
    with pytest.raises(ModelError, match="NaN or infinite logits"):
        document_losses(module, [UNPERTURBED], [[1, 2]], 10, 100)


def test_the_completion_begins_where_prompt_and_whole_text_part() -> None:
    assert completion_start([1, 2, 3], [1, 2, 3, 4, 5]) == 3
    # The tokenizer joined the prompt's last letters with the completion's first.
    assert completion_start([1, 2, 3], [1, 2, 9, 5]) == 2
    # It ends the prompt with a token of its own.
    assert completion_start([1, 2, 0], [1, 2, 4, 0]) == 2
    assert completion_start([7], [8, 9]) == 1
    assert completion_start([1, 2], [1, 2]) == 1


def test_padding_of_the_users_tokenizer_is_left_out() -> None:
    def preprocess(frame):
        ids = torch.tensor([[4, 5, 0], [6, 7, 8]])
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    found = user_tokenize(preprocess, "text")(["ab", "cde"])
    assert [tokens.ids for tokens in found] == [[4, 5], [6, 7, 8]]
    with pytest.raises(DataError, match="for 2 rows; expected 1"):
        user_tokenize(preprocess, "text")(["ab"])
    with pytest.raises(DataError, match=r"KeyError.*expected token ids for each text"):
        user_tokenize(lambda frame: frame["words"], "text")(["ab"])

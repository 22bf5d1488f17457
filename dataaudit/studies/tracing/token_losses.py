"""The loss of every token of a document under a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dataaudit.errors import ModelError
from dataaudit.models.tokens import checked_logits, model_inputs, token_losses
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.studies.tracing.windows import window_batches

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TokenTask:
    """Next-token prediction: outputs are logits `[rows, tokens, vocabulary]`."""

    def losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the summed loss of each row's scored tokens in nats, `[rows]`."""
        return token_losses(outputs, labels).sum(dim=1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probability of each token, `[rows, tokens, vocabulary]`."""
        return outputs.float().softmax(dim=-1)


@torch.inference_mode()
def document_losses(
    module: nn.Module,
    perturbations: Sequence[Perturbation],
    documents: Sequence[Sequence[int]],
    context: int,
    tokens_per_batch: int,
) -> list[FloatArray]:
    """Return the loss of each token of each document under each model.

    Parameters
    ----------
    module : torch.nn.Module
        From token ids to logits, in eval mode.
    perturbations : sequence of Perturbation
    documents : sequence of token ids
    context : int
    tokens_per_batch : int

    Returns
    -------
    list of float64 `[tokens, models]`
        Nats; 0 for the very first token, which nothing predicts.

    Raises
    ------
    ModelError
        The logits are not finite, or of another shape than `[rows, tokens, vocabulary]`.
    """
    passes = Passes(module)
    result = [np.zeros((len(ids), len(perturbations))) for ids in documents]
    for batch in window_batches(documents, context, tokens_per_batch):
        inputs = model_inputs(module, batch.ids.to(passes.device), batch.mask.to(passes.device))
        labels = batch.labels.to(passes.device)
        for column, logits in enumerate(passes.outputs(inputs, perturbations)):
            losses = token_losses(checked_logits(logits, batch.ids), labels).double().cpu().numpy()
            for line, window in enumerate(batch.windows):
                place = slice(window.first - window.start, window.stop - window.start)
                found = losses[line, place]
                if not np.isfinite(found).all():
                    raise ModelError("the model returned NaN or infinite logits; expected finite")
                result[window.document][window.first : window.stop, column] = found
    return result

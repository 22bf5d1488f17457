"""The tokens of single answers, and their losses under the models that learned again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.inputs import Loaded
from dataaudit.mirror.left_out import learned_without
from dataaudit.mirror.relearn import Mirror
from dataaudit.models.answer_losses import AnswerInputs, AnswerLosses
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.stages.left_out import settings_of

MOST_AT_ONCE = 32


def answer_pieces(
    loaded: Loaded, mirror: Mirror, config: AuditConfig, positions: NDArray[np.int64]
) -> Iterator[list[tuple[str, float, float]]]:
    """Yield the tokens of each row's answer: the text, its loss after the instruction, and alone.

    Losses are means of the models that learned again, nats; where rows were judged by models that
    had not learned them, of one that learned none of these, or of one for each half of few rows. A
    tokenizer that does not say which characters a token stands for gives no tokens.
    """
    if mirror.relearned:
        yield from _pieces(loaded, mirror.relearned, positions)
        return
    # Where the rows are few, these would be most of them, and leave nothing to learn.
    parts = -(-len(positions) // max(1, len(loaded.train) // 2))
    found: dict[int, list[tuple[str, float, float]]] = {}
    for part in (positions[first::parts] for first in range(parts)):
        learned = learned_without(loaded, settings_of(config), part)
        found.update(zip(part.tolist(), _pieces(loaded, [learned], part), strict=True))
    yield from (found[position] for position in positions.tolist())


def _pieces(
    loaded: Loaded, learned: Sequence[Perturbation], positions: NDArray[np.int64]
) -> Iterator[list[tuple[str, float, float]]]:
    train, model = loaded.train, loaded.model
    module, inputs_of = model.module, model.preprocess
    assert isinstance(module, AnswerLosses)
    assert isinstance(inputs_of, AnswerInputs)
    passes, step = Passes(module), train.rows_at_once(MOST_AT_ONCE)
    for start in range(0, len(positions), step):
        batch = train.take(positions[start : start + step])
        texts = inputs_of.pieces(batch.frame)
        inputs = model.inputs(batch, train)
        assert isinstance(inputs, dict)
        found = []
        for perturbation in learned:
            with passes.under(perturbation):
                after, alone, _ = module.of_tokens(*inputs.values())
            found.append(torch.stack([after, alone]).double().cpu())
        losses = torch.stack(found).mean(dim=0).numpy()
        for line, pieces in enumerate(texts):
            own = losses[:, line, : len(pieces)].T.tolist()
            yield [(text, *pair) for text, pair in zip(pieces, own, strict=False)]

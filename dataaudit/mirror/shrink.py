"""Shrink and perturb: move trained weights part of the way to fresh ones, or back to the start.

Memory of single rows goes, features stay (Ash and Adams, "On warm-starting neural network
training", NeurIPS 2020). What a fine-tuned model started from holds more than fresh weights do,
and nothing of the rows' labels.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from dataaudit.models.initial import Initial
from dataaudit.models.parameters import Parameters, moving_parameters
from dataaudit.scoring.perturbation import Perturbation

SEED_OFFSET = 7_919_000_000


def _is_reset(part: nn.Module) -> bool:
    """Give a part fresh weights by its own `reset_parameters`; tell whether it has one that can."""
    reset = getattr(part, "reset_parameters", None)
    if not callable(reset):
        return False
    try:
        reset()
    except Exception:
        # The user's own, which takes arguments, or works before training alone.
        return False
    return True


def shrunk(
    module: nn.Module,
    start: Perturbation,
    keep: float,
    parameters: Parameters,
    seed: int,
    initial: Initial | None = None,
) -> Perturbation:
    """Return `start` with its parameters at `keep` × trained + (1 - `keep`) × initial or fresh.

    Parameters
    ----------
    module : torch.nn.Module
    start : Perturbation
        The trained values, where they are not the module's own. Its buffers stay.
    keep : float
        Share of the trained weights kept, 0 to 1.
    parameters : "all", "last", "adapters" or patterns
        Which parameters are moved, see `moving_parameters`.
    seed : int
        Of the fresh weights. They come from each part's own `reset_parameters`; weights of parts
        without one that can be called so are shuffled instead, which keeps their scale and loses
        what they hold.
    initial : Initial or None
        Stands in for fresh weights, except for parameters that it does not have.
    """
    fresh = copy.deepcopy(module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        # Far from the small seeds that people train with: from the same seed would come the very
        # weights that the model started from, and the way it went since would stay in it whole.
        torch.manual_seed(SEED_OFFSET + seed)
        for part in fresh.modules():
            if not _is_reset(part):
                for values in part.parameters(recurse=False):
                    order = torch.randperm(values.numel(), device=values.device)
                    values.copy_(values.flatten()[order].view_as(values))
        new = {name: value.detach() for name, value in fresh.named_parameters()}
        if initial is not None:
            new |= initial.tensors
        moved = {
            name: torch.lerp(new[name], start.tensors.get(name, value.detach()), keep)
            for name, value in moving_parameters(module, parameters).items()
        }
    return Perturbation({**start.tensors, **moved})

"""A mirror as bytes (safetensors), so that an interrupted audit need not learn again."""

from __future__ import annotations

import torch
from safetensors.torch import load, save

from dataaudit.datasets.samples import Samples
from dataaudit.mirror.plan import Attempt
from dataaudit.mirror.queries import Pool
from dataaudit.mirror.references import PlantedPool
from dataaudit.mirror.relearn import Mirror
from dataaudit.scoring.perturbation import Perturbation


def to_bytes(mirror: Mirror) -> bytes:
    """Return the content of a safetensors file that holds all of the mirror."""
    tensors = {
        "attempt": torch.tensor(
            [mirror.attempt.keep, mirror.attempt.learning_rate], dtype=torch.float64
        ),
        "flip": torch.tensor(mirror.flip),
        "repeats": torch.tensor(len(mirror.relearned)),
        "workers": torch.tensor(mirror.workers),
    }
    perturbations = {
        "familiar": mirror.familiar,
        **{f"relearned-{repeat}": value for repeat, value in enumerate(mirror.relearned)},
    }
    for name, perturbation in perturbations.items():
        for parameter, value in perturbation.tensors.items():
            # Cloned, because safetensors refuses tensors that share memory.
            tensors[f"{name}.{parameter}"] = value.detach().cpu().contiguous().clone()
    if mirror.references is not None:
        pool = mirror.references.pool
        tensors["references.positions"] = torch.tensor(pool.positions)
        tensors["references.labels"] = torch.tensor(pool.labels)
        tensors["references.planted"] = torch.tensor(mirror.references.planted)
    return bytes(save(tensors))


def from_bytes(content: bytes, held_out: Samples | None, device: torch.device) -> Mirror:
    """Return the mirror that `to_bytes` was given.

    Parameters
    ----------
    content : bytes
    held_out : Samples or None
        What the references are samples of.
    device : torch.device
        Where the perturbed parameters shall be.
    """
    tensors = load(content)

    def perturbation(name: str) -> Perturbation:
        prefix = f"{name}."
        return Perturbation(
            {
                key.removeprefix(prefix): value.to(device)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
        )

    references = None
    if held_out is not None and "references.positions" in tensors:
        pool = Pool(
            held_out,
            tensors["references.positions"].numpy(),
            tensors["references.labels"].numpy(),
        )
        references = PlantedPool(pool, tensors["references.planted"].numpy())
    keep, learning_rate = tensors["attempt"].tolist()
    return Mirror(
        perturbation("familiar"),
        [perturbation(f"relearned-{repeat}") for repeat in range(int(tensors["repeats"]))],
        references,
        Attempt(keep, learning_rate),
        bool(tensors["flip"]),
        int(tensors["workers"]),
    )

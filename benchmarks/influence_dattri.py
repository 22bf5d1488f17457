"""Influence by dattri.

Left out: its representer points, which look at the model's predictions and never at a row's label;
its Arnoldi influence, which took more than 9 GB for 128 images.
"""

from __future__ import annotations

import copy

import torch
from influence_methods import (
    BATCH,
    LARGE_BATCH,
    SMALL_BATCH,
    count_gradients,
    loader,
    need_package,
    opposition,
)
from mislabel_methods import Answer, Workbench, answer, last_layer, need_trusted
from mislabel_training import Meter
from torch import Tensor, nn
from torch.nn import functional


def dattri_trak(bench: Workbench, meter: Meter) -> Answer:
    """TRAK of dattri: gradients of all parameters, projected on 512 directions."""
    need_trusted(bench)
    need_package("dattri")
    from dattri.algorithm.trak import TRAKAttributor
    from dattri.task import AttributionTask

    problem, module = bench.problem, copy.deepcopy(bench.module)

    def chance(parameters: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        return torch.exp(-_loss(module, parameters, sample[0][None], sample[1][None]))

    def log_odds(parameters: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        likely = chance(parameters, sample).clamp(1e-6, 1 - 1e-6)
        return torch.log(likely) - torch.log1p(-likely)

    attributor = TRAKAttributor(
        AttributionTask(log_odds, module, [dict(module.state_dict())]),
        chance,
        projector_kwargs={"proj_dim": 512, "device": "cpu"},
        regularization=1e-3,
    )
    count_gradients(meter, len(problem.inputs) + len(problem.trusted))
    queries = loader(problem.trusted, problem.trusted_labels, LARGE_BATCH)
    with torch.no_grad():  # Of gradients, whose graph dattri would keep: 5 MB for an image.
        attributor.cache(loader(problem.inputs, problem.labels, LARGE_BATCH))
        influence = attributor.attribute(queries)
    return answer(bench, meter, opposition(influence))


def dattri_tracin(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracIn of dattri: products of the gradients of all parameters, not projected."""
    need_package("dattri")
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    problem, module = bench.problem, copy.deepcopy(bench.module)

    def loss(parameters: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        return _loss(module, parameters, sample[0][None], sample[1][None])

    attributor = TracInAttributor(
        AttributionTask(loss, module, [dict(module.state_dict())]),
        weight_list=torch.ones(1),
        normalized_grad=False,
        projector_kwargs={"proj_type": "identity", "device": "cpu"},
    )
    rows = loader(problem.inputs, problem.labels, SMALL_BATCH if of_itself else LARGE_BATCH)
    if of_itself:
        count_gradients(meter, len(problem.inputs))
        with torch.no_grad():
            influence = attributor.self_attribute(rows)
        return answer(bench, meter, influence.double().numpy())
    need_trusted(bench)
    queries = loader(problem.trusted, problem.trusted_labels, LARGE_BATCH)
    # Queries are differentiated again for each batch of rows.
    count_gradients(meter, len(problem.inputs) + len(rows) * len(problem.trusted))
    with torch.no_grad():
        influence = attributor.attribute(rows, queries)
    return answer(bench, meter, opposition(influence))


def dattri_influence(bench: Workbench, meter: Meter, kind: str) -> Answer:
    """Influence functions of dattri on the last layer, damped as in the package's own tests."""
    need_trusted(bench)
    need_package("dattri")
    from dattri.algorithm import influence_function
    from dattri.task import AttributionTask

    problem, module = bench.problem, copy.deepcopy(bench.module)
    name, _ = last_layer(module)

    def loss(parameters: dict[str, Tensor], samples: tuple[Tensor, Tensor]) -> Tensor:
        return _loss(module, parameters, *samples)

    task = AttributionTask(loss, module, [dict(module.state_dict())])
    layers = [f"{name}.weight", f"{name}.bias"]
    attributor = {
        "EK-FAC": lambda: influence_function.IFAttributorEKFAC(task, module_name=name, damping=0.1),
        "DataInf": lambda: influence_function.IFAttributorDataInf(
            task, layer_name=layers, regularization=1e-3
        ),
    }[kind]()
    rows = loader(problem.inputs, problem.labels, LARGE_BATCH)
    queries = loader(problem.trusted, problem.trusted_labels, BATCH)
    # Queries are differentiated again for each batch of rows, rows once or twice for the factors.
    passes = 3 if kind == "EK-FAC" else 2
    count_gradients(meter, passes * len(problem.inputs) + len(rows) * len(problem.trusted))
    # The gradients themselves need no graph, and DataInf would keep one for all pairs.
    with torch.set_grad_enabled(kind == "EK-FAC"):
        attributor.cache(rows)
    with torch.no_grad():
        influence = attributor.attribute(rows, queries)
    return answer(bench, meter, opposition(influence))


def _loss(
    module: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor
) -> Tensor:
    return functional.cross_entropy(torch.func.functional_call(module, parameters, inputs), labels)

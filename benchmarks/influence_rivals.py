"""Rivals of the mislabel benchmark that measure influence, through their own packages.

Two scores: a row's influence on itself where a package offers it as its way of finding wrong
labels, and the mean influence of the held-out samples that speak most against a row. The trained
model is the only checkpoint. Models are copied, because packages change what they are given.

Left out: dattri's representer points, which look at the model's predictions and never at a row's
label; dattri's Arnoldi, which took more than 9 GB for 128 images; Captum's TracInCPFastRandProj,
which speeds up searches for the nearest rows and otherwise gives the scores of TracInCPFast.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch
from mislabel_methods import (
    Answer,
    Method,
    NotApplicableError,
    Workbench,
    answer,
    last_layer,
    need_trusted,
)
from mislabel_training import Meter
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

OPPONENTS = 20
"""Held-out samples that speak most against a row; all together they cancel out."""
BATCH = 250
LARGE_BATCH = 1000
"""For packages that redo work for each batch: random projections, gradients of all queries."""


def captum_fast(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracInCPFast: the last layer's gradients."""
    _need_package("captum")
    from captum.influence import TracInCPFast

    attributor = TracInCPFast(*_captum_arguments(bench, meter), **_captum_options(200))
    return _captum(bench, meter, attributor, of_itself)


def captum_all_layers(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracInCP: all layers' gradients; the fast way knows linear layers and convolutions only."""
    _need_package("captum")
    from captum.influence import TracInCP

    module, _, rows, checkpoints = _captum_arguments(bench, meter)
    fast = _layers(module, (nn.Linear, nn.Conv2d))
    others = _layers(module, (nn.Embedding, nn.Conv1d))
    options = _captum_options(BATCH)
    if others:
        options["loss_fn"] = nn.CrossEntropyLoss(reduction="none")
    attributor = TracInCP(
        module,
        rows,
        checkpoints,
        layers=[*fast, *others],
        sample_wise_grads_per_batch=not others,
        **options,
    )
    return _captum(bench, meter, attributor, of_itself)


def dattri_trak(bench: Workbench, meter: Meter) -> Answer:
    """TRAK of dattri: gradients of all parameters, projected on 512 directions."""
    need_trusted(bench)
    _need_package("dattri")
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
    attributor.cache(_loader(problem.inputs, problem.labels, LARGE_BATCH))
    _count_gradients(meter, len(problem.inputs) + len(problem.trusted))
    influence = attributor.attribute(_loader(problem.trusted, problem.trusted_labels, LARGE_BATCH))
    return answer(bench, meter, _opposition(influence.detach()))


def dattri_tracin(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracIn of dattri: products of the gradients of all parameters, not projected."""
    _need_package("dattri")
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
    rows = _loader(problem.inputs, problem.labels, LARGE_BATCH)
    if of_itself:
        _count_gradients(meter, len(problem.inputs))
        return answer(bench, meter, attributor.self_attribute(rows).detach().double().numpy())
    need_trusted(bench)
    queries = _loader(problem.trusted, problem.trusted_labels, LARGE_BATCH)
    # Queries are differentiated again for each batch of rows.
    _count_gradients(meter, len(problem.inputs) + len(rows) * len(problem.trusted))
    return answer(bench, meter, _opposition(attributor.attribute(rows, queries).detach()))


def dattri_influence(bench: Workbench, meter: Meter, kind: str) -> Answer:
    """Influence functions of dattri on the last layer, damped as in the package's own tests."""
    need_trusted(bench)
    _need_package("dattri")
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
    rows = _loader(problem.inputs, problem.labels, LARGE_BATCH)
    queries = _loader(problem.trusted, problem.trusted_labels, BATCH)
    attributor.cache(rows)
    # Queries are differentiated again for each batch of rows, rows once or twice for the factors.
    passes = 3 if kind == "EK-FAC" else 2
    _count_gradients(meter, passes * len(problem.inputs) + len(rows) * len(problem.trusted))
    return answer(bench, meter, _opposition(attributor.attribute(rows, queries).detach()))


def traker_trak(bench: Workbench, meter: Meter, dimensions: int) -> Answer:
    """TRAK of its authors; a model's size of projection is 2,048 by default."""
    need_trusted(bench)
    _need_package("trak", "traker")
    from trak import TRAKer

    problem, module = bench.problem, copy.deepcopy(bench.module)
    with tempfile.TemporaryDirectory() as folder:
        traker = TRAKer(
            module,
            "image_classification",  # The margin of any classifier that takes one tensor.
            train_set_size=len(problem.inputs),
            save_dir=folder,
            device="cpu",
            proj_dim=dimensions,
            use_half_precision=False,
            logging_level=30,
        )
        traker.load_checkpoint(module.state_dict(), model_id=0)
        for batch in _loader(problem.inputs, problem.labels, LARGE_BATCH):
            traker.featurize(batch, num_samples=len(batch[0]))
        traker.finalize_features()
        targets = len(problem.trusted)
        traker.start_scoring_checkpoint("held_out", module.state_dict(), 0, num_targets=targets)
        for batch in _loader(problem.trusted, problem.trusted_labels, LARGE_BATCH):
            traker.score(batch, num_samples=len(batch[0]))
        influence = torch.tensor(np.asarray(traker.finalize_scores("held_out")))
    _count_gradients(meter, len(problem.inputs) + targets)
    return answer(bench, meter, _opposition(influence))


def kronfluence(bench: Workbench, meter: Meter, of_itself: bool, damping: float | None) -> Answer:
    """EK-FAC of Kronfluence; layers other than linear ones and 2-D convolutions are left out."""
    _need_package("kronfluence")
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import ScoreArguments
    from kronfluence.task import Task

    class Classification(Task):
        def compute_train_loss(
            self, batch: list[Tensor], model: nn.Module, sample: bool = False
        ) -> Tensor:
            outputs = model(batch[0])
            labels = batch[1]
            if sample:
                labels = torch.multinomial(outputs.detach().softmax(dim=1), 1)[:, 0]
            return functional.cross_entropy(outputs, labels, reduction="sum")

        def compute_measurement(self, batch: list[Tensor], model: nn.Module) -> Tensor:
            return self.compute_train_loss(batch, model)

    problem, task, module = bench.problem, Classification(), copy.deepcopy(bench.module)
    meter.attach(module)
    rows = TensorDataset(problem.inputs, torch.tensor(problem.labels))
    # Several batches of queries at once, lest all rows be differentiated again for each of them.
    together = 1 if of_itself else -(-len(problem.trusted) // BATCH)
    arguments = ScoreArguments(
        damping_factor=damping, query_gradient_accumulation_steps=max(together, 1)
    )
    torch.manual_seed(problem.seed)  # Of the labels that the Fisher matrix is sampled with.
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer(
            "rows",
            prepare_model(module, task),
            task,
            cpu=True,
            disable_tqdm=True,
            output_dir=folder,
        )
        analyzer.fit_all_factors("factors", rows, per_device_batch_size=BATCH)
        if of_itself:
            analyzer.compute_self_scores(
                "scores", "factors", rows, per_device_train_batch_size=BATCH, score_args=arguments
            )
            scores = analyzer.load_self_scores("scores")["all_modules"]
            return answer(bench, meter, scores.double().numpy())
        need_trusted(bench)
        analyzer.compute_pairwise_scores(
            "scores",
            "factors",
            TensorDataset(problem.trusted, torch.tensor(problem.trusted_labels)),
            rows,
            per_device_query_batch_size=BATCH,
            per_device_train_batch_size=BATCH,
            score_args=arguments,
        )
        influence = analyzer.load_pairwise_scores("scores")["all_modules"]
    return answer(bench, meter, _opposition(influence.T))


INFLUENCE_RIVALS: dict[str, Method] = {
    "Captum TracInCPFast, self": partial(captum_fast, of_itself=True),
    "Captum TracInCPFast, opponents": partial(captum_fast, of_itself=False),
    "Captum TracInCP, self": partial(captum_all_layers, of_itself=True),
    "Captum TracInCP, opponents": partial(captum_all_layers, of_itself=False),
    "dattri TRAK": dattri_trak,
    "dattri TracIn, self": partial(dattri_tracin, of_itself=True),
    "dattri TracIn, opponents": partial(dattri_tracin, of_itself=False),
    "dattri EK-FAC, last layer": partial(dattri_influence, kind="EK-FAC"),
    "dattri DataInf, last layer": partial(dattri_influence, kind="DataInf"),
    "traker TRAK, 512": partial(traker_trak, dimensions=512),
    "traker TRAK, 2048": partial(traker_trak, dimensions=2048),
    "Kronfluence EK-FAC, self": partial(kronfluence, of_itself=True, damping=1e-8),
    "Kronfluence EK-FAC, opponents": partial(kronfluence, of_itself=False, damping=1e-8),
    "Kronfluence EK-FAC damped, self": partial(kronfluence, of_itself=True, damping=None),
    "Kronfluence EK-FAC damped, opponents": partial(kronfluence, of_itself=False, damping=None),
}


def _need_package(module: str, package: str | None = None) -> None:
    if importlib.util.find_spec(module) is None:
        raise NotApplicableError(f"{package or module} is not installed")


def _loader(inputs: Tensor, labels: NDArray[np.int64], batch_size: int) -> DataLoader:
    return DataLoader(TensorDataset(inputs, torch.tensor(labels)), batch_size=batch_size)


def _loss(
    module: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor
) -> Tensor:
    return functional.cross_entropy(torch.func.functional_call(module, parameters, inputs), labels)


def _count_gradients(meter: Meter, count: int) -> None:
    """Count gradients of single samples, three passes each: vmap hides them from the meter."""
    meter.cost.forward_passes += 3 * count


def _layers(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> list[str]:
    return [name for name, part in module.named_modules() if isinstance(part, kinds)]


def _captum_arguments(bench: Workbench, meter: Meter) -> tuple[nn.Module, str, TensorDataset, list]:
    meter.attach(bench.module)
    module, problem = copy.deepcopy(bench.module), bench.problem
    rows = TensorDataset(problem.inputs, torch.tensor(problem.labels))
    return module, last_layer(module)[0], rows, [module.state_dict()]


def _captum_options(batch_size: int) -> dict[str, Any]:
    return {
        "checkpoints_load_func": lambda model, state: 1.0,  # The model holds it already.
        "loss_fn": nn.CrossEntropyLoss(reduction="sum"),
        "batch_size": batch_size,
    }


def _captum(bench: Workbench, meter: Meter, attributor: Any, of_itself: bool) -> Answer:
    if of_itself:
        return answer(bench, meter, attributor.self_influence().detach().double().numpy())
    need_trusted(bench)
    queries = (bench.problem.trusted, torch.tensor(bench.problem.trusted_labels))
    return answer(bench, meter, _opposition(attributor.influence(queries).detach().T))


def _opposition(influence: Tensor) -> NDArray[np.float64]:
    """Return minus the mean of the most negative influences, from `[rows, held_out]`."""
    count = min(OPPONENTS, influence.shape[1])
    return -influence.double().topk(count, dim=1, largest=False).values.mean(dim=1).numpy()

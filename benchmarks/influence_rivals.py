"""Rivals of the mislabel benchmark that measure influence, through their own packages.

Two scores: a row's influence on itself where a package offers it as its way of finding wrong
labels, and the mean influence of the held-out samples that speak most against a row. The trained
model is the only checkpoint. Models are copied, because packages change what they are given.

Left out: Captum's TracInCPFastRandProj, which speeds up searches for the nearest rows and otherwise
gives the scores of TracInCPFast.
"""

from __future__ import annotations

import copy
import tempfile
from functools import partial
from typing import Any

import numpy as np
import torch
from influence_dattri import dattri_influence, dattri_tracin, dattri_trak
from influence_methods import BATCH, LARGE_BATCH, count_gradients, loader, need_package, opposition
from mislabel_methods import Answer, Method, Workbench, answer, last_layer, need_trusted
from mislabel_training import Meter
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset


def captum_fast(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracInCPFast: the last layer's gradients."""
    need_package("captum")
    from captum.influence import TracInCPFast

    attributor = TracInCPFast(*_captum_arguments(bench, meter), **_captum_options(200))
    return _captum(bench, meter, attributor, of_itself)


def captum_all_layers(bench: Workbench, meter: Meter, of_itself: bool) -> Answer:
    """TracInCP: all layers' gradients; the fast way knows linear layers and convolutions only."""
    need_package("captum")
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


def traker_trak(bench: Workbench, meter: Meter, dimensions: int) -> Answer:
    """TRAK by its authors; gradients are projected on 2,048 directions by default."""
    need_trusted(bench)
    need_package("trak", "traker")
    from trak import TRAKer

    problem, module = bench.problem, copy.deepcopy(bench.module)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
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
        for batch in loader(problem.inputs, problem.labels, LARGE_BATCH):
            traker.featurize(batch, num_samples=len(batch[0]))
        traker.finalize_features()
        targets = len(problem.trusted)
        traker.start_scoring_checkpoint("held_out", module.state_dict(), 0, num_targets=targets)
        for batch in loader(problem.trusted, problem.trusted_labels, LARGE_BATCH):
            traker.score(batch, num_samples=len(batch[0]))
        influence = torch.tensor(np.asarray(traker.finalize_scores("held_out")))
    count_gradients(meter, len(problem.inputs) + targets)
    return answer(bench, meter, opposition(influence))


def kronfluence(bench: Workbench, meter: Meter, of_itself: bool, damping: float | None) -> Answer:
    """EK-FAC of Kronfluence; layers other than linear ones and 2-D convolutions are left out.

    Damping is 1e-8 by default; with None it is a tenth of the mean eigenvalue.
    """
    if not of_itself:
        need_trusted(bench)
    need_package("kronfluence")
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
    with tempfile.TemporaryDirectory() as folder, torch.random.fork_rng():
        torch.manual_seed(problem.seed)  # Of the labels that the Fisher matrix is sampled with.
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
    return answer(bench, meter, opposition(influence.T))


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
    return answer(bench, meter, opposition(attributor.influence(queries).detach().T))

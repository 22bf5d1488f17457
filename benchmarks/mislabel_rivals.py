"""Rivals of the mislabel benchmark, through their own packages."""

from __future__ import annotations

import copy
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from mislabel_settings import Problem
from mislabel_training import Cost, Meter, predict, replaced, train
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

FOLDS = 5
TRUSTED_EPOCHS = 40
NEIGHBOURS = 10
OPPONENTS = 20
"""Held-out samples that speak most against a row; all together they cancel out."""
FORWARD_INF_LEARNING_RATE = 5e-3
PROJECTION = 512


@dataclass(frozen=True)
class Answer:
    """What a method says.

    Attributes
    ----------
    score : `[rows]`, higher = more suspicious
    flagged : bool `[rows]` or None
        None where the method gives scores only.
    suggested : int64 `[rows]` or None
    cost : Cost
        Forward passes are NaN where the model is not made of them.
    claims : mapping
        What the method says of itself: precision at budgets, the noise rate and its interval.
    """

    score: NDArray[np.floating]
    flagged: NDArray[np.bool_] | None
    suggested: NDArray[np.int64] | None
    cost: Cost
    claims: dict[str, Any]


@dataclass(frozen=True)
class Workbench:
    """The problem, its trained model (a module or an estimator), and where things are kept."""

    problem: Problem
    model: Any
    cache: Path

    @property
    def module(self) -> nn.Module:
        if not isinstance(self.model, nn.Module):
            raise NotApplicableError("needs gradients or features")
        return self.model

    def probabilities(self, meter: Meter) -> NDArray[np.float64]:
        """Return the trained model's, in-sample, `[rows, C]`."""
        if not isinstance(self.model, nn.Module):
            meter.cost.forward_passes = float("nan")
            return self.model.predict_proba(self.problem.train.drop(columns="label"))
        meter.attach(self.model)
        return predict(self.model, self.problem.inputs).numpy()


class NotApplicableError(Exception):
    """The method cannot work on this setting; the message says why."""


Method = Callable[[Workbench, Meter], Answer]


def loss(bench: Workbench, meter: Meter) -> Answer:
    found = bench.probabilities(meter)
    return _answer(bench, meter, -np.log(_given(found, bench) + 1e-30), found)


def margin(bench: Workbench, meter: Meter) -> Answer:
    found = bench.probabilities(meter)
    others = found.copy()
    others[np.arange(len(found)), bench.problem.labels] = -1
    return _answer(bench, meter, others.max(axis=1) - _given(found, bench), found)


def cleanlab_in_sample(bench: Workbench, meter: Meter) -> Answer:
    return _cleanlab(bench, meter, bench.probabilities(meter))


def cleanlab_folds(bench: Workbench, meter: Meter) -> Answer:
    return _cleanlab(bench, meter, _out_of_sample(bench, meter, with_trusted=False))


def cleanlab_folds_with_trusted(bench: Workbench, meter: Meter) -> Answer:
    _need_trusted(bench)
    return _cleanlab(bench, meter, _out_of_sample(bench, meter, with_trusted=True))


def trusted_only(bench: Workbench, meter: Meter) -> Answer:
    """A model that learned the trusted samples and nothing else, 40 epochs."""
    _need_trusted(bench)
    problem = bench.problem
    if problem.training is None:
        model = clone(bench.model).fit(
            problem.held_out.drop(columns="label"), problem.held_out["label"]
        )
        found = np.zeros((len(problem.train), len(problem.classes)))
        found[:, model.classes_] = model.predict_proba(problem.train.drop(columns="label"))
        meter.cost.forward_passes = float("nan")
    else:
        longer = {**vars(problem.training), "epochs": TRUSTED_EPOCHS}
        # Shifts and flips help whoever learns from few images.
        training = type(problem.training)(**longer | {"augment": problem.inputs.ndim == 4})
        labels = torch.tensor(problem.trusted_labels)
        module = train(training, problem.trusted, labels, problem.seed, meter)
        found = predict(module, problem.inputs).numpy()
    return _answer(bench, meter, -np.log(_given(found, bench) + 1e-30), found)


def nearest_neighbours(bench: Workbench, meter: Meter) -> Answer:
    """The share of the nearest held-out samples, in the model's features, with other labels."""
    _need_trusted(bench)
    meter.attach(bench.module)
    rows, trusted = (
        functional.normalize(_features(bench.module, inputs))
        for inputs in (bench.problem.inputs, bench.problem.trusted)
    )
    likeness, nearest = (rows @ trusted.T).topk(min(NEIGHBOURS, len(trusted)), dim=1)
    labels = torch.tensor(bench.problem.trusted_labels)[nearest]
    weights = likeness.clamp_min(0)[:, :, None]
    votes = functional.one_hot(labels, len(bench.problem.classes)) * weights
    found = votes.sum(dim=1).double().numpy() + 1e-9
    found /= found.sum(axis=1, keepdims=True)
    return _answer(bench, meter, 1 - _given(found, bench), found)


def forward_inf(bench: Workbench, meter: Meter) -> Answer:
    """The published recipe: one Adam step on the queries, in train mode; loss after - before."""
    _need_trusted(bench)
    problem, labels = bench.problem, torch.tensor(bench.problem.labels)
    meter.attach(bench.module)
    before = predict(bench.module, problem.inputs)
    stepped = copy.deepcopy(bench.module)
    stepped.train()
    optimizer = torch.optim.Adam(stepped.parameters(), lr=FORWARD_INF_LEARNING_RATE)
    queries = torch.tensor(problem.trusted_labels)
    functional.cross_entropy(stepped(problem.trusted), queries).backward()
    optimizer.step()
    after = predict(stepped.eval(), problem.inputs)
    lines = torch.arange(len(labels))
    change = (before[lines, labels] + 1e-30).log() - (after[lines, labels] + 1e-30).log()
    return _answer(bench, meter, change.numpy(), after.numpy())


def captum_self_influence(bench: Workbench, meter: Meter) -> Answer:
    """TracInCPFast: how much each row matters to itself."""
    attributor = _captum(bench, meter)
    return _answer(bench, meter, attributor.self_influence().detach().double().numpy())


def captum_opponents(bench: Workbench, meter: Meter) -> Answer:
    """TracInCPFast: the mean influence of the held-out samples that speak most against a row."""
    _need_trusted(bench)
    problem = bench.problem
    queries = (problem.trusted, torch.tensor(problem.trusted_labels))
    influence = _captum(bench, meter).influence(queries).detach()
    return _answer(bench, meter, _opposition(influence.T))


def dattri_trak(bench: Workbench, meter: Meter) -> Answer:
    """TRAK, one checkpoint: the held-out samples that speak most against a row."""
    _need_trusted(bench)
    _need_package("dattri")
    from dattri.algorithm.trak import TRAKAttributor
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader

    module = bench.module
    problem = bench.problem

    def loss_of(parameters: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        inputs, label = sample
        outputs = torch.func.functional_call(module, parameters, inputs[None])
        likelihood = torch.exp(-functional.cross_entropy(outputs, label[None])).clamp(
            1e-6, 1 - 1e-6
        )
        return torch.log(likelihood) - torch.log1p(-likelihood)

    def probability(parameters: dict[str, Tensor], sample: tuple[Tensor, Tensor]) -> Tensor:
        inputs, label = sample
        outputs = torch.func.functional_call(module, parameters, inputs[None])
        return torch.exp(-functional.cross_entropy(outputs, label[None]))

    task = AttributionTask(loss_of, module, [dict(module.state_dict())])
    attributor = TRAKAttributor(
        task,
        probability,
        projector_kwargs={"proj_dim": PROJECTION, "proj_max_batch_size": 32, "device": "cpu"},
        regularization=1e-3,
    )

    def loader(inputs: Tensor, labels: NDArray[np.int64]) -> DataLoader:
        return DataLoader(TensorDataset(inputs, torch.tensor(labels)), batch_size=64)

    rows = loader(problem.inputs, problem.labels)
    queries = loader(problem.trusted, problem.trusted_labels)
    # A gradient of a row costs three forward passes; vmap hides the module from the meter.
    meter.cost.forward_passes += 4 * (len(problem.inputs) + len(problem.trusted))
    attributor.cache(rows)
    influence = attributor.attribute(queries, rows)
    return _answer(bench, meter, _opposition(influence.detach()))


RIVALS: dict[str, Method] = {
    "loss": loss,
    "margin": margin,
    "cleanlab, in-sample": cleanlab_in_sample,
    "cleanlab, 5-fold": cleanlab_folds,
    "cleanlab, 5-fold with trusted": cleanlab_folds_with_trusted,
    "trusted samples only": trusted_only,
    "nearest trusted neighbours": nearest_neighbours,
    "Forward-INF, one step": forward_inf,
    "Captum TracInCPFast, self": captum_self_influence,
    "Captum TracInCPFast, opponents": captum_opponents,
    "dattri TRAK": dattri_trak,
}


def _given(probabilities: NDArray[np.float64], bench: Workbench) -> NDArray[np.float64]:
    return probabilities[np.arange(len(probabilities)), bench.problem.labels]


def _answer(
    bench: Workbench,
    meter: Meter,
    score: NDArray[np.floating],
    probabilities: NDArray[np.float64] | None = None,
    flagged: NDArray[np.bool_] | None = None,
) -> Answer:
    suggested = None
    if probabilities is not None:
        others = probabilities.copy()
        others[np.arange(len(others)), bench.problem.labels] = -1
        suggested = others.argmax(axis=1)
    return Answer(score, flagged, suggested, meter.cost, {})


def _cleanlab(bench: Workbench, meter: Meter, probabilities: NDArray[np.float64]) -> Answer:
    labels = bench.problem.labels
    score = 1 - get_label_quality_scores(labels, probabilities)
    flagged = find_label_issues(labels, probabilities, n_jobs=1)
    return _answer(bench, meter, score, probabilities, flagged)


def _need_trusted(bench: Workbench) -> None:
    if bench.problem.setting.held_out == 0:
        raise NotApplicableError("needs trusted samples")


def _need_package(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        raise NotApplicableError(f"{name} is not installed")


def _out_of_sample(bench: Workbench, meter: Meter, with_trusted: bool) -> NDArray[np.float64]:
    """Return each row's probabilities from the fold that did not learn it, `[rows, C]`."""
    problem = bench.problem
    trusted = f"-and-{problem.setting.held_out}-trusted" if with_trusted else ""
    path = bench.cache / f"{problem.setting.model_name}-seed{problem.seed}-folds{trusted}"
    if path.with_suffix(".safetensors").exists():
        cost = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        meter.already(Cost(**cost))
        return load_file(path.with_suffix(".safetensors"))["probabilities"]
    found = np.zeros((len(problem.train), len(problem.classes)))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=problem.seed)
    for number, (learned, left_out) in enumerate(folds.split(problem.labels, problem.labels)):
        found[left_out] = _fold(bench, meter, learned, left_out, number, with_trusted)
    if not isinstance(bench.model, nn.Module):
        meter.cost.forward_passes = float("nan")
    cost = {"forward_passes": meter.cost.forward_passes, "seconds": meter.elapsed()}
    path.with_suffix(".json").write_text(json.dumps(cost) + "\n", encoding="utf-8")
    replaced(
        path.with_suffix(".safetensors"), lambda file: save_file({"probabilities": found}, file)
    )
    return found


def _fold(
    bench: Workbench,
    meter: Meter,
    learned: NDArray[np.int64],
    left_out: NDArray[np.int64],
    number: int,
    with_trusted: bool,
) -> NDArray[np.float64]:
    problem = bench.problem
    if problem.training is None:
        rows = problem.train.iloc[learned]
        if with_trusted:
            rows = pd.concat([rows, problem.held_out], ignore_index=True)
        model = clone(bench.model).fit(rows.drop(columns="label"), rows["label"])
        return model.predict_proba(problem.train.iloc[left_out].drop(columns="label"))
    inputs, labels = problem.inputs[learned], torch.tensor(problem.labels[learned])
    if with_trusted:
        inputs = torch.cat([inputs, problem.trusted])
        labels = torch.cat([labels, torch.tensor(problem.trusted_labels)])
    module = train(problem.training, inputs, labels, 1000 * problem.seed + number, meter)
    return predict(module, problem.inputs[left_out]).numpy()


def _last_layer(module: nn.Module) -> tuple[str, nn.Linear]:
    linear = [(name, part) for name, part in module.named_modules() if isinstance(part, nn.Linear)]
    return linear[-1]


@torch.no_grad()
def _features(module: nn.Module, inputs: Tensor) -> Tensor:
    caught: list[Tensor] = []
    _, layer = _last_layer(module)
    handle = layer.register_forward_pre_hook(lambda layer, arguments: caught.append(arguments[0]))
    predict(module, inputs)
    handle.remove()
    return torch.cat(caught)


def _captum(bench: Workbench, meter: Meter) -> Any:
    _need_package("captum")
    from captum.influence import TracInCPFast

    module, problem = bench.module, bench.problem
    meter.attach(module)
    name, _ = _last_layer(module)
    return TracInCPFast(
        module,
        name,
        TensorDataset(problem.inputs, torch.tensor(problem.labels)),
        [module.state_dict()],
        checkpoints_load_func=lambda model, state: 1.0,  # The model holds it already.
        loss_fn=nn.CrossEntropyLoss(reduction="sum"),
        batch_size=200,
    )


def _opposition(influence: Tensor) -> NDArray[np.float64]:
    """Return minus the mean of the most negative influences, from `[rows, held_out]`."""
    count = min(OPPONENTS, influence.shape[1])
    return -influence.double().topk(count, dim=1, largest=False).values.mean(dim=1).numpy()

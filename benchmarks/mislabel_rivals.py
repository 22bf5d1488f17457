"""Rivals of the mislabel benchmark that look at losses, folds, trusted samples or features."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd
import torch
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from mislabel_methods import Answer, Method, Workbench, answer, last_layer, need_trusted
from mislabel_training import Cost, Meter, predict, replaced, train
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.nn import functional

FOLDS = 5
TRUSTED_EPOCHS = 40
NEIGHBOURS = 10
FORWARD_INF_LEARNING_RATE = 5e-3


def loss(bench: Workbench, meter: Meter) -> Answer:
    found = bench.probabilities(meter)
    return answer(bench, meter, -np.log(_given(found, bench) + 1e-30), found)


def margin(bench: Workbench, meter: Meter) -> Answer:
    found = bench.probabilities(meter)
    others = found.copy()
    others[np.arange(len(found)), bench.problem.labels] = -1
    return answer(bench, meter, others.max(axis=1) - _given(found, bench), found)


def cleanlab_in_sample(bench: Workbench, meter: Meter) -> Answer:
    return _cleanlab(bench, meter, bench.probabilities(meter))


def cleanlab_folds(bench: Workbench, meter: Meter) -> Answer:
    return _cleanlab(bench, meter, _out_of_sample(bench, meter, with_trusted=False))


def cleanlab_folds_with_trusted(bench: Workbench, meter: Meter) -> Answer:
    need_trusted(bench)
    return _cleanlab(bench, meter, _out_of_sample(bench, meter, with_trusted=True))


def trusted_only(bench: Workbench, meter: Meter) -> Answer:
    """A model that learned the trusted samples and nothing else, 40 epochs."""
    need_trusted(bench)
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
    return answer(bench, meter, -np.log(_given(found, bench) + 1e-30), found)


def nearest_neighbours(bench: Workbench, meter: Meter) -> Answer:
    """The share of the nearest held-out samples, in the model's features, with other labels."""
    need_trusted(bench)
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
    return answer(bench, meter, 1 - _given(found, bench), found)


def forward_inf(bench: Workbench, meter: Meter) -> Answer:
    """The published recipe: one Adam step on the queries, in train mode; loss after - before."""
    need_trusted(bench)
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
    return answer(bench, meter, change.numpy(), after.numpy())


RIVALS: dict[str, Method] = {
    "loss": loss,
    "margin": margin,
    "cleanlab, in-sample": cleanlab_in_sample,
    "cleanlab, 5-fold": cleanlab_folds,
    "cleanlab, 5-fold with trusted": cleanlab_folds_with_trusted,
    "trusted samples only": trusted_only,
    "nearest trusted neighbours": nearest_neighbours,
    "Forward-INF, one step": forward_inf,
}


def _given(probabilities: NDArray[np.float64], bench: Workbench) -> NDArray[np.float64]:
    return probabilities[np.arange(len(probabilities)), bench.problem.labels]


def _cleanlab(bench: Workbench, meter: Meter, probabilities: NDArray[np.float64]) -> Answer:
    labels = bench.problem.labels
    score = 1 - get_label_quality_scores(labels, probabilities)
    flagged = find_label_issues(labels, probabilities, n_jobs=1)
    return answer(bench, meter, score, probabilities, flagged)


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


@torch.no_grad()
def _features(module: nn.Module, inputs: Tensor) -> Tensor:
    caught: list[Tensor] = []
    _, layer = last_layer(module)
    handle = layer.register_forward_pre_hook(lambda layer, arguments: caught.append(arguments[0]))
    predict(module, inputs)
    handle.remove()
    return torch.cat(caught)

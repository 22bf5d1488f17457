"""The first thing checked: how right the model is on trusted samples and on training rows.

Nothing else asks whether model, classes and samples belong together, and everything rests on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from dataaudit.datasets.frames import spread
from dataaudit.datasets.samples import Batch, Samples
from dataaudit.errors import ModelError
from dataaudit.inputs import Loaded, ModelCheck
from dataaudit.models.trained import TrainedModel, forward
from dataaudit.tasks import AuditTask, Regression
from dataaudit.tasks.boxes import Detection
from dataaudit.tasks.task import Choices, Predictions, predictions_of

ROWS_CHECKED = 2000
"""Of each split, evenly spread where there are more."""
QUICK_SHARE, QUICK_ROWS, QUICK_ROWS_OF_A_CLASS = 0.1, 200, 20
"""What a quick audit looks at: a share of each split, but so many that a model which is never right
is four deviations below chance, `CLEARLY_BELOW`: with C even classes that takes 16 C samples."""
ROWS_PER_FORWARD = 256
CLEARLY_ABOVE = 3.0
CLEARLY_BELOW = -4.0
"""In standard deviations of what chance gives."""
MOST_BELOW = 2 / 3
"""Of what chance gives: only a model that is right less often than this contradicts the labels."""
LEAST_SKILL = 0.1
"""Share of the way from chance to always right: a model with less knows too little to be asked."""
DEALINGS = 10
"""Ways in which the boxes that are found are dealt out to other pictures."""

Against = Literal["below", "near", "above"]


@dataclass(frozen=True)
class Agreement:
    """How often predictions are right, and how often they would be if dealt out at random.

    Attributes
    ----------
    right, by_chance : float
        Shares of the labels; of a regression the share of variance explained, and 0.
    deviations : float
        By how many standard deviations of chance the model is better.
    rows : int
    """

    right: float
    by_chance: float
    deviations: float
    rows: int

    @property
    def against_chance(self) -> Against:
        """Whether the model is clearly better or worse than chance."""
        if self.deviations <= CLEARLY_BELOW and self.right <= MOST_BELOW * self.by_chance:
            return "below"
        skill = (self.right - self.by_chance) / max(1 - self.by_chance, 1e-12)
        return "above" if self.deviations >= CLEARLY_ABOVE and skill >= LEAST_SKILL else "near"


def check_model(
    model: TrainedModel,
    task: AuditTask,
    train: Samples,
    held_out: Samples | None,
    outputs: str,
    repeats: Mapping[str, Any],
    *,
    quick: bool = False,
) -> ModelCheck:
    """Return how right the model is.

    Parameters
    ----------
    model : TrainedModel
        An estimator is asked itself, not the network that stands in for it.
    task : AuditTask
    train : Samples
    held_out : Samples or None
        Trusted samples.
    outputs : str
        What the outputs are read as.
    repeats : mapping
        `held_out_in_train`, `held_out_rows` and `train_repeats` of `ModelCheck`.
    quick : bool
        Whether the audit takes so few forward passes that a look at 2,000 samples would be a good
        part of them; see `samples_looked_at`.

    Raises
    ------
    ModelError
        An output is not a number.
    """
    classes = len(train.classes)
    most = samples_looked_at(len(train), classes, quick=quick)
    found, stand_in, labels = _looked_at(model, task, train, most)
    on_train, trusted = agreement(task, found, labels), None
    if held_out is not None:
        most = samples_looked_at(len(held_out), classes, quick=quick)
        found, stand_in, labels = _looked_at(model, task, held_out, most)
        trusted = agreement(task, found, labels)
    decisive = on_train if trusted is None else trusted
    if on_train.against_chance == "below" and decisive.against_chance == "near":
        decisive = on_train
    return ModelCheck(
        measure=task.metric_name,
        accuracy_train=on_train.right,
        accuracy_trusted=None if trusted is None else trusted.right,
        chance=decisive.by_chance,
        train_rows=on_train.rows,
        trusted_rows=0 if trusted is None else trusted.rows,
        against_chance=decisive.against_chance,
        stand_in=None if stand_in is None else _alike(task, found, stand_in),
        outputs=outputs,
        **repeats,
    )


def samples_looked_at(samples: int, classes: int, *, quick: bool) -> int:
    """Return how many samples of a split are run before an audit begins, at most.

    Parameters
    ----------
    samples : int
        Of the split.
    classes : int
        0 where labels are none.
    quick : bool
    """
    if not quick:
        return ROWS_CHECKED
    wanted = max(QUICK_ROWS, QUICK_ROWS_OF_A_CLASS * classes, round(QUICK_SHARE * samples))
    return min(ROWS_CHECKED, wanted)


def refuse_worse_than_chance(loaded: Loaded) -> None:
    """Raise where model, classes and samples do not belong together.

    Raises
    ------
    ModelError
        The model is clearly worse than chance.
    """
    check = loaded.check
    if check is None or check.against_chance != "below":
        return
    samples, right, rows = loaded.train, check.accuracy_train, check.train_rows
    if loaded.held_out is not None and check.accuracy_trusted is not None:
        samples, right, rows = loaded.held_out, check.accuracy_trusted, check.trusted_rows
    raise ModelError(
        f"{samples.role} ({samples.source.description}): the model's {check.measure} is "
        f"{_share(right)} on {rows:,} rows, clearly worse than chance ({_share(check.chance)}); "
        "expected outputs that stand for these labels: the classes in the order of the outputs, "
        "and labels that mean what they meant when it was trained"
    )


def note(check: ModelCheck) -> str:
    """Return what the report says of it, in a sentence or two."""
    shares = [] if check.accuracy_trusted is None else [
        f"{_share(check.accuracy_trusted)} on {check.trusted_rows:,} trusted samples"
    ]  # fmt: skip
    shares.append(f"{_share(check.accuracy_train)} on {check.train_rows:,} training rows")
    text = (
        f"Looked at first: the model's {check.measure} is {' and '.join(shares)}; its predictions "
        f"dealt out at random would have {_share(check.chance)}."
    )
    if check.outputs:
        text += f" Its outputs are read as {check.outputs}."
    if check.stand_in is not None:
        text += f" {_about_stand_in(check)}"
    if check.against_chance == "near":
        text += (
            " That is not clearly better than chance, so what rests on the model cannot be told. "
            "Are its weights loaded, and do its outputs stand for these labels, in this order?"
        )
    return text


def agreement(task: AuditTask, predictions: Predictions, labels: NDArray[Any]) -> Agreement:
    """Hold predictions against labels.

    The expected share and its variance are those of all ways to deal the same predictions out to
    the same labels (permutation distribution, Mantel and Valand, Biometrics 1970, for classes).

    Parameters
    ----------
    task : AuditTask
    predictions : `[rows, width]`
        As `task.predictions` returns them.
    labels : as `Samples.labels`
    """
    if isinstance(task, Detection):
        return _placed(task, predictions, labels)
    choices = list(task.choices(task.answers(predictions), labels))
    if not choices:
        return _explained(task, predictions, labels)
    return _chosen(choices, len(labels))


def _chosen(choices: Sequence[Choices], rows: int) -> Agreement:
    hits, expected, variance = 0.0, 0.0, 0.0
    count = 0
    for predicted, given in choices:
        classes = int(max(predicted.max(initial=0), given.max(initial=0))) + 1
        here = len(given)
        said = np.bincount(predicted, minlength=classes).astype(np.float64)
        held = np.bincount(given, minlength=classes).astype(np.float64)
        both = float(said @ held)
        hits += float((predicted == given).sum())
        expected += both / max(here, 1)
        spread = both - float(said @ held**2 + held @ said**2) / max(here, 1)
        variance += (spread + (both / max(here, 1)) ** 2) / max(here - 1, 1)
        count += here
    deviation = np.sqrt(max(variance, 0.0))
    return Agreement(
        right=hits / max(count, 1),
        by_chance=expected / max(count, 1),
        deviations=float((hits - expected) / deviation) if deviation > 1e-9 else 0.0,
        rows=rows,
    )


def _placed(task: Detection, predictions: Predictions, labels: NDArray[Any]) -> Agreement:
    """Hold boxes against boxes: what is found in each picture is dealt out to other pictures.

    A box that is missed, or too much, has none to be exchanged with, so that chance is not that of
    classes. Only where boxes of both stand in one place their classes are: those of an order that
    is not meant contradict each other there.
    """
    answers = task.answers(predictions)
    classes = _chosen(list(task.choices(answers, labels)), len(labels))
    if classes.against_chance == "below":
        return classes
    hits, every = task.found(answers, labels)
    right = hits / max(every, 1)
    steps = np.unique(np.linspace(1, max(len(labels) - 1, 1), DEALINGS).astype(int))
    found = [task.found(np.roll(answers, step, axis=0), labels) for step in steps.tolist()]
    dealt = np.array([own / max(both, 1) for own, both in found if len(labels) > 1] or [right])
    mean = float(dealt.mean())
    deviation = max(float(dealt.std()), np.sqrt(mean * (1 - mean) / max(every, 1)))
    deviations = (right - mean) / max(deviation, 1 / max(every, 1))
    return Agreement(right, mean, float(deviations), len(labels))


def _explained(task: AuditTask, predictions: Predictions, labels: NDArray[Any]) -> Agreement:
    explained = float(task.metric(predictions, labels).mean())
    found, wanted = task.answers(predictions), labels.astype(np.float64)
    varied = float(np.std(found)) > 0 and float(np.std(wanted)) > 0
    correlation = float(np.corrcoef(found, wanted)[0, 1]) if varied else 0.0
    return Agreement(explained, 0.0, correlation * np.sqrt(len(labels)), len(labels))


def _about_stand_in(check: ModelCheck) -> str:
    assert check.stand_in is not None
    if check.measure == Regression.metric_name:
        return (
            f"The network that stands in for it explains {_share(check.stand_in)} of the variance "
            "of its predictions."
        )
    return (
        f"The network that stands in for it agrees with it on {_share(check.stand_in)} of "
        "these rows."
    )


def _alike(task: AuditTask, own: Predictions, stand_in: Predictions) -> float:
    """Return the share of rows of one class, or the share of variance that is explained."""
    return float(task.metric(stand_in, task.answers(own)).mean())


def _looked_at(
    model: TrainedModel, task: AuditTask, samples: Samples, most: int
) -> tuple[Predictions, Predictions | None, NDArray[Any]]:
    """Return what the model predicts for evenly spread rows, what its stand-in does, and labels."""
    positions = spread(len(samples), most)
    parts, stand_ins = [], []
    step = samples.rows_at_once(ROWS_PER_FORWARD)
    for start in range(0, len(positions), step):
        batch = samples.take(positions[start : start + step])
        parts.append(_predictions(model, task, batch, samples))
        if model.estimator is not None:
            stand_ins.append(parts[-1])
            parts[-1] = model.estimator.predictions(batch.frame)
    stand_in = np.concatenate(stand_ins) if stand_ins else None
    return np.concatenate(parts), stand_in, samples.labels[positions]


def _predictions(
    model: TrainedModel, task: AuditTask, batch: Batch, samples: Samples
) -> Predictions:
    with torch.inference_mode():
        outputs = forward(model.module, model.inputs(batch, samples))
        bad = torch.isnan(outputs).reshape(len(outputs), -1).any(dim=1)
        if bool(bad.any()):
            line = int(bad.nonzero()[0])
            raise ModelError(
                f"{samples.role} ({samples.source.description}): row {batch.positions[line]} "
                f"(id {batch.ids[line]}): the model returned NaN; expected numbers for inputs that "
                "are finite (does a weight, or a buffer such as a running variance, hold NaN?)"
            )
        labels = torch.as_tensor(batch.labels, device=outputs.device)
        found = predictions_of(task, outputs, labels).double().cpu().numpy()
    return np.asarray(found)


def _share(value: float) -> str:
    return f"{value:.1%}"

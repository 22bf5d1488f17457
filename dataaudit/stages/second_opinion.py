"""A second opinion about the labels of a network: by features that no label has touched.

Linear probes on what the network would see with fresh weights, or with those that its training
started from, are fitted crosswise. Rows and trusted samples are exchangeable to them, however deep
the trained network has memorized its rows. They rank worse than a network that learned again where
labels err at random; where it has learned the errors, they rank better.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataaudit.datasets.samples import Samples
from dataaudit.errors import ModelError
from dataaudit.flags.inputs import SecondOpinion, Unseen, View
from dataaudit.flags.label_doubts import FEWEST_TRUSTED
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import MOST_CLASSES, MOST_ROWS, second_opinion_of
from dataaudit.mirror.probes import Judged, probe
from dataaudit.mirror.shrink import shrunk
from dataaudit.models.initial import Initial
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.before_training import BeforeTraining
from dataaudit.scoring.passes import Passes
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.storage.on_disk import Growing, large_arrays_in

MOST_FEATURES = 128
NAME = "probes of what it saw before training"
ALONE = "such probes, fitted to trusted samples alone"
SAMPLES_PER_FORWARD = 250


def second_opinion(
    loaded: Loaded, probes: Judged | None, folder: Path, seed: int
) -> SecondOpinion | None:
    """Judge some rows and trusted samples by probes; None where these cannot be fitted.

    An estimator needs none: it is fitted anew itself.

    Parameters
    ----------
    loaded : Loaded
    probes : Judged or None
        What probes said already of all rows, where the weights before training are known.
    folder : Path
        For what is said of the rows: a file without a name.
    seed : int
        Of the fresh weights, of the samples and of the folds.
    """
    train, trusted, model = loaded.train, loaded.held_out, loaded.model
    if trusted is None or len(trusted) < FEWEST_TRUSTED or len(train.classes) > MOST_CLASSES:
        return None
    generator = np.random.default_rng(seed)
    if probes is not None:
        rows = np.sort(generator.permutation(len(train))[:MOST_ROWS])
        sample, all_rows = (
            Unseen(_views(probes, positions), trusted.labels) for positions in (rows, slice(None))
        )
        return SecondOpinion(rows, sample, lambda: all_rows)
    counts = second_opinion_of(loaded)
    if not sum(counts):
        return None
    rows, known = (
        np.sort(generator.permutation(len(samples))[:most])
        for samples, most in zip((train, trusted), counts, strict=True)
    )
    fresh = shrunk(model.module, UNPERTURBED, 0.0, "all", seed).tensors
    if any(name not in fresh for name, _ in model.module.named_parameters()):
        return None  # What is frozen may know the labels.
    try:
        before = replace(model, module=BeforeTraining(model.module, Initial(fresh, ())))
        features = _features(before, train, rows), _features(before, trusted, known)
    except ModelError:
        return None
    if not all(np.isfinite(part).all() for part in features):
        return None
    right, classes = trusted.labels[known], len(train.classes)

    def asked(of_rows: NDArray[np.float32], labels: NDArray[np.int64]) -> Unseen:
        said = probe(of_rows, labels, features[1], right, classes, folder, seed)
        return Unseen(_views(said, slice(None)), right)

    sample = asked(features[0], train.labels[rows])

    def whole() -> Unseen:
        if len(rows) == len(train):
            return sample
        with large_arrays_in(folder):
            return asked(_features(before, train, np.arange(len(train))), train.labels)

    return SecondOpinion(rows, sample, whole)


def _views(probes: Judged, rows: slice | NDArray[np.int64]) -> list[View]:
    views = [View(NAME, np.asarray(probes.rows[rows]), probes.trusted)]
    if probes.alone is not None:
        said = np.asarray(probes.alone.rows[rows])
        views.append(View(ALONE, said, probes.alone.trusted, alone=True))
    return views


def _features(
    model: TrainedModel, samples: Samples, positions: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return what a model's module gives for some samples, `[samples, MOST_FEATURES at most]`."""
    passes, features = Passes(model.module), Growing()
    step = samples.rows_at_once(SAMPLES_PER_FORWARD)
    for start in range(0, len(positions), step):
        batch = samples.take(positions[start : start + step])
        for found in passes.outputs(model.inputs(batch, samples)):
            features.add(_narrow(found.cpu().numpy()))
    return features.finished()


def _narrow(features: NDArray[np.float32]) -> NDArray[np.float32]:
    width = features.shape[1]
    if width <= MOST_FEATURES:
        return features
    # Distances hardly change (Johnson and Lindenstrauss 1984).
    directions = np.random.default_rng(0).normal(size=(width, MOST_FEATURES))
    return np.asarray(features @ directions / MOST_FEATURES**0.5, dtype=np.float32)

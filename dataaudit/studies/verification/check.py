"""`dataaudit verify`: load, train again without rows and with queries, compare with the mirror."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from dataaudit.config import EVERYWHERE, LOADING, AuditConfig, config_from_python, load_config
from dataaudit.config_errors import refuse_unread
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, outlives_exits
from dataaudit.inputs import Loaded
from dataaudit.models.recognise import build_model
from dataaudit.models.refitting import is_logistic_regression
from dataaudit.run_directory.ownership import Kind
from dataaudit.scoring.passes import Passes
from dataaudit.stages.loading import load, load_objects
from dataaudit.studies.results import StudyResult, common_facts, require_task
from dataaudit.studies.verification.agreement import agreement, ceiling
from dataaudit.studies.verification.conclusion import conclusion
from dataaudit.studies.verification.data import (
    Design,
    MirrorAgreement,
    MirrorKind,
    QueryGroup,
    Verification,
)
from dataaudit.studies.verification.examples import Examples, joined, of_one_length
from dataaudit.studies.verification.groups import (
    Positions,
    graded_groups,
    query_groups,
    random_groups,
    random_halves,
)
from dataaudit.studies.verification.measuring import (
    Floats,
    Rehearsal,
    Study,
    predicted,
    rehearsed_mirror,
    retrained_mirror,
    row_influences,
    stepped_mirror,
)
from dataaudit.studies.verification.mirrors import mirror_settings, mirror_words
from dataaudit.studies.verification.page import render_verification
from dataaudit.studies.verification.retraining import Descent, Recipe, Refit, Retrainer
from dataaudit.studies.verification.settings import VerifySettings

PAGE, DATA, POINTS = "verify.html", "verify.json", "points.parquet"
VERIFICATIONS = Kind("verification", (PAGE, DATA, POINTS), DATA, ("schema_version", "trust"))
READ = EVERYWHERE | LOADING | {
    "loss.kind", "mirror.steps", "mirror.learning_rate", "mirror.batch_size", "mirror.parameters",
}  # fmt: skip
"""What a verification reads of the settings."""
TASKS = "classification", "regression"
COLUMNS = ["design", "group", "query_group", "rows_left_out", "queries", "influence",
           "mirrored_retrained", "mirrored_rehearsed", "mirrored_steps"]  # fmt: skip


@dataclass(frozen=True, repr=False)
class VerificationResult(StudyResult):
    """A finished verification.

    Attributes
    ----------
    points : pandas.DataFrame
        One line for each group of rows and query group: `design`, `group`, `query_group`,
        `rows_left_out`, `queries`, `influence` (measured by training again; mean loss of the
        queries without the rows minus with them, nats; positive: the rows help),
        `mirrored_retrained`, `mirrored_rehearsed` and `mirrored_steps` (what the mirrors predict,
        nats, same sign).
    report : Verification
        The machine-readable whole, as in `verify.json`.
    """

    points: pd.DataFrame
    report: Verification

    kind = VERIFICATIONS

    def _table(self) -> pd.DataFrame:
        return self.points

    def _page(self) -> str:
        return render_verification(self.report, self.points)


def verify_file(audit_yaml: Path, settings: VerifySettings) -> VerificationResult:
    """Verify what an `audit.yaml` describes; what `dataaudit verify` does.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    folder = audit_yaml.resolve().parent
    require_task(config, *TASKS)
    refuse_unread(audit_yaml, config, READ, "dataaudit verify")
    built = (
        build_model(config.trained_model, folder)
        if config.trained_model.factory is not None
        else None
    )
    return _verify(load(config, folder, built), built, config, settings)


@outlives_exits
@torch.inference_mode(mode=False)
@torch.enable_grad()
def verify(
    model: Any,
    train: Any,
    held_out: Any,
    *,
    preprocess: Any = None,
    label: str = "label",
    id: str | None = None,
    settings: VerifySettings | None = None,
    **audit_settings: Any,
) -> VerificationResult:
    """Check by training again how far mirrored influence can be trusted for a model and its data.

    Parameters
    ----------
    model : torch.nn.Module or fitted scikit-learn classifier
        The trained model. Copies of it are trained; it is not changed.
    train, held_out : pandas.DataFrame, torch Dataset, Hugging Face Dataset or (X, y) arrays
        The training rows, and the queries: samples whose loss is asked about.
    preprocess : callable, optional
        (pandas.DataFrame) -> the model's input: a tensor, or a dict or tuple of tensors.
    label, id : str, optional
        The label column, and the id column (None: row numbers).
    settings : VerifySettings, optional
        How much is measured, and how models are trained again.
    **audit_settings
        Keys of `audit.yaml`: name, task, classes, mirror (seed, steps, learning_rate, batch_size,
        parameters), device.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = config_from_python(label, id, audit_settings)
    require_task(config, *TASKS)
    refuse_unread("verify()", config, READ, "dataaudit.verify")
    loaded = load_objects(model, {"train": train, "held_out": held_out}, preprocess, config)
    return _verify(loaded, model, config, settings or VerifySettings())


def _verify(
    loaded: Loaded, built: Any, config: AuditConfig, settings: VerifySettings
) -> VerificationResult:
    start = time.perf_counter()
    held_out = loaded.held_out
    if held_out is None:
        raise ConfigError("held_out: needed to verify, because its samples are the queries")
    seed = config.mirror.seed
    study = _study(loaded, held_out, settings, seed)
    retrainer = _retrainer(loaded, built, study, settings, config)
    seeds = list(range(seed, seed + (1 if retrainer.is_exact else settings.repeats)))
    stepping = mirror_settings(config, len(study.rows))
    module = loaded.model.module
    scores: dict[MirrorKind, Floats] = {
        "rehearsed": rehearsed_mirror(study, module, stepping, Rehearsal()),
        "steps": stepped_mirror(study, module, stepping),
    }
    size = settings.size_of_groups(len(study.rows))
    designs: dict[Design, list[Positions]] = {
        "random": random_groups(len(study.rows), settings.groups, size, seed),
        "graded": graded_groups(scores["rehearsed"].mean(axis=1), settings.groups, size),
        "halves": random_halves(len(study.rows), settings.groups, seed),
    }
    measured = {
        design: row_influences(study, retrainer, groups, seeds)
        for design, groups in designs.items()
    }
    scores = {"retrained": retrained_mirror(study, retrainer, seeds), **scores}
    agreements = []
    points = []
    for design, groups in designs.items():
        mirrors = {mirror: predicted(values, groups) for mirror, values in scores.items()}
        agreements += _agreements(design, groups, measured[design], mirrors, seed)
        points.append(_points(design, groups, study, measured[design].mean(axis=0), mirrors))
    trust, headline = conclusion(agreements)
    full = retrainer.train(study.included(), seeds[0])
    report = Verification(
        **common_facts(loaded, [loaded.train, held_out], config, start),
        trust=trust,
        headline=headline,
        agreements=agreements,
        rows=len(study.rows),
        rows_in_all=len(loaded.train),
        query_groups=_query_groups(study, held_out),
        retraining=retrainer.words,
        mirrors=mirror_words(stepping, len(study.rows), max(map(len, study.query_groups))),
        trainings=1 + len(seeds) * (3 * (1 + settings.groups) + 1 + len(study.query_groups)),
        repeats=len(seeds),
        trained_accuracy=_accuracy(study, module),
        retrained_accuracy=_accuracy(study, full),
    )
    return VerificationResult(pd.concat(points, ignore_index=True)[COLUMNS], report)


def _study(loaded: Loaded, held_out: Samples, settings: VerifySettings, seed: int) -> Study:
    generator = np.random.default_rng(seed)

    def drawn(samples: Samples, most: int) -> Positions:
        return np.sort(generator.permutation(len(samples))[:most])

    chosen = [
        (loaded.train, drawn(loaded.train, settings.rows)),
        (held_out, drawn(held_out, settings.queries)),
    ]
    model = of_one_length(loaded.model, chosen)
    rows, queries = (Examples.read(model, *each) for each in chosen)
    groups = query_groups(queries.labels.cpu().numpy(), settings.query_groups)
    return Study(loaded.task, rows, queries, groups)


def _retrainer(
    loaded: Loaded, built: Any, study: Study, settings: VerifySettings, config: AuditConfig
) -> Retrainer:
    examples = joined([study.rows, study.queries])
    if is_logistic_regression(built):
        return Refit(built, examples, len(loaded.train.classes))
    recipe = Recipe(
        settings.start,
        settings.epochs,
        settings.learning_rate,
        min(config.mirror.batch_size or 64, len(study.rows)),
    )
    return Descent(loaded.model.module, loaded.task, examples, len(study.rows), recipe)


def _agreements(
    design: Design,
    groups: list[Positions],
    measured: Floats,
    mirrors: Mapping[MirrorKind, Floats],
    seed: int,
) -> list[MirrorAgreement]:
    result = []
    for mirror, prediction in mirrors.items():
        found = agreement(measured.mean(axis=0), prediction, seed)
        result.append(
            MirrorAgreement(
                design=design,
                mirror=mirror,
                groups=len(groups),
                rows_per_group=len(groups[0]),
                pearson=found.pearson,
                spearman=found.spearman,
                within=found.within,
                ceiling=ceiling(measured),
            )
        )
    return result


def _points(
    design: Design,
    groups: list[Positions],
    study: Study,
    measured: Floats,
    mirrors: Mapping[MirrorKind, Floats],
) -> pd.DataFrame:
    lines, columns = np.indices(measured.shape)
    return pd.DataFrame(
        {
            "design": design,
            "group": lines.ravel(),
            "query_group": columns.ravel(),
            "rows_left_out": np.array([len(group) for group in groups])[lines.ravel()],
            "queries": np.array([len(group) for group in study.query_groups])[columns.ravel()],
            "influence": measured.ravel(),
            **{f"mirrored_{mirror}": values.ravel() for mirror, values in mirrors.items()},
        }
    )


def _query_groups(study: Study, held_out: Samples) -> list[QueryGroup]:
    labels = study.queries.labels.cpu().numpy()
    result = []
    for group in study.query_groups:
        values, counts = np.unique(labels[group], return_counts=True)
        order = np.argsort(-counts, kind="stable")
        shown = held_out.label_values(values[order][:3]).tolist()
        named = [f"{value:.4g}" if isinstance(value, float) else str(value) for value in shown]
        result.append(QueryGroup(labels=named, queries=len(group)))
    return result


def _accuracy(study: Study, module: nn.Module) -> float | None:
    if study.task.metric_name != "accuracy":
        return None
    outputs = next(Passes(module).outputs(study.queries.inputs))
    found = study.task.predictions(outputs).cpu().numpy()
    return float(study.task.metric(found, study.queries.labels.cpu().numpy()).mean())

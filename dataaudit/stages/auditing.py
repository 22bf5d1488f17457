"""The audit: load → plan → score → flag → report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dataaudit.checks.labels import Labels
from dataaudit.checks.leaks import Leaks
from dataaudit.checks.running import run_checks
from dataaudit.config import EVERYWHERE, GENERATIVE, AuditConfig, config_from_python, load_config
from dataaudit.config_errors import refuse_unread
from dataaudit.datasets.samples import Role
from dataaudit.errors import ConfigError, outlives_exits, writing
from dataaudit.flags.inputs import Unseen, View
from dataaudit.flags.results import MislabelFlags
from dataaudit.inputs import Loaded
from dataaudit.labels.by_task import KINDS
from dataaudit.mirror.learners import Learners, needs_whole_steps
from dataaudit.mirror.plan import Plan, plan_without_learning
from dataaudit.mirror.relearn import Mirror, relearn
from dataaudit.mirror.stored import from_bytes, to_bytes
from dataaudit.models.threads import busy_machine
from dataaudit.progress import Whole, announce, is_watched
from dataaudit.report.render import render
from dataaudit.report.result import AuditResult
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.run_directory.finished import as_read_back, read_again, read_report
from dataaudit.run_directory.manifest import Clock, build_manifest
from dataaudit.run_directory.on_store import worked_in_here
from dataaudit.run_directory.steps import Steps
from dataaudit.run_directory.store import (
    ANNOTATORS,
    CONSENSUS,
    CONTAMINATION,
    ISSUES,
    MISLABELS,
    REPORT,
    SET_ASIDE,
    RunDirectory,
    audit_results,
    opened,
    text,
)
from dataaudit.scoring.choice import make_engine, on_cluster
from dataaudit.scoring.cluster import Cluster
from dataaudit.stages.checking import examined, refuse_unknown_checks, turned_off, wanted
from dataaudit.stages.crosswise import seen_crosswise
from dataaudit.stages.earlier import earlier_audits, knowing_decisions
from dataaudit.stages.files import audit_files, open_files, unjudged_rows
from dataaudit.stages.flagging import find_mislabels, no_pairs
from dataaudit.stages.leaks import find_contamination
from dataaudit.stages.left_out import (
    LEFT_OUT,
    learned_beside,
    learned_left_out,
    left_out_passes,
    may_learn_left_out,
)
from dataaudit.stages.loading import load, load_objects
from dataaudit.stages.model_check import refuse_worse_than_chance
from dataaudit.stages.opinions import opinions_of
from dataaudit.stages.planning import (
    CROSSWISE,
    NOT_JUDGED,
    cost_lines,
    planned,
    unused_settings,
)
from dataaudit.stages.probing import probed
from dataaudit.stages.reporting import make_report
from dataaudit.stages.scoring import ITSELF, Scores, score
from dataaudit.stages.screening import table_of, with_unjudged_rows, with_unjudged_suspects
from dataaudit.stages.second_opinion import second_opinion
from dataaudit.storage.on_disk import large_arrays_in

READ = frozenset(AuditConfig.model_fields) - {"trace"}
"""The sections of the settings that an audit reads."""
READ_WITHOUT_MODEL = EVERYWHERE - {"model", "preprocess", "flags"} | {
    "benchmarks", "classes", "ignore_label", "mirror.seed", "flags.false_discovery_rate"
}  # fmt: skip
"""The same where there is none."""
MIRROR = "mirror"
"""The name of the step that holds the mirror."""
WORK = {
    "load": 1.0,
    "mirror": 10.0,
    "score": 4.0,
    "flag mislabels": 2.0,
    "flag contamination": 10.0,
    "checks": 2.0,
    "report": 5.0,
}
"""About what each stage takes, in passes over the training rows, until the plan knows better:
guesses, for the time left alone."""
LEARNED_ALONE = (
    "learned in one process, not by workers, because batch norm takes the statistics of whole steps"
)
BESIDE = "without the row"
"""The folder of the models that learned without the row, beside the mirror."""
FEATURES = "features"
"""The folder of what enters the last layer, where the mirror moves that layer alone."""


def run_file(
    audit_yaml: Path, out: Path, *, overwrite: bool = False, resume: bool = False
) -> AuditResult:
    """Run the audit that an `audit.yaml` describes; what `dataaudit run` does for labels.

    Parameters
    ----------
    audit_yaml : Path
    out : Path
        The run directory, here or on a store (`s3://…`); created where it is missing.
    overwrite : bool
        Whether a finished audit in `out` may be replaced, and an unfinished one thrown away.
    resume : bool
        Whether to go on with an unfinished audit in `out`; its finished steps are used again. A
        finished one of the same inputs is read back.

    Raises
    ------
    DataAuditError
        The input or the directory cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    _refuse_generative(config)
    with worked_in_here(out) as here:
        return _run_config(audit_yaml, config, here, overwrite=overwrite, resume=resume)


def _run_config(
    audit_yaml: Path, config: AuditConfig, out: Path, *, overwrite: bool, resume: bool
) -> AuditResult:
    folder = audit_yaml.resolve().parent
    refuse_unknown_checks(config)
    if config.model is None:
        refuse_unread(audit_yaml, config, READ_WITHOUT_MODEL, "an audit without a model")
        return _run_without_model(config, out, folder, overwrite=overwrite, resume=resume)
    refuse_unread(audit_yaml, config, READ, f"an audit of task {config.task}")
    with RunDirectory(out, overwrite=overwrite, resume=resume) as directory:
        clock = Clock(whole=Whole(WORK))
        announce(busy_machine())
        with clock.stage("load"):
            loaded = load(config, folder, trusting=True)
        if is_watched():
            announce(cost_lines(loaded, config))
        with on_cluster(config) as cluster:
            return _run(loaded, config, directory, folder, clock, cluster)


@outlives_exits
@torch.inference_mode(mode=False)
@torch.enable_grad()
def audit(
    model: Any,
    train: Any,
    held_out: Any = None,
    suspects: Any = None,
    *,
    preprocess: Any = None,
    initial: Any = None,
    label: str | list[str] = "label",
    labels: list[str] | str | Path | None = None,
    opinions: dict[str, list[str]] | None = None,
    id: str | None = None,
    group: str | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
    **settings: Any,
) -> AuditResult:
    """Audit a trained model's data from Python.

    Parameters
    ----------
    model : torch.nn.Module, torch.export program, fitted scikit-learn estimator, or path
        The trained model; the path is that of a folder that transformers saved. A module is set
        to eval mode; its parameters are not changed.
    train : pandas.DataFrame, torch Dataset or DataLoader, Hugging Face Dataset or (X, y) arrays
        The training rows.
    held_out : as `train`, optional
        Trusted samples, which the model has not seen: they make the mislabel flags sharp.
    suspects : as `train`, optional
        Samples that may be copies of training rows, such as the public test set.
    preprocess : callable, optional
        (pandas.DataFrame) -> the model's input: a tensor, or a dict or tuple of tensors. Or the
        tokenizer of a transformers model.
    initial : torch.nn.Module, path or mapping of name to Tensor, optional
        The weights that training started from, where the model was fine-tuned. The flags of such
        a model are better for it.
    label : str or list of str
        The label column; for task multi-label also several 0/1 columns, one for each label.
    labels : list of str, or path, optional
        The columns of several annotators' labels among the training rows, or a table `row_id,
        annotator, label` of them. Without a column `label`, a row's label is the one that most of
        them gave.
    opinions : dict of name to list of str, optional
        Other models, each with its columns of probabilities in the order of the classes, among the
        training rows and the held-out samples.
    id : str, optional
        The id column (None: row numbers).
    group : str, optional
        The column of training rows and suspects that tells which belong together, such as the
        patient; shared groups are reported.
    out : str or Path, optional
        A directory for report and tables; None keeps the results in memory only.
    overwrite : bool
        Whether a finished audit in `out` may be replaced, and an unfinished one thrown away.
    resume : bool
        Whether to go on with an unfinished audit in `out`; its finished steps are used again. A
        finished one of the same inputs is read back.
    **settings
        The other keys of `audit.yaml`: name, task, classes, loss, ignore_label, mirror,
        flags, gates, earlier, batch_size, device, about.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = config_from_python(label, id, settings, group, labels, opinions)
    _refuse_generative(config)
    refuse_unread("audit()", config, READ, f"an audit of task {config.task}")
    refuse_unknown_checks(config)
    splits: dict[Role, Any] = {"train": train, "held_out": held_out, "suspects": suspects}
    with opened(out, "audit", overwrite=overwrite, resume=resume) as directory:
        clock = Clock(whole=Whole(WORK))
        announce(busy_machine())
        with clock.stage("load"):
            loaded = load_objects(model, splits, preprocess, config, initial, trusting=True)
        with on_cluster(config) as cluster:
            return _run(loaded, config, directory, None, clock, cluster)


def _run_without_model(
    config: AuditConfig, out: Path, folder: Path, *, overwrite: bool, resume: bool
) -> AuditResult:
    with RunDirectory(out, overwrite=overwrite, resume=resume) as directory:
        clock = Clock()
        with clock.stage("load"):
            files = open_files(config)
        return audit_files(config, files, directory, folder, clock)


def _refuse_generative(config: AuditConfig) -> None:
    if config.task in GENERATIVE and config.model is not None:
        raise ConfigError(f"task: {config.task} is not audited but traced: call dataaudit.trace()")


def render_again(directory: Path) -> Path:
    """Render `report.html` of a finished audit from its `audit.json`, and return its path.

    Raises
    ------
    RunDirectoryError
        There is no finished audit, or `audit.json` is damaged.
    """
    with as_read_back(directory):
        page = render(read_report(directory))
    target = directory / REPORT
    with writing(target):
        write_atomically(target, text(page))
    return target.absolute()


def _run(
    loaded: Loaded,
    config: AuditConfig,
    directory: RunDirectory,
    folder: Path | None,
    clock: Clock,
    cluster: Cluster | None,
) -> AuditResult:
    fingerprint = Fingerprint.of(config, loaded, folder)
    made_from = fingerprint.of_inputs(config)
    if directory.finished_before:
        return read_again(directory.path, made_from)
    audits, judged = earlier_audits(config), wanted(config, Labels)
    directory.notes.extend(turned_off(config))
    steps, engine = directory.begin(fingerprint), make_engine(config, cluster)
    # After the directory has said whether this is the audit that was interrupted there.
    refuse_worse_than_chance(loaded)
    opinions = opinions_of(loaded, config)
    with clock.stage("mirror"):
        # Learning again, leaks and evidence take rows at random, many times over.
        loaded = loaded.quick_to_take(steps.folder)

        def expect(passes: float, plan: Plan) -> None:
            leaks = loaded.suspects is not None and wanted(config, Leaks)
            clock.whole.expect(_work(passes, plan, loaded, leaks=leaks), len(loaded.train))

        way = _way_to_judge(loaded, config, steps, cluster, expect)
        crosswise, plan = way.unseen, way.plan
        directory.notes.extend(way.notes)
        mirror = _mirror(way.seen, plan, steps, cluster)
        if mirror.workers:
            plan = replace(plan, reason=f"{plan.reason}; learned by {mirror.workers} workers")
        elif (
            cluster is not None
            and plan.learns
            and needs_whole_steps(loaded.model.module, plan.settings)
        ):
            plan = replace(plan, reason=f"{plan.reason}; {LEARNED_ALONE}")
    with clock.stage("score"):
        scores, probes, second = score(way.seen, mirror, engine, steps), None, None
        if way.probed:
            probes = probed(loaded, engine, steps, config.mirror.seed)
            second = second_opinion(loaded, probes, steps.folder, config.mirror.seed)
    mislabels = None
    with clock.stage("flag mislabels"), large_arrays_in(steps.folder):
        if judged:
            mislabels = find_mislabels(
                loaded, mirror, scores, config, probes, crosswise, opinions, second, way.beside
            )
            mislabels, known = knowing_decisions(
                mislabels, loaded.train, audits, config.flags.budget
            )
            directory.notes.extend(known)
    with clock.stage("flag contamination"), large_arrays_in(steps.folder):
        data = examined(loaded, config, _right(loaded, scores))
        contamination = find_contamination(loaded, scores, config, data)
    with clock.stage("checks"), large_arrays_in(steps.folder):
        checked = run_checks(data.with_flags(mislabels, contamination), config.checks)
        # What describes the rows takes much memory.
        del data
    with clock.stage("report"):
        report = make_report(
            loaded,
            config,
            plan,
            mirror,
            scores,
            mislabels,
            contamination,
            directory.notes,
            clock,
            crosswise,
            checked,
        )
        page = render(report)
    aside = loaded.set_aside
    rows = unjudged_rows(loaded.train) if mislabels is None else mislabels.table
    rows = with_unjudged_rows(rows, aside["train"], loaded.train)
    pairs = no_pairs(loaded)
    if contamination is not None:
        pairs = with_unjudged_suspects(contamination.table, aside["suspects"])
    not_used = table_of(aside)
    tables = {
        MISLABELS: rows,
        CONTAMINATION: pairs,
        **({SET_ASIDE: not_used} if len(not_used) or _may_set_aside(config) else {}),
        ISSUES: checked.issues,
        **_of_annotators(mislabels),
    }
    manifest = build_manifest(config, loaded, clock, made_from)
    directory.publish(audit_results(tables, report.model_dump_json(indent=2), page, manifest))
    return AuditResult(rows, pairs, not_used, report, issues=checked.issues)


Expect = Callable[[float, Plan], None]
"""Is told, before anything learns, the forward passes that it takes for each training row."""


@dataclass(frozen=True)
class _Way:
    """How labels are judged.

    Attributes
    ----------
    seen : Loaded
        The audit as its mirror sees it.
    plan : Plan
    unseen : Unseen or None
        What models say that have not learned the row; None where the mirror is asked.
    probed : bool
        Whether probes are asked as well.
    notes : list of str
    beside : View or None
        What models say that have not learned the row, beside the mirror.
    """

    seen: Loaded
    plan: Plan
    unseen: Unseen | None
    probed: bool
    notes: list[str]
    beside: View | None = None


def _way_to_judge(
    loaded: Loaded,
    config: AuditConfig,
    steps: Steps,
    cluster: Cluster | None,
    expect: Expect,
) -> _Way:
    if not wanted(config, Labels):
        return _without_learning(loaded, config, NOT_JUDGED, None, expect, probed=False)
    crosswise = seen_crosswise(loaded, config.mirror.seed)
    if crosswise is not None:
        return _without_learning(loaded, config, CROSSWISE, crosswise, expect, probed=True)
    spent = 0.0
    if may_learn_left_out(loaded, config):
        plan, spent = plan_without_learning(config, LEFT_OUT), left_out_passes(loaded)
        expect(spent, plan)
        left_out = learned_left_out(loaded, config)
        if left_out is not None:
            return _Way(loaded, plan, left_out, False, [])
    seen, plan = planned(loaded, config, steps.folder / FEATURES)
    expect(spent + plan.forward_passes / len(loaded.train), plan)
    beside = learned_beside(seen, plan, steps.within(BESIDE, ""), Learners(cluster))
    if plan.beside and beside is None:
        seen, plan = planned(loaded, config, steps.folder / FEATURES, beside=False)
        expect(spent + plan.forward_passes / len(loaded.train), plan)
    return _Way(seen, plan, None, True, [], beside)


def _without_learning(
    loaded: Loaded,
    config: AuditConfig,
    why: str,
    unseen: Unseen | None,
    expect: Expect,
    *,
    probed: bool,
) -> _Way:
    plan = plan_without_learning(config, f"nothing learns again: {why}")
    expect(0.0, plan)
    return _Way(loaded, plan, unseen, probed, unused_settings(config, why))


def _right(loaded: Loaded, scores: Scores) -> NDArray[np.float64] | None:
    """Return how right the model is on each trusted sample; None where there are none."""
    held_out, estimator = loaded.held_out, loaded.model.estimator
    if scores.held_out is None or held_out is None:
        return None
    if estimator is not None:
        # Not the network that stands in for a regressor.
        return loaded.task.metric(estimator.probabilities(held_out), held_out.labels)
    return loaded.task.metric(scores.held_out.predictions(ITSELF), held_out.labels)


def _of_annotators(flags: MislabelFlags | None) -> dict[str, pd.DataFrame]:
    facts = None if flags is None else flags.annotators
    if facts is None:
        return {}
    return {ANNOTATORS: facts.annotators, CONSENSUS: facts.consensus}


def _work(passes: float, plan: Plan, loaded: Loaded, *, leaks: bool) -> dict[str, float]:
    models = 2 + plan.mirrors * (2 if plan.flip else 1) + (loaded.model.initial is not None)
    work = {"mirror": 1.0 + passes, "score": float(models)}
    return work if leaks else work | {"flag contamination": 0.0}


def _may_set_aside(config: AuditConfig) -> bool:
    # A row of words may have none to be judged, whatever is ignored.
    per_word = KINDS[config.task].per_word
    return config.bad_rows.asked or config.ignore_label is not None or per_word


def _mirror(loaded: Loaded, plan: Plan, steps: Steps, cluster: Cluster | None) -> Mirror:
    content = steps.read(MIRROR)
    if content is None:
        content = to_bytes(relearn(loaded, plan, Learners(cluster)))
        steps.write(MIRROR, content)
    # Read back even when it is new: then a resumed audit has exactly what the other one had.
    return from_bytes(content, loaded.held_out, loaded.model.device)

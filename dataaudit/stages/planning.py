"""The plan of an audit, and its cost, stated before it begins."""

from __future__ import annotations

from pathlib import Path

from dataaudit.checks.labels import Labels
from dataaudit.config import GENERATIVE, AuditConfig, load_config
from dataaudit.errors import ConfigError, ModelError
from dataaudit.inputs import Loaded
from dataaudit.mirror.effort import by_probes, chosen_effort, costs, seconds_of_a_pass
from dataaudit.mirror.features import seen_from_last_layer
from dataaudit.mirror.plan import Plan, make_plan, plan_of_probes
from dataaudit.models.numerics import Numerics
from dataaudit.stages.checking import wanted
from dataaudit.stages.crosswise import FOLDS, may_be_seen_crosswise
from dataaudit.stages.left_out import LEFT_OUT, left_out_passes, may_learn_left_out
from dataaudit.stages.loading import load

CROSSWISE = "the estimator was fitted anew"
NOT_JUDGED = "labels are not judged (`checks: {labels: false}`)"
"""Why nothing learns again."""


def plan_file(audit_yaml: Path) -> list[str]:
    """Return what the audit in an `audit.yaml` would cost; what `dataaudit plan` prints.

    Raises
    ------
    DataAuditError
        The input cannot be used; the message says what and where.
    """
    config = load_config(audit_yaml)
    if config.task in GENERATIVE:
        raise ConfigError(f"task: {config.task} is not audited but traced, which has no plan")
    return cost_lines(load(config, audit_yaml.resolve().parent), config)


def planned(
    loaded: Loaded, config: AuditConfig, folder: Path, *, beside: bool = True
) -> tuple[Loaded, Plan]:
    """Return the audit as its mirror sees it, and the plan.

    Parameters
    ----------
    loaded : Loaded
    config : AuditConfig
    folder : Path
        For what enters the last layer, where that alone learns again.
    beside : bool
        Whether models may learn without the row beside the mirror.
    """
    effort = chosen_effort(loaded, config)
    if by_probes(loaded, config, effort):
        assert loaded.held_out is not None
        return loaded, plan_of_probes(config, len(loaded.held_out))
    seen = loaded
    if config.mirror.kind == "head" or effort == "quick":
        numerics = Numerics(config.precision)
        try:
            seen = seen_from_last_layer(loaded, folder, config.batch_size, numerics)
        except ModelError as error:
            if config.mirror.kind == "head":
                raise
            raise ConfigError(
                "mirror.effort: found quick, for which the last layer has to learn alone; expected "
                "auto, standard or thorough, because "
                + str(error).removeprefix("mirror.kind: head: ")
            ) from None
    return seen, make_plan(seen, config, effort, beside=beside)


def unused_settings(config: AuditConfig, why: str) -> list[str]:
    """Return a note that names the settings of learning again, where nothing learns again."""
    given = config.mirror.model_dump(exclude_defaults=True, exclude={"seed"})
    names = ", ".join(f"mirror.{name}" for name in given)
    return [f"Not used, because {why}: {names}"] if given else []


def cost_lines(loaded: Loaded, config: AuditConfig) -> list[str]:
    """Return a line for each effort, with passes and seconds, and the one that will be made.

    Of an estimator that is fitted anew there is one: no effort changes what it costs.
    """
    if not wanted(config, Labels):
        return [f"nothing learns again: {NOT_JUDGED}; one forward pass for each training row"]
    if may_be_seen_crosswise(loaded):
        return [
            f"the estimator is fitted anew, crosswise ({2 * FOLDS} fits at most), a plain linear "
            "model beside it, and nothing learns again; where it cannot be fitted, a network that "
            "imitates it learns again"
        ]
    lines = []
    if may_learn_left_out(loaded, config):
        each = left_out_passes(loaded)
        seconds = each * len(loaded.train) * seconds_of_a_pass(loaded)
        lines.append(
            f"{LEFT_OUT}: at most {each:.1f} forward passes for each training row, about "
            f"{seconds:,.0f} seconds; where it then knows too little, as follows"
        )
    chosen = chosen_effort(loaded, config)
    for cost in costs(loaded, config):
        mark = f" (mirror.effort: {config.mirror.effort})" if cost.effort == chosen else ""
        lines.append(
            f"{cost.effort}: at most {cost.passes:.1f} forward passes for each training row, about "
            f"{cost.seconds:,.0f} seconds{mark}"
        )
    return lines

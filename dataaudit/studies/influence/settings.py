"""The mirror of `dataaudit.mirrored_influence`, checked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dataaudit.errors import ConfigError
from dataaudit.mirror.finite import FiniteSettings

Kind = Literal["finite", "linear", "head"]


class InfluenceSettings(BaseModel):
    """How each query group perturbs the model. Every setting has a default.

    With the same settings all kinds approximate the same thing: `linear` is the first-order
    change along the step that `finite` takes, `head` takes it with the last layers alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["auto", "finite", "linear", "head"] = "auto"
    direction: Literal["learn", "unlearn"] = "learn"
    steps: Annotated[int, Field(ge=1, le=10**6)] = 1
    learning_rate: Annotated[float, Field(gt=0, le=1000)] = 1e-2
    optimizer: Literal["sgd", "adamw"] = "sgd"
    batch_size: Annotated[int, Field(ge=1, lt=2**31)] = 64
    """Queries of a group that one step learns; a larger group is drawn from in turns."""
    parameters: Literal["all", "last"] | tuple[str, ...] = "all"
    """Which parameters move: patterns such as `layer4.*` name some."""
    layers: str | None = None
    """`head`: the last layers' name in the model; else its last linear layer."""
    first_order: bool = False
    """`head`: the closed first-order change of one gradient step."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    memory_mib: Annotated[int, Field(ge=1, lt=2**31)] = 1024
    """For the groups' parameters; more groups than fit are taken in turns."""

    def finite(self) -> FiniteSettings:
        """Return how the steps are taken."""
        return FiniteSettings(
            direction=self.direction,
            steps=self.steps,
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
            parameters=self.parameters,
            seed=self.seed,
        )


def influence_settings(mirror: Mapping[str, Any] | None) -> InfluenceSettings:
    """Check the settings that a caller gave.

    Raises
    ------
    ConfigError
        A setting is unknown or bad: all are listed; or some do not go together.
    """
    try:
        found = InfluenceSettings.model_validate(dict(mirror or {}))
    except ValidationError as error:
        problems = [
            f"mirror.{'.'.join(map(str, problem['loc'][:1]))}: found {problem['input']!r}: "
            f"{problem['msg'][:1].lower()}{problem['msg'][1:]}"
            for problem in error.errors(include_url=False)
        ]
        # A union reports each of its members; the same line twice helps nobody.
        raise ConfigError("; ".join(dict.fromkeys(problems))) from None
    if found.first_order and (found.kind != "head" or found.steps > 1 or found.optimizer != "sgd"):
        raise ConfigError(
            "mirror.first_order: goes with kind: head, one step and optimizer: sgd; "
            f"found kind: {found.kind}, {found.steps} steps, optimizer: {found.optimizer}"
        )
    if found.kind == "head" and found.parameters != "all":
        raise ConfigError(
            "mirror.parameters: with kind: head the last layers move; name them with "
            "mirror.layers instead"
        )
    if found.layers is not None and found.kind != "head":
        raise ConfigError(f"mirror.layers: goes with kind: head; found kind: {found.kind}")
    return found

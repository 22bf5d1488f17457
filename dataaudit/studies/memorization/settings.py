"""How memorization is estimated."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dataaudit.config_values import refuse_no_number
from dataaudit.errors import ConfigError

MOST = {"passes": 1e6, "learning_rate": 1e3}
MOST_WHOLE = 10**9


@dataclass(frozen=True)
class MemorizationSettings:
    """How the model relearns parts of the rows.

    Attributes
    ----------
    draws : int
        Even. The rows are split at random in two halves `draws / 2` times; the model relearns
        each half, and the other half is held against it.
    passes : float
        Over the half, each time.
    keep : float
        Share of the trained weights kept when relearning begins, 0 to 1; the rest is fresh.
    learning_rate : float
        At the height of one cycle.
    batch_size : int
    """

    draws: int = 8
    passes: float = 5.0
    keep: float = 0.7
    learning_rate: float = 3e-3
    batch_size: int = 64

    def __post_init__(self) -> None:
        """Refuse what cannot be estimated.

        Raises
        ------
        ConfigError
            Something is no number, or out of its range.
        """
        for field in fields(self):
            whole = field.name in ("draws", "batch_size")
            refuse_no_number(field.name, getattr(self, field.name), whole=whole)
        if not 2 <= self.draws <= MOST_WHOLE or self.draws % 2:
            raise ConfigError(f"draws: found {self.draws}, expected an even number from 2 on")
        if not 0 <= self.keep <= 1:
            raise ConfigError(f"keep: found {self.keep}, expected a share from 0 to 1")
        for name in ("passes", "learning_rate", "batch_size"):
            most = MOST.get(name, MOST_WHOLE)
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(
                    f"{name}: found {getattr(self, name)}, expected more than 0, at most {most:g}"
                )

    def forward_passes(self, rows: int) -> float:
        """Return the cost in forward passes of one row; learning a row costs three."""
        return self.draws * (1.5 * self.passes * rows + rows) + rows

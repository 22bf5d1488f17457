"""What a verification may be asked for."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dataaudit.config_values import refuse_no_number
from dataaudit.errors import ConfigError
from dataaudit.studies.verification.agreement import FEWEST_GROUPS

MOST = {"learning_rate": 1e3}
MOST_WHOLE = 10**9


@dataclass(frozen=True)
class VerifySettings:
    """How much is measured. Cost: `repeats × (4 + 3 × groups + query_groups)` trainings.

    Attributes
    ----------
    groups : int
        Groups of rows of each design, at least 4.
    group_size : int or None
        Rows left out together; 1 is leave-one-out. None: a sixteenth of the rows.
    query_groups : int
        Groups of held-out samples that are asked about, each of one class or few.
    rows : int
        Training rows that are trained on again, drawn at random where there are more.
    queries : int
        Held-out samples that are asked about, likewise.
    repeats : int
        Trainings of each kind, from other seeds; 1 where training has one outcome anyway.
    start : "fresh" or "trained"
        Whether torch models are trained again from fresh weights or from the trained ones.
    epochs : int
    learning_rate : float
    """

    groups: int = 16
    group_size: int | None = None
    query_groups: int = 10
    rows: int = 2000
    queries: int = 500
    repeats: int = 2
    start: str = "fresh"
    epochs: int = 10
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        """Refuse what cannot be measured.

        Raises
        ------
        ConfigError
            Something is no number, or too small or too large.
        """
        lowest = {"groups": FEWEST_GROUPS, "learning_rate": 0.0}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "start":
                if value not in ("fresh", "trained"):
                    raise ConfigError(f"start: found {value!r}, expected fresh or trained")
                continue
            if value is None and field.name == "group_size":
                continue
            refuse_no_number(field.name, value, whole=field.name != "learning_rate")
            if not (value > 0 and value >= lowest.get(field.name, 1)):
                least = lowest.get(field.name, 1)
                expected = f"at least {least}" if least else "more than 0"
                raise ConfigError(f"{field.name}: found {value}, expected {expected}")
            if value > MOST.get(field.name, MOST_WHOLE):
                most = MOST.get(field.name, MOST_WHOLE)
                raise ConfigError(f"{field.name}: found {value}, expected at most {most:g}")

    def size_of_groups(self, rows: int) -> int:
        """Return how many of `rows` rows are left out together."""
        return self.group_size or max(1, rows // max(self.groups, 16))

"""Training rows that are later than evaluation rows: the model has seen the future."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.times import Times
from dataaudit.datasets.samples import Role, Samples
from dataaudit.report import formats

Floats = NDArray[np.float64]


class Later(Check):
    """Compares the column of times (`time:`) of training rows with that of the other splits."""

    name = "later_rows"
    title = "Training rows later than evaluation rows"
    needs = frozenset({"time"})
    serious = True

    def look(self, data: Examined) -> Found:
        """Read the columns of times."""
        samples: dict[Role, Samples] = {"train": data.train, **data.others}
        named = {role: rows for role, rows in samples.items() if role in data.times}
        times = Times.read(named, data.times)
        order, example = times.first()
        own, (role, start), late = _late(times.numbers(order or "month"))
        read = ""
        if order is None and example is not None:
            read = f" Dates such as {example} were read month first, which no value decides"
            otherwise = len(_late(times.numbers("day"))[2])
            if bool(otherwise) != bool(len(late)):
                return Found(
                    f"Dates such as {example} may have the day first or the month, and no value "
                    f"decides it: {_late_rows(len(late), len(own))} as late as the earliest "
                    f"evaluation row if it is the month, {otherwise} if it is the day. Write "
                    "them as 2020-02-01.",
                    cannot_tell=True,
                )
            read += f"; read day first, it would be {formats.rows(otherwise)}."
        missing = int(np.isnan(own).sum())
        if missing:
            read += f" Of {formats.rows(missing, 'training row')} no time could be read."
        if len(late) == 0:
            return Found(f"Every training row is earlier than every evaluation row.{read}")
        ids = data.train.ids
        issues = [
            Issue(
                f"as late as the earliest row of {role}, or later",
                "train",
                float(own[row] - start),
                row_id=ids[row].item() if hasattr(ids[row], "item") else ids[row],
            )
            for row in late[np.argsort(-own[late], kind="stable")]
        ]
        return Found(
            f"{_late_rows(len(late), len(own))} as late as the earliest evaluation row, or "
            f"later. In use, the model will not know what comes after; split by time.{read}",
            issues,
        )


def _late(times: Mapping[Role, Floats]) -> tuple[Floats, tuple[Role, float], NDArray[np.int64]]:
    """Return the training rows' times, the split that begins first and when, and who is late."""
    own = times["train"]
    starts = {role: float(np.nanmin(each)) for role, each in times.items() if role != "train"}
    first = min(starts.items(), key=lambda item: item[1])
    return own, first, np.flatnonzero(own >= first[1])


def _late_rows(late: int, rows: int) -> str:
    verb = "is" if late == 1 else "are"
    return f"{formats.rows(late, 'training row')} of {formats.count(rows)} {verb}"

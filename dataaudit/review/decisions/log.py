"""The remediation log: who decided what, one JSON object a line, in the run directory.

Earlier decisions stay: each call of `relabel` adds to them, and the corrected data holds all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from dataaudit.about import NOT_PROVIDED
from dataaudit.errors import RunDirectoryError
from dataaudit.report.data import Decision
from dataaudit.report.samples import clean_text
from dataaudit.review.decisions.check import Decided, checked, checked_leaks, refuse_conflict
from dataaudit.review.decisions.said import Said
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit
from dataaudit.run_directory.store import REMEDIATION


def earlier_decisions(audit: FinishedAudit) -> tuple[list[Decided], list[Decided]]:
    """Return the decisions that the log holds: about labels, and about leaks.

    Raises
    ------
    RunDirectoryError
        A line of the log is damaged.
    """
    path = audit.directory / REMEDIATION
    if not path.exists():
        return [], []
    said = []
    # By line feeds alone: JSON holds other ends of lines as they are, inside of texts.
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            decision = Decision.model_validate_json(line)
        except ValidationError:
            raise RunDirectoryError(f"{where}: is no decision as relabel logs it") from None
        said.append(_said(where, decision))
    return by_what(audit, said)


def with_earlier(audit: FinishedAudit, said: Sequence[Said]) -> tuple[list[Decided], list[Decided]]:
    """Return new decisions, checked, with those that the log holds: about labels, about leaks.

    Raises
    ------
    DataError
        A new decision does not fit the audit, or contradicts another one.
    RunDirectoryError
        A line of the log is damaged.
    """
    labels, leaks = (
        joined(earlier, new)
        for earlier, new in zip(earlier_decisions(audit), by_what(audit, said), strict=True)
    )
    return labels, leaks


def by_what(audit: FinishedAudit, said: Sequence[Said]) -> tuple[list[Decided], list[Decided]]:
    """Return the decisions checked: about labels, and about leaks.

    Raises
    ------
    DataError
        See `checked` and `checked_leaks`.
    """
    labels = checked(audit, [item for item in said if item.what == "label"])
    return labels, checked_leaks(audit, [item for item in said if item.what == "leak"])


def joined(earlier: Sequence[Decided], new: Sequence[Decided]) -> list[Decided]:
    """Return all decisions, without those that the log has word for word.

    Raises
    ------
    DataError
        A new decision contradicts an earlier one.
    """
    sure = {item.position: item for item in earlier if item.outcome != "unsure"}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    every = list(earlier)
    known = {_key(item) for item in earlier}
    for item in new:
        refuse_conflict(sure.get(item.position), item)
        item = replace(item, date=item.date or now, reviewer=item.reviewer or NOT_PROVIDED)
        if _key(item) not in known:
            known.add(_key(item))
            every.append(item)
    return every


def as_logged(decided: Sequence[Decided]) -> list[Decision]:
    """Return decisions as the report and the log hold them."""
    return [
        Decision(
            what=item.what,
            row_id=item.row_id,
            decision=item.outcome,
            reviewer=clean_text(item.reviewer),
            date=clean_text(item.date),
            before=item.before,
            after=item.after if item.outcome == "relabel" else None,
            comment=clean_text(item.comment),
        )
        for item in decided
    ]


def write_log(directory: Path, decisions: Sequence[Decision]) -> None:
    """Write the log of all decisions, by a finished rename."""
    text = "".join(
        json.dumps(item.model_dump(mode="json"), ensure_ascii=False) + "\n" for item in decisions
    )
    write_atomically(directory / REMEDIATION, lambda path: path.write_text(text, encoding="utf-8"))


def _key(item: Decided) -> tuple[int, str, str]:
    return item.position, item.outcome + item.after, item.reviewer


def _said(where: str, decision: Decision) -> Said:
    return Said(
        where=where,
        row_id=str(decision.row_id),
        decision=decision.decision,
        new_label="" if decision.after is None else str(decision.after),
        reviewer=decision.reviewer,
        comment=decision.comment,
        date=decision.date,
        given_label=str(decision.before),
        train_sha256=None,
        what=decision.what,
        is_inert=False,
    )

"""Decisions checked against the audit: what does not fit is refused before anything is written.

A decision says of one row that its label is right (`keep`), what it should be (`relabel`), that
the row is left out (`drop`), or that the reviewer could not tell (`unsure`). Of a suspect it says
that it is a copy of a training row (`copy`), that it only looks like one (`similar`), or `unsure`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from dataaudit.errors import DataError
from dataaudit.review.decisions.said import Said
from dataaudit.review.exports.rows import SHA256_DIGITS
from dataaudit.run_directory.finished import FinishedAudit

What = Literal["label", "leak"]
Outcome = Literal["keep", "relabel", "drop", "unsure", "copy", "similar"]
OUTCOMES: tuple[Outcome, ...] = ("keep", "relabel", "drop", "unsure")
LEAK_OUTCOMES: tuple[Outcome, ...] = ("copy", "similar", "unsure")


@dataclass(frozen=True)
class Decided:
    """A decision that fits the audit.

    Attributes
    ----------
    where : str
        File and line it came from.
    position : int
        Of the row in the training data; of a leak, of the suspect among the suspects judged.
    row_id : str or int
        Of a leak, the suspect's id.
    outcome : one of `OUTCOMES`, of a leak one of `LEAK_OUTCOMES`
    before, after : str
        Class names, numbers or label sets as text; the same unless the outcome is "relabel". Of a
        leak, empty.
    reviewer, comment, date : str
    what : "label" or "leak"
    """

    where: str
    position: int
    row_id: str | int
    outcome: Outcome
    before: str
    after: str
    reviewer: str
    comment: str
    date: str
    what: What = "label"


def checked_leaks(audit: FinishedAudit, said: Iterable[Said]) -> list[Decided]:
    """Return the decisions about leaks, each with its suspect.

    Raises
    ------
    DataError
        A decision is about other data, an unknown suspect, is none about leaks, or contradicts
        another one.
    """
    said = list(said)
    if not said:
        return []
    suspects = audit.judged_suspects()
    ids = pd.Index([str(value) for value in suspects])
    decided: dict[int, Decided] = {}
    every = []
    for item in said:
        _refuse_other_data(audit, item)
        outcome = next((one for one in LEAK_OUTCOMES if one == item.decision.strip().lower()), None)
        if outcome is None:
            raise DataError(
                f"{item.where}: unknown decision {item.decision!r} about a leak; expected one of "
                f"{', '.join(LEAK_OUTCOMES)}"
            )
        position = _suspect(audit, ids, item)
        decision = Decided(
            where=item.where,
            position=position,
            row_id=_plain(suspects[position]),
            outcome=outcome,
            before="",
            after="",
            reviewer=item.reviewer,
            comment=item.comment,
            date=item.date,
            what="leak",
        )
        refuse_conflict(decided.get(position), decision)
        if outcome != "unsure":
            decided.setdefault(position, decision)
        every.append(decision)
    return every


def _suspect(audit: FinishedAudit, ids: pd.Index, item: Said) -> int:
    for candidate in item.ids:
        found = ids.get_indexer([candidate])[0]
        if found >= 0:
            return int(found)
    known = f"for example {ids[0]!r}" if len(ids) else "and it judged none"
    raise DataError(
        f"{item.where}: there is no suspect {item.row_id!r} in this audit ({audit.directory}, "
        f"{len(ids):,} suspects); expected a query_id of contamination.parquet, {known}"
    )


def checked(audit: FinishedAudit, said: Iterable[Said]) -> list[Decided]:
    """Return the decisions, each with its row.

    Raises
    ------
    DataError
        A decision is about other data, an unknown row or an unknown label, says two things at
        once, or contradicts another one.
    """
    table = audit.mislabels
    # As objects: whole numbers beside missing ones must not be written as fractions.
    ids, given, suggested = (
        pd.Index([str(value) for value in table[name].astype(object)])
        for name in ("row_id", "given_label", "suggested_label")
    )
    unsuggested = table["suggested_label"].isna().to_numpy()
    unjudged = table["probability"].isna().to_numpy()
    if unjudged.all():
        # An audit without a model judged no label; what a person says of one counts all the same.
        unjudged = table["given_label"].isna().to_numpy()
    decided: dict[int, Decided] = {}
    every = []
    for item in said:
        _refuse_other_data(audit, item)
        position = _position(audit, ids, item)
        if unjudged[position]:
            raise DataError(
                f"{item.where}: row {item.row_id} was set aside, not judged; set_aside.parquet of "
                "the audit says why. Mend the data, and audit it again"
            )
        before = given[position]
        named = item.given_label
        if named is not None and not audit.kind.same(item.inert(named), before):
            raise DataError(
                f"{item.where}: row {item.row_id} had the label {item.given_label!r} when it was "
                f"exported; in this audit it has {before!r}"
            )
        instead = None if unsuggested[position] else suggested[position]
        outcome, after = _outcome(audit, item, before, instead)
        decision = Decided(
            where=item.where,
            position=position,
            row_id=_plain(table["row_id"].iloc[position]),
            outcome=outcome,
            before=before,
            after=after,
            reviewer=item.reviewer,
            comment=item.comment,
            date=item.date,
        )
        refuse_conflict(decided.get(position), decision)
        if outcome != "unsure":
            decided.setdefault(position, decision)
        every.append(decision)
    return every


def refuse_conflict(first: Decided | None, second: Decided) -> None:
    """Raise a `DataError` where two decisions about one row do not say the same.

    To be unsure contradicts nobody.
    """
    if first is None or "unsure" in (first.outcome, second.outcome):
        return
    if (first.outcome, first.after) != (second.outcome, second.after):
        raise DataError(
            f"{second.where}: row {second.row_id}: {_words(second)}, but {first.where} says "
            f"{_words(first)}; expected one decision for each row"
        )


def _words(decision: Decided) -> str:
    if decision.outcome == "relabel":
        return f"relabel as {decision.after!r}"
    return decision.outcome


def _refuse_other_data(audit: FinishedAudit, item: Said) -> None:
    known = [("training data", "train_sha256", item.train_sha256, audit.train_sha256)]
    if item.what == "leak":
        found = item.suspects_sha256
        known.append(("suspects", "suspects_sha256", found, audit.suspects_sha256))
    for words, column, found, sha256 in known:
        expected = sha256[:SHA256_DIGITS]
        if found and found != expected:
            raise DataError(
                f"{item.where}: this decision is about other {words}: {column} is {found!r}, "
                f"expected {expected!r} ({audit.directory})"
            )


def _position(audit: FinishedAudit, ids: pd.Index, item: Said) -> int:
    for candidate in item.ids:
        found = ids.get_indexer([candidate])[0]
        if found >= 0:
            return int(found)
    raise DataError(
        f"{item.where}: there is no row {item.row_id!r} in this audit ({audit.directory}, "
        f"{len(ids):,} rows); expected a row_id of mislabels.parquet, for example {ids[0]!r}"
    )


def _outcome(
    audit: FinishedAudit, item: Said, before: str, suggested: str | None
) -> tuple[Outcome, str]:
    """Return the outcome, and the label that the row then has."""
    decision = item.decision.strip().lower()
    named = _label(audit, item, before) if item.new_label else None
    if decision and decision not in OUTCOMES:
        raise DataError(
            f"{item.where}: unknown decision {item.decision!r}; expected one of "
            f"{', '.join(OUTCOMES)}"
        )
    if decision in ("unsure", "drop"):
        return ("unsure" if decision == "unsure" else "drop"), before
    if decision == "keep":
        if named not in (None, before):
            raise DataError(
                f"{item.where}: row {item.row_id}: the decision is to keep {before!r}, but "
                f"new_label is {named!r}"
            )
        return "keep", before
    if decision == "relabel":
        after = named or suggested
        if after is None:
            raise DataError(
                f"{item.where}: row {item.row_id}: the decision is to relabel, but the audit "
                "suggests no label for it; write the right one into new_label"
            )
        if after == before:
            raise DataError(
                f"{item.where}: row {item.row_id}: the decision is to relabel, but the label is "
                f"{before!r} already"
            )
        return "relabel", after
    assert named is not None
    return ("keep" if named == before else "relabel"), named


def _label(audit: FinishedAudit, item: Said, before: str) -> str:
    """Return the new label as the audit writes labels."""
    try:
        return audit.kind.typed(item.inert(item.new_label), audit.classes, before)
    except ValueError as error:
        raise DataError(f"{item.where}: row {item.row_id}: {error}") from None


def _plain(value: Any) -> str | int:
    return value.item() if isinstance(value, np.generic) else value

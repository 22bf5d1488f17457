"""What a file of decisions says, word for word, before it is checked against an audit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Said:
    """What a file says about one row, word for word.

    Attributes
    ----------
    where : str
        File and line, for errors.
    row_id : str
        As text; of a leak, the suspect's id.
    decision : str
        `keep`, `relabel`, `drop`, `unsure`, or empty: the new label then says it. Of a leak
        `copy`, `similar` or `unsure`.
    new_label : str
        Empty where the file names none.
    reviewer, comment, date : str
        Empty where the file says nothing.
    given_label, train_sha256 : str or None
        What an export said about the row when it was made; None where the file does not repeat it.
    what : "label" or "leak"
        What the decision is about.
    """

    where: str
    row_id: str
    decision: str
    new_label: str
    reviewer: str
    comment: str
    date: str
    given_label: str | None
    train_sha256: str | None
    what: str = "label"

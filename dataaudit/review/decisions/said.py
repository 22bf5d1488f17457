"""What a file of decisions says, word for word, before it is checked against an audit."""

from __future__ import annotations

from dataclasses import dataclass

from dataaudit.inert import as_it_was, without_formulas


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
    suspects_sha256 : str or None
        Of a leak, as `train_sha256`, of the suspects.
    is_inert : bool
        Whether formulas are inert in its texts (see `dataaudit.inert`). Where they are not, a text
        that begins with a `'` is none that was guarded.
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
    suspects_sha256: str | None = None
    is_inert: bool = True

    @property
    def ids(self) -> list[str]:
        """What the id may be, the likeliest first: "'=x" means the row "=x", if there is one."""
        return [as_it_was(self.row_id), self.row_id] if self.is_inert else [self.row_id]

    def inert(self, text: str) -> str:
        """Return one of its labels with formulas inert, as kinds of labels take what is typed."""
        return text if self.is_inert else without_formulas(text)

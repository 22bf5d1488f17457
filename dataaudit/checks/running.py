"""Checks in a row: each is run where it can be, and what it found becomes table, section, gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dataaudit.checks.check import Check, Found, Issue
from dataaudit.checks.examined import Examined
from dataaudit.checks.registry import CHECKS
from dataaudit.errors import ConfigError, DataAuditError, close_match
from dataaudit.report.data import CheckSection

SHOWN = 50
"""Lines of a check's table in the report; `issues.parquet` has all."""
COLUMNS = ("check", "split", "row_id", "column", "group", "score", "what")
"""Of `issues.parquet`."""
PASSED_ON = (OSError, MemoryError)
"""Errors that are not about the data: a full disk, say."""


@dataclass(frozen=True)
class Checked:
    """What all checks found.

    Attributes
    ----------
    found : mapping of name to Found or str
        Of every check that was not turned off; text says why one did not run.
    sections : list of CheckSection
        For the page: those of checks without pages of their own.
    issues : pandas.DataFrame
        A line for each issue, with `COLUMNS`.
    """

    found: Mapping[str, Found | str]
    sections: list[CheckSection]
    issues: pd.DataFrame


def refuse_unknown(names: Mapping[str, object], key: str) -> None:
    """Refuse names of checks that do not exist.

    Raises
    ------
    ConfigError
        With the names that there are.
    """
    known = [check.name for check in CHECKS]
    for name in names:
        if name not in known:
            near = close_match(name, known)
            hint = f"did you mean {near}?" if near else f"expected one of {', '.join(known)}"
            raise ConfigError(f"{key}: there is no check {name!r}; {hint}")


def run_checks(data: Examined, wanted: Mapping[str, bool]) -> Checked:
    """Run every check that can be run and was not turned off.

    A check that fails says so in its section; the others do not depend on it.

    Parameters
    ----------
    data : Examined
    wanted : mapping of name to bool
        False turns a check off.
    """
    found = [(check, _found(check, data)) for check in CHECKS if wanted.get(check.name, True)]
    return Checked(
        {check.name: result for check, result in found},
        [_section(check, result) for check, result in found if not check.own_pages],
        table_of([(check, result.issues) for check, result in found if isinstance(result, Found)]),
    )


def _found(check: Check, data: Examined) -> Found | str:
    """Return what a check found, or why it did not run."""
    lacking = check.lacking(data)
    if lacking is not None:
        return lacking
    try:
        return check.look(data)
    except PASSED_ON:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0][:200]
        kind = "" if isinstance(error, DataAuditError) else f"{type(error).__name__}: "
        return Found(f"This check failed: {kind}{said}", cannot_tell=True)


def _section(check: Check, found: Found | str) -> CheckSection:
    if isinstance(found, str):
        return CheckSection(
            name=check.name,
            title=check.title,
            outcome="not run",
            text=f"Not looked for: {found}.",
            count=None,
            serious=False,
            header=[],
            lines=[],
        )
    header, lines = _shown(found.issues[:SHOWN])
    outcome = "found" if found.issues else "clear"
    return CheckSection(
        name=check.name,
        title=check.title,
        outcome="cannot tell" if found.cannot_tell else outcome,
        text=found.text,
        count=None if found.cannot_tell else len(found.issues),
        serious=check.serious,
        header=header,
        lines=lines,
    )


def _shown(issues: Sequence[Issue]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of a table, without columns that say nothing."""
    every = [
        {
            "split": issue.split,
            "row": _words(issue.row_id),
            "column": _words(issue.column),
            "group": _words(issue.group),
            "what": issue.what,
        }
        for issue in issues
    ]
    header = [name for name in (every[0] if every else {}) if any(line[name] for line in every)]
    return header, [[line[name] for name in header] for line in every]


def _words(value: str | int | None) -> str:
    return "" if value is None else str(value)


def table_of(found: Sequence[tuple[Check, Sequence[Issue]]]) -> pd.DataFrame:
    """Return the lines of `issues.parquet` that checks and what they found make."""
    lines = [
        (
            check.name,
            issue.split,
            None if issue.row_id is None else str(issue.row_id),
            issue.column,
            issue.group,
            issue.score,
            issue.what,
        )
        for check, issues in found
        for issue in issues
    ]
    table = pd.DataFrame(lines, columns=list(COLUMNS))
    text = {name: "string" for name in COLUMNS if name not in ("group", "score")}
    return table.astype({**text, "group": "Int64", "score": "float64"})

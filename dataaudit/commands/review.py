"""`dataaudit review`: open the page of a finished audit where its rows are decided."""

from __future__ import annotations

from dataaudit.commands.shared import AuditDirectory, print_lines


def review(directory: AuditDirectory) -> None:
    """Open report.html of a finished audit in the browser, where its flags are decided.

    Nothing leaves this computer. "Download decisions" gives the file that `relabel` takes.
    """
    from dataaudit.review.open_page import open_page

    print_lines(
        [
            f"opened: {open_page(directory)}",
            "download the decisions there, then: "
            f"dataaudit relabel {directory} --decisions decisions.csv --out FILE",
        ]
    )

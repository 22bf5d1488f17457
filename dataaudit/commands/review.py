"""`dataaudit review`: open the page of a finished audit where its rows are decided."""

from __future__ import annotations

from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, print_lines


def review(
    directory: AuditDirectory,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Take the decisions straight into DIRECTORY, until Ctrl-C."),
    ] = False,
) -> None:
    """Open report.html of a finished audit in the browser, where its flags are decided.

    Nothing leaves this computer. "Download decisions" gives the file that `relabel` takes; with
    --serve the page is handed out on this computer alone, and each decision is written to
    decisions.csv in DIRECTORY at once.
    """
    if serve:
        from dataaudit.review.serve import serve as serve_page

        for line in serve_page(directory):
            print_lines([line])
        return
    from dataaudit.review.open_page import open_page

    print_lines(
        [
            f"opened: {open_page(directory)}",
            "download the decisions there, then: "
            f"dataaudit relabel {directory} --decisions decisions.csv --out FILE",
        ]
    )

"""`dataaudit certify`: a certificate of an audit that anybody can recompute."""

from __future__ import annotations

from typing import Annotated

import typer

from dataaudit.commands.shared import AuditDirectory, MovedData, MovedSuspects, print_lines


def certify(
    directory: AuditDirectory,
    check: Annotated[
        bool, typer.Option("--check", help="Recompute the certificate that is there.")
    ] = False,
    data: MovedData = None,
    suspects: MovedSuspects = None,
) -> None:
    """Write certificate.json: hashes of data and results, what the audit claims, the command.

    With --check, hashes and counts are computed again, from the tables and from the data; what
    differs is named, and the command ends with 2.
    """
    from dataaudit.review import certify as certificate

    run = certificate.check if check else certificate.certify
    print_lines(run(directory, moved_to=data, suspects_at=suspects))

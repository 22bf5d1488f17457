"""`dataaudit certify`: what an audit claims, with hashes, so that anybody can recompute it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from dataaudit.datasets.samples import Samples
from dataaudit.errors import RunDirectoryError, writing
from dataaudit.inputs import Files
from dataaudit.likeness.describing import RowSearch
from dataaudit.likeness.identity import identity
from dataaudit.run_directory.atomic import write_atomically
from dataaudit.run_directory.finished import FinishedAudit, as_read_back
from dataaudit.run_directory.store import AUDITS, CERTIFICATE, amending, as_json

VERSION = "1.0"


def certify(
    directory: Path, *, moved_to: Path | None = None, suspects_at: Path | None = None
) -> list[str]:
    """Write `certificate.json` into a finished audit's directory, and say so in lines.

    Parameters
    ----------
    directory : Path
    moved_to, suspects_at : Path or None
        Where the training data, and the suspects, are now, if they were moved since the audit.

    Raises
    ------
    DataAuditError
        There is no finished audit, or its data has gone or changed.
    """
    with amending(directory), as_read_back(directory):
        content = _certificate(directory, moved_to, suspects_at)
        path = directory / CERTIFICATE
        with writing(path):
            write_atomically(path, as_json(content))
    return [
        *(f"{name}: {_shown(value)}" for name, value in content["claims"].items()),
        f"certificate: {path.absolute()}",
        f"anybody with the data recomputes it: {content['recompute']}",
    ]


def check(
    directory: Path, *, moved_to: Path | None = None, suspects_at: Path | None = None
) -> list[str]:
    """Recompute a certificate: hashes of data and results, counts from the tables and the rows.

    Raises
    ------
    RunDirectoryError
        There is no certificate, or what it says does not hold; everything that differs is named.
    DataError
        The data has gone or changed.
    """
    path = directory / CERTIFICATE
    try:
        said = json.loads(path.read_bytes())
        parts = {name: dict(said[name]) for name in ("files", "inputs", "claims")}
    except FileNotFoundError:
        raise RunDirectoryError(f"{path}: there is none; `dataaudit certify` writes it") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(f"{path}: is no certificate: {error!r}") from None
    with as_read_back(directory):
        found = _certificate(directory, moved_to, suspects_at)
    wrong = [
        f"{name}: certified {_shown(part.get(name))}, found {_shown(found[kind].get(name))}"
        for kind, part in parts.items()
        for name in sorted({*part, *found[kind]})
        if part.get(name) != found[kind].get(name)
    ]
    if wrong:
        raise RunDirectoryError(f"{path}: does not hold: {'; '.join(wrong)}")
    count = sum(map(len, parts.values()))
    return [f"holds: {count} hashes and claims were recomputed and are the same"]


def _certificate(
    directory: Path, moved_to: Path | None, suspects_at: Path | None
) -> dict[str, Any]:
    audit = FinishedAudit.open(directory)
    # Opening them compares their hash with the one that was audited.
    train = audit.training_rows(moved_to)
    suspects = None
    if "suspects" in audit.manifest["inputs"]:
        suspects = audit.suspects(suspects_at)
    names = [name for name in (*AUDITS.files, *AUDITS.kept) if (directory / name).is_file()]
    return {
        "certificate_version": VERSION,
        "audit": audit.report.identity.name,
        "date": audit.report.identity.date,
        "inputs": {
            role: f"sha256 {part['sha256']}" for role, part in audit.manifest["inputs"].items()
        },
        "model": audit.report.method.model_sha256,
        "versions": audit.manifest.get("versions", {}),
        "files": {
            name: f"sha256 {sha256((directory / name).read_bytes()).hexdigest()}"
            for name in sorted(names)
            if name != CERTIFICATE
        },
        "claims": _claims(audit, train, suspects),
        "recompute": f"dataaudit certify {directory} --check",
    }


def _claims(audit: FinishedAudit, train: Samples, suspects: Samples | None) -> dict[str, Any]:
    """Count again what the audit says: from its tables, and from the rows where they say it all."""
    report = audit.report
    claims: dict[str, Any] = {
        "training rows": len(audit.mislabels),
        "labels": "not judged" if report.labels is None else report.labels.outcome,
        "rows flagged": int(audit.mislabels["flagged"].sum()),
    }
    rate = None if report.labels is None else report.labels.noise_rate
    if rate is not None:
        claims["share of wrong labels, 95% interval"] = [rate.low, rate.high]
    if report.tracing is not None:
        pairs = audit.pairs()
        claims |= {
            "generated samples": report.tracing.queries,
            "generated samples flagged": int(pairs.loc[pairs["flagged"], "query_id"].nunique()),
        }
    elif suspects is not None:
        pairs = audit.pairs()
        search = RowSearch.over(Files(train, None, suspects))
        same = identity(search.rows, search.describe(suspects))
        claims |= {
            "suspects": len(suspects),
            "leaks": "not judged" if report.leakage is None else report.leakage.outcome,
            "suspects flagged": int(pairs.loc[pairs["flagged"], "query_id"].nunique()),
            "suspects identical to a training row": int(same.suspects.sum()),
        }
    counts = audit.issues()["check"].value_counts()
    for section in report.checks:
        if section.count is not None:
            claims[f"check {section.name}"] = int(counts.get(section.name, 0))
    for gate in report.verdict.gates:
        claims[f"gate {gate.name}"] = gate.outcome
    return claims


def _shown(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, ensure_ascii=False).strip('"')

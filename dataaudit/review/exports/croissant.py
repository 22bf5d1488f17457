"""The audited training data as Croissant metadata with the RAI vocabulary.

Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html) and its vocabulary
for responsible AI (https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html). What
nobody supplied is left out: an empty statement would be one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

from dataaudit.about import NOT_PROVIDED
from dataaudit.datasets.files import sha256_of
from dataaudit.datasets.samples import Samples
from dataaudit.datasets.sources import ColumnSource
from dataaudit.report import formats
from dataaudit.report.data import AuditReport
from dataaudit.report.review_words import review_lines
from dataaudit.report.samples import clean_text
from dataaudit.review.exports.spool import write_file
from dataaudit.run_directory.finished import FinishedAudit

CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
MEDIA_TYPES = {
    ".csv": "text/csv",
    ".parquet": "application/x-parquet",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".tsv": "text/tab-separated-values",
    ".gz": "application/gzip",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
}
IMAGE_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".gif": "image/gif",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
}
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
DATA = "training-data"
ROWS = "rows"


def write_croissant(target: Path, audit: FinishedAudit, samples: Samples) -> None:
    """Write the metadata of the audited training data as JSON-LD."""
    content = croissant(audit.report, samples, target.absolute().parent)
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_file(target, lambda path: path.write_text(text, encoding="utf-8"))


def croissant(report: AuditReport, samples: Samples, folder: Path) -> dict[str, Any]:
    """Return the metadata.

    Parameters
    ----------
    report : AuditReport
    samples : Samples
        The training data, from a file or folder.
    folder : Path
        Where the metadata will stand: addresses of data are relative to it.
    """
    about = report.identity.about
    known = {
        "description": about.purpose,
        "license": about.licence,
        "spatialCoverage": about.geography,
        "version": about.version,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": clean_text(report.identity.name),
        "conformsTo": CONFORMS_TO,
        "datePublished": report.identity.date[:10],
        **_supplied(known),
        **_supplied(_responsible(report)),
        **_origin(report),
        "distribution": _distribution(samples, folder),
        "recordSet": _record_sets(samples),
    }


def _supplied(values: Mapping[str, str]) -> dict[str, str]:
    return {
        key: clean_text(value) for key, value in values.items() if value not in ("", NOT_PROVIDED)
    }


def _responsible(report: AuditReport) -> dict[str, str]:
    about = report.identity.about
    limits = [text for text in (about.known_limits, about.residual_risk) if text != NOT_PROVIDED]
    missing = [
        f"{column}: {formats.rows(rows)}"
        for column, rows in (report.coverage.missing_values or {}).items()
    ]
    return {
        "rai:dataCollection": about.collection,
        "rai:dataCollectionRawData": about.provenance,
        "rai:dataCollectionTimeframe": about.collection_dates,
        "rai:dataCollectionMissingData": "; ".join(missing),
        "rai:dataAnnotationProtocol": about.labelling_protocol,
        "rai:dataAnnotationAnalysis": " ".join(_label_quality(report)),
        "rai:annotatorDemographics": about.annotators,
        "rai:dataUseCases": about.purpose,
        "rai:dataBiases": about.known_biases,
        "rai:dataLimitations": " ".join([*limits, *_leaks(report), *report.limits]),
        "rai:personalSensitiveInformation": about.personal_data,
    }


def _origin(report: AuditReport) -> dict[str, Any]:
    """Return what 1.1 added, where somebody said it: what the data were made from, and by whom."""
    about = report.identity.about
    said: dict[str, Any] = {}
    if about.lineage != NOT_PROVIDED:
        said["prov:wasDerivedFrom"] = {
            "@type": "prov:Entity",
            "description": clean_text(about.lineage),
        }
    synthetic = _has_synthetic(about.synthetic_share)
    if synthetic is not None:
        said["rai:hasSyntheticData"] = synthetic
    return said


def _has_synthetic(share: str) -> bool | None:
    """Return what a share in words says, by the number that it begins with; None where it is open.

    Words such as "unknown" or "not measured" say neither.
    """
    words = share.strip(" .").casefold()
    if words in ("none", "no", "false", "yes", "true"):
        return words in ("yes", "true")
    number = re.match(r"(?:about |around |ca\. ?|~ ?)?(\d+(?:[.,]\d+)?)", words)
    return None if number is None else float(number[1].replace(",", ".")) > 0


def _label_quality(report: AuditReport) -> list[str]:
    labels = report.labels
    if labels is None:
        return []
    lines = []
    rate = labels.noise_rate
    if rate is not None and formats.may_be_all(rate):
        least = f"; at least {formats.percent(rate.low)} are" if rate.low > 0 else ""
        lines.append(f"How many of the labels are wrong cannot be told{least}.")
    elif rate is not None:
        lines.append(
            f"{formats.percent(rate.estimate)} of the labels are estimated to be wrong (95% "
            f"interval {formats.share_interval(rate)})."
        )
    lines.append(
        f"{formats.rows(labels.rows_flagged)} of {formats.count(labels.rows_scored)} flagged for "
        "review by mirrored influence (dataaudit)."
    )
    if report.review is not None:
        lines += [f"Review: {line}." for line in review_lines(report.review)]
    return lines


def _leaks(report: AuditReport) -> list[str]:
    leakage = report.leakage
    if leakage is None:
        return []
    return [
        f"{formats.count(leakage.suspects_flagged)} of {formats.rows(leakage.suspects, 'sample')} "
        "of an evaluation set were found in the training data."
    ]


def _distribution(samples: Samples, folder: Path) -> list[dict[str, Any]]:
    path = Path(samples.source.description)
    address = Path(os.path.relpath(path.absolute(), folder)).as_posix()
    source = _source(samples)
    if source.members():
        return _shards(source, folder)
    if path.is_file():
        return [
            {
                "@type": "cr:FileObject",
                "@id": DATA,
                "name": DATA,
                "contentUrl": address,
                "encodingFormat": MEDIA_TYPES[path.suffix.lower()],
                "sha256": sha256_of([path], str(path)),
            }
        ]
    includes = [f"{address}/{pattern}" for pattern in source.patterns()]
    # What is no image is a file of a saved data set, whatever it is called.
    endings = {Path(pattern).suffix.lower() for pattern in includes}
    types = {".parquet": MEDIA_TYPES[".parquet"], **IMAGE_TYPES}
    formats_of_files = sorted({types.get(end, MEDIA_TYPES[".arrow"]) for end in endings})
    return [
        {
            "@type": "cr:FileSet",
            "@id": DATA,
            "name": DATA,
            "includes": includes,
            "encodingFormat": formats_of_files,
        }
    ]


def _record_sets(samples: Samples) -> list[dict[str, Any]]:
    members = _source(samples).members()
    if not members:
        return [_records(samples)]
    # Members of several kinds would have to be joined by a key that they only have in their names.
    frame = samples.take([0]).frame
    return [
        {
            "@type": "cr:RecordSet",
            "@id": f"{ROWS}-{number}",
            "name": f"{ROWS}-{number}",
            "field": [
                _member_field(name, number, samples, members, frame[name])
                for name in members
                if members[name] == extension
            ],
        }
        for number, extension in enumerate(_extensions(members))
    ]


def _records(samples: Samples) -> dict[str, Any]:
    frame = samples.take([0]).frame
    key = [samples.id_column] if samples.id_column is not None else []
    if _source(samples).rows_are_files():
        fields = _image_fields()
    else:
        is_file = Path(samples.source.description).is_file()
        place = {"fileObject" if is_file else "fileSet": {"@id": DATA}}
        fields = [
            {
                "@type": "cr:Field",
                "@id": f"{ROWS}/{_identifier(name, number)}",
                "name": clean_text(str(name)),
                "dataType": _data_type(frame[name], name == samples.content_column, samples),
                "source": {**place, "extract": {"column": clean_text(str(name))}},
            }
            for number, name in enumerate(frame.columns)
        ]
    names = list(map(str, frame.columns))
    keys = [{"@id": f"{ROWS}/{_identifier(name, names.index(name))}"} for name in key]
    return {
        "@type": "cr:RecordSet",
        "@id": ROWS,
        "name": ROWS,
        **({"key": keys[0]} if keys else {}),
        "field": fields,
    }


def _image_fields() -> list[dict[str, Any]]:
    def field(name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
        return {
            "@type": "cr:Field",
            "@id": f"{ROWS}/{name}",
            "name": name,
            "dataType": kind,
            "source": {"fileSet": {"@id": DATA}, **source},
        }

    return [
        field("image", "sc:ImageObject", {"extract": {"fileProperty": "content"}}),
        field("path", "sc:Text", {"extract": {"fileProperty": "fullpath"}}),
    ]


def _source(samples: Samples) -> ColumnSource:
    # Samples that were read from a file or folder have no other source.
    return cast(ColumnSource, samples.source)


def _shards(source: ColumnSource, folder: Path) -> list[dict[str, Any]]:
    """Return a file for each shard, and the set of all their members."""
    files = [
        {
            "@type": "cr:FileObject",
            "@id": f"shard-{number}",
            "name": clean_text(path.name),
            "contentUrl": Path(os.path.relpath(path.absolute(), folder)).as_posix(),
            "encodingFormat": "application/x-tar",
            "sha256": sha256_of([path], str(path)),
        }
        for number, path in enumerate(source.files())
    ]
    members = [
        {
            "@type": "cr:FileSet",
            "@id": f"members-{number}",
            "name": clean_text(extension),
            "containedIn": [{"@id": file["@id"]} for file in files],
            "includes": f"**/*.{clean_text(extension)}",
            "encodingFormat": IMAGE_TYPES.get(f".{extension}", "application/octet-stream"),
        }
        for number, extension in enumerate(_extensions(source.members()))
    ]
    return [*files, *members]


def _extensions(members: Mapping[str, str]) -> list[str]:
    return sorted(set(members.values()))


def _member_field(
    name: str, number: int, samples: Samples, members: Mapping[str, str], values: pd.Series
) -> dict[str, Any]:
    """Return a column that the members of one extension fill."""
    extension = members[name]
    extract = {"fileProperty": "content"}
    if name != extension:
        extract = {"jsonPath": f"$.{clean_text(name.removeprefix(extension + '.'))}"}
    return {
        "@type": "cr:Field",
        "@id": f"{ROWS}-{number}/{_identifier(name, list(members).index(name))}",
        "name": clean_text(name),
        "dataType": _data_type(values, name == samples.content_column, samples),
        "source": {"fileSet": {"@id": f"members-{number}"}, "extract": extract},
    }


def _identifier(name: object, number: int) -> str:
    """Return a column's name where it can stand in an identifier, else its number."""
    return str(name) if re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", str(name)) else f"column-{number}"


def _data_type(values: pd.Series, is_content: bool, samples: Samples) -> str:
    if is_content and samples.modality == "image":
        return "sc:ImageObject"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "sc:Boolean"
    if pd.api.types.is_integer_dtype(values.dtype):
        return "sc:Integer"
    return "sc:Float" if pd.api.types.is_float_dtype(values.dtype) else "sc:Text"

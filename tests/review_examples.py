"""Finished audits of made-up data in every format, without running an audit."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from PIL import Image
from report_examples import (
    CLASSES as LABELS,
)
from report_examples import SENTENCES, contamination_flags, example_report, mislabel_flags

from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role
from dataaudit.report import render
from dataaudit.report.data import AuditReport

CLASSES = ["cat", "dog", "owl"]
TEXTS = [
    'said "purr", then slept all day',
    "=HYPERLINK('http://example.com')",
    "line one\nline two, with a comma",
    "wags its tail; every single time",
    "hoots at night <script>alert(1)</script>",
    "'quoted' already, and not once",
]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((6, 6), value, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def frame() -> pd.DataFrame:
    """Six rows of text; the labels of the rows b and e are taken for wrong."""
    return pd.DataFrame(
        {
            "key": ["a", "=b", "c", "d", "e", "f"],
            "text": TEXTS,
            "price": [1.5, 0.1, 3.0, np.nan, 1e-9, 2.25],
            "label": ["cat", "cat", "cat", "dog", "dog", "owl"],
        }
    )


def write_csv(folder: Path) -> Path:
    path = folder / "train.csv"
    frame().to_csv(path, index=False, lineterminator="\r\n")
    return path


def write_jsonl(folder: Path) -> Path:
    path = folder / "train.jsonl"
    lines = frame().replace({np.nan: None}).to_dict("records")
    # Spaces, escapes and the order of keys differ from line to line, as hands write them.
    texts = [json.dumps(line, ensure_ascii=bool(number % 2)) for number, line in enumerate(lines)]
    texts[1] = texts[1].replace('"label": ', '"label"  :\t')
    path.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    return path


def write_parquet(folder: Path) -> Path:
    path = folder / "train.parquet"
    table = frame().assign(label=frame()["label"].astype("category"))
    arrow = pa.Table.from_pandas(table).replace_schema_metadata({"made by": "hand"})
    pyarrow.parquet.write_table(arrow, path, row_group_size=4, compression="zstd")
    return path


def write_arrow(folder: Path) -> Path:
    path = folder / "train.arrow"
    table = pa.Table.from_pandas(frame())
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return path


def write_saved(folder: Path) -> Path:
    """What `datasets.Dataset.save_to_disk` writes."""
    path = folder / "train"
    path.mkdir()
    table = pa.Table.from_pandas(
        frame().assign(label=[CLASSES.index(name) for name in frame()["label"]])
    )
    with (
        pa.OSFile(str(path / "data-00000-of-00001.arrow"), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=4)
    names = {"names": CLASSES, "_type": "ClassLabel"}
    (path / "dataset_info.json").write_text(json.dumps({"features": {"label": names}}))
    files = [{"filename": "data-00000-of-00001.arrow"}]
    state = {"_data_files": files, "_fingerprint": "0123456789abcdef"}
    (path / "state.json").write_text(json.dumps(state))
    (path / "cache-1234.arrow").write_bytes(b"what datasets computed before")
    return path


def write_images(folder: Path) -> Path:
    path = folder / "train"
    for number, label in enumerate(frame()["label"]):
        (path / label / "more").mkdir(parents=True, exist_ok=True)
        (path / label / "more" / f"{number % 2}.{number}.png").write_bytes(png(40 * number))
    (path / "README.txt").write_text("all of it photographed by hand")
    (path / "dog" / "more" / "1.1.png").write_bytes(png(200))
    return path


FORMATS: dict[str, Callable[[Path], Path]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "saved by datasets": write_saved,
    "image folder": write_images,
}


@dataclass(frozen=True)
class Audited:
    """A data set and a run directory that says it was audited."""

    directory: Path
    data: Path

    @property
    def mislabels(self) -> pd.DataFrame:
        return pd.read_parquet(self.directory / "mislabels.parquet")

    @property
    def report(self) -> AuditReport:
        return AuditReport.model_validate_json((self.directory / "audit.json").read_bytes())


def audited(
    folder: Path,
    write: Callable[[Path], Path] = write_csv,
    flagged: tuple[int, ...] = (1, 4),
    classes: list[str] = CLASSES,
) -> Audited:
    """Write data and the directory of an audit that flagged some rows; each may be a `dog`."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write(folder)
    is_folder_of_images = data.is_dir() and not (data / "state.json").exists()
    id_column = None if is_folder_of_images else "key"
    samples = open_samples(
        data, ReadSettings("train", "label", id_column=id_column, classes=classes)
    )
    count = len(samples)
    given = [classes[label] for label in samples.labels]
    is_flagged = np.isin(np.arange(count), flagged)
    probability = np.where(is_flagged, 0.9 - 0.1 * np.arange(count) / count, 0.1)
    rank = np.argsort(np.argsort(-probability, kind="stable"), kind="stable") + 1
    table = pd.DataFrame(
        {
            "row_id": samples.ids,
            "given_label": given,
            "suggested_label": ["dog" if name != "dog" else "owl" for name in given],
            "score": np.log(probability),
            "probability": probability,
            "flagged": is_flagged,
            "rank": rank,
        }
    )
    directory = folder / "audit"
    directory.mkdir()
    table.to_parquet(directory / "mislabels.parquet", index=False)
    report = example_report("text", rows=20, flagged=2, suspects=0)
    counts = report.composition.counts[:1]
    counts = [counts[0].model_copy(update={"split": "train", "label": name}) for name in classes]
    composition = report.composition.model_copy(update={"counts": counts})
    report = report.model_copy(update={"composition": composition})
    (directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")
    train = {"source": str(data), "rows": count, "sha256": samples.sha256}
    settings = {"path": str(data), "label": "label", "id": id_column}
    manifest = {
        "inputs": {"train": train},
        "settings": {"task": "classification", "train": settings},
    }
    (directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return Audited(directory, data)


def with_suspects(audit: Audited, folder: Path, write: Callable[[Path], Path]) -> Path:
    """Give an audit suspects, the same rows once more, of which the first two leaked."""
    folder.mkdir()
    data = write(folder)
    manifest = json.loads((audit.directory / "manifest.json").read_bytes())
    id_column = manifest["settings"]["train"]["id"]
    samples = open_samples(
        data, ReadSettings("suspects", "label", id_column=id_column, classes=CLASSES)
    )
    manifest["inputs"]["suspects"] = {"source": str(data), "sha256": samples.sha256}
    manifest["settings"]["suspects"] = {"path": str(data), "label": "label", "id": id_column}
    (audit.directory / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    flagged = np.arange(len(samples)) < 2
    pairs = pd.DataFrame({"query_id": samples.ids, "row_id": samples.ids, "rank": 1})
    pairs = pairs.assign(score=1.5 * flagged, p_value=np.where(flagged, 1e-4, np.nan))
    pairs = pairs.assign(flagged=flagged)
    pairs.to_parquet(audit.directory / "contamination.parquet", index=False)
    return data


def write_decisions(path: Path, *lines: str, header: str = "row_id,decision,new_label") -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def audit_to_decide(folder: Path) -> Audited:
    """Write 1,100 training rows (99 flagged), 300 suspects (30 leaked), and their audit's files."""
    flags, leaks = mislabel_flags(1100, 99), contamination_flags(300, 30)
    train, test = folder / "train.csv", folder / "test.csv"
    table = flags.table
    text = [SENTENCES[number % len(SENTENCES)] for number in range(len(table))]
    rows = {"row_id": table["row_id"], "text": text, "label": table["given_label"]}
    pd.DataFrame(rows).to_csv(train, index=False)
    suspects = {"query_id": range(300), "text": text[:300], "label": "boot"}
    pd.DataFrame(suspects).to_csv(test, index=False)
    settings: dict[str, object] = {"task": "classification"}
    inputs = {}
    splits: list[tuple[Role, Path, str]] = [
        ("train", train, "row_id"), ("suspects", test, "query_id"),
    ]  # fmt: skip
    for role, path, id_column in splits:
        read = ReadSettings(role, "label", id_column=id_column, classes=LABELS)
        samples = open_samples(path, read)
        inputs[role] = {"source": str(path), "rows": len(samples), "sha256": samples.sha256}
        settings[role] = {"path": str(path), "label": "label", "id": id_column}
    report = example_report("text", 1100, 99, 300, 30)
    parts = [
        split.model_copy(update={"sha256": inputs[split.role]["sha256"]})
        if split.role in inputs
        else split
        for split in report.identity.splits
    ]
    identity = report.identity.model_copy(update={"splits": parts})
    report = report.model_copy(update={"identity": identity})
    directory = folder / "audit"
    directory.mkdir()
    table.to_parquet(directory / "mislabels.parquet", index=False)
    leaks.table.to_parquet(directory / "contamination.parquet", index=False)
    (directory / "audit.json").write_text(report.model_dump_json(), encoding="utf-8")
    (directory / "report.html").write_text(render(report), encoding="utf-8")
    manifest = json.dumps({"inputs": inputs, "settings": settings})
    (directory / "manifest.json").write_text(manifest, encoding="utf-8")
    return Audited(directory, train)

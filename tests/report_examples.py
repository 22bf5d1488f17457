"""Reports of made-up audits, for the tests of the report."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataaudit.about import About
from dataaudit.datasets.images import thumbnail as shrunk
from dataaudit.flags.results import ContaminationFlags, Interval, MislabelFlags
from dataaudit.report.build import build_report
from dataaudit.report.data import AuditReport, Coverage, Decision, Method, Split, Threshold
from dataaudit.report.evidence import Evidence, Exhibit, RowEvidence
from dataaudit.report.gates import counted, make_gate
from dataaudit.report.label_findings import select_rows
from dataaudit.report.leakage import select_pairs
from dataaudit.report.steps import open_steps

NOTHING_MISSED = Coverage(
    rows_not_scored=0,
    suspects_not_scored=0,
    sampling=None,
    truncation=None,
    missing_values=None,
    notes=[],
)

CLASSES = ["boot", "coat", "dress", "sandal", "shirt"]
SENTENCES = [
    "Free entry in a weekly competition to win cup final tickets, text WIN to 80085",
    "Are we still meeting at seven, or did the train get cancelled again?",
    "Your parcel could not be delivered. Confirm your address within 24 hours.",
    "Thanks for yesterday, the soup was lovely. I will bring the pot back on Sunday",
]


def mislabel_flags(
    rows: int, flagged: int, classes: list[Any] | None = None, seed: int = 0
) -> MislabelFlags:
    """Return flags whose first `flagged` ranks are flagged; ids are `row-0` … in file order."""
    classes = classes or CLASSES
    generator = np.random.default_rng(seed)
    rank = generator.permutation(rows) + 1
    probability = np.where(
        rank <= flagged,
        0.5 + 0.5 * np.clip(1 - rank / (flagged + 1), 0, 1) ** 0.3,
        0.49 * np.exp(-(rank - flagged) / (rows / 12 + 1)),
    )
    given = generator.integers(len(classes), size=rows)
    suggested = np.where(
        rank <= 2 * flagged,
        (given + 1 + generator.binomial(len(classes) - 2, 0.25, size=rows)) % len(classes),
        given,
    )
    labels = np.array(classes, dtype=object)
    table = pd.DataFrame(
        {
            "row_id": [f"row-{index}" for index in range(rows)],
            "given_label": labels[given],
            "suggested_label": labels[suggested],
            "score": np.log(probability / (1 - probability + 1e-3)),
            "probability": probability,
            "flagged": rank <= flagged,
            "rank": rank,
        }
    )
    suspicion = table["score"].to_numpy()
    signals = pd.DataFrame(
        {
            "mirrored_influence": 0.3 * suspicion + generator.normal(0, 0.4, rows),
            "loss": np.exp(0.5 * suspicion + generator.normal(0, 0.5, rows)),
            "margin": suspicion + generator.normal(0, 1.0, rows),
            "cleanlab": np.clip(probability + generator.normal(0, 0.1, rows), 0, 1),
        }
    )
    order = np.argsort(rank)
    found = np.cumsum(probability[order])
    budgets = np.unique(np.linspace(1, rows, min(rows, 2000)).astype(int))
    matrix = np.zeros((len(classes), len(classes)))
    np.add.at(matrix, (given, suggested), probability)
    np.add.at(matrix, (given, given), 1 - probability)
    noise_table = pd.DataFrame(matrix, index=classes, columns=classes)
    in_class = np.bincount(given, minlength=len(classes))
    wrong_in_class = np.bincount(given, weights=probability, minlength=len(classes))
    wrong_share = wrong_in_class / np.where(in_class, in_class, np.nan)
    per_class = pd.DataFrame(
        [
            {
                "class": label,
                "rows": int(in_class[index]),
                "flagged": int(((given == index) & (rank <= flagged)).sum()),
                "noise_rate": wrong,
                "low": 0.8 * wrong,
                "high": 1.2 * wrong,
            }
            for index, (label, wrong) in enumerate(zip(classes, wrong_share, strict=True))
        ]
    )
    rate = float(probability.mean())
    return MislabelFlags(
        table=table,
        signals=signals,
        noise_rate=Interval(rate, 0.9 * rate, 1.1 * rate),
        noise_per_class=per_class,
        noise_table=noise_table,
        expected_precision=pd.DataFrame(
            {
                "budget": budgets,
                "expected_found": found[budgets - 1],
                "expected_precision": found[budgets - 1] / budgets,
            }
        ),
        probability_threshold=0.5,
        method="Mirrored influence, loss, margin and cleanlab, joined by a logistic regression "
        "that was fitted on held-out rows with deliberately flipped labels.",
        noise_per_group=None,
        notes=None,
        predicted=None,
        annotators=None,
        doubts=(),
        untold=(),
        precision_flagged=Interval(0.8, 0.6, 1.0) if flagged else None,
    )


def contamination_flags(suspects: int, leaked: int) -> ContaminationFlags:
    """Return flags of which the first `leaked` suspects are copies, of several kinds."""
    kinds = ["exact", "near", "near, no influence seen", "influence only"]
    flagged = np.arange(suspects) < leaked
    table = pd.DataFrame(
        {
            "query_id": np.arange(suspects),
            "row_id": [f"row-{index}" for index in range(suspects)],
            "rank": 1,
            "score": np.where(flagged, 9 - np.arange(suspects) / suspects, 0.5),
            "p_value": np.where(flagged, 1e-5 * (1 + np.arange(suspects)), 0.4),
            "flagged": flagged,
        }
    )
    evidence = pd.DataFrame(
        {
            "content_score": np.where(flagged, 0.98, 0.2),
            "influence_score": np.where(flagged, 6.1, np.nan),
            "kind": [kinds[i % 4] if leak else "none" for i, leak in enumerate(flagged)],
        }
    )
    return ContaminationFlags(
        table=table,
        evidence=evidence,
        false_discovery_rate=0.05,
        metric_name="accuracy",
        metric_all=Interval(0.931, 0.902, 0.957),
        metric_clean=Interval(0.896, 0.858, 0.931),
        metric_difference=Interval(0.035, 0.018, 0.055),
        hits_per_class=pd.DataFrame(
            {"class": CLASSES, "suspects": suspects // 5, "flagged": leaked // 5}
        ),
        method="Each suspect was unlearned alone; rows whose loss changed more than their own "
        "background, and rows with the same content, are its partners.",
        disagreeing_duplicates=pd.DataFrame(
            {
                "row_id": ["row-1"],
                "other_row_id": ["row-3"],
                "label": [CLASSES[0]],
                "other_label": [CLASSES[1]],
                "similarity": [1.0],
            }
        ),
        shared_groups=pd.DataFrame({"group": ["patient 7"], "suspects": [2], "rows": [5]}),
        doubts=(),
        rows_repeated=0,
    )


@cache
def thumbnail(seed: int, shift: int = 0) -> str:
    """Return a small drawing as a WebP data address."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((48, 48), Image.Resampling.BICUBIC)
    pixels = np.clip(
        np.asarray(image).astype(int) + shift * np.eye(48, dtype=int)[..., None], 0, 255
    )
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "WEBP", quality=50, method=0)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def exhibit(modality: str, role: str, sample_id: str | int, label: str, note: str) -> Exhibit:
    """Return a sample of some modality that depends on its id only."""
    seed = sum(map(ord, f"{sample_id}")) * 7 + len(f"{sample_id}")
    text = SENTENCES[seed % len(SENTENCES)] if modality == "text" else None
    if text is not None and role == "suspects":
        text = text.replace("the ", "that ", 1) + " Now."
    fields = {"age": str(20 + seed % 50), "city": "Łódź", "income": f"{seed % 9}1,200"}
    if role == "suspects":
        fields["income"] = "unknown"
    return Exhibit(
        sample_id=sample_id,
        role=role,
        label=label,
        text=text,
        image=thumbnail(seed, 80 if role == "suspects" else 0) if modality == "image" else None,
        fields=fields if modality == "table" else {},
        note=note,
    )


def evidence_for(
    modality: str,
    mislabels: MislabelFlags | None,
    contamination: ContaminationFlags | None,
    against: int = 3,
    neighbours: int = 3,
) -> Evidence:
    """Return evidence for everything that the page shows."""
    rows: dict[str | int, RowEvidence] = {}
    if mislabels is not None:
        given = dict(
            zip(mislabels.table["row_id"], mislabels.table["given_label"].astype(str), strict=True)
        )
        suggested = dict(
            zip(
                mislabels.table["row_id"],
                mislabels.table["suggested_label"].astype(str),
                strict=True,
            )
        )
        ids = select_rows(mislabels)
        for position, row_id in enumerate(ids):
            rows[row_id] = RowEvidence(
                row=exhibit(modality, "train", row_id, given[row_id], "the row itself"),
                against=[
                    exhibit(
                        modality,
                        "held_out",
                        (position * 3 + k) % 200,
                        suggested[row_id],
                        f"speaks against it, +0.{42 - k} nats",
                    )
                    for k in range(against)
                ],
                neighbours=[
                    exhibit(
                        modality,
                        "train",
                        ids[(position + k + 1) % len(ids)],
                        given[ids[(position + k + 1) % len(ids)]],
                        f"similarity 0.9{9 - k}",
                    )
                    for k in range(neighbours)
                ],
            )
    pairs: dict[tuple[str | int, str | int], tuple[Exhibit, Exhibit]] = {}
    if contamination is not None:
        for query_id, row_id in select_pairs(contamination):
            pairs[query_id, row_id] = (
                replace(exhibit(modality, "suspects", row_id, "boot", ""), sample_id=query_id),
                exhibit(modality, "train", row_id, "boot", ""),
            )
    composition = pd.DataFrame(
        [
            {"split": split, "class": label, "rows": rows}
            for split, rows in (("train", 400), ("held_out", 60), ("suspects", 40))
            for label in CLASSES
        ]
    )
    return Evidence(rows=rows, pairs=pairs, composition=composition)


def example_report(
    modality: str = "image",
    rows: int = 2000,
    flagged: int = 240,
    suspects: int = 200,
    leaked: int = 23,
    **changes: Any,
) -> AuditReport:
    """Return the report of a made-up audit; `changes` are arguments of `build_report`."""
    mislabels = mislabel_flags(rows, flagged) if rows else None
    contamination = contamination_flags(suspects, leaked) if suspects else None
    found = mislabels.noise_rate.estimate if mislabels is not None else 0.0
    arguments: dict[str, Any] = {
        "name": "wardrobe, release 3",
        "task": "classification",
        "date": "2026-11-23T10:15:00+00:00",
        "splits": [
            split("train", "train.parquet", rows or 2000, "a1" * 32),
            split("held_out", "val.parquet", 300, "b2" * 32),
            split("suspects", "test.parquet", suspects, "c3" * 32),
        ],
        "mislabels": mislabels,
        "contamination": contamination,
        "evidence": evidence_for(modality, mislabels, contamination),
        "gates": [
            make_gate("mislabel_rate", 0.05, counted(found), (), "fail"),
            make_gate("contaminated", 0, counted(leaked), (), "fail"),
        ],
        "about": About(version="3", licence="CC BY 4.0", purpose="Sorting returned clothes"),
        "method": Method(
            model_sha256="d4" * 32,
            device="cpu",
            settings={"mirror": {"kind": "finite", "steps": 100}, "batch_size": 256},
            seeds={"mirror": 0},
            versions={"dataaudit": "0.1.0", "torch": "2.13.0"},
            timings_seconds={"score": 12.5},
            thresholds=[],
        ),
        "coverage": NOTHING_MISSED.model_copy(update={"missing_values": {"price": 12}}),
        "limits": [],
        "tracing": None,
        "checks": [],
    }
    decided = changes.pop("remediation", [])
    report = build_report(**(arguments | changes))
    if not decided:
        return report
    report = report.model_copy(update={"remediation": decided})
    return report.model_copy(update={"next_steps": open_steps(report)})


def split(role: str, source: str, rows: int, sha256: str, id_column: str | None = None) -> Split:
    """Return a split whose label column is not known."""
    return Split(
        role=role, source=source, rows=rows, sha256=sha256, id_column=id_column, label_column=None
    )


@cache
def photograph(name: str, side: int, turned: int = 0) -> str:
    """Return one of scikit-learn's two photographs (640 x 427) at most `side` pixels a side."""
    from sklearn.datasets import load_sample_image

    buffer = io.BytesIO()
    image = Image.fromarray(np.roll(load_sample_image(name), 31 * turned, axis=1))
    image.save(buffer, "JPEG")
    return shrunk(buffer.getvalue(), where=name, side=side)


def photographs(flagged: int) -> AuditReport:
    """Return a report on photographs, as large as an audit puts them on the page."""
    flags = mislabel_flags(20 * flagged, flagged)
    leaks = contamination_flags(20, 6)
    evidence = evidence_for("text", flags, leaks)

    def shown(item: Exhibit, side: int) -> Exhibit:
        seed = sum(map(ord, f"{item.sample_id}"))
        name = ("china.jpg", "flower.jpg")[seed % 2]
        return replace(
            item,
            text=None,
            image=photograph(name, 48, seed % 20),
            picture=photograph(name, side, seed % 20),
        )

    rows = {
        row_id: RowEvidence(
            row=shown(item.row, 256),
            against=[shown(other, 128) for other in item.against],
            neighbours=[shown(other, 128) for other in item.neighbours],
        )
        for row_id, item in evidence.rows.items()
    }
    pairs = {key: (shown(a, 256), shown(b, 256)) for key, (a, b) in evidence.pairs.items()}
    evidence = replace(evidence, rows=rows, pairs=pairs)
    return example_report(
        "image",
        20 * flagged,
        flagged,
        20,
        6,
        mislabels=flags,
        contamination=leaks,
        evidence=evidence,
    )


def wide_table(columns: int = 64) -> AuditReport:
    """Return a report on rows of many columns, of which some values are missing."""
    flags = mislabel_flags(200, 12)
    leaks = contamination_flags(20, 6)
    evidence = evidence_for("table", flags, leaks)

    def widened(item: Exhibit) -> Exhibit:
        seed = sum(map(ord, f"{item.sample_id}"))
        values = {f"column {place}": f"{place + 0.123456789:.9f}" for place in range(columns)}
        for place in range(0, columns, 5):
            values[f"column {place}"] = f"{(seed * (place + 3)) % 97 / 7:.9f}"
        if seed % 2:
            values["column 10"] = "missing"
        return replace(item, fields=values)

    rows = {
        row_id: RowEvidence(
            row=widened(item.row),
            against=[widened(other) for other in item.against],
            neighbours=[widened(other) for other in item.neighbours],
        )
        for row_id, item in evidence.rows.items()
    }
    pairs = {key: (widened(a), widened(b)) for key, (a, b) in evidence.pairs.items()}
    evidence = replace(evidence, rows=rows, pairs=pairs)
    return example_report(
        "table", 200, 12, 20, 6, mislabels=flags, contamination=leaks, evidence=evidence
    )


HOSTILE = (
    "<script>window.pwned = 1</script></script><img src=x onerror=window.pwned=1>"
    "\"'`{{ 7 * 7 }}{% raw %}javascript:window.pwned=1\u2028\u2029\u202e&amp;<!--"
)


def hostile_report(modality: str) -> AuditReport:
    """Return a report that holds an attack in every text that a data set or a file supplies."""
    classes = [f"{HOSTILE}{number}" for number in range(4)]
    mislabels = mislabel_flags(40, 6, classes)
    table = mislabels.table
    mislabels = replace(
        mislabels,
        table=table.assign(row_id=[f"{HOSTILE}{row}" for row in table["row_id"]]),
        signals=mislabels.signals.rename(columns={"loss": HOSTILE}),
        method=HOSTILE,
    )
    leaks = contamination_flags(10, 4)
    leaks = replace(
        leaks,
        table=leaks.table.assign(
            query_id=[f"{HOSTILE}{number}" for number in range(10)],
            row_id=[f"{HOSTILE}{number}" for number in range(10)],
        ),
        hits_per_class=leaks.hits_per_class.assign(**{"class": HOSTILE}),
        metric_name=HOSTILE,
        method=HOSTILE,
    )
    evidence = evidence_for(modality, mislabels, leaks)

    def spoiled(item: Exhibit) -> Exhibit:
        return replace(
            item,
            label=HOSTILE,
            note=HOSTILE,
            text=item.text and HOSTILE + item.text,
            fields={HOSTILE + name: HOSTILE + value for name, value in item.fields.items()},
        )

    evidence = Evidence(
        rows={
            row_id: RowEvidence(
                row=spoiled(item.row),
                against=[spoiled(other) for other in item.against],
                neighbours=[spoiled(other) for other in item.neighbours],
            )
            for row_id, item in evidence.rows.items()
        },
        pairs={
            key: (spoiled(left), spoiled(right)) for key, (left, right) in evidence.pairs.items()
        },
        composition=pd.DataFrame({"split": [HOSTILE], "class": [HOSTILE], "rows": [3]}),
    )
    return example_report(
        modality,
        40,
        6,
        10,
        4,
        name=HOSTILE,
        task=HOSTILE,
        splits=[
            split("train", HOSTILE, 40, HOSTILE, id_column=HOSTILE),
        ],
        mislabels=mislabels,
        contamination=leaks,
        evidence=evidence,
        gates=[make_gate(HOSTILE, 1, counted(2), (), "fail")],
        about=About.model_validate(dict.fromkeys(About.model_fields, HOSTILE)),
        method=Method(
            model_sha256=HOSTILE,
            device=HOSTILE,
            settings={HOSTILE: {HOSTILE: HOSTILE}},
            seeds={HOSTILE: 1},
            versions={HOSTILE: HOSTILE},
            timings_seconds={HOSTILE: 1.0},
            thresholds=[Threshold(name=HOSTILE, value=0.5, reason=HOSTILE)],
        ),
        coverage=Coverage(
            rows_not_scored=0,
            suspects_not_scored=0,
            sampling=HOSTILE,
            truncation=HOSTILE,
            missing_values={HOSTILE: 1},
            notes=[HOSTILE],
        ),
        limits=[HOSTILE],
        remediation=[
            Decision(
                what="label",
                row_id=HOSTILE,
                decision=HOSTILE,
                reviewer=HOSTILE,
                date="2026-11-23",
                before=HOSTILE,
                after=HOSTILE,
                comment="",
            )
        ],
    )

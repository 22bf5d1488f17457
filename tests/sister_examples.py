"""The pages beside the report, of made-up results: compare, verify, memorization, trace."""

from __future__ import annotations

import numpy as np
import pandas as pd
from report_examples import SENTENCES, example_report, thumbnail

from dataaudit.report.data import (
    AuditReport,
    Estimate,
    Split,
    TokenChange,
    TracedQuery,
    TracedRow,
    TracedSample,
    Tracing,
)
from dataaudit.report.evidence import Evidence
from dataaudit.review.comparison.data import (
    AuditSide,
    ChangedRow,
    ChangedSuspect,
    Comparison,
    GateChange,
    LabelChanges,
    LeakChanges,
    RowChange,
)
from dataaudit.studies.memorization.data import (
    ClassMemorization,
    MemorizationReport,
    MemorizedRow,
)
from dataaudit.studies.verification.conclusion import conclusion
from dataaudit.studies.verification.data import MirrorAgreement, QueryGroup, Verification

DATE = "2026-11-23T10:15:00+00:00"
SPLITS = [
    Split(
        role="train", source="train.parquet", rows=1100, sha256="a1" * 32, id_column="key",
        label_column="label",
    )
]  # fmt: skip
VERSIONS = {"dataaudit": "0.1.0", "torch": "2.13.0"}


def around(value: float, by: float) -> Estimate:
    return Estimate(estimate=value, low=value - by, high=value + by)


def changed(change: RowChange, count: int, first: int) -> list[ChangedRow]:
    return [
        ChangedRow(
            row_id=f"row-{first + place}",
            change=change,
            old_label="boot",
            new_label=None if change == "removed" else "sandal",
            old_probability=0.98 - place / 1000,
            new_probability=None if change == "removed" else 0.03,
        )
        for place in range(count)
    ]


def comparison() -> Comparison:
    """Two audits: most flagged rows were corrected, four are left."""
    side = AuditSide(
        name="wardrobe, release 3", date=DATE, train_rows=1100, train_sha256="a1" * 32,
        held_out_sha256="b2" * 32, suspects_sha256="c3" * 32, model_sha256="d4" * 32,
        rows_flagged=4, suspects_flagged=0,
    )  # fmt: skip
    gates = [
        GateChange(
            name=name, old_found=old, old_limit=limit, old_passed=False, old_outcome="not met",
            new_found=new, new_limit=limit, new_passed=passed,
            new_outcome="met" if passed else "cannot tell",
        )
        for name, limit, old, new, passed in (
            ("mislabel_rate", 0.05, 0.081, 0.044, False), ("contaminated", 0, 17, 0, True),
        )
    ]  # fmt: skip
    suspects = [ChangedSuspect(query_id=q, old_row_id=f"row-{q}", new_row_id=None) for q in (3, 9)]
    return Comparison(
        old=side,
        new=side.model_copy(update={"date": "2026-11-27T09:00:00", "train_sha256": "e5" * 32}),
        notes=["The held-out data changed: rates are hard to compare."],
        labels=LabelChanges(
            fixed=changed("relabeled", 30, 0) + changed("removed", 2, 30),
            kept=changed("kept by a reviewer", 9, 40),
            dropped=[],
            new=changed("newly flagged", 1, 60),
            still=changed("still", 3, 70),
            rate_old=around(0.081, 0.012),
            rate_new=around(0.044, 0.011),
        ),
        leaks=LeakChanges(
            fixed=suspects, new=[], still=[], metric_name="accuracy",
            metric_old=around(0.896, 0.03), metric_new=around(0.901, 0.03),
        ),
        gates=gates,
    )  # fmt: skip


def verification(low: float = 0.02) -> tuple[Verification, pd.DataFrame]:
    """Influence that random groups do not bear out, with its points."""
    agreements = [
        MirrorAgreement(
            design=design, mirror=mirror, groups=24, rows_per_group=50, pearson=around(value, 0.1),
            spearman=around(value, 0.1), within=around(value, 0.12), ceiling=0.83,
        )
        for design, value in (("random", low + 0.1), ("graded", 0.91), ("halves", 0.4))
        for mirror in ("retrained", "rehearsed", "steps")
    ]  # fmt: skip
    trust, headline = conclusion(agreements)
    generator = np.random.default_rng(0)
    measured = generator.normal(0, 0.02, 240)
    points = pd.DataFrame(
        {
            "design": np.repeat(["random", "graded"], 120),
            "influence": measured,
            "mirrored_rehearsed": measured + generator.normal(0, 0.05, 240),
            "mirrored_retrained": measured + generator.normal(0, 0.01, 240),
        }
    )
    report = Verification(
        name="wardrobe, release 3", task="classification", date=DATE, trust=trust,
        headline=headline, agreements=agreements, rows=1000, rows_in_all=1100,
        query_groups=[QueryGroup(labels=["boot", "coat"], queries=30)] * 5,
        retraining="logistic regression, fitted until it no longer changes",
        mirrors={"rehearsed": "100 steps of AdamW on queries among training rows"},
        trainings=301, repeats=3, trained_accuracy=0.91, retrained_accuracy=0.9, seed=0,
        model="wardrobe_model:build", model_sha256="d4" * 32, splits=SPLITS, versions=VERSIONS,
        seconds=812.0, notes=[],
    )  # fmt: skip
    return report, points


def memorization() -> MemorizationReport:
    """Forty rows, of which seven are known by heart."""
    tail = [
        MemorizedRow(
            row_id=f"row-{place}", label="boot", memorization=0.93 - 0.01 * place,
            standard_error=0.021, likelihood=0.99, likelihood_without=0.06 + 0.01 * place,
            text=SENTENCES[place % 4] if place % 2 else None,
            image=None if place % 2 else thumbnail(place), fields={},
        )
        for place in range(40)
    ]  # fmt: skip
    return MemorizationReport(
        name="wardrobe, release 3", task="classification", date=DATE,
        headline="7 training rows (0.6%) owe half of the prediction or more to having been "
        "trained on",
        rows=1100, memorized=7, mean=0.0312, edges=[number / 20 for number in range(-4, 21)],
        counts=[1, 2, 40, 400, 500, 90, 30, 10, 6, 4, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 0, 0],
        classes=[
            ClassMemorization(label=label, rows=220, mean=0.03, memorized=count)
            for label, count in (("boot", 4), ("coat", 2), ("sandal", 1))
        ],
        long_tail=tail, method="Each row is left out of half of eight models that learn again.",
        forward_passes=52_800, settings={"draws": 8}, seed=0, model="wardrobe_model:build",
        model_sha256="d4" * 32, splits=SPLITS, versions=VERSIONS, seconds=41.3, notes=[],
    )  # fmt: skip


def shown_sample(sample_id: str, text: str | None, tokens: list[TokenChange]) -> TracedSample:
    return TracedSample(
        sample_id=sample_id, text=text, image=None, tokens=tokens, loss_before=None, loss_after=None
    )


def traced(samples: int = 11) -> AuditReport:
    """Generated samples with five rows each, none of which stands out beyond chance."""
    text = SENTENCES[0]
    tokens = [
        TokenChange(text=f"{word} ", before=2.0, after=2.0 + 0.3 * (place % 4))
        for place, word in enumerate(text.split())
    ]
    shown = [
        TracedQuery(
            query=shown_sample(f"prompt-{number}", text, []),
            rows=[
                TracedRow(
                    rank=place + 1, score=6.1 - place, change=0.04, p_value=0.06, flagged=False,
                    sample=shown_sample(f"row-{number * 7 + place}", None, tokens),
                )
                for place in range(5)
            ],
        )
        for number in range(samples)
    ]  # fmt: skip
    tracing = Tracing(
        direction="unlearn", queries=samples, queries_flagged=0, can_tell=True,
        false_discovery_rate=0.05, shown=shown, queries_left_out=0,
        method="Each query is unlearned by one step.",
    )  # fmt: skip
    return example_report(
        "text", 0, 0, 0, tracing=tracing, gates=[], task="causal-lm",
        evidence=Evidence({}, {}, pd.DataFrame({"split": [], "class": [], "rows": []})),
    )  # fmt: skip

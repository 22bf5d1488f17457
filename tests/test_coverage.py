"""No claim by default: what a reader takes as a finding was counted, or is not there."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest
from report_examples import NOTHING_MISSED, example_report

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role, Samples
from dataaudit.flags.results import ContaminationFlags, MislabelFlags
from dataaudit.inputs import Loaded, ModelCheck
from dataaudit.report.data import AuditReport, Section
from dataaudit.report.render import render
from dataaudit.review.comparison.data import Comparison
from dataaudit.stages.coverage import coverage, missing_values, sampling
from dataaudit.stages.leaks import CALIBRATION_ROWS
from dataaudit.studies.memorization.data import MemorizationReport
from dataaudit.studies.verification.data import Verification

REPORTS = AuditReport, Comparison, MemorizationReport, Verification


def sections(of: type[Section] = Section) -> set[type[Section]]:
    """Return all parts of all reports: those of audits, comparisons and studies."""
    found = set(of.__subclasses__())
    return found.union(*(sections(part) for part in found))


def test_no_part_of_a_report_has_a_default() -> None:
    assert set(REPORTS) < sections()
    defaults = {
        f"{part.__name__}.{name}"
        for part in sections()
        for name, field in part.model_fields.items()
        if not field.is_required() and name != "schema_version"
    }
    assert defaults == set()


@pytest.mark.parametrize("kind", [MislabelFlags, ContaminationFlags, ModelCheck])
def test_no_result_of_a_stage_has_a_default(kind: type) -> None:
    defaults = [
        field.name
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
        or field.default_factory is not dataclasses.MISSING
    ]
    assert defaults == []


def table(count: int, role: Role, missing: int = 0) -> Samples:
    frame = pd.DataFrame({"price": np.arange(count, dtype=float), "size": 1.0, "label": 0})
    frame.loc[: missing - 1, "price"] = np.nan
    return samples_from_object(frame, ReadSettings(role, "label"))


def loaded(train: Samples, suspects: Samples | None = None) -> Loaded:
    parts = {"train": train, "held_out": None, "suspects": suspects, "check": None}
    model = SimpleNamespace(preprocess=len)
    return cast(Loaded, SimpleNamespace(**parts, set_aside={"train": ()}, model=model))


def test_missing_values_are_counted_and_said() -> None:
    rows = table(300, "train", missing=129)
    assert missing_values(rows) == {"price": 129}
    found = coverage(loaded(rows), None, [])
    assert found.missing_values == {"price": 129}
    assert (found.truncation, found.sampling) == (None, None)
    page = render(example_report("table", 300, 9, coverage=found))
    assert "price: 129 of 300" in page
    assert "Truncation" not in page
    none = render(
        example_report("table", 300, 9, coverage=NOTHING_MISSED.model_copy(
            update={"missing_values": {}}))
    )  # fmt: skip
    assert "Missing values in training rows" in none


def leaks(unlearned: int, others: int, identical: int) -> ContaminationFlags:
    """Return what is said of suspects with two matches each."""
    kinds = ["none"] * (unlearned + others) + ["exact"] * identical
    scores = [0.5] * unlearned + [np.nan] * (others + identical)
    evidence = pd.DataFrame({"influence_score": scores, "kind": kinds})
    lines = {"table": pd.DataFrame({"rank": [1, 2] * len(kinds)})}
    lines["evidence"] = evidence.loc[evidence.index.repeat(2)].reset_index(drop=True)
    return cast(ContaminationFlags, SimpleNamespace(**lines))


def test_what_was_drawn_is_said() -> None:
    few, many = table(10, "train"), table(CALIBRATION_ROWS + 1, "train")
    assert sampling(loaded(many), None) is None
    # Neither all that may be, nor none.
    assert sampling(loaded(few), leaks(5, 0, 3)) is None
    assert sampling(loaded(few), leaks(0, 5, 3)) is None
    said = sampling(loaded(many), leaks(4, 2, 3))
    assert said is not None
    assert "4 of 9 suspects were unlearned" in said
    assert "at most 1,000 of 1,001 training rows" in said

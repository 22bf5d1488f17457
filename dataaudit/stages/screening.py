"""Screening: which rows cannot be used, and whether they are few enough to go on without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import BadRowsConfig
from dataaudit.datasets.samples import Batch, Role, Samples
from dataaudit.datasets.set_aside import (
    IGNORE_REASON,
    ROWS_PER_READ,
    SetAside,
    bad_content,
    bad_labels,
    ignored_labels,
    in_file,
    set_aside,
    without,
)
from dataaudit.errors import DataError
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import track
from dataaudit.stages.repeated_rows import REASON as IN_TRAIN

SHOWN = 10
"""Rows that a note names; `set_aside.parquet` has all."""


class Screening:
    """The rows of one split, with more and more of them set aside.

    Parameters
    ----------
    samples : Samples
        As opened; labels that cannot be used are `UNUSABLE` in it.
    settings : BadRowsConfig

    Raises
    ------
    DataError
        No row is to be judged.
    """

    def __init__(self, samples: Samples, settings: BadRowsConfig) -> None:
        self._opened = samples
        self._settings = settings
        self._reasons: dict[int, str] = {}
        self.samples = samples
        """The rows that are left."""
        # Not to judge a row is the user's wish, and counts as no bad row.
        self._ignored = dict(ignored_labels(samples))
        if self._ignored:
            self._reasons |= self._ignored
            self.samples = without(samples, self._ignored)
            if len(self.samples) == 0:
                first = set_aside(samples, self._ignored)
                raise DataError(
                    f"{samples.source.description}: none of the {len(samples):,} rows is to be "
                    f"judged; the first: row {first.positions[0]} (id {first.ids[0]}): "
                    f"{first.reasons[0]}"
                )

    def check_content(self) -> None:
        """Set aside rows whose label or content cannot be used, where the settings allow bad rows.

        Raises
        ------
        DataError
            More cannot be used than the settings allow.
        """
        if self._settings.asked:
            self._drop(bad_labels(self.samples))
            self._drop(bad_content(self.samples, self._settings.longest_text))

    def check_classes(self, classes: int) -> None:
        """Set aside rows whose class index the model has no output for."""
        if self._settings.asked:
            largest = _largest(self.samples.labels)
            beyond = np.flatnonzero(largest >= classes)
            self._drop(
                {
                    int(line): f"the label {largest[line]} is beyond the model's {classes} outputs"
                    for line in beyond
                }
            )

    def check_inputs(self, model: TrainedModel) -> None:
        """Set aside rows that `preprocess` fails on, or returns NaN or infinite values for.

        What a row takes as input is measured on the way. Of answers, some may be longer than the
        model takes: said before it learns.
        """
        if self._settings.asked or self.samples.kind.written:
            step = model.measured(self.samples).rows_at_once(ROWS_PER_READ)
            self.check_use(lambda batch: model.inputs(batch, self.samples), step)
        self.samples = model.measured(self.samples)

    def check_use(self, use: Callable[[Batch], object], rows_per_read: int = ROWS_PER_READ) -> None:
        """Set aside rows that cannot be used, whatever the settings ask for.

        Parameters
        ----------
        use : callable
            Raises a `DataError` where a row of the batch cannot be used.
        rows_per_read : int

        Raises
        ------
        DataError
            More cannot be used than the settings allow, or rows only fail together.
        """
        reasons: dict[int, str] = {}
        total = -(-len(self.samples) // rows_per_read)
        batches = self.samples.batches(rows_per_read)
        for batch in track(batches, f"checking {self.samples.role}", total):
            reasons |= _rows_that_fail(use, self.samples, batch)
        self._drop(reasons)

    def leave_out(self, reasons: Mapping[int, str]) -> None:
        """Set aside rows that can be used, but must not be; they count as no bad rows."""
        self._ignored |= in_file(self.samples, reasons)
        self._reasons |= in_file(self.samples, reasons)
        self.samples = without(self.samples, reasons)

    def result(self) -> SetAside:
        """Return what was set aside."""
        return set_aside(self._opened, self._reasons)

    def _drop(self, reasons: Mapping[int, str]) -> None:
        self._reasons |= in_file(self.samples, reasons)
        self.samples = without(self.samples, reasons)
        rows = len(self._opened) - len(self._ignored)
        bad = len(self._reasons) - len(self._ignored)
        allowed = self._settings.largest_share
        if bad > allowed * rows or bad == rows:
            reasons = {p: why for p, why in self._reasons.items() if p not in self._ignored}
            first = set_aside(self._opened, reasons)
            raise DataError(
                f"{self._opened.source.description}: {bad} of {rows} rows cannot be used "
                f"({bad / rows:.2%}), more than bad_rows.largest_share allows ({allowed:.2%}); "
                f"the first: row {first.positions[0]} (id {first.ids[0]}): {first.reasons[0]}"
            )


def _largest(labels: NDArray[Any]) -> NDArray[Any]:
    return labels if labels.ndim == 1 else labels.max(axis=1)


def _rows_that_fail(
    use: Callable[[Batch], object], samples: Samples, batch: Batch
) -> dict[int, str]:
    """Find the rows that fail by halving, so that a batch without any costs one call."""
    try:
        use(batch)
    except DataError as error:
        if len(batch) == 1:
            return {int(batch.positions[0]): _reason(str(error), samples, batch)}
        lines = np.arange(len(batch))
        halves = np.array_split(lines, 2)
        found: dict[int, str] = {}
        for half in halves:
            found |= _rows_that_fail(use, samples, batch.select(half))
        if not found:
            # Each row alone can be used, but not with the others: sizes that differ, say.
            raise
        rest = lines[~np.isin(batch.positions, list(found))]
        if len(rest):
            use(batch.select(rest))
        return found
    return {}


def _reason(message: str, samples: Samples, batch: Batch) -> str:
    where = f"{samples.role} ({samples.source.description}): "
    row = f"row {batch.positions[0]} (id {batch.ids[0]}): "
    for prefix in (where, f"{samples.source.description}: ", row):
        message = message.removeprefix(prefix)
    return message


def note(aside: SetAside) -> str:
    """Return what the report says of the rows of one split that were set aside."""
    bad = [
        f"{row_id}: {reason}"
        for row_id, reason in zip(aside.ids, aside.reasons, strict=True)
        if reason not in (IGNORE_REASON, IN_TRAIN)
    ]
    parts = []
    ignored = aside.reasons.count(IGNORE_REASON)
    if ignored:
        parts.append(
            f"{aside.role}: {ignored} of {aside.rows} rows were not judged, because "
            "their label is the one that ignore_label names, or no token or pixel of theirs is to "
            "be judged (set_aside.parquet has their ids)"
        )
    repeated = [
        str(row_id)
        for row_id, reason in zip(aside.ids, aside.reasons, strict=True)
        if reason == IN_TRAIN
    ]
    if repeated:
        more = f" and {len(repeated) - SHOWN} more" if len(repeated) > SHOWN else ""
        parts.append(
            f"{aside.role}: {len(repeated)} of {aside.rows} rows are training rows, too, "
            f"and are not trusted: {', '.join(repeated[:SHOWN])}{more}"
        )
    if bad:
        more = f"; and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
        parts.append(
            f"{aside.role}: {len(bad)} of {aside.rows} rows could not be used and were set aside "
            f"(all are in set_aside.parquet): {'; '.join(bad[:SHOWN])}{more}"
        )
    return ". ".join(parts)


def table_of(asides: Mapping[Role, SetAside]) -> pd.DataFrame:
    """Return `row_id`, `split`, `reason`: one line for every row that was set aside.

    Where the splits have ids of different types, all are text.
    """
    lines = [
        {"row_id": row_id, "split": aside.role, "reason": reason}
        for aside in asides.values()
        for row_id, reason in zip(aside.ids.tolist(), aside.reasons, strict=True)
    ]
    table = pd.DataFrame(lines, columns=["row_id", "split", "reason"])
    if table["row_id"].map(type).nunique() > 1:
        table["row_id"] = table["row_id"].astype(str)
    return table.astype({"split": str, "reason": str})


def with_unjudged_rows(mislabels: pd.DataFrame, aside: SetAside, train: Samples) -> pd.DataFrame:
    """Return one line for every training row, those set aside included, in the file's order.

    A row that was set aside has no score, no probability and no suggested label, is not flagged,
    and ranks after all others; its given label is missing where that is what is wrong with it.
    """
    if len(aside) == 0:
        return mislabels
    count = len(aside)
    usable = train.kind.usable(aside.labels, train.classes)
    given = np.full(count, None, dtype=object)
    given[usable] = train.label_values(aside.labels[usable])
    whole = pd.api.types.is_integer_dtype(mislabels["given_label"].dtype)
    label_type = "Int64" if whole else mislabels["given_label"].dtype
    unjudged = pd.DataFrame(
        {
            "row_id": aside.ids,
            "given_label": pd.array(given.tolist(), dtype=label_type),
            "suggested_label": pd.array([None] * count, dtype=label_type),
            "score": np.full(count, np.nan),
            "probability": np.full(count, np.nan),
            "flagged": np.zeros(count, dtype=bool),
            "rank": len(mislabels) + np.arange(1, count + 1),
        }
    )
    judged = mislabels.astype({"given_label": label_type, "suggested_label": label_type})
    return _in_file_order(judged, unjudged, aside)


def with_unjudged_suspects(contamination: pd.DataFrame, aside: SetAside) -> pd.DataFrame:
    """Return the pairs, and a line without a match for every suspect that was set aside."""
    if len(aside) == 0:
        return contamination
    count = len(aside)
    whole = pd.api.types.is_integer_dtype(contamination["row_id"].dtype)
    row_type = "Int64" if whole else contamination["row_id"].dtype
    unjudged = pd.DataFrame(
        {
            "query_id": aside.ids,
            "row_id": pd.array([None] * count, dtype=row_type),
            "rank": np.ones(count, dtype=np.int64),
            "score": np.full(count, np.nan),
            "p_value": np.full(count, np.nan),
            "flagged": np.zeros(count, dtype=bool),
        }
    )
    pairs = contamination.astype({"row_id": row_type})
    return pd.concat([pairs, unjudged], ignore_index=True)


def _in_file_order(kept: pd.DataFrame, others: pd.DataFrame, aside: SetAside) -> pd.DataFrame:
    positions = np.setdiff1d(np.arange(aside.rows), aside.positions)
    order = np.argsort(np.concatenate([positions, aside.positions]), kind="stable")
    return pd.concat([kept, others], ignore_index=True).iloc[order].reset_index(drop=True)

"""Other opinions: probabilities of any other model, in columns beside rows and trusted samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dataaudit.config import AuditConfig
from dataaudit.datasets.samples import ROWS_PER_READ, Samples
from dataaudit.errors import ConfigError, DataError
from dataaudit.flags.inputs import View
from dataaudit.flags.probabilities import SMALLEST, Values, row_blocks, softmax
from dataaudit.inputs import Loaded
from dataaudit.mirror.probes import Judged
from dataaudit.storage.on_disk import Growing, one_array


def opinions_of(loaded: Loaded, config: AuditConfig) -> list[View]:
    """Return what other models say of rows and trusted samples, one view of each model.

    Raises
    ------
    ConfigError
        There are no trusted samples to weigh them on, or not as many columns as classes.
    DataError
        A column is missing, or holds something else than probabilities.
    """
    train, held_out = loaded.train, loaded.held_out
    named = config.train.opinions
    if not named:
        return []
    if held_out is None:
        raise ConfigError(
            "train.opinions: found no trusted samples; expected held_out, with the same columns, "
            "because opinions are weighed on samples whose label is known"
        )
    for name, columns in named.items():
        if len(columns) != len(train.classes):
            raise ConfigError(
                f"train.opinions: {name}: found {len(columns)} columns, expected "
                f"{len(train.classes)}, one for each class, in their order"
            )
    return [
        View(f"the opinion {name!r}", _read(train, columns), _read(held_out, columns))
        for name, columns in named.items()
    ]


def pooled(opinions: Sequence[Judged | View]) -> Judged | None:
    """Return one table of what several say, the mean of their logarithms; None of nothing."""
    if not opinions:
        return None
    return Judged(
        _mean([np.asarray(found.rows) for found in opinions]),
        _mean([np.asarray(found.trusted) for found in opinions]),
    )


def _mean(tables: Sequence[NDArray[np.floating]]) -> Values:
    return one_array(
        softmax(np.mean([np.log(np.maximum(table[rows], SMALLEST)) for table in tables], axis=0))
        for rows in row_blocks(*tables[0].shape)
    )


def _read(samples: Samples, columns: Sequence[str]) -> NDArray[np.float32]:
    """Return the probabilities, `[n, C]`; even where there is none, each row made to sum to 1."""
    found, start = Growing(), 0
    for frame in samples.source.frames(ROWS_PER_READ):
        missing = [name for name in columns if name not in frame.columns]
        if missing:
            raise DataError(
                f"{samples.source.description}: no column {missing[0]!r}, named in train.opinions; "
                f"the columns are {', '.join(map(str, frame.columns))}"
            )
        numbers = np.array(frame[list(columns)].apply(pd.to_numeric, errors="coerce"), dtype=float)
        numbers[frame[list(columns)].isna().all(axis=1)] = 1 / len(columns)
        bad = ~((numbers >= 0) & (numbers <= 1)).all(axis=1) | (numbers.sum(axis=1) == 0)
        if bad.any():
            row = start + int(bad.argmax())
            raise DataError(
                f"{samples.source.description}: row {row} (id {samples.ids[row]}): expected "
                f"probabilities in the columns {', '.join(columns)}, from 0 to 1 and not all 0"
            )
        found.add((numbers / numbers.sum(axis=1, keepdims=True)).astype(np.float32))
        start += len(frame)
    return found.finished()

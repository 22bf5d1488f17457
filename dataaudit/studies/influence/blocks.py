"""Influence on disk: blocks of rows × groups in Parquet, and reductions that stream over them.

    DIR/influence.json                                  groups, mirror, costs; written last
    DIR/scores/groups-000000/rows-000000000000.parquet  row_id, loss, scores (one value a group)

A folder `groups-…` holds all rows for some consecutive groups, and is a Parquet data set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from numpy.typing import NDArray

from dataaudit.errors import ConfigError, RunDirectoryError, writing
from dataaudit.run_directory.atomic import write_atomically

DESCRIPTION = "influence.json"
SCORES = "scores"


@dataclass(frozen=True)
class InfluenceBlock:
    """Mirrored influence of consecutive groups on consecutive rows.

    Attributes
    ----------
    row_start, group_start : int
        Positions of the first row and of the first group.
    row_ids : `[rows]`
    losses : float32 `[rows]`
        Under the trained model, nats.
    scores : float32 `[rows, groups]`
        Loss under the perturbed model minus loss under the trained one, nats.
    """

    row_start: int
    group_start: int
    row_ids: NDArray[Any]
    losses: NDArray[np.float32]
    scores: NDArray[np.float32]


def write_block(folder: Path, block: InfluenceBlock) -> None:
    """Store a block under the folder of an influence.

    Raises
    ------
    RunDirectoryError
        It cannot be written: a full disk, say.
    """
    rows, groups = block.scores.shape
    values = pa.array(np.ascontiguousarray(block.scores).reshape(-1))
    table = pa.table(
        {
            "row_id": pa.array(block.row_ids),
            "loss": pa.array(block.losses),
            "scores": pa.FixedSizeListArray.from_arrays(values, groups),
        }
    )
    target = _path(folder, block.group_start, block.row_start)

    def write(path: Path) -> None:
        # Scores are noise to a compressor and to a dictionary.
        pyarrow.parquet.write_table(
            table,
            path,
            compression="none",
            use_dictionary=False,
            write_statistics=False,
            row_group_size=max(1, rows),
        )

    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, write)


def _path(folder: Path, group_start: int, row_start: int) -> Path:
    return folder / SCORES / f"groups-{group_start:06d}" / f"rows-{row_start:012d}.parquet"


class Influence:
    """Mirrored influence of query groups on rows, read from disk block by block.

    Positive after `learn`: learning the group's queries makes the row's label less plausible, so
    that they conflict; negative: they agree. After `unlearn` it is the other way round.

    Parameters
    ----------
    folder : str or Path
        What `dataaudit.mirrored_influence` was given as `out`.

    Raises
    ------
    RunDirectoryError
        There is no finished influence in the folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            text = (self.folder / DESCRIPTION).read_text(encoding="utf-8")
            self.description: dict[str, Any] = json.loads(text)
            self.groups: list[str] = list(self.description["groups"])
            self.rows = int(self.description["rows"])
            self._row_starts = [int(start) for start in self.description["row_starts"]]
            self._group_starts = [int(start) for start in self.description["group_starts"]]
        except FileNotFoundError:
            raise RunDirectoryError(
                f"{self.folder}: holds no finished influence (no {DESCRIPTION})"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{self.folder / DESCRIPTION}: damaged: {error}") from None

    def summary(self) -> Iterator[str]:
        """Yield lines for the terminal: what was done, how, and what it took."""
        seconds = self.description["seconds"]
        yield f"{self.rows:,} rows, {len(self.groups):,} query groups; {self.description['reason']}"
        yield f"rows: {seconds['rows']:.1f} s; queries' steps: {seconds['steps']:.1f} s"
        yield f"scores: {self.folder / SCORES}"

    def blocks(self) -> Iterator[InfluenceBlock]:
        """Yield all blocks, one in memory at a time: for each block of rows, the groups in turn.

        Raises
        ------
        RunDirectoryError
            A block is missing or damaged.
        """
        for row_start in self._row_starts:
            for group_start in self._group_starts:
                yield self._read(group_start, row_start)

    def _read(self, group_start: int, row_start: int) -> InfluenceBlock:
        path = _path(self.folder, group_start, row_start)
        try:
            # Not `read_table`, which keeps a pool of threads and their memory.
            table = pyarrow.parquet.ParquetFile(path).read(use_threads=False)
            scores = table["scores"].combine_chunks()
            values = np.asarray(scores.flatten(), dtype=np.float32).reshape(len(table), -1)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise RunDirectoryError(f"{path}: cannot be read: {error}") from None
        return InfluenceBlock(
            row_start,
            group_start,
            table["row_id"].to_numpy(),
            table["loss"].to_numpy(),
            values,
        )

    def top(self, count: int = 10, *, lowest: bool = False) -> pd.DataFrame:
        """Return the rows that each group moves most: `group`, `rank`, `row_id`, `score`.

        Parameters
        ----------
        count : int
            Rows for each group; of equal scores the earlier row comes first.
        lowest : bool
            Whether the lowest scores are asked for instead of the highest.

        Raises
        ------
        ConfigError
            `count` is less than 1.
        """
        if count < 1:
            raise ConfigError(f"count: found {count}, expected at least 1")
        sign = 1 if lowest else -1
        best: dict[int, tuple[NDArray[Any], NDArray[np.float32]]] = {}
        for block in self.blocks():
            ids, scores = block.row_ids, block.scores
            if block.group_start in best:
                before_ids, before = best[block.group_start]
                # Each group has other rows in front, so that ids become a matrix here.
                ids = np.concatenate(
                    [before_ids, np.broadcast_to(ids[:, None], scores.shape)], axis=0
                )
                scores = np.concatenate([before, scores])
            else:
                ids = np.broadcast_to(ids[:, None], scores.shape)
            order = np.argsort(sign * scores, axis=0, kind="stable")[:count]
            best[block.group_start] = (
                np.take_along_axis(ids, order, axis=0),
                np.take_along_axis(scores, order, axis=0),
            )
        ids = np.concatenate([best[start][0].T for start in self._group_starts])
        scores = np.concatenate([best[start][1].T for start in self._group_starts])
        kept = scores.shape[1]
        return pd.DataFrame(
            {
                "group": np.repeat(np.array(self.groups, dtype=object), kept),
                "rank": np.tile(np.arange(1, kept + 1), len(self.groups)),
                "row_id": ids.reshape(-1),
                "score": scores.reshape(-1),
            }
        )

    def per_group(self) -> pd.DataFrame:
        """Return `group`, and `mean`, `lowest` and `highest` score over all rows, in nats."""
        total = np.zeros(len(self.groups))
        lowest, highest = np.full(len(total), np.inf), np.full(len(total), -np.inf)
        for block in self.blocks():
            place = slice(block.group_start, block.group_start + block.scores.shape[1])
            total[place] += block.scores.sum(axis=0, dtype=np.float64)
            lowest[place] = np.minimum(lowest[place], block.scores.min(axis=0))
            highest[place] = np.maximum(highest[place], block.scores.max(axis=0))
        return pd.DataFrame(
            {
                "group": self.groups,
                "mean": total / self.rows,
                "lowest": lowest,
                "highest": highest,
            }
        )

    def per_row(self, strongest: int | None = None) -> pd.DataFrame:
        """Return `row_id`, `loss` and `score` of every row, over all groups.

        Parameters
        ----------
        strongest : int or None
            The score is the mean over so many groups with the highest scores; None: over all.
            Scores of many groups cancel, so that the strongest say more.

        Raises
        ------
        ConfigError
            `strongest` is less than 1.
        """
        if strongest is not None and strongest < 1:
            raise ConfigError(f"strongest: found {strongest}, expected at least 1")
        count = min(strongest or len(self.groups), len(self.groups))
        columns: dict[str, list[NDArray[Any]]] = {"row_id": [], "loss": [], "score": []}
        for row_start in self._row_starts:
            kept: NDArray[np.float32] | None = None
            total = np.zeros(0)
            for group_start in self._group_starts:
                block = self._read(group_start, row_start)
                if strongest is None:
                    sums = block.scores.sum(axis=1, dtype=np.float64)
                    total = total + sums if len(total) else sums
                else:
                    parts = [block.scores] if kept is None else [kept, block.scores]
                    kept = _largest(parts, count)
            if kept is not None:
                total = kept.sum(axis=1, dtype=np.float64)
            columns["row_id"].append(block.row_ids)
            columns["loss"].append(block.losses)
            columns["score"].append(total / count)
        return pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})


def _largest(parts: Sequence[NDArray[np.float32]], count: int) -> NDArray[np.float32]:
    scores = np.concatenate(parts, axis=1)
    if scores.shape[1] <= count:
        return scores
    return np.partition(scores, scores.shape[1] - count, axis=1)[:, -count:]

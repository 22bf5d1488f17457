"""Do the intervals of a reviewed sample hold, whatever the model did?

    python benchmarks/reviewed_sample.py [--rows 60] [--draws 500] [--reviewers-err 0.05]
    python benchmarks/reviewed_sample.py --cells 'sms/*' --part untuned

Populations of 300 and 3,000 rows with 0 to 50 % wrong labels, ranked by a model that is good, weak
or useless, and flagged too little, rightly, too much or not at all. From each, rows are drawn as
`dataaudit sample` draws them, decided by a reviewer who knows the truth (or errs in a share of the
rows), and estimated as `dataaudit estimate` does. Printed: the share of draws in which the true
share lies in the interval, the mean error of the flagged rows' precision, the median width. With
`--cells` the populations are those of `calibration.py`, judged as an audit judges them.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from calibration import CELLS, PARTS, judged
from calibration_fits import fits_of

from dataaudit.flags.results import Interval
from dataaudit.review.sampling.design import draw
from dataaudit.review.sampling.inference import Counted, corrected_for_reviewers, share_wrong

HERE = Path(__file__).parent
SIZES = (300, 3000)
RATES = (0.0, 0.01, 0.05, 0.2, 0.5)
SEPARATIONS = {"useless": 0.0, "weak": 1.5, "good": 3.0}
FLAGGED = ("none", "a third", "all", "too many")


def population(
    size: int, rate: float, separation: float, flagged: str, generator: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    wrong = np.zeros(size, dtype=bool)
    wrong[generator.choice(size, round(rate * size), replace=False)] = True
    suspicion = generator.normal(size=size) + separation * wrong
    rank = np.empty(size, dtype=int)
    rank[np.argsort(-suspicion)] = np.arange(1, size + 1)
    count = wrong.sum()
    numbers = {"none": 0, "a third": count // 3, "all": count, "too many": 2.5 * count + 30}
    reported = rank <= min(int(numbers[flagged]), size)
    return pd.DataFrame({"rank": rank, "probability": 0.5, "flagged": reported}), wrong


@cache
def estimated(parts: tuple[Counted, ...]) -> Interval:
    """Return what the product says of such counts; many draws give the same ones."""
    return share_wrong(parts)


def holds(interval: Interval, true: float) -> bool:
    return bool(interval.low - 1e-9 <= true <= interval.high + 1e-9)


def cell(table: pd.DataFrame, wrong: np.ndarray, rows: int, draws: int, err: float) -> dict:
    flagged = table["flagged"].to_numpy()
    held, held_flagged, errors, widths = [], [], [], []
    for seed in range(draws):
        strata = draw(table, rows, seed)
        generator = np.random.default_rng(seed)
        said = wrong ^ (generator.random(len(wrong)) < err)
        parts = [Counted(s.rows, len(s.drawn), int(said[list(s.drawn)].sum())) for s in strata]
        rate = estimated(tuple(parts))
        if err:
            rate = corrected_for_reviewers(rate, err)
        held.append(holds(rate, wrong.mean()))
        widths.append(rate.high - rate.low)
        if flagged.any():
            true = wrong[flagged].mean()
            of_flagged = [part for part, s in zip(parts, strata, strict=True) if s.flagged]
            precision = estimated(tuple(of_flagged))
            held_flagged.append(holds(precision, true))
            errors.append(abs(precision.estimate - true))
    return {
        "rate held": np.mean(held),
        "width": np.median(widths),
        "precision held": np.mean(held_flagged) if held_flagged else np.nan,
        "precision error": np.mean(errors) if errors else np.nan,
    }


def made_up() -> Iterator[tuple[dict, pd.DataFrame, np.ndarray]]:
    """Yield names, flags and truth of populations that are drawn at random."""
    generator = np.random.default_rng(0)
    for size, rate, model, flagged in itertools.product(SIZES, RATES, SEPARATIONS, FLAGGED):
        names = {"rows": size, "wrong": rate, "model": model, "flagged": flagged}
        yield names, *population(size, rate, SEPARATIONS[model], flagged, generator)


def of_the_battery(chosen: argparse.Namespace) -> Iterator[tuple[dict, pd.DataFrame, np.ndarray]]:
    """Yield the same of audits of the calibration benchmark."""
    for item in CELLS:
        named = any(fnmatch.fnmatch(item.name, pattern) for pattern in chosen.cells)
        if named and (chosen.part == "all" or item in PARTS[chosen.part]):
            fits = fits_of(item, chosen.training_rows, chosen.data, chosen.cache)
            table, wrong = judged(fits).table, fits.given != fits.right
            flagged = int(table["flagged"].sum())
            yield {"cell": item.name, "wrong": wrong.mean(), "flagged": flagged}, table, wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--reviewers-err", type=float, default=0.0)
    parser.add_argument("--cells", nargs="*", help="patterns of names of calibration's cells")
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--training-rows", type=int, default=2000, help="of calibration's cells")
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE / "cache" / "calibration")
    chosen = parser.parse_args()
    populations = made_up() if chosen.cells is None else of_the_battery(chosen)
    lines = []
    for names, table, wrong in populations:
        found = cell(table, wrong, chosen.rows, chosen.draws, chosen.reviewers_err)
        lines.append({**names, **found})
        if chosen.cells is not None:
            print(
                names["cell"], *(f"{name} {value:.3f}" for name, value in found.items()), flush=True
            )
    cells = pd.DataFrame(lines)
    print(cells.round(3).to_string(index=False))
    print(f"\n{len(cells)} cells, {chosen.draws} draws of {chosen.rows} rows each")
    print(f"least share of draws in which the rate's interval held: {cells['rate held'].min():.3f}")
    print(f"the same of the precision of flagged rows: {cells['precision held'].min():.3f}")
    below = ((cells["rate held"] < 0.93) | (cells["precision held"] < 0.93)).sum()
    print(f"cells in which either held in fewer than 93 % of the draws: {below}")
    print(f"largest mean error of that precision: {cells['precision error'].max():.3f}")
    print(f"median width of the rate's interval: {cells['width'].median():.3f}")


if __name__ == "__main__":
    main()

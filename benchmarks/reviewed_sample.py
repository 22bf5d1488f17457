"""Do the intervals of a reviewed sample hold, whatever the model did?

    python benchmarks/reviewed_sample.py [--rows 60] [--draws 500] [--reviewers-err 0.05]

Populations of 300 and 3,000 rows with 0 to 50 % wrong labels, ranked by a model that is good, weak
or useless, and flagged too little, rightly, too much or not at all. From each, rows are drawn as
`dataaudit sample` draws them, decided by a reviewer who knows the truth (or errs in a share of the
rows), and estimated as `dataaudit estimate` does. Printed: the share of draws in which the true
share lies in the interval, the mean error of the flagged rows' precision, the median width.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
import pandas as pd

from dataaudit.flags.results import Interval
from dataaudit.review.sampling.design import draw
from dataaudit.review.sampling.inference import Counted, corrected_for_reviewers, share_wrong

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
        rate = share_wrong(parts, seed)
        if err:
            rate = corrected_for_reviewers(rate, err)
        held.append(holds(rate, wrong.mean()))
        widths.append(rate.high - rate.low)
        if flagged.any():
            true = wrong[flagged].mean()
            of_flagged = [part for part, s in zip(parts, strata, strict=True) if s.flagged]
            precision = share_wrong(of_flagged, seed)
            held_flagged.append(holds(precision, true))
            errors.append(abs(precision.estimate - true))
    return {
        "rate held": np.mean(held),
        "width": np.median(widths),
        "precision held": np.mean(held_flagged) if held_flagged else np.nan,
        "precision error": np.mean(errors) if errors else np.nan,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--reviewers-err", type=float, default=0.0)
    chosen = parser.parse_args()
    generator = np.random.default_rng(0)
    lines = []
    for size, rate, model, flagged in itertools.product(SIZES, RATES, SEPARATIONS, FLAGGED):
        table, wrong = population(size, rate, SEPARATIONS[model], flagged, generator)
        found = cell(table, wrong, chosen.rows, chosen.draws, chosen.reviewers_err)
        lines.append({"rows": size, "wrong": rate, "model": model, "flagged": flagged, **found})
    cells = pd.DataFrame(lines)
    print(cells.round(3).to_string(index=False))
    print(f"\n{len(cells)} cells, {chosen.draws} draws of {chosen.rows} rows each")
    print(f"least share of draws in which the rate's interval held: {cells['rate held'].min():.3f}")
    print(f"the same of the precision of flagged rows: {cells['precision held'].min():.3f}")
    print(f"largest mean error of that precision: {cells['precision error'].max():.3f}")
    print(f"median width of the rate's interval: {cells['width'].median():.3f}")


if __name__ == "__main__":
    main()

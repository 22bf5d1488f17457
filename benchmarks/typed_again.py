"""Leaks that no hash of rows finds: records typed again, code in other words, passages in texts.

    python benchmarks/typed_again.py [--data FOLDER]

Training rows are the left records (the original problems), suspects the right ones (the
rewordings). Of records, recall is the share of the pairs that people judged to be the same of which
the suspect is flagged and the row is its match; false is the same of the pairs that they judged to
be different, which were chosen to be alike. "Partner gone" is the share of matched suspects that
are flagged once every training row that they match is taken away, for every second of them; of
code, likewise. Passages of 20 to 80 words, from the last quarter of a book, are put into texts of
1,000 words from the first three quarters, in small letters and without punctuation; as many are
not.

The rival is the cosine of TF-IDF of character 3-grams of the whole text, with a threshold by
hindsight: the one that lets through 2 % of the false pairs (of code and passages, 1 % of all pairs
that are not the same). Ours knows no answers.

The score of names and titles was chosen while looking at dblp_acm; the others were not used.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from leak_calibration import LEVEL, describe
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from dataaudit.checks.examined import Examined
from dataaudit.checks.passages import Passages
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.flags.contamination import ExactCopies, flag_contamination
from dataaudit.likeness.descriptors import Descriptors
from dataaudit.likeness.identity import identity
from dataaudit.stages.leaks import calibration_rows, content_of, identical_pairs_of

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
SOURCES = ("fodors_zagats", "dblp_acm", "amazon_google")
NUMBERS = ("year", "price")
FALSE_RECORDS, FALSE_CODE = 0.02, 0.01

Pairs = NDArray[np.int64]


def fields(record: str) -> dict[str, str]:
    """Return the fields of `COL name VAL value ...`, without the quotes put around values."""
    parts = re.split(r"\s*COL (\w+) VAL ?", record)[1:]
    return {name: value.strip(" `'") for name, value in zip(parts[::2], parts[1::2], strict=True)}


def records(path: Path) -> tuple[pd.DataFrame, pd.DataFrame, Pairs, NDArray[np.bool_]]:
    """Return the records of both sources, each once, the judged pairs, and which are the same."""
    table = pd.read_parquet(path)
    sides, places = [], []
    for side in ("left", "right"):
        place, different = pd.factorize(table[side])
        places.append(place)
        sides.append(pd.DataFrame([fields(record) for record in different]))
    for frame in sides:
        for name in [name for name in NUMBERS if name in frame]:
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return sides[0], sides[1], np.stack(places, axis=1), table["match"].to_numpy() == 1


def flagged_rows(rows: Descriptors, suspects: Descriptors) -> Pairs:
    """Return the match of each suspect that an audit would flag, `[suspects]`, -1 for none."""
    same, generator = identity(rows, suspects), np.random.default_rng(0)
    clean = calibration_rows(same, generator)
    content = content_of(rows, suspects, same, clean, LEVEL, generator)
    found = content.found
    exact = ExactCopies(identical_pairs_of(found, same), same.repeated, len(rows))
    places = range(len(suspects))
    decisions = flag_contamination(
        places, range(len(rows)), found.rows, found.score, content.null, exact=exact, level=LEVEL
    )
    is_flagged = np.isin(places, np.array(decisions.flagged_queries, np.int64))
    return np.where(is_flagged, found.rows[:, 0], -1)


def partner_gone(rows: Descriptors, suspects: Descriptors, true: Pairs) -> float:
    """Return the share flagged of every second matched suspect, without the rows they match."""
    halved = np.unique(true[:, 1])[::2]
    gone = true[np.isin(true[:, 1], halved), 0]
    left = np.setdiff1d(np.arange(len(rows)), gone)
    return float((flagged_rows(rows.take(left), suspects.take(halved)) >= 0).mean())


def by_hindsight(
    texts: list[str], others: list[str], pairs: Pairs, same: NDArray[np.bool_], false: float
) -> float:
    """Return the rival's recall where it lets through a share of the false pairs."""
    maker = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True)
    found = maker.fit_transform([*texts, *others])
    left, right = found[pairs[:, 0]], found[len(texts) + pairs[:, 1]]
    cosine = np.asarray(left.multiply(right).sum(axis=1)).ravel()
    return float((cosine[same] > np.quantile(cosine[~same], 1 - false)).mean())


def of_records(source: str, path: Path) -> str:
    """Measure one source, and return its line."""
    left, right, pairs, same = records(path)
    rows, suspects = describe(left, left), describe(right, left)
    match = flagged_rows(rows, suspects)
    hit = match[pairs[:, 1]] == pairs[:, 0]
    texts = [
        [" ".join(map(str, row)) for row in frame.astype(object).fillna("").to_numpy()]
        for frame in (left, right)
    ]
    rival = by_hindsight(texts[0], texts[1], pairs, same, FALSE_RECORDS)
    gone = partner_gone(rows, suspects, pairs[same])
    return (
        f"| records, {source} | {same.sum()} of {len(same)} | {hit[same].mean():.3f} | "
        f"{hit[~same].mean():.4f} | {gone:.4f} | {rival:.3f} |"
    )


def of_code(path: Path) -> str:
    """Measure reworded code, and return its line."""
    table = pd.read_parquet(path)
    originals, reworded = table["original"].tolist(), table["rephrased"].tolist()
    rows, suspects = describe(originals, originals), describe(reworded, originals)
    own = np.arange(len(table))
    every = np.stack(np.meshgrid(own, own), axis=-1).reshape(-1, 2)
    rival = by_hindsight(originals, reworded, every, every[:, 0] == every[:, 1], FALSE_CODE)
    match = flagged_rows(rows, suspects)
    gone = partner_gone(rows, suspects, np.stack([own, own], axis=1))
    wrong = (match >= 0) & (match != own)
    return (
        f"| code in other words | {len(own)} of {len(every)} | {(match == own).mean():.3f} | "
        f"{wrong.mean():.4f} | {gone:.4f} | {rival:.3f} |"
    )


def of_passages(path: Path, seed: int = 0, count: int = 200) -> str:
    """Measure passages inside long texts, and return the line."""
    generator = np.random.default_rng(seed)
    words = path.read_text(encoding="utf-8").split()
    end = len(words) * 3 // 4
    texts = [" ".join(words[i : i + 1000]) for i in range(0, end, 1000)]
    # No two overlap: what is not planted must not stand in what is.
    starts = end + 80 * generator.permutation((len(words) - end) // 80)[:count]
    lengths = generator.integers(20, 81, count)
    passages = [" ".join(words[i : i + n]) for i, n in zip(starts, lengths, strict=True)]
    planted = np.arange(count) < count // 2
    inside = generator.integers(0, len(texts), count)
    for place in np.flatnonzero(planted):
        before, after = texts[inside[place]][:2000], texts[inside[place]][2000:]
        copied = re.sub("[^a-z' -]", "", passages[place].lower())
        texts[inside[place]] = f"{before} {copied} {after}"
    train, suspects = (
        samples_from_object(pd.DataFrame({"text": part}), ReadSettings(role, None, tolerate=True))
        for part, role in ((texts, "train"), (passages, "suspects"))
    )
    found = {issue.row_id for issue in Passages().look(Examined(train, suspects=suspects)).issues}
    flagged = np.isin(np.arange(count), [int(row) for row in found])
    every = np.stack(np.meshgrid(np.arange(len(texts)), np.arange(count)), -1).reshape(-1, 2)
    same = planted[every[:, 1]] & (inside[every[:, 1]] == every[:, 0])
    rival = by_hindsight(texts, passages, every, same, FALSE_CODE)
    return (
        f"| passages in long texts | {planted.sum()} of {count} | {flagged[planted].mean():.3f} | "
        f"{flagged[~planted].mean():.4f} | | {rival:.3f} |"
    )


def main() -> None:
    """Measure what data is there, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    folder: Path = parser.parse_args().data
    files = {source: folder / f"records_{source}.parquet" for source in SOURCES}
    print("| suspects | same, of pairs | recall | false | flagged, partner gone | rival's recall |")
    print("|---|---|---|---|---|---|")
    for source, path in files.items():
        if path.exists():
            print(of_records(source, path), flush=True)
    if (folder / "rephrased_code.parquet").exists():
        print(of_code(folder / "rephrased_code.parquet"), flush=True)
    if (folder / "tinyshakespeare.txt").exists():
        print(of_passages(folder / "tinyshakespeare.txt"))
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        sys.exit(f"not there: {', '.join(missing)}")


if __name__ == "__main__":
    main()

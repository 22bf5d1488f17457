"""Further checks: what is planted is found, and clean data raises nothing. Rivals beside it.

    python benchmarks/checks.py [--only NAME] [--clean 100] [--planted 20] [--no-rival] [--out FILE]

Each case draws training rows and trusted samples, plants one thing, and runs one check; clean data
are the same without it. An audit counts as a false alarm if any check at all reports anything. The
rival is cleanlab's Datalab at its defaults, given the same rows of a table as numbers, for
duplicates, outliers, imbalance, missing values and order; it knows nothing of the others.

Real data, where `../shared/data` is there: census rows dealt at random, so that what is said to
differ between splits or by place is false.

Nothing was tuned on the kinds marked with a star.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataaudit.checks.examined import Examined
from dataaudit.checks.registry import CHECKS
from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Role, Samples

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
ROWS, TRUSTED = 1000, 500
WORDS = np.array([f"word{number}" for number in range(2000)])
BY_NAME = {check.name: check for check in CHECKS}

Frame = pd.DataFrame
Generator = np.random.Generator


def mixed(rows: int, generator: Generator) -> Frame:
    """Normal, log-normal and heavy-tailed numbers, and words; the label depends on two."""
    size = generator.normal(10, 2, rows)
    colour = generator.choice(["red", "blue", "green", "grey"], rows, p=[0.5, 0.3, 0.15, 0.05])
    chance = (size - 10) / 2 + (colour == "red") + generator.normal(size=rows)
    return Frame(
        {
            "size": size.round(3),
            "price": generator.lognormal(size=rows).round(4),
            "income": (generator.pareto(2.5, rows) + 1).round(4),
            "colour": colour,
            "code": [f"K{number}" for number in generator.integers(100, 999, rows)],
            "label": (chance > 0.5).astype(int),
        }
    )


def numbers(rows: int, generator: Generator) -> Frame:
    """Ten correlated numbers; not looked at while the checks were made."""
    mixing = np.random.default_rng(7).normal(size=(10, 10))
    values = generator.normal(size=(rows, 10)) @ mixing
    frame = Frame(values.round(4), columns=[f"x{i}" for i in range(10)])
    return frame.assign(label=(values[:, 0] + generator.normal(0, 3, rows) > 0).astype(int))


def texts(rows: int, generator: Generator) -> Frame:
    """Random words, as often as Zipf has it."""
    chance = 1 / np.arange(1, len(WORDS) + 1)
    chance /= chance.sum()
    made = [
        " ".join(generator.choice(WORDS, generator.integers(8, 30), p=chance)) for _ in range(rows)
    ]
    return Frame({"text": made, "label": generator.integers(0, 3, rows)})


def pictures(rows: int, generator: Generator) -> Frame:
    """Smooth colour fields with noise."""
    return Frame(
        {
            "image": [_picture(generator) for _ in range(rows // 4)],
            "label": generator.integers(0, 2, rows // 4),
        }
    )


def _picture(generator: Generator) -> bytes:
    coarse = generator.integers(20, 235, (5, 5, 3)).astype(np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((40, 40)), np.float64)
    return encoded(pixels + generator.normal(0, 8, pixels.shape))


def encoded(pixels: np.ndarray[Any, Any], **how: Any) -> bytes:
    file = io.BytesIO()
    how = how or {"format": "PNG"}
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, **how)
    return file.getvalue()


def decoded(content: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(content)))


@dataclass
class Case:
    """Data with something planted: `wanted` are the columns, rows or kinds to be found."""

    train: Frame
    trusted: Frame
    wanted: set[Any]
    right: np.ndarray[Any, Any] | None = None
    times: dict[Role, str] | None = None


Plant = Callable[[Frame, Frame, Generator], Case]


def gives_away(how: str) -> Plant:
    def plant(train: Frame, trusted: Frame, generator: Generator) -> Case:
        for frame in (train, trusted):
            label = frame["label"].to_numpy()
            if how == "rounded":
                frame["copy"] = label * 7.0 + generator.normal(0, 0.5, len(frame))
            elif how == "grouped":
                frame["copy"] = [f"{'AB'[v]}{n}" for n, v in enumerate(label)]
            else:
                frame["copy"] = generator.integers(10, 999, len(frame)) * 10 + label
        return Case(train, trusted, {"copy"})

    return plant


def shortcut(train: Frame, trusted: Frame, generator: Generator) -> Case:
    label = train["label"].to_numpy()
    train["site"] = np.where(generator.random(len(train)) < 0.8, label, 1 - label).astype(str)
    trusted["site"] = generator.choice(["0", "1"], len(trusted))
    return Case(train, trusted, {"site"})


def word_shortcut(train: Frame, trusted: Frame, generator: Generator) -> Case:
    # In texts: a mark that annotators left in one class.
    marked = (train["label"] == 1) & (generator.random(len(train)) < 0.9)
    train.loc[marked, "text"] += " zzmark"
    drawn = generator.random(len(trusted)) < 0.3
    trusted.loc[drawn, "text"] += " zzmark"
    return Case(train, trusted, {"zzmark"})


def copies(train: Frame, trusted: Frame, generator: Generator) -> Case:
    rows = generator.choice(len(train), (2, 10), replace=False)
    train.iloc[rows[1]] = train.iloc[rows[0]].to_numpy()
    return Case(train, trusted, set(rows.ravel().tolist()))


def near_texts(train: Frame, trusted: Frame, generator: Generator) -> Case:
    long = np.flatnonzero(train["text"].str.split().str.len() >= 12)
    rows = generator.choice(long, (2, 10), replace=False)
    for source, copy in rows.T:
        words = train.loc[source, "text"].split()
        words[generator.integers(len(words))] = "changed"
        train.loc[copy, "text"] = " ".join(words).upper()
    return Case(train, trusted, set(rows.ravel().tolist()))


def near_pictures(train: Frame, trusted: Frame, generator: Generator) -> Case:
    rows = generator.choice(len(train), (2, 10), replace=False)
    for source, copy in rows.T:
        pixels = decoded(train.loc[source, "image"])
        train.loc[copy, "image"] = encoded(pixels * 1.1, format="JPEG", quality=70)
    return Case(train, trusted, set(rows.ravel().tolist()))


def gaps(train: Frame, trusted: Frame, generator: Generator) -> Case:
    train.loc[generator.choice(len(train), 15, replace=False), "size"] = np.nan
    train["always"] = 3
    return Case(train, trusted, {"size", "always"})


def rare(train: Frame, trusted: Frame, generator: Generator) -> Case:
    ones = np.flatnonzero(train["label"] == 1)
    train.loc[ones[12:], "label"] = 0
    return Case(train, trusted, {"label"})


def drifted(train: Frame, trusted: Frame, generator: Generator) -> Case:
    trusted["size"] += 1.2
    recoloured = generator.random(len(trusted)) < 0.3
    trusted.loc[recoloured, "colour"] = "grey"
    return Case(train, trusted, {"size", "colour"})


def sorted_rows(train: Frame, trusted: Frame, generator: Generator) -> Case:
    return Case(train.sort_values("label", ignore_index=True), trusted, {"(label)"})


def far(train: Frame, trusted: Frame, generator: Generator) -> Case:
    rows = generator.choice(len(train), 5, replace=False)
    train.loc[rows, "size"] *= 100
    return Case(train, trusted, set(rows.tolist()))


def odd(train: Frame, trusted: Frame, generator: Generator) -> Case:
    shape = (40, 40, 3)
    whole, coarse = (Image.fromarray(decoded(train.loc[row, "image"])) for row in (9, 8))
    planted = [
        encoded(generator.integers(0, 25, shape)),
        encoded(generator.integers(232, 255, shape)),
        encoded(np.full(shape, 120)),
        encoded(np.asarray(whole.resize((200, 40)))),
        encoded(np.asarray(coarse.resize((2, 2)).resize((40, 40)))),
    ]
    for row, content in enumerate(planted):
        train.loc[row, "image"] = content
    return Case(train, trusted, set(range(len(planted))))


def failing(train: Frame, trusted: Frame, generator: Generator) -> Case:
    bad = (trusted["colour"] == "blue").to_numpy()
    right = generator.random(len(trusted)) < np.where(bad, 0.5, 0.92)
    return Case(train, trusted, {"colour = blue"}, right=right.astype(float))


def late(train: Frame, trusted: Frame, generator: Generator) -> Case:
    days = pd.date_range("2026-01-01", periods=len(train) + len(trusted), freq="h").astype(str)
    train["day"], trusted["day"] = days[: len(train)], days[len(train) :]
    rows = generator.choice(len(train), 3, replace=False)
    train.loc[rows, "day"] = days[-1]
    return Case(train, trusted, set(rows.tolist()), times={"train": "day", "held_out": "day"})


PLANTED: dict[str, tuple[str, Callable[[int, Generator], Frame], Plant]] = {
    "target, cut into numbers": ("target_leak", mixed, gives_away("rounded")),
    "target, first letter": ("target_leak", mixed, gives_away("grouped")),
    "target, last digit": ("target_leak", mixed, gives_away("digit")),
    "target, cut into numbers *": ("target_leak", numbers, gives_away("rounded")),
    "shortcut, a column": ("shortcuts", mixed, shortcut),
    "shortcut, a column *": ("shortcuts", numbers, shortcut),
    "shortcut, a word *": ("shortcuts", texts, word_shortcut),
    "training rows later": ("later_rows", mixed, late),
    "copies, rows": ("duplicates", mixed, copies),
    "copies, texts": ("duplicates", texts, copies),
    "near copies, texts": ("duplicates", texts, near_texts),
    "near copies, pictures *": ("duplicates", pictures, near_pictures),
    "missing and constant": ("missing_values", mixed, gaps),
    "rare class": ("imbalance", mixed, rare),
    "drift": ("drift", mixed, drifted),
    "sorted by label": ("order", mixed, sorted_rows),
    "sorted by label *": ("order", texts, sorted_rows),
    "values times 100": ("outliers", mixed, far),
    "odd pictures *": ("odd_pictures", pictures, odd),
    "failing slice": ("slices", mixed, failing),
}


def samples(frame: Frame, role: Role) -> Samples:
    return samples_from_object(frame, ReadSettings(role, "label", tolerate=True))


def examined(case: Case) -> Examined:
    return Examined(
        samples(case.train, "train"),
        samples(case.trusted, "held_out"),
        times=case.times or {},
        right=case.right,
    )


def hits(name: str, found: Any, wanted: set[Any]) -> int:
    """Count what was wanted and reported."""
    seen = {issue.row_id for issue in found.issues} | {issue.column for issue in found.issues}
    if name == "slices":
        return sum(any(text in issue.what for issue in found.issues) for text in wanted)
    return len(wanted & seen)


def datalab_flags(name: str, case: Case) -> set[int] | bool | None:
    """Return the rows that Datalab flags, or whether it raises a data-wide issue; None: not run."""
    kinds = {
        "duplicates": "near_duplicate",
        "outliers": "outlier",
        "imbalance": "class_imbalance",
        "missing_values": "null",
        "order": "non_iid",
    }
    if name not in kinds:
        return None
    from cleanlab import Datalab

    numbers_of = pd.get_dummies(case.train.drop(columns=["label", "code"], errors="ignore"))
    if case.train.columns[0] in ("text", "image"):
        return None
    values = numbers_of.to_numpy(np.float64)
    spread = np.nanstd(values, axis=0)
    scaled = (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1)
    lab = Datalab({"label": case.train["label"].tolist()}, label_name="label", verbosity=0)
    with contextlib.redirect_stdout(io.StringIO()):
        features = scaled if name == "missing_values" else np.nan_to_num(scaled)
        lab.find_issues(features=features, issue_types={kinds[name]: {}})
    issues = lab.get_issues(kinds[name])
    flagged = set(np.flatnonzero(issues[f"is_{kinds[name]}_issue"]).tolist())
    return bool(flagged) if name in ("order", "imbalance") else flagged


def planted(only: str, times: int, *, compare: bool) -> Iterator[dict[str, Any]]:
    for title, (name, make, plant) in PLANTED.items():
        if only not in title and only != name:
            continue
        found, wanted, others, rival, rival_others = 0, 0, 0, 0, 0
        compared = False
        for seed in range(times):
            generator = np.random.default_rng([seed, 1])
            case = plant(make(ROWS, generator), make(TRUSTED, generator), generator)
            result = BY_NAME[name].look(examined(case))
            wanted += len(case.wanted)
            hit = hits(name, result, case.wanted)
            found += hit
            others += max(len(result.issues) - hit, 0)
            flagged = datalab_flags(name, case) if compare else None
            if flagged is None:
                continue
            compared = True
            if isinstance(flagged, bool):
                rival += flagged * len(case.wanted)
            elif name == "missing_values":
                rival += bool(flagged)
            else:
                rival += len(flagged & case.wanted)
                rival_others += len(flagged - case.wanted)
        yield {
            "planted": title,
            "check": name,
            "audits": times,
            "recall": found / max(wanted, 1),
            "other issues an audit": others / max(times, 1),
            "Datalab recall": rival / max(wanted, 1) if compared else None,
            "Datalab other rows an audit": rival_others / max(times, 1) if compared else None,
        }


CLEAN: dict[str, Callable[[int, Generator], Frame]] = {
    "mixed table": mixed,
    "ten numbers *": numbers,
    "texts": texts,
    "pictures *": pictures,
}


def clean(times: int, *, compare: bool) -> Iterator[dict[str, Any]]:
    for title, make in CLEAN.items():
        raised: dict[str, int] = {}
        alarms = rival = 0
        for seed in range(times):
            generator = np.random.default_rng([seed, 2])
            case = Case(make(ROWS, generator), make(TRUSTED, generator), set())
            case.right = (generator.random(len(case.trusted)) < 0.85).astype(float)
            data = examined(case)
            reporting = [
                check.name
                for check in CHECKS
                if check.lacking(data) is None and check.look(data).issues
            ]
            for name in reporting:
                raised[name] = raised.get(name, 0) + 1
            alarms += bool(reporting)
            if compare and title == "mixed table" and seed < 20:
                kinds = ("duplicates", "outliers", "imbalance", "missing_values", "order")
                rival += any(bool(datalab_flags(name, case)) for name in kinds)
        yield {
            "clean": title,
            "audits": times,
            "audits that raise one": alarms,
            "by": raised,
            "Datalab, of 20": rival if compare and title == "mixed table" else None,
        }


def real(times: int) -> Iterator[dict[str, Any]]:
    """Census rows dealt at random: what is reported between splits of one population is false."""
    path = DATA / "adult.parquet"
    if not path.exists():
        print(f"{path}: not there; real data was left out", file=sys.stderr)
        return
    adult = pd.read_parquet(path).rename(columns={"income": "label"})
    adult["label"] = (adult["label"] == ">50K").astype(int)
    raised: dict[str, int] = {}
    split = ("drift", "shortcuts", "order", "slices", "target_leak")
    for seed in range(times):
        generator = np.random.default_rng([seed, 3])
        order = generator.permutation(len(adult))
        train, trusted = (
            adult.iloc[order[:3000]].reset_index(drop=True),
            adult.iloc[order[3000:4500]].reset_index(drop=True),
        )
        case = Case(train, trusted, set(), right=(generator.random(1500) < 0.85).astype(float))
        data = examined(case)
        for name in split:
            if BY_NAME[name].look(data).issues:
                raised[name] = raised.get(name, 0) + 1
    yield {"clean": "census rows *", "audits": times, "checks": split, "raised": raised}


def main() -> None:
    """Run what was asked for, and print a line of JSON for each row of the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--clean", type=int, default=100)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--rival", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = []
    parts = [planted(given.only, given.planted, compare=given.rival)]
    if not given.only:
        parts += [clean(given.clean, compare=given.rival), real(given.clean)]
    for part in parts:
        for line in part:
            lines.append(line)
            print(json.dumps(line), flush=True)
    if given.out is not None:
        given.out.write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

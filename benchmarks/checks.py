"""Further checks: what is planted is found, and clean data raises nothing. Rivals beside it.

    python benchmarks/checks.py --audits FILE [--only NAME] [--clean 100] [--planted 20]
        [--minutes 5] [--data FOLDER]

FILE takes a line of JSON for each audit that is done; a second call goes on from there. With all
of them done, or after so many minutes, the tables of what is done are printed.

Each case draws training rows and trusted samples, plants one thing, and runs one check; clean data
are the same without it. An audit counts as a false alarm if any check at all reports anything. The
rival is cleanlab's Datalab at its defaults, given the same rows as numbers (of texts, 64 numbers
by TF-IDF and SVD; of pictures, 8 x 8 thumbnails), for duplicates, outliers, imbalance, missing
values and order; it knows nothing of the others.

Real data, where `--data` has them: census rows, messages and pictures dealt at random, so that
what is said to differ between splits or by place is false.

Nothing was tuned on the kinds marked with a star.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

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


def as_numbers(frame: Frame) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return rows as the numbers that the rival is given, `[rows, numbers]`."""
    if "text" in frame:
        found = TfidfVectorizer(sublinear_tf=True).fit_transform(frame["text"])
        return TruncatedSVD(64, random_state=0).fit_transform(found)
    if "image" in frame:
        small = [Image.open(io.BytesIO(content)).resize((8, 8)) for content in frame["image"]]
        return np.stack([np.asarray(picture, np.float64).ravel() for picture in small])
    return pd.get_dummies(frame.drop(columns=["label", "code"])).to_numpy(np.float64)


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

    values = as_numbers(case.train)
    spread = np.nanstd(values, axis=0)
    scaled = (values - np.nanmean(values, axis=0)) / np.where(spread > 0, spread, 1)
    lab = Datalab({"label": case.train["label"].tolist()}, label_name="label", verbosity=0)
    with contextlib.redirect_stdout(io.StringIO()):
        features = scaled if name == "missing_values" else np.nan_to_num(scaled)
        lab.find_issues(features=features, issue_types={kinds[name]: {}})
    issues = lab.get_issues(kinds[name])
    flagged = set(np.flatnonzero(issues[f"is_{kinds[name]}_issue"]).tolist())
    return bool(flagged) if name in ("order", "imbalance") else flagged


def planted_audit(title: str, seed: int) -> dict[str, Any]:
    """Return what was planted, found and said besides, by the check and by the rival."""
    name, make, plant = PLANTED[title]
    generator = np.random.default_rng([seed, 1])
    case = plant(make(ROWS, generator), make(TRUSTED, generator), generator)
    result = BY_NAME[name].look(examined(case))
    hit = hits(name, result, case.wanted)
    flagged = datalab_flags(name, case)
    rival: dict[str, Any] = {}
    if isinstance(flagged, bool):
        rival = {"rival_found": flagged * len(case.wanted), "rival_others": 0}
    elif flagged is not None and name == "missing_values":
        rival = {"rival_found": int(bool(flagged)), "rival_others": 0}
    elif flagged is not None:
        rival = {
            "rival_found": len(flagged & case.wanted),
            "rival_others": len(flagged - case.wanted),
        }
    others = sum(
        issue.row_id not in case.wanted and issue.column not in case.wanted
        for issue in result.issues
    )
    if name == "slices":
        others = len(result.issues) - hit
    return {"check": name, "wanted": len(case.wanted), "found": hit, "others": others, **rival}


CLEAN: dict[str, Callable[[int, Generator], Frame]] = {
    "mixed table": mixed,
    "ten numbers *": numbers,
    "texts": texts,
    "pictures *": pictures,
}
RIVAL_KINDS = ("duplicates", "outliers", "imbalance", "missing_values", "order")
RIVAL_AUDITS = 20
"""Clean audits of tables that Datalab is given, too."""


def clean_audit(title: str, seed: int) -> dict[str, Any]:
    """Return which checks, all of them run, report something on data without any fault."""
    generator = np.random.default_rng([seed, 2])
    case = Case(CLEAN[title](ROWS, generator), CLEAN[title](TRUSTED, generator), set())
    case.right = (generator.random(len(case.trusted)) < 0.85).astype(float)
    done: dict[str, Any] = {"raised": raised(examined(case), [*BY_NAME])}
    if title == "mixed table" and seed < RIVAL_AUDITS:
        done["rival_raised"] = [name for name in RIVAL_KINDS if datalab_flags(name, case)]
    return done


def raised(data: Examined, names: list[str]) -> list[str]:
    """Return the checks of those named that can run and report something."""
    checks = [BY_NAME[name] for name in names]
    return [check.name for check in checks if not check.lacking(data) and check.look(data).issues]


def census(folder: Path) -> Frame:
    adult = pd.read_parquet(folder / "adult.parquet").rename(columns={"income": "label"})
    return adult.assign(label=(adult["label"] == ">50K").astype(int))


def messages(folder: Path) -> Frame:
    sms = pd.read_parquet(folder / "sms_spam.parquet")
    return sms.assign(label=(sms["label"] == "spam").astype(int))


def photographs(folder: Path) -> Frame:
    test = pd.read_parquet(folder / "cifar10_test.parquet", columns=["image", "label"])
    return test.assign(label=test["label"].astype("category").cat.codes.astype(int))


REAL: dict[str, tuple[str, Callable[[Path], Frame], int, int]] = {
    "census rows dealt at random *": ("adult.parquet", census, 3000, 1500),
    "messages dealt at random *": ("sms_spam.parquet", messages, 3000, 1500),
    "photographs dealt at random *": ("cifar10_test.parquet", photographs, 1000, 500),
}
BY_SPLIT = ["drift", "shortcuts", "order", "slices", "target_leak"]
"""Checks whose findings are false where rows are dealt at random."""


def real_audit(title: str, seed: int, folder: Path) -> dict[str, Any]:
    """Return which checks by split report something where real rows are dealt at random."""
    _, read, rows, trusted = REAL[title]
    frame, generator = read(folder), np.random.default_rng([seed, 3])
    order = generator.permutation(len(frame))[: rows + trusted]
    parts = (frame.iloc[part].reset_index(drop=True) for part in np.split(order, [rows]))
    right = (generator.random(trusted) < 0.85).astype(float)
    return {"raised": raised(examined(Case(*parts, set(), right=right)), BY_SPLIT)}


Job = tuple[str, str, int, Callable[[], dict[str, Any]]]


def jobs(given: argparse.Namespace) -> Iterator[Job]:
    """Yield every audit that was asked for: its part, case, seed, and what runs it."""
    for title, (name, _, _) in PLANTED.items():
        if given.only in title or given.only == name:
            for seed in range(given.planted):
                yield "planted", title, seed, lambda t=title, s=seed: planted_audit(t, s)
    if given.only:
        return
    for title in CLEAN:
        for seed in range(given.clean):
            yield "clean", title, seed, lambda t=title, s=seed: clean_audit(t, s)
    for title, (file, *_) in REAL.items():
        if not (given.data / file).exists():
            print(f"{given.data / file}: not there; left out", file=sys.stderr)
            continue
        for seed in range(given.clean):
            yield "real", title, seed, lambda t=title, s=seed: real_audit(t, s, given.data)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the audits that are done, and drop a line that was cut off."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    path.write_text(whole, encoding="utf-8")
    return [json.loads(line) for line in whole.splitlines()]


def tables(done: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the tables, in Markdown."""
    by_case: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for audit in done:
        by_case.setdefault((audit["part"], audit["case"]), []).append(audit)
    yield "| planted | check | audits | recall | other issues an audit | Datalab | its other rows |"
    yield "|---|---|---|---|---|---|---|"
    for (part, title), audits in by_case.items():
        if part == "planted":
            total = Counter[str]()
            for audit in audits:
                total.update({k: v for k, v in audit.items() if isinstance(v, int)})
            rival = "has none | "
            if "rival_found" in total:
                others = total["rival_others"] / len(audits)
                rival = f"{total['rival_found'] / total['wanted']:.2f} | {others:.1f}"
            yield (
                f"| {title} | `{audits[0]['check']}` | {len(audits)} "
                f"| {total['found'] / total['wanted']:.2f} | {total['others'] / len(audits):.1f} "
                f"| {rival} |"
            )
    yield ""
    yield "| clean | audits | raise anything | by | Datalab |"
    yield "|---|---|---|---|---|"
    for (part, title), audits in by_case.items():
        if part != "planted":
            by = Counter(name for audit in audits for name in audit["raised"])
            alarms = sum(bool(audit["raised"]) for audit in audits)
            rival = [audit["rival_raised"] for audit in audits if "rival_raised" in audit]
            said = f"{sum(map(bool, rival))} of {len(rival)}" if rival else ""
            who = ", ".join(f"`{name}` {times}" for name, times in by.items())
            yield f"| {title} | {len(audits)} | {alarms} | {who} | {said} |"


def main() -> None:
    """Run what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--clean", type=int, default=100)
    parser.add_argument("--planted", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    done = read_lines(given.audits)
    known = {(audit["part"], audit["case"], audit["seed"]) for audit in done}
    end = time.monotonic() + 60 * given.minutes
    with given.audits.open("a", encoding="utf-8") as file:
        for part, title, seed, run in jobs(given):
            if (part, title, seed) in known:
                continue
            if time.monotonic() > end:
                print("not all audits are done; call again", file=sys.stderr)
                break
            done.append({"part": part, "case": title, "seed": seed, **run()})
            file.write(json.dumps(done[-1]) + "\n")
            file.flush()
    print("\n".join(tables(done)))


if __name__ == "__main__":
    main()

"""Contamination flags against rivals, on real and on planted leaks; prints a table, writes JSON.

    python benchmarks/contamination.py
    python benchmarks/contamination.py --parts texts tables --seeds 0 1 2 --out leaks.json

Needs ../shared/data and, besides the package, imagehash, datasketch and cleanlab[datalab]. Parts
and seeds that the JSON file already holds are not run again.

    cifair   143 judged pairs; all test images are suspects, 12,000 rows; a model that memorized
             its rows and one that did not
    images   planted in 1,600 suspects: exact, JPEG 30, crop, flip, shift, brightness, noise
    texts    planted in 1,500 messages without repeats: exact, case and punctuation, word dropout,
             sentence order
    repeats  the same among all messages, of which 7 % repeat another
    tables   planted in 2,000 Adult rows: exact, rounded, one field changed

Every kind is 5 % of the suspects. Each part also judges its clean suspects alone (nothing
planted).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import leak_rivals as rivals
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from planting import IMAGE_EDITS, TABLE_EDITS, TEXT_EDITS
from sklearn.metrics import roc_auc_score
from small_network import CACHE, decode, features, to_tensor, trained

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.flags.clean_null import clean_null
from dataaudit.flags.contamination import (
    ExactCopies,
    PairDecisions,
    flag_contamination,
    influence_scores,
)
from dataaudit.flags.null_distribution import fit_null
from dataaudit.likeness.descriptors import Descriptors
from dataaudit.likeness.identity import identity
from dataaudit.likeness.images import describe_images
from dataaudit.likeness.matching import Matcher, Matches
from dataaudit.likeness.tables import describe_table
from dataaudit.likeness.texts import describe_texts
from dataaudit.mirror.unlearning import reactions, unlearned
from dataaudit.models.trained import TrainedModel
from dataaudit.stages.leaks import (
    BACKGROUNDS,
    INFLUENCE_CALIBRATION,
    INFLUENCE_SUSPECTS,
    identical_pairs_of,
    with_identical_first,
)
from dataaudit.tasks import Classification

DATA = Path(__file__).parents[1] / ".." / "shared" / "data"
CALIBRATION_ROWS = 4000
PLANTED_SHARE = 0.05
RECIPE_SUSPECTS, RECIPE_ROWS = 40, 2400
"""The published recipe moves the whole model for each suspect, so it is run on some of them."""

Array = NDArray[Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Searched:
    """Suspects and calibration rows, matched with the training rows.

    `exact` says which of them are identical to a row.
    """

    found: Matches
    calibration: Matches
    exact: ExactCopies

    def only(self, chosen: Array) -> Searched:
        """Leave out the other suspects."""
        parts = (self.found.rows, self.found.similarity, self.found.score)
        exact = replace(self.exact, pairs=self.exact.pairs[chosen])
        return Searched(Matches(*(part[chosen] for part in parts)), self.calibration, exact)

    def decide(self, **influence: Any) -> tuple[Array, PairDecisions]:
        """Return who is flagged `[suspects]`, and the decisions behind it."""
        count = len(self.found.rows)
        similar = self.found.score[~self.exact.suspects, 0]
        null, _ = clean_null(self.calibration.score[:, 0], similar)
        decisions = flag_contamination(
            range(count),
            range(self.exact.rows),
            self.found.rows,
            self.found.score,
            null,
            exact=self.exact,
            **influence,
        )
        flagged = np.zeros(count, bool)
        flagged[np.array(decisions.flagged_queries, int)] = True
        return flagged, decisions


def search(name: str, suspects: Descriptors, rows: Descriptors, calibration: str) -> Searched:
    """Match suspects and calibration rows, from the cache where it is there."""
    own = np.sort(
        np.random.default_rng(0).choice(len(rows), min(CALIBRATION_ROWS, len(rows)), replace=False)
    )
    matcher, same = Matcher(rows), identity(rows, suspects)
    own = own[~same.repeats[own]]
    found = _cached(name, lambda: matcher.match(suspects))
    found = with_identical_first(found, matcher, suspects, same)
    return Searched(
        found,
        _cached(calibration, lambda: matcher.match(rows.take(own), exclude=own)),
        ExactCopies(identical_pairs_of(found, same), same.repeated, len(rows)),
    )


def _cached(name: str, matched: Callable[[], Matches]) -> Matches:
    path = CACHE / f"{name}.npz"
    if path.exists():
        return Matches(**np.load(path))
    started = time.monotonic()
    found = matched()
    print(f"  {name}: matched in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    CACHE.mkdir(exist_ok=True)
    np.savez(path, rows=found.rows, similarity=found.similarity, score=found.score)
    return found


def recall_at(score: Array, leaked: Array, count: int) -> float:
    """Return the share of the leaked suspects among the `count` of largest score."""
    first = np.argsort(-score, kind="stable")[:count]
    return float(leaked[first].sum() / leaked.sum())


def partner_found(order: Array, truth: Array, leaked: Array) -> Result:
    hit = order[leaked] == truth[leaked][:, None]
    return {"first": float(hit[:, 0].mean()), "in five": float(hit[:, :5].any(axis=1).mean())}


def read_images() -> tuple[pd.DataFrame, pd.DataFrame, Array, Array]:
    rows = pd.read_parquet(DATA / "cifar10n_train.parquet")
    tests = pd.read_parquet(DATA / "cifar10_test.parquet")
    return rows, tests, decode(rows["image"]), decode(tests["image"])


def cifair(seed: int) -> Result:
    """Judge the pairs that people found; `seed` is that of the models."""
    rows, tests, row_images, test_images = read_images()
    pairs = pd.read_csv(DATA / "cifair10_pairs.csv")
    place = pd.Series(range(len(tests)), tests["cifar_index"])[pairs["test_cifar_index"]].to_numpy()
    other = pd.Series(range(len(rows)), rows["cifar_index"])[pairs["train_cifar_index"]].to_numpy()
    near = (pairs["judgment"] <= 1).to_numpy()
    truth, leaked = np.full(len(tests), -1), np.zeros(len(tests), bool)
    truth[place] = other
    leaked[place[near]] = True
    # Neither leaks nor clean: "very similar", judgment 2.
    judged = np.ones(len(tests), bool)
    judged[place[~near]] = False

    described = describe_images(list(row_images))
    searched = search("cifair", describe_images(list(test_images)), described, "cifar-calibration")
    flagged, decisions = searched.decide()
    unlisted = flagged & ~leaked & judged
    quiet, _ = searched.only(~leaked & judged).decide()
    contact_sheet(test_images, row_images, searched.found, unlisted)
    count = int(flagged.sum())

    def rate(order: Array, score: Array) -> Result:
        return {
            **partner_found(order, truth, leaked),
            "auroc": roc_auc_score(leaked[judged], score[judged]),
            "recall at as many flags": recall_at(score, leaked, count),
        }

    result: Result = {
        "content": {
            **rate(searched.found.rows, searched.found.score[:, 0]),
            **_flag_rates(flagged, leaked, judged),
            "notes": decisions.notes,
        },
        "listed pairs taken out: share flagged": float(quiet.mean()),
        "pixel distance": rate(*rivals.pixel_distance(test_images, row_images)),
        "phash": rate(*rivals.perceptual_hash(test_images, row_images, "phash")),
        "dhash": rate(*rivals.perceptual_hash(test_images, row_images, "dhash")),
    }
    images = (test_images, tests["label"].to_numpy(np.int64))
    training = (row_images, rows["random_label"].to_numpy(np.int64))
    pool = np.unique(np.r_[truth[leaked], np.random.default_rng(0).choice(len(rows), RECIPE_ROWS)])
    some = np.flatnonzero(leaked)[:RECIPE_SUSPECTS]
    for memorized in (True, False):
        model = trained(rows, memorized, seed)
        reaction, clean = influence(model, rows, tests, searched.found, ~leaked & judged)
        both, _ = searched.decide(influence=reaction, influence_null=fit_null(clean, trusted=True))
        by_influence = np.take_along_axis(
            searched.found.rows, np.argsort(-np.nan_to_num(reaction, nan=-np.inf), axis=1), axis=1
        )
        known = judged & ~np.isnan(reaction[:, 0])
        recipe = rivals.published_recipe(model, images, training, some, pool)
        left, right = features(model, test_images), features(model, row_images)
        near_duplicate = rivals.datalab(left, right)
        result["memorized" if memorized else "not memorized"] = {
            "influence alone": {
                **partner_found(by_influence, truth, leaked),
                "auroc": roc_auc_score(leaked[known], reaction[known, 0]),
                "suspects": int(known.sum()),
            },
            "both": _flag_rates(both, leaked, judged),
            "feature cosine": rate(*rivals.feature_cosine(model, test_images, row_images)),
            "datalab on features": {
                "auroc": roc_auc_score(leaked[judged], near_duplicate[judged]),
                "recall at as many flags": recall_at(near_duplicate, leaked, count),
            },
            f"published recipe, {len(some)} suspects, {len(pool)} rows": partner_found(
                recipe, truth[some], np.ones(len(some), bool)
            ),
        }
    return result


def _flag_rates(flagged: Array, leaked: Array, judged: Array) -> Result:
    unlisted = int((flagged & ~leaked & judged).sum())
    return {
        "flagged": int(flagged.sum()),
        "recall": float(flagged[leaked].mean()),
        "flagged, not listed": unlisted,
        "share not listed": unlisted / max(int(flagged.sum()), 1),
    }


def influence(
    model: torch.nn.Module, rows: pd.DataFrame, tests: pd.DataFrame, found: Matches, clean: Array
) -> tuple[Array, Array]:
    """Unlearn the suspects most alike to a row, and clean ones; `[suspects, matches]`, `[clean]`.

    Clean queries are drawn from suspects that no list names.
    """
    settings = ReadSettings("train", "label", classes=list(range(10)))
    training = rows[["image"]].assign(label=rows["random_label"])
    train = samples_from_object(training, settings)
    suspects = samples_from_object(tests[["image", "label"]], replace(settings, role="suspects"))
    audited = TrainedModel(model, lambda frame: to_tensor(decode(frame["image"])), "residual")
    task = Classification(10)
    drawn = np.random.default_rng(0).choice(
        np.flatnonzero(clean), BACKGROUNDS + INFLUENCE_CALIBRATION, replace=False
    )
    backgrounds = [unlearned(audited, task, suspects, int(p)) for p in drawn[:BACKGROUNDS]]
    chosen = np.sort(np.argsort(-found.score[:, 0], kind="stable")[:INFLUENCE_SUSPECTS])
    scores = np.full(found.rows.shape, np.nan)
    scores[chosen] = influence_scores(
        *reactions(audited, task, suspects, chosen, train, found.rows[chosen], backgrounds)
    )
    others = np.sort(drawn[BACKGROUNDS:])
    reacting = reactions(
        audited, task, suspects, others, train, found.rows[others, :1], backgrounds
    )
    return scores, influence_scores(*reacting)[:, 0]


def contact_sheet(suspects: Array, rows: Array, found: Matches, chosen: Array) -> None:
    """Draw suspects beside their matches, most alike first, to be looked at."""
    side, columns = 64, 8
    order = [int(i) for i in np.argsort(-found.score[:, 0], kind="stable") if chosen[i]]
    lines = -(-len(order) // columns)
    sheet = Image.new("RGB", (columns * (2 * side + 8), max(lines, 1) * (side + 14)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, suspect in enumerate(order):
        x, y = number % columns * (2 * side + 8), number // columns * (side + 14)
        pair = (suspects[suspect], rows[found.rows[suspect, 0]])
        for offset, picture in zip((0, side), pair, strict=True):
            sheet.paste(Image.fromarray(picture).resize((side, side)), (x + offset, y + 12))
        pen.text((x, y), f"{suspect}  {found.similarity[suspect, 0]:.2f}", fill="black")
    CACHE.mkdir(exist_ok=True)
    sheet.save(CACHE / "flagged-not-listed.png")


@dataclass(frozen=True)
class Planted:
    """Which rows are planted under the suspects: clean suspects first, then the copies."""

    rows: Array
    kinds: Array
    clean: int

    @classmethod
    def draw(
        cls, generator: np.random.Generator, suspects: int, rows: int, kinds: Iterable[str]
    ) -> Planted:
        names = list(kinds)
        each = round(PLANTED_SHARE * suspects)
        chosen = generator.choice(rows, each * len(names), replace=False)
        return cls(chosen, np.repeat(np.array(names, object), each), suspects - len(chosen))

    def judge(self, searched: Searched, others: dict[str, Array]) -> Result:
        truth = np.r_[np.full(self.clean, -1), self.rows]
        leaked, count = truth >= 0, len(truth)
        flagged, decisions = searched.decide()
        quiet, _ = searched.only(np.arange(count) < self.clean).decide()
        flags = int(flagged.sum())
        first = searched.found.rows[:, 0] == truth
        names = list(dict.fromkeys(self.kinds))
        of_kind = {name: np.flatnonzero(leaked)[self.kinds == name] for name in names}
        return {
            "recall": {name: float(flagged[at].mean()) for name, at in of_kind.items()},
            "partner first": {name: float(first[at].mean()) for name, at in of_kind.items()},
            "false discovery rate": float((flagged & ~leaked).sum() / max(flags, 1)),
            "nothing planted: share flagged": float(quiet.mean()),
            "recall at as many flags": {
                "dataaudit": recall_at(searched.found.score[:, 0], leaked, flags),
                **{name: recall_at(score, leaked, flags) for name, score in others.items()},
            },
            "notes": decisions.notes,
        }


def images(seed: int) -> Result:
    rows, tests, row_images, test_images = read_images()
    listed = pd.read_csv(DATA / "cifair10_pairs.csv")["test_cifar_index"]
    generator = np.random.default_rng(seed)
    planted = Planted.draw(generator, 1600, len(rows), IMAGE_EDITS)
    unlisted = np.flatnonzero(~tests["cifar_index"].isin(listed))
    clean = generator.choice(unlisted, planted.clean, replace=False)
    copies = [
        np.asarray(IMAGE_EDITS[kind](Image.fromarray(row_images[row]), generator))
        for kind, row in zip(planted.kinds, planted.rows, strict=True)
    ]
    suspects = np.concatenate([test_images[clean], np.stack(copies)])
    searched = search(
        f"images-{seed}",
        describe_images(list(suspects)),
        describe_images(list(row_images)),
        "cifar-calibration",
    )
    others = {
        "pixel distance": rivals.pixel_distance(suspects, row_images)[1],
        "phash": rivals.perceptual_hash(suspects, row_images, "phash")[1],
        "dhash": rivals.perceptual_hash(suspects, row_images, "dhash")[1],
    }
    for memorized in (True, False):
        model = trained(rows, memorized, 0)
        name = "memorized" if memorized else "not memorized"
        others[f"feature cosine, {name}"] = rivals.feature_cosine(model, suspects, row_images)[1]
        left, right = features(model, suspects), features(model, row_images)
        others[f"datalab on features, {name}"] = rivals.datalab(left, right)
    return planted.judge(searched, others)


def texts(seed: int) -> Result:
    return _texts(seed, "texts", read_messages().drop_duplicates())


def repeats(seed: int) -> Result:
    return _texts(seed, "repeats", read_messages())


def read_messages() -> pd.Series:
    return pd.read_parquet(DATA / "sms_spam.parquet")["text"]


def _texts(seed: int, name: str, messages: pd.Series) -> Result:
    generator = np.random.default_rng(seed)
    shuffled = messages.to_numpy()[generator.permutation(len(messages))]
    rows, pool = list(shuffled[:3500]), list(shuffled[3500:])
    planted = Planted.draw(generator, 1500, len(rows), TEXT_EDITS)
    suspects = pool[: planted.clean] + [
        TEXT_EDITS[kind](rows[row], generator)
        for kind, row in zip(planted.kinds, planted.rows, strict=True)
    ]
    searched = search(
        f"{name}-{seed}",
        describe_texts(suspects),
        describe_texts(rows),
        f"{name}-calibration-{seed}",
    )
    others = {
        "MinHash": rivals.min_hash(suspects, rows),
        "datalab on TF-IDF": rivals.datalab(*rivals.text_vectors(suspects, rows)),
    }
    return planted.judge(searched, others)


def tables(seed: int) -> Result:
    people = pd.read_parquet(DATA / "adult.parquet")
    generator = np.random.default_rng(seed)
    shuffled = people.iloc[generator.permutation(len(people))].reset_index(drop=True)
    rows, pool = shuffled.iloc[:12000], shuffled.iloc[12000:14000]
    planted = Planted.draw(generator, 2000, len(rows), TABLE_EDITS)
    copies = [
        edit(rows.iloc[planted.rows[planted.kinds == kind]], rows, generator)
        for kind, edit in TABLE_EDITS.items()
    ]
    suspects = pd.concat([pool.iloc[: planted.clean], *copies], ignore_index=True)
    searched = search(
        f"tables-{seed}",
        describe_table(suspects, rows),
        describe_table(rows),
        f"tables-calibration-{seed}",
    )
    left, right = rivals.table_vectors(suspects, rows)
    others = {
        "one-hot distance": rivals.euclidean(left, right)[1],
        "datalab on one-hot": rivals.datalab(left, right),
    }
    return planted.judge(searched, others)


PARTS: dict[str, Callable[[int], Result]] = {
    "cifair": cifair,
    "images": images,
    "texts": texts,
    "repeats": repeats,
    "tables": tables,
}


def print_table(results: dict[str, dict[str, Result]]) -> None:
    """Print every number as a median over the seeds that were run."""
    for part, by_seed in results.items():
        runs = [pd.Series(dict(_numbers(result))) for result in by_seed.values()]
        print(f"\n{part}, median of seeds {', '.join(by_seed)}")
        for name, value in pd.concat(runs, axis=1).median(axis=1).items():
            print(f"  {value:10.4g}  {name}")


def _numbers(result: Result, before: str = "") -> Iterable[tuple[str, float]]:
    for name, value in result.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{before}{name} | ")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=CACHE / "contamination.json")
    options = parser.parse_args()
    if not (DATA / "cifair10_pairs.csv").exists():
        parser.exit(2, f"{DATA.resolve()}: holds no cifair10_pairs.csv; the data must lie there\n")
    torch.set_num_threads(1)
    written = json.loads(options.out.read_text()) if options.out.exists() else {"results": {}}
    for part in options.parts:
        done = written["results"].setdefault(part, {})
        for seed in options.seeds:
            if str(seed) not in done:
                print(f"{part}, seed {seed}", file=sys.stderr, flush=True)
                done[str(seed)] = PARTS[part](seed)
                written["date"] = date.today().isoformat()
                names = ("dataaudit", "torch", "numpy", "scikit-learn", "imagehash", "datasketch")
                written["versions"] = {name: _version(name) for name in (*names, "cleanlab")}
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(written, indent=1, default=float))
    print_table({part: written["results"][part] for part in options.parts})


def _version(name: str) -> str:
    return "this checkout" if name == "dataaudit" else version(name)


if __name__ == "__main__":
    main()

"""Decisions about leaks over many small data sets: are they right, or do they say that they cannot?

    python benchmarks/leak_calibration.py [--seeds 3] [--only TEXT] [--out FILE.json]

Each cell draws training rows and suspects of one kind, lets training rows repeat each other by
nature, plants copies (none, exact, typed again, in another type), and judges content as an audit
does. A cell counts as held if

- every suspect that is identical to a training row is flagged;
- where something was planted, at most .15 of what is flagged beside identical suspects is false, at
  a level of .10, on average over the seeds;
- where nothing was planted, at most 1 % of the suspects not identical to a row are flagged;
- or the outcome on what is only alike is *cannot tell*.

Nothing was tuned on the kinds marked with a star.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from dataaudit.flags.contamination import ExactCopies, flag_contamination
from dataaudit.likeness.descriptors import Descriptors
from dataaudit.likeness.identity import identity
from dataaudit.likeness.images import describe_images
from dataaudit.likeness.tables import describe_table
from dataaudit.likeness.texts import describe_texts
from dataaudit.stages.leaks import calibration_rows, content_of, identical_pairs_of

ROWS, SUSPECTS, COPIES = 400, 100, 15
REPEATS = (0.0, 0.05, 0.30)
PLANTED = ("none", "exact", "typed again", "another type")
LEVEL = 0.10

Items = Any
Generator = np.random.Generator


def _numbers(columns: int, digits: int | None = None) -> Callable[[int, Generator], pd.DataFrame]:
    def draw(count: int, generator: Generator) -> pd.DataFrame:
        values = generator.normal(size=(count, columns))
        values = values if digits is None else values.round(digits)
        return pd.DataFrame(values, columns=[f"n{i}" for i in range(columns)])

    return draw


def _flags(count: int, generator: Generator) -> pd.DataFrame:
    table = _numbers(1)(count, generator)
    return table.assign(**{f"f{i}": generator.random(count) < 0.02 for i in range(3)})


def _categories(count: int, generator: Generator) -> pd.DataFrame:
    choices = ("abcdef", "xyz")
    return pd.DataFrame({c: generator.choice(list(c), count) for c in choices})


def _people(count: int, generator: Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": generator.integers(18, 80, count),
            "weight": generator.normal(2e5, 5e4, count).round(),
            "hours": generator.choice([20, 38, 40, 45], count),
            "job": generator.choice(["clerk", "nurse", "pilot", "cook", "smith"], count),
            "country": generator.choice(["US"] * 9 + ["Cuba"], count),
            "member": generator.random(count) < 0.3,
            "score": generator.gamma(2, 50, count),
        }
    )


def _gappy(count: int, generator: Generator) -> pd.DataFrame:
    table = _people(count, generator).astype(object)
    return table.mask(generator.random(table.shape) < 0.6)


def _addresses(count: int, generator: Generator) -> pd.DataFrame:
    first, last, street = generator.choice(SYLLABLES, (3, count, 3))
    names = [f"{''.join(a)} {''.join(b)}".title() for a, b in zip(first, last, strict=True)]
    streets = [f"{generator.integers(1, 200)} {''.join(name)} street" for name in street]
    years = generator.integers(1950, 2000, count)
    return pd.DataFrame({"name": names, "street": streets, "year": years})


SYLLABLES = np.array(["ka", "ro", "mi", "ten", "bur", "lo", "sa", "vin", "de", "gal"])
WORDS = np.array([f"word{number}" for number in range(4000)])


def _texts(words: int) -> Callable[[int, Generator], list[str]]:
    def draw(count: int, generator: Generator) -> list[str]:
        ranks = np.minimum(generator.zipf(1.4, (count, words)), len(WORDS)) - 1
        return [" ".join(line) for line in WORDS[ranks]]

    return draw


def _emoji(count: int, generator: Generator) -> list[str]:
    return ["".join(generator.choice(list("😀😁👍🎉🐶🐱🦊🐻🌞🌧😡💩"), 7)) for _ in range(count)]


def _pictures(count: int, generator: Generator) -> list[np.ndarray]:
    small = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(s).resize((32, 32), 3)) for s in small]


def _squares(count: int, generator: Generator) -> list[np.ndarray]:
    """Line art of few degrees of freedom."""
    pictures = np.zeros((count, 32, 32), np.uint8)
    for picture in pictures:
        top, left, size = generator.integers(2, 14, 3)
        picture[top : top + size + 3, left : left + size + 3] = 255
    return list(pictures)


KINDS: dict[str, tuple[Callable[..., Items], Callable[..., Items]]] = {
    "table: one number": (_numbers(1), _numbers(1)),
    "table: one rounded number": (_numbers(1, 1), _numbers(1, 1)),
    "table: a number and three rare flags": (_flags, _flags),
    "table: two numbers": (_numbers(2), _numbers(2)),
    "table: two categories": (_categories, _categories),
    "table: four numbers *": (_numbers(4), _numbers(4)),
    "table: people": (_people, _people),
    "table: people, suspects with gaps *": (_people, _gappy),
    "table: names and streets *": (_addresses, _addresses),
    "table: thirty numbers *": (_numbers(30), _numbers(30)),
    "text: 12 words": (_texts(12), _texts(12)),
    "text: 4 words *": (_texts(4), _texts(4)),
    "text: 60 words, suspects of 5": (_texts(60), _texts(5)),
    "text: 6 words, suspects of 40 *": (_texts(6), _texts(40)),
    "text: emoji": (_emoji, _emoji),
    "picture: smooth colours": (_pictures, _pictures),
    "picture: squares *": (_squares, _squares),
}
NOT_TUNED = "*"


def describe(items: Items, like: Items) -> Descriptors:
    """Describe training rows (`like` is itself) or suspects."""
    if isinstance(items, pd.DataFrame):
        return describe_table(items, like=like)
    return describe_texts(items) if isinstance(items[0], str) else describe_images(items)


def _joined(parts: list[Items]) -> Items:
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts, ignore_index=True)
    return [item for part in parts for item in part]


def _taken(items: Items, positions: np.ndarray) -> Items:
    if isinstance(items, pd.DataFrame):
        return items.iloc[positions].reset_index(drop=True)
    return [items[position] for position in positions]


def typed_again(items: Items) -> Items:
    """Return copies as people make them: rounded, written otherwise, a word short, darker."""
    if isinstance(items, pd.DataFrame):
        numbers = items.select_dtypes("number").columns
        rounded = {name: items[name].astype(float).round(2) for name in numbers}
        if "street" in items:
            turned = [" ".join(reversed(name.split())) for name in items["name"]]
            rounded |= {"name": turned, "street": items["street"].str.replace("street", "str.")}
        return items.assign(**rounded)
    if isinstance(items[0], str):
        return [" ".join(text.split()[:-1]) or text for text in items]
    return [(picture * 0.8).astype(np.uint8) for picture in items]


def in_another_type(items: Items) -> Items:
    """Return the same content as another file would hold it."""
    if isinstance(items, pd.DataFrame):
        return items.apply(_in_another_type)
    if isinstance(items[0], str):
        return [f"  {text.upper()}!" for text in items]
    return [picture / 255 for picture in items]


def _in_another_type(column: pd.Series) -> pd.Series:
    if column.dtype == bool:
        return column.astype(int)
    if pd.api.types.is_float_dtype(column):
        return column.astype(np.float32)
    return column.astype(str)


def judge(
    rows: Descriptors, suspects: Descriptors, seed: int
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Return who is identical and who is flagged, `[suspects]`, and whether likeness was judged."""
    same = identity(rows, suspects)
    generator = np.random.default_rng(seed)
    clean = calibration_rows(same, generator)
    content = content_of(rows, suspects, same, clean, LEVEL, generator)
    exact = ExactCopies(identical_pairs_of(content.found, same), same.repeated, len(rows))
    count = len(suspects)
    decisions = flag_contamination(
        range(count),
        range(len(rows)),
        content.found.rows,
        content.found.score,
        content.null,
        exact=exact,
        level=LEVEL,
    )
    flagged = np.zeros(count, bool)
    flagged[np.array(decisions.flagged_queries, int)] = True
    return same.suspects, flagged, decisions.similar_judged


def cell(kind: str, repeats: float, planted: str, seeds: int) -> dict[str, Any]:
    """Judge one cell over the seeds."""
    draw_rows, draw_suspects = KINDS[kind]
    missed, false, found, similar, told, recall = 0, [], 0, 0, 0, []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, len(kind), round(100 * repeats)])
        count = round(ROWS * (1 - repeats / 2))
        table = draw_rows(count, generator)
        items = _joined([table, _taken(table, np.arange(ROWS - count))])
        suspects = draw_suspects(SUSPECTS, generator)
        leaked = np.zeros(SUSPECTS, bool)
        if planted != "none":
            # Copies of rows that do not repeat each other.
            chosen = generator.choice(np.arange(ROWS - count, count), COPIES, replace=False)
            copies, others = _taken(items, chosen), _taken(suspects, np.arange(COPIES, SUSPECTS))
            if planted == "typed again":
                copies = typed_again(copies)
            suspects = _joined([copies, others])
            if planted == "another type":
                suspects = in_another_type(suspects)
            leaked[:COPIES] = True
        same, flagged, judged = judge(describe(items, items), describe(suspects, items), seed)
        missed += int((same & ~flagged).sum())
        told += judged
        alike = flagged & ~same
        found += int(alike.sum())
        similar += int((~same).sum())
        # Beside identical suspects, which are leaks by definition.
        false.append(float((alike & ~leaked).sum() / max(int((alike | (same & leaked)).sum()), 1)))
        if leaked.any():
            recall.append(float(flagged[leaked].mean()))
    false_rate, share = float(np.mean(false)), found / max(similar, 1)
    held = missed == 0 and (false_rate <= 0.15 if planted != "none" else share <= 0.01)
    return {
        "kind": kind,
        "repeats": repeats,
        "planted": planted,
        "identical missed": missed,
        "false discovery rate": false_rate if planted != "none" else None,
        "clean flagged": share if planted == "none" else None,
        "recall": float(np.mean(recall)) if recall else None,
        "judged": told / seeds,
        "held": bool(held),
    }


def main() -> None:
    """Run the battery and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="kinds whose name holds this text")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for kind in [kind for kind in KINDS if arguments.only in kind]:
        for repeats in REPEATS:
            for planted in PLANTED:
                results.append(cell(kind, repeats, planted, arguments.seeds))
                print(_line(results[-1]), flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    for name, chosen in (
        ("all", results),
        ("not tuned on", [r for r in results if NOT_TUNED in r["kind"]]),
    ):
        held = sum(r["held"] for r in chosen)
        print(f"{name}: held in {held} of {len(chosen)} cells", file=sys.stderr)


def _line(result: dict[str, Any]) -> str:
    def shown(name: str) -> str:
        return "" if result[name] is None else f"{result[name]:.3f}"

    return (
        f"| {result['kind']} | {result['repeats']:.2f} | {result['planted']} | "
        f"{result['identical missed']} | {shown('false discovery rate')} | "
        f"{shown('clean flagged')} | {shown('recall')} | {result['judged']:.2f} | "
        f"{'held' if result['held'] else 'MISSED'} |"
    )


if __name__ == "__main__":
    main()

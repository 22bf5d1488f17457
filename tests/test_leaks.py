"""The search for leaks as a stage: identity is a fact, and what cannot be told is said."""

import io
import tracemalloc
import warnings
import weakref
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from dataaudit.checks.running import run_checks
from dataaudit.config import config_from_python
from dataaudit.datasets import images
from dataaudit.flags.contamination import flag_contamination
from dataaudit.flags.judgement import judge_leaks
from dataaudit.flags.null_distribution import fit_null
from dataaudit.likeness.images import describe_images
from dataaudit.likeness.matching import Matches
from dataaudit.likeness.pictures import as_seen
from dataaudit.mirror.unlearning import reactions
from dataaudit.stages import leaks
from dataaudit.stages.checking import examined
from dataaudit.stages.leaks import find_contamination
from dataaudit.stages.loading import load_objects

FEATURES = ["f0", "f1", "f2", "f3"]


def blobs(rows: int, seed: int) -> pd.DataFrame:
    """Three classes in four dimensions."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, rows)
    centres = np.random.default_rng(99).normal(0, 2.2, (3, 4))
    values = (centres[labels] + generator.normal(size=(rows, 4))).astype(np.float32)
    return pd.DataFrame(values, columns=FEATURES).assign(label=labels)


def numbers_of_columns(frame: pd.DataFrame) -> torch.Tensor:
    names = [name for name in frame.columns if name in FEATURES]
    values = frame[names].apply(pd.to_numeric, errors="coerce").fillna(0)
    return torch.tensor(values.to_numpy(np.float32))


def one_number(frame: pd.DataFrame) -> torch.Tensor:
    return torch.ones(len(frame), 4)


def search(train, held_out, suspects, preprocess=numbers_of_columns, **settings):
    """Run the stage alone: the model is untrained, and its predictions are all of class 0."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3).eval()
    config = config_from_python("label", settings.pop("id", None), settings, None)
    splits = {"train": train, "held_out": held_out, "suspects": suspects}
    loaded = load_objects(model, splits, preprocess, config)
    predictions = np.eye(3)[np.zeros(len(loaded.suspects), int)]
    scores = SimpleNamespace(suspects=SimpleNamespace(predictions=lambda models: predictions))
    return find_contamination(loaded, scores, config, examined(loaded, config))


def flagged(flags) -> set:
    return set(flags.table.loc[flags.table["flagged"], "query_id"])


def exact(flags) -> set:
    return set(flags.table.loc[(flags.evidence["kind"] == "exact").to_numpy(), "query_id"])


@pytest.mark.parametrize("repeated", [0, 5, 20, 90])
def test_identical_suspects_count_whatever_training_rows_repeat(repeated):
    train, suspects = blobs(300, 0), blobs(60, 2)
    suspects.iloc[:8] = train.iloc[200:208]
    twice = pd.concat([train, train[:repeated]], ignore_index=True)
    flags = search(twice, blobs(60, 1), suspects)
    assert exact(flags) == set(range(8)) <= flagged(flags)
    assert flags.rows_repeated == 2 * repeated
    first = flags.table[flags.table["rank"] == 1].set_index("query_id")["row_id"]
    assert first[:8].tolist() == list(range(200, 208))
    assert judge_leaks(flags).outcome == "found"
    # The metric is that of the suspects that are left.
    right = (suspects["label"] == 0).to_numpy()
    left = [i for i in range(60) if i not in flagged(flags)]
    assert flags.metric_clean.estimate == pytest.approx(right[left].mean())


def test_where_all_training_rows_stand_twice_only_identical_suspects_are_judged():
    train, suspects = blobs(100, 0), blobs(30, 2)
    twice = pd.concat([train, train], ignore_index=True)
    flags = search(twice, blobs(60, 1), suspects)
    judgement = judge_leaks(flags)
    assert judgement.outcome == "cannot tell"
    assert "200 are identical to another one" in judgement.reasons[0]
    assert flagged(flags) == set()
    assert len(flags.table[flags.table["rank"] == 1]) == 30
    suspects.iloc[3] = train.iloc[7]
    flags = search(twice, blobs(60, 1), suspects)
    assert flagged(flags) == {3}
    assert judge_leaks(flags).outcome == "found"


def mixed(rows: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "f0": generator.normal(size=rows),
            "f1": generator.integers(0, 1000, rows),
            "member": generator.random(rows) < 0.5,
            "since": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(generator.integers(0, 2000, rows), "D"),
            "town": generator.choice(["Zürich", "Bern", "Genève"], rows),
            "code": generator.integers(10, 99, rows).astype(str),
            "label": generator.integers(0, 3, rows),
        }
    )


OTHER_TYPES = {
    "truth values as numbers": lambda t: t.assign(member=t["member"].astype(int)),
    "truth values as words": lambda t: t.assign(member=t["member"].astype(str)),
    "single precision": lambda t: t.assign(f0=t["f0"].astype(np.float32)),
    "whole numbers as floats": lambda t: t.assign(f1=t["f1"].astype(float)),
    "numbers as text": lambda t: t.assign(f1=t["f1"].astype(str) + ".0"),
    "nullable": lambda t: t.assign(
        f1=t["f1"].astype("Int64"), member=t["member"].astype("boolean")
    ),
    "text as numbers": lambda t: t.assign(code=t["code"].astype(int)),
    "text as floats": lambda t: t.assign(code=t["code"].astype(float)),
    "days as text": lambda t: t.assign(since=t["since"].dt.strftime("%Y-%m-%d")),
    "decomposed accents and blanks": lambda t: t.assign(
        town=" " + t["town"].str.normalize("NFD") + " "
    ),
    "categories": lambda t: t.astype({"town": "category", "code": "category"}),
    "another order of columns": lambda t: t[t.columns[::-1]],
    "a further column": lambda t: t.assign(split="test"),
    "the text of a CSV": lambda t: pd.read_csv(io.StringIO(t.to_csv(index=False))),
}


@pytest.mark.parametrize("other", OTHER_TYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_the_same_values_in_another_type_are_identical(other, turned):
    train, suspects = mixed(200, 0), mixed(40, 1)
    suspects.iloc[:8] = train.iloc[20:28]
    if turned:
        train = OTHER_TYPES[other](train)
    else:
        suspects = OTHER_TYPES[other](suspects)
    held_out = OTHER_TYPES[other](mixed(60, 2)) if turned else mixed(60, 2)
    assert exact(search(train, held_out, suspects, one_number)) == set(range(8))


def test_other_values_are_not_identical():
    train, suspects = mixed(200, 0), mixed(40, 1)
    suspects.iloc[:8] = train.iloc[20:28]
    changed = {
        0: ("f0", suspects["f0"][0] + 1e-9),
        1: ("f1", suspects["f1"][1] + 1),
        2: ("member", not suspects["member"][2]),
        3: ("town", "Bern!"),
        4: ("code", "-" + suspects["code"][4]),
    }
    for line, (column, value) in changed.items():
        suspects.loc[line, column] = value
    assert exact(search(train, mixed(60, 2), suspects, one_number)) == {5, 6, 7}


@pytest.mark.parametrize("without", ["column", -1, None, "?", ""])
def test_suspects_without_labels(without):
    train, suspects = blobs(200, 0), blobs(40, 2)
    suspects.iloc[:4] = train.iloc[:4]
    if without == "column":
        suspects = suspects.drop(columns="label")
    else:
        suspects["label"] = without
    flags = search(train, blobs(60, 1), suspects)
    assert set(range(4)) <= flagged(flags)
    assert np.isnan(flags.metric_all.estimate)
    assert len(flags.hits_per_class) == 0
    assert "the suspects have no labels" in flags.method.lower()


def test_a_label_column_that_is_spelled_otherwise_is_refused():
    with pytest.raises(Exception, match=r"no label column 'label'.*did you mean 'labels'"):
        search(blobs(50, 0), blobs(60, 1), blobs(30, 2).rename(columns={"label": "labels"}))


def test_labels_of_some_suspects_are_refused_where_they_are_wrong():
    suspects = blobs(30, 2)
    suspects.loc[3, "label"] = 7
    with pytest.raises(Exception, match="label 7 is not one of the classes"):
        search(blobs(50, 0), blobs(60, 1), suspects)


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((40, 30), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pictures(seeds, labels=0) -> pd.DataFrame:
    return pd.DataFrame({"image": [encoded(picture(seed)) for seed in seeds], "label": labels})


def turned(image: Image.Image) -> bytes:
    """Return the picture stored on its side, with the note that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image.transpose(Image.Transpose.ROTATE_90), exif=exif)


OTHER_PICTURES = {
    "orientation": turned,
    "another format": lambda image: encoded(image, "BMP"),
    "a full alpha channel": lambda image: encoded(image.convert("RGBA")),
    "lossless WebP": lambda image: encoded(image, "WEBP", lossless=True),
}


@pytest.mark.parametrize("other", OTHER_PICTURES)
def test_the_same_picture_in_another_file_is_identical(other):
    train, suspects = pictures(range(60)), pictures(range(100, 130))
    suspects["image"] = [
        OTHER_PICTURES[other](picture(line)) if line < 6 else value
        for line, value in enumerate(suspects["image"])
    ]
    flags = search(train, pictures(range(200, 250)), suspects, one_number)
    assert exact(flags) == set(range(6)) <= flagged(flags)


def test_line_art_on_transparent_ground_and_deep_greys_are_told_apart():
    def drawn(seed):
        generator = np.random.default_rng(seed)
        alpha = np.kron(generator.integers(0, 2, (8, 8)), np.ones((4, 4))) * 255
        black = np.zeros((32, 32, 4), np.uint8)
        black[..., 3] = alpha
        return encoded(Image.fromarray(black))

    def deep(seed):
        generator = np.random.default_rng(seed)
        values = np.kron(generator.normal(12000, 3000, (8, 8)), np.ones((4, 4)))
        return encoded(Image.fromarray(values.clip(0, 65535).astype(np.uint16)))

    for make in (drawn, deep):
        frames = [
            pd.DataFrame({"image": [make(seed) for seed in seeds], "label": 0})
            for seeds in (range(60), range(200, 250), [*range(4), *range(300, 330)])
        ]
        flags = search(*frames, one_number)
        assert exact(flags) == set(range(4)) <= flagged(flags)


def test_a_transparent_picture_is_not_held_at_double_precision():
    image = Image.new("RGBA", (1500, 1000), (10, 20, 30, 128))
    tracemalloc.start()
    as_seen(image)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 25 * 1500 * 1000


def tiny(seeds, side=16) -> pd.DataFrame:
    """Return small pictures, every second one in grey."""
    found = []
    for seed in seeds:
        shape = (side, side, 3) if seed % 2 else (side, side)
        pixels = np.random.default_rng(seed).integers(0, 256, shape)
        found.append(encoded(Image.fromarray(pixels.astype(np.uint8))))
    return pd.DataFrame({"image": found, "label": 0})


def test_small_pictures_are_described_as_the_training_rows_are():
    suspects = tiny([*range(0, 12, 2), *range(300, 340, 2)])
    flags = search(tiny(range(60)), tiny(range(100, 150)), suspects, one_number)
    assert exact(flags) == set(range(6)) <= flagged(flags)
    assert not any("cannot compare" in doubt for doubt in flags.doubts)
    # Training rows of one small size are compared pixel by pixel, which others cannot be.
    grey, larger = tiny(range(0, 120, 2), 12), tiny(range(300, 340, 2), 20)
    (doubt,) = search(grey, None, larger, one_number).doubts
    assert "stand beside images of other sides or channels" in doubt


def test_a_search_that_fails_is_said_in_words(monkeypatch):
    train, suspects = blobs(200, 0), blobs(40, 2)
    suspects.iloc[:4] = train.iloc[:4]

    def fail(*arguments, **named):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr("dataaudit.likeness.matching.Matcher.match", fail)
    flags = search(train, blobs(60, 1), suspects)
    assert flagged(flags) == {0, 1, 2, 3}
    assert "SVD did not converge" in flags.doubts[0]
    monkeypatch.setattr("dataaudit.stages.leaks.identity", fail)
    flags = search(train, blobs(60, 1), suspects)
    assert judge_leaks(flags).outcome == "cannot tell"
    assert flags.table["query_id"].tolist() == list(range(40))
    assert flags.table["row_id"].isna().all()


WORDS = [f"word{number}" for number in range(3000)]


def texts(rows: int, seed: int, words: int) -> list[str]:
    """Frequent and rare words, as in a language."""
    generator = np.random.default_rng(seed)
    drawn = np.minimum(generator.zipf(1.4, (rows, words)), 3000) - 1
    return [" ".join(WORDS[number] for number in line) for line in drawn]


def test_short_suspects_against_long_texts_are_not_flagged():
    train = pd.DataFrame({"text": texts(300, 0, 80), "label": 0})
    held_out = pd.DataFrame({"text": texts(60, 1, 80), "label": 0})
    suspects = pd.DataFrame({"text": texts(60, 2, 5), "label": 0})
    flags = search(train, held_out, suspects, one_number)
    assert len(flagged(flags)) <= 1
    assert "cut to the suspects' lengths" in flags.method


def test_texts_without_content_are_no_copies():
    train = pd.DataFrame({"text": [*texts(200, 0, 12), "", None], "label": 0})
    held_out = pd.DataFrame({"text": texts(60, 1, 12), "label": 0})
    suspects = pd.DataFrame({"text": [*texts(40, 2, 12), " ", "None", None], "label": 0})
    suspects.loc[:2, "text"] = train.loc[:2, "text"]
    assert exact(search(train, held_out, suspects, one_number)) == {0, 1, 2}


def test_prose_in_another_column_is_found():
    train = pd.DataFrame({"body": texts(200, 0, 12), "label": 0})
    held_out = pd.DataFrame({"body": texts(60, 1, 12), "label": 0})
    suspects = pd.DataFrame({"body": texts(40, 2, 2), "comment": texts(40, 3, 12), "label": 0})
    suspects.loc[:9, "comment"] = train["body"][:10].to_numpy()
    flags = search(train, held_out, suspects, one_number)
    assert exact(flags) == set(range(10)) <= flagged(flags)
    only = suspects.drop(columns="body")
    assert exact(search(train, held_out, only, one_number)) == set(range(10))


def test_further_columns_do_not_turn_texts_into_a_table():
    train = pd.DataFrame({"text": texts(200, 0, 12), "label": 0})
    suspects = pd.DataFrame({"text": texts(40, 2, 12), "label": 0})
    suspects.loc[:3, "text"] = train["text"][:4].to_numpy()
    suspects = suspects.assign(**{f"m{i}": i for i in range(5)}, note=texts(40, 5, 9))
    held_out = pd.DataFrame({"text": texts(60, 1, 12), "label": 0})
    assert exact(search(train, held_out, suspects, one_number)) == set(range(4))


def test_a_column_that_suspects_lack_is_named():
    train, suspects = mixed(200, 0), mixed(40, 1)
    suspects.iloc[:5] = train.iloc[:5]
    flags = search(train, mixed(60, 2), suspects.drop(columns="town"), one_number)
    assert exact(flags) == set(range(5))
    assert "without the columns that suspects lack: town" in flags.method
    with pytest.raises(Exception, match="no column 'text', which holds the texts"):
        search(
            pd.DataFrame({"text": texts(50, 0, 12), "label": 0}),
            pd.DataFrame({"text": texts(60, 1, 12), "label": 0}),
            mixed(40, 1),
            one_number,
        )


def test_suspects_with_gaps_are_held_against_rows_with_the_same_gaps():
    def gappy(rows, seed):
        table = mixed(rows, seed)
        features = table.columns.drop("label")
        hidden = np.random.default_rng(seed).random((rows, len(features))) < 0.7
        return table.assign(**table[features].astype(object).mask(hidden))

    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        flags = search(mixed(300, 0), mixed(60, 2), gappy(60, 1), one_number)
    near = flagged(flags) - exact(flags)
    assert len(near) <= 1
    assert "without the fields that suspects lack" in flags.method


@pytest.mark.parametrize(("task", "pairs"), [("classification", 4), ("regression", None)])
def test_only_of_labels_that_exclude_each_other_one_is_wrong(task, pairs):
    train, held_out, suspects = blobs(300, 0), blobs(60, 1), blobs(60, 2)
    twice = pd.concat([train, train[:4].assign(label=(train["label"][:4] + 1) % 3)])
    splits = [frame.astype({"label": float}) if task == "regression" else frame
              for frame in (twice.reset_index(drop=True), held_out, suspects)]  # fmt: skip
    torch.manual_seed(0)
    model = nn.Linear(4, 1 if task == "regression" else 3).eval()
    config = config_from_python("label", None, {"task": task}, None)
    named = dict(zip(("train", "held_out", "suspects"), splits, strict=True))
    loaded = load_objects(model, named, numbers_of_columns, config)
    flags = find_contamination(loaded, None, config, examined(loaded, config))
    found = flags.disagreeing_duplicates
    assert (None if found is None else len(found)) == pairs


def noise_pictures(rows: int, seed: int, side: int = 24) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 255, (rows, side, side, 3)).astype(np.uint8)
    return pd.DataFrame(
        {"image": [png(picture) for picture in pixels], "label": generator.integers(0, 3, rows)}
    )


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("leaks_wanted", [True, False])
def test_search_and_checks_decode_each_picture_once(leaks_wanted, monkeypatch):
    frames = {
        "train": noise_pictures(70, 0),
        "held_out": noise_pictures(60, 1),
        "suspects": noise_pictures(40, 2),
    }
    settings = {"checks": {"leaks": leaks_wanted}}
    config = config_from_python("label", None, settings, None)
    loaded = load_objects(
        nn.Linear(4, 3).eval(), frames, lambda frame: torch.ones(len(frame), 4), config
    )
    decoded = Counter()

    def counting(content, where, shrink_to):
        decoded[content] += 1
        return decode(content, where, shrink_to)

    decode = images._decoded
    monkeypatch.setattr(images, "_decoded", counting)
    data = examined(loaded, config, np.ones(60))
    find_contamination(loaded, None, config, data)
    checked = run_checks(data, config.checks)
    assert {"odd_pictures", "shortcuts", "drift", "slices", "duplicates"} <= checked.found.keys()
    times = {role: {decoded[content] for content in frames[role]["image"]} for role in frames}
    # Without a search for leaks, near duplicates are looked for once the pictures were measured.
    assert times == {"train": {1 if leaks_wanted else 2}, "held_out": {1}, "suspects": {1}}


def test_large_pictures_are_made_small_one_by_one(monkeypatch):
    frames = {
        "train": noise_pictures(60, 0, side=90),
        "held_out": None,
        "suspects": noise_pictures(5, 1, side=90),
    }
    config = config_from_python("label", None, {}, None)
    loaded = load_objects(
        nn.Linear(4, 3).eval(), frames, lambda frame: torch.ones(len(frame), 4), config
    )
    alive, most = weakref.WeakValueDictionary(), []

    def counting(content, where, shrink_to):
        picture = decode(content, where, shrink_to)
        alive[len(most)] = picture
        most.append(len(alive))
        return picture

    decode = images._decoded
    monkeypatch.setattr(images, "_decoded", counting)
    rows = examined(loaded, config).search.rows
    assert rows.thumbnails.shape == (60, 32, 32, 3)
    assert len(most) == 60
    assert max(most) <= 3


def test_a_missing_pixel_far_down_does_not_make_all_pictures_black():
    pixels = np.tile(load_digits().data, (2, 1))[:2100]
    train = pd.DataFrame(pixels, columns=[f"p{place}" for place in range(64)]).assign(label=0)
    train.loc[:1, "label"] = [1, 2]
    train.loc[2099, "p5"] = np.nan
    config = config_from_python("label", None, {}, None)
    frames = {"train": train, "held_out": None, "suspects": train.iloc[:20]}
    loaded = load_objects(nn.Linear(4, 3).eval(), frames, one_number, config)
    found = examined(loaded, config).search
    whole = describe_images(list(pixels.reshape(-1, 8, 8) / 16)).thumbnails
    np.testing.assert_array_equal(found.rows.thumbnails[:2099], whole[:2099])
    np.testing.assert_array_equal(found.describe(loaded.suspects).thumbnails, whole[:20])
    # What is held of a table while it is searched does not grow with its rows.
    assert len(found.like) < len(train)


def test_only_influence_that_was_seen_gives_a_pair_away():
    # Of 60 suspects 50 are copies, so that Benjamini and Hochberg let p-values up to .09 pass.
    content = np.repeat([2000.0, 970.0, 0.0], [50, 6, 4])[:, None]
    reaction = np.full((60, 1), np.nan)
    reaction[50:55] = np.array([2000.0, 970.0, 500.0, 0.0, np.nan])[:, None]
    null, rows = fit_null(np.arange(1000.0), trusted=True), np.zeros((60, 1), np.int64)
    found = Matches(rows, np.ones((60, 1), np.float32), content)
    kinds = []
    for influence in ({}, {"influence": reaction, "influence_null": null}):
        decisions = flag_contamination(range(60), ["r"], rows, content, null, **influence)
        assert decisions.table["flagged"].tolist() == [True] * 56 + [False] * 4
        kinds.append(leaks._evidence(decisions, found)["kind"][50:56].tolist())
    assert kinds[0] == ["near"] * 6
    assert kinds[1] == ["influence only", *["near, no influence seen"] * 3, "near", "near"]


def test_identical_suspects_are_not_unlearned(monkeypatch):
    train, suspects = blobs(300, 0), blobs(60, 2)
    suspects.iloc[[*range(8), 40]] = train.iloc[[*range(200, 208), 7]]
    asked = []

    def unlearning(model, task, queries, positions, *others):
        asked.append((queries.role, positions.tolist()))
        return reactions(model, task, queries, positions, *others)

    monkeypatch.setattr(leaks, "reactions", unlearning)
    flags = search(train, blobs(60, 1), suspects)
    (role, unlearned), (other, _) = asked
    assert (role, other) == ("suspects", "held_out")
    identical = {*range(8), 40}
    assert set(unlearned) == set(range(60)) - identical
    of_identical = flags.table["query_id"].isin(identical).to_numpy()
    assert flags.evidence["influence_score"].isna()[of_identical].all()
    assert flags.evidence["influence_score"].notna()[~of_identical].all()
    assert exact(flags) == identical <= flagged(flags)
    assert "and was unlearned to see" in flags.method
    # Those that are identical do not take the places of others.
    monkeypatch.setattr(leaks, "INFLUENCE_SUSPECTS", 12)
    asked.clear()
    search(train, blobs(60, 1), suspects)
    assert len(asked[0][1]) == 12
    # Where all are identical there is nothing to compare reactions for.
    asked.clear()
    flags = search(train, blobs(60, 1), train[:30])
    assert exact(flags) == set(range(30))
    assert asked == []
    assert "None was unlearned" in flags.method

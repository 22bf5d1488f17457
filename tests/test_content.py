"""Content evidence: copies are found whatever was done to them; look-alikes stay apart."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from dataaudit.likeness.descriptors import ImageDescriptors, concatenated
from dataaudit.likeness.identity import content_keys
from dataaudit.likeness.images import describe_images, thumbnail
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.meaning import fold_text
from dataaudit.likeness.pixel_tables import pixel_grid
from dataaudit.likeness.search import nearest
from dataaudit.likeness.small_images import are_small, describe_small_images
from dataaudit.likeness.tables import TableScheme, describe_table
from dataaudit.likeness.texts import describe_texts
from dataaudit.likeness.wording import Wording, are_worded


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """60 smooth random colour images of 32 x 32 pixels."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(s).resize((32, 32), 3)) for s in small])


def jpeg(array: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def match(suspects, rows, **options):
    return Matcher(rows).match(suspects, **options)


def find_candidates(suspects, rows, count, **options):
    return Matcher(rows).candidates(suspects, count, **options)


def compare(suspects, rows, candidates):
    return Matcher(rows).compare(suspects, candidates)


EDITS = {
    "exact": lambda a: a,
    "jpeg 30": lambda a: jpeg(a, 30),
    "flip": lambda a: a[:, ::-1],
    "shift": lambda a: np.roll(a, (2, 3), (0, 1)),
    "crop": lambda a: np.asarray(Image.fromarray(a[3:29, 3:29]).resize((32, 32), 2)),
    "brightness": lambda a: (a * 0.6).astype(np.uint8),
    "noise": lambda a: (
        (a + np.random.default_rng(1).normal(0, 12, a.shape)).clip(0, 255).astype(np.uint8)
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_images_find_their_original(pictures, edit):
    rows = describe_images(list(pictures))
    suspects = describe_images([EDITS[edit](a) for a in pictures[:20]])
    found = match(suspects, rows, keep=3)
    assert found.rows[:, 0].tolist() == list(range(20))
    assert (found.similarity[:, 0] > found.similarity[:, 1] + 0.1).all()
    assert found.similarity.max() <= 1 + 1e-5


def test_the_same_image_scores_one(pictures):
    rows = describe_images([pictures[0], pictures[0] / 255])
    assert (rows.thumbnails == pictures[0]).all()
    similarity = compare(rows, rows, np.zeros((2, 1), np.int64)).similarity
    assert similarity == pytest.approx(np.ones((2, 1)), abs=0.01)
    keys = content_keys(rows)
    assert keys[0] == keys[1]


def test_grey_and_colour_pieces_are_joined(pictures):
    grey = describe_images([a.mean(axis=2).astype(np.uint8) for a in pictures[:2]])
    joined = concatenated([grey, describe_images(list(pictures[2:4]))])
    assert joined.thumbnails.shape == (4, 32, 32, 3)
    assert (joined.thumbnails[0, :, :, 0] == joined.thumbnails[0, :, :, 2]).all()


def test_identical_content_of_every_kind(pictures):
    grey = describe_images([pictures[0].mean(axis=2).astype(np.uint8)])
    colour = concatenated([grey, describe_images([pictures[1]])])
    assert content_keys(grey)[0] == content_keys(colour)[0] != content_keys(colour)[1]
    texts = content_keys(describe_texts(["Free entry!", "free ENTRY", "entry free"]))
    assert texts[0] == texts[1] != texts[2]
    table = pd.DataFrame({"a": [0.0, -0.0, np.nan, np.nan], "b": ["x", "X", "x", None]})
    keys = content_keys(describe_table(table))
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    pixels = np.zeros((2, 8, 8))
    pixels[1, 0, 0] = 1
    assert len(set(content_keys(small(pixels)))) == 2


def test_flat_images_are_not_alike():
    generator = np.random.default_rng(0)
    flat = [np.full((32, 32), 90) + generator.integers(-1, 2, (32, 32)) for _ in range(4)]
    found = describe_images([f.astype(np.uint8) for f in flat])
    similarity = compare(found, found, np.array([[1], [2], [3], [0]])).similarity
    assert similarity.max() < 0.5


def test_grey_suspects_against_colour_rows(pictures):
    grey = [np.asarray(Image.fromarray(a).convert("L")) for a in pictures[:5]]
    found = match(describe_images(grey), describe_images(list(pictures)), keep=1)
    assert found.rows[:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"image 0: expected shape .* found \(4, 4, 2\)"),
        (np.full((4, 4), 7.0), r"image 0: expected uint8, or floats in 0..1, found float64"),
    ],
)
def test_arrays_that_are_no_images(array, message):
    with pytest.raises(ValueError, match=message):
        describe_images([array])


def test_block_size_changes_nothing(pictures):
    described = describe_images(list(pictures))
    whole = find_candidates(described, described, 7)
    blocks = find_candidates(described, described, 7, block_bytes=4096)
    assert (whole == blocks).all()


def test_search_equals_brute_force_and_leaves_self_out(pictures):
    described = describe_images(list(pictures))
    own = np.arange(60)
    assert (find_candidates(described, described, 1)[:, 0] == own).all()
    assert (find_candidates(described, described, 59, exclude=own) != own[:, None]).all()


def test_fewer_rows_than_candidates(pictures):
    described = describe_images(list(pictures[:2]))
    candidates = find_candidates(described, described, 5)
    assert candidates.tolist() == [[0, 1, -1, -1, -1], [1, 0, -1, -1, -1]]
    assert np.isneginf(compare(described, described, candidates).score[:, 2:]).all()


def test_no_rows_and_no_suspects(pictures):
    some, none = (
        describe_images(list(pictures[:2])),
        ImageDescriptors(np.empty((0, 32, 32, 3), "u1")),
    )
    assert (match(some, none).rows == -1).all()
    assert match(none, some).rows.shape == (0, 5)


TEXTS = [
    "Please call our customer service on 0800 123 4567 before noon. It is urgent!",
    "I shall be home by six, can you buy milk? Also bread.",
    "The quarterly report is late again; nobody told the auditors. Sorry.",
    "ok",
]


@pytest.mark.parametrize(
    ("edited", "original"),
    [
        ("PLEASE call OUR customer service on 08001234567, before noon -- it is urgent", 0),
        ("Also bread. I shall be home by six, can you buy milk?", 1),
        ("The report is late again; told the auditors. Sorry.", 2),
        ("OK!", 3),
    ],
)
def test_edited_texts_find_their_original(edited, original):
    found = match(describe_texts([edited]), describe_texts(TEXTS), keep=2)
    assert found.rows[0, 0] == original
    assert found.similarity[0, 0] > found.similarity[0, 1] + 0.3


def test_folding():
    assert fold_text("  Don’t STOP—now!\n\tＯＫ") == "dont stop now ok"


def test_empty_text():
    assert np.isfinite(match(describe_texts([""]), describe_texts(TEXTS)).similarity[0, 0])


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": generator.integers(18, 80, 500),
            "weight": generator.normal(2e5, 5e4, 500).round(),
            "job": generator.choice(["clerk", "nurse", "pilot", None], 500),
            "country": generator.choice(["US"] * 9 + ["Cuba"], 500),
        }
    )


def test_rounded_and_changed_rows_find_their_original(people):
    rounded = people.head(20).assign(weight=lambda t: (t["weight"] / 100).round() * 100)
    changed = people.head(20).assign(job="astronaut")
    for edited in (people.head(20), rounded, changed):
        found = match(describe_table(edited, like=people), describe_table(people), keep=1)
        assert found.rows[:, 0].tolist() == list(range(20))


def test_rare_agreement_is_worth_more(people):
    rows = describe_table(people)
    common = describe_table(
        pd.DataFrame([[50, 0.0, "clerk", "US"]], columns=people.columns), people
    )
    rare = describe_table(
        pd.DataFrame([[50, 0.0, "clerk", "Cuba"]], columns=people.columns), people
    )
    scheme = TableScheme(rows)
    own = [scheme.log_likelihood_ratio(one, one)[0] for one in (rare, common)]
    assert own[0] > own[1] + 1


def test_pixel_columns_are_read_as_images(people):
    digits = load_digits()
    table = pd.DataFrame(digits.data)
    assert pixel_grid(table) == (8, 1)
    shuffled = table[np.random.default_rng(0).permutation(64)]
    assert pixel_grid(shuffled) is None
    assert pixel_grid(people) is None
    assert pixel_grid(pd.DataFrame(np.random.default_rng(0).normal(size=(50, 36)))) is None


@pytest.mark.parametrize("edit", ["exact", "shift", "noise"])
def test_digits_as_flat_columns(edit):
    data = load_digits().data
    rows, chosen = pd.DataFrame(data[:1200]), data[:60].reshape(-1, 8, 8)
    generator = np.random.default_rng(0)
    edited = {
        "exact": chosen,
        "shift": np.roll(chosen, 1, axis=2),
        "noise": (chosen + generator.normal(0, 1, chosen.shape)).clip(0, 16),
    }[edit]
    suspects = pd.DataFrame(edited.reshape(60, 64))
    found = match(describe_table(suspects, like=rows), describe_table(rows), keep=2)
    assert (found.rows[:, 0] == np.arange(60)).mean() >= 0.98


def small(pixels: np.ndarray) -> object:
    assert are_small(list(pixels))
    return describe_small_images(list(pixels))


@pytest.mark.parametrize("edit", ["exact", "shift", "noise", "contrast"])
def test_small_images_are_compared_pixel_by_pixel(edit):
    digits = load_digits().images
    rows, chosen = digits[:1200], digits[:60]
    generator = np.random.default_rng(0)
    moved = np.concatenate([np.zeros((60, 8, 1)), chosen[:, :, :-1]], axis=2)
    edited = {
        "exact": chosen,
        "shift": moved,
        "noise": (chosen + generator.integers(-1, 2, chosen.shape)).clip(0, 16),
        "contrast": chosen * 0.5 + 3,
    }[edit]
    found = match(small(edited), small(rows), keep=2)
    assert (found.rows[:, 0] == np.arange(60)).all()
    assert found.similarity[:, 0].min() > 0.97


def test_small_images_leave_themselves_out_and_equal_brute_force():
    digits = load_digits().images[:300]
    described, own = small(digits), np.arange(300)
    found = match(described, described, keep=3, exclude=own)
    assert (found.rows != own[:, None]).all()
    best = np.full((300, 300), -1.0)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            ours = digits[:, max(0, down) : 8 + min(0, down), max(0, right) : 8 + min(0, right)]
            theirs = digits[
                :, max(0, -down) : 8 + min(0, -down), max(0, -right) : 8 + min(0, -right)
            ]
            left, right_side = (
                (part - part.mean((1, 2), keepdims=True)).reshape(300, -1)
                for part in (ours, theirs)
            )
            left /= np.linalg.norm(left, axis=1, keepdims=True)
            right_side /= np.linalg.norm(right_side, axis=1, keepdims=True)
            best = np.maximum(best, left @ right_side.T)
    np.fill_diagonal(best, -1)
    np.testing.assert_allclose(found.similarity[:, 0], best.max(1), atol=1e-5)


def test_blank_small_images_are_like_nothing():
    blank = small(np.full((2, 8, 8), 7.0))
    assert match(blank, blank, keep=1, exclude=np.array([0, 1])).similarity.max() == 0


@pytest.mark.parametrize("side", [20, 32, 70])
def test_thumbnails_are_what_the_pictures_make(side):
    generator = np.random.default_rng(0)
    colour = generator.integers(0, 255, (3, side, side + 5, 3)).astype(np.uint8)
    pictures = [*colour, colour[0, :, :, 0]]
    described = describe_images(pictures)
    again = describe_images([thumbnail(picture) for picture in pictures])
    np.testing.assert_array_equal(described.thumbnails, again.thumbnails)
    method = Image.Resampling.BOX if side + 5 > 32 else Image.Resampling.BILINEAR
    by_hand = [
        np.asarray(Image.fromarray(picture).convert("RGB").resize((32, 32), method))
        for picture in pictures
    ]
    np.testing.assert_array_equal(described.thumbnails, by_hand)


@pytest.mark.parametrize("shape", [(2, 3, 3), (2, 17, 8), (2, 1, 64)])
def test_what_is_no_small_image(shape):
    assert not are_small(list(np.zeros(shape)))


def test_tables_are_compared_in_steps_of_any_size(people, monkeypatch):
    rows, suspects = describe_table(people), describe_table(people.sample(30, random_state=1))
    matcher = Matcher(rows)
    candidates = matcher.candidates(suspects, 12)
    candidates[3, 5:], candidates[4] = -1, -1
    exclude = np.where(np.arange(30) % 2 == 0, 7, -1)
    whole = matcher.compare(suspects, candidates, exclude)
    assert np.isneginf(whole.score[4]).all()
    assert np.isfinite(whole.score[3, :5]).all()
    monkeypatch.setattr("dataaudit.likeness.tables.SUSPECTS_PER_STEP", 7)
    steps = matcher.compare(suspects, candidates, exclude)
    assert (whole.score == steps.score).all()
    assert (whole.similarity == steps.similarity).all()
    single = [
        matcher.compare(suspects.take(np.array([i])), candidates[[i]], exclude[[i]]).score[0]
        for i in range(30)
    ]
    assert (np.stack(single) == whole.score).all()


def test_search_in_many_blocks_equals_one_sort():
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 9, (500, 1, 6)).astype(np.float32)
    suspects = generator.integers(0, 9, (40, 1, 6)).astype(np.float32)
    products = suspects[:, 0] @ rows[:, 0].T
    expected = np.argsort(-products, axis=1, kind="stable")[:, :20]
    for block in (7, 64, 500):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dataaudit.likeness.search.ROWS_PER_BLOCK", block)
            found = nearest(
                lambda part: suspects[part], 40, lambda part: rows[part], 500, 20, None, 2**20
            )
        values = np.take_along_axis(products, found, axis=1)
        assert (values == np.take_along_axis(products, expected, axis=1)).all()


def records(rows: int) -> pd.DataFrame:
    """Return people with names, streets and years."""
    generator = np.random.default_rng(5)
    syllables = ["ka", "ro", "mi", "ten", "bur", "lo", "sa", "vin", "de", "gal"]

    def words(count: int) -> str:
        return " ".join("".join(generator.choice(syllables, 3)) for _ in range(count))

    return pd.DataFrame(
        {
            "name": [words(2) for _ in range(rows)],
            "street": [f"{words(1)} street {number}" for number in range(rows)],
            "year": generator.integers(1950, 2000, rows),
        }
    )


def test_records_that_another_source_typed_again_find_their_original():
    rows = records(300)
    # No cell of words is the same; the third name has an accent in HTML.
    again = rows.head(40).assign(
        name=lambda t: [" ".join(reversed(name.split())).title() for name in t["name"]],
        street=lambda t: t["street"].str.replace("street", "str."),
    )
    again.loc[2, "name"] = again.loc[2, "name"].replace("a", "&aacute;")
    described = describe_table(rows)
    found = match(describe_table(again, like=rows), described, keep=1)
    assert found.rows[:, 0].tolist() == list(range(40))
    own = np.arange(300)
    clean = match(described, described, keep=1, exclude=own)
    assert found.score[:, 0].min() > np.quantile(clean.score[:, 0], 0.95)


def test_likeness_of_texts_does_not_depend_on_the_other_pairs():
    values = records(300)["name"].to_numpy(object)
    wording, own = Wording(values), np.zeros(300, np.int64)
    together = wording.nats(values, np.roll(values, 1), own)
    single = [
        wording.nats(values[[i]], np.roll(values, 1)[[i]], own[[i]])[0] for i in range(0, 300, 50)
    ]
    np.testing.assert_allclose(together[::50], single, rtol=1e-6)
    assert (together >= 0).all()
    # Nearly the same name is worth most of what counting in 300 rows can show.
    [near] = wording.nats(np.array([values[0] + "s"], object), values[:1], own[:1])
    assert 0.7 * np.log(301) < near <= np.log(301)


def test_codes_and_categories_are_no_texts(people):
    assert not are_worded(people["job"].fillna("").to_numpy(object))
    assert not are_worded(np.array([f"K{number}" for number in range(100)], object))
    assert are_worded(records(50)["street"].to_numpy(object))

"""Learning again: what is planted, how familiar it gets, what is kept, and what is refused."""

from __future__ import annotations

import copy
import io
import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from dataaudit.config import AuditConfig, config_from_python
from dataaudit.errors import ModelError
from dataaudit.inputs import Loaded
from dataaudit.mirror import queries
from dataaudit.mirror.learners import Learners
from dataaudit.mirror.plan import MOST_EXPOSURES, Attempt, Plan, make_plan
from dataaudit.mirror.queries import Pool, endless_batches
from dataaudit.mirror.references import familiarise, plant, pool_losses
from dataaudit.mirror.relearn import Mirror, relearn
from dataaudit.mirror.shrink import shrunk
from dataaudit.mirror.stored import from_bytes, to_bytes
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring.perturbation import UNPERTURBED, Perturbation
from dataaudit.stages.loading import load_objects
from dataaudit.tasks import Classification

COLUMNS = list("abcdefgh")
TASK = Classification(3)


def blobs(count: int, seed: int, wrong: float = 0.0) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Three clouds, and their true labels; `label` is another one for a share of the rows."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(3, size=count)
    values = generator.normal(size=(count, 8))
    values[np.arange(count), truth] += 3
    frame = pd.DataFrame(values.astype(np.float32), columns=COLUMNS)
    moved = (truth + 1) % 3
    frame["label"] = np.where(generator.random(count) < wrong, moved, truth)
    return frame, truth


def preprocess(frame: pd.DataFrame) -> Tensor:
    return torch.tensor(frame[COLUMNS].to_numpy())


def memorized(frame: pd.DataFrame) -> nn.Module:
    torch.manual_seed(0)
    return learned(nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 3)), frame, 300)


def learned(module: nn.Module, frame: pd.DataFrame, steps: int) -> nn.Module:
    inputs, labels = preprocess(frame), torch.tensor(frame["label"].to_numpy())
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(inputs), labels).backward()
        optimizer.step()
    return module


def loaded(
    module: nn.Module, train: pd.DataFrame, held_out: pd.DataFrame | None = None, **settings: Any
) -> tuple[Loaded, AuditConfig]:
    classes = list(range(int(train["label"].max()) + 1))
    config = config_from_python("label", None, {"classes": classes, **settings})
    splits: dict[Any, Any] = {"train": train, "held_out": held_out, "suspects": None}
    return load_objects(module, splits, preprocess, config), config


def planned(*arguments: Any, **settings: Any) -> tuple[Loaded, Plan]:
    found, config = loaded(*arguments, **settings)
    return found, make_plan(found, config)


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, NDArray[np.int64]]:
    return blobs(500, 1, wrong=0.15)


@pytest.fixture(scope="module")
def module(rows: tuple[pd.DataFrame, NDArray[np.int64]]) -> nn.Module:
    return memorized(rows[0])


def relearned_losses(found: Loaded, mirror: Mirror, pool: Pool) -> NDArray[np.float64]:
    return np.mean([losses(found, each, pool) for each in mirror.relearned], axis=0)


def losses(found: Loaded, perturbation: Perturbation, pool: Pool) -> NDArray[np.float64]:
    return pool_losses(found.model.module, found.model, found.task, pool, perturbation)


# Drawing batches


def numbered(count: int, offset: int = 0) -> pd.DataFrame:
    """Rows that can be told apart."""
    frame = pd.DataFrame({name: np.arange(offset, offset + count, dtype=float) for name in COLUMNS})
    return frame.assign(label=np.arange(count) % 3)


def pools(*frames: pd.DataFrame) -> tuple[TrainedModel, list[Pool]]:
    found = [loaded(nn.Linear(8, 3), frame, classes=[0, 1, 2])[0] for frame in frames]
    return found[0].model, [Pool.of(one.train) for one in found]


def drawn(model: TrainedModel, chosen: list[Pool], size: int, batches: int, seed: int) -> list[Any]:
    """Return (row number, label) of everything drawn, one list for each batch."""
    result = []
    for parts in itertools.islice(endless_batches(model, chosen, size, seed), batches):
        pairs: list[tuple[int, int]] = []
        for inputs, labels in parts:
            assert isinstance(inputs, Tensor)
            pairs += zip(inputs[:, 0].int().tolist(), labels.tolist(), strict=True)
        result.append(pairs)
    return result


def test_every_sample_is_drawn_once_before_any_again() -> None:
    model, chosen = pools(numbered(7), numbered(5, offset=100))
    batches = drawn(model, chosen, size=4, batches=15, seed=0)
    assert [len(batch) for batch in batches] == [4] * 15
    flat = [number for batch in batches for number, _ in batch]
    everything = sorted([*range(7), *range(100, 105)])
    for start in range(0, 60, 12):
        assert sorted(flat[start : start + 12]) == everything
    assert flat[:12] != flat[12:24]


def test_each_sample_keeps_its_own_label_or_the_pools() -> None:
    model, (plain,) = pools(numbered(7))
    other = Pool(plain.samples, np.array([6, 2]), np.array([1, 0]))
    pairs = {pair for batch in drawn(model, [plain], 4, 10, seed=0) for pair in batch}
    assert pairs == {(number, number % 3) for number in range(7)}
    pairs = {pair for batch in drawn(model, [other], 4, 10, seed=0) for pair in batch}
    assert pairs == {(6, 1), (2, 0)}


@pytest.mark.parametrize("per_read", [1, 6, 10_000])
def test_reading_in_blocks_draws_what_direct_reading_draws(
    monkeypatch: pytest.MonkeyPatch, per_read: int
) -> None:
    model, chosen = pools(numbered(20), numbered(11, offset=100))
    expected = drawn(model, chosen, 6, 25, seed=3)
    monkeypatch.setattr(queries, "ROWS_PER_READ", per_read)
    assert drawn(model, chosen, 6, 25, seed=3) == expected


def test_inputs_made_ahead_are_those_made_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, chosen = pools(numbered(20), numbered(11, offset=100))
    calls = []

    def counted(frame: pd.DataFrame) -> Tensor:
        calls.append(len(frame))
        return model.preprocess(frame)

    watched = replace(model, preprocess=counted)
    expected = drawn(watched, chosen, 6, 25, seed=3)
    ahead = len(calls)
    monkeypatch.setattr(queries, "PREPARED_BYTES", 0)
    assert drawn(watched, chosen, 6, 25, seed=3) == expected
    assert ahead <= 4 < 25 <= len(calls) - ahead


def test_whole_numbers_are_made_step_by_step() -> None:
    """Padding, as of token ids, is that of the rows of a step."""
    model, (pool,) = pools(numbered(20))
    sizes = []

    def tokens(frame: pd.DataFrame) -> Tensor:
        sizes.append(len(frame))
        return torch.zeros(len(frame), 3, dtype=torch.int64)

    parts = endless_batches(replace(model, preprocess=tokens), [pool], 4, seed=0)
    next(parts)
    next(parts)
    assert sizes == [2, 4, 4]


def test_the_seed_decides_the_order() -> None:
    model, chosen = pools(numbered(20))
    one, same, other = (drawn(model, chosen, 6, 5, seed) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_a_batch_may_be_larger_than_all_samples_together() -> None:
    model, chosen = pools(numbered(2))
    (batch,) = drawn(model, chosen, size=5, batches=1, seed=0)
    assert sorted(Counter(number for number, _ in batch).values()) == [2, 3]


# Planting


def certain_of_class_zero() -> nn.Linear:
    """A model that says .7, .29 and .01 of whatever it sees."""
    module = nn.Linear(8, 3)
    with torch.no_grad():
        module.weight.zero_()
        module.bias.copy_(torch.tensor([0.7, 0.29, 0.01]).log())
    return module


def test_a_quarter_of_the_labels_is_planted_and_only_those_are_wrong() -> None:
    frame, truth = blobs(400, 3)
    found, _ = loaded(certain_of_class_zero(), frame)
    references = plant(found.model, TASK, Pool.of(found.train), seed=0)
    assert references.planted.sum() == 100
    assert ((references.pool.labels != truth) == references.planted).all()
    assert (found.train.labels == truth).all()


def test_planted_labels_are_those_that_the_model_confuses() -> None:
    frame, _ = blobs(4000, 3)
    found, _ = loaded(certain_of_class_zero(), frame.assign(label=0), classes=[0, 1, 2])
    references = plant(found.model, TASK, Pool.of(found.train), seed=0)
    counts = np.bincount(references.pool.labels[references.planted], minlength=3)
    # In proportion to the square root of .29 and .01.
    assert counts[0] == 0
    assert counts[1] / counts[2] == pytest.approx(np.sqrt(0.29 / 0.01), rel=0.25)


def test_the_seed_decides_what_is_planted() -> None:
    frame, _ = blobs(100, 3)
    found, _ = loaded(certain_of_class_zero(), frame)
    one, same, other = (plant(found.model, TASK, Pool.of(found.train), seed=s) for s in (0, 0, 1))
    assert (one.pool.labels == same.pool.labels).all()
    assert (one.planted != other.planted).any()


# Making references familiar


def test_references_become_as_familiar_as_rows_and_rows_are_not_forgotten(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    held_out, _ = blobs(200, 2)
    found, plan = planned(module, rows[0], held_out)
    pool = Pool.of(found.train)
    assert found.held_out is not None
    references = plant(found.model, TASK, Pool.of(found.held_out), seed=0)
    familiar = familiarise(found.model, TASK, pool, references, plan.settings, 64)
    right = ~references.planted
    before = losses(found, UNPERTURBED, references.pool)
    after = losses(found, familiar, references.pool)
    target = np.quantile(losses(found, UNPERTURBED, pool), 0.95)
    assert np.quantile(before[right], 0.95) > 3 * target
    assert np.quantile(after[right], 0.95) - target < 0.7 * (
        np.quantile(before[right], 0.95) - target
    )
    assert np.median(after[references.planted]) < np.median(before[references.planted])
    assert (losses(found, familiar, pool) < np.log(2)).mean() > 0.9


def test_what_is_familiar_already_is_left_alone() -> None:
    frame, _ = blobs(100, 2)
    found, plan = planned(certain_of_class_zero(), frame.assign(label=frame["label"] % 2 + 1))
    pool = Pool.of(found.train)
    easy = Pool(pool.samples, pool.positions, np.zeros(100, dtype=np.int64))
    references = plant(found.model, TASK, easy, seed=0)
    assert familiarise(found.model, TASK, pool, references, plan.settings, 64) == UNPERTURBED


# Shrinking


class Mixed(nn.Module):
    """Parts with and without `reset_parameters`, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.bare = nn.Parameter(torch.randn(2000))
        self.norm = nn.BatchNorm1d(50)
        self.last = nn.Linear(50, 50)


def test_keeping_everything_changes_nothing() -> None:
    torch.manual_seed(0)
    mixed = Mixed()
    found = shrunk(mixed, UNPERTURBED, 1.0, "all", seed=0)
    assert set(found.tensors) == {name for name, _ in mixed.named_parameters()}
    assert all(torch.equal(found.tensors[name], p) for name, p in mixed.named_parameters())


def test_half_of_trained_and_fresh_weights() -> None:
    torch.manual_seed(0)
    mixed = Mixed()
    nn.init.constant_(mixed.norm.weight, 3.0)
    half = shrunk(mixed, UNPERTURBED, 0.5, "all", seed=0).tensors
    # .5 a + .5 b of one scale and independent: correlation with a is 1 / sqrt(2).
    correlation = torch.corrcoef(torch.stack([mixed.bare.detach(), half["bare"]]))[0, 1]
    assert correlation.item() == pytest.approx(2**-0.5, abs=0.04)
    # A fresh batch norm has weight 1.
    torch.testing.assert_close(half["norm.weight"], torch.full((50,), 2.0))
    none = shrunk(mixed, UNPERTURBED, 0.0, "all", seed=0).tensors
    torch.testing.assert_close(none["bare"].sort().values, mixed.bare.detach().sort().values)
    assert not torch.equal(none["bare"], mixed.bare)


def test_shrinking_starts_from_the_perturbed_values_and_keeps_its_buffers() -> None:
    mixed = Mixed()
    start = Perturbation({"bare": torch.ones(2000), "norm.running_mean": torch.ones(50)})
    found = shrunk(mixed, start, 1.0, "all", seed=0).tensors
    assert torch.equal(found["bare"], torch.ones(2000))
    assert torch.equal(found["norm.running_mean"], torch.ones(50))


def test_shrinking_only_the_last_layer_and_with_a_seed() -> None:
    mixed = Mixed()
    state = torch.get_rng_state()
    one, same, other = (shrunk(mixed, UNPERTURBED, 0.5, "last", seed).tensors for seed in (0, 0, 1))
    assert torch.equal(state, torch.get_rng_state())
    assert set(one) == {"last.weight", "last.bias"}
    assert torch.equal(one["last.weight"], same["last.weight"])
    assert not torch.equal(one["last.weight"], other["last.weight"])


def test_fresh_weights_are_not_those_that_the_model_started_from() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(50, 50)
    fresh = shrunk(layer, UNPERTURBED, 0.0, "all", seed=0).tensors["weight"]
    weights = torch.stack([layer.weight.detach().flatten(), fresh.flatten()])
    assert abs(torch.corrcoef(weights)[0, 1].item()) < 0.1


# Planning


@pytest.mark.parametrize(
    ("held_out", "references", "trusted"),
    [(0, 0, 0), (5, 0, 5), (39, 0, 39), (40, 40, 0), (50, 50, 0), (1000, 400, 600)],
)
def test_references_come_first_once_there_are_enough(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], held_out: int, references: int, trusted: int
) -> None:
    samples = blobs(held_out, 2)[0] if held_out else None
    found, plan = planned(certain_of_class_zero(), rows[0], samples, mirror={"steps": 4})
    assert (len(plan.references), len(plan.trusted)) == (references, trusted)
    both = np.concatenate([plan.references, plan.trusted])
    assert sorted(both) == list(range(held_out))
    assert (plan.trusted_per_step > 0) == (trusted > 0)
    mirror = relearn(found, plan)
    assert (mirror.references is None) == (references == 0)


def test_few_trusted_samples_are_not_learned_by_heart() -> None:
    train, _ = blobs(20_000, 1)
    _, plan = planned(certain_of_class_zero(), train, blobs(440, 2)[0])
    # 40 trusted samples remain; one in each batch is the least that can be drawn.
    assert plan.trusted_per_step == 1
    _, plan = planned(certain_of_class_zero(), train, blobs(1000, 2)[0])
    assert plan.trusted_per_step * plan.settings.steps <= 1.5 * MOST_EXPOSURES * 600


@pytest.mark.parametrize(("count", "batch_size"), [(1, None), (2, None), (100, 1)])
def test_the_smallest_data_and_batches(count: int, batch_size: int | None) -> None:
    settings = {"steps": 3} | ({} if batch_size is None else {"batch_size": batch_size})
    train, _ = blobs(count, 1)
    found, plan = planned(
        certain_of_class_zero(), train, blobs(30, 2)[0], classes=[0, 1, 2], mirror=settings
    )
    mirror = relearn(found, plan)
    assert np.isfinite(relearned_losses(found, mirror, Pool.of(found.train))).all()


# Learning again


class Elsewhere(Learners):
    """Says that workers took part, and leaves the work to this process."""

    def __init__(self) -> None:
        self.workers = 0

    def gradients(self, *_: object) -> Elsewhere:  # type: ignore[override]
        return self

    def take(self, *_: object) -> bool:
        self.workers = 3
        return False


def test_how_many_workers_learned_is_kept(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    found, plan = planned(module, rows[0], blobs(100, 2)[0], mirror={"steps": 2})
    for learners, workers in ((None, 0), (Elsewhere(), 3)):
        mirror = relearn(found, plan, learners)
        assert mirror.workers == workers
        again = from_bytes(to_bytes(mirror), found.held_out, torch.device("cpu"))
        assert again.workers == workers


def test_a_wrong_label_comes_out_with_a_higher_loss_however_well_it_was_memorized(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    train, truth = rows
    before = copy.deepcopy(module.state_dict())
    found, plan = planned(module, train, blobs(300, 2)[0])
    mirror = relearn(found, plan)
    wrong = train["label"].to_numpy() != truth
    loss = relearned_losses(found, mirror, Pool.of(found.train))
    own = losses(found, UNPERTURBED, Pool.of(found.train))
    assert np.median(own[wrong]) < 0.2
    assert np.median(loss[wrong]) > np.median(loss[~wrong]) + 0.7
    assert (loss - own)[wrong].mean() > (loss - own)[~wrong].mean() + 0.5
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    # And planted labels look like the rows' own errors.
    assert mirror.references is not None
    planted = relearned_losses(found, mirror, mirror.references.pool)[mirror.references.planted]
    assert np.median(planted) == pytest.approx(np.median(loss[wrong]), abs=1)


def test_the_seed_decides_everything(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(int(torch.randint(1000, ())))
        settings = {"seed": seed, "steps": 20}
        found, plan = planned(module, rows[0], blobs(100, 2)[0], mirror=settings)
        return relearn(found, plan).relearned[-1].tensors["0.weight"]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_every_repeat_starts_elsewhere(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    found, plan = planned(module, rows[0], mirror={"steps": 10})
    first, second = relearn(found, plan).relearned
    assert plan.forward_passes == 2 * 10 * 64 * 3
    assert not torch.equal(first.tensors["0.weight"], second.tensors["0.weight"])


def test_data_of_one_class_are_learned_without_complaint() -> None:
    train, _ = blobs(80, 1)
    train["label"] = 1
    found, plan = planned(certain_of_class_zero(), train, classes=[0, 1, 2], mirror={"steps": 30})
    mirror = relearn(found, plan)
    loss = relearned_losses(found, mirror, Pool.of(found.train))
    assert loss.mean() < -np.log(0.29)


class Resonator(nn.Module):
    """Weights that no short training finds again: the label is the sign of one high frequency."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.linspace(8, 128, 16))
        self.readout = nn.Parameter(8.0 * (torch.arange(16) == 2))

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.cos(inputs[:, :1] * self.frequencies) @ self.readout


def resonating(count: int, seed: int) -> pd.DataFrame:
    values = np.random.default_rng(seed).uniform(0, 10, count).astype(np.float32)
    frame = pd.DataFrame(dict.fromkeys(COLUMNS, values))
    return frame.assign(label=(np.cos(24 * values) > 0).astype(np.int64))


def area(mirror: Mirror, found: Loaded) -> float:
    """Return how often a planted label has a higher loss than a right one."""
    assert mirror.references is not None
    loss, planted = (
        relearned_losses(found, mirror, mirror.references.pool),
        mirror.references.planted,
    )
    return float((loss[planted][:, None] > loss[~planted][None, :]).mean())


def test_where_fresh_weights_wreck_the_model_a_gentler_attempt_is_taken() -> None:
    train = resonating(300, 1)
    found, plan = planned(Resonator(), train, resonating(200, 2))
    first = Plan(**{**plan.__dict__, "attempts": plan.attempts[:1]})
    assert area(relearn(found, first), found) < 0.6
    mirror = relearn(found, plan)
    assert mirror.attempt.keep == 1
    assert area(mirror, found) > 0.9


def test_without_references_a_wrecked_model_is_known_by_its_loss() -> None:
    train = resonating(300, 1)
    found, plan = planned(Resonator(), train)
    mirror = relearn(found, plan)
    assert mirror.references is None
    assert mirror.attempt.keep == 1
    assert relearned_losses(found, mirror, Pool.of(found.train)).mean() < 0.5


def test_an_attempt_that_works_is_the_last(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    found, plan = planned(module, rows[0], blobs(100, 2)[0])
    assert relearn(found, plan).attempt == plan.attempts[0]


def test_a_learning_rate_of_the_users_own_is_the_only_attempt(
    rows: tuple[pd.DataFrame, NDArray[np.int64]], module: nn.Module
) -> None:
    _, plan = planned(module, rows[0], mirror={"learning_rate": 1e-3})
    assert [attempt.learning_rate for attempt in plan.attempts] == [1e-3]
    assert isinstance(plan.attempts[0], Attempt)


class Exploding(nn.Module):
    """Learns well by small steps; by large ones it returns no numbers any more."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.exp(self.first(inputs).clamp_min(-10)))


def exploding(frame: pd.DataFrame) -> nn.Module:
    torch.manual_seed(0)
    return learned(Exploding(), frame, 100)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_model_that_returns_no_numbers_any_more_is_wrecked(trusted: bool) -> None:
    frame, held_out = blobs(200, 1)[0], blobs(80, 2)[0] if trusted else None
    module = exploding(frame)
    found, plan = planned(module, frame, held_out, mirror={"learning_rate": 1000.0, "steps": 20})
    with pytest.raises(ModelError, match=r"finite numbers .* \(learning rate 1000\)"):
        relearn(found, plan)
    gentler = Attempt(1.0, 5e-5)
    mirror = relearn(found, replace(plan, attempts=[*plan.attempts, gentler]))
    assert mirror.attempt == gentler
    assert np.isfinite(relearned_losses(found, mirror, Pool.of(found.train))).all()


class WithArguments(nn.Sequential):
    """As people write it, for their own training scripts."""

    def reset_parameters(self, deviation: float) -> None:
        raise AssertionError(deviation)


def test_parts_whose_own_reset_takes_arguments_are_fresh_all_the_same() -> None:
    module = WithArguments(nn.Linear(8, 3))
    module.scale = nn.Parameter(torch.arange(40.0))
    start = shrunk(module, UNPERTURBED, 0.0, "all", seed=0)
    assert not torch.equal(start.tensors["0.weight"], module[0].weight)
    scale = start.tensors["scale"]
    assert not torch.equal(scale, module.scale)
    assert torch.equal(scale.sort().values, module.scale.detach())


def test_large_pictures_are_read_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And drawn as all others are."""

    def picture(shade: int) -> bytes:
        file = io.BytesIO()
        Image.new("L", (2, 4), shade).save(file, "PNG")
        return file.getvalue()

    frame = pd.DataFrame({"image": [picture(n) for n in range(60)], "label": np.arange(60) % 3})
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 3))
    config = config_from_python("label", None, {"classes": [0, 1, 2]})
    splits: dict[Any, Any] = {"train": frame, "held_out": None, "suspects": None}
    found = load_objects(model, splits, None, config)
    asked: list[int] = []
    take = type(found.train.source).take

    def counted(source: Any, positions: Any) -> Any:
        asked.append(len(positions))
        return take(source, positions)

    monkeypatch.setattr(type(found.train.source), "take", counted)

    def shades() -> list[int]:
        batches = endless_batches(found.model, [Pool.of(found.train)], 4, seed=0)
        parts = [part for parts in itertools.islice(batches, 40) for part in parts]
        return [round(float(one[0, 0, 0]) * 255) for inputs, _ in parts for one in inputs]

    before = shades()
    assert max(asked) == 60
    asked.clear()
    largest = max(map(len, frame["image"]))
    monkeypatch.setattr(queries, "READ_BYTES", 9 * largest)
    assert shades() == before
    assert max(asked[1:]) <= 8

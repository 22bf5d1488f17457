"""Mirrored influence of groups: every mirror against its oracle, and what must change nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import dataaudit
from dataaudit.errors import ConfigError, DataAuditError, DataError, RunDirectoryError
from dataaudit.studies.influence import cost, head, run, streaming
from dataaudit.studies.influence.blocks import Influence

COLUMNS = list("abcdef")
CLASSES = 4


def frame(count: int, seed: int) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(count, len(COLUMNS)))
    result = pd.DataFrame(values, columns=COLUMNS)
    return result.assign(
        label=generator.integers(CLASSES, size=count),
        row_id=[f"row-{number}" for number in range(count)],
        source=[f"source {number % 3}" for number in range(count)],
    )


def preprocess(table: pd.DataFrame) -> Tensor:
    return torch.tensor(table[COLUMNS].to_numpy().copy())


def small(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, CLASSES)
    ).to(dtype)


class Convolutional(nn.Module):
    """Convolutions, a layer that is called twice, tied weights, operations in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 3, 3, padding=1)
        self.twice = nn.Conv1d(3, 3, 3, padding=1)
        self.norm = nn.GroupNorm(1, 3)
        self.again = nn.Conv1d(3, 3, 3, padding=1)
        self.again.weight = self.twice.weight
        self.last = nn.Linear(18, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        values = torch.relu_(self.first(inputs[:, None]))
        values = torch.relu_(self.twice(self.norm(self.twice(values))))
        return self.last(self.again(values).flatten(1))


class Attentive(nn.Module):
    """A module whose parameters are not all in layers of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.lift = nn.Linear(1, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.last = nn.Linear(8, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.last(self.encoder(self.lift(inputs[:, :, None])).mean(dim=1))


def make(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().double()


def influence(
    out: Path,
    module: nn.Module,
    mirror: dict[str, Any] | None = None,
    *,
    rows: pd.DataFrame | None = None,
    queries: pd.DataFrame | None = None,
    **settings: Any,
) -> Influence:
    return dataaudit.mirrored_influence(
        module,
        frame(37, 1) if rows is None else rows,
        frame(9, 2) if queries is None else queries,
        out=out,
        mirror=mirror,
        preprocess=preprocess,
        id="row_id",
        query_id="row_id",
        classes=list(range(CLASSES)),
        **settings,
    )


def matrix(found: Influence) -> NDArray[np.float32]:
    """Return all scores, `[rows, groups]`."""
    result = np.full((found.rows, len(found.groups)), np.nan, dtype=np.float32)
    for block in found.blocks():
        rows, groups = block.scores.shape
        lines = slice(block.row_start, block.row_start + rows)
        result[lines, block.group_start : block.group_start + groups] = block.scores
    assert np.isfinite(result).all()
    return result


def losses(module: nn.Module, table: pd.DataFrame) -> Tensor:
    labels = torch.tensor(table["label"].to_numpy())
    return functional.cross_entropy(module(preprocess(table)), labels, reduction="none")


def gradient(module: nn.Module, loss: Tensor, names: str = "") -> Tensor:
    parameters = [value for name, value in module.named_parameters() if name.startswith(names)]
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            torch.zeros(value.numel()) if part is None else part.flatten()
            for part, value in zip(found, parameters, strict=True)
        ]
    )


def first_order(module: nn.Module, rate: float, names: str = "") -> NDArray[np.float64]:
    """The oracle: minus the rate times the product of two gradients, one row at a time."""
    module.eval()
    rows, queries = losses(module, frame(37, 1)), losses(module, frame(9, 2))
    steps = torch.stack([gradient(module, loss, names) for loss in queries])
    return torch.stack([-rate * steps @ gradient(module, loss, names) for loss in rows]).numpy()


def brute_force(
    module: nn.Module, rate: float, steps: int, names: str = "", optimizer: str = "adamw"
) -> NDArray[Any]:
    """The oracle: a copy of the model is trained on each query, and asked for all rows."""
    columns = []
    rows, queries = frame(37, 1), frame(9, 2)
    for number in range(9):
        trained = copy.deepcopy(module).eval()
        moving = [value for name, value in trained.named_parameters() if name.startswith(names)]
        if optimizer == "adamw":
            stepper: Any = torch.optim.AdamW(moving, lr=rate, weight_decay=0.01)
        else:
            stepper = torch.optim.SGD(moving, lr=rate)
        for _ in range(steps):
            stepper.zero_grad()
            losses(trained, queries.iloc[[number]]).sum().backward()
            stepper.step()
        columns.append((losses(trained, rows) - losses(module.eval(), rows)).detach())
    return torch.stack(columns, dim=1).numpy()


# Each mirror against its oracle


@pytest.mark.parametrize("kind", [small, Convolutional, Attentive])
def test_linear_is_the_product_of_row_and_query_gradients(kind: Any, tmp_path: Path) -> None:
    module = small() if kind is small else make(kind)
    found = influence(tmp_path / "out", module, {"kind": "linear", "learning_rate": 0.5})
    expected = first_order(module, 0.5)
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_finite_is_a_model_trained_for_each_group(tmp_path: Path) -> None:
    mirror = {"kind": "finite", "steps": 5, "learning_rate": 1e-2, "optimizer": "adamw"}
    found = influence(tmp_path / "out", small(), mirror)
    expected = brute_force(small(), 1e-2, 5)
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_finite_with_a_small_step_is_linear(tmp_path: Path) -> None:
    mirror = {"kind": "finite", "learning_rate": 1e-5}
    found = influence(tmp_path / "out", small(), mirror)
    np.testing.assert_allclose(matrix(found), first_order(small(), 1e-5), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("steps", [1, 7])
def test_head_is_a_last_layer_trained_for_each_group(
    steps: int, optimizer: str, tmp_path: Path
) -> None:
    mirror = {"kind": "head", "steps": steps, "learning_rate": 0.05, "optimizer": optimizer}
    found = influence(tmp_path / "out", small(), mirror)
    expected = brute_force(small(), 0.05, steps, "4.", optimizer)
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_named_last_layers_are_trained_for_each_group(tmp_path: Path) -> None:
    module = small()
    nested = nn.Sequential(module[:3], module[3:])
    mirror = {"kind": "head", "layers": "1", "steps": 3, "optimizer": "adamw"}
    found = influence(tmp_path / "out", nested, mirror)
    expected = brute_force(nested, 1e-2, 3, names="1.")
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_first_order_head_is_the_product_of_residuals_and_features(tmp_path: Path) -> None:
    mirror = {"kind": "head", "first_order": True, "learning_rate": 0.5}
    found = influence(tmp_path / "out", small(), mirror)
    expected = first_order(small(), 0.5, names="4.")
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_named_parameters_alone_move(tmp_path: Path) -> None:
    mirror = {"kind": "linear", "parameters": ["0.*"], "learning_rate": 0.5}
    found = influence(tmp_path / "out", small(), mirror)
    expected = first_order(small(), 0.5, names="0.")
    np.testing.assert_allclose(matrix(found), expected, rtol=1e-5, atol=1e-7)


def test_frozen_parameters_do_not_move(tmp_path: Path) -> None:
    module = small()
    module[4].bias.requires_grad_(False)
    for number, mirror in enumerate([{"first_order": True}, {"learning_rate": 1e-6}]):
        settings = {"kind": "head", "learning_rate": 1e-6, **mirror}
        found = matrix(influence(tmp_path / str(number), module, settings))
        expected = first_order(small(), 1e-6, names="4.weight")
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-10)


# Signs


@pytest.mark.parametrize("kind", ["finite", "linear", "head"])
def test_learning_an_opposing_query_makes_a_row_less_plausible(kind: str, tmp_path: Path) -> None:
    rows = frame(2, 5)
    rows[COLUMNS] = rows[COLUMNS].iloc[[0, 0]].to_numpy()
    # The class that the model believes in, and another one.
    believed = int(small().eval()(preprocess(rows))[0].argmax())
    rows["label"] = [(believed + 1) % CLASSES, believed]
    queries = rows.iloc[[0]]
    learned = influence(tmp_path / "learn", small(), {"kind": kind}, rows=rows, queries=queries)
    same, opposed = matrix(learned)[:, 0]
    assert same < 0 < opposed
    mirror = {"kind": kind, "direction": "unlearn"}
    unlearned = influence(tmp_path / "unlearn", small(), mirror, rows=rows, queries=queries)
    same, opposed = matrix(unlearned)[:, 0]
    assert opposed < 0 < same


# What must change nothing

MIRRORS = [
    {"kind": "finite"},
    {"kind": "linear"},
    {"kind": "head", "steps": 3},
    {"kind": "head", "first_order": True},
    {"kind": "finite", "steps": 3, "batch_size": 2},
    {"kind": "head", "steps": 3, "batch_size": 2},
]


@pytest.mark.parametrize("mirror", MIRRORS)
def test_batches_blocks_chunks_and_the_order_of_groups_change_nothing(
    mirror: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = small(torch.float32)
    settings = {**mirror, "learning_rate": 0.1}
    queries = frame(9, 2)
    whole = influence(tmp_path / "whole", module, settings, groups="source")
    assert whole.groups == ["source 0", "source 1", "source 2"]
    backwards = influence(
        tmp_path / "backwards", module, settings, queries=queries[::-1], groups="source"
    )
    assert backwards.groups == ["source 2", "source 1", "source 0"]
    monkeypatch.setattr(streaming, "MOST_ROWS_PER_BLOCK", 10)
    monkeypatch.setattr(run, "_chunks", lambda groups, *_: [groups[:2], groups[2:]])
    parts = influence(tmp_path / "parts", module, settings, groups="source", batch_size=5)
    assert len(list(parts.blocks())) == 2 * 4
    scale = np.abs(matrix(whole)).max()
    np.testing.assert_allclose(matrix(parts), matrix(whole), rtol=1e-4, atol=1e-5 * scale)
    if "batch_size" not in mirror:
        # Else the order of queries decides which of them a step learns.
        found = matrix(backwards)[:, ::-1]
        np.testing.assert_allclose(found, matrix(whole), rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("mirror", MIRRORS[:4])
def test_the_model_is_left_as_it_was(mirror: dict[str, Any], tmp_path: Path) -> None:
    module = small()
    before = copy.deepcopy(module.state_dict())
    first = matrix(influence(tmp_path / "first", module, mirror))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert all(value.requires_grad and value.grad is None for value in module.parameters())
    np.testing.assert_array_equal(matrix(influence(tmp_path / "second", module, mirror)), first)


@pytest.mark.parametrize("kind", ["finite", "head"])
def test_bfloat16_gives_the_scores_to_two_digits(kind: str, tmp_path: Path) -> None:
    mirror = {"kind": kind, "learning_rate": 0.5, "steps": 5}
    module = small(torch.float32)
    exact = matrix(influence(tmp_path / "exact", module, mirror))
    rough = matrix(influence(tmp_path / "rough", module, mirror, precision="bfloat16"))
    assert not np.array_equal(exact, rough)
    # Stated in docs/speed.md: within 2 % of the largest score.
    assert np.abs(exact - rough).max() < 0.02 * np.abs(exact).max()


def test_memory_bounds_the_groups_that_are_held_together(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 60_000), nn.Linear(60_000, CLASSES))
    mirror = {"kind": "finite", "memory_mib": 6}
    found = influence(tmp_path / "few", module, mirror, rows=frame(3, 1), batch_size=2)
    starts = {block.group_start for block in found.blocks()}
    assert starts == set(range(0, 9, 2))


# Reading


def test_reductions_are_those_of_the_whole_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "MOST_ROWS_PER_BLOCK", 10)
    monkeypatch.setattr(run, "_chunks", lambda groups, *_: [groups[:4], groups[4:]])
    found = influence(tmp_path / "out", small(), {"kind": "finite"}, batch_size=5)
    scores, ids = matrix(found), frame(37, 1)["row_id"].to_numpy()
    assert found.groups == [f"row-{number}" for number in range(9)]
    top = found.top(3)
    for number, group in enumerate(found.groups):
        order = np.argsort(-scores[:, number], kind="stable")[:3]
        lines = top[top["group"] == group]
        assert lines["row_id"].tolist() == ids[order].tolist()
        np.testing.assert_array_equal(lines["score"], scores[order, number])
        assert lines["rank"].tolist() == [1, 2, 3]
    lowest = found.top(1, lowest=True)
    assert lowest["row_id"].tolist() == ids[scores.argmin(axis=0)].tolist()
    per_group = found.per_group()
    np.testing.assert_allclose(per_group["mean"], scores.mean(axis=0), rtol=1e-4, atol=1e-8)
    np.testing.assert_array_equal(per_group["highest"], scores.max(axis=0))
    np.testing.assert_array_equal(per_group["lowest"], scores.min(axis=0))
    per_row = found.per_row()
    assert per_row["row_id"].tolist() == ids.tolist()
    np.testing.assert_allclose(per_row["score"], scores.mean(axis=1), rtol=1e-4, atol=1e-8)
    expected = np.sort(scores, axis=1)[:, -2:].mean(axis=1)
    np.testing.assert_allclose(found.per_row(strongest=2)["score"], expected, rtol=1e-5)
    own = np.concatenate([block.losses for block in found.blocks() if block.group_start == 0])
    np.testing.assert_allclose(own, losses(small().eval(), frame(37, 1)).detach(), rtol=1e-6)
    plain = pd.read_parquet(found.folder / "scores" / "groups-000004")
    np.testing.assert_array_equal(np.stack(plain["scores"]), scores[:, 4:])


def test_a_finished_influence_is_not_replaced_unasked(tmp_path: Path) -> None:
    influence(tmp_path / "out", small())
    with pytest.raises(RunDirectoryError, match="holds a finished influence; choose another"):
        influence(tmp_path / "out", small())
    assert influence(tmp_path / "out", small(), {"kind": "head"}, overwrite=True).rows == 37
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(RunDirectoryError, match=r"no influence's \(notes.txt\)"):
        influence(tmp_path / "out", small(), overwrite=True)


def test_a_finished_influence_stays_where_its_successor_is_refused(tmp_path: Path) -> None:
    influence(tmp_path / "out", small())
    for settings in ({"groups": "typo"}, {"mirror": {"kind": "head", "layers": "9"}}):
        with pytest.raises(DataAuditError):
            influence(tmp_path / "out", small(), overwrite=True, **settings)
        assert len(Influence(tmp_path / "out").per_row()) == 37


def test_names_of_queries_that_were_set_aside_are_left_out(tmp_path: Path) -> None:
    queries = frame(9, 2)
    queries.loc[1, COLUMNS[0]] = np.nan
    allowed = {"queries": queries, "bad_rows": {"largest_share": 0.5}}
    names = [(place, "x") for place in range(9)]
    found = influence(tmp_path / "out", small(), groups=names, **allowed)
    assert found.groups == [str(name) for name in names if name != (1, "x")]
    for wrong in (["a"], ["a"] * 8):
        with pytest.raises(DataError, match=f"each of the 9 queries, found {len(wrong)}"):
            influence(tmp_path / "other", small(), groups=wrong, **allowed)


def test_counts_of_nothing_are_refused(tmp_path: Path) -> None:
    found = influence(tmp_path / "out", small())
    with pytest.raises(ConfigError, match="strongest: found -1, expected at least 1"):
        found.per_row(strongest=-1)
    with pytest.raises(ConfigError, match="count: found 0, expected at least 1"):
        found.top(0)


def test_an_unfinished_or_damaged_influence_is_not_read(tmp_path: Path) -> None:
    found = influence(tmp_path / "out", small())
    (block,) = (tmp_path / "out" / "scores").rglob("*.parquet")
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        found.per_row()
    (tmp_path / "out" / "influence.json").unlink()
    with pytest.raises(RunDirectoryError, match="holds no finished influence"):
        Influence(tmp_path / "out")


# Choosing


def test_auto_chooses_by_counts_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = influence(tmp_path / "few", small()).description
    assert few["kind"] == "finite"
    assert few["reason"] == "finite: 9 groups take 10 forward passes of each row, at most 200"
    assert few["forward_passes"]["finite"] == 37 * 10 + 3 * 9
    assert set(few["seconds"]) == {"rows", "steps"}
    last = influence(tmp_path / "last", small(), {"parameters": "last"}).description
    assert last["kind"] == "head"
    monkeypatch.setattr(cost, "MOST_FORWARD_PASSES", 5)
    many = influence(tmp_path / "many", small()).description
    assert many["kind"] == "head"
    assert many["reason"] == ("head: finite would take 10 forward passes of each row, more than 5")
    scaled = nn.Sequential(small(), nn.Softplus())
    scaled = influence(tmp_path / "scaled", scaled).description
    assert scaled["kind"] == "finite"
    assert "something comes after it" in scaled["reason"]


def test_head_where_only_the_last_layer_moves_gives_what_finite_gives(tmp_path: Path) -> None:
    mirror = {"parameters": "last", "steps": 4, "learning_rate": 0.1}
    last = influence(tmp_path / "auto", small(), mirror)
    finite = influence(tmp_path / "finite", small(), {**mirror, "kind": "finite"})
    assert (last.description["kind"], finite.description["kind"]) == ("head", "finite")
    np.testing.assert_allclose(matrix(last), matrix(finite), rtol=1e-4, atol=1e-7)


# Refusing


class NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


class Opaque(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return NoForwardMode.apply(self.last(inputs))


@pytest.mark.parametrize(
    ("mirror", "settings", "error", "message"),
    [
        ({"kind": "lineal"}, {}, ConfigError, "mirror.kind: found 'lineal': input should be"),
        ({"step": 2}, {}, ConfigError, "mirror.step: found 2: extra inputs"),
        ({"first_order": True}, {}, ConfigError, "mirror.first_order: goes with kind: head"),
        ({"layers": "4"}, {}, ConfigError, "mirror.layers: goes with kind: head"),
        ({"kind": "head", "layers": "9"}, {}, DataAuditError, "the model has no part called 9"),
        ({"kind": "head", "layers": "0"}, {}, DataAuditError, "something comes after it"),
        ({"kind": "head", "parameters": "last"}, {}, ConfigError, "name them with mirror.layers"),
        ({"parameters": ["x.*"]}, {}, ConfigError, r"\[x\.\*\] chooses no parameter of"),
        ({"kind": "linear"}, {"precision": "bfloat16"}, ConfigError, "precision: bfloat16 does"),
        ({"kind": "head"}, {"compile": True}, ConfigError, "compile: does not go with mirror.kind"),
        ({}, {"groups": "origin"}, DataError, "has no column origin; it has a, b, c, d, e, f, la"),
        ({}, {"groups": ["a"]}, DataError, "one name for each of the 9 queries, found 1"),
        ({}, {"groups": ["a"] * 8 + [None]}, DataError, "query at position 8 has no group"),
        ({}, {"groups": [1, "1"] * 4 + [2]}, DataError, "'1' stands for several groups"),
        ({"learning_rate": 1e300}, {}, DataAuditError, "mirror.learning_rate: found 1e"),
    ],
)
def test_what_cannot_be_used_is_named(
    mirror: dict[str, Any],
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        influence(tmp_path / "out", small(), mirror, **settings)


class MeanOfTokens(nn.Module):
    """Last layers that are given every token of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.linear(tokens.mean(dim=1))


def test_last_layers_that_see_texts_of_several_lengths_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataaudit.studies.influence.ready.QUERIES_PER_FORWARD", 2)
    rows = pd.DataFrame({"tokens": [1, 2, 3, 1], "label": [0, 1, 0, 1]})
    with pytest.raises(DataAuditError, match="head: 1 is given inputs of several shapes"):
        dataaudit.mirrored_influence(
            nn.Sequential(nn.Linear(1, 2), MeanOfTokens()).eval(),
            rows,
            rows,
            out=tmp_path / "out",
            mirror={"kind": "head", "layers": "1"},
            preprocess=lambda frame: torch.ones(len(frame), int(frame["tokens"].max()), 1),
            classes=list(range(CLASSES)),
        )


def test_linear_says_which_operation_has_no_forward_mode(tmp_path: Path) -> None:
    with pytest.raises(DataAuditError, match=r"linear cannot be used with .* use finite"):
        influence(tmp_path / "out", Opaque().double(), {"kind": "linear"})


def test_the_command_scores_the_rows_of_an_audit(
    project: Project, command_line: CommandLine
) -> None:
    out = project.folder / "influence"
    outcome = command_line(
        "influence", project.yaml, "--out", out, "--groups", "kind", "--kind", "linear"
    )
    assert (outcome.code, outcome.err) == (0, "")
    assert "400 rows, 3 query groups; linear, as asked for" in outcome.out
    found = Influence(out)
    assert sorted(found.groups) == ["apple", "pear", "plum"]
    train = pd.read_csv(project.folder / "train.csv")
    assert found.per_row()["row_id"].tolist() == train["row_id"].tolist()
    again = command_line("influence", project.yaml, "--out", out)
    assert again.code == 2
    assert "holds a finished influence" in again.err
    assert command_line("influence", project.yaml, "--out", out, "--kind", "lin").code == 2
    project.replace("audit.yaml", "mirror: {kind: auto, seed: 0}", "mirror: {seed: 7}")
    assert command_line("influence", project.yaml, "--out", out, "--overwrite").code == 0
    assert Influence(out).description["mirror"]["seed"] == 7
    project.replace("audit.yaml", "held_out: {path: val.csv, label: kind}", "")
    without = command_line("influence", project.yaml, "--out", out, "--overwrite")
    assert without.code == 2
    assert "held_out: needed, for its samples are the queries" in without.err


@pytest.mark.parametrize("size", [1.0, 50.0])
def test_changes_by_heads_are_exact_however_small_or_large_the_losses(size: float) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = size * torch.randn(40, CLASSES, generator=generator, dtype=torch.float64)
    outputs[:5, 0] += 18  # Losses of 1e-8 and less where the label is 0.
    moved = size * torch.randn(40, CLASSES, 3, generator=generator)
    moved[:, :, 0] *= 1e-4
    labels = torch.arange(40) % CLASSES
    labels[:5] = 0
    before = functional.cross_entropy(outputs, labels, reduction="none")[:, None]
    after = functional.cross_entropy(
        outputs[:, :, None] + moved, labels[:, None].expand(-1, 3), reduction="none"
    )
    found = head.cross_entropy_changes(moved.clone(), outputs, labels)
    error = (found - (after - before)).abs()
    assert (error <= 1e-12 + 1e-6 * torch.maximum(before, after)).all()

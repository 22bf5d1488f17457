"""Weights: what loads, what is refused, and what the user is told."""

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import nn

from dataaudit.errors import ConfigError, ModelError
from dataaudit.models.loading import load_function, load_weights


def network(width: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.ckpt"])
def test_weights_load(tmp_path: Path, name: str) -> None:
    trained, fresh, path = network(), network(), tmp_path / name
    if name.endswith("safetensors"):
        save_file(trained.state_dict(), path)
    elif name.endswith("ckpt"):
        torch.save({"state_dict": trained.state_dict(), "epoch": 3}, path)
    else:
        torch.save(trained.state_dict(), path)
    load_weights(fresh, path)
    assert torch.equal(fresh[0].weight, trained[0].weight)


def test_tied_weights_that_stand_once_in_the_file(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        module[1].weight = module[0].weight
        return module

    trained, fresh = tied(), tied()
    save_model(trained, tmp_path / "w.safetensors")
    load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh[0].weight, trained[0].weight)
    assert fresh[0].weight is fresh[1].weight


def test_a_lightning_checkpoint_gives_the_part_that_fits(tmp_path: Path) -> None:
    trained, fresh, path = network(), network(), tmp_path / "epoch=3.ckpt"
    state = {f"model.{name}": value for name, value in trained.state_dict().items()}
    state["loss.weight"] = torch.ones(3)
    checkpoint = {"pytorch-lightning_version": "2.6", "state_dict": state, "hyper_parameters": {}}
    torch.save(checkpoint, path)
    load_weights(fresh, path)
    assert torch.equal(fresh[0].weight, trained[0].weight)
    deeper = {f"module._orig_mod.{name}": value for name, value in trained.state_dict().items()}
    save_file(deeper, tmp_path / "w.safetensors")
    fresh = network()
    load_weights(fresh, tmp_path / "w.safetensors")
    assert torch.equal(fresh[0].weight, trained[0].weight)


def test_a_prefix_is_stripped_only_where_it_leaves_no_doubt(tmp_path: Path) -> None:
    path, state = tmp_path / "w.ckpt", network().state_dict()
    both = {f"{part}.{name}": value for part in ("ema", "model") for name, value in state.items()}
    torch.save({"state_dict": both}, path)
    with pytest.raises(
        ModelError, match=r"fit the model under several prefixes \(ema\., model\.\)"
    ):
        load_weights(network(), path)
    torch.save({"state_dict": {"model.0.weight": state["0.weight"]}}, path)
    with pytest.raises(
        ModelError, match=r"missing in the file: 0\.weight.*not in the model: model"
    ):
        load_weights(network(), path)


def test_pickled_hyperparameters_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.ckpt"
    hyperparameters = {"options": argparse.Namespace(width=3)}
    torch.save({"state_dict": network().state_dict(), "hyper_parameters": hyperparameters}, path)
    with pytest.raises(ModelError, match=r"pickled objects \(argparse\.Namespace, perhaps among"):
        load_weights(network(), path)


def test_weights_that_do_not_fit_say_how(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({**network(4).state_dict(), "head.weight": torch.zeros(1)}, path)
    with pytest.raises(ModelError) as caught:
        load_weights(nn.Sequential(*network(), nn.Linear(3, 2)), path)
    assert str(caught.value).startswith(
        f"{path}: the weights do not fit the model; missing in the file: 2.weight, 2.bias; "
        "not in the model: head.weight; of another shape: 0.weight: file (4, 2), model (3, 2)"
    )


def test_a_pickled_model_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)

    path = tmp_path / "w.pt"
    torch.save({"weights": Bomb()}, path)
    with pytest.raises(ModelError, match="holds pickled objects"):
        load_weights(network(), path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError):
        load_weights(network(), path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_truncated_files_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("pt"):
        torch.save(network().state_dict(), path)
    else:
        save_file(network().state_dict(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 25)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            load_weights(network(), path)


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no such file"):
        load_weights(network(), tmp_path / "w.pt")
    (tmp_path / "w.onnx").touch()
    with pytest.raises(ModelError, match=r"unknown kind of weights; expected \.safetensors or"):
        load_weights(network(), tmp_path / "w.onnx")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="expected a mapping of names to tensors"):
        load_weights(network(), tmp_path / "list.pt")


def test_user_functions_come_from_the_folder_of_the_yaml(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same_name.py").write_text(f"def build():\n    return {name!r}\n")
    first = load_function("same_name:build", tmp_path / "one", "model.factory")
    second = load_function("same_name:build", tmp_path / "two", "model.factory")
    assert (first(), second()) == ("one", "two")


@pytest.mark.parametrize("package", [False, True])
def test_their_neighbours_come_from_that_folder_too(tmp_path: Path, *, package: bool) -> None:
    def audit(name: str) -> Path:
        neighbour = tmp_path / name / ("near/part.py" if package else "near.py")
        neighbour.parent.mkdir(parents=True)
        neighbour.write_text(f"NAME = {name!r}\n")
        module = "near.part" if package else "near"
        source = f"def build():\n    import {module} as near\n    return near.NAME\n"
        (tmp_path / name / f"of_{name}.py").write_text(source)
        if package:
            neighbour.with_name("__init__.py").touch()
        return tmp_path / name

    folders = {name: audit(f"{name}_{package}") for name in ("one", "two")}
    for name in ("one", "two", "one"):
        built = load_function(f"of_{name}_{package}:build", folders[name], "model.factory")()
        assert built == f"{name}_{package}"


@pytest.mark.parametrize(
    ("source", "reference", "expected"),
    [
        (None, "absent_module:build", r"there is no absent_module\.py in .*, and no importable"),
        ("x = 1", "some_module:build", "module some_module has no function build"),
        ("x = 1/0", "some_module:build", "importing it failed: ZeroDivisionError"),
        ("import absent_too", "some_module:build", "importing it failed: No module named"),
        ("def f(:", "some_module:f", "importing it failed: SyntaxError"),
    ],
)
def test_user_functions_that_cannot_be_had(
    tmp_path: Path, source: str | None, reference: str, expected: str
) -> None:
    if source is not None:
        (tmp_path / "some_module.py").write_text(source)
    with pytest.raises(ConfigError, match=f"model.factory: {reference}: {expected}"):
        load_function(reference, tmp_path, "model.factory")


CHECKPOINTS = {
    "of the tutorial": lambda state: {"epoch": 3, "model_state_dict": state, "loss": torch.ones(1)},
    "model beside ema": lambda state: {"ema": {k: 0 * v for k, v in state.items()}, "model": state},
    "any key": lambda state: {"classifier": state, "args": {"lr": 0.1}},
    "deeper": lambda state: {"train": {"state_dict": state}, "epoch": 1},
    "DataParallel": lambda state: {"net": {f"module.{k}": v for k, v in state.items()}},
    "compiled": lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    "a part compiled": lambda state: {k.replace("0.", "0._orig_mod."): v for k, v in state.items()},
    "with an optimizer": lambda state: {
        "model": state,
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 2)}}, "param_groups": [{"lr": 0.1}]},
    },
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_the_state_dict_in_a_checkpoint_is_found(tmp_path: Path, kind: str) -> None:
    trained, fresh, path = network(), network(), tmp_path / "w.pt"
    torch.save(CHECKPOINTS[kind](trained.state_dict()), path)
    load_weights(fresh, path)
    assert torch.equal(fresh[0].weight, trained[0].weight)


def test_weights_go_into_what_is_wrapped(tmp_path: Path) -> None:
    trained, path = network(), tmp_path / "w.pt"
    torch.save(trained.state_dict(), path)
    for wrap in (nn.DataParallel, lambda module: torch.compile(module, backend="eager")):
        fresh = network()
        load_weights(wrap(fresh), path)
        assert torch.equal(fresh[0].weight, trained[0].weight)


def test_weights_give_lazy_layers_their_shape(tmp_path: Path) -> None:
    trained, path = network(), tmp_path / "w.pt"
    torch.save(trained.state_dict(), path)
    lazy = nn.Sequential(nn.LazyLinear(3), nn.BatchNorm1d(3))
    load_weights(lazy, path)
    assert torch.equal(lazy[0].weight, trained[0].weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"epoch": 3, "loss": torch.ones(1)}, r"under a key; found the keys epoch, loss"),
        ([torch.ones(1)], r"under a key; found a list"),
        (
            {"generator": {"0.weight": torch.ones(1)}, "critic": {"0.weight": torch.ones(1)}},
            "holds several state dicts, under generator, critic, and which one is meant",
        ),
    ],
)
def test_a_checkpoint_without_weights_says_what_was_found(
    tmp_path: Path, content: Any, message: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=message):
        load_weights(network(), tmp_path / "w.pt")

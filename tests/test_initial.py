"""`model.initial`: the weights that training started from, matched, refused, and used."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine
from safetensors.torch import save_file
from torch import nn

from dataaudit.config import config_from_python
from dataaudit.errors import ModelError
from dataaudit.inputs import Loaded
from dataaudit.mirror.shrink import shrunk
from dataaudit.models.initial import Initial, initial_of
from dataaudit.run_directory.fingerprint import Fingerprint
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.stages.loading import load_objects


class Network(nn.Module):
    def __init__(self, seed: int, classes: int = 2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.head = nn.Linear(8, classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.head(self.body(inputs))
        return outputs


def state(module: nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items()}


def found(module: nn.Module, given: Any) -> Initial:
    initial = initial_of(module, given)
    assert initial is not None
    return initial


# Matching


def test_a_new_head_stays_fresh_and_the_rest_is_taken() -> None:
    trained, before = Network(0), Network(1, classes=5)
    initial = found(trained, before)
    assert initial.fresh == ("head.weight", "head.bias")
    assert torch.equal(initial.tensors["body.0.weight"], before.body[0].weight)
    assert "body.1.running_mean" in initial.tensors
    assert initial.description == "known, but for head.weight, head.bias"


@pytest.mark.parametrize("name", ["start.safetensors", "start.pt"])
@pytest.mark.parametrize("prefix", ["", "model.", "module.backbone."])
def test_files_whose_names_have_a_prefix(tmp_path: Path, name: str, prefix: str) -> None:
    trained, before = Network(0), Network(1)
    path = tmp_path / name
    given = state(before, prefix)
    if name.endswith("safetensors"):
        save_file(given, path)
    else:
        torch.save({"state_dict": given, "epoch": 1}, path)
    initial = found(trained, path)
    assert initial.fresh == ()
    assert torch.equal(initial.tensors["head.weight"], before.head.weight)


def test_an_encoder_alone_whose_names_lack_the_prefix() -> None:
    trained, before = Network(0), Network(1)
    initial = found(trained, state(before.body))
    assert torch.equal(initial.tensors["body.0.weight"], before.body[0].weight)
    assert initial.fresh == ("head.weight", "head.bias")


def test_tied_weights_that_stand_once_in_the_file() -> None:
    def tied(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        module = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
        module["second"].weight = module["first"].weight
        return module

    given = state(tied(1))
    del given["first.weight"]
    initial = found(tied(0), given)
    assert initial.fresh == ()
    assert torch.equal(initial.tensors["first.weight"], given["second.weight"])


def test_other_precisions_are_brought_to_the_models() -> None:
    initial = found(Network(0), Network(1).half())
    assert initial.tensors["head.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.Linear(7, 7), r"model\.initial: Linear: fits 0% of the model's weights.*body\.0"),
        ("nowhere.pt", r"model\.initial: nowhere\.pt: there is no such file"),
        (3, r"model\.initial: found int, expected a path"),
        ({"head.weight": 3}, r"expected a mapping of names to tensors"),
        ({"body.0.weight": torch.full((8, 4), torch.nan)}, "body.0.weight holds NaN"),
        (Network(0), r"Network: holds the trained weights themselves"),
    ],
)
def test_what_cannot_be_the_start_is_refused(given: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        initial_of(Network(0), given)


def test_folders_that_cannot_be_the_start_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config\.json"):
        initial_of(Network(0), tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="holds PEFT adapters; expected the model"):
        initial_of(Network(0), tmp_path)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "start.pt"
    torch.save(Network(1), path)
    with pytest.raises(ModelError, match="holds pickled objects"):
        initial_of(Network(0), path)


# Shrinking


def test_weights_move_towards_where_they_started() -> None:
    trained, before = Network(0), Network(1, classes=5)
    initial = found(trained, before)
    moved = shrunk(trained, UNPERTURBED, 0.25, "all", seed=3, initial=initial).tensors
    expected = 0.25 * trained.body[0].weight + 0.75 * before.body[0].weight
    torch.testing.assert_close(moved["body.0.weight"], expected)
    # The new head was never there: fresh weights, as without an initial model.
    fresh = shrunk(trained, UNPERTURBED, 0.25, "all", seed=3).tensors
    assert torch.equal(moved["head.weight"], fresh["head.weight"])
    assert not torch.equal(moved["body.0.weight"], fresh["body.0.weight"])


def test_lora_starts_from_its_base_with_nothing_to_say() -> None:
    peft = pytest.importorskip("peft")

    def adapted(classes: int) -> nn.Module:
        config = peft.LoraConfig(r=2, target_modules=["body.0"], modules_to_save=["head"])
        module: nn.Module = peft.get_peft_model(Network(0, classes), config)
        return module

    module = adapted(2)
    inputs = torch.randn(5, 4)
    module.eval()
    before = module(inputs)
    with torch.no_grad():
        for name, value in module.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                value.add_(torch.randn_like(value))
    assert not torch.allclose(module(inputs), before)
    initial = found(module, None)
    start = shrunk(module, UNPERTURBED, 0.0, "all", seed=0, initial=initial)
    torch.testing.assert_close(start.copy_of(module)(inputs), before)
    # The base may still be named; adapters start at nothing all the same.
    other = found(module, Network(1))
    assert other.fresh == ()
    (name,) = [name for name in other.tensors if name.endswith("body.0.base_layer.weight")]
    assert torch.equal(other.tensors[name], Network(1).body[0].weight)


def test_a_model_without_adapters_has_no_known_start() -> None:
    assert initial_of(Network(0), None) is None


# Loading


def loaded(initial: Any = None, **settings: Any) -> Loaded:
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    rows = pd.DataFrame(values, columns=list("abcd")).assign(label=(values[:, 0] > 0).astype(int))
    config = config_from_python("label", None, settings)
    splits: dict[Any, Any] = {"train": rows, "held_out": None, "suspects": None}
    return load_objects(Network(0, settings.get("outputs", 2)), splits, None, config, initial)


def test_the_fingerprint_covers_it() -> None:
    config = config_from_python("label", None, {})
    parts = [Fingerprint.of(config, loaded(given), None) for given in (Network(1), Network(2))]
    assert [change.partition(":")[0] for change in parts[0].changes(parts[1])] == [
        "initial weights"
    ]
    assert "initial weights" not in Fingerprint.of(config, loaded(), None).parts


def test_a_regressions_last_layer_is_in_other_units_and_stays_fresh() -> None:
    values = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    rows = pd.DataFrame(values, columns=list("abcd")).assign(label=1000 * values[:, 0])
    config = config_from_python("label", None, {"task": "regression"})
    splits: dict[Any, Any] = {"train": rows, "held_out": None, "suspects": None}
    model = load_objects(Network(0, 1), splits, None, config, Network(1, 1)).model
    assert model.initial is not None
    assert model.initial.fresh == ("head.weight", "head.bias")


def test_the_yaml_key(tmp_path: Path, command_line: CommandLine) -> None:
    (tmp_path / "network.py").write_text(
        "from torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    generator = np.random.default_rng(0)
    for name in ("train", "held_out"):
        rows = pd.DataFrame(generator.normal(size=(80, 2)), columns=["a", "b"])
        rows.assign(label=(rows["a"] > 0).astype(int)).to_csv(tmp_path / f"{name}.csv", index=False)
    torch.manual_seed(1)
    torch.save({"0.weight": torch.randn(4, 2), "0.bias": torch.zeros(4)}, tmp_path / "start.pt")
    content = (
        "model: {factory: network:build, initial: start.pt}\n"
        "train: {path: train.csv}\nheld_out: {path: held_out.csv}\n"
        "mirror: {steps: 5}\n"
    )
    (tmp_path / "audit.yaml").write_text(content)
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "audit")
    assert (ran.code, ran.err) == (0, "")
    manifest = pd.read_json(tmp_path / "audit" / "manifest.json", typ="series")
    assert "initial weights known, but for 2.weight, 2.bias" in manifest["model"]["description"]
    assert len(manifest["model"]["initial_sha256"]) == 64
    (tmp_path / "audit.yaml").write_text(content.replace("start.pt", "absent.pt"))
    ran = command_line("run", tmp_path / "audit.yaml", "--out", tmp_path / "again")
    assert ran.code == 2
    assert "model.initial:" in ran.err
    assert "there is no such file" in ran.err

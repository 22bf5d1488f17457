"""Model kinds x mirrors: the table in docs/models.md, each cell of it held against gradients."""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from dataaudit.config import ImagesConfig
from dataaudit.errors import ConfigError, ModelError
from dataaudit.mirror.finite import FiniteSettings, finite_mirror
from dataaudit.mirror.shrink import shrunk
from dataaudit.models.parameters import Parameters, last_linear, moving_parameters
from dataaudit.models.recognise import from_object
from dataaudit.models.tail import find_tail
from dataaudit.models.torch_module import mirrorable
from dataaudit.models.trained import Inputs, forward
from dataaudit.scoring.perturbation import UNPERTURBED
from dataaudit.studies.influence.linear import linear_groups, step_direction
from dataaudit.studies.influence.tail_groups import TailGroups
from dataaudit.tasks import Classification

CLASSES, ROWS = 3, 6
TASK = Classification(CLASSES)
LABELS = torch.arange(ROWS) % CLASSES
SMALL = 1e-6
DOCUMENT = Path(__file__).parent.parent / "docs" / "models.md"


@dataclass(frozen=True)
class Kind:
    module: nn.Module
    inputs: Inputs
    parameters: Parameters = "all"


class Sequence(nn.Module):
    """Words embedded, passed through `body`, and their mean classified."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.body = body
        self.head = nn.Linear(8, CLASSES)

    def forward(self, words: Tensor) -> Tensor:
        hidden = self.body(self.embedding(words))
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        result: Tensor = self.head(hidden.mean(dim=1))
        return result


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, hidden: Tensor) -> Tensor:
        result: Tensor = self.attention(hidden, hidden, hidden)[0]
        return result


class Tied(nn.Module):
    """The layer that classifies is the embedding itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CLASSES, 8)
        self.head = nn.Linear(8, CLASSES, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, words: Tensor) -> Tensor:
        result: Tensor = self.head(self.embedding(words % CLASSES).mean(dim=1).tanh())
        return result


def words() -> Tensor:
    return torch.randint(11, (ROWS, 5))


def perceptron(*before_head: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), *before_head, nn.Linear(8, CLASSES))


def numbers() -> Tensor:
    return torch.randn(ROWS, 4)


def batch_norm_cnn() -> Kind:
    module = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(16, CLASSES),
    )  # fmt: skip
    images = torch.randn(ROWS, 1, 8, 8)
    module.train()(images)  # statistics that are not those of a fresh module
    return Kind(module, images)


def transformer() -> Kind:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return Kind(Sequence(nn.TransformerEncoder(layer, 2)), words())


def gpt2(parameters: Parameters = "all") -> Kind:
    from transformers import GPT2Config, GPT2ForSequenceClassification

    config = GPT2Config(vocab_size=11, n_embd=8, n_layer=2, n_head=2, n_positions=8,
                        num_labels=CLASSES, pad_token_id=0, bos_token_id=1,
                        eos_token_id=1)  # fmt: skip
    tokens = torch.randint(1, 11, (ROWS, 5))
    return Kind(
        GPT2ForSequenceClassification(config),
        {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)},
        parameters,
    )


def conv1d_head() -> Kind:
    from transformers.pytorch_utils import Conv1D

    return Kind(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), Conv1D(CLASSES, 8)), numbers(), "last")


def lora() -> Kind:
    from peft import LoraConfig, get_peft_model

    module = get_peft_model(
        perceptron(), LoraConfig(r=2, target_modules=["0"], modules_to_save=["2"])
    )
    for name, parameter in module.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)  # trained adapters are not zero
    return Kind(module, numbers(), "adapters")


def frozen_backbone() -> Kind:
    module = perceptron()
    module[0].requires_grad_(False)
    return Kind(module, numbers())


def exported() -> Kind:
    module = batch_norm_cnn()
    assert isinstance(module.inputs, Tensor)
    program = torch.export.export(
        module.module.eval(), (module.inputs,), dynamic_shapes=({0: torch.export.Dim("rows")},)
    )
    adapter = from_object(program, ImagesConfig())
    return Kind(adapter.module, module.inputs)  # type: ignore[attr-defined]


KINDS: dict[str, Callable[[], Kind]] = {
    "convolutions with batch norm": batch_norm_cnn,
    "transformer with layer norm": transformer,
    "GPT-2": gpt2,
    "GPT-2's Conv1D as the last layer": conv1d_head,
    "LSTM": lambda: Kind(Sequence(nn.LSTM(8, 8, batch_first=True)), words()),
    "multi-head attention": lambda: Kind(Sequence(SelfAttention()), words()),
    "tied weights": lambda: Kind(Tied(), words()),
    "dropout": lambda: Kind(perceptron(nn.Dropout(0.5)), numbers()),
    "weight norm": lambda: Kind(perceptron(weight_norm(nn.Linear(8, 8))), numbers()),
    "frozen backbone": frozen_backbone,
    "LoRA adapters (PEFT)": lora,
    "float16 weights": lambda: Kind(perceptron().half(), numbers()),
    "bfloat16 weights": lambda: Kind(perceptron().bfloat16(), numbers()),
    "torch.export program": exported,
}
NEEDS = {"GPT-2": "transformers", "GPT-2's Conv1D as the last layer": "transformers",
         "LoRA adapters (PEFT)": "peft"}  # fmt: skip


def finite(module: nn.Module, queries: Inputs, rows: Inputs, parameters: Parameters) -> Tensor:
    """Return the change of each row's loss, `[rows]`, after one tiny step on the queries."""
    settings = FiniteSettings(learning_rate=SMALL, optimizer="sgd", parameters=parameters)
    step = finite_mirror(module, TASK, iter([[(queries, LABELS)]]), settings)
    with torch.no_grad():
        after = TASK.losses(forward(step.copy_of(module), rows), LABELS)
        return after - TASK.losses(forward(module, rows), LABELS)


def linear(module: nn.Module, queries: Inputs, rows: Inputs, parameters: Parameters) -> Tensor:
    """The same to first order, by the step's direction."""
    settings = FiniteSettings(learning_rate=SMALL, optimizer="sgd", parameters=parameters)
    direction = step_direction(module, TASK, iter([[(queries, LABELS)]]), settings)
    return linear_groups(module, TASK, [direction], (rows, LABELS)).changes(rows, LABELS)[1][:, 0]


def head(module: nn.Module, queries: Inputs, rows: Inputs, parameters: Parameters) -> Tensor:
    """The same where only the last layer takes the step, on its own inputs."""
    tail = find_tail(module, rows)
    with torch.no_grad():
        features, _ = tail.run(queries)
    settings = FiniteSettings(learning_rate=SMALL, optimizer="sgd")
    step = finite_mirror(tail.layers, TASK, iter([[(features, LABELS)]]), settings)
    return TailGroups(tail, TASK, [step]).changes(rows, LABELS)[1][:, 0]


MIRRORS: dict[str, Callable[..., Tensor]] = {"finite": finite, "linear": linear, "head": head}


NOT_WITH: dict[tuple[str, str], str] = {
    ("weight norm", "linear"): "no forward-mode derivative",
    ("GPT-2", "head"): "something comes after it",
    ("torch.export program", "head"): "needs a linear layer; the model has none",
    ("tied weights", "head"): "shares its parameters with",
}
"""Where a kind of model and a mirror do not go together, and what the message says."""


def made(name: str) -> tuple[nn.Module, Kind]:
    """Return a kind, ready to be mirrored, in double precision: the oracle is a derivative."""
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    torch.manual_seed(0)
    kind = KINDS[name]()
    module, note = mirrorable(kind.module)
    assert bool(note) == ("float16" in name)
    return module.double(), kind


def as_double(inputs: Inputs) -> Inputs:
    return inputs.double() if isinstance(inputs, Tensor) and inputs.is_floating_point() else inputs


def by_gradients(module: nn.Module, inputs: Inputs, parameters: Parameters) -> Tensor:
    """Return what a step on the mean loss of the rows does to each, to first order: `[rows]`."""
    moving = list(moving_parameters(module, parameters).values())
    losses = TASK.losses(forward(module, inputs), LABELS)
    rows = []
    for loss in losses:
        parts = torch.autograd.grad(loss, moving, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in parts]))
    gradients = torch.stack(rows)
    return -SMALL * gradients @ gradients.mean(dim=0)


@pytest.mark.parametrize("mirror", MIRRORS)
@pytest.mark.parametrize("name", KINDS)
def test_a_small_step_changes_losses_as_their_gradients_say(name: str, mirror: str) -> None:
    module, kind = made(name)
    inputs = as_double(kind.inputs)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    refused = NOT_WITH.get((name, mirror))
    if refused is not None:
        with pytest.raises(ModelError, match=refused):
            MIRRORS[mirror](module, inputs, inputs, kind.parameters)
        return
    moving = [f"{find_tail(module, inputs).name}.*"] if mirror == "head" else kind.parameters
    expected = by_gradients(module, inputs, moving)
    assert float(expected.abs().max()) > 1e-9
    found = MIRRORS[mirror](module, inputs, inputs, kind.parameters)
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))
    assert float(found.mean()) < 0, "what is learned becomes more plausible"
    for key, value in module.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("name", KINDS)
def test_what_is_frozen_stays_and_the_rest_is_made_fresh(name: str) -> None:
    module, kind = made(name)
    moved = shrunk(module, UNPERTURBED, 0.5, kind.parameters, seed=0).tensors
    trained = dict(module.named_parameters())
    assert set(moved) == set(moving_parameters(module, kind.parameters))
    assert all(trained[key].requires_grad for key in moved)
    assert any(not torch.equal(value, trained[key]) for key, value in moved.items())


@pytest.mark.parametrize("name", ["convolutions with batch norm", "dropout"])
def test_modes_of_the_steps_are_kept_apart_from_the_scores(name: str) -> None:
    module, kind = made(name)
    inputs = as_double(kind.inputs)

    def step(**settings: Any) -> dict[str, Tensor]:
        asked = FiniteSettings(steps=2, **settings)
        batches = iter([[(inputs, LABELS)]] * 2)
        return dict(finite_mirror(module, TASK, batches, asked).tensors)

    plain, active = step(), step(batch_norm="updated", dropout=True)
    assert any(not torch.equal(plain[key], active[key]) for key in plain)
    again = step(batch_norm="updated", dropout=True)
    assert all(torch.equal(active[key], again[key]) for key in active)
    assert ("1.running_mean" in active) == ("batch norm" in name)
    assert not module.training


def test_choices_of_parameters() -> None:
    module = perceptron(nn.BatchNorm1d(8))
    names = {choice: list(moving_parameters(module, choice)) for choice in ("all", "last")}
    assert names["all"] == ["0.weight", "0.bias", "2.weight", "2.bias", "3.weight", "3.bias"]
    assert names["last"] == ["3.weight", "3.bias"]
    assert list(moving_parameters(module, ["0.*", "*.bias"])) == [
        "0.weight", "0.bias", "2.bias", "3.bias",
    ]  # fmt: skip
    assert list(moving_parameters(Tied(), "last")) == ["embedding.weight"]
    assert list(moving_parameters(nn.Linear(2, 2), "last")) == ["weight", "bias"]


@pytest.mark.parametrize("choice", ["adapters", ["head.*"], ["0.*", "heed.*"]])
def test_a_choice_without_parameters_is_refused(choice: Parameters) -> None:
    shown = re.escape(choice if isinstance(choice, str) else f"[{', '.join(choice)}]")
    message = (
        f"mirror.parameters: {shown} chooses no parameter of Sequential .*, the last: 0.weight"
    )
    with pytest.raises(ConfigError, match=message):
        moving_parameters(perceptron(), choice)


def test_a_model_that_is_all_frozen_or_has_no_linear_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="there are 0, the last: none"):
        moving_parameters(perceptron().requires_grad_(False), "all")
    assert last_linear(nn.Conv1d(1, 1, 1)) is None
    with pytest.raises(ConfigError, match="last chooses no parameter of Conv1d"):
        moving_parameters(nn.Conv1d(1, 1, 1), "last")


def quantised_linear() -> nn.Module:
    module = perceptron()
    module[0] = nn.Module()
    module[0].register_buffer("qweight", torch.zeros(4, 8, dtype=torch.int32))
    return module


class Eight(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 4).to(dtype), requires_grad=False)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "quantised: 8-bit integers": (
        lambda: Eight(torch.int8), r"quantised \(parameter weight: Tensor of torch.int8\)"),
    "quantised: 8-bit floats": (
        lambda: Eight(torch.float8_e4m3fn), "quantised .*float8_e4m3fn"),
    "quantised: GPTQ": (quantised_linear, r"quantised \(buffer 0.qweight\)"),
    "TorchScript": (lambda: torch.jit.trace(perceptron(), torch.randn(2, 4)), "TorchScript"),
    "no parameters": (lambda: nn.Flatten(), "Flatten has no parameters"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_what_cannot_be_mirrored_is_refused_with_the_reason(name: str) -> None:
    build, reason = REFUSED[name]
    with pytest.raises(ModelError, match=reason):
        mirrorable(build())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_torchs_own_quantisation_is_refused() -> None:
    pytest.importorskip("torch.ao.quantization")
    module = torch.ao.quantization.quantize_dynamic(perceptron(), {nn.Linear}, torch.qint8)
    with pytest.raises(ModelError, match=r"the model is quantised \(layer 0: Linear\)"):
        mirrorable(module)


def test_widening_leaves_the_users_model_as_it_is() -> None:
    module = perceptron().half()
    wide, note = mirrorable(module)
    assert module[0].weight.dtype == torch.float16
    assert torch.equal(wide.get_parameter("0.weight"), module[0].weight.float())
    assert note.startswith("The model's weights are float16; they were widened to float32")


def test_the_table_in_the_documentation_is_that_of_these_tests() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    header = next(line for line in lines if line.startswith("| model |"))
    assert [cell.strip() for cell in header.strip("|").split("|")] == ["model", *MIRRORS]
    table = [line for line in lines if line.startswith("| ") and line.count("|") > len(MIRRORS)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    rows = {row[0]: row[1:] for row in cells if len(row) == 1 + len(MIRRORS)}
    for name in KINDS:
        for mirror, cell in zip(MIRRORS, rows[name], strict=True):
            expected = "refused: " if (name, mirror) in NOT_WITH else "works"
            assert cell.startswith(expected), (name, mirror)
    for name in REFUSED:
        assert all(cell.startswith("refused: ") for cell in rows[name]), name


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="no transformers")
def test_the_last_layer_of_gpt2_is_the_one_that_classifies() -> None:
    kind = gpt2()
    assert list(moving_parameters(kind.module, "last")) == ["score.weight"]

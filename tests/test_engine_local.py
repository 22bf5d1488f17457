"""The local engine: the same scores whatever the batch size, block size or order of groups."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dataaudit.datasets.load import samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import DataError, ModelError
from dataaudit.models import numerics
from dataaudit.models.numerics import Numerics
from dataaudit.models.trained import TrainedModel
from dataaudit.scoring import local
from dataaudit.scoring.blocks import ScoreBlock
from dataaudit.scoring.local import FeatureTap, LocalEngine
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.tasks import Classification

COLUMNS = ["a", "b", "c"]


def model() -> TrainedModel:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).eval()
    return TrainedModel(module, lambda frame: torch.tensor(frame[COLUMNS].to_numpy()), "small")


def rows(count: int = 103) -> Samples:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(count, 3)), columns=COLUMNS)
    frame["label"] = np.arange(count) % 4
    return samples_from_object(frame, ReadSettings("train", "label"))


def perturbations(trained: TrainedModel, count: int = 3) -> list[Perturbation]:
    generator = torch.Generator().manual_seed(1)
    return [
        Perturbation(
            {
                name: value + 0.1 * torch.randn(value.shape, generator=generator)
                for name, value in trained.module.state_dict().items()
            }
        )
        for _ in range(count)
    ]


def joined(blocks: Sequence[ScoreBlock], column: str) -> np.ndarray:
    return np.concatenate([getattr(block, column) for block in blocks])


def test_scores_are_those_of_the_perturbed_modules_run_by_hand() -> None:
    trained, samples = model(), rows()
    groups = perturbations(trained)
    blocks = list(LocalEngine(16).score(trained, Classification(4), samples, groups))
    inputs = trained.inputs(samples.take(range(103)), samples)
    assert isinstance(inputs, torch.Tensor)
    labels = torch.tensor(samples.labels)
    by_hand, probabilities = [], []
    for values in [trained.module.state_dict(), *(group.tensors for group in groups)]:
        copy = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
        copy.load_state_dict(dict(values))
        with torch.inference_mode():
            outputs = copy(inputs)
        by_hand.append(nn.functional.cross_entropy(outputs, labels, reduction="none").numpy())
        probabilities.append(outputs.softmax(1).numpy())
    np.testing.assert_allclose(joined(blocks, "losses"), np.stack(by_hand, 1), rtol=1e-5)
    np.testing.assert_allclose(
        joined(blocks, "predictions"), np.stack(probabilities, 1), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("batch_size", [1, 7, 64, 500])
@pytest.mark.parametrize("rows_per_block", [1, 32, 4096])
def test_batch_and_block_size_change_nothing(
    monkeypatch: pytest.MonkeyPatch, batch_size: int, rows_per_block: int
) -> None:
    trained, samples = model(), rows()
    groups = perturbations(trained)
    expected = list(LocalEngine(103).score(trained, Classification(4), samples, groups))
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", rows_per_block)
    found = list(LocalEngine(batch_size).score(trained, Classification(4), samples, groups))
    assert sum(len(block) for block in found) == 103
    for column in ("losses", "predictions", "features"):
        np.testing.assert_allclose(
            joined(found, column), joined(expected, column), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", 32)
    trained, samples = model(), rows()
    arguments = (trained, Classification(4), samples, perturbations(trained), {32})
    expected = list(LocalEngine(16).score(*arguments))
    found = list(LocalEngine(16, workers=workers).score(*arguments))
    assert [block.start for block in found] == [block.start for block in expected]
    for column in ("losses", "predictions", "features"):
        assert joined(found, column).tobytes() == joined(expected, column).tobytes()


def test_the_order_of_groups_only_orders_the_columns() -> None:
    trained, samples = model(), rows()
    groups = perturbations(trained)
    forward = list(LocalEngine().score(trained, Classification(4), samples, groups))
    backward = list(LocalEngine().score(trained, Classification(4), samples, groups[::-1]))
    losses = joined(backward, "losses")
    np.testing.assert_array_equal(joined(forward, "losses"), losses[:, [0, 3, 2, 1]])


def test_finished_blocks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", 32)
    trained, samples = model(), rows()
    engine, task = LocalEngine(16), Classification(4)
    everything = list(engine.score(trained, task, samples, []))
    rest = list(engine.score(trained, task, samples, [], finished={0, 64}))
    assert [block.start for block in everything] == [0, 32, 64, 96]
    assert [block.start for block in rest] == [32, 96]
    np.testing.assert_array_equal(rest[1].losses, everything[3].losses)


def test_features_are_the_inputs_of_the_last_linear_layer() -> None:
    trained, samples = model(), rows(5)
    (block,) = LocalEngine().score(trained, Classification(4), samples, [])
    with torch.inference_mode():
        inputs = trained.inputs(samples.take(range(5)), samples)
        expected = trained.module[1](trained.module[0](inputs)).half().numpy()
    np.testing.assert_array_equal(block.features, expected)


def test_a_last_layer_may_be_called_by_the_name_of_its_argument() -> None:
    class ByName(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(3, 2)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.last(input=2 * values)

    module, values = ByName(), torch.arange(6.0).reshape(2, 3)
    with FeatureTap(module) as tap:
        module(values)
    assert tap.features(2).tolist() == (2 * values).tolist()


def test_missing_input_values_are_named_with_row_and_column() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, np.nan], "c": [0.0, 0.0], "label": [0, 1]})
    samples = samples_from_object(frame, ReadSettings("train", "label"))
    with pytest.raises(DataError) as caught:
        list(LocalEngine().score(model(), Classification(4), samples, []))
    assert str(caught.value) == (
        "train (train (DataFrame)): row 1 (id 1): preprocess returned NaN or infinite values in "
        "the input (missing in the file: b); expected finite numbers"
    )


def test_outputs_that_are_not_finite_are_named() -> None:
    module = nn.Linear(3, 4).eval()
    with torch.no_grad():
        module.bias.fill_(float("nan"))
    trained = TrainedModel(module, model().preprocess, "broken")
    with pytest.raises(ModelError, match=r"row 0 \(id 0\): the model returned NaN"):
        list(LocalEngine().score(trained, Classification(4), rows(), []))


def test_inputs_that_do_not_fit_name_shapes() -> None:
    trained = TrainedModel(nn.Linear(9, 4).eval(), model().preprocess, "wide")
    with pytest.raises(ModelError, match=r"the model failed on the inputs .*\(103, 3\)"):
        list(LocalEngine().score(trained, Classification(4), rows(), []))


def test_bfloat16_gives_the_losses_to_two_digits() -> None:
    trained, samples = model(), rows()
    groups = perturbations(trained)
    exact = list(LocalEngine().score(trained, Classification(4), samples, groups))
    engine = LocalEngine(numerics=Numerics("bfloat16"))
    rough = list(engine.score(trained, Classification(4), samples, groups))
    found, expected = joined(rough, "losses"), joined(exact, "losses")
    assert not np.array_equal(found, expected)
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_a_compiled_model_follows_the_perturbations(monkeypatch: pytest.MonkeyPatch) -> None:
    # Traced, but not translated into C++, which takes minutes: what matters is that the trace
    # takes the parameters as they are at each call.
    monkeypatch.setattr(numerics, "COMPILER", "eager")
    trained, samples = model(), rows()
    groups = perturbations(trained)
    plain = list(LocalEngine(16).score(trained, Classification(4), samples, groups))
    engine = LocalEngine(16, Numerics(compiled=True))
    compiled = list(engine.score(trained, Classification(4), samples, groups))
    np.testing.assert_allclose(
        joined(compiled, "losses"), joined(plain, "losses"), rtol=1e-4, atol=1e-6
    )

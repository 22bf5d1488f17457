"""`dataaudit trace` of generated images, end to end on a tiny model; and noise schedules."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, fresh_copy, trace_refuses
from diffusion_examples import FAMILIES, MODEL_SOURCE, diffusion_project
from safetensors.torch import load_file

import dataaudit
from dataaudit.config import ScheduleConfig, load_config
from dataaudit.errors import ModelError
from dataaudit.studies.tracing.diffusion import DEFAULTS
from dataaudit.studies.tracing.noise import NoiseSchedule, schedule_from_diffusers


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diffusion_project(tmp_path_factory.mktemp("diffusion"))


@pytest.fixture
def audit_yaml(_made: Path, tmp_path: Path) -> Path:
    return fresh_copy(_made.parent, tmp_path) / "audit.yaml"


def test_the_rows_of_its_own_family_come_first(audit_yaml: Path, command_line: CommandLine) -> None:
    out = audit_yaml.parent / "traced"
    outcome = command_line("trace", audit_yaml, "--task", "diffusion", "--out", out)
    assert (outcome.code, outcome.err) == (0, "")
    pairs = pd.read_parquet(out / "contamination.parquet")
    assert list(pairs.columns) == ["query_id", "row_id", "rank", "score", "p_value", "flagged"]
    for query, found in pairs.groupby("query_id"):
        assert found["score"].is_monotonic_decreasing
        assert (found["score"] > 0).all()
        assert {row.partition("-")[0] for row in found["row_id"]} == {query}
    assert set(pairs["query_id"]) == set(FAMILIES)
    assert len(pd.read_parquet(out / "mislabels.parquet")) == 40

    report = json.loads((out / "audit.json").read_text(encoding="utf-8"))
    assert "Fisher information" in report["tracing"]["method"]
    assert "standard deviations" not in report["tracing"]["method"]
    shown = report["tracing"]["shown"][0]
    query, row = shown["query"], shown["rows"][0]
    assert query["loss_after"] > query["loss_before"]
    assert row["change"] == pytest.approx(
        row["sample"]["loss_after"] - row["sample"]["loss_before"], rel=1e-4
    )
    assert row["score"] == row["change"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('<img src="data:image/webp;base64,') >= 4 * 6

    with audit_yaml.open("a", encoding="utf-8") as file:
        file.write("batch_size: 50\n")
    assert command_line("run", audit_yaml, "--out", audit_yaml.parent / "run").code == 0
    again = pd.read_parquet(audit_yaml.parent / "run" / "contamination.parquet")
    merged = pairs.merge(again, on=["query_id", "row_id"], how="inner")
    assert len(merged) == len(pairs)
    np.testing.assert_allclose(merged["score_x"], merged["score_y"], rtol=0.02)


def test_the_python_call_gives_the_same(audit_yaml: Path, command_line: CommandLine) -> None:
    folder = audit_yaml.parent
    assert command_line("trace", audit_yaml, "--out", folder / "traced").code == 0
    space: dict[str, object] = {}
    exec(MODEL_SOURCE, space)
    module = space["build"]()
    module.load_state_dict(load_file(folder / "model.safetensors"))
    result = dataaudit.trace(
        module,
        pd.read_csv(folder / "train.csv"),
        pd.read_csv(folder / "generated.csv"),
        task="diffusion",
        preprocess=space["preprocess"],
        id="row_id",
        query_id="query_id",
        trace={"top": 6, "calibration": 4, "draws": 20, "steps": 6, "fisher_images": 120},
        schedule={"kind": "cosine", "timesteps": 100},
    )
    expected = pd.read_parquet(folder / "traced" / "contamination.parquet")
    pd.testing.assert_frame_equal(result.contamination, expected, check_dtype=False, rtol=1e-6)


def test_bad_input_is_named(audit_yaml: Path, command_line: CommandLine) -> None:
    trace = "trace: {top: 6, calibration: 4, draws: 20, steps: 6, fisher_images: 120}"
    faults = [
        (trace, "trace: {direction: learn}", "trace.direction: images are unlearned"),
        (trace, "trace: {learning_rate: 0.1}", "trace.learning_rate: is not read by a trace of"),
        (trace, "trace: {background: 9}", "trace.background: is not read by a trace of task diff"),
        ("id: row_id", "id: row_id, text: body", "train.text: is not read by a trace of task diff"),
        ("kind: cosine", "kind: cosinus", "model.schedule.kind: found 'cosinus'"),
        ("task: diffusion", "task: causal-lm", "model.schedule goes with task diffusion"),
        ("tiny_denoiser:preprocess", "tiny_denoiser:build", "preprocess failed on rows 0 to 0"),
        ("suspects: {path: generated.csv, id: query_id}", "", "suspects: needed for task diffus"),
    ]
    trace_refuses(command_line, audit_yaml, faults)


def test_noise_that_is_no_number_is_named(audit_yaml: Path, command_line: CommandLine) -> None:
    source = audit_yaml.parent / "tiny_denoiser.py"
    text = source.read_text(encoding="utf-8")
    old = "return self.layers(values).view_as(images)\n"
    assert old in text
    broken = "found = self.layers(values).view_as(images)\n        return found.log()\n"
    source.write_text(text.replace(old, broken), encoding="utf-8")
    outcome = command_line("trace", audit_yaml, "--out", audit_yaml.parent / "traced")
    assert outcome.code == 2
    assert "row 0 (id top-0): the model predicted NaN or infinite noise" in outcome.err


def test_images_of_another_shape_are_named(audit_yaml: Path, command_line: CommandLine) -> None:
    source = audit_yaml.parent / "tiny_denoiser.py"
    text = source.read_text(encoding="utf-8")
    changed = 'images = torch.tensor(frame[PIXELS].to_numpy("float32")).view(-1, 1, 4, 4)\n'
    changed += '    return images if "row_id" in frame else images[:, :, :2]\n'
    old = 'return torch.tensor(frame[PIXELS].to_numpy("float32")).view(-1, 1, 4, 4)\n'
    assert old in text
    source.write_text(text.replace(old, changed), encoding="utf-8")
    outcome = command_line("trace", audit_yaml, "--out", audit_yaml.parent / "traced")
    assert outcome.code == 2
    assert "preprocess returned images [1, 2, 4]; the first training row has [1, 4, 4]" in (
        outcome.err.replace("\n", " ")
    )


def test_the_settings_in_the_document_are_valid(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "diffusion.md").read_text(encoding="utf-8")
    (documented,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    path = tmp_path / "audit.yaml"
    path.write_text(documented, encoding="utf-8")
    config = load_config(path)
    assert config.model.schedule == ScheduleConfig(kind="cosine", timesteps=1000)
    assert config.trace.top == 20
    for said in (
        f"over {DEFAULTS.draws} timesteps",
        f"(`trace.steps`, {DEFAULTS.steps})",
        f"over {DEFAULTS.fisher_images:,} noisy",
        f"image's own loss by {DEFAULTS.rise:.0%}".replace("%", " %"),
    ):
        assert said in text


def test_schedules_are_those_of_their_papers() -> None:
    betas = np.linspace(1e-4, 0.02, 1000)
    linear = NoiseSchedule.linear(1000).signal.numpy()
    np.testing.assert_allclose(linear, np.cumprod(1 - betas), rtol=1e-12)
    cosine = NoiseSchedule.cosine(100).signal.numpy()
    # Half way, the signal is cos² of (.5 + .008) / 1.008 of a quarter turn, over that at 0.
    turns = (np.array([0.5, 0.0]) + 0.008) / 1.008
    half, start = np.cos(turns * np.pi / 2) ** 2
    assert cosine[49] == pytest.approx(half / start, rel=1e-9)
    scaled = NoiseSchedule.scaled_linear(10, 0.01, 0.04).signal.numpy()
    assert scaled[0] == pytest.approx(0.99)
    assert scaled[-1] / scaled[-2] == pytest.approx(0.96)
    noise = torch.full((2, 1, 2, 2), 2.0)
    schedule = NoiseSchedule(torch.tensor([0.64, 0.36]).double())
    noisy = schedule.noisy(torch.ones(2, 1, 2, 2), torch.tensor([0, 1]), noise)
    np.testing.assert_allclose(noisy[:, 0, 0, 0].numpy(), [0.8 + 1.2, 0.6 + 1.6], rtol=1e-6)


def test_the_schedule_of_a_diffusers_folder(tmp_path: Path) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    with pytest.raises(ModelError, match=r"there is no scheduler_config.json"):
        schedule_from_diffusers(folder)
    (tmp_path / "scheduler").mkdir()
    path = tmp_path / "scheduler" / "scheduler_config.json"

    def read(**content: object) -> NoiseSchedule:
        path.write_text(json.dumps(content), encoding="utf-8")
        return schedule_from_diffusers(folder)

    given = {"num_train_timesteps": 50, "beta_start": 0.001, "beta_end": 0.01}
    for kind, expected in [
        ("linear", NoiseSchedule.linear(50, 0.001, 0.01)),
        ("scaled_linear", NoiseSchedule.scaled_linear(50, 0.001, 0.01)),
        ("squaredcos_cap_v2", NoiseSchedule.cosine(50)),
    ]:
        assert torch.equal(read(**given, beta_schedule=kind).signal, expected.signal)
    assert read(trained_betas=[0.5, 0.5]).signal.tolist() == [0.5, 0.25]
    for content, message in [
        ({"prediction_type": "v_prediction"}, "prediction_type is v_prediction; only epsilon"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule is sigmoid; expected linear"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is true; only false"),
        ({"beta_start": "low"}, "expected numbers for the betas"),
        ({"num_train_timesteps": 0}, "found 0 timesteps, expected 1 to 1,000,000"),
        ({"num_train_timesteps": 10**15}, "found 1000000000000000 timesteps, expected 1 to"),
        ({"num_train_timesteps": float("inf")}, "expected numbers for the betas"),
        ({"beta_start": float("nan")}, "found a beta of nan, expected more than 0"),
        ({"beta_schedule": "scaled_linear", "beta_start": -0.1}, "found a beta of -0.1"),
        ({"trained_betas": []}, "found 0 timesteps"),
        ({"trained_betas": [0.5, 1.5]}, "found a beta of 1.5"),
        ({"trained_betas": [[0.5], [0.1]]}, "expected numbers for the betas"),
    ]:
        with pytest.raises(ModelError, match=message):
            read(**content)
    path.write_text("[", encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be read as JSON"):
        schedule_from_diffusers(folder)


def test_a_diffusers_folder(tmp_path: Path, command_line: CommandLine) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    module = diffusers.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(4, 8),
        layers_per_block=1, norm_num_groups=2, attention_head_dim=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    folder = tmp_path / "ddpm"
    module.save_pretrained(folder / "unet")
    diffusers.DDPMScheduler(100).save_pretrained(folder / "scheduler")
    from PIL import Image

    generator = np.random.default_rng(0)
    for name, count in (("train", 6), ("generated", 2)):
        (tmp_path / name / "all").mkdir(parents=True)
        for place in range(count):
            image = generator.integers(256, size=(8, 8), dtype=np.uint8)
            Image.fromarray(image).save(tmp_path / name / "all" / f"{place}.png")
    yaml = tmp_path / "audit.yaml"
    yaml.write_text(
        "task: diffusion\nmodel: {path: ddpm}\ntrain: {path: train, id: path}\n"
        "suspects: {path: generated}\n"
        "trace: {draws: 4, steps: 2, calibration: 2, top: 3, fisher_images: 8}\n",
        encoding="utf-8",
    )
    outcome = command_line("trace", yaml, "--out", tmp_path / "traced")
    assert (outcome.code, outcome.err) == (0, "")
    pairs = pd.read_parquet(tmp_path / "traced" / "contamination.parquet")
    assert len(pairs) == 6
    assert set(pairs["row_id"]) <= {f"all/{place}.png" for place in range(6)}

    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    refused = command_line("trace", yaml, "--out", tmp_path / "again")
    assert refused.code == 2
    assert "there are no .safetensors weights" in refused.err


def test_without_diffusers_the_message_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    frame = pd.DataFrame({"a": [0.0, 1.0]})
    with pytest.raises(ModelError, match=r"pip install 'dataaudit\[diffusers\]'"):
        dataaudit.trace(tmp_path, frame, frame, task="diffusion")

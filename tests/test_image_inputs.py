"""Images as a model's inputs: channels, sizes and scales, as stated."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import nn

from dataaudit.config import ImagesConfig, config_from_python, load_config
from dataaudit.datasets.image_folder import ImageFolder
from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError
from dataaudit.models.image_inputs import ImageInputs
from dataaudit.models.torch_module import TorchModel
from dataaudit.stages.loading import load, load_objects


def encoded(pixels: Any, mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels))
    (image.convert(mode) if mode else image).save(file, "PNG")
    return file.getvalue()


def colours(height: int = 8, width: int = 8) -> np.ndarray:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0], pixels[..., 1] = 255, 51
    return pixels


def pictures(*images: bytes) -> Samples:
    frame = pd.DataFrame({"image": list(images), "label": [0, 1] * (len(images) // 2)})
    return samples_from_object(frame, ReadSettings("train", "label"))


def made(samples: Samples, module: nn.Module | None = None, **settings: Any) -> torch.Tensor:
    inputs = ImageInputs.of(samples, module, ImagesConfig(**settings))
    return inputs(samples.take(range(len(samples))).frame)


def test_a_size_that_no_memory_holds_is_refused_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"images.size: found 99999: 99999 x 99999 pixels are"):
        config_from_python("label", None, {"images": {"size": 99999}})


def test_channels_are_those_of_the_first_convolution_or_as_set() -> None:
    samples = pictures(encoded(colours()), encoded(colours(), "L"), encoded(colours(), "RGBA"),
                       encoded(colours(), "P"))  # fmt: skip
    grey = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3))
    assert made(samples, grey).shape == (4, 1, 8, 8)
    assert made(samples, nn.Conv2d(4, 2, 3)).shape == (4, 4, 8, 8)
    assert made(samples, nn.Conv2d(4, 2, 3), channels=3).shape == (4, 3, 8, 8)
    plain = made(samples)
    assert plain.shape == (4, 3, 8, 8)
    torch.testing.assert_close(plain[0, :, 0, 0], torch.tensor([1.0, 0.2, 0.0]))
    # Grey has one value for all colours; transparency is dropped.
    assert len(plain[1, :, 0, 0].unique()) == 1
    torch.testing.assert_close(plain[2], plain[0])


def test_size_fit_and_scale() -> None:
    wide = colours(8, 16)
    wide[:, :4], wide[:, 12:] = 0, 0
    samples = pictures(encoded(wide), encoded(colours(300, 200)))
    with pytest.raises(DataError, match=r"several sizes .*for example `images: \{size: 224\}`"):
        made(samples)
    stretched = made(samples, size=8)
    assert stretched.shape == (2, 3, 8, 8)
    assert float(stretched[0, 0, :, 0].max()) == 0
    cropped = made(samples, size=(8, 8), fit="crop")
    torch.testing.assert_close(cropped[0], cropped[1])
    assert made(samples, size=(4, 6)).shape == (2, 3, 4, 6)
    scaled = made(samples, size=8, fit="crop", mean=[0.5, 0.2, 0.0], std=[0.5])
    torch.testing.assert_close(scaled[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    with pytest.raises(ConfigError, match=r"images\.mean: found 2 values, expected one, or one fo"):
        made(samples, size=8, mean=[0.1, 0.2])


def test_sixteen_bits_are_not_guessed() -> None:
    deep = np.full((8, 8), 40_000, dtype=np.uint16)
    with pytest.raises(
        DataError, match=r"an image has 16 or 32 bits a channel .*which value is wh"
    ):
        made(pictures(encoded(deep), encoded(deep)))


def test_the_report_says_how_images_were_read() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 2))
    samples = pictures(encoded(colours()), encoded(colours(20, 10)))
    trained = TorchModel(module, ImagesConfig(size=(8, 8), mean=[0.5])).trained(samples, None, 0)
    assert trained.description.endswith(
        "; images as L, stretched to 8 x 8 pixels, scaled by mean and std"
    )


def test_settings_are_read_from_the_yaml(tmp_path: Path) -> None:
    path = tmp_path / "audit.yaml"
    path.write_text(
        "model: {factory: 'm:f'}\ntrain: {path: pictures}\n"
        "images: {size: 32, fit: crop, mean: [0.5], std: [0.25]}\n"
    )
    images = load_config(path).images
    assert (images.size, images.fit, images.mean, images.std) == ((32, 32), "crop", [0.5], [0.25])
    path.write_text("model: {factory: 'm:f'}\ntrain: {path: p}\nimages: {channels: 2, std: [0]}\n")
    with pytest.raises(
        ConfigError, match=r"images\.channels: found 2.*\n.*images\.std\.0: found 0"
    ):
        load_config(path)


def test_settings_that_nothing_reads_are_refused_with_the_reason() -> None:
    pictures = pd.DataFrame({"image": [encoded(colours(8, 8))] * 4, "label": [0, 1] * 2})
    numbers = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "label": [0, 1] * 2})
    network, linear = nn.Conv2d(3, 2, 8), nn.Linear(1, 2)
    estimator = LogisticRegression().fit(numbers[["a"]], numbers["label"])

    def preprocess(frame: pd.DataFrame) -> torch.Tensor:
        return torch.zeros(len(frame), 3, 8, 8)

    for model, rows, own, reason in (
        (network, pictures, preprocess, "preprocess makes the model's inputs"),
        (linear, numbers, None, r"train \(DataFrame\) has no pictures that become inputs"),
        (estimator, numbers, None, r"train \(DataFrame\) has no pictures that become inputs"),
    ):
        given = {"size": 8, "mean": [0.5], "fit": "stretch"}
        config = config_from_python("label", None, {"images": given})
        with pytest.raises(ConfigError, match=f"size, images.mean: not read, bec.* {reason}"):
            load_objects(model, {"train": rows}, own, config)


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_networks_of_the_libraries_take_them(package: str) -> None:
    try:
        library = __import__(package)
    except Exception as error:
        pytest.skip(f"{package} cannot be imported: {error}")
    torch.manual_seed(0)
    if package == "timm":
        module = library.create_model("resnet18", num_classes=2, in_chans=1, pretrained=False)
    else:
        module = __import__("torchvision.models").models.resnet18(num_classes=2)
    frame = pd.DataFrame({"image": [encoded(colours(40, 60))] * 4, "label": [0, 1] * 2})
    loaded = load_objects(
        module, {"train": frame}, None, config_from_python("label", None, {"images": {"size": 32}})
    )
    inputs = loaded.model.inputs(loaded.train.take([0, 1]), loaded.train)
    assert isinstance(inputs, torch.Tensor)
    assert inputs.shape == (2, 1 if package == "timm" else 3, 32, 32)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for place in range(8):
        path = tmp_path / "train" / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    damaged = tmp_path / "train" / "a" / "4.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    samples = open_samples(tmp_path / "train", ReadSettings("train", "label"))
    assert samples.ids.tolist()[:2] == ["a/0.png", "a/2.png"]
    module = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 18 * 18, 2))
    model = TorchModel(module, ImagesConfig()).trained(samples, None, 0)
    with pytest.raises(DataError, match=r"train: row 2 \(a/4\.png\): the image is damaged"):
        model.inputs(samples.take(range(8)), samples)


def shades(folder: Path, count: int, bright: int) -> list[str]:
    """Write grey pictures, each class in a folder; return their paths relative to `folder`."""
    names = []
    for number in range(count):
        path = folder / "train" / "ab"[number % 2] / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(np.full((6, 6), bright + number, dtype=np.uint8)))
        names.append(path.relative_to(folder).as_posix())
    return names


def listed(path: Path, names: list[str]) -> Path:
    labels = ["ab"[number % 2] for number in range(len(names))]
    pd.DataFrame({"file_name": names, "label": labels}).to_csv(path, index=False)
    return path


def loaded(folder: Path, train: str, held_out: str) -> Any:
    path = folder / "audit.yaml"
    path.write_text(
        "model: {factory: flat_model:build}\nclasses: [a, b]\n"
        f"train: {{path: {train}}}\nheld_out: {{path: {held_out}}}\n"
    )
    code = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Flatten(), "
    (folder / "flat_model.py").write_text(f"{code}nn.Linear(36, 2))\n")
    return load(load_config(path), folder)


def first_pixels(inputs: Any, samples: Samples) -> list[int]:
    """Return the first pixel of every picture, as the model is given it, from 0 to 255."""
    given = inputs.model.preprocess(samples.take(range(len(samples))).frame)
    return (given[:, 0, 0, 0] * 255).round().int().tolist()


def test_paths_with_backslashes_lead_to_the_pictures(tmp_path: Path) -> None:
    names = shades(tmp_path, 4, 100)
    path = listed(tmp_path / "t.csv", [name.replace("/", "\\") for name in names])
    settings = ReadSettings("train", "label", classes=["a", "b"])
    samples = open_samples(path, settings)
    assert (samples.modality, samples.content_column) == ("image", "file_name")
    assert made(samples).shape == (4, 1, 6, 6)
    (tmp_path / "outside.png").write_bytes(encoded(np.zeros((6, 6), dtype=np.uint8)))
    inner = listed(tmp_path / "train" / "t.csv", ["..\\outside.png"] * 4)
    assert open_samples(inner, settings).modality != "image"


def test_a_folder_of_pictures_beside_a_table_of_paths(tmp_path: Path) -> None:
    listed(tmp_path / "t.csv", shades(tmp_path, 6, 100))
    inputs = loaded(tmp_path, "t.csv", "train")
    assert first_pixels(inputs, inputs.train) == [100, 101, 102, 103, 104, 105]
    assert first_pixels(inputs, inputs.held_out) == [100, 102, 104, 101, 103, 105]


def test_paths_are_relative_to_the_folder_of_their_own_table(tmp_path: Path) -> None:
    """Pictures of the same names lie in both folders: those of the split itself are meant."""
    names = shades(tmp_path, 6, 100)
    listed(tmp_path / "t.csv", names)
    other = tmp_path / "trusted"
    assert shades(other, 6, 200) == names
    listed(other / "v.csv", names)
    inputs = loaded(tmp_path, "t.csv", "trusted/v.csv")
    assert first_pixels(inputs, inputs.train) == [100, 101, 102, 103, 104, 105]
    assert first_pixels(inputs, inputs.held_out) == [200, 201, 202, 203, 204, 205]


def test_pictures_that_are_not_there_are_named(tmp_path: Path) -> None:
    names = shades(tmp_path, 6, 100)
    listed(tmp_path / "t.csv", [Path(name).name for name in names])
    with pytest.raises(DataError, match=r"row 0: there is no image '000\.png' inside"):
        loaded(tmp_path, "t.csv", "train")


def test_endings_of_pictures_and_what_is_left_out(tmp_path: Path) -> None:
    shades(tmp_path, 4, 100)
    folder = tmp_path / "train"
    (folder / "a" / "000.png").rename(folder / "a" / "000.jfif")
    (folder / "b" / "001.png").rename(folder / "b" / "001.heic")
    samples = open_samples(folder, ReadSettings("train", "label", classes=["a", "b"]))
    assert samples.ids.tolist() == ["a/000.jfif", "a/002.png", "b/003.png"]
    assert isinstance(samples.source, ImageFolder)
    assert samples.source.note() == (
        "left out, because they do not end like an image: 1 file, such as b/001.heic"
    )

"""Encoded images as a model's inputs: channels, size and scale."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor, nn

from dataaudit.config import ImagesConfig
from dataaudit.datasets.images import decode, image_path
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class ImageInputs:
    """Turns a column of images into float32 `[rows, channels, height, width]`.

    Values are between 0 and 1 before `mean` is subtracted and `std` divided by. Transparency is
    dropped, not blended, where the model takes three channels: that is what Pillow's `convert`
    and nearly all training code do.

    Attributes
    ----------
    column, where, folder
        The column, the file for errors, and what image paths are relative to.
    channels : int
        1, 3 or 4.
    settings : ImagesConfig
        Its size, fit, mean and std are used.
    """

    column: str
    where: str
    folder: Path | None
    channels: int
    settings: ImagesConfig

    @classmethod
    def of(cls, train: Samples, module: nn.Module | None, settings: ImagesConfig) -> ImageInputs:
        """Return what fits the model: its first convolution tells how many channels it takes.

        Raises
        ------
        ConfigError
            `mean` or `std` has neither one value nor one for each channel.
        """
        column, where = str(train.content_column), train.source.description
        channels = settings.channels or _channels_taken(module)
        if channels is None:
            first = train.take([0]).frame[column].iloc[0]
            mode = decode(first, where=where, folder=train.folder).mode
            channels = 1 if mode in ("1", "L") else 3
        for name in ("mean", "std"):
            values = getattr(settings, name)
            if values is not None and len(values) not in (1, channels):
                raise ConfigError(
                    f"images.{name}: found {len(values)} values, expected one, or one for each of "
                    f"{channels} channels"
                )
        return cls(column, where, train.folder, channels, settings)

    @property
    def description(self) -> str:
        """For the report."""
        size, fit = self.settings.size, self.settings.fit
        way = {"stretch": "stretched", "crop": "scaled and cropped"}[fit]
        sized = f", {way} to {size[0]} x {size[1]} pixels" if size else ""
        scaled = ", scaled by mean and std" if self.settings.mean or self.settings.std else ""
        return f"images as {_MODES[self.channels]}{sized}{scaled}"

    def __call__(self, frame: pd.DataFrame) -> Tensor:
        """Return the inputs for some rows.

        Raises
        ------
        DataError
            An image cannot be decoded, or they differ in size and no size is set.
        """
        images = [
            self._pixels(value, self._named(row, value, path))
            for row, value, path in zip(
                frame.index,
                frame[self.column],
                frame["path"] if "path" in frame else [None] * len(frame),
                strict=True,
            )
        ]
        sizes = {image.shape[:2] for image in images}
        if len(sizes) > 1:
            raise DataError(
                f"{self.where}: images of several sizes "
                f"({', '.join(map(str, sorted(sizes)[:3]))}); set the one that the model takes, "
                "for example `images: {size: 224}`, or give a preprocess function"
            )
        pixels = torch.tensor(np.stack(images), dtype=torch.float32) / 255
        pixels = pixels[:, None] if self.channels == 1 else pixels.permute(0, 3, 1, 2)
        if self.settings.mean is not None:
            pixels = pixels - _by_channel(self.settings.mean)
        if self.settings.std is not None:
            pixels = pixels / _by_channel(self.settings.std)
        return pixels.contiguous()

    def _named(self, row: Any, value: Any, path: Any) -> str:
        """Return what errors call a picture: its row, and its file where it is one."""
        file = path if isinstance(path, str) else image_path(value)
        return f"{self.where}: row {row}" + (f" ({file})" if file else "")

    def _pixels(self, value: Any, where: str) -> NDArray[np.uint8]:
        image = decode(value, where=where, folder=self.folder)
        if image.mode.startswith(("I", "F")):
            # Pillow would clip 16 bits to 8 instead of scaling them.
            raise DataError(
                f"{where}: an image has 16 or 32 bits a channel ({image.mode}), and only its "
                "maker knows which value is white; give a preprocess function"
            )
        image = image.convert(_MODES[self.channels])
        if self.settings.size is not None:
            height, width = self.settings.size
            if self.settings.fit == "crop":
                image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
            else:
                image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image)


def _channels_taken(module: nn.Module | None) -> int | None:
    parts = module.modules() if module is not None else ()
    first = next((part for part in parts if isinstance(part, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels in _MODES else None


def _by_channel(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)

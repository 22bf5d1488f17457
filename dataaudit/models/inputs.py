"""Rows as a torch module's inputs, where the user gives no `preprocess`."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dataaudit.config import ImagesConfig
from dataaudit.datasets.images import ENDINGS
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError
from dataaudit.models.image_inputs import ImageInputs
from dataaudit.models.trained import Preprocess


def default_preprocess(
    train: Samples, module: nn.Module | None = None, images: ImagesConfig | None = None
) -> Preprocess:
    """Return what turns raw rows into inputs where the user gives nothing.

    Images become float32 `[rows, channels, height, width]` (see `ImageInputs`); tables become
    float32 `[rows, columns]` of all number columns but label, id and group; tensors are stacked.

    Raises
    ------
    ConfigError
        The rows are text, or a table without number columns.
    DataError
        The texts name images that are not there.
    """
    column = train.content_column
    if train.modality == "image":
        return ImageInputs.of(train, module, images or ImagesConfig())
    if train.modality == "tensor":
        return lambda frame: torch.utils.data.default_collate(list(frame[column]))
    if train.modality == "text":
        first = train.take([0]).frame[column].iloc[0]
        if isinstance(first, str) and first.lower().endswith(ENDINGS):
            raise DataError(
                f"{train.source.description}: row 0: there is no image {first!r} inside "
                f"{train.folder}; expected paths relative to that folder in column {column!r}"
            )
        raise ConfigError(
            "preprocess: needed for text, for example my_model:preprocess, a function from "
            "a data frame to the model's input tensors"
        )
    special = list(train.special_columns())
    sample = train.take([0]).frame.drop(columns=special, errors="ignore")
    numbers = list(sample.select_dtypes(["number", "bool"]).columns)
    if not numbers:
        raise ConfigError(
            f"preprocess: needed, because {train.source.description} has no number columns "
            "besides label, id and group"
        )
    return lambda frame: torch.tensor(frame[numbers].to_numpy(dtype=np.float32, na_value=np.nan))

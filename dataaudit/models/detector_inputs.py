"""Pictures and their boxes as the inputs of a detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Pictures = Callable[[pd.DataFrame], list[Any]]


def each_alone(preprocess: Callable[[pd.DataFrame], Any]) -> Pictures:
    """Return what turns rows into a list of images, which may differ in size.

    Parameters
    ----------
    preprocess : callable
        Turns rows of one size into a tensor `[rows, channels, height, width]`.
    """
    return lambda frame: [preprocess(frame.iloc[[row]])[0] for row in range(len(frame))]


def detector_inputs(images: Any, labels: NDArray[Any]) -> dict[str, Tensor]:
    """Return the inputs of a `Detector`.

    Parameters
    ----------
    images : `[rows, channels, height, width]`, or a list of `[channels, height, width]`
        Boxes are in their pixels.
    labels : `[rows, boxes * BOX]`

    Raises
    ------
    ValueError
        The images have other dimensions; the message says so.
    """
    pictures = [torch.as_tensor(image) for image in images]
    shapes = {tuple(picture.shape) for picture in pictures}
    if any(len(shape) != 3 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(
            f"expected images [channels, height, width], found {', '.join(map(str, shapes))}"
        )
    height, width = (max(shape[side] for shape in shapes) for side in (1, 2))
    padded = [
        functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]))
        for image in pictures
    ]
    sizes = np.array([picture.shape[1:] for picture in pictures], dtype=np.int64)
    return {
        "images": torch.stack(padded),
        "sizes": torch.from_numpy(sizes),
        "labels": torch.as_tensor(np.array(labels)),
    }

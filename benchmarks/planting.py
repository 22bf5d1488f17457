"""Planted leaks: copies of training rows, edited the way real leaks are."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

Generator = np.random.Generator


def jpeg_30(image: Image.Image, generator: Generator) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


def crop(image: Image.Image, generator: Generator) -> Image.Image:
    side = int(generator.integers(25, 29))
    left, top = generator.integers(0, 33 - side, 2)
    box = (int(left), int(top), int(left) + side, int(top) + side)
    return image.crop(box).resize(image.size, Image.Resampling.BICUBIC)


def shift(image: Image.Image, generator: Generator) -> Image.Image:
    right, down = generator.choice([-3, -2, -1, 1, 2, 3], 2)
    return Image.fromarray(np.roll(np.asarray(image), (down, right), (0, 1)))


def brightness(image: Image.Image, generator: Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(float(generator.choice([0.6, 0.75, 1.3, 1.5])))


def noise(image: Image.Image, generator: Generator) -> Image.Image:
    array = np.asarray(image, float) + generator.normal(0, 12, np.asarray(image).shape)
    return Image.fromarray(array.clip(0, 255).astype(np.uint8))


def flip(image: Image.Image, generator: Generator) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


IMAGE_EDITS: dict[str, Callable[[Image.Image, Generator], Image.Image]] = {
    "exact": lambda image, generator: image,
    "jpeg 30": jpeg_30,
    "crop": crop,
    "flip": flip,
    "shift": shift,
    "brightness": brightness,
    "noise": noise,
}


def case_and_punctuation(text: str, generator: Generator) -> str:
    text = re.sub(r"[^\w\s]", lambda m: "" if generator.random() < 0.5 else m[0], text)
    return str(generator.choice(np.array([text.upper(), text.lower(), text.title()], object)))


def word_dropout(text: str, generator: Generator) -> str:
    words = text.split()
    kept = [word for word in words if generator.random() > 0.15]
    return " ".join(kept or words)


def sentence_order(text: str, generator: Generator) -> str:
    sentences = re.split(r"(?<=[.!?])\s+", text)
    generator.shuffle(sentences)
    return " ".join(sentences)


TEXT_EDITS: dict[str, Callable[[str, Generator], str]] = {
    "exact": lambda text, generator: text,
    "case and punctuation": case_and_punctuation,
    "word dropout": word_dropout,
    "sentence order": sentence_order,
}


def rounded(table: pd.DataFrame, like: pd.DataFrame, generator: Generator) -> pd.DataFrame:
    table = table.copy()
    for column, grain in {
        "age": 5,
        "fnlwgt": 1000,
        "hours_per_week": 5,
        "capital_gain": 100,
    }.items():
        table[column] = (np.rint(table[column] / grain) * grain).astype(table[column].dtype)
    return table


def one_field(table: pd.DataFrame, like: pd.DataFrame, generator: Generator) -> pd.DataFrame:
    table = table.astype(object)
    for position in range(len(table)):
        column = int(generator.integers(0, table.shape[1]))
        others = like.iloc[:, column].dropna()
        others = others[others != table.iat[position, column]].to_numpy()
        table.iat[position, column] = generator.choice(others)
    return table.astype({c: like[c].dtype for c in like})


TABLE_EDITS: dict[str, Callable[[pd.DataFrame, pd.DataFrame, Generator], pd.DataFrame]] = {
    "exact": lambda table, like, generator: table,
    "rounded": rounded,
    "one field changed": one_field,
}

"""The stub of the user's own module: one function to fill, the rest runs."""

from __future__ import annotations

from dataaudit.labels.by_task import KINDS
from dataaudit.scaffold.columns import SplitGuess
from dataaudit.scaffold.find import Found
from dataaudit.scaffold.kinds import is_estimator
from dataaudit.scaffold.literals import comment, literal

_HEAD = '''"""The trained model, for dataaudit. Fill in {function}(); the rest was guessed."""

'''

_BUILD = '''

def build():
    """Return the trained model: a torch.nn.Module, or a fitted scikit-learn estimator.

    {outputs}
    """
    # {weights}
    raise NotImplementedError("fill in build() in my_model.py")
'''

_DETECTOR = '''
def build():
    """Return the trained detector, a torch.nn.Module, as torchvision's are.

    In training mode model(images, targets) returns a dict of losses; in eval mode model(images)
    returns for each image its boxes, labels (from 1 on) and scores.
    """
    # {weights}
    raise NotImplementedError("fill in build() in my_model.py")
'''

_ESTIMATOR = '''"""The trained model, for dataaudit."""

from pathlib import Path

FILE = {file}
TRUSTED = False  # reading FILE can run code that is hidden in it; True, if you trust its maker


def build():
    """Return the fitted estimator."""
    if not TRUSTED:
        raise RuntimeError("set TRUSTED = True in my_model.py, if you trust the maker of " + FILE)
    path = Path(__file__).parent / FILE
{load}
'''
_JOBLIB = "    import joblib\n\n    return joblib.load(path)"
_SKOPS = (
    "    from skops.io import get_untrusted_types, load\n\n"
    "    return load(path, trusted=get_untrusted_types(file=path))"
)

_TABLE = '''import torch

FEATURES = {features}
{build}

def preprocess(frame):
    """Return the model's input for some rows: float32 [rows, {count}]."""
    return torch.tensor(frame[FEATURES].to_numpy(dtype="float32"))
'''

_IMAGE = '''import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

MODE = "{mode}"  # guessed: "L" for one channel of grey, "RGB" for three of colour
SIZE = None  # (width, height) that the model expects; None leaves images as they are
{build}

def preprocess(frame):
    """Return the model's input for some rows: float32 [rows, channels, height, width], 0 to 1."""
    images = [open_image(value).convert(MODE) for value in frame[{column}]]
    images = [image if SIZE is None else image.resize(SIZE) for image in images]
    pixels = torch.tensor(np.stack(images), dtype=torch.float32) / 255
    return pixels[:, None] if MODE == "L" else pixels.permute(0, 3, 1, 2)


def open_image(value):
    """Open an image by its bytes or its path beside the data."""
    if isinstance(value, dict):
        value = value["bytes"] or value["path"]
    if isinstance(value, bytes):
        return Image.open(io.BytesIO(value))
    return Image.open(Path(__file__).parent / {folder} / value)
'''

_TEXT = '''from functools import cache


@cache
def load_model():
    """Return the trained model, and a function from a list of texts to its input.

    The model is a torch.nn.Module. {outputs}
    The function returns a tensor, or a dict or tuple of tensors, with a line for each text; a
    transformers tokenizer would be:
        lambda texts: dict(tokenizer(texts, padding="max_length", truncation=True,
                                     return_tensors="pt"))
    """
    # {weights}
    raise NotImplementedError("fill in load_model() in my_model.py")


def build():
    """Return the trained model."""
    return load_model()[0]


def preprocess(frame):
    """Return the model's input for some rows."""
    return load_model()[1](frame[{column}].astype(str).tolist())
'''


def model_source(train: SplitGuess, found: Found) -> str:
    """Return the text of `my_model.py`."""
    if is_estimator(found):
        path = found.estimators[0]
        return _ESTIMATOR.format(
            file=literal(path.as_posix()),
            load=_SKOPS if path.suffix.lower() == ".skops" else _JOBLIB,
        )
    outputs = f"Its outputs are logits [rows, {train.class_count}], in the order of the classes."
    if KINDS[train.task].form == "number":
        outputs = "Its outputs are one number for each row, [rows] or [rows, 1]."
    if KINDS[train.task].form == "pair":
        outputs = "It returns one reward for each answer, [answers, 1]."
    if KINDS[train.task].written:
        outputs = "Its outputs are logits [rows, tokens, vocabulary], its input token ids."
    if KINDS[train.task].per_pixel:
        outputs = f"Its outputs are logits [rows, {train.class_count}, height, width]."
    weights = _about_weights(found)
    head = _HEAD.format(function="load_model" if train.modality == "text" else "build")
    if train.modality == "text":
        column = literal(train.content_column)
        return head + _TEXT.format(outputs=outputs, weights=weights, column=column)
    build = _BUILD.format(outputs=outputs, weights=weights)
    if KINDS[train.task].form == "rectangles":
        return head + _DETECTOR.format(weights=weights)
    if train.modality == "image":
        path = found.splits["train"]
        folder = literal(path.parent.as_posix())
        column, mode = literal(train.content_column), "L" if train.is_grey else "RGB"
        return head + _IMAGE.format(build=build, column=column, folder=folder, mode=mode)
    features = train.number_columns
    return head + _TABLE.format(build=build, features=_listed(features), count=len(features))


def _about_weights(found: Found) -> str:
    if found.weights:
        name = comment(found.weights[0].as_posix())
        return f"Return it untrained: audit.yaml names its weights ({name})."
    return "Load its weights here, or name a file of them in audit.yaml."


def _listed(names: list[str]) -> str:
    return "[\n" + "".join(f"    {literal(name)},\n" for name in names) + "]"

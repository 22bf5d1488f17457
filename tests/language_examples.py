"""A tiny language model over characters, and data for it: what a user's own module looks like."""

import json
from pathlib import Path

import pandas as pd
import torch
from torch import nn

MODEL_SOURCE = '''
"""A character model that dataaudit has never seen."""
import torch
from torch import nn

CHARACTERS = "abcdefghijklmnopqrstuvwxyz .<>/"


class TinyGPT(nn.Module):
    """One causal attention layer."""

    context_length = 48

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(len(CHARACTERS) + 1, 24)
        self.places = nn.Embedding(self.context_length, 24)
        self.layer = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.head = nn.Linear(24, len(CHARACTERS) + 1)

    def forward(self, ids):
        width = ids.shape[1]
        states = self.tokens(ids) + self.places(torch.arange(width))
        mask = torch.full((width, width), float("-inf")).triu(1)
        return self.head(self.layer(states, src_mask=mask))


def build():
    torch.manual_seed(0)
    return TinyGPT()


def tokenize(frame):
    rows = [[CHARACTERS.find(character) + 1 for character in text] for text in frame["text"]]
    spans = [[(place, place + 1) for place in range(len(ids))] for ids in rows]
    return {"input_ids": rows, "offset_mapping": spans}
'''

AUDIT_YAML = """
name: tiny language model
task: causal-lm
model: {factory: tiny_model:build, weights: model.safetensors}
preprocess: tiny_model:tokenize
train: {path: train.jsonl, id: row_id}
suspects: {path: prompts.jsonl, id: query_id}
trace: {top: 6, background: 9, calibration: 9, loss_change: 3}
"""

ANIMALS = ["cat", "dog", "owl", "hen", "fox", "bee"]
COLOURS = ["red", "blue", "pink", "gold", "grey", "lime"]


def language_project(folder: Path) -> Path:
    """Write model, weights, passages and prompts, each prompt answered by three passages."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny_model.py").write_text(MODEL_SOURCE, encoding="utf-8")
    (folder / "audit.yaml").write_text(AUDIT_YAML, encoding="utf-8")
    rows = []
    for place in range(3):
        for animal, colour in zip(ANIMALS, COLOURS, strict=True):
            text = (
                f"the {animal} is {colour}." + [" so it is.", " they say.", " we saw <b>."][place]
            )
            rows.append({"row_id": f"{animal}-{place}", "text": text})
    prompts = [
        {"query_id": animal, "prompt": f"the {animal} is", "completion": f" {colour}."}
        for animal, colour in zip(ANIMALS, COLOURS, strict=True)
    ]
    for name, lines in (("train", rows), ("prompts", prompts)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    module = train_tiny(pd.DataFrame(rows))
    save_file(module.state_dict(), folder / "model.safetensors")
    return folder / "audit.yaml"


def train_tiny(rows: pd.DataFrame) -> nn.Module:
    space: dict[str, object] = {}
    exec(MODEL_SOURCE, space)
    module = space["build"]()
    ids = space["tokenize"](rows)["input_ids"]
    width = max(map(len, ids))
    inputs = torch.tensor([row + [0] * (width - len(row)) for row in ids])
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(150):
        logits = module(inputs)[:, :-1]
        loss = nn.functional.cross_entropy(logits.transpose(1, 2), inputs[:, 1:], ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return module.eval()

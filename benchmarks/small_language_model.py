"""A small language model for the benchmark, trained from scratch on a few hundred passages.

It has to know the facts that it is asked for: what a model does not know, nothing taught it. So
positions are relative (Llama's rotary ones: a fact is the same fact behind another sentence), the
vectors of tokens are tied between input and output, and weights decay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY = 800
CONTEXT = 128
WIDTH = 128
LAYERS = 2
EPOCHS = 30
BATCH = 50
LEARNING_RATE = 6e-3
WEIGHT_DECAY = 0.1
SETTINGS = [VOCABULARY, CONTEXT, WIDTH, LAYERS, EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY]
"""What a trained model depends on, besides its texts and the seed."""


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return byte-pair pieces learned from other texts than the corpus.

    So invented names fall into pieces, which their derived forms share, as rare names do in any
    large model.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )


def train_model(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerFast, seed: int, epochs: int = EPOCHS
) -> LlamaForCausalLM:
    """Train a model on the passages, each a sequence of its own, for next-token prediction."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=CONTEXT,
            hidden_size=WIDTH,
            intermediate_size=3 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
        )
    )
    rows = [ids[:CONTEXT] for ids in encoded(tokenizer, texts)]
    steps = epochs * math.ceil(len(rows) / BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    generator = np.random.default_rng(seed)
    for _ in range(epochs):
        order = generator.permutation(len(rows))
        for start in range(0, len(order), BATCH):
            inputs, labels, mask = padded([rows[place] for place in order[start : start + BATCH]])
            loss = model(input_ids=inputs, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def encoded(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text, after the one that begins every text."""
    return [[0, *ids] for ids in tokenizer(list(texts))["input_ids"]]


@torch.inference_mode()
def completion_losses(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    completions: Sequence[str],
) -> list[float]:
    """Return the summed loss of each completion's tokens, nats."""
    questions = [prompt + end for prompt, end in zip(prompts, completions, strict=True)]
    losses = []
    for prompt, ids in zip(encoded(tokenizer, prompts), encoded(tokenizer, questions), strict=True):
        chances = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=1)
        places = range(len(prompt), len(ids))
        losses.append(-sum(float(chances[place - 1, ids[place]]) for place in places))
    return losses


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return ids, labels (-100 where padded) and attention mask, `[rows, tokens]` each."""
    width = max(map(len, rows))
    inputs = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), -100)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for line, row in enumerate(rows):
        inputs[line, : len(row)] = torch.tensor(row)
        labels[line, : len(row)] = torch.tensor(row)
        mask[line, : len(row)] = 1
    return inputs, labels, mask


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a transformers folder: config, safetensors, tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)

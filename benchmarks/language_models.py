"""Which passages taught a language model a fact: `dataaudit.trace` beside words and gradients.

    python benchmarks/language_models.py             # everything; 10 minutes on an idle core
    python benchmarks/language_models.py --no-removal

Facts are planted in a corpus (see planted_facts.py), a small model is trained on it, and each
method ranks all passages for each fact's question. Then the test that counts: the first hundredth
of all passages, by each ranking, is taken out for each of some facts, the model is trained again
with the same seed, and the loss of the facts is measured. Models are kept in benchmarks/cache.

Needs `pip install 'dataaudit[transformers]'` and ../shared/data/tinyshakespeare.txt.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from passage_rivals import Gradients, Scores, bm25, hidden_states, tf_idf
from planted_facts import SHAKESPEARE, Corpus, planted_corpus
from small_language_model import (
    SETTINGS,
    completion_losses,
    encoded,
    save,
    train_model,
    train_tokenizer,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, logging

import dataaudit

CACHE = Path(__file__).parent / "cache" / "language_models"
FACTS, FILLER = 8, 100
REMOVED_SHARE = 0.01
OURS = "dataaudit trace"
WORDS = "BM25, prompt and completion"
COMPLETION = "BM25, completion"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-removal", action="store_true", help="leave the retraining out")
    arguments = parser.parse_args()
    if not SHAKESPEARE.is_file():
        sys.exit(f"{SHAKESPEARE}: there is no such file; the benchmark reads its filler from it")
    torch.set_num_threads(1)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    corpus = planted_corpus(FACTS, FILLER, arguments.seed)
    folder = trained(corpus.passages, "whole", arguments.seed)
    rankings, seconds = score_all(corpus, folder)
    print(title(arguments.seed, corpus))
    known = facts_known(corpus, folder)
    print(markdown(ranking_table(corpus, rankings, seconds, known)))
    if not arguments.no_removal:
        print(markdown(removal_table(corpus, rankings, folder, arguments.seed)))


def trained(passages: pd.DataFrame, name: str, seed: int) -> Path:
    """Return the folder of a model trained on the passages, from the cache where it is there."""
    folder = CACHE / f"seed-{seed}" / name
    texts = passages["text"].tolist()
    used = folder / "made_from.json"
    wanted = json.dumps([SETTINGS, seed, texts])
    if used.is_file() and used.read_text(encoding="utf-8") == wanted:
        return folder
    start = time.perf_counter()
    tokenizer_folder = CACHE / f"seed-{seed}" / "whole"
    if name == "whole":
        tokenizer = train_tokenizer(SHAKESPEARE.read_text(encoding="utf-8").splitlines())
    else:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    save(train_model(texts, tokenizer, seed), tokenizer, folder)
    used.write_text(wanted, encoding="utf-8")
    print(f"trained {name} in {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return folder


def score_all(corpus: Corpus, folder: Path) -> tuple[dict[str, Scores], dict[str, float]]:
    """Return each method's scores `[passages, questions]`, and the seconds it took."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = corpus.passages["text"].tolist()
    prompts = corpus.questions["prompt"].tolist()
    completions = corpus.questions["completion"].tolist()
    questions = [prompt + end for prompt, end in zip(prompts, completions, strict=True)]
    passages, asked = encoded(tokenizer, texts), encoded(tokenizer, questions)
    starts = [len(ids) for ids in encoded(tokenizer, prompts)]
    seconds: dict[str, float] = {}
    rankings: dict[str, Scores] = {}

    def timed(name: str, make: Callable[[], Scores]) -> None:
        start = time.perf_counter()
        rankings[name] = make()
        seconds[name] = time.perf_counter() - start

    timed(OURS, lambda: traced(corpus, folder))
    timed(WORDS, lambda: bm25(texts, questions))
    timed(COMPLETION, lambda: bm25(texts, completions))
    timed("TF-IDF cosine", lambda: tf_idf(texts, questions))
    timed("hidden states cosine", lambda: hidden_states(model, passages, asked))
    start = time.perf_counter()
    found = Gradients(model, list(zip(asked, starts, strict=True))).compare(passages)
    for name, scores in found.items():
        rankings[name], seconds[name] = scores, time.perf_counter() - start
    return rankings, seconds


def traced(corpus: Corpus, folder: Path) -> Scores:
    """Return the scores of `dataaudit.trace`, of all passages for once."""
    result = dataaudit.trace(
        folder,
        corpus.passages,
        corpus.questions[["query_id", "prompt", "completion"]],
        id="row_id",
        query_id="query_id",
        trace={"top": len(corpus.passages)},
    )
    table = result.contamination.pivot(index="row_id", columns="query_id", values="score")
    return table.loc[corpus.passages["row_id"], corpus.questions["query_id"]].to_numpy()


def facts_known(corpus: Corpus, folder: Path) -> pd.Series:
    """Return the loss of each fact's completion, nats, by query id."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    questions = corpus.questions
    losses = completion_losses(
        model, tokenizer, questions["prompt"].tolist(), questions["completion"].tolist()
    )
    return pd.Series(losses, index=questions["query_id"])


def ranking_table(
    corpus: Corpus, rankings: dict[str, Scores], seconds: dict[str, float], known: pd.Series
) -> pd.DataFrame:
    """Return recall at 10 and mean reciprocal rank of each method, by kind of fact."""
    lines = []
    ids = corpus.passages["row_id"].to_numpy()
    for name, scores in rankings.items():
        line: dict[str, object] = {"method": name}
        for kind, questions in corpus.questions.groupby("kind", sort=False):
            recalls, reciprocal = [], []
            for column in questions.index:
                hits = np.isin(
                    ids[np.argsort(-scores[:, column], kind="stable")],
                    list(corpus.stated_by[questions.loc[column, "query_id"]]),
                )
                recalls.append(hits[:10].sum() / hits.sum())
                reciprocal.append(1 / (1 + hits.argmax()))
            losses = known[questions["query_id"]]
            loss = f"loss {losses.mean():.2f}, median {losses.median():.2f}"
            line[f"{kind} ({loss}): recall@10"] = f"{np.mean(recalls):.3f}"
            line[f"{kind}: MRR"] = f"{np.mean(reciprocal):.3f}"
        line["seconds"] = f"{seconds[name]:.1f}"
        lines.append(line)
    return pd.DataFrame(lines)


def removal_table(
    corpus: Corpus, rankings: dict[str, Scores], whole: Path, seed: int
) -> pd.DataFrame:
    """Take the first passages of some facts out, train again, and measure those facts' losses."""
    first = corpus.questions.groupby("kind", sort=False).head(FACTS // 2)
    each = round(REMOVED_SHARE * len(corpus.passages))
    chosen = {name: rankings[name][:, first.index] for name in (OURS, WORDS, COMPLETION)}
    chosen["random"] = np.random.default_rng(seed).random((len(corpus.passages), len(first)))
    before = facts_known(corpus, whole)[first["query_id"]]
    lines = []
    for name, scores in chosen.items():
        top = np.unique(np.argsort(-scores, axis=0, kind="stable")[:each])
        kept = corpus.passages.drop(index=top)
        after = facts_known(corpus, trained(kept, f"without {name}", seed))[first["query_id"]]
        rise = (after - before).to_numpy()
        line = {"removed": f"top {each} for each of {len(first)} facts, by {name}"}
        line["passages"] = str(len(top))
        for kind in first["kind"].unique():
            of_kind = rise[(first["kind"] == kind).to_numpy()]
            line[f"{kind}: loss rises by"] = interval(of_kind, seed)
        line["all: loss rises by"] = interval(rise, seed)
        lines.append(line)
    return pd.DataFrame(lines)


def interval(values: np.ndarray, seed: int) -> str:
    """Return the mean with the 95 % interval of its bootstrap over facts."""
    draws = np.random.default_rng(seed).choice(values, (2000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{values.mean():.2f} ({low:.2f} to {high:.2f})"


def markdown(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def title(seed: int, corpus: Corpus) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return (
        f"{date.today().isoformat()}, seed {seed}, {len(corpus.passages)} passages, "
        f"{len(corpus.questions)} facts; Python {platform.python_version()}, {packages}\n"
    )


if __name__ == "__main__":
    main()

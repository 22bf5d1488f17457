"""Mislabel flags of fine-tuned models, side by side with peers that know where training started.

    python benchmarks/finetuned.py
    python benchmarks/finetuned.py --settings 'sms/*' --methods ours probe* --seeds 0

Models are pre-trained here, on rows that the audit never sees, and fine-tuned under wrong labels.
Weights and finished answers are kept under benchmarks/cache/finetuned, so that an interrupted run
goes on where it stopped. The table, and the same as JSON, go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import statistics
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cleanlab.rank import get_label_quality_scores
from finetuned_settings import SETTINGS, Finetuned, finetuned_model, make_finetuned
from mislabel_methods import Answer, Workbench, answer
from mislabel_ours import audited
from mislabel_report import code
from mislabel_rivals import RIVALS
from mislabel_training import Meter, replaced
from mislabels import measured
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dataaudit.models.initial import initial_of
from dataaudit.scoring.before_training import BeforeTraining

HERE = Path(__file__).parent
FOLDS, NEIGHBOURS = 5, 20
INVERSE_RIDGES = (0.003, 0.01, 0.03, 0.1)
Probabilities = NDArray[np.float64]


class Bench(Workbench):
    """The fine-tuned model, and what it saw before."""

    finetuned: Finetuned

    @classmethod
    def of(cls, finetuned: Finetuned, cache: Path) -> Bench:
        bench = cls(finetuned.problem, finetuned_model(finetuned, cache), cache)
        object.__setattr__(bench, "finetuned", finetuned)
        return bench

    def features(self, meter: Meter) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return what the initial model makes of rows and of trusted samples."""
        initial = initial_of(self.model, self.finetuned.initial)
        assert initial is not None
        before = BeforeTraining(self.model, initial)
        meter.attach(before.inner)
        with torch.inference_mode():
            rows, trusted = (
                torch.cat([before(batch) for batch in inputs.split(500)]).numpy()
                for inputs in (self.problem.inputs, self.problem.trusted)
            )
        return rows, trusted


Method = Callable[[Bench, Meter], Answer]


def ours(bench: Bench, meter: Meter, effort: str, initial: bool = True) -> Answer:
    return audited(bench, meter, effort, bench.finetuned.initial if initial else None)


def _probe() -> Any:
    # As strong a ridge as suits the trusted samples best would need them; this is the middle.
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))


def probe_folds(bench: Bench, meter: Meter, with_trusted: bool = False) -> Answer:
    """Five folds of a linear probe on the initial model's features, and cleanlab on its word."""
    rows, trusted = bench.features(meter)
    labels = bench.problem.labels
    if not with_trusted:
        found = cross_val_predict(_probe(), rows, labels, cv=FOLDS, method="predict_proba")
        return _scored(bench, meter, found)
    found = np.zeros((len(labels), len(bench.problem.classes)))
    folds = np.random.default_rng(bench.problem.seed).permutation(len(labels)) % FOLDS
    for fold in range(FOLDS):
        there = folds == fold
        inputs = np.concatenate([rows[~there], trusted])
        model = _probe().fit(inputs, np.r_[labels[~there], bench.problem.trusted_labels])
        found[there] = model.predict_proba(rows[there])
    return _scored(bench, meter, found)


def probe_of_trusted(bench: Bench, meter: Meter) -> Answer:
    """A linear probe of trusted samples alone, its ridge the best of four by their own folds."""
    rows, trusted = bench.features(meter)
    right = bench.problem.trusted_labels
    best: tuple[float, Any] | None = None
    for ridge in INVERSE_RIDGES:
        model = _probe().set_params(logisticregression__C=ridge)
        said = cross_val_predict(model, trusted, right, cv=FOLDS, method="predict_proba")
        likelihood = float(np.log(said[np.arange(len(right)), right] + 1e-12).sum())
        if best is None or likelihood > best[0]:
            best = likelihood, model
    assert best is not None
    return _scored(bench, meter, best[1].fit(trusted, right).predict_proba(rows))


def both_probes(bench: Bench, meter: Meter) -> Answer:
    """Both of the above, their log ratios with equal weight."""
    one, other = probe_folds(bench, meter, with_trusted=True), probe_of_trusted(bench, meter)
    return answer(bench, meter, one.score + other.score)


def neighbours(bench: Bench, meter: Meter) -> Answer:
    """The share of the nearest rows and trusted samples, in those features, with other labels."""
    rows, trusted = bench.features(meter)
    labels = bench.problem.labels
    inputs = np.concatenate([rows, trusted])
    inputs = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    known = np.r_[labels, bench.problem.trusted_labels]
    model = KNeighborsClassifier(NEIGHBOURS + 1).fit(inputs, known)
    nearest = model.kneighbors(inputs[: len(rows)], return_distance=False)
    own = nearest == np.arange(len(rows))[:, None]
    return answer(bench, meter, ((known[nearest] != labels[:, None]) & ~own).mean(axis=1))


def cleanlab_probe(bench: Bench, meter: Meter) -> Answer:
    """cleanlab's normalized margin on the same probe's word, out of fold."""
    rows, _ = bench.features(meter)
    labels = bench.problem.labels
    found = cross_val_predict(_probe(), rows, labels, cv=FOLDS, method="predict_proba")
    quality = get_label_quality_scores(labels, found, method="normalized_margin")
    return answer(bench, meter, 1 - quality, found)


def _scored(bench: Bench, meter: Meter, found: Probabilities) -> Answer:
    labels = bench.problem.labels
    given = np.log(found[np.arange(len(labels)), labels] + 1e-12)
    return answer(bench, meter, np.log1p(1e-12 - np.exp(given)) - given, found)


METHODS: dict[str, Method] = {
    "ours": functools.partial(ours, effort="standard"),
    "ours, quick": functools.partial(ours, effort="quick"),
    "ours, thorough": functools.partial(ours, effort="thorough"),
    "ours, no initial": functools.partial(ours, effort="standard", initial=False),
    "probe, 5-fold": probe_folds,
    "probe, 5-fold with trusted": functools.partial(probe_folds, with_trusted=True),
    "probe of trusted": probe_of_trusted,
    "both probes": both_probes,
    "cleanlab, probe": cleanlab_probe,
    "nearest neighbours": neighbours,
    **RIVALS,
}


def main() -> None:
    options = _options()
    if not (options.data / "cifar10n_train.parquet").exists():
        sys.exit(f"{options.data} has no benchmark data; name its folder with --data")
    torch.set_num_threads(1)
    code()  # The sources may be edited while this runs.
    results = []
    for setting in SETTINGS:
        if any(fnmatch(setting.name, pattern) for pattern in options.settings):
            for seed in options.seeds:
                results += _answers(setting, seed, options)
    text = table(results)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "finetuned.md").write_text(text, encoding="utf-8")
    content = json.dumps(results, indent=1) + "\n"
    (options.out / "finetuned.json").write_text(content, encoding="utf-8")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--methods", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE / "cache" / "finetuned")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--again", action="store_true", help="measure anew what is kept")
    parser.add_argument("--kept", action="store_true", help="only report what is kept")
    return parser.parse_args()


def _answers(setting: Any, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    bench: Bench | None = None
    for name, method in METHODS.items():
        if not any(fnmatch(name, pattern) for pattern in options.methods):
            continue
        file = f"{setting.name.replace('/', '_')}_{name.replace(',', '').replace(' ', '-')}"
        path = options.cache / "answers" / f"{file}_seed{seed}.json"
        if path.exists() and not options.again:
            results.append(json.loads(path.read_text(encoding="utf-8")))
            continue
        if options.kept:
            continue
        if bench is None:
            finetuned = make_finetuned(setting, seed, options.data, options.cache)
            bench = Bench.of(finetuned, options.cache)
        with Meter() as meter:
            said = method(bench, meter)
        result = {"setting": setting.name, "seed": seed, "method": name}
        result |= measured(bench.problem, said)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        result["measured"] = {"date": today, "code": code()}
        content = json.dumps(result)
        replaced(path, lambda file, content=content: file.write_text(content, encoding="utf-8"))
        results.append(result)
        print(f"{setting.name} seed {seed} {name}: {result['average_precision']:.3f}", flush=True)
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Return one Markdown table for each setting; medians over the seeds that ran."""
    parts = []
    for setting in dict.fromkeys(result["setting"] for result in results):
        lines = [
            f"## {setting}\n",
            "| method | seeds | AUROC | average precision | claimed - actual at 100 / 300 / 1,000 "
            "| rate in its interval | forward passes a row |",
            "|---|---|---|---|---|---|---|",
        ]
        own = [result for result in results if result["setting"] == setting]
        for method in dict.fromkeys(result["method"] for result in own):
            ran = [result for result in own if result["method"] == method]
            lines.append("| " + " | ".join([method, *_cells(ran)]) + " |")
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def _cells(ran: list[dict[str, Any]]) -> list[str]:
    gaps = [result["claimed_minus_actual"] for result in ran if "claimed_minus_actual" in result]
    inside = [result["rate_in_interval"] for result in ran if "rate_in_interval" in result]
    claims = [
        f"{statistics.median(gap[budget] for gap in gaps):+.2f}" for budget in (gaps or [{}])[0]
    ]
    passes = statistics.median(result["forward_passes"] / result["rows"] for result in ran)
    return [
        ", ".join(str(result["seed"]) for result in ran),
        *(
            f"{statistics.median(result[key] for result in ran):.3f}"
            for key in ("auroc", "average_precision")
        ),
        " / ".join(claims),
        f"{sum(inside)} of {len(inside)}" if inside else "",
        f"{passes:.1f}",
    ]


if __name__ == "__main__":
    main()

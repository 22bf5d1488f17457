"""Mislabel flags side by side with peers, on data whose wrong labels are known.

    python benchmarks/mislabels.py
    python benchmarks/mislabels.py --settings 'cifar/random_label/*' --methods ours loss --seeds 0

Trained models and finished answers are kept under benchmarks/cache, so that an interrupted run
goes on where it stopped; answers say when and by which code they were made. The table, the same as
JSON and a plot go to benchmarks/results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from influence_rivals import INFLUENCE_RIVALS
from mislabel_methods import Answer, Method, NotApplicableError, Workbench
from mislabel_ours import ours, ours_thorough
from mislabel_report import code, plot, table
from mislabel_rivals import RIVALS
from mislabel_settings import SETTINGS, Problem, Setting, make_problem
from mislabel_summary import summary
from mislabel_training import Meter, replaced, trained_model
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

HERE = Path(__file__).parent
METHODS: dict[str, Method] = (
    {"ours": ours, "ours, thorough": ours_thorough} | RIVALS | INFLUENCE_RIVALS
)


def main() -> None:
    options = _options()
    if not (options.data / "cifar10n_train.parquet").exists():
        sys.exit(
            f"{options.data} has no benchmark data (cifar10n_train.parquet and others); "
            "name their folder with --data"
        )
    torch.set_num_threads(options.threads)
    code()  # The sources may be edited while this runs.
    settings = _chosen(options.settings, {setting.name: setting for setting in SETTINGS})
    methods = _chosen(options.methods, METHODS)
    results = []
    for setting in settings.values():
        for seed in options.seeds:
            results += _answers(setting, seed, methods, options)
    options.out.mkdir(parents=True, exist_ok=True)
    text = f"{summary(results)}\n{table(results)}"
    (options.out / "mislabels.md").write_text(text, encoding="utf-8")
    (options.out / "mislabels.json").write_text(
        json.dumps(results, indent=1) + "\n", encoding="utf-8"
    )
    plot(results, options.out / "mislabels.svg")
    print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--methods", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE / "cache" / "mislabels")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--again", action="store_true", help="measure anew what is kept")
    parser.add_argument("--kept", action="store_true", help="only report what is kept")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def _chosen(patterns: list[str], known: dict[str, Any]) -> dict[str, Any]:
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in known):
            sys.exit(f"nothing is called {pattern}; there are: {', '.join(known)}")
    return {
        name: value
        for name, value in known.items()
        if any(fnmatch(name, pattern) for pattern in patterns)
    }


def _answers(
    setting: Setting, seed: int, methods: dict[str, Method], options: argparse.Namespace
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    bench: Workbench | None = None
    for name, method in methods.items():
        path = _result_path(options.cache, setting, seed, name)
        if path.exists() and not options.again:
            results.append(json.loads(path.read_text(encoding="utf-8")))
            continue
        if options.kept:
            continue
        if bench is None:
            bench = workbench(setting, seed, options)
        result = {"setting": setting.name, "seed": seed, "method": name}
        try:
            with Meter() as meter:
                answer = method(bench, meter)
        except NotApplicableError as reason:
            results.append(result | {"not_run": str(reason)})
            continue
        result |= measured(bench.problem, answer)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        result["measured"] = {"date": today, "code": code()}
        text = json.dumps(result)
        replaced(path, lambda file, text=text: file.write_text(text, encoding="utf-8"))
        results.append(result)
        print(_line(result), file=sys.stderr, flush=True)
    return results


def _result_path(cache: Path, setting: Setting, seed: int, method: str) -> Path:
    parts = [*setting.name.split("/"), method.replace(",", "").replace(" ", "-"), f"seed{seed}"]
    return cache / "answers" / ("_".join(parts) + ".json")


def workbench(setting: Setting, seed: int, options: argparse.Namespace) -> Workbench:
    """Return a setting's data with its trained model, `options.data` and `.cache` being folders."""
    models = options.cache / "models"
    models.mkdir(parents=True, exist_ok=True)
    problem = make_problem(setting, seed, options.data)
    if problem.training is not None:
        return Workbench(problem, trained_model(problem, models), models)
    encoder = make_column_transformer(
        (
            OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
            ),
            make_column_selector(dtype_exclude="number"),
        ),
        remainder="passthrough",
    )
    # Trained anew each time: it takes a second, and there is no safe file format for it.
    model = make_pipeline(encoder, HistGradientBoostingClassifier(random_state=seed))
    rows = problem.train
    return Workbench(problem, model.fit(rows.drop(columns="label"), rows["label"]), models)


def measured(problem: Problem, answer: Answer) -> dict[str, Any]:
    """Compare an answer with the truth; where nothing is wrong, only what is flagged counts."""
    wrong, order = problem.wrong, np.argsort(-answer.score, kind="stable")
    result: dict[str, Any] = {
        "rows": len(wrong),
        "wrong": int(wrong.sum()),
        "seconds": answer.cost.seconds,
        "forward_passes": _number(answer.cost.forward_passes),
        "claims": answer.claims,
    }
    if answer.flagged is not None:
        result["flagged"] = float(answer.flagged.mean())
    if "precision" in answer.claims:
        result["claimed_minus_actual"] = {
            budget: claimed - float(wrong[order[: int(budget)]].mean())
            for budget, claimed in answer.claims["precision"].items()
        }
        _, low, high = answer.claims["noise_rate"]
        result["rate_in_interval"] = bool(low <= wrong.mean() <= high)
    if wrong.any():
        result["auroc"] = float(roc_auc_score(wrong, answer.score))
        result["average_precision"] = float(average_precision_score(wrong, answer.score))
        result["precision_at_k"] = float(wrong[order[: wrong.sum()]].mean())
        if answer.flagged is not None and answer.flagged.any():
            result["precision"] = float(wrong[answer.flagged].mean())
            result["recall"] = float(answer.flagged[wrong].mean())
        if answer.suggested is not None:
            right = answer.suggested == problem.truth
            result["suggested_right"] = float(right[wrong].mean())
    return result


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _line(result: dict[str, Any]) -> str:
    shown = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in result.items()
        if name not in ("setting", "seed", "method", "claims", "rows", "wrong")
    }
    return f"{result['setting']} seed {result['seed']} {result['method']}: {shown}"


if __name__ == "__main__":
    main()

"""How well wrong labels are ranked when the model learns again in larger batches.

    python benchmarks/learning_batches.py
    python benchmarks/learning_batches.py --settings 'cifar/random_label/memorized/200'
    python benchmarks/learning_batches.py --settings --drawn overlapping:100000 --batches 64 256

An accelerator idles with 64 rows a step. Larger batches see the same rows in fewer steps; this asks
which learning rate then ranks as well. Settings, trained models and their cache are those of
mislabels.py; drawn data (`kind:rows`, 400 trusted) those of whole_audit.py, 10 % of the labels
drawn anew. A line for each: average precision, area under the ROC curve, claimed minus actual
precision of the first 100 and 300 rows. Nothing of it needs an accelerator.
"""

from __future__ import annotations

import argparse
import itertools
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import whole_audit_data
from mislabel_methods import Workbench
from mislabel_ours import audited
from mislabel_settings import SETTINGS, Problem, Setting
from mislabel_training import Meter
from mislabels import measured, workbench
from whole_audit import trained

HERE = Path(__file__).parent
USUAL = ("cifar/random_label/memorized/200",)
DRAWN = ("overlapping:30000", "picture:10000")
NOISE = 0.1
TRUSTED = 400


def drawn(kind: str, rows: str, seed: int, cache: Path) -> Workbench:
    """Return drawn data with a model trained on them."""
    torch.manual_seed(seed)
    make = whole_audit_data.KINDS[kind]
    train = pd.concat(whole_audit_data.rows(kind, int(rows), seed, NOISE), ignore_index=True)
    held_out = pd.concat(whole_audit_data.rows(kind, TRUSTED, seed + 1), ignore_index=True)
    truth = train.pop("truth").to_numpy()
    trusted = make.preprocess(held_out := held_out.drop(columns="truth"))
    inputs, labels = make.preprocess(train), torch.tensor(train["label"].to_numpy())
    problem = Problem(
        Setting(f"{kind}:{rows}", "drawn", "trained", TRUSTED),
        seed,
        train,
        held_out,
        truth,
        make.preprocess,
        [str(name) for name in range(whole_audit_data.CLASSES)],
        inputs,
        trusted,
        (trusted, torch.tensor(held_out["label"].to_numpy())),
        None,
    )
    return Workbench(problem, trained(kind, inputs, labels), cache)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--settings", nargs="*", default=USUAL, help="patterns of names")
    parser.add_argument("--drawn", nargs="*", default=DRAWN, help="kinds and numbers of rows")
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--rates", nargs="+", type=float, default=[4e-3, 8e-3])
    parser.add_argument("--seeds", nargs="+", type=int, default=[10])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE / "cache" / "mislabels")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chosen = [
        partial(workbench, setting, options=options)
        for setting in SETTINGS
        if any(fnmatch(setting.name, pattern) for pattern in options.settings)
    ]
    chosen += [partial(drawn, *name.split(":"), cache=options.cache) for name in options.drawn]
    print("| setting | seed | batch | rate | average precision | AUROC | claims off | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for made, seed in itertools.product(chosen, options.seeds):
        bench = made(seed=seed)
        for batch, rate in itertools.product(options.batches, options.rates):
            mirror = {"batch_size": batch, "learning_rate": rate}
            with Meter() as meter:
                answer = audited(bench, meter, "standard", mirror=mirror)
            found = measured(bench.problem, answer)
            off = found["claimed_minus_actual"]
            cells = [
                bench.problem.setting.name,
                seed,
                batch,
                f"{rate:g}",
                f"{found['average_precision']:.3f}",
                f"{found['auroc']:.3f}",
                f"{off['100']:+.2f} / {off['300']:+.2f}",
                round(found["seconds"]),
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()

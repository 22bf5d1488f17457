"""What does a whole audit cost, stage by stage, in bare passes over its rows?

    python benchmarks/whole_audit.py
    python benchmarks/whole_audit.py --cells table:300000 wide:100000 --again
    python benchmarks/whole_audit.py --cells table:300000 --without-suspects
    python benchmarks/whole_audit.py --cells text:10000 --folds --datalab
    python benchmarks/whole_audit.py --cells wide:30000 --epochs 60 --effort quick

Each cell is a kind of rows and their number: an audit of labels and leaks with its report, from a
Parquet file of groups of 10,000 rows, with 1,000 trusted samples and 2,000 suspects, half of them
copies of training rows; `table`, a perceptron of 1,700 parameters; `overlapping`, the same on
classes that overlap; `wide`, one of 110,000; `text`; `picture`, JPEGs of 32 x 32; `photo`, of
224 x 224. A bare pass reads, preprocesses and runs the same rows once, in the same batches; it is
the median of three before the audit, in the same process. Times are CPU seconds of one thread of
torch, so that neighbours on a shared machine matter little; memory is the most that the process
held in a stage (VmHWM, which is set back before each), and what of it was its own (RssAnon, asked
for all the time): pages of mapped files are given back when others need the memory. "Counted" are
the passes that the plan counts: what is learned, at three passes a row, and one pass for each model
that scores. The last column is the average precision of the ranking, where a label is wrong that is
not the one that the row was drawn for: 4 % of the rows. For `overlapping`, the best possible is
given, too: that of the probabilities by which the rows were drawn.

With `--folds`, cleanlab's way on the same rows and model: five models, each learned from four
fifths as the audited one was, in a process of its own, inputs preprocessed once and held in memory.
With `--datalab`, what cleanlab's Datalab does beyond them at its defaults: rows and suspects as one
data set, what the folds say of them, and what the audited model's last layer takes in as features
(`pip install cleanlab[datalab]`). The processes that it starts count.

Models are learned in 5 epochs, or in as many as `--epochs` says; `--effort` is that of the audit.

A cell that was measured is kept in benchmarks/results/whole_audit.json and not run again, unless
`--again` is given; the table goes to whole_audit.md beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import torch
import whole_audit_data as data
from memory_meter import Held, peak_kilobytes
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import nn

from dataaudit.config import load_config
from dataaudit.inputs import Loaded
from dataaudit.models.trained import forward
from dataaudit.run_directory.manifest import Clock
from dataaudit.scoring.prefetch import prefetched
from dataaudit.stages import auditing
from dataaudit.stages.loading import load
from dataaudit.stages.scoring import Scores

HERE = Path(__file__).parent
CELLS = ("table:10000", "table:100000", "wide:10000", "text:10000", "picture:10000")
TRUSTED, SUSPECTS = 1000, 2000
EPOCHS, BATCH_SIZE = 5, 128
FOLDS = 5
AUDIT = """
name: whole audit
model: {factory: "whole_audit_data:build", weights: model.safetensors}
preprocess: "whole_audit_data:preprocess"
train: {path: train.parquet, label: label}
held_out: {path: held_out.parquet, label: label}
suspects: {path: suspects.parquet, label: label}
"""


def main() -> None:
    options = _options()
    if options.inside:
        print(json.dumps(PARTS[options.part](options.inside)))
        return
    parts = [part for part in RIVALS if getattr(options, part)] or ["audit"]
    kept = HERE / "results" / "whole_audit.json"
    results = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for cell, part in itertools.product(options.cells, parts):
        name = _name(cell, options)
        if part in results.get(name, {}) and not options.again:
            continue
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            kind, _, rows = cell.partition(":")
            write(Path(folder), kind, int(rows), options.epochs)
            settings = AUDIT.partition("suspects:")[0] if options.without_suspects else AUDIT
            if options.effort:
                settings += f"mirror: {{effort: {options.effort}}}\n"
            (Path(folder) / "audit.yaml").write_text(settings, "utf-8")
            command = [sys.executable, __file__, "--inside", folder, "--part", part]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        found["date"] = datetime.now(UTC).date().isoformat()
        results.setdefault(name, {})[part] = found
        kept.write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    text = table(results)
    kept.with_suffix(".md").write_text(text, "utf-8")
    print(text)


def _name(cell: str, options: argparse.Namespace) -> str:
    """Return what a cell is kept under."""
    parts = [cell]
    if options.without_suspects:
        parts.append("without suspects")
    if options.epochs != EPOCHS:
        parts.append(f"after {options.epochs} epochs")
    if options.effort:
        parts.append(options.effort)
    return " ".join(parts)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", nargs="+", default=list(CELLS), metavar="KIND:ROWS")
    parser.add_argument("--folds", action="store_true", help="cleanlab's five folds instead")
    parser.add_argument("--datalab", action="store_true", help="cleanlab's Datalab instead")
    parser.add_argument("--without-suspects", action="store_true", help="labels alone")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="in which models are learned")
    parser.add_argument("--effort", choices=("quick", "standard", "thorough"))
    parser.add_argument("--again", action="store_true", help="measure cells that are kept, too")
    parser.add_argument("--work", type=Path, help="where data and run directory are written")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    return parser.parse_args()


def write(folder: Path, kind: str, rows: int, epochs: int = EPOCHS) -> None:
    """Write the data, a trained model and `audit.yaml`."""
    shutil.copy(data.__file__, folder)
    (folder / "kind.txt").write_text(kind, "utf-8")
    (folder / "epochs.txt").write_text(str(epochs), "utf-8")
    (folder / "audit.yaml").write_text(AUDIT, "utf-8")
    truth: list[pd.Series] = []
    _write_table(folder / "train.parquet", data.rows(kind, rows, 0, data.NOISE), truth)
    np.save(folder / "truth.npy", np.concatenate(truth))
    _write_table(folder / "held_out.parquet", data.rows(kind, TRUSTED, 1))
    fresh = next(data.rows(kind, SUSPECTS // 2, 2))
    copies = next(data.rows(kind, rows, 0, data.NOISE)).head(SUSPECTS // 2)
    _write_table(folder / "suspects.parquet", iter([pd.concat([fresh, copies])]))
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs, labels = _tensors(folder, kind)
    module = trained(kind, inputs, labels, epochs)
    from safetensors.torch import save_file

    save_file(module.state_dict(), folder / "model.safetensors")


def _write_table(
    path: Path, frames: Iterator[pd.DataFrame], truth: list[pd.Series] | None = None
) -> None:
    """Write rows without the column `truth`, which goes to the list."""
    kept: list[pd.Series] = [] if truth is None else truth

    def tables() -> Iterator[pa.Table]:
        for frame in frames:
            kept.append(frame.pop("truth"))
            yield pa.Table.from_pandas(frame, preserve_index=False)

    parts = tables()
    first = next(parts)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            writer.write_table(part)


def _tensors(folder: Path, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    inputs, labels = [], []
    file = pyarrow.parquet.ParquetFile(folder / "train.parquet")
    for batch in file.iter_batches(10_000):
        frame = batch.to_pandas()
        inputs.append(data.KINDS[kind].preprocess(frame))
        labels.append(torch.tensor(frame["label"].to_numpy()))
    return torch.cat(inputs), torch.cat(labels)


def trained(kind: str, inputs: torch.Tensor, labels: torch.Tensor, epochs: int) -> nn.Module:
    """Return a model that learned the rows."""
    module = data.KINDS[kind].module()
    optimizer = torch.optim.AdamW(module.parameters(), 1e-3)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels)).split(BATCH_SIZE):
            loss = nn.functional.cross_entropy(module(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return module.eval()


class MeteredClock(Clock):
    """Takes CPU seconds and the most memory of each stage."""

    peaks: ClassVar[dict[str, int]] = {}
    own: ClassVar[dict[str, int]] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        start = time.process_time()
        with super().stage(name), Held() as held:
            yield
        self.own[name] = held.most // 1024
        self.seconds[name] = round(time.process_time() - start, 3)
        self.peaks[name] = peak_kilobytes() // 1024


def audit(folder: Path) -> dict[str, Any]:
    """Measure bare passes, then the audit."""
    torch.set_num_threads(1)
    config = load_config(folder / "audit.yaml")
    loaded = load(config, folder)
    bare(loaded, config.batch_size)
    once = statistics.median(bare(loaded, config.batch_size) for _ in range(3))
    auditing.Clock = MeteredClock  # type: ignore[misc]
    models = []
    own_score = auditing.score

    def score(*inputs: Any) -> Scores:
        scores = own_score(*inputs)
        models.append(next(iter(scores.train)).losses.shape[1])
        return scores

    auditing.score = score
    start = time.process_time()
    result = auditing.run_file(folder / "audit.yaml", folder / "audit")
    whole = time.process_time() - start
    seconds = json.loads((folder / "audit" / "manifest.json").read_text("utf-8"))["timings_seconds"]
    steps = result.report.method.settings["mirror.cost_in_forward_passes_of_one_row"]
    table = result.mislabels.sort_values("row_id")
    wrong = np.load(folder / "truth.npy") != loaded.train.label_values()
    found = {
        "average_precision": round(float(average_precision_score(wrong, table["score"])), 4),
    }
    if (folder / "kind.txt").read_text("utf-8") == "overlapping":
        odds = data.overlapping_odds(pd.read_parquet(folder / "train.parquet"))
        found["best_average_precision"] = round(float(average_precision_score(wrong, -odds)), 4)
    return found | {
        "rows": len(loaded.train),
        "parameters": sum(value.numel() for value in loaded.model.module.parameters()),
        "bare": round(once, 3),
        "counted": round(steps / len(loaded.train) + models[0], 2),
        "whole": round(whole, 2),
        "seconds": seconds | {"publish": round(whole - sum(seconds.values()), 3)},
        "peak_mib": MeteredClock.peaks,
        "own_mib": MeteredClock.own,
        "flagged": int(table["flagged"].sum()),
    }


def bare(loaded: Loaded, batch_size: int) -> float:
    """Return the CPU seconds of reading, preprocessing and running all rows once."""
    start = time.process_time()
    samples, model = loaded.train, loaded.model
    made = ((batch, model.inputs(batch, samples)) for batch in samples.batches(batch_size))
    with torch.inference_mode():
        for _, inputs in prefetched(made):
            forward(model.module, inputs)
    return time.process_time() - start


def folds(folder: Path) -> dict[str, Any]:
    """Measure five folds and cleanlab's judgement."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    torch.set_num_threads(1)
    start = time.process_time()
    outputs, given = _of_other_folds(folder)
    issues = find_label_issues(given, outputs, n_jobs=1)
    get_label_quality_scores(given, outputs)
    return {"seconds": round(time.process_time() - start, 2), "flagged": int(issues.sum())}


def _of_other_folds(folder: Path) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return what models say that were learned from other folds, `[rows, C]`, and labels."""
    torch.manual_seed(0)
    kind = (folder / "kind.txt").read_text("utf-8")
    epochs = int((folder / "epochs.txt").read_text("utf-8"))
    inputs, labels = _tensors(folder, kind)
    parts = torch.randperm(len(labels)).chunk(FOLDS)
    outputs = np.zeros((len(labels), data.CLASSES))
    for number, part in enumerate(parts):
        others = torch.cat([other for place, other in enumerate(parts) if place != number])
        module = trained(kind, inputs[others], labels[others], epochs)
        outputs[part] = _said(module, inputs[part])[0]
    return outputs, labels.numpy()


def _said(
    module: nn.Module, inputs: torch.Tensor
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return probabilities `[rows, C]`, and what the last layer took in, `[rows, width]`."""
    *_, last = (layer for layer in module.modules() if isinstance(layer, nn.Linear))
    taken: list[torch.Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, given: taken.append(given[0]))
    with torch.inference_mode():
        said = torch.cat([module(part).softmax(dim=1) for part in torch.split(inputs, 1000)])
    hook.remove()
    return said.numpy(), torch.cat(taken).numpy()


def datalab(folder: Path) -> dict[str, Any]:
    """Measure what Datalab does of rows and suspects once five folds are known."""
    from cleanlab import Datalab
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    kind = (folder / "kind.txt").read_text("utf-8")
    module = data.KINDS[kind].module().eval()
    module.load_state_dict(load_file(folder / "model.safetensors"))
    outputs, given = _of_other_folds(folder)
    suspects = pd.read_parquet(folder / "suspects.parquet")
    start = _with_children()
    rows = _said(module, _tensors(folder, kind)[0])[1]
    said, others = _said(module, data.KINDS[kind].preprocess(suspects))
    lab = Datalab({"label": [*given, *suspects["label"]]}, label_name="label", verbosity=0)
    lab.find_issues(pred_probs=np.concatenate([outputs, said]), features=np.vstack([rows, others]))
    issues = lab.get_issues()
    pairs = issues["is_near_duplicate_issue"].to_numpy()[len(rows) :]
    return {
        "seconds": round(_with_children() - start, 2),
        "flagged": int(issues["is_label_issue"].to_numpy()[: len(rows)].sum()),
        "copies_found": int(pairs[len(pairs) // 2 :].sum()),
        "others_taken_for_copies": int(pairs[: len(pairs) // 2].sum()),
        "peak_mib": peak_kilobytes() // 1024,
    }


def _with_children() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + others.ru_utime + others.ru_stime


RIVALS: dict[str, Callable[[Path], dict[str, Any]]] = {"folds": folds, "datalab": datalab}
PARTS = {"audit": audit, **RIVALS}


def table(results: dict[str, Any]) -> str:
    """Return the results as a table in Markdown, in bare passes."""
    stages = ["load", "mirror", "score", "flag mislabels", "flag contamination", "checks"]
    stages += ["report", "publish"]
    heads = [
        "cell",
        "bare pass, s",
        "whole",
        "counted",
        *stages,
        "most memory, MiB",
        "its own",
        "5 folds",
        "Datalab beyond them",
        "precision",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for cell, found in results.items():
        if (whole := found.get("audit")) is None:
            continue
        seconds = whole["seconds"]
        passes = [
            f"{seconds[stage] / whole['bare']:.1f}" if stage in seconds else "" for stage in stages
        ]
        others = [found.get(part) for part in RIVALS]
        values = [
            cell,
            f"{whole['bare']:.2f}",
            f"{whole['whole'] / whole['bare']:.1f}",
            f"{whole['counted']:.1f}",
            *passes,
            str(max(whole["peak_mib"].values())),
            str(max(whole["own_mib"].values())) if "own_mib" in whole else "",
            *(f"{other['seconds'] / whole['bare']:.1f}" if other else "" for other in others),
            _precision(whole),
        ]
        lines.append("| " + " | ".join(values) + " |")
    return "\n".join([*lines, ""])


def _precision(whole: dict[str, Any]) -> str:
    names = ("average_precision", "best_average_precision")
    return " of ".join(f"{whole[name]:.3f}" for name in names if name in whole)


if __name__ == "__main__":
    main()

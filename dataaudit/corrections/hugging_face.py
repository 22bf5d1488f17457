"""Other labels in a folder written by Hugging Face `save_to_disk`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from dataaudit.corrections.arrow_ipc import write_arrow
from dataaudit.datasets.arrow_ipc import ArrowFiles
from dataaudit.datasets.changes import Changes
from dataaudit.datasets.hugging_face import saved_class_names
from dataaudit.datasets.samples import Samples

# What `datasets` computed from the rows and left beside them; it would be found again by name.
_CACHE = "cache-*.arrow"


def write_hugging_face(
    samples: Samples, source: ArrowFiles, changes: Changes, target: Path
) -> None:
    """Write the folder with other labels.

    Its fingerprint changes: `datasets` looks up what it computed before by that name, and would
    otherwise hand out results of the old labels.
    """
    assert samples.folder is not None
    folder = samples.folder
    shutil.copytree(folder, target, ignore=_ignored(source))
    targets = [target / path.relative_to(folder.resolve()) for path in source.paths]
    stored = saved_class_names(folder, str(samples.label_column), source.description)
    write_arrow(samples, source, changes, targets, stored)
    state = json.loads((folder / "state.json").read_bytes())
    made_of = json.dumps([samples.sha256, changes.positions.tolist(), changes.labels.tolist()])
    state["_fingerprint"] = hashlib.sha256(made_of.encode()).hexdigest()[:16]
    text = json.dumps(state, indent=2, sort_keys=True)
    (target / "state.json").write_text(text, encoding="utf-8")


def _ignored(source: ArrowFiles) -> Callable[[str, list[str]], set[str]]:
    rewritten = {path.name for path in source.paths}
    cache = shutil.ignore_patterns(_CACHE)
    return lambda folder, names: {*cache(folder, names), *(rewritten & set(names))}

"""Several Ray nodes on this machine; one is killed while rows are scored and leaks are searched."""

import importlib.util
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from dataaudit.datasets.load import open_samples
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.likeness import search
from dataaudit.likeness.descriptors import ImageDescriptors
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.parts import parts_done_by
from dataaudit.models.trained import TrainedModel
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring import local
from dataaudit.scoring.blocks import ScoreBlocks
from dataaudit.scoring.cluster import Cluster
from dataaudit.scoring.local import LocalEngine
from dataaudit.scoring.ray import RayEngine
from dataaudit.tasks import Classification

HAS_RAY = importlib.util.find_spec("ray") is not None
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not HAS_RAY, reason="NOT TESTED ON RAY: it is not installed"),
]


class Nodes:
    """A head node without workers, and three that have room for one each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster as RayNodes

        self.nodes = RayNodes(initialize_head=True, head_node_args={"num_cpus": 0})
        self.others: list[Any] = [self.nodes.add_node(num_cpus=1) for _ in range(3)]

    def kill(self, generator: random.Random) -> None:
        """Kill one of them."""
        victim = self.others.pop(generator.randrange(len(self.others)))
        self.nodes.remove_node(victim, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    import ray

    made = Nodes()
    ray.init(
        address=made.nodes.address,
        log_to_driver=False,
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
    yield made
    ray.shutdown()
    made.nodes.shutdown()


def slowly(frame: pd.DataFrame) -> torch.Tensor:
    import time

    time.sleep(0.02)
    return torch.tensor(frame[["a", "b", "c"]].to_numpy()).float()


def test_a_killed_node_costs_only_its_blocks(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", 32)
    monkeypatch.setattr(search, "FIRST_BLOCK", 20)
    monkeypatch.setattr(search, "ROWS_PER_BLOCK", 20)
    torch.manual_seed(0)
    generator, chance = np.random.default_rng(0), random.Random(0)
    frame = pd.DataFrame(generator.normal(size=(960, 3)), columns=["a", "b", "c"])
    frame.assign(label=np.arange(960) % 4).to_parquet(tmp_path / "rows.parquet")
    samples = open_samples(tmp_path / "rows.parquet", ReadSettings("train", "label"))
    trained = TrainedModel(nn.Linear(3, 4).eval(), slowly, "small")
    expected = list(LocalEngine(16).score(trained, Classification(4), samples, []))
    pictures = generator.integers(0, 256, (300, 32, 32, 1), dtype=np.uint8)
    rows = Matcher(ImageDescriptors(pictures))
    suspects = rows.rows.take(np.arange(100))
    alike = rows.match(suspects)

    found = ScoreBlocks(Steps(tmp_path / "blocks", tie="one"))
    with Cluster(2, "auto") as cluster:
        killer = threading.Thread(target=when_begun, args=(found.folder, nodes, chance))
        killer.start()
        assert (
            list(RayEngine(16, cluster).score(trained, Classification(4), samples, [], into=found))
            == []
        )
        killer.join()
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.start == theirs.start
            np.testing.assert_allclose(mine.losses, theirs.losses, rtol=1e-6)
        # Two workers and one node left for them.
        killer = threading.Thread(target=nodes.kill, args=(chance,))
        killer.start()
        with parts_done_by(cluster.spread):
            again = rows.match(suspects)
        killer.join()
    np.testing.assert_array_equal(again.rows, alike.rows)
    np.testing.assert_array_equal(again.score, alike.score)


def when_begun(folder: Path, nodes: Nodes, chance: random.Random) -> None:
    """Kill a node when some blocks are there, and most are not."""
    moment = chance.randrange(2, 10)
    while len(list(folder.glob("*.step"))) < moment:
        threading.Event().wait(0.02)
    nodes.kill(chance)

"""The Ray engine gives the scores of the local one, also when workers are killed on the way."""

import importlib.util
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CommandLine, Project
from torch import nn

from dataaudit.datasets.load import open_samples, samples_from_object
from dataaudit.datasets.read_settings import ReadSettings
from dataaudit.datasets.samples import Samples
from dataaudit.errors import ConfigError, DataError, EngineError
from dataaudit.likeness import cells, matching, search, small_images
from dataaudit.likeness.descriptors import Descriptors, ImageDescriptors, SmallImageDescriptors
from dataaudit.likeness.matching import Matcher
from dataaudit.likeness.parts import parts_done_by
from dataaudit.likeness.tables import describe_table
from dataaudit.likeness.texts import describe_texts
from dataaudit.mirror import learners
from dataaudit.mirror.finite import FiniteSettings, Part, finite_mirror
from dataaudit.mirror.learners import Learners, quicker_there
from dataaudit.models.trained import TrainedModel
from dataaudit.progress import rows_run
from dataaudit.run_directory.shared import Token
from dataaudit.run_directory.steps import Steps
from dataaudit.scoring import cluster as cluster_module
from dataaudit.scoring import local
from dataaudit.scoring.blocks import ScoreBlock, ScoreBlocks
from dataaudit.scoring.cluster import Cluster, InOrder
from dataaudit.scoring.local import LocalEngine
from dataaudit.scoring.perturbation import Perturbation
from dataaudit.scoring.ray import RayEngine
from dataaudit.scoring.stretches import Reader, Stretch
from dataaudit.tasks import Classification
from tests.test_learners import OfWords

HAS_RAY = importlib.util.find_spec("ray") is not None

pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif(not HAS_RAY, reason="NOT TESTED ON RAY: it is not installed"),
]

CLUSTER = Cluster(workers=2)
ENGINE = RayEngine(16, CLUSTER)


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """Start Ray and two workers once; every engine here uses them."""
    if not HAS_RAY:
        yield
        return
    import ray

    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        log_to_driver=False,
        # Without what pytest put on the path, as a cluster's nodes are.
        runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
    )
    with CLUSTER:
        yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_ROWS_PER_BLOCK", 32)


def slowly(frame: pd.DataFrame) -> torch.Tensor:
    time.sleep(0.02)
    return torch.tensor(frame[["a", "b", "c"]].to_numpy()).float()


def model() -> TrainedModel:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 4)).eval()
    return TrainedModel(module, slowly, "small")


def perturbations(trained: TrainedModel) -> list[Perturbation]:
    return [
        Perturbation({name: value + 0.1 for name, value in trained.module.named_parameters()}),
        Perturbation({}),
    ]


def rows(count: int = 320) -> Samples:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(generator.normal(size=(count, 3)), columns=["a", "b", "c"])
    frame["label"] = np.arange(count) % 4
    return samples_from_object(frame, ReadSettings("train", "label"))


def assert_same(found: list[ScoreBlock], expected: list[ScoreBlock]) -> None:
    found = sorted(found, key=lambda block: block.start)
    assert [block.start for block in found] == [block.start for block in expected]
    for mine, theirs in zip(found, expected, strict=True):
        for column in ("losses", "predictions", "features"):
            np.testing.assert_allclose(
                getattr(mine, column), getattr(theirs, column), rtol=1e-6, atol=1e-9
            )


def test_scores_are_those_of_the_local_engine() -> None:
    trained, samples = model(), rows()
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))
    assert_same(list(ENGINE.score(*arguments)), expected)
    rest = list(ENGINE.score(*arguments, finished={0, 64}))
    assert_same(rest, [block for block in expected if block.start not in (0, 64)])


def in_a_file(folder: Path) -> Samples:
    path = folder / "rows.parquet"
    frame = rows().source.take(range(320))
    frame.to_parquet(path, row_group_size=100)
    return open_samples(path, ReadSettings("train", "label"))


def test_workers_that_see_the_file_read_it_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, samples = model(), in_a_file(tmp_path)
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))

    def sent(self: Reader, stretch: Stretch) -> None:
        raise AssertionError("a row was read here")

    monkeypatch.setattr(Reader, "read", sent)
    assert_same(list(ENGINE.score(*arguments, finished={64})), [
        block for block in expected if block.start != 64
    ])  # fmt: skip


def test_workers_that_see_the_run_directory_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, samples = model(), rows()
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = ScoreBlocks(Steps(tmp_path / "local", tie="both"))
    for block in LocalEngine(16).score(*arguments):
        expected.write(block)
    found = ScoreBlocks(Steps(tmp_path / "ray", tie="both"))
    before = rows_run()
    assert list(ENGINE.score(*arguments, finished={64}, into=found)) == []
    assert rows_run() - before == 3 * (320 - 32)
    (tmp_path / "local" / f"{64:012d}.step").unlink()
    assert_same(list(found), list(expected))
    # Nothing else is left there, such as the token.
    names = [path.name for path in (tmp_path / "local").iterdir()]
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == sorted(names)

    # Another folder of the same name, on another machine, say.
    monkeypatch.setattr(Token, "is_answered", lambda self, answer: False)
    elsewhere = ScoreBlocks(Steps(tmp_path / "elsewhere", tie="both"))
    blocks = list(ENGINE.score(*arguments, finished={64}, into=elsewhere))
    assert_same(blocks, list(expected))
    assert list(elsewhere) == []


def test_a_token_is_seen_only_where_it_lies(tmp_path: Path) -> None:
    token = Token.lay(tmp_path / "here")
    answer = token.answer()
    assert answer is not None
    assert token.is_answered(answer)
    assert not token.is_answered(answer)
    other = Token(tmp_path / "there" / token.path.name, token.content)
    assert (other.is_here(), other.answer()) == (False, None)
    other.path.parent.mkdir()
    other.path.write_text("another one", encoding="ascii")
    assert (other.is_here(), other.answer()) == (False, None)


def test_rows_are_sent_to_workers_that_do_not_see_the_file(tmp_path: Path) -> None:
    trained, samples = model(), in_a_file(tmp_path)
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))
    # Only this process has the rows now, in a file without a name.
    here = samples.quick_to_take(tmp_path)
    (tmp_path / "rows.parquet").unlink()
    assert_same(list(ENGINE.score(*arguments[:2], here, arguments[3])), expected)


def workers() -> list[int]:
    """Return the process ids of the actors below this process."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            title = (entry / "cmdline").read_bytes()
            if title.startswith(b"ray::_Worker") and os.getpid() in ancestors(int(entry.name)):
                found.append(int(entry.name))
        except (OSError, ValueError):
            continue
    return found


def ancestors(process: int) -> list[int]:
    chain = []
    while process > 1:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        process = int(stat.rpartition(")")[2].split()[1])
        chain.append(process)
    return chain


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_worker_costs_only_its_block(seed: int) -> None:
    trained, samples = model(), rows(1000)
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))
    generator = random.Random(seed)
    moment = generator.randrange(2, 20)
    found = []
    killed = 0
    for number, block in enumerate(ENGINE.score(*arguments)):
        found.append(block)
        if number == moment:
            victim = generator.choice(workers())
            os.kill(victim, signal.SIGKILL)
            killed += 1
    assert killed == 1
    assert_same(found, expected)


def steps_of(count: int, after: int = -1) -> Iterator[list[Part]]:
    """Yield the rows of each step, in two parts of different widths; a worker is killed on the way.

    Neither the 37 rows nor the 5 are a multiple of the pieces.
    """
    generator = torch.Generator().manual_seed(3)
    for step in range(count):
        if step == after:
            os.kill(workers()[0], signal.SIGKILL)
        yield [
            (torch.randn(rows, length, 6, generator=generator), torch.arange(rows) % 4)
            for rows, length in ((37, 3), (5, 2))
        ]


LEARNING = FiniteSettings(steps=12, schedule="one cycle", average=0.5, dropout=True, seed=5)


def learned_by(number: int, monkeypatch: pytest.MonkeyPatch, after: int = -1) -> list[torch.Tensor]:
    """Return the weights that some workers learn."""
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    monkeypatch.setattr(learners, "quicker_there", lambda *_: True)
    monkeypatch.setattr(CLUSTER, "workers", number)
    elsewhere = Learners(CLUSTER)
    steps = steps_of(LEARNING.steps, after)
    found = finite_mirror(
        OfWords().eval(), Classification(4), steps, LEARNING, shown=False, elsewhere=elsewhere
    )
    assert 1 <= elsewhere.workers <= number
    return list(found.tensors.values())


def test_any_number_of_workers_learns_what_one_process_does_also_when_one_is_killed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    module, steps, here = OfWords().eval(), steps_of(LEARNING.steps), Learners()
    alone = finite_mirror(module, Classification(4), steps, LEARNING, shown=False, elsewhere=here)
    assert here.workers == 0
    expected = list(alone.tensors.values())
    for number, after in ((1, -1), (2, -1), (3, 5)):
        found = learned_by(number, monkeypatch, after)
        assert all(map(torch.equal, found, expected)), (number, after)


def test_what_batch_norm_learns_is_learned_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learners, "is_cut", lambda *_: True)
    monkeypatch.setattr(learners, "quicker_there", lambda *_: True)
    part = torch.randn(9, 3, generator=torch.Generator().manual_seed(0)), torch.arange(9) % 4
    for batch_norm, workers_asked in (("updated", False), ("frozen", True)):
        elsewhere = Learners(CLUSTER)
        settings = FiniteSettings(steps=2, batch_norm=batch_norm)  # type: ignore[arg-type]
        module, task = model().module, Classification(4)
        here = finite_mirror(module, task, iter([[part]] * 2), settings)
        there = finite_mirror(module, task, iter([[part]] * 2), settings, elsewhere=elsewhere)
        assert (elsewhere.workers > 0) is workers_asked
        for name, value in here.tensors.items():
            torch.testing.assert_close(there.tensors[name], value, rtol=1e-5, atol=1e-7)


def test_workers_learn_where_they_compute_much_for_each_number_that_is_sent() -> None:
    resnet = 3 * 64 * 3.6e9, 11_700_000, 4, 2e10
    assert quicker_there(*resnet, 2)
    # As many cores here, or a fast device: sending gradients takes longer.
    assert not quicker_there(*resnet, 4)
    assert not quicker_there(*resnet[:3], 2e13, 1)
    # A linear layer computes twice for each number.
    assert not quicker_there(3 * 64 * 2e6, 1_000_000, 4, 2e10, 1)
    # A small network has learned before workers have been asked.
    assert not quicker_there(1e8, 1000, 4, 2e10, 1)


def test_a_result_that_is_lost_with_its_machine_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import ray

    trained, samples = model(), rows()
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))
    get, lost = ray.get, 0

    def fetched(reference: "ray.ObjectRef[object]") -> object:
        nonlocal lost
        found = get(reference)
        if isinstance(found, ScoreBlock) and lost < 2:
            lost += 1
            raise ray.exceptions.ObjectLostError(reference.hex(), b"", "")
        return found

    monkeypatch.setattr(ray, "get", fetched)
    assert_same(list(ENGINE.score(*arguments)), expected)
    assert lost == 2


def described(kind: str, count: int) -> Descriptors:
    generator = np.random.default_rng(7)
    if kind == "images":
        return ImageDescriptors(generator.integers(0, 256, (count, 32, 32, 1), dtype=np.uint8))
    if kind == "small images":
        pixels = generator.normal(size=(count, 6, 6, 1)).astype(np.float32)
        return SmallImageDescriptors(pixels)
    words = [f"word{number}" for number in range(60)]
    if kind == "texts":
        return describe_texts([" ".join(generator.choice(words, 12)) for _ in range(count)])
    columns = {
        "number": generator.normal(size=count).round(1),
        "word": generator.choice(words, count),
    }
    return describe_table(pd.DataFrame(columns))


@pytest.mark.parametrize("kind", ["images", "small images", "texts", "tables"])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_matches_are_those_of_one_process(
    kind: str, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FIRST_BLOCK", 64)
    monkeypatch.setattr(search, "ROWS_PER_BLOCK", 100)
    monkeypatch.setattr(small_images, "SUSPECTS_PER_BLOCK", 10)
    monkeypatch.setattr(CLUSTER, "workers", workers)
    rows_there = described(kind, 500)
    # Most rows stand there twice, so that many are equally alike.
    rows_there = rows_there.take(np.arange(500) % 300)
    suspects = rows_there.take(np.arange(40))
    exclude = np.where(np.arange(40) % 2, np.arange(40), -1)
    expected = Matcher(rows_there).match(suspects, keep=3, count=20, exclude=exclude)
    with parts_done_by(CLUSTER.spread):
        found = Matcher(rows_there).match(suspects, keep=3, count=20, exclude=exclude)
    for column in ("rows", "similarity", "score"):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column))


def test_cells_are_those_of_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "FEW_ROWS", 100)
    monkeypatch.setattr(matching, "MOST_PICTURE_PAIRS", 0)
    monkeypatch.setattr(cells, "ROWS_PER_STEP", 200)
    monkeypatch.setattr(cells, "SUSPECTS_PER_STEP", 10)
    rows_there = described("images", 600)
    suspects = rows_there.take(np.arange(40))
    expected = Matcher(rows_there).match(suspects, keep=3)
    with parts_done_by(CLUSTER.spread):
        found = Matcher(rows_there).match(suspects, keep=3)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.score, expected.score)


def test_rows_in_memory_are_put_into_the_object_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    trained, samples = model(), rows()
    arguments = (trained, Classification(4), samples, perturbations(trained))
    expected = list(LocalEngine(16).score(*arguments))
    given: list[object] = []

    def counted(value: object) -> object:
        given.append(value)
        return put(value)

    def sent(self: Reader, stretch: Stretch) -> None:
        raise AssertionError("a row was sent")

    put = ray.put
    monkeypatch.setattr(ray, "put", counted)
    monkeypatch.setattr(Reader, "read", sent)
    assert_same(list(ENGINE.score(*arguments)), expected)
    assert_same(list(ENGINE.score(*arguments)), expected)
    assert sum(value is samples.source for value in given) == 1
    # Beside them only what each of the two rounds holds: the models.
    assert len(given) == 3


def test_workers_that_there_is_no_room_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_module, "SECONDS_TO_TELL", 0.1)
    monkeypatch.setattr(cluster_module, "SECONDS_TO_START", 0.2)
    began = time.monotonic()
    needs = r"each needs 1 CPU and 1 GPU, the cluster has 8 CPUs \(\d free\) and 0 GPUs \(0 free\)"
    with Cluster(3) as cluster:
        crew = cluster.crew(Waiting, 3, on_gpu=True)
        said = capsys.readouterr().err.replace("\n", " ")
        assert re.search(f"3 workers are asked for, and there is room for 0 now; .*; {needs}", said)
        with pytest.raises(EngineError, match=f"none of 3 workers started within 0.2 s; {needs}"):
            list(crew.run(InOrder([()])))
        said = capsys.readouterr().err.replace("\n", " ")
        assert re.search(f"waiting for the first of 3 workers to start; {needs}", said)
        monkeypatch.setattr(cluster_module, "SECONDS_TO_START", 300)
    assert time.monotonic() - began < 30


class Waiting:
    """Never made: there is no GPU."""


def test_errors_of_rows_arrive_as_they_are() -> None:
    frame = pd.DataFrame({"a": [1.0, np.nan], "b": 1.0, "c": 0.0, "label": [0, 1]})
    samples = samples_from_object(frame, ReadSettings("train", "label"))
    with pytest.raises(DataError) as caught:
        list(ENGINE.score(model(), Classification(4), samples, []))
    assert str(caught.value) == (
        "train (train (DataFrame)): row 1 (id 1): preprocess returned NaN or infinite values in "
        "the input (missing in the file: a); expected finite numbers"
    )


def test_the_whole_audit_with_the_users_own_module(
    project: Project, command_line: CommandLine
) -> None:
    assert command_line("run", project.yaml, "--out", project.folder / "local").code == 0
    with project.yaml.open("a", encoding="utf-8") as file:
        file.write("engine: ray\n")
    outcome = command_line("run", project.yaml, "--out", project.folder / "ray")
    assert (outcome.code, outcome.err) == (0, "")
    for name in ("mislabels.parquet", "contamination.parquet"):
        here = pd.read_parquet(project.folder / "local" / name)
        there = pd.read_parquet(project.folder / "ray" / name)
        pd.testing.assert_frame_equal(here, there, rtol=1e-6)


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    engine = RayEngine(16, Cluster(2, "127.0.0.1:1"))
    with pytest.raises(ConfigError, match=r"engine.address: no Ray cluster at '127.0.0.1:1'"):
        list(engine.score(model(), Classification(4), rows(10), []))

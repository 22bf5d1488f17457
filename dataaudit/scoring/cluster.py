"""Workers on a Ray cluster: started once, and asked to do parts of whatever stage is running.

When a worker dies, or its node, the parts that it had go to others, and Ray starts another one.
"""

from __future__ import annotations

import os
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from dataaudit.errors import ConfigError, EngineError
from dataaudit.progress import announce, track

Result = TypeVar("Result")

PARTS_WAITING = 2
"""Parts handed out for each worker: one that it works on, one that it finds ready after that."""
MOST_DEATHS = 10
"""A part is given up when its workers have died so often; more, and the audit would hang on a
part that no worker has the memory for."""
SECONDS_TO_START = 300
SECONDS_TO_TELL = 30
"""A wait that takes longer is told of."""
SECONDS_TO_CONNECT = 10
SECONDS_TO_NOTICE = 1.0

# Read when ray is imported: an audit tells nobody that it runs.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


class Cluster:
    """A connection to Ray, and workers there; both begin when they are first needed.

    Use it as a context manager; it may be entered again inside, and ends with the outermost.

    Parameters
    ----------
    workers : int
    address : str
        `local` starts Ray on this machine; `auto` or `host:port` joins a cluster. Where this
        process is connected to Ray already, that connection is used and kept.
    """

    WORKERS = 2

    def __init__(self, workers: int = WORKERS, address: str = "local") -> None:
        self.workers, self.address = workers, address
        self._entered = 0
        self._connected_here = False
        self._actors: list[Any] = []
        self._known: set[Any] = set()
        self._stored: list[tuple[Any, Any]] = []
        self._on_gpu = self._told = False

    def __enter__(self) -> Self:
        """Begin; nothing is started yet."""
        self._entered += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the workers, and Ray where it was started here."""
        self._entered -= 1
        if self._entered == 0:
            self._end()

    def crew(self, make: Callable[[], Any], parts: int, *asked: Any, on_gpu: bool = False) -> Crew:
        """Return workers that hold what `make` makes, as many as there are parts for.

        Parameters
        ----------
        make : callable
            Called in each worker. What it makes has two methods, `ready` and `do`.
        parts : int
        *asked
            What `ready` is called with.
        on_gpu : bool
            Whether a worker that has to be started takes a GPU, besides one CPU core.

        Raises
        ------
        ConfigError
            There is no cluster.
        """
        import ray

        self._connect()
        worker = ray.remote(_Worker).options(
            num_cpus=1,
            num_gpus=1 if on_gpu else 0,
            max_restarts=-1,
            max_task_retries=MOST_DEATHS,
        )
        wanted = min(self.workers, parts)
        self._actors += [worker.remote() for _ in range(wanted - len(self._actors))]
        self._on_gpu = self._on_gpu or on_gpu
        self._tell_of_room(wanted)
        return Crew(self._actors[:wanted], [ray.put(make)], asked, self._known, on_gpu)

    def spread(
        self, work: Callable[[slice], Result], parts: Sequence[slice], description: str
    ) -> Iterator[Result]:
        """Yield what `work` makes of each part, in their order; the workers do it.

        What `work` holds is put into Ray's object store, where all workers of a machine read it.
        """
        if not parts:
            return
        crew = self.crew(partial(_Parts, work), len(parts))
        done = crew.run(InOrder([(part,) for part in parts]))
        early: dict[int, Result] = {}
        for number in track(range(len(parts)), description):
            while number not in early:
                early.update([next(done)])
            yield early.pop(number)

    def stored(self, value: Any) -> list[Any] | None:
        """Put a value into Ray's object store, once however often it is asked for.

        Returns
        -------
        list or None
            The reference alone, in a list so that it stays one; None where that cannot be done.
        """
        import ray

        self._connect()
        for other, reference in self._stored:
            if other is value:
                return [reference]
        try:
            reference = ray.put(value)
        except Exception:
            # It holds something that other processes cannot be given, or there is no room for it.
            return None
        self._stored.append((value, reference))
        return [reference]

    def _connect(self) -> None:
        import ray

        if not ray.is_initialized():
            _connect(self.address, self.workers)
            self._connected_here = True

    def _tell_of_room(self, wanted: int) -> None:
        room = _room(self._on_gpu)
        if room < wanted and not self._told:
            self._told = True
            workers = "1 worker is" if wanted == 1 else f"{wanted} workers are"
            announce([
                f"engine: {workers} asked for, and there is room for {room} now; others start as "
                f"there is more; {_needs(self._on_gpu)}"
            ])  # fmt: skip

    def _end(self) -> None:
        self._stored.clear()
        if not self._actors and not self._connected_here:
            return
        import ray

        actors, self._actors = self._actors, []
        if actors and ray.is_initialized():
            # Ray ends this process when it is left while a worker starts for the first time. Those
            # that there is no room for do not start.
            waiting = [actor.ping.remote() for actor in actors if actor not in self._known]
            with suppress(ray.exceptions.RayError, ConnectionError):
                starting = min(len(waiting), _room(self._on_gpu) - len(self._known))
                if starting > 0:
                    ray.wait(waiting, num_returns=starting, timeout=SECONDS_TO_START)
            for actor in actors:
                ray.kill(actor)
        self._known.clear()
        if self._connected_here:
            ray.shutdown()
        self._connected_here = False


class Queue(Protocol):
    """Parts of some work."""

    def __len__(self) -> int:
        """Return how many parts nobody works on."""
        ...

    def next_for(self, worker: int) -> tuple[Hashable, tuple[Any, ...]]:
        """Take a part out for a worker; return its name, and what `do` is called with."""
        ...

    def put_back(self, name: Any) -> None:
        """Put a part back, whose worker has died."""
        ...


class Crew:
    """Workers that hold the same thing, and are given parts of the work as they become idle.

    A part whose worker dies goes to another one, or to the one that Ray starts in its place: the
    work goes on where the cluster has become smaller.

    Attributes
    ----------
    answers : dict of int to object
        What each worker that has started answered to `ready`.
    """

    def __init__(
        self,
        actors: Sequence[Any],
        held: list[Any],
        asked: Sequence[Any],
        known: set[Any],
        on_gpu: bool,
    ) -> None:
        self._actors, self._held, self._asked, self._known = actors, held, asked, known
        self._on_gpu = on_gpu
        self.answers: dict[int, Any] = {}
        self._idle: list[int] = []
        self._deaths: Counter[Hashable] = Counter()
        self._running: dict[Any, tuple[int, Hashable]] = {}
        self._starting: dict[Any, int] = {}
        for worker in range(len(actors)):
            self._ask(worker)

    def __len__(self) -> int:
        """Return the number of workers."""
        return len(self._actors)

    def run(self, queue: Queue) -> Iterator[Any]:
        """Yield the results of all parts, in the order in which they are finished.

        Raises
        ------
        EngineError
            No worker starts, a part costs too many of them, or Ray is lost.
        Exception
            What a worker raised.
        """
        while len(queue) or self._running:
            while len(queue) and self._idle:
                self._give(self._least_busy(), queue)
            yield from self._wait(queue)

    def _least_busy(self) -> int:
        """Take out the worker that has been given the fewest parts."""
        busy = Counter(worker for worker, _ in self._running.values())
        worker = min(self._idle, key=lambda idle: busy[idle])
        self._idle.remove(worker)
        return worker

    def _ask(self, worker: int) -> None:
        # Ray asks again where the worker dies meanwhile.
        call = self._actors[worker].call
        self._starting[call.remote(self._held, "ready", *self._asked)] = worker

    def _give(self, worker: int, queue: Queue) -> None:
        name, arguments = queue.next_for(worker)
        # Not tried again by Ray, which would wait for this worker while others are idle.
        call = self._actors[worker].call.options(max_task_retries=0)
        self._running[call.remote(self._held, "do", *arguments)] = worker, name

    def _wait(self, queue: Queue) -> Iterator[Any]:
        """Wait until something happens; yield the result that has come back, if one has."""
        import ray

        waiting = [*self._running, *self._starting]
        done, _ = ray.wait(waiting, timeout=None if self._running else SECONDS_TO_TELL)
        if not done:
            announce([
                f"engine: waiting for the first of {len(self._starting)} workers to start; "
                f"{_needs(self._on_gpu)}"
            ])  # fmt: skip
            done, _ = ray.wait(waiting, timeout=SECONDS_TO_START - SECONDS_TO_TELL)
        if not done:
            raise EngineError(
                f"engine: none of {len(self._starting)} workers started within "
                f"{SECONDS_TO_START} s; {_needs(self._on_gpu)}"
            )
        try:
            result = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
            # A result of more than 100 KB stays where it was made until it is fetched, and is lost
            # with that machine.
            self._has_died(done[0], queue, error)
            return
        except (ray.exceptions.RayError, ConnectionError) as error:
            raise EngineError(
                f"engine: Ray was lost while rows were scored: {' '.join(str(error).split())[:300]}"
            ) from None
        if done[0] in self._starting:
            worker = self._starting.pop(done[0])
            self._known.add(self._actors[worker])
            self.answers[worker] = result
            self._idle += [worker] * PARTS_WAITING
        else:
            self._idle.append(self._running.pop(done[0])[0])
            yield result

    def _has_died(self, call: Any, queue: Queue, error: Exception) -> None:
        starting = call in self._starting
        worker = self._starting.pop(call) if starting else self._running[call][0]
        # A worker that dies again and again before it has begun counts for itself.
        name: Hashable = ("starting", worker) if starting else self._running.pop(call)[1]
        self._deaths[name] += 1
        if self._deaths[name] >= MOST_DEATHS:
            raise EngineError(
                f"engine: a worker died {MOST_DEATHS} times on the same block; its last words: "
                f"{' '.join(str(error).split())[:300]}"
            ) from None
        if starting:
            # Until it is known that a machine is gone, asking fails at once.
            time.sleep(SECONDS_TO_NOTICE)
        else:
            queue.put_back(name)
        self._idle = [other for other in self._idle if other != worker]
        if worker not in self._starting.values():
            self._ask(worker)


class InOrder:
    """Parts that any worker does, the first ones first.

    Parameters
    ----------
    parts : sequence of tuple
        What `do` is called with, after the number of the part.
    """

    def __init__(self, parts: Sequence[tuple[Any, ...]]) -> None:
        self._parts = parts
        self._waiting = deque(range(len(parts)))

    def __len__(self) -> int:
        """Return how many parts nobody works on."""
        return len(self._waiting)

    def next_for(self, worker: int) -> tuple[Hashable, tuple[Any, ...]]:
        """Take out the first part, for any worker."""
        number = self._waiting.popleft()
        return number, (number, *self._parts[number])

    def put_back(self, name: Any) -> None:
        """Put a part back, whose worker has died."""
        self._waiting.appendleft(name)


class _Worker:
    """What runs in an actor: it makes what it is to hold when it is first asked for something."""

    def __init__(self) -> None:
        self._key: Any = None
        self._made: Any = None

    def ping(self) -> None:
        """Return as soon as the actor has started."""

    def call(self, held: list[Any], method: str, *arguments: Any) -> Any:
        """Call a method of what is held; `held` is a reference, in a list so that it stays one."""
        import ray

        if held[0] != self._key:
            self._made = None
            self._made = ray.get(held[0])()
            self._key = held[0]
        return getattr(self._made, method)(*arguments)


class _Parts:
    """Work on parts, as a worker holds it."""

    def __init__(self, work: Callable[[slice], Any]) -> None:
        self._work = work

    def ready(self) -> None:
        """There is nothing to tell."""

    def do(self, number: int, part: slice) -> tuple[int, Any]:
        """Return the number of a part, and what the work makes of it."""
        return number, self._work(part)


def _room(on_gpu: bool) -> int:
    """Return how many workers the cluster has room for, as it is now."""
    import ray

    found = ray.cluster_resources()
    return int(min(found.get("CPU", 0), found.get("GPU", 0) if on_gpu else float("inf")))


def _needs(on_gpu: bool) -> str:
    """Say what a worker needs, and what there is."""
    import ray

    found, free = ray.cluster_resources(), ray.available_resources()
    kinds = ("CPU", "GPU") if on_gpu else ("CPU",)
    there = [f"{found.get(kind, 0):.0f} {kind}s ({free.get(kind, 0):.0f} free)" for kind in kinds]
    needed = " and ".join(f"1 {kind}" for kind in kinds)
    return f"each needs {needed}, the cluster has {' and '.join(there)}"


def _connect(address: str, workers: int) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == "local":
        options |= {"num_cpus": workers, "include_dashboard": False}
    try:
        if ":" in address and "://" not in address:
            # Ray itself waits for minutes for a cluster that is not there.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=SECONDS_TO_CONNECT).close()
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        found = " ".join(str(error).split())[:300]
        raise ConfigError(f"engine.address: no Ray cluster at {address!r}: {found}") from None

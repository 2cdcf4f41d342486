"""The steps of a phase on a Ray cluster: the same tasks as in ``engines``, in actors that may be on other machines.

An actor starts its task once (which loads the model) and is then given numbers, never rows: what a step makes it writes to the
work folder, which every machine must see under the same path, and only counts come back. An actor has ``in_flight`` numbers at
its door, so that it never waits for the next. Ray's own retries are off: when an actor is lost with its process or its machine,
what it had goes back to the front and another is hired; a step that takes three actors with it ends the job with one sentence.
Because steps are pure and appear by a rename, a step that is made twice makes the same bytes.

The cluster is the one that this process is connected to, else the one that ``address`` or ``RAY_ADDRESS`` names, else a new one
on this machine; the connection stays until the process ends. Actors that find no room wait for it, and the others work on.
Cost: about 5 seconds to start a local cluster, and per actor the imports and a model. Progress comes with finished steps, not
within them. Ray is loaded here alone, and late. It does not know what a step is.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from curator.errors import ConfigError, CuratorError, MissingExtraError
from curator.filtering.engines import MAX_LOSSES, Follow, Task, limit_threads, sendable

_PATIENCE_S = 30.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Steps in Ray actors, at most so many ``workers``; 0 takes as many as the cluster has room for now."""

    workers: int = 0
    cpus: float = 1.0
    """Cores that Ray reserves for each actor, and threads that its libraries use."""
    gpus: float | None = None
    """GPUs that Ray reserves for each actor, which sees no others; None is one where the cluster has any, else 0."""
    in_flight: int = 2
    """Steps that an actor is given at a time: the one it makes, and the next ones."""
    address: str | None = None
    """Address of a cluster; without one ``RAY_ADDRESS`` counts, then a new local cluster."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a number that is out of range."""
        if self.workers < 0 or self.in_flight < 1 or self.cpus <= 0 or (self.gpus or 0) < 0:
            raise ConfigError("A Ray engine needs workers >= 0, in_flight >= 1, cpus > 0 and gpus >= 0.")

    def run(self, task: Task, numbers: Sequence[int], follow: Follow) -> None:
        """Make the steps with these numbers, each at least once, in this order as far as actors are free.

        Raises MissingExtraError without Ray, ConfigError when the cluster has no room for one actor or cannot be reached,
        what a step raises, and CuratorError when actors keep dying.
        """
        if not numbers:
            return
        ray = load_ray()
        self._connect(ray)
        crew = _Crew(ray, self, task, numbers, follow)
        try:
            crew.work()
        finally:
            crew.dismiss()

    def _connect(self, ray: Any) -> None:
        address = self.address or os.environ.get("RAY_ADDRESS")
        if ray.is_initialized():
            return
        local = {} if address else {"include_dashboard": False}
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **local)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConfigError(f"There is no Ray cluster at {address or 'this machine'}: {error}") from error

    def share_of(self, there: Mapping[str, float]) -> dict[str, float]:
        """What each actor reserves of a cluster with these resources."""
        gpus = float(there.get("GPU", 0.0) > 0) if self.gpus is None else self.gpus
        return {"CPU": self.cpus, "GPU": gpus}

    def room(self, there: Mapping[str, float]) -> int:
        """Actors that a cluster with these resources can hold. Raises ConfigError when there is none."""
        wanted = self.share_of(there)
        room = min(int(there.get(name, 0.0) // amount) for name, amount in wanted.items() if amount)
        if room < 1:
            found, needed = (
                ", ".join(f"{values.get(name, 0.0):g} {name}" for name in wanted) for values in (there, wanted)
            )
            raise ConfigError(
                f"The Ray cluster has {found}, too little for an actor of {needed}; ask for less, or add machines."
            )
        return room


def load_ray() -> Any:
    """The module ray. Raises MissingExtraError when it is not installed."""
    # Ray 2.60 hides all GPUs from an actor that reserves none, says that it will stop to, and warns until told so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "The Ray engine needs ray; pip install 'rosetta-curator[ray]', or use another."
        ) from error
    return ray


class Failure(NamedTuple):
    """What an actor could not do, with the traceback of its machine."""

    error: Exception
    trace: str


class Counts(NamedTuple):
    """What a step did."""

    records: int = 0
    tokens: int = 0


class RayWorker:
    """What an actor is: a started task in a process of its own."""

    def __init__(self, task: Task, worker: int, folder: str, threads: int) -> None:
        limit_threads(threads)
        self._failure: Failure | None = None
        try:
            os.chdir(folder)
            self._step = task.start(worker)
        except FileNotFoundError:
            error = ConfigError(
                f"The folder {folder} is not on every machine of the cluster; share it under this path."
            )
            self._failure = Failure(error, "")
        except Exception as error:  # noqa: BLE001 - whatever a start raises is raised in the main process
            self._failure = Failure(sendable(error), traceback.format_exc())

    def ready(self) -> Failure | Counts:
        """What went wrong in the beginning, or that nothing is done yet."""
        return self._failure or Counts()

    def make(self, number: int) -> Failure | Counts:
        """Make a step; returns what it did, or what went wrong."""
        done: list[Counts] = []
        try:
            self._step(number, lambda records, tokens: done.append(Counts(records, tokens)))
        except Exception as error:  # noqa: BLE001 - as above
            return Failure(sendable(error), traceback.format_exc())
        return Counts(sum(part.records for part in done), sum(part.tokens for part in done))


@dataclass(slots=True)
class _Member:
    """An actor with what it was given: the first number is the one that it is at."""

    worker: int
    actor: Any
    ready: bool
    numbers: deque[int]


class _Crew:
    """The actors of one run."""

    def __init__(self, ray: Any, engine: RayEngine, task: Task, numbers: Sequence[int], follow: Follow) -> None:
        self._ray, self._engine, self._title, self._follow = ray, engine, task.title, follow
        self._open = deque(numbers)
        self._losses: Counter[int | None] = Counter()
        self._waiting: dict[Any, tuple[_Member, int | None]] = {}  # by the reference of what is awaited
        there = ray.cluster_resources()
        share = engine.share_of(there)
        limits = {"num_cpus": share["CPU"], "num_gpus": share["GPU"], "max_restarts": 0, "max_task_retries": 0}
        self._actor = ray.remote(**limits)(RayWorker)
        self._task = ray.put(task)
        self._members: list[_Member] = []
        for worker in range(min(engine.workers or engine.room(there), len(numbers))):
            self._hire(worker)

    def work(self) -> None:
        """Hand out steps until all are done."""
        while self._open or any(member.numbers for member in self._members):
            done, _ = self._ray.wait(list(self._waiting), num_returns=1, timeout=_PATIENCE_S)
            if not done and not any(member.ready for member in self._members):
                _log.warning("still waiting for Ray to place an actor", extra={"actors": len(self._members)})
            for reference in done:
                if reference in self._waiting:  # not that of a member who was lost meanwhile
                    self._hear(reference, *self._waiting.pop(reference))

    def dismiss(self) -> None:
        """End all actors, whatever they are at."""
        for member in self._members:
            self._ray.kill(member.actor)

    def _hire(self, worker: int) -> None:
        threads = max(1, int(self._engine.cpus))
        actor = self._actor.remote(self._task, worker, str(Path.cwd()), threads)
        member = _Member(worker, actor, ready=False, numbers=deque())
        self._members.append(member)
        self._waiting[actor.ready.remote()] = member, None

    def _hear(self, reference: Any, member: _Member, number: int | None) -> None:
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._replace(member, number, error)
            return
        if isinstance(result, Failure):
            result.error.add_note(f"In a Ray actor:\n{result.trace}")
            raise result.error
        if number is None:
            member.ready = True
        else:
            member.numbers.remove(number)
            self._follow(None, *result)
            self._follow(number, 0, 0)
        self._give(member)

    def _give(self, member: _Member) -> None:
        while self._open and len(member.numbers) < self._engine.in_flight:
            number = self._open.popleft()
            member.numbers.append(number)
            self._waiting[member.actor.make.remote(number)] = member, number

    def _replace(self, member: _Member, heard_of: int | None, error: Exception) -> None:
        """An actor is lost: what it had goes back to the front, and a new one is hired. It was at the first of its numbers."""
        number = member.numbers[0] if member.numbers else heard_of
        self._ray.kill(member.actor)
        self._members.remove(member)
        self._waiting = {key: value for key, value in self._waiting.items() if value[0] is not member}
        self._open.extendleft(reversed(member.numbers))
        self._losses[number] += 1
        where = "before their first step" if number is None else f"at {self._title} {number}"
        _log.warning("a Ray actor was lost", extra={"where": where, "error": str(error)})
        if self._losses[number] == MAX_LOSSES:
            raise CuratorError(
                f"{MAX_LOSSES} Ray actors were lost {where}, often for lack of memory; give each more of a machine or take "
                "smaller pieces, and run the same job again: what is done stays done."
            ) from error
        self._hire(member.worker)
        for other in self._members:
            if other.ready:  # it may have come to rest when nothing was open, and the new one may find no room
                self._give(other)

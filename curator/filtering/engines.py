"""Who makes the steps of a phase: this process, several processes of this machine, or what else fits ``Engine``.

A task knows how to make any step by its number alone: numbers travel, never rows. Each worker starts the task once (which loads
the model), then makes one step after the other; the results are on disk and in the ledger before the worker says so, so a
worker that is lost loses at most the step it was at, which another one makes again. A step that takes three workers with it
ends the job with one sentence. What a step raises ends the job too: the finished steps stay, and the same command goes on.

Workers are fresh processes (``spawn``); each gets its share of the cores. They ignore Ctrl-C, which the main process answers by
ending them, and leave by themselves when it is gone. Cost of a worker: imports, and a model of its own. It does not know other
machines.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol

from curator.errors import CuratorError

Step = Callable[[int, Callable[[int, int], None]], object]
"""Makes one step by its number; hears of records and tokens through the callback."""
Follow = Callable[[int | None, int, int], None]
"""Called with (None, records, tokens) within steps and with (number, 0, 0) when a step is done."""
MAX_LOSSES = 3
_log = logging.getLogger(__name__)


class Task(Protocol):
    """The steps of one phase; picklable."""

    @property
    def title(self) -> str:
        """What a step is, for messages: ``piece`` or ``shard``."""
        ...

    def start(self, worker: int) -> Step:
        """Load what the steps need, once in every process; ``worker`` counts from 0 and may choose a device."""
        ...


class Engine(Protocol):
    """Makes the steps of a task, each at least once, and returns when all are done."""

    def run(self, task: Task, numbers: Sequence[int], follow: Follow) -> None:
        """Make the steps with these numbers. Raises what a step raises, CuratorError when workers keep dying."""
        ...


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """Steps in this process, or with ``workers`` above 1 in so many others."""

    workers: int = 1

    def run(self, task: Task, numbers: Sequence[int], follow: Follow) -> None:
        """Make the steps with these numbers, in this order as far as workers are free."""
        if self.workers == 1 or len(numbers) <= 1:
            step = task.start(0)
            for number in numbers:
                step(number, lambda records, tokens: follow(None, records, tokens))
                follow(number, 0, 0)
            return
        crew = _Crew(task, deque(numbers), follow, min(self.workers, len(numbers)))
        try:
            crew.work()
        finally:
            crew.dismiss()


class _Crew:
    """The worker processes of one run, each at the other end of a pipe."""

    def __init__(self, task: Task, open_numbers: deque[int], follow: Follow, workers: int) -> None:
        self._task, self._open, self._follow = task, open_numbers, follow
        self._context = multiprocessing.get_context("spawn")
        self._threads = max(1, cores() // workers)
        self._at: dict[Any, int | None] = {}
        self._processes: dict[Any, tuple[int, Any]] = {}
        self._losses: Counter[int | None] = Counter()
        for worker in range(workers):
            self._hire(worker)

    def work(self) -> None:
        """Hand out steps until all are done."""
        while self._open or any(number is not None for number in self._at.values()):
            ready: list[Any] = wait(list(self._processes))
            for connection in ready:
                try:
                    message = connection.recv()
                except (EOFError, ConnectionError):
                    self._replace(connection)
                else:
                    self._hear(connection, *message)

    def dismiss(self) -> None:
        """End all workers, whatever they are at."""
        for connection, (_, process) in self._processes.items():
            connection.close()
            process.terminate()
        for _, process in self._processes.values():
            process.join()

    def _hire(self, worker: int) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (self._task, worker, self._threads, theirs)
        process = self._context.Process(target=_serve, args=arguments, daemon=True, name=f"curator-{worker}")
        process.start()
        theirs.close()
        self._processes[ours], self._at[ours] = (worker, process), None

    def _hear(self, connection: Any, kind: str, *values: Any) -> None:
        if kind == "advance":
            self._follow(None, *values)
        elif kind == "failed":
            error, trace = values
            error.add_note(f"In a worker:\n{trace}")
            raise error
        else:  # ready for the next step
            number = self._at[connection]
            self._at[connection] = None
            if number is not None:
                self._follow(number, 0, 0)
            if self._open:
                self._at[connection] = self._open.popleft()
                connection.send(self._at[connection])

    def _replace(self, connection: Any) -> None:
        """A worker died: its step goes back to the front, and a new one is hired."""
        (worker, process), number = self._processes.pop(connection), self._at.pop(connection)
        connection.close()
        process.join()
        self._losses[number] += 1
        where = "before its first step" if number is None else f"at {self._task.title} {number}"
        _log.warning("a worker died", extra={"where": where, "exit_code": process.exitcode})
        if self._losses[number] == MAX_LOSSES:
            raise CuratorError(
                f"{MAX_LOSSES} workers died {where} (exit code {process.exitcode}), often for lack of memory; take fewer "
                "workers or smaller pieces, guard a script by `if __name__ == '__main__':`, and run the same job again: what "
                "is done stays done."
            )
        if number is not None:
            self._open.appendleft(number)
        self._hire(worker)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _GoneError(Exception):
    """The main process is not there any more."""


def _serve(task: Task, worker: int, threads: int, connection: Connection) -> None:
    """What a worker process runs: steps until the other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads(threads)
    try:
        step = task.start(worker)
        _tell(connection, "ready")
        while True:
            step(_told(connection), lambda records, tokens: _tell(connection, "advance", records, tokens))
            _tell(connection, "ready")
    except _GoneError:
        return
    except Exception as error:  # noqa: BLE001 - whatever a step raises is raised in the main process
        with suppress(_GoneError):
            _tell(connection, "failed", sendable(error), traceback.format_exc())


def _tell(connection: Connection, *message: object) -> None:
    try:
        connection.send(message)
    except OSError as error:
        raise _GoneError from error


def _told(connection: Connection) -> int:
    try:
        return connection.recv()
    except (EOFError, OSError) as error:
        raise _GoneError from error


def limit_threads(threads: int) -> None:
    """Give the numerical libraries of this worker process its share of the cores, before or after they are loaded."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(threads)


def sendable(error: Exception) -> Exception:
    """The error if it survives pickling, else one of ours that says the same."""
    try:
        pickle.loads(ForkingPickler.dumps(error))  # noqa: S301 - our own bytes
    except Exception:  # noqa: BLE001 - an exception class may do anything in its constructor
        return CuratorError(f"A worker failed with {type(error).__name__}: {error}; see the traceback in the log.")
    return error

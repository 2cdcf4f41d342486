"""Kills a job at a chosen operation on the file system, as a power cut would: what comes after it does not happen either.

Every operation that changes names or makes them durable is counted; at the chosen one ``Killed`` is raised, before or after it is
done, and from then on every further one raises as well, so that no cleaning up on the way out hides what a dead process
leaves behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import pytest

OPERATIONS = ("fsync", "link", "mkdir", "rename", "replace", "rmdir", "unlink")


class Killed(BaseException):
    """The end of the process, as far as the job can see; no ``except Exception`` stops it."""


class Injector:
    """Counts operations, and kills at number ``at`` (from 1); 0 lets everything happen."""

    def __init__(self, at: int = 0, *, after: bool = False) -> None:
        self.count, self.dead = 0, False
        self.killed_at = ""
        self._at, self._after = at, after
        self._lock = threading.Lock()

    def wrapped(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def operation(*arguments: object, **named: object) -> object:
            with self._lock:
                self._require_alive()
                self.count += 1
                if self.count == self._at:
                    self.dead = True
                    self.killed_at = f"{name} {arguments[0]}"
                    if not self._after:
                        raise Killed
            done = real(*arguments, **named)
            self._require_alive()
            return done

        return operation

    def _require_alive(self) -> None:
        if self.dead:
            raise Killed


@contextmanager
def injected(injector: Injector) -> Iterator[Injector]:
    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, injector.wrapped(name, getattr(os, name)))
        yield injector


class ThreadEngine:
    """Two workers as threads of this process, so that the injector sees what both do."""

    def run(self, task, numbers: Sequence[int], follow) -> None:
        left: SimpleQueue[int] = SimpleQueue()
        for number in numbers:
            left.put(number)
        failures: list[BaseException] = []
        starting = threading.Lock()  # of two threads that parse array headers at once, Python 3.11 stops one

        def work(worker: int) -> None:
            try:
                with starting:
                    step = task.start(worker)
                while not failures:
                    step(number := left.get_nowait(), lambda records, tokens: follow(None, records, tokens))
                    follow(number, 0, 0)
            except Empty:
                return
            except BaseException as error:  # noqa: BLE001 - raised in the main thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

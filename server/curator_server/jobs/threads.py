"""The threads of a server's jobs, apart from those of the event loop and of scoring.

    database   short statements, one at a time by the database's own lock
    files      listings, downloads, checks of specs, removals: as slow as a disk
    alone      what may take minutes, such as loading a model: each a thread of its own, which the process does not wait for

So a model that takes minutes to load delays neither the next call nor the server's stop, and slow disks do not delay the
database. A call's request id goes along. Cost: at most 2 + 8 threads, and one for each that is alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")
_DATABASE, _FILES = 2, 8


class Threads:
    """The threads of one server's jobs; ``close`` ends those that can be ended."""

    def __init__(self) -> None:
        self._database = ThreadPoolExecutor(_DATABASE, "curator-jobs-database")
        self._files = ThreadPoolExecutor(_FILES, "curator-jobs-files")

    async def database(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a function of the database says."""
        return await _within(self._database, partial(function, *args, **kwargs))

    async def files(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a function says that reads or writes files."""
        return await _within(self._files, partial(function, *args, **kwargs))

    async def alone(self, function: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What a function says that may take long; when the caller is cancelled it goes on, and nobody hears of it."""
        outcome: Future[_T] = Future()
        context = copy_context()

        def run() -> None:
            try:
                found = context.run(function, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the waiting task's to raise
                if outcome.set_running_or_notify_cancel():
                    outcome.set_exception(error)
            else:
                if outcome.set_running_or_notify_cancel():
                    outcome.set_result(found)

        threading.Thread(target=run, name="curator-jobs-alone", daemon=True).start()
        return await asyncio.wrap_future(outcome)

    def close(self) -> None:
        """Take no more; what is running in a pool ends first."""
        for pool in (self._files, self._database):
            pool.shutdown(wait=True, cancel_futures=True)


async def _within(pool: Executor, function: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, function)

"""What the runner writes down of jobs, and that it is written: changes ring the watchers, and an end is kept at last.

A database that cannot be written for a while (a full disk, a network volume that hangs) must not decide how a job ends. So
progress that cannot be kept is lost with a line in the log, and whatever must not be lost is tried again, after a tenth of a
second at first and five seconds at last, until it is kept or the server stops; then the next server goes on with the job.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from curator.errors import StorageError
from curator_server.jobs import changes
from curator_server.jobs.hub import Hub
from curator_server.jobs.job_metrics import JobMetrics
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of
from curator_server.jobs.store import Job, Store
from curator_server.jobs.threads import Threads

logger = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.1, 5.0
_T = TypeVar("_T")


class Book:
    """The jobs of one server as they are kept; for one event loop."""

    def __init__(self, settings: JobSettings, store: Store, hub: Hub, threads: Threads, metrics: JobMetrics) -> None:
        self._settings, self._store, self._hub = settings, store, hub
        self.threads, self.metrics = threads, metrics
        self.stopping = asyncio.Event()

    async def change(self, key: str, change: Callable[[Job], bool], **kept: Any) -> Job:
        """Change a job and ring its watchers. Raises JobNotFoundError, StorageError."""
        job = await self.threads.database(self._store.change, key, change, **kept)
        self._hub.changed(job.uid)
        return job

    async def get(self, key: str) -> Job:
        """The job as it is, when the database can say it. Raises JobNotFoundError."""
        return await self.surely(lambda: self.threads.database(self._store.get, key))

    async def call(self, key: str) -> dict[str, str]:
        """What is known of the call that created a job, for the worker's log. Raises JobNotFoundError, StorageError."""
        return json.loads(await self.threads.database(self._store.call, key) or "{}")

    async def note(self, key: str, change: Callable[[Job], bool]) -> None:
        """A change that may be lost, such as progress."""
        try:
            await self.change(key, change)
        except StorageError as error:
            logger.warning("progress of a job is not kept", extra={"job": key, "error": str(error)})

    async def surely(self, attempt: Callable[[], Awaitable[_T]], *, attempts: int = 0) -> _T:
        """The outcome of an attempt that the disk lets through.

        Raises StorageError when the server stops meanwhile, or after so many attempts (0: as many as it takes).
        """
        pause, tried = _FIRST_PAUSE_S, 0
        while True:
            tried += 1
            try:
                return await attempt()
            except StorageError as error:
                if self.stopping.is_set() or tried == attempts:
                    raise
                logger.warning("the disk refuses; trying again", extra={"error": str(error), "pause_s": pause})
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)
            pause = min(2 * pause, _LAST_PAUSE_S)

    async def end(
        self, job: Job, state: Job.State, fill: Callable[[Job], None] = lambda _: None, *, place: str = ""
    ) -> None:
        """The job has ended in a state; ``fill`` says what came of it. Raises StorageError only when the server stops."""
        expires, changed = self.expires(), False

        def end(found: Job) -> bool:
            nonlocal changed
            changes.ended(found, state, expires)
            fill(found)
            changed = True
            return True

        ended = await self.surely(lambda: self.change(job.uid, end, place=place, expires=expires))
        if changed:  # not ended by somebody else before
            self.metrics.ended(kind_of(ended), ended.state)
            logger.info("job ended", extra={"job": job.name, "state": Job.State.Name(ended.state)})

    def expires(self) -> float:
        """Until when a job is kept that ends now, in seconds of the epoch."""
        return time.time() + self._settings.retention_s

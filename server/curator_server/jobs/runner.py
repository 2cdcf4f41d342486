"""Takes jobs from PENDING to a worker, the oldest first, and sees that none is left between two states.

    PENDING -> RUNNING -> SUCCEEDED | FAILED         a worker that is asked to stop: CANCELLING -> CANCELLED
       ^----------'  the server stops or was killed

At most ``max_running`` workers live at a time. A job that is RUNNING or CANCELLING and that nobody works on (the server was
killed, or could not write down an end) waits again, or is CANCELLED: looked for at the start and every minute, when jobs whose
time is over are removed too. The event loop only waits; the database, files and models are touched in threads. It does not know
how requests come in.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from curator.errors import CuratorError, JobError, JobNotFoundError
from curator_server.jobs import changes
from curator_server.jobs.book import Book
from curator_server.jobs.course import Course, Means
from curator_server.jobs.hub import Hub
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.store import Job, Store

logger = logging.getLogger(__name__)
_KEEP_S, _PAUSE_S = 60.0, 5.0
_LATE_S = 2.0
"""Time for a job to be written down, and for a set that is nearly loaded, after the workers have ended."""


class Runner:
    """The jobs of one server, in one event loop."""

    def __init__(self, settings: JobSettings, store: Store, hub: Hub, means: Means) -> None:
        self._settings, self._store, self._hub, self._means = settings, store, hub, means
        self._book: Book = means.book
        self._at_work: dict[str, Course] = {}
        self._wake, self._keep = asyncio.Event(), asyncio.Event()
        self._slots = asyncio.Semaphore(settings.max_running)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []

    def folder_of(self, job: Job) -> Path:
        """The job's own folder."""
        return self._settings.folders / job.uid

    async def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        await self._reconcile()
        await self._book.threads.files(self._sweep_orphans)
        self._loops = [asyncio.create_task(self._dispatch()), asyncio.create_task(self._keep_tidy())]

    def wake(self) -> None:
        """A job waits."""
        self._wake.set()

    async def cancel(self, name: str) -> Job:
        """Ask a job to stop; one that has ended, or was asked before, stays as it is. Raises JobNotFoundError."""
        expires = self._book.expires()
        job = await self._book.change(name, lambda found: changes.cancel(found, expires), expires=expires)
        if job.state == Job.STATE_CANCELLING:
            course = self._at_work.get(job.uid)
            if course is None:  # nobody works on it, so nobody will end it
                await self._book.end(job, Job.STATE_CANCELLED)
                return await self._book.get(job.uid)
            self._spawn(course.stop())
        return job

    async def stop(self) -> None:
        """End the workers; their jobs wait for the next server, which goes on from what is finished.

        Takes ``stop_s`` and two seconds at most, and what the disk takes: a set that is still being loaded by then is left to
        the next server.
        """
        self._book.stopping.set()
        await _ended(self._loops)
        for course in list(self._at_work.values()):
            self._spawn(course.stop())
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.stop_s + _LATE_S)
            await _ended(late)
        self._at_work.clear()
        try:
            await self._reconcile()
        except CuratorError:
            logger.exception("jobs are left as they are; the next server sees to them")

    async def _dispatch(self) -> None:
        while True:
            await self._slots.acquire()
            waiting: Job | None = None
            try:
                waiting = await self._next()
                course = self._at_work[waiting.uid] = Course(waiting, self._means)
                course.job = await self._book.change(waiting.uid, changes.start)
            except BaseException as error:
                self._slots.release()
                if waiting is not None:
                    self._at_work.pop(waiting.uid, None)
                if not isinstance(error, Exception):
                    raise
                if not isinstance(error, JobNotFoundError):  # cancelled and deleted between two breaths
                    logger.exception("the next job cannot be started; trying again")
                    await asyncio.sleep(_PAUSE_S)
            else:
                self._spawn(self._run(course))

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            job = await self._book.threads.database(self._store.next_waiting)
            if job is not None:
                return job
            await self._wake.wait()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, course: Course) -> None:
        try:
            if course.job.state == Job.STATE_RUNNING:
                await course.run()
        finally:
            self._at_work.pop(course.job.uid, None)
            self._slots.release()
            self._keep.set()

    async def _keep_tidy(self) -> None:
        """Whether or not a slot is free: see to jobs that nobody works on, remove those whose time is over."""
        while True:
            self._keep.clear()
            try:
                await self._reconcile()
                await self._sweep_expired()
            except Exception:
                logger.exception("jobs cannot be looked after; trying again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._keep.wait(), _KEEP_S)

    async def _reconcile(self) -> None:
        """No job stays RUNNING or CANCELLING that nobody works on."""
        for job in await self._book.threads.database(self._store.at_work):
            if job.uid in self._at_work:
                continue
            if job.state == Job.STATE_CANCELLING:
                await self._book.end(job, Job.STATE_CANCELLED)
            else:
                logger.info("a job goes on later", extra={"job": job.name})
                with suppress(JobNotFoundError):
                    await self._book.change(job.uid, changes.requeue)
                self._wake.set()

    async def _sweep_expired(self) -> None:
        for uid in await self._book.threads.database(self._store.expired):
            with suppress(JobNotFoundError, JobError):  # somebody else has deleted it
                await self.forget(uid)

    async def forget(self, key: str) -> None:
        """Delete a job that has ended, and its folder. Raises JobNotFoundError, JobError while it has not."""
        job = await self._book.threads.database(self._store.delete, key)
        self._hub.changed(job.uid)
        await self._book.threads.files(shutil.rmtree, self.folder_of(job), ignore_errors=True)

    def _sweep_orphans(self) -> None:
        """Folders of jobs that a killed server had begun to create."""
        known = self._store.uids()
        for folder in self._settings.folders.iterdir() if self._settings.folders.is_dir() else ():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


async def _ended(tasks: set[asyncio.Task[None]] | list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

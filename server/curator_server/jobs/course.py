"""One job from its start to its end: the order, the worker, what the worker says, and what becomes of what it made.

A job is SUCCEEDED only when what it made can be used: its neuron sets are loaded and its artifacts are whole. Whatever else
happens, one of three things is kept: an end, a job that waits again, or nothing, when the database cannot be written before the
server stops; then the job is RUNNING without a worker, which the next server, or this one's runner, sees. It does not know
what workers do.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from curator.api.status import status_from_error
from curator.errors import CuratorError, JobNotFoundError
from curator.orders import Failure, Result, Work
from curator_server.jobs import changes
from curator_server.jobs.book import Book
from curator_server.jobs.launch import Launcher, Worker
from curator_server.jobs.places import public_message
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of
from curator_server.jobs.store import Job

logger = logging.getLogger(__name__)
_ATTEMPTS = 7
"""Tries of what needs the disk and may also fail for good; some six seconds in all."""


class Catalog(Protocol):
    """What becomes of the results of jobs."""

    def publish(self, job: Job, result: Result, folder: Path) -> list[str]:
        """Take in a model or a neuron set; returns the names of neuron sets that can now be scored with. Called in a thread."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What every course needs."""

    settings: JobSettings
    book: Book
    work_of: Callable[[Job, Path], Work]
    catalog: Catalog
    launch: Launcher


class Course:
    """A job at work; ``run`` it once."""

    def __init__(self, job: Job, means: Means) -> None:
        self.job = job
        self._means, self._book, self._settings = means, means.book, means.settings
        self._worker: Worker | None = None

    @property
    def folder(self) -> Path:
        """The job's own folder."""
        return self._settings.folders / self.job.uid

    async def stop(self) -> None:
        """Ask the worker to end, make it end after a while."""
        if self._worker is not None:
            await self._worker.stop(self._settings.stop_s)

    async def run(self) -> None:
        """Carry the job out and keep how it ended. Raises nothing but cancellation."""
        try:
            await self._carry_out()
        except JobNotFoundError:
            logger.warning("a job vanished while it ran", extra={"job": self.job.name})
        except CuratorError as error:
            await self._fail(error)
        except Exception:  # the edge of a job: its failure must not end the others
            logger.exception("a job broke", extra={"job": self.job.name})
            await self._fail(CuratorError("broken"))
        finally:
            await self.stop()  # one that nobody listens to any more must not go on

    async def _carry_out(self) -> None:
        job, book = self.job, self._book
        work = await book.surely(self._work, attempts=_ATTEMPTS)
        began = time.monotonic()
        book.metrics.started(kind_of(job))
        self._worker = worker = await self._means.launch(self.folder)
        if book.stopping.is_set() or (await book.get(job.uid)).state != Job.STATE_RUNNING:
            await self.stop()
        failure = await self._listen(worker)
        status = await worker.ended()
        book.metrics.worked(kind_of(job), time.monotonic() - began)
        if (await book.get(job.uid)).state == Job.STATE_CANCELLING:
            await book.end(job, Job.STATE_CANCELLED)
        elif status == 0:
            await self._succeed(work)
        elif book.stopping.is_set():
            await book.change(job.uid, changes.requeue)
        else:
            raise changes.error_of(status, failure)

    async def _work(self) -> Work:
        """The order, written where the worker looks for it."""
        threads = self._book.threads
        work = await threads.files(self._means.work_of, self.job, self.folder)
        work = work.model_copy(update={"call": await self._book.call(self.job.uid)})
        await threads.files(work.save, self.folder)
        return work

    async def _listen(self, worker: Worker) -> Failure | None:
        """Keep the progress, not more often than watchers need it; returns why the worker gave up, if it said so."""
        failure, stage, last = None, "", 0.0
        async for event in worker.events():
            failure = event.failure or failure
            step = event.step
            if step is None:
                continue
            if step.stage != stage or time.monotonic() - last >= self._settings.progress_every_s:
                stage, last = step.stage, time.monotonic()
                await self._book.note(self.job.uid, lambda job, step=step: changes.progress(job, step))
        return failure

    async def _succeed(self, work: Work) -> None:
        threads, publish = self._book.threads, self._means.catalog.publish
        result = await threads.files(Result.load, self.folder)
        sets = await self._book.surely(
            lambda: threads.alone(publish, self.job, result, self.folder), attempts=_ATTEMPTS
        )

        def filled(found: Job) -> None:
            found.neuron_sets.extend(sets)
            for file in result.files:
                digest = bytes.fromhex(file.sha256)
                found.artifacts.add(name=file.name, media_type=file.media_type, byte_size=file.bytes, sha256=digest)
            found.progress.done = found.progress.total

        await self._book.end(self.job, Job.STATE_SUCCEEDED, filled, place=str(_place_of(work, self.folder)))

    async def _fail(self, error: CuratorError) -> None:
        status = status_from_error(error, request_id=self.job.name)
        status.message = public_message(status.message)
        logger.warning("a job failed", extra={"job": self.job.name, "code": error.code})
        try:
            await self._book.end(self.job, Job.STATE_FAILED, lambda found: found.error.CopyFrom(status))
        except CuratorError:  # the server stops; the next one carries the job out again
            logger.exception("the end of a job is not kept", extra={"job": self.job.name})


def _place_of(work: Work, folder: Path) -> Path:
    """Where the artifacts of a finished job are: in its folder, or where a filter was told to write."""
    order = work.order
    return Path(order.out) if order.kind == "filter_dataset" else folder / "artifacts"

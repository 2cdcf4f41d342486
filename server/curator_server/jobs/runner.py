"""Carries jobs from PENDING to their end: takes the oldest that waits, starts a worker, keeps what it says.

    PENDING -> RUNNING -> SUCCEEDED | FAILED         a worker that is asked to stop: CANCELLING -> CANCELLED
       ^----------'  the server stops or was killed

At most ``max_running`` workers live at a time. A job is SUCCEEDED only when what it made can be used: its neuron sets are loaded
and its artifacts are whole. The event loop only waits; the database, files and models are touched in threads. It does not
know what workers do, nor how requests come in.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from curator.api.status import status_from_error
from curator.errors import CuratorError, JobNotFoundError
from curator.orders import Failure, Result, Work
from curator_server.jobs import changes
from curator_server.jobs.hub import Hub
from curator_server.jobs.job_metrics import JobMetrics
from curator_server.jobs.launch import Launcher, Worker
from curator_server.jobs.places import public_message
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of
from curator_server.jobs.store import Job, Store

logger = logging.getLogger(__name__)
_SWEEP_S, _PAUSE_S = 3600.0, 5.0


class Catalog(Protocol):
    """What becomes of the results of jobs; both are called in threads."""

    def publish(self, job: Job, result: Result, folder: Path) -> list[str]:
        """Take in a model or a neuron set; returns the names of neuron sets that can now be scored with."""
        ...

    def abandoned(self, job: Job) -> None:
        """The job has failed or was cancelled."""
        ...


class Runner:
    """The jobs of one server, in one event loop."""

    def __init__(
        self,
        settings: JobSettings,
        store: Store,
        hub: Hub,
        *,
        work_of: Callable[[Job, Path], Work],
        catalog: Catalog,
        launch: Launcher,
        metrics: JobMetrics,
    ) -> None:
        self._settings, self._store, self._hub = settings, store, hub
        self._work_of, self._catalog, self._launch, self._metrics = work_of, catalog, launch, metrics
        self._workers: dict[str, Worker] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(settings.max_running)
        self._tasks: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None
        self._stopping = False

    def folder_of(self, job: Job) -> Path:
        """The job's own folder."""
        return self._settings.folders / job.uid

    async def start(self) -> None:
        """Take up what an earlier server left, and begin."""
        for job in await asyncio.to_thread(self._store.unfinished):
            if job.state == Job.STATE_CANCELLING:
                await self._end(job.name, Job.STATE_CANCELLED)
            elif job.state == Job.STATE_RUNNING:
                logger.info("going on with a job", extra={"job": job.name})
                await self.change(job.name, changes.requeue)
        await asyncio.to_thread(self._sweep_orphans)
        self._dispatcher = asyncio.create_task(self._dispatch())

    def wake(self) -> None:
        """A job waits."""
        self._wake.set()

    async def change(self, name: str, change: Callable[[Job], bool], **kept: Any) -> Job:
        """Change a job in the store and ring its watchers."""
        job = await asyncio.to_thread(self._store.change, name, change, **kept)
        self._hub.changed(job.uid)
        return job

    async def cancel(self, name: str) -> Job:
        """Ask a job to stop; one that has ended, or was asked before, stays as it is. Raises JobNotFoundError."""
        expires = self._expires()
        job = await self.change(name, lambda found: changes.cancel(found, expires), expires=expires)
        if job.state == Job.STATE_CANCELLED:
            await asyncio.to_thread(self._catalog.abandoned, job)
        if job.state == Job.STATE_CANCELLING and name in self._workers:
            self._spawn(self._workers[name].stop(self._settings.stop_s))
        return job

    async def stop(self) -> None:
        """End the workers; their jobs wait for the next server, which goes on from what is finished."""
        self._stopping = True
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
        for worker in list(self._workers.values()):
            self._spawn(worker.stop(self._settings.stop_s))
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _dispatch(self) -> None:
        while True:
            await self._slots.acquire()
            try:
                job = await self.change((await self._next()).name, changes.start)
            except JobNotFoundError:  # cancelled and deleted between two breaths
                self._slots.release()
            except Exception:
                logger.exception("the next job cannot be started; trying again")
                self._slots.release()
                await asyncio.sleep(_PAUSE_S)
            else:
                self._spawn(self._run(job))

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            job = await asyncio.to_thread(self._store.next_waiting)
            if job is not None:
                return job
            try:
                async with asyncio.timeout(_SWEEP_S):
                    await self._wake.wait()
            except TimeoutError:
                await asyncio.to_thread(self._sweep_expired)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, job: Job) -> None:
        try:
            if job.state == Job.STATE_RUNNING:
                await self._carry_out(job)
        except JobNotFoundError:
            logger.warning("a job vanished while it ran", extra={"job": job.name})
        except CuratorError as error:
            await self._fail(job, error)
        except Exception:  # the edge of a job: its failure must not end the others
            logger.exception("a job broke", extra={"job": job.name})
            await self._fail(job, CuratorError("broken"))
        finally:
            worker = self._workers.pop(job.name, None)
            if worker is not None:  # one that nobody listens to any more must not go on
                await worker.stop(self._settings.stop_s)
            self._slots.release()
            await asyncio.to_thread(self._sweep_expired)

    async def _carry_out(self, job: Job) -> None:
        folder, kind = self.folder_of(job), kind_of(job)
        work = await asyncio.to_thread(self._work_of, job, folder)
        await asyncio.to_thread(work.save, folder)
        began = time.monotonic()
        self._metrics.started(kind)
        worker = self._workers[job.name] = await self._launch(folder)
        if self._stopping or (await asyncio.to_thread(self._store.get, job.name)).state != Job.STATE_RUNNING:
            await worker.stop(self._settings.stop_s)
        failure = await self._listen(job.name, worker)
        status = await worker.ended()
        self._metrics.worked(kind, time.monotonic() - began)
        now = await asyncio.to_thread(self._store.get, job.name)
        if now.state == Job.STATE_CANCELLING:
            await self._cancelled(job)
        elif status == 0:
            await self._succeed(job, folder)
        elif self._stopping:
            await self.change(job.name, changes.requeue)
        else:
            raise changes.error_of(status, failure)

    async def _listen(self, name: str, worker: Worker) -> Failure | None:
        """Keep the progress, not more often than watchers need it; returns why the worker gave up, if it said so."""
        failure, stage, last = None, "", 0.0
        async for event in worker.events():
            failure = event.failure or failure
            step = event.step
            if step is None:
                continue
            if step.stage != stage or time.monotonic() - last >= self._settings.progress_every_s:
                stage, last = step.stage, time.monotonic()
                await self.change(name, lambda job, step=step: changes.progress(job, step))
        return failure

    async def _succeed(self, job: Job, folder: Path) -> None:
        result = await asyncio.to_thread(Result.load, folder)
        sets = await asyncio.to_thread(self._catalog.publish, job, result, folder)
        place = await asyncio.to_thread(_place_of, folder)

        def filled(found: Job) -> None:
            found.neuron_sets.extend(sets)
            for file in result.files:
                digest = bytes.fromhex(file.sha256)
                found.artifacts.add(name=file.name, media_type=file.media_type, byte_size=file.bytes, sha256=digest)
            found.progress.done = found.progress.total

        await self._end(job.name, Job.STATE_SUCCEEDED, filled, place=str(place))

    async def _fail(self, job: Job, error: CuratorError) -> None:
        status = status_from_error(error, request_id=job.name)
        status.message = public_message(status.message)
        logger.warning("a job failed", extra={"job": job.name, "code": error.code})

        def filled(found: Job) -> None:
            found.error.CopyFrom(status)

        await asyncio.to_thread(self._catalog.abandoned, job)
        await self._end(job.name, Job.STATE_FAILED, filled)

    async def _cancelled(self, job: Job) -> None:
        await asyncio.to_thread(self._catalog.abandoned, job)
        await self._end(job.name, Job.STATE_CANCELLED)

    async def _end(
        self, name: str, state: Job.State, fill: Callable[[Job], None] | None = None, *, place: str = ""
    ) -> Job:
        expires = self._expires()

        def end(job: Job) -> bool:
            changes.ended(job, state, expires)
            if fill is not None:
                fill(job)
            return True

        job = await self.change(name, end, place=place, expires=expires)
        self._metrics.ended(kind_of(job), job.state)
        logger.info("job ended", extra={"job": name, "state": Job.State.Name(job.state)})
        return job

    def _expires(self) -> float:
        return time.time() + self._settings.retention_s

    def _sweep_expired(self) -> None:
        for name in self._store.expired():
            with suppress(JobNotFoundError):  # somebody else has deleted it
                shutil.rmtree(self.folder_of(self._store.delete(name)), ignore_errors=True)

    def _sweep_orphans(self) -> None:
        """Folders of jobs that a killed server had begun to create."""
        known: set[str] = set()
        before = 0
        while page := self._store.page(1000, before):
            known.update(job.uid for _, job in page)
            before = page[-1][0]
        for folder in self._settings.folders.iterdir() if self._settings.folders.is_dir() else ():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)


def _place_of(folder: Path) -> Path:
    """Where the artifacts of a finished job are: in its folder, or where a filter was told to write."""
    order = Work.load(folder).order
    return Path(order.out) if order.kind == "filter_dataset" else folder / "artifacts"

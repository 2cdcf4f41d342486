"""JobService: unpack the request, ask the desk, the runner or the store, pack the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import accumulate

import grpc

from curator.api.v1 import jobs_pb2, jobs_pb2_grpc
from curator.errors import ConfigError, JobNotFoundError
from curator_server.calls import StatusError
from curator_server.jobs.artifacts import pieces
from curator_server.jobs.desk import Desk, Wanted, job_filter
from curator_server.jobs.hub import Hub
from curator_server.jobs.runner import Runner
from curator_server.jobs.store import ENDED, Job, Store
from curator_server.jobs.threads import Threads
from curator_server.paging import page_size, place_of, token_of

_Context = grpc.aio.ServicerContext
_PAGE_BYTES = 2 << 20
_GOING = "The server is going away; watch again after the last revision seen."


class JobServicer(jobs_pb2_grpc.JobServiceServicer):
    """The jobs of one server."""

    def __init__(self, desk: Desk, runner: Runner, store: Store, hub: Hub, threads: Threads) -> None:
        self._desk, self._runner, self._store, self._hub, self._threads = desk, runner, store, hub, threads

    async def CreateJob(self, request: jobs_pb2.CreateJobRequest, context: _Context) -> jobs_pb2.CreateJobResponse:
        """A pending job."""
        if request.job.WhichOneof("spec") == "load_model":
            raise ConfigError(
                "Models are loaded by CatalogService.LoadModel, which asks for the scope admin; call that."
            )
        job = Job()
        job.CopyFrom(request.job)
        job.ClearField("model")
        wanted = Wanted(job, request.job_id, request.request_id, request.validate_only)
        return jobs_pb2.CreateJobResponse(job=await self._desk.create(wanted))

    async def GetJob(self, request: jobs_pb2.GetJobRequest, context: _Context) -> jobs_pb2.GetJobResponse:
        """One job."""
        return jobs_pb2.GetJobResponse(job=await self._threads.database(self._store.get, request.name))

    async def ListJobs(self, request: jobs_pb2.ListJobsRequest, context: _Context) -> jobs_pb2.ListJobsResponse:
        """One page of jobs, newest first."""
        state, kind = job_filter(request.filter)
        listing = f"jobs where {request.filter}"
        size, before = page_size(request.page_size), _before(listing, request.page_token)
        found = await self._threads.database(self._store.page, size + 1, before, state=state, kind=kind)
        shown = found[: min(size, _that_fit(found))]
        following = token_of(listing, str(shown[-1][0])) if len(found) > len(shown) else ""
        return jobs_pb2.ListJobsResponse(jobs=[job for _, job in shown], next_page_token=following)

    async def ListArtifacts(
        self, request: jobs_pb2.ListArtifactsRequest, context: _Context
    ) -> jobs_pb2.ListArtifactsResponse:
        """One page of the artifacts of a job, by name."""
        listing = f"artifacts of {request.parent}"
        size, after = page_size(request.page_size), place_of(listing, request.page_token)
        found = await self._threads.database(self._store.artifacts, request.parent, size + 1, after)
        shown = found[:size]
        following = token_of(listing, shown[-1].name) if len(found) > size else ""
        return jobs_pb2.ListArtifactsResponse(artifacts=shown, next_page_token=following)

    async def CancelJob(self, request: jobs_pb2.CancelJobRequest, context: _Context) -> jobs_pb2.CancelJobResponse:
        """The job, asked to stop."""
        return jobs_pb2.CancelJobResponse(job=await self._runner.cancel(request.name))

    async def DeleteJob(self, request: jobs_pb2.DeleteJobRequest, context: _Context) -> jobs_pb2.DeleteJobResponse:
        """Nothing, when the job is gone."""
        await self._desk.delete(request.name)
        return jobs_pb2.DeleteJobResponse()

    async def WatchJob(
        self, request: jobs_pb2.WatchJobRequest, context: _Context
    ) -> AsyncIterator[jobs_pb2.WatchJobResponse]:
        """Every revision after the given one, until the job has ended."""
        job = await self._threads.database(self._store.get, request.name)
        if request.after_revision > job.revision:
            raise ConfigError(f"{request.name} has no revision {request.after_revision} yet; it is at {job.revision}.")
        after = request.after_revision or job.revision - 1
        with self._hub.watching(job.uid) as bell:
            while True:
                bell.clear()
                found = await self._threads.database(self._store.revisions, job.uid, after)
                for revision in found:
                    yield jobs_pb2.WatchJobResponse(job=revision)
                    job, after = revision, revision.revision
                if job.state in ENDED:
                    return
                if self._hub.closed:
                    raise StatusError(grpc.StatusCode.UNAVAILABLE, _GOING)
                if found:  # there may be more
                    continue
                if not await self._threads.database(self._store.exists, job.uid):
                    raise JobNotFoundError(f"{request.name} was deleted.")
                await bell.wait()

    async def DownloadArtifact(
        self, request: jobs_pb2.DownloadArtifactRequest, context: _Context
    ) -> AsyncIterator[jobs_pb2.DownloadArtifactResponse]:
        """The bytes of an artifact, in pieces."""
        async for piece in pieces(self._store, self._threads, request):
            yield piece


def _that_fit(found: list[tuple[int, Job]]) -> int:
    """How many of the first jobs go into one message; a job with many shards is large."""
    sizes = accumulate(job.ByteSize() for _, job in found)
    return max(1, sum(size <= _PAGE_BYTES for size in sizes))


def _before(listing: str, token: str) -> int:
    """The number that a page token says to begin below; 0 without one. Raises ConfigError for another list's token."""
    place = place_of(listing, token)
    return int(place) if place.isdecimal() else 0

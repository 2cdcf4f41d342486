"""Jobs of a server for asyncio: what ``curator_client.jobs`` does, over the same flows.

    async with AsyncClient("localhost:50051") as client:
        async for job in client.jobs.watch("jobs/mine"): ...

Files are written in the event loop, at most 1 MiB at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from curator.api.v1 import catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator_client.client import DRAINED, BrokenStreamError
from curator_client.connection import ConnectionOptions
from curator_client.core import Attempts
from curator_client.job_flows import SETTLED_S, DownloadFlow, Job, WatchFlow, require_success, with_artifacts
from curator_client.specs import Spec, create_request, load_request


class AsyncJobs:
    """The jobs of one server, over an asynchronous client's connection."""

    def __init__(
        self,
        channel: Any,
        options: ConnectionOptions,
        unary: Callable[..., Awaitable[Any]],
        following: Callable[[Any], Awaitable[Any]],
    ) -> None:
        self._options, self._unary, self._following = options, unary, following
        self._jobs: Any = jobs_pb2_grpc.JobServiceStub(channel)
        self._catalog: Any = catalog_pb2_grpc.CatalogServiceStub(channel)

    async def create(self, spec: Spec, *, job_id: str = "", request_id: str = "", validate_only: bool = False) -> Job:
        """Like ``Jobs.create``."""
        request = create_request(spec, job_id=job_id, request_id=request_id, validate_only=validate_only)
        return (await self._unary(self._jobs.CreateJob, request)).job

    async def load_model(
        self, repo: str, *, model_id: str = "", revision: str = "", dtype: str = "", request_id: str = ""
    ) -> Job:
        """Like ``Jobs.load_model``."""
        request = load_request(repo, model_id=model_id, revision=revision, dtype=dtype, request_id=request_id)
        return (await self._unary(self._catalog.LoadModel, request)).job

    async def get(self, name: str) -> Job:
        """Like ``Jobs.get``."""
        return (await self._unary(self._jobs.GetJob, jobs_pb2.GetJobRequest(name=name))).job

    async def list(self, filter: str = "", *, page_size: int = 0) -> AsyncGenerator[Job]:  # noqa: A002
        """Like ``Jobs.list``."""
        request = jobs_pb2.ListJobsRequest(filter=filter, page_size=page_size)
        while True:
            page = await self._unary(self._jobs.ListJobs, request)
            for job in page.jobs:
                yield job
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def artifacts(self, job: Job | str) -> list[jobs_pb2.Artifact]:
        """Like ``Jobs.artifacts``."""
        found = await self.get(job) if isinstance(job, str) else job
        if len(found.artifacts) >= found.artifact_count:
            return list(found.artifacts)
        request, listed = jobs_pb2.ListArtifactsRequest(parent=found.name, page_size=1000), list[jobs_pb2.Artifact]()
        while True:
            page = await self._unary(self._jobs.ListArtifacts, request)
            listed.extend(page.artifacts)
            if not page.next_page_token:
                return listed
            request.page_token = page.next_page_token

    async def cancel(self, name: str) -> Job:
        """Like ``Jobs.cancel``."""
        return (await self._unary(self._jobs.CancelJob, jobs_pb2.CancelJobRequest(name=name))).job

    async def delete(self, name: str) -> None:
        """Like ``Jobs.delete``."""
        await self._unary(self._jobs.DeleteJob, jobs_pb2.DeleteJobRequest(name=name))

    async def watch(self, name: str, *, after_revision: int = 0) -> AsyncGenerator[Job]:
        """Like ``Jobs.watch``."""
        flow = WatchFlow(name, after_revision)
        responses = self._drive(self._jobs.WatchJob, flow, lambda: flow.ended, flow.closed)
        async with aclosing(responses):
            async for response in responses:
                yield flow.take(response)

    async def wait(self, name: str, *, on_change: Callable[[Job], None] | None = None) -> Job:
        """Like ``Jobs.wait``; bound it with ``asyncio.timeout``."""
        job = await self.get(name)
        async with aclosing(self.watch(name)) as revisions:
            async for job in revisions:
                if on_change is not None:
                    on_change(job)
        return require_success(job)

    async def download(self, job: Job | str, artifact: str, folder: Path) -> Path:
        """Like ``Jobs.download``."""
        found = await self.get(job) if isinstance(job, str) else job
        if artifact not in {one.name for one in found.artifacts}:
            found = with_artifacts(found, await self.artifacts(found))
        flow = DownloadFlow(found, artifact, Path(folder))
        flow.open()
        try:
            if not flow.complete:
                pieces = self._drive(self._jobs.DownloadArtifact, flow, lambda: flow.complete)
                async with aclosing(pieces):
                    async for piece in pieces:
                        flow.take(piece)
            return flow.finish()
        finally:
            flow.close()

    async def _drive(
        self,
        method: Callable[..., Any],
        flow: WatchFlow | DownloadFlow,
        complete: Callable[[], bool],
        closed: Callable[[], None] = lambda: None,
    ) -> AsyncGenerator[Any]:
        attempts = Attempts(self._options.retry)
        while not complete():
            before, opened, status = flow.progress, time.monotonic(), DRAINED
            call = method(flow.request(), metadata=self._options.metadata)
            try:
                responses = aiter(call)
                while (response := await self._following(responses)) is not None:
                    yield response
                closed()
            except BrokenStreamError as broken:
                status = broken.status
            finally:
                call.cancel()
            if complete():
                return
            lived = flow.progress > before or time.monotonic() - opened > SETTLED_S
            await asyncio.sleep(attempts.wait_s(status, progressed=lived))

"""Jobs of a server for asyncio: what ``curator_client.jobs`` does, over the same flows.

    async with AsyncClient("localhost:50051") as client:
        async for job in client.jobs.watch("jobs/mine"): ...

Files are written in the event loop, at most 1 MiB at a time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator_client.core import async_pages
from curator_client.job_flows import DownloadFlow, Following, Job, WatchFlow, require_success, with_artifacts
from curator_client.link import DRAINED, BrokenStreamError
from curator_client.retry import Deadline
from curator_client.specs import Spec, create_request, load_request
from curator_client.streams_aio import AsyncLink


class AsyncJobs:
    """The jobs of one server, over an asynchronous client's connection."""

    def __init__(self, link: AsyncLink) -> None:
        self._link = link
        self._jobs: Any = jobs_pb2_grpc.JobServiceStub(link.channel)
        self._catalog: Any = catalog_pb2_grpc.CatalogServiceStub(link.channel)

    async def create(self, spec: Spec, *, job_id: str = "", request_id: str = "", validate_only: bool = False) -> Job:
        """Like ``Jobs.create``."""
        request = create_request(spec, job_id=job_id, request_id=request_id, validate_only=validate_only)
        return (await self._link.unary(self._jobs.CreateJob, request)).job

    async def load_model(
        self,
        repo: str,
        *,
        model_id: str = "",
        revision: str = "",
        dtype: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Job:
        """Like ``Jobs.load_model``."""
        request = load_request(
            repo,
            model_id=model_id,
            revision=revision,
            dtype=dtype,
            request_id=request_id,
            validate_only=validate_only,
        )
        return (await self._link.unary(self._catalog.LoadModel, request)).job

    async def get(self, name: str) -> Job:
        """Like ``Jobs.get``."""
        return await self._get(name)

    async def list(self, filter: str = "", *, page_size: int = 0) -> AsyncGenerator[Job]:  # noqa: A002
        """Like ``Jobs.list``."""
        request = jobs_pb2.ListJobsRequest(filter=filter, page_size=page_size)
        async for job in self._pages(self._jobs.ListJobs, request, "jobs"):
            yield job

    async def artifacts(self, job: Job | str) -> list[jobs_pb2.Artifact]:
        """Like ``Jobs.artifacts``."""
        found = await self.get(job) if isinstance(job, str) else job
        if len(found.artifacts) >= found.artifact_count:
            return list(found.artifacts)
        request = jobs_pb2.ListArtifactsRequest(parent=found.name, page_size=1000)
        return [one async for one in self._pages(self._jobs.ListArtifacts, request, "artifacts")]

    async def cancel(self, name: str) -> Job:
        """Like ``Jobs.cancel``."""
        return (await self._link.unary(self._jobs.CancelJob, jobs_pb2.CancelJobRequest(name=name))).job

    async def delete(self, name: str) -> None:
        """Like ``Jobs.delete``."""
        await self._link.unary(self._jobs.DeleteJob, jobs_pb2.DeleteJobRequest(name=name))

    async def watch(self, name: str, *, after_revision: int = 0) -> AsyncGenerator[Job]:
        """Like ``Jobs.watch``."""
        async with aclosing(self._watch(name, after_revision, Deadline(None))) as revisions:
            async for job in revisions:
                yield job

    async def wait(
        self, name: str, *, timeout_s: float | None = None, on_change: Callable[[Job], None] | None = None
    ) -> Job:
        """Like ``Jobs.wait``."""
        deadline = Deadline(timeout_s)
        job = await self._get(name, Deadline(deadline.within(self._link.options.timeout_s)))
        async with aclosing(self._watch(name, 0, deadline)) as revisions:
            async for job in revisions:
                if on_change is not None:
                    on_change(job)
        return require_success(job)

    async def download(self, job: Job | str, artifact: str, folder: Path) -> Path:
        """Like ``Jobs.download``."""
        found = await self.get(job) if isinstance(job, str) else job
        if artifact not in {one.name for one in found.artifacts}:
            found = with_artifacts(found, await self.artifacts(found))
        return await self._download(found, artifact, Path(folder))

    async def download_all(self, job: Job | str, folder: Path) -> list[Path]:
        """Like ``Jobs.download_all``."""
        found = await self.get(job) if isinstance(job, str) else job
        listed = await self.artifacts(found)
        return [await self._download(with_artifacts(found, [one]), one.name, Path(folder)) for one in listed]

    async def models(self) -> list[catalog_pb2.Model]:
        """Like ``Jobs.models``."""
        return [one async for one in self._pages(self._catalog.ListModels, catalog_pb2.ListModelsRequest(), "models")]

    async def atlases(self) -> list[catalog_pb2.Atlas]:
        """Like ``Jobs.atlases``."""
        found = self._pages(self._catalog.ListAtlases, catalog_pb2.ListAtlasesRequest(), "atlases")
        return [one async for one in found]

    async def reports(self) -> list[catalog_pb2.Report]:
        """Like ``Jobs.reports``."""
        found = self._pages(self._catalog.ListReports, catalog_pb2.ListReportsRequest(), "reports")
        return [one async for one in found]

    async def unload_model(self, name: str) -> None:
        """Like ``Jobs.unload_model``."""
        await self._link.unary(self._catalog.UnloadModel, catalog_pb2.UnloadModelRequest(name=name))

    async def delete_neuron_set(self, name: str) -> None:
        """Like ``Jobs.delete_neuron_set``."""
        await self._link.unary(self._catalog.DeleteNeuronSet, catalog_pb2.DeleteNeuronSetRequest(name=name))

    async def delete_atlas(self, name: str) -> None:
        """Like ``Jobs.delete_atlas``."""
        await self._link.unary(self._catalog.DeleteAtlas, catalog_pb2.DeleteAtlasRequest(name=name))

    async def _download(self, job: Job, artifact: str, folder: Path) -> Path:
        flow = DownloadFlow(job, artifact, folder)
        flow.open()
        try:
            if not flow.complete:
                async with aclosing(self._drive(self._jobs.DownloadArtifact, flow, Deadline(None))) as pieces:
                    async for piece in pieces:
                        flow.take(piece)
            return flow.finish()
        finally:
            flow.close()

    async def _get(self, name: str, deadline: Deadline | None = None) -> Job:
        return (await self._link.unary(self._jobs.GetJob, jobs_pb2.GetJobRequest(name=name), deadline)).job

    def _pages(self, method: Callable[..., Any], request: Any, field: str) -> AsyncGenerator[Any]:
        return async_pages(lambda asked: self._link.unary(method, asked), request, field)

    async def _watch(self, name: str, after_revision: int, deadline: Deadline) -> AsyncGenerator[Job]:
        flow = WatchFlow(name, after_revision)
        async with aclosing(self._drive(self._jobs.WatchJob, flow, deadline)) as responses:
            async for response in responses:
                yield flow.take(response)

    async def _drive(
        self, method: Callable[..., Any], flow: WatchFlow | DownloadFlow, deadline: Deadline
    ) -> AsyncGenerator[Any]:
        following = Following(flow, self._link.options.retry, deadline)
        while not flow.complete:
            timeout, status = following.begin(), DRAINED
            call = method(flow.request(), timeout=timeout, metadata=self._link.options.call_metadata())
            try:
                responses = aiter(call)
                while (response := await self._link.next(responses)) is not None:
                    yield response
                    following.check()
                flow.closed()
            except BrokenStreamError as broken:
                status = broken.status
            finally:
                call.cancel()
            if flow.complete:
                return
            await self._link.pause(following.wait_s(status), status)

"""Jobs of a server, from Python: create, watch, wait, cancel, download; and the catalog that they fill.

    with Client("localhost:50051", ConnectionOptions(token=...)) as client:
        client.jobs.wait(client.jobs.load_model("zoo:neox-128x4", model_id="neox").name)
        job = client.jobs.create(identify_spec("models/neox", ["models/gpt2"], {"law": examples}))
        done = client.jobs.wait(job.name)
        client.jobs.download(done, "report.html", Path("law"))

Every call may be tried again: creating carries a request id, watching goes on after the last revision seen, downloading after the
last byte. The connection is the client's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator.errors import OverloadedError
from curator_client.client import DRAINED, BrokenStreamError, Watchdog
from curator_client.connection import ConnectionOptions
from curator_client.core import Attempts, pages
from curator_client.job_flows import SETTLED_S, DownloadFlow, Job, WatchFlow, require_success, with_artifacts
from curator_client.specs import Spec, create_request, load_request


class Jobs:
    """The jobs of one server, over a client's connection; thread-safe."""

    def __init__(self, channel: Any, options: ConnectionOptions, unary: Callable[..., Any]) -> None:
        self._options, self._unary = options, unary
        self._jobs = jobs_pb2_grpc.JobServiceStub(channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(channel)

    def create(self, spec: Spec, *, job_id: str = "", request_id: str = "", validate_only: bool = False) -> Job:
        """A pending job; with ``validate_only`` what it would be.

        ``request_id`` makes two calls, even of two processes, one job; a fresh one is drawn unless given. Raises ConfigError for
        a spec that the server refuses, AlreadyExistsError for a job_id or request id that is taken.
        """
        request = create_request(spec, job_id=job_id, request_id=request_id, validate_only=validate_only)
        return self._unary(self._jobs.CreateJob, request).job

    def load_model(
        self, repo: str, *, model_id: str = "", revision: str = "", dtype: str = "", request_id: str = ""
    ) -> Job:
        """A job that loads a model; ``job.model`` is its name. Needs the scope admin."""
        request = load_request(repo, model_id=model_id, revision=revision, dtype=dtype, request_id=request_id)
        return self._unary(self._catalog.LoadModel, request).job

    def get(self, name: str) -> Job:
        """One job as it is. Raises JobNotFoundError."""
        return self._unary(self._jobs.GetJob, jobs_pb2.GetJobRequest(name=name)).job

    def list(self, filter: str = "", *, page_size: int = 0) -> Iterator[Job]:  # noqa: A002 - the contract's name
        """Jobs, newest first, page by page; ``filter`` as ``state = RUNNING AND kind = filter_dataset``."""
        request = jobs_pb2.ListJobsRequest(filter=filter, page_size=page_size)
        yield from self._pages(self._jobs.ListJobs, request, "jobs")

    def artifacts(self, job: Job | str) -> list[jobs_pb2.Artifact]:
        """Everything that a job has written, by name; a job itself comes with the first 1000, and in lists with none."""
        found = self.get(job) if isinstance(job, str) else job
        if len(found.artifacts) >= found.artifact_count:
            return list(found.artifacts)
        request = jobs_pb2.ListArtifactsRequest(parent=found.name, page_size=1000)
        return list(self._pages(self._jobs.ListArtifacts, request, "artifacts"))

    def cancel(self, name: str) -> Job:
        """The job, asked to stop; asking twice, or too late, changes nothing."""
        return self._unary(self._jobs.CancelJob, jobs_pb2.CancelJobRequest(name=name)).job

    def delete(self, name: str) -> None:
        """Forget a job that has ended. Raises JobError while it has not."""
        self._unary(self._jobs.DeleteJob, jobs_pb2.DeleteJobRequest(name=name))

    def watch(self, name: str, *, after_revision: int = 0) -> Iterator[Job]:
        """Every revision after the given one, without gaps, until the job has ended; streams that break are opened again."""
        flow = WatchFlow(name, after_revision)
        for response in self._drive(self._jobs.WatchJob, flow, lambda: flow.ended, flow.closed):
            yield flow.take(response)

    def wait(self, name: str, *, timeout_s: float | None = None, on_change: Callable[[Job], None] | None = None) -> Job:
        """The job when it has succeeded; ``on_change`` hears of every revision.

        Raises the error that ended it, CancelledJobError when it was cancelled, OverloadedError after ``timeout_s`` (looked at
        with every revision; the job goes on).
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        job = self.get(name)
        for job in self.watch(name):
            if on_change is not None:
                on_change(job)
            if deadline is not None and time.monotonic() > deadline and not job.HasField("end_time"):
                raise OverloadedError(f"{name} has not ended within {timeout_s} s; wait again, it goes on.")
        return require_success(job)

    def download(self, job: Job | str, artifact: str, folder: Path) -> Path:
        """Write one artifact below a folder, whole or not at all; goes on where an earlier attempt stopped.

        Raises ArtifactNotFoundError for a name that the job does not list, ArtifactError for bytes that are not what it states.
        """
        found = self.get(job) if isinstance(job, str) else job
        if artifact not in {one.name for one in found.artifacts}:
            found = with_artifacts(found, self.artifacts(found))
        return self._download(found, artifact, Path(folder))

    def download_all(self, job: Job | str, folder: Path) -> list[Path]:
        """Every artifact of a job, below a folder."""
        found = self.get(job) if isinstance(job, str) else job
        listed = self.artifacts(found)
        return [self._download(with_artifacts(found, [one]), one.name, folder) for one in listed]

    def _download(self, job: Job, artifact: str, folder: Path) -> Path:
        flow = DownloadFlow(job, artifact, folder)
        flow.open()
        try:
            if not flow.complete:
                for piece in self._drive(self._jobs.DownloadArtifact, flow, lambda: flow.complete):
                    flow.take(piece)
            return flow.finish()
        finally:
            flow.close()

    def models(self) -> list[catalog_pb2.Model]:
        """Models of the server."""
        return list(self._pages(self._catalog.ListModels, catalog_pb2.ListModelsRequest(), "models"))

    def atlases(self) -> list[catalog_pb2.Atlas]:
        """Atlases of the server."""
        return list(self._pages(self._catalog.ListAtlases, catalog_pb2.ListAtlasesRequest(), "atlases"))

    def reports(self) -> list[catalog_pb2.Report]:
        """Reports of the server; ``download(report.job, "report.html", ...)`` fetches one."""
        return list(self._pages(self._catalog.ListReports, catalog_pb2.ListReportsRequest(), "reports"))

    def unload_model(self, name: str) -> None:
        """Forget a model, and offer its neuron sets no longer. Needs the scope admin."""
        self._unary(self._catalog.UnloadModel, catalog_pb2.UnloadModelRequest(name=name))

    def delete_neuron_set(self, name: str) -> None:
        """Remove a neuron set from the server. Needs the scope admin."""
        self._unary(self._catalog.DeleteNeuronSet, catalog_pb2.DeleteNeuronSetRequest(name=name))

    def delete_atlas(self, name: str) -> None:
        """Remove an atlas from the server. Needs the scope admin."""
        self._unary(self._catalog.DeleteAtlas, catalog_pb2.DeleteAtlasRequest(name=name))

    def _pages(self, method: Callable[..., Any], request: Any, field: str) -> Iterator[Any]:
        return pages(lambda asked: self._unary(method, asked), request, field)

    def _drive(
        self,
        method: Callable[..., Any],
        flow: WatchFlow | DownloadFlow,
        complete: Callable[[], bool],
        closed: Callable[[], None] = lambda: None,
    ) -> Iterator[Any]:
        """The answers of as many calls as it takes."""
        attempts = Attempts(self._options.retry)
        while not complete():
            before, opened, status = flow.progress, time.monotonic(), DRAINED
            try:
                yield from self._one_call(method, flow.request())
                closed()
            except BrokenStreamError as broken:
                status = broken.status
            if complete():
                return
            lived = flow.progress > before or time.monotonic() - opened > SETTLED_S
            time.sleep(attempts.wait_s(status, progressed=lived))

    def _one_call(self, method: Callable[..., Any], request: Any) -> Iterator[Any]:
        call = method(request, metadata=self._options.metadata)
        try:
            with Watchdog(call, self._options.idle_timeout_s) as watchdog:
                while (response := watchdog.next()) is not None:
                    yield response
        finally:
            call.cancel()

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

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, jobs_pb2, jobs_pb2_grpc
from curator_client.core import pages
from curator_client.job_flows import DownloadFlow, Following, Job, WatchFlow, require_success, with_artifacts
from curator_client.link import DRAINED, BrokenStreamError, Link
from curator_client.retry import Deadline
from curator_client.specs import Spec, create_request, load_request
from curator_client.streams import Watchdog


class Jobs:
    """The jobs of one server, over a client's connection; thread-safe."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._jobs = jobs_pb2_grpc.JobServiceStub(link.channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(link.channel)

    def create(self, spec: Spec, *, job_id: str = "", request_id: str = "", validate_only: bool = False) -> Job:
        """A pending job; with ``validate_only`` what it would be.

        ``request_id`` makes two calls, even of two processes, one job; a fresh one is drawn unless given. Raises ConfigError for
        a spec that the server refuses, AlreadyExistsError for a job_id or request id that is taken.
        """
        request = create_request(spec, job_id=job_id, request_id=request_id, validate_only=validate_only)
        return self._link.unary(self._jobs.CreateJob, request).job

    def load_model(
        self,
        repo: str,
        *,
        model_id: str = "",
        revision: str = "",
        dtype: str = "",
        request_id: str = "",
        validate_only: bool = False,
    ) -> Job:
        """A job that loads a model, with ``validate_only`` what it would be; ``job.model`` is its name. Needs the scope admin."""
        request = load_request(
            repo,
            model_id=model_id,
            revision=revision,
            dtype=dtype,
            request_id=request_id,
            validate_only=validate_only,
        )
        return self._link.unary(self._catalog.LoadModel, request).job

    def get(self, name: str) -> Job:
        """One job as it is. Raises JobNotFoundError."""
        return self._get(name)

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
        return self._link.unary(self._jobs.CancelJob, jobs_pb2.CancelJobRequest(name=name)).job

    def delete(self, name: str) -> None:
        """Forget a job that has ended. Raises JobError while it has not."""
        self._link.unary(self._jobs.DeleteJob, jobs_pb2.DeleteJobRequest(name=name))

    def watch(self, name: str, *, after_revision: int = 0) -> Iterator[Job]:
        """Every revision after the given one, without gaps, until the job has ended; streams that break are opened again."""
        yield from self._watch(name, after_revision, Deadline(None))

    def wait(self, name: str, *, timeout_s: float | None = None, on_change: Callable[[Job], None] | None = None) -> Job:
        """The job when it has succeeded; ``on_change`` hears of every revision.

        Raises the error that ended it, CancelledJobError when it was cancelled, OverloadedError when it has not ended after
        ``timeout_s``, whatever the server does meanwhile (the job goes on).
        """
        deadline = Deadline(timeout_s)
        job = self._get(name, Deadline(deadline.within(self._link.options.timeout_s)))
        with closing(self._watch(name, 0, deadline)) as revisions:
            for job in revisions:
                if on_change is not None:
                    on_change(job)
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
                with closing(self._drive(self._jobs.DownloadArtifact, flow, Deadline(None))) as pieces:
                    for piece in pieces:
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
        self._link.unary(self._catalog.UnloadModel, catalog_pb2.UnloadModelRequest(name=name))

    def delete_neuron_set(self, name: str) -> None:
        """Remove a neuron set from the server. Needs the scope admin."""
        self._link.unary(self._catalog.DeleteNeuronSet, catalog_pb2.DeleteNeuronSetRequest(name=name))

    def delete_atlas(self, name: str) -> None:
        """Remove an atlas from the server. Needs the scope admin."""
        self._link.unary(self._catalog.DeleteAtlas, catalog_pb2.DeleteAtlasRequest(name=name))

    def _pages(self, method: Callable[..., Any], request: Any, field: str) -> Iterator[Any]:
        return pages(lambda asked: self._link.unary(method, asked), request, field)

    def _get(self, name: str, deadline: Deadline | None = None) -> Job:
        return self._link.unary(self._jobs.GetJob, jobs_pb2.GetJobRequest(name=name), deadline).job

    def _watch(self, name: str, after_revision: int, deadline: Deadline) -> Generator[Job]:
        flow = WatchFlow(name, after_revision)
        for response in self._drive(self._jobs.WatchJob, flow, deadline):
            yield flow.take(response)

    def _drive(self, method: Callable[..., Any], flow: WatchFlow | DownloadFlow, deadline: Deadline) -> Generator[Any]:
        """The answers of as many calls as it takes."""
        following = Following(flow, self._link.options.retry, deadline)
        while not flow.complete:
            timeout, status = following.begin(), DRAINED
            try:
                for response in self._one_call(method, flow.request(), timeout):
                    yield response
                    following.check()
                flow.closed()
            except BrokenStreamError as broken:
                status = broken.status
            if flow.complete:
                return
            self._link.pause(following.wait_s(status), status)

    def _one_call(self, method: Callable[..., Any], request: Any, timeout: float | None) -> Generator[Any]:
        call = method(request, timeout=timeout, metadata=self._link.options.call_metadata())
        try:
            with Watchdog(call, self._link.options.idle_timeout_s) as watchdog:
                while (response := watchdog.next()) is not None:
                    yield response
        finally:
            call.cancel()

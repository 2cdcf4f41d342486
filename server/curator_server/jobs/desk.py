"""Where requests for jobs arrive: checks them, keeps them, and answers; the work itself is the runner's.

A request with an id is answered once: the same request again finds its job, whatever has become of it, before anything is
checked anew. All of it is thread work (files, database), so the event loop stays free.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from curator.api.v1 import catalog_pb2, jobs_pb2
from curator.errors import ConfigError, CuratorError
from curator_server.calls import CURRENT
from curator_server.jobs.places import public_message
from curator_server.jobs.runner import Runner
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of
from curator_server.jobs.specs import Orders, claims_of, plain_name
from curator_server.jobs.store import Job, Request, Store
from curator_server.jobs.threads import Threads
from curator_server.library import Library

PREFIX = "jobs/"
_FILTER = re.compile(r"\s*(state|kind)\s*=\s*(\w+)\s*")
_LONGEST_REQUEST_ID = 128
_SPECS = ("identify_neurons", "build_study", "filter_dataset", "load_model")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A request as it came: ``job`` holds the spec, and the model's name where one is to be loaded."""

    job: Job
    job_id: str = ""
    request_id: str = ""
    validate_only: bool = False


class Desk:
    """Creates, finds and deletes jobs."""

    def __init__(
        self, settings: JobSettings, store: Store, orders: Orders, library: Library, runner: Runner, threads: Threads
    ) -> None:
        self._settings, self._store, self._orders = settings, store, orders
        self._library, self._runner, self._threads = library, runner, threads

    async def create(self, wanted: Wanted) -> Job:
        """The job of a request: new, or the one that the same request made before.

        Raises ConfigError and what else ``Orders.check`` raises, AlreadyExistsError, OverloadedError.
        """
        try:
            job = await self._threads.files(self._create, wanted)
        except CuratorError as error:
            raise type(error)(public_message(str(error))) from error
        if not wanted.validate_only:
            self._runner.wake()
        return job

    async def load_model(self, request: catalog_pb2.LoadModelRequest) -> Job:
        """The job that loads a model."""
        model_id = request.model_id or _id_of(request.spec.repo)
        name = f"models/{plain_name(model_id, 'model_id')}"
        job = Job(load_model=request.spec, model=name)
        return await self.create(Wanted(job, "", request.request_id, request.validate_only))

    async def delete(self, name: str) -> None:
        """Forget a job that has ended. Raises JobNotFoundError, JobError while it has not."""
        await self._runner.forget(name)

    def _create(self, wanted: Wanted) -> Job:
        if len(wanted.request_id) > _LONGEST_REQUEST_ID:
            raise ConfigError(f"A request id has {_LONGEST_REQUEST_ID} characters at most; a UUID has 36.")
        kind, spec = kind_of(wanted.job), Job(model=wanted.job.model)
        getattr(spec, kind).CopyFrom(getattr(wanted.job, kind))
        digest = hashlib.sha256(wanted.job_id.encode() + b"\0" + spec.SerializeToString(deterministic=True)).digest()
        earlier = self._store.find_request(wanted.request_id, digest)
        if earlier is not None:
            return earlier
        try:
            job = self._checked(wanted.job_id, kind, spec)
        except CuratorError:  # refused for what the same request, sent twice at once, has taken meanwhile?
            earlier = self._store.find_request(wanted.request_id, digest)
            if earlier is None:
                raise
            return earlier
        if wanted.validate_only:
            return job
        call = CURRENT.get()
        words = json.dumps({} if call is None else call.carried)
        return self._keep(job, Request(job, kind, digest, wanted.request_id, claims_of(job), words))

    def _checked(self, job_id: str, kind: str, spec: Job) -> Job:
        self._orders.check(spec)
        name = plain_name(job_id or f"{kind.replace('_', '-')}-{uuid.uuid4().hex[:12]}", "job_id")
        job = _pending(spec, PREFIX + name)
        self._library.require_free(job)
        return job

    def _keep(self, job: Job, request: Request) -> Job:
        job.uid = uuid.uuid4().hex
        folder = self._runner.folder_of(job)
        folder.mkdir(parents=True)
        try:
            self._orders.keep_documents(job, folder)
            kept, new = self._store.create(request, max_pending=self._settings.max_pending)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not new:
            shutil.rmtree(folder, ignore_errors=True)
        return kept


def job_filter(text: str) -> tuple[int, str]:
    """State (0 for any) and kind (empty for any) that a filter asks for. Raises ConfigError for what it is not."""
    state, kind = 0, ""
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else ():
        found = _FILTER.fullmatch(part)
        if found is None:
            raise ConfigError(
                f"The filter {text!r} is not understood; write state = RUNNING, kind = filter_dataset, or both."
            )
        if found[1] == "kind":
            kind = found[2]
            if kind not in _SPECS:
                raise ConfigError(f"There is no kind of job {kind!r}; choose one of: {', '.join(_SPECS)}.")
        else:
            state = _state(found[2])
    return state, kind


def _state(name: str) -> int:
    number = jobs_pb2.Job.State.DESCRIPTOR.values_by_name.get(f"STATE_{name.removeprefix('STATE_')}")
    if number is None or not number.number:
        raise ConfigError(f"There is no state {name!r} of jobs; write for example RUNNING.")
    return number.number


def _pending(spec: Job, name: str) -> Job:
    job = Job()
    job.CopyFrom(spec)
    job.name, job.state = name, Job.STATE_PENDING
    job.create_time.GetCurrentTime()
    return job


def _id_of(repo: str) -> str:
    """A model id made of a hub name, folder or ``zoo:NAME``."""
    last = Path(repo.partition("zoo:")[2] or repo).name
    return re.sub(r"[^A-Za-z0-9._-]", "-", last).lstrip("._-")[:64]

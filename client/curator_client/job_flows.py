"""Watching a job and downloading what it wrote, without any I/O to the server: what to ask next, and what an answer means.

A watch remembers the last revision and goes on after it, so a stream that breaks, or a server that is replaced, loses nothing. A
download writes to a temporary file whose name holds the wanted SHA-256, checks the CRC and position of each piece and the SHA-256
of the whole, and only then gives the file its name; what a broken call or a killed process leaves is gone on with.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import grpc
from google.rpc import status_pb2

from curator import fingerprint
from curator.api.status import error_from_status
from curator.api.v1 import jobs_pb2
from curator.errors import (
    ArtifactError,
    ArtifactNotFoundError,
    CancelledJobError,
    CuratorError,
    JobError,
    OverloadedError,
)
from curator.files import inside, local_path, sync_folder
from curator_client.retry import Attempts, Deadline, RetryPolicy

Job = jobs_pb2.Job
ENDED = frozenset({Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED})
SETTLED_S = 30.0
"""A stream that lived so long counts as progress, for a job may have nothing to say meanwhile."""
_BLOCK = 1 << 20
_DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]


def require_success(job: Job) -> Job:
    """The job, if it has succeeded. Raises the error that ended it, CancelledJobError, or JobError while it has not ended."""
    if job.state == Job.STATE_SUCCEEDED:
        return job
    if job.state == Job.STATE_FAILED:
        raise error_from_status(job.error)
    if job.state == Job.STATE_CANCELLED:
        raise CancelledJobError(f"{job.name} was cancelled.")
    raise JobError(f"{job.name} has not ended; wait for it.")


def with_artifacts(job: Job, artifacts: Sequence[jobs_pb2.Artifact]) -> Job:
    """The job with these artifacts in place of those that came with it."""
    found = Job()
    found.CopyFrom(job)
    del found.artifacts[:]
    found.artifacts.extend(artifacts)
    return found


class WatchFlow:
    """One job, revision by revision."""

    def __init__(self, name: str, after_revision: int = 0) -> None:
        self.name = name
        self.ended = False
        self.progress = 0
        self._after = after_revision
        self._uid = ""

    def request(self) -> jobs_pb2.WatchJobRequest:
        """What to ask for next."""
        return jobs_pb2.WatchJobRequest(name=self.name, after_revision=self._after)

    def take(self, response: jobs_pb2.WatchJobResponse) -> Job:
        """The next revision. Raises CuratorError when one is missing, JobError when the name stands for another job now."""
        job = response.job
        if self._uid and job.uid != self._uid:
            raise JobError(f"{self.name} was deleted, and the name is used by another job now.")
        if self._after and job.revision != self._after + 1:
            raise CuratorError(f"The server left out a revision of {self.name}; update the server.")
        self._uid, self._after = job.uid, job.revision
        self.ended = job.state in ENDED
        self.progress += 1
        return job

    @property
    def complete(self) -> bool:
        """Whether the last revision is known."""
        return self.ended

    def closed(self) -> None:
        """The stream ended well, which a server does only after the last revision of a job that has ended."""
        self.ended = True


class Following:
    """The calls of one flow, one after the other: how long each may take, and how long to wait before the next."""

    def __init__(self, flow: WatchFlow | DownloadFlow, policy: RetryPolicy, deadline: Deadline) -> None:
        self._flow, self._deadline = flow, deadline
        self._attempts = Attempts(policy)
        self._before, self._opened = 0, 0.0

    def begin(self) -> float | None:
        """A call begins; the seconds that it may take. Raises OverloadedError when there are none left."""
        self.check()
        self._before, self._opened = self._flow.progress, time.monotonic()
        return self._deadline.left

    def wait_s(self, status: status_pb2.Status) -> float:
        """Seconds to wait after a call that broke. Raises OverloadedError when time is up, else the status when it is final."""
        if self._deadline.seconds is not None and status.code == _DEADLINE_EXCEEDED:
            raise self._late()
        lived = self._flow.progress > self._before or time.monotonic() - self._opened > SETTLED_S
        return self._deadline.within(self._attempts.wait_s(status, progressed=lived))

    def check(self) -> None:
        """Raises OverloadedError when time is up and the flow has not ended."""
        if self._deadline.passed and not self._flow.complete:
            raise self._late()

    def _late(self) -> OverloadedError:
        return OverloadedError(
            f"{self._flow.name} has not ended within {self._deadline.seconds} s; wait again, it goes on."
        )


class DownloadFlow:
    """One artifact into a folder, under its own name."""

    def __init__(self, job: Job, artifact: str, folder: Path) -> None:
        """Raises ArtifactNotFoundError when the job lists no such artifact, ConfigError for a name that leaves the folder."""
        listed = next((one for one in job.artifacts if one.name == artifact), None)
        if listed is None:
            raise ArtifactNotFoundError(f"{job.name} has no artifact {artifact!r}; its artifacts are listed with it.")
        local_path(folder).mkdir(parents=True, exist_ok=True)
        self.target = inside(folder, artifact)
        self.name = f"{job.name}/{artifact}"
        self.progress = 0
        self._job, self._listed = job.name, listed
        self._partial = self.target.with_name(f"{self.target.name}.partial-{listed.sha256.hex()[:16]}")
        self._digest = hashlib.sha256()
        self._offset = 0
        self._file: IO[bytes] | None = None

    @property
    def complete(self) -> bool:
        """Whether all bytes are there."""
        return self._offset == self._listed.byte_size

    def closed(self) -> None:
        """The stream ended well; whether all is there is seen by the bytes."""

    def open(self) -> None:
        """Begin, after the bytes that an earlier attempt left."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self._has(self.target):
            self._offset = self._listed.byte_size
            return
        self._file = self._partial.open("a+b")
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._digest.update(block)
            self._offset += len(block)
        if self._offset > self._listed.byte_size:
            self._file.truncate(0)
            self._offset, self._digest = 0, hashlib.sha256()

    def request(self) -> jobs_pb2.DownloadArtifactRequest:
        """What to ask for next."""
        return jobs_pb2.DownloadArtifactRequest(job=self._job, artifact=self._listed.name, read_offset=self._offset)

    def take(self, piece: jobs_pb2.DownloadArtifactResponse) -> None:
        """Append a piece. Raises ArtifactError when its position or checksum is wrong."""
        if self._file is None or piece.offset != self._offset:
            raise ArtifactError(f"A piece of {self._listed.name} is missing; download it again.")
        if zlib.crc32(piece.data) != piece.crc32:
            raise ArtifactError(f"A piece of {self._listed.name} arrived damaged; download it again.")
        self._file.write(piece.data)
        self._digest.update(piece.data)
        self._offset += len(piece.data)
        self.progress += 1

    def close(self) -> None:
        """Put the file down; what has arrived is kept for another attempt."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def finish(self) -> Path:
        """Give the file its name. Raises ArtifactError, and forgets the bytes, when they are not what the job stated."""
        if self._file is None:
            return self.target
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        if self._digest.digest() != self._listed.sha256:
            self._partial.unlink()
            raise ArtifactError(f"{self._listed.name} is not what the job stated; download it again.")
        self._partial.replace(self.target)
        sync_folder(self.target.parent)
        return self.target

    def _has(self, path: Path) -> bool:
        if not path.is_file() or path.stat().st_size != self._listed.byte_size:
            return False
        return fingerprint.of_file(path) == self._listed.sha256.hex()

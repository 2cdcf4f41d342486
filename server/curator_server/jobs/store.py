"""Jobs and their revisions on disk, in the tables of ``database``.

Every change of a job is one transaction that writes the job and a new row of its history, so a process that is killed leaves
the job as it was or as it became, and a watcher can ask for every revision after any other. What a job has claimed (names of
neuron sets, a model that is being loaded) is taken with its creation and given back with its end, in the same transactions. Jobs
are kept as the messages that the wire carries; the columns beside them are for searching only. A job that has ended never
changes again. Cost: a flush to disk a change, some milliseconds; callers use a thread. Thread-safe. It runs nothing and does not
know which changes make sense.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curator.api.v1 import jobs_pb2
from curator.errors import AlreadyExistsError, JobError, JobNotFoundError, OverloadedError
from curator_server.jobs.catalog_store import CatalogStore, begin_model, claim, give_up
from curator_server.jobs.database import Database, keep_artifacts, one, parted

Job = jobs_pb2.Job
Artifact = jobs_pb2.Artifact
ENDED = frozenset({Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED})
WAITING = Job.STATE_PENDING
AT_WORK = (Job.STATE_RUNNING, Job.STATE_CANCELLING)
SHOWN_ARTIFACTS = 1000
"""Artifacts that come with a job; the others are listed page by page."""


@dataclass(frozen=True, slots=True)
class Request:
    """A job that somebody wants: ``digest`` is of everything that the request asks for.

    ``claims`` are the names of neuron sets that it will make, each with the domain that it scores for; ``call`` is what is
    known of the call, for the worker's log.
    """

    job: Job
    kind: str
    digest: bytes
    request_id: str = ""
    claims: Mapping[str, str] = field(default_factory=dict[str, str])
    call: str = ""


class Store:
    """The jobs of one server, and the catalog beside them; ``close`` ends it."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises StorageError when it cannot be used."""
        self._database = Database(path)
        self.catalog = CatalogStore(self._database)

    def close(self) -> None:
        """Write the log back and close the file."""
        self._database.close()

    def create(self, request: Request, *, max_pending: int) -> tuple[Job, bool]:
        """Keep a new job as revision 1, or find the one that the same request made; says whether it is new.

        Raises AlreadyExistsError when the name, a name that it claims, or the request id for another request, is taken,
        OverloadedError when too many jobs wait.
        """
        with self._database.transaction() as database:
            earlier = _of_request(database, request.request_id, request.digest)
            if earlier is not None:
                return earlier, False
            if one(database, "SELECT 1 FROM jobs WHERE name = ?", (request.job.name,)):
                raise AlreadyExistsError(f"There is a job {request.job.name!r} already; choose another job_id.")
            if one(database, "SELECT count(*) FROM jobs WHERE state = ?", (WAITING,))[0] >= max_pending:
                raise OverloadedError("Too many jobs are waiting; try again when some have ended.")
            claim(database, request.job.uid, request.claims)
            if request.job.model:
                begin_model(database, request.job.model, request.job.load_model)
            return _insert(database, request), True

    def find_request(self, request_id: str, digest: bytes) -> Job | None:
        """The job that this request made. Raises AlreadyExistsError when another request used the id."""
        with self._database.reading() as database:
            return _of_request(database, request_id, digest)

    def get(self, key: str) -> Job:
        """The job of a name or uid as it is, with its first artifacts. Raises JobNotFoundError."""
        with self._database.reading() as database:
            return _with_artifacts(database, _job(database, key))

    def place(self, key: str) -> str:
        """Folder of the artifacts of a job that has succeeded. Raises JobNotFoundError."""
        with self._database.reading() as database:
            return _row(database, key, "place")[0]

    def call(self, key: str) -> str:
        """What is known of the call that created a job. Raises JobNotFoundError."""
        with self._database.reading() as database:
            return _row(database, key, "call")[0]

    def exists(self, uid: str) -> bool:
        """Whether the job is still kept."""
        with self._database.reading() as database:
            return one(database, "SELECT 1 FROM jobs WHERE uid = ?", (uid,)) is not None

    def artifact(self, key: str, name: str) -> Artifact | None:
        """One artifact of a job, None when it has none of the name. Raises JobNotFoundError."""
        with self._database.reading() as database:
            uid = _row(database, key, "uid")[0]
            row = one(database, "SELECT artifact FROM artifacts WHERE uid = ? AND name = ?", (uid, name))
        return None if row is None else Artifact.FromString(row[0])

    def artifacts(self, key: str, size: int, after: str = "") -> list[Artifact]:
        """At most ``size`` artifacts of a job by name, after a given one. Raises JobNotFoundError."""
        with self._database.reading() as database:
            return _artifacts(database, _row(database, key, "uid")[0], size, after)

    def page(self, size: int, before: int, *, state: int = 0, kind: str = "") -> list[tuple[int, Job]]:
        """At most ``size`` jobs with their numbers, without artifacts, newest first, of numbers below ``before`` (0: all)."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT number, spec, job FROM jobs WHERE (? = 0 OR number < ?) AND (? = 0 OR state = ?) "
                "AND (? = '' OR kind = ?) ORDER BY number DESC LIMIT ?",
                (before, before, state, state, kind, kind, size),
            ).fetchall()
        return [(number, _joined(spec, job)) for number, spec, job in rows]

    def with_files(self, names: tuple[str, ...]) -> list[Job]:
        """The jobs that have artifacts of these names, oldest first, with those artifacts alone."""
        marks = ", ".join("?" * len(names))
        query = (
            "SELECT spec, job, artifact FROM jobs JOIN artifacts USING (uid) "  # noqa: S608 - marks alone
            f"WHERE artifacts.name IN ({marks}) ORDER BY number, artifacts.name"
        )
        with self._database.reading() as database:
            rows = database.execute(query, names).fetchall()
        found: dict[str, Job] = {}
        for spec, bare, artifact in rows:
            job = _joined(spec, bare)
            found.setdefault(job.uid, job).artifacts.append(Artifact.FromString(artifact))
        return list(found.values())

    def uids(self) -> set[str]:
        """The uids of all jobs."""
        with self._database.reading() as database:
            return {row[0] for row in database.execute("SELECT uid FROM jobs").fetchall()}

    def next_waiting(self) -> Job | None:
        """The oldest job that waits."""
        with self._database.reading() as database:
            query = "SELECT spec, job FROM jobs WHERE state = ? ORDER BY number LIMIT 1"
            row = one(database, query, (WAITING,))
        return None if row is None else _joined(*row)

    def at_work(self) -> list[Job]:
        """Every job that has started and not ended, oldest first."""
        with self._database.reading() as database:
            query = "SELECT spec, job FROM jobs WHERE state IN (?, ?) ORDER BY number"
            return [_joined(*row) for row in database.execute(query, AT_WORK).fetchall()]

    def counts(self) -> dict[int, int]:
        """How many jobs are in each state."""
        with self._database.reading() as database:
            return dict(database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def change(self, key: str, change: Callable[[Job], bool], *, place: str = "", expires: float | None = None) -> Job:
        """Let ``change`` edit the job, and keep it as the next revision unless it says False; a job that has ended stays.

        Artifacts are kept when the job ends; ``place`` and ``expires`` (seconds of the epoch) too. Raises JobNotFoundError.
        """
        with self._database.transaction() as database:
            job = _job(database, key)
            if job.state in ENDED or not change(job):
                return _with_artifacts(database, job)
            job.revision += 1
            job.artifact_count = len(job.artifacts)
            bare, _, artifacts = parted(job)
            database.execute(
                "UPDATE jobs SET state = ?, job = ?, place = ?, expires = ? WHERE uid = ?",
                (job.state, bare.SerializeToString(), place, expires if job.state in ENDED else None, job.uid),
            )
            _keep_revision(database, bare)
            if job.state in ENDED:
                keep_artifacts(database, job.uid, artifacts)
            if job.state in ENDED and job.state != Job.STATE_SUCCEEDED:
                give_up(database, job)
            del job.artifacts[:]
            return _with_artifacts(database, job)

    def revisions(self, uid: str, after: int, limit: int = 100) -> list[Job]:
        """The revisions of a job after a given one, in order, at most ``limit``; the last one has the first artifacts."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT spec, revisions.job FROM revisions JOIN jobs USING (uid) "
                "WHERE uid = ? AND revision > ? ORDER BY revision LIMIT ?",
                (uid, after, limit),
            ).fetchall()
            return [_with_artifacts(database, _joined(*row)) for row in rows]

    def delete(self, key: str) -> Job:
        """Forget a job that has ended. Raises JobNotFoundError, JobError while it has not ended."""
        with self._database.transaction() as database:
            job = _job(database, key)
            if job.state not in ENDED:
                raise JobError(f"{job.name} has not ended; cancel it, wait until it has, then delete it.")
            for table in ("revisions", "artifacts", "jobs"):
                database.execute(f"DELETE FROM {table} WHERE uid = ?", (job.uid,))  # noqa: S608 - our own names
            return job

    def expired(self) -> list[str]:
        """Uids of the jobs whose time is over."""
        with self._database.reading() as database:
            rows = database.execute("SELECT uid FROM jobs WHERE expires < ?", (time.time(),)).fetchall()
        return [row[0] for row in rows]


def _of_request(database: sqlite3.Connection, request_id: str, digest: bytes) -> Job | None:
    query = "SELECT digest, spec, job FROM jobs WHERE request_id = ?"
    row = one(database, query, (request_id,)) if request_id else None
    if row is None:
        return None
    if bytes(row[0]) != digest:
        raise AlreadyExistsError("The request id was used for another request; draw a new one.")
    return _with_artifacts(database, _joined(*row[1:]))


def _insert(database: sqlite3.Connection, request: Request) -> Job:
    job = Job()
    job.CopyFrom(request.job)
    job.revision = 1
    bare, spec, _ = parted(job)
    row = (job.uid, job.name, request.kind, job.state, request.request_id or None, request.digest)
    database.execute(
        "INSERT INTO jobs (uid, name, kind, state, request_id, digest, job, spec, call) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, bare.SerializeToString(), spec, request.call),
    )
    _keep_revision(database, bare)
    return job


def _row(database: sqlite3.Connection, key: str, columns: str) -> Any:
    query = f"SELECT {columns} FROM jobs WHERE name = ? OR uid = ?"  # noqa: S608 - our own names
    row = one(database, query, (key, key))
    if row is None:
        raise JobNotFoundError(f"There is no job {key!r} here; ListJobs names those that are.")
    return row


def _job(database: sqlite3.Connection, key: str) -> Job:
    return _joined(*_row(database, key, "spec, job"))


def _joined(spec: bytes, job: bytes) -> Job:
    """A job with its spec: messages that follow each other are one, by protobuf's rules."""
    return Job.FromString(spec + job)


def _artifacts(database: sqlite3.Connection, uid: str, size: int, after: str = "") -> list[Artifact]:
    query = "SELECT artifact FROM artifacts WHERE uid = ? AND name > ? ORDER BY name LIMIT ?"
    return [Artifact.FromString(row[0]) for row in database.execute(query, (uid, after, size)).fetchall()]


def _with_artifacts(database: sqlite3.Connection, job: Job) -> Job:
    if job.artifact_count:
        job.artifacts.extend(_artifacts(database, job.uid, SHOWN_ARTIFACTS))
    return job


def _keep_revision(database: sqlite3.Connection, bare: Job) -> None:
    database.execute("INSERT INTO revisions VALUES (?, ?, ?)", (bare.uid, bare.revision, bare.SerializeToString()))

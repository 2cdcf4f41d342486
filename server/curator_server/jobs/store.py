"""Jobs, their revisions and the catalog's models on disk: one SQLite file in WAL mode, by the standard library.

Every change of a job is one transaction that writes the job and a new row of its history, so a process that is killed leaves
the job as it was or as it became, and a watcher can ask for every revision after any other. Jobs are kept as the messages that
the wire carries; the columns beside them are for searching only. A job that has ended never changes again. Cost: a flush to disk
a change, some milliseconds; callers use a thread. Thread-safe. It runs nothing and does not know which changes make sense.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curator.api.v1 import catalog_pb2, jobs_pb2
from curator.errors import AlreadyExistsError, JobError, JobNotFoundError, OverloadedError, StorageError

Job = jobs_pb2.Job
ENDED = frozenset({Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED})
WAITING = Job.STATE_PENDING
_VERSION = 1
_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state INTEGER NOT NULL, request_id TEXT UNIQUE, digest BLOB NOT NULL, place TEXT NOT NULL DEFAULT '',
    expires REAL, job BLOB NOT NULL);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE revisions (
    uid TEXT NOT NULL, revision INTEGER NOT NULL, job BLOB NOT NULL, PRIMARY KEY (uid, revision)) WITHOUT ROWID;
CREATE TABLE models (name TEXT PRIMARY KEY, model BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE neuron_sets (
    name TEXT PRIMARY KEY, folder TEXT NOT NULL, job TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A job that somebody wants: ``digest`` is of everything that the request asks for."""

    job: Job
    kind: str
    digest: bytes
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A neuron set that a job made: ``name`` is ``models/{model}/neuronSets/{id}``, ``created`` in seconds of the epoch."""

    name: str
    folder: Path
    job: str
    created: float


class Store:
    """The database of one server; ``close`` ends it."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises StorageError when it cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            self._set_up()
        except sqlite3.Error as error:
            raise StorageError(f"The job database {path} cannot be used ({error}); move it away.") from error

    def close(self) -> None:
        """Write the log back and close the file."""
        with self._lock:
            self._database.close()

    def create(self, request: Request, *, max_pending: int) -> tuple[Job, bool]:
        """Keep a new job as revision 1, or find the one that the same request made; says whether it is new.

        Raises AlreadyExistsError when the name, or the request id for another request, is taken, OverloadedError when too
        many jobs wait.
        """
        with self._transaction() as database:
            earlier = _of_request(database, request.request_id, request.digest)
            if earlier is not None:
                return earlier, False
            if _one(database, "SELECT 1 FROM jobs WHERE name = ?", (request.job.name,)):
                raise AlreadyExistsError(f"There is a job {request.job.name!r} already; choose another job_id.")
            if _one(database, "SELECT count(*) FROM jobs WHERE state = ?", (WAITING,))[0] >= max_pending:
                raise OverloadedError("Too many jobs are waiting; try again when some have ended.")
            return _insert(database, request), True

    def find_request(self, request_id: str, digest: bytes) -> Job | None:
        """The job that this request made. Raises AlreadyExistsError when another request used the id."""
        with self._reading() as database:
            return _of_request(database, request_id, digest)

    def get(self, name: str) -> Job:
        """The job as it is. Raises JobNotFoundError."""
        with self._reading() as database:
            return _job(database, name)

    def place(self, name: str) -> str:
        """Folder of the artifacts of a job that has succeeded. Raises JobNotFoundError."""
        with self._reading() as database:
            _job(database, name)
            return _one(database, "SELECT place FROM jobs WHERE name = ?", (name,))[0]

    def page(self, size: int, before: int, *, state: int = 0, kind: str = "") -> list[tuple[int, Job]]:
        """At most ``size`` jobs with their numbers, newest first, of numbers below ``before`` (0: all)."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT number, job FROM jobs WHERE (? = 0 OR number < ?) AND (? = 0 OR state = ?) AND (? = '' OR kind = ?) "
                "ORDER BY number DESC LIMIT ?",
                (before, before, state, state, kind, kind, size),
            ).fetchall()
        return [(number, Job.FromString(job)) for number, job in rows]

    def next_waiting(self) -> Job | None:
        """The oldest job that waits."""
        with self._reading() as database:
            row = _one(database, "SELECT job FROM jobs WHERE state = ? ORDER BY number LIMIT 1", (WAITING,))
        return None if row is None else Job.FromString(row[0])

    def unfinished(self) -> list[Job]:
        """Every job that has not ended, oldest first."""
        with self._reading() as database:
            marks = ", ".join("?" * len(ENDED))
            query = f"SELECT job FROM jobs WHERE state NOT IN ({marks}) ORDER BY number"  # noqa: S608 - marks alone
            rows = database.execute(query, tuple(ENDED)).fetchall()
        return [Job.FromString(row[0]) for row in rows]

    def counts(self) -> dict[int, int]:
        """How many jobs are in each state."""
        with self._reading() as database:
            return dict(database.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall())

    def change(self, name: str, change: Callable[[Job], bool], *, place: str = "", expires: float | None = None) -> Job:
        """Let ``change`` edit the job, and keep it as the next revision unless it says False; a job that has ended stays.

        ``place`` and ``expires`` (seconds of the epoch) are kept with a job that ends. Raises JobNotFoundError.
        """
        with self._transaction() as database:
            job = _job(database, name)
            if job.state in ENDED or not change(job):
                return job
            job.revision += 1
            database.execute(
                "UPDATE jobs SET state = ?, job = ?, place = ?, expires = ? WHERE uid = ?",
                (job.state, job.SerializeToString(), place, expires if job.state in ENDED else None, job.uid),
            )
            _keep_revision(database, job)
            return job

    def revisions(self, uid: str, after: int, limit: int = 100) -> list[Job]:
        """The revisions of a job after a given one, in order, at most ``limit``."""
        with self._reading() as database:
            rows = database.execute(
                "SELECT job FROM revisions WHERE uid = ? AND revision > ? ORDER BY revision LIMIT ?",
                (uid, after, limit),
            ).fetchall()
        return [Job.FromString(row[0]) for row in rows]

    def delete(self, name: str) -> Job:
        """Forget a job that has ended. Raises JobNotFoundError, JobError while it has not ended."""
        with self._transaction() as database:
            job = _job(database, name)
            if job.state not in ENDED:
                raise JobError(f"{name} has not ended; cancel it, wait until it has, then delete it.")
            database.execute("DELETE FROM revisions WHERE uid = ?", (job.uid,))
            database.execute("DELETE FROM jobs WHERE uid = ?", (job.uid,))
            return job

    def expired(self) -> list[str]:
        """Names of the jobs whose time is over."""
        with self._reading() as database:
            rows = database.execute("SELECT name FROM jobs WHERE expires < ?", (time.time(),)).fetchall()
        return [row[0] for row in rows]

    def put_model(self, model: catalog_pb2.Model) -> None:
        """Keep a model of the catalog."""
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO models VALUES (?, ?)", (model.name, model.SerializeToString()))

    def models(self) -> dict[str, catalog_pb2.Model]:
        """The models of the catalog, by name."""
        with self._reading() as database:
            rows = database.execute("SELECT name, model FROM models ORDER BY name").fetchall()
        return {name: catalog_pb2.Model.FromString(model) for name, model in rows}

    def delete_model(self, name: str) -> None:
        """Forget a model."""
        with self._transaction() as database:
            database.execute("DELETE FROM models WHERE name = ?", (name,))

    def put_set(self, kept: KeptSet) -> None:
        """Keep a neuron set of the catalog."""
        with self._transaction() as database:
            row = (kept.name, str(kept.folder), kept.job, kept.created)
            database.execute("INSERT OR REPLACE INTO neuron_sets VALUES (?, ?, ?, ?)", row)

    def sets(self) -> list[KeptSet]:
        """The neuron sets of the catalog, by name."""
        with self._reading() as database:
            rows = database.execute("SELECT name, folder, job, created FROM neuron_sets ORDER BY name").fetchall()
        return [KeptSet(name, Path(folder), job, created) for name, folder, job, created in rows]

    def delete_set(self, name: str) -> None:
        """Forget a neuron set."""
        with self._transaction() as database:
            database.execute("DELETE FROM neuron_sets WHERE name = ?", (name,))

    def _set_up(self) -> None:
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise StorageError(f"The job database has the version {version}, not {_VERSION}; use another state folder.")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            yield self._database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield self._database
                self._database.execute("COMMIT")
            except BaseException as error:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise StorageError(
                        "The job database cannot be written; free space on the server's disk."
                    ) from error
                raise


def _one(database: sqlite3.Connection, query: str, values: tuple[Any, ...]) -> Any:
    return database.execute(query, values).fetchone()


def _of_request(database: sqlite3.Connection, request_id: str, digest: bytes) -> Job | None:
    row = _one(database, "SELECT digest, job FROM jobs WHERE request_id = ?", (request_id,)) if request_id else None
    if row is None:
        return None
    if bytes(row[0]) != digest:
        raise AlreadyExistsError("The request id was used for another request; draw a new one.")
    return Job.FromString(row[1])


def _insert(database: sqlite3.Connection, request: Request) -> Job:
    job = Job()
    job.CopyFrom(request.job)
    job.revision = 1
    row = (job.uid, job.name, request.kind, job.state, request.request_id or None, request.digest)
    database.execute(
        "INSERT INTO jobs (uid, name, kind, state, request_id, digest, job) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*row, job.SerializeToString()),
    )
    _keep_revision(database, job)
    return job


def _job(database: sqlite3.Connection, name: str) -> Job:
    row = _one(database, "SELECT job FROM jobs WHERE name = ?", (name,))
    if row is None:
        raise JobNotFoundError(f"There is no job {name!r} here; ListJobs names those that are.")
    return Job.FromString(row[0])


def _keep_revision(database: sqlite3.Connection, job: Job) -> None:
    database.execute("INSERT INTO revisions VALUES (?, ?, ?)", (job.uid, job.revision, job.SerializeToString()))

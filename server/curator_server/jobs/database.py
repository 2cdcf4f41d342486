"""The SQLite file of a server's jobs and catalog: its tables, how an older file is brought up to date, and its transactions.

A connection is shared by the threads of one server and locked for each statement or transaction, so nothing here waits for a
model or a network; every trouble that SQLite has is a StorageError, after which the file is as it was. What is bulky is kept
once: the spec of a job beside its revisions, and each artifact as a row of its own.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curator.api.v1 import jobs_pb2
from curator.errors import StorageError

_VERSION = 2
_NEW_TABLES = """
CREATE TABLE artifacts (
    uid TEXT NOT NULL, name TEXT NOT NULL, artifact BLOB NOT NULL, PRIMARY KEY (uid, name)) WITHOUT ROWID;
CREATE TABLE claims (name TEXT PRIMARY KEY, uid TEXT NOT NULL, target TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX claims_by_uid ON claims (uid);
"""
_SCHEMA = f"""
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
    state INTEGER NOT NULL, request_id TEXT UNIQUE, digest BLOB NOT NULL, place TEXT NOT NULL DEFAULT '',
    expires REAL, job BLOB NOT NULL, spec BLOB NOT NULL DEFAULT x'', call TEXT NOT NULL DEFAULT '');
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE TABLE revisions (
    uid TEXT NOT NULL, revision INTEGER NOT NULL, job BLOB NOT NULL, PRIMARY KEY (uid, revision)) WITHOUT ROWID;
CREATE TABLE models (name TEXT PRIMARY KEY, model BLOB NOT NULL, spec BLOB NOT NULL DEFAULT x'') WITHOUT ROWID;
CREATE TABLE neuron_sets (
    name TEXT PRIMARY KEY, folder TEXT NOT NULL, job TEXT NOT NULL, created REAL NOT NULL,
    uid TEXT NOT NULL DEFAULT '', fingerprint TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
{_NEW_TABLES}
"""
_FROM_1 = f"""
ALTER TABLE jobs ADD COLUMN spec BLOB NOT NULL DEFAULT x'';
ALTER TABLE jobs ADD COLUMN call TEXT NOT NULL DEFAULT '';
ALTER TABLE models ADD COLUMN spec BLOB NOT NULL DEFAULT x'';
ALTER TABLE neuron_sets ADD COLUMN uid TEXT NOT NULL DEFAULT '';
ALTER TABLE neuron_sets ADD COLUMN fingerprint TEXT NOT NULL DEFAULT '';
UPDATE neuron_sets SET uid = coalesce(
    (SELECT uid FROM jobs WHERE jobs.name = neuron_sets.job), 'of ' || neuron_sets.name);
{_NEW_TABLES}
INSERT INTO claims (name, uid) SELECT name, uid FROM neuron_sets;
"""  # noqa: S608 - our own text


class Database:
    """One open file; ``close`` ends it."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises StorageError when it cannot be used."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._set_up()
        except sqlite3.Error as error:
            raise StorageError(f"The job database {path} cannot be used ({error}); move it away.") from error

    def close(self) -> None:
        """Write the log back and close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for statements that change nothing. Raises StorageError when they cannot be answered."""
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise StorageError("The job database cannot be read; look at the server's disk.") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The connection, for changes that happen together or, when anything is raised, not at all. Raises StorageError."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                self._undo()
                if isinstance(error, sqlite3.Error):
                    raise StorageError(
                        "The job database cannot be written; free space on the server's disk."
                    ) from error
                raise

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:  # a closed file or a broken disk: SQLite undoes it when the file is opened again
            return

    def _set_up(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version == 1:
            with self.transaction() as database:
                _upgrade(database)
        elif version != _VERSION:
            raise StorageError(f"The job database has the version {version}, not {_VERSION}; use another state folder.")


def one(database: sqlite3.Connection, query: str, values: tuple[Any, ...] = ()) -> Any:
    """The first row, or None."""
    return database.execute(query, values).fetchone()


def parted(job: jobs_pb2.Job) -> tuple[jobs_pb2.Job, bytes, list[jobs_pb2.Artifact]]:
    """A job without its spec and artifacts, its spec as the bytes of a job, and its artifacts."""
    bare, spec = jobs_pb2.Job(), jobs_pb2.Job()
    bare.CopyFrom(job)
    kind = job.WhichOneof("spec")
    if kind is not None:
        getattr(spec, kind).CopyFrom(getattr(job, kind))
        getattr(spec, kind).SetInParent()
        bare.ClearField(kind)
    bare.ClearField("artifacts")
    return bare, spec.SerializeToString(), list(job.artifacts)


def keep_artifacts(database: sqlite3.Connection, uid: str, artifacts: list[jobs_pb2.Artifact]) -> None:
    """Keep the artifacts of a job, each as a row."""
    rows = [(uid, artifact.name, artifact.SerializeToString()) for artifact in artifacts]
    database.executemany("INSERT OR REPLACE INTO artifacts VALUES (?, ?, ?)", rows)


def _upgrade(database: sqlite3.Connection) -> None:
    """From version 1, in which every revision held spec and artifacts, and names of sets were not claimed."""
    for statement in _FROM_1.split(";"):
        database.execute(statement)
    for uid, blob in database.execute("SELECT uid, job FROM jobs").fetchall():
        bare, spec, artifacts = parted(_counted(blob))
        database.execute("UPDATE jobs SET job = ?, spec = ? WHERE uid = ?", (bare.SerializeToString(), spec, uid))
        keep_artifacts(database, uid, artifacts)
    for uid, revision, blob in database.execute("SELECT uid, revision, job FROM revisions").fetchall():
        bare, _, _ = parted(_counted(blob))
        row = (bare.SerializeToString(), uid, revision)
        database.execute("UPDATE revisions SET job = ? WHERE uid = ? AND revision = ?", row)
    database.execute(f"PRAGMA user_version = {_VERSION}")


def _counted(blob: bytes) -> jobs_pb2.Job:
    job = jobs_pb2.Job.FromString(blob)
    job.artifact_count = len(job.artifacts)
    return job

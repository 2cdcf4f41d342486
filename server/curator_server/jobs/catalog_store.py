"""Models and neuron sets of the catalog on disk, and who may give them their names.

A name of a neuron set belongs to one job from the moment that the job is created: while it works, and for as long as the set is
kept, whatever becomes of the job; a job that ends without a set gives it back. So a set that was published is never replaced, and
a clash is the mistake of the call that comes second, not the failure of hours of work. A model's name stands for what was asked
for (repository, revision, type), and once it is loaded for its weights. Thread-safe, by the lock of ``database``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curator.api.v1 import jobs_pb2
from curator.api.v1.catalog_pb2 import Model
from curator.errors import AlreadyExistsError
from curator_server.jobs.database import Database, one

_UNFINISHED = (jobs_pb2.Job.STATE_PENDING, jobs_pb2.Job.STATE_RUNNING, jobs_pb2.Job.STATE_CANCELLING)


@dataclass(frozen=True, slots=True)
class KeptSet:
    """A neuron set that a job made: ``name`` is ``models/{model}/neuronSets/{id}``, ``created`` in seconds of the epoch.

    ``uid`` is the job's; ``fingerprint`` is the model's, empty in sets of older versions.
    """

    name: str
    folder: Path
    job: str
    created: float
    uid: str = ""
    fingerprint: str = ""


class CatalogStore:
    """The models and neuron sets of one server."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def require_free(self, claims: Mapping[str, str]) -> None:
        """Raise AlreadyExistsError when one of the names of neuron sets is taken."""
        with self._database.reading() as database:
            _require_free(database, claims)

    def require_free_model(self, name: str, spec: jobs_pb2.LoadModelSpec) -> None:
        """Raise AlreadyExistsError when the name stands for another model."""
        with self._database.reading() as database:
            _require_same(database, name, spec)

    def models(self) -> dict[str, Model]:
        """The models of the catalog, by name."""
        with self._database.reading() as database:
            rows = database.execute("SELECT name, model FROM models ORDER BY name").fetchall()
        return {name: Model.FromString(model) for name, model in rows}

    def asked(self, name: str) -> jobs_pb2.LoadModelSpec:
        """What was asked for when the model was loaded; empty when that is not known."""
        with self._database.reading() as database:
            row = one(database, "SELECT spec FROM models WHERE name = ?", (name,))
        return jobs_pb2.LoadModelSpec() if row is None else jobs_pb2.LoadModelSpec.FromString(row[0])

    def put_model(self, model: Model, spec: jobs_pb2.LoadModelSpec) -> None:
        """Keep a model that has been loaded. Raises AlreadyExistsError when the name stands for another one by now."""
        with self._database.transaction() as database:
            there = _require_same(database, model.name, spec)
            if there is not None and there.state == Model.STATE_ACTIVE and there.fingerprint != model.fingerprint:
                raise AlreadyExistsError(
                    f"{model.name} stands for other weights than {spec.repo!r} has now; unload it first, or choose another "
                    "model_id."
                )
            _put_model(database, model, spec)

    def delete_model(self, name: str) -> None:
        """Forget a model."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM models WHERE name = ?", (name,))

    def end_lost_loads(self) -> None:
        """Say of every model that no job is loading any more that it could not be loaded."""
        with self._database.transaction() as database:
            busy = _being_loaded(database)
            for name, blob, spec in database.execute("SELECT name, model, spec FROM models").fetchall():
                model = Model.FromString(blob)
                if model.state == Model.STATE_LOADING and name not in busy:
                    model.state = Model.STATE_FAILED
                    _put_model(database, model, jobs_pb2.LoadModelSpec.FromString(spec))

    def put_set(self, kept: KeptSet) -> None:
        """Keep a neuron set of the catalog. Raises AlreadyExistsError when another job's stands under its name."""
        with self._database.transaction() as database:
            _require_own(database, kept.name, kept.uid)
            row = (kept.name, str(kept.folder), kept.job, kept.created, kept.uid, kept.fingerprint)
            database.execute("INSERT OR REPLACE INTO neuron_sets VALUES (?, ?, ?, ?, ?, ?)", row)
            database.execute("INSERT OR IGNORE INTO claims (name, uid) VALUES (?, ?)", (kept.name, kept.uid))

    def require_own(self, name: str, uid: str) -> None:
        """Raise AlreadyExistsError when a set of another job stands under the name."""
        with self._database.reading() as database:
            _require_own(database, name, uid)

    def sets(self) -> list[KeptSet]:
        """The neuron sets of the catalog, by name."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT name, folder, job, created, uid, fingerprint FROM neuron_sets ORDER BY name"
            ).fetchall()
        return [
            KeptSet(name, Path(folder), job, created, uid, fingerprint)
            for name, folder, job, created, uid, fingerprint in rows
        ]

    def set_of(self, name: str) -> KeptSet | None:
        """The set of a name: its own, or that under which one of its domains is offered."""
        with self._database.reading() as database:
            row = one(database, "SELECT uid FROM claims WHERE name = ?", (name,))
        uid = "" if row is None else row[0]
        return next((kept for kept in self.sets() if kept.name == name or (uid and kept.uid == uid)), None)

    def offered_names(self, kept: KeptSet) -> dict[str, str]:
        """The names under which a set is offered when its model is loaded, each with its domain (empty: not known)."""
        with self._database.reading() as database:
            rows = database.execute(
                "SELECT name, target FROM claims WHERE uid = ? AND target <> '' ORDER BY name", (kept.uid,)
            ).fetchall()
        return dict(rows) or {kept.name: ""}

    def delete_set(self, kept: KeptSet) -> None:
        """Forget a neuron set; its names are free again."""
        with self._database.transaction() as database:
            database.execute("DELETE FROM neuron_sets WHERE name = ?", (kept.name,))
            database.execute("DELETE FROM claims WHERE name = ? OR (uid = ? AND uid <> '')", (kept.name, kept.uid))


def claim(database: sqlite3.Connection, uid: str, claims: Mapping[str, str]) -> None:
    """Take names for a job. Raises AlreadyExistsError when one is taken."""
    _require_free(database, claims)
    rows = [(name, uid, target) for name, target in claims.items()]
    database.executemany("INSERT INTO claims (name, uid, target) VALUES (?, ?, ?)", rows)


def begin_model(database: sqlite3.Connection, name: str, spec: jobs_pb2.LoadModelSpec) -> None:
    """Name a model that a job is about to load. Raises AlreadyExistsError when the name stands for another one."""
    there = _require_same(database, name, spec)
    if there is None or there.state != Model.STATE_ACTIVE:
        loading = Model(name=name, repo=spec.repo, revision=spec.revision, state=Model.STATE_LOADING)
        _put_model(database, loading, spec)


def give_up(database: sqlite3.Connection, job: jobs_pb2.Job) -> None:
    """A job has ended without success: what it claimed is free, and a model that it alone was loading is not there."""
    kept = one(database, "SELECT 1 FROM neuron_sets WHERE uid = ?", (job.uid,))
    if kept is None:
        database.execute("DELETE FROM claims WHERE uid = ?", (job.uid,))
    row = one(database, "SELECT model, spec FROM models WHERE name = ?", (job.model,)) if job.model else None
    if row is None or job.model in _being_loaded(database):
        return
    model = Model.FromString(row[0])
    if model.state == Model.STATE_LOADING:
        model.state = Model.STATE_FAILED
        _put_model(database, model, jobs_pb2.LoadModelSpec.FromString(row[1]))


def _being_loaded(database: sqlite3.Connection) -> set[str]:
    query = "SELECT job FROM jobs WHERE kind = 'load_model' AND state IN (?, ?, ?)"
    return {jobs_pb2.Job.FromString(row[0]).model for row in database.execute(query, _UNFINISHED).fetchall()}


def _put_model(database: sqlite3.Connection, model: Model, spec: jobs_pb2.LoadModelSpec) -> None:
    row = (model.name, model.SerializeToString(), spec.SerializeToString())
    database.execute("INSERT OR REPLACE INTO models VALUES (?, ?, ?)", row)


def _require_free(database: sqlite3.Connection, claims: Mapping[str, str]) -> None:
    for name in claims:
        if one(database, "SELECT 1 FROM claims WHERE name = ?", (name,)):
            raise AlreadyExistsError(
                f"There is a neuron set {name!r} already, or a job that makes it; choose another neuron_set_id, or delete it."
            )


def _require_own(database: sqlite3.Connection, name: str, uid: str) -> None:
    row = one(database, "SELECT uid FROM neuron_sets WHERE name = ?", (name,))
    if row is not None and row[0] != uid:
        raise AlreadyExistsError(f"There is a neuron set {name!r} already; choose another neuron_set_id.")


def _require_same(database: sqlite3.Connection, name: str, spec: jobs_pb2.LoadModelSpec) -> Model | None:
    """The model under a name, unless it is another one than the spec asks for."""
    row = one(database, "SELECT model, spec FROM models WHERE name = ?", (name,))
    if row is None:
        return None
    model, earlier = Model.FromString(row[0]), jobs_pb2.LoadModelSpec.FromString(row[1])
    same = _asked(earlier) == _asked(spec) if earlier.repo else model.repo == spec.repo  # version 1 kept the repo alone
    if model.state != Model.STATE_FAILED and not same:
        raise AlreadyExistsError(f"There is another model {name!r} already; choose another model_id, or unload it.")
    return model


def _asked(spec: jobs_pb2.LoadModelSpec) -> tuple[str, str, str]:
    return spec.repo, spec.revision, spec.dtype or "auto"

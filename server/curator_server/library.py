"""What the server has: models, neuron sets, atlases and reports, given at the start or made by jobs.

Models and sets that jobs made are in the job database and below the state folder, and are there again after a restart. A set is
offered only when its model is in memory, and a model is named only while it has not been unloaded. Everything here may read the
disk or load a model: callers use a thread. One lock makes changes one after the other.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from curator.api.v1 import jobs_pb2
from curator.api.v1.catalog_pb2 import Atlas, Model, NeuronSet, Report
from curator.errors import (
    AlreadyExistsError,
    ArtifactError,
    ArtifactNotFoundError,
    CuratorError,
    JobError,
    ModelNotFoundError,
)
from curator.files import atomic_folder, inside
from curator.orders import OfferedSet, Result
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.specs import set_id
from curator_server.jobs.store import Job, KeptSet, Store
from curator_server.registry import Entry, Registry, model_resource

logger = logging.getLogger(__name__)
_ATLAS = re.compile(r"[A-Za-z0-9][\w.-]*")
REPORT_FILES = ("report.html", "report.json", "study.json")


class Shelf(Protocol):
    """Opens neuron sets as scorers, and lets models go; ``curator.serving`` has the real one."""

    def open(self, folder: Path) -> Sequence[OfferedSet]:
        """One scorer for each target of the set in a folder."""
        ...

    def forget(self, model_fingerprint: str) -> None:
        """Free a model."""
        ...


class Library:
    """The catalog of one server that runs jobs."""

    def __init__(self, settings: JobSettings, store: Store, registry: Registry, shelf: Shelf) -> None:
        self._settings, self._store, self._registry, self._shelf = settings, store, registry, shelf
        self._lock = threading.RLock()

    def restore(self) -> None:
        """Offer the neuron sets of earlier servers; one that cannot be opened is logged and left out."""
        for name, model in self._store.models().items():
            if model.state == Model.STATE_ACTIVE:
                self._offer_sets_of(name, model)

    def models(self) -> dict[str, Model]:
        """Models that jobs have loaded, by name."""
        return self._store.models()

    def atlases(self) -> dict[str, Atlas]:
        """Atlases on disk, by name. Cost: reading each manifest."""
        folder = self._settings.atlases
        found = (_atlas(path) for path in sorted(folder.iterdir())) if folder.is_dir() else ()
        return {atlas.name: atlas for atlas in found if atlas is not None}

    def reports(self) -> dict[str, Report]:
        """Reports of the jobs that are kept, by name."""
        reports: dict[str, Report] = {}
        before = 0
        while page := self._store.page(1000, before, state=Job.STATE_SUCCEEDED):
            reports |= {found.name: found for _, job in page if (found := _report(job)) is not None}
            before = page[-1][0]
        return reports

    def begin_model(self, name: str, spec: jobs_pb2.LoadModelSpec) -> None:
        """Name a model that a job is about to load. Raises AlreadyExistsError when the name stands for another one."""
        with self._lock:
            self.require_free(name, spec)
            there = self._store.models().get(name)
            if there is None or there.state != Model.STATE_ACTIVE:
                loading = Model(name=name, repo=spec.repo, revision=spec.revision, state=Model.STATE_LOADING)
                self._store.put_model(loading)

    def require_free(self, name: str, spec: jobs_pb2.LoadModelSpec) -> None:
        """Raise AlreadyExistsError when the name stands for another model."""
        there = self._store.models().get(name)
        taken = there is not None and there.state != Model.STATE_FAILED and there.repo != spec.repo
        if taken or name in {entry.model for entry in self._registry.entries.values() if not entry.kept}:
            raise AlreadyExistsError(f"There is another model {name!r} already; choose another model_id, or unload it.")

    def publish(self, job: Job, result: Result, folder: Path) -> list[str]:
        """Take in what a job made; see ``runner.Catalog``. Raises what loading a model raises, AlreadyExistsError for a name."""
        with self._lock:
            if result.model is not None:
                self._publish_model(job, result)
            if result.neuron_set:
                return self._publish_set(job, folder / result.neuron_set)
            return []

    def abandoned(self, job: Job) -> None:
        """Say of a model whose loading failed, or was stopped, that it is not there."""
        with self._lock:
            model = self._store.models().get(job.model) if job.model else None
            if model is not None and model.state == Model.STATE_LOADING:
                model.state = Model.STATE_FAILED
                self._store.put_model(model)

    def unload(self, name: str) -> None:
        """Forget a model and offer its sets no longer. Raises ModelNotFoundError, JobError while it is being loaded."""
        with self._lock:
            model = self._store.models().get(name)
            if model is None:
                self._refuse_given(lambda entry: entry.model == name)
                raise ModelNotFoundError(f"There is no model {name!r} here; ListModels names those that are.")
            if model.state == Model.STATE_LOADING:
                raise JobError(f"The model {name!r} is being loaded; cancel the job that loads it.")
            self._registry.remove([entry.name for entry in self._registry.entries.values() if entry.model == name])
            self._store.delete_model(name)
            in_use = {entry.offered.scorer.model_fingerprint for entry in self._registry.entries.values()}
            if model.fingerprint not in in_use:
                self._shelf.forget(model.fingerprint)

    def delete_set(self, name: str) -> None:
        """Remove a neuron set with all its targets. Raises ArtifactNotFoundError, JobError for one given at the start."""
        with self._lock:
            self._refuse_given(lambda entry: entry.name == name)
            entry = self._registry.entries.get(name)
            kept = next((one for one in self._store.sets() if entry is not None and one.name == entry.kept), None)
            if kept is None:
                raise ArtifactNotFoundError(
                    f"There is no neuron set {name!r} here; ListNeuronSets names those that are."
                )
            same = [one.name for one in self._registry.entries.values() if one.kept == kept.name]
            self._registry.remove(same)
            self._store.delete_set(kept.name)
            shutil.rmtree(kept.folder, ignore_errors=True)

    def delete_atlas(self, name: str) -> None:
        """Remove an atlas. Raises ArtifactNotFoundError."""
        identity = name.removeprefix("atlases/")
        folder = self._settings.atlases
        if not name.startswith("atlases/") or not _ATLAS.fullmatch(identity) or not (inside(folder, identity)).is_dir():
            raise ArtifactNotFoundError(f"There is no atlas {name!r} here; ListAtlases names those that are.")
        shutil.rmtree(inside(folder, identity), ignore_errors=True)

    def _publish_model(self, job: Job, result: Result) -> None:
        if result.model is None:
            return
        model = Model(
            name=job.model,
            repo=job.load_model.repo,
            revision=result.model.revision,
            fingerprint=result.model.fingerprint,
            dtype=result.model.dtype,
            max_tokens=result.model.max_tokens,
            state=Model.STATE_ACTIVE,
        )
        self._offer_sets_of(model.name, model)
        self._store.put_model(model)

    def _publish_set(self, job: Job, made: Path) -> list[str]:
        name = f"{job.identify_neurons.model}/neuronSets/{set_id(job.identify_neurons)}"
        there = {kept.name: kept for kept in self._store.sets()}
        if name in there and there[name].job != job.name:
            raise AlreadyExistsError(f"There is a neuron set {name!r} already; choose another neuron_set_id.")
        folder = self._settings.neuron_sets / name.removeprefix("models/").replace("/neuronSets/", "/")
        with atomic_folder(folder) as partial:
            shutil.copytree(made, partial, dirs_exist_ok=True)
        kept = KeptSet(name, folder, job.name, float(job.create_time.ToSeconds()))
        entries = self._open(kept)
        self._registry.add(entries)
        self._store.put_set(kept)
        return [entry.name for entry in entries]

    def _offer_sets_of(self, name: str, model: Model) -> None:
        for kept in self._store.sets():
            if not kept.name.startswith(f"{name}/neuronSets/"):
                continue
            try:
                entries = self._open(kept)
                fitting = [one for one in entries if one.offered.scorer.model_fingerprint == model.fingerprint]
                self._registry.add(fitting)
            except (CuratorError, OSError):
                logger.exception("a neuron set cannot be offered", extra={"neuron_set": kept.name})

    def _open(self, kept: KeptSet) -> list[Entry]:
        model = kept.name.partition("/neuronSets/")[0]
        return [
            Entry(f"{model}/neuronSets/{one.scorer.name}", one, kept.name, kept.job, kept.created)
            for one in self._shelf.open(kept.folder)
        ]

    def _refuse_given(self, chosen: Callable[[Entry], bool]) -> None:
        if any(chosen(entry) and not entry.kept for entry in self._registry.entries.values()):
            raise JobError("It was given when the server was started; start the server without it.")


def given_models(registry: Registry) -> dict[str, Model]:
    """The models of the scorers that were given at the start, by name."""
    models: dict[str, Model] = {}
    for entry in registry.entries.values():
        if not entry.kept:
            name, offered = model_resource(entry.offered.scorer), entry.offered
            models[name] = Model(
                name=name,
                repo=offered.model,
                revision=offered.revision,
                fingerprint=offered.scorer.model_fingerprint,
                state=Model.STATE_ACTIVE,
            )
    return models


def neuron_sets(registry: Registry) -> dict[str, NeuronSet]:
    """The neuron sets that can be scored with, by name."""
    found: dict[str, NeuronSet] = {}
    for name, entry in registry.entries.items():
        offered = entry.offered
        found[name] = NeuronSet(
            name=name,
            etag=offered.scorer.etag,
            neuron_count=offered.neurons,
            model_fingerprint=offered.scorer.model_fingerprint,
            target=offered.target,
            job=entry.job,
        )
        if entry.created:
            found[name].create_time.FromSeconds(int(entry.created))
    return found


def _atlas(path: Path) -> Atlas | None:
    from curator.atlas.store import load_atlas

    try:
        manifest = load_atlas(path, verify=False).manifest
    except ArtifactError:  # unfinished or damaged: the job that needs it makes it again
        return None
    return Atlas(
        name=f"atlases/{path.name}",
        model=manifest.model.rstrip("/").rpartition("/")[2] if manifest.model.startswith("/") else manifest.model,
        model_fingerprint=manifest.model_fingerprint,
        probe_fingerprint=manifest.probe_fingerprint,
        domains=manifest.domains,
        neuron_count=sum(manifest.layer_widths),
        span_count=manifest.spans,
        byte_size=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    )


def _report(job: Job) -> Report | None:
    files = [artifact for artifact in job.artifacts if artifact.name in REPORT_FILES]
    if not files or job.WhichOneof("spec") not in {"identify_neurons", "build_study"}:
        return None
    return Report(
        name=f"reports/{job.name.removeprefix('jobs/')}",
        job=job.name,
        neuron_sets=job.neuron_sets,
        artifacts=files,
        create_time=job.end_time,
    )

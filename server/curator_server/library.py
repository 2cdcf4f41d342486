"""What the server has: models, neuron sets, atlases and reports, given at the start or made by jobs.

Models and sets that jobs made are in the job database and below the state folder, and are there again after a restart. A set is
offered only when its model is in memory, and a model is named only while it has not been unloaded. Everything here may read the
disk or load a model: callers use a thread. One lock makes changes one after the other; models are loaded outside of it, so that
one which takes minutes delays nobody else, and what has changed meanwhile is looked at again before anything is offered.
"""

from __future__ import annotations

import logging
import re
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from curator.api.v1.catalog_pb2 import Atlas, Model, NeuronSet, Report
from curator.errors import AlreadyExistsError, ArtifactNotFoundError, CuratorError, JobError, ModelNotFoundError
from curator.files import atomic_folder, inside, partial_name
from curator.orders import OfferedSet, Result
from curator_server.jobs.catalog_store import KeptSet
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.sources import kind_of
from curator_server.jobs.specs import claims_of, set_name
from curator_server.jobs.store import Job, Store
from curator_server.registry import Entry, Registry
from curator_server.views import REPORT_FILES, atlas_of, report_of, unloaded_set

logger = logging.getLogger(__name__)
_ATLAS = re.compile(r"[A-Za-z0-9][\w.-]*")
_READS_ATLASES = frozenset({"identify_neurons", "build_study"})


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
        self._kept = store.catalog
        self._lock = threading.RLock()

    def restore(self) -> None:
        """Offer the neuron sets of earlier servers; one that cannot be opened is logged and left out."""
        self._kept.end_lost_loads()
        for model in self._kept.models().values():
            if model.state == Model.STATE_ACTIVE:
                self._offer(self._opened_for(model))

    def models(self) -> dict[str, Model]:
        """Models that jobs have loaded, by name."""
        return self._kept.models()

    def atlases(self) -> dict[str, Atlas]:
        """Atlases on disk, by name. Cost: reading each manifest."""
        folder = self._settings.atlases
        found = (atlas_of(path) for path in sorted(folder.iterdir())) if folder.is_dir() else ()
        return {atlas.name: atlas for atlas in found if atlas is not None}

    def reports(self) -> dict[str, Report]:
        """Reports of the jobs that are kept, by name."""
        found = (report_of(job) for job in self._store.with_files(REPORT_FILES))
        return {report.name: report for report in found if report is not None}

    def unloaded_sets(self) -> dict[str, NeuronSet]:
        """The neuron sets whose model is not loaded, by the names under which they would be offered."""
        offered = {entry.kept for entry in self._registry.entries.values()}
        return {
            name: unloaded_set(kept, name, target)
            for kept in self._kept.sets()
            if kept.name not in offered
            for name, target in self._kept.offered_names(kept).items()
        }

    def require_free(self, job: Job) -> None:
        """Raise AlreadyExistsError when a name that the job would give stands for something else."""
        if job.model:
            given = {entry.model for entry in self._registry.entries.values() if not entry.kept}
            if job.model in given:
                raise AlreadyExistsError(
                    f"There is another model {job.model!r} already; choose another model_id, or unload it."
                )
            self._kept.require_free_model(job.model, job.load_model)
        self._kept.require_free(claims_of(job))

    def publish(self, job: Job, result: Result, folder: Path) -> list[str]:
        """Take in what a job made; see ``course.Catalog``. Raises what loading a model raises, AlreadyExistsError for a name."""
        if result.model is not None:
            self._publish_model(job, result)
        return self._publish_set(job, folder / result.neuron_set) if result.neuron_set else []

    def unload(self, name: str) -> None:
        """Forget a model and offer its sets no longer. Raises ModelNotFoundError, JobError while it is being loaded."""
        with self._lock:
            model = self._kept.models().get(name)
            if model is None:
                self._refuse_given(lambda entry: entry.model == name)
                raise ModelNotFoundError(f"There is no model {name!r} here; ListModels names those that are.")
            if model.state == Model.STATE_LOADING:
                raise JobError(f"The model {name!r} is being loaded; cancel the job that loads it.")
            self._kept.delete_model(name)
            self._registry.remove([entry.name for entry in self._registry.entries.values() if entry.model == name])
            self._forget_unused(model.fingerprint)

    def delete_set(self, name: str) -> None:
        """Remove a neuron set with all its targets, whether or not its model is loaded.

        Raises ArtifactNotFoundError, JobError for one given at the start.
        """
        with self._lock:
            self._refuse_given(lambda entry: entry.name == name)
            entry = self._registry.entries.get(name)
            kept = self._kept.set_of(name if entry is None else entry.kept)
            if kept is None:
                raise ArtifactNotFoundError(
                    f"There is no neuron set {name!r} here; ListNeuronSets names those that are."
                )
            self._kept.delete_set(kept)
            self._registry.remove([one.name for one in self._registry.entries.values() if one.kept == kept.name])
            shutil.rmtree(kept.folder, ignore_errors=True)

    def delete_atlas(self, name: str) -> None:
        """Remove an atlas. Raises ArtifactNotFoundError, JobError while a job is at work that may read it."""
        identity = name.removeprefix("atlases/")
        folder = self._settings.atlases
        if not name.startswith("atlases/") or not _ATLAS.fullmatch(identity) or not (inside(folder, identity)).is_dir():
            raise ArtifactNotFoundError(f"There is no atlas {name!r} here; ListAtlases names those that are.")
        if reading := [job.name for job in self._store.at_work() if kind_of(job) in _READS_ATLASES]:
            raise JobError(f"{reading[0]} is at work and may read the atlas; wait until it has ended, or cancel it.")
        gone = partial_name(inside(folder, identity))
        inside(folder, identity).rename(gone)  # at once: a job that begins now finds all of it or nothing
        shutil.rmtree(gone, ignore_errors=True)

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
        opened = self._opened_for(model)
        with self._lock:
            self._kept.put_model(model, job.load_model)
            self._offer(opened)

    def _publish_set(self, job: Job, made: Path) -> list[str]:
        """The names under which a set is offered; it is kept, and not offered, when its model was unloaded meanwhile."""
        name = set_name(job.identify_neurons)
        self._kept.require_own(name, job.uid)
        folder = self._settings.neuron_sets / name.removeprefix("models/").replace("/neuronSets/", "/")
        with atomic_folder(folder) as partial:
            shutil.copytree(made, partial, dirs_exist_ok=True)
        kept = KeptSet(name, folder, job.name, float(job.create_time.ToSeconds()), job.uid)
        entries = self._open(kept)
        fingerprint = entries[0].offered.scorer.model_fingerprint
        with self._lock:
            model = self._kept.models().get(job.identify_neurons.model)
            if model is not None and model.fingerprint == fingerprint:
                self._registry.add(entries)
            else:
                self._forget_unused(fingerprint)
            try:
                self._kept.put_set(replace(kept, fingerprint=fingerprint))
            except CuratorError:
                self._registry.remove([entry.name for entry in entries])
                raise
        return [entry.name for entry in entries]

    def _opened_for(self, model: Model) -> list[tuple[KeptSet, list[Entry]]]:
        """The sets that were made with the weights of a model; slow where the model is not in memory yet."""
        found: list[tuple[KeptSet, list[Entry]]] = []
        for kept in self._kept.sets():
            if not kept.name.startswith(f"{model.name}/neuronSets/") or kept.fingerprint not in {"", model.fingerprint}:
                continue
            try:
                entries = self._open(kept)
            except (CuratorError, OSError):
                logger.exception("a neuron set cannot be offered", extra={"neuron_set": kept.name})
            else:
                fitting = [one for one in entries if one.offered.scorer.model_fingerprint == model.fingerprint]
                found.append((kept, fitting))
        return found

    def _offer(self, opened: Sequence[tuple[KeptSet, list[Entry]]]) -> None:
        """Offer sets that are still kept; one whose name is taken is logged and left out."""
        with self._lock:
            there = set(self._kept.sets())
            for kept, entries in opened:
                try:
                    self._registry.add(entries if kept in there else [])
                except CuratorError:
                    logger.exception("a neuron set cannot be offered", extra={"neuron_set": kept.name})

    def _open(self, kept: KeptSet) -> list[Entry]:
        model = kept.name.partition("/neuronSets/")[0]
        return [
            Entry(f"{model}/neuronSets/{one.scorer.name}", one, kept.name, kept.job, kept.created)
            for one in self._shelf.open(kept.folder)
        ]

    def _forget_unused(self, fingerprint: str) -> None:
        in_use = {entry.offered.scorer.model_fingerprint for entry in self._registry.entries.values()}
        if fingerprint not in in_use:
            self._shelf.forget(fingerprint)

    def _refuse_given(self, chosen: Callable[[Entry], bool]) -> None:
        if any(chosen(entry) and not entry.kept for entry in self._registry.entries.values()):
            raise JobError("It was given when the server was started; start the server without it.")

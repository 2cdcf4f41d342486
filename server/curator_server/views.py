"""The catalog's resources as the wire carries them: models and neuron sets of the registry, atlases on disk, reports of jobs.

What a client learns of the server's folders is the last part of a path. Cost: reading each atlas's manifest; callers use a
thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from curator.api.v1.catalog_pb2 import Atlas, Model, NeuronSet, Report
from curator.errors import ArtifactError
from curator_server.jobs.catalog_store import KeptSet
from curator_server.jobs.store import Job
from curator_server.registry import Registry, model_resource

REPORT_FILES = ("report.html", "report.json", "study.json")


def given_models(registry: Registry) -> dict[str, Model]:
    """The models of the scorers that were given at the start, by name."""
    models: dict[str, Model] = {}
    for entry in registry.entries.values():
        if not entry.kept:
            name, offered = model_resource(entry.offered.scorer), entry.offered
            models[name] = Model(
                name=name,
                repo=shown_name(offered.model),
                revision=offered.revision,
                fingerprint=offered.scorer.model_fingerprint,
                state=Model.STATE_ACTIVE,
            )
    return models


def shown_models(models: Mapping[str, Model]) -> dict[str, Model]:
    """The models that jobs have loaded, without the folders that they lie in."""
    shown: dict[str, Model] = {}
    for name, model in models.items():
        shown[name] = Model()
        shown[name].CopyFrom(model)
        shown[name].repo = shown_name(model.repo)
    return shown


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


def unloaded_set(kept: KeptSet, name: str, target: str) -> NeuronSet:
    """A neuron set that is kept but cannot be scored with, as it is offered under a name for a domain."""
    found = NeuronSet(name=name, target=target, job=kept.job, model_fingerprint=kept.fingerprint, unloaded=True)
    found.create_time.FromSeconds(int(kept.created))
    return found


def shown_name(model: str) -> str:
    """The name of a model without the folders that it lies in."""
    return model.rstrip("/").rpartition("/")[2] if Path(model).is_absolute() else model


def atlas_of(path: Path) -> Atlas | None:
    """The atlas of a folder; None where there is no whole one."""
    from curator.atlas.store import load_atlas

    try:
        manifest = load_atlas(path, verify=False).manifest
    except ArtifactError:  # unfinished or damaged: the job that needs it makes it again
        return None
    return Atlas(
        name=f"atlases/{path.name}",
        model=shown_name(manifest.model),
        model_fingerprint=manifest.model_fingerprint,
        probe_fingerprint=manifest.probe_fingerprint,
        domains=manifest.domains,
        neuron_count=sum(manifest.layer_widths),
        span_count=manifest.spans,
        byte_size=sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
    )


def report_of(job: Job) -> Report | None:
    """The report of a job that has made one; ``job`` holds the artifacts of ``REPORT_FILES``."""
    if not job.artifacts or job.WhichOneof("spec") not in {"identify_neurons", "build_study"}:
        return None
    return Report(
        name=f"reports/{job.name.removeprefix('jobs/')}",
        job=job.name,
        neuron_sets=job.neuron_sets,
        artifacts=job.artifacts,
        create_time=job.end_time,
    )

"""Measures one size of a scaling study: an anchor and its peers, from their atlases, to a ``StudyPoint``.

Atlases that exist are read, so adding a size to a study runs only the new models, and a point that a study has already is not
measured again (``kept``). Quick: counts of the anchor's neurons under the three rules, beside what the same rules find in the
decoys; a forward pass per new model, then four matchings per peer. Full: everything in ``full`` as well. Points stand beside each
other only when probe and settings are the same. It does not fit curves: see ``verdict`` and ``analysis``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from curator.errors import FingerprintError
from curator.neuronset.identify import IdentifySettings, Reporter, Silent, atlas_of
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scaling.counted import counted
from curator.scaling.full import Group, Measured, full_point
from curator.scaling.points import Study, StudyPoint
from curator.text.probe import ProbeCorpus


class Depth(BaseModel):
    """How much of each size is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    full: bool = Field(default=False, description="Everything, or the counts alone, without models beside the group.")
    replicates: int = Field(default=200, ge=0, description="Replicates of the fold bootstrap in a full study.")


QUICK = Depth()


def measure_group(
    label: str,
    group: Group,
    corpus: ProbeCorpus,
    *,
    atlases: Path,
    settings: IdentifySettings,
    depth: Depth = QUICK,
    reporter: Reporter | None = None,
    workers: int = 1,
) -> tuple[StudyPoint, dict[str, str]]:
    """The point of one group of size-matched models, and the models' fingerprints by name.

    Raises what loading models, making atlases and matching raises.
    """
    reporter = reporter or Silent()
    made = [atlas_of(model, corpus, settings.atlas, atlases, reporter, workers=workers) for model in group.peers]
    anchor, backbone = atlas_of(group.models[0], corpus, settings.atlas, atlases, reporter, workers=workers)
    found = [anchor, *(atlas for atlas, _ in made)]
    del made  # the peers' weights
    beside = []
    if depth.full:
        beside = [
            atlas_of(model, corpus, settings.atlas, atlases, reporter, workers=workers)[0] for model in group.beside
        ]
        measured = Measured(label, group, tuple(found), tuple(beside), backbone, corpus, settings, depth.replicates)
        point = full_point(measured, atlases, reporter)
    else:
        reporter.stage(f"matching {label}", len(group.peers))
        point = counted(label, find_rosetta_neurons(found[0], found[1:], settings.match))
        reporter.advance(len(group.peers))
    return point, {atlas.manifest.model: atlas.manifest.model_fingerprint for atlas in (*found, *beside)}


def measure_groups(
    groups: Mapping[str, Group],
    corpus: ProbeCorpus,
    *,
    atlases: Path,
    settings: IdentifySettings,
    depth: Depth = QUICK,
    study: Study | None = None,
    reporter: Reporter | None = None,
    workers: int = 1,
) -> Iterator[Study]:
    """The study after each size, to be saved as it grows; ``study`` is what there is already.

    Raises as ``measure_group`` and ``extended`` do.
    """
    reporter = reporter or Silent()
    for label, group in groups.items():
        if study and study.probe_fingerprint == corpus.fingerprint and kept(study, label, group, depth):
            reporter.stage(f"{label} (kept from before)")
        else:
            point, fingerprints = measure_group(
                label,
                group,
                corpus,
                atlases=atlases,
                settings=settings,
                depth=depth,
                reporter=reporter,
                workers=workers,
            )
            study = extended(study, point, fingerprints, corpus.fingerprint, settings)
        yield study


def kept(study: Study | None, label: str, group: Group, depth: Depth) -> bool:
    """Whether the study has this point already: of the same models by name and weights, and at least as deep."""
    point = next((point for point in study.points if point.label == label), None) if study else None
    if study is None or point is None or (depth.full and not point.full):
        return False
    if depth.full and len(point.paper_draws) < depth.replicates:
        return False
    names = tuple(model.shown for model in group.models)
    beside = tuple(model.shown for model in group.beside) if depth.full else point.beside
    if names != (point.anchor, *point.peers) or beside != point.beside:
        return False
    models = (*group.models, *(group.beside if depth.full else ()))
    return all(study.model_fingerprints.get(model.shown) == model.fingerprint() for model in models)


def extended(
    study: Study | None, point: StudyPoint, models: dict[str, str], probe: str, dials: IdentifySettings
) -> Study:
    """The study with one more point. Raises FingerprintError unless probe and settings are those of the other points."""
    settings = flat_settings(dials)
    seeds = {"atlas": dials.atlas.seed, "matching": dials.match.seed}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if study is None:
        study = Study(points=(), probe_fingerprint=probe, settings=settings, seeds=seeds)
    for what, there, here in (
        ("probe corpus", study.probe_fingerprint, probe),
        ("settings", study.settings, settings),
        ("seeds", study.seeds, seeds),
    ):
        if there != here:
            raise FingerprintError(
                f"The study was made with another {what}; its points cannot stand beside {point.label}."
            )
    added = study.with_point(point, created=now)
    return Study(**{**dict(added), "model_fingerprints": {**study.model_fingerprints, **models}})


def flat_settings(dials: IdentifySettings) -> dict[str, Any]:
    """The settings that decide a study's counts, as ``table.field``."""
    return {
        f"{table}.{name}": value
        for table, values in (("atlas", dials.atlas), ("match", dials.match))
        for name, value in values.model_dump(exclude={"seed"}).items()
    }

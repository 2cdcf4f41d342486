"""Measures one size of a scaling study: an anchor and its peers, from their atlases, to a ``StudyPoint``.

Atlases that exist are read, so adding a size to a study runs only the new models. Counts are of the anchor's neurons under
the three rules, beside what the same rules find in the decoys. Cost: a forward pass per new model, then four matchings per
peer. Points stand beside each other only when probe and settings are the same. It does not fit curves: see ``verdict``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from curator.errors import FingerprintError
from curator.neuronset.identify import IdentifySettings, ModelChoice, Reporter, Silent, atlas_of
from curator.rosetta.neurons import find_rosetta_neurons
from curator.scaling.points import NullCounts, Study, StudyPoint, mean_neurons
from curator.text.probe import ProbeCorpus


def measure_group(
    label: str,
    anchor: ModelChoice,
    peers: Sequence[ModelChoice],
    corpus: ProbeCorpus,
    *,
    atlases: Path,
    settings: IdentifySettings,
    reporter: Reporter | None = None,
    workers: int = 1,
) -> tuple[StudyPoint, dict[str, str]]:
    """The point of one group of size-matched models, and the models' fingerprints by name."""
    reporter = reporter or Silent()
    found = [
        atlas_of(model, corpus, settings.atlas, atlases, reporter, workers=workers)[0] for model in (anchor, *peers)
    ]
    reporter.stage(f"matching {label}", len(peers))
    rosetta = find_rosetta_neurons(found[0], found[1:], settings.match)
    reporter.advance(len(peers))
    counts, nulls = rosetta.counts(), rosetta.null_counts
    point = StudyPoint(
        label=label,
        anchor=anchor.shown,
        peers=tuple(peer.shown for peer in peers),
        neurons_anchor=found[0].neurons,
        neurons_mean=mean_neurons([atlas.neurons for atlas in found]),
        paper=counts["paper"],
        strict=counts["strict"],
        universal=counts["universal"],
        mean_correlation=float(rosetta.mean_rho.mean()) if len(rosetta.mean_rho) else None,
        decoy_derangement=NullCounts(paper=nulls["deranged_paper"], strict=nulls["deranged_strict"]),
        decoy_rotation=NullCounts(paper=nulls["rotated_paper"], strict=nulls["rotated_strict"]),
        half_jaccard=rosetta.half_jaccard,
        spans=found[0].manifest.spans,
        tokens=found[0].manifest.tokens,
    )
    return point, {atlas.manifest.model: atlas.manifest.model_fingerprint for atlas in found}


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

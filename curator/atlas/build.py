"""Builds an atlas: one forward pass over the probe corpus, by one worker or several, resumed where it was interrupted.

The pass works in a folder beside the atlas' place, ``NAME.work``; what a killed process left there is gone on from, and the
result is the same to the byte as that of an uninterrupted pass. Several workers each make a part (``Share``), on one machine or
many, and the parts are merged. Cost: see ``forward_pass``; disk, while it works, about twice that of the atlas.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from curator.atlas.chunks import cut_chunks
from curator.atlas.forward_pass import SNAPSHOT_SECONDS, Progress, run_pass
from curator.atlas.merge import Finished, merge_parts
from curator.atlas.part import Part, part_header
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import Atlas
from curator.errors import InsufficientDataError
from curator.files import exclusive
from curator.lm.backbone import Backbone
from curator.settings import AtlasSettings
from curator.shares import Share
from curator.text.probe import ProbeCorpus


def work_folder(folder: Path) -> Path:
    """Where the parts of the atlas ``folder`` are made."""
    return folder.with_name(f"{folder.name}.work")


def build_part(
    backbone: Backbone,
    corpus: ProbeCorpus,
    settings: AtlasSettings,
    work: Path,
    share: Share | None = None,
    *,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
    save_end: bool = True,
) -> Finished:
    """One worker's share of a pass, complete, in a folder of its own inside ``work``.

    Args:
        backbone: the model.
        corpus: the probe corpus, the same for every worker.
        settings: of the atlas.
        work: folder of the parts.
        share: which part; all of it by default.
        progress: called with (documents done, documents of the part).
        snapshot_seconds: time between snapshots, from which a killed pass goes on.
        save_end: save the complete part; not needed when it is merged at once.

    Raises:
        InsufficientDataError: fewer spans than dimensions of the sketch.
        ModelError: the model computes values that are not finite.
        StorageError: the disk has no room.
        ConfigError: another process makes the same part.
    """
    share = share or Share()
    keys = SpanKeys(corpus, settings)
    if keys.total_spans < settings.sketch_dimensions:
        raise InsufficientDataError(
            f"The probe corpus has {keys.total_spans} spans; a sketch of {settings.sketch_dimensions} dimensions needs "
            "more. Raise the token budget or lower sketch_dimensions."
        )
    chunks = cut_chunks(keys)
    with exclusive(work / f"{share}.hold", f"{share} of the atlas of {backbone.name}"):
        part = Part.start(work / str(share), part_header(backbone, corpus, keys, chunks, share))
        sums = run_pass(
            backbone, keys, chunks, part, progress=progress, snapshot_seconds=snapshot_seconds, save_end=save_end
        )
    return Finished(part, sums)


def build_atlas(
    backbone: Backbone,
    corpus: ProbeCorpus,
    settings: AtlasSettings,
    folder: Path,
    *,
    progress: Progress | None = None,
    snapshot_seconds: float = SNAPSHOT_SECONDS,
) -> Atlas:
    """The atlas of one model on one probe corpus, written to ``folder``. Arguments and errors as ``build_part``."""
    work = work_folder(folder)
    part = build_part(
        backbone, corpus, settings, work, progress=progress, snapshot_seconds=snapshot_seconds, save_end=False
    )
    atlas = merge_parts([part], folder)
    shutil.rmtree(work, ignore_errors=True)
    return atlas

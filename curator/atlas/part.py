"""One worker's share of a pass on disk: what it is of, the rows it has written, and a snapshot from which it can go on.

A part folder holds ``part.json`` (model, corpus, settings, which chunks), ``rows.safetensors`` (held-back values and document
means, written in place: writing them twice changes nothing), ``sketch.safetensors`` (the blocks of finished folds) and
``snapshot.safetensors`` (every running sum and the number of the next chunk, replaced by one rename). A process killed at any
moment leaves a snapshot that agrees with the rows before it, and the chunks after it are simply done again. Room for all of it
is reserved before the first forward pass. Parts hold only their own folds, slots and documents, so that workers on several
machines do not each need the whole. Disk: see ``PartHeader.specs``. It does not know how sums are made.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from curator.atlas.chunks import Chunk, chunks_of
from curator.atlas.spankeys import SpanKeys
from curator.atlas.store import AtlasIdentity, DocumentEntry
from curator.errors import ArtifactError
from curator.files import (
    partial_name,
    read_json,
    remove_partials,
    require_free,
    storage_errors,
    sync_folder,
    write_json,
)
from curator.lm.backbone import Backbone
from curator.shares import Share
from curator.tensorfile import Specs, create_tensors, flush, open_tensors, read_metadata, total_bytes
from curator.text.probe import ProbeCorpus

FORMAT = "curator-atlas-part-1"
_HEADER, _ROWS, _SKETCH, _SNAPSHOT = "part.json", "rows.safetensors", "sketch.safetensors", "snapshot.safetensors"


class PartHeader(AtlasIdentity):
    """What a part is of. Two parts belong together when they differ in nothing but their share."""

    format: str = FORMAT
    order_D: tuple[int, ...]
    """Documents in the order of the pass."""
    held_back_F: tuple[int, ...]
    """Held-back spans of each fold."""
    total_spans: int
    ignored_spans: int
    """Leading spans of documents, which no model is asked about."""
    chunks: int
    """Chunks of the whole pass."""
    share: tuple[int, int]
    first_chunk: int
    end_chunk: int
    first_fold: int
    end_fold: int
    first_document: int
    """Place in ``order_D`` of the first of this part's documents."""
    end_document: int

    @property
    def slots(self) -> range:
        """Held-back places that this part may write: those of its folds."""
        return range(sum(self.held_back_F[: self.first_fold]), sum(self.held_back_F[: self.end_fold]))

    @property
    def mine_D(self) -> tuple[int, ...]:
        """This part's documents in the order of the pass, by their place in the corpus."""
        return self.order_D[self.first_document : self.end_document]

    @property
    def neurons(self) -> int:
        """Number of neurons, N."""
        return sum(self.layer_widths)

    @property
    def identity(self) -> dict[str, object]:
        """Everything that parts of one atlas share."""
        own = {"share", "first_chunk", "end_chunk", "first_fold", "end_fold", "first_document", "end_document"}
        return self.model_dump(exclude=own)

    def specs(self) -> tuple[Specs, Specs]:
        """Arrays of the row file and of the sketch file."""
        documents = len(self.mine_D)
        width = self.settings.sketch_dimensions // self.settings.folds
        folds = self.end_fold - self.first_fold
        rows = {
            "true_VN": (np.float32, (len(self.slots), self.neurons)),
            "decoy_VN": (np.float32, (len(self.slots), self.neurons)),
            "document_DN": (np.float32, (documents, self.neurons)),
            "document_spans_D": (np.int64, (documents,)),
        }
        sketch = {str(layer): (np.float64, (folds, 2, width, units)) for layer, units in enumerate(self.layer_widths)}
        return rows, sketch


def part_header(
    backbone: Backbone, corpus: ProbeCorpus, keys: SpanKeys, chunks: list[Chunk], share: Share
) -> PartHeader:
    """The header of one worker's share."""
    mine = chunks_of(share, chunks, keys)
    folds = [chunks[number].fold for number in mine] or [0]
    before = sum(len(chunk.documents) for chunk in chunks[: mine.start])
    inside = sum(len(chunks[number].documents) for number in mine)
    return PartHeader(
        model=backbone.name,
        revision=backbone.revision,
        model_fingerprint=backbone.fingerprint,
        tokenizer_fingerprint=backbone.tokenizer_fingerprint,
        dtype=str(backbone.dtype).removeprefix("torch."),
        max_tokens=backbone.max_tokens,
        probe_fingerprint=corpus.fingerprint,
        settings=keys.settings,
        layer_widths=tuple(site.width for site in backbone.sites),
        gated=backbone.gated,
        domains=corpus.domains,
        documents=tuple(DocumentEntry(id=d.id, domain=d.domain, source=d.source) for d in corpus.documents),
        order_D=tuple(keys.order_D.tolist()),
        held_back_F=tuple(keys.held_back_F.tolist()),
        total_spans=keys.total_spans,
        ignored_spans=int(np.minimum(keys.length_D, keys.settings.skip_spans).sum()),
        chunks=len(chunks),
        share=(share.index, share.count),
        first_chunk=mine.start,
        end_chunk=mine.stop,
        first_fold=min(folds),
        end_fold=max(folds) + 1 if len(mine) else 0,
        first_document=before,
        end_document=before + inside,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Running sums by name, and the counts beside them."""

    arrays: Mapping[str, np.ndarray]
    counts: Mapping[str, int]


class Part:
    """A part folder that is open for writing or reading."""

    def __init__(
        self, folder: Path, header: PartHeader, rows: dict[str, np.ndarray], sketch: dict[str, np.ndarray]
    ) -> None:
        self.folder, self.header, self.rows, self.sketch = folder, header, rows, sketch

    @classmethod
    def start(cls, folder: Path, header: PartHeader) -> Part:
        """Go on with the part in ``folder`` when it is of the same header and has a snapshot, else begin it anew.

        Call it while nobody else writes there, for what a killed process left is removed. Raises StorageError when the disk
        has no room.
        """
        try:
            found = cls.open(folder, writable=True)
            found.snapshot()
            if found.header == header:
                remove_partials(folder)
                return found
        except ArtifactError:
            pass
        shutil.rmtree(folder, ignore_errors=True)
        row_specs, sketch_specs = header.specs()
        require_free(folder.parent, total_bytes(row_specs) + total_bytes(sketch_specs), f"The atlas of {header.model}")
        with storage_errors(folder):
            folder.mkdir(parents=True)
        rows, sketch = create_tensors(folder / _ROWS, row_specs), create_tensors(folder / _SKETCH, sketch_specs)
        write_json(folder / _HEADER, header.model_dump(mode="json"))
        return cls(folder, header, rows, sketch)

    @classmethod
    def open(cls, folder: Path, *, writable: bool = False) -> Part:
        """A part that exists. Raises ArtifactError when there is none or it is damaged."""
        stored = read_json(folder / _HEADER)
        try:
            header = PartHeader.model_validate(stored)
        except ValidationError as error:
            raise ArtifactError(f"{folder} holds no part of an atlas of this version; build it again.") from error
        rows = open_tensors(folder / _ROWS, writable=writable)
        return cls(folder, header, rows, open_tensors(folder / _SKETCH, writable=writable))

    def save(self, snapshot: Snapshot) -> None:
        """Hand all rows to the disk, then replace the snapshot."""
        target = self.folder / _SNAPSHOT
        temporary = partial_name(target)
        flush(self.rows)
        flush(self.sketch)
        specs = {name: (array.dtype, array.shape) for name, array in snapshot.arrays.items()}
        try:
            views = create_tensors(temporary, specs, {name: str(value) for name, value in snapshot.counts.items()})
            for name, view in views.items():
                view[...] = snapshot.arrays[name]
            flush(views)
            temporary.replace(target)
            sync_folder(self.folder)
        finally:
            temporary.unlink(missing_ok=True)

    @property
    def has_snapshot(self) -> bool:
        """Whether there is something to go on from."""
        return (self.folder / _SNAPSHOT).is_file()

    def snapshot(self) -> Snapshot:
        """The last snapshot. Raises ArtifactError when there is none."""
        path = self.folder / _SNAPSHOT
        return Snapshot(open_tensors(path), {name: int(value) for name, value in read_metadata(path).items()})

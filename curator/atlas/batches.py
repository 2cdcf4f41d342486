"""What one micro-batch contributes: which spans its tokens are pooled onto, and where each of them goes.

Everything that only adds is a set of bags (``pooling.Bags``), computed once a batch and used in every layer: tokens to spans,
spans to documents, spans to sketch rows under the true and the decoy identity. The spans that enter the moments come first,
the held-back ones after them, so that the layer's code takes slices and no masks. Cost: integer work in numpy, a few per cent
of a small model's forward pass. It does not know activations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.chunks import Chunk
from curator.atlas.pooling import Bags, Overlaps, bags, window_overlaps
from curator.atlas.spankeys import Places, SpanKeys
from curator.lm.backbone import Backbone
from curator.lm.batching import MicroBatch, Window, windows

IDENTITIES = ("true", "decoy")


@dataclass(frozen=True, slots=True)
class Tensors:
    """The parts of a batch that the layers need, on the CPU until they are sent to a layer's device; K spans.

    The first ``BatchSpans.sketched`` of the spans enter the moments.
    ``pool`` K bags of padded tokens; ``documents`` D bags of spans, one for each document of the chunk; ``sketch`` for each
    identity w bags of spans, one for each dimension of the fold's block; ``document`` and ``span`` (K,) int32, the document's
    place in the corpus and the span's in the document; ``held_row`` for each identity the held-back spans' rows.
    """

    pool: Bags
    documents: Bags
    sketch: tuple[Bags, Bags]
    document: torch.Tensor
    span: torch.Tensor
    held_row: tuple[torch.Tensor, torch.Tensor]

    def to(self, device: torch.device) -> Tensors:
        """The same on another device."""
        return Tensors(
            self.pool.to(device),
            self.documents.to(device),
            (self.sketch[0].to(device), self.sketch[1].to(device)),
            self.document.to(device),
            self.span.to(device),
            (self.held_row[0].to(device), self.held_row[1].to(device)),
        )


@dataclass(frozen=True, slots=True)
class BatchSpans:
    """A batch: its tensors, and what the pass itself counts.

    ``sketched`` of ``spans`` enter moments and sketch; ``held_slot`` places of the held-back spans for each identity;
    ``ones_2w`` the sketch of the constant one for each identity, float64.
    """

    tensors: Tensors
    spans: int
    sketched: int
    tokens: int
    held_slot: tuple[np.ndarray, np.ndarray]
    ones_2w: np.ndarray


class ChunkSpans:
    """The windows of a chunk's documents and the places of their spans."""

    def __init__(self, backbone: Backbone, keys: SpanKeys, chunk: Chunk) -> None:
        texts = [keys.documents[index].text for index in chunk.documents]
        self.chunk, self.settings = chunk, keys.settings
        self.windows = windows(backbone.tokenizer, texts, backbone.max_tokens, keys.settings.skip_tokens)
        spans = {local: keys.spans(chunk.documents[local]) for local in {window.document for window in self.windows}}
        self._overlaps = window_overlaps(self.windows, spans.__getitem__)
        self._places = {
            local: (keys.places(chunk.documents[local]), keys.places(chunk.documents[local], decoy=True))
            for local in spans
        }

    def batch(self, batch: MicroBatch) -> BatchSpans:
        """The spans of one micro-batch of this chunk's windows."""
        found = [self.windows[index] for index in batch.indices]
        overlaps = [self._overlaps[index] for index in batch.indices]
        columns = _Columns.of(found, overlaps, self._places, int(batch.input_ids.shape[1]))
        first_bucket = self.chunk.fold * (self.settings.sketch_dimensions // self.settings.folds)
        sketches = tuple(
            _sketch_bags(columns, identity, first_bucket, self.settings.sketch_dimensions // self.settings.folds)
            for identity in range(2)
        )
        rows = columns.document_local
        local = np.arange(len(rows))
        held = tuple(np.flatnonzero((columns.slot_2K[i] >= 0) & columns.used_2K[i]) for i in range(2))
        cpu = torch.device("cpu")
        tensors = Tensors(
            pool=bags(columns.pool_row, columns.pool_token, columns.pool_weight, len(rows), cpu),
            documents=bags(rows, local, np.ones(len(rows)), len(self.chunk.documents), cpu),
            sketch=(sketches[0][0], sketches[1][0]),
            document=torch.from_numpy(np.asarray(self.chunk.documents, dtype=np.int32)[rows]),
            span=torch.from_numpy(columns.span.astype(np.int32)),
            held_row=(torch.from_numpy(held[0]), torch.from_numpy(held[1])),
        )
        return BatchSpans(
            tensors=tensors,
            spans=len(rows),
            sketched=int((columns.slot_2K[0] < 0).sum()),
            tokens=int(sum(window.scored.sum() for window in found)),
            held_slot=(columns.slot_2K[0][held[0]], columns.slot_2K[1][held[1]]),
            ones_2w=np.stack([ones for _, ones in sketches]),
        )


@dataclass(frozen=True, slots=True)
class _Columns:
    """The K used spans of a batch, those of the moments first, and the (row, token, weight) triples of their pooling."""

    document_local: np.ndarray
    span: np.ndarray
    bucket_2K: np.ndarray
    sign_2K: np.ndarray
    slot_2K: np.ndarray
    used_2K: np.ndarray
    pool_row: np.ndarray
    pool_token: np.ndarray
    pool_weight: np.ndarray

    @classmethod
    def of(
        cls,
        found: Sequence[Window],
        overlaps: Sequence[Overlaps],
        places: dict[int, tuple[Places, Places]],
        length: int,
    ) -> _Columns:
        """Gather the windows' spans; ``length`` is that of the padded windows."""
        counts = [len(part.spans) for part in overlaps]
        starts = np.cumsum(counts) - counts
        both = [places[window.document] for window in found]
        columns = {
            name: np.stack([_gathered(both, overlaps, identity, name) for identity in range(2)])
            for name in ("bucket", "sign", "slot", "used")
        }
        kept = np.flatnonzero(columns["used"][0])
        order = kept[np.argsort(columns["slot"][0][kept] >= 0, kind="stable")]
        new_row = np.full(int(sum(counts)), -1, dtype=np.int64)
        new_row[order] = np.arange(len(order))
        row = new_row[_joined([part.row + start for part, start in zip(overlaps, starts, strict=True)])]
        token = _joined([part.token + number * length for number, part in enumerate(overlaps)])
        weight = _joined([part.weight for part in overlaps])
        wanted = row >= 0
        document = np.repeat([window.document for window in found], counts)
        return cls(
            document_local=document[order],
            span=_joined([part.spans for part in overlaps])[order],
            bucket_2K=columns["bucket"][:, order],
            sign_2K=columns["sign"][:, order],
            slot_2K=columns["slot"][:, order],
            used_2K=columns["used"][:, order],
            pool_row=row[wanted],
            pool_token=token[wanted],
            pool_weight=weight[wanted],
        )


def _gathered(
    both: Sequence[tuple[Places, Places]], overlaps: Sequence[Overlaps], identity: int, name: str
) -> np.ndarray:
    return _joined([getattr(pair[identity], name)[part.spans] for pair, part in zip(both, overlaps, strict=True)])


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _sketch_bags(columns: _Columns, identity: int, first_bucket: int, width: int) -> tuple[Bags, np.ndarray]:
    """Bags from spans to the rows of the fold's block, and the sum of signs in each row, (w,) float64."""
    chosen = np.flatnonzero((columns.slot_2K[identity] < 0) & columns.used_2K[identity])
    bucket = columns.bucket_2K[identity][chosen] - first_bucket
    sign = columns.sign_2K[identity][chosen]
    ones = np.bincount(bucket, weights=sign, minlength=width)
    return bags(bucket, chosen, sign, width, torch.device("cpu")), ones

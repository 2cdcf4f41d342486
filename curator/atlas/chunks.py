"""The order of a pass: documents fold by fold, in chunks that are a function of the corpus alone.

A chunk is what is tokenised and batched together, and the smallest unit after which a pass can be interrupted or cut between
workers. Because chunks, and the batches in them, depend on nothing but the corpus and the batch size, a pass that was killed and
resumed adds the same numbers in the same order as one that was not. Cost: none. It does not know models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curator.atlas.spankeys import SpanKeys
from curator.shares import Share

_CHUNK_DOCUMENTS = 128
_CHUNK_SPANS = 32_768


@dataclass(frozen=True, slots=True)
class Chunk:
    """Documents of one fold, by their place in the corpus."""

    fold: int
    documents: tuple[int, ...]


def cut_chunks(keys: SpanKeys) -> list[Chunk]:
    """All chunks of a corpus, in order: at most 128 documents, and about 32,768 spans unless one document has more."""
    chunks: list[Chunk] = []
    open_documents: list[int] = []
    spans = 0

    def close() -> None:
        nonlocal open_documents, spans
        if open_documents:
            chunks.append(Chunk(int(keys.fold_D[open_documents[0]]), tuple(open_documents)))
        open_documents, spans = [], 0

    for document in keys.order_D.tolist():
        full = len(open_documents) == _CHUNK_DOCUMENTS or spans + keys.length_D[document] > _CHUNK_SPANS
        if open_documents and (full or keys.fold_D[document] != keys.fold_D[open_documents[0]]):
            close()
        open_documents.append(document)
        spans += int(keys.length_D[document])
    close()
    return chunks


def chunks_of(share: Share, chunks: Sequence[Chunk], keys: SpanKeys) -> range:
    """The chunks of one worker: a run of them that holds about its share of the spans, so that it meets few folds."""
    spans = np.asarray([int(keys.length_D[list(chunk.documents)].sum()) for chunk in chunks])
    middle = np.cumsum(spans) - spans / 2
    edges = np.searchsorted(middle, np.arange(share.count + 1) / share.count * spans.sum())
    return range(int(edges[share.index]), int(edges[share.index + 1]))

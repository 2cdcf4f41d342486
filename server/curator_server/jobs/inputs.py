"""Documents that a caller sends along with a job: checked against the server's limits, cut where they are few, kept as JSONL.

A neuron set is chosen on one part of a domain's text, calibrated on another and measured on a third, parted by source; each part
needs eight documents. So when a domain comes as a handful of examples they are cut into passages, each a source of its own.
What that costs is honesty: passages of one document can lie on both sides, and the quality that the set states is then that
of telling passages of the same documents, not of new ones. From ``FEW`` documents on nothing is cut.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from curator.api.convert import document_from_wire
from curator.api.v1 import common_pb2
from curator.errors import ConfigError, LimitError
from curator.files import atomic_file
from curator.records import Document
from curator.text.rows import SourceOptions

FEW = 64
PASSAGE_CHARS = 400


def check_documents(documents: common_pb2.Documents, limits: common_pb2.Limits) -> None:
    """Raise ConfigError when there is none, LimitError when they are more than one batch may hold."""
    found = documents.documents
    if not any(document.text.strip() for document in found):
        raise ConfigError("The source holds no document with text; send some, or name files.")
    if len(found) > limits.max_batch_documents or documents.ByteSize() > limits.max_batch_bytes:
        raise LimitError(
            f"A job takes at most {limits.max_batch_documents} documents and {limits.max_batch_bytes} bytes with the request; "
            "put more into files that the server reads."
        )


def write_documents(path: Path, documents: common_pb2.Documents, fields: SourceOptions, *, passages: bool) -> None:
    """Write one JSON line a document, under the names of ``fields``; ``passages`` cuts a handful."""
    found = [document_from_wire(wire) for wire in documents.documents]
    named = [replace(one, id=one.id or f"document-{number}") for number, one in enumerate(found, start=1)]
    with atomic_file(path) as handle:
        for document in cut_few(named) if passages else named:
            handle.write((json.dumps(_row(document, fields), ensure_ascii=False) + "\n").encode())


def cut_few(documents: Sequence[Document]) -> Iterator[Document]:
    """The documents, or their passages where they are fewer than ``FEW``; every passage is its own source."""
    if len(documents) >= FEW:
        yield from documents
        return
    for document in documents:
        for number, passage in enumerate(_passages(document.text)):
            name = f"{document.id}#{number}"
            yield replace(document, id=name, source=name, text=passage)


def _passages(text: str) -> Iterator[str]:
    """Pieces of about ``PASSAGE_CHARS`` that end at white space where there is some; a short rest stays with the last."""
    start = 0
    while len(text) - start > 1.5 * PASSAGE_CHARS:
        end = start + PASSAGE_CHARS
        space = max(text.rfind(mark, start + PASSAGE_CHARS // 2, end) for mark in (" ", "\n"))
        end = end if space < 0 else space + 1
        yield text[start:end]
        start = end
    if text[start:].strip():
        yield text[start:]


def _row(document: Document, fields: SourceOptions) -> dict[str, object]:
    return {
        **document.metadata,
        fields.id_field: document.id,
        fields.text_field: document.text,
        fields.source_field: document.source,
        fields.domain_field: document.domain,
    }

"""The payloads of a batch: plain documents, a zstd frame of them, or a zstd frame of JSON lines.

Opening a payload is capped before memory is spent: a frame that declares more than the cap is refused unread, one that
declares nothing is stopped at the cap, and a window above 8 MiB is refused, so a bomb costs at most cap + 8 MiB. A damaged
frame spoils its whole batch; a bad line or a text over the document cap spoils one document. Every payload gives exactly as
many entries as the batch says it holds. zstd level 3 shrinks 64 documents of 1 KB about 3x and costs roughly 5 us a document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zstandard
from google.protobuf.message import DecodeError

from curator.api.convert import document_from_wire
from curator.api.v1 import common_pb2
from curator.errors import DocumentError, LimitError
from curator.records import Document, Rejection, RejectReason

ZSTD_LEVEL = 3
_MAX_WINDOW_BYTES = 8 << 20

Entry = Document | Rejection


@dataclass(frozen=True, slots=True)
class PayloadCaps:
    """What a payload may hold: documents a batch, bytes a batch after decompression, UTF-8 bytes a text."""

    max_documents: int
    max_batch_bytes: int
    max_document_bytes: int


def compress_documents(documents: Sequence[common_pb2.Document]) -> bytes:
    """The ``zstd_documents`` payload: one zstd frame of one Documents message."""
    message = common_pb2.Documents(documents=documents).SerializeToString(deterministic=True)
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(message)


def open_batch(batch: common_pb2.DocumentBatch, caps: PayloadCaps) -> list[Entry]:
    """The documents of a batch, in order, with a Rejection in the place of each that is bad.

    Raises LimitError when the batch is over a cap, and DocumentError when the payload is damaged or its count differs.
    """
    kind = batch.WhichOneof("payload")
    declared = batch.document_count
    if declared > caps.max_documents:
        raise LimitError(
            f"A batch may hold {caps.max_documents} documents, this one says {declared}; send smaller batches."
        )
    if kind == "zstd_documents":
        wire = _parse(decompress(batch.zstd_documents, caps.max_batch_bytes))
        entries = _from_documents(wire, caps.max_documents)
    elif kind == "zstd_jsonl":
        entries = _from_lines(decompress(batch.zstd_jsonl, caps.max_batch_bytes), caps.max_documents)
    else:
        if batch.documents.ByteSize() > caps.max_batch_bytes:
            raise LimitError(f"A batch may hold {caps.max_batch_bytes} bytes; send smaller batches.")
        entries = _from_documents(batch.documents, caps.max_documents)
    if len(entries) != declared and (declared or kind in {"zstd_documents", "zstd_jsonl"}):
        raise DocumentError(f"The batch says {declared} documents and holds {len(entries)}; set document_count.")
    return [_capped(entry, caps.max_document_bytes) for entry in entries]


def decompress(data: bytes, cap: int) -> bytes:
    """One whole zstd frame, at most ``cap`` bytes when open. Raises LimitError or DocumentError."""
    try:
        declared = zstandard.frame_content_size(data)
        if declared > cap:
            raise LimitError(f"The payload opens to {declared} bytes, the limit is {cap}; send smaller batches.")
        opener = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        return opener.decompress(data, max_output_size=max(cap, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise DocumentError(
            f"The payload is not one whole zstd frame of at most {cap} bytes; send it again."
        ) from error


def _parse(data: bytes) -> common_pb2.Documents:
    try:
        return common_pb2.Documents.FromString(data)
    except DecodeError as error:
        raise DocumentError("The payload does not hold a Documents message; check zstd_documents.") from error


def _from_documents(wire: common_pb2.Documents, max_documents: int) -> list[Entry]:
    # Two bytes are a document: the count comes before anything is made of them.
    _check_count(len(wire.documents), max_documents)
    return [document_from_wire(document) for document in wire.documents]


def _check_count(found: int, max_documents: int) -> None:
    if found > max_documents:
        raise LimitError(f"A batch may hold {max_documents} documents, this one has more; send smaller ones.")


def _from_lines(data: bytes, max_documents: int) -> list[Entry]:
    # Split on the newline byte only: str.splitlines would also cut at U+2028 and friends inside a text.
    lines = data.removesuffix(b"\n").split(b"\n", max_documents + 1) if data else []
    _check_count(len(lines), max_documents)
    return [_from_line(line, f"line {number}") for number, line in enumerate(lines, start=1)]


def _from_line(line: bytes, place: str) -> Entry:
    try:
        record = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return Rejection(place, RejectReason.INVALID_UTF8, "The line is not UTF-8.")
    except (ValueError, RecursionError):
        return Rejection(place, RejectReason.INVALID_JSON, "The line is not JSON.")
    if not isinstance(record, dict):
        return Rejection(place, RejectReason.NOT_A_RECORD, "The line is not a JSON object.")
    return _from_record(record, place)


def _from_record(record: dict[str, Any], place: str) -> Entry:
    place = record["id"] if isinstance(record.get("id"), str) else place
    for name in ("id", "text"):
        if name not in record:
            return Rejection(place, RejectReason.MISSING_FIELD, f"There is no field {name!r}.")
    metadata = record.get("metadata") or {}
    fields = [record["id"], record["text"], record.get("domain", ""), record.get("source", "")]
    if not all(isinstance(value, str) and _encodable(value) for value in fields):
        return Rejection(place, RejectReason.FIELD_NOT_TEXT, "id, text, domain and source must be Unicode text.")
    if not isinstance(metadata, dict) or not _finite(metadata):
        return Rejection(
            place, RejectReason.NOT_A_RECORD, "metadata must be a JSON object of Unicode text and finite numbers."
        )
    return Document(*fields, metadata=metadata)


def _encodable(text: str) -> bool:
    """JSON escapes can spell lone surrogates, which neither UTF-8 nor a tokenizer can take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: Any) -> bool:
    """Python reads NaN and Infinity from JSON, and escapes of lone surrogates; shards must stay standard JSON."""
    match value:
        case dict():
            return all(_encodable(key) and _finite(item) for key, item in value.items())
        case list():
            return all(_finite(item) for item in value)
        case float():
            return math.isfinite(value)
        case str():
            return _encodable(value)
        case _:
            return True


def _capped(entry: Entry, max_document_bytes: int) -> Entry:
    if isinstance(entry, Rejection):
        return entry
    size = len(entry.text.encode())
    if size > max_document_bytes:
        detail = f"The text has {size} bytes, the limit is {max_document_bytes}."
        return Rejection(entry.id, RejectReason.RECORD_TOO_LARGE, detail)
    if not entry.text.strip():
        return Rejection(entry.id, RejectReason.EMPTY_TEXT, "The text is empty.")
    return entry

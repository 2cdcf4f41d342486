"""The payloads of a batch: plain documents, a zstd frame of them, or a zstd frame of JSON lines.

Opening a payload is capped before memory is spent: a frame that declares more than the cap is refused unread, one that
declares nothing is stopped at the cap, and a window above 8 MiB is refused, so a bomb costs at most cap + 8 MiB. A damaged
frame spoils its whole batch; a bad line, a text over the document cap, bytes that are not UTF-8 and metadata nested too deeply
spoil one document (``salvage`` reads what protobuf refuses as a whole). Every payload gives exactly as many entries as the
batch says it holds. zstd level 3 shrinks 64 documents of 1 KB about 3x and costs roughly 5 us a document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import zstandard
from google.protobuf.message import DecodeError

from curator.api.convert import MAX_METADATA_DEPTH, document_from_wire
from curator.api.salvage import Salvaged, salvage_documents
from curator.api.v1 import common_pb2
from curator.errors import DocumentError, LimitError
from curator.records import Document, Rejection, RejectReason

ZSTD_LEVEL = 3
_MAX_WINDOW_BYTES = 8 << 20
_FRAMES = frozenset({"zstd_documents", "zstd_jsonl"})

_NOT_PLAIN = (
    f"metadata must be a JSON object of Unicode text and finite numbers, nested at most {MAX_METADATA_DEPTH} levels."
)

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


def document_count(batch: common_pb2.DocumentBatch) -> int:
    """How many documents a batch holds, or says that it holds."""
    return max(batch.document_count, len(batch.documents.documents))


def opened_bytes(batch: common_pb2.DocumentBatch, caps: PayloadCaps) -> int:
    """What the payload of a batch takes when open, without opening it.

    A frame that does not say is counted with the cap, for it may open to that; what is no frame, or says more than it may, with
    its own length, for it is never opened.
    """
    kind = batch.WhichOneof("payload")
    if kind not in _FRAMES:
        return batch.documents.ByteSize()
    frame: bytes = getattr(batch, kind)
    try:
        declared = zstandard.frame_content_size(frame)
    except zstandard.ZstdError:
        return len(frame)
    return caps.max_batch_bytes if declared < 0 else declared if declared <= caps.max_batch_bytes else len(frame)


def check_caps(batch: common_pb2.DocumentBatch, caps: PayloadCaps) -> None:
    """Raise LimitError for a batch that says of itself that it is over a cap: nothing of it need be opened."""
    declared = batch.document_count
    if declared > caps.max_documents:
        raise LimitError(
            f"A batch may hold {caps.max_documents} documents, this one says {declared}; send smaller batches."
        )
    _check_count(len(batch.documents.documents), caps.max_documents)


def open_batch(batch: common_pb2.DocumentBatch, caps: PayloadCaps, *, with_metadata: bool = True) -> list[Entry]:
    """The documents of a batch, in order, with a Rejection in the place of each that is bad.

    ``with_metadata=False`` may leave metadata behind, which scoring does not read. Raises LimitError when the batch is over a
    cap, and DocumentError when the payload is damaged or its count differs.
    """
    check_caps(batch, caps)
    kind, declared = batch.WhichOneof("payload"), batch.document_count
    if kind == "zstd_documents":
        wire = _parse(decompress(batch.zstd_documents, caps.max_batch_bytes), caps.max_documents)
        entries = wire if isinstance(wire, list) else _from_documents(wire, caps.max_documents, with_metadata)
    elif kind == "zstd_jsonl":
        entries = _from_lines(decompress(batch.zstd_jsonl, caps.max_batch_bytes), caps.max_documents)
    else:
        if batch.documents.ByteSize() > caps.max_batch_bytes:
            raise LimitError(f"A batch may hold {caps.max_batch_bytes} bytes; send smaller batches.")
        entries = _from_documents(batch.documents, caps.max_documents, with_metadata)
    if len(entries) != declared and (declared or kind in _FRAMES):
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


def _parse(data: bytes, max_documents: int) -> common_pb2.Documents | list[Entry]:
    """The message, or its entries one by one where protobuf refuses it for the sake of a few."""
    try:
        return common_pb2.Documents.FromString(data)
    except DecodeError:
        found = salvage_documents(data)
    _check_count(len(found), max_documents)
    return [_from_salvaged(one) for one in found]


def _from_salvaged(found: Salvaged) -> Entry:
    return found if isinstance(found, Rejection) else document_from_wire(found)


def _from_documents(wire: common_pb2.Documents, max_documents: int, with_metadata: bool) -> list[Entry]:
    # Two bytes are a document: the count comes before anything is made of them.
    _check_count(len(wire.documents), max_documents)
    return [document_from_wire(document, with_metadata=with_metadata) for document in wire.documents]


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
    if not isinstance(metadata, dict) or not _plain(metadata):
        return Rejection(place, RejectReason.NOT_A_RECORD, _NOT_PLAIN)
    return Document(*fields, metadata=metadata)


def _encodable(text: str) -> bool:
    """JSON escapes can spell lone surrogates, which neither UTF-8 nor a tokenizer can take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any, depth: int = 1) -> bool:
    """Python reads NaN and Infinity from JSON, and escapes of lone surrogates; shards must stay standard JSON.

    The depth is that of metadata on the wire, so that a document is good or bad whatever payload it comes in.
    """
    match value:
        case dict() | list() if depth > MAX_METADATA_DEPTH:
            return False
        case dict():
            return all(_encodable(key) and _plain(item, depth + 1) for key, item in value.items())
        case list():
            return all(_plain(item, depth + 1) for item in value)
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

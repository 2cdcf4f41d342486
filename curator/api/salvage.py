"""What is left of messages that protobuf refuses as a whole: one bad document must not cost its batch, let alone its stream.

Protobuf parses a message all or not at all: one text that is not UTF-8, or metadata nested deeper than it reads, and the
whole request is gone. On the wire a string, bytes and a message inside another are the same, a length and as many bytes, so a
twin of each message that calls them all bytes always parses; every document is then tried on its own. Only what was refused
comes here, so sound requests pay nothing; a bad one costs a parse more and, where the documents came plain, a quick zstd frame:
as such they travel on to ``payload``, which opens every frame this way. What has no readable ``seq`` cannot be answered and
ends its call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import zstandard
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message

from curator.api.v1 import common_pb2
from curator.errors import DocumentError
from curator.records import Rejection, RejectReason

_FAST_LEVEL = -5
_Field = descriptor_pb2.FieldDescriptorProto
_TWINS: Mapping[str, Mapping[str, int]] = {
    "Request": {"config": 1, "batch": 2},
    "Batch": {"documents": 2},
    "Documents": {"documents": 1},
    "Document": {"id": 1, "text": 2, "metadata": 3, "domain": 4, "source": 5},
}
_TEXTS = ("id", "text", "domain", "source")

Salvaged = common_pb2.Document | Rejection


def salvage_request(kind: type[Message], data: bytes) -> Any:
    """A request of ``kind`` (``config`` and ``batch``, as all of ScoringService) with plain documents turned into a frame.

    Raises DecodeError when what is left is no such request either.
    """
    outer = _CLASSES["Request"].FromString(data)
    request: Any = kind()
    if outer.config:
        request.config.MergeFromString(outer.config[-1])
    if outer.batch:
        request.batch.CopyFrom(_salvage_batch(outer.batch[-1]))
    return request


def salvage_documents(data: bytes) -> list[Salvaged]:
    """The documents of a serialised ``Documents`` that does not parse, a Rejection in the place of each that is bad.

    Raises DocumentError when the bytes do not even hold something like documents.
    """
    try:
        found = _CLASSES["Documents"].FromString(data).documents
    except DecodeError as error:
        raise DocumentError("The payload does not hold a Documents message; check zstd_documents.") from error
    return [_salvage_document(one, f"document {number}") for number, one in enumerate(found, start=1)]


def _salvage_batch(data: bytes) -> common_pb2.DocumentBatch:
    twin = _CLASSES["Batch"].FromString(data)
    documents = b"".join(twin.documents)  # of a message that comes twice protobuf reads the parts as one
    twin.ClearField("documents")
    batch = common_pb2.DocumentBatch.FromString(twin.SerializeToString())  # the other fields were kept as unknown ones
    if batch.WhichOneof("payload") is None:
        batch.zstd_documents = zstandard.ZstdCompressor(level=_FAST_LEVEL).compress(documents)
        batch.document_count = batch.document_count or _count(documents)
    return batch


def _count(documents: bytes) -> int:
    try:
        return len(_CLASSES["Documents"].FromString(documents).documents)
    except DecodeError:
        return 0  # opening it will tell


def _salvage_document(data: bytes, place: str) -> Salvaged:
    try:
        return common_pb2.Document.FromString(data)
    except DecodeError:
        return _rejection(data, place)


def _rejection(data: bytes, place: str) -> Rejection:
    try:
        twin = _CLASSES["Document"].FromString(data)
    except DecodeError:
        return Rejection(place, RejectReason.NOT_A_RECORD, "The document is not a Document message.")
    parts = {name: b"".join(getattr(twin, name)[-1:]) for name in _TEXTS}
    place = parts["id"].decode(errors="replace") or place
    if all(_is_utf8(part) for part in parts.values()):
        return Rejection(place, RejectReason.NOT_A_RECORD, "The metadata is not UTF-8, nested too deeply or no Struct.")
    return Rejection(place, RejectReason.INVALID_UTF8, "id, text, domain and source must be UTF-8.")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _make_twins() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="curator/api/salvage.proto", package="curator.api.salvage")
    for name, fields in _TWINS.items():
        message = file.message_type.add(name=name)
        for field, number in fields.items():
            message.field.add(name=field, number=number, type=_Field.TYPE_BYTES, label=_Field.LABEL_REPEATED)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    return {name: classes[f"{file.package}.{name}"] for name in _TWINS}


_CLASSES = _make_twins()

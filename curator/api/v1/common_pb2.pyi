from google.protobuf import struct_pb2 as _struct_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Document(_message.Message):
    __slots__ = ("id", "text", "metadata", "domain", "source")
    ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    text: str
    metadata: _struct_pb2.Struct
    domain: str
    source: str
    def __init__(self, id: _Optional[str] = ..., text: _Optional[str] = ..., metadata: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., domain: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class Documents(_message.Message):
    __slots__ = ("documents",)
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    documents: _containers.RepeatedCompositeFieldContainer[Document]
    def __init__(self, documents: _Optional[_Iterable[_Union[Document, _Mapping]]] = ...) -> None: ...

class DocumentBatch(_message.Message):
    __slots__ = ("seq", "documents", "zstd_documents", "zstd_jsonl", "document_count")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    ZSTD_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    ZSTD_JSONL_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    seq: int
    documents: Documents
    zstd_documents: bytes
    zstd_jsonl: bytes
    document_count: int
    def __init__(self, seq: _Optional[int] = ..., documents: _Optional[_Union[Documents, _Mapping]] = ..., zstd_documents: _Optional[bytes] = ..., zstd_jsonl: _Optional[bytes] = ..., document_count: _Optional[int] = ...) -> None: ...

class DocumentError(_message.Message):
    __slots__ = ("index", "status")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    index: int
    status: _status_pb2.Status
    def __init__(self, index: _Optional[int] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_batch_documents", "max_batch_bytes", "max_inflight_batches", "max_document_bytes", "max_message_bytes")
    MAX_BATCH_DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INFLIGHT_BATCHES_FIELD_NUMBER: _ClassVar[int]
    MAX_DOCUMENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    max_batch_documents: int
    max_batch_bytes: int
    max_inflight_batches: int
    max_document_bytes: int
    max_message_bytes: int
    def __init__(self, max_batch_documents: _Optional[int] = ..., max_batch_bytes: _Optional[int] = ..., max_inflight_batches: _Optional[int] = ..., max_document_bytes: _Optional[int] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

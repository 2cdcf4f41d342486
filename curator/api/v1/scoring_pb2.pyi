import datetime

from curator.api.v1 import common_pb2 as _common_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ScoreConfig(_message.Message):
    __slots__ = ("neuron_set", "etag", "ordering", "truncation")
    class Ordering(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ORDERING_UNSPECIFIED: _ClassVar[ScoreConfig.Ordering]
        ORDERING_BY_SEQ: _ClassVar[ScoreConfig.Ordering]
        ORDERING_AS_COMPLETED: _ClassVar[ScoreConfig.Ordering]
    ORDERING_UNSPECIFIED: ScoreConfig.Ordering
    ORDERING_BY_SEQ: ScoreConfig.Ordering
    ORDERING_AS_COMPLETED: ScoreConfig.Ordering
    class Truncation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        TRUNCATION_UNSPECIFIED: _ClassVar[ScoreConfig.Truncation]
        TRUNCATION_REJECT: _ClassVar[ScoreConfig.Truncation]
        TRUNCATION_HEAD: _ClassVar[ScoreConfig.Truncation]
        TRUNCATION_WINDOWS: _ClassVar[ScoreConfig.Truncation]
    TRUNCATION_UNSPECIFIED: ScoreConfig.Truncation
    TRUNCATION_REJECT: ScoreConfig.Truncation
    TRUNCATION_HEAD: ScoreConfig.Truncation
    TRUNCATION_WINDOWS: ScoreConfig.Truncation
    NEURON_SET_FIELD_NUMBER: _ClassVar[int]
    ETAG_FIELD_NUMBER: _ClassVar[int]
    ORDERING_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    neuron_set: str
    etag: str
    ordering: ScoreConfig.Ordering
    truncation: ScoreConfig.Truncation
    def __init__(self, neuron_set: _Optional[str] = ..., etag: _Optional[str] = ..., ordering: _Optional[_Union[ScoreConfig.Ordering, str]] = ..., truncation: _Optional[_Union[ScoreConfig.Truncation, str]] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("limits", "model_fingerprint", "neuron_set_etag", "neuron_set")
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    NEURON_SET_ETAG_FIELD_NUMBER: _ClassVar[int]
    NEURON_SET_FIELD_NUMBER: _ClassVar[int]
    limits: _common_pb2.Limits
    model_fingerprint: str
    neuron_set_etag: str
    neuron_set: str
    def __init__(self, limits: _Optional[_Union[_common_pb2.Limits, _Mapping]] = ..., model_fingerprint: _Optional[str] = ..., neuron_set_etag: _Optional[str] = ..., neuron_set: _Optional[str] = ...) -> None: ...

class ScoreResult(_message.Message):
    __slots__ = ("seq", "scores", "token_counts", "errors", "timing", "probabilities", "explanations", "batch_error")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_COUNTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ERROR_FIELD_NUMBER: _ClassVar[int]
    seq: int
    scores: _containers.RepeatedScalarFieldContainer[float]
    token_counts: _containers.RepeatedScalarFieldContainer[int]
    errors: _containers.RepeatedCompositeFieldContainer[_common_pb2.DocumentError]
    timing: Timing
    probabilities: _containers.RepeatedScalarFieldContainer[float]
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    batch_error: _status_pb2.Status
    def __init__(self, seq: _Optional[int] = ..., scores: _Optional[_Iterable[float]] = ..., token_counts: _Optional[_Iterable[int]] = ..., errors: _Optional[_Iterable[_Union[_common_pb2.DocumentError, _Mapping]]] = ..., timing: _Optional[_Union[Timing, _Mapping]] = ..., probabilities: _Optional[_Iterable[float]] = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ..., batch_error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("index", "top_neurons")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    TOP_NEURONS_FIELD_NUMBER: _ClassVar[int]
    index: int
    top_neurons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, index: _Optional[int] = ..., top_neurons: _Optional[_Iterable[str]] = ...) -> None: ...

class Timing(_message.Message):
    __slots__ = ("total_ns",)
    TOTAL_NS_FIELD_NUMBER: _ClassVar[int]
    total_ns: int
    def __init__(self, total_ns: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("max_inflight_batches", "retry_delay")
    MAX_INFLIGHT_BATCHES_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_FIELD_NUMBER: _ClassVar[int]
    max_inflight_batches: int
    retry_delay: _duration_pb2.Duration
    def __init__(self, max_inflight_batches: _Optional[int] = ..., retry_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("grace",)
    GRACE_FIELD_NUMBER: _ClassVar[int]
    grace: _duration_pb2.Duration
    def __init__(self, grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ScoreBatchRequest(_message.Message):
    __slots__ = ("config", "batch")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    config: ScoreConfig
    batch: _common_pb2.DocumentBatch
    def __init__(self, config: _Optional[_Union[ScoreConfig, _Mapping]] = ..., batch: _Optional[_Union[_common_pb2.DocumentBatch, _Mapping]] = ...) -> None: ...

class ScoreBatchResponse(_message.Message):
    __slots__ = ("result",)
    RESULT_FIELD_NUMBER: _ClassVar[int]
    result: ScoreResult
    def __init__(self, result: _Optional[_Union[ScoreResult, _Mapping]] = ...) -> None: ...

class ScoreDocumentsRequest(_message.Message):
    __slots__ = ("config", "batch")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    config: ScoreConfig
    batch: _common_pb2.DocumentBatch
    def __init__(self, config: _Optional[_Union[ScoreConfig, _Mapping]] = ..., batch: _Optional[_Union[_common_pb2.DocumentBatch, _Mapping]] = ...) -> None: ...

class ScoreDocumentsResponse(_message.Message):
    __slots__ = ("opened", "result", "credit", "drain")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    result: ScoreResult
    credit: Credit
    drain: Drain
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., result: _Optional[_Union[ScoreResult, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class FilterConfig(_message.Message):
    __slots__ = ("score", "min_score", "min_probability", "target_shard_bytes", "format", "resume_after_seq", "commit_every_bytes")
    class Format(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        FORMAT_UNSPECIFIED: _ClassVar[FilterConfig.Format]
        FORMAT_JSONL_ZST: _ClassVar[FilterConfig.Format]
    FORMAT_UNSPECIFIED: FilterConfig.Format
    FORMAT_JSONL_ZST: FilterConfig.Format
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    TARGET_SHARD_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    RESUME_AFTER_SEQ_FIELD_NUMBER: _ClassVar[int]
    COMMIT_EVERY_BYTES_FIELD_NUMBER: _ClassVar[int]
    score: ScoreConfig
    min_score: float
    min_probability: float
    target_shard_bytes: int
    format: FilterConfig.Format
    resume_after_seq: int
    commit_every_bytes: int
    def __init__(self, score: _Optional[_Union[ScoreConfig, _Mapping]] = ..., min_score: _Optional[float] = ..., min_probability: _Optional[float] = ..., target_shard_bytes: _Optional[int] = ..., format: _Optional[_Union[FilterConfig.Format, str]] = ..., resume_after_seq: _Optional[int] = ..., commit_every_bytes: _Optional[int] = ...) -> None: ...

class FilterDocumentsRequest(_message.Message):
    __slots__ = ("config", "batch")
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    config: FilterConfig
    batch: _common_pb2.DocumentBatch
    def __init__(self, config: _Optional[_Union[FilterConfig, _Mapping]] = ..., batch: _Optional[_Union[_common_pb2.DocumentBatch, _Mapping]] = ...) -> None: ...

class FilterDocumentsResponse(_message.Message):
    __slots__ = ("opened", "chunk", "commit", "credit", "drain", "report", "progress")
    OPENED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    opened: Opened
    chunk: ShardChunk
    commit: ShardCommit
    credit: Credit
    drain: Drain
    report: FilterReport
    progress: FilterProgress
    def __init__(self, opened: _Optional[_Union[Opened, _Mapping]] = ..., chunk: _Optional[_Union[ShardChunk, _Mapping]] = ..., commit: _Optional[_Union[ShardCommit, _Mapping]] = ..., credit: _Optional[_Union[Credit, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ..., report: _Optional[_Union[FilterReport, _Mapping]] = ..., progress: _Optional[_Union[FilterProgress, _Mapping]] = ...) -> None: ...

class FilterProgress(_message.Message):
    __slots__ = ("processed_seq",)
    PROCESSED_SEQ_FIELD_NUMBER: _ClassVar[int]
    processed_seq: int
    def __init__(self, processed_seq: _Optional[int] = ...) -> None: ...

class ShardChunk(_message.Message):
    __slots__ = ("shard_id", "offset", "data", "crc32")
    SHARD_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    shard_id: str
    offset: int
    data: bytes
    crc32: int
    def __init__(self, shard_id: _Optional[str] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ..., crc32: _Optional[int] = ...) -> None: ...

class ShardCommit(_message.Message):
    __slots__ = ("shard_id", "byte_size", "sha256", "document_count", "committed_seq", "partial_report")
    SHARD_ID_FIELD_NUMBER: _ClassVar[int]
    BYTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_SEQ_FIELD_NUMBER: _ClassVar[int]
    PARTIAL_REPORT_FIELD_NUMBER: _ClassVar[int]
    shard_id: str
    byte_size: int
    sha256: bytes
    document_count: int
    committed_seq: int
    partial_report: FilterReport
    def __init__(self, shard_id: _Optional[str] = ..., byte_size: _Optional[int] = ..., sha256: _Optional[bytes] = ..., document_count: _Optional[int] = ..., committed_seq: _Optional[int] = ..., partial_report: _Optional[_Union[FilterReport, _Mapping]] = ...) -> None: ...

class FilterReport(_message.Message):
    __slots__ = ("documents_in", "documents_kept", "tokens_in", "tokens_kept", "documents_failed", "probability_histogram", "histogram_edges", "documents_rejected", "not_kept_by_reason")
    class NotKeptByReasonEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DOCUMENTS_IN_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_KEPT_FIELD_NUMBER: _ClassVar[int]
    TOKENS_IN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_KEPT_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FAILED_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_EDGES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_REJECTED_FIELD_NUMBER: _ClassVar[int]
    NOT_KEPT_BY_REASON_FIELD_NUMBER: _ClassVar[int]
    documents_in: int
    documents_kept: int
    tokens_in: int
    tokens_kept: int
    documents_failed: int
    probability_histogram: _containers.RepeatedScalarFieldContainer[int]
    histogram_edges: _containers.RepeatedScalarFieldContainer[float]
    documents_rejected: int
    not_kept_by_reason: _containers.ScalarMap[str, int]
    def __init__(self, documents_in: _Optional[int] = ..., documents_kept: _Optional[int] = ..., tokens_in: _Optional[int] = ..., tokens_kept: _Optional[int] = ..., documents_failed: _Optional[int] = ..., probability_histogram: _Optional[_Iterable[int]] = ..., histogram_edges: _Optional[_Iterable[float]] = ..., documents_rejected: _Optional[int] = ..., not_kept_by_reason: _Optional[_Mapping[str, int]] = ...) -> None: ...

import datetime

from curator.api.v1 import common_pb2 as _common_pb2
from curator.api.v1 import scoring_pb2 as _scoring_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Job(_message.Message):
    __slots__ = ("name", "uid", "revision", "state", "error", "progress", "create_time", "start_time", "end_time", "expire_time", "identify_neurons", "filter_dataset", "load_model", "build_study", "artifacts", "neuron_sets", "model", "artifact_count")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Job.State]
        STATE_PENDING: _ClassVar[Job.State]
        STATE_RUNNING: _ClassVar[Job.State]
        STATE_CANCELLING: _ClassVar[Job.State]
        STATE_SUCCEEDED: _ClassVar[Job.State]
        STATE_FAILED: _ClassVar[Job.State]
        STATE_CANCELLED: _ClassVar[Job.State]
    STATE_UNSPECIFIED: Job.State
    STATE_PENDING: Job.State
    STATE_RUNNING: Job.State
    STATE_CANCELLING: Job.State
    STATE_SUCCEEDED: Job.State
    STATE_FAILED: Job.State
    STATE_CANCELLED: Job.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    UID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    IDENTIFY_NEURONS_FIELD_NUMBER: _ClassVar[int]
    FILTER_DATASET_FIELD_NUMBER: _ClassVar[int]
    LOAD_MODEL_FIELD_NUMBER: _ClassVar[int]
    BUILD_STUDY_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    NEURON_SETS_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    uid: str
    revision: int
    state: Job.State
    error: _status_pb2.Status
    progress: Progress
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    identify_neurons: IdentifyNeuronsSpec
    filter_dataset: FilterDatasetSpec
    load_model: LoadModelSpec
    build_study: BuildStudySpec
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    neuron_sets: _containers.RepeatedScalarFieldContainer[str]
    model: str
    artifact_count: int
    def __init__(self, name: _Optional[str] = ..., uid: _Optional[str] = ..., revision: _Optional[int] = ..., state: _Optional[_Union[Job.State, str]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., identify_neurons: _Optional[_Union[IdentifyNeuronsSpec, _Mapping]] = ..., filter_dataset: _Optional[_Union[FilterDatasetSpec, _Mapping]] = ..., load_model: _Optional[_Union[LoadModelSpec, _Mapping]] = ..., build_study: _Optional[_Union[BuildStudySpec, _Mapping]] = ..., artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., neuron_sets: _Optional[_Iterable[str]] = ..., model: _Optional[str] = ..., artifact_count: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("done", "total", "unit", "stage", "checkpointed")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTED_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    unit: str
    stage: str
    checkpointed: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., unit: _Optional[str] = ..., stage: _Optional[str] = ..., checkpointed: _Optional[int] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("name", "media_type", "byte_size", "sha256")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    BYTE_SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    name: str
    media_type: str
    byte_size: int
    sha256: bytes
    def __init__(self, name: _Optional[str] = ..., media_type: _Optional[str] = ..., byte_size: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...

class DataSource(_message.Message):
    __slots__ = ("hugging_face", "files", "documents", "text_field", "id_field")
    HUGGING_FACE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_FIELD_NUMBER: _ClassVar[int]
    hugging_face: HuggingFaceSource
    files: FileSource
    documents: _common_pb2.Documents
    text_field: str
    id_field: str
    def __init__(self, hugging_face: _Optional[_Union[HuggingFaceSource, _Mapping]] = ..., files: _Optional[_Union[FileSource, _Mapping]] = ..., documents: _Optional[_Union[_common_pb2.Documents, _Mapping]] = ..., text_field: _Optional[str] = ..., id_field: _Optional[str] = ...) -> None: ...

class HuggingFaceSource(_message.Message):
    __slots__ = ("repo", "revision", "config", "split")
    REPO_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    repo: str
    revision: str
    config: str
    split: str
    def __init__(self, repo: _Optional[str] = ..., revision: _Optional[str] = ..., config: _Optional[str] = ..., split: _Optional[str] = ...) -> None: ...

class FileSource(_message.Message):
    __slots__ = ("uris",)
    URIS_FIELD_NUMBER: _ClassVar[int]
    uris: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, uris: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelledSource(_message.Message):
    __slots__ = ("domain", "source")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    domain: str
    source: DataSource
    def __init__(self, domain: _Optional[str] = ..., source: _Optional[_Union[DataSource, _Mapping]] = ...) -> None: ...

class ProbeSpec(_message.Message):
    __slots__ = ("sources", "tokens_per_domain", "seed", "sketch_dimensions")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    SKETCH_DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[LabelledSource]
    tokens_per_domain: int
    seed: int
    sketch_dimensions: int
    def __init__(self, sources: _Optional[_Iterable[_Union[LabelledSource, _Mapping]]] = ..., tokens_per_domain: _Optional[int] = ..., seed: _Optional[int] = ..., sketch_dimensions: _Optional[int] = ...) -> None: ...

class IdentifyNeuronsSpec(_message.Message):
    __slots__ = ("model", "peers", "probe", "targets", "max_neurons", "rosetta_rule", "neuron_set_id", "study")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    MAX_NEURONS_FIELD_NUMBER: _ClassVar[int]
    ROSETTA_RULE_FIELD_NUMBER: _ClassVar[int]
    NEURON_SET_ID_FIELD_NUMBER: _ClassVar[int]
    STUDY_FIELD_NUMBER: _ClassVar[int]
    model: str
    peers: _containers.RepeatedScalarFieldContainer[str]
    probe: ProbeSpec
    targets: _containers.RepeatedScalarFieldContainer[str]
    max_neurons: int
    rosetta_rule: str
    neuron_set_id: str
    study: str
    def __init__(self, model: _Optional[str] = ..., peers: _Optional[_Iterable[str]] = ..., probe: _Optional[_Union[ProbeSpec, _Mapping]] = ..., targets: _Optional[_Iterable[str]] = ..., max_neurons: _Optional[int] = ..., rosetta_rule: _Optional[str] = ..., neuron_set_id: _Optional[str] = ..., study: _Optional[str] = ...) -> None: ...

class BuildStudySpec(_message.Message):
    __slots__ = ("groups", "probe", "depth", "replicates", "append_to")
    class Depth(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DEPTH_UNSPECIFIED: _ClassVar[BuildStudySpec.Depth]
        DEPTH_QUICK: _ClassVar[BuildStudySpec.Depth]
        DEPTH_FULL: _ClassVar[BuildStudySpec.Depth]
    DEPTH_UNSPECIFIED: BuildStudySpec.Depth
    DEPTH_QUICK: BuildStudySpec.Depth
    DEPTH_FULL: BuildStudySpec.Depth
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    REPLICATES_FIELD_NUMBER: _ClassVar[int]
    APPEND_TO_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[StudyGroup]
    probe: ProbeSpec
    depth: BuildStudySpec.Depth
    replicates: int
    append_to: str
    def __init__(self, groups: _Optional[_Iterable[_Union[StudyGroup, _Mapping]]] = ..., probe: _Optional[_Union[ProbeSpec, _Mapping]] = ..., depth: _Optional[_Union[BuildStudySpec.Depth, str]] = ..., replicates: _Optional[int] = ..., append_to: _Optional[str] = ...) -> None: ...

class StudyGroup(_message.Message):
    __slots__ = ("label", "model", "peers", "beside")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    BESIDE_FIELD_NUMBER: _ClassVar[int]
    label: str
    model: str
    peers: _containers.RepeatedScalarFieldContainer[str]
    beside: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, label: _Optional[str] = ..., model: _Optional[str] = ..., peers: _Optional[_Iterable[str]] = ..., beside: _Optional[_Iterable[str]] = ...) -> None: ...

class FilterDatasetSpec(_message.Message):
    __slots__ = ("input", "filter", "output_uri", "resume", "keep_fraction", "token_budget")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_URI_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    KEEP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    input: DataSource
    filter: _scoring_pb2.FilterConfig
    output_uri: str
    resume: bool
    keep_fraction: float
    token_budget: int
    def __init__(self, input: _Optional[_Union[DataSource, _Mapping]] = ..., filter: _Optional[_Union[_scoring_pb2.FilterConfig, _Mapping]] = ..., output_uri: _Optional[str] = ..., resume: bool = ..., keep_fraction: _Optional[float] = ..., token_budget: _Optional[int] = ...) -> None: ...

class LoadModelSpec(_message.Message):
    __slots__ = ("repo", "revision", "dtype")
    REPO_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    repo: str
    revision: str
    dtype: str
    def __init__(self, repo: _Optional[str] = ..., revision: _Optional[str] = ..., dtype: _Optional[str] = ...) -> None: ...

class CreateJobRequest(_message.Message):
    __slots__ = ("job_id", "job", "request_id", "validate_only")
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    job_id: str
    job: Job
    request_id: str
    validate_only: bool
    def __init__(self, job_id: _Optional[str] = ..., job: _Optional[_Union[Job, _Mapping]] = ..., request_id: _Optional[str] = ..., validate_only: bool = ...) -> None: ...

class CreateJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class GetJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs", "next_page_token")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    next_page_token: str
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class DeleteJobRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteJobResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WatchJobRequest(_message.Message):
    __slots__ = ("name", "after_revision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_REVISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_revision: int
    def __init__(self, name: _Optional[str] = ..., after_revision: _Optional[int] = ...) -> None: ...

class WatchJobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class ListArtifactsRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListArtifactsResponse(_message.Message):
    __slots__ = ("artifacts", "next_page_token")
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    next_page_token: str
    def __init__(self, artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DownloadArtifactRequest(_message.Message):
    __slots__ = ("job", "artifact", "read_offset", "read_limit")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    READ_OFFSET_FIELD_NUMBER: _ClassVar[int]
    READ_LIMIT_FIELD_NUMBER: _ClassVar[int]
    job: str
    artifact: str
    read_offset: int
    read_limit: int
    def __init__(self, job: _Optional[str] = ..., artifact: _Optional[str] = ..., read_offset: _Optional[int] = ..., read_limit: _Optional[int] = ...) -> None: ...

class DownloadArtifactResponse(_message.Message):
    __slots__ = ("data", "offset", "crc32")
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    CRC32_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    offset: int
    crc32: int
    def __init__(self, data: _Optional[bytes] = ..., offset: _Optional[int] = ..., crc32: _Optional[int] = ...) -> None: ...

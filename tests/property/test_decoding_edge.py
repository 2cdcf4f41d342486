"""Fuzzing of what strangers send: any bytes give documents within the caps, or an error of ours; the server lives on."""

import json

import grpc
import pytest
import zstandard
from curator_server.app import _Background
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from curator.api.payload import PayloadCaps, open_batch
from curator.api.status import error_from_status, status_from_call
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import ConfigError, DocumentError, LimitError
from curator.records import Document, Rejection
from tests.api.bad_messages import deep_metadata, field, not_utf8
from tests.contract.service_fakes import SETTINGS, LetterScorer

CAPS = PayloadCaps(max_documents=8, max_batch_bytes=4_000, max_document_bytes=300)
SCORE_DOCUMENTS = "/curator.api.v1.ScoringService/ScoreDocuments"
squeeze = zstandard.ZstdCompressor().compress

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=8), inside, max_size=4),
    max_leaves=12,
)
_record = st.fixed_dictionaries(
    {},
    optional={name: _json | st.text(max_size=400) for name in ("id", "text", "domain", "source", "metadata", "more")},
)


def _nest(levels: int, objects: bool) -> bytes:
    """A record with metadata of this many levels; Python's own json could not write the deepest."""
    opening, closing = (b'{"k":', b"}") if objects else (b"[", b"]")
    return b'{"id":"a","text":"b","metadata":{"m":' + opening * levels + b"1" + closing * levels + b"}}"


_deep = st.builds(_nest, st.integers(0, 900), st.booleans())
_lines = st.lists(_deep | (_record | _json).map(lambda value: json.dumps(value).encode()), max_size=12).map(b"\n".join)
_document = st.builds(common_pb2.Document, id=st.text(max_size=8), text=st.text(max_size=120)).map(
    common_pb2.Document.SerializeToString
)
_refused = st.builds(not_utf8, st.sampled_from(("id", "text", "domain", "source"))) | st.builds(
    deep_metadata, st.integers(1, 200)
)
_documents = st.lists(_document | _refused, max_size=12).map(
    lambda found: b"".join(field(1, document) for document in found)
)


@st.composite
def damaged(draw, sound):
    """What is sound, or the same with a stretch of it replaced, doubled, lost or cut off."""
    data = draw(sound)
    if not data or draw(st.booleans()):
        return data
    start = draw(st.integers(0, len(data) - 1))
    end = draw(st.integers(start, min(len(data), start + 8)))
    middle = draw(st.sampled_from((b"", data[start:end] * 2)) | st.binary(max_size=8))
    return data[:start] + middle + (data[end:] if draw(st.booleans()) else b"")


_frame = damaged(st.one_of(damaged(_lines), damaged(_documents), st.binary(max_size=60)).map(squeeze))
_batch = st.builds(
    common_pb2.DocumentBatch, seq=st.just(1), document_count=st.integers(0, 12), zstd_documents=_frame
) | st.builds(common_pb2.DocumentBatch, seq=st.just(1), document_count=st.integers(0, 12), zstd_jsonl=_frame)


def require_sound(entries, batch):
    assert len(entries) <= CAPS.max_documents
    assert len(entries) == batch.document_count
    for entry in entries:
        assert isinstance(entry, Document | Rejection)
        if isinstance(entry, Document):
            assert len(entry.text.encode()) <= CAPS.max_document_bytes
            json.dumps(dict(entry.metadata), allow_nan=False).encode()


@settings(max_examples=600, deadline=None)
@given(_batch)
@example(common_pb2.DocumentBatch(seq=1, document_count=1, zstd_jsonl=squeeze(b"[" * 3_000)))
@example(common_pb2.DocumentBatch(seq=1, document_count=1, zstd_jsonl=squeeze(b'{"id": "a", "text": "\\ud800"}')))
@example(
    common_pb2.DocumentBatch(
        seq=1, document_count=1, zstd_jsonl=squeeze(b'{"id":"a","text":"b","metadata":{"x":1e999}}')
    )
)
@example(common_pb2.DocumentBatch(seq=1, document_count=1, zstd_jsonl=squeeze(b'{"id": ' + b"9" * 3_000 + b"}")))
def test_a_payload_opens_to_documents_within_the_caps_or_is_refused(batch):
    try:
        entries = open_batch(batch, CAPS)
    except (LimitError, DocumentError):
        return
    require_sound(entries, batch)


@settings(max_examples=300, deadline=None)
@given(damaged(_batch.map(common_pb2.DocumentBatch.SerializeToString)))
def test_any_bytes_of_a_message_are_a_batch_or_no_message(data):
    try:
        entries = open_batch(batch := common_pb2.DocumentBatch.FromString(data), CAPS)
    except (DecodeError, LimitError, DocumentError):
        return
    if batch.WhichOneof("payload") in {"zstd_documents", "zstd_jsonl"} or batch.document_count:
        require_sound(entries, batch)


@pytest.fixture(scope="module")
def server():
    small = {"max_batch_documents": 8, "max_batch_bytes": 4_000, "max_document_bytes": 300}
    with _Background(SETTINGS.model_copy(update=small), [LetterScorer()]) as background:
        yield background


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_batch | damaged(_batch.map(common_pb2.DocumentBatch.SerializeToString)), max_size=6))
def test_a_stream_answers_every_batch_or_ends_with_a_status_and_the_server_lives(server, batches):
    sent = [scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()).SerializeToString()]
    sound = True
    for seq, batch in enumerate(batches, start=1):
        if isinstance(batch, bytes):
            sound = False
            sent.append(b"\x12" + bytes([len(batch) & 0x7F]) + batch)
        else:
            batch.seq = seq
            sent.append(scoring_pb2.ScoreDocumentsRequest(batch=batch).SerializeToString())
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(SCORE_DOCUMENTS, None, scoring_pb2.ScoreDocumentsResponse.FromString)(
            iter(sent), timeout=20
        )
        try:
            answers = list(call)
        except grpc.RpcError as error:
            assert not sound
            assert isinstance(error_from_status(status_from_call(error)), ConfigError | DocumentError | LimitError)
        else:
            assert len([one for one in answers if one.HasField("result")]) == len(batches)
        good = scoring_pb2.ScoreDocumentsRequest(
            batch=common_pb2.DocumentBatch(
                seq=1, documents=common_pb2.Documents(documents=[common_pb2.Document(id="a", text="e")])
            )
        )
        again = channel.stream_stream(
            SCORE_DOCUMENTS,
            scoring_pb2.ScoreDocumentsRequest.SerializeToString,
            scoring_pb2.ScoreDocumentsResponse.FromString,
        )(iter([scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()), good]), timeout=60)
        assert [list(one.result.probabilities) for one in again if one.HasField("result")] == [[1.0]]

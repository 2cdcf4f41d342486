"""One bad document costs itself: what protobuf refuses as a whole is read document by document."""

import pytest
import zstandard
from google.protobuf.message import DecodeError

from curator.api.convert import document_to_wire
from curator.api.payload import PayloadCaps, open_batch
from curator.api.salvage import salvage_request
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import DocumentError, LimitError
from curator.records import Document, Rejection, RejectReason
from tests.api.bad_messages import DEEP, field, not_utf8

CAPS = PayloadCaps(max_documents=8, max_batch_bytes=4096, max_document_bytes=100)
GOOD = document_to_wire(Document("good", "fine", metadata={"n": 1})).SerializeToString()
KINDS = [scoring_pb2.ScoreBatchRequest, scoring_pb2.ScoreDocumentsRequest, scoring_pb2.FilterDocumentsRequest]


def request_of(*documents, seq=3, more=b""):
    return field(2, field(2, b"".join(field(1, one) for one in documents)) + bytes([8, seq]) + more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["id", "text", "domain", "source"])
def test_a_text_that_is_not_utf_8_costs_its_document_alone(kind, name):
    data = request_of(GOOD, not_utf8(name), GOOD)
    with pytest.raises(DecodeError):
        kind.FromString(data)
    batch = salvage_request(kind, data).batch
    before, bad, after = open_batch(batch, CAPS)
    assert batch.seq == 3
    assert before == after == Document("good", "fine", metadata={"n": 1})
    assert bad == Rejection(bad.place, RejectReason.INVALID_UTF8, bad.detail)
    assert bad.place == ("b�d" if name == "id" else "bad")


@pytest.mark.parametrize("bad", [DEEP, field(1, b"bad") + field(3, b"\x0a\x03\x0a\x01\xff")], ids=["deep", "key"])
def test_metadata_that_protobuf_does_not_read_costs_its_document_alone(bad):
    data = request_of(GOOD, bad)
    with pytest.raises(DecodeError):
        scoring_pb2.ScoreBatchRequest.FromString(data)
    _, rejected = open_batch(salvage_request(scoring_pb2.ScoreBatchRequest, data).batch, CAPS)
    assert rejected == Rejection("bad", RejectReason.NOT_A_RECORD, rejected.detail)


def test_a_frame_with_a_bad_document_opens_to_the_others():
    sound = [common_pb2.Document(id="good", text="fine")]
    for bad in (not_utf8("text"), DEEP, b"\xff"):
        message = common_pb2.Documents(documents=sound).SerializeToString() + field(1, bad) + field(1, GOOD)
        batch = common_pb2.DocumentBatch(zstd_documents=zstandard.ZstdCompressor().compress(message), document_count=3)
        first, rejected, last = open_batch(batch, CAPS)
        assert (first.id, last.id) == ("good", "good")
        assert isinstance(rejected, Rejection)


def test_the_caps_hold_for_what_is_salvaged():
    many = salvage_request(scoring_pb2.ScoreBatchRequest, request_of(*[not_utf8("text")] * 9)).batch
    with pytest.raises(LimitError, match="8 documents"):
        open_batch(many, CAPS)
    large = field(2, b"y" * 5000) + not_utf8("id")
    with pytest.raises(LimitError):
        open_batch(salvage_request(scoring_pb2.ScoreBatchRequest, request_of(large)).batch, CAPS)


def test_documents_that_are_none_cost_their_batch_and_keep_its_seq():
    batch = salvage_request(scoring_pb2.ScoreBatchRequest, field(2, bytes([8, 7]) + field(2, b"\xff\xff"))).batch
    assert batch.seq == 7
    with pytest.raises(DocumentError, match="Documents message"):
        open_batch(batch, CAPS)


@pytest.mark.parametrize("data", [b"\xff\xff garbage", field(1, b"\x0a\x01\xff"), field(2, b"\xff")])
def test_what_has_no_seq_or_a_bad_configuration_is_no_request(data):
    with pytest.raises(DecodeError):
        salvage_request(scoring_pb2.ScoreDocumentsRequest, data)


def test_configuration_and_count_are_kept():
    config = scoring_pb2.ScoreConfig(neuron_set="law", etag="e")
    data = field(1, config.SerializeToString()) + request_of(not_utf8("text"), more=bytes([40, 2]))
    request = salvage_request(scoring_pb2.ScoreBatchRequest, data)
    assert request.config == config
    with pytest.raises(DocumentError, match="says 2 documents and holds 1"):
        open_batch(request.batch, CAPS)

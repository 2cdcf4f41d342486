"""Every cap at its edge, and bombs: what they cost is bounded, and only they suffer."""

import json
import resource
import threading
import time

import grpc
import pytest
import zstandard
from curator_server.app import running_server
from curator_server.settings import ServerSettings

from curator.api.payload import PayloadCaps, open_batch
from curator.api.status import error_from_status, status_from_call
from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import CuratorError, LimitError
from curator.records import RejectReason
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
MIB = 1 << 20
CAPS = PayloadCaps(max_documents=10, max_batch_bytes=2000, max_document_bytes=100)
SMALL = SETTINGS.model_copy(
    update={
        "max_batch_documents": 10,
        "max_batch_bytes": 2000,
        "max_document_bytes": 100,
        "max_message_bytes": 64 << 10,
    }
)


def documents_of(count, length=1):
    return common_pb2.Documents(
        documents=[common_pb2.Document(id=str(index), text="e" * length) for index in range(count)]
    )


def payloads(count, length=1):
    """The same documents in every form that a batch may have."""
    plain = documents_of(count, length)
    lines = b"\n".join(json.dumps({"id": found.id, "text": found.text}).encode() for found in plain.documents)
    yield common_pb2.DocumentBatch(seq=1, document_count=count, documents=plain)
    squeeze = zstandard.ZstdCompressor(level=19).compress
    yield common_pb2.DocumentBatch(seq=1, document_count=count, zstd_documents=squeeze(plain.SerializeToString()))
    yield common_pb2.DocumentBatch(seq=1, document_count=count, zstd_jsonl=squeeze(lines))


@pytest.mark.parametrize("form", [0, 1, 2])
def test_caps_hold_at_their_edge_in_every_form(form):
    assert len(open_batch(list(payloads(10))[form], CAPS)) == 10
    with pytest.raises(LimitError, match="10 documents"):
        open_batch(list(payloads(11))[form], CAPS)
    [fits] = open_batch(list(payloads(1, 100))[form], CAPS)
    [large] = open_batch(list(payloads(1, 101))[form], CAPS)
    assert len(fits.text) == 100
    assert large.reason is RejectReason.RECORD_TOO_LARGE
    with pytest.raises(LimitError):
        open_batch(list(payloads(1, 2001))[form], CAPS)


def test_many_documents_under_a_false_count_are_counted_before_they_are_made(monkeypatch):
    made = []
    monkeypatch.setattr("curator.api.payload.document_from_wire", made.append)
    swarm = b"\x0a\x00" * 100_000  # two bytes are a document
    caps = PayloadCaps(10, MIB, 100)
    squeezed = zstandard.ZstdCompressor().compress(swarm)
    for batch in (
        common_pb2.DocumentBatch(seq=1, documents=common_pb2.Documents.FromString(swarm)),
        common_pb2.DocumentBatch(seq=1, document_count=1, zstd_documents=squeezed),
        common_pb2.DocumentBatch(seq=1, document_count=1, zstd_jsonl=zstandard.ZstdCompressor().compress(b"\n" * MIB)),
    ):
        with pytest.raises(LimitError, match="10 documents"):
            open_batch(batch, caps)
    assert made == []


def bombs():
    """Frames of kilobytes that open to a gigabyte, with and without saying so, and one that asks for a huge window."""
    block = b"\0" * MIB
    silent = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    yield b"".join([*(silent.compress(block) for _ in range(1024)), silent.flush()])
    honest = zstandard.ZstdCompressor().compressobj(size=1024 * MIB)
    yield b"".join([*(honest.compress(block) for _ in range(1024)), honest.flush()])
    wide = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    open_ended = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    yield open_ended.compress(b"\0" * MIB) + open_ended.flush()
    inner = zstandard.ZstdCompressor().compress(block * 64)
    yield inner + inner  # two frames in one


def test_bombs_are_refused_one_by_one_in_bounded_memory_and_the_stream_goes_on():
    found = list(bombs())
    batches = [
        common_pb2.DocumentBatch(seq=seq, document_count=1, **{kind: bomb})
        for seq, (kind, bomb) in enumerate(
            [(kind, bomb) for bomb in found for kind in ("zstd_documents", "zstd_jsonl")], 1
        )
    ]
    good = common_pb2.DocumentBatch(seq=len(batches) + 1, documents=documents_of(2))
    requests = [scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())]
    requests += [scoring_pb2.ScoreDocumentsRequest(batch=batch) for batch in (*batches, good)]
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers = list(scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(iter(requests), timeout=TIMEOUT))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    refused = [
        answer.result for answer in answers if answer.HasField("result") and answer.result.HasField("batch_error")
    ]
    assert [result.seq for result in refused] == [batch.seq for batch in batches]
    assert all(isinstance(error_from_status(result.batch_error), CuratorError) for result in refused)
    assert len(answers[-1].result.scores) == 2
    # Eight are open at a time, each may cost the batch cap and a window of 8 MiB.
    assert grown < SETTINGS.max_inflight_batches * (SETTINGS.max_batch_bytes + 8 * MIB)


def test_a_message_over_its_cap_ends_its_call_with_a_status_and_the_server_lives():
    options = [("grpc.max_send_message_length", -1)]
    with running_server(SMALL, [LetterScorer()]) as address, grpc.insecure_channel(address, options) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            request = scoring_pb2.ScoreBatchRequest(batch=common_pb2.DocumentBatch(documents=documents_of(1, 65 << 10)))
            stub.ScoreBatch(request, timeout=TIMEOUT)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert isinstance(error_from_status(status_from_call(caught.value)), LimitError)
        fine = scoring_pb2.ScoreBatchRequest(batch=common_pb2.DocumentBatch(documents=documents_of(2)))
        assert len(stub.ScoreBatch(fine, timeout=TIMEOUT).result.scores) == 2


def test_every_legal_batch_fits_a_message_with_the_settings_as_they_are():
    settings = ServerSettings()
    assert settings.max_message_bytes >= 2 * settings.max_batch_bytes
    assert settings.limits.max_message_bytes == settings.max_message_bytes


def test_the_queue_cap_holds_under_many_callers():
    gate = threading.Event()
    settings = SETTINGS.model_copy(update={"max_queued_documents": 30, "micro_batch_documents": 10})
    scorer = LetterScorer(gate=gate)
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        request = scoring_pb2.ScoreBatchRequest(batch=common_pb2.DocumentBatch(documents=documents_of(10)))
        first = stub.ScoreBatch.future(request, timeout=TIMEOUT)
        assert scorer.entered.wait(TIMEOUT)
        calls = [stub.ScoreBatch.future(request, timeout=TIMEOUT) for _ in range(20)]
        deadline = time.monotonic() + TIMEOUT
        while sum(call.done() for call in calls) < 17 and time.monotonic() < deadline:
            time.sleep(0.01)
        refused = [call for call in calls if call.done()]
        gate.set()
        assert len(first.result().result.scores) == 10
        codes = [call.code() for call in refused]
        served = [call.result(timeout=TIMEOUT) for call in calls if call not in refused]
    assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 17
    assert [len(answer.result.scores) for answer in served] == [10] * 3

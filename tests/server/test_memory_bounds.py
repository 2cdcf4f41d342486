"""What callers can make the server hold: bytes, streams, watches and time are all bounded, and what is over is told so."""

import queue
import threading
import time

import grpc
import pytest
from curator_server.app import _Background, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.status import error_from_status, retry_delay_s, status_from_call
from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError, LimitError, OverloadedError
from tests.contract.service_fakes import SETTINGS, LetterScorer, wait_until_idle

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
MIB = 1 << 20


def batch_of(size, seq=1):
    text = common_pb2.Document(id="a", text="e" * size)
    return common_pb2.DocumentBatch(seq=seq, documents=common_pb2.Documents(documents=[text]))


def opened(stub, requests):
    """A stream that the server has opened."""
    requests.put(scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()))
    call = stub.ScoreDocuments(iter(requests.get, None), timeout=TIMEOUT)
    assert next(call).WhichOneof("response") == "opened"
    return call


def error_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    status = status_from_call(caught.value)
    return error_from_status(status), retry_delay_s(status)


def until(condition):
    deadline = time.monotonic() + TIMEOUT
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_calls_above_the_byte_bound_are_refused_however_few_their_documents():
    scorer = LetterScorer(gate=threading.Event())
    settings = SETTINGS.model_copy(update={"max_queued_bytes": 3 * MIB})
    with _Background(settings, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        request = scoring_pb2.ScoreBatchRequest(batch=batch_of(MIB - 100))
        calls = [stub.ScoreBatch.future(request, timeout=TIMEOUT) for _ in range(12)]
        until(lambda: sum(call.done() for call in calls) >= 9)
        refused = [call for call in calls if call.done()]
        assert server.engine.admission.held_bytes <= 3 * MIB
        scorer.gate.set()
        served = [call.result() for call in calls if call not in refused]
        assert (len(served), len(refused)) == (3, 9)
        for call in refused:
            status = status_from_call(call.exception())
            assert isinstance(error_from_status(status), OverloadedError) and retry_delay_s(status) > 0
        wait_until_idle(server)
        assert server.engine.admission.held_bytes == 0


def test_streams_that_wait_hold_a_batch_each_and_all_are_answered_in_the_end():
    scorer = LetterScorer(gate=threading.Event())
    settings = SETTINGS.model_copy(update={"max_queued_bytes": 2 * MIB})
    size, streams, batches = MIB // 2, 6, 6
    with _Background(settings, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        requests = [queue.SimpleQueue() for _ in range(streams)]
        calls = [opened(stub, one) for one in requests]
        for one in requests:
            for seq in range(1, batches + 1):
                one.put(scoring_pb2.ScoreDocumentsRequest(batch=batch_of(size, seq)))
            one.put(None)
        until(lambda: server.engine.admission.held_bytes > 2 * MIB + (streams - 2) * size)
        time.sleep(0.3)
        assert server.engine.admission.held_bytes <= 2 * MIB + streams * (size + 100)
        error, _ = error_of(lambda: next(opened(stub, queue.SimpleQueue())))
        assert isinstance(error, OverloadedError)
        scorer.gate.set()
        seqs = [[answer.result.seq for answer in call if answer.HasField("result")] for call in calls]
        assert seqs == [list(range(1, batches + 1))] * streams


def test_a_stream_too_many_is_refused_and_has_its_place_when_another_ends():
    settings = SETTINGS.model_copy(update={"max_open_streams": 2})
    with _Background(settings, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        requests = [queue.SimpleQueue() for _ in range(2)]
        first, second = [opened(stub, one) for one in requests]
        error, delay = error_of(lambda: opened(stub, queue.SimpleQueue()))
        assert isinstance(error, OverloadedError) and delay > 0
        requests[0].put(None)
        assert list(first) == []
        requests.append(queue.SimpleQueue())
        third = opened(stub, requests[2])
        for one in requests[1:]:
            one.put(None)
        assert list(second) == list(third) == []


def test_a_stream_that_never_says_what_it_wants_is_ended():
    settings = SETTINGS.model_copy(update={"opening_timeout_s": 0.2, "max_open_streams": 1})
    with running_server(settings, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        for method in (stub.ScoreDocuments, stub.FilterDocuments):
            silent = queue.SimpleQueue()
            error, _ = error_of(
                lambda method=method, silent=silent: list(method(iter(silent.get, None), timeout=TIMEOUT))
            )
            silent.put(None)
            assert isinstance(error, ConfigError) and "within 0.2 s" in str(error)


def test_health_watches_are_limited_and_a_check_is_answered_all_the_same():
    settings = SETTINGS.model_copy(update={"max_health_watches": 2})
    with running_server(settings, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        health, request = health_pb2_grpc.HealthStub(channel), health_pb2.HealthCheckRequest()
        watches = [health.Watch(request, timeout=TIMEOUT) for _ in range(2)]
        assert [next(watch).status for watch in watches] == [1, 1]
        error, delay = error_of(lambda: next(health.Watch(request, timeout=TIMEOUT)))
        assert isinstance(error, OverloadedError) and delay > 0
        assert health.Check(request, timeout=TIMEOUT).status == 1
        watches[0].cancel()


def test_a_call_without_a_deadline_gets_one():
    scorer = LetterScorer(gate=threading.Event())
    settings = SETTINGS.model_copy(update={"unary_timeout_s": 0.3})
    with _Background(settings, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        request = scoring_pb2.ScoreBatchRequest(batch=batch_of(1))
        patient = stub.ScoreBatch.future(request, timeout=TIMEOUT)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ScoreBatch(request)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not patient.done()
        scorer.gate.set()
        assert len(patient.result().result.scores) == 1
        wait_until_idle(server)


def test_a_batch_that_says_it_is_too_large_is_told_so_however_full_the_queue_is():
    scorer = LetterScorer(gate=threading.Event())
    settings = SETTINGS.model_copy(update={"max_queued_documents": 1, "micro_batch_documents": 1})
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        three = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="e")] * 3)
        request = scoring_pb2.ScoreBatchRequest(batch=common_pb2.DocumentBatch(seq=1, documents=three))
        running = stub.ScoreBatch.future(request, timeout=TIMEOUT)
        assert scorer.entered.wait(TIMEOUT)
        huge = scoring_pb2.ScoreBatchRequest(batch=common_pb2.DocumentBatch(seq=1, document_count=4_000_000_000))
        error, delay = error_of(lambda: stub.ScoreBatch(huge, timeout=TIMEOUT))
        assert isinstance(error, LimitError) and delay is None
        scorer.gate.set()
        running.result()


@pytest.mark.parametrize(("size", "in_thread"), [(1000, False), (100_000, True)])
def test_a_large_batch_is_opened_beside_the_event_loop_and_metadata_only_for_filtering(monkeypatch, size, in_thread):
    from curator_server import batch_stream

    seen, real = [], batch_stream.open_batch

    def noted(batch, caps, *, with_metadata):
        seen.append((threading.current_thread().name != "curator-server", with_metadata))
        return real(batch, caps, with_metadata=with_metadata)

    monkeypatch.setattr(batch_stream, "open_batch", noted)
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        batch = batch_of(size)
        stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(batch=batch), timeout=TIMEOUT)
        for name, config in (("Score", scoring_pb2.ScoreConfig()), ("Filter", scoring_pb2.FilterConfig(min_score=0))):
            kind = getattr(scoring_pb2, f"{name}DocumentsRequest")
            requests = iter([kind(config=config), kind(batch=batch)])
            assert len(list(getattr(stub, f"{name}Documents")(requests, timeout=TIMEOUT))) > 1
    assert seen == [(in_thread, False), (in_thread, False), (in_thread, True)]

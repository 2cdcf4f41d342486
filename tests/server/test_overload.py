"""A full server: who is refused and told when to come back, who gets a turn, and what stays responsive."""

import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import grpc
import pytest
from curator_client import AsyncClient, Client, ConnectionOptions, RetryPolicy
from curator_server.app import SERVICES, _Background, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.status import retry_delay_s, status_from_call
from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import LimitError, OverloadedError
from curator.records import Document
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60


class SpinningScorer(LetterScorer):
    """Keeps the interpreter busy, as a tokenizer written in Python would: the worst neighbour of an event loop."""

    def score(self, documents):
        until = time.perf_counter() + 0.02
        while time.perf_counter() < until:
            sum(range(200))
        return super().score(documents)


def batch_of(name, count):
    documents = [common_pb2.Document(id=f"{name}{index}", text="e") for index in range(count)]
    return common_pb2.DocumentBatch(seq=1, documents=common_pb2.Documents(documents=documents))


def test_health_answers_within_100_ms_for_every_service_while_the_engine_never_rests():
    settings = SETTINGS.model_copy(update={"micro_batch_documents": 8})
    documents, ended = [Document(str(index), "e") for index in range(1_000_000)], threading.Event()

    def load(address):
        with Client(address) as client:
            for _ in client.score(iter(documents)):
                if ended.is_set():
                    return

    waits = []
    scorer = SpinningScorer()
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        loads = [threading.Thread(target=load, args=(address,)) for _ in range(2)]
        for thread in loads:
            thread.start()
        assert scorer.entered.wait(TIMEOUT)
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", *SERVICES) * 10:
            began = time.perf_counter()
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            waits.append(time.perf_counter() - began)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            time.sleep(0.01)
        ended.set()
        for thread in loads:
            thread.join(TIMEOUT)
    assert statistics.median(waits) < 0.1, sorted(waits)


def test_a_full_queue_says_when_to_come_back_in_both_languages():
    gate = threading.Event()
    settings = SETTINGS.model_copy(update={"max_queued_documents": 1, "micro_batch_documents": 1})
    scorer = LetterScorer(gate=gate)
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        running = stub.ScoreBatch.future(scoring_pb2.ScoreBatchRequest(batch=batch_of("a", 3)), timeout=TIMEOUT)
        assert scorer.entered.wait(TIMEOUT)
        config = scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
        for call in (
            lambda: stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(batch=batch_of("b", 1)), timeout=TIMEOUT),
            lambda: list(stub.ScoreDocuments(iter([config]), timeout=TIMEOUT)),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            advised = retry_delay_s(status_from_call(caught.value))
            assert dict(caught.value.trailing_metadata())["grpc-retry-pushback-ms"] == str(round(advised * 1000))
            assert advised > 0
        gate.set()
        assert len(running.result().result.scores) == 3


def test_a_small_caller_gets_its_turn_beside_streams_with_much_to_do():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    settings = SETTINGS.model_copy(update={"micro_batch_documents": 10, "max_inflight_batches": 4})

    def stream(name):
        yield scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
        for seq in (1, 2, 3, 4):
            batch = batch_of(f"{name}{seq}.", 50)
            batch.seq = seq
            yield scoring_pb2.ScoreDocumentsRequest(batch=batch)

    def wait_for_queue(server, documents):
        deadline = time.monotonic() + TIMEOUT
        while server.engine.queued_documents != documents and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.engine.queued_documents == documents

    with _Background(settings, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        large = [stub.ScoreDocuments(stream(name), timeout=TIMEOUT) for name in "AB"]
        wait_for_queue(server, 390)  # both have filled their windows, and one micro-batch is with the scorer
        small = stub.ScoreBatch.future(scoring_pb2.ScoreBatchRequest(batch=batch_of("S", 10)), timeout=TIMEOUT)
        wait_for_queue(server, 400)
        gate.set()
        assert len(small.result().result.scores) == 10
        assert [len(list(call)) for call in large] == [5, 5]
    turns = [batch[0][0] for batch in scorer.batches]
    assert len(turns) == 41
    assert turns.index("S") <= 3, turns
    both_busy = [turn for turn in turns[:36] if turn != "S"]
    assert abs(both_busy.count("A") - both_busy.count("B")) <= 2, turns


class PushbackHandler(grpc.GenericRpcHandler):
    """Refuses with a pushback and nothing else, as a proxy does, and notes when it was asked; then answers."""

    def __init__(self, pushbacks):
        self.pushbacks, self.asked = list(pushbacks), []

    def service(self, handler_call_details):
        def refuse(request, context):
            self.asked.append(time.monotonic())
            if self.pushbacks:
                context.set_trailing_metadata((("grpc-retry-pushback-ms", self.pushbacks.pop(0)),))
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")
            return scoring_pb2.ScoreBatchResponse(result=scoring_pb2.ScoreResult(seq=1)).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.fixture
def pushing():
    servers = []

    def start(*pushbacks):
        handler = PushbackHandler(pushbacks)
        server = grpc.server(ThreadPoolExecutor(2), handlers=(handler,))
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        servers.append(server)
        return handler, address

    yield start
    for server in servers:
        server.stop(None).wait()


QUICK = ConnectionOptions(retry=RetryPolicy(attempts=4, base_s=0.001, cap_s=0.001))


async def test_clients_wait_as_long_as_a_pushback_says(pushing):
    handler, address = pushing("300", "100")
    with Client(address, QUICK) as client:
        assert client.score_batch([]) == []
    waits = [later - earlier for earlier, later in pairwise(handler.asked)]
    assert len(waits) == 2
    assert waits[0] >= 0.3 and waits[1] >= 0.1
    handler, address = pushing("200")
    async with AsyncClient(address, QUICK) as client:
        assert await client.score_batch([]) == []
    assert handler.asked[1] - handler.asked[0] >= 0.2


@pytest.mark.parametrize("pushback", ["-1", "soon", ""])
def test_a_pushback_that_is_no_time_forbids_the_retry(pushing, pushback):
    handler, address = pushing(pushback)
    with Client(address, QUICK) as client, pytest.raises((LimitError, OverloadedError)):
        client.score_batch(sample_documents(1))
    assert len(handler.asked) == 1

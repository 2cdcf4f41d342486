"""What must hold when clients misbehave."""

import resource
import time

import grpc
import pytest
from curator_server.app import _Background

from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from tests.contract.service_fakes import SETTINGS, LetterScorer, wait_until_idle

pytestmark = pytest.mark.timeout(300)


def requests(batches):
    yield scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
    for seq in range(1, batches + 1):
        documents = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="e " * 50)] * 20)
        yield scoring_pb2.ScoreDocumentsRequest(batch=common_pb2.DocumentBatch(seq=seq, documents=documents))


def test_a_thousand_cancelled_streams_leave_nothing_behind():
    with _Background(SETTINGS, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        for index in range(1000):
            call = stub.ScoreDocuments(requests(5), timeout=60)
            if index % 2:
                next(call)
            call.cancel()
        wait_until_idle(server)
        assert len(list(stub.ScoreDocuments(requests(3), timeout=60))) == 4


def test_a_client_that_never_reads_costs_a_bounded_amount_and_delays_nobody():
    """Its batches are answered until the line is full; then nothing more is read of it, and others go on."""
    sent = []

    def endless():
        for request in requests(10**6):
            sent.append(request.ByteSize())
            yield request

    large = SETTINGS.model_copy(update={"max_inflight_batches": 4})
    with _Background(large, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        call = stub.ScoreDocuments(endless(), timeout=180)
        settled = 0
        while len(sent) != settled:  # it writes until the server stops reading
            settled = len(sent)
            time.sleep(0.5)
        assert settled > 10
        assert sum(sent) < 64 << 20, "HTTP/2 windows and the answers' way back hold a few MiB, not the stream"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with grpc.insecure_channel(server.address, options=[("grpc.use_local_subchannel_pool", 1)]) as other:
            others = scoring_pb2_grpc.ScoringServiceStub(other)
            assert len(list(others.ScoreDocuments(requests(200), timeout=60))) == 201
        assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < 32 << 20
        call.cancel()
        wait_until_idle(server)

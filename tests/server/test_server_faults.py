"""What must hold when clients misbehave."""

import time

import grpc
import pytest
from curator_server.app import _Background

from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(60)


def requests(batches):
    yield scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
    for seq in range(1, batches + 1):
        documents = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="e " * 50)] * 20)
        yield scoring_pb2.ScoreDocumentsRequest(batch=common_pb2.DocumentBatch(seq=seq, documents=documents))


def test_many_cancelled_streams_leave_nothing_behind():
    with _Background(SETTINGS, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        for index in range(200):
            call = stub.ScoreDocuments(requests(5), timeout=20)
            if index % 2:
                next(call)
            call.cancel()
        deadline = time.monotonic() + 20
        while (server.engine.queued_documents or server.streams.open_streams) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (server.engine.queued_documents, server.streams.open_streams) == (0, 0)
        assert len(list(stub.ScoreDocuments(requests(3), timeout=20))) == 4

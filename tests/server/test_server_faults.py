"""What must hold when clients misbehave or the line is encrypted."""

import shutil
import subprocess
import time

import grpc
import pytest
from curator_client import Client, ConnectionOptions, RetryPolicy
from curator_server.app import _Background

from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import OverloadedError
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

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


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_serves_those_who_trust_it_and_nobody_else(tmp_path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make.split(), *names], check=True, capture_output=True, timeout=20)
    settings = SETTINGS.model_copy(update={"tls_key": key, "tls_certificate": certificate})
    documents = sample_documents(20)
    with _Background(settings, [LetterScorer()]) as server:
        with Client(server.address, ConnectionOptions(tls_roots=certificate)) as client:
            assert list(client.score(documents)) == LetterScorer().score(documents)
        impatient = ConnectionOptions(retry=RetryPolicy(attempts=1))
        with Client(server.address, impatient) as client, pytest.raises(OverloadedError):
            client.server_info()

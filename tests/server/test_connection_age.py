"""Connections that come of age, and clients that are gone without a word."""

import os
import signal
import time

import pytest
from curator_client import Client
from curator_server import app
from curator_server.app import SCORING_SERVICE, _Background

from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents, wait_until_idle
from tests.faults.service_processes import FORKED, OPTIONS, filter_into

pytestmark = pytest.mark.timeout(360)
DOCUMENTS = sample_documents(300)
STREAM = {"grpc_service": SCORING_SERVICE, "grpc_method": "ScoreDocuments", "grpc_type": "bidi_stream"}


def slowly(documents, seconds):
    """The documents over a time, for a client that sends them as they come."""
    for document in documents:
        time.sleep(seconds / len(documents))
        yield document


def server_with(**settings):
    return _Background(SETTINGS.model_copy(update=settings), [LetterScorer()])


def streams_of(server):
    """Scoring streams that were begun, by the server's own count."""
    return server.metrics.registry.get_sample_value("grpc_server_started_total", STREAM)


def test_a_stream_outlives_the_age_of_its_connection_where_no_grace_is_set():
    with server_with(max_connection_age_s=0.3) as server, Client(server.address, OPTIONS) as client:
        assert list(client.score(slowly(DOCUMENTS, 2))) == LetterScorer().score(DOCUMENTS)
        assert streams_of(server) == 1


def test_a_stream_that_is_cut_by_the_grace_goes_on_without_loss_or_doubles():
    aged = {"max_connection_age_s": 0.3, "max_connection_grace_s": 0.2}
    with server_with(**aged) as server, Client(server.address, OPTIONS) as client:
        assert list(client.score(slowly(DOCUMENTS, 2))) == LetterScorer().score(DOCUMENTS)
        assert streams_of(server) > 1


def test_shards_are_the_same_bytes_however_often_the_connection_is_cut(tmp_path):
    with server_with() as server:
        filter_into(server.address, iter(DOCUMENTS), tmp_path / "whole")
    with server_with(max_connection_age_s=0.3, max_connection_grace_s=0.0) as server:
        filter_into(server.address, slowly(DOCUMENTS, 2), tmp_path / "cut")
    whole, cut = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("whole", "cut"))
    assert cut == whole


def stall(address, pid):
    """A client that has sent half of its text and is heard no more."""

    def documents():
        yield from DOCUMENTS
        pid.value = os.getpid()
        time.sleep(600)

    with Client(address, OPTIONS) as client:
        list(client.score(documents()))


def test_a_client_whose_machine_is_gone_is_cut_off_once_it_gives_no_sign_of_life(monkeypatch):
    """A stopped process keeps its connection open and answers nothing, as a lost machine does."""
    plain = app._options
    monkeypatch.setattr(app, "_options", lambda settings: [("grpc.http2.ping_timeout_ms", 500), *plain(settings)])
    with server_with(keepalive_s=1.0) as server:
        pid = FORKED.Value("i", 0)
        process = FORKED.Process(target=stall, args=(server.address, pid), daemon=True)
        process.start()
        while not pid.value and process.is_alive():
            time.sleep(0.01)
        time.sleep(2)
        assert server.streams.open_streams == 1  # it sleeps, and its gRPC answers
        os.kill(pid.value, signal.SIGSTOP)
        try:
            wait_until_idle(server)
        finally:
            process.kill()
            process.join()

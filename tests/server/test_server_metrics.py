"""Metrics after a run whose every number is known."""

import queue
import threading
import time
import urllib.request

import grpc
import pytest
from curator_server.app import _Background, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError
from curator.version import __version__
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
MEASURED = SETTINGS.model_copy(update={"metrics_port": 0, "micro_batch_documents": 2})
SCORE_BATCH = {"grpc_service": "curator.api.v1.ScoringService", "grpc_method": "ScoreBatch", "grpc_type": "unary"}
STREAM = {"grpc_service": "curator.api.v1.ScoringService", "grpc_method": "ScoreDocuments", "grpc_type": "bidi_stream"}


def scrape(server):
    with urllib.request.urlopen(f"http://127.0.0.1:{server.metrics_port}/metrics", timeout=30) as page:
        families = text_string_to_metric_families(page.read().decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def value(samples, name, labels=None):
    return samples.get((name, frozenset((labels or {}).items())))


def wait_for(server, name, expected, labels=None):
    """The samples once one has its value: a call is counted after its answer has gone."""
    deadline = time.monotonic() + TIMEOUT
    while value(samples := scrape(server), name, labels) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert value(samples, name, labels) == expected
    return samples


def batch_of(seq, *texts):
    documents = [common_pb2.Document(id=f"{seq}.{index}", text=text) for index, text in enumerate(texts)]
    return common_pb2.DocumentBatch(seq=seq, documents=common_pb2.Documents(documents=documents))


def stream_of(*batches):
    yield scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
    for batch in batches:
        yield scoring_pb2.ScoreDocumentsRequest(batch=batch)


def test_every_number_of_a_known_run_is_told():
    with _Background(MEASURED, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        scoring = scoring_pb2_grpc.ScoringServiceStub(channel)
        unary = scoring_pb2.ScoreBatchRequest(batch=batch_of(1, "one two three", "e", "boom", ""))
        scoring.ScoreBatch(unary, timeout=TIMEOUT)
        absent = scoring_pb2.ScoreBatchRequest(config=scoring_pb2.ScoreConfig(neuron_set="absent"))
        with pytest.raises(grpc.RpcError):
            scoring.ScoreBatch(absent, timeout=TIMEOUT)
        damaged = common_pb2.DocumentBatch(seq=2, document_count=1, zstd_documents=b"no zstd")
        list(scoring.ScoreDocuments(stream_of(batch_of(1, "a b", "unreadable"), damaged), timeout=TIMEOUT))
        samples = wait_for(server, "grpc_server_handled_total", 1, STREAM | {"grpc_code": "OK"})
    assert value(samples, "grpc_server_started_total", SCORE_BATCH) == 2
    assert value(samples, "grpc_server_handled_total", SCORE_BATCH | {"grpc_code": "OK"}) == 1
    assert value(samples, "grpc_server_handled_total", SCORE_BATCH | {"grpc_code": "NOT_FOUND"}) == 1
    assert value(samples, "grpc_server_handling_seconds_count", SCORE_BATCH) == 2
    assert value(samples, "grpc_server_started_total", STREAM) == 1
    assert (
        value(samples, "grpc_server_msg_received_total", STREAM)
        == value(samples, "grpc_server_msg_sent_total", STREAM)
        == 3
    )
    assert value(samples, "grpc_server_msg_received_total", SCORE_BATCH) == 2
    assert value(samples, "grpc_server_msg_sent_total", SCORE_BATCH) == 1
    assert value(samples, "curator_queue_bytes") == 0
    # "one two three" and "e" share a micro-batch; "boom" fails alone; "" never reaches the scorer.
    assert value(samples, "curator_documents_total", {"outcome": "scored"}) == 3
    assert value(samples, "curator_documents_total", {"outcome": "rejected"}) == 3
    assert value(samples, "curator_tokens_total") == 3 + 1 + 2
    reasons = ("scoring_failed", "empty_text", "no_spans")
    assert [value(samples, "curator_rejected_documents_total", {"reason": reason}) for reason in reasons] == [1, 1, 1]
    assert value(samples, "curator_refused_batches_total", {"code": "DOCUMENT_INVALID"}) == 1
    assert value(samples, "curator_micro_batch_documents_count") == 3
    assert value(samples, "curator_micro_batch_documents_sum") == 5
    assert value(samples, "curator_scored_bytes_total") == len("one two three" + "e" + "boom" + "a b" + "unreadable")
    assert value(samples, "curator_scoring_seconds_count") == 3
    assert value(samples, "curator_queue_documents") == value(samples, "curator_open_streams") == 0
    assert value(samples, "curator_build_info", {"version": __version__}) == 1


def test_gauges_follow_the_queue_and_the_streams_and_return_to_zero():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    with _Background(MEASURED, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        requests = queue.SimpleQueue()
        call = scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(iter(requests.get, None), timeout=TIMEOUT)
        requests.put(scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()))
        requests.put(scoring_pb2.ScoreDocumentsRequest(batch=batch_of(1, *["e"] * 9)))
        assert scorer.entered.wait(TIMEOUT)
        samples = wait_for(server, "curator_queue_documents", 7)
        assert value(samples, "curator_open_streams") == 1
        call.cancel()
        requests.put(None)
        samples = wait_for(server, "grpc_server_handled_total", 1, STREAM | {"grpc_code": "CANCELLED"})
        assert value(samples, "curator_queue_documents") == value(samples, "curator_open_streams") == 0
        gate.set()


def test_a_deadline_that_passes_is_counted_as_one():
    gate = threading.Event()
    with _Background(MEASURED, [LetterScorer(gate=gate)]) as server, grpc.insecure_channel(server.address) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            request = scoring_pb2.ScoreBatchRequest(batch=batch_of(1, "e"))
            scoring_pb2_grpc.ScoringServiceStub(channel).ScoreBatch(request, timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for(server, "grpc_server_handled_total", 1, SCORE_BATCH | {"grpc_code": "DEADLINE_EXCEEDED"})
        gate.set()


def test_callers_cannot_add_labels(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("0123456789abcdef0123 score\n")
    settings = MEASURED.model_copy(update={"token_file": tokens})
    with _Background(settings, [LetterScorer()]) as server, grpc.insecure_channel(server.address) as channel:
        for index in range(20):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(f"/made.up.Service{index}/Method{index}")(b"", timeout=TIMEOUT)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        with pytest.raises(grpc.RpcError):
            catalog_pb2_grpc.CatalogServiceStub(channel).GetServerInfo(
                catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT
            )
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)
        health = {"grpc_service": "grpc.health.v1.Health", "grpc_method": "Check", "grpc_type": "unary"}
        samples = wait_for(server, "grpc_server_handled_total", 1, health | {"grpc_code": "OK"})
    services = {dict(labels)["grpc_service"] for name, labels in samples if name == "grpc_server_started_total"}
    assert services == {"curator.api.v1.CatalogService", "grpc.health.v1.Health"}
    refused = {"grpc_service": "curator.api.v1.CatalogService", "grpc_method": "GetServerInfo", "grpc_type": "unary"}
    assert value(samples, "grpc_server_handled_total", refused | {"grpc_code": "UNAUTHENTICATED"}) == 1


def test_two_servers_count_apart_and_metrics_are_off_unless_asked_for():
    with _Background(MEASURED, [LetterScorer()]) as one, _Background(MEASURED, [LetterScorer()]) as two:
        with grpc.insecure_channel(one.address) as channel:
            request = scoring_pb2.ScoreBatchRequest(batch=batch_of(1, "e"))
            scoring_pb2_grpc.ScoringServiceStub(channel).ScoreBatch(request, timeout=TIMEOUT)
        wait_for(one, "curator_documents_total", 1, {"outcome": "scored"})
        assert value(scrape(two), "curator_documents_total", {"outcome": "scored"}) is None
    with _Background(SETTINGS, [LetterScorer()]) as silent:
        assert silent.metrics_port is None


def test_a_taken_metrics_port_is_a_clear_error_and_leaves_nothing_listening():
    with _Background(MEASURED, [LetterScorer()]) as server:
        taken = MEASURED.model_copy(update={"metrics_port": server.metrics_port})
        with pytest.raises(ConfigError, match="another metrics port"), running_server(taken, [LetterScorer()]):
            pass
    with pytest.raises(OSError, match="refused"):
        scrape(server)

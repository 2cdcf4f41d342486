"""SIGTERM as a load balancer and a client see it, on a process of its own."""

import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.v1 import common_pb2, scoring_pb2, scoring_pb2_grpc

pytestmark = pytest.mark.timeout(360)
SERVE = """
import logging, os, sys, threading
from pathlib import Path
from curator_server.app import serve
from tests.contract.service_fakes import LetterScorer, SETTINGS

class Gated(LetterScorer):
    def score(self, documents):
        while not Path(sys.argv[1], "open").exists() and any("slow" in document.text for document in documents):
            threading.Event().wait(0.01)
        return super().score(documents)

class Address(logging.Handler):
    def emit(self, record):
        if record.getMessage() == "serving":
            Path(sys.argv[1], "address.tmp").write_text(record.address)
            os.rename(Path(sys.argv[1], "address.tmp"), Path(sys.argv[1], "address"))

logging.basicConfig(level=logging.INFO, handlers=[Address()])
serve(SETTINGS.model_copy(update={"drain_delay_s": 0.4, "grace_s": 15.0}), [Gated()])
print("ended cleanly")
"""
NOT_SERVING, SERVING = health_pb2.HealthCheckResponse.NOT_SERVING, health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def process(tmp_path):
    running = subprocess.Popen([sys.executable, "-c", SERVE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "address").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        yield running, (tmp_path / "address").read_text(), tmp_path
    finally:
        running.kill()
        running.communicate()


class Stream:
    """An open stream whose answers are noted with their times by a thread."""

    def __init__(self, channel, note):
        self._requests, self._more = [], threading.Condition()
        self._closed = False
        call = scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(self._sending(), timeout=180)
        self.send(config=scoring_pb2.ScoreConfig())
        self.failure = None
        self._thread = threading.Thread(target=self._read, args=(call, note), daemon=True)
        self._thread.start()

    def send(self, **fields):
        with self._more:
            self._requests.append(scoring_pb2.ScoreDocumentsRequest(**fields))
            self._more.notify()

    def close(self):
        with self._more:
            self._closed = True
            self._more.notify()
        self._thread.join(60)

    def _sending(self):
        while True:
            with self._more:
                self._more.wait_for(lambda: self._requests or self._closed)
                if not self._requests:
                    return
                request = self._requests.pop(0)
            yield request

    def _read(self, call, note):
        try:
            for answer in call:
                note(answer.WhichOneof("response"))
        except grpc.RpcError as error:
            self.failure = error


def watch_health(channel, note):
    def read():
        try:
            for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=180):
                note("SERVING" if answer.status == SERVING else "NOT_SERVING")
        except grpc.RpcError:
            note("health failed")

    threading.Thread(target=read, daemon=True).start()


def slow_batch(seq):
    documents = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="slow eee")])
    return common_pb2.DocumentBatch(seq=seq, documents=documents)


def wait_for(events, name):
    deadline = time.monotonic() + 60
    while name not in events and time.monotonic() < deadline:
        time.sleep(0.01)
    assert name in events, events


def test_sigterm_drains_in_order_and_ends_with_0_once_the_work_is_answered(process):
    server, address, folder = process
    events, times = [], {}

    def note(name):
        events.append(name)
        times.setdefault(name, time.monotonic())

    with grpc.insecure_channel(address) as channel, grpc.insecure_channel(address) as probe:
        watch_health(probe, note)
        stream = Stream(channel, note)
        wait_for(events, "opened")
        wait_for(events, "SERVING")
        stream.send(batch=slow_batch(1))
        unary = scoring_pb2_grpc.ScoringServiceStub(channel).ScoreBatch.future(
            scoring_pb2.ScoreBatchRequest(batch=slow_batch(1)), timeout=60
        )
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        wait_for(events, "NOT_SERVING")
        health = health_pb2_grpc.HealthStub(probe)
        for name in ("", "curator.api.v1.ScoringService", "curator.api.v1.CatalogService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name), timeout=5).status == NOT_SERVING
        wait_for(events, "drain")
        assert server.poll() is None
        assert "result" not in events
        (folder / "open").touch()
        wait_for(events, "result")
        assert len(unary.result(timeout=60).result.scores) == 1
        stream.close()
        output, _ = server.communicate(timeout=60)
    assert stream.failure is None
    assert server.returncode == 0
    assert output == "ended cleanly\n"
    assert sorted(events[:2]) == ["SERVING", "opened"]
    assert events[2:5] == ["NOT_SERVING", "drain", "result"]
    assert time.monotonic() - times["result"] < 12  # and not the 15 s of grace, though someone watches its health
    assert times["drain"] - times["NOT_SERVING"] >= 0.3  # drain_delay_s, for load balancers


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once_whatever_still_runs(process, second):
    server, address, _ = process
    events = []
    with grpc.insecure_channel(address) as channel:
        watch_health(channel, events.append)
        stream = Stream(channel, events.append)
        wait_for(events, "opened")
        stream.send(batch=slow_batch(1))
        server.send_signal(signal.SIGTERM)
        wait_for(events, "drain")
        assert server.poll() is None
        began = time.monotonic()
        server.send_signal(second)
        assert server.wait(30) == -second
        assert time.monotonic() - began < 10  # and not the 15 s of grace
        stream.close()
    assert stream.failure.code() is grpc.StatusCode.UNAVAILABLE

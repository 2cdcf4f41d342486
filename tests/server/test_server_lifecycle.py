import signal
import socket
import subprocess
import sys

import grpc
import pytest
from curator_server.app import SCORING_SERVICE, build_server, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.v1 import scoring_pb2, scoring_pb2_grpc
from curator.errors import ConfigError
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
SERVE = """
import logging, sys
from curator_server.app import serve
from tests.contract.service_fakes import LetterScorer, SETTINGS
logging.basicConfig(level=logging.INFO)
serve(SETTINGS.model_copy(update={"port": int(sys.argv[1])}), [LetterScorer()])
print("ended cleanly")
"""


def test_a_taken_port_is_a_clear_error():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = SETTINGS.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(ConfigError, match="cannot listen"), running_server(settings, [LetterScorer()]):
            pass


def test_an_exposed_address_is_refused_before_anything_is_bound():
    with (
        pytest.raises(ConfigError, match="without TLS"),
        running_server(SETTINGS.model_copy(update={"host": "0.0.0.0"}), [LetterScorer()]),
    ):
        pass


async def test_draining_turns_health_first_then_tells_the_streams():
    server = build_server(SETTINGS, [LetterScorer()])
    await server.start()
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(timeout=60)
        await call.write(scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()))
        assert (await call.read()).WhichOneof("response") == "opened"
        await server.drain()
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SCORING_SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        drained = await call.read()
        assert drained.drain.grace.ToTimedelta().total_seconds() == SETTINGS.grace_s
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK
    await server.stop()


def test_sigterm_ends_the_process_cleanly():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                health = health_pb2_grpc.HealthStub(channel)
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=90, wait_for_ready=True)
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            process.send_signal(signal.SIGTERM)
            output, log = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, log
    assert output == "ended cleanly\n"

"""What only a process of its own shows: signals, pipes, a server that is really reached."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from curator_client import Client, RemoteScorer

from curator.records import Document
from tests.cli.cli_world import curator

COMMAND = (sys.executable, "-c", "from curator.cli.main import run; run()")


def start(*words, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*COMMAND, *map(str, words)], stderr=subprocess.PIPE, text=True, env=environment, **options)


@pytest.mark.slow
def test_serve_answers_and_leaves_when_told(world):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = start("--log-json", "serve", "--neuron-set", world.neuron_set, "--port", port, "--device", "cpu")
    try:
        for line in server.stderr:
            if line.startswith("{") and json.loads(line)["message"] == "serving":
                break
        with Client(f"127.0.0.1:{port}") as client:
            scorer = RemoteScorer(client)
            assert scorer.name == "digits"
            (score,) = scorer.score([Document("a", "10 20 30 40 50 " * 6)])
        assert score.probability > 0.5
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    finally:
        server.kill()
        server.communicate()


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_filter_leaves_nothing(world, tmp_path):
    words = ("filter", "-", "--neuron-set", world.neuron_set, "--keep-fraction", 0.5, "--out", tmp_path / "out")
    process = start(*words, stdin=subprocess.PIPE)
    lines = world.pool.read_text() * 4

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):  # the interrupted process stops reading
            process.stdin.write(lines)
            process.stdin.flush()

    feeding = threading.Thread(target=feed, daemon=True)
    feeding.start()
    try:
        deadline = time.monotonic() + 120  # both cores may be busy with other tests
        while not list(tmp_path.glob("out.partial-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert list(tmp_path.glob("out.partial-*")), "the filter never began to write"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert "interrupted; nothing half-written remains" in process.stderr.read()
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        feeding.join(5)
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stderr.close()


def test_standard_input_is_filtered_once_and_a_second_text_is_not_taken_for_the_first(world, tmp_path):
    from typer.testing import CliRunner

    from curator.cli.main import app

    words = ["filter", "-", "--neuron-set", str(world.neuron_set), "--threshold", "0.5", "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, words, input=world.pool.read_text())
    again = CliRunner().invoke(app, words, input="other text")
    assert first.exit_code == 0, first.output
    assert again.exit_code == 2 and "standard input" in again.stderr
    assert curator("score", "-", "--neuron-set", world.neuron_set).exit_code == 0

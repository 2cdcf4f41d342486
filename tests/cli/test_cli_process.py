"""What only a process of its own shows: signals, pipes, a server that is really reached."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from curator_client import Client, RemoteScorer

from curator.filtering.evaluation import kept_ids
from curator.filtering.output import verify_output
from curator.records import Document
from tests.cli.cli_world import curator

LISTENING = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "  # a background shell ignores Ctrl-C
)
COMMAND = (sys.executable, "-c", LISTENING + "from curator.cli.main import run; run()")


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
        assert server.wait(90) == 0
    finally:
        server.kill()
        server.communicate()


COPIES = 30  # long enough that a signal comes before the end, on a machine that is busy too


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_filter_leaves_what_the_same_command_goes_on_from(world, tmp_path):
    pool = tmp_path / "pool.jsonl"
    pool.write_text(world.pool.read_text() * COPIES)
    words = ("filter", pool, "--neuron-set", world.neuron_set, "--keep-fraction", 0.5, "--piece-size", "10kB")
    process = start(*words, "--workers", 2, "--out", tmp_path / "out")
    ledger = tmp_path / "out.work" / "ledger"
    try:
        deadline = time.monotonic() + 120  # both cores may be busy with other tests
        while not list(ledger.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert list(ledger.glob("*.json")), "the filter never finished a piece"
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert "the same command goes on from there" in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    done = len(list(ledger.glob("*.json")))
    assert not (tmp_path / "out").exists() and 0 < done < 2 * COPIES
    resumed = curator(*words, "--out", tmp_path / "out")
    assert resumed.exit_code == 0, resumed.output
    fresh = curator(*words, "--out", tmp_path / "fresh")
    assert fresh.exit_code == 0, fresh.output
    assert list(kept_ids(tmp_path / "out")) == list(kept_ids(tmp_path / "fresh"))
    assert verify_output(tmp_path / "out").documents_in == COPIES * 91


def test_standard_input_is_filtered_once_and_a_second_text_is_not_taken_for_the_first(world, tmp_path):
    from typer.testing import CliRunner

    from curator.cli.main import app

    words = ["filter", "-", "--neuron-set", str(world.neuron_set), "--threshold", "0.5", "--out", str(tmp_path / "out")]
    first = CliRunner().invoke(app, words, input=world.pool.read_text())
    same = CliRunner().invoke(app, words, input=world.pool.read_text())
    other = CliRunner().invoke(app, words, input="other text")
    assert first.exit_code == same.exit_code == 0, first.output + same.output
    assert "already holds this job" in same.stderr
    assert other.exit_code == 1 and "the input - changed" in other.stderr
    empty = curator("score", "-", "--neuron-set", world.neuron_set)
    assert empty.exit_code == 1 and "holds no records" in empty.stderr

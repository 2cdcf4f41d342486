"""Ctrl-C while the source keeps everyone waiting."""

import signal
import subprocess
import sys

import pytest
from curator_server.app import running_server

from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(360)
RUN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background ignores it
    "import curator_client.client, curator_client.streams as s; from curator_client.cli import run\n"
    "whole = s._answers\n"
    "def answers(*rest):\n"
    "    print('open', flush=True); yield from whole(*rest)\n"
    "s._answers = answers; run()"
)


@pytest.mark.parametrize("verb", ["score", "filter"])
def test_a_command_that_waits_for_standard_input_ends_as_interrupted_and_is_not_aborted(tmp_path, verb):
    words = (
        ["filter", "-", "--output", str(tmp_path / "out"), "--min-score", "0"] if verb == "filter" else ["score", "-"]
    )
    with (
        running_server(SETTINGS, [LetterScorer()]) as address,
        subprocess.Popen(
            [sys.executable, "-c", RUN, *words, "--address", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as running,
    ):
        assert running.stdout.readline() == b"open\n"
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(1)  # the reader is inside its source by now
        running.send_signal(signal.SIGINT)
        assert running.wait(90) == 130
        assert b"Fatal" not in running.stderr.read()

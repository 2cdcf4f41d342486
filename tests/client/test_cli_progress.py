import io

import pytest
from curator_client.cli_progress import StreamMeter
from rich.console import Console


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("curator_client.cli_progress.time.monotonic", lambda: now[0])
    return now


def test_into_a_log_it_writes_a_whole_line_every_ten_seconds(clock):
    out = io.StringIO()
    with StreamMeter(Console(file=out)) as told:
        for second in range(1, 26):
            clock[0] = 100.0 + second
            told(second * 1000, kept=second * 10)
    assert out.getvalue().splitlines() == ["10,000 documents, 100 kept, 1,000/s", "20,000 documents, 200 kept, 1,000/s"]


def test_without_a_filter_nothing_is_kept(clock):
    out = io.StringIO()
    with StreamMeter(Console(file=out)) as told:
        clock[0] = 110.0
        told(5)
    assert out.getvalue() == "5 documents, 0/s\n"


def test_a_terminal_gets_one_moving_line_that_is_gone_at_the_end(clock):
    out = io.StringIO()
    with StreamMeter(Console(file=out, force_terminal=True, width=80)) as told:
        clock[0] = 101.0
        told(2_000, kept=30)
        assert told._status.status == "2,000 documents, 30 kept, 2,000/s"
    assert "\x1b[2K" in out.getvalue().rpartition("2,000 documents")[2]  # the line is erased

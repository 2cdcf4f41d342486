"""How long the client waits: for a job, for an answer over all attempts, for a server that is away."""

import logging
import time

import grpc
import pytest
from curator_client import AsyncClient, Client, ConnectionOptions, RetryPolicy
from curator_client.retry import Attempts, Deadline
from google.rpc import status_pb2

from curator.errors import OverloadedError
from tests.client.test_client_streams import BrokenCallError
from tests.contract.job_fakes import JobWorld

pytestmark = pytest.mark.timeout(300)
UNAVAILABLE = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0], message="gone")


@pytest.fixture
def waiting(tmp_path):
    """A server with a job that says nothing more, and the job's name."""
    world = JobWorld(tmp_path / "world")
    world.workers.gate.clear()
    with world.server() as server, Client(server.address) as client:
        name = client.jobs.load_model("zoo:a", model_id="a").name
        for job in client.jobs.watch(name):
            if job.progress.done == 2:
                break
        yield server.address, name
        world.workers.gate.set()


def test_waiting_for_a_job_that_says_nothing_ends_in_time_and_the_job_goes_on(waiting):
    address, name = waiting
    with Client(address) as client:
        began = time.monotonic()
        with pytest.raises(OverloadedError, match=r"has not ended within 0\.5 s; wait again"):
            client.jobs.wait(name, timeout_s=0.5)
        assert time.monotonic() - began < 5
        assert not client.jobs.get(name).HasField("end_time")


async def test_the_asynchronous_client_waits_no_longer(waiting):
    address, name = waiting
    async with AsyncClient(address) as client:
        began = time.monotonic()
        with pytest.raises(OverloadedError, match=r"has not ended within 0\.5 s; wait again"):
            await client.jobs.wait(name, timeout_s=0.5)
        assert time.monotonic() - began < 5


def test_what_is_done_with_each_revision_counts_as_waiting(waiting):
    address, name = waiting
    heard = []
    with Client(address) as client, pytest.raises(OverloadedError, match="wait again"):
        client.jobs.wait(name, timeout_s=0.3, on_change=lambda job: heard.append(job) or time.sleep(0.4))
    assert len(heard) == 1


def test_a_wait_through_broken_streams_has_the_same_end(waiting):
    address, name = waiting
    options = ConnectionOptions(retry=RetryPolicy(base_s=0.01, cap_s=0.05))
    with Client(address, options) as client:
        jobs = client.jobs

        jobs._jobs.WatchJob = lambda request, **_: _BrokenCall()
        began = time.monotonic()
        with pytest.raises(OverloadedError, match="wait again"):
            jobs.wait(name, timeout_s=0.5)
        assert 0.4 < time.monotonic() - began < 5


class _BrokenCall:
    def __next__(self):
        raise BrokenCallError

    def cancel(self):
        pass


async def test_a_deadline_holds_over_all_attempts_of_a_call():
    options = ConnectionOptions(timeout_s=0.6, retry=RetryPolicy(base_s=0.05, cap_s=0.1))
    began = time.monotonic()
    with Client("127.0.0.1:1", options) as client, pytest.raises(OverloadedError):
        client.server_info()
    between = time.monotonic()
    async with AsyncClient("127.0.0.1:1", options) as client:
        with pytest.raises(OverloadedError):
            await client.server_info()
    assert 0.3 < between - began < 5 and 0.3 < time.monotonic() - between < 5


def test_patience_is_two_minutes_of_breaks_in_a_row_whatever_their_number():
    now = [0.0]
    attempts = Attempts(RetryPolicy(), lambda: now[0])
    breaks = 0
    with pytest.raises(OverloadedError):
        while True:
            now[0] += attempts.wait_s(UNAVAILABLE, progressed=False)
            breaks += 1
    assert 100 < now[0] <= 120 and breaks > 12
    now[0] += attempts.wait_s(UNAVAILABLE, progressed=True)  # progress makes it patient again
    for _ in range(10):
        now[0] += attempts.wait_s(UNAVAILABLE, progressed=False)


def test_what_is_waited_for_is_said_once_after_some_breaks(caplog):
    attempts = Attempts(RetryPolicy(base_s=0.001))
    with caplog.at_level(logging.WARNING, "curator_client"):
        for _ in range(20):
            attempts.wait_s(UNAVAILABLE, progressed=False)
    (record,) = caplog.records
    assert "cannot be reached" in record.message and "Trying again for 120 s." in record.message


def test_a_deadline_of_none_never_passes():
    now = [5.0]
    endless, short = Deadline(None, lambda: now[0]), Deadline(2.0, lambda: now[0])
    assert (endless.left, endless.passed, endless.within(7.0)) == (None, False, 7.0)
    now[0] = 6.5
    assert (short.left, short.passed, short.within(7.0), short.within(0.1)) == (0.5, False, 0.5, 0.1)
    now[0] = 9.0
    assert (short.left, short.passed) == (0.0, True)

"""One target with several servers behind it: whose turn it is, what streams do, and how new replicas are found."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from curator_client import AsyncClient, Client, ConnectionOptions, RetryPolicy, connection

from tests.client.replicas import Replica, free_port, name_server
from tests.contract.service_fakes import LetterScorer, sample_documents
from tests.faults.service_processes import OPTIONS, filter_into

pytestmark = pytest.mark.timeout(360)
HOSTS = ("127.0.0.1", "127.0.0.2")
DOCUMENTS = sample_documents(600)
EXPECTED = LetterScorer().score(DOCUMENTS)


@pytest.fixture
def start(tmp_path):
    """Starts replicas that are killed at the end."""
    with ExitStack() as stack:
        yield lambda host, port, **settings: stack.enter_context(Replica(host, port, tmp_path, **settings))


@pytest.fixture
def pair(start):
    port = free_port()
    return [start(host, port) for host in HOSTS]


def target_of(pair):
    return "ipv4:" + ",".join(replica.address for replica in pair)


def call_until_all_answer(client, pair):
    """The first calls go to whoever was connected first."""
    deadline = time.monotonic() + 30
    while not all(replica.batches for replica in pair) and time.monotonic() < deadline:
        client.score_batch(DOCUMENTS[:1])
    for replica in pair:
        replica.forget()


def test_unary_calls_go_to_the_replicas_in_turn(pair):
    with Client(target_of(pair)) as client:
        call_until_all_answer(client, pair)
        for _ in range(20):
            assert client.score_batch(DOCUMENTS[:3]) == EXPECTED[:3]
    assert [replica.batches for replica in pair] == [10, 10]


async def test_the_asynchronous_client_reaches_them_all_too(pair):
    async with AsyncClient(target_of(pair)) as client:
        for _ in range(40):
            assert await client.score_batch(DOCUMENTS[:3]) == EXPECTED[:3]
    assert min(replica.batches for replica in pair) >= 10


def test_calls_go_on_when_a_replica_dies_and_it_gets_some_again_when_it_is_back(pair, start):
    first, second = pair
    with Client(target_of(pair), OPTIONS) as client:
        call_until_all_answer(client, pair)
        first.kill()
        for _ in range(20):
            assert client.score_batch(DOCUMENTS[:3]) == EXPECTED[:3]
        assert (first.batches, second.batches) == (0, 20)
        call_until_all_answer(client, [start(HOSTS[0], int(first.address.rpartition(":")[2]))])


def test_a_stream_stays_with_one_replica_and_the_next_one_goes_to_the_other(pair):
    with Client(target_of(pair), OPTIONS) as client:
        call_until_all_answer(client, pair)
        assert list(client.score(DOCUMENTS)) == EXPECTED
        served, idle = sorted(pair, key=lambda replica: -replica.batches)
        before = served.batches
        assert before and not idle.batches
        assert list(client.score(DOCUMENTS)) == EXPECTED
    assert idle.batches and served.batches == before


def test_a_stream_whose_replica_dies_goes_on_at_the_other(pair, tmp_path):
    def dying():
        for index, document in enumerate(DOCUMENTS):
            if index == 400:
                max(pair, key=lambda replica: replica.batches).kill()
            yield document

    filter_into(pair[0].address, iter(DOCUMENTS), tmp_path / "whole")
    pair[0].forget()
    filter_into(target_of(pair), dying(), tmp_path / "out")
    assert all(replica.batches for replica in pair)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_server_that_was_away_for_seconds_is_found_soon_after_its_return(start):
    """gRPC's synchronous stack alone takes 8 seconds: outside of calls it neither connects nor notices that it has."""
    port, patient = free_port(), ConnectionOptions(retry=RetryPolicy(attempts=100, cap_s=0.5))
    first = start(HOSTS[0], port)
    with Client(first.address, patient) as client, ThreadPoolExecutor(1) as beside:
        client.score_batch(DOCUMENTS[:3])
        first.kill()

        def come_back():
            time.sleep(2)
            start(HOSTS[0], port)
            return time.monotonic()

        back = beside.submit(come_back)
        assert client.score_batch(DOCUMENTS[:3]) == EXPECTED[:3]
        assert time.monotonic() - back.result() < 4


@pytest.mark.parametrize("age", [None, 0.5], ids=["connections for ever", "connections of an age"])
def test_a_replica_that_was_added_to_the_name_is_found_by_a_new_connection_alone(start, monkeypatch, age):
    hurried = (*connection.CHANNEL_OPTIONS, ("grpc.dns_min_time_between_resolutions_ms", 100))  # 30 s by default
    monkeypatch.setattr("curator_client.client.CHANNEL_OPTIONS", hurried)
    port, listed = free_port(), list(HOSTS[:1])
    first, second = (start(host, port, max_connection_age_s=age) for host in HOSTS)
    with name_server(listed) as names, Client(f"dns://{names}/curator.test:{port}", OPTIONS) as client:
        client.score_batch(DOCUMENTS[:1])
        listed.append(HOSTS[1])
        deadline = time.monotonic() + (15 if age else 1.5)
        while not second.batches and time.monotonic() < deadline:
            assert client.score_batch(DOCUMENTS[:3]) == EXPECTED[:3]
            time.sleep(0.01)
    assert first.batches > 1
    assert bool(second.batches) == bool(age)

"""Input that takes its time: results are handed out as they come, the server is heard meanwhile, and no thread is left."""

import asyncio
import contextlib
import contextvars
import gc
import queue
import socket
import threading
import time

import pytest
from curator_client import AsyncClient, BatchOptions, Client, ConnectionOptions, RetryPolicy
from curator_client.batches import Caps, make_batch
from curator_client.core import Window
from curator_client.intake import ThreadIntake
from curator_server.app import _Background, running_server

from curator.api.v1 import common_pb2
from curator.records import Document
from tests.client.test_client_filter import DOCUMENTS, RULE, contents
from tests.client.test_client_streams import breaking
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
HASTY = ConnectionOptions(batches=BatchOptions(linger_s=0.05), retry=RetryPolicy(base_s=0.01, cap_s=0.05))
EXPECTED = LetterScorer().score(DOCUMENTS)


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


def our_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("curator-client")]


def test_a_source_that_waits_for_its_results_gets_them(address):
    """One document at a time, the next only after the last result: what a conversation is."""
    asked = queue.Queue()
    with Client(address, HASTY) as client:
        results = client.score(iter(asked.get, None))
        for document, expected in zip(DOCUMENTS[:5], EXPECTED, strict=False):
            asked.put(document)
            began = time.monotonic()
            assert next(results) == expected
            assert time.monotonic() - began < 5
        asked.put(None)
        assert list(results) == []
    assert our_threads() == []


async def test_the_asynchronous_client_gives_a_source_its_results_too(address):
    asked = asyncio.Queue()

    async def source():
        while (document := await asked.get()) is not None:
            yield document

    blocking = queue.Queue()
    async with AsyncClient(address, HASTY) as client:
        for fill, items in ((asked.put_nowait, source()), (blocking.put, iter(blocking.get, None))):
            results = client.score(items)
            for document, expected in zip(DOCUMENTS[:5], EXPECTED, strict=False):
                fill(document)
                assert await asyncio.wait_for(anext(results), 5) == expected
            fill(None)
            assert [one async for one in results] == []
    assert our_threads() == []


def test_without_linger_batches_depend_on_the_input_alone(address, tmp_path):
    def halting():
        for index, document in enumerate(DOCUMENTS):
            if index % 70 == 3:
                time.sleep(0.1)
            yield document

    small = ConnectionOptions(batches=BatchOptions(max_documents=10, linger_s=0.01))
    with Client(address, small) as client:
        client.filter(halting(), tmp_path / "slow", **RULE)
        client.filter(DOCUMENTS, tmp_path / "fast", **RULE)
    assert contents(tmp_path / "slow") == contents(tmp_path / "fast")


def test_a_server_that_drains_is_left_while_the_source_waits():
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1], "grace_s": 30.0})
    left, asked = [], queue.Queue()
    with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
        server = first.enter_context(_Background(settings, [LetterScorer()]))
        with Client(server.address, HASTY) as client:
            results = client.score(iter(asked.get, None))
            asked.put(DOCUMENTS[0])
            assert next(results) == EXPECTED[0]
            reader = threading.Thread(target=lambda: left.extend(results))
            reader.start()
            began = time.monotonic()
            first.close()
            assert time.monotonic() - began < 10, "a client that listens does not use up the 30 s of grace"
            second.enter_context(running_server(settings, [LetterScorer()]))
            asked.put(DOCUMENTS[1])
            asked.put(None)
            reader.join(60)
    assert left == [EXPECTED[1]]


def test_no_thread_outlives_a_call_however_it_ends(address, tmp_path):
    def endless():
        while True:
            yield Document("a", "e")

    def failing():
        yield DOCUMENTS[0]
        raise ZeroDivisionError

    with Client(address, HASTY) as client:
        results = client.score(endless())
        next(results)
        assert "curator-client-input" in our_threads()
        results.close()
        assert our_threads() == []
        dropped = client.score(endless())
        next(dropped)
        del dropped
        gc.collect()
        assert our_threads() == []
        for work in (lambda: list(client.score(failing())), lambda: client.filter(failing(), tmp_path, min_score=0.0)):
            with pytest.raises(ZeroDivisionError):
                work()
            assert our_threads() == []


async def test_no_thread_or_task_outlives_an_asynchronous_call(address):
    async def endless():
        while True:
            yield Document("a", "e")
            await asyncio.sleep(0)

    def endless_too():
        while True:
            yield Document("a", "e")

    async with AsyncClient(address, HASTY) as client:
        for items in (endless(), endless_too()):
            before = asyncio.all_tasks()
            results = client.score(items)
            await anext(results)
            await results.aclose()
            assert our_threads() == []
            await asyncio.sleep(0.05)
            assert {task for task in asyncio.all_tasks() if "curator_client" in repr(task)} <= before


def test_leaving_a_source_that_never_answers_takes_a_second(address):
    stuck = threading.Event()

    def silent():
        yield DOCUMENTS[0]
        stuck.wait(90)
        yield DOCUMENTS[1]

    with Client(address, HASTY) as client:
        results = client.score(silent())
        assert next(results) == EXPECTED[0]
        began = time.monotonic()
        results.close()
        assert time.monotonic() - began < 5
    stuck.set()
    deadline = time.monotonic() + 30
    while our_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert our_threads() == []


def test_the_input_is_read_with_the_context_of_the_caller(address):
    who = contextvars.ContextVar("who", default="nobody")
    who.set("caller")

    def named():
        yield Document(who.get(), "e")

    with Client(address) as client:
        assert [result.document_id for result in client.score(named())] == ["caller"]


def test_a_silent_source_is_not_taken_for_a_silent_server(address):
    options = ConnectionOptions(batches=BatchOptions(linger_s=0.05), idle_timeout_s=0.3, retry=RetryPolicy(attempts=1))

    def pausing():
        yield DOCUMENTS[0]
        time.sleep(1.0)
        yield DOCUMENTS[1]

    with Client(address, options) as client:
        assert list(client.score(pausing())) == EXPECTED[:2]


def test_streams_that_are_cut_while_the_source_has_nothing_are_no_failed_attempts(address):
    def late():
        time.sleep(0.7)
        yield DOCUMENTS[0]

    options = ConnectionOptions(retry=RetryPolicy(attempts=2, base_s=0.01))
    with Client(address, options) as client:
        client._scoring.ScoreDocuments = breaking(client._scoring.ScoreDocuments, 1, 1, 1, 1)
        assert list(client.score(late())) == EXPECTED[:1]


def test_the_reader_stays_two_groups_ahead():
    taken = []

    def counted():
        for index in range(1000):
            taken.append(index)
            yield Document(str(index), "e")

    intake = ThreadIntake(counted(), with_metadata=False, linger_s=None)
    intake.open(Caps.of(BatchOptions(max_documents=10), common_pb2.Limits()))
    time.sleep(0.2)
    assert len(taken) == 20
    assert len(intake.take()) == 10
    time.sleep(0.2)
    assert len(taken) == 30
    intake.close()
    assert our_threads() == []


def test_a_window_counts_the_answered_documents_as_it_goes():
    window = Window(10)
    batches = [make_batch(seq, [Document("a", "t")] * seq, common_pb2.Limits()) for seq in range(1, 6)]
    for batch in batches:
        window.sent(batch)
    window.answered(1)
    window.answered(3)
    assert window.answered_documents == 4
    window.settled_through(2)  # the second before its answer, as a commit comes before it
    assert window.answered_documents == 3
    window.answered(2)
    assert window.answered_documents == 3
    window.broken()
    assert window.answered_documents == 0

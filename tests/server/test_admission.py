"""The line for room: who came first goes first, nothing is given out twice, and nothing is lost when callers leave."""

import asyncio
import threading

import pytest
from curator_server.admission import Admission, Places
from curator_server.engine import Engine

from curator.errors import OverloadedError
from curator.records import Document
from tests.contract.service_fakes import LetterScorer

pytestmark = pytest.mark.timeout(300)


def admission(documents=100, size=1000, queued=lambda: 0):
    return Admission(queued, max_documents=documents, max_bytes=size)


async def standing(room, documents, size=0):
    task = asyncio.create_task(room.admit(documents, size))
    await asyncio.sleep(0)
    return task


async def test_nobody_overtakes_a_large_batch_that_waits():
    room = admission()
    first = await room.admit(90, 0)
    large = await standing(room, 60)
    small = await standing(room, 5)
    assert not room.is_open(1, 0)
    assert not large.done() and not small.done(), "there is room for the small one, but it came later"
    first.release()
    await asyncio.gather(large, small)


async def test_what_is_let_in_together_never_exceeds_the_room():
    room, most, now = admission(), 0, 0

    async def work(documents):
        nonlocal most, now
        with await room.admit(documents, 10 * documents):
            now += documents
            most = max(most, now)
            await asyncio.sleep(0)
            now -= documents

    await asyncio.gather(*(work(documents) for documents in (7, 64, 30, 99, 1) * 20))
    assert 64 < most <= 100
    assert room.held_bytes == 0 and room.is_open(100, 1000)


async def test_bytes_bound_the_room_too_and_are_held_until_the_ticket_is_released():
    room = admission()
    ticket = await room.admit(1, 900)
    ticket.entered()
    waiting = await standing(room, 1, 200)
    assert (room.held_bytes, waiting.done()) == (1100, False)
    with pytest.raises(OverloadedError):
        room.check()
    ticket.release()
    ticket.release()
    (await waiting).release()
    assert room.held_bytes == 0
    room.check()


async def test_what_is_larger_than_all_the_room_waits_for_an_idle_server_alone():
    room = admission()
    ticket = await room.admit(1, 1)
    huge = await standing(room, 5_000, 50_000)
    assert not huge.done()
    ticket.release()
    assert (await huge).size == 50_000


async def test_documents_in_the_queue_count_and_their_leaving_is_told_by_an_offer():
    queued = [100]
    room = admission(queued=lambda: queued[0])
    waiting = await standing(room, 30)
    queued[0] = 71
    room.offer()
    assert not waiting.done()
    queued[0] = 70
    room.offer()
    await waiting


@pytest.mark.parametrize("granted", [False, True])
async def test_who_leaves_the_line_takes_no_room_along(granted):
    room = admission()
    first = await room.admit(100, 0)
    leaving, staying = await standing(room, 60), await standing(room, 60)
    if granted:
        first.release()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    first.release()
    (await staying).release()
    assert room.is_open(100, 1000)


async def test_room_that_comes_free_while_the_head_of_the_line_is_leaving_goes_to_the_next():
    room = admission()
    first = await room.admit(100, 0)
    leaving, staying = await standing(room, 60), await standing(room, 60)
    leaving.cancel()
    first.release()  # before the one that leaves has run
    ticket = await staying
    assert leaving.cancelled()
    ticket.release()
    assert room.is_open(100, 1000) and room.held_bytes == 0


async def test_calls_may_be_an_eighth_of_the_line_and_wait_their_turn_in_it():
    room = admission(documents=160)
    first = await room.admit(160, 0)
    stream = await standing(room, 155)
    call = asyncio.create_task(room.admit_call(20, 0))
    await asyncio.sleep(0)
    for documents, size in ((1, 0), (0, 126)):
        with pytest.raises(OverloadedError):
            await room.admit_call(documents, size)
    first.release()
    ticket = await stream
    assert not call.done()
    ticket.release()
    (await call).release()
    (await room.admit_call(20, 0)).release()


def test_places_are_limited_and_come_back():
    places = Places(1, "streams")
    with places.one():
        with pytest.raises(OverloadedError, match="1 streams"), places.one():
            pass
        assert places.taken == 1
    with places.one():
        pass


async def test_large_batches_get_their_turn_beside_many_streams_of_small_ones():
    engine = Engine(
        max_queued_documents=300, max_queued_bytes=1 << 30, micro_batch_documents=64, micro_batch_bytes=9999
    )
    engine.start()
    served, ended = dict.fromkeys(range(9), 0), threading.Event()

    async def stream(number, size):
        documents = [Document(str(index), "e") for index in range(size)]
        async with engine.lane(LetterScorer()) as lane:
            while not ended.is_set():
                with await engine.admission.admit(size, size) as ticket:
                    await engine.score(lane, documents, ticket)
                served[number] += size
                if served[0] >= 256 * 5:
                    ended.set()

    async with asyncio.timeout(60):
        await asyncio.gather(stream(0, 256), *(stream(number, 64) for number in range(1, 9)))
    await engine.close()
    assert served[0] >= 256 * 5
    assert max(served.values()) <= 4 * served[0]

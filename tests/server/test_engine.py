import asyncio
import contextlib
import threading

import pytest
from curator_server.engine import Engine

from curator.errors import OverloadedError
from curator.records import Document, Rejection, RejectReason, Score
from tests.contract.service_fakes import LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)


@contextlib.asynccontextmanager
async def running(**changes):
    options = {
        "max_queued_documents": 1000,
        "max_queued_bytes": 1 << 30,
        "micro_batch_documents": 4,
        "micro_batch_bytes": 1 << 20,
    } | changes
    engine = Engine(**options)
    engine.start()
    try:
        yield engine
    finally:
        await engine.close()


class AheadScorer(LetterScorer):
    """Takes a batch before it gives the results of the one ahead, as a model does that prepares one while another runs."""

    def score_batches(self, batches):
        waiting = None
        for documents in batches:
            if waiting is not None:
                yield waiting
            waiting = self.score(documents)
        if waiting is not None:
            yield waiting


async def wait_until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  the condition lives in another thread
            await asyncio.sleep(0.005)


async def test_results_come_in_order_and_equal_the_scorer_s():
    scorer, documents = LetterScorer(), sample_documents(50)
    async with running() as engine, engine.lane(scorer) as lane:
        assert await engine.score(lane, documents) == LetterScorer().score(documents)
        assert engine.queued_documents == 0
        assert await engine.score(lane, []) == []
    assert max(map(len, scorer.batches)) <= 4


async def test_a_micro_batch_respects_the_byte_budget_but_takes_a_large_document_alone():
    scorer = LetterScorer()
    documents = [Document(f"d{i}", "x" * size) for i, size in enumerate([600, 600, 5000, 10, 10])]
    async with running(micro_batch_bytes=1024) as engine, engine.lane(scorer) as lane:
        await engine.score(lane, documents)
    assert scorer.batches == [["d0"], ["d1"], ["d2"], ["d3", "d4"]]


async def test_a_small_caller_waits_for_one_micro_batch_of_a_large_one():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running() as engine, engine.lane(scorer) as large, engine.lane(scorer) as small:
        first = asyncio.create_task(engine.score(large, [Document(f"L{i}", "e") for i in range(40)]))
        await wait_until(scorer.entered.is_set)
        second = asyncio.create_task(engine.score(small, [Document(f"S{i}", "e") for i in range(4)]))
        await wait_until(lambda: engine.queued_documents == 40)
        gate.set()
        await asyncio.gather(first, second)
    order = [batch[0][0] for batch in scorer.batches]
    assert order.index("S") <= 2, order


async def test_pieces_of_several_callers_share_a_micro_batch():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running() as engine, engine.lane(scorer) as a, engine.lane(scorer) as b:
        tasks = [asyncio.create_task(engine.score(a, [Document("first", "e")]))]
        await wait_until(scorer.entered.is_set)
        tasks += [asyncio.create_task(engine.score(lane, [Document(name, "e")])) for lane, name in ((a, "x"), (b, "y"))]
        await wait_until(lambda: engine.queued_documents == 2)
        gate.set()
        await asyncio.gather(*tasks)
    assert sorted(scorer.batches[1]) == ["x", "y"]


async def test_scorers_are_never_mixed_in_a_micro_batch():
    one, two = LetterScorer(), LetterScorer(name="other")
    async with running() as engine, engine.lane(one) as a, engine.lane(two) as b:
        await asyncio.gather(
            *(
                engine.score(lane, [Document(f"{name}{i}", "e")])
                for i in range(20)
                for lane, name in ((a, "a"), (b, "b"))
            )
        )
    assert {name[0] for batch in one.batches for name in batch} == {"a"}
    assert {name[0] for batch in two.batches for name in batch} == {"b"}


async def test_a_raising_scorer_fails_only_its_own_caller(caplog):
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running() as engine, engine.lane(scorer) as good, engine.lane(scorer) as bad:
        tasks = [asyncio.create_task(engine.score(good, [Document("g0", "e")]))]
        await wait_until(scorer.entered.is_set)
        tasks.append(asyncio.create_task(engine.score(good, [Document("g1", "e")])))
        tasks.append(asyncio.create_task(engine.score(bad, [Document("b1", "boom")])))
        await wait_until(lambda: engine.queued_documents == 2)
        gate.set()
        _, [fine], [failed] = await asyncio.gather(*tasks)
    assert isinstance(fine, Score)
    assert isinstance(failed, Rejection)
    assert failed.reason is RejectReason.SCORING_FAILED
    assert "secret" not in failed.detail
    assert "secret detail" in caplog.text


async def test_a_scorer_that_loses_results_fails_its_documents(caplog):
    class Short(LetterScorer):
        def score(self, documents):
            return super().score(documents)[1:]

    async with running(micro_batch_documents=8) as engine, engine.lane(Short()) as lane:
        results = await engine.score(lane, sample_documents(2))
    assert [result.reason for result in results] == [RejectReason.SCORING_FAILED] * 2
    assert "returned 1 results for 2" in caplog.text


async def test_leaving_a_lane_drops_what_it_has_queued():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running() as engine:
        async with engine.lane(scorer) as lane:
            task = asyncio.create_task(engine.score(lane, sample_documents(100)))
            await wait_until(scorer.entered.is_set)
            assert engine.queued_documents == 96
        assert engine.queued_documents == 0
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert sum(map(len, scorer.batches)) == 4


async def test_a_full_queue_refuses_and_then_offers_room():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running(max_queued_documents=10) as engine, engine.lane(scorer) as lane:
        assert engine.admission.is_open(
            10_000, 0
        )  # an empty queue takes any batch, or a large one could never be scored
        task = asyncio.create_task(engine.score(lane, sample_documents(14)))
        await wait_until(lambda: engine.queued_documents == 10)
        with pytest.raises(OverloadedError):
            engine.admission.check()
        with pytest.raises(OverloadedError):
            await engine.admission.admit_call(2, 0)
        room = asyncio.create_task(engine.admission.admit(1, 0))
        await asyncio.sleep(0.02)
        assert not room.done()
        gate.set()
        async with asyncio.timeout(30):
            await room
            await task


@pytest.mark.parametrize("kind", [LetterScorer, AheadScorer])
async def test_closing_cancels_what_waits_and_later_work_is_refused(kind):
    gate = threading.Event()
    scorer = kind(gate=gate)
    async with running() as engine, engine.lane(scorer) as lane:
        task = asyncio.create_task(engine.score(lane, sample_documents(50)))
        await wait_until(scorer.entered.is_set)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0.02)
        gate.set()
        await closing
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OverloadedError):
            await engine.score(lane, sample_documents(1))


async def test_closing_leaves_a_micro_batch_behind_that_does_not_end(caplog):
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    async with running() as engine, engine.lane(scorer) as lane:
        task = asyncio.create_task(engine.score(lane, sample_documents(8)))
        await wait_until(scorer.entered.is_set)
        async with asyncio.timeout(30):
            await engine.close(timeout_s=0.05)
        assert "left behind" in caplog.text
        assert engine.queued_documents == 0
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_whoever_watches_learns_of_every_micro_batch():
    seen = []
    async with running(observe=lambda *batch: seen.append(batch)) as engine, engine.lane(LetterScorer()) as lane:
        await engine.score(lane, [Document(str(index), "é" * 3) for index in range(6)])
        await engine.score(lane, [Document("b", "boom")])
        await wait_until(lambda: len(seen) == 3)
    assert [(documents, size) for documents, size, _ in seen] == [(4, 24), (2, 12), (1, 4)]
    assert all(0 <= seconds < 10 for *_, seconds in seen)


@pytest.mark.parametrize("size", [0, 1, 4, 5, 50])
async def test_a_scorer_that_works_ahead_gives_the_same_results(size):
    documents = sample_documents(size)
    async with running() as engine, engine.lane(AheadScorer()) as lane:
        for _ in range(3):  # each time the queue runs dry, and what is in work is handed out all the same
            assert await engine.score(lane, documents) == LetterScorer().score(documents)


async def test_of_what_is_in_work_when_a_scorer_raises_nothing_is_lost_and_only_the_cause_fails(caplog):
    documents = [Document(f"d{index}", "boom" if index == 9 else "tree") for index in range(16)]
    async with running() as engine, engine.lane(AheadScorer()) as lane:
        results = await engine.score(lane, documents)
        assert await engine.score(lane, documents[:4]) == LetterScorer().score(documents[:4])
    failed = [place for place, result in enumerate(results) if isinstance(result, Rejection)]
    assert failed == [9]  # a piece is a quarter of a micro-batch of four
    assert "secret detail" in caplog.text


async def test_a_scorer_that_works_ahead_gives_way_to_another():
    one, two = AheadScorer(), AheadScorer(name="other")
    async with running() as engine, engine.lane(one) as a, engine.lane(two) as b:
        first, second = await asyncio.gather(
            engine.score(a, sample_documents(40)), engine.score(b, sample_documents(40))
        )
    assert first == second == LetterScorer().score(sample_documents(40))
    assert sum(map(len, one.batches)) == sum(map(len, two.batches)) == 40


async def test_a_scorer_that_keeps_results_back_is_asked_again():
    class Keeps(AheadScorer):
        def score_batches(self, batches):
            yield from list(super().score_batches(batches))[:-1]

    async with running() as engine, engine.lane(Keeps()) as lane:
        assert await engine.score(lane, sample_documents(10)) == LetterScorer().score(sample_documents(10))

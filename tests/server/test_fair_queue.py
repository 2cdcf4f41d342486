import asyncio

import pytest
from curator_server.fair_queue import FairQueue, Lane, Piece
from hypothesis import given
from hypothesis import strategies as st

from curator.records import Document
from tests.contract.service_fakes import LetterScorer

ONE, OTHER = LetterScorer(), LetterScorer(name="other")
DOCUMENTS, BYTES = 8, 400


@pytest.fixture(scope="module")
def loop():
    with asyncio.Runner() as runner:
        yield runner.get_loop()


def queue():
    return FairQueue(micro_batch_documents=DOCUMENTS, micro_batch_bytes=BYTES)


def pieces_of(waiting, loop, lengths, name="d"):
    documents = [Document(f"{name}{number}", "x" * length) for number, length in enumerate(lengths)]
    return [Piece("", part, size, loop.create_future()) for part, size in waiting.split(documents)]


def drained(waiting):
    batches = []
    while waiting:
        batches.append(waiting.take())
    return batches


def ids(pieces):
    return [document.id for piece in pieces for document in piece.documents]


lengths_of_a_caller = st.lists(st.integers(0, 600), max_size=30)


@given(lengths_of_a_caller)
def test_splitting_keeps_every_document_in_order_within_a_quarter_of_a_micro_batch(lengths):
    parts = list(queue().split([Document(str(number), "x" * length) for number, length in enumerate(lengths)]))
    assert [document.id for part, _ in parts for document in part] == [str(number) for number in range(len(lengths))]
    for part, size in parts:
        assert size == sum(len(document.text) for document in part)
        assert len(part) == 1 or (len(part) <= DOCUMENTS // 4 and size <= BYTES // 4)


@given(st.lists(st.tuples(lengths_of_a_caller, st.sampled_from([ONE, OTHER])), max_size=6))
def test_every_document_is_given_out_once_in_its_caller_s_order_by_its_scorer_within_the_budget(loop, callers):
    waiting = queue()
    for number, (lengths, scorer) in enumerate(callers):
        waiting.add(Lane(scorer), pieces_of(waiting, loop, lengths, f"{number}/"))
    assert waiting.documents == sum(len(lengths) for lengths, _ in callers)
    batches = drained(waiting)
    assert waiting.documents == 0
    for number, (lengths, scorer) in enumerate(callers):
        mine = [name for batch_scorer, pieces in batches for name in ids(pieces) if name.startswith(f"{number}/")]
        assert mine == [f"{number}/{index}" for index in range(len(lengths))]
        assert all(
            batch_scorer is scorer
            for batch_scorer, pieces in batches
            if any(name.startswith(f"{number}/") for name in ids(pieces))
        )
    for _, pieces in batches:
        assert len(pieces) == 1 or len(ids(pieces)) <= DOCUMENTS
        assert len(pieces) == 1 or sum(piece.text_bytes for piece in pieces) <= BYTES


@given(st.lists(st.integers(1, 90), min_size=2, max_size=5), st.integers(1, 20))
def test_busy_callers_get_the_same_bytes_whatever_the_length_of_their_documents(loop, lengths, turns):
    waiting, lanes = queue(), [Lane(ONE) for _ in lengths]
    for lane, length in zip(lanes, lengths, strict=True):
        waiting.add(lane, pieces_of(waiting, loop, [length] * 400))
    for _ in range(turns):
        waiting.take()
        served = [lane.served for lane in lanes]
        assert max(served) - min(served) <= BYTES // 2


def test_a_small_call_is_in_the_next_micro_batch_beside_many_busy_callers(loop):
    waiting = queue()
    for _ in range(16):
        waiting.add(Lane(ONE), pieces_of(waiting, loop, [50] * 100))
    for _ in range(20):
        waiting.take()
    waiting.add(Lane(ONE), pieces_of(waiting, loop, [50] * 2, "small"))
    assert set(ids(waiting.take()[1])) >= {"small0", "small1"}


def test_having_idled_earns_no_more_than_the_next_turn(loop):
    waiting, busy, idler = queue(), Lane(ONE), Lane(ONE)
    waiting.add(idler, pieces_of(waiting, loop, [50]))
    waiting.add(busy, pieces_of(waiting, loop, [50] * 1000))
    for _ in range(50):
        waiting.take()
    waiting.add(idler, pieces_of(waiting, loop, [50] * 1000))
    before = busy.served
    for _ in range(10):
        waiting.take()
    assert busy.served - before >= 10 * BYTES // 2 - BYTES


def test_a_dropped_lane_leaves_nothing_behind(loop):
    waiting, kept, dropped = queue(), Lane(ONE), Lane(ONE)
    waiting.add(kept, pieces_of(waiting, loop, [10] * 5, "kept"))
    waiting.add(dropped, pieces_of(waiting, loop, [10] * 5, "dropped"))
    assert ids(waiting.drop(dropped)) == [f"dropped{number}" for number in range(5)]
    assert waiting.drop(dropped) == []
    assert [name for _, pieces in drained(waiting) for name in ids(pieces)] == [f"kept{number}" for number in range(5)]


def test_clearing_returns_all_that_waits(loop):
    waiting = queue()
    for name in "ab":
        waiting.add(Lane(ONE), pieces_of(waiting, loop, [10] * 3, name))
    assert sorted(ids(waiting.clear())) == ["a0", "a1", "a2", "b0", "b1", "b2"]
    assert not waiting
    assert waiting.documents == 0

import math

import grpc
import pytest
from curator_client import BatchOptions, RetryPolicy
from curator_client.batches import Caps, group, make_batch
from curator_client.core import Window
from curator_client.flows import ScoreFlow
from curator_client.intake import Pulled
from google.rpc import status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.convert import result_to_wire
from curator.api.status import status_from_error
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import ConfigError, CuratorError, OverloadedError
from curator.records import Document, Rejection, RejectReason, Score
from tests.contract.service_fakes import LetterScorer

LIMITS = common_pb2.Limits(
    max_batch_documents=100, max_batch_bytes=1000, max_inflight_batches=3, max_document_bytes=500
)
UNAVAILABLE = status_pb2.Status(code=grpc.StatusCode.UNAVAILABLE.value[0])


def pulled(documents):
    return Pulled(iter(documents), with_metadata=False)


def opened():
    return scoring_pb2.ScoreDocumentsResponse(opened=scoring_pb2.Opened(limits=LIMITS, neuron_set_etag="etag-1"))


def answer(batch):
    documents = [Document(wire.id, wire.text) for wire in batch.documents.documents]
    return scoring_pb2.ScoreDocumentsResponse(result=result_to_wire(batch.seq, LetterScorer().score(documents)))


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 9), st.integers(1, 600))
@settings(deadline=None, max_examples=50)
def test_grouping_keeps_every_document_in_order_under_both_limits(sizes, max_documents, max_bytes):
    documents = [Document(str(index), "x" * size) for index, size in enumerate(sizes)]
    caps = Caps.of(BatchOptions(max_documents, max_bytes), LIMITS)
    groups = list(group(documents, caps, with_metadata=False))
    assert [item.wire.text for part in groups for item in part] == [document.text for document in documents]
    assert all(part for part in groups)
    for part in groups:
        assert len(part) <= max_documents
        sent = common_pb2.Documents(documents=[item.wire for item in part])
        assert len(part) == 1 or sent.ByteSize() <= min(max_bytes, LIMITS.max_batch_bytes)


def test_a_batch_refuses_what_the_wire_or_the_server_would_not_take():
    documents = [Document("ok", "e"), Document("big", "x" * 501), Document("half", "\ud800"), Document("ok2", "e")]
    batch = make_batch(7, documents, LIMITS)
    assert [wire.id for wire in batch.wire.documents.documents] == ["ok", "ok2"]
    results = batch.results(answer(batch.wire).result)
    assert [type(result) for result in results] == [Score, Rejection, Rejection, Score]
    assert [result.reason for result in results[1:3]] == [RejectReason.RECORD_TOO_LARGE, RejectReason.NOT_A_RECORD]


@pytest.mark.parametrize("item", ["a text", ("id", "text"), {"text": "x"}])
def test_what_is_no_document_is_named_with_the_fix(item):
    with pytest.raises(ConfigError, match=rf"a {type(item).__name__} came; make each a Document\(id, text\)"):
        make_batch(1, [item], LIMITS)


def test_a_window_holds_no_more_than_its_limit_and_replays_in_order():
    window = Window(2)
    first, second = (make_batch(seq, [Document("a", "t")], LIMITS) for seq in (1, 2))
    window.sent(first)
    window.sent(second)
    assert not window.has_room
    window.answered(2)
    assert window.has_room
    window.broken()
    assert not window.has_room, "a broken stream has no credit until the next one is open"
    assert [window.take_replay(), window.take_replay(), window.take_replay()] == [first, second, None]


def test_an_answer_that_nobody_waits_for_is_an_error():
    with pytest.raises(CuratorError, match="not waiting"):
        Window(2).answered(1)


def test_retry_waits_grow_are_jittered_and_capped():
    policy = RetryPolicy(attempts=6, base_s=0.1, cap_s=0.5)
    highest = [policy.delay(attempt, UNAVAILABLE, lambda: 1.0) for attempt in range(1, 7)]
    assert highest == [0.1, 0.2, 0.4, 0.5, 0.5, None]
    assert policy.delay(3, UNAVAILABLE, lambda: 0.0) == 0.0


def test_the_server_s_retry_advice_is_a_lower_bound_and_other_errors_are_final():
    policy = RetryPolicy()
    assert policy.delay(1, status_from_error(OverloadedError("x"), retry_delay_s=2.0), lambda: 0.0) == 2.0
    assert policy.delay(1, status_from_error(ConfigError("x"))) is None
    assert policy.delay(1, status_pb2.Status(code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])) is None


@given(st.data())
@settings(deadline=None, max_examples=50)
def test_a_score_flow_survives_any_breaks_credits_and_orders_of_answers(data):
    documents = [Document(f"d{index}", "e" * (index % 5 + 1)) for index in range(40)]
    flow = ScoreFlow(pulled(documents), scoring_pb2.ScoreConfig(), BatchOptions(max_documents=3))
    results, waiting, breaks = [], [], 0
    results += flow.receive(opened())
    for _ in range(400):
        waiting += [request.batch for request in flow.requests()]
        if flow.complete:
            break
        event = data.draw(st.sampled_from(["answer", "answer", "answer", "break", "credit"]))
        if event == "break" and breaks < 5:
            breaks += 1
            flow.broken()
            waiting = []
            results += flow.receive(opened())
        elif event == "credit" or not waiting:
            credit = scoring_pb2.Credit(max_inflight_batches=data.draw(st.integers(0 if waiting else 1, 5)))
            results += flow.receive(scoring_pb2.ScoreDocumentsResponse(credit=credit))
        else:
            results += flow.receive(answer(waiting.pop(data.draw(st.integers(0, len(waiting) - 1)))))
    while not flow.complete:
        results += flow.receive(scoring_pb2.ScoreDocumentsResponse(credit=scoring_pb2.Credit(max_inflight_batches=5)))
        waiting += [request.batch for request in flow.requests()]
        results += [result for batch in waiting for result in flow.receive(answer(batch))]
        waiting = []
    assert results == LetterScorer().score(documents)


def test_the_first_stream_s_etag_is_pinned_on_the_next():
    flow = ScoreFlow(pulled([Document("a", "e")]), scoring_pb2.ScoreConfig(), BatchOptions())
    assert flow.opening().config.etag == ""
    list(flow.receive(opened()))
    flow.broken()
    assert flow.opening().config.etag == "etag-1"


def test_credit_zero_pauses_and_a_drain_ends_the_stream_early():
    flow = ScoreFlow(
        pulled([Document(str(i), "e") for i in range(10)]), scoring_pb2.ScoreConfig(), BatchOptions(max_documents=1)
    )
    list(flow.receive(opened()))
    first = list(flow.requests())
    assert len(first) == LIMITS.max_inflight_batches
    list(flow.receive(scoring_pb2.ScoreDocumentsResponse(credit=scoring_pb2.Credit())))
    results = [result for request in first for result in flow.receive(answer(request.batch))]
    assert len(results) == 3
    assert list(flow.requests()) == []
    assert not flow.half_close
    list(flow.receive(scoring_pb2.ScoreDocumentsResponse(drain=scoring_pb2.Drain())))
    assert flow.half_close
    assert not flow.complete


def test_a_failed_score_is_nan_on_the_wire_and_a_rejection_in_the_client():
    wire = result_to_wire(1, [Rejection("a", RejectReason.EMPTY_TEXT, "why")])
    assert math.isnan(wire.scores[0])
    batch = make_batch(1, [Document("a", "x")], LIMITS)
    assert batch.results(wire) == [Rejection("a", RejectReason.EMPTY_TEXT, "why")]

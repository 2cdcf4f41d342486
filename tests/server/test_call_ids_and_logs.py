"""Request ids and traces: from the metadata into the answer and into every line of the log."""

import io
import json
import logging
import re
import time

import grpc
import pytest
from curator_server import app
from curator_server.app import running_server
from curator_server.calls import CURRENT, Call, CallFields, call_fields_in_logs, parse_traceparent
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.status import status_from_call
from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.cli.logs import JsonFormatter
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
METADATA = [("x-request-id", "run-7.batch:3"), ("traceparent", f"00-{TRACE}-{SPAN}-01")]
FRESH = re.compile(r"[0-9a-f]{32}")


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def log_lines():
    """Everything that our server logs, as the objects that ``--log-json`` writes."""
    text, logger, root = io.StringIO(), logging.getLogger("curator_server"), logging.getLogger()
    handler = logging.StreamHandler(text)
    handler.setFormatter(JsonFormatter())
    root.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        with call_fields_in_logs():
            yield lambda: [json.loads(line) for line in text.getvalue().splitlines()]
    finally:
        root.removeHandler(handler)
        logger.setLevel(logging.NOTSET)


def echoed(call):
    return dict(call.trailing_metadata())["x-request-id"]


def batch_of(*texts):
    documents = common_pb2.Documents(documents=[common_pb2.Document(id=text, text=text) for text in texts])
    return common_pb2.DocumentBatch(seq=1, documents=documents)


def test_an_id_comes_back_with_answers_streams_and_errors(channel):
    catalog, scoring = catalog_pb2_grpc.CatalogServiceStub(channel), scoring_pb2_grpc.ScoringServiceStub(channel)
    info = catalog_pb2.GetServerInfoRequest()
    _, unary = catalog.GetServerInfo.with_call(info, timeout=TIMEOUT, metadata=METADATA)
    assert echoed(unary) == "run-7.batch:3"
    requests = [
        scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()),
        scoring_pb2.ScoreDocumentsRequest(batch=batch_of("e")),
    ]
    stream = scoring.ScoreDocuments(iter(requests), timeout=TIMEOUT, metadata=METADATA)
    assert len(list(stream)) == 2
    assert echoed(stream) == "run-7.batch:3"
    with pytest.raises(grpc.RpcError) as caught:
        catalog.GetModel(catalog_pb2.GetModelRequest(name="absent"), timeout=TIMEOUT, metadata=METADATA)
    assert echoed(caught.value) == "run-7.batch:3"
    found = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(found) for detail in status_from_call(caught.value).details)
    assert found.request_id == "run-7.batch:3"


@pytest.mark.parametrize("given_id", [None, "", "a b", "x" * 129, 'a"b'])
def test_an_absent_or_unusable_id_is_replaced(channel, given_id):
    metadata = [] if given_id is None else [("x-request-id", given_id)]
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    _, call = stub.GetServerInfo.with_call(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT, metadata=metadata)
    assert FRESH.fullmatch(echoed(call))


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=140))
def test_an_id_in_the_log_is_one_harmless_word(text):
    call = Call.from_metadata("/a/b", (("x-request-id", text),))
    assert re.fullmatch(r"[\x21-\x7e]{1,128}", call.request_id)
    assert call.request_id == text or FRESH.fullmatch(call.request_id)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
    ],
)
def test_an_invalid_traceparent_is_no_trace(header):
    assert parse_traceparent(header) == ("", "")


def test_a_traceparent_of_this_and_of_a_later_version_is_read():
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-01") == (TRACE, SPAN)
    assert parse_traceparent(f"01-{TRACE}-{SPAN}-01-what-comes") == (TRACE, SPAN)


def test_every_line_of_a_call_names_it_and_its_trace(channel, log_lines):
    scoring = scoring_pb2_grpc.ScoringServiceStub(channel)
    request = scoring_pb2.ScoreBatchRequest(batch=batch_of("boom"))
    scoring.ScoreBatch(request, timeout=TIMEOUT, metadata=METADATA)
    absent = scoring_pb2.ScoreBatchRequest(config=scoring_pb2.ScoreConfig(neuron_set="absent"))
    with pytest.raises(grpc.RpcError):
        scoring.ScoreBatch(absent, timeout=TIMEOUT, metadata=[("x-request-id", "bad.one")])
    deadline = time.monotonic() + TIMEOUT  # the last line is written after the answer has gone
    while sum(line["message"] == "call ended" for line in log_lines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    lines = [line for line in log_lines() if line["logger"].startswith("curator_server")]
    failed = next(line for line in lines if line["message"] == "scoring failed")  # written by the engine's thread
    assert failed["request_id"] == "run-7.batch:3"
    ended = [line for line in lines if line["message"] == "call ended"]
    assert [(line["request_id"], line["level"], line["code"]) for line in ended] == [
        ("run-7.batch:3", "DEBUG", "OK"),
        ("bad.one", "INFO", "NOT_FOUND"),
    ]
    assert (ended[0]["trace_id"], ended[0]["parent_span_id"]) == (TRACE, SPAN)
    assert ended[0]["method"] == "/curator.api.v1.ScoringService/ScoreBatch"
    assert ended[0]["seconds"] > 0
    assert "trace_id" not in ended[1]


def test_what_a_record_says_of_itself_stays_and_outside_calls_nothing_is_added():
    record = logging.makeLogRecord({"msg": "m", "request_id": "own"})
    token = CURRENT.set(Call("/a/b", "current"))
    try:
        assert CallFields().filter(record)
    finally:
        CURRENT.reset(token)
    assert (record.request_id, record.method) == ("own", "/a/b")
    plain = logging.makeLogRecord({"msg": "m"})
    assert CallFields().filter(plain)
    assert not hasattr(plain, "request_id")


def test_a_serving_process_has_the_filter_on_its_handlers(monkeypatch):
    handler, seen = logging.NullHandler(), []

    def instead_of_running(main):
        main.close()
        seen.extend(handler.filters)

    logging.getLogger().addHandler(handler)
    try:
        monkeypatch.setattr(app.asyncio, "run", instead_of_running)
        app.serve(SETTINGS, [LetterScorer()])
    finally:
        logging.getLogger().removeHandler(handler)
    assert [type(found) for found in seen] == [CallFields]


def test_the_filter_leaves_with_its_block():
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        with call_fields_in_logs():
            assert len(handler.filters) == 1
        assert handler.filters == []
    finally:
        logging.getLogger().removeHandler(handler)

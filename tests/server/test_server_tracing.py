import asyncio
import sys
import time

import grpc
import pytest
from curator_server import app
from curator_server.app import running_server
from curator_server.calls import Call
from curator_server.tracing import call_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture
def exporter(monkeypatch):
    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(app, "call_spans", lambda: call_spans(provider))
    return spans


def test_every_call_is_a_span_below_its_caller_s(exporter):
    metadata = [("traceparent", f"00-{TRACE}-{SPAN}-01")]
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        catalog.GetServerInfo(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT, metadata=metadata)
        with pytest.raises(grpc.RpcError):
            catalog.GetModel(catalog_pb2.GetModelRequest(name="absent"), timeout=TIMEOUT)
        with pytest.raises(grpc.RpcError):
            catalog.LoadModel(catalog_pb2.LoadModelRequest(), timeout=TIMEOUT)
        documents = common_pb2.Documents(documents=[common_pb2.Document(id="a", text="e")])
        requests = [
            scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()),
            scoring_pb2.ScoreDocumentsRequest(batch=common_pb2.DocumentBatch(seq=1, documents=documents)),
        ]
        list(scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(iter(requests), timeout=TIMEOUT))
        deadline = time.monotonic() + TIMEOUT
        while len(exporter.get_finished_spans()) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    info, absent, refused, stream = exporter.get_finished_spans()
    assert info.name == "curator.api.v1.CatalogService/GetServerInfo"
    assert info.kind is SpanKind.SERVER
    assert (format(info.context.trace_id, "032x"), format(info.parent.span_id, "016x")) == (TRACE, SPAN)
    assert absent.parent is None
    assert (absent.attributes["rpc.grpc.status_code"], absent.status.status_code) == (5, StatusCode.UNSET)
    assert (refused.attributes["rpc.grpc.status_code"], refused.status.status_code) == (12, StatusCode.ERROR)
    assert stream.attributes["rpc.method"] == "ScoreDocuments"
    assert stream.attributes["rpc.grpc.status_code"] == 0


def test_without_the_extra_there_are_no_spans(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    assert call_spans() is None


def test_with_the_extra_alone_nothing_is_recorded_and_calls_work():
    assert call_spans() is not None
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        assert stub.GetServerInfo(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT).version


def test_a_stream_that_is_closed_by_another_task_ends_its_span_without_a_word(exporter, caplog):
    span_of = app.call_spans()

    async def stream():
        with span_of(Call("/curator.api.v1.JobService/WatchJob", "r1"), ()) as ended:
            try:
                yield 1
            finally:
                ended(grpc.StatusCode.CANCELLED)

    async def left():
        answers = stream()
        await asyncio.create_task(anext(answers))
        await asyncio.create_task(answers.aclose())

    asyncio.run(left())
    assert [span.name for span in exporter.get_finished_spans()] == ["curator.api.v1.JobService/WatchJob"]
    assert not caplog.records

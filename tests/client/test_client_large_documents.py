"""Documents with much metadata, deep metadata, and servers whose limits are lower than thought: no neighbour suffers."""

import contextlib
import json
import socket

import pytest
import zstandard
from curator_client import BatchOptions, Client, ConnectionOptions, RetryPolicy
from curator_client.connection import CHANNEL_OPTIONS
from curator_client.flows import ScoreFlow
from curator_client.intake import Pulled
from curator_server.app import running_server

from curator.api.convert import result_to_wire
from curator.api.status import status_from_error
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import LimitError
from curator.records import Document, Rejection, RejectReason
from tests.client.test_client_filter import records
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
OPTIONS = ConnectionOptions(retry=RetryPolicy(base_s=0.01))
COMPRESSED = ConnectionOptions(batches=BatchOptions(compress=True))


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


def heavy(count, size):
    return [Document(f"h{index}", "eee", metadata={"page": f"{index:08}" * (size // 8)}) for index in range(count)]


def nested(levels, kind):
    value = 1
    for _ in range(levels):
        value = {"a": value} if kind is dict else [value]
    return {"m": value}


@pytest.mark.parametrize("size", [17 << 10, 40 << 10])
@pytest.mark.parametrize("options", [OPTIONS, COMPRESSED], ids=["plain", "compressed"])
def test_documents_with_much_metadata_are_filtered_like_any_other(address, tmp_path, size, options):
    documents = heavy(512, size)
    with Client(address, options) as client:
        report = client.filter(iter(documents), tmp_path, min_score=0.0)
    assert (report.documents_in, report.documents_kept, report.not_kept_by_reason) == (512, 512, {})
    assert [row["id"] for row in records(tmp_path)] == [document.id for document in documents]


@pytest.mark.parametrize("options", [OPTIONS, COMPRESSED], ids=["plain", "compressed"])
def test_a_document_that_fits_no_batch_is_refused_alone_and_named(address, tmp_path, options):
    whole, huge = heavy(3, 1 << 10), Document("huge", "eee", metadata={"page": "x" * SETTINGS.max_batch_bytes})
    almost = Document("almost", "eee", metadata={"page": "x" * (SETTINGS.max_batch_bytes - 200)})
    with Client(address, options) as client:
        report = client.filter([whole[0], huge, whole[1], almost, whole[2]], tmp_path, min_score=0.0)
    assert (report.documents_in, report.documents_kept, report.documents_failed) == (5, 4, 1)
    assert report.not_kept_by_reason == {"record_too_large": 1}
    (line,) = (tmp_path / "refused.jsonl").read_text().splitlines()
    named = json.loads(line)
    assert (named["place"], named["reason"]) == ("huge", "record_too_large") and "with its metadata" in named["detail"]
    assert report.listed == {"refused.jsonl": 1} == json.loads((tmp_path / "manifest.json").read_text())["listed"]


@pytest.mark.parametrize(("levels", "kind"), [(33, dict), (200, dict), (60, list), (3000, dict)])
def test_metadata_that_is_nested_too_deep_costs_its_own_document_only(address, tmp_path, levels, kind):
    good, deep = heavy(2, 100), Document("deep", "eee", metadata=nested(levels, kind))
    with Client(address, OPTIONS) as client:
        report = client.filter([good[0], deep, good[1]], tmp_path, min_score=0.0)
        assert len(list(client.score([good[0], deep, good[1]]))) == 3  # scores need no metadata
    assert (report.documents_kept, report.not_kept_by_reason) == (2, {"not_a_record": 1})
    assert "nested deeper" in (tmp_path / "refused.jsonl").read_text()


def test_the_deepest_metadata_that_is_taken_arrives(address, tmp_path):
    deep = [Document(kind.__name__, "eee", metadata=nested(29, kind)) for kind in (dict, list)]
    with Client(address, OPTIONS) as client:
        assert client.filter(deep, tmp_path, min_score=0.0).documents_kept == 2
    assert [row["m"] for row in records(tmp_path)] == [document.metadata["m"] for document in deep]


@pytest.mark.parametrize(
    "narrow", [{"max_batch_documents": 3}, {"max_batch_bytes": 1500}, {"max_message_bytes": 64 << 10}]
)
@pytest.mark.parametrize("compress", [False, True])
def test_a_server_that_comes_back_with_lower_limits_gets_smaller_batches(tmp_path, narrow, compress):
    documents = sample_documents(900)
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1]})
    options = ConnectionOptions(
        batches=BatchOptions(max_documents=100, compress=compress), retry=RetryPolicy(base_s=0.01)
    )

    def replaced(first, second):
        for index, document in enumerate(documents):
            if index == 850:
                first.close()
                second.enter_context(running_server(settings.model_copy(update=narrow), [LetterScorer()]))
            yield document

    for work in ("score", "filter"):
        with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
            address = first.enter_context(running_server(settings, [LetterScorer()]))
            with Client(address, options) as client:
                if work == "score":
                    assert list(client.score(replaced(first, second))) == LetterScorer().score(documents)
                else:
                    report = client.filter(replaced(first, second), tmp_path, min_score=0.0)
                    assert report.documents_kept == report.documents_in == 900
    assert [row["id"] for row in records(tmp_path)] == [document.id for document in documents]


def test_a_message_limit_on_the_way_that_nobody_told_of_is_found_by_halving(address, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "curator_client.client.CHANNEL_OPTIONS", (("grpc.max_send_message_length", 60_000), *CHANNEL_OPTIONS[2:])
    )
    documents = [Document(f"d{index}", "e" * 2000) for index in range(300)]
    with Client(address, OPTIONS) as client:
        assert list(client.score(documents)) == LetterScorer().score(documents)
        assert client.filter(documents, tmp_path / "out", min_score=0.0).documents_kept == 300
        with pytest.raises(LimitError):
            list(client.score([Document("alone", "e" * 70_000)]))
    assert [row["id"] for row in records(tmp_path / "out")] == [document.id for document in documents]


@pytest.mark.parametrize("compress", [False, True])
def test_a_batch_that_the_server_refuses_for_its_size_is_halved_until_one_document_is_left(compress):
    documents = [Document(f"d{index}", "e") for index in range(5)]
    options = BatchOptions(compress=compress, max_documents=4)
    flow = ScoreFlow(Pulled(documents, with_metadata=False), scoring_pb2.ScoreConfig(), options)
    list(
        flow.receive(
            scoring_pb2.ScoreDocumentsResponse(
                opened=scoring_pb2.Opened(limits=common_pb2.Limits(max_inflight_batches=2))
            )
        )
    )
    results, asked = [], []
    while not flow.complete:
        for request in list(flow.requests()):
            sent = places(request.batch)
            asked.append(len(sent))
            answer = scoring_pb2.ScoreResult(seq=request.batch.seq)
            if len(sent) > 1 or sent == ["d2"]:
                answer.batch_error.CopyFrom(status_from_error(LimitError("Too large.")))
            else:
                answer = result_to_wire(request.batch.seq, LetterScorer().score([Document(sent[0], "e")]))
            results += flow.receive(scoring_pb2.ScoreDocumentsResponse(result=answer))
    expected = LetterScorer().score(documents)
    assert [results[index] for index in (0, 1, 3, 4)] == [expected[index] for index in (0, 1, 3, 4)]
    assert isinstance(results[2], Rejection) and results[2].reason == RejectReason.RECORD_TOO_LARGE
    assert asked == [4, 1, 2, 2, 1, 1, 1, 1]


def places(batch):
    found = batch.documents
    if batch.zstd_documents:
        found = common_pb2.Documents.FromString(zstandard.decompress(batch.zstd_documents))
    return [one.id for one in found.documents]

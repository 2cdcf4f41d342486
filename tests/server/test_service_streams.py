"""The service as any gRPC client sees it: raw stubs, no client library."""

import json
import queue
import threading
import time

import grpc
import pytest
import zstandard
from curator_server.app import SCORING_SERVICE, _Background, running_server
from curator_server.catalog_servicer import CatalogServicer
from curator_server.scoring_servicer import ScoringServicer
from grpc_health.v1 import health_pb2, health_pb2_grpc

from curator.api.convert import document_to_wire
from curator.api.payload import compress_documents
from curator.api.status import error_from_status, retry_delay_s, status_from_call
from curator.api.v1 import (
    catalog_pb2,
    catalog_pb2_grpc,
    common_pb2,
    jobs_pb2,
    jobs_pb2_grpc,
    scoring_pb2,
    scoring_pb2_grpc,
)
from curator.errors import (
    ArtifactNotFoundError,
    ConfigError,
    FingerprintError,
    LimitError,
    ModelNotFoundError,
    OverloadedError,
)
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60
SMALL = SETTINGS.model_copy(
    update={
        "max_batch_documents": 50,
        "max_batch_bytes": 20_000,
        "max_document_bytes": 500,
        "max_message_bytes": 64 << 10,
    }
)


@pytest.fixture(scope="module")
def address():
    with running_server(SMALL, [LetterScorer()]) as address:
        yield address


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield channel


def plain_batch(seq, *texts):
    documents = [common_pb2.Document(id=f"{seq}.{index}", text=text) for index, text in enumerate(texts)]
    return common_pb2.DocumentBatch(seq=seq, documents=common_pb2.Documents(documents=documents))


def score_stream(channel, *batches, **config):
    requests = [scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig(**config))]
    requests += [scoring_pb2.ScoreDocumentsRequest(batch=batch) for batch in batches]
    return list(scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(iter(requests), timeout=TIMEOUT))


def error_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return error_from_status(status_from_call(caught.value))


def test_opened_comes_first_and_every_batch_is_answered_by_its_seq(channel):
    opened, *answers = score_stream(channel, *(plain_batch(seq, "eee", "abc") for seq in (3, 4, 9)))
    assert opened.opened.limits == SMALL.limits
    assert opened.opened.neuron_set_etag == "etag-1"
    assert opened.opened.neuron_set == "models/ffffffffffffffff/neuronSets/letter-e"
    assert [answer.result.seq for answer in answers] == [3, 4, 9]
    assert list(answers[0].result.probabilities) == [1.0, 0.0]
    assert answers[0].result.timing.total_ns > 0
    assert [list(entry.top_neurons) for entry in answers[0].result.explanations] == [["L1/U2", "L0/U7"]]


def stream_with_gate(stub, scorer, batches, opens, **config):
    """All responses; the scorer's gate opens when one for which ``opens`` holds has arrived."""
    requests = [scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig(**config))]
    requests += [scoring_pb2.ScoreDocumentsRequest(batch=batch) for batch in batches]
    answers = []
    for answer in stub.ScoreDocuments(iter(requests), timeout=TIMEOUT):
        answers.append(answer)
        if opens(answer):
            scorer.gate.set()
    return answers


@pytest.mark.parametrize(("ordering", "expected"), [("ORDERING_BY_SEQ", [1, 2]), ("ORDERING_AS_COMPLETED", [2, 1])])
def test_by_seq_keeps_the_order_and_as_completed_does_not_wait(ordering, expected):
    scorer = LetterScorer(gate=threading.Event())
    waits, answered_at_once = plain_batch(1, "e"), plain_batch(2, *["e"] * 51)
    first = {"ORDERING_BY_SEQ": "opened", "ORDERING_AS_COMPLETED": "result"}[ordering]
    with running_server(SMALL, [scorer]) as address, grpc.insecure_channel(address) as channel:
        answers = stream_with_gate(
            scoring_pb2_grpc.ScoringServiceStub(channel),
            scorer,
            [waits, answered_at_once],
            lambda answer: answer.WhichOneof("response") == first,
            ordering=ordering,
        )
    assert [answer.result.seq for answer in answers[1:]] == expected


def test_a_full_queue_shrinks_the_credit_and_gives_it_back():
    scorer = LetterScorer(gate=threading.Event())
    settings = SETTINGS.model_copy(update={"max_queued_documents": 40, "micro_batch_documents": 10})
    batches = [plain_batch(seq, *["e"] * 30) for seq in (1, 2, 3)]
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        answers = stream_with_gate(stub, scorer, batches, lambda answer: answer.HasField("credit"))
    credits_ = [answer.credit.max_inflight_batches for answer in answers if answer.HasField("credit")]
    assert (credits_[0], credits_[-1]) == (1, settings.max_inflight_batches)
    assert [answer.result.seq for answer in answers if answer.HasField("result")] == [1, 2, 3]


def test_bad_documents_and_bad_batches_do_not_end_the_stream(channel, caplog):
    bomb = common_pb2.DocumentBatch(seq=3, document_count=1)
    bomb.zstd_documents = zstandard.ZstdCompressor().compress(b"\0" * 1_000_000)
    lines = [b'{"id":"a","text":"ee"}', b'{"id":"b","text":"\xff"}', b'{"id":"c","text":"xx"}']
    jsonl = common_pb2.DocumentBatch(seq=4, document_count=3)
    jsonl.zstd_jsonl = zstandard.ZstdCompressor().compress(b"\n".join(lines))
    damaged = common_pb2.DocumentBatch(seq=5, document_count=1, zstd_documents=b"not zstd")
    answers = score_stream(
        channel,
        plain_batch(1, "eee", "", "y" * 501, "unreadable", "xxx"),
        plain_batch(2, "boom"),
        bomb,
        jsonl,
        damaged,
        plain_batch(6, *["e"] * 51),
        plain_batch(7, "e"),
    )
    results = {answer.result.seq: answer.result for answer in answers[1:]}
    assert [error.index for error in results[1].errors] == [1, 2, 3]
    assert results[1].scores[0] > 0 == results[1].scores[4]
    assert len(results[2].errors) == 1
    assert "secret" not in str(results[2])
    assert isinstance(error_from_status(results[3].batch_error), LimitError)
    assert [error.index for error in results[4].errors] == [1]
    assert results[5].batch_error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert "50 documents" in results[6].batch_error.message
    assert list(results[7].scores) == [1 / 3]


@pytest.mark.parametrize("seqs", [(1, 1), (2, 1), (0,)])
def test_a_seq_that_does_not_grow_ends_the_stream(channel, seqs):
    error = error_of(lambda: score_stream(channel, *(plain_batch(seq, "e") for seq in seqs)))
    assert isinstance(error, ConfigError)
    assert "seq must grow" in str(error)


def test_a_stream_must_open_with_its_configuration_and_only_once(channel):
    stub = scoring_pb2_grpc.ScoringServiceStub(channel)
    config = scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig())
    batch = scoring_pb2.ScoreDocumentsRequest(batch=plain_batch(1, "e"))
    for requests in ([], [batch], [config, config]):
        error = error_of(lambda requests=requests: list(stub.ScoreDocuments(iter(requests), timeout=TIMEOUT)))
        assert isinstance(error, ConfigError)


def test_another_etag_or_an_unknown_neuron_set_is_refused(channel):
    stub = scoring_pb2_grpc.ScoringServiceStub(channel)
    assert isinstance(error_of(lambda: score_stream(channel, etag="other")), FingerprintError)
    assert isinstance(error_of(lambda: score_stream(channel, neuron_set="absent")), ArtifactNotFoundError)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(config=scoring_pb2.ScoreConfig(etag="x")), timeout=TIMEOUT)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


def test_a_message_over_the_size_limit_ends_its_call_only(channel):
    error = error_of(lambda: score_stream(channel, plain_batch(1, "y" * 100_000)))
    assert isinstance(error, LimitError)
    assert len(score_stream(channel, plain_batch(1, "e"))) == 2


def test_the_unary_twin_gives_the_same_scores_and_fails_as_a_call(channel):
    stub = scoring_pb2_grpc.ScoringServiceStub(channel)
    documents = [document_to_wire(document) for document in sample_documents(5)]
    batch = common_pb2.DocumentBatch(seq=8, zstd_documents=compress_documents(documents), document_count=5)
    result = stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(batch=batch), timeout=TIMEOUT).result
    assert result.seq == 8
    assert list(result.scores) == [score.value for score in LetterScorer().score(sample_documents(5))]
    batch.document_count = 4
    error = error_of(lambda: stub.ScoreBatch(scoring_pb2.ScoreBatchRequest(batch=batch), timeout=TIMEOUT))
    assert "says 4 documents" in str(error)


def test_filtering_without_a_threshold_is_refused(channel):
    stub = scoring_pb2_grpc.ScoringServiceStub(channel)
    nan, high = float("nan"), 1.5
    for config in ({}, {"min_score": nan}, {"min_probability": nan}, {"min_probability": high}):
        request = scoring_pb2.FilterDocumentsRequest(config=scoring_pb2.FilterConfig(**config))
        error = error_of(lambda request=request: list(stub.FilterDocuments(iter([request]), timeout=TIMEOUT)))
        assert "needs a threshold" in str(error)


def test_the_catalog_lists_pages_and_names_what_is_absent(channel):
    stub = catalog_pb2_grpc.CatalogServiceStub(channel)
    info = stub.GetServerInfo(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT)
    assert info.limits == SMALL.limits
    [model] = stub.ListModels(catalog_pb2.ListModelsRequest(), timeout=TIMEOUT).models
    assert stub.GetModel(catalog_pb2.GetModelRequest(name=model.name), timeout=TIMEOUT).model == model
    [found] = stub.ListNeuronSets(catalog_pb2.ListNeuronSetsRequest(parent=model.name), timeout=TIMEOUT).neuron_sets
    assert stub.GetNeuronSet(catalog_pb2.GetNeuronSetRequest(name=found.name), timeout=TIMEOUT).neuron_set == found
    assert not stub.ListNeuronSets(catalog_pb2.ListNeuronSetsRequest(parent="models/x"), timeout=TIMEOUT).neuron_sets
    absent = catalog_pb2.GetModelRequest(name="models/absent")
    assert isinstance(error_of(lambda: stub.GetModel(absent, timeout=TIMEOUT)), ModelNotFoundError)
    bad_token = catalog_pb2.ListModelsRequest(page_token="%%%é")
    assert isinstance(error_of(lambda: stub.ListModels(bad_token, timeout=TIMEOUT)), ConfigError)


def test_pages_are_complete_and_without_doubles():
    scorers = [LetterScorer(name=f"set-{index}") for index in range(5)]
    with running_server(SETTINGS, scorers) as address, grpc.insecure_channel(address) as channel:
        stub, names, token = catalog_pb2_grpc.CatalogServiceStub(channel), [], ""
        for _ in range(3):
            request = catalog_pb2.ListNeuronSetsRequest(page_size=2, page_token=token)
            page = stub.ListNeuronSets(request, timeout=TIMEOUT)
            names += [found.name.rpartition("/")[2] for found in page.neuron_sets]
            token = page.next_page_token
    assert names == [f"set-{index}" for index in range(5)]
    assert token == ""


def test_what_is_not_offered_answers_unimplemented(channel):
    catalog, jobs = catalog_pb2_grpc.CatalogServiceStub(channel), jobs_pb2_grpc.JobServiceStub(channel)
    calls = [
        lambda: catalog.LoadModel(catalog_pb2.LoadModelRequest(), timeout=TIMEOUT),
        lambda: catalog.UnloadModel(catalog_pb2.UnloadModelRequest(), timeout=TIMEOUT),
        lambda: catalog.DeleteNeuronSet(catalog_pb2.DeleteNeuronSetRequest(), timeout=TIMEOUT),
        lambda: jobs.CreateJob(jobs_pb2.CreateJobRequest(), timeout=TIMEOUT),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert caught.value.details()


@pytest.mark.parametrize(
    ("descriptor", "servicer"),
    [
        (scoring_pb2.DESCRIPTOR.services_by_name["ScoringService"], ScoringServicer),
        (catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"], CatalogServicer),
    ],
)
def test_every_method_of_the_contract_is_overridden_and_no_name_is_misspelt(descriptor, servicer):
    methods = {name for name in vars(servicer) if name[0].isupper()}
    assert methods == {method.name for method in descriptor.methods}


def test_an_unexpected_exception_says_nothing_about_the_inside(caplog):
    class Broken(LetterScorer):
        def __getattribute__(self, name):
            if name == "model_fingerprint" and object.__getattribute__(self, "entered").is_set():
                raise RuntimeError("secret path")
            return object.__getattribute__(self, name)

    scorer = Broken()
    with running_server(SETTINGS, [scorer]) as address, grpc.insecure_channel(address) as channel:
        scorer.entered.set()
        with pytest.raises(grpc.RpcError) as caught:
            score_stream(channel)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details().startswith("internal error, request ")
    [record] = [record for record in caplog.records if record.name == "curator_server.interceptors"]
    assert record.request_id in caught.value.details()
    assert "secret path" in caplog.text


def test_health_answers_while_scoring_is_busy_and_a_full_queue_says_when_to_retry():
    gate = threading.Event()
    settings = SETTINGS.model_copy(update={"max_queued_documents": 1, "micro_batch_documents": 1})
    scorer = LetterScorer(gate=gate)
    with running_server(settings, [scorer]) as address, grpc.insecure_channel(address) as channel:
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        request = scoring_pb2.ScoreBatchRequest(batch=plain_batch(1, "e", "e", "e"))
        running = stub.ScoreBatch.future(request, timeout=TIMEOUT)
        assert scorer.entered.wait(TIMEOUT)
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SCORING_SERVICE):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            stub.ScoreBatch(request, timeout=TIMEOUT)
        status = status_from_call(caught.value)
        assert isinstance(error_from_status(status), OverloadedError)
        assert retry_delay_s(status) > 0
        gate.set()
        assert len(running.result().result.scores) == 3


def test_a_cancelled_stream_leaves_the_queue_empty():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    settings = SETTINGS.model_copy(update={"max_queued_documents": 40, "micro_batch_documents": 10})
    with _Background(settings, [scorer]) as server, grpc.insecure_channel(server.address) as channel:
        requests = queue.SimpleQueue()
        call = scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDocuments(iter(requests.get, None), timeout=TIMEOUT)
        requests.put(scoring_pb2.ScoreDocumentsRequest(config=scoring_pb2.ScoreConfig()))
        assert next(call).WhichOneof("response") == "opened"
        for seq in (1, 2, 3):
            requests.put(scoring_pb2.ScoreDocumentsRequest(batch=plain_batch(seq, *["e"] * 30)))
        assert scorer.entered.wait(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while server.engine.queued_documents < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        call.cancel()
        requests.put(None)
        while server.engine.queued_documents and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.engine.queued_documents == 0
        gate.set()
        assert len(score_stream(channel, plain_batch(1, "e"))) == 2
    assert sum(map(len, scorer.batches)) == 11


def test_a_token_is_asked_of_everything_but_health(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text("first\nsecond\n")
    settings = SETTINGS.model_copy(update={"token_file": tokens})
    with running_server(settings, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        stub = catalog_pb2_grpc.CatalogServiceStub(channel)
        for metadata in (None, [("authorization", "Bearer wrong")], [("authorization", "")]):
            with pytest.raises(grpc.RpcError) as caught:
                stub.GetServerInfo(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT, metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert isinstance(error_of(lambda: score_stream(channel)), ConfigError)
        good = [("authorization", "Bearer second")]
        assert stub.GetServerInfo(catalog_pb2.GetServerInfoRequest(), timeout=TIMEOUT, metadata=good).version
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT).status == 1


def test_a_kept_line_reads_like_a_local_shard(channel):
    stub = scoring_pb2_grpc.ScoringServiceStub(channel)
    batch = plain_batch(1, "eee", "xxx")
    requests = [
        scoring_pb2.FilterDocumentsRequest(config=scoring_pb2.FilterConfig(min_probability=0.5)),
        scoring_pb2.FilterDocumentsRequest(batch=batch),
    ]
    events = list(stub.FilterDocuments(iter(requests), timeout=TIMEOUT))
    kinds = [event.WhichOneof("response") for event in events]
    assert kinds == ["opened", "progress", "chunk", "commit", "report"]
    [line] = zstandard.ZstdDecompressor().decompress(events[2].chunk.data, max_output_size=10_000).splitlines()
    record = json.loads(line)
    assert (record["id"], record["text"], record["curator_probability"]) == ("1.0", "eee", 1.0)
    assert events[3].commit.partial_report == events[4].report

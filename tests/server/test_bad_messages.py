"""Requests that protobuf refuses, over the wire: the bad document gets its error, everything else its score."""

import grpc
import pytest
from curator_server.app import SCORING_SERVICE, running_server

from curator.api.v1 import common_pb2, scoring_pb2
from tests.api.bad_messages import DEEP, field, not_utf8
from tests.contract.service_fakes import SETTINGS, LetterScorer

pytestmark = pytest.mark.timeout(300)
TIMEOUT = 60


@pytest.fixture(scope="module")
def channel():
    with running_server(SETTINGS, [LetterScorer()]) as address, grpc.insecure_channel(address) as channel:
        yield channel


def test_a_document_that_protobuf_refuses_costs_itself_on_every_method(channel):
    good = common_pb2.Document(id="a", text="e").SerializeToString()
    batch = field(2, field(2, b"".join(field(1, one) for one in (good, not_utf8("text"), DEEP, good))) + b"\x08\x01")
    filtering = scoring_pb2.FilterConfig(min_probability=0.5)
    answers = {}
    for method, config in (("ScoreDocuments", scoring_pb2.ScoreConfig()), ("FilterDocuments", filtering)):
        path, answer = f"/{SCORING_SERVICE}/{method}", getattr(scoring_pb2, f"{method}Response").FromString
        sent = iter([field(1, config.SerializeToString()), batch])
        answers[method] = list(channel.stream_stream(path, None, answer)(sent, timeout=TIMEOUT))
    unary = channel.unary_unary(f"/{SCORING_SERVICE}/ScoreBatch", None, scoring_pb2.ScoreBatchResponse.FromString)
    for result in (answers["ScoreDocuments"][1].result, unary(batch, timeout=TIMEOUT).result):
        assert [error.index for error in result.errors] == [1, 2]
        assert [probability == 1.0 for probability in result.probabilities] == [True, False, False, True]
    report = answers["FilterDocuments"][-1].report
    assert (report.documents_kept, report.documents_failed) == (2, 2)
    assert dict(report.not_kept_by_reason) == {"invalid_utf8": 1, "not_a_record": 1}


def test_documents_that_are_none_are_answered_under_their_seq_and_the_stream_goes_on(channel):
    sent = [field(1, b""), field(2, field(2, b"\xff\xff") + b"\x08\x01"), field(2, b"\x08\x02")]
    call = channel.stream_stream(
        f"/{SCORING_SERVICE}/ScoreDocuments", None, scoring_pb2.ScoreDocumentsResponse.FromString
    )
    _, first, second = call(iter(sent), timeout=TIMEOUT)
    assert (first.result.seq, first.result.batch_error.code) == (1, grpc.StatusCode.INVALID_ARGUMENT.value[0])
    assert second.result.seq == 2 and not second.result.HasField("batch_error")

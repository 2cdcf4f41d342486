import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.api.convert import (
    MAX_EXACT_INTEGER,
    MAX_METADATA_DEPTH,
    add_report,
    document_from_wire,
    document_to_wire,
    result_from_wire,
    result_to_wire,
)
from curator.api.v1 import common_pb2, jobs_pb2, scoring_pb2
from curator.errors import DocumentError
from curator.records import Document, Rejection, RejectReason, Score

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | TEXT
    | st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.builds(Document, TEXT, TEXT, TEXT, TEXT, st.dictionaries(TEXT, JSON, max_size=5))
FLOATS = st.floats(allow_nan=False)
SCORES = st.builds(Score, TEXT, FLOATS, FLOATS, st.integers(0, 2**32 - 1), st.lists(TEXT, max_size=3).map(tuple))
REJECTIONS = st.builds(Rejection, TEXT, st.sampled_from(RejectReason), TEXT)


@given(DOCUMENTS)
@settings(deadline=None, max_examples=50)
def test_a_document_with_any_json_metadata_survives_the_wire(document):
    data = document_to_wire(document).SerializeToString()
    assert document_from_wire(common_pb2.Document.FromString(data)) == document


@given(st.lists(SCORES | REJECTIONS, max_size=8))
@settings(deadline=None, max_examples=50)
def test_results_survive_the_wire_bit_for_bit(results):
    data = result_to_wire(3, results).SerializeToString()
    ids = [result.document_id if isinstance(result, Score) else "?" for result in results]
    assert result_from_wire(scoring_pb2.ScoreResult.FromString(data), ids) == results


def test_integral_numbers_come_back_as_integers_and_others_as_floats():
    wire = document_to_wire(Document("a", "t", metadata={"year": 1984, "share": 0.5, "one": 1.0}))
    metadata = document_from_wire(wire).metadata
    assert metadata == {"year": 1984, "share": 0.5, "one": 1}
    assert [type(metadata[name]) for name in ("year", "share", "one")] == [int, float, int]


@pytest.mark.parametrize("value", [MAX_EXACT_INTEGER + 1, math.nan, math.inf, b"bytes", {1: "x"}, [object()]])
def test_metadata_that_the_wire_would_alter_is_refused(value):
    with pytest.raises(DocumentError):
        document_to_wire(Document("a", "t", metadata={"key": value}))


def nested(levels, wrap):
    value = "x"
    for _ in range(levels - 1):
        value = wrap(value)
    return {"m": value}


@pytest.mark.parametrize("wrap", [lambda value: {"k": value}, lambda value: [value]], ids=["objects", "lists"])
def test_metadata_travel_as_deep_as_a_batch_can_be_read_and_deeper_ones_are_refused(wrap):
    deepest = Document("a", "t", metadata=nested(MAX_METADATA_DEPTH, wrap))
    request = jobs_pb2.CreateJobRequest()
    source = request.job.identify_neurons.probe.sources.add().source
    source.documents.documents.append(document_to_wire(deepest))
    [read] = common_pb2.Documents.FromString(source.documents.SerializeToString()).documents
    assert document_from_wire(read) == deepest
    assert jobs_pb2.CreateJobRequest.FromString(request.SerializeToString()) == request
    for levels in (MAX_METADATA_DEPTH + 1, 5_000):
        with pytest.raises(DocumentError, match="nested deeper than 30"):
            document_to_wire(Document("a", "t", metadata=nested(levels, wrap)))


def test_a_long_key_is_not_repeated_in_full():
    with pytest.raises(DocumentError) as caught:
        document_to_wire(Document("a", "t", metadata={"k" * 100_000: b"bytes"}))
    assert len(str(caught.value)) < 200


def test_what_scoring_does_not_read_stays_behind_in_the_message():
    wire = document_to_wire(Document("a", "t", "d", "s", {"x": 1}))
    assert document_from_wire(wire, with_metadata=False) == Document("a", "t", "d", "s")


@pytest.mark.parametrize("document", [Document("a", "\ud800"), Document("a", "t", metadata={"k": "\udfff"})])
def test_lone_surrogates_are_refused(document):
    with pytest.raises(DocumentError, match="surrogates"):
        document_to_wire(document)


def test_scoring_leaves_labels_and_metadata_at_home():
    wire = document_to_wire(Document("a", "t", "secret", "book", {"x": 1}), with_metadata=False)
    assert wire == common_pb2.Document(id="a", text="t")


@pytest.mark.parametrize("place", ["d1", "d" * 256, "d" * 100_000])
def test_a_rejection_of_a_long_id_is_short_on_the_wire_and_whole_again_at_the_client(place):
    rejection = Rejection(place, RejectReason.EMPTY_TEXT, "The text is empty.")
    wire = result_to_wire(1, [rejection])
    assert wire.ByteSize() < 1000
    assert result_from_wire(wire, [place]) == [rejection]
    assert result_from_wire(result_to_wire(1, [replace(rejection, place="line 3")]), ["a"])[0].place == "line 3"


def test_an_answer_with_missing_columns_is_refused():
    with pytest.raises(DocumentError, match="wrong number"):
        result_from_wire(scoring_pb2.ScoreResult(seq=1, scores=[0.5]), ["a"])


def test_an_error_outside_the_batch_is_refused():
    wire = result_to_wire(1, [Rejection("a", RejectReason.EMPTY_TEXT)])
    wire.errors[0].index = 9
    with pytest.raises(DocumentError, match="outside"):
        result_from_wire(wire, ["a"])


def test_a_refused_batch_rejects_each_of_its_documents():
    wire = scoring_pb2.ScoreResult(seq=1)
    wire.batch_error.message = "too big"
    results = result_from_wire(wire, ["a", "b"])
    assert [result.place for result in results] == ["a", "b"]
    assert all("too big" in result.detail for result in results)


COUNTS = st.integers(0, 1000)
REPORTS = st.builds(
    scoring_pb2.FilterReport,
    documents_in=COUNTS,
    tokens_kept=COUNTS,
    probability_histogram=st.lists(COUNTS, min_size=2, max_size=2),
    histogram_edges=st.just([0.0, 0.5, 1.0]),
    not_kept_by_reason=st.dictionaries(st.sampled_from(["empty_text", "below_threshold"]), COUNTS),
)


def summed(*reports):
    total = scoring_pb2.FilterReport()
    for report in reports:
        add_report(total, report)
    return total


@given(REPORTS, REPORTS, REPORTS)
@settings(deadline=None, max_examples=50)
def test_reports_add_up_in_any_grouping_and_order(a, b, c):
    assert summed(summed(a, b), c) == summed(a, summed(b, c)) == summed(c, b, a)
    assert summed(a) == a

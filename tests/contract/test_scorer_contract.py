"""One suite for everything that calls itself a DocumentScorer: a local one, and the same one behind the service."""

from dataclasses import replace

import pytest
from curator_client import BatchOptions, Client, ConnectionOptions, RemoteScorer
from curator_server.app import running_server

from curator.records import Document, Rejection, RejectReason, Score
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(60)
LOCAL = LetterScorer()


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


@pytest.fixture(scope="module", params=["local", "remote", "remote, compressed, small batches"])
def scorer(request, address):
    if request.param == "local":
        yield LOCAL
        return
    small = BatchOptions(max_documents=7, compress=True)
    options = ConnectionOptions(batches=small if "small" in request.param else BatchOptions())
    with Client(address, options) as client:
        yield RemoteScorer(client)


def test_it_names_its_neuron_set_and_fingerprints(scorer):
    assert (scorer.name, scorer.etag, scorer.model_fingerprint) == ("letter-e", "etag-1", "f" * 64)


def test_it_gives_one_result_for_each_document_in_order(scorer):
    documents = sample_documents(300)
    results = scorer.score(documents)
    assert [result.document_id for result in results] == [document.id for document in documents]


def test_local_and_remote_scores_are_equal_to_the_bit(scorer):
    documents = sample_documents(100)
    assert scorer.score(documents) == LOCAL.score(documents)


def test_a_document_that_cannot_be_scored_is_rejected_in_its_place(scorer):
    documents = sample_documents(9)
    documents[4] = Document("bad", "this is unreadable")
    results = scorer.score(documents)
    assert results[4] == Rejection("bad", RejectReason.NO_SPANS, "nothing to score")
    assert all(isinstance(result, Score) for index, result in enumerate(results) if index != 4)


def test_nothing_in_gives_nothing_out(scorer):
    assert scorer.score([]) == []


def test_metadata_labels_and_order_do_not_change_a_score(scorer):
    documents = sample_documents(20)
    plain = [replace(document, domain="", source="", metadata={}) for document in reversed(documents)]
    assert list(reversed(scorer.score(plain))) == scorer.score(documents)

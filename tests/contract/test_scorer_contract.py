"""One suite for everything that calls itself a DocumentScorer: a fake and a real neuron set, here and behind the service.

The real one is a neuron set of an untrained tiny model: what it says is nonsense, but every layer from tokens to calibrated
probabilities takes part.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from curator_client import AsyncClient, BatchOptions, Client, ConnectionOptions, RemoteScorer
from curator_server.app import running_server

from curator.records import Document, DocumentScorer, Rejection, RejectReason, Score
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents
from tests.scoring.made_scorer import make_scorer, unseen

pytestmark = pytest.mark.timeout(480)
SMALL = BatchOptions(max_documents=7, compress=True)


@dataclass(frozen=True)
class Subject:
    """A scorer under test: the one here, documents for it, one that it rejects, and its error."""

    local: DocumentScorer
    documents: Callable[[int], list[Document]]
    bad: Document
    rejection: Rejection
    alike: Callable[[Score | Rejection], object]
    """What must be the same however documents are put together into batches."""


class AsyncScorer:
    """The asynchronous client as a scorer, with an event loop for each call."""

    def __init__(self, address: str, name: str, options: ConnectionOptions) -> None:
        self._address, self._name, self._options = address, name, options

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        return asyncio.run(self._score(documents))

    async def _score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        async with AsyncClient(self._address, self._options) as client:
            return [result async for result in client.score(documents, neuron_set=self._name)]


def fake() -> Subject:
    bad = Document("bad", "this is unreadable")
    rejection = Rejection("bad", RejectReason.NO_SPANS, "nothing to score")
    return Subject(LetterScorer(), sample_documents, bad, rejection, lambda result: result)


def real(world) -> Subject:
    rejection = Rejection("bad", RejectReason.NO_SPANS, "the text is too short: 0 scored tokens")
    return Subject(make_scorer(world), lambda count: unseen(60)[:count], Document("bad", "x"), rejection, rounded)


def rounded(result):
    """Sums of floats depend on what stands beside a text in a batch, in their last digits."""
    assert isinstance(result, Score), result
    return (
        result.document_id,
        result.tokens,
        pytest.approx(result.value, abs=1e-5),
        pytest.approx(result.probability, abs=1e-5),
    )


@pytest.fixture(scope="module", params=["fake", "real"])
def subject(request, tmp_path_factory):
    return fake() if request.param == "fake" else real(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="module")
def address(subject):
    with running_server(SETTINGS, [subject.local]) as address:
        yield address


@pytest.fixture(scope="module")
def remote(subject, address):
    with Client(address) as client:
        yield RemoteScorer(client)


@pytest.fixture(scope="module", params=["local", "remote", "remote, compressed, small batches", "asynchronous"])
def scorer(request, subject, address, remote):
    if request.param == "local":
        yield subject.local
    elif request.param == "remote":
        yield remote
    elif request.param == "asynchronous":
        yield AsyncScorer(address, subject.local.name, ConnectionOptions(batches=SMALL))
    else:
        with Client(address, ConnectionOptions(batches=SMALL)) as client:
            yield RemoteScorer(client)


def test_it_names_its_neuron_set_and_fingerprints(subject, remote):
    local = subject.local
    assert (remote.name, remote.etag, remote.model_fingerprint) == (local.name, local.etag, local.model_fingerprint)
    assert all((local.name, local.etag, local.model_fingerprint))


def test_it_gives_one_result_for_each_document_in_order(subject, scorer):
    documents = subject.documents(300)
    results = scorer.score(documents)
    assert [result.document_id for result in results] == [document.id for document in documents]


def test_local_and_remote_scores_are_equal(subject, scorer):
    documents = subject.documents(50)
    alike = subject.alike
    assert [alike(one) for one in scorer.score(documents)] == [alike(one) for one in subject.local.score(documents)]


def test_alone_in_its_batch_a_document_has_the_same_bits_everywhere(subject, scorer):
    for document in subject.documents(3):
        assert scorer.score([document]) == subject.local.score([document])


def test_a_document_that_cannot_be_scored_is_rejected_in_its_place(subject, scorer):
    documents = subject.documents(9)
    documents[4] = subject.bad
    results = scorer.score(documents)
    assert results[4] == subject.rejection
    assert all(isinstance(result, Score) for index, result in enumerate(results) if index != 4)


def test_nothing_in_gives_nothing_out(scorer):
    assert scorer.score([]) == []


def test_metadata_labels_and_order_do_not_change_a_score(subject, scorer):
    documents = subject.documents(20)
    plain = [replace(document, domain="", source="", metadata={}) for document in reversed(documents)]
    alike = subject.alike
    assert [alike(one) for one in reversed(scorer.score(plain))] == [alike(one) for one in scorer.score(documents)]

import asyncio
import contextlib
import socket
import threading
import time

import grpc
import pytest
from curator_client import AsyncClient, BatchOptions, Client, ConnectionOptions, RemoteScorer, RetryPolicy
from curator_server.app import _Background, running_server

from curator.errors import ArtifactNotFoundError, FingerprintError, LimitError, OverloadedError
from curator.records import Document, Rejection, RejectReason
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
TINY = ConnectionOptions(batches=BatchOptions(max_documents=5), retry=RetryPolicy(base_s=0.01))
DOCUMENTS = sample_documents(200)
EXPECTED = LetterScorer().score(DOCUMENTS)


class BrokenCallError(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNAVAILABLE

    def details(self):
        return "the test cut the line"

    def trailing_metadata(self):
        return ()


def breaking(method, *after):
    """The method, but its first calls lose the line after so many responses."""
    cuts = list(after)

    def call(requests, **options):
        return _CutCall(method(requests, **options), cuts.pop(0) if cuts else None)

    return call


class _CutCall:
    def __init__(self, call, after):
        self._call, self._left = call, after

    def __next__(self):
        if self._left == 0:
            self._call.cancel()
            raise BrokenCallError
        self._left = None if self._left is None else self._left - 1
        return next(self._call)

    def cancel(self):
        self._call.cancel()


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


def test_results_follow_the_input_lazily(address):
    taken = []

    def endless():
        for index in range(10_000_000):
            taken.append(index)
            yield Document(str(index), "e")

    with Client(address, TINY) as client:
        results = client.score(endless())
        assert [next(results).document_id for _ in range(12)] == [str(index) for index in range(12)]
        results.close()
    window = SETTINGS.max_inflight_batches * 5
    assert len(taken) <= 12 + 2 * window


def test_a_reader_slower_than_the_server_neither_blocks_nor_loses(address):
    documents = [Document(str(index), "e" * 20_000) for index in range(1500)]  # 30 MB, far above what HTTP/2 buffers
    with Client(address) as client:
        results = []
        for result in client.score(documents):
            results.append(result.document_id)
            if len(results) % 500 == 0:
                time.sleep(0.2)
    assert results == [document.id for document in documents]


def test_a_broken_stream_is_taken_up_again_without_loss_or_doubles(address):
    with Client(address, TINY) as client:
        client._scoring.ScoreDocuments = breaking(client._scoring.ScoreDocuments, 0, 3, 1, 7)
        assert list(client.score(DOCUMENTS)) == EXPECTED


def test_breaks_without_progress_end_in_an_error(address):
    options = ConnectionOptions(retry=RetryPolicy(attempts=3, base_s=0.01))
    with Client(address, options) as client:
        client._scoring.ScoreDocuments = breaking(client._scoring.ScoreDocuments, *[0] * 10)
        with pytest.raises(OverloadedError, match="cut the line"):
            list(client.score(DOCUMENTS))


def test_a_server_that_restarts_in_the_middle_is_survived():
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1]})
    with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
        address = first.enter_context(running_server(settings, [LetterScorer()]))

        def documents():
            for index, document in enumerate(DOCUMENTS):
                if index == 120:
                    first.close()
                    second.enter_context(running_server(settings, [LetterScorer()]))
                yield document

        with Client(address, TINY) as client:
            assert list(client.score(documents())) == EXPECTED


def test_a_draining_server_is_left_and_its_successor_finishes_the_work():
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1]})
    with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
        background = _Background(settings, [LetterScorer()])
        server = first.enter_context(background)
        results = []

        def documents():
            for index, document in enumerate(DOCUMENTS):
                if index == 120:
                    asyncio.run_coroutine_threadsafe(server.drain(), background._loop).result(10)
                yield document

        def hand_over():
            first.close()
            second.enter_context(running_server(settings, [LetterScorer()]))

        patient = ConnectionOptions(batches=TINY.batches, retry=RetryPolicy(attempts=1000, base_s=0.01, cap_s=0.05))
        with Client(server.address, patient) as client:
            drained = threading.Timer(0.3, hand_over)
            drained.start()
            results += client.score(documents())
            drained.join()
    assert results == EXPECTED


def test_another_neuron_set_after_a_restart_is_refused_not_mixed():
    with socket.create_server(("127.0.0.1", 0)) as free:
        settings = SETTINGS.model_copy(update={"port": free.getsockname()[1]})
    with contextlib.ExitStack() as second, contextlib.ExitStack() as first:
        address = first.enter_context(running_server(settings, [LetterScorer()]))

        def documents():
            for index, document in enumerate(DOCUMENTS):
                if index == 120:
                    first.close()
                    second.enter_context(running_server(settings, [LetterScorer(etag="etag-2")]))
                yield document

        with Client(address, TINY) as client, pytest.raises(FingerprintError, match="etag-2, not etag-1"):
            list(client.score(documents()))


def test_a_silent_server_is_taken_for_broken():
    gate = threading.Event()
    options = ConnectionOptions(idle_timeout_s=0.2, retry=RetryPolicy(attempts=2, base_s=0.01))
    with running_server(SETTINGS, [LetterScorer(gate=gate)]) as address, Client(address, options) as client:
        with pytest.raises(OverloadedError, match=r"nothing for 0\.2 s"):
            list(client.score(DOCUMENTS))
        gate.set()


def test_a_full_server_is_asked_again_until_it_has_room():
    gate = threading.Event()
    scorer = LetterScorer(gate=gate)
    settings = SETTINGS.model_copy(update={"max_queued_documents": 1, "micro_batch_documents": 1})
    with running_server(settings, [scorer]) as address, Client(address) as client:
        holder = threading.Thread(target=client.score_batch, args=(DOCUMENTS[:4],))
        holder.start()
        assert scorer.entered.wait(30)
        threading.Timer(0.2, gate.set).start()
        assert client.score_batch(DOCUMENTS[:2]) == EXPECTED[:2]
        holder.join(60)
        assert list(client.score(DOCUMENTS[:50])) == EXPECTED[:50]


def test_an_error_of_the_input_reaches_the_caller_unchanged(address):
    def failing():
        yield from DOCUMENTS[:3]
        raise ZeroDivisionError

    with Client(address, TINY) as client, pytest.raises(ZeroDivisionError):
        list(client.score(failing()))


def test_errors_are_the_classes_of_the_local_library(address):
    with Client(address) as client:
        with pytest.raises(FingerprintError):
            list(client.score(DOCUMENTS, etag="other"))
        with pytest.raises(ArtifactNotFoundError):
            client.score_batch(DOCUMENTS, neuron_set="absent")
        with pytest.raises(LimitError):
            client.score_batch([Document("a", "e")] * 1025)
        with pytest.raises(ArtifactNotFoundError):
            RemoteScorer(client, "absent")


def test_a_document_over_the_limit_is_rejected_in_its_place_and_never_sent(address):
    documents = [Document("a", "e"), Document("big", "x" * (SETTINGS.max_document_bytes + 1)), Document("b", "e")]
    with Client(address) as client:
        _, rejected, last = client.score(documents)
    assert isinstance(rejected, Rejection)
    assert (rejected.place, rejected.reason, last.document_id) == ("big", RejectReason.RECORD_TOO_LARGE, "b")


def test_an_unreachable_server_is_a_clear_error():
    options = ConnectionOptions(retry=RetryPolicy(attempts=2, base_s=0.01))
    with Client("127.0.0.1:1", options) as client, pytest.raises(OverloadedError, match="cannot be reached"):
        client.server_info()


async def test_the_async_client_does_the_same(address, tmp_path):
    async with AsyncClient(address, TINY) as client:
        assert [result async for result in client.score(DOCUMENTS)] == EXPECTED
        assert await client.score_batch(DOCUMENTS[:9]) == EXPECTED[:9]
        assert (await client.server_info()).version
        report = await client.filter(DOCUMENTS, tmp_path / "out", min_probability=0.5)
        with pytest.raises(FingerprintError):
            await anext(client.score(DOCUMENTS, etag="other"))
    assert report.documents_kept == sum(score.probability >= 0.5 for score in EXPECTED)

"""The synchronous client and the asynchronous one offer the same, under the same names."""

import inspect

import grpc
import grpc.aio
import pytest
from curator_client import AsyncClient, AsyncJobs, BatchOptions, Client, ConnectionOptions, Jobs, RetryPolicy
from curator_server.app import running_server

from curator.errors import ConfigError, LimitError
from curator.records import Document, Rejection, RejectReason
from tests.contract.job_fakes import JobWorld
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

pytestmark = pytest.mark.timeout(300)
TINY = ConnectionOptions(batches=BatchOptions(max_documents=5), retry=RetryPolicy(base_s=0.01))
DOCUMENTS = sample_documents(200)
EXPECTED = LetterScorer().score(DOCUMENTS)


@pytest.fixture(scope="module")
def address():
    with running_server(SETTINGS, [LetterScorer()]) as address:
        yield address


def public(cls):
    return {name: value for name, value in vars(cls).items() if not name.startswith("_")}


@pytest.mark.parametrize(("here", "there"), [(Client, AsyncClient), (Jobs, AsyncJobs)])
def test_both_have_the_same_public_names_with_the_same_arguments(here, there):
    assert set(public(here)) == set(public(there))
    for name, value in public(here).items():
        if callable(value):
            ours, theirs = (inspect.signature(getattr(cls, name)).parameters.values() for cls in (here, there))
            assert [(one.name, one.kind, one.default) for one in ours] == [
                (one.name, one.kind, one.default) for one in theirs
            ], name


async def aiter_of(items):
    for item in items:
        yield item


async def test_the_asynchronous_client_reads_asynchronous_input(address, tmp_path):
    async with AsyncClient(address, TINY) as client:
        assert [result async for result in client.score(aiter_of(DOCUMENTS))] == EXPECTED
        assert [result async for result in client.score(iter(DOCUMENTS))] == EXPECTED
        first = await client.filter(aiter_of(DOCUMENTS), tmp_path / "a", min_probability=0.5)
        second = await client.filter(iter(DOCUMENTS), tmp_path / "b", min_probability=0.5)
    assert first == second and first.documents_in == 200


async def test_an_error_of_asynchronous_input_reaches_the_caller_unchanged(address, tmp_path):
    async def failing():
        for document in DOCUMENTS[:3]:
            yield document
        raise ZeroDivisionError

    async with AsyncClient(address, TINY) as client:
        with pytest.raises(ZeroDivisionError):
            [result async for result in client.score(failing())]
        with pytest.raises(ZeroDivisionError):
            await client.filter(failing(), tmp_path, min_probability=0.5)


async def test_the_asynchronous_client_goes_on_after_breaks_and_splits_what_is_too_large(address, monkeypatch):
    async with AsyncClient(address, TINY) as client:
        whole = client._scoring.ScoreDocuments
        client._scoring.ScoreDocuments = breaking_async(whole, 0, 3, 1, 7)
        assert [result async for result in client.score(aiter_of(DOCUMENTS))] == EXPECTED
    documents = [Document(f"d{index}", "e" * 2000) for index in range(100)]
    narrow, told = SETTINGS.model_copy(update={"max_message_bytes": 64 << 10}), SETTINGS.limits
    monkeypatch.setattr(type(narrow), "limits", property(lambda _: told))
    with running_server(narrow, [LetterScorer()]) as untrue, Client(untrue) as client:
        assert list(client.score(documents)) == LetterScorer().score(documents)
    with running_server(narrow, [LetterScorer()]) as untrue:
        async with AsyncClient(untrue) as client:
            await splits(client, documents)


async def splits(client, documents):
    assert [result async for result in client.score(documents)] == LetterScorer().score(documents)
    with pytest.raises(LimitError):
        [result async for result in client.score([Document("alone", "e" * 70_000)])]


def breaking_async(method, *after):
    """The method, but its first calls lose the line after so many responses."""
    cuts = list(after)

    def call(requests, **options):
        return _CutCall(method(requests, **options), cuts.pop(0) if cuts else None)

    return call


class _CutCall:
    def __init__(self, call, after):
        self._call, self._left = call, after

    async def __aiter__(self):
        from tests.client.test_client_streams import BrokenCallError

        async for response in self._call:
            if self._left == 0:
                self._call.cancel()
                raise BrokenCallError
            self._left = None if self._left is None else self._left - 1
            yield response

    def cancel(self):
        self._call.cancel()


async def test_a_write_that_meets_the_end_of_a_stream_is_a_broken_line_not_an_error_of_the_server(address):
    def failing(method):
        calls = iter([True])

        def call(requests, **options):
            return _FailedWrite() if next(calls, False) else method(requests, **options)

        return call

    async with AsyncClient(address, TINY) as client:
        client._scoring.ScoreDocuments = failing(client._scoring.ScoreDocuments)
        assert [result async for result in client.score(DOCUMENTS)] == EXPECTED


class _FailedWrite:
    async def __aiter__(self):
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, nothing, nothing, "Internal error from Core")
        yield

    def cancel(self):
        pass


async def test_the_asynchronous_client_lists_and_closes(address):
    client = AsyncClient(address)
    assert [found.etag for found in await client.neuron_sets()] == ["etag-1"]
    rejected = Rejection("pool:1", RejectReason.INVALID_JSON)
    assert [one async for one in client.score(aiter_of([rejected]))] == [rejected]
    await client.close()


async def test_the_asynchronous_jobs_do_all_that_the_others_do(tmp_path):
    world = JobWorld(tmp_path / "world")
    with world.server() as server:
        async with AsyncClient(server.address) as client:
            jobs = client.jobs
            checked = await jobs.load_model("zoo:a", model_id="a", validate_only=True)
            assert not checked.uid and "models/a" not in [model.name for model in await jobs.models()]
            done = await jobs.wait((await jobs.load_model("zoo:a", model_id="a")).name, timeout_s=30)
            assert "models/a" in [model.name for model in await jobs.models()]
            assert (await jobs.atlases(), await jobs.reports()) == ([], [])
            assert await jobs.download_all(done, tmp_path / "out") == []
            with pytest.raises(ConfigError):
                await jobs.load_model("elsewhere/a", validate_only=True)
            await jobs.unload_model("models/a")
            assert "models/a" not in [model.name for model in await jobs.models()]

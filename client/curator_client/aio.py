"""The asynchronous client: the same flows as the synchronous one, driven by grpc.aio.

    async with AsyncClient("localhost:50051") as client:
        async for result in client.score(documents): ...

The input is an ordinary iterable and is read in the event loop, a window ahead of the results: keep it quick, or read it in a
thread of your own. Shards are written in the event loop too, at most 1 MiB at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from curator.api.status import error_from_status, status_from_call
from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.records import Document
from curator_client.client import DRAINED, BrokenStreamError
from curator_client.connection import CHANNEL_OPTIONS, ConnectionOptions, filter_config, threshold_of
from curator_client.core import Attempts, Result, make_batch
from curator_client.flows import FilterFlow, FilterWatch, Flow, ScoreFlow
from curator_client.shards import FilterReport, ShardFolder

if TYPE_CHECKING:
    from curator_client.jobs_aio import AsyncJobs


class AsyncClient:
    """Connections to a curator server, or to its replicas as ``Client`` says, for one event loop."""

    def __init__(self, address: str, options: ConnectionOptions | None = None) -> None:
        """``address`` is ``host:port`` or any gRPC target; call inside a running event loop."""
        self.address = address
        self._options = options or ConnectionOptions()
        credentials = self._options.credentials(address)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._scoring: Any = scoring_pb2_grpc.ScoringServiceStub(self._channel)
        self._catalog: Any = catalog_pb2_grpc.CatalogServiceStub(self._channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    @property
    def jobs(self) -> AsyncJobs:
        """The server's jobs, over this connection."""
        from curator_client.jobs_aio import AsyncJobs

        return AsyncJobs(self._channel, self._options, self._unary, self._next)

    async def score(
        self, documents: Iterable[Document], *, neuron_set: str = "", etag: str = ""
    ) -> AsyncGenerator[Result]:
        """One Score or Rejection for each document, in order. Raises what ``Client.score`` raises."""
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        config.ordering = scoring_pb2.ScoreConfig.ORDERING_AS_COMPLETED
        flow = ScoreFlow(documents, config, self._options.batches)
        async with aclosing(self._drive(self._scoring.ScoreDocuments, flow)) as results:
            async for result in results:
                yield result

    async def score_batch(self, documents: Sequence[Document], *, neuron_set: str = "", etag: str = "") -> list[Result]:
        """One result for each document in one unary call."""
        batch = make_batch(1, documents, common_pb2.Limits(), compress=self._options.batches.compress)
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        request = scoring_pb2.ScoreBatchRequest(config=config, batch=batch.wire)
        response = await self._unary(self._scoring.ScoreBatch, request)
        return batch.results(response.result)

    async def filter(
        self,
        documents: Iterable[Document],
        out_dir: Path,
        *,
        neuron_set: str = "",
        min_score: float | None = None,
        min_probability: float | None = None,
        etag: str = "",
        target_shard_bytes: int = 0,
        commit_every_bytes: int = 0,
        watch: FilterWatch | None = None,
    ) -> FilterReport:
        """Like ``Client.filter``."""
        config = filter_config(neuron_set, etag, min_score, min_probability, target_shard_bytes, commit_every_bytes)
        folder = ShardFolder(Path(out_dir))
        flow = FilterFlow(documents, config, self._options.batches, folder, watch)
        try:
            async for _ in self._drive(self._scoring.FilterDocuments, flow):
                pass
        finally:
            folder.discard()
        report = FilterReport.from_wire(flow.report, folder.shards)
        folder.finish(flow.opened, threshold_of(config), report)
        return report

    async def server_info(self) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features and device of the server."""
        return await self._unary(self._catalog.GetServerInfo, catalog_pb2.GetServerInfoRequest())

    async def _unary(self, method: Callable[..., Any], request: Any) -> Any:
        attempt = 0
        while True:
            try:
                return await method(request, timeout=self._options.timeout_s, metadata=self._options.metadata)
            except grpc.aio.AioRpcError as error:
                attempt += 1
                status = status_from_call(error)
                delay = self._options.retry.delay(attempt, status)
                if delay is None:
                    raise error_from_status(status) from error
            await asyncio.sleep(delay)

    async def _drive(self, method: Callable[..., Any], flow: Flow[Any, Any]) -> AsyncGenerator[Result]:
        attempts = Attempts(self._options.retry)
        while not flow.complete:
            before, status = flow.progress, DRAINED
            try:
                async with aclosing(self._one_stream(method, flow)) as results:
                    async for result in results:
                        yield result
            except BrokenStreamError as broken:
                status = broken.status
            if flow.complete:
                return
            delay = attempts.wait_s(status, progressed=flow.progress > before)
            flow.broken()
            await asyncio.sleep(delay)

    async def _one_stream(self, method: Callable[..., Any], flow: Flow[Any, Any]) -> AsyncGenerator[Result]:
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        call = method(_drain(outbox), metadata=self._options.metadata)  # gRPC's own task writes while we read
        responses = aiter(call)
        outbox.put_nowait(flow.opening())
        closed = False
        try:
            while (response := await self._next(responses)) is not None:
                for result in flow.receive(response):
                    yield result
                for request in flow.requests():
                    outbox.put_nowait(request)
                if flow.half_close and not closed:
                    closed = True
                    outbox.put_nowait(None)
        finally:
            outbox.put_nowait(None)
            call.cancel()

    async def _next(self, responses: AsyncIterator[Any]) -> Any | None:
        try:
            async with asyncio.timeout(self._options.idle_timeout_s):
                return await anext(responses, None)
        except grpc.aio.AioRpcError as error:
            raise BrokenStreamError(status_from_call(error)) from error
        except TimeoutError as error:
            raise BrokenStreamError(DRAINED) from error


async def _drain(outbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (request := await outbox.get()) is not None:
        yield request

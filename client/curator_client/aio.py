"""The asynchronous client: the same flows as the synchronous one, driven by grpc.aio.

    async with AsyncClient("localhost:50051") as client:
        async for result in client.score(documents): ...

The input is an iterable of either kind: an asynchronous one is read by a task, an ordinary one by a thread, a list or tuple
in place. Shards are written in the event loop, at most 1 MiB at a time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc
import grpc.aio

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.records import Document
from curator_client.batches import Item, Result, make_batch
from curator_client.connection import CHANNEL_OPTIONS, ConnectionOptions, filter_config, threshold_of
from curator_client.core import async_pages
from curator_client.flows import FilterFlow, FilterWatch, ScoreFlow
from curator_client.shards import FilterReport, shard_folder
from curator_client.streams_aio import AsyncLink, async_intake_of, drive

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
            channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            channel = grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._link = AsyncLink(channel, self._options)
        self._scoring: Any = scoring_pb2_grpc.ScoringServiceStub(channel)
        self._catalog: Any = catalog_pb2_grpc.CatalogServiceStub(channel)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def jobs(self) -> AsyncJobs:
        """The server's jobs, over this connection."""
        from curator_client.jobs_aio import AsyncJobs

        return AsyncJobs(self._link)

    async def close(self) -> None:
        """End every call and the connection."""
        await self._link.channel.close()

    async def score(
        self, documents: Iterable[Item] | AsyncIterable[Item], *, neuron_set: str = "", etag: str = ""
    ) -> AsyncGenerator[Result]:
        """One Score or Rejection for each document, in order. Raises what ``Client.score`` raises."""
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        config.ordering = scoring_pb2.ScoreConfig.ORDERING_AS_COMPLETED
        batches = self._options.batches
        async with async_intake_of(documents, with_metadata=False, linger_s=batches.linger_s) as intake:
            flow = ScoreFlow(intake, config, batches)
            async with aclosing(drive(self._link, self._scoring.ScoreDocuments, flow)) as results:
                async for result in results:
                    yield result

    async def score_batch(self, documents: Sequence[Document], *, neuron_set: str = "", etag: str = "") -> list[Result]:
        """One result for each document in one unary call."""
        batch = make_batch(1, documents, common_pb2.Limits(), compress=self._options.batches.compress)
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        request = scoring_pb2.ScoreBatchRequest(config=config, batch=batch.wire)
        response = await self._link.unary(self._scoring.ScoreBatch, request)
        return batch.results(response.result)

    async def filter(
        self,
        documents: Iterable[Item] | AsyncIterable[Item],
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
        with shard_folder(Path(out_dir)) as folder:
            async with async_intake_of(documents, with_metadata=True, linger_s=None) as intake:
                flow = FilterFlow(intake, config, self._options.batches, folder, watch)
                async with aclosing(drive(self._link, self._scoring.FilterDocuments, flow)) as results:
                    async for _ in results:
                        pass
            report = FilterReport.from_wire(flow.report, folder.shards, folder.listed)
            folder.finish(flow.opened, threshold_of(config), report)
        return report

    async def server_info(self) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features and device of the server."""
        return await self._link.unary(self._catalog.GetServerInfo, catalog_pb2.GetServerInfoRequest())

    async def neuron_sets(self) -> list[catalog_pb2.NeuronSet]:
        """All neuron sets that the server scores with."""
        request = catalog_pb2.ListNeuronSetsRequest()
        found = async_pages(lambda asked: self._link.unary(self._catalog.ListNeuronSets, asked), request, "neuron_sets")
        return [one async for one in found]

"""The synchronous client: iterators in, iterators out, over one gRPC channel.

    with Client("localhost:50051") as client:
        for result in client.score(documents): ...
        report = client.filter(documents, Path("kept"), min_probability=0.9)

Results come in input order and as soon as they are there. The input is read in a thread of its own, a window ahead of the
results (lists and tuples are read where they are); what a source could not read, a ``Rejection``, is passed on in its place.
A stream that breaks is opened again and goes on where it was. Errors are the classes of ``curator.errors``, rebuilt from
what the server sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ArtifactNotFoundError
from curator.records import Document, Rejection, Score
from curator_client.batches import Item, Result, make_batch
from curator_client.connection import CHANNEL_OPTIONS, ConnectionOptions, filter_config, threshold_of
from curator_client.core import pages
from curator_client.flows import FilterFlow, FilterWatch, ScoreFlow
from curator_client.intake import intake_of
from curator_client.link import Link
from curator_client.shards import FilterReport, shard_folder
from curator_client.streams import drive

if TYPE_CHECKING:
    from curator_client.jobs import Jobs


class Client:
    """Connections to a curator server, or to its replicas. Thread-safe; close it, or use it as a context manager.

    Where the address has several servers behind it, calls go to them in turn and a stream stays with one until it ends or
    breaks; then it goes on at another.
    """

    def __init__(self, address: str, options: ConnectionOptions | None = None) -> None:
        """``address`` is ``host:port``, ``dns:///name:port``, ``ipv4:a:1,b:2`` or any gRPC target; the first call connects."""
        self.address = address
        self._options = options or ConnectionOptions()
        credentials = self._options.credentials(address)
        if credentials is None:
            channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            channel = grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._link = Link(channel, self._options)
        self._scoring = scoring_pb2_grpc.ScoringServiceStub(channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def jobs(self) -> Jobs:
        """The server's jobs, over this connection."""
        from curator_client.jobs import Jobs

        return Jobs(self._link)

    def close(self) -> None:
        """End every call and the connection."""
        self._link.channel.close()

    def score(self, documents: Iterable[Item], *, neuron_set: str = "", etag: str = "") -> Iterator[Result]:
        """One Score or Rejection for each document, in order, while the input is being read.

        Raises FingerprintError when ``etag`` is given and differs, ArtifactNotFoundError for an unknown neuron set,
        OverloadedError when the server cannot be reached or stays full through all retries.
        """
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        config.ordering = scoring_pb2.ScoreConfig.ORDERING_AS_COMPLETED  # the flow restores the order
        batches = self._options.batches
        with closing(intake_of(documents, with_metadata=False, linger_s=batches.linger_s)) as intake:
            yield from drive(self._link, self._scoring.ScoreDocuments, ScoreFlow(intake, config, batches))

    def score_batch(self, documents: Sequence[Document], *, neuron_set: str = "", etag: str = "") -> list[Result]:
        """One result for each document in one unary call; raises LimitError above the server's batch limits."""
        batch = make_batch(1, documents, common_pb2.Limits(), compress=self._options.batches.compress)
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        request = scoring_pb2.ScoreBatchRequest(config=config, batch=batch.wire)
        return batch.results(self._link.unary(self._scoring.ScoreBatch, request).result)

    def filter(
        self,
        documents: Iterable[Item],
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
        """Write the documents at or above the threshold to ``out_dir`` as ``kept-*.jsonl.zst`` and ``manifest.json``.

        What never reached the server has its place and reason in ``unreadable.jsonl`` (of the source) and ``refused.jsonl`` (too
        large, or nothing that the wire can carry); it is counted as failed. What the server rejects is counted by reason only.

        Memory: the text since the last commit, at most ``commit_every_bytes`` (256 MiB by default), kept for replay. ``watch``
        hears how many documents are done, and how many of them are kept in whole shards. Raises ConfigError when the folder
        holds a finished result or is at work, or the threshold is missing, and what ``score`` raises.
        """
        config = filter_config(neuron_set, etag, min_score, min_probability, target_shard_bytes, commit_every_bytes)
        with (
            shard_folder(Path(out_dir)) as folder,
            closing(intake_of(documents, with_metadata=True, linger_s=None)) as intake,
        ):
            flow = FilterFlow(intake, config, self._options.batches, folder, watch)
            for _ in drive(self._link, self._scoring.FilterDocuments, flow):
                pass
            report = FilterReport.from_wire(flow.report, folder.shards, folder.listed)
            folder.finish(flow.opened, threshold_of(config), report)
        return report

    def server_info(self) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features and device of the server."""
        return self._link.unary(self._catalog.GetServerInfo, catalog_pb2.GetServerInfoRequest())

    def neuron_sets(self) -> list[catalog_pb2.NeuronSet]:
        """All neuron sets that the server scores with."""
        request = catalog_pb2.ListNeuronSetsRequest()
        return list(pages(lambda asked: self._link.unary(self._catalog.ListNeuronSets, asked), request, "neuron_sets"))


class RemoteScorer:
    """A neuron set on a server as a ``DocumentScorer``: what a local scorer is, somewhere else."""

    def __init__(self, client: Client, neuron_set: str = "") -> None:
        """Asks the server once; raises ArtifactNotFoundError unless exactly one neuron set fits the name."""
        fitting = [
            found for found in client.neuron_sets() if neuron_set in {"", found.name, found.name.rpartition("/")[2]}
        ]
        if len(fitting) != 1:
            raise ArtifactNotFoundError(f"{len(fitting)} neuron sets fit {neuron_set!r}; give the full name of one.")
        self._client = client
        self._resource = fitting[0]

    @property
    def name(self) -> str:
        """Name of the neuron set."""
        return self._resource.name.rpartition("/")[2]

    @property
    def etag(self) -> str:
        """Content hash of the neuron set, pinned on every call."""
        return self._resource.etag

    @property
    def model_fingerprint(self) -> str:
        """Fingerprint of the model that the scores come from."""
        return self._resource.model_fingerprint

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        """One result for each document, in order."""
        return list(self._client.score(documents, neuron_set=self._resource.name, etag=self.etag))

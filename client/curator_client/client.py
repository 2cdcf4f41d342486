"""The synchronous client: iterators in, iterators out, over one gRPC channel.

    with Client("localhost:50051") as client:
        for result in client.score(documents): ...
        report = client.filter(documents, Path("kept"), min_probability=0.9)

Results come in input order. The input is read in the caller's thread, a window ahead of the results; gRPC's own thread writes
what the window allows while the caller reads, so neither side can wait for the other. A stream that breaks is opened again
and goes on where it was. Errors are the classes of ``curator.errors``, rebuilt from what the server sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
from google.rpc import status_pb2

from curator.api.status import error_from_status, status_from_call
from curator.api.v1 import catalog_pb2, catalog_pb2_grpc, common_pb2, scoring_pb2, scoring_pb2_grpc
from curator.errors import ArtifactNotFoundError
from curator.records import Document, Rejection, Score
from curator_client.connection import CHANNEL_OPTIONS, ConnectionOptions, filter_config, threshold_of
from curator_client.core import Attempts, Result, make_batch, pages
from curator_client.flows import FilterFlow, FilterWatch, Flow, ScoreFlow
from curator_client.shards import FilterReport, ShardFolder

if TYPE_CHECKING:
    from curator_client.jobs import Jobs

_Answer = TypeVar("_Answer")
_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
DRAINED = status_pb2.Status(code=_UNAVAILABLE, message="The server closed the stream.")


class BrokenStreamError(Exception):
    """A stream ended with a status; never leaves this package."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


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
            self._channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address, credentials, options=CHANNEL_OPTIONS)
        self._scoring = scoring_pb2_grpc.ScoringServiceStub(self._channel)
        self._catalog = catalog_pb2_grpc.CatalogServiceStub(self._channel)
        self._health = self._channel.unary_unary(
            "/grpc.health.v1.Health/Check"
        )  # asked for nothing: the process itself

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

        return Jobs(self._channel, self._options, self._unary)

    def close(self) -> None:
        """End every call and the connection."""
        self._channel.close()

    def score(self, documents: Iterable[Document], *, neuron_set: str = "", etag: str = "") -> Iterator[Result]:
        """One Score or Rejection for each document, in order, while the input is being read.

        Raises FingerprintError when ``etag`` is given and differs, ArtifactNotFoundError for an unknown neuron set,
        OverloadedError when the server cannot be reached or stays full through all retries.
        """
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        config.ordering = scoring_pb2.ScoreConfig.ORDERING_AS_COMPLETED  # the flow restores the order
        yield from self._drive(self._scoring.ScoreDocuments, ScoreFlow(documents, config, self._options.batches))

    def score_batch(self, documents: Sequence[Document], *, neuron_set: str = "", etag: str = "") -> list[Result]:
        """One result for each document in one unary call; raises LimitError above the server's batch limits."""
        batch = make_batch(1, documents, common_pb2.Limits(), compress=self._options.batches.compress)
        config = scoring_pb2.ScoreConfig(neuron_set=neuron_set, etag=etag)
        request = scoring_pb2.ScoreBatchRequest(config=config, batch=batch.wire)
        return batch.results(self._unary(self._scoring.ScoreBatch, request).result)

    def filter(
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
        """Write the documents at or above the threshold to ``out_dir`` as ``kept-*.jsonl.zst`` and ``manifest.json``.

        Memory: the text since the last commit, at most ``commit_every_bytes`` (256 MiB by default), kept for replay. ``watch``
        hears how many documents are done, and how many of them are kept in whole shards. Raises ConfigError when the folder
        holds a finished result or the threshold is missing, and what ``score`` raises.
        """
        config = filter_config(neuron_set, etag, min_score, min_probability, target_shard_bytes, commit_every_bytes)
        folder = ShardFolder(Path(out_dir))
        flow = FilterFlow(documents, config, self._options.batches, folder, watch)
        try:
            for _ in self._drive(self._scoring.FilterDocuments, flow):
                pass
        finally:
            folder.discard()
        report = FilterReport.from_wire(flow.report, folder.shards)
        folder.finish(flow.opened, threshold_of(config), report)
        return report

    def server_info(self) -> catalog_pb2.GetServerInfoResponse:
        """Version, limits, features and device of the server."""
        return self._unary(self._catalog.GetServerInfo, catalog_pb2.GetServerInfoRequest())

    def neuron_sets(self) -> list[catalog_pb2.NeuronSet]:
        """All neuron sets that the server scores with."""
        request = catalog_pb2.ListNeuronSetsRequest()
        return list(pages(lambda asked: self._unary(self._catalog.ListNeuronSets, asked), request, "neuron_sets"))

    def _unary(self, method: Callable[..., _Answer], request: Any) -> _Answer:
        attempt = 0
        while True:
            try:
                return method(request, timeout=self._options.timeout_s, metadata=self._options.metadata)
            except grpc.RpcError as error:
                attempt += 1
                status = status_from_call(error)
                delay = self._options.retry.delay(attempt, status)
                if delay is None:
                    raise error_from_status(status) from error
            self._pause(delay, status)

    def _pause(self, seconds: float, after: status_pb2.Status) -> None:
        """Sleep while gRPC connects again: its synchronous stack moves only in calls, so one waits for the connection meanwhile.

        Without it a server that was away for 2 seconds was found 8 seconds after it was back (measured).
        """
        end = time.monotonic() + seconds
        if after.code == _UNAVAILABLE:
            with suppress(grpc.RpcError):
                self._health(b"", timeout=seconds, wait_for_ready=True)
        time.sleep(max(0.0, end - time.monotonic()))

    def _drive(self, method: Callable[..., Any], flow: Flow[Any, Any]) -> Iterator[Result]:
        """Run a flow over as many streams as it takes."""
        attempts = Attempts(self._options.retry)
        while not flow.complete:
            before, status = flow.progress, DRAINED
            try:
                yield from self._one_stream(method, flow)
            except BrokenStreamError as broken:
                status = broken.status
            if flow.complete:
                return
            delay = attempts.wait_s(status, progressed=flow.progress > before)
            flow.broken()
            self._pause(delay, status)

    def _one_stream(self, method: Callable[..., Any], flow: Flow[Any, Any]) -> Iterator[Result]:
        outbox: SimpleQueue[Any] = SimpleQueue()  # emptied by gRPC's writing thread; the window bounds it
        call = method(iter(outbox.get, None), metadata=self._options.metadata)
        outbox.put(flow.opening())
        closed = False
        try:
            with Watchdog(call, self._options.idle_timeout_s) as watchdog:
                while (response := watchdog.next()) is not None:
                    yield from flow.receive(response)
                    for request in flow.requests():
                        outbox.put(request)
                    if flow.half_close and not closed:
                        closed = True
                        outbox.put(None)
        finally:
            outbox.put(None)
            call.cancel()


class Watchdog:
    """Reads a call and cancels it when a read takes too long; time that the caller spends elsewhere does not count."""

    def __init__(self, call: Any, idle_timeout_s: float) -> None:
        self._call = call
        self._timeout_s = idle_timeout_s
        self._waiting_since: float | None = None
        self._expired = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="curator-client-watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def next(self) -> Any | None:
        """The next response, None at the end. Raises BrokenStreamError with the call's status."""
        self._waiting_since = time.monotonic()
        try:
            return next(self._call, None)
        except grpc.RpcError as error:
            if self._expired:
                message = f"The server sent nothing for {self._timeout_s} s."
                raise BrokenStreamError(status_pb2.Status(code=_UNAVAILABLE, message=message)) from error
            raise BrokenStreamError(status_from_call(error)) from error
        finally:
            self._waiting_since = None

    def _watch(self) -> None:
        while not self._done.wait(min(1.0, self._timeout_s / 4)):
            since = self._waiting_since
            if since is not None and time.monotonic() - since > self._timeout_s:
                self._expired = True
                self._call.cancel()
                return


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

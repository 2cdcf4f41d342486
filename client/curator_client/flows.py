"""What a scoring and a filtering stream do with each message, as sans-I/O state machines that survive broken streams.

A driver opens a call, sends ``opening()``, gives every response to ``receive()`` and then sends all of ``requests()``; it
half-closes when ``half_close`` says so. After a break it calls ``broken()`` and opens another call with the same flow. The
etag that the first stream reported is pinned on every later one, so that one output never mixes two neuron sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from curator.api.convert import add_report
from curator.api.v1 import scoring_pb2
from curator.errors import CuratorError
from curator.records import Document, RejectReason
from curator_client.core import Batch, BatchOptions, Feed, Result

_Request_co = TypeVar("_Request_co", covariant=True)
_Response_contra = TypeVar("_Response_contra", contravariant=True)


class Flow(Protocol[_Request_co, _Response_contra]):
    """What a driver needs of a flow."""

    progress: int

    @property
    def half_close(self) -> bool: ...  # noqa: D102

    @property
    def complete(self) -> bool: ...  # noqa: D102

    def opening(self) -> _Request_co: ...  # noqa: D102

    def receive(self, response: _Response_contra) -> Iterator[Result]: ...  # noqa: D102

    def requests(self) -> Iterator[_Request_co]: ...  # noqa: D102

    def broken(self) -> None: ...  # noqa: D102


class ScoreFlow:
    """Scores documents in order; results of batches that finish early wait for their turn."""

    def __init__(self, documents: Iterable[Document], config: scoring_pb2.ScoreConfig, options: BatchOptions) -> None:
        self.progress = 0
        self._config = config
        self._feed = Feed(documents, options, with_metadata=False)
        self._early: dict[int, list[Result]] = {}
        self._next_seq = 1

    @property
    def half_close(self) -> bool:
        """Nothing more will be sent on this stream."""
        return self._feed.half_close

    @property
    def complete(self) -> bool:
        """Every document has its result."""
        return self._feed.finished_input and self._feed.window.held == 0

    def opening(self) -> scoring_pb2.ScoreDocumentsRequest:
        """The first message of a stream."""
        return scoring_pb2.ScoreDocumentsRequest(config=self._config)

    def requests(self) -> Iterator[scoring_pb2.ScoreDocumentsRequest]:
        """What may be sent now."""
        for batch in self._feed.ready():
            yield scoring_pb2.ScoreDocumentsRequest(batch=batch.wire)

    def receive(self, response: scoring_pb2.ScoreDocumentsResponse) -> Iterator[Result]:
        """Take one message; yields the results that are now next in order."""
        match response.WhichOneof("response"):
            case "opened":
                self._config.etag = response.opened.neuron_set_etag
                self._feed.open(response.opened.limits)
            case "result":
                yield from self._take(response.result)
            case "credit":
                self._feed.window.limit = response.credit.max_inflight_batches
            case "drain":
                self._feed.draining = True

    def broken(self) -> None:
        """Prepare to send again what has no answer."""
        self._feed.window.broken()

    def _take(self, answer: scoring_pb2.ScoreResult) -> Iterator[Result]:
        self._feed.window.answered(answer.seq)
        self._early[answer.seq] = self._feed.window.settle(answer.seq).results(answer)
        self.progress += 1
        while self._next_seq in self._early:
            self._next_seq += 1
            yield from self._early.pop(self._next_seq - 1)


class ShardSink(Protocol):
    """Where shards go; raises ArtifactError when bytes are not what the server says they are."""

    def chunk(self, chunk: scoring_pb2.ShardChunk) -> None: ...  # noqa: D102

    def commit(self, commit: scoring_pb2.ShardCommit) -> None: ...  # noqa: D102

    def discard(self) -> None: ...  # noqa: D102


FilterWatch = Callable[[int, int], None]
"""Hears of documents that are filtered, and of those kept in shards that are whole."""


class FilterFlow:
    """Filters documents into a sink; counts come from the commits, so that they are exact across broken streams."""

    def __init__(
        self,
        documents: Iterable[Document],
        config: scoring_pb2.FilterConfig,
        options: BatchOptions,
        sink: ShardSink,
        watch: FilterWatch | None = None,
    ) -> None:
        self._watch = watch
        self.progress = 0
        self.report = scoring_pb2.FilterReport()
        self.opened = scoring_pb2.Opened()
        self._config = config
        self._sink = sink
        self._feed = Feed(documents, options, with_metadata=True)
        self._reported = False
        self._refused: dict[int, list[RejectReason]] = {}

    @property
    def half_close(self) -> bool:
        """Nothing more will be sent on this stream."""
        return self._feed.half_close

    @property
    def complete(self) -> bool:
        """The server has reported the end and everything is committed."""
        return self._reported and self._feed.finished_input and self._feed.window.held == 0

    def opening(self) -> scoring_pb2.FilterDocumentsRequest:
        """The first message of a stream; a later one resumes after the last commit."""
        return scoring_pb2.FilterDocumentsRequest(config=self._config)

    def requests(self) -> Iterator[scoring_pb2.FilterDocumentsRequest]:
        """What may be sent now."""
        for batch in self._feed.ready():
            self._note_refused(batch)
            yield scoring_pb2.FilterDocumentsRequest(batch=batch.wire)

    def receive(self, response: scoring_pb2.FilterDocumentsResponse) -> Iterator[Result]:
        """Take one message; filtering yields no results."""
        match response.WhichOneof("response"):
            case "opened":
                self._open(response.opened)
            case "progress":
                self._feed.window.answered(response.progress.processed_seq)
                self._moved()
            case "chunk":
                self._sink.chunk(response.chunk)
            case "commit":
                self._commit(response.commit)
            case "credit":
                self._feed.window.limit = response.credit.max_inflight_batches
            case "drain":
                self._feed.draining = True
            case "report":
                self._reported = True
        yield from ()

    def broken(self) -> None:
        """Forget the shard that was under way and prepare to send again what is not committed."""
        self._sink.discard()
        self._reported = False
        self._feed.window.broken()

    def _open(self, opened: scoring_pb2.Opened) -> None:
        self.opened = opened
        self._config.score.etag = opened.neuron_set_etag
        self._feed.open(opened.limits)

    def _commit(self, commit: scoring_pb2.ShardCommit) -> None:
        if commit.committed_seq <= self._config.resume_after_seq:
            raise CuratorError(f"The server committed batch {commit.committed_seq} twice; update the server.")
        self._sink.commit(commit)
        add_report(self.report, commit.partial_report)
        for seq in [seq for seq in self._refused if seq <= commit.committed_seq]:
            for reason in self._refused.pop(seq):
                self._count_failed(reason)
        self._config.resume_after_seq = commit.committed_seq
        self._feed.window.settled_through(commit.committed_seq)
        self._moved()

    def _moved(self) -> None:
        self.progress += 1
        if self._watch is not None:
            self._watch(self.report.documents_in + self._feed.window.answered_documents, self.report.documents_kept)

    def _note_refused(self, batch: Batch) -> None:
        """Documents that were never sent are failures of this run like any other; counted with their batch's commit."""
        if batch.refused:
            self._refused[batch.seq] = [rejection.reason for rejection in batch.refused.values()]

    def _count_failed(self, reason: RejectReason) -> None:
        self.report.documents_in += 1
        self.report.documents_failed += 1
        self.report.not_kept_by_reason[reason] += 1

"""What a scoring and a filtering stream do with each message, as sans-I/O state machines that survive broken streams.

A driver opens a call, sends ``opening()``, gives every response to ``receive()`` and then sends all of ``requests()``; it
half-closes when ``half_close`` says so. After a break it calls ``broken()``, after one for the size of a message
``shrink()`` too, and opens another call with the same flow. The etag that the first stream reported is pinned on every later
one, so that one output never mixes two neuron sets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from curator.api.convert import add_report
from curator.api.status import error_from_status
from curator.api.v1 import scoring_pb2
from curator.errors import CuratorError, LimitError
from curator.records import Rejection, RejectReason
from curator_client.batches import Batch, BatchOptions, Result
from curator_client.core import Feed
from curator_client.intake import Intake

_Request_co = TypeVar("_Request_co", covariant=True)
_Response_contra = TypeVar("_Response_contra", contravariant=True)


class Flow(Protocol[_Request_co, _Response_contra]):
    """What a driver needs of a flow."""

    progress: int

    @property
    def intake(self) -> Intake: ...  # noqa: D102

    @property
    def due_s(self) -> float | None: ...  # noqa: D102

    @property
    def owed(self) -> bool: ...  # noqa: D102

    @property
    def half_close(self) -> bool: ...  # noqa: D102

    @property
    def complete(self) -> bool: ...  # noqa: D102

    def opening(self) -> _Request_co: ...  # noqa: D102

    def receive(self, response: _Response_contra) -> Iterator[Result]: ...  # noqa: D102

    def requests(self) -> Iterator[_Request_co]: ...  # noqa: D102

    def broken(self) -> None: ...  # noqa: D102

    def shrink(self) -> bool: ...  # noqa: D102


class _FedFlow:
    """What both flows say of their feed."""

    def __init__(self, feed: Feed) -> None:
        self.progress = 0
        self._feed = feed

    @property
    def intake(self) -> Intake:
        """Where the documents come from."""
        return self._feed.intake

    @property
    def due_s(self) -> float | None:
        """When to look again without having heard anything."""
        return self._feed.due_s

    @property
    def owed(self) -> bool:
        """Whether the server has something to say."""
        return self._feed.owed

    @property
    def half_close(self) -> bool:
        """Nothing more will be sent on this stream."""
        return self._feed.half_close


class ScoreFlow(_FedFlow):
    """Scores documents in order; results of batches that finish early wait for their turn."""

    def __init__(self, intake: Intake, config: scoring_pb2.ScoreConfig, options: BatchOptions) -> None:
        super().__init__(Feed(intake, options, ordered=False))
        self._config = config
        self._early: dict[int, list[Result]] = {}
        self._order: list[int] = []
        self._last_seq = 0

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
            if batch.seq > self._last_seq:
                self._order.append(batch.seq)
                self._last_seq = batch.seq
            yield scoring_pb2.ScoreDocumentsRequest(batch=batch.wire)

    def receive(self, response: scoring_pb2.ScoreDocumentsResponse) -> Iterator[Result]:
        """Take one message; yields the results that are now next in order."""
        match response.WhichOneof("response"):
            case "opened":
                self._config.etag = response.opened.neuron_set_etag
                self._move(self._feed.open(response.opened.limits))
            case "result":
                yield from self._take(response.result)
            case "credit":
                self._feed.window.limit = response.credit.max_inflight_batches
            case "drain":
                self._feed.draining = True

    def broken(self) -> None:
        """Prepare to send again what has no answer."""
        self._feed.broken()

    def shrink(self) -> bool:
        """Prepare to send it in smaller batches; False when it cannot be cut."""
        moved = self._feed.shrink()
        self._move(moved or {})
        return moved is not None

    def _take(self, answer: scoring_pb2.ScoreResult) -> Iterator[Result]:
        self._feed.window.answered(answer.seq)
        batch = self._feed.window.settle(answer.seq)
        self.progress += 1
        if _too_large(answer) and (halves := self._feed.halve(batch)) is not None:
            self._move({answer.seq: halves})
            return
        self._early[answer.seq] = _results(batch, answer)
        while self._order and self._order[0] in self._early:
            yield from self._early.pop(self._order.pop(0))

    def _move(self, moved: dict[int, list[int]]) -> None:
        for seq, parts in moved.items():
            if seq in self._order:
                place = self._order.index(seq)
                self._order[place : place + 1] = parts
                self._last_seq = max(self._last_seq, *parts)


def _too_large(answer: scoring_pb2.ScoreResult) -> bool:
    return answer.HasField("batch_error") and isinstance(error_from_status(answer.batch_error), LimitError)


def _results(batch: Batch, answer: scoring_pb2.ScoreResult) -> list[Result]:
    results = batch.results(answer)
    if not _too_large(answer):
        return results
    return [
        replace(result, reason=RejectReason.RECORD_TOO_LARGE)
        if isinstance(result, Rejection) and index not in batch.refused
        else result
        for index, result in enumerate(results)
    ]


class ShardSink(Protocol):
    """Where shards go; raises ArtifactError when bytes are not what the server says they are."""

    def chunk(self, chunk: scoring_pb2.ShardChunk) -> None: ...  # noqa: D102

    def commit(self, commit: scoring_pb2.ShardCommit) -> None: ...  # noqa: D102

    def not_sent(self, rejections: Sequence[Rejection], *, unread: bool) -> None: ...  # noqa: D102

    def discard(self) -> None: ...  # noqa: D102


FilterWatch = Callable[[int, int], None]
"""Hears of documents that are filtered, and of those kept in shards that are whole."""


class FilterFlow(_FedFlow):
    """Filters documents into a sink; counts come from the commits, so that they are exact across broken streams."""

    def __init__(
        self,
        intake: Intake,
        config: scoring_pb2.FilterConfig,
        options: BatchOptions,
        sink: ShardSink,
        watch: FilterWatch | None = None,
    ) -> None:
        super().__init__(Feed(intake, options, ordered=True))
        self._watch = watch
        self.report = scoring_pb2.FilterReport()
        self.opened = scoring_pb2.Opened()
        self._config = config
        self._sink = sink
        self._reported = False
        self._refused: dict[int, Batch] = {}

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
            if batch.refused:
                self._refused[batch.seq] = batch
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
        self._refused.clear()  # noted again when they are sent again, under whatever number
        self._feed.broken()

    def shrink(self) -> bool:
        """Prepare to send it in smaller batches; False when it cannot be cut."""
        return self._feed.shrink() is not None

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
            self._count_refused(self._refused.pop(seq))
        self._config.resume_after_seq = commit.committed_seq
        self._feed.window.settled_through(commit.committed_seq)
        self._moved()

    def _moved(self) -> None:
        self.progress += 1
        if self._watch is not None:
            self._watch(self.report.documents_in + self._feed.window.answered_documents, self.report.documents_kept)

    def _count_refused(self, batch: Batch) -> None:
        """Documents that were never sent are failures of this run like any other; counted with their batch's commit."""
        for unread in (True, False):
            found = [one for index, one in batch.refused.items() if (index in batch.unread) == unread]
            self._sink.not_sent(found, unread=unread)
        self.report.documents_in += len(batch.refused)
        self.report.documents_failed += len(batch.refused)
        for rejection in batch.refused.values():
            self.report.not_kept_by_reason[rejection.reason] += 1

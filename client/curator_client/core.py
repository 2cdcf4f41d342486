"""The client's logic without any I/O: batches, the window, credit, replay and retry. Sync and async clients only move bytes.

Documents are grouped into batches of at most 256 documents or 256 KiB of text: per message gRPC costs 140-350 us of CPU, per
document inside a message 2 us, so that 64 and more documents a message make the transport invisible. A window holds what
is unanswered; it never grows above the server's credit, and after a break it is sent again under the same seq. Everything a
flow sends is an answer to something it received, so a driver that reads all the time and writes what it is told to cannot
deadlock.

The first batches are read before the first result is handed out: a slow input delays results by a window, it loses none.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.rpc import status_pb2

from curator.api.convert import document_to_wire, result_from_wire
from curator.api.payload import compress_documents
from curator.api.status import error_from_status, retry_delay_s
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import CuratorError, DocumentError
from curator.records import Document, Rejection, RejectReason, Score

Result = Score | Rejection


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How documents are grouped and sent."""

    max_documents: int = 256
    """Documents in one batch; above 256 nothing is gained."""
    max_bytes: int = 256 << 10
    """UTF-8 bytes of text in one batch; a single larger document still travels alone."""
    compress: bool = False
    """Send zstd frames: 3x smaller, more CPU; worth it below about 1 Gb/s."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a broken stream is tried again. Only breaks without progress in between count as attempts."""

    attempts: int = 8
    """Breaks in a row before giving up; 8 wait 6 s on average and 12.7 s at most, enough for a restarted process."""
    base_s: float = 0.1
    """Upper bound of the first wait; doubles with each attempt."""
    cap_s: float = 10.0
    """Upper bound of every wait."""

    def delay(
        self, attempt: int, status: status_pb2.Status, uniform: Callable[[], float] = random.random
    ) -> float | None:
        """Seconds to wait before attempt number ``attempt`` (from 1), with full jitter; None when it must not be tried.

        Only UNAVAILABLE, and RESOURCE_EXHAUSTED with the server's RetryInfo, may be tried again.
        """
        advised = retry_delay_s(status)
        if advised is None or attempt >= self.attempts:
            return None
        return advised + uniform() * min(self.cap_s, self.base_s * 2 ** (attempt - 1))


class Attempts:
    """Counts the breaks of one piece of work since its last progress."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy, self._breaks = policy, 0

    def wait_s(self, status: status_pb2.Status, *, progressed: bool) -> float:
        """Seconds to wait after a break. Raises the status as an error when it must not be tried again."""
        self._breaks = 1 if progressed else self._breaks + 1
        delay = self._policy.delay(self._breaks, status)
        if delay is None:
            raise error_from_status(status)
        return delay


def pages(ask: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    """What ``field`` of every page lists; ``ask`` sends the request, whose page token is moved on."""
    while True:
        page = ask(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


@dataclass(frozen=True, slots=True)
class Batch:
    """Documents under one seq. Those that cannot be sent have their rejection in ``refused``, by position."""

    seq: int
    documents: tuple[Document, ...]
    wire: common_pb2.DocumentBatch
    refused: dict[int, Rejection] = field(default_factory=dict)

    def results(self, answer: scoring_pb2.ScoreResult) -> list[Result]:
        """One result for each document, in order: the server's, or the local rejection."""
        sent = [document.id for index, document in enumerate(self.documents) if index not in self.refused]
        answers = iter(result_from_wire(answer, sent))
        return [self.refused[index] if index in self.refused else next(answers) for index in range(len(self.documents))]


def make_batch(
    seq: int,
    documents: Iterable[Document],
    limits: common_pb2.Limits,
    *,
    compress: bool = False,
    with_metadata: bool = False,
) -> Batch:
    """One batch; a document over the server's limit, or that the wire cannot carry, is refused here and not sent."""
    documents = tuple(documents)
    refused: dict[int, Rejection] = {}
    wires: list[common_pb2.Document] = []
    for index, document in enumerate(documents):
        wire = _wire_or_rejection(document, limits.max_document_bytes, with_metadata=with_metadata)
        if isinstance(wire, Rejection):
            refused[index] = wire
        else:
            wires.append(wire)
    batch = common_pb2.DocumentBatch(seq=seq, document_count=len(wires))
    if compress:
        batch.zstd_documents = compress_documents(wires)
    else:
        batch.documents.CopyFrom(common_pb2.Documents(documents=wires))
    return Batch(seq, documents, batch, refused)


def group(documents: Iterable[Document], options: BatchOptions, limits: common_pb2.Limits) -> Iterator[list[Document]]:
    """Cut documents into lists under both the options and the server's limits; depends on the input alone."""
    max_documents = min(options.max_documents, limits.max_batch_documents or options.max_documents)
    max_bytes = min(options.max_bytes, limits.max_batch_bytes or options.max_bytes)
    waiting: list[Document] = []
    size = 0
    for document in documents:
        length = len(document.text.encode("utf-8", "surrogatepass"))
        if waiting and (len(waiting) == max_documents or size + length > max_bytes):
            yield waiting
            waiting, size = [], 0
        waiting.append(document)
        size += length
    if waiting:
        yield waiting


class Window:
    """The batches that are sent but not settled, at most ``limit`` of them in flight.

    ``answered`` frees a place; ``settled_through`` forgets batches, after which they are never sent again. For scoring both
    happen at once; for filtering a batch is settled by the commit of the shard that holds it.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self._held: dict[int, Batch] = {}
        self._in_flight: set[int] = set()
        self._replay: deque[Batch] = deque()

    @property
    def has_room(self) -> bool:
        """Whether one more batch may be sent now."""
        return len(self._in_flight) < self.limit

    @property
    def held(self) -> int:
        """Batches that would be sent again after a break."""
        return len(self._held)

    @property
    def answered_documents(self) -> int:
        """Documents of the batches that are answered and not yet settled."""
        waiting = self._in_flight.union(batch.seq for batch in self._replay)
        return sum(len(batch.documents) for seq, batch in self._held.items() if seq not in waiting)

    @property
    def replaying(self) -> bool:
        """Whether batches of a broken stream still wait to be sent again."""
        return bool(self._replay)

    def take_replay(self) -> Batch | None:
        """The next batch to send again, if there is one."""
        return self._replay.popleft() if self._replay else None

    def sent(self, batch: Batch) -> None:
        """Note that a batch is on its way."""
        self._held[batch.seq] = batch
        self._in_flight.add(batch.seq)

    def answered(self, seq: int) -> None:
        """Free a batch's place. Raises CuratorError for a seq that is not in flight."""
        if seq not in self._in_flight:
            raise CuratorError(f"The server answered batch {seq}, which is not waiting; update the server.")
        self._in_flight.remove(seq)

    def settle(self, seq: int) -> Batch:
        """Forget one batch, which must be held, and return it."""
        return self._held.pop(seq)

    def settled_through(self, seq: int) -> None:
        """Forget every batch up to ``seq``."""
        for held in [held for held in self._held if held <= seq]:
            del self._held[held]

    def broken(self) -> None:
        """The stream is gone: everything held must be sent again, in order."""
        self._in_flight.clear()
        self._replay = deque(self._held[seq] for seq in sorted(self._held))
        self.limit = 0


class Feed:
    """Numbers, groups and sends a document iterator through a window; shared by scoring and filtering."""

    def __init__(self, documents: Iterable[Document], options: BatchOptions, *, with_metadata: bool) -> None:
        self.window = Window()
        self.finished_input = False
        self.draining = False
        self._documents = iter(documents)
        self._options = options
        self._with_metadata = with_metadata
        self._groups: Iterator[list[Document]] | None = None
        self._limits = common_pb2.Limits()
        self._seq = 0

    def open(self, limits: common_pb2.Limits) -> None:
        """Take the limits of a stream that has just opened; grouping keeps those of the first one."""
        self.draining = False
        self.window.limit = max(1, limits.max_inflight_batches)
        if self._groups is None:
            self._limits = limits
            self._groups = group(self._documents, self._options, limits)

    def ready(self) -> Iterator[Batch]:
        """Batches that may be sent now: first what must be replayed, then new ones."""
        while self._groups is not None and self.window.has_room and not self.draining:
            batch = self.window.take_replay() or self._next_new()
            if batch is None:
                return
            self.window.sent(batch)
            yield batch

    @property
    def half_close(self) -> bool:
        """Whether nothing more will be sent on this stream."""
        return self.draining or (self.finished_input and not self.window.replaying)

    def _next_new(self) -> Batch | None:
        documents = None if self._groups is None else next(self._groups, None)
        if documents is None:
            self.finished_input = True
            return None
        self._seq += 1
        options = self._options
        return make_batch(
            self._seq, documents, self._limits, compress=options.compress, with_metadata=self._with_metadata
        )


def _wire_or_rejection(document: Document, max_bytes: int, *, with_metadata: bool) -> common_pb2.Document | Rejection:
    try:
        wire = document_to_wire(document, with_metadata=with_metadata)
    except DocumentError as error:
        return Rejection(document.id, RejectReason.NOT_A_RECORD, str(error))
    size = len(document.text.encode())
    if max_bytes and size > max_bytes:
        return Rejection(
            document.id, RejectReason.RECORD_TOO_LARGE, f"The text has {size} bytes, the limit is {max_bytes}."
        )
    return wire

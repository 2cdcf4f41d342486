"""The compute engine: one worker thread for the device, fed with micro-batches drawn from all callers in turn.

The event loop never computes: measured, a health check waits 1 ms beside a working thread and a second beside work in the
loop. Every caller owns a lane, a queue of pieces of at most one micro-batch; the worker takes one piece from each lane in
turn until the micro-batch is full, so that a caller with a million documents delays a caller with one by one micro-batch.
Closing a lane drops what it has queued; a micro-batch that is running finishes and its rows are discarded. When scoring
raises, the pieces of that micro-batch are scored again one by one, and only those that raise again fail.

Memory: ``max_queued_documents`` documents. It does not know messages, streams or thresholds. Whoever wants to count gives
``observe``, which is called in the worker thread after each micro-batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from curator.errors import OverloadedError
from curator.records import Document, DocumentScorer, Rejection, RejectReason, Score

logger = logging.getLogger(__name__)

Result = Score | Rejection
Observer = Callable[[int, int, float], None]
"""Takes documents, bytes of text and seconds of one micro-batch."""
_CLOSE_TIMEOUT_S = 10.0


@dataclass(slots=True, eq=False)
class _Piece:
    request_id: str
    documents: Sequence[Document]
    text_bytes: int
    future: asyncio.Future[list[Result]]


@dataclass(slots=True, eq=False)
class Lane:
    """One caller's place in the queue."""

    scorer: DocumentScorer
    request_id: str = ""
    pieces: deque[_Piece] = field(default_factory=deque)
    closed: bool = False


class Engine:
    """Scores documents of many callers fairly in one worker thread. Made, used and closed in one event loop."""

    def __init__(
        self,
        *,
        max_queued_documents: int,
        micro_batch_documents: int,
        micro_batch_bytes: int,
        observe: Observer | None = None,
    ) -> None:
        self._observe = observe
        self._max_queued = max_queued_documents
        self._max_documents = micro_batch_documents
        self._max_bytes = micro_batch_bytes
        self._wake = threading.Condition()
        self._lanes: deque[Lane] = deque()  # lanes with queued pieces; the left one has waited longest
        self._queued = 0
        self._room: deque[asyncio.Future[None]] = deque()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._work, name="curator-engine", daemon=True)

    @property
    def queued_documents(self) -> int:
        """Documents that wait for the worker now."""
        return self._queued

    def start(self) -> None:
        """Start the worker thread; call inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Stop after the running micro-batch; whatever still waits is cancelled.

        A micro-batch that outlives ``timeout_s`` is left behind: the thread is a daemon and does not hold the process.
        """
        with self._wake:
            self._stopping = True
            waiting = [piece for lane in self._lanes for piece in lane.pieces]
            self._lanes.clear()
            self._queued = 0
            self._wake.notify()
        for piece in waiting:
            piece.future.cancel()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, timeout_s)
        if self._thread.is_alive():
            logger.warning("a micro-batch is still running and is left behind", extra={"waited_s": timeout_s})

    @asynccontextmanager
    async def lane(self, scorer: DocumentScorer, request_id: str = "") -> AsyncIterator[Lane]:
        """A caller's lane; leaving the block drops what the lane has queued. The request id is for the log."""
        lane = Lane(scorer, request_id)
        try:
            yield lane
        finally:
            self._drop(lane)

    def has_room(self, documents: int) -> bool:
        """Whether this many more documents would fit the queue; an empty queue takes any number."""
        return not self._queued or self._queued + documents <= self._max_queued

    def check_room(self, documents: int) -> None:
        """Raise OverloadedError when this many more documents would not fit the queue."""
        if not self.has_room(documents):
            raise OverloadedError(f"The server has {self._queued} documents waiting; try again shortly.")

    async def wait_for_room(self, documents: int) -> None:
        """Return when this many documents would fit the queue."""
        while not self.has_room(documents):
            ticket = asyncio.get_running_loop().create_future()
            self._room.append(ticket)
            await ticket

    async def score(self, lane: Lane, documents: Sequence[Document]) -> list[Result]:
        """One result for each document, in order. Cancelling the caller leaves nothing computed but one micro-batch."""
        pieces = [self._piece(lane, part, size) for part, size in self._split(documents)]
        self._enqueue(lane, pieces)
        return [result for piece in pieces for result in await piece.future]

    def _split(self, documents: Sequence[Document]) -> Iterator[tuple[Sequence[Document], int]]:
        start = size = 0
        for index, document in enumerate(documents):
            length = len(document.text.encode())
            if index > start and (index - start == self._max_documents or size + length > self._max_bytes):
                yield documents[start:index], size
                start, size = index, 0
            size += length
        if start < len(documents):
            yield documents[start:], size

    def _piece(self, lane: Lane, documents: Sequence[Document], size: int) -> _Piece:
        return _Piece(lane.request_id, documents, size, asyncio.get_running_loop().create_future())

    def _enqueue(self, lane: Lane, pieces: list[_Piece]) -> None:
        if not pieces:
            return
        with self._wake:
            if lane.closed or self._stopping:
                raise OverloadedError("The server is going away; try again.")
            if not lane.pieces:
                self._lanes.append(lane)
            lane.pieces.extend(pieces)
            self._queued += sum(len(piece.documents) for piece in pieces)
            self._wake.notify()

    def _drop(self, lane: Lane) -> None:
        with self._wake:
            lane.closed = True
            dropped = list(lane.pieces)
            lane.pieces.clear()
            if lane in self._lanes:
                self._lanes.remove(lane)
            self._queued -= sum(len(piece.documents) for piece in dropped)
        for piece in dropped:
            piece.future.cancel()
        self._offer_room()

    def _offer_room(self) -> None:
        while self._room:
            ticket = self._room.popleft()
            if not ticket.done():
                ticket.set_result(None)

    # Everything below runs in the worker thread.

    def _work(self) -> None:
        while True:
            with self._wake:
                while not self._lanes and not self._stopping:
                    self._wake.wait()
                if self._stopping:
                    return
                scorer, pieces = self._take()
            began = time.perf_counter()
            results = _score_pieces(scorer, pieces)
            if self._observe is not None:
                documents, size = (
                    sum(len(piece.documents) for piece in pieces),
                    sum(piece.text_bytes for piece in pieces),
                )
                self._observe(documents, size, time.perf_counter() - began)
            self._deliver(pieces, results)

    def _take(self) -> tuple[DocumentScorer, list[_Piece]]:
        """One micro-batch: a piece from each lane in turn, of the scorer whose lane has waited longest."""
        scorer = self._lanes[0].scorer
        taken: list[_Piece] = []
        documents = size = 0
        others: list[Lane] = []
        while self._lanes:
            lane = self._lanes.popleft()
            piece = lane.pieces[0]
            fits = (
                documents + len(piece.documents) <= self._max_documents and size + piece.text_bytes <= self._max_bytes
            )
            if lane.scorer is not scorer or (taken and not fits):
                others.append(lane)
                if lane.scorer is scorer:
                    break
                continue
            taken.append(lane.pieces.popleft())
            documents, size = documents + len(piece.documents), size + piece.text_bytes
            if lane.pieces:
                self._lanes.append(lane)
        self._lanes.extendleft(reversed(others))
        self._queued -= documents
        return scorer, taken

    def _deliver(self, pieces: list[_Piece], results: list[list[Result]]) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(_resolve, pieces, results)
        loop.call_soon_threadsafe(self._offer_room)


def _resolve(pieces: list[_Piece], results: list[list[Result]]) -> None:
    for piece, rows in zip(pieces, results, strict=True):
        if not piece.future.done():
            piece.future.set_result(rows)


def _score_pieces(scorer: DocumentScorer, pieces: list[_Piece]) -> list[list[Result]]:
    if len(pieces) > 1:
        try:
            rows = _score_checked(scorer, [document for piece in pieces for document in piece.documents])
        except Exception:  # noqa: BLE001  whatever the scorer raises; the retry below logs what remains
            logger.warning("a shared micro-batch failed and is scored piece by piece", extra={"pieces": len(pieces)})
        else:
            iterator = iter(rows)
            return [[next(iterator) for _ in piece.documents] for piece in pieces]
    return [_score_alone(scorer, piece) for piece in pieces]


def _score_alone(scorer: DocumentScorer, piece: _Piece) -> list[Result]:
    try:
        return _score_checked(scorer, piece.documents)
    except Exception:
        told = {"scorer": scorer.name, "documents": len(piece.documents), "request_id": piece.request_id}
        logger.exception("scoring failed", extra=told)
        detail = "The scorer failed on this document's micro-batch; the server's log has the reason."
        return [Rejection(document.id, RejectReason.SCORING_FAILED, detail) for document in piece.documents]


def _score_checked(scorer: DocumentScorer, documents: Sequence[Document]) -> list[Result]:
    rows = list(scorer.score(documents))
    if len(rows) != len(documents):
        raise RuntimeError(f"scorer {scorer.name} returned {len(rows)} results for {len(documents)} documents")
    return rows

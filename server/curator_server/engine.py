"""The compute engine: one worker thread for the device, fed with micro-batches drawn fairly from all callers.

The event loop never computes: measured, a health check waits 1 ms beside a working thread and a second beside work in the
loop. ``fair_queue`` says whose documents come next, so that a caller with a million documents delays a caller with ten by the
micro-batches in work: one, or two where the scorer can prepare one while another runs (``records.BatchesScorer``), so that the
device never waits between them. Closing a lane drops what it has queued; what is in work finishes and its rows are discarded.
When scoring raises, the pieces in work are scored again one by one, and only those that raise again fail.

Memory: what ``admission`` lets in. It does not know messages, streams or thresholds. Whoever wants to count gives
``observe``, which is called in the worker thread after each micro-batch.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass

from curator.errors import OverloadedError
from curator.records import Document, DocumentScorer, Rejection, RejectReason, scored_batches
from curator_server.admission import Admission, Ticket
from curator_server.fair_queue import FairQueue, Lane, Piece, Result

logger = logging.getLogger(__name__)

Observer = Callable[[int, int, float], None]
"""Takes documents and bytes of text of one micro-batch, and the seconds that the worker had for it alone."""
_CLOSE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class _MicroBatch:
    """Pieces that are scored together, and when they left the queue."""

    pieces: list[Piece]
    taken_at: float

    @property
    def documents(self) -> list[Document]:
        return [document for piece in self.pieces for document in piece.documents]

    @property
    def text_bytes(self) -> int:
        return sum(piece.text_bytes for piece in self.pieces)


class Engine:
    """Scores documents of many callers fairly in one worker thread. Made, used and closed in one event loop."""

    def __init__(
        self,
        *,
        max_queued_documents: int,
        max_queued_bytes: int,
        micro_batch_documents: int,
        micro_batch_bytes: int,
        observe: Observer | None = None,
    ) -> None:
        self._observe = observe
        self._wake = threading.Condition()
        self._queue = FairQueue(micro_batch_documents=micro_batch_documents, micro_batch_bytes=micro_batch_bytes)
        self.admission = Admission(
            lambda: self._queue.documents, max_documents=max_queued_documents, max_bytes=max_queued_bytes
        )
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._delivered_at = 0.0
        self._thread = threading.Thread(target=self._work, name="curator-engine", daemon=True)

    @property
    def queued_documents(self) -> int:
        """Documents that wait for the worker now."""
        return self._queue.documents

    def start(self) -> None:
        """Start the worker thread; call inside the event loop that will submit."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def close(self, timeout_s: float = _CLOSE_TIMEOUT_S) -> None:
        """Stop after the micro-batches in work; whatever still waits is cancelled.

        Work that outlives ``timeout_s`` is left behind: the thread is a daemon and does not hold the process.
        """
        with self._wake:
            self._stopping = True
            waiting = self._queue.clear()
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

    async def score(self, lane: Lane, documents: Sequence[Document], ticket: Ticket | None = None) -> list[Result]:
        """One result for each document, in order. Of a caller who is cancelled only what is in work is still computed.

        ``ticket`` is the room that was kept for them until now.
        """
        pieces = [self._piece(lane, part, size) for part, size in self._queue.split(documents)]
        self._enqueue(lane, pieces)
        if ticket is not None:
            ticket.entered()
        return [result for piece in pieces for result in await piece.future]

    def _piece(self, lane: Lane, documents: Sequence[Document], size: int) -> Piece:
        return Piece(lane.request_id, documents, size, asyncio.get_running_loop().create_future())

    def _enqueue(self, lane: Lane, pieces: list[Piece]) -> None:
        with self._wake:
            if lane.closed or self._stopping:
                raise OverloadedError("The server is going away; try again.")
            self._queue.add(lane, pieces)
            self._wake.notify()

    def _drop(self, lane: Lane) -> None:
        with self._wake:
            lane.closed = True
            dropped = self._queue.drop(lane)
        for piece in dropped:
            piece.future.cancel()
        self.admission.offer()

    # Everything below runs in the worker thread.

    def _work(self) -> None:
        while (scorer := self._next_scorer()) is not None:
            self._run(scorer)

    def _next_scorer(self) -> DocumentScorer | None:
        """Wait for work; None when the engine stops."""
        with self._wake:
            while not self._queue and not self._stopping:
                self._wake.wait()
            return None if self._stopping else self._queue.next_scorer()

    def _run(self, scorer: DocumentScorer) -> None:
        """Score micro-batches, until none waits or another scorer's turn has come."""
        taken: deque[_MicroBatch] = deque()
        try:
            with closing(scored_batches(scorer, self._micro_batches(scorer, taken))) as scored:
                for rows in scored:
                    self._deliver(taken[0], _checked(scorer, rows, taken[0].documents))
                    taken.popleft()
            if taken:
                raise RuntimeError(f"scorer {scorer.name} kept back the results of {len(taken)} micro-batches")
        except Exception:  # noqa: BLE001  whatever the scorer raises; the retry below logs what remains
            pieces = sum(len(batch.pieces) for batch in taken)
            logger.warning("a shared micro-batch failed and is scored piece by piece", extra={"pieces": pieces})
            for batch in taken:
                self._deliver(batch, [row for piece in batch.pieces for row in _score_alone(scorer, piece)])

    def _micro_batches(self, scorer: DocumentScorer, taken: deque[_MicroBatch]) -> Iterator[Sequence[Document]]:
        while True:
            with self._wake:
                if self._stopping or not self._queue or self._queue.next_scorer() is not scorer:
                    return
                taken.append(_MicroBatch(self._queue.take()[1], time.perf_counter()))
            yield taken[-1].documents

    def _deliver(self, batch: _MicroBatch, rows: list[Result]) -> None:
        now = time.perf_counter()
        if self._observe is not None:
            self._observe(len(rows), batch.text_bytes, now - max(batch.taken_at, self._delivered_at))
        self._delivered_at = now
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        loop.call_soon_threadsafe(_resolve, batch.pieces, rows)
        loop.call_soon_threadsafe(self.admission.offer)


def _resolve(pieces: list[Piece], rows: list[Result]) -> None:
    remaining = iter(rows)
    for piece in pieces:
        mine = [next(remaining) for _ in piece.documents]
        if not piece.future.done():
            piece.future.set_result(mine)


def _score_alone(scorer: DocumentScorer, piece: Piece) -> list[Result]:
    try:
        return _checked(scorer, scorer.score(piece.documents), piece.documents)
    except Exception:
        told = {"scorer": scorer.name, "documents": len(piece.documents), "request_id": piece.request_id}
        logger.exception("scoring failed", extra=told)
        detail = "The scorer failed on this document's micro-batch; the server's log has the reason."
        return [Rejection(document.id, RejectReason.SCORING_FAILED, detail) for document in piece.documents]


def _checked(scorer: DocumentScorer, rows: list[Result], documents: Sequence[Document]) -> list[Result]:
    if len(rows) != len(documents):
        raise RuntimeError(f"scorer {scorer.name} returned {len(rows)} results for {len(documents)} documents")
    return rows

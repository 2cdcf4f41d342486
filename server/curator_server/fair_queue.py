"""Who is scored next: start-time fair queueing of documents over callers, in bytes of text.

Every caller owns a lane, a queue of pieces of at most a quarter of a micro-batch. A micro-batch takes pieces from the lane
that has been served the fewest bytes, again and again, until it is full. A lane that was empty starts level with the lane served
least, so idling earns nothing, and a small call goes into the next micro-batch taken, however many streams are busy; each
busy stream gets the same share of the worker whatever the length of its documents. Source: Goyal, Vin and Cheng,
"Start-time Fair Queuing" (SIGCOMM 1996).

Cost: one pass over the lanes for every piece. It takes no lock, starts no thread and scores nothing: ``engine`` does. It does
not know that one client may open many lanes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from curator.records import Document, DocumentScorer, Rejection, Score

Result = Score | Rejection
_PIECES_PER_MICRO_BATCH = 4
_served = attrgetter("served")


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Documents of one caller that are scored together, and where their results go."""

    request_id: str
    documents: Sequence[Document]
    text_bytes: int
    future: asyncio.Future[list[Result]]


@dataclass(slots=True, eq=False)
class Lane:
    """One caller's place in the queue; ``served`` is the bytes that it has had, or was credited with when it came back."""

    scorer: DocumentScorer
    request_id: str = ""
    pieces: deque[Piece] = field(default_factory=deque)
    served: int = 0
    closed: bool = False


class FairQueue:
    """Pieces of many lanes, given out one micro-batch at a time."""

    def __init__(self, *, micro_batch_documents: int, micro_batch_bytes: int) -> None:
        self._max_documents = micro_batch_documents
        self._max_bytes = micro_batch_bytes
        self._lanes: list[Lane] = []  # those with pieces
        self._level = 0  # bytes served to the lane that was served least, when last asked
        self.documents = 0
        """Documents that wait."""

    def split(self, documents: Sequence[Document]) -> Iterator[tuple[Sequence[Document], int]]:
        """Runs of documents of at most a quarter of a micro-batch, or of one document, each with its bytes of text."""
        most_documents = max(1, self._max_documents // _PIECES_PER_MICRO_BATCH)
        most_bytes = self._max_bytes // _PIECES_PER_MICRO_BATCH
        start = size = 0
        for index, document in enumerate(documents):
            length = len(document.text.encode())
            if index > start and (index - start == most_documents or size + length > most_bytes):
                yield documents[start:index], size
                start, size = index, 0
            size += length
        if start < len(documents):
            yield documents[start:], size

    def add(self, lane: Lane, pieces: Sequence[Piece]) -> None:
        """Put pieces at the end of a lane."""
        if not pieces:
            return
        if not lane.pieces:
            lane.served = max(lane.served, self._level)
            self._lanes.append(lane)
        lane.pieces.extend(pieces)
        self.documents += sum(len(piece.documents) for piece in pieces)

    def drop(self, lane: Lane) -> list[Piece]:
        """Take all pieces out of a lane and return them."""
        dropped = list(lane.pieces)
        lane.pieces.clear()
        if dropped:
            self._lanes.remove(lane)
        self.documents -= sum(len(piece.documents) for piece in dropped)
        return dropped

    def clear(self) -> list[Piece]:
        """Take all pieces out of all lanes and return them."""
        return [piece for lane in list(self._lanes) for piece in self.drop(lane)]

    def next_scorer(self) -> DocumentScorer:
        """Whose documents ``take`` will give out next. Raises ValueError when nothing waits."""
        return min(self._lanes, key=_served).scorer

    def take(self) -> tuple[DocumentScorer, list[Piece]]:
        """The next micro-batch: pieces of the lane served least, then of any lane with its scorer, until none fits.

        Raises ValueError when nothing waits.
        """
        first = min(self._lanes, key=_served)
        self._level = first.served
        open_lanes = [lane for lane in self._lanes if lane.scorer is first.scorer]
        taken: list[Piece] = []
        documents = size = 0
        while open_lanes:
            lane = min(open_lanes, key=_served)
            piece = lane.pieces[0]
            documents_then, size_then = documents + len(piece.documents), size + piece.text_bytes
            if taken and (documents_then > self._max_documents or size_then > self._max_bytes):
                open_lanes.remove(lane)
                continue
            taken.append(lane.pieces.popleft())
            documents, size = documents_then, size_then
            lane.served += max(1, piece.text_bytes)
            if not lane.pieces:
                open_lanes.remove(lane)
        self._lanes = [lane for lane in self._lanes if lane.pieces]
        self.documents -= documents
        return first.scorer, taken

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lanes)

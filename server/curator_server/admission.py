"""Who may bring work into the server, and in which order: room in documents and bytes, given out first come, first served.

A batch that is let in has a ``Ticket``: its documents count until the worker's queue counts them, its bytes until it is
scored, for so long its text stays in memory. Where there is no room callers stand in one line, and nobody overtakes: room that
becomes free is kept for the head of the line until the head fits. (Waking all who wait and letting the quickest win starved
the large ones: beside eight streams with batches of 64 documents one with 256 got none.) A stream waits with one batch, and
reads no further; calls of one batch each may be any number, so that only an eighth of the room may stand in line for them, and
more are refused at once.

Memory: ``max_bytes`` as sent, and what stands in line: a batch for each stream. As bytes, message and documents at once a batch
takes three to five times its size (measured). It belongs to one event loop, takes no lock and knows neither lanes nor scorers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from curator.errors import OverloadedError

_SHARE_OF_CALLS = 8


class Places:
    """At most ``limit`` of something at a time."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit, self._what = limit, what
        self.taken = 0
        """How many there are now."""

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for the length of the block. Raises OverloadedError when there is none."""
        if self.taken >= self._limit:
            raise OverloadedError(f"The server has {self.taken} {self._what} open, its limit; try again shortly.")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


@dataclass(slots=True, eq=False)
class Ticket:
    """Room that was given to a batch; leaving the block gives it back."""

    admission: Admission | None = None
    documents: int = 0
    size: int = 0

    def entered(self) -> None:
        """The worker's queue counts the documents from now on."""
        if self.admission is not None:
            self.admission.give_back(self.documents, 0)
            self.documents = 0

    def release(self) -> None:
        """Give all of it back; a second time does nothing."""
        if self.admission is not None:
            self.admission.give_back(self.documents, self.size)
            self.admission, self.documents, self.size = None, 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """A place in the line."""

    documents: int
    size: int
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """The room that there is, and the line for it. ``queued`` tells the documents that wait for the worker."""

    def __init__(self, queued: Callable[[], int], *, max_documents: int, max_bytes: int) -> None:
        self._queued = queued
        self._max_documents, self._max_bytes = max_documents, max_bytes
        self._documents = self._bytes = 0  # of the tickets that are out
        self._line: deque[_Place] = deque()
        self._call_documents = self._call_bytes = 0  # of the calls in line

    @property
    def held_bytes(self) -> int:
        """Bytes of all batches that are let in or stand in line."""
        return self._bytes + sum(place.size for place in self._line)

    def is_open(self, documents: int, size: int) -> bool:
        """Whether such a batch would be let in at once: there is room, and nobody stands in line."""
        return not self._line and self._fits(documents, size)

    def check(self) -> None:
        """Raise OverloadedError when the room is used up, whoever stands in line: a new stream would only wait."""
        if not self._fits(1, 0) or self.held_bytes >= self._max_bytes:
            raise OverloadedError(f"The server has {self._queued()} documents waiting; try again shortly.")

    async def admit(self, documents: int, size: int) -> Ticket:
        """Room for a batch of a stream, when its turn has come."""
        if not self.is_open(documents, size):
            await self._stand_in_line(_Place(documents, size))
        else:
            self._take(documents, size)
        return Ticket(self, documents, size)

    async def admit_call(self, documents: int, size: int) -> Ticket:
        """Room for a call. Raises OverloadedError when the line holds as many of them as it may."""
        if self.is_open(documents, size):
            self._take(documents, size)
            return Ticket(self, documents, size)
        then_documents, then_bytes = self._call_documents + documents, self._call_bytes + size
        if then_documents > self._max_documents // _SHARE_OF_CALLS or then_bytes > self._max_bytes // _SHARE_OF_CALLS:
            raise OverloadedError(f"The server has {self._queued()} documents waiting; try again shortly.")
        self._call_documents, self._call_bytes = then_documents, then_bytes
        try:
            await self._stand_in_line(_Place(documents, size))
        finally:
            self._call_documents -= documents
            self._call_bytes -= size
        return Ticket(self, documents, size)

    def give_back(self, documents: int, size: int) -> None:
        """Room of a ticket is free again."""
        self._documents -= documents
        self._bytes -= size
        self.offer()

    def offer(self) -> None:
        """Let in who stands at the head of the line, as far as there is room."""
        while self._line:
            place = self._line[0]
            if place.turn.cancelled():  # its caller is about to leave the line
                self._line.popleft()
                continue
            if not self._fits(place.documents, place.size):
                return
            self._line.popleft()
            self._take(place.documents, place.size)
            place.turn.set_result(None)

    async def _stand_in_line(self, place: _Place) -> None:
        self._line.append(place)
        try:
            await place.turn
        except asyncio.CancelledError:
            if place.turn.cancelled():
                self.offer()
            else:  # its turn had come already
                self.give_back(place.documents, place.size)
            raise

    def _take(self, documents: int, size: int) -> None:
        self._documents += documents
        self._bytes += size

    def _fits(self, documents: int, size: int) -> bool:
        """Nothing is too large for a server that is idle, or it could never be scored."""
        waiting = self._queued() + self._documents
        return (not waiting or waiting + documents <= self._max_documents) and (
            not self._bytes or self._bytes + size <= self._max_bytes
        )

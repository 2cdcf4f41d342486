"""The client's logic without any I/O: the window, credit, replay. Sync and async clients only move bytes.

A window holds what is unanswered; it never grows above the server's credit, and after a break it is sent again under the same
seq. Everything a flow sends is an answer to something it received, or a group that its input has ready, so a driver that reads
all the time and writes what it is told to cannot deadlock.

A batch that is too large for the server, or for a proxy before it, is sent again as smaller ones under new numbers; where the
numbers order the output (filtering), so is everything after it that is not settled.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import Any

from curator.api.v1 import common_pb2
from curator.errors import CuratorError
from curator_client.batches import Batch, BatchOptions, Caps, pack
from curator_client.intake import Intake


def pages(ask: Callable[[Any], Any], request: Any, field: str) -> Iterator[Any]:
    """What ``field`` of every page lists; ``ask`` sends the request, whose page token is moved on."""
    while True:
        page = ask(request)
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def async_pages(ask: Callable[[Any], Awaitable[Any]], request: Any, field: str) -> AsyncGenerator[Any]:
    """What ``pages`` gives, of a function to be awaited."""
    while True:
        page = await ask(request)
        for one in getattr(page, field):
            yield one
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


class Window:
    """The batches that are sent but not settled, at most ``limit`` of them in flight.

    ``answered`` frees a place; ``settled_through`` forgets batches, after which they are never sent again. For scoring both
    happen at once; for filtering a batch is settled by the commit of the shard that holds it.
    """

    def __init__(self, limit: int = 0) -> None:
        self.limit = limit
        self.answered_documents = 0
        """Documents of the batches that are answered and not yet settled."""
        self._held: dict[int, Batch] = {}
        self._in_flight: set[int] = set()
        self._answered: set[int] = set()
        self._replay: deque[Batch] = deque()

    @property
    def has_room(self) -> bool:
        """Whether one more batch may be sent now."""
        return len(self._in_flight) < self.limit

    @property
    def in_flight(self) -> int:
        """Batches that wait for an answer."""
        return len(self._in_flight)

    @property
    def held(self) -> int:
        """Batches that would be sent again after a break."""
        return len(self._held)

    @property
    def replaying(self) -> bool:
        """Whether batches wait to be sent again."""
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
        if seq in self._held:
            self._answered.add(seq)
            self.answered_documents += len(self._held[seq].places)

    def settle(self, seq: int) -> Batch:
        """Forget one batch, which must be held, and return it."""
        batch = self._held.pop(seq)
        if seq in self._answered:
            self._answered.remove(seq)
            self.answered_documents -= len(batch.places)
        return batch

    def settled_through(self, seq: int) -> None:
        """Forget every batch up to ``seq``."""
        for held in [held for held in self._held if held <= seq]:
            self.settle(held)

    def broken(self) -> None:
        """The stream is gone: everything held must be sent again, in order."""
        self._in_flight.clear()
        self._answered.clear()
        self.answered_documents = 0
        self._replay = deque(self._held[seq] for seq in sorted(self._held))
        self.limit = 0

    @property
    def waiting(self) -> tuple[Batch, ...]:
        """The batches that wait to be sent again, in order."""
        return tuple(self._replay)

    def hold(self, batches: list[Batch]) -> None:
        """Have these sent, as if they were left of a broken stream."""
        self._held.update((batch.seq, batch) for batch in batches)
        self._replay.extend(batches)

    def replace(self, batches: list[Batch]) -> None:
        """Hold these in place of what waits to be sent again; nothing may be in flight."""
        self._held = {batch.seq: batch for batch in batches}
        self.broken()


class Feed:
    """Numbers, packs and sends the groups of an input through a window; shared by scoring and filtering."""

    def __init__(self, intake: Intake, options: BatchOptions, *, ordered: bool) -> None:
        """``ordered``: the output is in the order of the numbers, which is then also that of the input."""
        self.window = Window()
        self.intake = intake
        self.draining = False
        self._options, self._ordered = options, ordered
        self._caps: Caps | None = None
        self._open = False
        self._seq = 0

    def open(self, limits: common_pb2.Limits) -> dict[int, list[int]]:
        """Take the limits of a stream that has just opened; of those of several the narrowest count.

        Returns the new numbers of batches that had to be cut, by their old one.
        """
        self.draining, self._open = False, True
        caps, moved = Caps.of(self._options, limits), {}
        if self._caps is None:
            self._caps = caps
            self.intake.open(caps)
        else:
            self._caps = caps.within(self._caps)
            moved = self._fit(self._caps)
        self.window.limit = max(1, limits.max_inflight_batches)
        return moved

    def ready(self) -> Iterator[Batch]:
        """Batches that may be sent now: first what must be replayed, then new ones."""
        while self._open and self.window.has_room and not self.draining:
            batch = self.window.take_replay() or self._next_new()
            if batch is None:
                return
            self.window.sent(batch)
            yield batch

    def broken(self) -> None:
        """The stream is gone."""
        self._open = False
        self.window.broken()

    def shrink(self) -> dict[int, list[int]] | None:
        """After ``broken`` for a size: halve what a batch may be. None when no batch is left that could be cut."""
        if self._caps is None or not any(batch.wire.document_count > 1 for batch in self.window.waiting):
            return None
        moved: dict[int, list[int]] = {}
        while not moved:
            self._caps = self._caps.halved()
            moved = self._fit(self._caps)
        return moved

    def halve(self, batch: Batch) -> list[int] | None:
        """Send a settled batch again in two; their numbers, or None when it cannot be cut."""
        if batch.wire.document_count <= 1:
            return None
        halves = batch.halves(self._numbers())
        self.window.hold(halves)
        return [half.seq for half in halves]

    @property
    def finished_input(self) -> bool:
        """Whether everything has been read and sent at least once."""
        return self._caps is not None and self.intake.finished

    @property
    def half_close(self) -> bool:
        """Whether nothing more will be sent on this stream."""
        return self.draining or (self.finished_input and not self.window.replaying)

    @property
    def due_s(self) -> float | None:
        """Seconds until something may be sent that is not full yet; None while nothing will be."""
        may_send = self._open and self.window.has_room and not self.draining
        return self.intake.due_s if may_send else None

    @property
    def owed(self) -> bool:
        """Whether it is the server's turn: silence then means that something is wrong."""
        return not self._open or self.half_close or self.window.in_flight > 0 or not self.window.has_room

    def _next_new(self) -> Batch | None:
        items = self.intake.take()
        if items is None or self._caps is None:
            return None
        batch = pack(self._seq + 1, items, compress=self._options.compress)
        if not batch.fits(self._caps):
            self.window.hold(batch.pieces(self._caps, self._numbers()))
            return self.window.take_replay()
        self._seq += 1
        return batch

    def _numbers(self) -> Iterator[int]:
        while True:
            self._seq += 1
            yield self._seq

    def _fit(self, caps: Caps) -> dict[int, list[int]]:
        waiting = self.window.waiting
        if all(batch.fits(caps) for batch in waiting):
            return {}
        if self._ordered:
            self._seq = waiting[0].seq - 1
        moved: dict[int, list[int]] = {}
        parts: list[Batch] = []
        for batch in waiting:
            fresh = [batch] if not self._ordered and batch.fits(caps) else batch.pieces(caps, self._numbers())
            moved[batch.seq] = [part.seq for part in fresh]
            parts.extend(fresh)
        self.window.replace(parts)
        return moved

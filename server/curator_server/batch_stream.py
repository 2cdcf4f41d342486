"""The pipeline inside a stream: read batches ahead, score several at once, hand the answers back in the wanted order.

At most ``in_flight`` batches are between being read and being answered, and at most one of them stands in the line for room
(``admission``); beyond that nothing is read, and HTTP/2 makes the client wait. Large batches are opened in a thread: in the
loop a legal one of 4 MiB kept everybody else waiting for half a second, health too (measured). A batch that cannot be opened
becomes an answer with an error; it never ends the stream. What does end it: a batch out of order, a second configuration, the
client going away. Leaving the pipeline cancels everything it started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.duration_pb2 import Duration

from curator.api.payload import Entry, PayloadCaps, check_caps, document_count, open_batch, opened_bytes
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import ConfigError, CuratorError, LimitError
from curator.records import Rejection
from curator_server.admission import Ticket
from curator_server.engine import Engine
from curator_server.fair_queue import Lane, Result

Notice = scoring_pb2.Credit | scoring_pb2.Drain
_SHORTAGE = Duration(nanos=250_000_000)
_OPENED_INLINE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """One batch, scored; or refused as a whole, with ``error`` set and the lists empty.

    ``size`` is that of its payload when open, in bytes; ``entries`` are empty where only the scores are asked for.
    """

    seq: int
    size: int = 0
    entries: list[Entry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    error: CuratorError | None = None
    declared: int = 0
    total_ns: int = 0


async def open_entries(
    batch: common_pb2.DocumentBatch, caps: PayloadCaps, size: int, *, with_metadata: bool
) -> list[Entry]:
    """The documents of a batch, opened in a thread where its ``size`` would hold the loop. Raises what ``open_batch`` raises."""
    opening = partial(open_batch, batch, caps, with_metadata=with_metadata)
    return await asyncio.to_thread(opening) if size > _OPENED_INLINE_BYTES else opening()


async def score_entries(engine: Engine, lane: Lane, entries: list[Entry], ticket: Ticket) -> list[Result]:
    """One result for each entry; that of a rejection is itself."""
    rows = iter(await engine.score(lane, [entry for entry in entries if not isinstance(entry, Rejection)], ticket))
    return [entry if isinstance(entry, Rejection) else next(rows) for entry in entries]


class BatchStream:
    """One stream's pipeline; ``notify`` slips credit and drain messages between the answers.

    With ``entries`` the answers hold the documents too, metadata included, as filtering needs them.
    """

    def __init__(
        self, engine: Engine, lane: Lane, caps: PayloadCaps, *, in_flight: int, ordered: bool, entries: bool = False
    ) -> None:
        self._engine, self._lane, self._caps = engine, lane, caps
        self._in_flight, self._ordered, self._entries = in_flight, ordered, entries
        self.draining = False
        """Whether the client has been told to leave."""
        self._slots = asyncio.Semaphore(in_flight)
        self._outgoing: asyncio.Queue[asyncio.Task[Answer] | Notice | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._early: dict[int, asyncio.Task[Answer]] = {}
        self._started = self._next = 0

    def notify(self, notice: Notice) -> None:
        """Send a control message ahead of every answer that is not finished yet."""
        self.draining = self.draining or isinstance(notice, scoring_pb2.Drain)
        self._outgoing.put_nowait(notice)

    async def answers(
        self, batches: AsyncIterator[common_pb2.DocumentBatch], after_seq: int
    ) -> AsyncGenerator[Answer | Notice]:
        """Answers and notices until the client has half-closed and everything is answered."""
        reader = asyncio.create_task(self._read(batches, after_seq))
        try:
            while (item := await self._outgoing.get()) is not None:
                if not isinstance(item, asyncio.Task):
                    yield item
                    continue
                yield await item
                self._slots.release()
            await reader
        finally:
            for task in (reader, *self._tasks):
                task.cancel()
            await asyncio.gather(reader, *self._tasks, return_exceptions=True)

    async def _read(self, batches: AsyncIterator[common_pb2.DocumentBatch], last_seq: int) -> None:
        try:
            async for batch in batches:
                if batch.seq <= last_seq:
                    raise ConfigError(f"Batch {batch.seq} came after {last_seq}; seq must grow with every batch.")
                last_seq = batch.seq
                await self._slots.acquire()
                size = opened_bytes(batch, self._caps)
                self._start(batch, size, await self._room_for(batch, size))
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._outgoing.put_nowait(None)

    def _start(self, batch: common_pb2.DocumentBatch, size: int, ticket: Ticket) -> None:
        task = asyncio.create_task(self._answer(batch, size, ticket))
        self._tasks.add(task)
        task.add_done_callback(lambda _: ticket.release())
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(partial(self._finished, self._started))
        self._started += 1

    def _finished(self, index: int, task: asyncio.Task[Answer]) -> None:
        """Queue a finished answer, or keep it until those before it are. Notices never wait behind an unfinished one."""
        if not self._ordered:
            self._outgoing.put_nowait(task)
            return
        self._early[index] = task
        while self._next in self._early:
            self._outgoing.put_nowait(self._early.pop(self._next))
            self._next += 1

    async def _answer(self, batch: common_pb2.DocumentBatch, size: int, ticket: Ticket) -> Answer:
        started, seq, declared = time.perf_counter_ns(), batch.seq, document_count(batch)
        try:
            entries = await open_entries(batch, self._caps, size, with_metadata=self._entries)
            del batch  # its documents are enough from here on
            results = await score_entries(self._engine, self._lane, entries, ticket)
        except CuratorError as error:
            return Answer(seq, size, error=error, declared=declared)
        kept = entries if self._entries else []
        return Answer(seq, size, kept, results, declared=len(entries), total_ns=time.perf_counter_ns() - started)

    async def _room_for(self, batch: common_pb2.DocumentBatch, size: int) -> Ticket:
        """Room in the queue, after the credit has shrunk where there is none."""
        documents = document_count(batch)
        if _is_refused(batch, size, self._caps):
            return Ticket()  # at once: in line it would only hold memory
        if self._engine.admission.is_open(documents, size):
            return await self._engine.admission.admit(documents, size)
        self.notify(scoring_pb2.Credit(max_inflight_batches=1, retry_delay=_SHORTAGE))
        ticket = await self._engine.admission.admit(documents, size)
        self.notify(scoring_pb2.Credit(max_inflight_batches=self._in_flight))
        return ticket


def _is_refused(batch: common_pb2.DocumentBatch, size: int, caps: PayloadCaps) -> bool:
    try:
        check_caps(batch, caps)
    except LimitError:
        return True
    return size > caps.max_batch_bytes


class DrainHub:
    """Knows the open streams, to tell them that the server is going away."""

    def __init__(self) -> None:
        self._streams: set[BatchStream] = set()
        self._drain: scoring_pb2.Drain | None = None

    @property
    def open_streams(self) -> int:
        """Streams that are open now."""
        return len(self._streams)

    def announce(self, grace_s: float) -> None:
        """Send Drain on every open stream, and on those that still open from now on."""
        grace = Duration()
        grace.FromNanoseconds(int(grace_s * 1e9))
        self._drain = scoring_pb2.Drain(grace=grace)
        for stream in self._streams:
            stream.notify(self._drain)

    async def run(
        self,
        stream: BatchStream,
        batches: AsyncIterator[common_pb2.DocumentBatch],
        handle: Callable[[Answer | Notice], Awaitable[None]],
        *,
        after_seq: int = 0,
    ) -> None:
        """Run one stream to its end, reachable for ``announce`` meanwhile."""
        self._streams.add(stream)
        if self._drain is not None:
            stream.notify(self._drain)
        try:
            async with aclosing(stream.answers(batches, after_seq)) as answers:
                async for answer in answers:
                    await handle(answer)
        finally:
            self._streams.discard(stream)

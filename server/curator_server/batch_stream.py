"""The pipeline inside a stream: read batches ahead, score several at once, hand the answers back in the wanted order.

At most ``in_flight`` batches are between being read and being answered; beyond that nothing is read, and HTTP/2 makes the
client wait. A batch that cannot be opened becomes an answer with an error; it never ends the stream. What does end it: a
batch out of order, a second configuration, the client going away. Leaving the pipeline cancels everything it started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from google.protobuf.duration_pb2 import Duration

from curator.api.payload import Entry, PayloadCaps, open_batch
from curator.api.v1 import common_pb2, scoring_pb2
from curator.errors import ConfigError, CuratorError
from curator.records import Rejection
from curator_server.engine import Engine
from curator_server.fair_queue import Lane, Result

Notice = scoring_pb2.Credit | scoring_pb2.Drain
_SHORTAGE = Duration(nanos=250_000_000)


@dataclass(frozen=True, slots=True)
class Answer:
    """One batch, scored; or refused as a whole, with ``error`` set and the lists empty."""

    seq: int
    entries: list[Entry] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    error: CuratorError | None = None
    declared: int = 0
    total_ns: int = 0


async def score_batch(engine: Engine, lane: Lane, batch: common_pb2.DocumentBatch, caps: PayloadCaps) -> Answer:
    """Open and score one batch. Raises what ``open_batch`` raises."""
    started = time.perf_counter_ns()
    if batch.WhichOneof("payload") in {"zstd_documents", "zstd_jsonl"}:
        entries = await asyncio.to_thread(open_batch, batch, caps)  # 4 MiB of JSON would hold the loop for tens of ms
    else:
        entries = open_batch(batch, caps)
    rows = iter(await engine.score(lane, [entry for entry in entries if not isinstance(entry, Rejection)]))
    results = [entry if isinstance(entry, Rejection) else next(rows) for entry in entries]
    return Answer(batch.seq, entries, results, declared=len(entries), total_ns=time.perf_counter_ns() - started)


class BatchStream:
    """One stream's pipeline; ``notify`` slips credit and drain messages between the answers."""

    def __init__(self, engine: Engine, lane: Lane, caps: PayloadCaps, *, in_flight: int, ordered: bool) -> None:
        self._engine, self._lane, self._caps = engine, lane, caps
        self._in_flight, self._ordered = in_flight, ordered
        self._slots = asyncio.Semaphore(in_flight)
        self._outgoing: asyncio.Queue[asyncio.Task[Answer] | Notice | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Answer]] = set()
        self._early: dict[int, asyncio.Task[Answer]] = {}
        self._started = self._next = 0

    def notify(self, notice: Notice) -> None:
        """Send a control message ahead of every answer that is not finished yet."""
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
                self._start(batch)
            if self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self._outgoing.put_nowait(None)

    def _start(self, batch: common_pb2.DocumentBatch) -> None:
        task = asyncio.create_task(self._answer(batch))
        self._tasks.add(task)
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

    async def _answer(self, batch: common_pb2.DocumentBatch) -> Answer:
        try:
            await self._wait_for_room(max(batch.document_count, len(batch.documents.documents)))
            return await score_batch(self._engine, self._lane, batch, self._caps)
        except CuratorError as error:
            return Answer(batch.seq, error=error, declared=max(batch.document_count, len(batch.documents.documents)))

    async def _wait_for_room(self, documents: int) -> None:
        if documents > self._caps.max_documents or self._engine.has_room(documents):
            return  # what is over the cap is refused at once: waiting, it would only hold memory
        self.notify(scoring_pb2.Credit(max_inflight_batches=1, retry_delay=_SHORTAGE))
        await self._engine.wait_for_room(documents)
        self.notify(scoring_pb2.Credit(max_inflight_batches=self._in_flight))


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

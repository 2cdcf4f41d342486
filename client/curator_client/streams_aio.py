"""Driving a flow, and single calls, over grpc.aio: ``curator_client.streams`` and ``curator_client.link`` for an event loop.

A task reads the answers; the input is read by a task where it is asynchronous, in memory where it is a list or a tuple, else
by a thread, so that a source that waits does not stop the loop. All leave word in one queue.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import grpc
import grpc.aio
from google.rpc import status_pb2

from curator.api.status import status_from_call
from curator.errors import CuratorError
from curator_client.batches import Caps, Item, Result
from curator_client.calls import noted
from curator_client.connection import ConnectionOptions
from curator_client.flows import Flow
from curator_client.intake import LEAVE_S, Pulled, PushedIntake, ThreadIntake, intake_of
from curator_client.link import DRAINED, UNAVAILABLE, BrokenStreamError, deadline_delay, silent
from curator_client.retry import Attempts, Deadline
from curator_client.streams import ENDED, WOKEN, Silence, after_break

_WRITE_FAILED = "Internal error from Core"
"""What grpc.aio says when it writes on a stream that is ending, in place of the status that it ends with."""


class AsyncLink:
    """A channel and how to use it, for one event loop."""

    def __init__(self, channel: grpc.aio.Channel, options: ConnectionOptions) -> None:
        self.channel, self.options = channel, options
        self._health: Any = channel.unary_unary("/grpc.health.v1.Health/Check")

    async def unary(self, method: Callable[..., Any], request: Any, deadline: Deadline | None = None) -> Any:
        """Like ``Link.unary``."""
        deadline = deadline or Deadline(self.options.timeout_s)
        attempts = Attempts(self.options.retry)
        while True:
            metadata = self.options.call_metadata()
            try:
                return await method(request, timeout=deadline.left, metadata=metadata)
            except grpc.aio.AioRpcError as error:
                status = status_from_call(error)
                try:
                    delay = deadline_delay(attempts, status, deadline)
                except CuratorError as final:
                    raise noted(final, metadata) from error
            await self.pause(delay, status)

    async def pause(self, seconds: float, after: status_pb2.Status) -> None:
        """Like ``Link.pause``: a connection that is idle is not tried again by itself."""
        end = time.monotonic() + seconds
        if after.code == UNAVAILABLE:
            with suppress(grpc.aio.AioRpcError):
                await self._health(b"", timeout=seconds, wait_for_ready=True)
        await asyncio.sleep(max(0.0, end - time.monotonic()))

    async def next(self, responses: AsyncIterator[Any]) -> Any | None:
        """The next response of a call, None at its end. Raises BrokenStreamError, also of a server that is silent."""
        try:
            async with asyncio.timeout(self.options.idle_timeout_s):
                return await anext(responses, None)
        except grpc.aio.AioRpcError as error:
            raise BrokenStreamError(status_from_call(error)) from error
        except TimeoutError as error:
            raise silent(self.options.idle_timeout_s) from error


class TaskIntake(PushedIntake):
    """Reads an asynchronous iterable in a task of its own."""

    def __init__(self, items: AsyncIterable[Item], *, with_metadata: bool, linger_s: float | None) -> None:
        super().__init__(with_metadata=with_metadata, linger_s=linger_s)
        self._items = items
        self._room = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, caps: Caps) -> None:
        """Begin to read, under these caps."""
        super().open(caps)
        self._task = asyncio.create_task(self._read())

    def take(self) -> Any:
        """The next group, as ``PushedIntake.take``."""
        found = super().take()
        if self.has_room:
            self._room.set()
        return found

    async def leave(self) -> None:
        """End the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> None:
        try:
            async for item in self._items:
                self.put(item)
                while not self.has_room:
                    self._room.clear()
                    await self._room.wait()
            self.end()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the caller gets it, whatever it is
            self.end(error)


@asynccontextmanager
async def async_intake_of(
    items: Iterable[Item] | AsyncIterable[Item], *, with_metadata: bool, linger_s: float | None
) -> AsyncIterator[Pulled | ThreadIntake | TaskIntake]:
    """The intake of an iterable of either kind; at the end its reader is gone, or about to be (``curator_client.intake``)."""
    if isinstance(items, AsyncIterable):
        reading = TaskIntake(items, with_metadata=with_metadata, linger_s=linger_s)
        try:
            yield reading
        finally:
            await reading.leave()
        return
    intake = intake_of(items, with_metadata=with_metadata, linger_s=linger_s)
    try:
        yield intake
    finally:
        if isinstance(intake, ThreadIntake):
            await _left(intake)


async def _left(intake: ThreadIntake) -> None:
    intake.stop()
    deadline = Deadline(LEAVE_S)
    while intake.running and not deadline.passed:  # noqa: ASYNC110 - a thread sets no asyncio.Event
        await asyncio.sleep(0.005)


async def drive(link: AsyncLink, method: Callable[..., Any], flow: Flow[Any, Any]) -> AsyncGenerator[Result]:
    """Run a flow over as many streams as it takes."""
    attempts = Attempts(link.options.retry)
    while not flow.complete:
        before, status = flow.progress, DRAINED
        metadata = link.options.call_metadata()
        try:
            async with aclosing(_one_stream(link, method, metadata, flow)) as results:
                async for result in results:
                    yield result
        except BrokenStreamError as broken:
            status = broken.status
        if flow.complete:
            return
        await link.pause(after_break(attempts, flow, status, before, metadata), status)


async def _one_stream(
    link: AsyncLink, method: Callable[..., Any], metadata: Any, flow: Flow[Any, Any]
) -> AsyncGenerator[Result]:
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    call = method(_drain(outbox), metadata=metadata)  # gRPC's own task writes while we read
    outbox.put_nowait(flow.opening())
    reader = asyncio.create_task(_read(call, inbox))
    flow.intake.wake = _waker(inbox)
    try:
        async with aclosing(_answers(inbox, outbox, flow, Silence(flow, link.options.idle_timeout_s))) as results:
            async for result in results:
                yield result
    finally:
        outbox.put_nowait(None)
        call.cancel()
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


async def _answers(
    inbox: asyncio.Queue[Any], outbox: asyncio.Queue[Any], flow: Flow[Any, Any], silence: Silence
) -> AsyncGenerator[Result]:
    closed = False
    while True:
        try:
            async with asyncio.timeout(silence.wait_s()):
                event = await inbox.get()
        except TimeoutError:
            event = WOKEN
        if event is ENDED:
            return
        if isinstance(event, grpc.RpcError):
            raise BrokenStreamError(_status_of(event)) from event
        if event is not WOKEN:
            for result in flow.receive(event):
                yield result
            silence.heard()
        for request in flow.requests():
            outbox.put_nowait(request)
        if flow.half_close and not closed:
            closed = True
            outbox.put_nowait(None)


def _status_of(error: grpc.RpcError) -> status_pb2.Status:
    status = status_from_call(error)
    return DRAINED if status.message == _WRITE_FAILED else status


def _waker(inbox: asyncio.Queue[Any]) -> Callable[[], None]:
    loop, here = asyncio.get_running_loop(), threading.get_ident()

    def wake() -> None:
        if threading.get_ident() == here:
            inbox.put_nowait(WOKEN)
        else:
            with suppress(RuntimeError):  # the loop may be gone when a source that waited goes on
                loop.call_soon_threadsafe(inbox.put_nowait, WOKEN)

    return wake


async def _read(call: Any, inbox: asyncio.Queue[Any]) -> None:
    try:
        async for response in call:
            inbox.put_nowait(response)
        inbox.put_nowait(ENDED)
    except grpc.RpcError as error:
        inbox.put_nowait(error)


async def _drain(outbox: asyncio.Queue[Any]) -> AsyncIterator[Any]:
    while (request := await outbox.get()) is not None:
        yield request

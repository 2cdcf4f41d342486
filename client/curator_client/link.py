"""One channel of the synchronous client: unary calls with one deadline over all attempts, and waiting that lets gRPC connect."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import grpc
from google.rpc import status_pb2

from curator.api.status import error_from_status, status_from_call
from curator.errors import CuratorError
from curator_client.calls import noted
from curator_client.connection import ConnectionOptions
from curator_client.retry import Attempts, Deadline

_Answer = TypeVar("_Answer")
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
DRAINED = status_pb2.Status(code=UNAVAILABLE, message="The server closed the stream.")


class BrokenStreamError(Exception):
    """A stream ended with a status; never leaves this package."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


def silent(seconds: float) -> BrokenStreamError:
    """What a server that says nothing is taken for."""
    message = f"The server sent nothing for {seconds} s."
    return BrokenStreamError(status_pb2.Status(code=UNAVAILABLE, message=message))


class Link:
    """A channel and how to use it; thread-safe."""

    def __init__(self, channel: grpc.Channel, options: ConnectionOptions) -> None:
        self.channel, self.options = channel, options
        self._health = channel.unary_unary("/grpc.health.v1.Health/Check")  # asked for nothing: the process itself

    def unary(self, method: Callable[..., _Answer], request: Any, deadline: Deadline | None = None) -> _Answer:
        """One call, tried again where it may be. Raises what the server's status stands for, with the request id as a note."""
        deadline = deadline or Deadline(self.options.timeout_s)
        attempts = Attempts(self.options.retry)
        while True:
            metadata = self.options.call_metadata()
            try:
                return method(request, timeout=deadline.left, metadata=metadata)
            except grpc.RpcError as error:
                status = status_from_call(error)
                try:
                    delay = deadline_delay(attempts, status, deadline)
                except CuratorError as final:
                    raise noted(final, metadata) from error
            self.pause(delay, status)

    def pause(self, seconds: float, after: status_pb2.Status) -> None:
        """Sleep while gRPC connects again: its synchronous stack moves only in calls, so one waits for the connection meanwhile.

        Without it a server that was away for 2 seconds was found 8 seconds after it was back (measured).
        """
        end = time.monotonic() + seconds
        if after.code == UNAVAILABLE:
            with suppress(grpc.RpcError):
                self._health(b"", timeout=seconds, wait_for_ready=True)
        time.sleep(max(0.0, end - time.monotonic()))


def deadline_delay(attempts: Attempts, status: status_pb2.Status, deadline: Deadline) -> float:
    """Seconds to wait before a unary call is tried again. Raises the status as an error when that is not to be."""
    delay = attempts.wait_s(status, progressed=False)
    if deadline.left is not None and delay >= deadline.left:
        raise error_from_status(status)
    return delay

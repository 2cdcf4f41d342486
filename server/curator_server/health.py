"""Health by the standard protocol (``grpc.health.v1``), with watches that end when the server does.

gRPC's own servicer keeps a ``Watch`` open for ever, and stopping a server waits for open calls: one load balancer that watches
would make every stop last its whole grace. Here watchers read NOT_SERVING when the drain begins and the end of their stream,
with status OK, when the server stops.
"""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from curator_server.admission import Places


class Health(HealthServicer):
    """Health of the process (the empty name) and of each service."""

    def __init__(self, max_watches: int) -> None:
        super().__init__()
        self._places = Places(max_watches, "health watches")
        self._watches: set[asyncio.Future[None]] = set()
        self._ended = False

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext) -> None:
        """Send the health now and whenever it changes, until the caller or the server leaves.

        Raises OverloadedError when there are as many watches as there may be: health is open to everybody.
        """
        with self._places.one():
            await self._watch(request, context)

    async def _watch(self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext) -> None:
        watch = asyncio.ensure_future(super().Watch(request, context))
        self._watches.add(watch)
        try:
            await watch
        except asyncio.CancelledError:
            if not self._ended:  # it was the caller who left
                raise
        finally:
            self._watches.discard(watch)

    def end_watches(self) -> None:
        """End every watch."""
        self._ended = True
        for watch in self._watches:
            watch.cancel()

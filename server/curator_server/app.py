"""The composition root: settings and scorers in, a running server out.

Three ways to run it: ``build_server`` for an event loop of one's own, ``serve`` for a process (it handles SIGTERM and
SIGINT), ``running_server`` for a block of synchronous code with the server in a background thread.

Starting has an order too: the port answers first, with health SERVING for the process and NOT_SERVING for each service, then what
earlier servers kept is offered, which may take minutes, and then each service is SERVING. One whose jobs have not made a
neuron set yet is SERVING all the same: it does what it is asked to, and jobs are how it gets its sets.

Stopping has an order, because load balancers lag: health turns NOT_SERVING, after ``drain_delay_s`` open streams are told to
leave, then new calls are refused and running ones get ``grace_s``, then the workers of jobs end (their jobs wait for the next
server), and only then the engine. A second signal ends the process at once, whatever it is doing; jobs go on even after that.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from curator.api.v1 import catalog_pb2_grpc, jobs_pb2_grpc, scoring_pb2_grpc
from curator.errors import ConfigError, CuratorError
from curator.orders import OfferedSet
from curator.records import DocumentScorer
from curator_server.access import AccessInterceptor, StartingInterceptor
from curator_server.batch_stream import DrainHub
from curator_server.calls import call_fields_in_logs
from curator_server.catalog_servicer import CatalogServicer
from curator_server.engine import Engine
from curator_server.health import Health
from curator_server.interceptors import CallInterceptor
from curator_server.jobs.launch import Launcher, launch_process
from curator_server.jobs.room import CatalogNeeds, JobRoom
from curator_server.library import Shelf
from curator_server.metrics import ServerMetrics
from curator_server.registry import Registry
from curator_server.scoring_servicer import RESCUES, ScoringServicer
from curator_server.settings import ServerSettings
from curator_server.tls import server_credentials
from curator_server.tokens import TokenFile
from curator_server.tracing import call_spans

logger = logging.getLogger(__name__)

SCORING_SERVICE = "curator.api.v1.ScoringService"
SERVICES = (SCORING_SERVICE, "curator.api.v1.CatalogService")
"""What is always offered; health answers for each by name, and for the process under the empty name."""
JOB_SERVICE = "curator.api.v1.JobService"
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_START_TIMEOUT_S = 30.0
Scorers = Sequence[DocumentScorer | OfferedSet]


class CuratorServer:
    """A bound, not yet started server with its engine; ``start`` and ``stop`` belong to one event loop."""

    def __init__(
        self,
        settings: ServerSettings,
        scorers: Scorers,
        *,
        device: str = "",
        shelf: Shelf | None = None,
        launch: Launcher = launch_process,
    ) -> None:
        settings.check_exposure()
        self.settings = settings
        self.metrics = ServerMetrics()
        self.engine = Engine(
            max_queued_documents=settings.max_queued_documents,
            max_queued_bytes=settings.max_queued_bytes,
            micro_batch_documents=settings.micro_batch_documents,
            micro_batch_bytes=settings.micro_batch_bytes,
            observe=self.metrics.micro_batch,
        )
        self.streams = DrainHub()
        self.health = Health(settings.max_health_watches)
        self._starting = StartingInterceptor()
        self._while_serving = ExitStack()
        self.metrics_port: int | None = None
        self.server = grpc.aio.server(interceptors=self._interceptors(), options=_options(settings))
        registry = Registry(scorers, may_be_empty=settings.jobs is not None)
        self.jobs = self._job_room(registry, shelf, launch)
        self.services = SERVICES if self.jobs is None else (*SERVICES, JOB_SERVICE)
        self._add_services(registry, device)
        self._add_gauges()
        self.port = _bind(self.server, settings)

    @property
    def address(self) -> str:
        """``host:port`` with the port really bound."""
        return f"{self.settings.host}:{self.port}"

    async def start(self) -> None:
        """Serve; health says that the process lives at once, and SERVING for its services when this returns.

        Raises ConfigError when another server is at work in the folder of the jobs.
        """
        if self.settings.metrics_port is not None:
            serving = self.metrics.served(self.settings.metrics_host, self.settings.metrics_port)
            self.metrics_port = self._while_serving.enter_context(serving)
        self.engine.start()
        await self._say_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self.health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self.server.start()
        if self.jobs is not None:
            await self._start_jobs(self.jobs)
        self._starting.started = True
        await self._say_health(health_pb2.HealthCheckResponse.SERVING)
        logger.info("serving", extra={"address": self.address})

    async def _start_jobs(self, jobs: JobRoom) -> None:
        self._while_serving.callback(jobs.close)
        try:
            await jobs.start()
        except BaseException:
            await self.server.stop(None)
            await self.engine.close()
            self._while_serving.close()
            raise

    async def _say_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for service in self.services:
            await self.health.set(service, status)

    async def drain(self) -> None:
        """Tell load balancers, then open streams, that the server is going away."""
        await self.health.enter_graceful_shutdown()
        await asyncio.sleep(self.settings.drain_delay_s)
        self.streams.announce(self.settings.grace_s)
        if self.jobs is not None:
            self.jobs.drain()

    async def stop(self, grace_s: float | None = None) -> None:
        """Refuse new calls, give running ones their grace, end the workers of jobs, then the engine."""
        self.health.end_watches()
        if self.jobs is not None:
            self.jobs.drain()
        await self.server.stop(self.settings.grace_s if grace_s is None else grace_s)
        if self.jobs is not None:
            await self.jobs.stop()
        await self.engine.close()
        await asyncio.to_thread(self._while_serving.close)

    def _interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        found: list[grpc.aio.ServerInterceptor] = [CallInterceptor(self.metrics, call_spans(), RESCUES)]
        if self.settings.token_file is not None:
            found.append(AccessInterceptor(TokenFile(self.settings.token_file)))
        return [*found, self._starting]

    def _job_room(self, registry: Registry, shelf: Shelf | None, launch: Launcher) -> JobRoom | None:
        if self.settings.jobs is None:
            return None
        if shelf is None:
            raise ConfigError("A server with jobs needs a shelf to open the neuron sets that they make; pass one.")
        limits, metrics = self.settings.limits, self.metrics.registry
        return JobRoom(self.settings.jobs, registry, limits, shelf, metrics, launch)

    def _add_services(self, registry: Registry, device: str) -> None:
        scoring = ScoringServicer(self.settings, registry, self.engine, self.streams, self.metrics)
        scoring_pb2_grpc.add_ScoringServiceServicer_to_server(scoring, self.server)
        jobs: CatalogNeeds = {} if self.jobs is None else self.jobs.for_catalog
        catalog = CatalogServicer(self.settings, registry, device=device, **jobs)
        catalog_pb2_grpc.add_CatalogServiceServicer_to_server(catalog, self.server)
        if self.jobs is not None:
            jobs_pb2_grpc.add_JobServiceServicer_to_server(self.jobs.servicer, self.server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        if self.settings.offers_reflection:
            names = (
                *self.services,
                health_pb2.DESCRIPTOR.services_by_name["Health"].full_name,
                reflection.SERVICE_NAME,
            )
            reflection.enable_server_reflection(names, self.server)

    def _add_gauges(self) -> None:
        self.metrics.watch("curator_queue_documents", "Documents that wait.", lambda: self.engine.queued_documents)
        self.metrics.watch(
            "curator_queue_bytes", "Bytes that are read and not scored.", lambda: self.engine.admission.held_bytes
        )
        self.metrics.watch("curator_open_streams", "Streams that are open.", lambda: self.streams.open_streams)


def build_server(
    settings: ServerSettings,
    scorers: Scorers,
    *,
    device: str = "",
    shelf: Shelf | None = None,
    launch: Launcher = launch_process,
) -> CuratorServer:
    """A bound server; call inside a running event loop. Raises ConfigError for unsafe or impossible settings.

    With ``settings.jobs``, ``shelf`` opens the neuron sets that jobs make and ``launch`` starts what carries jobs out.
    """
    return CuratorServer(settings, scorers, device=device, shelf=shelf, launch=launch)


def serve(settings: ServerSettings, scorers: Scorers, *, device: str = "", shelf: Shelf | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then drain and stop. Raises ConfigError when the address cannot be used."""
    with call_fields_in_logs():
        asyncio.run(_serve(settings, scorers, device, shelf))


async def _serve(settings: ServerSettings, scorers: Scorers, device: str, shelf: Shelf | None) -> None:
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, asked.set)
    server = build_server(settings, scorers, device=device, shelf=shelf)
    await server.start()
    await asked.wait()
    for number in _SIGNALS:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)  # the operating system ends us, even if Python is stuck
    logger.info("stopping; a second signal ends at once", extra={"grace_s": settings.grace_s})
    await server.drain()
    await server.stop()


class _Background:
    """The thread, loop and server behind ``running_server``."""

    def __init__(
        self,
        settings: ServerSettings,
        scorers: Scorers,
        shelf: Shelf | None = None,
        launch: Launcher = launch_process,
    ) -> None:
        self._settings, self._scorers, self._shelf, self._launch = settings, scorers, shelf, launch
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: asyncio.Event | None = None
        self.server: CuratorServer | None = None
        self._thread = threading.Thread(target=self._main, name="curator-server", daemon=True)

    def __enter__(self) -> CuratorServer:
        self._thread.start()
        if not self._ready.wait(_START_TIMEOUT_S) or self.server is None:
            raise self._failure or CuratorError("The server did not start in time; look at its log.")
        return self.server

    def __exit__(self, *_: object) -> None:
        if self._loop is not None and self._asked is not None:
            self._loop.call_soon_threadsafe(self._asked.set)
        self._thread.join()

    def _main(self) -> None:
        try:
            asyncio.run(self._run())
        except Exception as error:
            logger.exception("the background server failed")
            self._failure = error
        finally:
            self._ready.set()

    async def _run(self) -> None:
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        server = build_server(self._settings, self._scorers, shelf=self._shelf, launch=self._launch)
        await server.start()
        self.server = server
        self._ready.set()
        await self._asked.wait()
        await server.stop(grace_s=0.2)


@contextmanager
def running_server(
    settings: ServerSettings, scorers: Scorers, *, shelf: Shelf | None = None, launch: Launcher = launch_process
) -> Iterator[str]:
    """Run a server in a background thread for the length of the block; yields its address.

    Use ``port=0`` for a free port. Raises ConfigError like ``build_server``.
    """
    with _Background(settings, scorers, shelf, launch) as server:
        yield server.address


def _options(settings: ServerSettings) -> list[tuple[str, int]]:
    times_s = {
        "grpc.keepalive_time_ms": settings.keepalive_s,
        "grpc.max_connection_age_ms": settings.max_connection_age_s,
        "grpc.max_connection_age_grace_ms": settings.max_connection_grace_s,
    }
    return [
        *((name, round(seconds * 1000)) for name, seconds in times_s.items() if seconds is not None),
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_concurrent_streams", settings.max_connection_calls),
        ("grpc.so_reuseport", 0),  # two servers on one port would share its connections at random
        ("grpc.http2.min_ping_interval_without_data_ms", 30_000),  # gRPC's own 5 minutes ends clients that keep alive
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.ping_timeout_ms", 20_000),  # gRPC 1.76 heeds it in place of keepalive_timeout_ms
        ("grpc.http2.max_pings_without_data", 0),  # else a silent stream is asked twice, and never again
    ]


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        if settings.tls_certificate is None or settings.tls_key is None:
            port = server.add_insecure_port(address)
        else:
            credentials = server_credentials(settings.tls_certificate, settings.tls_key, settings.tls_client_ca)
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise ConfigError(
            f"The server cannot listen on {address}; choose another port or check the TLS files."
        ) from error
    if port == 0:
        raise ConfigError(f"The server cannot listen on {address}; choose another port.")
    return port

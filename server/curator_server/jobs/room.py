"""Everything that a server needs to run jobs, put together: database, catalog, checks, runner, and the services' ends.

One server at a time works in a state folder; a lock proves it, and it ends with the process, however that ends.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TypedDict

from prometheus_client import CollectorRegistry

from curator.api.v1 import common_pb2
from curator.files import exclusive
from curator_server.job_servicer import JobServicer
from curator_server.jobs.book import Book
from curator_server.jobs.course import Means
from curator_server.jobs.desk import Desk
from curator_server.jobs.hub import Hub
from curator_server.jobs.job_metrics import JobMetrics
from curator_server.jobs.launch import Launcher, launch_process
from curator_server.jobs.runner import Runner
from curator_server.jobs.settings import JobSettings
from curator_server.jobs.specs import Orders
from curator_server.jobs.store import Store
from curator_server.jobs.threads import Threads
from curator_server.library import Library, Shelf
from curator_server.registry import Registry


class CatalogNeeds(TypedDict, total=False):
    """Arguments of ``CatalogServicer`` that a server with jobs has."""

    library: Library
    desk: Desk
    threads: Threads


class JobRoom:
    """The jobs of one server; ``start`` and ``stop`` belong to one event loop."""

    def __init__(
        self,
        settings: JobSettings,
        registry: Registry,
        limits: common_pb2.Limits,
        shelf: Shelf,
        metrics: CollectorRegistry,
        launch: Launcher = launch_process,
    ) -> None:
        """Opens the database. Raises StorageError when it cannot be used."""
        self._settings = settings
        self._open = ExitStack()
        self.store, self.hub = Store(settings.database), Hub()
        self._open.callback(self.store.close)
        self.threads = Threads()
        self._open.callback(self.threads.close)
        self.library = Library(settings, self.store, registry, shelf)
        orders = Orders(settings, self.store, registry, self.library.models, limits)
        book = Book(settings, self.store, self.hub, self.threads, JobMetrics(metrics, self.store.counts))
        self.runner = Runner(settings, self.store, self.hub, Means(settings, book, orders.work, self.library, launch))
        self.desk = Desk(settings, self.store, orders, self.library, self.runner, self.threads)
        self.servicer = JobServicer(self.desk, self.runner, self.store, self.hub, self.threads)

    @property
    def for_catalog(self) -> CatalogNeeds:
        """What the catalog's service asks of the jobs."""
        return {"library": self.library, "desk": self.desk, "threads": self.threads}

    async def start(self) -> None:
        """Offer what is kept and go on with what was not finished. Raises ConfigError when another server is at work here."""
        self._open.enter_context(exclusive(self._settings.state, "the jobs of this state folder"))
        await self.threads.alone(self.library.restore)
        await self.runner.start()

    def drain(self) -> None:
        """Send watchers away; they come back to the next server and miss nothing."""
        self.hub.close()

    async def stop(self) -> None:
        """End the workers; their jobs wait for the next server."""
        await self.runner.stop()

    def close(self) -> None:
        """Let database and folder go, last of all."""
        self._open.close()

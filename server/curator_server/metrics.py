"""What Prometheus is told: calls under the names of go-grpc-prometheus, and the work behind them as ``curator_*``.

Every server has a registry of its own, so two in one process do not add up. Labels are names of methods that exist, status
codes and reject reasons: their number is fixed by the contract, whatever callers send. Counting costs 6 us a call and 4 to
13 us a batch. Scraping is plain HTTP and asks for no token; it tells counts, never text, ids or addresses.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import grpc
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from curator.errors import ConfigError
from curator.records import Rejection, Score
from curator.version import __version__
from curator_server.calls import Call, split_method

logger = logging.getLogger(__name__)

_METHOD = ("grpc_type", "grpc_service", "grpc_method")
_TYPES = {
    "unary_unary": "unary",
    "stream_unary": "client_stream",
    "unary_stream": "server_stream",
    "stream_stream": "bidi_stream",
}
# Unary calls take milliseconds to seconds, streams live for hours.
_CALL_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)
_WORK_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_DOCUMENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServerMetrics:
    """The metrics of one server. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._started = self._counter("grpc_server_started", "Calls begun.", _METHOD)
        self._handled = self._counter("grpc_server_handled", "Calls ended, by status.", (*_METHOD, "grpc_code"))
        self._seconds = self._histogram("grpc_server_handling_seconds", "Length of calls.", _CALL_SECONDS, _METHOD)
        self._received = self._counter("grpc_server_msg_received", "Messages read.", _METHOD)
        self._sent = self._counter("grpc_server_msg_sent", "Messages written.", _METHOD)
        self._documents = self._counter("curator_documents", "Documents answered, by outcome.", ("outcome",))
        self._tokens = self._counter("curator_tokens", "Tokens of the scored documents.")
        self._rejected = self._counter("curator_rejected_documents", "Documents without a score.", ("reason",))
        self._refused = self._counter("curator_refused_batches", "Batches refused as a whole, by error.", ("code",))
        self._sizes = self._histogram("curator_micro_batch_documents", "Documents of a micro-batch.", _DOCUMENTS)
        self._work = self._histogram(
            "curator_scoring_seconds", "Time that the worker had for a micro-batch alone.", _WORK_SECONDS
        )
        self._text = self._counter("curator_scored_bytes", "UTF-8 bytes of text handed to scorers.")
        Gauge("curator_build_info", "1, for the version.", ("version",), registry=self.registry).labels(
            __version__
        ).set(1)

    def started(self, call: Call, kind: str) -> None:
        """A call has begun."""
        self._started.labels(*_labels(call, kind)).inc()

    def messages(self, call: Call, kind: str) -> tuple[Counter, Counter]:
        """What counts the messages of a call that are read, and those that are written."""
        labels = _labels(call, kind)
        return self._received.labels(*labels), self._sent.labels(*labels)

    def handled(self, call: Call, kind: str, code: grpc.StatusCode, seconds: float) -> None:
        """A call has ended."""
        labels = _labels(call, kind)
        self._handled.labels(*labels, code.name).inc()
        self._seconds.labels(*labels).observe(seconds)

    def answered(self, results: Iterable[Score | Rejection]) -> None:
        """Documents got their results."""
        scored = tokens = 0
        reasons: Tally[str] = Tally()
        for result in results:
            if isinstance(result, Score):
                scored, tokens = scored + 1, tokens + result.tokens
            else:
                reasons[result.reason] += 1
        self._documents.labels("scored").inc(scored)
        self._documents.labels("rejected").inc(reasons.total())
        self._tokens.inc(tokens)
        for reason, count in reasons.items():
            self._rejected.labels(str(reason)).inc(count)

    def refused(self, code: str) -> None:
        """A batch was refused as a whole with an error of this code; how many documents it held is not known for sure."""
        self._refused.labels(code).inc()

    def micro_batch(self, documents: int, text_bytes: int, seconds: float) -> None:
        """The engine has scored a micro-batch."""
        self._sizes.observe(documents)
        self._text.inc(text_bytes)
        self._work.observe(seconds)

    def watch(self, name: str, about: str, value: Callable[[], float]) -> None:
        """A gauge that is read when Prometheus asks."""
        Gauge(name, about, registry=self.registry).set_function(value)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int]:
        """Serve the metrics over HTTP for the length of the block; yields the port. Raises ConfigError when it is taken."""
        try:
            server, thread = start_http_server(port, host, self.registry)
        except OSError as error:
            raise ConfigError(f"Metrics cannot listen on {host}:{port}; choose another metrics port.") from error
        logger.info("metrics", extra={"address": f"{host}:{server.server_port}"})
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _counter(self, name: str, about: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(name, about, labels, registry=self.registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()) -> Histogram:
        return Histogram(name, about, labels, registry=self.registry, buckets=buckets)


def _labels(call: Call, kind: str) -> tuple[str, str, str]:
    return _TYPES[kind], *split_method(call.method)

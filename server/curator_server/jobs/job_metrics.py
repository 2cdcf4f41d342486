"""What Prometheus is told of jobs. Labels are kinds and states: their number is fixed by the contract."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from curator.api.v1 import jobs_pb2

_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0)
_STATES = {number: name.removeprefix("STATE_").lower() for name, number in jobs_pb2.Job.State.items() if number > 0}


class JobMetrics:
    """The metrics of one server's jobs."""

    def __init__(self, registry: CollectorRegistry, counts: Callable[[], Mapping[int, int]]) -> None:
        """``counts`` says how many jobs are in each state; it is asked when Prometheus asks."""
        self._started = Counter(
            "curator_jobs_started", "Times that a worker was started.", ("kind",), registry=registry
        )
        self._ended = Counter("curator_jobs_ended", "Jobs ended, by state.", ("kind", "state"), registry=registry)
        self._seconds = Histogram(
            "curator_job_seconds", "From a worker's start to its end.", ("kind",), registry=registry, buckets=_SECONDS
        )
        registry.register(_States(counts))

    def started(self, kind: str) -> None:
        """A worker has been started."""
        self._started.labels(kind).inc()

    def worked(self, kind: str, seconds: float) -> None:
        """A worker has ended."""
        self._seconds.labels(kind).observe(seconds)

    def ended(self, kind: str, state: int) -> None:
        """A job has ended."""
        self._ended.labels(kind, _STATES[state]).inc()


class _States(Collector):
    def __init__(self, counts: Callable[[], Mapping[int, int]]) -> None:
        self._counts = counts

    def collect(self) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily("curator_jobs", "Jobs that are kept, by state.", labels=("state",))
        counts = self._counts()
        for number, name in _STATES.items():
            family.add_metric((name,), counts.get(number, 0))
        return [family]

    def describe(self) -> list[GaugeMetricFamily]:
        return [GaugeMetricFamily("curator_jobs", "Jobs that are kept, by state.", labels=("state",))]

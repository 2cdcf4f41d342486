"""The service: scores through gRPC against the same scorer called directly, what the transport alone can carry, and latencies.

    python benchmarks/serve.py [--quick] [--json FILE] [--only SECTION]

The server is a process of its own, the client is this one, and both share the cores, as on a laptop. The scorer is a made-up
neuron set on a bundled model, for speed does not care what weights say. ``serve_over_inprocess_N`` is the throughput through
N streams at once over that of the scorer called directly with all documents, in turn. ``transport_docs_per_s`` has a scorer that
does nothing behind the wire: how far the model is from the limit. Latencies are taken while four streams keep the model busy:
``score_batch_p99_ms`` of unary calls with eight documents, ``health_p99_ms_under_load`` of the health check. ``client_import_ms``
is processor time that ``import curator_client`` takes in a fresh interpreter, the best of several.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, takewhile
from multiprocessing.connection import Connection

import grpc
import numpy as np
from curator_client import Client
from curator_server.app import running_server
from curator_server.settings import ServerSettings
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.filter_world import made_up_set
from benchmarks.harness import Row, Section, paired, rounded, run_benchmark, seconds
from benchmarks.worlds import probe, zoo
from curator.records import Document, DocumentScorer, Score
from curator.scoring.scorer import NeuronSetScorer

_STREAMS = (1, 4, 16)
_CALL_DOCUMENTS = 8


@dataclass(frozen=True, slots=True)
class NullScorer:
    """Scores everything alike, at once."""

    name: str = "null"
    etag: str = "null"
    model_fingerprint: str = "0" * 64

    def score(self, documents: Sequence[Document]) -> list[Score]:
        """One score for each document."""
        return [Score(document.id, 0.0, 0.0, 1) for document in documents]


def model_scorer() -> NeuronSetScorer:
    """A made-up set over the first three layers of a bundled model."""
    backbone = zoo("neox-128x4")
    return NeuronSetScorer(backbone, made_up_set(backbone, 3))


def throughput_rows(quick: bool) -> Iterator[Row]:
    """Streams against the scorer itself."""
    count, rounds = (120, 1) if quick else (1_500, 9)
    pool, scorer = documents(count, 256), model_scorer()
    tokens = sum(score.tokens for score in scorer.score(pool) if isinstance(score, Score))
    with served(model_scorer) as address:
        for streams in _STREAMS:
            stream_all(address, pool[: count // 4], streams)
            found = paired(lambda: scorer.score(pool), lambda n=streams: stream_all(address, pool, n), rounds)
            detail = {
                "goal": "at least 0.95",
                "about": f"throughput through {streams} stream{'s' * (streams > 1)} over the scorer called directly",
                "documents": count,
                "tokens_per_s": round(tokens / min(found.second_s)),
                "documents_per_s": round(count / min(found.second_s)),
                "direct_s": rounded(found.first_s),
                "served_s": rounded(found.second_s),
            }
            yield Row(f"serve_over_inprocess_{streams}", found.ratio, "throughput ratio, higher is better", detail)


def transport_rows(quick: bool) -> Iterator[Row]:
    """Documents of 1 KB to a scorer that does nothing."""
    count, rounds = (20_000, 1) if quick else (200_000, 5)
    pool = [Document(f"d{number}", f"{number:08d} " + "lorem ips " * 100) for number in range(count)]
    with served(NullScorer) as address:
        stream_all(address, pool[: count // 10], 1)
        times = [seconds(lambda: stream_all(address, pool, 1)) for _ in range(rounds)]
    detail = {"about": "documents of 1 KB scored per second by a scorer that does nothing, one stream, median round"}
    yield Row(
        "transport_docs_per_s", count / float(np.median(times)), "documents/s", detail | {"seconds": rounded(times)}
    )


def latency_rows(quick: bool) -> Iterator[Row]:
    """Unary calls and health checks beside four busy streams."""
    calls = 10 if quick else 60
    pool = documents(400, 128)
    with served(model_scorer) as address, Client(address) as client, grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        few = pool[:_CALL_DOCUMENTS]
        with busy(address, pool, 4):
            scored = [seconds(lambda: client.score_batch(few)) for _ in range(calls)]
            checked = [seconds(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=30)) for _ in range(calls)]
    about = f"99th percentile of a unary call with {_CALL_DOCUMENTS} documents while four streams keep the model busy"
    yield _latency("score_batch_p99_ms", scored, about)
    yield _latency(
        "health_p99_ms_under_load",
        checked,
        "99th percentile of the health check while four streams keep the model busy",
    )


def client_rows(quick: bool) -> Iterator[Row]:
    """The light client in a fresh interpreter."""
    code = "import time; t = time.process_time(); import curator_client as c; c.Client; print(time.process_time() - t)"
    rounds = 2 if quick else 10
    found = [float(subprocess.check_output([sys.executable, "-c", code])) * 1e3 for _ in range(rounds)]
    detail = {
        "goal": "under 300",
        "about": "processor time of importing the client, the best round",
        "ms": rounded(found),
    }
    yield Row("client_import_ms", min(found), "ms, lower is better", detail)


@contextmanager
def served(make_scorer: Callable[[], DocumentScorer]) -> Iterator[str]:
    """A server process with this scorer, for the length of the block; yields its address."""
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(make_scorer, there))
    process.start()
    there.close()
    try:
        yield here.recv()
    finally:
        here.close()  # the server waits for this
        process.join()


def stream_all(address: str, pool: Sequence[Document], streams: int) -> None:
    """Score the pool through so many streams at once, each a client with an equal part."""

    def one(part: Sequence[Document]) -> int:
        with Client(address) as client:
            return sum(1 for _ in client.score(part))

    with ThreadPoolExecutor(streams) as threads:
        done = sum(threads.map(one, (pool[start::streams] for start in range(streams))))
    if done != len(pool):
        raise RuntimeError(f"{len(pool)} documents went in and {done} scores came back")


@contextmanager
def busy(address: str, pool: Sequence[Document], streams: int) -> Iterator[None]:
    """Keep a server busy by so many streams for the length of the block, which begins once all have results."""
    over, ready = threading.Event(), threading.Barrier(streams + 1)

    def endless() -> Iterator[Document]:
        yield from takewhile(lambda _: not over.is_set(), cycle(pool))

    def one() -> None:
        with Client(address) as client:
            for number, _ in enumerate(client.score(endless())):
                if number == 0:
                    ready.wait()

    with ThreadPoolExecutor(streams) as threads:
        running = [threads.submit(one) for _ in range(streams)]
        ready.wait()
        try:
            yield
        finally:
            over.set()
    for future in running:
        future.result()


def documents(count: int, spans: int) -> list[Document]:
    """Real passages, again under new ids where they run out."""
    texts = [document.text for document in probe(40_000, spans).documents]
    return [Document(f"d{number}", texts[number % len(texts)]) for number in range(count)]


def _serve(make_scorer: Callable[[], DocumentScorer], told: Connection) -> None:
    with running_server(ServerSettings(port=0), [make_scorer()]) as address:
        told.send(address)
        told.poll(None)


def _latency(name: str, times: Sequence[float], about: str) -> Row:
    p50, p99 = (float(np.percentile(times, share)) * 1e3 for share in (50, 99))
    detail = {"about": about, "calls": len(times), "p50_ms": round(p50, 2), "max_ms": round(max(times) * 1e3, 2)}
    return Row(name, p99, "ms, lower is better", detail)


SECTIONS: dict[str, Section] = {
    "throughput": throughput_rows,
    "transport": transport_rows,
    "latency": latency_rows,
    "client": client_rows,
}

if __name__ == "__main__":
    run_benchmark("serve", __doc__ or "", SECTIONS)

"""Servers and clients as processes that can be killed, and started again at once: a fork server has their modules loaded."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from curator_client import BatchOptions, Client, ConnectionOptions, RetryPolicy
from curator_server.app import running_server

from curator.records import Document
from tests.contract.service_fakes import SETTINGS, LetterScorer, sample_documents

OPTIONS = ConnectionOptions(
    batches=BatchOptions(max_documents=5), retry=RetryPolicy(attempts=50, base_s=0.01, cap_s=0.2)
)
FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload([__name__])


def corpus(count: int) -> list[Document]:
    """Documents that are the same in every process."""
    return sample_documents(count)


class KilledServer:
    """A server process on one port; ``kill`` ends it by SIGKILL and starts the next."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.kills = 0
        self._start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.end()
        self.kills += 1
        self._start()

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()

    def _start(self) -> None:
        here, there = FORKED.Pipe(duplex=False)
        self._process = FORKED.Process(target=_serve, args=(self.port, there), daemon=True)
        self._process.start()
        there.close()
        with here:
            assert here.poll(90), "the server process did not start"
            here.recv()


def _serve(port: int, ready: Connection) -> None:
    with running_server(SETTINGS.model_copy(update={"port": port}), [LetterScorer()]):
        ready.send(True)
        time.sleep(600)


@contextmanager
def filtering_client(address: str, documents: int, out: Path, read: int) -> Iterator[None]:
    """A client process that filters; the block runs once it has read so many, and its end is the client's."""
    here, there = FORKED.Pipe(duplex=False)
    process = FORKED.Process(target=_filter, args=(address, documents, out, read, there), daemon=True)
    process.start()
    there.close()
    with here:
        assert here.poll(90), "the client process did not start"
        here.recv()
    try:
        yield
    finally:
        process.kill()
        process.join()
        process.close()


def _filter(address: str, documents: int, out: Path, read: int, began: Connection) -> None:
    def told() -> Iterator[Document]:
        for index, document in enumerate(corpus(documents)):
            if index == read:
                began.send(True)
            yield document

    filter_into(address, told(), out)


def filter_into(address: str, documents: Iterator[Document], out: Path) -> None:
    """The filtering of these tests: small shards, committed often."""
    with Client(address, OPTIONS) as client:
        client.filter(documents, out, min_probability=0.4, target_shard_bytes=20_000, commit_every_bytes=30_000)

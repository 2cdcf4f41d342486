"""A headless service in small: servers that share a port on addresses of this machine, and a name server that lists them."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from curator_server.app import running_server

from curator.records import Document
from tests.contract.service_fakes import SETTINGS, LetterScorer
from tests.faults.service_processes import FORKED

_TYPE_A, _CLASS_IN = 1, 1


@dataclass
class NotingScorer(LetterScorer):
    """Adds a dot to a file for each batch."""

    notes: Path = Path()

    def score(self, documents: list[Document]) -> Any:
        with self.notes.open("a") as handle:
            handle.write(".")
        return super().score(documents)


class Replica:
    """A server process on an address of its own."""

    def __init__(self, host: str, port: int, folder: Path, **settings: Any) -> None:
        self.address, self._notes = f"{host}:{port}", folder / host
        here, there = FORKED.Pipe(duplex=False)
        of = SETTINGS.model_copy(update={"host": host, "port": port, **settings})
        self._process = FORKED.Process(target=_serve, args=(of, self._notes, there), daemon=True)
        self._process.start()
        there.close()
        with here:
            assert here.poll(90), "the server process did not start"
            here.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def batches(self) -> int:
        """Batches that it was given since the last ``forget``."""
        return len(self._notes.read_text()) if self._notes.exists() else 0

    def forget(self) -> None:
        self._notes.unlink(missing_ok=True)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(settings: Any, notes: Path, ready: Connection) -> None:
    with running_server(settings, [NotingScorer(notes=notes)]):
        ready.send(True)
        time.sleep(600)


def free_port() -> int:
    """A port that is free on the first address, and so, most likely, on the others."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


@contextmanager
def name_server(hosts: list[str]) -> Iterator[str]:
    """Answers every question for an IPv4 address with ``hosts`` as they are then; yields its own address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.bind(("127.0.0.1", 0))
        here = asked.getsockname()
        thread = threading.Thread(target=_answer, args=(asked, hosts))
        thread.start()
        yield f"{here[0]}:{here[1]}"
        asked.sendto(b"", here)
        thread.join()


def _answer(asked: socket.socket, hosts: list[str]) -> None:
    while True:
        question, who = asked.recvfrom(4096)
        if not question:
            return
        end = question.index(0, 12) + 5  # after the header: the name, a zero, type and class
        (kind,) = struct.unpack(">H", question[end - 4 : end - 2])
        found = [socket.inet_aton(host) for host in hosts] if kind == _TYPE_A else []
        header = question[:2] + struct.pack(">5H", 0x8400, 1, len(found), 0, 0)
        records = b"".join(struct.pack(">3HIH", 0xC00C, _TYPE_A, _CLASS_IN, 0, 4) + address for address in found)
        asked.sendto(header + question[12:end] + records, who)

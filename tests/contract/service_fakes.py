"""Fakes shared by the tests of the service: scorers that are fast, exact and, where asked, slow or broken."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from curator_server.app import CuratorServer
from curator_server.settings import ServerSettings

from curator.records import Document, Rejection, RejectReason, Score

SETTINGS = ServerSettings(port=0, drain_delay_s=0.0, grace_s=1.0)


@dataclass
class LetterScorer:
    """The share of the letter e. Texts with "boom" raise, texts with "unreadable" are rejected by the scorer itself."""

    name: str = "letter-e"
    etag: str = "etag-1"
    model_fingerprint: str = "f" * 64
    gate: threading.Event | None = None
    entered: threading.Event = field(default_factory=threading.Event)
    batches: list[list[str]] = field(default_factory=list)

    def score(self, documents: Sequence[Document]) -> list[Score | Rejection]:
        self.entered.set()
        if self.gate is not None and not self.gate.wait(60):
            raise TimeoutError("the test never opened the gate")
        self.batches.append([document.id for document in documents])
        if any("boom" in document.text for document in documents):
            raise RuntimeError("secret detail of the scorer")
        return [self._one(document) for document in documents]

    def _one(self, document: Document) -> Score | Rejection:
        if "unreadable" in document.text:
            return Rejection(document.id, RejectReason.NO_SPANS, "nothing to score")
        share = document.text.count("e") / max(1, len(document.text))
        neurons = ("L1/U2", "L0/U7") if share > 0.5 else ()
        return Score(document.id, share / 3, share, len(document.text.split()), neurons)


def sample_documents(count: int) -> list[Document]:
    """Documents of different lengths and shares of e, the same every time."""
    return [
        Document(
            f"d{index}",
            "tree " * (index % 23 + 1) + "e" * (index * 7 % 60) + f" snöw {index}",
            domain="trees",
            source=f"book-{index % 5}",
            metadata={"rank": index, "half": index / 2, "tags": ["a", None, True], "deep": {"z": 1, "a": "ü"}},
        )
        for index in range(count)
    ]


def wait_until_idle(server: CuratorServer) -> None:
    """Wait until nothing is queued and no stream is open. Fails after 20 seconds."""
    deadline = time.monotonic() + 60
    while (server.engine.queued_documents or server.streams.open_streams) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (server.engine.queued_documents, server.streams.open_streams) == (0, 0)

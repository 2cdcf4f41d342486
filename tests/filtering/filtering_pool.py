"""A small pool of documents and a scorer that reads its scores from their text: deterministic, with failures in it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from curator.filtering.dataset import filter_sources
from curator.filtering.job import ScorerIdentity
from curator.records import Document, Rejection, RejectReason, Score

TIMING = "timing.json"
_SAYS = re.compile(r"p=([-\w.+]+) t=(-?\d+)")


def line(number: int, probability: float, *, tokens: int = 10, **metadata: object) -> str:
    """A JSON line for document ``d<number>`` whose text says its score; the raw value grows with the probability."""
    text = f"Text of document {number}: naïve café, 数. p={probability} t={tokens}"
    record = {
        "id": f"d{number}",
        "text": text,
        "domain": "law" if number % 2 else "code",
        "source": f"book-{number % 7}",
    }
    return json.dumps(record | metadata, ensure_ascii=False)


def small_pool(documents: int = 40) -> list[str]:
    """Probabilities spread over [0, 1) in a scrambled order; every ninth has no score, every tenth line is damaged."""
    lines: list[str] = []
    for number in range(documents):
        if number % 10 == 3:
            lines.append("{a stray bracket")
        probability = (number * 17 % documents) / documents
        failing = {"note": "no spans here"} if number % 9 == 4 else {}
        made = line(number, probability, tokens=5 + number % 4, year=1900 + number, tags=["a", "b"])
        lines.append(made.replace("p=", "q=") if failing else made)
    return lines


def write_pool(path: Path, lines: Sequence[str] | None = None) -> Path:
    """The pool as a plain JSONL file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{one}\n" for one in (small_pool() if lines is None else lines)), encoding="utf-8")
    return path


@dataclass
class TextScorer:
    """Reads ``p=<probability> t=<tokens>`` from the text; a text without them has no spans. ``batches`` are their lengths."""

    name: str = "fake"
    etag: str = "etag-1"
    model_fingerprint: str = "model-1"
    targets: tuple[str, ...] = ("law",)
    batches: list[int] = field(default_factory=list)

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        self.batches.append(len(documents))
        return [self.score_one(document) for document in documents]

    def score_one(self, document: Document) -> tuple[Score, ...] | Rejection:
        found = _SAYS.search(document.text)
        if found is None:
            return Rejection(document.id, RejectReason.NO_SPANS, "only spaces")
        probability, tokens = float(found[1]), int(found[2])
        return tuple(
            Score(document.id, 10 * part - 5, part, tokens, (f"L1/U{index}", "L0/U3"))
            for index, part in enumerate((probability, 1 - probability, probability / 2)[: len(self.targets)])
        )


@dataclass(frozen=True)
class Factory:
    """Loads a ``TextScorer``; counts in a file how often, so that other processes are seen too. Picklable."""

    targets: tuple[str, ...] = ("law",)
    etag: str = "etag-1"
    model_fingerprint: str = "model-1"
    loads: Path | None = None
    dies_once: Path | None = None
    """A file whose absence makes the first worker that sees a document die, after it has made the file."""

    @property
    def identity(self) -> ScorerIdentity:
        return ScorerIdentity(
            neuron_set="fake", etag=self.etag, model_fingerprint=self.model_fingerprint, targets=self.targets
        )

    def __call__(self, worker: int) -> TextScorer:
        if self.loads:
            with self.loads.open("a") as handle:
                handle.write(f"{worker}\n")
        kind = TextScorer if self.dies_once is None else Dying
        scorer = kind("fake", self.etag, self.model_fingerprint, self.targets)
        if isinstance(scorer, Dying):
            scorer.mark = self.dies_once
        return scorer


class Dying(TextScorer):
    """Kills its process without a word, unless a file says that this was done before."""

    mark: Path | None = None

    def score_targets(self, documents: Sequence[Document]) -> list[tuple[Score, ...] | Rejection]:
        if self.mark and not self.mark.exists():
            self.mark.touch()
            os._exit(9)
        return super().score_targets(documents)


def run(sources: Path | Sequence[str], out: Path, policy, factory: Factory | None = None, **settings):
    """``filter_sources`` over one file, with a ``Factory``."""
    uris = [str(sources)] if isinstance(sources, Path) else list(sources)
    return filter_sources(uris, factory or Factory(), out, policy, **settings)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, but for the times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != TIMING
    }

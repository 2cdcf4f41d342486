"""A small pool of scored documents for the filtering tests: deterministic, with failures and unreadable records in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from curator.filtering.job import Scored
from curator.records import Document, Rejection, RejectReason, Score


def scored_document(number: int, probability: float, *, tokens: int = 10, **metadata: object) -> Scored:
    """Document ``d<number>`` with a score whose raw value grows with the probability."""
    document = Document(
        f"d{number}",
        f"Text of document {number}: naïve café, 数.",
        "law" if number % 2 else "code",
        f"book-{number % 7}",
        metadata,
    )
    return document, Score(document.id, 10 * probability - 5, probability, tokens, (f"L1/U{number}", "L0/U3"))


def small_pool(documents: int = 40) -> Iterator[Scored | Rejection]:
    """Probabilities spread over [0, 1) in a scrambled order; every ninth document failed, every tenth record is unreadable."""
    for number in range(documents):
        if number % 10 == 3:
            yield Rejection(f"pool.jsonl:{number}", RejectReason.INVALID_JSON, "a stray bracket")
        document, score = scored_document(
            number, (number * 17 % documents) / documents, tokens=5 + number % 4, year=1900 + number, tags=["a", "b"]
        )
        yield (document, Rejection(document.id, RejectReason.NO_SPANS, "only spaces") if number % 9 == 4 else score)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }

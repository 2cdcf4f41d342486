"""Ask a scorer about documents, in batches that fill a model, and never let one bad document or one bad batch spoil more.

A batch is up to 1,024 documents or 4 million characters, whichever comes first, and never crosses a piece, so that which
documents a model sees together is the same in every run. When a batch raises, its documents are asked about once more, one by
one, and each that raises again is rejected with SCORING_FAILED. When all of them do, the scorer is asked about one plain
sentence: if it fails at that too, it is broken, and its error ends the job instead of rejecting a corpus. Errors that the
project raises on purpose (a lost server, a model of other fingerprint) always end the job.

While a batch is scored, the next ones are read and parsed by a thread. It does not know files.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

from curator.errors import ArtifactError
from curator.records import Document, Rejection, RejectReason, TargetResult, TargetScorer

BATCH_DOCUMENTS = 1024
BATCH_CHARACTERS = 4 << 20
READ_AHEAD = 2
Item = TypeVar("Item")

_FAILURES = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
_PLAIN = Document("probe", "The court held that the contract was valid, and the appeal was dismissed with costs.")
_END = object()
_log = logging.getLogger(__name__)


def in_batches(items: Iterable[Item], characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Items in order, in lists of at most 1,024 of them or 4 million characters; a longer item is alone."""
    batch: list[Item] = []
    total = 0
    for item in items:
        length = characters(item)
        if batch and (len(batch) == BATCH_DOCUMENTS or total + length > BATCH_CHARACTERS):
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += length
    if batch:
        yield batch


class ReadAhead(Iterator[Item]):
    """The items of an iterable, made by a thread a few ahead of where they are taken; use it as a context manager.

    What making them raises is raised where they are taken. Leaving the block ends the thread at its next item.
    """

    def __init__(self, items: Iterable[Item], depth: int = READ_AHEAD) -> None:
        self._items = items
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=depth)
        self._left = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._make, name="reading", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        with suppress(queue.Empty):  # room for a thread that waits to put
            while True:
                self._ready.get_nowait()
        self._thread.join()

    def __next__(self) -> Item:
        item = self._ready.get()
        if item is not _END:
            return item
        if self._failure:
            raise self._failure
        raise StopIteration

    def _make(self) -> None:
        try:
            for item in self._items:
                if self._left.is_set():
                    return
                self._ready.put(item)
        except BaseException as error:  # noqa: BLE001 - handed over to the thread that takes
            self._failure = error
        finally:
            self._ready.put(_END)


def score_stream(
    records: Iterable[Document | Rejection], scorer: TargetScorer
) -> Iterator[tuple[Document, TargetResult] | Rejection]:
    """Score a stream in batches, in order; records that are no documents pass as they are."""
    for batch in in_batches(records, lambda record: len(record.text) if isinstance(record, Document) else 0):
        results = iter(score_batch(scorer, [record for record in batch if isinstance(record, Document)]))
        for record in batch:
            yield record if isinstance(record, Rejection) else (record, next(results))


def score_batch(scorer: TargetScorer, documents: Sequence[Document]) -> list[TargetResult]:
    """One result for each document, in order; every Score in it is finite.

    Raises ArtifactError when the scorer does not give one result per document, and the scorer's own error when it is broken.
    """
    if not documents:
        return []
    try:
        results = _asked(scorer, documents)
    except _FAILURES as error:
        _log.warning("a batch could not be scored; asking one by one", extra={"error": str(error)})
        results = _one_by_one(scorer, documents)
    return [_usable(result, document) for result, document in zip(results, documents, strict=True)]


def _one_by_one(scorer: TargetScorer, documents: Sequence[Document]) -> list[TargetResult]:
    results: list[TargetResult] = []
    failures = 0
    for document in documents:
        try:
            results += _asked(scorer, [document])
        except _FAILURES as error:
            detail = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            results.append(Rejection(document.id, RejectReason.SCORING_FAILED, detail))
            failures += 1
    if failures == len(documents):
        _asked(scorer, [_PLAIN])
    return results


def _asked(scorer: TargetScorer, documents: Sequence[Document]) -> list[TargetResult]:
    results = scorer.score_targets(documents)
    if len(results) != len(documents):
        raise ArtifactError(f"The scorer gave {len(results)} results for {len(documents)} documents; it is broken.")
    for result in results:
        if not isinstance(result, Rejection) and len(result) != len(scorer.targets):
            raise ArtifactError(
                f"The scorer gave {len(result)} scores for {len(scorer.targets)} targets; it is broken."
            )
    return results


def _usable(result: TargetResult, document: Document) -> TargetResult:
    """A score that is not finite or has a negative token count is a failed scoring, not a low score."""
    if isinstance(result, Rejection):
        return result
    for score in result:
        if not (math.isfinite(score.value) and math.isfinite(score.probability)):
            detail = f"the score is not finite (value {score.value}, probability {score.probability})"
            return Rejection(document.id, RejectReason.SCORING_FAILED, detail)
        if score.tokens < 0:
            detail = f"the scorer counted {score.tokens} tokens"
            return Rejection(document.id, RejectReason.SCORING_FAILED, detail)
    return result

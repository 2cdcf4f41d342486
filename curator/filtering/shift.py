"""How the kept documents differ from all: by length and by source, so that a filter's side effects are seen.

A filter for a domain that also prefers long documents, or takes all it keeps from one file, shows here. Documents are put in
classes by their tokens (powers of four) and by the source that they were read from; each class has its documents and tokens, in
and kept. Records that never became a document are left out. Cost: a few passes over the arrays. Memory: the sources, and the
different lengths of documents. It does not know languages, domains or texts: those are not among the scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.filtering.arrays import ScoreArrays
from curator.filtering.select import Verdicts

LENGTH_EDGES = (0, 16, 64, 256, 1024, 4096, 16384)
MOST_SOURCES = 50
OTHERS = "(all other sources)"


@dataclass(frozen=True, slots=True)
class ShiftClass:
    """Documents and tokens of one class, in and kept; of a document kept by windows only the kept tokens count."""

    name: str
    documents_in: int
    documents_kept: int
    tokens_in: int
    tokens_kept: int


@dataclass(frozen=True, slots=True)
class Shift:
    """What was kept of each class, in the order of length and of the sources, and the median lengths.

    Classes without a document are left out. Of more than 50 sources those with the most documents are listed, the others are
    one class. A median is that of the tokens of whole documents, 0 where there are none.
    """

    by_length: tuple[ShiftClass, ...]
    by_source: tuple[ShiftClass, ...]
    median_tokens_in: float
    median_tokens_kept: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object with the fields."""
        return asdict(self)


class ShiftCounter:
    """Counts a selection, part after part; ``source_P`` names the source of each piece, in the order of the pieces."""

    def __init__(self, source_P: Sequence[str]) -> None:
        self._names = list(dict.fromkeys(source_P))
        number = {name: place for place, name in enumerate(self._names)}
        self._source_P = np.array([number[name] for name in source_P], np.int64)
        self._length_4C = np.zeros((4, len(LENGTH_EDGES)), np.int64)
        self._source_4S = np.zeros((4, len(self._names)), np.int64)
        self._tokens_in: Counter[int] = Counter()
        self._tokens_kept: Counter[int] = Counter()

    def add(self, arrays: ScoreArrays, verdicts: Verdicts) -> None:
        """Count the next rows."""
        start_F = np.flatnonzero(arrays.opens_document_D)
        if start_F.size == 0:
            return
        read_F = ~arrays.unreadable_D[start_F]
        kept_F = np.logical_or.reduceat(verdicts.kept_D, start_F)[read_F]
        tokens_F = np.add.reduceat(arrays.tokens_D, start_F)[read_F]
        tokens_kept_F = np.add.reduceat(np.where(verdicts.kept_D, arrays.tokens_D, 0), start_F)[read_F]
        length_F = np.searchsorted(LENGTH_EDGES, tokens_F, side="right") - 1
        source_F = self._source_P[arrays.piece_D[start_F][read_F]]
        for row, weights in enumerate((None, kept_F, tokens_F, tokens_kept_F)):
            for table, class_F in ((self._length_4C, length_F), (self._source_4S, source_F)):
                table[row] += np.bincount(class_F, weights, table.shape[1]).astype(np.int64)  # exact up to 2^53 tokens
        for counts, chosen_F in ((self._tokens_in, tokens_F), (self._tokens_kept, tokens_F[kept_F])):
            values, times = np.unique(chosen_F, return_counts=True)
            counts.update(dict(zip(values.tolist(), times.tolist(), strict=True)))

    def total(self) -> Shift:
        """Everything counted so far."""
        return Shift(
            _classes(_length_names(), self._length_4C),
            _classes(*_listed(self._names, self._source_4S)),
            _median(self._tokens_in),
            _median(self._tokens_kept),
        )


def shift_of(arrays: ScoreArrays, verdicts: Verdicts, source_P: Sequence[str]) -> Shift:
    """Count a whole selection by length and by source."""
    counter = ShiftCounter(source_P)
    counter.add(arrays, verdicts)
    return counter.total()


def _classes(names: Sequence[str], counts_4C: NDArray[np.int64]) -> tuple[ShiftClass, ...]:
    """The classes that have documents."""
    return tuple(ShiftClass(name, *row) for name, row in zip(names, counts_4C.T.tolist(), strict=True) if row[0])


def _listed(names: list[str], counts_4S: NDArray[np.int64]) -> tuple[list[str], NDArray[np.int64]]:
    """The sources with the most documents in their own order, and the others as one class."""
    if len(names) <= MOST_SOURCES:
        return names, counts_4S
    listed = np.sort(np.argsort(-counts_4S[0], kind="stable")[:MOST_SOURCES])
    shown_4C = counts_4S[:, listed]
    others_4 = counts_4S.sum(axis=1) - shown_4C.sum(axis=1)
    return [*(names[source] for source in listed), OTHERS], np.column_stack([shown_4C, others_4])


def _length_names() -> list[str]:
    ends = [f"{low} to {high - 1} tokens" for low, high in pairwise(LENGTH_EDGES)]
    return [*ends, f"{LENGTH_EDGES[-1]} tokens and more"]


def _median(counts: Counter[int]) -> float:
    """Of numbers that are given with how often they come; 0 for none."""
    if not counts:
        return 0.0
    values = np.array(sorted(counts), np.int64)
    ends = np.cumsum([counts[value] for value in values.tolist()])
    middle = np.searchsorted(ends, [(int(ends[-1]) - 1) // 2, int(ends[-1]) // 2], side="right")
    return float(values[middle].mean())

"""How the kept documents differ from all: by length and by source, so that a filter's side effects are seen.

A filter for a domain that also prefers long documents, or takes all it keeps from one file, shows here. Documents are put in
classes by their tokens (powers of four) and by the source that they were read from; each class has its documents and tokens, in
and kept. Records that never became a document are left out. Cost: a few passes over the arrays. It does not know languages,
domains or texts: those are not among the scores.
"""

from __future__ import annotations

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


def shift_of(arrays: ScoreArrays, verdicts: Verdicts, source_P: Sequence[str]) -> Shift:
    """Count a selection by length and by source; ``source_P`` names the source of each piece, in the order of the pieces."""
    start_F = np.flatnonzero(arrays.opens_document_D)
    if start_F.size == 0:
        return Shift((), (), 0.0, 0.0)
    read_F = ~arrays.unreadable_D[start_F]
    counts = _Counts(
        np.logical_or.reduceat(verdicts.kept_D, start_F)[read_F],
        np.add.reduceat(arrays.tokens_D, start_F)[read_F],
        np.add.reduceat(np.where(verdicts.kept_D, arrays.tokens_D, 0), start_F)[read_F],
    )
    length_F = np.searchsorted(LENGTH_EDGES, counts.tokens_F, side="right") - 1
    names, class_P = _source_classes(source_P, arrays.piece_D[start_F][read_F])
    return Shift(
        counts.by_class(length_F, _length_names()),
        counts.by_class(class_P[arrays.piece_D[start_F][read_F]], names),
        _median(counts.tokens_F),
        _median(counts.tokens_F[counts.kept_F]),
    )


@dataclass(frozen=True, eq=False, slots=True)
class _Counts:
    """The F documents that were read: whether anything of each was kept, its tokens, and those kept."""

    kept_F: NDArray[np.bool_]
    tokens_F: NDArray[np.int64]
    tokens_kept_F: NDArray[np.int64]

    def by_class(self, class_F: NDArray[np.int64], names: Sequence[str]) -> tuple[ShiftClass, ...]:
        documents_C, kept_C, tokens_C, tokens_kept_C = (
            np.bincount(class_F, weights, len(names)).astype(np.int64).tolist()  # exact up to 2^53 tokens
            for weights in (None, self.kept_F, self.tokens_F, self.tokens_kept_F)
        )
        rows = zip(names, documents_C, kept_C, tokens_C, tokens_kept_C, strict=True)
        return tuple(ShiftClass(*row) for row in rows if row[1])


def _source_classes(source_P: Sequence[str], piece_F: NDArray[np.int32]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the listed sources in their own order, and the class of each piece."""
    names = list(dict.fromkeys(source_P))
    number = {name: place for place, name in enumerate(names)}
    source_of_P = np.array([number[name] for name in source_P], np.int64)
    if len(names) <= MOST_SOURCES:
        return names, source_of_P
    documents_S = np.bincount(source_of_P[piece_F], minlength=len(names))
    listed = sorted(np.argsort(-documents_S, kind="stable")[:MOST_SOURCES].tolist())
    class_S = np.full(len(names), MOST_SOURCES, np.int64)
    class_S[listed] = np.arange(MOST_SOURCES)
    return [*(names[source] for source in listed), OTHERS], class_S[source_of_P]


def _length_names() -> list[str]:
    ends = [f"{low} to {high - 1} tokens" for low, high in pairwise(LENGTH_EDGES)]
    return [*ends, f"{LENGTH_EDGES[-1]} tokens and more"]


def _median(tokens_F: NDArray[np.int64]) -> float:
    return float(np.median(tokens_F)) if tokens_F.size else 0.0

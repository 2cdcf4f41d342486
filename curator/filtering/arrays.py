"""All score files of a job as arrays over its D rows, in corpus order: what a selection needs and nothing else.

A row is a record of a piece: a whole document, a window of one, or a record that never became a document. Rows are in the
order of the pieces and of the records within them, which is the order of the corpus. No text and no string is held: ids are
hashes, reasons are codes into ``REASONS``.

Memory: 64 bytes a row and 16 more per target (80 for one target, 800 MB for ten million rows); without duplicate removal the
text hashes (16 bytes) may be left out. Near-duplicate signatures are not held at all but read in blocks when asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.errors import ArtifactError
from curator.records import RejectReason

REASONS: tuple[str, ...] = ("", *RejectReason)
"""Reason codes: the code of a reason is its place here, and 0 means that there is none."""

SignatureBlocks = Callable[[], Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]]
"""Reads the near-duplicate signatures once, in row order, as blocks of (rows_B, signature bytes (B, S)); rows without one are
left out."""


@dataclass(frozen=True, eq=False, slots=True)
class ScoreArrays:
    """Scores and facts of D rows for T targets.

    Attributes:
        targets: names of the T targets, in the order of the first axis below.
        value_TD: raw scores, float64; NaN where the row was not scored.
        probability_TD: calibrated probabilities, float64; NaN where the row was not scored.
        tokens_D: tokens of each row, int64, not negative; 0 where it was not scored.
        size_D: bytes of the user's part of the record as a JSON line, int64.
        reason_D: why a row has no score, int16 codes into ``REASONS``; 0 where it was scored.
        unreadable_D: bool, the record never became a document (its reason is then one of reading).
        contaminated_D: bool, the row's own text shares n-grams with an evaluation file.
        id_hash_D: uint64 hash of the document id by ``hash_strings``; the same for all windows of a document.
        document_D: number of the document that a row belongs to, int64, not falling, rising by at most one from row to row,
            from 0: rows of one document stand side by side.
        window_D: int32, number of the window within its document; -1 where the row is a whole document.
        piece_D: int32, number of the piece.
        row_D: int32, number of the record within its piece's score file.
        text_hash_D2: uint64 pairs, hash of the row's own text (a window's, where the row is one); None where exact duplicates
            are of no interest.
        signatures: reader of near-duplicate signatures; None where none were computed.

    Raises ArtifactError when shapes or types contradict each other.
    """

    targets: tuple[str, ...]
    value_TD: NDArray[np.float64]
    probability_TD: NDArray[np.float64]
    tokens_D: NDArray[np.int64]
    size_D: NDArray[np.int64]
    reason_D: NDArray[np.int16]
    unreadable_D: NDArray[np.bool_]
    contaminated_D: NDArray[np.bool_]
    id_hash_D: NDArray[np.uint64]
    document_D: NDArray[np.int64]
    window_D: NDArray[np.int32]
    piece_D: NDArray[np.int32]
    row_D: NDArray[np.int32]
    text_hash_D2: NDArray[np.uint64] | None = None
    signatures: SignatureBlocks | None = None

    def __post_init__(self) -> None:
        rows = self.tokens_D.size
        for name in ("value_TD", "probability_TD"):
            if getattr(self, name).shape != (len(self.targets), rows):
                raise ArtifactError(f"{name} does not cover {len(self.targets)} targets and {rows} rows; score again.")
        for name in _VECTORS:
            if getattr(self, name).shape != (rows,):
                raise ArtifactError(
                    f"{name} has not {rows} rows like tokens_D; the score files are damaged, score again."
                )
        if self.text_hash_D2 is not None and self.text_hash_D2.shape != (rows, 2):
            raise ArtifactError(f"text_hash_D2 has not {rows} rows of 2; the score files are damaged, score again.")
        if rows and int(self.tokens_D.min()) < 0:
            raise ArtifactError("A row has a negative number of tokens; the score files are damaged, score again.")

    @property
    def rows(self) -> int:
        """Number of rows D."""
        return int(self.tokens_D.size)

    @property
    def documents(self) -> int:
        """Number of documents and unreadable records."""
        return int(self.document_D[-1]) + 1 if self.rows else 0

    @property
    def opens_document_D(self) -> NDArray[np.bool_]:
        """Whether a row is the first of its document; an unreadable record counts as one."""
        return self.window_D <= 0


_VECTORS = (
    "size_D",
    "reason_D",
    "unreadable_D",
    "contaminated_D",
    "id_hash_D",
    "document_D",
    "window_D",
    "piece_D",
    "row_D",
)


def hash_strings(bytes_B: NDArray[np.uint8], offsets_S: NDArray[np.integer]) -> NDArray[np.uint64]:
    """A 64-bit hash of each of S strings that lie in one buffer, as Arrow keeps them, without a Python loop.

    A polynomial over the bytes modulo 2^64, finished by splitmix64. Good enough to draw samples by, where a collision costs
    nothing; not for telling texts apart.

    Args:
        bytes_B: UTF-8 of all strings, one after the other.
        offsets_S: S + 1 places in ``bytes_B``; string i is ``bytes_B[offsets_S[i]:offsets_S[i + 1]]``.

    Returns:
        uint64 (S,), the same on every machine.
    """
    return hash_ranges(bytes_B, offsets_S[:-1].astype(np.int64), offsets_S[1:].astype(np.int64))


def hash_ranges(bytes_B: NDArray[np.uint8], start_S: NDArray[np.int64], end_S: NDArray[np.int64]) -> NDArray[np.uint64]:
    """``hash_strings`` for S half-open ranges of a buffer, ascending and apart; what lies between them is not read."""
    if start_S.size == 0:
        return np.zeros(0, np.uint64)
    first, last = int(start_S[0]), int(end_S[-1])
    strides_S = np.diff(start_S, append=last)
    place_B = np.arange(first, last) - np.repeat(start_S, strides_S)
    power_L = np.full(int(strides_S.max()) + 1, _BASE, np.uint64).cumprod(dtype=np.uint64)
    total_B = np.zeros(last - first + 1, np.uint64)
    term_B = bytes_B[first:last].astype(np.uint64)
    term_B += np.uint64(1)  # so that trailing zero bytes count
    term_B *= power_L[place_B]
    np.cumsum(term_B, out=total_B[1:])
    return mix64(total_B[end_S - first] - total_B[start_S - first])


def mix64(word_D: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): a bijection of 64-bit words that spreads every bit."""
    word_D = word_D + np.uint64(0x9E3779B97F4A7C15)
    word_D = (word_D ^ (word_D >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word_D = (word_D ^ (word_D >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word_D ^ (word_D >> np.uint64(31))


_BASE = np.uint64(0x9E3779B97F4A7C15 | 1)

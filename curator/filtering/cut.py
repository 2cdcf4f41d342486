"""Where one target's ranking ends, found without holding the ranking: exact, in flat memory, over any number of rows.

A target that takes the best units up to a fraction or a budget keeps a prefix of the order by score, then raw value, then place
in the corpus, and the prefix ends before the first unit that does not fit. So three numbers say who is kept: the score and the
value at the end, and how many of the units with just these are kept. The bits of a float, read as a whole number, stand in the
float's order, so the two are found sixteen bits at a time, from counts and tokens of 65,536 buckets.

Scores, values and tokens are spilled to an unnamed file, 24 bytes a row, and read nine times from its beginning to its end: two
minutes for a thousand million rows. Memory: one block. It does not know several targets, which compete (see ``assign``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from curator.filtering.policy import TargetLimit, fraction_count

_ROW = np.dtype([("score", "<f8"), ("value", "<f8"), ("tokens", "<i8")])
_BLOCK_ROWS = 1 << 16
_SHIFTS = (48, 32, 16, 0)
_BUCKETS = 1 << 16
Blocks = Callable[[], Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]]
"""Reads keys and tokens from the beginning, block by block."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The end of a ranking: units above (score, value) are kept, and the first ``ties`` of those that have just these.

    Both are kept as keys, see ``falling``. With ``ties`` None everything that may be chosen is kept.
    """

    score_key: int = 0
    value_key: int = 0
    ties: int | None = None


class Walk:
    """Applies a cut to the units of a corpus, part after part in their order."""

    def __init__(self, cut: Cut, limit: TargetLimit) -> None:
        self._cut, self._floor = cut, -math.inf if limit.threshold is None else limit.threshold
        self._seen = 0

    @property
    def score(self) -> float | None:
        """The score at the cut; None where everything is kept that may be chosen."""
        return None if self._cut.ties is None else _number(self._cut.score_key)

    def take(self, score_U: NDArray[np.float64], value_U: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of the next U units are kept; NaN is not."""
        able_U = score_U >= self._floor
        if self._cut.ties is None:
            return able_U
        score_key, value_key = np.uint64(self._cut.score_key), np.uint64(self._cut.value_key)
        first_U, second_U = falling(score_U), falling(value_U)
        same_U = able_U & (first_U == score_key)
        tie_U = same_U & (second_U == value_key)
        ordinal_U = self._seen + np.cumsum(tie_U)
        self._seen += int(np.count_nonzero(tie_U))
        above_U = (first_U < score_key) | (same_U & (second_U < value_key))
        return able_U & (above_U | (tie_U & (ordinal_U <= self._cut.ties)))


class Ranking:
    """Spills what may be chosen for one target, then finds the cut; a context manager."""

    def __init__(self, folder: Path, limit: TargetLimit) -> None:
        self._limit = limit
        self._file: Any = TemporaryFile(dir=folder)  # noqa: SIM115 - closed when the block ends
        self._counted = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(
        self, score_U: NDArray[np.float64], value_U: NDArray[np.float64], tokens_U: NDArray[np.int64], unranked: int = 0
    ) -> None:
        """Take in the next U units; a score of NaN may not be chosen and does not count for fractions, ``unranked`` more do."""
        self._counted += int(np.count_nonzero(~np.isnan(score_U))) + unranked
        able_K = np.flatnonzero(score_U >= (-math.inf if self._limit.threshold is None else self._limit.threshold))
        rows_K = np.empty(able_K.size, _ROW)
        rows_K["score"], rows_K["value"], rows_K["tokens"] = score_U[able_K], value_U[able_K], tokens_U[able_K]
        self._file.write(rows_K.tobytes())

    def cut(self) -> Cut:
        """Where the ranking ends."""
        limit = self._limit
        units = None if limit.keep_fraction is None else fraction_count(limit.keep_fraction, self._counted)
        room = _Room(units, limit.token_budget)
        score_key, room = _boundary(lambda: self._keys("score"), room)
        if score_key is None:
            return Cut()
        value_key, room = _boundary(lambda: self._keys("value", score=score_key), room)
        if value_key is None:
            raise AssertionError("units of one score fit where their sum did not")
        tied = self._keys("value", score=score_key, value=value_key)
        return Cut(score_key, value_key, _how_many_fit((tokens_K for _, tokens_K in tied), room))

    def _keys(
        self, column: str, score: int | None = None, value: int | None = None
    ) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """Keys of a column with the tokens, of all rows or of those with a certain score and value."""
        self._file.seek(0)
        while data := self._file.read(_BLOCK_ROWS * _ROW.itemsize):
            rows_B = np.frombuffer(data, _ROW)
            for name, wanted in (("score", score), ("value", value)):
                if wanted is not None:
                    rows_B = rows_B[falling(rows_B[name]) == np.uint64(wanted)]
            yield falling(rows_B[column]), rows_B["tokens"]


def falling(number_U: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Whole numbers that rise as the floats fall; both zeros are one, NaN is anything."""
    bits_U = np.ascontiguousarray(number_U + 0.0).view(np.uint64)
    sign = np.uint64(1 << 63)
    return ~np.where(bits_U & sign, ~bits_U, bits_U | sign)


def _number(key: int) -> float:
    """The float of a key."""
    bits = ~key & ((1 << 64) - 1)
    sign = 1 << 63
    return float(np.array([bits ^ sign if bits & sign else ~bits & ((1 << 64) - 1)], np.uint64).view(np.float64)[0])


class _Room(NamedTuple):
    """Units and tokens that may still be taken; None is any number."""

    units: int | None
    tokens: int | None

    def fits(self, units_X: NDArray[np.int64], tokens_X: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each of these sums is within both."""
        units = True if self.units is None else units_X <= self.units
        tokens = True if self.tokens is None else tokens_X <= self.tokens
        return np.broadcast_to(np.logical_and(units, tokens), units_X.shape)

    def less(self, units: int, tokens: int) -> _Room:
        """What is left after so many."""
        return _Room(
            None if self.units is None else self.units - units, None if self.tokens is None else self.tokens - tokens
        )


def _boundary(blocks: Blocks, room: _Room) -> tuple[int | None, _Room]:
    """The first key whose units do not all fit, and the room when those before it are taken; None when all fit."""
    prefix = 0
    for shift in _SHIFTS:
        units_B, tokens_B = np.zeros(_BUCKETS, np.int64), np.zeros(_BUCKETS, np.int64)
        for key_K, tokens_K in blocks():
            upper_K, digit_K = key_K >> np.uint64(shift), (key_K >> np.uint64(shift)) & np.uint64(_BUCKETS - 1)
            mine_K = (upper_K >> np.uint64(16)) == np.uint64(prefix)
            place_K = digit_K[mine_K].astype(np.int64)
            units_B += np.bincount(place_K, minlength=_BUCKETS)
            tokens_B += np.bincount(place_K, tokens_K[mine_K], _BUCKETS).astype(np.int64)  # exact up to 2^53 tokens
        fits_B = room.fits(np.cumsum(units_B), np.cumsum(tokens_B))
        if fits_B.all():
            return None, room
        bucket = int(np.argmin(fits_B))
        room = room.less(int(units_B[:bucket].sum()), int(tokens_B[:bucket].sum()))
        prefix = prefix << 16 | bucket
    return prefix, room


def _how_many_fit(tokens: Iterator[NDArray[np.int64]], room: _Room) -> int:
    """Length of the longest prefix within the room."""
    taken = 0
    for tokens_K in tokens:
        fits_K = room.fits(np.arange(1, tokens_K.size + 1), np.cumsum(tokens_K))
        count = tokens_K.size if fits_K.all() else int(np.argmin(fits_K))
        taken += count
        if count < tokens_K.size:
            break
        room = room.less(count, int(tokens_K.sum()))
    return taken

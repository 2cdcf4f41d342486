"""Which rows go into which output shard: a pure function of the rows' sizes, in the order of the corpus.

A shard takes rows while they fit into its target size (bytes of the user's part of each record as JSON lines); a row larger
than that has a shard of its own. Shard boundaries therefore depend on nothing but the decisions: not on formats, workers or
compression, nor on the parts in which the rows come. Cost: one cumulative sum and a binary search a shard. Memory: the shards. It
does not know files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_SHARD = -1
FIRST_REJECTED = 1 << 30
"""Shard numbers of rejected rows begin here, for how many kept shards there will be is not known while rows are packed."""


class OutputShard(NamedTuple):
    """One shard to be written: its kind, its number within the kind, and the rows of the corpus that it spans."""

    kind: str
    number: int
    first_row: int
    end_row: int
    rows: int


class Packer:
    """Packs the rows of one kind; ``shards`` are complete after ``finish``."""

    def __init__(self, kind: str, target_bytes: int, base: int = 0) -> None:
        self.shards: list[OutputShard] = []
        self._kind, self._target, self._base = kind, target_bytes, base
        self._first = self._end = self._rows = self._bytes = 0

    def add(
        self, chosen_D: NDArray[np.bool_], size_D: NDArray[np.int64], shard_D: NDArray[np.int32], before: int
    ) -> None:
        """Pack the chosen ones of the next D rows and write the base plus their shard's number into ``shard_D``.

        ``before`` is the number of rows of the corpus before them.
        """
        row_K = np.flatnonzero(chosen_D)
        total_K = np.cumsum(size_D[row_K], dtype=np.int64)
        start = 0
        while start < row_K.size:
            done = int(total_K[start - 1]) if start else 0
            fits = int(np.searchsorted(total_K, done + self._target - self._bytes, side="right"))
            end = max(fits, start + (not self._rows))  # an empty shard takes any row
            if end > start:
                shard_D[row_K[start:end]] = self._base + len(self.shards)
                self._first = self._first if self._rows else before + int(row_K[start])
                self._end = before + int(row_K[end - 1]) + 1
                self._rows += end - start
                self._bytes += int(total_K[end - 1]) - done
                start = end
            if start < row_K.size:
                self.finish()

    def finish(self) -> None:
        """Close the open shard, if there is one."""
        if self._rows:
            self.shards.append(OutputShard(self._kind, len(self.shards), self._first, self._end, self._rows))
        self._rows = self._bytes = 0

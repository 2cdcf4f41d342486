"""Which rows go into which output shard: a pure function of the rows' sizes, in the order of the corpus.

A shard takes rows while they fit into its target size (bytes of the user's part of each record as JSON lines); a row larger
than that has a shard of its own. Shard boundaries therefore depend on nothing but the decisions: not on formats, workers or
compression. Cost: one cumulative sum and a binary search a shard. It does not know files.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_SHARD = -1


class OutputShard(NamedTuple):
    """One shard to be written: its kind, its number within the kind, and the rows of the corpus that it spans."""

    kind: str
    number: int
    first_row: int
    end_row: int
    rows: int


def pack(size_K: NDArray[np.int64], target_bytes: int) -> NDArray[np.int64]:
    """Ends of the shards of K rows: shard i holds rows ``ends[i - 1]`` up to ``ends[i]``; empty for no rows."""
    total_K = np.cumsum(size_K, dtype=np.int64)
    ends: list[int] = []
    start = 0
    while start < size_K.size:
        before = int(total_K[start - 1]) if start else 0
        start = max(start + 1, int(np.searchsorted(total_K, before + target_bytes, side="right")))
        ends.append(start)
    return np.asarray(ends, dtype=np.int64)


def pack_rows(
    kind: str,
    chosen_D: NDArray[np.bool_],
    size_D: NDArray[np.int64],
    target_bytes: int,
    shard_D: NDArray[np.int32],
    base: int,
) -> list[OutputShard]:
    """Shards of the chosen rows; writes ``base`` plus each row's shard number into ``shard_D``."""
    row_K = np.flatnonzero(chosen_D)
    ends = pack(size_D[row_K], target_bytes)
    counts = np.diff(ends, prepend=0)
    shard_D[row_K] = np.repeat(np.arange(base, base + ends.size, dtype=np.int32), counts)
    return [
        OutputShard(kind, number, int(row_K[end - count]), int(row_K[end - 1]) + 1, int(count))
        for number, (end, count) in enumerate(zip(ends.tolist(), counts.tolist(), strict=True))
    ]

"""A selection on disk: the verdict on every row and the output shards to be written.

What the third phase needs of the second lies in flat NumPy files, 8 bytes a row, that are written part by part and that every
process maps into memory. A *unit* is what one verdict is about and what becomes one output row: a document, or a window where
the policy decides windows each on their own; the facts of a unit stand at its first row. It does not know how verdicts are made.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from curator import fingerprint
from curator.files import atomic_file, read_json, write_json
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord
from curator.filtering.packing import FIRST_REJECTED, OutputShard
from curator.filtering.shards import describe
from curator.filtering.tally import FilterReport

SELECTION = "selection"
SELECT_STEP = "select"
_ARRAYS = {"reason_D": np.int16, "target_D": np.int16, "shard_D": np.int32, "piece_start_P": np.int64}


@dataclass(frozen=True, eq=False, slots=True)
class Selection:
    """The verdicts on D rows of P pieces, and the shards that follow.

    Attributes:
        reason_D: int16 codes into ``REASONS``; 0 where a row is kept.
        target_D: int16, number of the policy's target that a kept row counts for, -1 for none.
        shard_D: int32, number of the shard that the unit beginning at this row is written to, as ``packing`` counts them;
            ``places`` says where it stands in ``shards``.
        piece_start_P: int64 (P + 1,), first row of each piece, and D.
        shards: what is to be written, kept before rejected.
        targets: names behind ``target_D``.
        report: the counts of the whole job.
        shift: how what is kept differs from all, by length and by source, as JSON.
        prefilter: what the prefilter before the model promised, and whether it held; empty without one.
    """

    reason_D: NDArray[np.int16]
    target_D: NDArray[np.int16]
    shard_D: NDArray[np.int32]
    piece_start_P: NDArray[np.int64]
    shards: tuple[OutputShard, ...]
    targets: tuple[str, ...]
    report: FilterReport
    shift: dict[str, Any]
    prefilter: dict[str, Any]

    def total(self, kind: str) -> int:
        """Number of shards of one kind; kept ones stand before rejected ones."""
        kept = bisect_left(self.shards, 1, key=lambda shard: shard.kind != "kept")
        return kept if kind == "kept" else len(self.shards) - kept

    def places(self, start: int, end: int) -> NDArray[np.int32]:
        """For each of some rows the place in ``shards`` of the shard that its unit is written to, -1 for none."""
        shard_R = np.asarray(self.shard_D[start:end])
        return np.where(shard_R < FIRST_REJECTED, shard_R, shard_R - FIRST_REJECTED + self.total("kept"))

    def pieces_of(self, first_row: int, end_row: int) -> range:
        """The pieces that hold any of the rows from ``first_row`` up to ``end_row``."""
        first, last = np.searchsorted(self.piece_start_P, [first_row, end_row - 1], side="right") - 1
        return range(int(first), int(last) + 1)

    def groups(self) -> list[list[int]]:
        """Shards that are written in one go, because their first rows lie in one piece: nothing is read more than twice."""
        found: dict[tuple[str, int], list[int]] = {}
        for place, shard in enumerate(self.shards):
            piece = self.pieces_of(shard.first_row, shard.first_row + 1)[0]
            found.setdefault((shard.kind, piece), []).append(place)
        return list(found.values())


def select_inputs(job: Job) -> str:
    """What the selection and everything after it depends on."""
    return fingerprint.of_parts([SELECT_STEP, job.plan.fingerprint])


def load_selection(work: Path) -> Selection:
    """The selection of a work folder, its arrays mapped from disk."""
    folder = work / SELECTION
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _ARRAYS}
    plan = read_json(folder / "shards.json")
    return Selection(
        **arrays,
        shards=tuple(OutputShard(*shard) for shard in plan["shards"]),
        targets=tuple(plan["targets"]),
        report=FilterReport.from_json(plan["report"]),
        shift=plan["shift"],
        prefilter=plan["prefilter"],
    )


class SelectionWriter:
    """Writes the arrays of a selection part by part, each file whole or not at all; a context manager."""

    def __init__(self, job: Job, piece_start_P: NDArray[np.int64]) -> None:
        self._job, self._folder, self._start_P = job, job.work / SELECTION, piece_start_P
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        rows = int(self._start_P[-1])
        self._files = {name: self._open(name, rows) for name in ("reason_D", "target_D", "shard_D")}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _open(self, name: str, rows: int) -> IO[bytes]:
        handle = self._stack.enter_context(atomic_file(self._folder / f"{name}.npy"))
        header = {"descr": np.dtype(_ARRAYS[name]).str, "fortran_order": False, "shape": (rows,)}
        np.lib.format.write_array_header_1_0(handle, header)
        return handle

    def add(self, **arrays: NDArray[Any]) -> None:
        """Append ``reason_D``, ``target_D`` and ``shard_D`` of the next rows."""
        for name, handle in self._files.items():
            handle.write(np.ascontiguousarray(arrays[name], dtype=_ARRAYS[name]).tobytes())

    def commit(self, facts: Mapping[str, Any]) -> ShardRecord:
        """Give the files their names, write the small ones, and enter the step in the ledger."""
        self._stack.close()
        with atomic_file(self._folder / "piece_start_P.npy") as handle:
            np.save(handle, self._start_P, allow_pickle=False)
        write_json(self._folder / "shards.json", facts)
        files = tuple(describe(path, self._job.work) for path in sorted(self._folder.iterdir()))
        record = ShardRecord(
            step=SELECT_STEP, inputs=select_inputs(self._job), files=files, rows=int(self._start_P[-1])
        )
        return Ledger(self._job.work).commit(record)

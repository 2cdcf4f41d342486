"""The second phase: from all score files to the verdict on every row and the output shards to be written.

    score files ─► arrays ─► verdicts ─► report
                               └► packing ─► selection/*.npy, shards.json ─► ledger

Where one target is limited by a threshold, a fraction or a budget, the pieces are decided one after the other: a threshold needs
no other piece, and where a fraction or a budget ends is found first (``cut``). Memory is then flat in the number of documents.
Several targets compete for documents, and copies lie anywhere, so these are decided with all rows in memory, 130 bytes each;
exact and near duplicates need more. Cost: seconds for ten million rows, without a model or a text. It does not know texts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import ArtifactError
from curator.filtering.arrays import ScoreArrays
from curator.filtering.cascade import promise, too_deep
from curator.filtering.cascade_plan import PREFILTER
from curator.filtering.counting import first_rows, report_of
from curator.filtering.cut import Ranking, Walk
from curator.filtering.gather import Extras, gather
from curator.filtering.job import Job
from curator.filtering.ledger import ShardRecord
from curator.filtering.packing import FIRST_REJECTED, NO_SHARD, Packer
from curator.filtering.select import Verdicts, consider, select
from curator.filtering.selection import SelectionWriter
from curator.filtering.shift import ShiftCounter
from curator.filtering.tally import FilterReport
from curator.filtering.units import Units, units_of
from curator.scoring.prefilter import load_prefilter

MINHASH = "minhash"


def make_selection(job: Job, scored: Sequence[ShardRecord]) -> ShardRecord:
    """Decide every row of a job whose pieces are all scored, and commit the selection."""
    policy = job.plan.policy
    parts = _Parts(job, scored)
    walk = _walk(job, parts)
    piece_start_P = np.cumsum([0, *(record.rows for record in scored)], dtype=np.int64)
    made = _Made(job)
    with SelectionWriter(job, piece_start_P) as writer:
        for arrays, units in parts:
            verdicts = select(arrays, policy, units, walk)
            shard_D = made.add(arrays, units, verdicts)
            writer.add(reason_D=verdicts.reason_D, target_D=verdicts.target_D, shard_D=shard_D)
        return writer.commit(made.facts())


class _Parts:
    """The rows of a job with their units, in the parts that are decided by themselves; can be gone through again."""

    def __init__(self, job: Job, scored: Sequence[ShardRecord]) -> None:
        policy = job.plan.policy
        self._job = job
        self._groups = [[record] for record in scored] if policy.decides_in_parts and scored else [list(scored)]
        self._extras = Extras(
            id_hashes=policy.soft_width > 0,
            text_hashes=policy.drop_duplicates,
            signatures=policy.near_duplicates is not None and MINHASH in job.plan.scoring.annotators,
        )

    def __iter__(self) -> Iterator[tuple[ScoreArrays, Units]]:
        first = 0
        for group in self._groups:
            arrays = gather(self._job.work, group, self._job.targets, self._extras, first_piece=first)
            yield arrays, units_of(arrays, self._job.plan.policy.windows)
            first += len(group)


def _walk(job: Job, parts: _Parts) -> Walk | None:
    """The end of the ranking, where it must be known before the first part is decided."""
    policy = job.plan.policy
    if not policy.decides_in_parts or policy.limits[0].decides_alone:
        return None
    with Ranking(job.work, policy.limits[0]) as ranking:
        for arrays, units in parts:
            seen = consider(arrays, policy, units)
            ranking.add(seen.ranked_LU[0], seen.value_LU[0], units.tokens_U, seen.unranked)
        return Walk(ranking.cut(), policy.limits[0])


class _Made:
    """What adds up over the parts of a selection."""

    def __init__(self, job: Job) -> None:
        self._job, target_bytes = job, job.plan.options.target_shard_bytes
        self._kept = Packer("kept", target_bytes)
        self._rejected = Packer("rejected", target_bytes, FIRST_REJECTED)
        self._names = tuple(job.plan.policy.limits_by_target(job.targets))
        self._report = FilterReport()
        self._shift = ShiftCounter([piece.uri for piece in job.plan.scoring.pieces])
        self._filled: set[str] = set()
        self._rows = 0

    def add(self, arrays: ScoreArrays, units: Units, verdicts: Verdicts) -> NDArray[np.int32]:
        """Count and pack the next part; returns the shard numbers of its rows."""
        self._report += report_of(arrays, units, verdicts, self._names)
        self._shift.add(arrays, verdicts)
        self._filled.update(name for name, one in zip(self._names, verdicts.targets, strict=True) if one.filled)
        first_D = first_rows(arrays, verdicts)
        size_D = _unit_sizes(arrays, first_D)
        shard_D = np.full(arrays.rows, NO_SHARD, np.int32)
        self._kept.add(first_D & verdicts.kept_D, size_D, shard_D, self._rows)
        if self._job.plan.options.write_rejected:
            rejected_D = first_D & ~verdicts.kept_D & ~arrays.unreadable_D
            self._rejected.add(rejected_D, size_D, shard_D, self._rows)
        self._rows += arrays.rows
        return shard_D

    def facts(self) -> dict[str, Any]:
        """Shards, targets, report, shift and the prefilter's promise, as they are saved."""
        self._kept.finish()
        self._rejected.finish()
        if not self._report.adds_up:
            raise ArtifactError("The counts of this selection do not add up, which is a bug; nothing was written.")
        return {
            "shards": [*self._kept.shards, *self._rejected.shards],
            "targets": self._names,
            "report": self._report.to_json(),
            "shift": self._shift.total().to_json(),
            "prefilter": self._prefilter_promise(),
        }

    def _prefilter_promise(self) -> dict[str, Any]:
        """What a prefilter promised, where there is one.

        Raises ConfigError when a policy that it was not made for reaches below what it may have stopped.
        """
        plan = self._job.plan.scoring.cascade
        if plan is None:
            return {}
        reached = {name: self._reach(name) for name in self._names}
        found = promise(load_prefilter(self._job.work / PREFILTER).report, reached)
        if not found["held"] and self._job.plan.policy != plan.policy:
            raise too_deep(found["targets"])
        return found

    def _reach(self, name: str) -> float:
        """The score down to which a target would have taken rows: minus infinity where it had room left."""
        if name not in self._filled:
            return -np.inf
        cutoff = self._report.targets[name].cutoff
        return np.inf if cutoff is None else cutoff


def _unit_sizes(arrays: ScoreArrays, first_D: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At the first row of each unit its size, the sum over its rows; elsewhere anything."""
    if first_D.all():
        return arrays.size_D
    start_U = np.flatnonzero(first_D)
    size_D = arrays.size_D.copy()
    size_D[start_U] = np.add.reduceat(arrays.size_D, start_U)
    return size_D

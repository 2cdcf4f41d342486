"""The second phase: from all score files to the verdict on every row and the output shards to be written.

    score files ─► arrays ─► verdicts ─► report
                               └► packing ─► selection/*.npy, shards.json ─► ledger

What the third phase needs of it lies in flat NumPy files that every process maps into memory, 8 bytes a row. A *unit* is what
one verdict is about and what becomes one output row: a document, or a window where the policy decides windows each on their
own; the facts of a unit stand at its first row.

Cost: seconds for ten million rows, without a model or a text (``select`` has the numbers). Memory: 130 bytes a row at its peak,
of which 56 are the arrays (measured on 400,000 rows of one target under a fraction); draws by id, exact and near duplicates need
more. This is the one place whose memory grows with the number of documents. It does not know texts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator import fingerprint
from curator.errors import ArtifactError
from curator.files import atomic_file, read_json, write_json
from curator.filtering.arrays import REASONS, ScoreArrays
from curator.filtering.cascade import promise, too_deep
from curator.filtering.cascade_plan import PREFILTER
from curator.filtering.gather import Extras, gather
from curator.filtering.job import Job
from curator.filtering.ledger import Ledger, ShardRecord
from curator.filtering.packing import NO_SHARD, OutputShard, pack_rows
from curator.filtering.select import TargetVerdict, Verdicts, select
from curator.filtering.shards import describe
from curator.filtering.shift import shift_of
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport, TargetReport
from curator.filtering.units import Units, units_of
from curator.scoring.prefilter import load_prefilter

SELECTION = "selection"
SELECT_STEP = "select"
MINHASH = "minhash"
_ARRAYS = {"reason_D": np.int16, "target_D": np.int16, "shard_D": np.int32, "piece_start_P": np.int64}


@dataclass(frozen=True, eq=False, slots=True)
class Selection:
    """The verdicts on D rows of P pieces, and the shards that follow.

    Attributes:
        reason_D: int16 codes into ``REASONS``; 0 where a row is kept.
        target_D: int16, number of the policy's target that a kept row counts for, -1 for none.
        shard_D: int32, place in ``shards`` of the shard that the unit beginning at this row is written to, -1 for none.
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


def make_selection(job: Job, scored: Sequence[ShardRecord]) -> ShardRecord:
    """Decide every row of a job whose pieces are all scored, and commit the selection."""
    policy, options = job.plan.policy, job.plan.options
    extras = Extras(
        id_hashes=policy.soft_width > 0,
        text_hashes=policy.drop_duplicates,
        signatures=policy.near_duplicates is not None and MINHASH in job.plan.scoring.annotators,
    )
    arrays = gather(job.work, scored, job.targets, extras)
    units = units_of(arrays, policy.windows)
    verdicts = select(arrays, policy, units)
    names = tuple(verdict.name or job.targets[0] for verdict in verdicts.targets)
    report = report_of(arrays, units, verdicts, names)
    if not report.adds_up:
        raise ArtifactError("The counts of this selection do not add up, which is a bug; nothing was written.")
    prefilter = _prefilter_promise(job, verdicts)
    shift = shift_of(arrays, verdicts, [piece.uri for piece in job.plan.scoring.pieces])
    first_D = _first_rows(arrays, verdicts)
    size_D = _unit_sizes(arrays, first_D)
    shard_D = np.full(arrays.rows, NO_SHARD, np.int32)
    target_bytes = options.target_shard_bytes
    shards = pack_rows("kept", first_D & verdicts.kept_D, size_D, target_bytes, shard_D, 0)
    if options.write_rejected:
        rejected_D = first_D & ~verdicts.kept_D & ~arrays.unreadable_D
        shards += pack_rows("rejected", rejected_D, size_D, target_bytes, shard_D, len(shards))
    piece_start_P = np.cumsum([0, *(record.rows for record in scored)], dtype=np.int64)
    selection = Selection(
        verdicts.reason_D,
        verdicts.target_D,
        shard_D,
        piece_start_P,
        tuple(shards),
        names,
        report,
        shift.to_json(),
        prefilter,
    )
    return _save(job, selection)


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


def _save(job: Job, selection: Selection) -> ShardRecord:
    folder = job.work / SELECTION
    for name, kind in _ARRAYS.items():
        with atomic_file(folder / f"{name}.npy") as handle:
            np.save(handle, np.ascontiguousarray(getattr(selection, name), dtype=kind), allow_pickle=False)
    write_json(
        folder / "shards.json",
        {
            "shards": selection.shards,
            "targets": selection.targets,
            "report": selection.report.to_json(),
            "shift": selection.shift,
            "prefilter": selection.prefilter,
        },
    )
    files = tuple(describe(path, job.work) for path in sorted(folder.iterdir()))
    rows = int(selection.reason_D.size)
    return Ledger(job.work).commit(ShardRecord(step=SELECT_STEP, inputs=select_inputs(job), files=files, rows=rows))


def _prefilter_promise(job: Job, verdicts: Verdicts) -> dict[str, Any]:
    """What a prefilter promised, where there is one.

    Raises ConfigError when a policy that it was not made for reaches below what it may have stopped.
    """
    plan = job.plan.scoring.cascade
    if plan is None:
        return {}
    reached = {verdict.name or job.targets[0]: _reach(verdict) for verdict in verdicts.targets}
    found = promise(load_prefilter(job.work / PREFILTER).report, reached)
    if not found["held"] and job.plan.policy != plan.policy:
        raise too_deep(found["targets"])
    return found


def _reach(verdict: TargetVerdict) -> float:
    """The score down to which a target would have taken rows: minus infinity where it had room left."""
    if not verdict.filled:
        return -np.inf
    return np.inf if verdict.cutoff is None else verdict.cutoff


def _first_rows(arrays: ScoreArrays, verdicts: Verdicts) -> NDArray[np.bool_]:
    """Mask of the rows at which a unit begins."""
    return np.ones(arrays.rows, np.bool_) if verdicts.by_window else arrays.opens_document_D


def _unit_sizes(arrays: ScoreArrays, first_D: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At the first row of each unit its size, the sum over its rows; elsewhere anything."""
    if first_D.all():
        return arrays.size_D
    start_U = np.flatnonzero(first_D)
    size_D = arrays.size_D.copy()
    size_D[start_U] = np.add.reduceat(arrays.size_D, start_U)
    return size_D


def report_of(arrays: ScoreArrays, units: Units, verdicts: Verdicts, names: Sequence[str]) -> FilterReport:
    """Count a selection; ``names`` are those of the verdicts' targets."""
    first_U = np.flatnonzero(_first_rows(arrays, verdicts))
    target_U, unreadable_U = verdicts.target_D[first_U], arrays.unreadable_D[first_U]
    first_F = np.flatnonzero(arrays.opens_document_D)
    kept_F = np.logical_or.reduceat(verdicts.kept_D, first_F) if first_F.size else np.zeros(0, np.bool_)
    unreadable_F, reason_F = arrays.unreadable_D[first_F], verdicts.reason_D[first_F]
    kept_U = target_U >= 0
    return FilterReport(
        documents_in=int(np.count_nonzero(~unreadable_F)),
        documents_kept=int(np.count_nonzero(kept_F)),
        rows_in=int(np.count_nonzero(~unreadable_U)),
        rows_kept=int(np.count_nonzero(kept_U)),
        tokens_in=int(units.tokens_U.sum()),
        tokens_kept=int(units.tokens_U[kept_U].sum()),
        rejected=_counts(reason_F[~kept_F & ~unreadable_F]),
        unreadable=_counts(reason_F[unreadable_F]),
        targets={
            name: _target_report(verdict, units.probability_TU[arrays.targets.index(name)], target_U == number)
            for number, (name, verdict) in enumerate(zip(names, verdicts.targets, strict=True))
        },
    )


def _target_report(
    verdict: TargetVerdict, probability_U: NDArray[np.float64], kept_U: NDArray[np.bool_]
) -> TargetReport:
    return TargetReport(
        rows_kept=verdict.documents,
        tokens_kept=verdict.tokens,
        histogram_kept=_histogram(probability_U[kept_U]),
        histogram_rejected=_histogram(probability_U[~kept_U]),
        cutoff=verdict.cutoff,
    )


def _histogram(probability_U: NDArray[np.float64]) -> tuple[int, ...]:
    scored_U = probability_U[np.isfinite(probability_U)]
    bin_U = np.clip((scored_U * HISTOGRAM_BINS).astype(np.int64), 0, HISTOGRAM_BINS - 1)
    return tuple(np.bincount(bin_U, minlength=HISTOGRAM_BINS).tolist())


def _counts(reason_X: NDArray[np.int16]) -> dict[str, int]:
    counts = np.bincount(reason_X, minlength=len(REASONS))
    return dict(sorted((REASONS[code], int(count)) for code, count in enumerate(counts) if count))

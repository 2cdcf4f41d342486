"""Counts a selection, or a part of one: what becomes the report of a job. It does not know files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.filtering.arrays import REASONS, ScoreArrays
from curator.filtering.select import TargetVerdict, Verdicts
from curator.filtering.tally import HISTOGRAM_BINS, FilterReport, TargetReport
from curator.filtering.units import Units


def report_of(arrays: ScoreArrays, units: Units, verdicts: Verdicts, names: Sequence[str]) -> FilterReport:
    """Count a selection; ``names`` are those of the verdicts' targets."""
    first_U = np.flatnonzero(first_rows(arrays, verdicts))
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
        near_cutoff=verdict.near_cutoff,
    )


def _histogram(probability_U: NDArray[np.float64]) -> tuple[int, ...]:
    scored_U = probability_U[np.isfinite(probability_U)]
    bin_U = np.clip((scored_U * HISTOGRAM_BINS).astype(np.int64), 0, HISTOGRAM_BINS - 1)
    return tuple(np.bincount(bin_U, minlength=HISTOGRAM_BINS).tolist())


def _counts(reason_X: NDArray[np.int16]) -> dict[str, int]:
    counts = np.bincount(reason_X, minlength=len(REASONS))
    return dict(sorted((REASONS[code], int(count)) for code, count in enumerate(counts) if count))


def first_rows(arrays: ScoreArrays, verdicts: Verdicts) -> NDArray[np.bool_]:
    """Mask of the rows at which a unit begins."""
    return np.ones(arrays.rows, np.bool_) if verdicts.by_window else arrays.opens_document_D

"""Exact correlation of candidate pairs on the held-back spans, with a delete-one-fold standard error.

The atlases carry every neuron's standardised value on the same few thousand spans that entered no signature, so verification
neither runs a model nor reuses what chose the candidates. Pearson's ρ is taken over the spans where both models have a
value to standardise (an uncovered span counts as the mean, and there are next to none). Products are summed in float32 over a
fold and in float64 over folds. Cost: V multiplications per pair. It does not know how candidates were found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK_PAIRS = 2048


@dataclass(frozen=True, slots=True)
class PairSums:
    """Per-fold sums of P candidate pairs over the held-back spans: all (P, F) float64, ``count_F`` spans of each fold."""

    xy: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    count_F: np.ndarray

    def correlation(self, folds: np.ndarray) -> np.ndarray:
        """Pearson's ρ of every pair over the folds chosen by a (F,) bool mask; 0 where a side is constant. (P,)."""
        n = max(1.0, float(self.count_F[folds].sum()))
        xy, x, y, xx, yy = (part[:, folds].sum(axis=1) for part in (self.xy, self.x, self.y, self.xx, self.yy))
        covariance = xy / n - x / n * (y / n)
        scale = np.sqrt(np.maximum(xx / n - (x / n) ** 2, 0) * np.maximum(yy / n - (y / n) ** 2, 0))
        return np.where(scale > 1e-12, covariance / np.where(scale > 1e-12, scale, 1), 0.0)

    def jackknife_error(self) -> np.ndarray:
        """Delete-one-fold standard error of ρ, (P,) [Efron and Stein 1981]; infinite where fewer than two folds hold spans."""
        filled = np.flatnonzero(self.count_F > 0)
        if len(filled) < 2:
            return np.full(len(self.xy), np.inf)
        estimates = []
        for left_out in filled:
            kept = self.count_F > 0
            kept[left_out] = False
            estimates.append(self.correlation(kept))
        spread = np.stack(estimates)
        factor = (len(filled) - 1) / len(filled)
        return np.sqrt(factor * ((spread - spread.mean(axis=0)) ** 2).sum(axis=0))


def pair_sums(
    first_NV: np.ndarray, second_NV: np.ndarray, pairs_P2: np.ndarray, fold_V: np.ndarray, folds: int
) -> PairSums:
    """Sums over the held-back spans for the pairs (row of ``first_NV``, row of ``second_NV``)."""
    membership_VF = np.zeros((len(fold_V), folds), dtype=np.float32)
    membership_VF[np.arange(len(fold_V)), fold_V] = 1
    xy = np.empty((len(pairs_P2), folds))
    for start in range(0, len(pairs_P2), _BLOCK_PAIRS):
        block = pairs_P2[start : start + _BLOCK_PAIRS]
        product = _filled(first_NV[block[:, 0]]) * _filled(second_NV[block[:, 1]])
        xy[start : start + len(block)] = product @ membership_VF
    x, xx = _own_sums(first_NV, np.unique(pairs_P2[:, 0]), membership_VF)
    y, yy = _own_sums(second_NV, np.unique(pairs_P2[:, 1]), membership_VF)
    first, second = pairs_P2[:, 0], pairs_P2[:, 1]
    return PairSums(xy, x[first], y[second], xx[first], yy[second], np.bincount(fold_V, minlength=folds).astype(float))


def _own_sums(values_NV: np.ndarray, rows: np.ndarray, membership_VF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sums = np.zeros((len(values_NV), membership_VF.shape[1]))
    squares = np.zeros_like(sums)
    for start in range(0, len(rows), _BLOCK_PAIRS):
        block = rows[start : start + _BLOCK_PAIRS]
        values = _filled(values_NV[block])
        sums[block] = values @ membership_VF
        squares[block] = (values * values) @ membership_VF
    return sums, squares


def _filled(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float32), nan=0.0)

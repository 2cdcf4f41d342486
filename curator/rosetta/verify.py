"""Exact correlation of candidate pairs on the held-back spans, with a delete-one-fold standard error.

The atlases carry every neuron's standardised value on the same few thousand spans that entered no signature, so verification
neither runs a model nor reuses what chose the candidates. Pearson's ρ is taken over the spans that both views cover, and over
nothing else. Of two true views these are nearly all spans; of a view and a decoy about six in ten, for a decoy has no
value where a document is shorter than its partner. Counted as the mean, such spans shrank ρ by the square root of what was
covered: decoys looked weaker than chance is, and their q-values passed neurons that share a domain only. Which spans a view
covers depends on the model and the text, not on the neuron, so one row tells it; the referee asks each pair for itself.

Products are summed in float32 over a fold and in float64 over folds; a certificate says how far ρ lies from float64 throughout.
Cost: V multiplications per pair, held values read in blocks of rows. It does not know how candidates were found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from curator.rosetta.pairwise import MEMORY_BYTES, Rows, pair_products, row_blocks, rows_that_fit

_CERTIFIED_PAIRS = 256
_REFEREE_ROWS = 32


@dataclass(frozen=True, slots=True)
class PairSums:
    """Per-fold sums of P candidate pairs over the spans, all float64; ``count_F`` spans of each fold.

    ``xy`` (P, F) sums of products; ``x`` and ``xx`` (A, F) sums and squares of A neurons of one model, ``y`` and ``yy`` (B, F)
    of the other; ``left`` and ``right`` (P,) int64 say which a pair is of. ``certificate`` is the worst \\|difference\\| of ρ
    to a float64 referee over sampled pairs, NaN where none was asked.
    """

    xy: np.ndarray
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    yy: np.ndarray
    left: np.ndarray
    right: np.ndarray
    count_F: np.ndarray
    certificate: float = math.nan

    @classmethod
    def joined(cls, parts: Sequence[PairSums]) -> PairSums:
        """The sums of several lots of pairs over the same spans, one after the other; at least one lot."""
        together = (np.concatenate(lots) for lots in zip(*(part._sums for part in parts), strict=True))
        left, right = (
            np.concatenate([rows + start for rows, start in zip(sides, _starts(sums), strict=True)])
            for sides, sums in (
                ([part.left for part in parts], [part.x for part in parts]),
                ([part.right for part in parts], [part.y for part in parts]),
            )
        )
        worst = max(part.certificate for part in parts)
        return cls(*together, left=left, right=right, count_F=parts[0].count_F, certificate=worst)

    @property
    def _sums(self) -> tuple[np.ndarray, ...]:
        return self.xy, self.x, self.y, self.xx, self.yy

    def correlation(self, folds: np.ndarray | None = None) -> np.ndarray:
        """Pearson's ρ of every pair over the folds chosen by a (F,) bool mask, or all; 0 where a side is constant. (P,)."""
        folds = np.ones(len(self.count_F), dtype=bool) if folds is None else folds
        n = max(1.0, float(self.count_F[folds].sum()))
        xy, x, y, xx, yy = (part[:, folds].sum(axis=1) / n for part in self._sums)
        covariance = xy - x[self.left] * y[self.right]
        scale = np.sqrt(np.maximum(xx - x**2, 0)[self.left] * np.maximum(yy - y**2, 0)[self.right])
        return np.where(scale > 1e-12, covariance / np.where(scale > 1e-12, scale, 1), 0.0)

    def of(self, rows: np.ndarray) -> PairSums:
        """The sums of some of the pairs."""
        return replace(self, xy=self.xy[rows], left=self.left[rows], right=self.right[rows])

    def resampled(self, weight_F: np.ndarray) -> PairSums:
        """The sums as if each fold stood in the corpus as many times as its weight says, (F,) of whole or other numbers."""
        xy, x, y, xx, yy = (part * weight_F for part in self._sums)
        return replace(self, xy=xy, x=x, y=y, xx=xx, yy=yy, count_F=self.count_F * weight_F)

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


def _starts(lots: Sequence[np.ndarray]) -> list[int]:
    """The first row of each lot when they stand one after the other."""
    return np.cumsum([0, *(len(lot) for lot in lots[:-1])]).tolist()


def even_folds(folds: int) -> np.ndarray:
    """The first of the two halves of the corpus that a match must be mutual in, (F,) bool; the other folds are the second."""
    return np.arange(folds) % 2 == 0


Verify = Callable[[np.ndarray], PairSums]
"""Distinct candidate pairs of flat neuron indices, (P, 2), to their sums."""


@dataclass(frozen=True, slots=True)
class HeldRows:
    """Held-back values as float32 rows: the spans ``span_V``, in that order (by fold)."""

    held_NV: np.ndarray
    span_V: np.ndarray

    @property
    def width(self) -> int:
        """Spans read."""
        return len(self.span_V)

    def __len__(self) -> int:
        return len(self.held_NV)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, (stop - start, V) float32."""
        rows = self.held_NV[start:stop]
        if not np.array_equal(self.span_V, np.arange(self.held_NV.shape[1])):
            rows = rows[:, self.span_V]
        return filled(rows)

    def kept(self, limit: int) -> Rows:
        """The same rows, converted once and kept in memory when they take no more than ``limit`` bytes."""
        return KeptRows(self.block(0, len(self))) if 4 * len(self) * self.width <= limit else self


@dataclass(frozen=True, slots=True)
class KeptRows:
    """Rows of a float32 array in memory."""

    values_NV: np.ndarray

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return int(self.values_NV.shape[1])

    def __len__(self) -> int:
        return len(self.values_NV)

    def block(self, start: int, stop: int) -> np.ndarray:
        """Rows ``start`` to ``stop``, a view."""
        return self.values_NV[start:stop]


def pair_sums(
    first_NV: np.ndarray,
    second_NV: np.ndarray,
    pairs_P2: np.ndarray,
    fold_V: np.ndarray,
    folds: int,
    *,
    memory_bytes: int = MEMORY_BYTES,
) -> PairSums:
    """Sums over the held-back spans that both cover, for the pairs (row of ``first_NV``, row of ``second_NV``)."""
    covered_V = covered(first_NV, pairs_P2[:, 0]) & covered(second_NV, pairs_P2[:, 1])
    span_V = np.flatnonzero(covered_V)
    span_V = span_V[np.argsort(fold_V[span_V], kind="stable")]
    bounds = np.searchsorted(fold_V[span_V], np.arange(folds + 1))
    first, second = (HeldRows(values, span_V).kept(memory_bytes // 8) for values in (first_NV, second_NV))
    x, xx = _powers(first, bounds, memory_bytes)
    y, yy = _powers(second, bounds, memory_bytes)
    left, right = pairs_P2[:, 0], pairs_P2[:, 1]
    xy = pair_products(first, second, pairs_P2, bounds, memory_bytes=memory_bytes // 2).astype(np.float64)
    return PairSums(xy, x, y, xx, yy, left, right, np.diff(bounds).astype(np.float64))


def covered(held_NV: np.ndarray, rows_R: np.ndarray) -> np.ndarray:
    """Which held-back spans a view has a value for, (V,) bool, by the first of some rows of it; all without a row."""
    return np.isfinite(held_NV[rows_R[0]]) if len(rows_R) else np.ones(held_NV.shape[1], dtype=bool)


def _powers(rows: Rows, bounds: np.ndarray, memory_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the values and of their squares over each stretch of spans, two (N, F) float64."""
    sums, squares = (np.zeros((len(rows), len(bounds) - 1)) for _ in range(2))
    for start, stop in row_blocks(len(rows), rows_that_fit(memory_bytes // 4, 8 * rows.width)):
        values = rows.block(start, stop)
        for fold, (low, high) in enumerate(pairwise(bounds.tolist())):
            part = values[:, low:high]
            sums[start:stop, fold] = part.sum(axis=1, dtype=np.float64)
            squares[start:stop, fold] = np.einsum("nv,nv->n", part, part)
    return sums, squares


def certificate(
    sums: PairSums, first_NV: np.ndarray, second_NV: np.ndarray, pairs_P2: np.ndarray, *, seed: int = 0
) -> float:
    """Worst \\|difference\\| of ρ to ``referee`` over 256 pairs drawn by ``seed`` (all, if there are fewer); 0 without pairs.

    Float32 products of some thousand spans stay below 1e-5 (3e-6 on the zoo); sums in bf16 would differ by more than 1e-3.
    """
    generator = np.random.default_rng(seed)
    drawn = np.sort(generator.choice(len(pairs_P2), min(_CERTIFIED_PAIRS, len(pairs_P2)), replace=False))
    rho = sums.correlation()[drawn]
    return float(np.abs(rho - referee(first_NV, second_NV, pairs_P2[drawn])).max(initial=0.0))


def referee(first_NV: np.ndarray, second_NV: np.ndarray, pairs_P2: np.ndarray) -> np.ndarray:
    """Pearson's ρ of pairs straight from the held-back values: centred first, float64 throughout, no folds. (P,).

    Each pair over the spans where both its neurons have a value.
    """
    rho = np.zeros(len(pairs_P2))
    for start, stop in row_blocks(len(pairs_P2), _REFEREE_ROWS):
        values = [side[rows] for side, rows in zip((first_NV, second_NV), pairs_P2[start:stop].T, strict=True)]
        both = np.isfinite(values[0]) & np.isfinite(values[1])
        count = np.maximum(1, both.sum(axis=1, keepdims=True))
        a, b = (np.where(both, side, 0).astype(np.float64) for side in values)
        a, b = (np.where(both, side - side.sum(axis=1, keepdims=True) / count, 0) for side in (a, b))
        scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
        constant = scale <= 1e-12 * count[:, 0]
        rho[start:stop] = np.where(constant, 0, (a * b).sum(axis=1) / np.where(constant, 1, scale))
    return rho


def filled(values: np.ndarray) -> np.ndarray:
    """A float32 copy in which uncovered spans (NaN) are at the mean, 0; torch widens half precision far faster than numpy."""
    return torch.from_numpy(np.array(values)).to(torch.float32, copy=True).nan_to_num_(nan=0.0).numpy()

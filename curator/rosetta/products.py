"""Sums of products of some neurons of one model with all of another's, and the pairs among them that can still be matches.

Values come as tiles of one fold. A tile is brought to about zero mean and unit spread by a pilot (ρ does not change under it),
multiplied in float32, and the product is added to the fold's float64 sums: a tile of 4,096 spans keeps ρ to about 1e-6.
``best`` then reduces R × M × F sums to the few pairs that matter; only these leave the accelerator. A few sampled pairs are
summed a second time, in float64 from the values on: the referee of the numerics certificate. Cost: 2 R M K operations a tile
and 8 F R M bytes. It does not know models, layers or text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from curator.rosetta.verify import PairSums, even_folds
from curator.settings import AtlasSettings

_SCAN_BYTES = 64 << 20
_NO_SPREAD = 1e-12
AUDITED_PAIRS = 256


@dataclass(frozen=True, slots=True, eq=False)
class Pilot:
    """An affine map for each neuron, from the first tile: ``mean_N`` and ``scale_N``, the deviation or 1 where there is none.

    A mean taken from anywhere near keeps float32 products accurate; the numbers themselves do not matter.
    """

    mean_N: torch.Tensor
    scale_N: torch.Tensor

    @classmethod
    def of(cls, values_KN: torch.Tensor) -> Pilot:
        """From one tile."""
        deviation_N = values_KN.double().std(dim=0, correction=0).float()
        scale_N = torch.where(deviation_N > 0, deviation_N, torch.ones_like(deviation_N))
        return cls(values_KN.double().mean(dim=0).float(), scale_N)

    def __call__(self, values_KN: torch.Tensor) -> torch.Tensor:
        """(values - mean) / scale, (K, N) float32."""
        return (values_KN - self.mean_N) / self.scale_N


class SideSums:
    """Sums over the spans of each neuron of one model: ``power_F2N`` float64 (of values and squares) and ``active_N`` int64."""

    def __init__(self, folds: int, first_KN: torch.Tensor) -> None:
        device, width = first_KN.device, first_KN.shape[1]
        self.pilot = Pilot.of(first_KN)
        self.power_F2N = torch.zeros(folds, 2, width, dtype=torch.float64, device=device)
        self.active_N = torch.zeros(width, dtype=torch.int64, device=device)

    def add(self, fold: int, values_KN: torch.Tensor) -> torch.Tensor:
        """Add a tile; returns its standardised values."""
        standard_KN = self.pilot(values_KN)
        self.power_F2N[fold, 0] += standard_KN.sum(dim=0)
        self.power_F2N[fold, 1] += standard_KN.square().sum(dim=0)
        self.active_N += (values_KN != 0).sum(dim=0)
        return standard_KN

    def powers(self) -> tuple[np.ndarray, np.ndarray]:
        """Per-fold sums of each neuron's values and of their squares, two (N, F) float64."""
        total, square = self.power_F2N.permute(1, 2, 0).cpu().numpy()
        return total, square

    def alive(self, spans: float, settings: AtlasSettings) -> np.ndarray:
        """The atlas's rule: enough spread, and other than zero on enough spans. (N,) bool."""
        mean_N, square_N = self.power_F2N.sum(dim=0) / max(1.0, spans)
        deviation_N = (square_N - mean_N**2).clamp(min=0).sqrt() * self.pilot.scale_N
        alive_N = (deviation_N > settings.min_standard_deviation) & (self.active_N >= settings.min_active_spans)
        return alive_N.cpu().numpy()


class PairAudit:
    """Pearson's ρ of some pairs in float64 throughout, from the values as they come."""

    def __init__(self, left_S: torch.Tensor, right_S: torch.Tensor) -> None:
        self.left_S, self.right_S = left_S, right_S
        self._sum_5S = torch.zeros(5, len(left_S), dtype=torch.float64, device=left_S.device)
        self._spans = 0

    def add(self, a_KR: torch.Tensor, b_KM: torch.Tensor) -> None:
        """Add a tile of the same spans in both models."""
        x_KS, y_KS = a_KR[:, self.left_S].double(), b_KM[:, self.right_S].double()
        parts = (x_KS, y_KS, x_KS * x_KS, y_KS * y_KS, x_KS * y_KS)
        self._sum_5S += torch.stack([part.sum(dim=0) for part in parts])
        self._spans += len(a_KR)

    def worst_difference(self, rho_S: np.ndarray) -> float:
        """Largest |difference| of ``rho_S`` to this referee; 0 without pairs. A pair with a constant side does not count."""
        x, y, xx, yy, xy = (self._sum_5S / max(1, self._spans)).cpu().numpy()
        spread = (xx - x * x) * (yy - y * y)
        counted = (xx - x * x > _NO_SPREAD * xx) & (yy - y * y > _NO_SPREAD * yy)
        rho = (xy - x * y)[counted] / np.sqrt(spread[counted])
        return float(np.abs(rho - rho_S[counted]).max(initial=0.0))


class BlockProducts:
    """Per-fold sums over spans for every pair of R neurons of A with M of B."""

    def __init__(self, folds: int, seed: int = 0) -> None:
        self._folds, self._seed = folds, seed
        self.count_F = np.zeros(folds)

    def add(self, fold: int, a_KR: torch.Tensor, b_KM: torch.Tensor) -> None:
        """Add a tile of one fold: the same K spans in both models."""
        if not self.count_F.any():
            self.a, self.b = SideSums(self._folds, a_KR), SideSums(self._folds, b_KM)
            shape = (self._folds, a_KR.shape[1], b_KM.shape[1])
            self._cross_FRM = torch.zeros(shape, dtype=torch.float64, device=a_KR.device)
            generator = np.random.default_rng(self._seed)
            drawn = [torch.from_numpy(generator.integers(size, size=AUDITED_PAIRS)) for size in shape[1:]]
            self._audit = PairAudit(drawn[0].to(a_KR.device), drawn[1].to(a_KR.device))
        self._audit.add(a_KR, b_KM)
        self._cross_FRM[fold] += self.a.add(fold, a_KR).T @ self.b.add(fold, b_KM)
        self.count_F[fold] += len(a_KR)

    def best(self, alive: tuple[np.ndarray, np.ndarray], wanted: int, absolute: bool) -> tuple[np.ndarray, PairSums]:
        """The pairs of living neurons that are among the ``wanted`` best of either, on all spans or on one half of the folds.

        Returns the pairs (row, column), (P, 2) int64, and their sums. Of equals the lower row or column is the better.
        """
        living = [torch.tensor(side, device=self._cross_FRM.device) for side in alive]
        even_F = even_folds(self._folds)
        everything_F = np.ones_like(even_F)
        found = [self._best_over(folds_F, living, wanted, absolute) for folds_F in (everything_F, even_F, ~even_F)]
        pairs_P2 = torch.cat(found).unique(dim=0)
        return pairs_P2.cpu().numpy(), self._sums(pairs_P2[:, 0], pairs_P2[:, 1])

    def certificate(self) -> float:
        """Worst |difference| of ρ to the float64 referee over the sampled pairs."""
        rho_S = self._sums(self._audit.left_S, self._audit.right_S).correlation()
        return self._audit.worst_difference(rho_S)

    def _sums(self, row_P: torch.Tensor, column_P: torch.Tensor) -> PairSums:
        (x, xx), (y, yy) = self.a.powers(), self.b.powers()
        xy = self._cross_FRM[:, row_P, column_P].T.cpu().numpy()
        return PairSums(xy, x, y, xx, yy, row_P.cpu().numpy(), column_P.cpu().numpy(), self.count_F)

    def _best_over(self, folds_F: np.ndarray, alive: list[torch.Tensor], wanted: int, absolute: bool) -> torch.Tensor:
        """The best pairs over some folds, (P, 2) with repeats; a few rows at a time."""
        rows, columns = self._cross_FRM.shape[1:]
        step = max(1, _SCAN_BYTES // (8 * columns))
        chosen, score_Mk, row_Mk = [], None, None
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            strength_rM = self._correlation(folds_F, part)
            strength_rM = strength_rM.abs_() if absolute else strength_rM
            strength_rM.masked_fill_(~(alive[0][part, None] & alive[1][None, :]), -torch.inf)
            score_rk, column_rk = leaders(strength_rM, wanted)
            row_rk = torch.arange(part.start, part.stop, device=score_rk.device)[:, None].expand_as(column_rk)
            chosen.append(_living_pairs(score_rk, row_rk, column_rk))
            score, row = leaders(strength_rM.T, wanted)
            score_Mk, row_Mk = _merged(score_Mk, row_Mk, score, row + start, wanted)
        if score_Mk is not None and row_Mk is not None:
            column_Mk = torch.arange(columns, device=row_Mk.device)[:, None].expand_as(row_Mk)
            chosen.append(_living_pairs(score_Mk, row_Mk, column_Mk))
        return torch.cat(chosen)

    def _correlation(self, folds_F: np.ndarray, part: slice) -> torch.Tensor:
        """ρ of some rows with all columns over some folds, (r, M) float64; 0 where a side is constant."""
        folds = np.flatnonzero(folds_F).tolist()
        spans = max(1.0, float(self.count_F[folds].sum()))
        (x, xx), (y, yy) = (side.power_F2N[folds].sum(dim=0) / spans for side in (self.a, self.b))
        rho_rM = torch.outer(-x[part], y)
        for fold in folds:
            rho_rM.add_(self._cross_FRM[fold, part], alpha=1 / spans)
        for variance, dim in (((xx - x**2)[part], 1), (yy - y**2, 0)):
            scale = torch.where(variance > _NO_SPREAD, variance, torch.inf).sqrt()
            rho_rM.div_(scale.unsqueeze(dim))
        return rho_rM


def leaders(strength_RM: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``wanted`` highest of each row in order, of equals the first; values and columns, (R, k), k at most M.

    One ``argmax`` a place, which names the first maximum; ``topk`` leaves the order of equals open.
    """
    rest_RM = strength_RM.clone()
    values, columns = [], []
    for _ in range(min(wanted, strength_RM.shape[1])):
        column_R1 = rest_RM.argmax(dim=1, keepdim=True)
        values.append(rest_RM.gather(1, column_R1))
        columns.append(column_R1)
        rest_RM.scatter_(1, column_R1, -torch.inf)
    return torch.cat(values, dim=1), torch.cat(columns, dim=1)


def _merged(
    old_score: torch.Tensor | None, old_row: torch.Tensor | None, score: torch.Tensor, row: torch.Tensor, wanted: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The best of earlier rows and of later ones; earlier ones stand first, and a stable sort keeps them there on ties."""
    if old_score is None or old_row is None:
        return score, row
    scores, rows = torch.cat([old_score, score], dim=1), torch.cat([old_row, row], dim=1)
    order = scores.sort(dim=1, descending=True, stable=True).indices[:, :wanted]
    return scores.gather(1, order), rows.gather(1, order)


def _living_pairs(score: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
    kept = score > -torch.inf
    return torch.stack([row[kept], column[kept]], dim=1)

"""The k highest values of every neuron and where they were, kept up to date batch by batch.

A value among the k highest lies in one of the k blocks of spans with the highest maxima, and in a later batch only blocks whose
maximum is above a neuron's k-th best value so far can matter at all. So the cost is one pass for the block maxima, and after the
first few batches next to nothing for the rest. Which of several equal values is kept is left open. It does not know spans or
documents: a place is two numbers.
"""

from __future__ import annotations

import torch

_BLOCK = 16


class Strongest:
    """Highest values of U neurons: ``value_kU`` float32, falling, -inf where empty, and their places, (k, U) int32 each."""

    def __init__(self, wanted: int, width: int, device: torch.device) -> None:
        self.value_kU = torch.full((wanted, width), -torch.inf, device=device)
        self.document_kU = torch.full((wanted, width), -1, dtype=torch.int32, device=device)
        self.span_kU = torch.full((wanted, width), -1, dtype=torch.int32, device=device)

    def add(self, values_KU: torch.Tensor, document_K: torch.Tensor, span_K: torch.Tensor) -> torch.Tensor:
        """Take in K values of every neuron; returns their maximum, (U,)."""
        maxima_nU = _block_maxima(values_KU)
        pairs_C2 = (maxima_nU > self.value_kU[-1]).T.contiguous().nonzero()
        if len(pairs_C2):
            unit_A, block_Am = _hot_blocks(pairs_C2, maxima_nU, len(self.value_kU))
            row_Ac = (block_Am[..., None] * _BLOCK + torch.arange(_BLOCK, device=block_Am.device)).flatten(1)
            outside = (row_Ac < 0) | (row_Ac >= len(values_KU))
            row_Ac.masked_fill_(outside, 0)
            value_Ac = values_KU[row_Ac, unit_A[:, None]].masked_fill_(outside, -torch.inf)
            self._merge(unit_A, value_Ac, row_Ac, document_K, span_K)
        return maxima_nU.amax(dim=0)

    def _merge(
        self,
        unit_A: torch.Tensor,
        value_Ac: torch.Tensor,
        row_Ac: torch.Tensor,
        document_K: torch.Tensor,
        span_K: torch.Tensor,
    ) -> None:
        """Join c candidates of each of A units to the kept ones."""
        wanted = len(self.value_kU)
        best = value_Ac.topk(min(wanted, value_Ac.shape[1]), dim=1)
        row = row_Ac.gather(1, best.indices)
        merged = torch.cat([self.value_kU[:, unit_A].T, best.values], dim=1).sort(dim=1, descending=True, stable=True)
        order, keep = merged.indices[:, :wanted], merged.values[:, :wanted]
        self.value_kU[:, unit_A] = keep.T
        for kept, place_K in ((self.document_kU, document_K), (self.span_kU, span_K)):
            both = torch.cat([kept[:, unit_A].T, place_K[row]], dim=1)
            kept[:, unit_A] = both.gather(1, order).masked_fill_(torch.isneginf(keep), -1).T


def _block_maxima(values_KU: torch.Tensor) -> torch.Tensor:
    whole = len(values_KU) // _BLOCK * _BLOCK
    parts = []
    if whole:
        parts.append(values_KU[:whole].view(-1, _BLOCK, values_KU.shape[1]).amax(dim=1))
    if whole < len(values_KU):
        parts.append(values_KU[whole:].amax(dim=0, keepdim=True))
    return torch.cat(parts)


def _hot_blocks(pairs_C2: torch.Tensor, maxima_nU: torch.Tensor, wanted: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The units that may change, (A,), and the blocks to look at for each, (A, m) int64, -1 where there is none.

    ``pairs_C2`` are (unit, block), sorted. A unit with more hot blocks than places gets its ``wanted`` highest ones.
    """
    unit_A, position_C, counts_A = pairs_C2[:, 0].unique_consecutive(return_inverse=True, return_counts=True)
    most = int(counts_A.max())
    if most > wanted:
        return unit_A, maxima_nU[:, unit_A].topk(wanted, dim=0).indices.T
    first_A = counts_A.cumsum(0) - counts_A
    within_C = torch.arange(len(pairs_C2), device=pairs_C2.device) - first_A[position_C]
    block_Am = torch.full((len(unit_A), most), -1, dtype=torch.int64, device=pairs_C2.device)
    block_Am[position_C, within_C] = pairs_C2[:, 1]
    return unit_A, block_Am

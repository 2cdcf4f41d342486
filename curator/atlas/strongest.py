"""The k highest values of every neuron and where they were, kept up to date batch by batch.

A value among the k highest lies in one of the k blocks of spans with the highest maxima, and in a later batch only blocks whose
maximum is above a neuron's k-th best value so far can matter at all. What passes that bar is put aside and sorted in only
when much has come together. So the cost is one pass for the block maxima, and after the first few batches little more.
Of equal values the earlier is kept, whenever things were sorted in, so a pass that was resumed keeps the same ones.
It does not know spans or documents: a place is two numbers.
"""

from __future__ import annotations

import torch

_BLOCK = 16
_PENDING_PER_UNIT = 32
_FIRST_PART, _GROWTH = 1, 2  # in k values; each later part this much longer


class Strongest:
    """Highest values of U neurons: ``value_kU`` float32, falling, -inf where empty, and their places, (k, U) int32 each.

    They are up to date after ``settle``.
    """

    def __init__(self, wanted: int, width: int, device: torch.device) -> None:
        self.value_kU = torch.full((wanted, width), -torch.inf, device=device)
        self.document_kU = torch.full((wanted, width), -1, dtype=torch.int32, device=device)
        self.span_kU = torch.full((wanted, width), -1, dtype=torch.int32, device=device)
        self._pending: list[tuple[torch.Tensor, ...]] = []
        self._waiting = 0

    def add(self, values_KU: torch.Tensor, document_K: torch.Tensor, span_K: torch.Tensor) -> torch.Tensor:
        """Take in K values of every neuron; returns their maximum, (U,).

        The first values of all come in small parts: each raises the bar for the next, so that little is put aside.
        """
        first = bool(torch.isneginf(self.value_kU[-1, 0]))
        start, size = 0, _FIRST_PART * len(self.value_kU) if first else len(values_KU)
        maxima = []
        while start < len(values_KU):
            part = slice(start, start + size)
            maxima.append(self._add(values_KU[part], document_K[part], span_K[part]))
            start, size = start + size, _GROWTH * size
            if first:
                self.settle()
        return torch.stack(maxima).amax(dim=0)

    def _add(self, values_KU: torch.Tensor, document_K: torch.Tensor, span_K: torch.Tensor) -> torch.Tensor:
        maxima_nU = _block_maxima(values_KU)
        block_C, unit_C = (maxima_nU > self.value_kU[-1]).nonzero().unbind(1)
        if len(block_C):
            self._put_aside(values_KU, block_C, unit_C, document_K, span_K)
        return maxima_nU.amax(dim=0)

    def _put_aside(
        self,
        values_KU: torch.Tensor,
        block_C: torch.Tensor,
        unit_C: torch.Tensor,
        document_K: torch.Tensor,
        span_K: torch.Tensor,
    ) -> None:
        row_Cb = block_C[:, None] * _BLOCK + torch.arange(_BLOCK, device=block_C.device)
        inside_Cb = row_Cb < len(values_KU)
        value_Cb = values_KU[row_Cb.clamp_(max=len(values_KU) - 1), unit_C[:, None]]
        chosen_E2 = (inside_Cb & (value_Cb > self.value_kU[-1][unit_C][:, None])).nonzero()
        at, within = chosen_E2.unbind(1)
        row_E = row_Cb[at, within]
        self._pending.append((unit_C[at], value_Cb[at, within], document_K[row_E], span_K[row_E]))
        self._waiting += len(row_E)
        if self._waiting > _PENDING_PER_UNIT * self.value_kU.shape[1]:
            self.settle()

    def settle(self) -> None:
        """Sort in what was put aside."""
        if not self._pending:
            return
        wanted, width = self.value_kU.shape
        unit, value, document, span = (torch.cat(parts) for parts in zip(*self._pending, strict=True))
        self._pending, self._waiting = [], 0
        units = torch.arange(width, device=unit.device).repeat(wanted)
        unit, value = torch.cat([units, unit]), torch.cat([self.value_kU.flatten(), value])
        document, span = torch.cat([self.document_kU.flatten(), document]), torch.cat([self.span_kU.flatten(), span])
        order = _rank(unit, value)
        first_U = torch.searchsorted(unit[order], units[:width])
        best_kU = order[first_U + torch.arange(wanted, device=unit.device)[:, None]]
        self.value_kU, self.document_kU, self.span_kU = value[best_kU], document[best_kU], span[best_kU]


def _block_maxima(values_KU: torch.Tensor) -> torch.Tensor:
    whole = len(values_KU) // _BLOCK * _BLOCK
    parts = []
    if whole:
        parts.append(values_KU[:whole].view(-1, _BLOCK, values_KU.shape[1]).amax(dim=1))
    if whole < len(values_KU):
        parts.append(values_KU[whole:].amax(dim=0, keepdim=True))
    return torch.cat(parts)


def _rank(unit_E: torch.Tensor, value_E: torch.Tensor) -> torch.Tensor:
    """Order by unit, then by falling value, then as they came: one radix sort of whole numbers, six times as fast as two sorts.

    The bits of a float32, read as a signed integer with those of negative values turned over, stand in the floats' order.
    """
    bits_E = (value_E + 0.0).view(torch.int32).to(torch.int64)  # adding 0 makes one zero of two
    falling_E = -torch.where(bits_E < 0, bits_E ^ 0x7FFFFFFF, bits_E)
    return ((unit_E << 32) + falling_E).sort(stable=True).indices

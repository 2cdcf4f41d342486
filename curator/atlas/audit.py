"""The numerics certificate: a few neurons of every layer summed a second time, in float64 from the pooling on.

The referee pools the same tokens by differences of running sums and adds powers and sketch rows in float64 throughout, in code
that shares nothing with the fast path but the list of what goes where. At the end means, deviations, sketches and the
correlations of sampled pairs are compared. Sums that are kept in bfloat16 fail it by orders of magnitude (SCIENCE section 3).
Cost: a dozen operations on four columns a layer. It does not see errors in the forward pass, which both share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.batches import Tensors
from curator.settings import AtlasSettings

AUDITED_NEURONS = 4
WORST_ALLOWED = 1e-3
"""Of a correlation or a standard deviation. Our sums stay under 1e-5; bfloat16 sums are off by more than this in minutes."""


def audited_units(width: int) -> np.ndarray:
    """The units of a layer that are audited, evenly spread: at most four, ascending."""
    return np.unique(np.linspace(0, width - 1, AUDITED_NEURONS).astype(np.int64))


class Audit:
    """Referee sums of the A audited neurons of all layers, side by side in layer order: float64 on the CPU."""

    def __init__(self, widths: tuple[int, ...], settings: AtlasSettings) -> None:
        self.units = [audited_units(width) for width in widths]
        count = sum(len(units) for units in self.units)
        self.pilot_A = np.zeros(count)
        self.power_2A = np.zeros((2, count))
        self.sketch_dA = np.zeros((settings.sketch_dimensions, count))

    def columns(self, layer_number: int, tokens_TU: torch.Tensor) -> torch.Tensor:
        """The audited columns of a layer, float64 on the CPU; ``add`` wants those of a batch in the order of the layers."""
        units = torch.from_numpy(self.units[layer_number]).to(tokens_TU.device)
        return tokens_TU.index_select(1, units).to("cpu", torch.float64)

    def add(self, columns: Sequence[torch.Tensor], batch: Tensors, sketched: int, first_bucket: int) -> None:
        """Add a batch, given its audited columns of every layer; ``batch`` must be on the CPU."""
        spans_KA = batch.pool.sum_double(torch.cat(list(columns), dim=1)) - torch.from_numpy(self.pilot_A)
        used = spans_KA[:sketched]
        self.power_2A += torch.stack([used.sum(dim=0), used.square().sum(dim=0)]).numpy()
        rows = batch.sketch[0].sum_double(spans_KA).numpy()
        self.sketch_dA[first_bucket : first_bucket + len(rows)] += rows


@dataclass(frozen=True, slots=True)
class Compared:
    """The fast path's numbers for the audited neurons: (A,) mean minus pilot, deviation, alive; (d, A) centred signatures."""

    shift_A: np.ndarray
    deviation_A: np.ndarray
    alive_A: np.ndarray
    signature_dA: np.ndarray


def certificate(ours: Compared, power_2A: np.ndarray, sketch_dA: np.ndarray, ones_d: np.ndarray, spans: int) -> float:
    """Worst difference to the referee over living audited neurons and all their pairs.

    Means and deviations are compared in units of the deviation, signatures and the correlations of pairs in units of
    correlation. A constant neuron has neither.
    """
    first, second = power_2A / max(1, spans)
    deviation = np.sqrt(np.maximum(second - first**2, 0.0))
    alive = ours.alive_A & (deviation > 0)
    if not alive.any():
        return 0.0
    first, deviation, shift = first[alive], deviation[alive], ours.shift_A[alive]
    referee_dA = (sketch_dA[:, alive] - ones_d[:, None] * first) / (deviation * max(1, spans) ** 0.5)
    signature_dA = ours.signature_dA[:, alive]
    differences = (
        np.abs(first - shift) / deviation,
        np.abs(deviation - ours.deviation_A[alive]) / deviation,
        np.linalg.norm(referee_dA - signature_dA, axis=0),
        np.abs(referee_dA.T @ referee_dA - signature_dA.T @ signature_dA).max(axis=0),
    )
    return float(np.max(np.stack(differences)))

"""The running sums of one layer: moments, count sketch, document sums and the strongest contexts.

Everything is linear or a maximum, so batches may come in any grouping and the sums of several workers add. Power sums are taken
around a pilot mean (that of the corpus' first windows), which keeps sums of fourth powers accurate; a tile of about a quarter
of a million values is summed in float32, tiles in float64. The count sketch adds ``sign * (value - pilot)`` to one of d rows
[Charikar, Chen, Farach-Colton 2002]; the inner product of two centred sketches estimates the covariance with standard error
1/sqrt(d) in units of correlation (SCIENCE section 3). Only the block of the current fold, d/F rows, is in memory.

Cost: about fifteen passes over spans x neurons, most of them on a tile that is still in the cache. Memory per neuron: 16 d/F
bytes for two sketches, about 100 for the moments, 12 for each strongest context. It does not know layers, tokenizers or text.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch

from curator.atlas.batches import Tensors
from curator.atlas.strongest import Strongest
from curator.settings import AtlasSettings

TILE = 1 << 18
"""Values that are summed at a time: the tile and its powers, 1 MB each, then stay in a core's cache."""


class Scratch(threading.local):
    """Room for two powers of a tile, (2, values) float32, for every thread its own; layers may share that of the widest."""

    def __init__(self, width: int, device: torch.device) -> None:
        self.powers = torch.empty(2, max(TILE, width), device=device)


class LayerSums:
    """All statistics of one layer with U neurons; ``weakest`` are the lowest values, kept for gated MLPs alone."""

    def __init__(
        self,
        width: int,
        settings: AtlasSettings,
        device: torch.device,
        *,
        gated: bool,
        scratch: Scratch | None = None,
    ) -> None:
        self.width, self.device = width, device
        self._scratch = scratch or Scratch(width, device)
        sixty_four = {"dtype": torch.float64, "device": device}
        self._enough = settings.min_active_spans
        self.pilot_U = torch.zeros(width, device=device)
        self.power_4U = torch.zeros(4, width, **sixty_four)
        self.positive_U = torch.zeros(width, **sixty_four)
        self.nonzero_U = torch.zeros(width, **sixty_four)
        self.low_U = torch.full((width,), torch.inf, device=device)
        self.high_U = torch.full((width,), -torch.inf, device=device)
        self.block_2wU = torch.zeros(2, settings.sketch_dimensions // settings.folds, width, **sixty_four)
        self.strongest = Strongest(settings.top_contexts, width, device)
        self.weakest = Strongest(settings.top_contexts, width, device) if gated else None
        self.document_DU = torch.zeros(0, width, device=device)

    def open_chunk(self, documents: int) -> None:
        """Begin the sums of a chunk's documents."""
        self.document_DU = torch.zeros(documents, self.width, device=self.device)

    def add(self, tokens_TU: torch.Tensor, batch: Tensors, sketched: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pool a batch of token activations onto its K spans and add them to every sum.

        Args:
            tokens_TU: activations of the padded tokens, in any floating type.
            batch: where they go, on this layer's device.
            sketched: how many of the spans, the first ones, enter the moments.

        Returns:
            What the batch gives the held-back sample: values of the spans of each identity, (H, U) float32.
        """
        spans_KU = batch.pool.sum(tokens_TU.float())
        self.document_DU += batch.documents.sum(spans_KU)
        held = spans_KU[batch.held_row[0]], spans_KU[batch.held_row[1]]
        high_U = self.strongest.add(spans_KU, batch.document, batch.span)
        self.high_U = torch.maximum(self.high_U, high_U)
        low_U = self._lowest(spans_KU, batch)
        self.low_U = torch.minimum(self.low_U, low_U)
        self._centre_and_sum(spans_KU, sketched)
        for identity, sketch in enumerate(batch.sketch):
            self.block_2wU[identity] += sketch.sum(spans_KU)
        return held

    def take_block(self) -> np.ndarray:
        """The sketch block of the fold that ends, (2, w, U) float64; the next begins with zeros."""
        block_2wU = self.block_2wU.cpu().numpy().copy()
        self.block_2wU.zero_()
        return block_2wU

    def settle(self) -> None:
        """Bring the strongest contexts up to date."""
        self.strongest.settle()
        if self.weakest is not None:
            self.weakest.settle()

    def _lowest(self, spans_KU: torch.Tensor, batch: Tensors) -> torch.Tensor:
        if self.weakest is None:
            return spans_KU.amin(dim=0)
        return -self.weakest.add(-spans_KU, batch.document, batch.span)

    def _centre_and_sum(self, spans_KU: torch.Tensor, sketched: int) -> None:
        """Count signs, take the pilot off in place, and add the four powers, tile by tile.

        Values other than zero are counted, over held-back spans too, until every neuron has enough of them to be alive.
        """
        rows = max(1, TILE // self.width)
        count_nonzero = bool((self.nonzero_U < self._enough).any())
        for start in range(0, len(spans_KU), rows):
            tile = spans_KU[start : start + rows]
            used = tile[: max(0, sketched - start)]
            one, other = (part[: used.numel()].view_as(used) for part in self._scratch.powers)
            self.positive_U += torch.gt(used, 0, out=one).sum(dim=0)
            if count_nonzero:
                whole = self._scratch.powers[0, : tile.numel()].view_as(tile)
                self.nonzero_U += torch.ne(tile, 0, out=whole).sum(dim=0)
            tile -= self.pilot_U
            torch.mul(used, used, out=one)
            torch.mul(one, used, out=other)
            first, second, third = used.sum(dim=0), one.sum(dim=0), other.sum(dim=0)
            self.power_4U += torch.stack([first, second, third, one.square_().sum(dim=0)])


@dataclass(frozen=True, slots=True)
class LayerMoments:
    """Moments of U neurons over n spans: each (U,) float64. ``shift`` is the mean minus the pilot."""

    spans: int
    shift: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    skewness: np.ndarray
    excess_kurtosis: np.ndarray


def moments(power_4U: np.ndarray, pilot_U: np.ndarray, spans: int) -> LayerMoments:
    """Mean, standard deviation, skewness and excess kurtosis from the power sums; 0 where the deviation is 0."""
    first, second, third, fourth = power_4U / max(spans, 1)
    variance = np.maximum(second - first**2, 0.0)
    deviation = np.sqrt(variance)
    central_3 = third - 3 * first * second + 2 * first**3
    central_4 = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
    safe = np.where(deviation > 0, deviation, 1.0)
    skewness = np.where(deviation > 0, central_3 / safe**3, 0.0)
    kurtosis = np.where(deviation > 0, central_4 / safe**4 - 3.0, 0.0)
    return LayerMoments(spans, first, pilot_U.astype(np.float64) + first, deviation, skewness, kurtosis)


def signatures_wU(
    block_wU: np.ndarray, ones_w: np.ndarray, shift_U: np.ndarray, scale_U: np.ndarray, spans: int
) -> np.ndarray:
    """Rows of centred signatures, divided by sigma * sqrt(T): inner products are correlations. (w, U) float64."""
    return (block_wU - ones_w[:, None] * shift_U[None, :]) / (scale_U[None, :] * max(1, spans) ** 0.5)

"""What chance gives: decoy matches through the same code, q-values, and excess over a rotated basis (SCIENCE 4.6).

(a) Deranged documents: spans under the identity of another document of the same domain and length, positions kept. Matches
of A with this decoy share position and domain statistics but not content; their counts give a false discovery rate
[target-decoy competition, He et al. 2022]. Either model can be the deranged one, which gives two nulls.
(b) Rotated layers: each layer of B multiplied by a random orthogonal matrix; what
a neuron still correlates with is the layer's span, not a neuron [U]. Cost: (a) two more matchings, (b) a QR and a product of
width² per layer, and another matching. It does not know domains.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.atlas.store import Atlas
from curator.rosetta.matching import (
    MatchTable,
    View,
    decoy_view,
    match_views,
    ranks_by_magnitude,
    true_view,
)
from curator.settings import MatchSettings


def deranged_matches(first: Atlas, second: Atlas, settings: MatchSettings) -> tuple[MatchTable, MatchTable]:
    """Matches of A with B's documents deranged, and of A's documents deranged with B: two nulls with different pairings."""
    absolute = ranks_by_magnitude(first, second, settings)
    folds_V = first["held_fold_V"]
    return (
        match_views(true_view(first), decoy_view(second), folds_V, settings, absolute),
        match_views(decoy_view(first), true_view(second), folds_V, settings, absolute),
    )


def rotated_view(atlas: Atlas, seed: int) -> View:
    """The atlas with every layer's living neurons multiplied by a random orthogonal matrix (QR of a Gaussian)."""
    signature = np.zeros_like(atlas["signature_Nd"])
    held = np.zeros(atlas["held_NV"].shape, dtype=np.float32)
    generator = np.random.default_rng(seed)
    for layer in range(len(atlas.manifest.layer_widths)):
        rows = np.flatnonzero((atlas.layer_of == layer) & atlas["alive"])
        if not len(rows):
            continue
        rotation = _random_orthogonal(len(rows), generator)
        signature[rows] = rotation @ atlas["signature_Nd"][rows]
        held[rows] = rotation @ np.nan_to_num(atlas["held_NV"][rows].astype(np.float32))
    return View(signature, held, atlas["alive"])


def _random_orthogonal(size: int, generator: np.random.Generator) -> np.ndarray:
    """Haar-distributed: QR of a Gaussian with the signs of R's diagonal taken out [Mezzadri 2007]. (size, size) float32."""
    q, r = np.linalg.qr(generator.standard_normal((size, size)))
    return (q * np.sign(np.diag(r))).astype(np.float32)


def rotated_matches(first: Atlas, second: Atlas, settings: MatchSettings) -> MatchTable:
    """Matches of A with B's layers rotated."""
    view = rotated_view(second, settings.seed)
    absolute = ranks_by_magnitude(first, second, settings)
    return match_views(true_view(first), view, first["held_fold_V"], settings, absolute)


def q_values(target_M: np.ndarray, decoys: Sequence[np.ndarray]) -> np.ndarray:
    """q of each target strength, (M,): min over t ≤ strength of (1 + decoys ≥ t) / R / (targets ≥ t), at most 1.

    ``decoys`` are the strengths of the matches of R nulls. The smallest q that M targets can reach is 1 / (R M).
    """
    if not len(target_M):
        return np.zeros(0)
    ascending, pooled = np.sort(target_M), np.sort(np.concatenate(decoys))
    targets_above = len(ascending) - np.searchsorted(ascending, target_M, side="left")
    decoys_above = len(pooled) - np.searchsorted(pooled, target_M, side="left")
    rate = np.minimum(1.0, (1 + decoys_above) / (len(decoys) * targets_above))
    order = np.argsort(target_M, kind="stable")
    q = np.empty_like(rate)
    q[order] = np.minimum.accumulate(rate[order])
    return q

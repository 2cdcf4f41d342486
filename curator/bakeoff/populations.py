"""Which neurons a selector may use: the Rosetta neurons by each rule, all, and controls of equal size.

``random``: as many neurons of each layer, drawn by seed. ``matched``: for each Rosetta neuron the other neuron of its layer
whose active fraction is nearest, each used once [S, section 7 compares with a non-Rosetta neuron]. Populations are masks over
the N neurons of the anchor in the order (layer, unit). Cost: the matching of atlases; then seconds. No label is used but by
``best_single``, which reads the probe corpus alone.
"""

from __future__ import annotations

import numpy as np

from curator.atlas.domains import average_precision_N
from curator.atlas.store import Atlas


def mask_of(index: np.ndarray, neurons: int) -> np.ndarray:
    """The mask (N,) of some flat indices."""
    mask_N = np.zeros(neurons, bool)
    mask_N[index] = True
    return mask_N


def random_like(mask_N: np.ndarray, layer_N: np.ndarray, seed: int) -> np.ndarray:
    """A mask with as many neurons of each layer, drawn from all neurons of the layer."""
    random = np.random.default_rng([seed, 4])
    found_N = np.zeros_like(mask_N)
    for layer in np.unique(layer_N):
        of_layer = np.flatnonzero(layer_N == layer)
        found_N[random.choice(of_layer, int(mask_N[of_layer].sum()), replace=False)] = True
    return found_N


def matched_like(mask_N: np.ndarray, atlas: Atlas, *, excluded_N: np.ndarray | None = None) -> np.ndarray:
    """A mask of other neurons, matched on layer and active fraction, each used once; shy of the mask where a layer runs out."""
    active_N, layer_N = atlas["positive_fraction"], atlas.layer_of
    free_N = atlas["alive"] & ~mask_N & (True if excluded_N is None else ~excluded_N)
    found_N = np.zeros_like(mask_N)
    for index in np.flatnonzero(mask_N):
        candidates = np.flatnonzero(free_N & ~found_N & (layer_N == layer_N[index]))
        if len(candidates):
            found_N[candidates[np.argmin(np.abs(active_N[candidates] - active_N[index]))]] = True
    return found_N


def probe_means(atlas: Atlas, index: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Means of some neurons over the probe documents that have spans, (D, K), and which of these are of the target, (D,)."""
    covered_D = atlas["document_spans_D"] > 0
    positive_D = np.asarray([entry.domain == target for entry in atlas.manifest.documents])[covered_D]
    return atlas["document_mean_DN"][covered_D][:, index], positive_D


def best_single(atlas: Atlas, mask_N: np.ndarray, target: str) -> tuple[int, int]:
    """Flat index and direction of the neuron of a population that ranks the target's probe documents best.

    By average precision of the document means; a direction other than +1 is tried only where MLPs are gated.
    """
    index = np.flatnonzero(mask_N)
    values_DK, positive_D = probe_means(atlas, index, target)
    directions = (1, -1) if atlas.manifest.gated else (1,)
    precision_sK = np.stack([average_precision_N(sign * values_DK, positive_D) for sign in directions])
    row, column = np.unravel_index(int(precision_sK.argmax()), precision_sK.shape)
    return int(index[column]), directions[int(row)]

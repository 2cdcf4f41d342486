"""Neurons to compare with: for each chosen neuron another one of its layer, as alike as can be in how often it is active.

Layer and active fraction alone move every measure of selectivity, so groups are compared only after matching on both [8.8 of the
peers' survey]. Pairs are one to one, by the assignment with the least total difference of active fractions in a layer. Cost: the
Hungarian algorithm on chosen x spare neurons of each layer. It does not know what is compared.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from curator.atlas.store import Atlas


def same_activity(atlas: Atlas, chosen: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """For each chosen flat index one of ``pool``, each at most once, -1 where the layer has too few; (R,) int64."""
    activity_N, layer_N = active_fraction(atlas), atlas.layer_of
    alike = np.full(len(chosen), -1, dtype=np.int64)
    for layer in np.unique(layer_N[chosen]):
        mine = np.flatnonzero(layer_N[chosen] == layer)
        spare = pool[layer_N[pool] == layer]
        cost = np.abs(activity_N[chosen[mine]][:, None] - activity_N[spare][None, :])
        rows, columns = linear_sum_assignment(cost)
        alike[mine[rows]] = spare[columns]
    return alike


def pole(atlas: Atlas) -> np.ndarray:
    """The direction in which each neuron fires, (N,) of -1 and 1: of a gated MLP, whose sign is arbitrary, that of its tail."""
    tail_N = np.where(np.asarray(atlas["skewness"]) < 0, -1, 1)
    return tail_N if atlas.manifest.gated else np.ones_like(tail_N)


def on_firing_side(atlas: Atlas, index_n: np.ndarray, name: str) -> np.ndarray:
    """A column of the top contexts ("document", "span" or "value") on the side on which each neuron fires, (n, k)."""
    high_nk = np.asarray(atlas[f"top_{name}_Nk"])[index_n]
    if not atlas.manifest.gated:
        return high_nk
    low_nk = np.asarray(atlas[f"low_{name}_Nk"])[index_n]
    return np.where((pole(atlas)[index_n] < 0)[:, None], low_nk, high_nk)


def active_fraction(atlas: Atlas) -> np.ndarray:
    """Share of spans on which each neuron is above zero in the direction in which it fires, (N,) float64."""
    positive_N = np.asarray(atlas["positive_fraction"], dtype=np.float64)
    return np.where(pole(atlas) > 0, positive_N, 1 - positive_N)

"""Quality for depth: a set's scorers refitted on its neurons in the first k layers, for a forward pass of k layers.

When a set is made, its features are at hand for every probe document, so for each layer that holds a neuron of the set the
scorers are fitted, calibrated and measured once more on the neurons up to there: the manifest then is a table of depth against
held-out average precision, and a user takes the row that is good enough. What is kept of a variant is what cannot be
derived: weights, votes and calibration; signatures are the whole set's, cut to its neurons (a signature is a mean of
standardised features, so cutting commutes with it). Size: a few kilobytes for each depth, method and target; at most 12 depths.
It chooses no new neurons: a set chosen under ``NeuronSetSettings.max_depth`` may do better at that depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curator.neuronset.manifest import DepthVariant, NeuronSetManifest
from curator.neuronset.scorers import unit_rows
from curator.neuronset.wording import is_wording
from curator.records import NeuronId

MOST_DEPTHS = 12
_OF_NEURONS = ("mean_fK", "scale_fK")


@dataclass(frozen=True, slots=True)
class DepthRow:
    """One line of the table: what a target's best scorer does at a depth, on documents that decided nothing."""

    depth: int
    share_of_layers: float
    neurons: int
    method: str
    average_precision: float | None


def prefix(target: str, depth: int | None = None) -> str:
    """What the names of a target's arrays begin with, for the whole set or for a variant."""
    return target if depth is None else f"{target}.depth{depth}"


def variant_depths(layer_K: np.ndarray) -> list[int]:
    """Depths to fit besides the whole: one past each layer that holds a neuron, evenly thinned to at most 12."""
    depths = (np.unique(layer_K) + 1)[:-1]
    if len(depths) > MOST_DEPTHS:
        depths = depths[np.linspace(0, len(depths) - 1, MOST_DEPTHS).round().astype(int)]
    return depths.tolist()


def feature_columns(chosen_K: np.ndarray) -> np.ndarray:
    """Columns of the chosen neurons among the (3 K,) features: feature by feature, neuron by neuron."""
    return np.tile(chosen_K, 3)


def depth_table(manifest: NeuronSetManifest, target: str) -> list[DepthRow]:
    """Depth against held-out average precision of the best method on validation, the whole set last."""
    whole = DepthVariant(depth=manifest.depth, neurons=len(manifest.neurons), targets=manifest.targets)
    return [
        DepthRow(
            variant.depth,
            variant.depth / manifest.layers,
            variant.neurons,
            found.default,
            found.methods[found.default].report_average_precision,
        )
        for variant in (*manifest.depths, whole)
        for found in (variant.targets[target],)
    ]


def restricted(
    manifest: NeuronSetManifest, arrays: Mapping[str, np.ndarray], variant: DepthVariant
) -> tuple[NeuronSetManifest, dict[str, np.ndarray]]:
    """Manifest and arrays of the set that reads ``variant.depth`` layers."""
    chosen_K = np.asarray([NeuronId.parse(neuron.id).layer < variant.depth for neuron in manifest.neurons])
    cut = {name: arrays[name][:, chosen_K] for name in _OF_NEURONS}
    cut["signature_Kf"] = unit_rows(arrays["signature_Kf"][chosen_K][:, feature_columns(chosen_K)])
    cut |= {name: array for name, array in arrays.items() if is_wording(name)}
    for target in manifest.targets:
        begin = f"{prefix(target, variant.depth)}."
        cut |= {f"{target}.{n.removeprefix(begin)}": array for n, array in arrays.items() if n.startswith(begin)}
    neurons = tuple(neuron for neuron, kept in zip(manifest.neurons, chosen_K, strict=True) if kept)
    changed = {"neurons": neurons, "targets": variant.targets, "depths": ()}
    return manifest.model_copy(update=changed), cut

"""How selective Rosetta neurons are beside others of the same layers and active fractions: the polarization effect (SCIENCE 5).

On the side of activations: excess kurtosis over all spans, from the atlas; Gini [Hurley and Rickard 0811.4706],
Treves-Rolls [Rolls and Tovee 1995] and Hoyer of the activation above zero, from the atlas's held-back spans, which are
stored whole. On the side of outputs: the paper's excess kurtosis over the vocabulary (``lm.outputs``). Of a gated MLP's
neuron the side of its longer tail is the one that fires. Medians and trimmed means, for a mean is driven by outliers. Neurons of
a layer are alike, so the intervals are of a bootstrap in two stages: layers are drawn, and in each drawn layer pairs of a Rosetta
neuron and its other. Of fewer than three layers, pairs alone are drawn, and the interval knows nothing of other layers.

On the side of text: how alike the contexts are in which a neuron is strongest (``coherence``).

Cost: a sort of each shown neuron's held-back values, and n-grams of its contexts; no model runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import trim_mean

from curator.atlas.store import Atlas
from curator.rosetta.verify import filled
from curator.scaling.coherence import Contexts
from curator.scaling.controls import active_fraction, pole, same_activity
from curator.scaling.parts import Centre, Contrast, Interval, Measure, Rule, Selectivity

_RESAMPLED = 1000
_FEWEST_LAYERS = 3
_TAIL = 0.1
_BLOCK = 256


def selectivity(
    atlas: Atlas,
    rule: Rule,
    chosen: np.ndarray,
    pool: np.ndarray,
    *,
    vocabulary_kurtosis_N: np.ndarray | None = None,
    contexts: Contexts | None = None,
    seed: int = 0,
) -> Selectivity | None:
    """The panel of the ``chosen`` flat indices against as many of ``pool``; None where there are none to compare.

    ``vocabulary_kurtosis_N`` (N,) is NaN where it was not measured, None where of no neuron; ``contexts`` are those of the
    atlas's corpus. A pair of neurons of which one has no value of a measure is left out of it.
    """
    alike = same_activity(atlas, chosen, pool)
    kept = alike >= 0
    if not kept.any():
        return None
    rosetta, others = chosen[kept], alike[kept]
    mine, theirs = (panel(atlas, index, vocabulary_kurtosis_N, contexts) for index in (rosetta, others))
    compared: list[tuple[Measure, np.ndarray]] = [
        (measure, np.isfinite(mine[measure]) & np.isfinite(theirs[measure])) for measure in mine
    ]
    return Selectivity(
        rule=rule,
        neurons=len(rosetta),
        others=len(np.unique(others)),
        unmatched=int((~kept).sum()),
        spans=int(atlas["held_NV"].shape[1]),
        layers=len(np.unique(atlas.layer_of[rosetta])),
        contrasts=tuple(
            contrast(measure, mine[measure][rows], theirs[measure][rows], seed, layer_R=atlas.layer_of[rosetta][rows])
            for measure, rows in compared
            if rows.any()
        ),
    )


def panel(
    atlas: Atlas,
    index_R: np.ndarray,
    vocabulary_kurtosis_N: np.ndarray | None = None,
    contexts: Contexts | None = None,
) -> Mapping[Measure, np.ndarray]:
    """Every measure of the neurons at these flat indices, (R,) float64 each."""
    sparse_R3 = np.concatenate([_sparseness(_firing(atlas, block)) for block in _blocks(index_R)])
    found: dict[Measure, np.ndarray] = {
        "excess_kurtosis": np.asarray(atlas["excess_kurtosis"])[index_R],
        "gini": sparse_R3[:, 0],
        "treves_rolls": sparse_R3[:, 1],
        "hoyer": sparse_R3[:, 2],
        "active_fraction": active_fraction(atlas)[index_R],
    }
    if contexts is not None:
        found["context_coherence"] = contexts.coherence(atlas, index_R)
    if vocabulary_kurtosis_N is not None:
        found["vocabulary_kurtosis"] = vocabulary_kurtosis_N[index_R]
    return found


def contrast(
    measure: Measure, mine_R: np.ndarray, theirs_R: np.ndarray, seed: int = 0, *, layer_R: np.ndarray | None = None
) -> Contrast:
    """One measure's comparison; ``theirs_R[i]`` was matched with ``mine_R[i]``, both of layer ``layer_R[i]``."""
    drawn = [(mine_R[rows], theirs_R[rows]) for rows in _resampled(len(mine_R), layer_R, seed)]
    a_B, b_B = (np.asarray([np.median(pair[side]) for pair in drawn]) for side in (0, 1))
    delta_B = np.asarray([cliffs_delta(*pair) for pair in drawn])
    return Contrast(
        measure=measure,
        rosetta=centre(mine_R),
        others=centre(theirs_R),
        rosetta_interval=interval(a_B),
        others_interval=interval(b_B),
        difference=float(np.median(mine_R) - np.median(theirs_R)),
        interval=interval(a_B - b_B),
        cliffs_delta=cliffs_delta(mine_R, theirs_R),
        delta_interval=interval(delta_B),
    )


def _resampled(pairs: int, layer_R: np.ndarray | None, seed: int) -> Iterator[np.ndarray]:
    """Rows of each replicate: layers with replacement and pairs within each of them, or pairs alone of too few layers."""
    generator = np.random.default_rng(seed)
    size_L = np.zeros(0, np.int64) if layer_R is None else np.unique(layer_R, return_counts=True)[1]
    if layer_R is None or len(size_L) < _FEWEST_LAYERS:
        yield from generator.integers(pairs, size=(_RESAMPLED, pairs))
        return
    by_layer_R, first_L = np.argsort(layer_R, kind="stable"), np.cumsum(size_L) - size_L
    for layers_L in generator.integers(len(size_L), size=(_RESAMPLED, len(size_L))):
        first_r, size_r = (np.repeat(of_L[layers_L], size_L[layers_L]) for of_L in (first_L, size_L))
        yield by_layer_R[first_r + (generator.random(len(size_r)) * size_r).astype(np.int64)]


def cliffs_delta(first: np.ndarray, second: np.ndarray) -> float:
    """P(first > second) - P(first < second) over all pairs [Cliff 1993], by ranks."""
    ordered = np.sort(second)
    below, up_to = np.searchsorted(ordered, first, "left"), np.searchsorted(ordered, first, "right")
    return float((below + up_to).mean() / len(second) - 1)


def centre(values: np.ndarray) -> Centre:
    """Median, trimmed mean and mean."""
    return Centre(median=float(np.median(values)), trimmed=float(trim_mean(values, _TAIL)), mean=float(np.mean(values)))


def interval(draws: np.ndarray) -> Interval:
    """The middle 95 % of resampled values."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _blocks(index_R: np.ndarray) -> list[np.ndarray]:
    return np.array_split(index_R, -(-len(index_R) // _BLOCK))


def _firing(atlas: Atlas, index_r: np.ndarray) -> np.ndarray:
    """Held-back activations above zero in each neuron's firing direction, (r, V) float64; an uncovered span is the mean."""
    z_rV = filled(atlas["held_NV"][index_r]).astype(np.float64)
    value_rV = z_rV * np.asarray(atlas["deviation"])[index_r, None] + np.asarray(atlas["mean"])[index_r, None]
    return np.maximum(value_rV * pole(atlas)[index_r, None], 0.0)


def _sparseness(value_rV: np.ndarray) -> np.ndarray:
    """Gini, Treves-Rolls and Hoyer of each row, (r, 3): 0 for equal values, 1 for a single one; 0 for a row of zeros."""
    spans = value_rV.shape[1]
    total_r, square_r = value_rV.sum(axis=1), np.square(value_rV).sum(axis=1)
    fires_r = total_r > 0
    safe_r, root_r = np.where(fires_r, total_r, 1.0), np.sqrt(np.where(fires_r, square_r, 1.0))
    ranked_r = np.sort(value_rV, axis=1) @ np.arange(1, spans + 1)
    gini_r = (2 * ranked_r / (spans * safe_r) - (spans + 1) / spans) * spans / (spans - 1)
    treves_rolls_r = (1 - safe_r**2 / (spans * root_r**2)) / (1 - 1 / spans)
    hoyer_r = (np.sqrt(spans) - safe_r / root_r) / (np.sqrt(spans) - 1)
    return np.where(fires_r[:, None], np.stack([gini_r, treves_rolls_r, hoyer_r], axis=1), 0.0)

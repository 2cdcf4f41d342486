"""Views of two made-up models: neurons with known correlations, on held-back spans and in exact signatures."""

from __future__ import annotations

import numpy as np

from curator.atlas.store import Atlas, AtlasManifest
from curator.rosetta.matching import View
from curator.settings import AtlasSettings

HELD, DIMENSIONS, FOLDS = 1200, 1024, 6


def standardised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(axis=1, keepdims=True)) / values.std(axis=1, keepdims=True)


def view(held_NV: np.ndarray, signature_Nd: np.ndarray, dead: tuple[int, ...] = ()) -> View:
    alive = np.ones(len(held_NV), bool)
    alive[list(dead)] = False
    return View(signature_Nd.astype(np.float32), standardised(held_NV).astype(np.float16), alive)


def planted(
    pairs: list[tuple[int, int]], sizes: tuple[int, int], rho: float, seed: int, *, random_signs: bool = False
) -> tuple[View, View, np.ndarray]:
    """Two models whose neurons are independent but for ``pairs``, which correlate at about ``rho``; and the pairs' signs."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1, 1], len(pairs)) if random_signs else np.ones(len(pairs), int)
    sides = []
    for width in (HELD, DIMENSIONS):  # spans that verify, and spans that a signature keeps as they are
        first, second = (generator.standard_normal((size, width)) for size in sizes)
        for (a, b), sign in zip(pairs, signs, strict=True):
            second[b] = sign * (rho * first[a] + np.sqrt(1 - rho**2) * second[b])
        sides.append((first, second))
    (held_a, held_b), (wide_a, wide_b) = sides
    return view(held_a, wide_a), view(held_b, wide_b), signs


def fold_V() -> np.ndarray:
    """Folds of equal size."""
    return np.arange(HELD) % FOLDS


def all_pairs_mutual(first: View, second: View, k: int, *, absolute: bool) -> set[tuple[int, int]]:
    """The exact referee: every pair by one product in float64, mutual k-nearest, the dead left out."""
    a, b = (standardised(v.held_NV.astype(np.float64)) for v in (first, second))
    rho = a @ b.T / a.shape[1]
    strength = np.abs(rho) if absolute else rho
    strength[~first.alive] = strength[:, ~second.alive] = -np.inf
    best_of_first = np.argsort(-strength, axis=1, kind="stable")[:, :k]
    best_of_second = np.argsort(-strength, axis=0, kind="stable")[:k]
    return {
        (i, int(j))
        for i in range(len(a))
        for j in best_of_first[i]
        if i in best_of_second[:, j] and np.isfinite(strength[i, j])
    }


def mixing_atlas(seed: int, *, shared: int, neurons: int = 160, features: int = 24) -> Atlas:
    """A model of one layer whose first ``shared`` neurons each read a pattern that all such models read.

    The others mix, at random and by ``seed``, the same few features of the text, as an untrained model mixes those of its
    tokens. Under its decoy's identity every span holds another span's values.
    """
    text, own = np.random.default_rng(0), np.random.default_rng(seed)
    mixing, arrays = own.standard_normal((neurons - shared, features)), {}
    for name, width in (("signature_Nd", DIMENSIONS), ("held_NV", HELD)):
        patterns, common = text.standard_normal((shared, width)), text.standard_normal((features, width))
        values = np.concatenate([2 * patterns, mixing @ common / np.sqrt(features)])
        values = standardised(values + 0.3 * own.standard_normal(values.shape))
        deranged = values[:, text.permutation(width)]
        decoy = name.replace("signature", "decoy").replace("held_NV", "decoy_held_NV")
        arrays |= {name: values.astype(np.float32), decoy: deranged.astype(np.float32)}
    manifest = AtlasManifest.model_construct(
        model=f"mixing-{seed}",
        model_fingerprint=str(seed),
        layer_widths=(neurons,),
        gated=False,
        settings=AtlasSettings(),
        probe_fingerprint="0" * 64,
    )
    return Atlas(manifest, arrays | {"alive": np.ones(neurons, bool), "held_fold_V": fold_V()})

"""The fold bootstrap carried through matching: which neurons an anchor would share on a text made of other documents.

A fold is a set of documents chosen by hash. A replicate draws as many folds as there are, with replacement; each candidate
pair's sums are added up with the folds' weights, and everything after verification is done again: mutual nearest
neighbours, decoys, q-values, halves. Candidates stay those of the whole corpus, 32 on either side, where the decision needs
the nearest: with signatures weighted by fold and searched anew, 50 replicates of the zoo's three smaller sizes gave the
same sets to the neuron.

With F folds the spread is too small by about sqrt(1 - 1/F), and a replicate holds fewer different documents than the
corpus, so that its counts are biased as those of a smaller corpus are: look at their spread, centred on the estimate. Cost:
a replicate is the decision without the search, about 0.1 s for each table of 100,000 candidate pairs; the sums take 8 F
bytes a pair for one table at a time. It does not know what sizes or fits are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from curator.atlas.store import Atlas, require_comparable
from curator.rosetta.matching import (
    MatchTable,
    Verified,
    View,
    rank_within,
    ranks_by_magnitude,
    true_view,
    verified_pairs,
)
from curator.rosetta.neurons import PeerMatch, judged, require_different
from curator.rosetta.null import deranged_views, rotated_views
from curator.rosetta.pairwise import MEMORY_BYTES
from curator.rosetta.verify import even_folds
from curator.settings import MatchSettings

NEIGHBOURS = 10
"""The largest k whose matches are kept apart."""


@dataclass(frozen=True, slots=True)
class Draws:
    """One peer in the whole corpus (row 0) and in B replicates.

    ``match`` is the ordinary result of row 0. ``rank_BN`` (1 + B, N) uint8: the least k - 1 for which the neuron has a mutual
    k-nearest neighbour, ``NEIGHBOURS`` where there is none up to there; ``strength_BN`` float32 the strength of its k = 1 match,
    -inf without one; ``strict_BN`` bool whether that match is strict.
    """

    match: PeerMatch
    rank_BN: np.ndarray
    strength_BN: np.ndarray
    strict_BN: np.ndarray

    @property
    def paper_BN(self) -> np.ndarray:
        """Whether the neuron has a mutual nearest neighbour, (1 + B, N) bool."""
        return self.rank_BN == 0


def fold_weights(folds: int, replicates: int, seed: int) -> np.ndarray:
    """How often each fold stands in each replicate, (1 + B, F) float64; row 0 is the corpus itself.

    A draw that leaves one half of the folds empty, and with it no match that both halves could hold, is drawn again.
    """
    generator = np.random.default_rng(seed)
    rows, even_F = [np.ones(folds)], even_folds(folds)
    while len(rows) <= replicates:
        row = np.bincount(generator.integers(folds, size=folds), minlength=folds).astype(np.float64)
        if row[even_F].any() and row[~even_F].any():
            rows.append(row)
    return np.stack(rows)


def peer_draws(
    anchor: Atlas, peer: Atlas, settings: MatchSettings, weight_BF: np.ndarray, *, memory_bytes: int = MEMORY_BYTES
) -> Draws:
    """Match the anchor with a peer on the corpus and on every replicate. Raises as ``match_peer`` does."""
    require_comparable(anchor, peer)
    require_different([(one.manifest.model, one.manifest.model_fingerprint) for one in (anchor, peer)])
    absolute = ranks_by_magnitude(anchor, peer, settings)

    def verified(views: tuple[View, View]) -> Verified:
        return verified_pairs(*views, anchor["held_fold_V"], settings, absolute, memory_bytes=memory_bytes)

    def tables(views: Iterable[tuple[View, View]]) -> list[list[MatchTable]]:
        return [[found.matched(settings, absolute, row_F) for row_F in weight_BF] for found in map(verified, views)]

    target = verified((true_view(anchor), true_view(peer)))
    rank_BN = np.stack([_ranks(target, row_F, absolute) for row_F in weight_BF])
    matches = [target.matched(settings, absolute, row_F) for row_F in weight_BF]
    del target
    deranged = tables(deranged_views(anchor, peer))
    rotated = tables(rotated_views(anchor, peer, settings, memory_bytes=memory_bytes))
    found = [
        judged(
            peer,
            table,
            [run[row] for run in deranged],
            [run[row] for run in rotated],
            settings.max_q,
            absolute=absolute,
        )
        for row, table in enumerate(matches)
    ]
    strength_BN = np.stack([_strengths(one, anchor.neurons) for one in found])
    strict_BN = np.stack([_strict(one, anchor.neurons, settings.max_q) for one in found])
    return Draws(found[0], rank_BN, strength_BN, strict_BN)


def _strengths(found: PeerMatch, neurons: int) -> np.ndarray:
    strength_N = np.full(neurons, -np.inf, dtype=np.float32)
    np.maximum.at(strength_N, found.matches.first, found.matches.strength(absolute=found.absolute).astype(np.float32))
    return strength_N


def _strict(found: PeerMatch, neurons: int, max_q: float) -> np.ndarray:
    strict_N = np.zeros(neurons, dtype=bool)
    strict_N[found.matches.first[found.strict(max_q)]] = True
    return strict_N


def _ranks(found: Verified, weight_F: np.ndarray, absolute: bool) -> np.ndarray:
    """The least k - 1 of each neuron of A, (N,) uint8."""
    rho = found.sums.resampled(weight_F).correlation()
    strength_P = np.abs(rho) if absolute else rho
    left, right = found.pairs_P2.T
    rank_P = np.maximum(rank_within(left, right, strength_P), rank_within(right, left, strength_P))
    rank_N = np.full(found.neurons, NEIGHBOURS, dtype=np.int64)
    np.minimum.at(rank_N, left, rank_P)
    return rank_N.astype(np.uint8)

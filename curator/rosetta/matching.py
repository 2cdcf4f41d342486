"""Mutual nearest neighbours between two atlases [S, section 4.1]: propose by signature, decide by exact correlation.

For every living neuron the nearest signatures of the other model are candidates, in both directions; each candidate pair is
verified on held-back spans, or by whatever ``Verify`` the caller has; a pair is a match when each is among the other's k best
over all layers. No model is run. Ties go to the lower (layer, unit). With gated MLPs the rank is by |ρ| and the sign is kept.

Signatures and held values may be memory maps: both are read in blocks of rows, and whatever would grow with the models stays
under ``memory_bytes``, but for the candidate pairs themselves (about 200 bytes each, 2 m a neuron). Cost: the candidate
search, 2 m N V multiplications to verify. It does not know chance: see ``null``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from curator.atlas.store import Atlas, require_comparable
from curator.rosetta.index import UnitRows, nearest
from curator.rosetta.pairwise import MEMORY_BYTES, pair_products
from curator.rosetta.verify import PairSums, Verify, certificate, even_folds, pair_sums
from curator.settings import MatchSettings

__all__ = [
    "MEMORY_BYTES",
    "MatchTable",
    "Verified",
    "Verify",
    "View",
    "candidate_pairs",
    "decoy_view",
    "match_atlases",
    "match_views",
    "mutual_nearest",
    "rank_within",
    "ranks_by_magnitude",
    "tabulate",
    "true_view",
    "verified_pairs",
]


@dataclass(frozen=True, slots=True)
class View:
    """The arrays of a model that matching reads; the true ones, a decoy's or a rotated null's."""

    signature_Nd: np.ndarray
    held_NV: np.ndarray
    alive: np.ndarray


@dataclass(frozen=True, slots=True)
class MatchTable:
    """Matches of model A with model B, one row each, ordered by A's neuron.

    ``first`` and ``second`` (M,) int64 flat neuron indices; ``rho`` the verified correlation (signed), ``error`` its jackknife
    standard error, ``sketch_rho`` the signatures' estimate, ``margin`` the strength minus that of A's runner-up (minus 0 where
    A's neuron has no other candidate), ``hubness`` how many
    neurons of A have this neuron of B as their best, ``replicated`` whether the pair is mutual in both halves of the folds.
    ``strongest`` (N_A,) is the best strength of every neuron of A over its candidates, 0 for the dead. ``even_half``
    and ``odd_half`` are the neurons of A with a mutual partner in the even and in the odd folds alone, sorted.
    ``certificate`` is the worst \\|difference\\| of ρ to a float64 referee over sampled candidates, NaN where none was asked.
    """

    first: np.ndarray
    second: np.ndarray
    rho: np.ndarray
    error: np.ndarray
    sketch_rho: np.ndarray
    margin: np.ndarray
    hubness: np.ndarray
    replicated: np.ndarray
    strongest: np.ndarray
    even_half: np.ndarray
    odd_half: np.ndarray
    certificate: float = math.nan

    def __len__(self) -> int:
        return len(self.first)

    def strength(self, *, absolute: bool) -> np.ndarray:
        """What matches are ranked by: ρ or \\|ρ\\|."""
        return np.abs(self.rho) if absolute else self.rho


def true_view(atlas: Atlas) -> View:
    """The atlas as it is."""
    return View(atlas["signature_Nd"], atlas["held_NV"], atlas["alive"])


def decoy_view(atlas: Atlas) -> View:
    """The atlas with every document under its decoy identity."""
    return View(atlas["decoy_Nd"], atlas["decoy_held_NV"], atlas["alive"])


def ranks_by_magnitude(first: Atlas, second: Atlas, settings: MatchSettings) -> bool:
    """Whether pairs are ranked by |ρ|."""
    return settings.by_magnitude(gated=first.manifest.gated or second.manifest.gated)


def match_atlases(
    first: Atlas,
    second: Atlas,
    settings: MatchSettings,
    *,
    views: tuple[View, View] | None = None,
    verify: Verify | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> MatchTable:
    """Mutual k-nearest neighbours of two atlases, seen as they are or as ``views``; ``verify`` as in ``match_views``.

    Raises FingerprintError when the atlases are not comparable, and what ``match_views`` raises.
    """
    require_comparable(first, second)
    absolute = ranks_by_magnitude(first, second, settings)
    views = views or (true_view(first), true_view(second))
    return match_views(*views, first["held_fold_V"], settings, absolute, verify=verify, memory_bytes=memory_bytes)


@dataclass(frozen=True, slots=True)
class Verified:
    """Candidate pairs of two models with their verified sums: enough to match them, on the corpus or on its folds resampled.

    ``pairs_P2`` (P, 2) distinct flat neuron indices, ``sketch_rho_P`` the signatures' similarity, ``neurons`` N_A.
    """

    pairs_P2: np.ndarray
    sketch_rho_P: np.ndarray
    sums: PairSums
    neurons: int

    def matched(self, settings: MatchSettings, absolute: bool, weight_F: np.ndarray | None = None) -> MatchTable:
        """The matches; with ``weight_F`` as if each fold stood in the corpus so many times."""
        sums = self.sums if weight_F is None else self.sums.resampled(weight_F)
        return tabulate(self.pairs_P2, self.sketch_rho_P, sums, settings, absolute, self.neurons)


def match_views(
    first: View,
    second: View,
    fold_V: np.ndarray,
    settings: MatchSettings,
    absolute: bool,
    *,
    verify: Verify | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> MatchTable:
    """The same over bare arrays, so that nulls and other ways of verifying go through the same code.

    ``verify`` takes candidate pairs and returns their sums; None verifies on the held-back spans of the views, and certifies
    it. Raises ConfigError when the budget is too small for the index that the settings name.
    """
    found = verified_pairs(first, second, fold_V, settings, absolute, verify=verify, memory_bytes=memory_bytes)
    return found.matched(settings, absolute)


def verified_pairs(
    first: View,
    second: View,
    fold_V: np.ndarray,
    settings: MatchSettings,
    absolute: bool,
    *,
    verify: Verify | None = None,
    forward_only: bool = False,
    memory_bytes: int = MEMORY_BYTES,
) -> Verified:
    """Candidates and their sums, before anything is decided. Arguments as ``match_views`` and ``candidate_pairs``."""
    pairs_P2, sketch_rho = candidate_pairs(
        first, second, settings, absolute, forward_only=forward_only, memory_bytes=memory_bytes
    )
    if verify is not None:
        sums = verify(pairs_P2)
    else:
        held, folds = (first.held_NV, second.held_NV), int(fold_V.max(initial=0)) + 1
        sums = pair_sums(*held, pairs_P2, fold_V, folds, memory_bytes=memory_bytes)
        sums = replace(sums, certificate=certificate(sums, *held, pairs_P2, seed=settings.seed))
    return Verified(pairs_P2, sketch_rho, sums, len(first.alive))


def tabulate(
    pairs_P2: np.ndarray,
    sketch_rho_P: np.ndarray,
    sums: PairSums,
    settings: MatchSettings,
    absolute: bool,
    neurons_A: int,
) -> MatchTable:
    """Everything after verification: mutual k-nearest, margins, hubness, halves, errors.

    ``pairs_P2`` (P, 2) are distinct flat neuron indices in any order, ``sums`` their verified sums.
    """
    rho = sums.correlation()
    strength = np.abs(rho) if absolute else rho
    mutual = mutual_nearest(pairs_P2, strength, settings.neighbours)
    even, odd = _mutual_in_halves(pairs_P2, sums, settings.neighbours, absolute)
    replicated = mutual & even & odd
    chosen = np.flatnonzero(mutual)
    chosen = chosen[np.lexsort((pairs_P2[chosen, 1], pairs_P2[chosen, 0]))]
    margin, hubness = _margins(pairs_P2, strength)
    return MatchTable(
        first=pairs_P2[chosen, 0],
        second=pairs_P2[chosen, 1],
        rho=rho[chosen],
        error=sums.of(chosen).jackknife_error(),
        sketch_rho=sketch_rho_P[chosen],
        margin=margin[chosen],
        hubness=hubness[chosen],
        replicated=replicated[chosen],
        strongest=_strongest(pairs_P2[:, 0], strength, neurons_A),
        even_half=np.unique(pairs_P2[even, 0]),
        odd_half=np.unique(pairs_P2[odd, 0]),
        certificate=sums.certificate,
    )


def candidate_pairs(
    first: View,
    second: View,
    settings: MatchSettings,
    absolute: bool,
    *,
    forward_only: bool = False,
    memory_bytes: int = MEMORY_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Distinct candidate pairs of living neurons, sorted, (P, 2) int64, with the signatures' signed similarity, (P,).

    With ``forward_only`` those that the first model's neurons propose, without those of the second's.
    """
    a, b = (UnitRows(view.signature_Nd, np.flatnonzero(view.alive)) for view in (first, second))
    if not len(a) or not len(b):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    found = [
        nearest(
            queries,
            searched,
            settings.candidates,
            absolute=absolute,
            kind=settings.index,
            seed=settings.seed,
            memory_bytes=memory_bytes,
        ).neighbour
        for queries, searched in ((a, b), *(() if forward_only else ((b, a),)))
    ]
    forward, backward = found if len(found) > 1 else (*found, np.full((len(b), 0), -1))
    left = np.concatenate([np.repeat(np.arange(len(a)), forward.shape[1]), backward.ravel()])
    right = np.concatenate([forward.ravel(), np.repeat(np.arange(len(b)), backward.shape[1])])
    real = (left >= 0) & (right >= 0)
    unique = np.unique(left[real] * len(b) + right[real])
    local_P2 = np.stack([unique // len(b), unique % len(b)], axis=1)
    whole = np.asarray([0, a.width])
    similarity = pair_products(a, b, local_P2, whole, memory_bytes=memory_bytes)[:, 0]
    return np.stack([a.neurons[local_P2[:, 0]], b.neurons[local_P2[:, 1]]], axis=1), similarity


def mutual_nearest(pairs_P2: np.ndarray, strength_P: np.ndarray, k: int) -> np.ndarray:
    """Which pairs are among the k best of both their neurons; ties go to the lower index. (P,) bool."""
    left, right = pairs_P2.T
    if k == 1:
        return _is_best(left, right, strength_P) & _is_best(right, left, strength_P)
    return (rank_within(pairs_P2[:, 0], pairs_P2[:, 1], strength_P) < k) & (
        rank_within(pairs_P2[:, 1], pairs_P2[:, 0], strength_P) < k
    )


def rank_within(owner_P: np.ndarray, other_P: np.ndarray, strength_P: np.ndarray) -> np.ndarray:
    """Rank of each pair among the pairs of its owner, 0 for the strongest. (P,) int64."""
    order = np.lexsort((other_P, -strength_P, owner_P))
    sorted_owner = owner_P[order]
    starts = np.flatnonzero(np.r_[True, sorted_owner[1:] != sorted_owner[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return rank


def _is_best(owner_P: np.ndarray, other_P: np.ndarray, strength_P: np.ndarray) -> np.ndarray:
    """Which pair is its owner's strongest, the one with the lower other neuron on a tie: rank 0 without sorting. (P,) bool."""
    best = np.full(int(owner_P.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(best, owner_P, strength_P)
    leading = np.flatnonzero(strength_P == best[owner_P])
    order = leading[np.lexsort((other_P[leading], owner_P[leading]))]
    first = order[np.flatnonzero(np.diff(owner_P[order], prepend=-1))]
    found = np.zeros(len(owner_P), dtype=bool)
    found[first] = True
    return found


def _mutual_in_halves(pairs_P2: np.ndarray, sums: PairSums, k: int, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs are mutual on the even folds alone, and which on the odd ones; two (P,) bool."""
    even_F = even_folds(len(sums.count_F))
    rhos = (sums.correlation(half_F) for half_F in (even_F, ~even_F))
    even, odd = (mutual_nearest(pairs_P2, np.abs(rho) if absolute else rho, k) for rho in rhos)
    return even, odd


def _strongest(owner_P: np.ndarray, strength_P: np.ndarray, neurons: int) -> np.ndarray:
    best = np.zeros(neurons)
    np.maximum.at(best, owner_P, strength_P)
    return best


def _margins(pairs_P2: np.ndarray, strength_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pair: its strength minus the best other pair of its first neuron, and how often its second is a best."""
    left, right = pairs_P2.T
    leads = _is_best(left, right, strength_P)
    best, runner_up = (np.full(int(left.max(initial=-1)) + 1, -np.inf) for _ in range(2))
    best[left[leads]] = strength_P[leads]
    np.maximum.at(runner_up, left[~leads], strength_P[~leads])
    rival = np.where(leads, runner_up[left], best[left])
    rival = np.where(np.isneginf(rival), 0.0, rival)
    occurrences = np.bincount(right[leads], minlength=int(right.max(initial=-1)) + 1)
    return strength_P - rival, occurrences[right]

"""Mutual nearest neighbours between two atlases [S, section 4.1]: propose by signature, decide by exact correlation.

For every living neuron the nearest signatures of the other model are candidates, in both directions; each candidate pair is
verified on held-back spans; a pair is a match when each is among the other's k best over all layers. No model is run and
no N_A × N_B array is made. Ties go to the lower (layer, unit). With gated MLPs the rank is by |ρ| and the sign is kept.
Cost: the candidate search, 2 m N V multiplications to verify. It does not know chance: see ``null``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.atlas.store import Atlas, require_comparable
from curator.rosetta.index import nearest, unit_norm
from curator.rosetta.verify import PairSums, pair_sums
from curator.settings import MatchSettings


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
    standard error, ``sketch_rho`` the signatures' estimate, ``margin`` |ρ| minus that of A's runner-up, ``hubness`` how many
    neurons of A have this neuron of B as their best, ``replicated`` whether the pair is mutual in both halves of the folds.
    ``strongest`` (N_A,) is the best strength of every neuron of A over its candidates, 0 for the dead. ``even_half``
    and ``odd_half`` are the neurons of A with a mutual partner in the even and in the odd folds alone, sorted.
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
    if settings.sign == "auto":
        return first.manifest.gated or second.manifest.gated
    return settings.sign == "absolute"


def match_atlases(first: Atlas, second: Atlas, settings: MatchSettings) -> MatchTable:
    """Mutual k-nearest neighbours of two atlases. Raises FingerprintError when they are not comparable."""
    require_comparable(first, second)
    return match_views(
        true_view(first), true_view(second), first["held_fold_V"], settings, ranks_by_magnitude(first, second, settings)
    )


def match_views(first: View, second: View, fold_V: np.ndarray, settings: MatchSettings, absolute: bool) -> MatchTable:
    """The same over bare arrays, so that nulls go through the same code."""
    pairs_P2, sketch_rho = candidate_pairs(first, second, settings.candidates, absolute)
    folds = int(fold_V.max()) + 1 if len(fold_V) else 1
    sums = pair_sums(first.held_NV, second.held_NV, pairs_P2, fold_V, folds)
    everything = np.ones(folds, dtype=bool)
    rho = sums.correlation(everything)
    strength = np.abs(rho) if absolute else rho
    k = settings.neighbours
    mutual = mutual_nearest(pairs_P2, strength, k)
    even, odd = _mutual_in_halves(pairs_P2, sums, k, absolute)
    replicated = mutual & even & odd
    chosen = np.flatnonzero(mutual)
    chosen = chosen[np.lexsort((pairs_P2[chosen, 1], pairs_P2[chosen, 0]))]
    margin, hubness = _margins(pairs_P2, strength)
    return MatchTable(
        first=pairs_P2[chosen, 0],
        second=pairs_P2[chosen, 1],
        rho=rho[chosen],
        error=sums.jackknife_error()[chosen],
        sketch_rho=sketch_rho[chosen],
        margin=margin[chosen],
        hubness=hubness[chosen],
        replicated=replicated[chosen],
        strongest=_strongest(pairs_P2[:, 0], strength, len(first.alive)),
        even_half=np.unique(pairs_P2[even, 0]),
        odd_half=np.unique(pairs_P2[odd, 0]),
    )


def candidate_pairs(first: View, second: View, wanted: int, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    """Distinct candidate pairs of living neurons, (P, 2) int64, with the signatures' signed similarity, (P,)."""
    rows, columns = np.flatnonzero(first.alive), np.flatnonzero(second.alive)
    if not len(rows) or not len(columns):
        return np.zeros((0, 2), np.int64), np.zeros(0, np.float32)
    a, b = unit_norm(first.signature_Nd[rows]), unit_norm(second.signature_Nd[columns])
    forward = nearest(a, b, wanted, absolute=absolute).neighbour
    backward = nearest(b, a, wanted, absolute=absolute).neighbour
    left = np.concatenate([np.repeat(np.arange(len(a)), forward.shape[1]), backward.ravel()])
    right = np.concatenate([forward.ravel(), np.repeat(np.arange(len(b)), backward.shape[1])])
    unique = np.unique(left * len(b) + right)
    left, right = unique // len(b), unique % len(b)
    similarity = np.concatenate(
        [np.einsum("pd,pd->p", a[left[s : s + 8192]], b[right[s : s + 8192]]) for s in range(0, len(left), 8192)]
    )
    return np.stack([rows[left], columns[right]], axis=1), similarity


def mutual_nearest(pairs_P2: np.ndarray, strength_P: np.ndarray, k: int) -> np.ndarray:
    """Which pairs are among the k best of both their neurons; ties go to the lower index. (P,) bool."""
    return (_rank_within(pairs_P2[:, 0], pairs_P2[:, 1], strength_P) < k) & (
        _rank_within(pairs_P2[:, 1], pairs_P2[:, 0], strength_P) < k
    )


def _rank_within(owner_P: np.ndarray, other_P: np.ndarray, strength_P: np.ndarray) -> np.ndarray:
    """Rank of each pair among the pairs of its owner, 0 for the strongest. (P,) int64."""
    order = np.lexsort((other_P, -strength_P, owner_P))
    sorted_owner = owner_P[order]
    starts = np.flatnonzero(np.r_[True, sorted_owner[1:] != sorted_owner[:-1]])
    lengths = np.diff(np.r_[starts, len(order)])
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return rank


def _mutual_in_halves(pairs_P2: np.ndarray, sums: PairSums, k: int, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which pairs are mutual on the even folds alone, and which on the odd ones; two (P,) bool."""
    even_F = np.arange(len(sums.count_F)) % 2 == 0
    rho_even, rho_odd = sums.correlation(even_F), sums.correlation(~even_F)
    if absolute:
        rho_even, rho_odd = np.abs(rho_even), np.abs(rho_odd)
    return mutual_nearest(pairs_P2, rho_even, k), mutual_nearest(pairs_P2, rho_odd, k)


def _strongest(owner_P: np.ndarray, strength_P: np.ndarray, neurons: int) -> np.ndarray:
    best = np.zeros(neurons)
    np.maximum.at(best, owner_P, strength_P)
    return best


def _margins(pairs_P2: np.ndarray, strength_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each pair: its strength minus the best other pair of its first neuron, and how often its second is a best."""
    rank = _rank_within(pairs_P2[:, 0], pairs_P2[:, 1], strength_P)
    size = int(pairs_P2[:, 0].max()) + 1 if len(pairs_P2) else 0
    best, runner_up = np.full(size, -1.0), np.full(size, -1.0)
    best[pairs_P2[rank == 0, 0]] = strength_P[rank == 0]
    runner_up[pairs_P2[rank == 1, 0]] = strength_P[rank == 1]
    rival = np.where(rank == 0, runner_up[pairs_P2[:, 0]], best[pairs_P2[:, 0]])
    occurrences = np.bincount(pairs_P2[rank == 0, 1], minlength=int(pairs_P2[:, 1].max()) + 1 if size else 0)
    return strength_P - rival, occurrences[pairs_P2[:, 1]]

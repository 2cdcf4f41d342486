"""For every neuron of a set its partners in another model, by verified correlation alone: no label, no document is read.

A mutual best match over all layers of both models is taken first. A neuron without one takes the best candidate that no
stronger neuron of the set has taken, for one neuron in two columns would vote twice. In further rounds every neuron takes
its next best: what one neuron says in a small model is often shared by several in a larger one. Below a floor of ρ, or
where the best correlations of decoys are as high (a false discovery rate over the best correlation of every neuron of the
source model), nothing is a partner. Cost: the matching of the two models (``rosetta.neurons``) and a small one of the set's
neurons. It does not know scorers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from curator.rosetta.matching import MatchTable, ranks_by_magnitude, true_view, verified_pairs
from curator.rosetta.neurons import PeerMatch, RosettaNeurons
from curator.rosetta.null import q_values
from curator.settings import MatchSettings, TransferSettings


@dataclass(frozen=True, slots=True)
class Partners:
    """Pairs of a neuron of the source model with one of the other, all (P,).

    ``first`` and ``second`` int64 flat indices, ``rho`` signed, ``error`` its jackknife standard error, ``q`` a false
    discovery rate; ``mutual`` and ``replicated`` bool: each the other's best over all layers, and so in both halves of the folds.
    """

    first: np.ndarray
    second: np.ndarray
    rho: np.ndarray
    error: np.ndarray
    q: np.ndarray
    mutual: np.ndarray
    replicated: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def rows(self, chosen: np.ndarray) -> Partners:
        """Some of the pairs, by mask or by index."""
        return Partners(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def find_partners(
    wanted_K: np.ndarray, shared: RosettaNeurons, match_settings: MatchSettings, settings: TransferSettings
) -> Partners:
    """The partners of some neurons of ``shared``'s anchor in its one peer, in the order of ``wanted_K``, a neuron's best first.

    A neuron of the anchor is in at most ``settings.partners`` pairs, one of the peer in one; the result may be empty.
    """
    absolute = ranks_by_magnitude(shared.anchor, shared.peers[0].peer, match_settings)
    candidates = _candidates(wanted_K, shared, match_settings, absolute)
    strength = np.abs(candidates.rho) if absolute else candidates.rho
    sound = candidates.rows((strength >= settings.min_rho) & (candidates.q <= settings.max_q))
    chosen = sound.rows(_assigned(sound, settings.partners))
    place = {int(neuron): position for position, neuron in enumerate(wanted_K)}
    return chosen.rows(np.argsort([place[int(neuron)] for neuron in chosen.first], kind="stable"))


def _candidates(wanted_K: np.ndarray, shared: RosettaNeurons, settings: MatchSettings, absolute: bool) -> Partners:
    """The mutual matches of the wanted neurons, then their other verified candidates."""
    peer = shared.peers[0]
    mutual = np.flatnonzero(np.isin(peer.matches.first, wanted_K))
    near = _near(wanted_K, shared, settings, absolute)
    joined = {
        name: np.concatenate([getattr(peer.matches, name)[mutual], getattr(near, name)])
        for name in ("first", "second", "rho", "error")
    }
    others = np.zeros(len(near), dtype=bool)
    return Partners(
        **joined,
        q=best_match_q(peer, shared.anchor["alive"], np.abs(joined["rho"]) if absolute else joined["rho"]),
        mutual=np.concatenate([~np.zeros(len(mutual), dtype=bool), others]),
        replicated=np.concatenate([peer.matches.replicated[mutual], others]),
    )


def _near(wanted_K: np.ndarray, shared: RosettaNeurons, settings: MatchSettings, absolute: bool) -> MatchTable:
    """All candidates of the wanted neurons: a matching in which the rest of the anchor does not take part.

    The other model's neurons propose none, for each of them would name neurons of the set, however far off.
    """
    anchor, other = shared.anchor, shared.peers[0].peer
    view = true_view(anchor)
    alive = np.zeros_like(view.alive)
    alive[wanted_K] = view.alive[wanted_K]
    wide = settings.model_copy(update={"neighbours": settings.candidates})
    views = (replace(view, alive=alive), true_view(other))
    found = verified_pairs(*views, anchor["held_fold_V"], wide, absolute, forward_only=True)
    return found.matched(wide, absolute)


def best_match_q(peer: PeerMatch, alive: np.ndarray, strength_P: np.ndarray) -> np.ndarray:
    """False discovery rate of best matches, mutual or not, at each strength, (P,).

    Targets are the strongest correlation of every living neuron of the anchor, decoys the same in the deranged nulls. A strength
    below every target has q = 1.
    """
    targets = np.sort(peer.matches.strongest[alive])
    q = q_values(targets, [null.strongest[alive] for null in peer.deranged])
    at = np.searchsorted(targets, strength_P, side="right") - 1  # the strongest target that is not above
    return np.where(at >= 0, q[np.maximum(at, 0)], 1.0) if len(targets) else np.ones(len(strength_P))


def _assigned(pairs: Partners, rounds: int) -> np.ndarray:
    """Indices of the pairs taken, in rounds in which every neuron of the first model may take one more of the second.

    In a round the mutual pairs choose first, then the strongest; ties go to the lower indices.
    """
    order = np.lexsort((pairs.second, pairs.first, -np.abs(pairs.rho), ~pairs.mutual))
    used: set[int] = set()
    taken: list[int] = []
    for _ in range(rounds):
        served: set[int] = set()
        for row in order:
            first, second = int(pairs.first[row]), int(pairs.second[row])
            if first not in served and second not in used:
                served.add(first)
                used.add(second)
                taken.append(int(row))
    return np.asarray(taken, dtype=np.int64)

"""The Rosetta neurons of an anchor: those matched in every peer (a star) [S, section 4.1; R].

Three named sets. ``paper``: mutual nearest neighbours, k = 1, no threshold. ``strict``: q at most 0.01 in every peer and mutual
in both halves of the corpus. ``universal``: excess correlation above 0.5, mean over the peers [U]. The null counts of the same
rules stand beside them. Cost: for each peer four matchings. It does not know what a neuron is specialised in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curator.atlas.store import Atlas
from curator.errors import ConfigError
from curator.rosetta.matching import MatchTable, match_atlases, ranks_by_magnitude
from curator.rosetta.null import deranged_matches, q_values, rotated_matches
from curator.settings import MatchSettings

OnStage = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PeerMatch:
    """Matches of the anchor with one peer, a q-value for each, the null's matches, and the anchor's excess correlation (N,)."""

    peer: Atlas
    matches: MatchTable
    q: np.ndarray
    deranged: tuple[MatchTable, MatchTable]
    rotated: MatchTable
    excess: np.ndarray

    def partner_of(self, neurons: int) -> np.ndarray:
        """Row of each anchor neuron's strongest match (the greatest margin), -1 where unmatched. (N,)."""
        rows = np.full(neurons, -1, dtype=np.int64)
        weakest_first = np.lexsort((-self.matches.second, self.matches.margin))
        rows[self.matches.first[weakest_first]] = weakest_first
        return rows


@dataclass(frozen=True, slots=True)
class RosettaNeurons:
    """The Rosetta neurons of an anchor.

    ``index`` (R,) flat indices of the ``paper`` set; ``row_RP`` the row of each neuron's match in each peer's table;
    ``mean_rho`` and ``q`` (R,): mean correlation and worst q over the peers; ``strict`` and ``universal`` (R,) bool.
    ``null_counts`` says what the same rules find in the decoys; ``half_jaccard`` how far the even and the odd folds, each
    matched alone among the same candidates, agree on which neurons of the anchor have a partner in every peer.
    """

    anchor: Atlas
    peers: tuple[PeerMatch, ...]
    index: np.ndarray
    row_RP: np.ndarray
    mean_rho: np.ndarray
    q: np.ndarray
    strict: np.ndarray
    universal: np.ndarray
    null_counts: dict[str, int]
    half_jaccard: float

    def chosen_by(self, rule: str) -> np.ndarray:
        """Positions (into ``index``) of the set named ``paper``, ``strict`` or ``universal``."""
        masks = {"paper": np.ones(len(self.index), dtype=bool), "strict": self.strict, "universal": self.universal}
        return np.flatnonzero(masks[rule])

    def counts(self) -> dict[str, int]:
        """Sizes of the three sets."""
        return {rule: len(self.chosen_by(rule)) for rule in ("paper", "strict", "universal")}

    def matches_of(self, position: int) -> list[dict[str, Any]]:
        """The partners of one Rosetta neuron, one entry for each peer."""
        found = []
        for column, peer in enumerate(self.peers):
            row = int(self.row_RP[position, column])
            found.append(
                {
                    "peer": peer.peer.manifest.model,
                    "neuron": str(peer.peer.neuron(int(peer.matches.second[row]))),
                    "rho": float(peer.matches.rho[row]),
                    "standard_error": float(peer.matches.error[row]),
                    "q": float(peer.q[row]),
                }
            )
        return found


def find_rosetta_neurons(
    anchor: Atlas, peers: Sequence[Atlas], settings: MatchSettings, *, on_stage: OnStage | None = None
) -> RosettaNeurons:
    """Match the anchor with every peer and intersect.

    Raises ConfigError without a peer, FingerprintError when atlases are not comparable.
    """
    if not peers:
        raise ConfigError("Rosetta neurons are those that other models share; name at least one peer model.")
    matched = []
    for peer in peers:
        if on_stage:
            on_stage(peer.manifest.model)
        matched.append(_match_peer(anchor, peer, settings))
    rows_NP = np.stack([peer.partner_of(anchor.neurons) for peer in matched], axis=1)
    index = np.flatnonzero((rows_NP >= 0).all(axis=1))
    row_RP = rows_NP[index]
    q_RP = _column_values(matched, row_RP, lambda peer: peer.q)
    replicated_RP = _column_values(matched, row_RP, lambda peer: peer.matches.replicated)
    return RosettaNeurons(
        anchor=anchor,
        peers=tuple(matched),
        index=index,
        row_RP=row_RP,
        mean_rho=np.abs(_column_values(matched, row_RP, lambda peer: peer.matches.rho)).mean(axis=1),
        q=q_RP.max(axis=1),
        strict=np.all((q_RP <= settings.max_q) & (replicated_RP > 0), axis=1),
        universal=np.stack([peer.excess[index] for peer in matched], axis=1).mean(axis=1) > settings.min_excess,
        null_counts=_null_counts(anchor, matched, settings),
        half_jaccard=_half_jaccard(matched),
    )


def _match_peer(anchor: Atlas, peer: Atlas, settings: MatchSettings) -> PeerMatch:
    absolute = ranks_by_magnitude(anchor, peer, settings)
    matches = match_atlases(anchor, peer, settings)
    deranged = deranged_matches(anchor, peer, settings)
    q = q_values(matches.strength(absolute=absolute), [null.strength(absolute=absolute) for null in deranged])
    rotated = rotated_matches(anchor, peer, settings)
    return PeerMatch(peer, matches, q, deranged, rotated, matches.strongest - rotated.strongest)


def _column_values(
    matched: Sequence[PeerMatch], row_RP: np.ndarray, values: Callable[[PeerMatch], np.ndarray]
) -> np.ndarray:
    return np.stack([values(peer)[row_RP[:, column]] for column, peer in enumerate(matched)], axis=1).astype(float)


def _half_jaccard(matched: Sequence[PeerMatch]) -> float:
    even = set.intersection(*(set(peer.matches.even_half.tolist()) for peer in matched))
    odd = set.intersection(*(set(peer.matches.odd_half.tolist()) for peer in matched))
    return len(even & odd) / len(even | odd) if even | odd else 0.0


def _null_counts(anchor: Atlas, matched: Sequence[PeerMatch], settings: MatchSettings) -> dict[str, int]:
    """Neurons that the paper rule and the strict rule find when every peer is a decoy."""
    counts = {}
    for name in ("deranged", "rotated"):
        paper = np.ones(anchor.neurons, dtype=bool)
        strict = np.ones(anchor.neurons, dtype=bool)
        for peer in matched:
            absolute = ranks_by_magnitude(anchor, peer.peer, settings)
            decoy = peer.deranged[0] if name == "deranged" else peer.rotated
            passing = peer.matches.strength(absolute=absolute)[peer.q <= settings.max_q]
            threshold = passing.min() if len(passing) else np.inf
            strong = (decoy.strength(absolute=absolute) >= threshold) & decoy.replicated
            paper &= np.isin(np.arange(anchor.neurons), decoy.first)
            strict &= np.isin(np.arange(anchor.neurons), decoy.first[strong])
        counts |= {f"{name}_paper": int(paper.sum()), f"{name}_strict": int(strict.sum())}
    return counts

"""The Rosetta neurons of an anchor: those matched in every peer, as a star or a clique [S, section 4.1; R].

Three named sets. ``paper``: mutual nearest neighbours, k = 1, no threshold. ``strict``: in every peer q at most 0.01 against
deranged documents and against rotated layers, and mutual in both halves of the corpus. ``universal``: excess correlation over
the rotated layers above 0.5, mean over the peers [U]. The null counts of the same rules stand beside them. Cost: for each peer
three matchings and one for each rotation, for a clique one for each pair of peers. It does not know what a neuron is
specialised in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from curator.atlas.store import Atlas
from curator.errors import ConfigError
from curator.rosetta.intersect import clique, star, strongest_rows
from curator.rosetta.matching import MatchTable, match_atlases, ranks_by_magnitude
from curator.rosetta.null import Null, deranged_matches, null_of, rotated_matches
from curator.rosetta.pairwise import MEMORY_BYTES
from curator.settings import MatchSettings

OnStage = Callable[[str], None]
Matcher = Callable[[Atlas], MatchTable]


@dataclass(frozen=True, slots=True)
class PeerMatch:
    """Matches of the anchor with one peer, and what the two nulls say of them.

    ``absolute`` says whether matches are ranked by \\|ρ\\|; ``q`` (M,) is the worse of the two nulls' q-values, ``excess`` (N,)
    how far each anchor neuron's best correlation lies above what it reaches in rotated layers [U].
    """

    peer: Atlas
    matches: MatchTable
    derangement: Null
    rotation: Null
    absolute: bool
    q: np.ndarray
    excess: np.ndarray

    @property
    def deranged(self) -> tuple[MatchTable, ...]:
        """The matches with deranged documents."""
        return self.derangement.decoys

    def strict(self, max_q: float) -> np.ndarray:
        """Which matches the strict rule keeps, (M,) bool."""
        return (self.q <= max_q) & self.matches.replicated

    def partner_of(self, neurons: int) -> np.ndarray:
        """Row of each anchor neuron's strongest match (the greatest margin), -1 where unmatched. (N,)."""
        return strongest_rows(self.matches, neurons)


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

    @property
    def certificate(self) -> float:
        """Worst \\|difference\\| of a match's ρ to float64, over sampled candidate pairs of every peer."""
        return max(peer.matches.certificate for peer in self.peers)

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
    anchor: Atlas,
    peers: Sequence[Atlas],
    settings: MatchSettings,
    *,
    on_stage: OnStage | None = None,
    matcher: Matcher | None = None,
    same_spans: bool = True,
    memory_bytes: int = MEMORY_BYTES,
) -> RosettaNeurons:
    """Match the anchor with every peer and intersect.

    ``matcher`` finds the matches with a peer where signatures and held-back spans are not to decide: a second pass, or exact
    correlation. Decoys are always found by the sketch; held-back samples make their correlations larger, so q-values err on
    the safe side. Where it correlates over spans of another kind than the decoys', say so by ``same_spans``: chance is then not
    measured, q and excess are NaN, and the strict and the universal set are empty.

    ``memory_bytes`` bounds the arrays that would grow with the models (see ``matching``); results do not depend on it. Raises
    ConfigError without a peer, with one model under two names or with too small a budget, FingerprintError when atlases are not
    comparable, StorageError when rotated values find no room on the disk.
    """
    if not peers:
        raise ConfigError("Rosetta neurons are those that other models share; name at least one peer model.")
    require_different([(one.manifest.model, one.manifest.model_fingerprint) for one in (anchor, *peers)])
    matched = []
    for peer in peers:
        if on_stage:
            on_stage(peer.manifest.model)
        found = match_peer(anchor, peer, settings, matcher=matcher, memory_bytes=memory_bytes)
        matched.append(found if same_spans else unmeasured(found))
    return rosetta_of(anchor, matched, settings, memory_bytes=memory_bytes)


def require_different(models: Sequence[tuple[str, str]]) -> None:
    """Raise ConfigError when two of some models, (name, fingerprint), have the same configuration and weights.

    A model agrees with itself on every neuron, whatever it is called.
    """
    known: dict[str, str] = {}
    for name, content in models:
        if content in known:
            raise ConfigError(
                f"{name} is {known[content]} itself, weight for weight; match models that were trained independently."
            )
        known[content] = name


def rosetta_of(
    anchor: Atlas, matched: Sequence[PeerMatch], settings: MatchSettings, *, memory_bytes: int = MEMORY_BYTES
) -> RosettaNeurons:
    """The intersection of the anchor's matches with at least one peer. Raises as ``find_rosetta_neurons``."""
    rows_NP = _intersection(anchor, matched, settings, memory_bytes)
    index = np.flatnonzero((rows_NP >= 0).all(axis=1))
    row_RP = rows_NP[index]
    return RosettaNeurons(
        anchor=anchor,
        peers=tuple(matched),
        index=index,
        row_RP=row_RP,
        mean_rho=np.abs(_of_rows(matched, row_RP, lambda peer: peer.matches.rho)).mean(axis=1),
        q=_of_rows(matched, row_RP, lambda peer: peer.q).max(axis=1),
        strict=np.all(_of_rows(matched, row_RP, lambda peer: peer.strict(settings.max_q)), axis=1),
        universal=np.stack([peer.excess[index] for peer in matched], axis=1).mean(axis=1) > settings.min_excess,
        null_counts=_null_counts(anchor.neurons, matched),
        half_jaccard=_half_jaccard(matched),
    )


def match_peer(
    anchor: Atlas,
    peer: Atlas,
    settings: MatchSettings,
    *,
    matcher: Matcher | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> PeerMatch:
    """Match the anchor with one peer and with the decoys of both kinds. Raises as ``find_rosetta_neurons``."""
    absolute = ranks_by_magnitude(anchor, peer, settings)
    matches = matcher(peer) if matcher else match_atlases(anchor, peer, settings, memory_bytes=memory_bytes)
    deranged, rotated = (
        decoys(anchor, peer, settings, memory_bytes=memory_bytes) for decoys in (deranged_matches, rotated_matches)
    )
    return judged(peer, matches, deranged, rotated, settings.max_q, absolute=absolute)


def judged(
    peer: Atlas,
    matches: MatchTable,
    deranged: Sequence[MatchTable],
    rotated: Sequence[MatchTable],
    max_q: float,
    *,
    absolute: bool,
) -> PeerMatch:
    """The matches of an anchor with a peer beside those of the decoys of both kinds, at least two of each."""
    derangement, rotation = (null_of(matches, decoys, max_q, absolute=absolute) for decoys in (deranged, rotated))
    q, excess = np.maximum(derangement.q, rotation.q), matches.strongest - rotation.baseline_N
    return PeerMatch(peer, matches, derangement, rotation, absolute, q, excess)


def unmeasured(found: PeerMatch) -> PeerMatch:
    """The same matches without anything that compares them with decoys."""
    derangement, rotation = (
        replace(null, q=np.full_like(null.q, np.nan), threshold=np.inf) for null in (found.derangement, found.rotation)
    )
    q, excess = (np.full_like(values, np.nan) for values in (found.q, found.excess))
    return replace(found, derangement=derangement, rotation=rotation, q=q, excess=excess)


def _intersection(
    anchor: Atlas, matched: Sequence[PeerMatch], settings: MatchSettings, memory_bytes: int
) -> np.ndarray:
    tables = [peer.matches for peer in matched]
    if settings.intersect == "star":
        return star(tables, anchor.neurons)
    between = {
        (i, j): match_atlases(matched[i].peer, matched[j].peer, settings, memory_bytes=memory_bytes)
        for i, j in combinations(range(len(matched)), 2)
    }
    return clique(tables, between, anchor.neurons)


def _of_rows(matched: Sequence[PeerMatch], row_RP: np.ndarray, values: Callable[[PeerMatch], np.ndarray]) -> np.ndarray:
    """Values of the matches in ``row_RP``, (R, P)."""
    return np.stack([values(peer)[row_RP[:, column]] for column, peer in enumerate(matched)], axis=1)


def _half_jaccard(matched: Sequence[PeerMatch]) -> float:
    even = set.intersection(*(set(peer.matches.even_half.tolist()) for peer in matched))
    odd = set.intersection(*(set(peer.matches.odd_half.tolist()) for peer in matched))
    return len(even & odd) / len(even | odd) if even | odd else 0.0


def _null_counts(neurons: int, matched: Sequence[PeerMatch]) -> dict[str, int]:
    """Anchor neurons that the paper rule and the strict rule find when every peer is the first decoy of a kind (a star)."""
    counts = {}
    for name in ("deranged", "rotated"):
        paper, strict = np.ones(neurons, dtype=bool), np.ones(neurons, dtype=bool)
        for peer in matched:
            own, other = peer.derangement, peer.rotation
            if name == "rotated":
                own, other = other, own
            decoy = own.decoys[0]
            strong = own.decoy_excess[0] >= own.threshold
            strong &= other.passes(decoy, absolute=peer.absolute) & decoy.replicated
            paper &= np.isin(np.arange(neurons), decoy.first)
            strict &= np.isin(np.arange(neurons), decoy.first[strong])
        counts |= {f"{name}_paper": int(paper.sum()), f"{name}_strict": int(strict.sum())}
    return counts

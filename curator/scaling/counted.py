"""From matches to the numbers of a study's point: counts with their nulls, of a group, a pair or any anchor of a group.

Everything is read off tables of matches; nothing is matched here but the partners of a clique with each other. Cost: nothing to
speak of. It does not know sizes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.atlas.store import Atlas
from curator.rosetta.neurons import PeerMatch, RosettaNeurons, rosetta_of
from curator.rosetta.resampling import Draws
from curator.scaling.curves import drawn
from curator.scaling.parts import Correlations, NullCounts, PairCounts, Rule, StarCounts
from curator.scaling.points import StudyPoint, mean_neurons
from curator.settings import MatchSettings


def counted(label: str, rosetta: RosettaNeurons) -> StudyPoint:
    """The point of a quick study."""
    counts, anchor = rosetta.counts(), rosetta.anchor
    found = [anchor, *(peer.peer for peer in rosetta.peers)]
    return StudyPoint(
        label=label,
        anchor=anchor.manifest.model,
        peers=tuple(atlas.manifest.model for atlas in found[1:]),
        neurons_anchor=anchor.neurons,
        neurons_mean=mean_neurons([atlas.neurons for atlas in found]),
        paper=counts["paper"],
        strict=counts["strict"],
        universal=counts["universal"],
        mean_correlation=float(rosetta.mean_rho.mean()) if len(rosetta.mean_rho) else None,
        decoy_derangement=_nulls(rosetta, "deranged"),
        decoy_rotation=_nulls(rosetta, "rotated"),
        half_jaccard=rosetta.half_jaccard,
        spans=anchor.manifest.spans,
        tokens=anchor.manifest.tokens,
        certificate=rosetta.certificate,
    )


def correlations(rosetta: RosettaNeurons, rule: Rule) -> Correlations | None:
    """How strongly the neurons of one rule are matched; None where there are none."""
    rho_R = np.clip(rosetta.mean_rho[rosetta.chosen_by(rule)], 0.0, 1 - 1e-9)
    if not len(rho_R):
        return None
    isolation_R = rho_R / (1 - rho_R)
    return Correlations(
        rule=rule,
        neurons=len(rho_R),
        mean=float(rho_R.mean()),
        median=float(np.median(rho_R)),
        low=float(np.quantile(rho_R, 0.1)),
        isolation_mean=float(isolation_R.mean()),
        isolation_median=float(np.median(isolation_R)),
    )


def pair_counts(first: Atlas, second: Atlas, draws: Draws, settings: MatchSettings) -> PairCounts:
    """The matches of two models, from the draws of the first with the second."""
    alone = rosetta_of(first, [draws.match], settings)
    return PairCounts(
        first=first.manifest.model,
        second=second.manifest.model,
        neurons_mean=mean_neurons([first.neurons, second.neurons]),
        gated=first.manifest.gated or second.manifest.gated,
        paper=drawn(draws.paper_BN.sum(axis=1)),
        strict=drawn(draws.strict_BN.sum(axis=1)),
        mean_correlation=float(alone.mean_rho.mean()) if len(alone.mean_rho) else None,
        deranged=_nulls(alone, "deranged"),
        rotated=_nulls(alone, "rotated"),
    )


def star_counts(anchor: Atlas, matched: Sequence[PeerMatch], settings: MatchSettings) -> StarCounts:
    """The intersection of a group, counted in the neurons of one of its models, which is matched with all others."""
    star, clique = (
        rosetta_of(anchor, matched, settings.model_copy(update={"intersect": shape})).counts()
        for shape in ("star", "clique")
    )
    return StarCounts(anchor=anchor.manifest.model, paper=star["paper"], strict=star["strict"], clique=clique["paper"])


def _nulls(rosetta: RosettaNeurons, kind: str) -> NullCounts:
    counts = rosetta.null_counts
    return NullCounts(paper=counts[f"{kind}_paper"], strict=counts[f"{kind}_strict"])

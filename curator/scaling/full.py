"""Everything that a full study measures of one size, from the atlases of its models, added to the point of a quick one.

All pairs of the size's models and the intersection from every anchor; the fold bootstrap of every count; curves against threshold, k
and amount of text; control classes; selectivity and specialisation of the anchor's Rosetta neurons; untrained models of the same
shapes. Only the anchor is run again: two passes up to its deepest shown neuron, for token identity; and the untrained models
once, for their atlases. Cost on the zoo with 200 replicates: from 20 seconds (256 neurons) to 15 minutes (4,608) on one core, most
of it the bootstrap. It does not fit anything: see ``analysis``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from curator.atlas.store import Atlas
from curator.lm.backbone import Backbone
from curator.lm.outputs import unembedding, vocabulary_kurtosis
from curator.neuronset.identify import IdentifySettings, ModelChoice, Reporter, atlas_of
from curator.rosetta.neurons import PeerMatch, RosettaNeurons, find_rosetta_neurons, match_peer, rosetta_of
from curator.rosetta.resampling import Draws, fold_weights, peer_draws
from curator.scaling import curves
from curator.scaling.parts import Correlations, NullCounts, PairCounts, Rule, StarCounts
from curator.scaling.points import StudyPoint
from curator.scaling.selectivity import selectivity
from curator.scaling.specialisation import specialisation
from curator.settings import MatchSettings
from curator.text.probe import ProbeCorpus
from curator.zoo.catalog import resolve_model

RULES: tuple[Rule, ...] = ("paper", "strict")


@dataclass(frozen=True, slots=True)
class Group:
    """The models of one size, anchor first, and those beside them, which are matched in pairs only."""

    models: tuple[ModelChoice, ...]
    beside: tuple[ModelChoice, ...] = ()

    @property
    def peers(self) -> tuple[ModelChoice, ...]:
        """The models matched with the anchor."""
        return self.models[1:]


@dataclass(frozen=True)
class Measured:
    """What the parts are measured from."""

    group: Group
    atlases: tuple[Atlas, ...]
    beside: tuple[Atlas, ...]
    backbone: Backbone
    corpus: ProbeCorpus
    settings: MatchSettings
    weight_BF: np.ndarray

    @property
    def anchor(self) -> Atlas:
        """The atlas whose neurons are counted."""
        return self.atlases[0]


def deepened(
    point: StudyPoint,
    group: Group,
    found: Sequence[Atlas],
    backbone: Backbone,
    corpus: ProbeCorpus,
    *,
    folder: Path,
    dials: IdentifySettings,
    replicates: int,
    reporter: Reporter,
) -> tuple[StudyPoint, list[Atlas]]:
    """The point with all its parts, and the atlases of the models beside it; ``backbone`` is the anchor's model.

    Raises what making atlases and matching raises.
    """
    beside = tuple(atlas_of(model, corpus, dials.atlas, folder, reporter)[0] for model in group.beside)
    weight_BF = fold_weights(dials.atlas.folds, replicates, dials.match.seed)
    measured = Measured(group, tuple(found), beside, backbone, corpus, dials.match, weight_BF)
    drawn = _all_draws(measured, reporter, point.label)
    star = [drawn[0, place] for place in range(1, len(found))]
    rosetta = rosetta_of(found[0], [one.match for one in star], dials.match)
    untrained = _untrained(group, corpus, folder, dials, reporter)
    reporter.stage(f"curves and controls of {point.label}")
    parts: dict[str, Any] = {
        "beside": tuple(atlas.manifest.model for atlas in beside),
        "paper_draws": curves.drawn(curves.shared_BN(star, "paper").sum(axis=1)).draws,
        "strict_draws": curves.drawn(curves.shared_BN(star, "strict").sum(axis=1)).draws,
        "pairs": tuple(_pair(measured, first, second, draws) for (first, second), draws in drawn.items()),
        "stars": _stars(measured, drawn, rosetta),
        "thresholds": curves.threshold_curve(star),
        "neighbours": curves.neighbour_curve(star),
        "budgets": curves.budget_points(found[0], found[1:], dials.match, curves.shared_BN(star, "paper")[0]),
        "correlations": tuple(one for rule in RULES if (one := correlations(rosetta, rule)) is not None),
        "classes": tuple(one for rule in RULES for one in curves.class_counts(found[0], star, rule)),
        "untrained": untrained["paper"],
        "untrained_strict": untrained["strict"],
        **_of_neurons(measured, rosetta, star, reporter, point.label),
    }
    return StudyPoint.model_validate({**dict(point), **parts}), list(beside)


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


def _all_draws(measured: Measured, reporter: Reporter, label: str) -> dict[tuple[int, int], Draws]:
    """Draws of every pair by the models' places, the anchor's pairs first."""
    everything = (*measured.atlases, *measured.beside)
    pairs = list(combinations(range(len(everything)), 2))
    reporter.stage(f"matching and resampling {label}", len(pairs))
    drawn = {}
    for done, (first, second) in enumerate(pairs, start=1):
        drawn[first, second] = peer_draws(everything[first], everything[second], measured.settings, measured.weight_BF)
        reporter.advance(done)
    return drawn


def _pair(measured: Measured, first: int, second: int, draws: Draws) -> PairCounts:
    everything = (*measured.atlases, *measured.beside)
    one, other = everything[first], everything[second]
    alone = rosetta_of(one, [draws.match], measured.settings)
    nulls = alone.null_counts
    return PairCounts(
        first=one.manifest.model,
        second=other.manifest.model,
        neurons_mean=(one.neurons + other.neurons) / 2,
        gated=one.manifest.gated or other.manifest.gated,
        paper=curves.drawn(draws.paper_BN.sum(axis=1)),
        strict=curves.drawn(draws.strict_BN.sum(axis=1)),
        mean_correlation=float(alone.mean_rho.mean()) if len(alone.mean_rho) else None,
        deranged=NullCounts(paper=nulls["deranged_paper"], strict=nulls["deranged_strict"]),
        rotated=NullCounts(paper=nulls["rotated_paper"], strict=nulls["rotated_strict"]),
    )


def _stars(measured: Measured, drawn: dict[tuple[int, int], Draws], rosetta: RosettaNeurons) -> tuple[StarCounts, ...]:
    """From every anchor; the matches that the draws hold in the other direction are made anew, for their nulls differ."""
    found = []
    for place, anchor in enumerate(measured.atlases):
        matched: list[PeerMatch] = [
            drawn[place, other].match if (place, other) in drawn else match_peer(anchor, peer, measured.settings)
            for other, peer in enumerate(measured.atlases)
            if other != place
        ]
        star = rosetta if place == 0 else rosetta_of(anchor, matched, measured.settings)
        clique = rosetta_of(anchor, matched, measured.settings.model_copy(update={"intersect": "clique"}))
        counts = star.counts()
        found.append(
            StarCounts(
                anchor=anchor.manifest.model,
                paper=counts["paper"],
                strict=counts["strict"],
                clique=clique.counts()["paper"],
            )
        )
    return tuple(found)


def _of_neurons(
    measured: Measured, rosetta: RosettaNeurons, star: Sequence[Draws], reporter: Reporter, label: str
) -> dict[str, Any]:
    """Selectivity and specialisation of each rule's neurons, against those that no peer matches."""
    anchor, model = measured.anchor, measured.group.models[0]
    pool = np.flatnonzero(np.asarray(anchor["alive"]) & ~np.any([one.paper_BN[0] for one in star], axis=0))
    sets = {rule: rosetta.index[rosetta.chosen_by(rule)] for rule in RULES}
    reporter.stage(f"selectivity and specialisation of {label}")
    kurtosis_N = None
    if model.device != "sharded" and model.draw is None:
        head_VH = unembedding(measured.backbone, resolve_model(model.name), model.revision)
        kurtosis_N = vocabulary_kurtosis(measured.backbone, head_VH, np.arange(anchor.neurons))
    seed = measured.settings.seed
    panels = [
        selectivity(anchor, rule, chosen, pool, vocabulary_kurtosis_N=kurtosis_N, seed=seed)
        for rule, chosen in sets.items()
    ]
    firing = [
        specialisation(anchor, rule, chosen, pool, backbone=measured.backbone, corpus=measured.corpus, seed=seed)
        for rule, chosen in sets.items()
    ]
    return {
        "selectivity": tuple(one for one in panels if one is not None),
        "specialisation": tuple(one for one in firing if one is not None),
    }


def _untrained(
    group: Group, corpus: ProbeCorpus, folder: Path, dials: IdentifySettings, reporter: Reporter
) -> dict[str, int | None]:
    """Counts between untrained models of the group's shapes; None where a model of the group is itself untrained."""
    if any(model.draw is not None for model in group.models):
        return {"paper": None, "strict": None}
    controls = [replace(model, draw=0) for model in group.models]
    anchor, *peers = (atlas_of(model, corpus, dials.atlas, folder, reporter)[0] for model in controls)
    counts = find_rosetta_neurons(anchor, peers, dials.match).counts()
    return {"paper": counts["paper"], "strict": counts["strict"]}

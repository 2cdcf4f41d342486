"""Everything that a full study measures of one size, from the atlases of its models, added to the point of a quick one.

All pairs of the size's models and the intersection from every anchor; the fold bootstrap of every count; curves against
threshold, k and amount of text; control classes; selectivity and specialisation of the anchor's Rosetta neurons; untrained
models of the same shapes. Only the anchor is run again: two passes up to its deepest shown neuron, for token identity; and
the untrained models once, for their atlases. Cost on the zoo with 200 replicates: from half a minute (256 neurons) to
twelve minutes (4,608) of one core, most of it the bootstrap. It does not fit anything: see ``analysis``.
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
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons, match_peer, rosetta_of
from curator.rosetta.resampling import Draws, fold_weights, peer_draws
from curator.scaling import curves
from curator.scaling.coherence import Contexts
from curator.scaling.controls import same_activity
from curator.scaling.counted import correlations, counted, pair_counts, star_counts
from curator.scaling.parts import PART_RULES, Rule, StarCounts
from curator.scaling.points import StudyPoint
from curator.scaling.selectivity import selectivity
from curator.scaling.specialisation import specialisation
from curator.text.probe import ProbeCorpus
from curator.zoo.catalog import resolve_model


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
    """What the point is measured from; ``backbone`` is the anchor's model."""

    label: str
    group: Group
    atlases: tuple[Atlas, ...]
    beside: tuple[Atlas, ...]
    backbone: Backbone
    corpus: ProbeCorpus
    dials: IdentifySettings
    replicates: int

    @property
    def anchor(self) -> Atlas:
        """The atlas whose neurons are counted."""
        return self.atlases[0]

    @property
    def everything(self) -> tuple[Atlas, ...]:
        """The group's atlases and those beside it."""
        return self.atlases + self.beside


def full_point(measured: Measured, folder: Path, reporter: Reporter) -> StudyPoint:
    """The point with all its parts; atlases of untrained models are kept in ``folder``.

    Raises what making atlases and matching raises.
    """
    settings = measured.dials.match
    drawn = _all_draws(measured, reporter)
    star = [drawn[0, place] for place in range(1, len(measured.atlases))]
    rosetta = rosetta_of(measured.anchor, [one.match for one in star], settings)
    untrained = _untrained(measured, folder, reporter)
    reporter.stage(f"curves and controls of {measured.label}")
    paper_BN, strict_BN = (curves.shared_BN(star, rule) for rule in PART_RULES)
    parts: dict[str, Any] = {
        "beside": tuple(atlas.manifest.model for atlas in measured.beside),
        "paper_draws": curves.drawn(paper_BN.sum(axis=1)).draws,
        "strict_draws": curves.drawn(strict_BN.sum(axis=1)).draws,
        "pairs": tuple(
            pair_counts(measured.everything[first], measured.everything[second], draws, settings)
            for (first, second), draws in drawn.items()
        ),
        "stars": _stars(measured, drawn),
        "thresholds": curves.threshold_curve(star),
        "neighbours": curves.neighbour_curve(star),
        "budgets": curves.budget_points(measured.anchor, measured.atlases[1:], settings, paper_BN[0]),
        "correlations": tuple(one for rule in PART_RULES if (one := correlations(rosetta, rule)) is not None),
        "classes": tuple(one for rule in PART_RULES for one in curves.class_counts(measured.anchor, star, rule)),
        "untrained": untrained["paper"],
        "untrained_strict": untrained["strict"],
        **_of_neurons(measured, rosetta, star, reporter),
    }
    return StudyPoint.model_validate({**dict(counted(measured.label, rosetta)), **parts})


def _all_draws(measured: Measured, reporter: Reporter) -> dict[tuple[int, int], Draws]:
    """Draws of every pair by the models' places, the anchor's pairs first."""
    settings, everything = measured.dials.match, measured.everything
    weight_BF = fold_weights(measured.dials.atlas.folds, measured.replicates, settings.seed)
    pairs = list(combinations(range(len(everything)), 2))
    reporter.stage(f"matching and resampling {measured.label}", len(pairs))
    drawn = {}
    for done, (first, second) in enumerate(pairs, start=1):
        drawn[first, second] = peer_draws(everything[first], everything[second], settings, weight_BF)
        reporter.advance(done)
    return drawn


def _stars(measured: Measured, drawn: dict[tuple[int, int], Draws]) -> tuple[StarCounts, ...]:
    """From every anchor; matches that the draws hold in the other direction are made anew, for their nulls differ."""
    settings = measured.dials.match
    found = []
    for place, anchor in enumerate(measured.atlases):
        matched = [
            drawn[place, other].match if (place, other) in drawn else match_peer(anchor, peer, settings)
            for other, peer in enumerate(measured.atlases)
            if other != place
        ]
        found.append(star_counts(anchor, matched, settings))
    return tuple(found)


def _of_neurons(
    measured: Measured, rosetta: RosettaNeurons, star: Sequence[Draws], reporter: Reporter
) -> dict[str, Any]:
    """Selectivity and specialisation of each rule's neurons, against those that no peer matches."""
    anchor, model = measured.anchor, measured.group.models[0]
    pool = np.flatnonzero(np.asarray(anchor["alive"]) & ~np.any([one.paper_BN[0] for one in star], axis=0))
    sets: dict[Rule, np.ndarray] = {rule: rosetta.index[rosetta.chosen_by(rule)] for rule in PART_RULES}
    reporter.stage(f"selectivity and specialisation of {measured.label}")
    kurtosis_N = None
    if model.device != "sharded" and model.draw is None:
        kurtosis_N = _vocabulary_kurtosis(measured, tuple(sets.values()), pool)
    seed = measured.dials.match.seed
    contexts = Contexts(measured.corpus, seed)
    panels = [
        selectivity(anchor, rule, chosen, pool, vocabulary_kurtosis_N=kurtosis_N, contexts=contexts, seed=seed)
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


def _vocabulary_kurtosis(measured: Measured, sets: Sequence[np.ndarray], pool: np.ndarray) -> np.ndarray:
    """Of the sets' neurons and of those that they are compared with, NaN of all others, (N,)."""
    anchor, model = measured.anchor, measured.group.models[0]
    shown = np.unique(np.concatenate([*sets, *(same_activity(anchor, chosen, pool) for chosen in sets)]))
    shown = shown[shown >= 0]
    head_VH = unembedding(measured.backbone, resolve_model(model.name), model.revision)
    kurtosis_N = np.full(anchor.neurons, np.nan)
    kurtosis_N[shown] = vocabulary_kurtosis(measured.backbone, head_VH, shown)
    return kurtosis_N


def _untrained(measured: Measured, folder: Path, reporter: Reporter) -> dict[str, int | None]:
    """Counts between untrained models of the group's shapes; None where a model of the group is itself untrained."""
    models, dials = measured.group.models, measured.dials
    if any(model.draw is not None for model in models):
        return {"paper": None, "strict": None}
    controls = [replace(model, draw=0) for model in models]
    anchor, *peers = (atlas_of(model, measured.corpus, dials.atlas, folder, reporter)[0] for model in controls)
    counts = find_rosetta_neurons(anchor, peers, dials.match).counts()
    return {"paper": counts["paper"], "strict": counts["strict"]}

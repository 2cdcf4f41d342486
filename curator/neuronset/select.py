"""Chooses the neurons of a set for a target domain, on one part of the probe documents, and reports them on another.

The ``fit`` documents choose; what is stated is of others (``parts``, ``measures``). Half of the set are the
Rosetta neurons that best tell the target from all the rest; the other half are, in turn for every other domain, those that best
tell the target from that domain, so that near distractors are covered. The direction of a gated neuron is arbitrary and is
chosen so that high means on-target.
Cost: one rank of the document-mean matrix per domain. It does not run a model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.atlas.domains import auroc_N
from curator.errors import InsufficientDataError
from curator.neuronset.measures import Contexts, Measures, contexts_of, measured
from curator.neuronset.parts import Part, document_parts
from curator.neuronset.request import require_documents
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import NeuronSetSettings


@dataclass(frozen=True, slots=True)
class ChosenNeurons:
    """The neurons of a set, the best first.

    ``position`` (K,) into the Rosetta neurons, ``index`` (K,) flat atlas index, ``sign`` (K,) +1 or -1, AUROC on the fit
    documents (K,); and what documents that chose nothing say. ``rule`` is the Rosetta rule that was used in the end.
    """

    rule: str
    position: np.ndarray
    index: np.ndarray
    sign: np.ndarray
    auroc_fit: np.ndarray
    report: Measures
    contexts: Contexts


def choose_neurons(rosetta: RosettaNeurons, target: str, settings: NeuronSetSettings) -> ChosenNeurons:
    """Choose at most ``max_neurons`` Rosetta neurons for the target domain.

    Raises InsufficientDataError when the target has too few probe documents or no Rosetta neuron exists.
    """
    atlas = rosetta.anchor
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    parts_D = document_parts(atlas, settings)
    require_documents(domain_D == target, parts_D, target)
    rule, positions = _eligible(rosetta, settings)
    index = rosetta.index[positions]
    fit = parts_D == Part.FIT
    values_DN = atlas["document_mean_DN"][:, index]
    auroc = auroc_N(values_DN[fit], domain_D[fit] == target)
    sign = np.where((auroc < 0.5) & atlas.manifest.gated, -1, 1)
    order = _ranked(values_DN[fit], domain_D[fit], target, auroc)[: settings.max_neurons]
    contexts = contexts_of(atlas, index[order], sign[order], parts_D)
    return ChosenNeurons(
        rule=rule,
        position=positions[order],
        index=index[order],
        sign=sign[order],
        auroc_fit=np.where(sign[order] > 0, auroc[order], 1 - auroc[order]),
        report=measured(atlas, index[order], sign[order], parts_D, target, contexts),
        contexts=contexts,
    )


def _eligible(rosetta: RosettaNeurons, settings: NeuronSetSettings) -> tuple[str, np.ndarray]:
    depth = settings.max_depth or len(rosetta.anchor.manifest.layer_widths)
    shallow = rosetta.anchor.layer_of[rosetta.index] < depth
    for rule in (settings.rosetta_rule, "paper"):
        positions = rosetta.chosen_by(rule)
        positions = positions[shallow[positions]]
        if len(positions) >= settings.min_neurons or (rule == "paper" and len(positions)):
            return rule, positions
    raise InsufficientDataError(
        "No Rosetta neuron is left to choose from; use larger models, more probe text, or a larger max_depth."
    )


def _ranked(values_DN: np.ndarray, domain_D: np.ndarray, target: str, auroc: np.ndarray) -> np.ndarray:
    """All columns, the best first: in turn the next best overall and the next best against one of the other domains."""
    rankings = []
    for other in sorted(set(domain_D.tolist()) - {target}):
        chosen = (domain_D == target) | (domain_D == other)
        against = auroc_N(values_DN[chosen], domain_D[chosen] == target)
        rankings.append(np.argsort(-np.abs(against - 0.5), kind="stable"))
    overall = np.argsort(-np.abs(auroc - 0.5), kind="stable")
    against_others = np.stack(rankings, axis=1).ravel()[: len(overall)]
    interleaved = np.stack([overall, against_others], axis=1).ravel()
    return np.fromiter(dict.fromkeys(interleaved.tolist()), dtype=np.int64)

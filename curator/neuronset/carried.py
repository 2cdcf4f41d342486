"""What becomes of a set's scorers and evidence when its neurons are replaced by their partners in another model.

As carried, weights, votes, directions and the single neuron are the source's, without the neurons that found no partner; what
wording says of a target is the same for every model. A
correlation of 0.7 over spans is less over documents, so they are then refined, still without a label: weights move as little
as lets them follow the source's scores of the fit documents, votes and the single neuron follow its probabilities. On the
bundled models (a set of 29 neurons of 128x4 carried to 192x6, ten targets, unseen text) the linear scorer's mean average
precision is 0.878 as carried and 0.948 refined, 0.959 with two partners for a neuron and 0.964 with four; the source has
0.961, a set of 47 neurons chosen there with labels 0.969. Evidence is measured anew; labels state it and decide nothing. Cost:
milliseconds a target. It does not know how partners are found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curator.atlas.domains import auroc_N
from curator.errors import InsufficientDataError
from curator.neuronset.artifact import CarriedFrom, MethodName, NeuronEvidence, NeuronSet, PeerEvidence, TargetEvidence
from curator.neuronset.features import NeuronChoice
from curator.neuronset.measures import contexts_of, measured, target_evidence
from curator.neuronset.partners import Partners
from curator.neuronset.parts import Part
from curator.neuronset.request import MIN_TARGET_DOCUMENTS
from curator.neuronset.scorers import (
    Blended,
    Linear,
    Method,
    Signature,
    Single,
    Standardiser,
    build_index,
    fit_blended,
    follow_linear,
    follow_single,
    neuron_signatures,
    votes,
)
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import TransferSettings

SourceScores = Mapping[tuple[str, MethodName], np.ndarray]
"""For each target and scorer the source model's scores, (D,) float64; NaN where it did not read the document."""


@dataclass(frozen=True)
class Carried:
    """P neurons of a set of K in their new model, and what they say of the D probe documents.

    ``position_P`` are their positions in the source set; ``z`` (D, 3 P) standardised features, with the columns of the source's
    wording behind them, if it has one; ``parts_D``, ``domain_D`` and
    ``tokens_D`` the documents' parts, labels and scored tokens. The part is empty where a model that should have read the
    document could not.
    ``gated`` says whether the new model's signs are arbitrary.
    """

    partners: Partners
    position_P: np.ndarray
    neurons: NeuronChoice
    standardiser: Standardiser
    z: np.ndarray
    parts_D: np.ndarray
    domain_D: np.ndarray
    tokens_D: np.ndarray
    gated: bool


@dataclass(frozen=True)
class CarriedScorers:
    """The scorers of one target, ``blended`` where the source has it; ``refined`` says whether the source's scores moved them."""

    single: Single
    linear: Linear
    signature: Signature
    blended: Blended | None
    refined: bool

    def by_name(self) -> dict[MethodName, Method]:
        """The same, by name."""
        found: dict[MethodName, Method] = {"single": self.single, "linear": self.linear, "signature": self.signature}
        if self.blended:
            found["blended"] = self.blended
        return found


def carried_scorers(
    source: NeuronSet, target: str, carried: Carried, scores: SourceScores, settings: TransferSettings
) -> CarriedScorers:
    """The source's scorers without the neurons that found no partner, refined where settings and text allow it.

    Refining asks for as many expected documents of the target among the fit documents as fitting asks for labelled ones.
    Raises InsufficientDataError when none of the target's neurons has a partner and nothing can be refined.
    """
    fit, places = carried.parts_D == Part.FIT, carried.position_P
    z, default = carried.z[fit, : 3 * len(places)], source.manifest.targets[target].default
    expected_D = source.calibration(target, default)(scores[target, default][fit])
    top_nK, signature_Kf = neuron_signatures(z, source.manifest.settings)
    linear = _linear(source, target, places)
    refined = settings.refine and min(expected_D.sum(), (1 - expected_D).sum()) >= MIN_TARGET_DOCUMENTS
    if refined:
        single = follow_single(z, expected_D, either_direction=carried.gated)
        linear = follow_linear(linear, z, scores[target, "linear"][fit], settings.shrinkage)
        vote_K = votes(expected_D, top_nK)
    else:
        single, vote_K = _single(source, target, places), source.arrays[f"{target}.signature.vote"][places]
    neighbours = source.manifest.settings.signature_neighbours
    signature = Signature(signature_Kf, vote_K, neighbours, build_index(signature_Kf))
    return CarriedScorers(single, linear, signature, _blended(source, target, linear, carried), bool(refined))


def _blended(source: NeuronSet, target: str, linear: Linear, carried: Carried) -> Blended | None:
    """The new linear scorer and the same wording, over the spreads of the validation documents."""
    if "blended" not in source.manifest.targets[target].methods:
        return None
    column = list(source.manifest.targets).index(target)
    return fit_blended(linear, column, carried.z[carried.parts_D == Part.VALIDATE])


def _single(source: NeuronSet, target: str, position_P: np.ndarray) -> Single:
    """The partner of the source's single neuron; where it has none, of the target's best neuron that has one."""
    chosen, entries = source.manifest.targets[target], source.manifest.neurons
    kept = position_P.tolist()
    if chosen.single_neuron in kept:
        return Single(kept.index(chosen.single_neuron), len(kept), chosen.single_direction)
    mine = [place for place, position in enumerate(kept) if target in entries[position].targets]
    if not mine:
        raise InsufficientDataError(
            f"No neuron for {target!r} has a partner in the other model; identify neurons for that domain there."
        )
    best = max(mine, key=lambda place: entries[kept[place]].targets[target].auroc_fit)
    return Single(best, len(kept), entries[kept[best]].targets[target].direction)


def _linear(source: NeuronSet, target: str, position_P: np.ndarray) -> Linear:
    """The source's weights; partners of one neuron share its weight."""
    sharing_P = np.bincount(position_P)[position_P]
    weight = source.arrays[f"{target}.linear.weight"].reshape(3, -1)[:, position_P] / sharing_P
    return Linear(weight.ravel().astype(np.float64), float(source.arrays[f"{target}.linear.intercept"][0]))


def carried_evidence(source: NeuronSet, shared: RosettaNeurons, carried: Carried) -> tuple[NeuronEvidence, ...]:
    """One entry for each carried neuron; a target that is no domain of the corpus has no numbers to state."""
    partners, old = carried.partners, [source.manifest.neurons[position] for position in carried.position_P]
    held = {rule: set(shared.index[shared.chosen_by(rule)].tolist()) for rule in ("strict", "universal")}
    measured = {target: _measured(source, shared, target, carried) for target in source.manifest.targets}
    return tuple(
        NeuronEvidence(
            id=str(carried.neurons.neurons[row]),
            sign=carried.neurons.signs[row],
            strict=entry.strict and bool(partners.mutual[row]) and int(partners.first[row]) in held["strict"],
            universal=entry.universal and bool(partners.mutual[row]) and int(partners.first[row]) in held["universal"],
            matches=(_peer_evidence(source, entry, partners, row),),
            targets={target: rows[row] for target, rows in measured.items() if row in rows},
            carried_from=CarriedFrom(
                source=entry.id,
                rho=float(partners.rho[row]),
                standard_error=float(partners.error[row]),
                q=float(partners.q[row]),
                mutual=bool(partners.mutual[row]),
            ),
        )
        for row, entry in enumerate(old)
    )


def _peer_evidence(source: NeuronSet, entry: NeuronEvidence, partners: Partners, row: int) -> PeerEvidence:
    return PeerEvidence(
        peer=source.manifest.model,
        neuron=entry.id,
        rho=float(partners.rho[row]),
        standard_error=float(partners.error[row]),
        q=float(partners.q[row]),
    )


def _measured(source: NeuronSet, shared: RosettaNeurons, target: str, carried: Carried) -> dict[int, TargetEvidence]:
    """Evidence by row, for the neurons that the source chose for this target; empty where the corpus cannot measure it."""
    atlas, entries = shared.peers[0].peer, source.manifest.neurons
    rows = [row for row, position in enumerate(carried.position_P) if target in entries[position].targets]
    positive_D, parts_D = carried.domain_D == target, carried.parts_D
    fit, report = parts_D == Part.FIT, parts_D == Part.REPORT
    if not rows or any(len(set(positive_D[part].tolist())) < 2 for part in (fit, report)):
        return {}
    index = carried.partners.second[rows]
    direction = np.asarray([entries[carried.position_P[row]].targets[target].direction for row in rows])
    sign = np.asarray(carried.neurons.signs)[rows] * direction
    auroc_fit = auroc_N(atlas["document_mean_DN"][:, index][fit] * sign, positive_D[fit])
    contexts = contexts_of(atlas, index, sign, parts_D)
    found = measured(atlas, index, sign, parts_D, target, contexts)
    return {
        row: target_evidence(
            found,
            contexts,
            at,
            direction=int(direction[at]),
            auroc_fit=float(auroc_fit[at]),
            auroc_controlled=None,
        )
        for at, row in enumerate(rows)
    }

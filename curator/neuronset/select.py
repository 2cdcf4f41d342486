"""Chooses the neurons of a set for a target domain, on one part of the probe documents, and reports them on another.

Sources of the probe corpus are split by hash into ``fit`` (choose and fit), ``validate`` (pick the scorer, calibrate) and
``report`` (nothing is chosen there); of a domain that has too few, documents are (``text/splits``). Half of the set are the
Rosetta neurons that best tell the target from all the rest; the other half are, in turn for every other domain, those that best
tell the target from that domain, so that near distractors are covered. The direction of a gated neuron is arbitrary and is
chosen so that high means on-target.
Cost: one rank of the document-mean matrix per domain. It does not run a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from curator import fingerprint
from curator.atlas.domains import auroc_N, average_precision_N, discriminability_N, normalized_fire_Nc, specialisation_N
from curator.atlas.store import Atlas
from curator.errors import InsufficientDataError
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import NeuronSetSettings
from curator.text.splits import Labelled, split_units

MIN_TARGET_DOCUMENTS = 8


class Part(StrEnum):
    """What a probe document is used for when a neuron set is made."""

    FIT = "fit"
    VALIDATE = "validate"
    REPORT = "report"


def part_of(unit: str, settings: NeuronSetSettings) -> Part:
    """The part of a source, or of a document where those are split one by one, by hash."""
    position = fingerprint.unit_interval("neuron-set", str(settings.seed), unit)
    if position < settings.fit_share:
        return Part.FIT
    return Part.VALIDATE if position < (1 + settings.fit_share) / 2 else Part.REPORT


@dataclass(frozen=True, slots=True)
class ChosenNeurons:
    """The neurons of a set, the best first.

    ``position`` (K,) into the Rosetta neurons, ``index`` (K,) flat atlas index, ``sign`` (K,) +1 or -1; AUROC on the fit and
    report documents, average precision and d' on the report documents, NormalizedFire for the target, specialisation index.
    ``rule`` is the Rosetta rule that was used in the end.
    """

    rule: str
    position: np.ndarray
    index: np.ndarray
    sign: np.ndarray
    auroc_fit: np.ndarray
    auroc_report: np.ndarray
    average_precision_report: np.ndarray
    d_prime_report: np.ndarray
    normalized_fire: np.ndarray
    specialisation: np.ndarray


def parts_of(documents: Sequence[Labelled], settings: NeuronSetSettings) -> np.ndarray:
    """Part of every document of a whole probe corpus, (D,) of strings."""
    return np.asarray([part_of(unit, settings) for unit in split_units(documents).names])


def document_parts(atlas: Atlas, settings: NeuronSetSettings) -> np.ndarray:
    """Part of every probe document, (D,) of strings; empty for a document without a span that this model covers."""
    parts_D = parts_of(atlas.manifest.documents, settings)
    return np.where(atlas["document_spans_D"] > 0, parts_D, "")


def choose_neurons(rosetta: RosettaNeurons, target: str, settings: NeuronSetSettings) -> ChosenNeurons:
    """Choose at most ``max_neurons`` Rosetta neurons for the target domain.

    Raises InsufficientDataError when the target has too few probe documents or no Rosetta neuron exists.
    """
    atlas = rosetta.anchor
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    parts_D = document_parts(atlas, settings)
    _require_documents(domain_D == target, parts_D, target)
    rule, positions = _eligible(rosetta, settings)
    index = rosetta.index[positions]
    fit = parts_D == Part.FIT
    values_DN = atlas["document_mean_DN"][:, index]
    auroc = auroc_N(values_DN[fit], domain_D[fit] == target)
    sign = np.where((auroc < 0.5) & atlas.manifest.gated, -1, 1)
    order = _ranked(values_DN[fit], domain_D[fit], target, auroc)[: settings.max_neurons]
    report = parts_D == Part.REPORT
    signed_DN = values_DN[report][:, order] * sign[order]
    positive = domain_D[report] == target
    return ChosenNeurons(
        rule=rule,
        position=positions[order],
        index=index[order],
        sign=sign[order],
        auroc_fit=np.where(sign[order] > 0, auroc[order], 1 - auroc[order]),
        auroc_report=auroc_N(signed_DN, positive),
        average_precision_report=average_precision_N(signed_DN, positive),
        d_prime_report=discriminability_N(signed_DN, positive),
        **top_context_measures(atlas, index[order], sign[order], target),
    )


def _require_documents(positive_D: np.ndarray, parts_D: np.ndarray, target: str) -> None:
    for part in Part:
        if int((positive_D & (parts_D == part)).sum()) < MIN_TARGET_DOCUMENTS:
            raise InsufficientDataError(
                f"The probe corpus has fewer than {MIN_TARGET_DOCUMENTS} documents of {target!r} for the part {part.value!r}; "
                "give the target domain more text."
            )
        if not (~positive_D & (parts_D == part)).any():
            raise InsufficientDataError(
                f"The probe corpus has no document outside {target!r} for the part {part.value!r}; add another domain."
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


def top_context_measures(atlas: Atlas, index: np.ndarray, sign: np.ndarray, target: str) -> dict[str, np.ndarray]:
    """NormalizedFire for the target and the specialisation index of some neurons, from their top contexts; two (K,).

    The top contexts of a neuron of sign -1 are those of its lowest values, which atlases of gated models keep.
    """
    domains = list(atlas.manifest.domains)
    of_document = np.asarray([domains.index(entry.domain) for entry in atlas.manifest.documents])
    spans_c = np.bincount(of_document, weights=atlas["document_spans_D"], minlength=len(domains))
    share_c = np.maximum(spans_c, 1) / max(1.0, float(spans_c.sum()))  # of the text, not of the documents
    documents_Kk, values_Kk = atlas["top_document_Nk"][index], atlas["top_value_Nk"][index]
    if atlas.manifest.gated:
        turned = sign[:, None] < 0
        documents_Kk = np.where(turned, atlas["low_document_Nk"][index], documents_Kk)
        values_Kk = np.where(turned, -atlas["low_value_Nk"][index], values_Kk)
    domain_Kk = np.where(documents_Kk >= 0, of_document[documents_Kk], -1)
    fire_Kc = normalized_fire_Nc(domain_Kk, share_c)
    return {
        "normalized_fire": fire_Kc[:, domains.index(target)],
        "specialisation": specialisation_N(domain_Kk, values_Kk, share_c),
    }

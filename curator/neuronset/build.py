"""Makes a neuron set: choose neurons for each target, read their features on the probe documents, fit, calibrate, measure.

The probe documents' sources are in three parts (``select``): neurons are chosen and scorers fitted on the first, the default
scorer is picked and calibrated on the second, and the quality that the manifest states is measured on the third, which decided
nothing. Cost: one forward pass over the probe corpus, to the deepest chosen layer. It does not know the pool to be filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from curator.errors import FingerprintError
from curator.lm.backbone import Backbone
from curator.neuronset.artifact import (
    MethodName,
    MethodQuality,
    NeuronEvidence,
    NeuronSet,
    NeuronSetManifest,
    PeerEvidence,
    TargetEvidence,
    TargetFilter,
    best_method,
    unsaved_etag,
)
from curator.neuronset.calibrate import Calibration, fit_calibration, operating_points, reliability
from curator.neuronset.features import NeuronChoice, document_features
from curator.neuronset.scorers import Method, Standardiser, fit_linear, fit_signature, fit_single
from curator.neuronset.select import ChosenNeurons, Part, choose_neurons, document_parts
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeCorpus
from curator.version import __version__

Fitted = dict[MethodName, Method]


def build_neuron_set(
    backbone: Backbone,
    rosetta: RosettaNeurons,
    corpus: ProbeCorpus,
    targets: Sequence[str],
    *,
    name: str,
    settings: NeuronSetSettings,
    match_settings: MatchSettings,
    progress: Callable[[int], None] | None = None,
) -> NeuronSet:
    """The neuron set of one model for one or more target domains of the probe corpus.

    ``progress`` is called with the number of probe documents read. Raises FingerprintError when backbone, atlas and corpus do
    not belong together, InsufficientDataError when a target has too few documents.
    """
    _require_one_world(backbone, rosetta, corpus)
    chosen = {target: choose_neurons(rosetta, target, settings) for target in targets}
    positions, signs = _union(chosen)
    anchor = rosetta.anchor
    choice = NeuronChoice(tuple(anchor.neuron(int(rosetta.index[p])) for p in positions), tuple(signs))
    features = document_features(
        backbone,
        [document.text for document in corpus.documents],
        choice,
        skip_tokens=anchor.manifest.settings.skip_tokens,
        progress=progress,
    )
    readable = ~np.isnan(features.values_DfK).any(axis=(1, 2))
    parts_D = np.where(readable, document_parts(anchor, settings), "")
    domain_D = np.asarray([document.domain for document in corpus.documents])
    standardiser = Standardiser.fit(features.values_DfK[parts_D == Part.FIT])
    z = standardiser(np.nan_to_num(features.values_DfK))
    arrays: dict[str, np.ndarray] = {"mean_fK": standardiser.mean_fK, "scale_fK": standardiser.scale_fK}
    gated = anchor.manifest.gated
    filters = {
        target: _fit_target(z, domain_D == target, parts_D, target, settings, gated, arrays) for target in targets
    }
    manifest = NeuronSetManifest(
        name=name,
        model=backbone.name,
        revision=backbone.revision,
        model_fingerprint=backbone.fingerprint,
        tokenizer_fingerprint=backbone.tokenizer_fingerprint,
        probe_fingerprint=corpus.fingerprint,
        atlas_fingerprint=anchor.fingerprint,
        peers={peer.peer.manifest.model: peer.peer.manifest.model_fingerprint for peer in rosetta.peers},
        rosetta_rule=next(iter(chosen.values())).rule,
        rosetta_counts=rosetta.counts(),
        null_counts=rosetta.null_counts,
        mean_correlation=float(rosetta.mean_rho.mean()) if len(rosetta.mean_rho) else 0.0,
        certificate=max(anchor.manifest.certificate, *(peer.peer.manifest.certificate for peer in rosetta.peers)),
        targets=filters,
        neurons=tuple(
            _evidence(rosetta, position, sign, chosen) for position, sign in zip(positions, signs, strict=True)
        ),
        skip_tokens=anchor.manifest.settings.skip_tokens,
        settings=settings,
        match_settings=match_settings,
        version=__version__,
    )
    return NeuronSet(manifest, arrays, unsaved_etag(manifest, arrays))


def _require_one_world(backbone: Backbone, rosetta: RosettaNeurons, corpus: ProbeCorpus) -> None:
    anchor = rosetta.anchor.manifest
    if anchor.model_fingerprint != backbone.fingerprint:
        raise FingerprintError(f"The anchor's atlas is of another model than {backbone.name}; build its atlas again.")
    if anchor.probe_fingerprint != corpus.fingerprint:
        raise FingerprintError("The atlases were built on another probe corpus than the one given; use the same one.")


def _union(chosen: dict[str, ChosenNeurons]) -> tuple[list[int], list[int]]:
    """Rosetta positions of all targets' neurons, each once, and their signs (the first target's that chose it)."""
    signs: dict[int, int] = {}
    for selection in chosen.values():
        for position, sign in zip(selection.position, selection.sign, strict=True):
            signs.setdefault(int(position), int(sign))
    return list(signs), list(signs.values())


def _fit_target(
    z: np.ndarray,
    positive_D: np.ndarray,
    parts_D: np.ndarray,
    target: str,
    settings: NeuronSetSettings,
    gated: bool,
    arrays: dict[str, np.ndarray],
) -> TargetFilter:
    """Fit the three scorers for one target, measure them, and add their arrays to ``arrays``."""
    fit = parts_D == Part.FIT
    single = fit_single(z[fit], positive_D[fit], either_direction=gated)
    linear = fit_linear(z[fit], positive_D[fit], settings)
    signature = fit_signature(z[fit], positive_D[fit], settings)
    fitted: Fitted = {"single": single, "linear": linear, "signature": signature}
    arrays |= {
        "signature_Kf": signature.signature_Kf,
        f"{target}.linear.weight": linear.weight,
        f"{target}.linear.intercept": np.asarray([linear.intercept]),
        f"{target}.signature.vote": signature.vote_K,
    }
    qualities: dict[MethodName, MethodQuality] = {}
    for name, method in fitted.items():
        calibration, quality = _measured(method, z, positive_D, parts_D)
        arrays[f"{target}.{name}.calibration.score"] = calibration.score
        arrays[f"{target}.{name}.calibration.probability"] = calibration.probability
        qualities[name] = quality
    validation: dict[MethodName, float] = {
        name: quality.validation_average_precision for name, quality in qualities.items()
    }
    return TargetFilter(
        default=best_method(validation),
        single_neuron=single.position,
        single_direction=single.direction,
        methods=qualities,
    )


def _measured(
    method: Method, z: np.ndarray, positive_D: np.ndarray, parts_D: np.ndarray
) -> tuple[Calibration, MethodQuality]:
    """Calibrate on the validation documents, measure on the report documents."""
    validate, report = parts_D == Part.VALIDATE, parts_D == Part.REPORT
    scores = method.score(z)
    calibration = fit_calibration(scores[validate], positive_D[validate])
    precision = float(average_precision_score(positive_D[validate], scores[validate]))
    return calibration, reported_quality(scores[report], positive_D[report], calibration, precision)


def reported_quality(
    scores: np.ndarray, truth: np.ndarray, calibration: Calibration, validation_average_precision: float
) -> MethodQuality:
    """What a scorer does on documents that decided nothing; without both classes among them there is nothing to measure."""
    measurable = bool(truth.any() and not truth.all())
    probability = calibration(scores)
    return MethodQuality(
        validation_average_precision=validation_average_precision,
        report_average_precision=float(average_precision_score(truth, scores)) if measurable else None,
        report_auroc=float(roc_auc_score(truth, scores)) if measurable else None,
        calibration=calibration.kind,
        reliability=tuple(reliability(probability, truth)) if measurable else (),
        operating_points=tuple(asdict(point) for point in operating_points(probability, truth)) if measurable else (),
        report_documents=len(truth),
        report_positives=int(truth.sum()),
    )


def _evidence(rosetta: RosettaNeurons, position: int, sign: int, chosen: dict[str, ChosenNeurons]) -> NeuronEvidence:
    targets = {}
    for target, selection in chosen.items():
        found = np.flatnonzero(selection.position == position)
        if len(found):
            row = int(found[0])
            targets[target] = TargetEvidence(
                direction=sign * int(selection.sign[row]),
                auroc_fit=float(selection.auroc_fit[row]),
                auroc_report=float(selection.auroc_report[row]),
                average_precision_report=float(selection.average_precision_report[row]),
                d_prime_report=float(selection.d_prime_report[row]),
                normalized_fire=float(selection.normalized_fire[row]),
                specialisation=float(selection.specialisation[row]),
            )
    return NeuronEvidence(
        id=str(rosetta.anchor.neuron(int(rosetta.index[position]))),
        sign=sign,
        strict=bool(rosetta.strict[position]),
        universal=bool(rosetta.universal[position]),
        matches=tuple(PeerEvidence(**match) for match in rosetta.matches_of(position)),
        targets=targets,
    )

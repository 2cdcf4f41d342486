"""Makes a neuron set: choose neurons for each target, read their features on the probe documents, fit, calibrate, measure.

The probe documents' sources are in three parts (``parts``): neurons are chosen and scorers fitted on the first, the default
scorer is picked and calibrated on the second, and the quality that the manifest states is measured on the third, which decided
nothing; its scores are kept, for thresholds. All of this is done again for the neurons of the first layers alone (``depth``).
Cost: one forward pass over the probe corpus to the deepest chosen layer, and one more for token identity. It does not know the
pool to be filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from curator.errors import FingerprintError
from curator.lm.backbone import Backbone
from curator.neuronset.artifact import (
    DepthVariant,
    MethodName,
    MethodQuality,
    NeuronSet,
    NeuronSetManifest,
    TargetFilter,
    best_method,
    unsaved_etag,
)
from curator.neuronset.calibrate import Calibration, fit_calibration, operating_points, reliability
from curator.neuronset.depth import feature_columns, prefix, variant_depths
from curator.neuronset.entries import controlled_aurocs, neuron_evidence
from curator.neuronset.features import NeuronChoice, document_features
from curator.neuronset.parts import Part, document_parts
from curator.neuronset.scorers import (
    Background,
    Method,
    Standardiser,
    fit_blended,
    fit_linear,
    fit_signature,
    fit_single,
)
from curator.neuronset.select import ChosenNeurons, choose_neurons
from curator.neuronset.wording import fit_wording
from curator.rosetta.neurons import RosettaNeurons
from curator.settings import MatchSettings, NeuronSetSettings
from curator.text.probe import ProbeCorpus
from curator.text.splits import split_units
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

    ``progress`` is called with the number of documents read, up to ``documents_read``. Raises FingerprintError when backbone,
    atlas and corpus do not belong together, InsufficientDataError when a target has too few documents.
    """
    _require_one_world(backbone, rosetta, corpus)
    chosen = {target: choose_neurons(rosetta, target, settings) for target in targets}
    positions, signs = _union(chosen)
    anchor = rosetta.anchor
    choice = NeuronChoice(tuple(anchor.neuron(int(rosetta.index[p])) for p in positions), tuple(signs))
    texts = [document.text for document in corpus.documents]
    features = document_features(
        backbone,
        texts,
        choice,
        skip_tokens=anchor.manifest.settings.skip_tokens,
        progress=progress,
    )
    controlled = controlled_aurocs(backbone, rosetta, corpus, positions, chosen, settings, progress)
    readable = np.isfinite(features.values_DfK).all(axis=(1, 2))
    parts_D = np.where(readable, document_parts(anchor, settings), "")
    domain_D = np.asarray([document.domain for document in corpus.documents])
    standardiser = Standardiser.fit(features.values_DfK[parts_D == Part.FIT])
    z = standardiser(np.nan_to_num(features.values_DfK))
    arrays: dict[str, np.ndarray] = {"mean_fK": standardiser.mean_fK, "scale_fK": standardiser.scale_fK}
    wording_DT = _fit_wording(texts, domain_D, parts_D == Part.FIT, targets, settings, arrays)
    probe = _Probe.of(z, wording_DT, domain_D, parts_D, features.tokens_D, anchor.manifest.gated, settings)
    filters = {target: _fit_target(probe, targets, target, settings, arrays) for target in targets}
    depths = tuple(_fit_depth(probe, choice, depth, targets, settings, arrays) for depth in _depths_of(choice))
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
            neuron_evidence(rosetta, position, sign, chosen, controlled)
            for position, sign in zip(positions, signs, strict=True)
        ),
        layers=len(anchor.manifest.layer_widths),
        depths=depths,
        skip_tokens=anchor.manifest.settings.skip_tokens,
        split_by_document=split_units(anchor.manifest.documents).by_document,
        settings=settings,
        match_settings=match_settings,
        version=__version__,
    )
    return NeuronSet(manifest, arrays, unsaved_etag(manifest, arrays))


def documents_read(corpus: ProbeCorpus, settings: NeuronSetSettings) -> int:
    """How many documents the model reads to make a set: the corpus, again where token identity is controlled for."""
    return (1 + settings.control_token_identity) * len(corpus.documents)


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


def _fit_wording(
    texts: Sequence[str],
    domain_D: np.ndarray,
    fit_D: np.ndarray,
    targets: Sequence[str],
    settings: NeuronSetSettings,
    arrays: dict[str, np.ndarray],
) -> np.ndarray:
    """What the wording of every document says of each target, (D, T), learned on some of them; its arrays are added."""
    known = list(compress(texts, fit_D.tolist()))
    positive_TD = np.stack([domain_D[fit_D] == target for target in targets])
    wording = fit_wording(known, positive_TD, settings.wording_regularisation)
    arrays |= wording.arrays(targets)
    return wording.scores(texts)


@dataclass(frozen=True, slots=True)
class _Probe:
    """The probe documents: ``z`` (D, 3 K) standardised features, ``wording_DT``, labels, parts, tokens; whether MLPs are gated.

    ``background`` is how the features of the fit documents spread, whatever the target.
    """

    z: np.ndarray
    wording_DT: np.ndarray
    domain_D: np.ndarray
    parts_D: np.ndarray
    tokens_D: np.ndarray
    gated: bool
    background: Background

    @classmethod
    def of(
        cls,
        z: np.ndarray,
        wording_DT: np.ndarray,
        domain_D: np.ndarray,
        parts_D: np.ndarray,
        tokens_D: np.ndarray,
        gated: bool,
        settings: NeuronSetSettings,
    ) -> _Probe:
        """With the background of the fit documents."""
        background = Background.of(z[parts_D == Part.FIT], settings.background_shrinkage)
        return cls(z, wording_DT, domain_D, parts_D, tokens_D, gated, background)

    def part(self, part: Part, target: str) -> tuple[np.ndarray, np.ndarray]:
        """Features, with the wording's columns behind them, and labels of one part."""
        chosen = self.parts_D == part
        return np.hstack([self.z[chosen], self.wording_DT[chosen]]), self.domain_D[chosen] == target

    @property
    def reported(self) -> np.ndarray:
        """Places in the corpus and tokens of the report documents, (2, R) int64."""
        places_R = np.flatnonzero(self.parts_D == Part.REPORT)
        return np.stack([places_R, self.tokens_D[places_R]])


def _depths_of(choice: NeuronChoice) -> list[int]:
    return variant_depths(np.asarray([neuron.layer for neuron in choice.neurons]))


def _fit_depth(
    probe: _Probe,
    choice: NeuronChoice,
    depth: int,
    targets: Sequence[str],
    settings: NeuronSetSettings,
    arrays: dict[str, np.ndarray],
) -> DepthVariant:
    """The scorers of all targets on the neurons of the first ``depth`` layers; their arrays are added to ``arrays``."""
    chosen_K = np.asarray([neuron.layer < depth for neuron in choice.neurons])
    z = probe.z[:, feature_columns(chosen_K)]
    shallow = _Probe.of(z, probe.wording_DT, probe.domain_D, probe.parts_D, probe.tokens_D, probe.gated, settings)
    found: dict[str, TargetFilter] = {}
    for target in targets:
        whole = _fit_target(shallow, targets, target, settings, arrays, depth)
        short = {
            name: quality.model_copy(update={"reliability": (), "operating_points": ()})
            for name, quality in whole.methods.items()
        }
        found[target] = whole.model_copy(update={"methods": short})
    return DepthVariant(depth=depth, neurons=int(chosen_K.sum()), targets=found)


def _fit_target(
    probe: _Probe,
    targets: Sequence[str],
    target: str,
    settings: NeuronSetSettings,
    arrays: dict[str, np.ndarray],
    depth: int | None = None,
) -> TargetFilter:
    """Fit the four scorers for one of the targets, measure them, and add their arrays to ``arrays``."""
    (fit_D, positive_D), (z_V, positive_V), (z_R, positive_R) = (probe.part(part, target) for part in Part)
    z = fit_D[:, : probe.z.shape[1]]
    single = fit_single(z, positive_D, either_direction=probe.gated)
    linear = fit_linear(z, positive_D, settings, probe.background)
    signature = fit_signature(z, positive_D, settings)
    blended = fit_blended(linear, list(targets).index(target), z_V)
    fitted: Fitted = {"single": single, "linear": linear, "signature": signature, "blended": blended}
    begin = prefix(target, depth)
    arrays |= {
        f"{begin}.linear.weight": linear.weight,
        f"{begin}.linear.intercept": np.asarray([linear.intercept]),
        f"{begin}.signature.vote": signature.vote_K,
        f"{begin}.blended.spread": blended.spread,
    }
    if depth is None:
        arrays["signature_Kf"] = signature.signature_Kf
    qualities: dict[MethodName, MethodQuality] = {}
    for name, method in fitted.items():
        scores_V = method.score(z_V)
        calibration = fit_calibration(scores_V, positive_V, settings.calibration)
        precision = average_precision(positive_V, scores_V)
        scores_R = method.score(z_R)
        arrays |= scorer_arrays(f"{begin}.{name}", calibration, scores_R, positive_R, probe.reported)
        qualities[name] = reported_quality(scores_R, positive_R, calibration, precision)
    validation: dict[MethodName, float] = {
        name: quality.validation_average_precision for name, quality in qualities.items()
    }
    return TargetFilter(
        default=best_method(validation, int(positive_V.sum())),
        single_neuron=single.position,
        single_direction=single.direction,
        methods=qualities,
    )


def scorer_arrays(
    begin: str, calibration: Calibration, scores_R: np.ndarray, positive_R: np.ndarray, documents_2R: np.ndarray
) -> dict[str, np.ndarray]:
    """A scorer's calibration, and its scores and labels of the report documents, from the highest down.

    ``documents_2R`` are the documents' places in the probe corpus, and their tokens.
    """
    order = np.argsort(-scores_R, kind="stable")
    return {
        f"{begin}.calibration.score": calibration.score,
        f"{begin}.calibration.probability": calibration.probability,
        f"{begin}.report.score": scores_R[order],
        f"{begin}.report.label": positive_R[order].astype(np.uint8),
        f"{begin}.report.document": documents_2R[0, order].astype(np.int32),
        f"{begin}.report.tokens": documents_2R[1, order].astype(np.int32),
    }


def average_precision(truth_D: np.ndarray, score_D: np.ndarray) -> float:
    """Average precision, at most 1: summed in floating point, that of a perfect ranking may come out a little above."""
    return min(1.0, float(average_precision_score(truth_D, score_D)))


def reported_quality(
    scores: np.ndarray, truth: np.ndarray, calibration: Calibration, validation_average_precision: float
) -> MethodQuality:
    """What a scorer does on documents that decided nothing; without both classes among them there is nothing to measure."""
    measurable = bool(truth.any() and not truth.all())
    probability = calibration(scores)
    return MethodQuality(
        validation_average_precision=validation_average_precision,
        report_average_precision=average_precision(truth, scores) if measurable else None,
        report_auroc=float(roc_auc_score(truth, scores)) if measurable else None,
        calibration=calibration.kind,
        reliability=tuple(reliability(probability, truth)) if measurable else (),
        operating_points=tuple(asdict(point) for point in operating_points(probability, truth)) if measurable else (),
        report_documents=len(truth),
        report_positives=int(truth.sum()),
    )

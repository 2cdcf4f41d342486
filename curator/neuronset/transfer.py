"""Carries a neuron set from the model it was made for to another one, of any size and architecture, without a label.

Each neuron is replaced by its partner (``partners``), read with the sign of their correlation; its scorers come with it
(``carried``). Text alone gives the rest, in the three ``parts``: means, scales and signatures are fitted anew on the
``fit`` documents, where the source's scores also refine the scorers; its scores of the ``validate`` documents say what a
score of the new model is worth (``carried_calibration``). Labels are read on the ``report`` documents only, to state the
quality. Cost: a forward pass of the source model over three quarters of the probe documents and one of the new model over
all of them, each to its deepest neuron. It does not know the pool, nor whether the source set was any good.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from curator.errors import ConfigError, FingerprintError, InsufficientDataError
from curator.lm.backbone import Backbone
from curator.neuronset.artifact import (
    MethodName,
    MethodQuality,
    NeuronSet,
    NeuronSetManifest,
    TargetFilter,
    TransferredFrom,
    unsaved_etag,
)
from curator.neuronset.build import reported_quality, scorer_arrays
from curator.neuronset.calibrate import carried_calibration
from curator.neuronset.carried import (
    Carried,
    CarriedScorers,
    SourceScores,
    carried_evidence,
    carried_scorers,
)
from curator.neuronset.features import NeuronChoice, document_features
from curator.neuronset.identify import ModelChoice, Reporter, Silent, atlas_of
from curator.neuronset.partners import find_partners
from curator.neuronset.parts import Part, document_parts, parts_of
from curator.neuronset.scorers import Standardiser
from curator.neuronset.wording import is_wording
from curator.rosetta.neurons import RosettaNeurons, find_rosetta_neurons
from curator.settings import AtlasSettings, MatchSettings, TransferSettings
from curator.text.probe import ProbeCorpus
from curator.text.splits import split_units
from curator.version import __version__

Progress = Callable[[int], None]


def transfer(
    source: NeuronSet,
    model: ModelChoice,
    to: ModelChoice,
    corpus: ProbeCorpus,
    *,
    name: str,
    atlases: Path,
    atlas_settings: AtlasSettings,
    match_settings: MatchSettings,
    settings: TransferSettings | None = None,
    reporter: Reporter | None = None,
) -> NeuronSet:
    """The whole way: atlases of both models where they are missing, one model in memory at a time; then ``carry_neuron_set``.

    ``model`` is the source's. The corpus may be another than the set was made on, and need not hold the target domains.
    Raises as the steps do.
    """
    reporter = reporter or Silent()
    first, backbone = atlas_of(model, corpus, atlas_settings, atlases, reporter)
    reporter.stage(f"scoring with {source.manifest.name}", len(corpus.documents))
    scores = source_scores(source, backbone, corpus, progress=reporter.advance)
    del backbone
    second, backbone = atlas_of(to, corpus, atlas_settings, atlases, reporter)
    _require_another(source, backbone)
    reporter.stage("matching neurons")
    shared = find_rosetta_neurons(first, [second], match_settings)
    reporter.stage(f"carrying {source.manifest.name} to {to.name}", len(corpus.documents))
    return carry_neuron_set(
        source,
        scores,
        shared,
        backbone,
        corpus,
        name=name,
        match_settings=match_settings,
        settings=settings,
        progress=reporter.advance,
    )


def source_scores(
    source: NeuronSet, backbone: Backbone, corpus: ProbeCorpus, *, progress: Progress | None = None
) -> SourceScores:
    """What the source set says of the fit and validation documents, by the model that it was made for.

    ``progress`` is called with the number of documents read. Raises FingerprintError for another model.
    """
    source.require_model(backbone)
    settings = source.manifest.settings
    rows = np.flatnonzero(parts_of(corpus.documents, settings) != Part.REPORT)
    texts = [corpus.documents[row].text for row in rows]
    features = document_features(
        backbone, texts, source.choice, skip_tokens=source.manifest.skip_tokens, progress=progress
    )
    readable = np.flatnonzero(np.isfinite(features.values_DfK).all(axis=(1, 2)))
    z = source.evidence(features.values_DfK[readable], [texts[row] for row in readable])
    found = {}
    for target, chosen in source.manifest.targets.items():
        for name in chosen.methods:
            scores_D = np.full(len(corpus.documents), np.nan)
            scores_D[rows[readable]] = source.method(target, name).score(z)
            found[target, name] = scores_D
    return found


def carry_neuron_set(
    source: NeuronSet,
    scores: SourceScores,
    shared: RosettaNeurons,
    backbone: Backbone,
    corpus: ProbeCorpus,
    *,
    name: str,
    match_settings: MatchSettings,
    settings: TransferSettings | None = None,
    progress: Progress | None = None,
) -> NeuronSet:
    """The set for the model of ``backbone``, which is the one peer of ``shared``; the source's model is its anchor.

    ``scores`` are of the same corpus (``source_scores``). ``progress`` is called with the number of documents read. Raises
    FingerprintError when set, atlases, model and corpus do not belong together, ConfigError when there is nothing to carry to,
    InsufficientDataError when a target keeps no neuron or there are too few documents to fit on.
    """
    settings = settings or TransferSettings()
    _require_one_world(source, shared, backbone, corpus)
    known_D = ~np.isnan(next(iter(scores.values())))  # the same documents for every scorer
    carried = _read(source, shared, backbone, corpus, known_D, match_settings, settings, progress)
    arrays = {"mean_fK": carried.standardiser.mean_fK, "scale_fK": carried.standardiser.scale_fK}
    arrays |= {name: array for name, array in source.arrays.items() if is_wording(name)}
    filters, refined = {}, []
    for target in source.manifest.targets:
        scorers = carried_scorers(source, target, carried, scores, settings)
        filters[target] = _target_filter(source, target, scorers, carried, scores, arrays)
        refined += [target] * scorers.refined
    origin = _origin(source, carried, tuple(refined), settings)
    manifest = _manifest(source, shared, backbone, carried, filters, name, match_settings, origin)
    return NeuronSet(manifest, arrays, unsaved_etag(manifest, arrays))


def _require_another(source: NeuronSet, backbone: Backbone) -> None:
    if backbone.fingerprint == source.manifest.model_fingerprint:
        raise ConfigError(f"The neuron set {source.manifest.name!r} is of {backbone.name} already; name another model.")


def _require_one_world(source: NeuronSet, shared: RosettaNeurons, backbone: Backbone, corpus: ProbeCorpus) -> None:
    manifest, first = source.manifest, shared.anchor.manifest
    if len(shared.peers) != 1:
        raise ConfigError("A set is carried to one model at a time; match its model with that model alone.")
    second = shared.peers[0].peer.manifest
    _require_another(source, backbone)
    for what, expected, given in (
        (f"atlas of {first.model}", manifest.model_fingerprint, first.model_fingerprint),
        (f"atlas of {second.model}", backbone.fingerprint, second.model_fingerprint),
        ("probe corpus of the atlases", corpus.fingerprint, second.probe_fingerprint),
    ):
        if expected != given:
            raise FingerprintError(f"The {what} belongs to another model or text than is given; build it again.")


def _read(
    source: NeuronSet,
    shared: RosettaNeurons,
    backbone: Backbone,
    corpus: ProbeCorpus,
    known_D: np.ndarray,
    match_settings: MatchSettings,
    settings: TransferSettings,
    progress: Progress | None,
) -> Carried:
    """Find the partners and read the probe documents with them."""
    choice = source.choice
    second = shared.peers[0].peer
    wanted_K = np.asarray([shared.anchor.index(neuron) for neuron in choice.neurons])
    partners = find_partners(wanted_K, shared, match_settings, settings)
    if not len(partners):
        raise InsufficientDataError(
            f"No neuron of {source.manifest.name!r} has a partner in {backbone.name} with rho of at least "
            f"{settings.min_rho} and q of at most {settings.max_q}; identify the neurons there instead."
        )
    place = {int(index): position for position, index in enumerate(wanted_K)}
    position_P = np.asarray([place[int(index)] for index in partners.first])
    sign_P = np.asarray(choice.signs)[position_P] * np.where(partners.rho < 0, -1, 1)
    neurons = NeuronChoice(tuple(second.neuron(int(i)) for i in partners.second), tuple(sign_P.tolist()))
    texts = [document.text for document in corpus.documents]
    features = document_features(backbone, texts, neurons, skip_tokens=source.manifest.skip_tokens, progress=progress)
    readable = np.isfinite(features.values_DfK).all(axis=(1, 2))
    parts_D = document_parts(second, source.manifest.settings)
    parts_D = np.where(readable & (known_D | (parts_D == Part.REPORT)), parts_D, "")
    if (parts_D == Part.FIT).sum() < 2 or not (parts_D == Part.VALIDATE).any():
        raise InsufficientDataError("The probe corpus has too few documents to carry a set on; give it more text.")
    standardiser = Standardiser.fit(features.values_DfK[parts_D == Part.FIT])
    z, wording = standardiser(np.nan_to_num(features.values_DfK)), source.wording
    if wording is not None:
        z = np.hstack([z, wording.scores(texts)])
    domain_D = np.asarray([document.domain for document in corpus.documents])
    return Carried(
        partners, position_P, neurons, standardiser, z, parts_D, domain_D, features.tokens_D, second.manifest.gated
    )


def _target_filter(
    source: NeuronSet,
    target: str,
    scorers: CarriedScorers,
    carried: Carried,
    scores: SourceScores,
    arrays: dict[str, np.ndarray],
) -> TargetFilter:
    """Map the scores of one target's scorers, measure them, and add their arrays to ``arrays``."""
    chosen, positive_D = source.manifest.targets[target], carried.domain_D == target
    validate, report = carried.parts_D == Part.VALIDATE, carried.parts_D == Part.REPORT
    reported_2R = np.stack([np.flatnonzero(report), carried.tokens_D[report]])
    arrays |= {
        "signature_Kf": scorers.signature.signature_Kf,
        f"{target}.linear.weight": scorers.linear.weight,
        f"{target}.linear.intercept": np.asarray([scorers.linear.intercept]),
        f"{target}.signature.vote": scorers.signature.vote_K,
    }
    if scorers.blended:
        arrays[f"{target}.blended.spread"] = scorers.blended.spread
    qualities: dict[MethodName, MethodQuality] = {}
    for name, method in scorers.by_name().items():
        own = method.score(carried.z)
        theirs = scores[target, name][validate]
        calibration = carried_calibration(source.calibration(target, name), own[validate], theirs)
        arrays |= scorer_arrays(f"{target}.{name}", calibration, own[report], positive_D[report], reported_2R)
        validation = chosen.methods[name].validation_average_precision
        qualities[name] = reported_quality(own[report], positive_D[report], calibration, validation)
    return TargetFilter(
        default=chosen.default,
        single_neuron=scorers.single.position,
        single_direction=scorers.single.direction,
        methods=qualities,
    )


def _origin(
    source: NeuronSet, carried: Carried, refined: tuple[str, ...], settings: TransferSettings
) -> TransferredFrom:
    old, kept = source.manifest, set(carried.position_P.tolist())
    return TransferredFrom(
        name=old.name,
        etag=source.etag,
        model=old.model,
        model_fingerprint=old.model_fingerprint,
        neurons=len(old.neurons),
        dropped=tuple(neuron.id for place, neuron in enumerate(old.neurons) if place not in kept),
        refined=refined,
        settings=settings,
    )


def _manifest(
    source: NeuronSet,
    shared: RosettaNeurons,
    backbone: Backbone,
    carried: Carried,
    filters: dict[str, TargetFilter],
    name: str,
    match_settings: MatchSettings,
    origin: TransferredFrom,
) -> NeuronSetManifest:
    old, second = source.manifest, shared.peers[0].peer
    return NeuronSetManifest(
        name=name,
        model=backbone.name,
        revision=backbone.revision,
        model_fingerprint=backbone.fingerprint,
        tokenizer_fingerprint=backbone.tokenizer_fingerprint,
        probe_fingerprint=second.manifest.probe_fingerprint,
        atlas_fingerprint=second.fingerprint,
        peers={old.model: old.model_fingerprint},
        rosetta_rule=old.rosetta_rule,
        rosetta_counts=shared.counts(),
        null_counts=shared.null_counts,
        mean_correlation=float(shared.mean_rho.mean()) if len(shared.mean_rho) else 0.0,
        certificate=max(shared.anchor.manifest.certificate, second.manifest.certificate, shared.certificate),
        targets=filters,
        neurons=carried_evidence(source, shared, carried),
        layers=len(second.manifest.layer_widths),
        skip_tokens=old.skip_tokens,
        split_by_document=split_units(second.manifest.documents).by_document,
        settings=old.settings,
        match_settings=match_settings,
        version=__version__,
        transferred_from=origin,
    )

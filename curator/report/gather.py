"""From a neuron set, its matching and what was read of its neurons to the parts of a report.

Pure: numbers are taken over or counted, and the only one that is new is the interval of a correlation, Student's t around it
with the jackknife's standard error over the folds. A set for several targets is reported for its first; neurons that
are in it for another one say so. A neuron set made by an older version lacks what it did not keep, and the report says "not
measured" there. Cost: nothing. It reads no model and draws nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import cast

import numpy as np
from scipy import stats

from curator.atlas.store import Atlas
from curator.neuronset.artifact import NeuronSet
from curator.neuronset.depth import depth_table
from curator.neuronset.evidence import Snippet, histogram_by_domain
from curator.neuronset.manifest import MethodName, NeuronEvidence
from curator.neuronset.measures import Measures, by_domain
from curator.neuronset.parts import document_parts
from curator.neuronset.reasons import Reason, Verdict
from curator.neuronset.thresholds import Reported
from curator.records import NeuronId
from curator.report.inputs import (
    CalibrationBin,
    Certificate,
    DepthEntry,
    HeldOut,
    KeptAt,
    PrecisionRecallPoint,
    RosettaSummary,
    ScorerEntry,
)
from curator.report.parts import (
    Context,
    DomainHistogram,
    DomainMeasures,
    NeuronEffect,
    NeuronEntry,
    PeerMatch,
    Reading,
    SampleDocument,
)
from curator.rosetta.neurons import RosettaNeurons
from curator.scaling.points import NullCounts

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_CURVE_POINTS = 120
_CONFIDENCE = 0.95


def rosetta_summary(neuron_set: NeuronSet, rosetta: RosettaNeurons) -> RosettaSummary:
    """The matching in counts, with its nulls."""
    manifest, counts, nulls = neuron_set.manifest, rosetta.counts(), neuron_set.manifest.null_counts
    return RosettaSummary(
        neurons=rosetta.anchor.neurons,
        paper=counts["paper"],
        strict=counts["strict"],
        universal=counts["universal"],
        decoy_derangement=NullCounts(paper=nulls["deranged_paper"], strict=nulls["deranged_strict"]),
        decoy_rotation=NullCounts(paper=nulls["rotated_paper"], strict=nulls["rotated_strict"]),
        mean_correlation=manifest.mean_correlation,
        half_jaccard=rosetta.half_jaccard,
        certificate=Certificate(
            pairs=4 * len(rosetta.anchor.manifest.layer_widths) * (1 + len(manifest.peers)),
            worst_difference=manifest.certificate,
        ),
    )


def neuron_entries(
    neuron_set: NeuronSet, atlas: Atlas, snippets: Sequence[Sequence[Snippet]]
) -> tuple[NeuronEntry, ...]:
    """All neurons of the set, those first that alone tell their domain best on the documents that chose them.

    ``snippets`` are of the set's neurons in the manifest's order, or empty.
    """
    neurons = neuron_set.manifest.neurons
    index = np.asarray([atlas.index(NeuronId.parse(neuron.id)) for neuron in neurons])
    sign = np.asarray([neuron.sign for neuron in neurons])
    table = by_domain(atlas, index, sign, document_parts(atlas, neuron_set.manifest.settings))
    entries = [
        _entry(neuron, atlas, snippets[place] if snippets else (), _by_domain(table, place))
        for place, neuron in enumerate(neurons)
    ]
    return tuple(sorted(entries, key=lambda entry: -(entry.auroc_choose or 0.0)))


def _by_domain(table: Mapping[str, Measures], place: int) -> dict[str, DomainMeasures]:
    return {domain: DomainMeasures.model_validate(measures.of(place)) for domain, measures in table.items()}


def _entry(
    neuron: NeuronEvidence, atlas: Atlas, snippets: Sequence[Snippet], domains: dict[str, DomainMeasures]
) -> NeuronEntry:
    domain = max(neuron.targets, key=lambda target: neuron.targets[target].auroc_fit, default="")
    found = neuron.targets.get(domain)
    edges, counts = histogram_by_domain(atlas, atlas.index(NeuronId.parse(neuron.id)), neuron.sign)
    partners = {match.peer: match.neuron for match in neuron.matches}
    measured = {} if found is None else {
        "auroc_choose": found.auroc_fit,
        "auroc_report": found.auroc_report,
        "ap_report": found.average_precision_report,
        "d_prime_report": found.d_prime_report,
        "mutual_information_report": found.mutual_information_report,
        "auroc_controlled": found.auroc_controlled,
        "counted_contexts": found.contexts,
        "normalized_fire": found.normalized_fire,
        "specialisation": found.specialisation,
    }  # fmt: skip
    return NeuronEntry(
        id=neuron.id,
        domain=domain,
        sign=1 if neuron.sign > 0 else -1,
        strict=neuron.strict,
        universal=neuron.universal,
        matches=tuple(
            PeerMatch(
                **match.model_dump(),
                interval=correlation_interval(match.rho, match.standard_error, atlas.manifest.settings.folds),
            )
            for match in neuron.matches
        ),
        domains=domains,
        histogram=DomainHistogram(edges=edges, counts=counts),
        contexts=tuple(_context(snippet, {atlas.manifest.model: neuron.id, **partners}) for snippet in snippets),
        **measured,
    )


def correlation_interval(rho: float, standard_error: float, folds: int) -> tuple[float, float]:
    """95 % interval of a correlation whose standard error is a delete-one-fold jackknife's, kept within -1 and 1."""
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, folds - 1)) * standard_error
    return max(-1.0, rho - half), min(1.0, rho + half)


def _context(snippet: Snippet, neurons: dict[str, str]) -> Context:
    return Context(
        kind=snippet.kind,
        document=snippet.document_id,
        domain=snippet.domain,
        text=snippet.text,
        span=snippet.span,
        z=round(snippet.z, 4),
        readings=tuple(
            Reading(model=model, neuron=neurons[model], **asdict(reading))
            for model, reading in snippet.readings.items()
        ),
    )


def scorer_entries(neuron_set: NeuronSet, target: str) -> tuple[ScorerEntry, ...]:
    """The scorers of a target."""
    found = neuron_set.manifest.targets[target]
    return tuple(
        ScorerEntry(
            name=name,
            validation_ap=method.validation_average_precision,
            test_auroc=method.report_auroc,
            test_ap=method.report_average_precision,
            chosen=name == found.default,
        )
        for name, method in found.methods.items()
    )


def calibration_bins(neuron_set: NeuronSet, target: str) -> tuple[CalibrationBin, ...]:
    """The default scorer's reliability on documents that decided nothing."""
    found = neuron_set.manifest.targets[target]
    return tuple(
        CalibrationBin(predicted=row["predicted"], observed=row["observed"], count=int(row["count"]))
        for row in found.methods[found.default].reliability
    )


def depth_entries(neuron_set: NeuronSet, target: str) -> tuple[DepthEntry, ...]:
    """Quality by the layers read."""
    return tuple(
        DepthEntry(
            depth=row.depth,
            share_of_layers=row.share_of_layers,
            neurons=row.neurons,
            scorer=cast(MethodName, row.method),
            average_precision=row.average_precision,
        )
        for row in depth_table(neuron_set.manifest, target)
    )


def held_out(reported: Reported) -> HeldOut:
    """What each round threshold keeps."""
    return HeldOut(
        documents=len(reported.score_R),
        on_target=int(reported.positive_R.sum()),
        tokens=int(reported.tokens_R.sum()),
        kept=tuple(KeptAt(**asdict(reported.kept(threshold))) for threshold in THRESHOLDS),
    )


def precision_recall(reported: Reported) -> tuple[PrecisionRecallPoint, ...]:
    """The curve over all thresholds, thinned to some hundred; nothing without a document of the target."""
    total = int(reported.positive_R.sum())
    if total == 0:
        return ()
    ends = np.flatnonzero(np.append(np.diff(reported.score_R) != 0, True))
    chosen = np.unique(np.linspace(0, len(ends) - 1, min(_CURVE_POINTS, len(ends))).round().astype(int))
    hits_R = np.cumsum(reported.positive_R)
    return tuple(
        PrecisionRecallPoint(
            recall=float(hits_R[end] / total),
            precision=float(hits_R[end] / (end + 1)),
            threshold=float(reported.probability_R[end]),
        )
        for end in ends[chosen]
    )


def sample_document(reason: Reason, verdict: Verdict, probability: float, scorer: MethodName) -> SampleDocument:
    """A sample with its reason."""
    return SampleDocument(
        document=reason.document_id,
        domain=reason.domain,
        verdict=verdict,
        scorer=scorer,
        probability=probability,
        score=reason.score,
        intercept=reason.intercept,
        tokens=reason.tokens,
        raised=tuple(NeuronEffect(neuron=name, effect=effect) for name, effect in reason.raised),
        lowered=tuple(NeuronEffect(neuron=name, effect=effect) for name, effect in reason.lowered),
        text=reason.text,
        lengths=reason.lengths,
        effects=tuple(None if effect is None else round(effect, 5) for effect in reason.effects),
        elsewhere=reason.elsewhere,
    )

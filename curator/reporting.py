"""Gathers what the artifacts say into the inputs of a report; the composition of neuron set, study and report.

The command line and the server's jobs write their reports here.

Nothing is measured here but the contexts of the shown neurons (``neuronset.evidence``). Cost: seconds. It does not draw.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from curator.neuronset.artifact import NeuronSetManifest
from curator.neuronset.evidence import NeuronView, neuron_views
from curator.neuronset.features import NeuronChoice
from curator.neuronset.identify import Identified
from curator.report.inputs import (
    CalibrationBin,
    Certificate,
    Context,
    DomainHistogram,
    FileEntry,
    FilterResult,
    ModelRef,
    NeuronEntry,
    PeerMatch,
    PrecisionRecallPoint,
    ProbeSummary,
    ReportInputs,
    ReportPaths,
    RosettaSummary,
    ScorerEntry,
)
from curator.report.page import write_report
from curator.scaling.points import NullCounts, Study
from curator.text.probe import ProbeCorpus

SHOWN_NEURONS = 12


def write_neuron_set_report(
    identified: Identified,
    corpus: ProbeCorpus,
    out: Path,
    *,
    study: Study | None = None,
    filter_result: FilterResult | None = None,
    files: Sequence[FileEntry] = (),
    created: str = "",
) -> ReportPaths:
    """Write the report of an identification, with a study and a filter's result where there are any."""
    manifest = identified.neuron_set.manifest
    target = next(iter(manifest.targets))
    quality = manifest.targets[target].methods[manifest.targets[target].default]
    inputs = ReportInputs(
        title=f"Neuron set {manifest.name}",
        created=created,
        target_domain=target,
        model=ModelRef(name=manifest.model, fingerprint=manifest.model_fingerprint),
        peers=tuple(ModelRef(name=name, fingerprint=value) for name, value in manifest.peers.items()),
        probe=ProbeSummary(fingerprint=corpus.fingerprint, spans=dict(corpus.spans_per_domain)),
        seeds={
            "atlas": identified.rosetta.anchor.manifest.settings.seed,
            "matching": manifest.match_settings.seed,
            "neuron set": manifest.settings.seed,
        },
        versions=_versions(),
        study=study,
        rosetta=_summary(identified),
        neuron_set=_neurons(identified, corpus, target),
        set_size=len(manifest.neurons),
        scorers=tuple(
            ScorerEntry(
                name=name,
                validation_ap=method.validation_average_precision,
                test_auroc=method.report_auroc,
                test_ap=method.report_average_precision,
                chosen=name == manifest.targets[target].default,
            )
            for name, method in manifest.targets[target].methods.items()
        ),
        calibration=tuple(
            CalibrationBin(predicted=row["predicted"], observed=row["observed"], count=int(row["count"]))
            for row in quality.reliability
        ),
        filter=filter_result,
        precision_recall=tuple(
            PrecisionRecallPoint(recall=row["recall"], precision=row["precision"], threshold=row["threshold"])
            for row in quality.operating_points
            if row["kept_share"] > 0
        ),
        files=tuple(files),
    )
    return write_report(inputs, out)


def write_study_report(study: Study, corpus: ProbeCorpus, out: Path) -> ReportPaths:
    """Write the report of a scaling study that justifies no neuron set yet; the model is the largest anchor."""
    largest = study.points[-1]
    inputs = ReportInputs(
        title="Scaling of Rosetta neurons",
        created=study.created,
        target_domain=", ".join(corpus.domains),
        model=ModelRef(name=largest.anchor, fingerprint=study.model_fingerprints.get(largest.anchor, "")),
        peers=tuple(ModelRef(name=name, fingerprint=study.model_fingerprints.get(name, "")) for name in largest.peers),
        probe=ProbeSummary(fingerprint=corpus.fingerprint, spans=dict(corpus.spans_per_domain)),
        seeds=dict(study.seeds),
        versions=_versions(),
        study=study,
    )
    return write_report(inputs, out)


def _summary(identified: Identified) -> RosettaSummary:
    manifest, counts = identified.neuron_set.manifest, identified.rosetta.counts()
    nulls = manifest.null_counts
    return RosettaSummary(
        neurons=identified.rosetta.anchor.neurons,
        paper=counts["paper"],
        strict=counts["strict"],
        universal=counts["universal"],
        decoy_derangement=NullCounts(paper=nulls["deranged_paper"], strict=nulls["deranged_strict"]),
        decoy_rotation=NullCounts(paper=nulls["rotated_paper"], strict=nulls["rotated_strict"]),
        mean_correlation=manifest.mean_correlation,
        half_jaccard=identified.rosetta.half_jaccard,
        certificate=Certificate(
            pairs=4 * len(identified.rosetta.anchor.manifest.layer_widths) * (1 + len(manifest.peers)),
            worst_difference=manifest.certificate,
        ),
    )


def _neurons(identified: Identified, corpus: ProbeCorpus, target: str) -> tuple[NeuronEntry, ...]:
    manifest = identified.neuron_set.manifest
    shown = _shown_first(manifest, target)
    choice = identified.neuron_set.choice
    chosen = NeuronChoice(
        tuple(choice.neurons[index] for index in shown), tuple(choice.signs[index] for index in shown)
    )
    views = neuron_views(identified.backbone, identified.rosetta.anchor, corpus, chosen)
    return tuple(_entry(manifest, index, target, view) for index, view in zip(shown, views, strict=True))


def _shown_first(manifest: NeuronSetManifest, target: str) -> list[int]:
    """The neurons that alone tell the target best, on the documents that chose them."""
    known = [index for index, neuron in enumerate(manifest.neurons) if target in neuron.targets]
    return sorted(known, key=lambda index: -manifest.neurons[index].targets[target].auroc_fit)[:SHOWN_NEURONS]


def _entry(manifest: NeuronSetManifest, index: int, target: str, view: NeuronView) -> NeuronEntry:
    neuron = manifest.neurons[index]
    evidence = neuron.targets[target]
    return NeuronEntry(
        id=neuron.id,
        domain=target,
        auroc_choose=evidence.auroc_fit,
        auroc_report=evidence.auroc_report,
        ap_report=evidence.average_precision_report,
        sign=1 if neuron.sign > 0 else -1,
        matches=tuple(PeerMatch(**match.model_dump()) for match in neuron.matches),
        histogram=DomainHistogram(edges=view.edges, counts=view.counts),
        contexts=tuple(
            Context(text=snippet.text, tokens=snippet.pieces, domain=snippet.domain, value=snippet.value)
            for snippet in view.snippets
        ),
    )


def _versions() -> dict[str, str]:
    packages = ("rosetta-curator", "torch", "transformers", "faiss-cpu", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}

"""Writes the reports: gathers what the artifacts say, reads what no artifact holds, and hands both to the page.

The command line and the server's jobs write their reports here. Read anew are the contexts of the set's neurons, by the
anchor and by each peer that is named (one peer in memory at a time), and the sample documents of the filter. Cost: truncated
forward passes over windows around some eight contexts a neuron in every model; seconds for the bundled models. It does
not draw.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from curator.lm.backbone import Backbone
from curator.neuronset.evidence import Snippet, find_places, views
from curator.neuronset.identify import Identified, ModelChoice, Reporter, Silent
from curator.neuronset.manifest import NeuronSetManifest
from curator.neuronset.readings import Lens, Reading, read_stretches
from curator.neuronset.reasons import explain, sample_documents
from curator.records import NeuronId
from curator.report import gather
from curator.report.derived import derive
from curator.report.doubts import doubts_of_set
from curator.report.inputs import FileEntry, FilterResult, ModelRef, ProbeSummary, ReportInputs, ReportPaths
from curator.report.page import write_report
from curator.report.parts import SampleDocument
from curator.scaling.points import Rule, Study
from curator.text.probe import ProbeCorpus

THRESHOLD = 0.5
"""Probability at which the report's sample documents are kept or dropped."""


def write_neuron_set_report(
    identified: Identified,
    corpus: ProbeCorpus,
    out: Path,
    *,
    peers: Sequence[ModelChoice] = (),
    study: Study | None = None,
    filter_result: FilterResult | None = None,
    files: Sequence[FileEntry] = (),
    created: str = "",
    reporter: Reporter | None = None,
) -> ReportPaths:
    """Write the report of an identification, with a study and a filter's result where there are any.

    ``peers`` are the models whose partner neurons read the contexts beside the anchor's; without them only the anchor does.
    """
    known = _known(identified, corpus, _snippets(identified, corpus, peers, reporter or Silent()))
    target = known.target_domain
    neuron_set = identified.neuron_set
    reported = neuron_set.reported(target, neuron_set.manifest.targets[target].default)
    added: dict[str, Any] = {
        "created": created,
        "study": study,
        "calibration": gather.calibration_bins(neuron_set, target),
        "depths": gather.depth_entries(neuron_set, target),
        "held_out": gather.held_out(reported) if reported else None,
        "precision_recall": gather.precision_recall(reported) if reported else (),
        "samples": _samples(identified, corpus, target),
        "filter": filter_result,
        "files": tuple(files),
    }
    return write_report(ReportInputs(**{**dict(known), **added}), out)


def set_doubts(identified: Identified, corpus: ProbeCorpus) -> tuple[str, ...]:
    """What the report of an identification would doubt of its set, in sentences; no model reads anything for it."""
    known = _known(identified, corpus, ())
    return doubts_of_set(known, derive(known))


def _known(identified: Identified, corpus: ProbeCorpus, snippets: Sequence[Sequence[Snippet]]) -> ReportInputs:
    """What artifacts and settings say of a set, with the contexts of its neurons where they were read."""
    neuron_set, manifest = identified.neuron_set, identified.neuron_set.manifest
    target, *others = manifest.targets
    return ReportInputs(
        title=f"Neuron set {manifest.name}",
        target_domain=target,
        other_targets=tuple(others),
        model=ModelRef(name=manifest.model, fingerprint=manifest.model_fingerprint),
        peers=tuple(ModelRef(name=name, fingerprint=value) for name, value in manifest.peers.items()),
        probe=_probe(corpus),
        seeds=_seeds(identified),
        versions=_versions(),
        rosetta=gather.rosetta_summary(neuron_set, identified.rosetta),
        neuron_set=gather.neuron_entries(neuron_set, identified.rosetta.anchor, snippets),
        set_rule=cast(Rule, manifest.rosetta_rule),
        split_by_document=manifest.split_by_document,
        scorers=gather.scorer_entries(neuron_set, target),
        threshold=THRESHOLD,
    )


def write_study_report(study: Study, out: Path, corpus: ProbeCorpus | None = None) -> ReportPaths:
    """Write the report of a scaling study that justifies no neuron set yet.

    Without the corpus that the study was made on, its domains are not named.
    """
    largest = study.points[-1]
    inputs = ReportInputs(
        subject="study",
        title="Scaling of Rosetta neurons",
        created=study.created,
        model=ModelRef(name=largest.anchor, fingerprint=study.model_fingerprints.get(largest.anchor, "")),
        peers=tuple(
            ModelRef(name=name, fingerprint=value)
            for name, value in study.model_fingerprints.items()
            if name != largest.anchor
        ),
        probe=_probe(corpus) if corpus else ProbeSummary(fingerprint=study.probe_fingerprint),
        seeds=dict(study.seeds),
        versions=_versions(),
        study=study,
    )
    return write_report(inputs, out)


def _snippets(
    identified: Identified, corpus: ProbeCorpus, peers: Sequence[ModelChoice], reporter: Reporter
) -> list[list[Snippet]]:
    """Contexts of every neuron of the set, read by the anchor and by the peers that are named."""
    choice, anchor = identified.neuron_set.choice, identified.rosetta.anchor
    places = find_places(anchor, corpus, choice)
    stretches = [place.stretch for place in places]

    def read(backbone: Backbone, lens: Lens) -> list[Reading]:
        reporter.stage(f"reading contexts with {backbone.name}")
        return read_stretches(backbone, corpus, lens, stretches, skip_tokens=anchor.manifest.settings.skip_tokens)

    readings = {anchor.manifest.model: read(identified.backbone, Lens.of(anchor, choice.neurons, choice.signs))}
    for peer in peers:
        backbone = peer.load()
        if (lens := _partners(identified, backbone.name)) is not None:
            readings[backbone.name] = read(backbone, lens)
    return views(places, corpus, readings)


def _partners(identified: Identified, peer: str) -> Lens | None:
    """The set's partners in a peer, turned by the sign of their correlation; None for a model that is no peer of the set."""
    atlases = {found.peer.manifest.model: found.peer for found in identified.rosetta.peers}
    entries = identified.neuron_set.manifest.neurons
    matches = [match for entry in entries for match in entry.matches if match.peer == peer]
    if peer not in atlases or len(matches) != len(entries):
        return None
    signs = [entry.sign * (1 if match.rho >= 0 else -1) for entry, match in zip(entries, matches, strict=True)]
    return Lens.of(atlases[peer], [NeuronId.parse(match.neuron) for match in matches], signs)


def _samples(identified: Identified, corpus: ProbeCorpus, target: str) -> tuple[SampleDocument, ...]:
    """Held-out documents that show where the filter is sure, unsure and wrong."""
    neuron_set = identified.neuron_set
    scorer = neuron_set.manifest.targets[target].default
    reported = neuron_set.reported(target, scorer)
    if reported is None:
        return ()
    documents = [corpus.documents[place] for place in reported.document_R]
    chosen = sample_documents(reported, [document.domain for document in documents], THRESHOLD)
    reasons = explain(identified.backbone, neuron_set, target, scorer, [documents[row] for row in chosen])
    return tuple(
        gather.sample_document(reason, verdict, float(reported.probability_R[row]), scorer)
        for (row, verdict), reason in zip(chosen.items(), reasons, strict=True)
        if reason is not None
    )


def _seeds(identified: Identified) -> dict[str, int]:
    manifest: NeuronSetManifest = identified.neuron_set.manifest
    return {
        "atlas": identified.rosetta.anchor.manifest.settings.seed,
        "matching": manifest.match_settings.seed,
        "neuron set": manifest.settings.seed,
    }


def _probe(corpus: ProbeCorpus) -> ProbeSummary:
    return ProbeSummary(fingerprint=corpus.fingerprint, spans=dict(corpus.spans_per_domain))


def _versions() -> dict[str, str]:
    packages = ("rosetta-curator", "torch", "transformers", "faiss-cpu", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}

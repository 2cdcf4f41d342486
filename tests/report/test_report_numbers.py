"""Every number of a report is computed once more from the artifacts: neuron set, atlases, model and text."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from curator.neuronset.depth import depth_table
from curator.neuronset.identify import Identified
from curator.neuronset.parts import Part, part_of
from curator.records import NeuronId, Score
from curator.report.page import load_report
from curator.reporting import THRESHOLD, write_neuron_set_report
from curator.scoring.scorer import NeuronSetScorer
from tests.atlas.core_world import SETTINGS, make_atlas, make_backbone, make_corpus
from tests.neuronset.made_set import TARGETS, make_rosetta, make_set

TARGET = TARGETS[0]
PEERS = ("gpt_neox", "llama")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.fixture(scope="module")
def made(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where the report is, its inputs and its JSON."""
    identified = Identified(make_backbone("gpt2", world), make_rosetta("gpt2", world), make_set(world))
    peers = [SimpleNamespace(load=lambda kind=kind: make_backbone(kind, world)) for kind in PEERS]

    def write(name: str) -> Any:
        return write_neuron_set_report(identified, make_corpus(), tmp_path_factory.mktemp(name), peers=peers)

    paths = write("report")
    return SimpleNamespace(
        paths=paths,
        again=write("again"),
        inputs=load_report(paths.json),
        json=json.loads(paths.json.read_text()),
        set=identified.neuron_set,
        rosetta=identified.rosetta,
        backbone=identified.backbone,
    )


def report_documents(made: Any) -> list[Any]:
    settings = made.set.manifest.settings
    return [document for document in make_corpus().documents if part_of(document.source, settings) is Part.REPORT]


def test_all_neurons_of_the_set_are_there_with_their_matches(made: Any):
    manifest = {neuron.id: neuron for neuron in made.set.manifest.neurons}
    assert {entry.id for entry in made.inputs.neuron_set} == set(manifest)
    folds = SETTINGS.folds
    for entry in made.inputs.neuron_set:
        assert [m.model_dump(exclude={"interval"}) for m in entry.matches] == [
            m.model_dump() for m in manifest[entry.id].matches
        ]
        for match in entry.matches:
            half = stats.t(folds - 1).ppf(0.975) * match.standard_error
            low, high = match.interval
            assert low == pytest.approx(max(-1, match.rho - half)) and high == pytest.approx(min(1, match.rho + half))


def test_quality_and_histograms_come_from_the_atlas(made: Any, world: Path):
    atlas, documents = make_atlas("gpt2", world), make_corpus().documents
    settings, manifest = made.set.manifest.settings, {n.id: n for n in made.set.manifest.neurons}
    reported = np.asarray([part_of(document.source, settings) is Part.REPORT for document in documents])
    domain = np.asarray([document.domain for document in documents])
    for entry in made.inputs.neuron_set:
        index = atlas.index(NeuronId.parse(entry.id))
        values = atlas["document_mean_DN"][:, index] * manifest[entry.id].sign
        truth = domain[reported] == entry.domain
        assert entry.auroc_report == pytest.approx(roc_auc_score(truth, values[reported]), abs=1e-6)
        assert entry.ap_report == pytest.approx(average_precision_score(truth, values[reported]), abs=1e-6)
        assert set(entry.domains) == set(domain)
        for name, found in entry.domains.items():
            assert found.auroc == pytest.approx(roc_auc_score(domain[reported] == name, values[reported]), abs=1e-6)
            assert 0 <= found.mutual_information <= 1
        assert entry.mutual_information_report == pytest.approx(entry.domains[entry.domain].mutual_information)
        assert entry.counted_contexts is not None and entry.counted_contexts <= SETTINGS.top_contexts
        z = (
            entry.sign
            * (atlas["document_mean_DN"][:, index].astype(float) - atlas["mean"][index])
            / atlas["deviation"][index]
        )
        for name, counts in entry.histogram.counts.items():
            expected = np.histogram(z[domain == name], np.asarray(entry.histogram.edges))[0]
            assert counts == tuple(expected), (entry.id, name)


def test_contexts_are_read_by_every_model_and_hold_their_span(made: Any, world: Path):
    texts = {document.id: document.text for document in make_corpus().documents}
    atlases = {make_backbone(kind, world).name: make_atlas(kind, world) for kind in ("gpt2", *PEERS)}
    for entry in made.inputs.neuron_set:
        assert {context.kind for context in entry.contexts} == {"top", "middle", "near zero"}
        partners = {match.peer: match.neuron for match in entry.matches}
        for context in entry.contexts:
            assert context.text in texts[context.document]
            assert {r.model: r.neuron for r in context.readings} == {made.backbone.name: entry.id, **partners}
        best, atlas = entry.contexts[0], atlases[made.backbone.name]
        index = atlas.index(NeuronId.parse(entry.id))
        z = (float(atlas["top_value_Nk"][index][0]) - float(atlas["mean"][index])) / float(atlas["deviation"][index])
        assert best.z == pytest.approx(z, abs=1e-4)


def test_held_out_counts_are_those_of_the_scorer(made: Any):
    scorer = NeuronSetScorer(made.backbone, made.set, TARGET)
    documents = report_documents(made)
    scores = [score for score in scorer.score(documents) if isinstance(score, Score)]
    held_out = made.inputs.held_out
    assert (held_out.documents, held_out.tokens) == (len(scores), sum(score.tokens for score in scores))
    truth = {document.id: document.domain == TARGET for document in documents}
    assert held_out.on_target == sum(truth.values())
    for kept, row in zip(held_out.kept, made.json["derived"]["operating"], strict=True):
        chosen = [score for score in scores if score.probability >= kept.threshold]
        hits = sum(truth[score.document_id] for score in chosen)
        assert (kept.documents, kept.on_target) == (len(chosen), hits), kept.threshold
        assert kept.tokens == sum(score.tokens for score in chosen)
        assert row["recall"] == pytest.approx(hits / held_out.on_target)
        assert row["precision"] == (pytest.approx(hits / len(chosen)) if chosen else None)


def test_the_precision_recall_curve_has_the_average_precision_that_is_stated(made: Any):
    curve = sorted(made.inputs.precision_recall, key=lambda point: point.recall)
    steps = np.diff([0.0, *(point.recall for point in curve)])
    area = float(steps @ [point.precision for point in curve])
    chosen = next(scorer for scorer in made.inputs.scorers if scorer.chosen)
    assert area == pytest.approx(chosen.test_ap, abs=1e-6)


def test_samples_have_the_score_that_the_scorer_gives(made: Any):
    scorer = NeuronSetScorer(made.backbone, made.set, TARGET)
    documents = {document.id: document for document in report_documents(made)}
    assert {sample.verdict for sample in made.inputs.samples} >= {"clear keep", "clear drop"}
    for sample in made.inputs.samples:
        (score,) = scorer.score([documents[sample.document]])
        assert isinstance(score, Score)
        assert sample.score == pytest.approx(score.value, abs=1e-3)
        assert sample.probability == pytest.approx(score.probability, abs=1e-3)
        assert (sample.probability >= THRESHOLD) == ("keep" in sample.verdict or "kept" in sample.verdict)
        assert [effect.neuron for effect in sample.raised if effect.neuron != "wording"][:3] == list(
            score.top_neurons[: len(sample.raised)]
        )


def test_depth_scorers_and_calibration_are_those_of_the_set(made: Any):
    manifest = made.set.manifest
    found = manifest.targets[TARGET]
    table = depth_table(manifest, TARGET)
    assert [(d.depth, d.neurons, d.average_precision) for d in made.inputs.depths] == [
        (row.depth, row.neurons, row.average_precision) for row in table
    ]
    assert {s.name: s.test_ap for s in made.inputs.scorers} == {
        name: method.report_average_precision for name, method in found.methods.items()
    }
    bins = found.methods[found.default].reliability
    assert [b.count for b in made.inputs.calibration] == [row["count"] for row in bins]
    assert sum(b.count for b in made.inputs.calibration) == made.inputs.held_out.documents


def test_the_counts_of_the_matching_are_those_of_the_matching(made: Any):
    counts, found = made.rosetta.counts(), made.inputs.rosetta
    assert (found.paper, found.strict, found.universal) == (counts["paper"], counts["strict"], counts["universal"])
    assert found.decoy_derangement.paper == made.rosetta.null_counts["deranged_paper"]
    assert found.decoy_rotation.strict == made.rosetta.null_counts["rotated_strict"]
    assert found.half_jaccard == made.rosetta.half_jaccard


def test_the_same_artifacts_give_the_same_bytes(made: Any):
    folder, other = made.paths.json.parent, made.again.json.parent
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(files) > 10
    for name in files:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name

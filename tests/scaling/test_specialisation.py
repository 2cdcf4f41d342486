"""Domains of neurons: planted ones are found on the half that did not choose them, and the control takes words away."""

from pathlib import Path

import numpy as np
import pytest

from curator.atlas.domains import auroc_N
from curator.atlas.store import Atlas, AtlasManifest, DocumentEntry
from curator.neuronset.parts import Part, document_parts
from curator.scaling.parts import DomainFiring, Kind, Specialisation
from curator.scaling.specialisation import specialisation
from curator.settings import NeuronSetSettings
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus

DOMAINS = ("law", "code", "prose")
NEURONS, DOCUMENTS, TOP = 40, 240, 6
PLANTED = {"law": 3, "code": 11}


def planted_atlas(*, gated: bool = False) -> Atlas:
    """Neurons of noise but for one that tells law and one that tells code, of a gated model with the sign turned over."""
    generator = np.random.default_rng(0)
    domain_D = generator.integers(0, 3, DOCUMENTS)
    mean_DN = generator.standard_normal((DOCUMENTS, NEURONS))
    top_document = generator.integers(0, DOCUMENTS, (NEURONS, TOP)).astype(np.int32)
    top_value = np.sort(generator.uniform(1, 2, (NEURONS, TOP)), axis=1)[:, ::-1].astype(np.float32)
    skewness = np.ones(NEURONS)
    for name, neuron in PLANTED.items():
        inside = np.flatnonzero(domain_D == DOMAINS.index(name))
        mean_DN[inside, neuron] += 4
        top_document[neuron] = inside[:TOP]
    found = {
        "document_mean_DN": mean_DN, "top_document_Nk": top_document, "top_value_Nk": top_value, "skewness": skewness,
        "positive_fraction": generator.uniform(0.2, 0.8, NEURONS), "document_spans_D": np.full(DOCUMENTS, 50),
        "alive": np.ones(NEURONS, bool),
    }  # fmt: skip
    if gated:
        turned = PLANTED["code"]
        found |= {"low_document_Nk": top_document.copy(), "low_value_Nk": -top_value}
        found["document_mean_DN"][:, turned] *= -1
        found["skewness"][turned] = -1
        found["top_document_Nk"][turned] = 0
    entries = tuple(
        DocumentEntry(id=str(n), domain=DOMAINS[d], source=f"source-{n // 2}") for n, d in enumerate(domain_D)
    )
    manifest = AtlasManifest.model_construct(
        model="planted", layer_widths=(NEURONS,), gated=gated, domains=DOMAINS, documents=entries
    )
    return Atlas(manifest, found)


def of(found: Specialisation, kind: Kind, domain: str) -> DomainFiring:
    return next(one for one in found.domains if (one.kind, one.domain) == (kind, domain))


def fire_by_definition(atlas: Atlas, chosen: np.ndarray, domain: str) -> float:
    """Mean share of top contexts in the domain over the domain's share of the text, on the side where each neuron fires."""
    entries = atlas.manifest.documents
    share = np.mean([entry.domain == domain for entry in entries])
    sides = ["low" if atlas.manifest.gated and atlas["skewness"][neuron] < 0 else "top" for neuron in chosen]
    tops = [atlas[f"{side}_document_Nk"][neuron] for side, neuron in zip(sides, chosen, strict=True)]
    return float(np.mean([entries[document].domain == domain for top in tops for document in top]) / share)


@pytest.mark.parametrize("gated", [False, True])
def test_planted_neurons_are_found_and_reported_on_sources_that_did_not_choose(gated: bool):
    atlas = planted_atlas(gated=gated)
    chosen, pool = np.asarray([3, 11, 20, 21]), np.setdiff1d(np.arange(NEURONS), [3, 11, 20, 21])
    found = specialisation(atlas, "strict", chosen, pool)
    assert found is not None and found.controlled_spans is None
    reporting_D = document_parts(atlas, NeuronSetSettings()) != Part.FIT
    assert found.documents == reporting_D.sum()
    domain_D = np.asarray([entry.domain for entry in atlas.manifest.documents])
    for name, neuron in PLANTED.items():
        mine = of(found, "rosetta", name)
        values = atlas["document_mean_DN"][:, [neuron]] * (-1 if gated and name == "code" else 1)
        expected = auroc_N(values[reporting_D], domain_D[reporting_D] == name)[0]
        assert mine.best_auroc == pytest.approx(expected) and expected > 0.95
        assert mine.tellers == 1 and of(found, "others", name).tellers == 0
        assert mine.normalized_fire == pytest.approx(fire_by_definition(atlas, chosen, name))
        assert mine.controlled_ap is None
    assert of(found, "rosetta", "prose").tellers == 0
    assert sum(found.prevalence.values()) == pytest.approx(1)


def test_without_neurons_to_compare_with_there_is_nothing_to_say():
    assert specialisation(planted_atlas(), "paper", np.asarray([3]), np.zeros(0, np.int64)) is None


def test_with_model_and_text_every_number_stands_beside_its_controlled_one(tmp_path_factory: pytest.TempPathFactory):
    world: Path = tmp_path_factory.getbasetemp()
    atlas, corpus = make_atlas("gpt2", world), make_corpus()
    chosen, pool = np.arange(0, 96, 8), np.arange(1, 96, 2)
    found = specialisation(atlas, "paper", chosen, pool, backbone=make_backbone("gpt2", world), corpus=corpus)
    assert found is not None and found.controlled_spans is not None and found.controlled_spans > 0.9
    assert all(one.controlled_ap is not None and one.controlled_auroc is not None for one in found.domains)
    assert all(one.controlled_median is not None for one in found.index)
    plain, controlled = (
        np.mean([getattr(one, name) for one in found.domains if one.kind == "rosetta"])
        for name in ("best_auroc", "controlled_auroc")
    )
    assert plain > 0.9 and controlled < plain - 0.15, "these domains differ in their words alone"

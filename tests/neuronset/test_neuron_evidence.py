"""What a reader sees of a neuron: contexts from its strongest spans to its silent ones, as models read them, on one scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from curator.atlas.spankeys import SpanKeys
from curator.neuronset.evidence import Wanted, find_places, histogram_by_domain, views
from curator.neuronset.features import NeuronChoice
from curator.neuronset.readings import Lens, Stretch, read_stretches
from curator.records import NeuronId
from curator.text.segmentation import universal_spans
from tests.atlas.core_world import SETTINGS, make_atlas, make_backbone, make_corpus

NEURON = NeuronId(1, 7)


@pytest.mark.parametrize("sign", [1, -1])
def test_top_contexts_are_where_a_neuron_is_strongest_in_the_direction_of_its_sign(world: Path, sign: int) -> None:
    atlas, corpus = make_atlas("llama", world), make_corpus()
    places = find_places(atlas, corpus, NeuronChoice((NEURON,), (sign,)))
    top = [place for place in places if place.kind == "top"]
    side, index = "top" if sign > 0 else "low", atlas.index(NEURON)
    best = (atlas[f"{side}_value_Nk"][index][0] - atlas["mean"][index]) / atlas["deviation"][index] * sign
    assert top[0].z == pytest.approx(best, rel=1e-5)
    assert [place.z for place in top] == sorted((place.z for place in top), reverse=True)
    span = universal_spans(corpus.documents[top[0].document].text)[int(atlas[f"{side}_span_Nk"][index][0])]
    assert top[0].span == tuple(span)


def test_middle_and_silent_contexts_are_the_nearest_of_the_held_back_spans(world: Path) -> None:
    atlas, corpus = make_atlas("gpt2", world), make_corpus()
    places = find_places(atlas, corpus, NeuronChoice((NEURON,), (1,)), Wanted(top=1, middle=1, near_zero=1))
    assert [place.kind for place in places] == ["top", "middle", "near zero"]
    index = atlas.index(NEURON)
    keys, document_v = SpanKeys(corpus, SETTINGS), []
    for document in range(len(corpus.documents)):
        document_v += [(int(slot), document) for slot in keys.places(document).slot if slot >= 0]
    documents = [document for _, document in sorted(document_v)]
    z_V = atlas["held_NV"][index].astype(float)
    zero = -float(atlas["mean"][index]) / float(atlas["deviation"][index])
    used = {places[0].document}
    for place, goal in ((places[1], places[0].z / 2), (places[2], zero)):
        free = [z for z, document in zip(z_V, documents, strict=True) if np.isfinite(z) and document not in used]
        assert place.z == pytest.approx(min(free, key=lambda z: abs(z - goal)))
        used.add(place.document)


def test_no_document_is_shown_twice_for_a_neuron(world: Path) -> None:
    places = find_places(make_atlas("gpt2", world), make_corpus(), NeuronChoice((NEURON, NeuronId(0, 3)), (1, 1)))
    for neuron in (0, 1):
        documents = [place.document for place in places if place.neuron == neuron]
        assert len(documents) == len(set(documents)) == 8


def test_a_turned_neuron_of_a_model_without_gates_has_no_top_contexts(world: Path) -> None:
    places = find_places(make_atlas("gpt2", world), make_corpus(), NeuronChoice((NeuronId(0, 3),), (-1,)))
    assert {place.kind for place in places} == {"middle", "near zero"}


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_every_token_has_the_standardised_activation_of_a_plain_forward_pass(world: Path, kind: str) -> None:
    backbone, atlas, corpus = make_backbone(kind, world), make_atlas(kind, world), make_corpus()
    text = corpus.documents[3].text
    low, high = 12, 40  # inside the first window
    data = text.encode()
    while data[low] & 0xC0 == 0x80:
        low += 1
    while data[high] & 0xC0 == 0x80:
        high += 1
    lens = Lens.of(atlas, [NEURON], [-1])
    (reading,) = read_stretches(backbone, corpus, lens, [Stretch(0, 3, low, high)], skip_tokens=4)
    assert sum(reading.lengths) == len(data[low:high].decode())
    plain = [z for z in _plain_z(backbone, atlas, text, low, high) if z is not None]
    assert [z for z in reading.z if z is not None] == pytest.approx(plain, abs=0.006)
    assert len(plain) > 8


def _plain_z(backbone, atlas, text: str, low: int, high: int) -> list[float | None]:
    """z of each token that overlaps the bytes, sign -1, by a hook on the whole model; a character's further tokens left out."""
    caught: list[torch.Tensor] = []
    handle = backbone.sites[NEURON.layer].down.register_forward_pre_hook(lambda _, x: caught.append(x[0].clone()))
    encoded = backbone.tokenizer(text, return_offsets_mapping=True)
    ids = encoded["input_ids"][: backbone.max_tokens]
    with torch.no_grad():
        backbone.model(input_ids=torch.tensor([ids]), use_cache=False)
    handle.remove()
    index, found, at = atlas.index(NEURON), [], low
    for (start, end), value in zip(encoded["offset_mapping"], caught[0][0, :, NEURON.unit].tolist(), strict=False):
        first, last = len(text[:start].encode()), len(text[:end].encode())
        if last > at and first < high and last > low:
            found.append(-(value - float(atlas["mean"][index])) / float(atlas["deviation"][index]))
            at = min(last, high)
    return found


def test_the_readings_of_two_models_cover_the_same_words(world: Path) -> None:
    atlas, corpus, choice = make_atlas("gpt2", world), make_corpus(), NeuronChoice((NEURON,), (1,))
    places = find_places(atlas, corpus, choice)
    stretches = [place.stretch for place in places]
    readings = {
        kind: read_stretches(
            make_backbone(kind, world),
            corpus,
            Lens.of(make_atlas(kind, world), [NEURON], [1]),
            stretches,
            skip_tokens=4,
        )
        for kind in ("gpt2", "llama")
    }
    (snippets,) = views(places, corpus, readings)
    texts = {document.id: document.text for document in corpus.documents}
    for snippet, place in zip(snippets, places, strict=True):
        assert snippet.text in texts[snippet.document_id]
        span = corpus.documents[place.document].text.encode()[slice(*place.span)].decode()
        assert snippet.text[slice(*snippet.span)] == span
        for reading in snippet.readings.values():
            assert sum(reading.lengths) == len(snippet.text) and len(reading.z) == len(reading.lengths)
        if place.kind == "top":
            z = [value for value in snippet.readings["gpt2"].z if value is not None]
            assert max(z) >= snippet.z - 0.01, "a span is at most its highest token"


def test_histograms_count_every_document_once_in_its_domain(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    edges, counts = histogram_by_domain(atlas, 5, 1)
    assert len(edges) == 25
    domains = [entry.domain for entry in atlas.manifest.documents]
    assert {domain: sum(values) for domain, values in counts.items()} == {d: domains.count(d) for d in set(domains)}
    z_D = (atlas["document_mean_DN"][:, 5] - atlas["mean"][5]) / atlas["deviation"][5]
    assert (edges[0], edges[-1]) == pytest.approx((z_D.min(), z_D.max()), rel=1e-5)
    turned, _ = histogram_by_domain(atlas, 5, -1)
    np.testing.assert_allclose(turned, -np.asarray(edges)[::-1], rtol=1e-5, atol=1e-7)

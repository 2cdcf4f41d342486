"""What a reader sees of a neuron: contexts at its strongest spans, with the sign applied, and values by domain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curator.neuronset.evidence import histogram_by_domain, neuron_views
from curator.neuronset.features import NeuronChoice
from curator.records import NeuronId
from tests.atlas.core_world import make_atlas, make_backbone, make_corpus


@pytest.mark.parametrize("sign", [1, -1])
def test_contexts_are_where_a_neuron_is_strongest_in_the_direction_of_its_sign(world: Path, sign: int) -> None:
    atlas, corpus = make_atlas("llama", world), make_corpus()
    choice = NeuronChoice((NeuronId(1, 7),), (sign,))
    (view,) = neuron_views(make_backbone("llama", world), atlas, corpus, choice, contexts=3)
    side = "top" if sign > 0 else "low"
    best = atlas[f"{side}_value_Nk"][48 + 7] * sign
    assert 1 <= len(view.snippets) <= 3
    assert view.snippets[0].value == pytest.approx(float(best[0]), rel=1e-4)
    assert [s.value for s in view.snippets] == sorted((s.value for s in view.snippets), reverse=True)
    assert len({s.document_id for s in view.snippets}) == len(view.snippets), "one context a document"
    texts = {document.id: document.text for document in corpus.documents}
    for snippet in view.snippets:
        assert snippet.text in texts[snippet.document_id]
        assert max(value for _, value in snippet.pieces) >= snippet.value - 1e-3, "a span is at most its highest token"


def test_a_turned_neuron_of_a_model_without_gates_has_no_contexts(world: Path) -> None:
    choice = NeuronChoice((NeuronId(0, 3),), (-1,))
    (view,) = neuron_views(make_backbone("gpt2", world), make_atlas("gpt2", world), make_corpus(), choice)
    assert view.snippets == ()


def test_histograms_count_every_document_once_in_its_domain(world: Path) -> None:
    atlas = make_atlas("gpt2", world)
    edges, counts = histogram_by_domain(atlas, 5, 1)
    assert len(edges) == 25
    domains = [entry.domain for entry in atlas.manifest.documents]
    assert {domain: sum(values) for domain, values in counts.items()} == {d: domains.count(d) for d in set(domains)}
    turned, _ = histogram_by_domain(atlas, 5, -1)
    np.testing.assert_allclose(turned, -np.asarray(edges)[::-1], rtol=1e-5, atol=1e-7)

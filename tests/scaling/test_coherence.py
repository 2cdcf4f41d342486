"""Coherence is high where a neuron's strongest contexts are alike beyond the span itself, and zero where they are random."""

from itertools import combinations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from curator.atlas.store import Atlas, AtlasManifest
from curator.records import Document
from curator.scaling.coherence import Contexts, mean_cosine
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

WORDS = 40
TOPICS = {
    "sea": ["wave", "harbour", "tide", "sailor", "anchor", "storm", "island", "vessel"],
    "field": ["barley", "plough", "furrow", "meadow", "harvest", "orchard", "cattle", "hedge"],
    "town": ["market", "lantern", "bridge", "tavern", "cobble", "steeple", "square", "carriage"],
}


def made_corpus(per_topic: int = 30) -> ProbeCorpus:
    """Documents of words of one topic each; every document has the word ``xyzzy`` in its middle."""
    generator = np.random.default_rng(1)
    documents = []
    for topic, words in TOPICS.items():
        for number in range(per_topic):
            text = [str(word) for word in generator.choice(words, WORDS)]
            text[WORDS // 2] = "xyzzy"
            documents.append(Document(f"{topic}-{number}", " ".join(text), topic, f"{topic}/{number}"))
    return ProbeCorpus(tuple(documents), tuple(TOPICS), "made", {})


def made_atlas(contexts: list[list[tuple[int, int]]], *, gated: bool = False) -> Atlas:
    """Neurons whose strongest contexts are these pairs of document and span; the other side of a gated one has none."""
    document_Nk, span_Nk = (np.asarray([[pair[side] for pair in row] for row in contexts]) for side in (0, 1))
    nothing = np.full_like(document_Nk, -1)
    manifest = AtlasManifest.model_construct(model="made", layer_widths=(len(contexts),), gated=gated)
    high, low = ("low", "top") if gated else ("top", "low")
    return Atlas(
        manifest,
        {
            f"{high}_document_Nk": document_Nk,
            f"{high}_span_Nk": span_Nk,
            f"{low}_document_Nk": nothing,
            f"{low}_span_Nk": nothing,
            "skewness": np.full(len(contexts), -1.0 if gated else 1.0),
        },
    )


def middle(corpus: ProbeCorpus, document: int) -> int:
    """The span of the word that all documents share."""
    data = corpus.documents[document].text.encode()
    spans = universal_spans(corpus.documents[document].text)
    return next(n for n, (start, end) in enumerate(spans.tolist()) if data[start:end] == b" xyzzy")


@pytest.mark.parametrize("gated", [False, True])
def test_contexts_of_one_topic_cohere_and_contexts_that_share_but_the_span_do_not(gated: bool):
    corpus = made_corpus()
    of_one_topic = [(document, middle(corpus, document)) for document in range(9)]
    of_all_topics = [(document, middle(corpus, document)) for document in range(0, 90, 10)]
    found = Contexts(corpus).coherence(made_atlas([of_one_topic, of_all_topics], gated=gated), np.arange(2))
    assert found[0] > 0.3
    assert abs(found[1]) < 0.05


def test_a_neuron_of_one_document_has_no_coherence():
    corpus = made_corpus()
    rows = [[(3, 5), (3, 9), (-1, -1)], [(3, 5), (4, 9), (-1, -1)]]
    found = Contexts(corpus).coherence(made_atlas(rows), np.arange(2))
    assert np.isnan(found[0]) and np.isfinite(found[1])


def test_the_same_seed_gives_the_same_chance():
    corpus = made_corpus()
    assert Contexts(corpus, 4).chance == Contexts(corpus, 4).chance != Contexts(corpus, 5).chance


def test_the_mean_cosine_is_that_of_all_pairs_from_different_documents():
    generator = np.random.default_rng(0)
    rows_RB = generator.standard_normal((12, 7))
    rows_RB /= np.linalg.norm(rows_RB, axis=1, keepdims=True)
    document_R = generator.integers(4, size=12)
    by_hand = [float(rows_RB[a] @ rows_RB[b]) for a, b in combinations(range(12), 2) if document_R[a] != document_R[b]]
    assert mean_cosine(csr_matrix(rows_RB), document_R) == pytest.approx(np.mean(by_hand))
    assert np.isnan(mean_cosine(csr_matrix(rows_RB[:2]), np.zeros(2, int)))
    assert np.isnan(mean_cosine(csr_matrix((0, 7)), np.zeros(0, int)))

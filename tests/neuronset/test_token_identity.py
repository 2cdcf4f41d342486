"""Token identity: what a neuron says because of the words alone is taken away, and the rest is left."""

from pathlib import Path

import numpy as np
import pytest

from curator.atlas.spankeys import SpanKeys
from curator.neuronset.token_identity import controlled_values
from curator.text.segmentation import universal_spans
from tests.atlas.core_world import SETTINGS, make_backbone, make_corpus, raw_spans


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


def by_definition(values: list[np.ndarray], texts: list[list[str]]) -> tuple[np.ndarray, float]:
    """Document means of values less their text's mean, over texts of two documents or more; and the share of spans kept."""
    rows = [
        (document, text, value)
        for document, (words, table) in enumerate(zip(texts, values, strict=True))
        for text, value in zip(words, table, strict=True)
        if not np.isnan(value).any()
    ]
    by_text: dict[str, list[tuple[int, np.ndarray]]] = {}
    for document, text, value in rows:
        by_text.setdefault(text, []).append((document, value))
    means = {text: np.mean([v for _, v in found], axis=0) for text, found in by_text.items()}
    shared = {text for text, found in by_text.items() if len({document for document, _ in found}) > 1}
    sums, counts = np.zeros((len(values), values[0].shape[1])), np.zeros(len(values))
    for document, text, value in rows:
        if text in shared:
            sums[document] += value - means[text]
            counts[document] += 1
    return sums / np.maximum(1, counts)[:, None], counts.sum() / len(rows)


def test_residual_document_means_are_those_of_the_definition(world: Path):
    backbone, corpus = make_backbone("gpt2", world), make_corpus()
    wanted, sign = np.asarray([1, 17, 50, 95]), np.asarray([1, -1, 1, 1])
    texts = [[d.text.encode()[a:b].decode() for a, b in universal_spans(d.text).tolist()] for d in corpus.documents]
    values = [table[:, wanted] * sign for table in raw_spans(backbone, corpus)]
    expected, share = by_definition(values, texts)
    found = controlled_values(backbone, SpanKeys(corpus, SETTINGS), wanted, sign, contexts=6)
    np.testing.assert_allclose(found.mean_Dn, expected, atol=2e-5)
    assert found.kept == pytest.approx(share)
    assert (np.diff(found.top_value_nk, axis=1) <= 0).all() and (found.top_document_nk >= 0).all()


def test_what_words_alone_tell_is_gone(world: Path):
    """Each document's residuals are about 0 where a neuron is a function of the span's text and its neighbours are noise."""
    backbone, corpus = make_backbone("gpt2", world), make_corpus()
    keys = SpanKeys(corpus, SETTINGS)
    wanted = np.arange(48)  # the first layer sees little but the token itself
    plain = np.stack([np.nanmean(table[:, wanted], axis=0) for table in raw_spans(backbone, corpus)])
    found = controlled_values(backbone, keys, wanted, np.ones(48), contexts=6)
    domain_D = np.asarray([document.domain for document in corpus.documents])

    def between(mean_Dn: np.ndarray) -> float:
        return float(np.var([mean_Dn[domain_D == name].mean(axis=0) for name in corpus.domains], axis=0).mean())

    assert between(found.mean_Dn) < 0.05 * between(plain)

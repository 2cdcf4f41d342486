"""How alike the texts are in which a neuron is strongest: the coherence of its top contexts (SCIENCE section 5).

A context is the text around a span, 24 spans to each side; the span itself is left out, or a neuron of one word would be
coherent for that word alone. Contexts are rows of hashed byte n-grams by TF-IDF (``neuronset.wording``), the inverse document
frequencies from a random sample of contexts; a neuron's coherence is the mean cosine of its top contexts, over pairs from
different documents, less that of the random ones: 0 is what text drawn at random has. Cost: some 10 MB of contexts a second.
It measures wording, not meaning: two texts on one thing in other words count as strangers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curator.atlas.store import Atlas
from curator.neuronset.wording import inverse_frequencies, text_counts, unit_weights
from curator.scaling.controls import on_firing_side
from curator.text.probe import ProbeCorpus
from curator.text.segmentation import universal_spans

_AROUND = 24
_SAMPLE = 2048
_NEURONS = 64


class Contexts:
    """The texts around spans of one corpus, as rows of length one."""

    def __init__(self, corpus: ProbeCorpus, seed: int = 0) -> None:
        """``seed`` draws the random contexts."""
        self._corpus = corpus
        self._spans: dict[int, np.ndarray] = {}
        generator = np.random.default_rng(seed)
        documents_S = generator.integers(len(corpus.documents), size=_SAMPLE)
        sample = [(int(d), int(generator.integers(max(1, len(self._spans_of(int(d))))))) for d in documents_S]
        counts = text_counts([self._text(*place) for place in sample])
        self._idf_B = inverse_frequencies(counts)
        self.chance = mean_cosine(unit_weights(counts, self._idf_B), documents_S)

    def coherence(self, atlas: Atlas, index_R: np.ndarray) -> np.ndarray:
        """That of the neurons at these flat indices, (R,) float64; NaN where fewer than two documents have a context."""
        found_R = np.full(len(index_R), np.nan)
        for start in range(0, len(index_R), _NEURONS):
            block = index_R[start : start + _NEURONS]
            document_nk, span_nk = (on_firing_side(atlas, block, name) for name in ("document", "span"))
            kept_nk = document_nk >= 0
            places = zip(document_nk[kept_nk].tolist(), span_nk[kept_nk].tolist(), strict=True)
            rows = unit_weights(text_counts([self._text(*place) for place in places]), self._idf_B)
            edges = np.concatenate([[0], np.cumsum(kept_nk.sum(axis=1))])
            for place in range(len(block)):
                mine = slice(edges[place], edges[place + 1])
                found_R[start + place] = mean_cosine(rows[mine], document_nk[place][kept_nk[place]])
        return found_R - self.chance

    def _spans_of(self, document: int) -> np.ndarray:
        if document not in self._spans:
            self._spans[document] = universal_spans(self._corpus.documents[document].text)
        return self._spans[document]

    def _text(self, document: int, span: int) -> str:
        spans_S2, data = self._spans_of(document), self._corpus.documents[document].text.encode()
        if not len(spans_S2):
            return ""
        first, last = max(0, span - _AROUND), min(len(spans_S2) - 1, span + _AROUND)
        before = data[spans_S2[first, 0] : spans_S2[span, 0]]
        return (before + b"\n" + data[spans_S2[span, 1] : spans_S2[last, 1]]).decode()


def mean_cosine(rows: Any, document_R: np.ndarray) -> float:
    """Mean inner product over all pairs of sparse rows from different documents; NaN where there is no such pair."""
    of_documents, inverse = np.unique(document_R, return_inverse=True)
    each = np.bincount(inverse)
    pairs = len(document_R) ** 2 - np.square(each).sum()
    if not pairs:
        return float("nan")
    summed_B = np.asarray(rows.sum(axis=0)).ravel()
    within = sum(
        float(np.square(np.asarray(rows[inverse == number].sum(axis=0)).ravel()).sum())
        for number in range(len(of_documents))
    )
    return float((np.square(summed_B).sum() - within) / pairs)

"""What neurons say of a document when token identity is controlled for: values less what the same text says elsewhere.

A neuron that fires on "the" tells English from German without knowing either. So of every span's value the mean over all spans of
the same text is taken away, and spans whose text stands in fewer than two documents are left out, for of those nothing remains to
compare. What is left of a domain's difference is context, not words. That is strict on words that stand in one domain only: what
a neuron says of them counts for nothing.

Cost: two forward passes over the corpus up to the deepest wanted neuron; 8 bytes for each neuron and distinct text, 4 for each
neuron and document. It does not know domains: callers have the labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from curator.atlas.spankeys import SpanKeys
from curator.atlas.spanvalues import Reading, SpanTable, span_values
from curator.lm.backbone import Backbone

_FEWEST_DOCUMENTS = 2


@dataclass(frozen=True, slots=True)
class Controlled:
    """Document means and top spans of n neurons, token identity taken away.

    ``mean_Dn`` float64, 0 where a document keeps no span; ``top_value_nk`` and ``top_document_nk`` the highest values, falling,
    and their documents, -1 where empty; ``spans_D`` how many spans of each document the control keeps, ``kept`` their share.
    """

    mean_Dn: np.ndarray
    top_value_nk: np.ndarray
    top_document_nk: np.ndarray
    spans_D: np.ndarray
    kept: float


def controlled_values(
    backbone: Backbone, keys: SpanKeys, wanted_n: np.ndarray, sign_n: np.ndarray, *, contexts: int
) -> Controlled:
    """Read the wanted neurons (ascending flat indices) over the corpus, each times its sign. Raises as ``span_values``."""
    texts = _Texts.of(keys)
    reading = Reading(backbone, wanted_n)
    sign = torch.from_numpy(np.asarray(sign_n, dtype=np.float32)).to(backbone.device)
    means = _TextMeans(texts, len(wanted_n))
    for table in span_values([reading], keys):
        means.add(table, (table.values[0] * sign).double().cpu())
    found = _Residuals(len(keys.documents), len(wanted_n), contexts)
    for table in span_values([reading], keys):
        kept, residual = means.residual(table, (table.values[0] * sign).double().cpu())
        found.add(table.document_K[kept], residual, len(kept))
    return found.result()


@dataclass(frozen=True, slots=True)
class _Texts:
    """Which text every span is: spans of a document lie at ``first_D[document] + span``."""

    text_S: np.ndarray
    first_D: np.ndarray

    @classmethod
    def of(cls, keys: SpanKeys) -> _Texts:
        number: dict[bytes, int] = {}
        found = []
        for index, document in enumerate(keys.documents):
            data = document.text.encode()
            found += [number.setdefault(data[start:end], len(number)) for start, end in keys.spans(index).tolist()]
        first_D = np.cumsum([0, *keys.length_D.tolist()])
        return cls(np.asarray(found, dtype=np.int64), first_D)

    def __len__(self) -> int:
        return int(self.text_S.max(initial=-1)) + 1

    def of_table(self, table: SpanTable) -> np.ndarray:
        return self.text_S[self.first_D[table.document_K] + table.span_K]


class _TextMeans:
    """Mean value of each text in each neuron, and in how many documents the text stands."""

    def __init__(self, texts: _Texts, neurons: int) -> None:
        self._texts = texts
        self._sum_Xn = torch.zeros(len(texts), neurons, dtype=torch.float64)
        self._spans_X = np.zeros(len(texts), dtype=np.int64)
        self._documents_X = np.zeros(len(texts), dtype=np.int64)

    def add(self, table: SpanTable, values_Kn: torch.Tensor) -> None:
        text_K = self._texts.of_table(table)
        self._sum_Xn.index_add_(0, torch.from_numpy(text_K), values_Kn)
        np.add.at(self._spans_X, text_K, 1)
        pairs = np.unique(np.stack([table.document_K, text_K], axis=1), axis=0)
        np.add.at(self._documents_X, pairs[:, 1], 1)  # a document lies in one table

    def residual(self, table: SpanTable, values_Kn: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Which spans are kept, (K,) bool, and their values less their text's mean, float64."""
        text_K = self._texts.of_table(table)
        kept_K = self._documents_X[text_K] >= _FEWEST_DOCUMENTS
        mean = self._sum_Xn[torch.from_numpy(text_K[kept_K])].numpy() / self._spans_X[text_K[kept_K]][:, None]
        return kept_K, values_Kn.numpy()[kept_K] - mean


class _Residuals:
    """Sums over documents, and the highest values."""

    def __init__(self, documents: int, neurons: int, contexts: int) -> None:
        self._sum_Dn = np.zeros((documents, neurons))
        self._spans_D = np.zeros(documents, dtype=np.int64)
        self._top_value_kn = np.full((contexts, neurons), -np.inf)
        self._top_document_kn = np.full((contexts, neurons), -1, dtype=np.int64)
        self._seen = 0

    def add(self, document_K: np.ndarray, value_Kn: np.ndarray, seen: int) -> None:
        self._seen += seen
        edges = np.flatnonzero(np.diff(document_K, prepend=-1, append=-1))
        for start, stop in pairwise(edges.tolist()):  # documents, not spans
            self._sum_Dn[document_K[start]] += value_Kn[start:stop].sum(axis=0)
            self._spans_D[document_K[start]] += stop - start
        values = np.concatenate([self._top_value_kn, value_Kn])
        documents = np.broadcast_to(document_K[:, None], value_Kn.shape)
        order_kn = np.argsort(-values, axis=0, kind="stable")[: len(self._top_value_kn)]
        self._top_value_kn = np.take_along_axis(values, order_kn, axis=0)
        places = np.concatenate([self._top_document_kn, documents])
        self._top_document_kn = np.take_along_axis(places, order_kn, axis=0)

    def result(self) -> Controlled:
        mean_Dn = self._sum_Dn / np.maximum(1, self._spans_D)[:, None]
        kept = float(self._spans_D.sum() / max(1, self._seen))
        return Controlled(mean_Dn, self._top_value_kn.T, self._top_document_kn.T, self._spans_D, kept)

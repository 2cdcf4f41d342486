"""What neurons say of a document when token identity is controlled for: values less what the same text says elsewhere.

A neuron that fires on "the" tells English from German without knowing either. So of every span's value the mean over all spans of
the same text is taken away, and spans whose text stands in fewer than two documents are left out, for of those nothing remains to
compare. What is left of a domain's difference is context, not words. That is strict on words that stand in one domain only: what
a neuron says of them counts for nothing.

Document means are linear in the values, so one pass gives them: sums by text and sums by document, and how often each text stands
in each document. Single contexts need the means first. Cost: a forward pass over the corpus up to the deepest wanted neuron, two
where contexts are wanted; 8 bytes for each neuron and each text that stands in two documents, and for each neuron and document.
It does not know domains: callers have the labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array

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
    backbone: Backbone,
    keys: SpanKeys,
    wanted_n: np.ndarray,
    sign_n: np.ndarray,
    *,
    contexts: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Controlled:
    """Read the wanted neurons (ascending flat indices) over the corpus, each times its sign; ``contexts`` top spans of each.

    ``progress`` is called with the number of documents that the first pass has read. Raises as ``span_values``.
    """
    texts = _Texts.of(keys)
    reading = Reading(backbone, wanted_n)
    sign = torch.from_numpy(np.asarray(sign_n, dtype=np.float32)).to(backbone.device)
    sums = _Sums(texts, len(keys.documents), len(wanted_n))
    for table in span_values([reading], keys):
        sums.add(table, (table.values[0] * sign).double().cpu())
        if progress:
            progress(sums.documents)
    means = sums.means()
    highest = _Highest(contexts, len(wanted_n))
    for table in span_values([reading], keys) if contexts else ():
        highest.add(*means.residual(table, (table.values[0] * sign).double().cpu()))
    kept = float(means.spans_D.sum() / max(1, sums.seen))
    return Controlled(means.mean_Dn, highest.value_kn.T, highest.document_kn.T, means.spans_D, kept)


@dataclass(frozen=True, slots=True)
class _Texts:
    """Which text every span is, -1 for a text of one document: spans of a document lie at ``first_D[document] + span``."""

    text_S: np.ndarray
    first_D: np.ndarray
    count: int

    @classmethod
    def of(cls, keys: SpanKeys) -> _Texts:
        number: dict[bytes, int] = {}
        found = []
        for index, document in enumerate(keys.documents):
            data = document.text.encode()
            found += [number.setdefault(data[start:end], len(number)) for start, end in keys.spans(index).tolist()]
        text_S, length_D = np.asarray(found, dtype=np.int64), np.asarray(keys.length_D)
        pairs = np.unique(np.repeat(np.arange(len(length_D)), length_D) * max(1, len(number)) + text_S)
        shared_X = np.bincount(pairs % max(1, len(number)), minlength=len(number)) >= _FEWEST_DOCUMENTS
        row_X = np.where(shared_X, np.cumsum(shared_X) - 1, -1)
        return cls(row_X[text_S], np.cumsum([0, *length_D.tolist()]), int(shared_X.sum()))

    def of_table(self, table: SpanTable) -> np.ndarray:
        return self.text_S[self.first_D[table.document_K] + table.span_K]


@dataclass(frozen=True, slots=True)
class _Means:
    """Means by text (X, n), which texts count (X,), and the residual means and kept spans of every document."""

    texts: _Texts
    text_Xn: np.ndarray
    counts_X: np.ndarray
    mean_Dn: np.ndarray
    spans_D: np.ndarray

    def residual(self, table: SpanTable, values_Kn: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Documents of the spans that are kept, and their values less their text's mean, float64."""
        text_K = self.texts.of_table(table)
        kept_K = np.append(self.counts_X, False)[text_K]
        return table.document_K[kept_K], values_Kn.numpy()[kept_K] - self.text_Xn[text_K[kept_K]]


class _Sums:
    """Sums of values by text and by document, and how many spans of each text each document has."""

    def __init__(self, texts: _Texts, documents: int, neurons: int) -> None:
        self.seen = self.documents = 0
        self._texts = texts
        self._text_Xn = torch.zeros(texts.count, neurons, dtype=torch.float64)
        self._document_Dn = torch.zeros(documents, neurons, dtype=torch.float64)
        self._places: list[np.ndarray] = []

    def add(self, table: SpanTable, values_Kn: torch.Tensor) -> None:
        text_K = self._texts.of_table(table)
        self.seen += len(text_K)
        self.documents += len(np.unique(table.document_K))  # a document lies in one table
        known_K = text_K >= 0
        values_kn = values_Kn[torch.from_numpy(known_K)]
        self._places.append(np.stack([table.document_K[known_K], text_K[known_K]]))
        self._text_Xn.index_add_(0, torch.from_numpy(text_K[known_K]), values_kn)
        self._document_Dn.index_add_(0, torch.from_numpy(table.document_K[known_K]), values_kn)

    def means(self) -> _Means:
        """A text of which the model covers spans in one document only counts for nothing there."""
        place_2S = np.concatenate([np.zeros((2, 0), np.int64), *self._places], axis=1)
        shape = (len(self._document_Dn), self._texts.count)
        count_DX = csr_array((np.ones(place_2S.shape[1]), (place_2S[0], place_2S[1])), shape=shape)
        sum_Xn, spans_X = self._text_Xn.numpy(), np.asarray(count_DX.sum(axis=0))
        counts_X = np.bincount(count_DX.nonzero()[1], minlength=shape[1]) >= _FEWEST_DOCUMENTS
        text_Xn = sum_Xn / np.maximum(1, spans_X)[:, None]
        spans_D = np.asarray(count_DX @ counts_X.astype(np.float64)).astype(np.int64)
        rest_Dn = self._document_Dn.numpy() - count_DX @ text_Xn  # what does not count is its own mean: nothing is left
        mean_Dn = np.where(spans_D[:, None] > 0, rest_Dn / np.maximum(1, spans_D)[:, None], 0.0)
        return _Means(self._texts, text_Xn, counts_X, mean_Dn, spans_D)


class _Highest:
    """The highest values of each neuron, falling, and their documents: (contexts, n) each."""

    def __init__(self, contexts: int, neurons: int) -> None:
        self.value_kn = np.full((contexts, neurons), -np.inf)
        self.document_kn = np.full((contexts, neurons), -1, dtype=np.int64)

    def add(self, document_K: np.ndarray, value_Kn: np.ndarray) -> None:
        values = np.concatenate([self.value_kn, value_Kn])
        documents = np.concatenate([self.document_kn, np.broadcast_to(document_K[:, None], value_Kn.shape)])
        order_kn = np.argsort(-values, axis=0, kind="stable")[: len(self.value_kn)]
        self.value_kn = np.take_along_axis(values, order_kn, axis=0)
        self.document_kn = np.take_along_axis(documents, order_kn, axis=0)

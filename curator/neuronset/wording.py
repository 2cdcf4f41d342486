"""What a text's own letters say of a target: the half of the ``blended`` scorer that asks no model.

A document is its hashed byte n-grams (``text/ngrams``): one plus the log of each bucket's count, times the bucket's inverse
document frequency, made a row of length one. Logistic regression on the fit documents gives a weight to each of 2^16 buckets.
On the bake-off's pool this is the best of all ways that read no model, and what it gets wrong is not what neurons get wrong
(DECISIONS). Cost: some 10 MB of text a second and core; a quarter of a megabyte for each target and for the frequencies. It does
not know neurons, nor what is not in the wording of its examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from curator.text.ngrams import ORDERS, buckets, folded

BITS = 16
MOST_DOCUMENTS = 20_000
_BATCH, _BLOCK_BYTES = 512, 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """Inverse document frequencies ``idf_B`` and each target's weights ``weight_TB``, both float32."""

    idf_B: np.ndarray
    weight_TB: np.ndarray

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """What the wording of D texts says of each target, (D, T) float64; a text is scored alike in any company."""
        found = np.zeros((len(texts), len(self.weight_TB)))
        weight_BT = self.weight_TB.T.astype(np.float64)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            found[start : start + len(batch)] = unit_weights(gram_counts(batch), self.idf_B) @ weight_BT
        return found


def fit_wording(texts: Sequence[str], positive_TD: np.ndarray, inverse_penalty: float) -> Wording:
    """Frequencies and weights from labelled texts, at most 20,000 of them, evenly chosen; classes are weighed alike."""
    step = -(-len(texts) // MOST_DOCUMENTS) or 1
    counts = gram_counts(texts[::step])
    idf_B = inverse_frequencies(counts)
    rows_DB = unit_weights(counts, idf_B)
    weights = [fit_weights(rows_DB, positive_D[::step], inverse_penalty) for positive_D in positive_TD]
    return Wording(idf_B, np.stack(weights).astype(np.float32))


def fit_weights(rows_DB: Any, positive_D: np.ndarray, inverse_penalty: float) -> np.ndarray:
    """Logistic regression's weight of each bucket, (B,) float64."""
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", solver="liblinear", random_state=0)
    return model.fit(rows_DB, positive_D).coef_[0]


def gram_counts(texts: Sequence[str]) -> Any:
    """How often each bucket occurs in each text, sparse (D, B) float32."""
    begin, bucket_G, count_G = [0], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for text in texts:
        count_B = _bucket_counts(folded(text))
        bucket = np.flatnonzero(count_B)
        bucket_G.append(bucket)
        count_G.append(count_B[bucket])
        begin.append(begin[-1] + len(bucket))
    values = np.concatenate(count_G).astype(np.float32)
    return csr_matrix((values, np.concatenate(bucket_G), begin), shape=(len(texts), 1 << BITS))


def _bucket_counts(data: bytes) -> np.ndarray:
    """How often each bucket occurs, (B,) int64; a text is taken by the megabyte, so that a long one needs little memory."""
    found_B = np.zeros(1 << BITS, np.int64)
    for order in ORDERS:
        for start in range(0, len(data) - order + 1, _BLOCK_BYTES):
            block = data[start : start + _BLOCK_BYTES + order - 1]
            found_B += np.bincount(buckets(block, order, BITS).astype(np.int64), minlength=1 << BITS)
    return found_B


def inverse_frequencies(counts_DB: Any) -> np.ndarray:
    """Log of documents over documents that hold the bucket, one added to each, plus one; (B,) float32."""
    documents_B = np.bincount(counts_DB.indices, minlength=counts_DB.shape[1])
    return (np.log((1 + counts_DB.shape[0]) / (1 + documents_B)) + 1).astype(np.float32)


def unit_weights(counts_DB: Any, idf_B: np.ndarray) -> Any:
    """One plus log count, times inverse document frequency, rows of length one; sparse (D, B) float64."""
    rows = counts_DB.astype(np.float64)
    rows.data = (1 + np.log(rows.data)) * idf_B[rows.indices]
    square_D = np.add.reduceat(np.append(rows.data**2, 0.0), rows.indptr[:-1]) * (np.diff(rows.indptr) > 0)
    rows.data /= np.repeat(np.sqrt(np.maximum(square_D, 1e-12)), np.diff(rows.indptr))
    return rows

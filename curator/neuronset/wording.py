"""What a text's own letters say of a target: the half of the ``blended`` scorer that asks no model.

A document is its hashed byte n-grams (``text/ngrams``): one plus the log of each bucket's count, times the bucket's inverse
document frequency, made a row of length one. Logistic regression on the fit documents gives a weight to each of 2^16 buckets.
On the bake-off's pool this is the best of all ways that read no model, and what it gets wrong is not what neurons get wrong
(DECISIONS). Cost: some 10 MB of text a second and core; a quarter of a megabyte for each target and for the frequencies. It does
not know neurons, nor what is not in the wording of its examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from curator.text.gram_counts import gram_counts
from curator.text.ngrams import folded

BITS = 16
MOST_DOCUMENTS = 20_000
_BATCH = 512
_IDF, _WEIGHT = "wording.idf_B", ".wording.weight"


@dataclass(frozen=True, slots=True, eq=False)
class Wording:
    """Inverse document frequencies ``idf_B`` and each target's weights ``weight_TB``, both float32."""

    idf_B: np.ndarray
    weight_TB: np.ndarray

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], targets: Iterable[str]) -> Wording | None:
        """That of a set's arrays, for its targets in their order; None in a set that has none."""
        if _IDF not in arrays:
            return None
        return cls(arrays[_IDF], np.stack([arrays[f"{target}{_WEIGHT}"] for target in targets]))

    def arrays(self, targets: Sequence[str]) -> dict[str, np.ndarray]:
        """Its arrays by the names that a set keeps them under."""
        weights = {f"{target}{_WEIGHT}": self.weight_TB[row] for row, target in enumerate(targets)}
        return {_IDF: self.idf_B, **weights}

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """What the wording of D texts says of each target, (D, T) float64; a text is scored alike in any company."""
        found = np.zeros((len(texts), len(self.weight_TB)))
        weight_BT = self.weight_TB.T.astype(np.float64)
        for start in range(0, len(texts), _BATCH):
            batch = texts[start : start + _BATCH]
            found[start : start + len(batch)] = unit_weights(text_counts(batch), self.idf_B) @ weight_BT
        return found


def is_wording(name: str) -> bool:
    """Whether an array of a set is of the documents' wording, which is the same at any depth and for any model."""
    return name == _IDF or name.endswith(_WEIGHT)


def fit_wording(texts: Sequence[str], positive_TD: np.ndarray, inverse_penalty: float) -> Wording:
    """Frequencies and weights from labelled texts, at most 20,000 of them, evenly chosen; classes are weighed alike."""
    step = -(-len(texts) // MOST_DOCUMENTS) or 1
    counts = text_counts(texts[::step])
    idf_B = inverse_frequencies(counts)
    rows_DB = unit_weights(counts, idf_B)
    weights = [fit_weights(rows_DB, positive_D[::step], inverse_penalty) for positive_D in positive_TD]
    return Wording(idf_B, np.stack(weights).astype(np.float32))


def fit_weights(rows_DB: Any, positive_D: np.ndarray, inverse_penalty: float) -> np.ndarray:
    """Logistic regression's weight of each bucket, (B,) float64."""
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", solver="liblinear", random_state=0)
    return model.fit(rows_DB, positive_D).coef_[0]


def text_counts(texts: Sequence[str]) -> Any:
    """How often each of the wording's buckets occurs in each text, sparse (D, B) float32."""
    return gram_counts(map(folded, texts), BITS)


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

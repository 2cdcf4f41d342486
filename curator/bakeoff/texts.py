"""What the selectors without a model see of the documents: hashed n-grams, made once for all of them.

Words are runs of letters and digits or of other characters, in lower case; they and pairs of neighbours are hashed
(scikit-learn's MurmurHash, the same on every machine). ``counts`` has DSIR's 10,000 buckets, ``weights`` 2^18 with sublinear
counts, inverse document frequencies of the unlabelled pool and unit length; ``grams`` are byte n-grams weighed likewise. Cost:
less than a second for a thousand documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.preprocessing import normalize

from curator.bakeoff.measures import mostly_foreign
from curator.neuronset.wording import inverse_frequencies, text_counts, unit_weights

WORD = r"\w+|[^\w\s]+"
DSIR_BUCKETS = 10_000
BUCKETS = 1 << 18


class TextViews:
    """Views of D texts, each made when first asked for; ``unlabelled`` are the rows that frequencies are learned from."""

    def __init__(self, texts: Sequence[str], unlabelled: np.ndarray) -> None:
        self.texts = list(texts)
        self._unlabelled = unlabelled

    @cached_property
    def counts(self) -> Any:
        """Counts of words and pairs, sparse (D, 10000)."""
        return _hashed(self.texts, DSIR_BUCKETS)

    @cached_property
    def frequencies(self) -> Any:
        """Counts of words and pairs over the length of their vector, sparse (D, 2^18)."""
        return normalize(self._large)

    @cached_property
    def shares(self) -> Any:
        """Counts of words and pairs over their sum, sparse (D, 2^18)."""
        return normalize(self._large, norm="l1")

    @cached_property
    def weights(self) -> Any:
        """TF-IDF of words and pairs, rows of length one, sparse (D, 2^18)."""
        return TfidfTransformer(sublinear_tf=True).fit(self._large[self._unlabelled]).transform(self._large)

    @cached_property
    def grams(self) -> Any:
        """TF-IDF of byte n-grams as the product's ``wording`` has it, sparse (D, 2^16)."""
        counts = text_counts(self.texts)
        return unit_weights(counts, inverse_frequencies(counts[self._unlabelled]))

    @cached_property
    def _large(self) -> Any:
        return _hashed(self.texts, BUCKETS)

    @cached_property
    def length_D(self) -> np.ndarray:
        """Characters of each text."""
        return np.asarray([len(text) for text in self.texts])

    @cached_property
    def foreign_D(self) -> np.ndarray:
        """Which texts have letters outside ASCII, see ``measures.mostly_foreign``."""
        return np.asarray([mostly_foreign(text) for text in self.texts])


def _hashed(texts: Sequence[str], buckets: int) -> Any:
    plain: Any = None  # scikit-learn's stubs know strings alone
    vectorizer = HashingVectorizer(
        n_features=buckets, token_pattern=WORD, ngram_range=(1, 2), alternate_sign=False, norm=plain
    )
    return vectorizer.transform(texts)

"""fastText's classifier, trained on the examples: a mean of learned vectors of words and pairs, and a softmax over two classes.

The model and its training are those of Joulin et al. (arXiv 1607.01759): one document a step, plain gradient descent with a rate
that falls to zero, vectors that start small and an output that starts at zero. Written here, in NumPy, for the one package
for current NumPy (fasttext-numpy2-wheel 0.9.2) now and then ends in a loss that is no number. Words and pairs are hashed into
the buckets of ``texts``. Both classes are drawn alike, whatever their numbers. Cost: about a second a lesson; scoring is one
product of a sparse matrix. It does not know subwords, which the package leaves off for classification too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curator.bakeoff.selectors import Lesson, Named, Score
from curator.bakeoff.texts import BUCKETS, TextViews


@dataclass(frozen=True, slots=True)
class FastText(Named):
    """Log-odds of the target under the classifier."""

    views: TextViews
    dimensions: int = 16
    passes: int = 50
    rate: float = 1.0

    def fit(self, lesson: Lesson) -> Score:
        """Train for ``passes`` times the number of examples, half of the steps on each class."""
        shares = self.views.shares
        weight_B = self._trained(shares[lesson.rows], lesson.labels, np.random.default_rng([lesson.seed, 6]))
        return lambda rows: np.asarray(shares[rows] @ weight_B)

    def _trained(self, shares: object, labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """What each bucket adds to the log-odds, (buckets,) float64; ``shares`` are the examples' rows."""
        documents = [_entries(shares, row) for row in range(len(labels))]
        vector_BH = random.uniform(-1, 1, (BUCKETS, self.dimensions)) / self.dimensions
        output_H = np.zeros(
            self.dimensions
        )  # half the difference of the two classes' outputs, which is all that matters
        of_class = [np.flatnonzero(labels == wanted) for wanted in (False, True)]
        steps = self.passes * len(labels)
        for step in range(steps):
            positive = step % 2
            bucket_W, share_W = documents[random.choice(of_class[positive])]
            hidden_H = share_W @ vector_BH[bucket_W]
            error = self.rate * (1 - step / steps) * (positive - 1 / (1 + np.exp(-2 * (output_H @ hidden_H))))
            change_H = 2 * error * output_H
            output_H += error * hidden_H
            vector_BH[bucket_W] += share_W[:, None] * change_H
        return vector_BH @ output_H


def _entries(shares: object, row: int) -> tuple[np.ndarray, np.ndarray]:
    begin, end = shares.indptr[row : row + 2]  # pyright: ignore[reportAttributeAccessIssue] - a SciPy CSR matrix
    return shares.indices[begin:end], shares.data[begin:end]  # pyright: ignore[reportAttributeAccessIssue]

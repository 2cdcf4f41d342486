"""The one interface of all ways to choose data, and those that need no language model.

A selector is fitted on a lesson: the rows of positive and negative examples, and of the unlabelled pool. What comes back scores
any rows; higher is more on-target. Selectors share the views of the documents, so nothing is read or hashed twice. Sources:
DSIR [arXiv 2302.03169]; random and length-matched random are the floor, the oracle the ceiling.
It does not know the truth, but for the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from curator.bakeoff.tasks import Task
from curator.bakeoff.texts import TextViews
from curator.neuronset.wording import fit_weights

Score = Callable[[np.ndarray], np.ndarray]
"""From rows (R,) to scores (R,) float64."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What a selector may learn from: rows of examples as labelled, rows of the unlabelled pool, a seed."""

    target: str
    positive_P: np.ndarray
    negative_M: np.ndarray
    unlabelled_D: np.ndarray
    seed: int

    @classmethod
    def of(cls, task: Task) -> Lesson:
        """The task without its truth."""
        return cls(task.target, task.positive_P, task.negative_M, task.pool_D, task.seed)

    @property
    def rows(self) -> np.ndarray:
        """All examples, the positive ones first."""
        return np.concatenate([self.positive_P, self.negative_M])

    @property
    def labels(self) -> np.ndarray:
        """Their labels, bool."""
        return np.arange(len(self.positive_P) + len(self.negative_M)) < len(self.positive_P)


class Selector(Protocol):
    """A way to choose. ``kind`` says what it looks at; ``fewest`` and ``most`` examples are what it can be fitted on."""

    @property
    def name(self) -> str:
        """Its row in every table."""
        ...

    @property
    def kind(self) -> str:
        """``bound``, ``text``, ``model`` or ``neurons``."""
        ...

    @property
    def fewest(self) -> int:
        """Positive examples that it needs."""
        ...

    def fit(self, lesson: Lesson) -> Score:
        """Learn, and return what scores rows."""
        ...


@dataclass(frozen=True, slots=True)
class Named:
    """The plain part of a selector."""

    name: str
    kind: str
    fewest: int


@dataclass(frozen=True, slots=True)
class Oracle(Named):
    """Knows every label: the ceiling. ``domain_D`` is the domain of every row."""

    domain_D: np.ndarray

    def fit(self, lesson: Lesson) -> Score:
        """One for the target, zero for the rest."""
        return lambda rows: (self.domain_D[rows] == lesson.target).astype(np.float64)


@dataclass(frozen=True, slots=True)
class RandomChoice(Named):
    """A hash of nothing: the floor."""

    documents: int

    def fit(self, lesson: Lesson) -> Score:
        """The same number for the same row and seed."""
        drawn_D = np.random.default_rng([lesson.seed, 1]).random(self.documents)
        return lambda rows: drawn_D[rows]


@dataclass(frozen=True, slots=True)
class LengthMatched(Named):
    """Random among documents as long as the positive examples: what length alone is worth."""

    length_D: np.ndarray
    _bins: int = 10

    def fit(self, lesson: Lesson) -> Score:
        """The target's share of each tenth of lengths over the pool's, as the odds of an exponential race."""
        edges = np.quantile(self.length_D[lesson.unlabelled_D], np.linspace(0, 1, self._bins + 1)[1:-1])
        tenth_D = np.searchsorted(edges, self.length_D, side="right")
        wanted_B, given_B = (
            (np.bincount(tenth_D[rows], minlength=self._bins) + 0.5) / (len(rows) + 0.5 * self._bins)
            for rows in (lesson.positive_P, lesson.unlabelled_D)
        )
        race_D = np.random.default_rng([lesson.seed, 2]).exponential(size=len(self.length_D))
        return lambda rows: -(race_D / (wanted_B / given_B)[tenth_D])[rows]


@dataclass(frozen=True, slots=True)
class Dsir(Named):
    """Importance resampling on hashed n-grams: log p(target)/p(pool), with Gumbel noise for a draw without replacement.

    ``smoothing`` is added to the target's counts in each bucket, as the authors' package does where examples are few.
    ``top`` takes the highest weights in place of the draw.
    """

    views: TextViews
    smoothing: float = 1.0
    top: bool = False

    def fit(self, lesson: Lesson) -> Score:
        """Weights of all documents' n-grams."""
        counts = self.views.counts
        weights_B = log_ratio(
            np.asarray(counts[lesson.positive_P].sum(axis=0)).ravel(),
            np.asarray(counts[lesson.unlabelled_D].sum(axis=0)).ravel(),
            self.smoothing,
        )
        gumbel_D = np.random.default_rng([lesson.seed, 3]).gumbel(size=counts.shape[0]) * (not self.top)
        return lambda rows: counts[rows] @ weights_B + gumbel_D[rows]


def log_ratio(target_B: np.ndarray, raw_B: np.ndarray, smoothing: float) -> np.ndarray:
    """Log of target over raw probability of each bucket, after adding ``smoothing`` to the target's and one to the raw counts."""
    target_p, raw_p = target_B + smoothing, raw_B + 1.0
    return np.log(target_p / target_p.sum()) - np.log(raw_p / raw_p.sum())


@dataclass(frozen=True, slots=True)
class TfidfNearest(Named):
    """Cosine of a document's TF-IDF with the mean of the positive examples'."""

    views: TextViews

    def fit(self, lesson: Lesson) -> Score:
        """The mean direction of the examples."""
        weights = self.views.weights
        mean_B = np.asarray(weights[lesson.positive_P].mean(axis=0)).ravel()
        return lambda rows: weights[rows] @ mean_B


@dataclass(frozen=True, slots=True)
class NgramLogistic(Named):
    """Logistic regression on hashed words or bytes; ``view`` is which of the texts' views."""

    views: TextViews
    view: Literal["frequencies", "weights", "grams"]
    inverse_penalty: float = 100.0

    def fit(self, lesson: Lesson) -> Score:
        """Both classes weighed alike."""
        features = getattr(self.views, self.view)
        weight_B = fit_weights(features[lesson.rows], lesson.labels, self.inverse_penalty)
        return lambda rows: features[rows] @ weight_B

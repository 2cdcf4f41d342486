"""Selectors that read a language model: its loss, its hidden states, its neurons. Our own are the product's scorers themselves.

``linear``, ``blended``, ``signature`` and ``single`` are ``neuronset.scorers``, fitted on the examples' features of a population
of neurons, standardised over unlabelled documents. ``NAG-style`` [N]: a document's most active neurons of each layer against how
often they are among the most active of the examples (raw), or how much more often than of the background. Cost: the reading,
made once for all; then milliseconds. They do not know how the neurons were found (``populations``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from sklearn.linear_model import LogisticRegression

from curator.bakeoff.reading import Reading
from curator.bakeoff.selectors import Lesson, Named, Score
from curator.bakeoff.texts import TextViews
from curator.neuronset.scorers import (
    Background,
    Linear,
    Standardiser,
    fit_blended,
    fit_linear,
    fit_signature,
    fit_single,
)
from curator.neuronset.wording import fit_weights
from curator.settings import NeuronSetSettings

NAG_NEURONS = 20


class NeuronViews:
    """Standardised views of a reading, each made when first asked for; ``unlabelled`` rows give means and scales."""

    def __init__(self, reading: Reading, unlabelled: np.ndarray) -> None:
        self.reading = reading
        self._unlabelled = unlabelled
        self._z: dict[bytes, np.ndarray] = {}
        self._backgrounds: dict[tuple[bytes, float], Background] = {}

    def z(self, rows: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Features of some neurons for some documents as the product's scorers take them, (R, 3 K)."""
        key = index.tobytes()
        if key not in self._z:
            values_DfK = np.nan_to_num(self.reading.values_DfN[:, :, index])
            self._z[key] = Standardiser.fit(values_DfK[self._unlabelled])(values_DfK)
        return self._z[key][rows]

    def background(self, index: np.ndarray, shrinkage: float) -> Background:
        """The unlabelled documents' covariance over some neurons, made once for each population."""
        key = (index.tobytes(), shrinkage)
        if key not in self._backgrounds:
            self._backgrounds[key] = Background.of(self.z(self._unlabelled, index), shrinkage)
        return self._backgrounds[key]

    @cached_property
    def hidden(self) -> np.ndarray:
        """Mean hidden states, standardised, (D, H)."""
        hidden_DH = np.nan_to_num(self.reading.hidden_DH)
        known = hidden_DH[self._unlabelled]
        return (hidden_DH - known.mean(axis=0)) / np.maximum(known.std(axis=0), 1e-6)

    @cached_property
    def most_active(self) -> np.ndarray:
        """Which neurons are among the 20 of their layer with the highest magnitude of the mean, (D, N) bool."""
        magnitude_DN, layer_N = np.abs(np.nan_to_num(self.reading.values_DfN[:, 0])), self.reading.layer_N
        found_DN = np.zeros(magnitude_DN.shape, bool)
        for layer in np.unique(layer_N):
            units = np.flatnonzero(layer_N == layer)
            top = np.argpartition(-magnitude_DN[:, units], min(NAG_NEURONS, len(units) - 1), axis=1)[:, :NAG_NEURONS]
            np.put_along_axis(found_DN, units[top], True, axis=1)
        return found_DN


def _fitted_linear(views: NeuronViews, index: np.ndarray, lesson: Lesson, settings: NeuronSetSettings) -> Linear:
    background = views.background(index, settings.background_shrinkage)
    return fit_linear(views.z(lesson.rows, index), lesson.labels, settings, background)


@dataclass(frozen=True, slots=True)
class NeuronLinear(Named):
    """The product's ``linear`` on a population of neurons."""

    views: NeuronViews
    index: np.ndarray
    settings: NeuronSetSettings

    def fit(self, lesson: Lesson) -> Score:
        """Fit on the examples."""
        method = _fitted_linear(self.views, self.index, lesson, self.settings)
        return lambda rows: method.score(self.views.z(rows, self.index))


@dataclass(frozen=True, slots=True)
class NeuronBlended(Named):
    """The product's ``blended`` on a population of neurons; the pool's documents give the spreads, as they need no label."""

    views: NeuronViews
    index: np.ndarray
    settings: NeuronSetSettings
    texts: TextViews

    def fit(self, lesson: Lesson) -> Score:
        """Fit both halves on the examples."""
        grams = self.texts.grams
        linear = _fitted_linear(self.views, self.index, lesson, self.settings)
        weight_B = fit_weights(grams[lesson.rows], lesson.labels, self.settings.wording_regularisation)

        def evidence(rows: np.ndarray) -> np.ndarray:
            return np.hstack([self.views.z(rows, self.index), (grams[rows] @ weight_B)[:, None]])

        method = fit_blended(linear, 0, evidence(lesson.unlabelled_D))
        return lambda rows: method.score(evidence(rows))


@dataclass(frozen=True, slots=True)
class NeuronSignature(Named):
    """The product's ``signature`` on a population of neurons."""

    views: NeuronViews
    index: np.ndarray
    settings: NeuronSetSettings

    def fit(self, lesson: Lesson) -> Score:
        """Fit on the examples."""
        method = fit_signature(self.views.z(lesson.rows, self.index), lesson.labels, self.settings)
        return lambda rows: method.score(self.views.z(rows, self.index))


@dataclass(frozen=True, slots=True)
class NeuronSingle(Named):
    """The product's ``single``, chosen among a population by the examples."""

    views: NeuronViews
    index: np.ndarray
    gated: bool

    def fit(self, lesson: Lesson) -> Score:
        """Choose the neuron."""
        z = self.views.z(lesson.rows, self.index)
        method = fit_single(z, lesson.labels, either_direction=self.gated)
        return lambda rows: method.score(self.views.z(rows, self.index))


@dataclass(frozen=True, slots=True)
class ProbeSingle(Named):
    """The mean activation of one neuron for each target, which the probe corpus chose; it takes nothing from the pool."""

    views: NeuronViews
    neuron_of: dict[str, tuple[int, int]]

    def fit(self, lesson: Lesson) -> Score:
        """Nothing to fit."""
        index, direction = self.neuron_of[lesson.target]
        return lambda rows: direction * np.nan_to_num(self.views.reading.values_DfN[rows, 0, index]).astype(np.float64)


@dataclass(frozen=True, slots=True)
class NagProfile(Named):
    """Overlap of a document's most active neurons with the examples' profile; ``subtracted`` takes the background's away."""

    views: NeuronViews
    subtracted: bool

    def fit(self, lesson: Lesson) -> Score:
        """How often each neuron is among the most active."""
        active_DN = self.views.most_active
        weight_N = active_DN[lesson.positive_P].mean(axis=0)
        if self.subtracted:
            weight_N = weight_N - active_DN[lesson.negative_M].mean(axis=0)
        return lambda rows: active_DN[rows] @ weight_N


@dataclass(frozen=True, slots=True)
class HiddenCosine(Named):
    """Cosine of the mean hidden state with the mean of the positive examples'."""

    views: NeuronViews

    def fit(self, lesson: Lesson) -> Score:
        """The mean direction."""
        hidden_DH = self.views.hidden
        mean_H = hidden_DH[lesson.positive_P].mean(axis=0)
        return lambda rows: hidden_DH[rows] @ mean_H / np.maximum(np.linalg.norm(hidden_DH[rows], axis=1), 1e-9)


@dataclass(frozen=True, slots=True)
class HiddenLogistic(Named):
    """Logistic regression on the mean hidden state."""

    views: NeuronViews
    inverse_penalty: float = 0.1

    def fit(self, lesson: Lesson) -> Score:
        """Both classes weighed alike."""
        hidden_DH = self.views.hidden
        model = LogisticRegression(C=self.inverse_penalty, class_weight="balanced", max_iter=2000)
        model.fit(hidden_DH[lesson.rows], lesson.labels)
        return lambda rows: hidden_DH[rows] @ model.coef_[0]


@dataclass(frozen=True, slots=True)
class Perplexity(Named):
    """Low loss under the model itself: it knows no target."""

    views: NeuronViews

    def fit(self, lesson: Lesson) -> Score:
        """Nothing to fit."""
        return lambda rows: -self.views.reading.nats_D[rows]

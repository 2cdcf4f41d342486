"""Four ways to turn what a document's neurons say into one score (SCIENCE section 7), behind one interface.

``single``: the mean activation of one Rosetta neuron [S, section 7]. ``linear``: L2-regularised logistic regression on all
neurons' features. ``blended``: that and the wording of the document (``wording``), each over its spread, in equal parts.
``signature``: a FAISS index of the neurons' signatures in document space (for each neuron the mean standardised vector of its
top documents); a document's vector is the query, and the nearest neurons vote with the share of the domain among their own top
documents. Each also says how much every neuron contributed, so a score can be explained. All work on features standardised over
background documents and clipped at ten deviations. Cost: microseconds a document. They do not know calibration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, get_args

import faiss
import numpy as np
from sklearn.linear_model import LogisticRegression

from curator.atlas.domains import average_precision_N
from curator.neuronset.manifest import MethodName
from curator.settings import NeuronSetSettings

METHODS = get_args(MethodName)
_CLIP = 10.0
_MOST_BACKGROUND = 1_000
_RANK = 1e-9


@dataclass(frozen=True, slots=True)
class Standardiser:
    """Mean and scale of each feature of each neuron over the fit documents; both (3, K) float32."""

    mean_fK: np.ndarray
    scale_fK: np.ndarray

    @classmethod
    def fit(cls, values_DfK: np.ndarray) -> Standardiser:
        """Estimate in float64; a constant feature gets scale 1 and so is always 0."""
        mean = values_DfK.mean(axis=0, dtype=np.float64)
        scale = values_DfK.std(axis=0, dtype=np.float64)
        return cls(mean.astype(np.float32), np.where(scale > 1e-9, scale, 1.0).astype(np.float32))

    def __call__(self, values_DfK: np.ndarray) -> np.ndarray:
        """Standardised features, clipped, flattened to (D, 3 K)."""
        z = np.clip((values_DfK - self.mean_fK) / self.scale_fK, -_CLIP, _CLIP)
        return z.reshape(len(z), self.mean_fK.size)


class Method(Protocol):
    """Scores standardised features ``z`` (D, 3 K); behind them may stand a column for each target's wording (``Blended``)."""

    def score(self, z: np.ndarray) -> np.ndarray:
        """Score of every document, (D,) float64; higher is more on-target."""
        ...

    def contributions(self, z: np.ndarray) -> np.ndarray:
        """How much each neuron raised each score, (D, K)."""
        ...

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """Change of each score for a small change of each column of ``z``: what ``reasons`` divides among tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Single:
    """The mean activation of one neuron of the set, at ``position`` among K, turned by ``direction`` (+1 or -1)."""

    position: int
    neurons: int
    direction: int = 1

    def score(self, z: np.ndarray) -> np.ndarray:
        """The neuron's standardised mean."""
        return self.direction * z[:, self.position].astype(np.float64)

    def contributions(self, z: np.ndarray) -> np.ndarray:
        """All of the score at the one neuron."""
        out = np.zeros((len(z), self.neurons))
        out[:, self.position] = self.score(z)
        return out

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """The direction, at the one neuron's mean."""
        out = np.zeros(z.shape)
        out[:, self.position] = self.direction
        return out


@dataclass(frozen=True, slots=True)
class Linear:
    """Logistic regression: ``weight`` (3 K,) and ``intercept``."""

    weight: np.ndarray
    intercept: float

    def score(self, z: np.ndarray) -> np.ndarray:
        """Log-odds of the target."""
        return z[:, : len(self.weight)].astype(np.float64) @ self.weight + self.intercept

    def contributions(self, z: np.ndarray) -> np.ndarray:
        """Summed log-odds of a neuron's three features."""
        of_neurons = z[:, : len(self.weight)] * self.weight
        return of_neurons.reshape(len(z), 3, len(self.weight) // 3).sum(axis=1)

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """The weights."""
        out = np.zeros(z.shape)
        out[:, : len(self.weight)] = self.weight
        return out


@dataclass(frozen=True, slots=True)
class Blended:
    """``linear`` over its spread, plus the target's wording less its mean over its own; both are of documents without labels.

    The wording stands in column ``column`` of those behind the neurons' features.
    """

    linear: Linear
    column: int
    neuron_spread: float
    wording_mean: float
    wording_spread: float

    def score(self, z: np.ndarray) -> np.ndarray:
        """The sum of the two."""
        return self.linear.score(z) / self.neuron_spread + self.wording(z)

    def wording(self, z: np.ndarray) -> np.ndarray:
        """The wording's part of each score, (D,)."""
        return (z[:, self._place].astype(np.float64) - self.wording_mean) / self.wording_spread

    def contributions(self, z: np.ndarray) -> np.ndarray:
        """The neurons' part of each score, by neuron."""
        return self.linear.contributions(z) / self.neuron_spread

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """The weights, and that of the wording."""
        out = self.linear.gradient(z) / self.neuron_spread
        out[:, self._place] = 1 / self.wording_spread
        return out

    @property
    def spread(self) -> np.ndarray:
        """Its three numbers as a set keeps them."""
        return np.asarray([self.neuron_spread, self.wording_mean, self.wording_spread])

    @property
    def _place(self) -> int:
        return len(self.linear.weight) + self.column


@dataclass(frozen=True, slots=True)
class Signature:
    """Nearest neuron signatures vote: ``signature_Kf`` unit-norm (K, 3 K), ``vote_K`` in [-1, 1], ``neighbours`` voters."""

    signature_Kf: np.ndarray
    vote_K: np.ndarray
    neighbours: int
    index: faiss.Index

    def score(self, z: np.ndarray) -> np.ndarray:
        """Similarity-weighted vote of the nearest neurons."""
        return self.contributions(z).sum(axis=1)

    def contributions(self, z: np.ndarray) -> np.ndarray:
        """Each voter's weighted vote; 0 for neurons that are not among the nearest."""
        weight_Dn, nearest_Dn, _ = self._voters(z)
        out = np.zeros((len(z), len(self.vote_K)))
        np.put_along_axis(out, nearest_Dn, weight_Dn * self.vote_K[nearest_Dn], axis=1)
        return out

    def gradient(self, z: np.ndarray) -> np.ndarray:
        """Through the voters' similarities; who votes is taken as given."""
        out = np.zeros(z.shape)
        z = self._neurons(z)
        weight_Dn, nearest_Dn, total_D1 = self._voters(z)
        vote_Dn = self.vote_K[nearest_Dn]
        score_D1 = (weight_Dn * vote_Dn).sum(axis=1, keepdims=True)
        pull_Dn = np.where(weight_Dn > 0, vote_Dn - score_D1, 0.0) / total_D1
        pulled_Df = np.einsum("dn,dnf->df", pull_Dn, self.signature_Kf[nearest_Dn].astype(np.float64))
        length_D1 = np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12)
        unit_Df = z / length_D1
        out[:, : z.shape[1]] = (pulled_Df - (pulled_Df * unit_Df).sum(axis=1, keepdims=True) * unit_Df) / length_D1
        return out

    def _neurons(self, z: np.ndarray) -> np.ndarray:
        return z[:, : self.signature_Kf.shape[1]]

    def _voters(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of the nearest neurons, their places, both (D, n), and what the weights were divided by, (D, 1)."""
        similarity_Dn, nearest_Dn = self.index.search(
            unit_rows(self._neurons(z)), min(self.neighbours, len(self.vote_K))
        )
        weight_Dn = np.maximum(similarity_Dn, 0).astype(np.float64)
        total_D1 = np.maximum(weight_Dn.sum(axis=1, keepdims=True), 1e-12)
        return weight_Dn / total_D1, nearest_Dn, total_D1


def unit_rows(z: np.ndarray) -> np.ndarray:
    """Rows of length one, float32."""
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    return np.ascontiguousarray(z / np.where(norm > 0, norm, 1), dtype=np.float32)


def build_index(signature_Kf: np.ndarray) -> faiss.Index:
    """A flat inner-product index of the neurons' signatures."""
    index = faiss.IndexFlatIP(signature_Kf.shape[1])
    index.add(np.ascontiguousarray(signature_Kf, dtype=np.float32))
    return index


def fit_single(z: np.ndarray, positive_D: np.ndarray, *, either_direction: bool = False) -> Single:
    """The neuron whose mean has the best average precision on the fit documents.

    With ``either_direction`` (gated models, whose sign is arbitrary) a low mean may point at the target as well: the sign that
    a neuron is read with serves the first of several targets.
    """
    neurons = z.shape[1] // 3
    directions = (1, -1) if either_direction else (1,)
    precision_sK = np.stack([average_precision_N(sign * z[:, :neurons], positive_D) for sign in directions])
    row, position = np.unravel_index(int(precision_sK.argmax()), precision_sK.shape)
    return Single(int(position), neurons, directions[int(row)])


def fit_blended(linear: Linear, column: int, z: np.ndarray) -> Blended:
    """The blend of a fitted ``linear`` with a wording, for documents ``z`` that decide the spreads and need no label."""
    wording_D = z[:, len(linear.weight) + column].astype(np.float64)
    spread, wording_spread = (max(float(values_D.std()), 1e-9) for values_D in (linear.score(z), wording_D))
    return Blended(linear, column, spread, float(wording_D.mean()), wording_spread)


@dataclass(frozen=True, slots=True)
class Background:
    """The covariance of features over background documents, shrunk: ``axis_RF`` with ``variance_R``, all others ``floor``.

    ``size`` gives whitened documents the squared length, in the mean, that they have by number of features.
    """

    axis_RF: np.ndarray
    variance_R: np.ndarray
    floor: float
    size: float

    @classmethod
    def of(cls, known_BF: np.ndarray, shrinkage: float) -> Background:
        """From at most 1,000 of the documents; the floor is ``shrinkage`` times the features' summed variance."""
        known_BF = known_BF[:: -(-len(known_BF) // _MOST_BACKGROUND)].astype(np.float64)
        centred_BF = known_BF - known_BF.mean(axis=0)
        power_B, side_BB = np.linalg.eigh(centred_BF @ centred_BF.T)
        kept = power_B > _RANK * max(power_B[-1], 1e-12)
        axis_RF = (side_BB[:, kept] / np.sqrt(power_B[kept])).T @ centred_BF
        variance_R = power_B[kept] / len(known_BF)
        bare = cls(axis_RF, variance_R, max(shrinkage * float(variance_R.sum()), 1e-9), 1.0)
        mean_square = float((bare.whiten(known_BF) ** 2).sum(axis=1).mean())
        return cls(axis_RF, variance_R, bare.floor, float(np.sqrt(known_BF.shape[1] / max(mean_square, 1e-12))))

    def whiten(self, x_DF: np.ndarray) -> np.ndarray:
        """Each row divided, along every axis, by the root of variance plus floor."""
        stretch_R = (self.variance_R + self.floor) ** -0.5 - self.floor**-0.5
        return self.size * (x_DF * self.floor**-0.5 + (x_DF @ self.axis_RF.T * stretch_R) @ self.axis_RF)


def fit_linear(
    z: np.ndarray, positive_D: np.ndarray, settings: NeuronSetSettings, background: Background | None = None
) -> Linear:
    """Logistic regression with class-balanced weights, so that prevalence is left to the calibration.

    The penalty is on the variance that the weighted sum has over background documents, which need no label; by default over
    ``z`` itself. Directions in which all documents differ are so believed less than those in which few do; with few examples
    this decides (DECISIONS). The regression runs in the span of the D examples, so its cost does not grow with the neurons.
    """
    x = z.astype(np.float64)
    background = background or Background.of(x, settings.background_shrinkage)
    white = background.whiten(x)
    power, axes = np.linalg.eigh(white @ white.T)
    kept = power > _RANK * power[-1]
    axes, root = axes[:, kept], np.sqrt(power[kept])
    model = LogisticRegression(C=settings.regularisation, class_weight="balanced", max_iter=2000)
    model.fit(axes * root, positive_D)
    weight = background.whiten((axes @ (model.coef_[0] / root) @ white)[None])[0]
    return Linear(weight, float(np.ravel(model.intercept_)[0]))


def fit_signature(z: np.ndarray, positive_D: np.ndarray, settings: NeuronSetSettings) -> Signature:
    """Each neuron's signature is the mean vector of the documents where its mean feature is highest."""
    order, signatures = neuron_signatures(z, settings)
    return Signature(signatures, votes(positive_D, order), settings.signature_neighbours, build_index(signatures))


def votes(positive_D: np.ndarray, top_nK: np.ndarray) -> np.ndarray:
    """Vote of each neuron in [-1, 1]: how far the target's share of its top documents is from the share of all. (K,).

    ``positive_D`` are labels or probabilities of the target, with both classes present.
    """
    prior = positive_D.mean()
    share_K = positive_D[top_nK].mean(axis=0)
    return np.where(share_K >= prior, (share_K - prior) / (1 - prior), (share_K - prior) / prior)


def follow_single(z: np.ndarray, expected_D: np.ndarray, *, either_direction: bool = False) -> Single:
    """The neuron whose mean correlates most with probabilities of the target that another scorer gives; see ``fit_single``."""
    neurons = z.shape[1] // 3
    centred_DK = z[:, :neurons] - z[:, :neurons].mean(axis=0, dtype=np.float64)
    scale_K = np.sqrt((centred_DK**2).sum(axis=0))
    rho_K = (expected_D - expected_D.mean()) @ centred_DK / np.where(scale_K > 0, scale_K, np.inf)
    position = int(np.argmax(np.abs(rho_K) if either_direction else rho_K))
    return Single(position, neurons, -1 if either_direction and rho_K[position] < 0 else 1)


def follow_linear(prior: Linear, z: np.ndarray, scores_D: np.ndarray, shrinkage: float) -> Linear:
    """The weights nearest to ``prior`` that give another scorer's scores: ridge regression of what the prior leaves over.

    Minimises |scores - z w - b|^2 + shrinkage |w - prior.weight|^2, in float64; the intercept is free.
    """
    x = z.astype(np.float64)
    left = scores_D - x @ prior.weight
    mean, left_mean = x.mean(axis=0), left.mean()
    x -= mean
    change = np.linalg.solve(x.T @ x + shrinkage * np.eye(x.shape[1]), x.T @ (left - left_mean))
    return Linear(prior.weight + change, float(left_mean - mean @ change))


def neuron_signatures(z: np.ndarray, settings: NeuronSetSettings) -> tuple[np.ndarray, np.ndarray]:
    """Each neuron's top documents, (top, K) rows of ``z``, and its signature, (K, 3 K) float32; no label is needed."""
    neurons = z.shape[1] // 3
    top = min(settings.signature_top_documents, max(2, len(z) // 4))
    order = np.argsort(-z[:, :neurons], axis=0, kind="stable")[:top]
    return order, unit_rows(np.stack([z[order[:, neuron]].mean(axis=0) for neuron in range(neurons)]))

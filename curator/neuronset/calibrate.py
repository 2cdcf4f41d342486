"""From a raw score to a probability, and from a wish (precision, recall) to a threshold, on documents kept out of the fit.

Isotonic regression where there are enough documents of both classes, Platt's logistic fit of one variable otherwise; both are
scikit-learn's. Probabilities hold for the mixture of the validation documents, not for a pool of another prevalence.
Cost: negligible. It does not know which scorer made the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

_ISOTONIC_FROM = 200
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Calibration:
    """A non-decreasing map from score to probability: straight lines between ``score`` and ``probability`` points, (P,) each."""

    kind: str
    score: np.ndarray
    probability: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probability of every score; NaN stays NaN."""
        return np.interp(scores, self.score, self.probability)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a threshold on the probability keeps of documents that were used for nothing else."""

    threshold: float
    kept_share: float
    precision: float
    recall: float


def fit_calibration(scores: np.ndarray, positive: np.ndarray) -> Calibration:
    """Isotonic from 200 documents of each class on, Platt below."""
    if min(int(positive.sum()), int((~positive).sum())) >= _ISOTONIC_FROM:
        fitted = IsotonicRegression(y_min=_FLOOR, y_max=1 - _FLOOR, out_of_bounds="clip").fit(scores, positive)
        return Calibration("isotonic", fitted.X_thresholds_, fitted.y_thresholds_)
    center, scale = float(np.median(scores)), float(np.std(scores)) or 1.0
    model = LogisticRegression(C=10.0).fit(((scores - center) / scale)[:, None], positive)
    slope, offset = max(0.0, float(model.coef_[0, 0])), float(model.intercept_[0])
    grid = np.linspace(-12, 12, 97)
    probability = np.clip(expit(slope * grid + offset), _FLOOR, 1 - _FLOOR)
    return Calibration("platt", center + scale * grid, probability)


def carried_calibration(calibration: Calibration, own: np.ndarray, theirs: np.ndarray) -> Calibration:
    """The calibration of another scorer's scores, made one of our own scores of the same documents; no label is needed.

    The other scorer's probabilities of the documents, ``calibration(theirs)``, are averaged over documents of like ``own``
    score by isotonic regression: where the other scorer's probabilities are true, so are these.
    """
    expected = calibration(theirs)
    fitted = IsotonicRegression(y_min=_FLOOR, y_max=1 - _FLOOR, out_of_bounds="clip").fit(own, expected)
    return Calibration(f"{calibration.kind}, carried", fitted.X_thresholds_, fitted.y_thresholds_)


def operating_points(probability: np.ndarray, positive: np.ndarray) -> list[OperatingPoint]:
    """Precision, recall and kept share at round thresholds; a threshold that keeps nothing has precision 1 by convention."""
    points = []
    for threshold in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99):
        kept = probability >= threshold
        hits = int((kept & positive).sum())
        points.append(
            OperatingPoint(
                threshold=threshold,
                kept_share=float(kept.mean()),
                precision=hits / int(kept.sum()) if kept.any() else 1.0,
                recall=hits / max(1, int(positive.sum())),
            )
        )
    return points


def reliability(probability: np.ndarray, positive: np.ndarray, bins: int = 10) -> list[dict[str, float]]:
    """Mean predicted and observed frequency in equal-width bins that hold documents."""
    where = np.clip((probability * bins).astype(int), 0, bins - 1)
    return [
        {
            "predicted": float(probability[where == index].mean()),
            "observed": float(positive[where == index].mean()),
            "count": int((where == index).sum()),
        }
        for index in range(bins)
        if (where == index).any()
    ]

"""From a raw score to a probability, and from a wish (precision, recall) to a threshold, on documents kept out of the fit.

Isotonic regression where there are enough documents of both classes, Platt's logistic fit of one variable otherwise, unless one
of the two is asked for; both are scikit-learn's. Probabilities hold for the mixture of the validation documents, not for a pool
of another prevalence. Cost: negligible. It does not know which scorer made the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from curator.settings import CalibrationKind

_ISOTONIC_FROM = 200
_FLOOR = 1e-4
_MOST_LOG_ODDS = float(np.log((1 - _FLOOR) / _FLOOR))
_PLATT_POINTS = 257  # even in log-odds: between them the curve is off by 0.0001 at most, whatever its slope
_LOOSE = 1e6
_FLAT = 1e-3


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


def fit_calibration(scores: np.ndarray, positive: np.ndarray, kind: CalibrationKind = "auto") -> Calibration:
    """By isotonic regression, or Platt's fit; ``auto`` is isotonic from 200 documents of each class on, Platt below."""
    enough = min(int(positive.sum()), int((~positive).sum())) >= _ISOTONIC_FROM
    if kind == "isotonic" or (kind == "auto" and enough):
        fitted = IsotonicRegression(y_min=_FLOOR, y_max=1 - _FLOOR, out_of_bounds="clip").fit(scores, positive)
        return Calibration("isotonic", fitted.X_thresholds_, fitted.y_thresholds_)
    slope, offset = _platt(scores, positive)
    if slope <= _FLAT / (
        float(np.std(scores)) or 1.0
    ):  # the scores say nothing, or the wrong thing: the share of the target
        share = float((positive.sum() + 1) / (len(positive) + 2))
        return Calibration("platt", np.asarray([scores.min(), scores.max()]), np.full(2, share))
    log_odds = np.linspace(-_MOST_LOG_ODDS, _MOST_LOG_ODDS, _PLATT_POINTS)
    return Calibration("platt", (log_odds - offset) / slope, expit(log_odds))


def _platt(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Slope and offset of log-odds in the score, by maximum likelihood with Platt's smoothed targets.

    A document of P on target counts as on target (P + 1)/(P + 2) times, so a score that parts all documents gets no endless
    slope [Platt, "Probabilistic outputs for support vector machines", 1999].
    """
    inside, outside = int(positive.sum()), int((~positive).sum())
    wanted = np.where(positive, (inside + 1) / (inside + 2), 1 / (outside + 2))
    center, scale = float(np.median(scores)), float(np.std(scores)) or 1.0
    x = np.tile(((scores - center) / scale)[:, None], (2, 1))
    label = np.repeat([1, 0], len(scores))
    model = LogisticRegression(C=_LOOSE, max_iter=2000).fit(
        x, label, sample_weight=np.concatenate([wanted, 1 - wanted])
    )
    slope = float(model.coef_[0, 0]) / scale
    return slope, float(np.ravel(model.intercept_)[0]) - slope * center


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

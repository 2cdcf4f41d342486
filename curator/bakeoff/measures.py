"""How good a ranking of a pool is, and what its choice looks like; pure functions of scores, truth and texts' counts.

At the oracle's budget, as many documents as there are of the target, precision and recall are one number. Ties go by the
documents' order, as in filtering. The reduction of KL divergence is DSIR's [arXiv 2302.03169, section 5]: how much nearer the
choice's distribution of hashed n-grams is to the target's than a random choice's is. Cost: a sort.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

_SMOOTHING = 0.5


def chosen(scores_D: np.ndarray, budget: int) -> np.ndarray:
    """Places of the ``budget`` highest scores, the highest first; ties in order, NaN last."""
    return np.argsort(-np.where(np.isnan(scores_D), -np.inf, scores_D), kind="stable")[:budget]


def precision_at_budget(scores_D: np.ndarray, truth_D: np.ndarray) -> float:
    """Share of the target among as many of the best as it has documents: precision and recall at once."""
    return float(truth_D[chosen(scores_D, int(truth_D.sum()))].mean())


def average_precision(scores_D: np.ndarray, truth_D: np.ndarray) -> float:
    """Average precision of the ranking; NaN ranks last."""
    finite_D = np.isfinite(scores_D)
    lowest = scores_D[finite_D].min() - 1 if finite_D.any() else 0.0
    return float(average_precision_score(truth_D, np.where(finite_D, scores_D, lowest)))


def kl_divergence(counts_B: np.ndarray, other_B: np.ndarray) -> float:
    """KL divergence in nats of two distributions over buckets, from counts with half a count added to every bucket."""
    p_B, q_B = ((side + _SMOOTHING) / (side + _SMOOTHING).sum() for side in (counts_B, other_B))
    return float(np.sum(p_B * np.log(p_B / q_B)))


def kl_reduction(target_B: np.ndarray, chosen_B: np.ndarray, random_B: np.ndarray) -> float:
    """How much nearer to the target's n-grams the choice is than a random choice; in nats, above zero is nearer."""
    return kl_divergence(target_B, random_B) - kl_divergence(target_B, chosen_B)


def total_counts(counts: Any, rows: np.ndarray) -> np.ndarray:
    """Summed n-gram counts of some rows of a sparse matrix, (buckets,) float64."""
    return np.asarray(counts[rows].sum(axis=0), dtype=np.float64).ravel()


def jaccard(first: np.ndarray, second: np.ndarray) -> float:
    """Documents in both choices over documents in either."""
    one, other = set(first.tolist()), set(second.tolist())
    return len(one & other) / len(one | other) if one | other else 1.0


@dataclass(frozen=True, slots=True)
class Shift:
    """What is different about a choice: mean length and number of sources over the target's, share not in plain English letters.

    Sources are counted as if all were equally large (the inverse Simpson index).
    """

    length: float
    sources: float
    not_ascii: float


def shift(
    length_D: np.ndarray, foreign_D: np.ndarray, sources: Sequence[str], picked: np.ndarray, target: np.ndarray
) -> Shift:
    """The shift of the picked rows against the target's rows; lengths in characters, ``foreign_D`` as ``mostly_foreign``."""
    effective = [_effective_number([sources[int(row)] for row in rows]) for rows in (picked, target)]
    return Shift(
        float(length_D[picked].mean() / length_D[target].mean()),
        effective[0] / effective[1],
        float(foreign_D[picked].mean()),
    )


def mostly_foreign(text: str) -> bool:
    """Whether more than one letter in a hundred lies outside ASCII: a sign of another language that needs no model."""
    letters = [character for character in text if character.isalpha()]
    return sum(not character.isascii() for character in letters) > 0.01 * max(1, len(letters))


def _effective_number(labels: Sequence[str]) -> float:
    counts = np.asarray(list(Counter(labels).values()), dtype=np.float64)
    return float(counts.sum() ** 2 / (counts**2).sum())

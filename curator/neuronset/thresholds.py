"""From a wanted precision or recall to a threshold on the probability, with a lower bound from documents that decided nothing.

A neuron set keeps the scores and labels of its report documents. Bounds are Clopper and Pearson's, one-sided.

    precision  The documents kept at a threshold are so many draws of on-target or not. Thresholds are tried from strict to
               loose for as long as each one's lower bound reaches what is wanted (fixed-sequence testing, as in Learn then
               Test, arXiv 2110.01052). A chain that begins with one unlucky document would end at once, so there is one for
               each halving of the number kept, and each has its part of the error: with confidence c and S chains a bound
               holds at level (1 - c)/S. Which thresholds are tried in which order depends on scores alone, never on labels.
    recall     Recall only falls as the threshold rises, so the one chain from loose to strict needs no correction.

Precision belongs to a mixture: that of the report documents. ``prevalence`` asks for a pool with another share of the target;
precision p then stands for p' with odds(p') = odds(p) * odds(prevalence)/odds(share), which supposes that pool documents of
either class score as report documents of that class do. Documents of one source are alike, and the bounds count them as
independent. Cost: microseconds. It does not know pools; where theirs differ in more than prevalence, label some of the pool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv

from curator.errors import ConfigError, InsufficientDataError

_MOST_NEEDED = 1 << 30


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold on the probability and what is known of it.

    ``estimate`` and ``lower_bound`` are of precision or recall, as ``wanted`` says, the bound with ``confidence``;
    ``documents`` is how many held-out documents it rests on (those kept for precision, those of the target for recall).
    """

    threshold: float
    wanted: Literal["precision", "recall"]
    estimate: float
    lower_bound: float
    confidence: float
    documents: int
    sentence: str


class CertifiedRecall(NamedTuple):
    """A threshold, how many documents of the target reach it, and the lower bound of its recall."""

    threshold: float
    kept: int
    bound: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Probabilities of R held-out documents, falling, and whether each is on target: (R,) float64 and bool."""

    probability_R: np.ndarray
    positive_R: np.ndarray

    @classmethod
    def of(cls, probability_D: np.ndarray, positive_D: np.ndarray) -> HeldOut:
        """From documents in any order; among equal probabilities order has no meaning."""
        order = np.argsort(-probability_D, kind="stable")
        return cls(probability_D[order], positive_D[order].astype(bool))

    @property
    def share(self) -> float:
        """Share of the target."""
        return float(self.positive_R.mean()) if len(self.positive_R) else 0.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a threshold keeps of the R held-out documents: documents, those of them on target, and tokens."""

    threshold: float
    documents: int
    on_target: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Reported:
    """R held-out documents from the highest score down, each array (R,): score, probability, whether on target.

    ``document_R`` are their places in the probe corpus, ``tokens_R`` their scored tokens.
    """

    score_R: np.ndarray
    probability_R: np.ndarray
    positive_R: np.ndarray
    document_R: np.ndarray
    tokens_R: np.ndarray

    def kept(self, threshold: float) -> Kept:
        """What a threshold on the probability keeps."""
        chosen_R = self.probability_R >= threshold
        return Kept(
            threshold,
            int(chosen_R.sum()),
            int((chosen_R & self.positive_R).sum()),
            int(self.tokens_R[chosen_R].sum()),
        )


def threshold_for_precision(
    held_out: HeldOut, wanted: float, *, target: str, confidence: float = 0.95, prevalence: float | None = None
) -> Chosen:
    """The lowest threshold whose precision is certified to be at least ``wanted``; the module says how.

    Raises ConfigError for numbers outside (0, 1), InsufficientDataError when no threshold can be certified.
    """
    _check(wanted=wanted, confidence=confidence, **({} if prevalence is None else {"prevalence": prevalence}))
    _require_both(held_out, target)
    share = held_out.share
    mixture = share if prevalence is None else prevalence
    own_wanted = shifted(wanted, mixture, share)
    ends_C = _tie_ends(held_out.probability_R)
    starts = _chain_starts(ends_C, fewest(own_wanted, confidence))
    error = (1 - confidence) / len(starts)
    hits_C = np.cumsum(held_out.positive_R)[ends_C - 1]
    bound_C = lower_bound(hits_C, ends_C, error)
    found = _furthest(bound_C >= own_wanted, starts)
    if found is None:
        raise InsufficientDataError(_cannot_certify(hits_C, ends_C, own_wanted, wanted, error, target))
    kept, hits = int(ends_C[found]), int(hits_C[found])
    estimate, bound = (float(shifted(value, share, mixture)) for value in (hits / kept, float(bound_C[found])))
    threshold = float(held_out.probability_R[kept - 1])
    sentence = (
        f"The threshold {threshold:.4g} keeps {kept:,} of {len(held_out.positive_R):,} held-out documents, {hits:,} of them of "
        f"{target!r}: precision {estimate:.3f}, at least {bound:.3f} with {confidence:.0%} confidence, for text of which "
        f"{mixture:.1%} is {target!r}."
    )
    return Chosen(threshold, "precision", estimate, bound, confidence, kept, sentence)


def threshold_for_recall(held_out: HeldOut, wanted: float, *, target: str, confidence: float = 0.95) -> Chosen:
    """The highest threshold whose recall is certified to be at least ``wanted``.

    Raises ConfigError for numbers outside (0, 1), InsufficientDataError when there are too few documents of the target.
    """
    _check(wanted=wanted, confidence=confidence)
    _require_both(held_out, target)
    of_target = held_out.probability_R[held_out.positive_R]
    count = len(of_target)
    found = certified_recall(of_target, wanted, confidence)
    if found is None:
        needed = fewest(wanted, confidence)
        raise InsufficientDataError(
            f"Recall {wanted} of {target!r} cannot be certified with {confidence:.0%} confidence on {count} held-out documents "
            f"of it; it takes {needed} at least: give the probe corpus more text, or ask for less."
        )
    threshold, kept, bound = found
    estimate = kept / count
    sentence = (
        f"The threshold {threshold:.4g} keeps {kept:,} of {count:,} held-out documents of {target!r}: recall {estimate:.3f}, at "
        f"least {bound:.3f} with {confidence:.0%} confidence."
    )
    return Chosen(threshold, "recall", estimate, bound, confidence, count, sentence)


def certified_recall(score_K: np.ndarray, wanted: float, confidence: float) -> CertifiedRecall | None:
    """The highest threshold whose recall is certified, from the falling scores of K documents of the target.

    None when K documents are too few for what is wanted; ``fewest`` says how many it takes.
    """
    count = len(score_K)
    bound_K = lower_bound(np.arange(1, count + 1), np.full(count, count), 1 - confidence)
    enough = np.flatnonzero(bound_K >= wanted)
    if not len(enough):
        return None
    threshold = float(score_K[enough[0]])
    kept = int((score_K >= threshold).sum())
    return CertifiedRecall(threshold, kept, float(bound_K[kept - 1]))


def lower_bound(hits: ArrayLike, trials: ArrayLike, error: float) -> np.ndarray:
    """Clopper and Pearson's one-sided lower bound of a share, at level 1 - ``error``; 0 without a hit."""
    safe = np.maximum(hits, 1)
    return np.where(np.asarray(hits) > 0, betaincinv(safe, np.asarray(trials) - safe + 1, error), 0.0)


def shifted(precision: float, share: float, prevalence: float) -> float:
    """Precision (or a probability) in a mixture with ``share`` of the target, as it is in one with ``prevalence`` of it."""
    for_target = precision * prevalence / share
    against = (1 - precision) * (1 - prevalence) / (1 - share)
    return for_target / (for_target + against)


def _tie_ends(probability_R: np.ndarray) -> np.ndarray:
    """Numbers of documents that a threshold can keep: the end of every run of equal probabilities, ascending."""
    return np.flatnonzero(np.append(np.diff(probability_R) != 0, True)) + 1


def fewest(wanted: float, confidence: float) -> int:
    """Fewest trials that certify a share: all of them hits."""
    return math.ceil(math.log(1 - confidence) / math.log(wanted))


def _chain_starts(ends_C: np.ndarray, at_least: int) -> np.ndarray:
    """Places among the possible thresholds where a chain begins: 1, 1/2, 1/4, ... of all kept, down to what can be certified."""
    documents = int(ends_C[-1])
    halvings = max(0, math.floor(math.log2(documents / at_least)))
    wanted = documents / 2.0 ** np.arange(halvings + 1)
    return np.unique(np.minimum(np.searchsorted(ends_C, wanted), len(ends_C) - 1))


def _furthest(passes_C: np.ndarray, starts: np.ndarray) -> int | None:
    """The last place that a chain reaches without a failure on its way; None when every chain fails at its start."""
    failures = np.append(np.flatnonzero(~passes_C), len(passes_C))
    reached = [int(failures[np.searchsorted(failures, start)]) - 1 for start in starts if passes_C[start]]
    return max(reached, default=None)


def _cannot_certify(
    hits: np.ndarray, kept: np.ndarray, own_wanted: float, wanted: float, error: float, target: str
) -> str:
    best = int(np.argmax(lower_bound(hits, kept, error)))
    share = float(hits[best] / kept[best])
    begin = f"Precision {wanted} for {target!r} cannot be certified on the held-out documents"
    if share <= own_wanted:
        return f"{begin}: no threshold reaches it, the best keeps {int(kept[best])} with {int(hits[best])} right; ask for less."
    needed = int(kept[best])
    while needed < _MOST_NEEDED and float(lower_bound(np.floor(share * needed), needed, error)) < own_wanted:
        needed = math.ceil(needed * 1.1) + 1
    return (
        f"{begin}: the best threshold keeps {int(kept[best])} with {int(hits[best])} right, and at that rate it takes about "
        f"{needed:,} kept; give the probe corpus more text, or ask for less."
    )


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < 1:
            raise ConfigError(f"The {name} is {value}; it must lie between 0 and 1.")


def _require_both(held_out: HeldOut, target: str) -> None:
    positives = int(held_out.positive_R.sum())
    if not 0 < positives < len(held_out.positive_R):
        raise InsufficientDataError(
            f"The neuron set holds {len(held_out.positive_R)} held-out documents, {positives} of them of {target!r}, and both "
            "kinds are needed to choose a threshold; make the set on a probe corpus that has the domain and others."
        )

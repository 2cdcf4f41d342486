"""Which documents to keep: by threshold, by fraction of the documents, or by a budget of tokens.

A threshold decides each document alone, so one pass over a stream is enough. A fraction and a token budget are exact over
the whole corpus: they need every score first, then ``select`` ranks them (highest first) and keeps a prefix of the ranking.
A document with a higher score is therefore never dropped while one with a lower score is kept.

    threshold      keep score >= threshold
    keep_fraction  keep round-half-up(fraction x n) of the n documents that have a finite score
    token_budget   walk down the ranking and stop before the first document that would take the total over the budget;
                   smaller documents further down are not tried, which would trade quality for a fuller budget

Equal scores are ranked by the tie-breaker where one is given (the raw value behind a calibrated probability, which has
plateaus), then by their order in the corpus; the choice is the same on every machine. Cost: one sort, O(n log n), and 8 bytes
per document for the ranking. It does not know duplicates, domains or labels: several targets, wanted precision and
sampling near the threshold are not here yet. NumPy is loaded by ``select`` alone, so that thresholds work without it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curator.errors import ConfigError
from curator.records import Score

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ScoreField = Literal["probability", "value"]


class Policy(BaseModel):
    """The rule that separates kept from rejected; exactly one of threshold, keep_fraction and token_budget is set.

    Raises ConfigError when none or several of them are set or a number is out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(default=None, description="Keep documents whose score is at least this.")
    keep_fraction: float | None = Field(
        default=None, description="Keep this fraction of the scored documents, in (0, 1]."
    )
    token_budget: int | None = Field(default=None, description="Keep the best documents within this many tokens.")
    field: ScoreField = Field(default="probability", description="Which number of a score is ranked or compared.")

    @model_validator(mode="after")
    def _check(self) -> Policy:
        chosen = [limit for limit in (self.threshold, self.keep_fraction, self.token_budget) if limit is not None]
        if len(chosen) != 1:
            raise ConfigError(
                f"A policy needs exactly one of threshold, keep_fraction and token_budget, and {len(chosen)} were set; "
                "choose one."
            )
        if self.threshold is not None:
            _check_threshold(self.threshold, self.field)
        if self.keep_fraction is not None and not 0.0 < self.keep_fraction <= 1.0:
            raise ConfigError(f"keep_fraction is {self.keep_fraction}; it must be above 0 and at most 1.")
        if self.token_budget is not None and self.token_budget < 1:
            raise ConfigError(f"token_budget is {self.token_budget}; it must be at least 1.")
        return self

    @property
    def needs_all_scores(self) -> bool:
        """Whether no document can be decided before the last one is scored."""
        return self.threshold is None

    def score_of(self, score: Score) -> float:
        """The number of a score that this policy looks at."""
        return score.probability if self.field == "probability" else score.value

    def passes(self, score: Score) -> bool:
        """Whether a score reaches the threshold; NaN never does. Raises ConfigError for a policy without a threshold."""
        if self.threshold is None:
            raise ConfigError(
                "Only a threshold decides documents one by one; use select for fractions and token budgets."
            )
        return self.score_of(score) >= self.threshold


def select(
    scores_D: NDArray[np.float64],
    tokens_D: NDArray[np.int64],
    policy: Policy,
    *,
    tie_break_D: NDArray[np.float64] | None = None,
) -> NDArray[np.bool_]:
    """Mask of the D documents to keep, exact over all of them.

    Args:
        scores_D: one score per document, in corpus order; documents whose score is not finite are never kept and do not
            count towards the fraction.
        tokens_D: number of tokens of each document, not negative.
        policy: the rule; thresholds are allowed too and give the streaming decision.
        tie_break_D: ranks documents of equal score, higher first; order in the corpus decides what is still equal.

    Raises:
        ConfigError: the arrays differ in length or a token count is negative.
    """
    import numpy as np

    if scores_D.shape != tokens_D.shape or scores_D.ndim != 1:
        raise ConfigError(f"Scores {scores_D.shape} and tokens {tokens_D.shape} must be two vectors of one length.")
    if tokens_D.size and int(tokens_D.min()) < 0:
        raise ConfigError("A document has a negative number of tokens; count them again.")
    finite_D = np.isfinite(scores_D)
    if policy.threshold is not None:
        return finite_D & (scores_D >= policy.threshold)
    ranked_F = _ranked(scores_D, np.flatnonzero(finite_D), tie_break_D)
    if policy.token_budget is not None:
        # Token counts are not negative, so the running total never falls and what fits is a prefix of the ranking.
        kept = int(np.count_nonzero(np.cumsum(tokens_D[ranked_F], dtype=np.int64) <= policy.token_budget))
    else:
        kept = fraction_count(policy.keep_fraction or 0.0, int(ranked_F.size))
    mask_D = np.zeros(scores_D.shape, dtype=np.bool_)
    mask_D[ranked_F[:kept]] = True
    return mask_D


def fraction_count(fraction: float, documents: int) -> int:
    """How many of ``documents`` a fraction keeps: the nearest whole number, halves up.

    To nearest, because k/n as a float may lie on either side of the true ratio: ``fraction_count(k / n, n) == k`` always.
    """
    return math.floor(Fraction(fraction) * documents + Fraction(1, 2))


def _ranked(
    scores_D: NDArray[np.float64], finite_F: NDArray[np.int64], tie_break_D: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """The F documents of finite score, best first; the sort is stable, so order in the corpus breaks the last ties."""
    import numpy as np

    keys = [-scores_D[finite_F]] if tie_break_D is None else [-tie_break_D[finite_F], -scores_D[finite_F]]
    return finite_F[np.lexsort(keys)]


def _check_threshold(threshold: float, field: ScoreField) -> None:
    if not math.isfinite(threshold):
        raise ConfigError(f"threshold is {threshold}; it must be a finite number.")
    if field == "probability" and not 0.0 <= threshold <= 1.0:
        raise ConfigError(f"threshold is {threshold}; a probability lies in [0, 1], or set field to 'value'.")

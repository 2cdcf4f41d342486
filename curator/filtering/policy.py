"""Which documents to keep: by threshold, fraction or token budget, for one target domain or for several at once.

    threshold      keep score >= threshold
    keep_fraction  keep round-half-up(fraction x n) of the n documents that are left to choose from
    token_budget   walk down the ranking and stop before the first document that would take the total over the budget;
                   smaller documents further down are not tried, which would trade quality for a fuller budget
    targets        several domains, each with its own limit, or mixing weights that share one token budget; a document
                   counts for one target only (how they share is said in ``assign``)

A policy is a value: it reads no scores. ``select`` applies it to all score files of a job, exactly and in one sort. Equal
scores are ranked by the raw value behind a calibrated probability, which has plateaus, then by their order in the corpus; the
choice is the same on every machine. Before limits are applied, what is contaminated and what is a duplicate has gone.

``soft_width`` w samples near the cut: a document of score s is kept with a probability that rises linearly from 0 at
threshold - w/2 to 1 at threshold + w/2. The draw is a hash of (seed, document id), so it depends on neither the order of the
corpus nor on how it was cut. It is done by moving each score by w * (1/2 - u), u uniform on [0, 1), and comparing the moved
score, so the same sentence holds for fractions and budgets, around the cut that they find.

Wanted precision or recall is turned into a threshold where calibration is known (``NeuronSet.threshold_for``); ``wanted``
records the wish. NumPy is loaded by soft thresholds alone, so that plain ones work in the light installation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curator.errors import ConfigError
from curator.mistakes import require_known
from curator.records import Score

ScoreField = Literal["probability", "value"]
WindowRule = Literal["document_mean", "document_max", "window"]


class TargetLimit(NamedTuple):
    """What one target may take, with budgets resolved: everything that is not None holds at once."""

    name: str
    threshold: float | None = None
    keep_fraction: float | None = None
    token_budget: int | None = None

    @property
    def decides_alone(self) -> bool:
        """Whether a document can be decided without the others: a threshold is all there is."""
        return self.keep_fraction is None and self.token_budget is None


class TargetShare(BaseModel):
    """One of several target domains: what it may take.

    Either ``weight``, a share in the policy's token budget, or a limit of its own; ``threshold`` may stand beside any of them
    as a floor. Raises ConfigError when a number is out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="The target domain, as the neuron set names it.")
    weight: float | None = Field(
        default=None, description="Share in the policy's token budget, relative to the others."
    )
    threshold: float | None = Field(default=None, description="Keep only documents of at least this probability.")
    keep_fraction: float | None = Field(default=None, description="Keep at most this fraction of the documents.")
    token_budget: int | None = Field(default=None, description="Keep the best documents within this many tokens.")

    @model_validator(mode="before")
    @classmethod
    def _knows_all_keys(cls, value: object) -> object:
        require_known(value, cls, "A target of a policy")
        return value

    @model_validator(mode="after")
    def _check(self) -> TargetShare:
        where = f"of target {self.name!r} "
        _check_limits(self.threshold, self.keep_fraction, self.token_budget, "probability", where)
        if self.weight is not None and not (math.isfinite(self.weight) and self.weight > 0):
            raise ConfigError(f"weight of target {self.name!r} is {self.weight}; it must be a number above 0.")
        if self.keep_fraction is not None and self.token_budget is not None:
            raise ConfigError(f"Target {self.name!r} has keep_fraction and token_budget; choose one.")
        return self

    @property
    def has_own_limit(self) -> bool:
        """Whether anything but a weight limits this target."""
        return not (self.threshold is None and self.keep_fraction is None and self.token_budget is None)


class Policy(BaseModel):
    """The rule that separates kept from rejected; exactly one of threshold, keep_fraction, token_budget, or targets.

    With ``targets``, either every target has a weight and ``token_budget`` is what they share, or every target has limits of
    its own and the policy has none. Raises ConfigError when the settings contradict each other or a number is out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float | None = Field(default=None, description="Keep documents whose score is at least this.")
    keep_fraction: float | None = Field(
        default=None, description="Keep this fraction of the scored documents, in (0, 1]."
    )
    token_budget: int | None = Field(default=None, description="Keep the best documents within this many tokens.")
    field: ScoreField = Field(default="probability", description="Which number of a score is ranked or compared.")
    target: str = Field(
        default="", description="The target domain to filter for; empty where the scores have only one."
    )
    targets: tuple[TargetShare, ...] = Field(default=(), description="Several target domains and what each may take.")
    soft_width: float = Field(
        default=0.0,
        description="Width of the zone around the cut in which documents are sampled, in the field's units.",
    )
    seed: int = Field(default=0, ge=0, lt=1 << 64, description="Seed of the sampling in that zone.")
    windows: WindowRule = Field(
        default="document_mean",
        description="Long documents scored by windows: decide the document by the token-weighted mean or by the maximum of "
        "its windows, or decide each window on its own.",
    )
    drop_duplicates: bool = Field(
        default=False, description="Of documents with the same text keep the best, before any limit is applied."
    )
    near_duplicates: float | None = Field(
        default=None, description="Of documents whose estimated Jaccard similarity reaches this, keep the best."
    )
    drop_contaminated: bool = Field(
        default=True, description="Reject documents that the scoring run marked as sharing text with evaluation files."
    )
    wanted: str = Field(
        default="",
        description="The wish that the threshold was made from, such as 'precision 0.95'; recorded, not used.",
    )

    @model_validator(mode="before")
    @classmethod
    def _knows_all_keys(cls, value: object) -> object:
        require_known(value, cls, "The policy")
        return value

    @model_validator(mode="after")
    def _check(self) -> Policy:
        _check_limits(self.threshold, self.keep_fraction, self.token_budget, self.field, "")
        self._check_targets() if self.targets else self._check_one_limit()
        if not (math.isfinite(self.soft_width) and self.soft_width >= 0.0):
            raise ConfigError(f"soft_width is {self.soft_width}; it must be a finite number of at least 0.")
        if self.field == "probability" and self.soft_width > 1.0:
            raise ConfigError(f"soft_width is {self.soft_width}; a zone of probabilities is at most 1 wide.")
        if self.near_duplicates is not None and not 0.0 < self.near_duplicates <= 1.0:
            raise ConfigError(f"near_duplicates is {self.near_duplicates}; a similarity is above 0 and at most 1.")
        return self

    def _check_one_limit(self) -> None:
        chosen = [limit for limit in (self.threshold, self.keep_fraction, self.token_budget) if limit is not None]
        if len(chosen) != 1:
            raise ConfigError(
                f"A policy needs exactly one of threshold, keep_fraction and token_budget, and {len(chosen)} were set; "
                "choose one."
            )

    def _check_targets(self) -> None:
        names = [share.name for share in self.targets]
        if len(set(names)) != len(names):
            raise ConfigError("A target is named twice in the policy; give each target one share.")
        if self.target:
            raise ConfigError("A policy has either target or targets; leave one of them out.")
        if self.field != "probability" and len(names) > 1:
            raise ConfigError("Raw values of different targets cannot be compared; rank by field='probability'.")
        if self.token_budget is None or self.threshold is not None or self.keep_fraction is not None:
            self._check_own_limits()
        elif any(share.weight is None or share.keep_fraction or share.token_budget for share in self.targets):
            raise ConfigError("Targets that share one token_budget each need a weight, and no budget of their own.")

    def _check_own_limits(self) -> None:
        if self.token_budget is not None or self.threshold is not None or self.keep_fraction is not None:
            raise ConfigError("A policy with targets may have a token_budget of its own and no other limit.")
        for share in self.targets:
            if share.weight is not None or not share.has_own_limit:
                raise ConfigError(
                    f"Target {share.name!r} needs a threshold, keep_fraction or token_budget and no weight, "
                    "or set the token_budget that weights share."
                )

    @property
    def limits(self) -> tuple[TargetLimit, ...]:
        """What each target may take, weights resolved into tokens (rounded down, so their sum keeps to the budget)."""
        if not self.targets:
            return (TargetLimit(self.target, self.threshold, self.keep_fraction, self.token_budget),)
        if self.token_budget is None:
            return tuple(TargetLimit(s.name, s.threshold, s.keep_fraction, s.token_budget) for s in self.targets)
        weights = [Fraction(share.weight or 0.0) for share in self.targets]
        budgets = [math.floor(weight / sum(weights) * self.token_budget) for weight in weights]
        return tuple(
            TargetLimit(share.name, share.threshold, None, budget)
            for share, budget in zip(self.targets, budgets, strict=True)
        )

    @property
    def named_targets(self) -> tuple[str, ...]:
        """The target domains that it names; none where the scores have only one."""
        return tuple(limit.name for limit in self.limits if limit.name)

    def limits_by_target(self, scored: Sequence[str]) -> dict[str, TargetLimit]:
        """The limits under the names of their targets; the one without a name is of the first target that is scored."""
        return {limit.name or scored[0]: limit for limit in self.limits}

    @property
    def drops_copies(self) -> bool:
        """Whether equal or similar documents are dropped, wherever in the corpus they lie."""
        return self.drop_duplicates or self.near_duplicates is not None

    @property
    def needs_all_scores(self) -> bool:
        """Whether no document can be decided before the last one is scored."""
        return self.threshold is None or self.drops_copies

    @property
    def decides_in_parts(self) -> bool:
        """Whether one part of the corpus can be decided after the other, once the end of the ranking is known."""
        return len(self.limits) == 1 and not self.drops_copies

    def score_of(self, score: Score) -> float:
        """The number of a score that this policy looks at."""
        return score.probability if self.field == "probability" else score.value

    def passes(self, score: Score) -> bool:
        """Whether a score reaches the threshold, sampled near it where ``soft_width`` is set; NaN never does.

        Raises ConfigError for a policy that cannot decide one document alone.
        """
        if self.needs_all_scores or self.threshold is None:
            raise ConfigError(
                "Only a threshold decides documents one by one; fractions, budgets, several targets and duplicates need them all."
            )
        shift = _shift(score.document_id, self) if self.soft_width else 0.0
        return self.score_of(score) + shift >= self.threshold


def fraction_count(fraction: float, documents: int) -> int:
    """How many of ``documents`` a fraction keeps: the nearest whole number, halves up.

    To nearest, because k/n as a float may lie on either side of the true ratio: ``fraction_count(k / n, n) == k`` always.
    """
    return math.floor(Fraction(fraction) * documents + Fraction(1, 2))


def _shift(document_id: str, policy: Policy) -> float:
    """How far the sampling moves the score of one document."""
    import numpy as np

    from curator.filtering.arrays import hash_strings
    from curator.filtering.assign import sampling_shift

    bytes_B = np.frombuffer(document_id.encode(), np.uint8)
    return float(sampling_shift(hash_strings(bytes_B, np.array([0, bytes_B.size])), policy.soft_width, policy.seed)[0])


def _check_limits(
    threshold: float | None, keep_fraction: float | None, token_budget: int | None, field: ScoreField, where: str
) -> None:
    """Each limit that is set must be in its range; ``where`` names the target in the message."""
    if threshold is not None and not math.isfinite(threshold):
        raise ConfigError(f"threshold {where}is {threshold}; it must be a finite number.")
    if threshold is not None and field == "probability" and not 0.0 <= threshold <= 1.0:
        raise ConfigError(
            f"threshold {where}is {threshold}; a probability lies in [0, 1], or rank raw values, field='value'."
        )
    if keep_fraction is not None and not 0.0 < keep_fraction <= 1.0:
        raise ConfigError(f"keep_fraction {where}is {keep_fraction}; it must be above 0 and at most 1.")
    if token_budget is not None and token_budget < 1:
        raise ConfigError(f"token_budget {where}is {token_budget}; it must be at least 1.")

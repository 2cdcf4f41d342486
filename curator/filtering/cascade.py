"""A job with a prefilter before the model: what is asked for, which documents it may stop, and whether it kept its word.

    pieces ─sample─► sample/* ─fit─► prefilter ─score─► scores/*      (see ``sample``; the rest of the job is as ever)

The prefilter must know from which probability on a policy may keep a document. A threshold says it. What a fraction or a budget
will come to is known at the end alone, so a cutoff that is not above it is taken from the sample, with the confidence of the
recall and with room for what the prefilter loses; of several targets each may have to go as deep as all of them together.
Duplicates leave room in fractions and budgets for others further down, and are therefore not combined with these. When the
selection is made, its cutoffs are compared with those that the prefilter was made for: a job says whether they held, and a later
selection from its scores may not go below them. It does not know how a prefilter is fitted: ``curator.scoring.distill`` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from curator.errors import ConfigError
from curator.filtering.policy import Policy, TargetLimit
from curator.scoring.distill import PrefilterSettings, safe_cutoff

PREFILTER = "prefilter"
"""Folder of the prefilter in a work folder and in an output, and the name of its step."""


class CascadeOptions(PrefilterSettings):
    """How a job's prefilter is made."""

    sample_documents: int = Field(default=60_000, ge=256)
    """About so many documents are drawn from the whole input, scored by the full scorer, and learned from."""
    sample_pieces: int = Field(default=4096, ge=1)
    """From at most so many pieces of the input, chosen at random; all of a smaller input are read."""


class CascadePlan(BaseModel):
    """What the prefilter of a job depends on beside its input and its scorer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    options: CascadeOptions
    policy: Policy = Field(description="The policy whose documents it must not lose.")

    @classmethod
    def of(cls, options: CascadeOptions, policy: Policy, targets: Sequence[str], window_characters: int) -> CascadePlan:
        """Raises ConfigError when nothing can be promised under the policy; says what to leave out."""
        if policy.field != "probability":
            raise ConfigError("A cascade needs probabilities; leave out raw values, or the cascade.")
        if window_characters and policy.windows != "window":
            raise ConfigError(
                "A cascade cannot stop parts of a document that is decided as a whole; decide windows on their own, or leave "
                "out the windows or the cascade."
            )
        named = {limit.name or targets[0] for limit in policy.limits}
        if idle := [target for target in targets if target not in named]:
            raise ConfigError(
                f"The policy keeps nothing for {idle[0]!r}, and a cascade needs a cutoff for every target; score for "
                "the policy's targets alone."
            )
        copies = policy.drop_duplicates or policy.near_duplicates is not None
        if copies and any(not _has_cutoff(limit) for limit in policy.limits):
            raise ConfigError(
                "A cascade cannot foresee how far a fraction or a budget reaches once duplicates are dropped; set a threshold, "
                "drop duplicates in a second run (--from-scores), or leave out the cascade."
            )
        return cls(options=options, policy=policy)


@dataclass(frozen=True, eq=False, slots=True)
class SampledScores:
    """Scores of D documents, ``share`` of the pool: probabilities (T, D) and tokens (D,)."""

    probability_TD: NDArray[np.float64]
    tokens_D: NDArray[np.int64]
    share: float


def least_probabilities(plan: CascadePlan, targets: Sequence[str], sample: SampledScores) -> dict[str, float]:
    """By target, a probability below which the policy will keep nothing for it.

    Raises InsufficientDataError for a sample that is too small to tell, ConfigError where it would keep nearly everything.
    """
    limits = {limit.name or targets[0]: limit for limit in plan.policy.limits}
    soft = plan.policy.soft_width / 2
    shares = {
        target: _share_kept(limits[target], sample.probability_TD[row], sample) for row, target in enumerate(targets)
    }
    reached = sum(shares.values()) / plan.options.recall  # what the prefilter loses is made up for further down
    found: dict[str, float] = {}
    for row, target in enumerate(targets):
        limit, cutoff = limits[target], 0.0
        if not _has_cutoff(limit) and reached < 1:
            cutoff = safe_cutoff(sample.probability_TD[row], reached, plan.options.confidence) - soft
        if limit.threshold is not None:
            cutoff = max(cutoff, limit.threshold - soft)
        if cutoff <= float(sample.probability_TD[row].min(initial=1.0)):
            raise ConfigError(
                f"The policy may keep every document for {target!r}: a cascade would have nothing to stop. "
                "Leave it out, or keep less."
            )
        found[target] = cutoff
    return found


def promise(report: Mapping[str, Any], cutoffs: Mapping[str, float | None]) -> dict[str, Any]:
    """A prefilter's report with ``held``: whether no target was kept for below the probability that it was made for.

    ``cutoffs`` are the lowest probabilities kept by target, None where nothing was kept.
    """
    held = all(
        (cutoff := cutoffs.get(target["target"])) is None or cutoff >= target["scorer_cutoff"]
        for target in report["targets"]
    )
    return {**report, "held": held}


def require_reach(policy: Policy, targets: Sequence[str], report: Mapping[str, Any]) -> None:
    """Raise ConfigError when a policy's thresholds alone lie below the probabilities that a prefilter was made for."""
    limits = {limit.name or targets[0]: limit for limit in policy.limits}
    for target in report["targets"]:
        limit = limits.get(target["target"])
        if limit is None or not _has_cutoff(limit) or limit.threshold is None:
            continue
        if limit.threshold - policy.soft_width / 2 < target["scorer_cutoff"]:
            raise too_deep([target])


def too_deep(targets: Sequence[Mapping[str, Any]]) -> ConfigError:
    """The error for a selection that would keep documents which a prefilter with these reports may have stopped."""
    reach = ", ".join(f"{target['scorer_cutoff']:.6g} for {target['target']!r}" for target in targets)
    return ConfigError(
        f"These scores are behind a prefilter that may have stopped documents below the probability {reach}; keep less, "
        "or score again without the cascade or with one for this policy."
    )


def _has_cutoff(limit: TargetLimit) -> bool:
    """Whether a threshold alone decides."""
    return limit.keep_fraction is None and limit.token_budget is None


def _share_kept(limit: TargetLimit, probability_D: NDArray[np.float64], sample: SampledScores) -> float:
    """The share of the pool that a limit lets through, as the sample has it."""
    above_D = probability_D >= (0.0 if limit.threshold is None else limit.threshold)
    reached = float(above_D.mean()) if above_D.size else 0.0
    if limit.keep_fraction is not None:
        reached = min(reached, limit.keep_fraction)
    if limit.token_budget is not None:
        order_D = np.argsort(-probability_D, kind="stable")
        running_D = np.cumsum(sample.tokens_D[order_D])
        fits = int(np.searchsorted(running_D, limit.token_budget * sample.share, side="right")) + 1
        reached = min(reached, fits / max(1, probability_D.size))
    return reached

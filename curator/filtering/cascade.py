"""A job with a prefilter before the model: which documents it may stop, and whether it kept its word.

    pieces ─sample─► sample/* ─fit─► prefilter ─score─► scores/*      (see ``sample``; the rest of the job is as ever)

The prefilter must know from which probability on a policy may keep a document. A threshold says it. What a fraction or a budget
will come to is known at the end alone, so a cutoff that is not above it is taken from the sample, with the confidence of the
recall and with room for what the prefilter loses; of several targets each may have to go as deep as all of them together.
Duplicates leave room in fractions and budgets for others further down, and are therefore not combined with these. When the
selection is made, its cutoffs are compared with those that the prefilter was made for: a job says whether they held, and a later
selection from its scores may not go below them. It does not know how a prefilter is fitted: ``curator.scoring.distill`` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curator.errors import ConfigError
from curator.filtering.cascade_plan import CascadePlan
from curator.filtering.policy import Policy, TargetLimit


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
    from curator.scoring.distill import safe_cutoff  # SciPy, which workers that only score do without

    limits = plan.policy.limits_by_target(targets)
    soft = plan.policy.soft_width / 2
    shares = {
        target: _share_kept(limits[target], sample.probability_TD[row], sample) for row, target in enumerate(targets)
    }
    reached = sum(shares.values()) / plan.options.recall  # what the prefilter loses is made up for further down
    found: dict[str, float] = {}
    for row, target in enumerate(targets):
        limit, cutoff = limits[target], 0.0
        if not limit.decides_alone and reached < 1:
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


def promise(report: Mapping[str, Any], reached: Mapping[str, float]) -> dict[str, Any]:
    """A prefilter's report with ``held``: whether no target's selection went below the probability that it was made for.

    ``reached`` are the probabilities down to which the selection went by target, infinite where nothing was kept.
    """
    held = all(reached.get(one["target"], math.inf) >= one["scorer_cutoff"] for one in report["targets"])
    return {**report, "held": held}


def require_reach(policy: Policy, targets: Sequence[str], report: Mapping[str, Any]) -> None:
    """Raise ConfigError when a policy's thresholds alone lie below the probabilities that a prefilter was made for."""
    limits = policy.limits_by_target(targets)
    for target in report["targets"]:
        limit = limits.get(target["target"])
        if limit is None or not limit.decides_alone or limit.threshold is None:
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

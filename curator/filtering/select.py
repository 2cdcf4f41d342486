"""From all scores of a job to a verdict on every row: exact over the whole corpus, without a model or a text.

    rows ─► units (a document, or a window where windows are kept on their own)
         ─► reasons in this order: unreadable or not scored > contaminated > duplicate > near duplicate
         ─► limits of each target over what is left (``assign``): below threshold, over budget
         ─► verdicts on rows

The first reason that holds is the one reported. Duplicates go before budgets, so a budget is never spent on a copy; of each
group the unit with the highest score stays (of several targets the highest of its probabilities), the earliest among equals.

Cost on one core: ten million rows of one target take 0.4 s under a threshold and 3.3 s under a token budget; three million of
three targets with mixing weights 4 s; exact duplicates take 5 s more where seven in ten rows have a copy. Memory: 80 bytes a
row for the arrays and at most 70 more on the way. Near duplicates have their own price, see ``near_duplicates``. It does not
know how rows are written, nor what a score means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curator.errors import ConfigError
from curator.filtering.arrays import REASONS, ScoreArrays
from curator.filtering.assign import assign, sampling_shift
from curator.filtering.duplicates import equal_text_groups, worse_copies
from curator.filtering.near_duplicates import near_duplicate_groups
from curator.filtering.policy import Policy, TargetLimit
from curator.filtering.units import Units, units_of
from curator.records import RejectReason


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """What one target got.

    ``cutoff`` is the lowest score kept for it, in the policy's field (without the shift of soft sampling); None when nothing
    was kept. ``token_budget`` is None where none was set; ``left_over`` is what of it stayed unused. ``filled`` says of a
    fraction or a budget whether it turned anything away; it is True where a threshold alone decides.
    """

    name: str
    documents: int
    tokens: int
    cutoff: float | None
    token_budget: int | None = None
    filled: bool = True

    @property
    def left_over(self) -> int | None:
        """Tokens of the budget that no document filled."""
        return None if self.token_budget is None else self.token_budget - self.tokens


@dataclass(frozen=True, eq=False, slots=True)
class Verdicts:
    """The verdict on each of D rows, in the order of the arrays.

    Attributes:
        kept_D: bool.
        reason_D: int16 codes into ``arrays.REASONS``, 0 where kept.
        target_D: int16, number of the target in ``targets`` that a kept row counts for, -1 for none.
        targets: totals of each target of the policy.
        by_window: whether rows that are windows were decided one by one; otherwise all windows of a document share a verdict,
            and ``documents`` of a target counts documents.
    """

    kept_D: NDArray[np.bool_]
    reason_D: NDArray[np.int16]
    target_D: NDArray[np.int16]
    targets: tuple[TargetVerdict, ...]
    by_window: bool


def select(arrays: ScoreArrays, policy: Policy, units: Units | None = None) -> Verdicts:
    """Decide every row under a policy; the same arrays and policy give the same verdicts on every machine.

    ``units`` are those of the arrays and the policy, where the caller has them already.

    Raises:
        ConfigError: the policy names a target that was not scored, or asks for duplicates that were not computed.
        ArtifactError: the near-duplicate signatures are not all of one length.
    """
    limits = policy.limits
    columns = [_column(arrays.targets, limit.name) for limit in limits]
    units = units or units_of(arrays, policy.windows)
    field_TD = units.probability_TU if policy.field == "probability" else units.value_TU
    score_TU, value_TU = _rows_of(field_TD, columns), _rows_of(units.value_TU, columns)
    reason_U = _reasons_before_limits(arrays, units, policy, score_TU, value_TU)
    target_U, filled_T = _assigned(units, policy, limits, score_TU, value_TU, reason_U)
    kept_U = target_U >= 0
    return Verdicts(
        kept_D=units.to_rows(kept_U),
        reason_D=units.to_rows(reason_U),
        target_D=units.to_rows(target_U),
        targets=tuple(
            _totals(limit, target_U == target, score_TU[target], units.tokens_U, filled_T[target])
            for target, limit in enumerate(limits)
        ),
        by_window=policy.windows == "window",
    )


def _column(targets: Sequence[str], name: str) -> int:
    """Place of a target among those that were scored; an empty name means the only one."""
    if not name and len(targets) == 1:
        return 0
    if name not in targets:
        scored = ", ".join(targets)
        what = f"There are no scores for target {name!r}" if name else "The policy names no target"
        raise ConfigError(f"{what}; choose one of: {scored}.")
    return targets.index(name)


def _rows_of(array_TU: NDArray[np.float64], columns: list[int]) -> NDArray[np.float64]:
    """The wanted rows, without a copy where they are all of them in order."""
    return array_TU if columns == list(range(array_TU.shape[0])) else array_TU[columns]


def _reasons_before_limits(
    arrays: ScoreArrays,
    units: Units,
    policy: Policy,
    score_TU: NDArray[np.float64],
    value_TU: NDArray[np.float64],
) -> NDArray[np.int16]:
    """Reason codes of what no limit gets to see; 0 for the rest."""
    reason_U = units.reason_U.copy()
    unscored_U = (reason_U == 0) & ~np.isfinite(score_TU).any(axis=0)
    reason_U[unscored_U] = _code(RejectReason.SCORING_FAILED)
    if policy.drop_contaminated:
        reason_U[(reason_U == 0) & units.contaminated_U] = _code(RejectReason.CONTAMINATED)
    if not (policy.drop_duplicates or policy.near_duplicates is not None):
        return reason_U
    best_U = np.fmax.reduce(score_TU, axis=0)
    tie_U = value_TU[0] if len(score_TU) == 1 else np.zeros_like(best_U)
    if policy.drop_duplicates:
        if units.text_hash_U2 is None:
            raise ConfigError("The scores hold no text hashes to find duplicates by; score again.")
        group_U = equal_text_groups(units.text_hash_U2)
        reason_U[worse_copies(group_U, reason_U == 0, best_U, tie_U)] = _code(RejectReason.DUPLICATE)
    if policy.near_duplicates is not None:
        if arrays.signatures is None:
            raise ConfigError("The scores hold no MinHash signatures; score again with near-duplicate signatures on.")
        group_U = near_duplicate_groups(arrays.signatures, units.unit_D, units.count, policy.near_duplicates)
        reason_U[worse_copies(group_U, reason_U == 0, best_U, tie_U)] = _code(RejectReason.NEAR_DUPLICATE)
    return reason_U


def _assigned(
    units: Units,
    policy: Policy,
    limits: Sequence[TargetLimit],
    score_TU: NDArray[np.float64],
    value_TU: NDArray[np.float64],
    reason_U: NDArray[np.int16],
) -> tuple[NDArray[np.int16], list[bool]]:
    """The target of each kept unit, and which limits turned units away; completes ``reason_U`` in place."""
    free_U = reason_U == 0
    ranked_TU = np.where(free_U & np.isfinite(score_TU), score_TU, np.nan)
    if policy.soft_width:
        ranked_TU += sampling_shift(units.id_hash_U, policy.soft_width, policy.seed)
    stopped = int(np.count_nonzero(reason_U == _code(RejectReason.PREFILTERED)))
    target_U = assign(ranked_TU, value_TU, units.tokens_U, limits, stopped)
    left_U = free_U & (target_U < 0)
    reason_U[left_U] = _code(RejectReason.BELOW_THRESHOLD)
    filled_T: list[bool] = []
    for limit, score_U in zip(limits, ranked_TU, strict=True):
        above_U = left_U & ~np.isnan(score_U)
        if limit.threshold is not None:
            above_U &= score_U >= limit.threshold
        reason_U[above_U] = _code(RejectReason.OVER_BUDGET)  # it reached the floor, so only a full target can be why
        filled_T.append(limit.decides_alone or bool(above_U.any()))
    return target_U, filled_T


def _totals(
    limit: TargetLimit,
    kept_U: NDArray[np.bool_],
    score_U: NDArray[np.float64],
    tokens_U: NDArray[np.int64],
    filled: bool,
) -> TargetVerdict:
    kept_K = np.flatnonzero(kept_U)
    cutoff = float(score_U[kept_K].min()) if kept_K.size else None
    return TargetVerdict(limit.name, int(kept_K.size), int(tokens_U[kept_K].sum()), cutoff, limit.token_budget, filled)


def _code(reason: RejectReason) -> int:
    return REASONS.index(reason)

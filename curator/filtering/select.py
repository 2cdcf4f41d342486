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
from curator.filtering.cut import Walk
from curator.filtering.duplicates import equal_text_groups, worse_copies
from curator.filtering.near_duplicates import near_duplicate_groups
from curator.filtering.policy import Policy, TargetLimit
from curator.filtering.units import Units, units_of
from curator.records import RejectReason

NEAR_CUTOFF = 1e-4
"""In the policy's field. Scores of one document in other batches, by other threads or over the wire differ by less in float32."""


@dataclass(frozen=True, slots=True)
class TargetVerdict:
    """What one target got.

    ``cutoff`` is the lowest score kept for it, in the policy's field (without the shift of soft sampling); None when nothing
    was kept. ``token_budget`` is None where none was set; ``left_over`` is what of it stayed unused. ``filled`` says of a
    fraction or a budget whether it turned anything away; it is True where a threshold alone decides. ``near_cutoff`` counts units
    within ``NEAR_CUTOFF`` of the cut: those that other batches, cores or precisions might decide otherwise.
    """

    name: str
    documents: int
    tokens: int
    cutoff: float | None
    token_budget: int | None = None
    filled: bool = True
    near_cutoff: int = 0

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


@dataclass(frozen=True, eq=False, slots=True)
class Considered:
    """What a policy's L limits see of U units.

    Attributes:
        limits: what each target may take.
        score_LU: what is compared, as it was scored; NaN without a score.
        ranked_LU: the same, moved by the draw of soft sampling, and NaN where a unit may not be chosen.
        value_LU: raw values, which rank units of equal score.
        reason_U: int16 codes of why a unit may not be chosen, 0 where it may.
        unranked: units without a score that count for fractions, for a prefilter stopped them.
    """

    limits: tuple[TargetLimit, ...]
    score_LU: NDArray[np.float64]
    ranked_LU: NDArray[np.float64]
    value_LU: NDArray[np.float64]
    reason_U: NDArray[np.int16]
    unranked: int


def consider(arrays: ScoreArrays, policy: Policy, units: Units) -> Considered:
    """Everything of a selection that comes before its limits. Raises as ``select``."""
    limits = policy.limits
    columns = [_column(arrays.targets, limit.name) for limit in limits]
    field_TU = units.probability_TU if policy.field == "probability" else units.value_TU
    score_LU, value_LU = _rows_of(field_TU, columns), _rows_of(units.value_TU, columns)
    reason_U = _reasons_before_limits(arrays, units, policy, score_LU, value_LU)
    ranked_LU = np.where((reason_U == 0) & np.isfinite(score_LU), score_LU, np.nan)
    if policy.soft_width:
        ranked_LU += sampling_shift(units.id_hash_U, policy.soft_width, policy.seed)
    stopped = int(np.count_nonzero(reason_U == _code(RejectReason.PREFILTERED)))
    return Considered(limits, score_LU, ranked_LU, value_LU, reason_U, stopped)


def select(arrays: ScoreArrays, policy: Policy, units: Units | None = None, walk: Walk | None = None) -> Verdicts:
    """Decide every row under a policy; the same arrays and policy give the same verdicts on every machine.

    Args:
        arrays: scores and facts of the rows.
        policy: which of them are kept.
        units: what ``units_of`` makes of both, where it is at hand.
        walk: where the ranking of the policy's one target ends, when the rows are a part of the corpus; it is moved on.

    Raises:
        ConfigError: the policy names a target that was not scored, or asks for duplicates that were not computed.
        ArtifactError: the near-duplicate signatures are not all of one length.
    """
    units = units_of(arrays, policy.windows) if units is None else units
    seen = consider(arrays, policy, units)
    if walk is None:
        target_U = assign(seen.ranked_LU, seen.value_LU, units.tokens_U, seen.limits, seen.unranked)
    else:
        target_U = np.where(walk.take(seen.ranked_LU[0], seen.value_LU[0]), 0, -1).astype(np.int16)
    above_LU = _complete_reasons(seen, target_U)
    totals = [
        _totals(seen, number, target_U == number, units.tokens_U, bool(above_LU[number].any()), walk)
        for number in range(len(seen.limits))
    ]
    return Verdicts(
        kept_D=units.to_rows(target_U >= 0),
        reason_D=units.to_rows(seen.reason_U),
        target_D=units.to_rows(target_U),
        targets=tuple(totals),
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
    if not policy.drops_copies:
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


def _complete_reasons(seen: Considered, target_U: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Write the reasons of units that no target took; returns which of them each limit turned away, (L, U)."""
    left_U = (seen.reason_U == 0) & (target_U < 0)
    seen.reason_U[left_U] = _code(RejectReason.BELOW_THRESHOLD)
    floor_L = np.asarray([-np.inf if limit.threshold is None else limit.threshold for limit in seen.limits])
    above_LU = left_U & (seen.ranked_LU >= floor_L[:, None])
    seen.reason_U[above_LU.any(axis=0)] = _code(
        RejectReason.OVER_BUDGET
    )  # above the floor only a full target can be why
    return above_LU


def _totals(
    seen: Considered,
    number: int,
    kept_U: NDArray[np.bool_],
    tokens_U: NDArray[np.int64],
    turned_away: bool,
    walk: Walk | None,
) -> TargetVerdict:
    limit, ranked_U = seen.limits[number], seen.ranked_LU[number]
    kept_K = np.flatnonzero(kept_U)
    edge = limit.threshold if limit.decides_alone else None if walk is None else walk.score
    if edge is None and kept_K.size:
        edge = float(ranked_U[kept_K].min())
    return TargetVerdict(
        limit.name,
        int(kept_K.size),
        int(tokens_U[kept_K].sum()),
        float(seen.score_LU[number, kept_K].min()) if kept_K.size else None,
        limit.token_budget,
        filled=limit.decides_alone or turned_away,
        near_cutoff=0 if edge is None else int(np.count_nonzero(np.abs(ranked_U - edge) <= NEAR_CUTOFF)),
    )


def _code(reason: RejectReason) -> int:
    return REASONS.index(reason)

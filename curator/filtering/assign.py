"""Who gets which document: rankings, budgets and several targets, as one exact walk without a Python loop over documents.

Every (unit, target) pair whose score reaches the target's floor is put in one order: by score, highest first; at equal scores
by the unit's rank within the target (score, then raw value, then corpus order), then by the order of the targets. Then:

    walk through the pairs; take a pair when the unit is still free and the target is open;
    a target closes at the first free unit that would take it over its budget of tokens or its number of units.

Four things follow, and tests prove them: a unit counts for one target at most; no budget is exceeded; a unit that nobody took
never has a higher score for a target than one which that target took; and a unit goes to the target it scores highest for,
unless that one was full before its turn came. With one target this is the prefix of its ranking.

How: while the set of open targets is fixed, every free unit belongs to the first of its pairs, so a running sum per target
finds the first target to close; what comes before that place is final, and the rest is walked again without the closed
target. That is one sort and at most T + 1 linear passes: O(TU log TU) time. Memory: about 40 bytes per pair above the scores.
It does not know files, reasons or duplicates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from curator.filtering.arrays import mix64
from curator.filtering.policy import TargetLimit, fraction_count


def assign(
    score_TU: NDArray[np.float64],
    value_TU: NDArray[np.float64],
    tokens_U: NDArray[np.int64],
    limits: Sequence[TargetLimit],
    unranked: int = 0,
) -> NDArray[np.int16]:
    """The target that each of U units is kept for, -1 for none; the walk of the module's head.

    Args:
        score_TU: what is ranked and compared with thresholds, one row per limit; NaN where a unit may not be chosen, and such
            units do not count for fractions.
        value_TU: ranks units of equal score within a target, higher first.
        tokens_U: tokens of each unit, not negative.
        limits: what each of the T targets may take.
        unranked: units that count for fractions although they have no score, as they could not be chosen.

    Returns:
        int16 (U,).
    """
    target_U = np.full(tokens_U.size, -1, np.int16)
    if len(limits) == 1 and limits[0].decides_alone:
        target_U[_above_floor(score_TU[0], limits[0])] = 0  # a threshold alone needs no ranking
        return target_U
    unit_P, target_P = _pairs_in_order(score_TU, value_TU, limits)
    tokens_left = [limit.token_budget for limit in limits]
    units_left = [_count_limit(limit, score_U, unranked) for limit, score_U in zip(limits, score_TU, strict=True)]
    while unit_P.size:
        claim_C = _first_pairs(unit_P, tokens_U.size)
        stops = []
        for target in range(len(limits)):
            mine_C = claim_C[target_P[claim_C] == target]
            fits = _how_many_fit(tokens_U[unit_P[mine_C]], tokens_left[target], units_left[target])
            stops.append(int(mine_C[fits]) if fits < mine_C.size else unit_P.size)
        stop = min(stops)
        taken_C = claim_C[: np.searchsorted(claim_C, stop)]
        target_U[unit_P[taken_C]] = target_P[taken_C]
        if stop == unit_P.size:
            break
        for target in range(len(limits)):
            units_K = unit_P[taken_C[target_P[taken_C] == target]]
            tokens_left[target] = _less(tokens_left[target], int(tokens_U[units_K].sum()))
            units_left[target] = _less(units_left[target], int(units_K.size))
        going_on = (target_P[stop:] != target_P[stop]) & (target_U[unit_P[stop:]] < 0)
        unit_P, target_P = unit_P[stop:][going_on], target_P[stop:][going_on]
    return target_U


def sampling_shift(id_hash_U: NDArray[np.uint64], width: float, seed: int) -> NDArray[np.float64]:
    """How far to move each score so that a cut becomes a zone of sampling: uniform on (-width/2, width/2].

    The 53 upper bits of a hash of the seed and the id give u on [0, 1); the shift is width * (1/2 - u).
    """
    seed_1 = mix64(np.array([seed], np.uint64))
    uniform_U = (mix64(id_hash_U ^ seed_1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return width * (0.5 - uniform_U)


def ranked(
    score_U: NDArray[np.float64], value_U: NDArray[np.float64], chosen_C: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The chosen units, best first: by score, then value, then their order; ``chosen_C`` must be ascending."""
    return chosen_C[np.lexsort([-value_U[chosen_C], -score_U[chosen_C]])]


def _above_floor(score_U: NDArray[np.float64], limit: TargetLimit) -> NDArray[np.int64]:
    """Units that a target may take, ascending; NaN compares as false."""
    return np.flatnonzero(score_U >= (-np.inf if limit.threshold is None else limit.threshold))


def _pairs_in_order(
    score_TU: NDArray[np.float64], value_TU: NDArray[np.float64], limits: Sequence[TargetLimit]
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """All pairs that reach their floor as (unit_P, target_P), in the order of the walk."""
    rankings = [
        ranked(score_TU[target], value_TU[target], _above_floor(score_TU[target], limit))
        for target, limit in enumerate(limits)
    ]
    target_P = np.repeat(np.arange(len(limits), dtype=np.int16), [ranking.size for ranking in rankings])
    if len(limits) == 1:
        return rankings[0], target_P
    unit_P = np.concatenate(rankings)
    rank_P = np.concatenate([np.arange(ranking.size, dtype=np.int64) for ranking in rankings])
    order_P = np.lexsort([target_P, rank_P, -score_TU[target_P, unit_P]])
    return unit_P[order_P], target_P[order_P]


def _first_pairs(unit_P: NDArray[np.int64], units: int) -> NDArray[np.int64]:
    """Places of the first pair of every unit, ascending."""
    place_P = np.arange(unit_P.size, dtype=np.int64)
    first_U = np.full(units, -1, np.int64)
    first_U[unit_P[::-1]] = place_P[::-1]  # of equal indices the last assignment holds
    return place_P[first_U[unit_P] == place_P]


def _how_many_fit(tokens_C: NDArray[np.int64], tokens_left: int | None, units_left: int | None) -> int:
    """Length of the longest prefix within both limits; token counts are not negative, so the running sum never falls."""
    fits = tokens_C.size if units_left is None else min(units_left, tokens_C.size)
    if tokens_left is None:
        return fits
    return min(fits, int(np.searchsorted(np.cumsum(tokens_C, dtype=np.int64), tokens_left, side="right")))


def _count_limit(limit: TargetLimit, score_U: NDArray[np.float64], unranked: int) -> int | None:
    if limit.keep_fraction is None:
        return None
    return fraction_count(limit.keep_fraction, int(np.count_nonzero(~np.isnan(score_U))) + unranked)


def _less(left: int | None, used: int) -> int | None:
    return None if left is None else left - used

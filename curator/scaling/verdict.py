"""From points to a sentence: fit one counting rule over the sizes, and say what the data carry and no more.

A verdict on the law needs at least five sizes and 1.2 decades of x; below that the exponent is printed as a
description of the points, and the words are "not enough sizes". Above it the verdict reports the interval, whether
another curve fits better, and how far the forecast of the largest size missed. Points with a count of zero cannot
enter a logarithm: they are left out of the curve, named, and kept in the count model. Cost: a tenth of a second.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from curator.scaling.alternatives import CurveFit, compare_curves
from curator.scaling.fits import CountFit, PowerLawFit, fit_counts, fit_power_law
from curator.scaling.points import Rule, StudyPoint

SIZES_NEEDED = 5
DECADES_NEEDED = 1.2
_CLEARLY_WORSE = 2.0  # a difference in AICc below two is no preference (Burnham and Anderson)


class ScalingFit(BaseModel):
    """Everything the points of one rule say about growth with size."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    rule: Rule = Field(description="Which count was fitted.")
    sizes: int = Field(description="Different mean neuron counts in the log-log fit.")
    decades: float = Field(description="log10 of the largest over the smallest x in the log-log fit.")
    excluded: tuple[str, ...] = Field(description="Labels left out of the log-log fit because their count is zero.")
    not_measured: tuple[str, ...] = Field(description="Labels without a count by this rule.")
    power_law: PowerLawFit | None
    counts: CountFit | None
    curves: tuple[CurveFit, ...]
    enough: bool = Field(description="Whether the sizes suffice for a verdict on the law.")
    verdict: str = Field(description="The verdict in words.")


def fit_scaling(points: Sequence[StudyPoint], rule: Rule = "paper") -> ScalingFit:
    """Fit the counts of one rule over the points, and say in words what they show."""
    measured = [
        (point.label, point.neurons_mean, count) for point in points if (count := point.count(rule)) is not None
    ]
    positive = [(x, count) for _, x, count in measured if count > 0]
    x, r = [x for x, _ in positive], [count for _, count in positive]
    sizes = len(set(x))
    decades = decades_of(x)
    power_law = fit_power_law(x, r) if positive else None
    curves = compare_curves(x, r)
    return ScalingFit(
        rule=rule,
        sizes=sizes,
        decades=decades,
        excluded=tuple(label for label, _, count in measured if count == 0),
        not_measured=tuple(point.label for point in points if point.count(rule) is None),
        power_law=power_law,
        counts=fit_counts([x for _, x, _ in measured], [count for _, _, count in measured]) if measured else None,
        curves=curves,
        enough=enough_sizes(sizes, decades),
        verdict=_words(sizes, decades, power_law, curves),
    )


def decades_of(x: Sequence[float]) -> float:
    """log10 of the largest over the smallest size; 0 without any."""
    return math.log10(max(x) / min(x)) if x else 0.0


def enough_sizes(sizes: int, decades: float) -> bool:
    """Whether so many sizes over so many decades can carry a verdict on a scaling law."""
    return sizes >= SIZES_NEEDED and decades >= DECADES_NEEDED


def _words(sizes: int, decades: float, power_law: PowerLawFit | None, curves: Sequence[CurveFit]) -> str:
    if power_law is None or not enough_sizes(sizes, decades):
        return (
            f"Not enough sizes: {sizes} over {decades:.1f} decades of neurons, "
            f"where a verdict on a scaling law needs at least {SIZES_NEEDED} over {DECADES_NEEDED}."
        )
    return " ".join((_exponent(power_law), _preference(curves), _forecast(curves)))


def _exponent(fit: PowerLawFit) -> str:
    if fit.interval is None:  # five points always have one; kept total for the type checker and for callers
        return f"The exponent is {fit.alpha:.2f}."
    low, high = fit.interval
    growth = "slower than the models do" if high < 1 else "faster than the models do" if low > 1 else ""
    says = f"the count grows {growth}" if growth and low > 0 else "the interval does not decide how the count grows"
    return f"The exponent is {fit.alpha:.2f} (95% interval {low:.2f} to {high:.2f}): {says}."


def _preference(curves: Sequence[CurveFit]) -> str:
    ranked = [(curve.delta_aicc, curve.name) for curve in curves if curve.delta_aicc is not None]
    power = next((delta for delta, name in ranked if name == "power law"), None)
    if power is None:
        return "The curves cannot be compared."
    rivals = [name for delta, name in ranked if name != "power law" and delta <= power + _CLEARLY_WORSE]
    if power > _CLEARLY_WORSE:
        return f"A {ranked[0][1]} curve fits better than a power law (AICc lower by {power:.1f})."
    if rivals:
        return f"A power law is not clearly better than a {' or '.join(rivals)} curve."
    return "A power law fits best of the curves tried."


def _forecast(curves: Sequence[CurveFit]) -> str:
    error = next((curve.held_out_error for curve in curves if curve.name == "power law"), None)
    if error is None:
        return "The largest size cannot be held out."
    side = "above" if error >= 0 else "below"
    return f"Fitted without the largest size, its forecast there is {abs(error):.0%} {side} the count."

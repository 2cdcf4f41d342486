"""Exponents with two intervals each: over the sizes' scatter about the line, and over other texts.

The first interval is Student's, from the residuals of the log-log fit: how well so few models fix a line. The second is the
fold bootstrap's: the exponent in each replicate, all sizes on the same resampled folds, its middle 95 % centred on the
estimate, because a replicate holds fewer different documents and is biased as a smaller corpus is; that bias is given.
Neither contains the other. Sizes with a count of zero have no logarithm: they are left out and named; a replicate that
draws a zero at a size that is in the fit counts it as a half. Cost: microseconds a replicate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import Field

from curator.scaling.fits import fit_power_law
from curator.scaling.parts import ClassCount, Interval, NeighbourCurve, PairCounts, Part, Rule, ThresholdCurve
from curator.scaling.points import StudyPoint

_ZERO = 0.5


class Exponent(Part):
    """R = c x^alpha of one series of counts."""

    name: str = Field(description="What was counted.")
    rule: Rule | None = None
    value: float | None = Field(default=None, description="The threshold or the k, where the series has one.")
    sizes: int = Field(description="Sizes in the fit.")
    alpha: float | None = Field(default=None, description="None with fewer than two sizes.")
    c: float | None = None
    r_squared: float | None = None
    interval: Interval | None = Field(default=None, description="95 % Student-t interval; None with two sizes.")
    bootstrap: Interval | None = Field(
        default=None, description="95 % fold-bootstrap interval; None without replicates."
    )
    bias: float | None = Field(default=None, description="Median of the replicates less the estimate.")
    replicates: int = 0
    counts: dict[str, float] = Field(default_factory=dict, description="Count of each size, by label.")
    excluded: tuple[str, ...] = Field(default=(), description="Sizes left out because their count is zero.")


class Series:
    """Counts of one kind over sizes, gathered size by size."""

    def __init__(self, name: str, rule: Rule | None = None, value: float | None = None) -> None:
        self.name = name
        self.rule: Rule | None = rule
        self.value = value
        self._rows: list[tuple[str, float, float, tuple[float, ...]]] = []

    def add(self, label: str, x: float, count: float, draws: Sequence[float]) -> None:
        """One size: its mean neuron count, the count and its replicates."""
        self._rows.append((label, x, count, tuple(draws)))

    def exponent(self) -> Exponent:
        """The fit over the sizes whose count is not zero."""
        rows = [row for row in self._rows if row[2] > 0]
        x, counts = [row[1] for row in rows], [row[2] for row in rows]
        fit = fit_power_law(x, counts) if rows else None
        replicates = min((len(row[3]) for row in rows), default=0)
        between, bias = None, None
        if fit is not None and replicates:
            between, bias = _centred(fit.alpha, _slopes(x, [row[3][:replicates] for row in rows]))
        return Exponent(
            name=self.name,
            rule=self.rule,
            value=self.value,
            sizes=len(set(x)),
            alpha=fit and fit.alpha,
            c=fit and fit.c,
            r_squared=fit and fit.r_squared,
            interval=fit and fit.interval,
            bootstrap=between,
            bias=bias,
            replicates=replicates,
            counts={label: count for label, _, count, _ in self._rows},
            excluded=tuple(label for label, _, count, _ in self._rows if not count),
        )


def rule_exponent(points: Sequence[StudyPoint], rule: Rule) -> Exponent:
    """Of the counts by a rule."""
    series = Series(f"Rosetta neurons, {rule} rule", rule)
    for point in points:
        if (count := point.count(rule)) is not None:
            series.add(point.label, point.neurons_mean, count, point.draws(rule))
    return series.exponent()


def threshold_exponents(points: Sequence[StudyPoint]) -> tuple[Exponent, ...]:
    """Against the correlation threshold; theory says that alpha does not depend on it (SCIENCE section 8)."""
    return _along(points, lambda point: point.thresholds, lambda rho: f"rho at least {rho:g}")


def neighbour_exponents(points: Sequence[StudyPoint]) -> tuple[Exponent, ...]:
    """Against k of the mutual k-nearest-neighbour rule."""
    return _along(points, lambda point: point.neighbours, lambda k: f"k = {k}")


def _along(
    points: Sequence[StudyPoint],
    curve_of: Callable[[StudyPoint], ThresholdCurve | NeighbourCurve | None],
    name_of: Callable[[float], str],
) -> tuple[Exponent, ...]:
    """One exponent for each value of a dial, in ascending order."""
    found: dict[float, Series] = {}
    for point in points:
        curve = curve_of(point)
        for value, count in curve.entries if curve is not None else ():
            series = found.setdefault(value, Series(name_of(value), "paper", value))
            series.add(point.label, point.neurons_mean, count.count, count.draws)
    return tuple(found[value].exponent() for value in sorted(found))


def pair_exponents(points: Sequence[StudyPoint], rule: Rule) -> tuple[Exponent, ...]:
    """Of every pair of architectures; models are told apart by the place that they have in their groups."""
    found: dict[str, Series] = {}
    for point in points:
        for pair in point.pairs:
            series = found.setdefault(pair_name(point, pair), Series(pair_name(point, pair), rule))
            count = pair.strict if rule == "strict" else pair.paper
            series.add(point.label, pair.neurons_mean, count.count, count.draws)
    return tuple(series.exponent() for series in found.values())


def class_exponents(points: Sequence[StudyPoint], rule: Rule) -> tuple[Exponent, ...]:
    """Of the control classes: neurons that one peer chooses and another matches too."""
    found: dict[str, Series] = {}
    for point in points:
        for one in point.classes:
            if one.rule == rule:
                _add_class(found.setdefault(one.name, Series(one.name, rule)), point, one)
    return tuple(series.exponent() for series in found.values())


def pair_name(point: StudyPoint, pair: PairCounts) -> str:
    """The two models' names without what only tells the size, for example ``neox and gpt2``."""
    return " and ".join(_family(name, point.label) for name in (pair.first, pair.second))


def _family(name: str, label: str) -> str:
    short = name.rstrip("/").split("/")[-1].split(":")[-1]
    return short.replace(label, "").strip("-_ .") or short


def _add_class(series: Series, point: StudyPoint, one: ClassCount) -> None:
    series.add(point.label, point.neurons_mean, one.carried, one.draws)


def _slopes(x: Sequence[float], draws: Sequence[Sequence[float]]) -> np.ndarray:
    """Log-log slope in each replicate, (B,)."""
    log_x = np.log(np.asarray(x, dtype=np.float64))
    log_SB = np.log(np.maximum(np.asarray(draws, dtype=np.float64), _ZERO))
    centred = log_x - log_x.mean()
    return centred @ log_SB / (centred @ centred)


def _centred(estimate: float, draws: np.ndarray) -> tuple[Interval, float]:
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
    return (float(estimate + low - middle), float(estimate + high - middle)), float(middle - estimate)

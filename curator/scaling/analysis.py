"""Everything that is derived from a study's points: exponents, capacity fits, trends of selectivity, the control table.

A study stores measurements; this recomputes what is concluded from them, the same for the command, the report and its JSON.
Verdicts are sentences and say what the sizes do not carry. Cost: one to three seconds for five sizes, most of it the
capacity fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field
from scipy import stats

from curator.scaling.exponents import (
    Exponent,
    class_exponents,
    neighbour_exponents,
    pair_exponents,
    pair_name,
    rule_exponent,
    threshold_exponents,
)
from curator.scaling.parts import PART_RULES, Interval, Kind, Measure, Part, Rule
from curator.scaling.points import Study, StudyPoint
from curator.scaling.prediction import CapacityFit, fit_capacity
from curator.scaling.verdict import ScalingFit, decades_of, enough_sizes, fit_scaling

RULES: tuple[Rule, ...] = ("paper", "strict", "universal")


class Trend(Part):
    """How a measure's median moves with size: slope for each tenfold number of neurons."""

    measure: Measure
    rule: Rule
    kind: Kind
    sizes: int
    per_decade: float
    interval: Interval | None = Field(default=None, description="95 % Student-t interval; None with two sizes.")


class ControlRow(Part):
    """One line of the control table."""

    question: str
    exponent: Exponent


class StudyAnalysis(Part):
    """What the points of a study say; every list is empty where the study did not measure it."""

    fits: dict[str, ScalingFit]
    exponents: dict[str, Exponent] = Field(description="By rule, with bootstrap intervals where there are replicates.")
    thresholds: tuple[Exponent, ...]
    neighbours: tuple[Exponent, ...]
    capacity: tuple[CapacityFit, ...]
    trends: tuple[Trend, ...]
    controls: tuple[ControlRow, ...]
    sentences: dict[str, str] = Field(description="A verdict for each section that was measured, by its name.")


def analyse(study: Study) -> StudyAnalysis:
    """Derive everything; pure, equal studies give equal values."""
    points = study.points
    measured: list[Rule] = [rule for rule in RULES if any(point.count(rule) is not None for point in points)]
    exponents: dict[Rule, Exponent] = {rule: rule_exponent(points, rule) for rule in measured}
    thresholds, neighbours = threshold_exponents(points), neighbour_exponents(points)
    capacity = tuple(fit for rule in PART_RULES if (fit := fit_capacity(points, rule)) is not None)
    trends = tuple(_trends(points))
    controls = tuple(_controls(points, exponents))
    sentences = {
        "growth": _texts(exponents),
        "thresholds": _flatness(thresholds, "the correlation threshold"),
        "neighbours": _flatness(neighbours, "k"),
        "capacity": " ".join(f"{fit.rule.capitalize()} rule: {fit.words}" for fit in capacity),
        "polarization": _polarization(points, trends),
        "specialisation": _specialisation(points),
        "controls": _controlled(points, controls),
    }
    return StudyAnalysis(
        fits={rule: fit_scaling(points, rule) for rule in measured},
        exponents={**exponents},
        thresholds=thresholds,
        neighbours=neighbours,
        capacity=capacity,
        trends=trends,
        controls=controls,
        sentences={name: words for name, words in sentences.items() if words},
    )


def _trends(points: Sequence[StudyPoint]) -> list[Trend]:
    rows: dict[tuple[Rule, Measure, Kind], list[tuple[float, float]]] = {}
    for point in points:
        for panel in point.selectivity:
            for one in panel.contrasts:
                rows.setdefault((panel.rule, one.measure, "rosetta"), []).append(
                    (point.neurons_mean, one.rosetta.median)
                )
                rows.setdefault((panel.rule, one.measure, "others"), []).append((point.neurons_mean, one.others.median))
    return [
        Trend(measure=measure, rule=rule, kind=kind, sizes=len(row), per_decade=slope, interval=between)
        for (rule, measure, kind), row in rows.items()
        if len({x for x, _ in row}) > 1
        for slope, between in (_slope(row),)
    ]


def _slope(row: Sequence[tuple[float, float]]) -> tuple[float, Interval | None]:
    x, y = np.log10([x for x, _ in row]), np.asarray([y for _, y in row])
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    freedom = len(x) - 2
    if freedom < 1:
        return slope, None
    error = np.sqrt(np.sum((y - y.mean() - slope * centred) ** 2) / freedom / (centred @ centred))
    half = float(stats.t.ppf(0.975, freedom) * error)
    return slope, (slope - half, slope + half)


def _controls(points: Sequence[StudyPoint], exponents: Mapping[Rule, Exponent]) -> list[ControlRow]:
    gated = {pair_name(point, pair) for point in points for pair in point.pairs if pair.gated}
    rules: list[Rule] = [rule for rule in PART_RULES if rule in exponents]
    found = [ControlRow(question="Rosetta neurons of the group", exponent=exponents[rule]) for rule in rules]
    for rule in rules:
        found += [
            ControlRow(question=_CLASS_QUESTIONS[one.name], exponent=one) for one in class_exponents(points, rule)
        ]
    for rule in rules:
        for one in pair_exponents(points, rule):
            question = "pair with a gated model" if one.name in gated else "pair of architectures"
            found.append(ControlRow(question=question, exponent=one))
    return found


_CLASS_QUESTIONS = {
    "rosetta": "chosen by one peer, found in another: matched neurons",
    "high kurtosis": "chosen by one peer, found in another: unmatched neurons of high kurtosis",
    "same activity": "chosen by one peer, found in another: unmatched neurons of the same activity",
}


def _texts(exponents: Mapping[Rule, Exponent]) -> str:
    """What the fold bootstrap says of each rule's exponent."""
    return " ".join(
        f"{rule.capitalize()} rule: on other documents these models would give an exponent from {one.bootstrap[0]:.2f} to "
        f"{one.bootstrap[1]:.2f} ({one.replicates} replicates, biased by {one.bias:+.2f})."
        for rule, one in exponents.items()
        if one.bootstrap and one.bias is not None
    )


def _flatness(series: Sequence[Exponent], dial: str) -> str:
    """Whether the intervals of the others hold the first exponent, over other texts and over the sizes' scatter."""
    fitted = [one for one in series if one.alpha is not None and one.sizes > 2 and one.sizes == series[0].sizes]
    if len(fitted) < 2:  # an exponent over fewer sizes, where others count zero, is no comparison
        return ""
    alphas = [one.alpha or 0.0 for one in fitted]
    first = alphas[0]
    words = f"With {dial} the exponent moves between {min(alphas):.2f} and {max(alphas):.2f}."
    texts = [one.name for one in fitted[1:] if one.bootstrap and not one.bootstrap[0] <= first <= one.bootstrap[1]]
    sizes = [one.name for one in fitted[1:] if one.interval and not one.interval[0] <= first <= one.interval[1]]
    if not texts and not sizes:
        return f"{words} Every interval holds {first:.2f}: the points do not contradict a constant exponent."
    if texts:
        words += f" Other texts would not bring it back to {first:.2f} for these models at {_listed(texts)}."
    if sizes:
        return f"{words} The sizes' scatter does not explain it at {_listed(sizes)}: it is not constant."
    return f"{words} The sizes' scatter could, so nothing is said of other models."


def _polarization(points: Sequence[StudyPoint], trends: Sequence[Trend]) -> str:
    return " ".join(words for rule in PART_RULES if (words := _polarization_of(points, trends, rule)))


def _polarization_of(points: Sequence[StudyPoint], trends: Sequence[Trend], rule: Rule) -> str:
    panels = [(point, panel) for point in points for panel in point.selectivity if panel.rule == rule]
    if not panels:
        return ""
    point, panel = panels[-1]
    compared = [one for one in panel.contrasts if one.measure != "active_fraction"]
    above = [one.measure for one in compared if one.delta_interval[0] > 0]
    below = [one.measure for one in compared if one.delta_interval[1] < 0]
    sides: dict[tuple[Measure, Kind], Trend] = {}
    for trend in trends:
        if trend.rule == rule:
            sides[trend.measure, trend.kind] = trend
    rising = [one.measure for one in compared if _outruns(sides, one.measure)]
    words = (
        f"{rule.capitalize()} rule: at the largest size ({point.label}, {panel.neurons} Rosetta neurons) higher than in others "
        f"of the same layers and active fractions: {_listed(above) or 'nothing'}; lower: {_listed(below) or 'nothing'}."
    )
    if not enough_sizes(len(panels), decades_of([point.neurons_mean for point in points])):
        return f"{words} Not enough sizes for a trend."
    if rising:
        return f"{words} Rising with size faster than in the others, as polarization says: {_listed(rising)}."
    return (
        f"{words} No measure rises with size faster than in the others beyond its interval: polarization is not shown."
    )


def _outruns(sides: Mapping[tuple[Measure, Kind], Trend], measure: Measure) -> bool:
    """Whether the Rosetta median rises with size, beyond its interval, and faster than the others' does."""
    mine, theirs = sides.get((measure, "rosetta")), sides.get((measure, "others"))
    return bool(mine and theirs and mine.interval and mine.interval[0] > max(0.0, theirs.per_decade))


def _specialisation(points: Sequence[StudyPoint]) -> str:
    found = [(point, one) for point in points for one in point.specialisation if one.rule == "strict"]
    if not found:
        return ""
    point, last = found[-1]
    mine = next(one for one in last.index if one.kind == "rosetta")
    theirs = next(one for one in last.index if one.kind == "others")
    medians = f"is {mine.median:.2f}, of others {theirs.median:.2f}"
    words = f"At {point.label} the median specialisation index of strict Rosetta neurons {medians}"
    if mine.controlled_median is None or theirs.controlled_median is None:
        return f"{words}; token identity was not controlled for."
    return (
        f"{words}; with token identity controlled for, {mine.controlled_median:.2f} and {theirs.controlled_median:.2f}."
    )


def _controlled(points: Sequence[StudyPoint], controls: Sequence[ControlRow]) -> str:
    last = next((point for point in reversed(points) if point.classes), None)
    if last is None:
        return ""
    slopes = {row.exponent.name: row.exponent.alpha for row in controls if row.exponent.rule == "strict"}
    parts = []
    for one in last.classes:
        if one.rule == "strict" and one.members:
            slope = slopes.get(one.name)
            grows = "" if slope is None else f" (exponent {slope:.2f})"
            parts.append(f"{one.carried / one.members:.0%} of the {_CLASS_NAMES[one.name]}{grows}")
    return f"At {last.label} a second peer matches, strictly, {_listed(parts)}." if parts else ""


_CLASS_NAMES = {
    "rosetta": "neurons that the first peer matches",
    "high kurtosis": "unmatched neurons of the highest kurtosis",
    "same activity": "unmatched neurons of the same layers and activity",
}


def _listed(names: Sequence[str]) -> str:
    plain = [name.replace("_", " ") for name in names]
    return " and ".join([", ".join(plain[:-1]), plain[-1]] if len(plain) > 1 else plain)

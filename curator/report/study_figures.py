"""The figures of a scaling study: from its points and their analysis to drawings; the numbers are in ``study_tables``.

Thick bars and bands are fold-bootstrap intervals (other texts), thin ones Student's over the sizes' scatter about the line.
Rosetta neurons are filled blue, what they are compared with hollow or grey. ``study_drawings`` names every figure that the
study can fill. Cost: about 0.2 s a figure. They fit nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from curator.report.drawing import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PURPLE,
    Drawing,
    canvas,
    finished,
    legend_above,
    panels,
    styled,
)
from curator.report.neuron_figures import controls_figure, exponent_mark, polarization_figure, specialisation_figure
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.exponents import Exponent
from curator.scaling.parts import Rule
from curator.scaling.points import Study, StudyPoint

_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN, PURPLE, MUTED), ("o", "s", "^", "D", "v")
_RULES: tuple[tuple[Rule, str, str], ...] = (("paper", "o", BLUE), ("strict", "s", GREEN))


def study_drawings(study: Study, analysis: StudyAnalysis) -> dict[str, Drawing]:
    """Every figure that the study can fill, by the name of its section."""
    points = study.points
    made: dict[str, Callable[[], Drawing | None]] = {
        "growth": lambda: growth_figure(points, analysis),
        "fraction": lambda: fraction_figure(points),
        "exponents": lambda: exponents_figure(analysis),
        "budgets": lambda: budgets_figure(points),
        "capacity": lambda: capacity_figure(analysis),
        "polarization": lambda: polarization_figure(points),
        "specialisation": lambda: specialisation_figure(points),
        "controls": lambda: controls_figure(analysis),
    }
    return {name: drawing for name, make in made.items() if (drawing := make()) is not None}


def growth_figure(points: Sequence[StudyPoint], analysis: StudyAnalysis) -> Drawing | None:
    """Counts by two rules with their fits and bootstrap bands, beside the nulls and untrained models; both axes logarithmic."""
    if not points:
        return None
    x = np.asarray([point.neurons_mean for point in points])
    with styled():
        figure, axes = canvas(6.6, 4.4)
        for rule, marker, colour in _RULES:
            _line(axes, x, points, analysis.exponents.get(rule), colour)
            counts = [point.count(rule) for point in points]
            _marks(axes, x, counts, marker, colour, f"{rule} rule", filled=True)
        nulls = (
            ("deranged documents", "^", ORANGE, [point.decoy_derangement.paper for point in points]),
            ("rotated layers", "v", ORANGE, [point.decoy_rotation.paper for point in points]),
            ("untrained models", "X", MUTED, [point.untrained for point in points]),
        )
        for name, marker, colour, counts in nulls:
            _marks(axes, x, counts, marker, colour, f"paper rule, {name}", filled=False)
        _sizes(axes, points)
        axes.set_yscale("log")
        _plain(axes, "y")
        axes.set_ylabel("matched neurons of the anchor")
        legend_above(axes, 2)
        return finished(
            figure,
            "study-growth",
            "Rosetta neurons by model size with fitted power laws and their bootstrap bands, and what nulls give",
        )


def fraction_figure(points: Sequence[StudyPoint]) -> Drawing | None:
    """Share of the anchor's neurons, by rule."""
    if not points:
        return None
    x = np.asarray([point.neurons_mean for point in points])
    with styled():
        figure, axes = canvas(6.0, 3.2)
        for rule, marker, colour in _RULES:
            counts = [point.count(rule) for point in points]
            share = [None if n is None else 100 * n / p.neurons_anchor for n, p in zip(counts, points, strict=True)]
            kept = [(place, value) for place, value in zip(x, share, strict=True) if value is not None]
            if kept:
                axes.plot(*zip(*kept, strict=True), marker=marker, color=colour, label=f"{rule} rule", linewidth=1.2)
        _sizes(axes, points)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("% of the anchor's neurons")
        legend_above(axes, 2)
        return finished(
            figure, "study-fraction", "Share of the anchor's neurons that are Rosetta neurons, by model size"
        )


def exponents_figure(analysis: StudyAnalysis) -> Drawing | None:
    """The exponent against the correlation threshold and against k; theory says both are flat."""
    dials = (("correlation at least", analysis.thresholds), ("k of the mutual k nearest", analysis.neighbours))
    if not any(one.alpha is not None for _, series in dials for one in series):
        return None
    with styled():
        figure, both = panels(7.0, 3.2, 2)
        for axes, (name, series) in zip(both, dials, strict=True):
            shown = [one for one in series if one.alpha is not None]
            for place, one in enumerate(shown):
                exponent_mark(axes, place, one)
            axes.set_xticks(range(len(shown)), [f"{one.value:g}" for one in shown])
            if shown:
                axes.axhline(shown[0].alpha or 0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_xlabel(name)
            axes.grid(visible=True, axis="y")
        both[0].set_ylabel("exponent α")
        return finished(
            figure, "study-exponents", "Exponent of the scaling law against the correlation threshold and against k"
        )


def budgets_figure(points: Sequence[StudyPoint]) -> Drawing | None:
    """Paper counts on parts of the corpus and on all of it; hollow marks are deranged documents."""
    shown = [point for point in points if point.budgets and point.tokens]
    if not shown:
        return None
    with styled():
        figure, axes = canvas(6.6, 4.0)
        for number, point in enumerate(shown):
            colour, marker = _COLOURS[number % 5], _MARKERS[number % 5]
            tokens = [budget.tokens for budget in point.budgets]
            counts = [float(np.mean(budget.counts)) for budget in point.budgets]
            axes.plot(
                [*tokens, point.tokens or 0], [*counts, point.paper], color=colour, marker=marker, label=point.label
            )
            decoys = [(t, float(np.mean(b.deranged))) for t, b in zip(tokens, point.budgets, strict=True) if b.deranged]
            if decoys:
                axes.scatter(*zip(*decoys, strict=True), marker=marker, facecolors="none", edgecolors=colour, s=30)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _plain(axes, "x")
        _plain(axes, "y")
        axes.set_xlabel("tokens of text")
        axes.set_ylabel("paper rule: matched neurons")
        axes.grid(visible=True)
        legend_above(axes, 5)
        return finished(
            figure,
            "study-budgets",
            "Matched neurons by amount of text for each model size; hollow marks are deranged documents",
        )


def capacity_figure(analysis: StudyAnalysis) -> Drawing | None:
    """Measured against predicted by the capacity model: count, fraction, isolation, correlation."""
    fit = next(iter(analysis.capacity), None)  # of the paper rule, where it was measured
    if fit is None:
        return None
    quantities = (
        ("count", "count"),
        ("fraction", "fraction"),
        ("isolation_median", "isolation, median"),
        ("correlation_mean", "match correlation, mean"),
    )
    with styled():
        figure, four = panels(8.4, 2.8, 4)
        for axes, (name, title) in zip(four, quantities, strict=True):
            x = [size.neurons for size in fit.sizes]
            values = [getattr(size, name) for size in fit.sizes]
            axes.plot(x, [one.predicted for one in values], color=MUTED, linestyle=(0, (4, 3)), label="model")
            axes.scatter(x, [one.measured for one in values], color=BLUE, s=36, zorder=3, label="measured")
            axes.set_xscale("log")
            if name in {"count", "fraction"}:
                axes.set_yscale("log")
                _plain(axes, "y")
            else:
                axes.set_ylim(bottom=0)
            axes.set_xticks(x, [f"{n:,}" for n in x], rotation=60, fontsize=8)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(title, fontsize=9.5)
            axes.grid(visible=True)
        four[0].legend(fontsize=8)
        return finished(
            figure,
            "study-capacity",
            f"Capacity model with beta {fit.beta:.2f}, fitted to the counts of the {fit.rule} rule: measured against predicted",
        )


def _line(axes: Axes, x: np.ndarray, points: Sequence[StudyPoint], fit: Exponent | None, colour: str) -> None:
    """The fitted line, and the band of the replicates' lines around it."""
    if fit is None or fit.alpha is None or fit.c is None:
        return
    grid = np.geomspace(x.min() / 1.15, x.max() * 1.15, 40)
    axes.plot(
        grid, fit.c * grid**fit.alpha, color=colour, linewidth=1.3, label=f"{fit.rule} rule: exponent {fit.alpha:.2f}"
    )
    if fit.bootstrap is None:
        return
    pivot = np.exp(np.log([point.neurons_mean for point in points if fit.counts.get(point.label)]).mean())
    level = fit.c * pivot**fit.alpha
    low, high = (level * (grid / pivot) ** slope for slope in fit.bootstrap)
    axes.fill_between(grid, np.minimum(low, high), np.maximum(low, high), color=colour, alpha=0.15, linewidth=0)


def _marks(
    axes: Axes, x: np.ndarray, counts: Sequence[int | None], marker: str, colour: str, label: str, *, filled: bool
) -> None:
    """Counts over sizes; a zero is drawn at one half, for it has no place on a logarithmic axis."""
    shown = [(place, count or 0.5) for place, count in zip(x, counts, strict=True) if count is not None]
    if shown:
        face = colour if filled else "none"
        axes.scatter(
            *zip(*shown, strict=True), marker=marker, facecolors=face, edgecolors=colour, s=40, label=label, zorder=3
        )


def _sizes(axes: Axes, points: Sequence[StudyPoint]) -> None:
    axes.set_xscale("log")
    axes.set_xticks([point.neurons_mean for point in points], [f"{point.neurons_mean:,.0f}" for point in points])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("neurons, mean of the matched models")
    axes.grid(visible=True)


def _plain(axes: Axes, which: str) -> None:
    """Numbers without powers of ten on a logarithmic axis."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_locator(NullLocator())

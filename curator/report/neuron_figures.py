"""Figures of a study's neurons: selectivity, specialisation, and exponents as marks with their intervals.

Thick bars are fold-bootstrap intervals (other texts), thin ones Student's over the sizes' scatter about the line. Rosetta
neurons are blue, what they are compared with is grey. Cost: about 0.2 s a figure. They fit nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from curator.report.drawing import BLUE, MUTED, Drawing, canvas, finished, panels, styled
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.exponents import Exponent
from curator.scaling.parts import DomainFiring, Rule
from curator.scaling.points import StudyPoint

_CLASSES = {
    "rosetta": "class: matched by one peer",
    "high kurtosis": "class: high kurtosis",
    "same activity": "class: same activity",
}
_KINDS = {"rosetta": "Rosetta", "others": "matched others"}
_MEASURES = {
    "gini": "Gini",
    "treves_rolls": "Treves–Rolls",
    "hoyer": "Hoyer",
    "excess_kurtosis": "excess kurtosis",
    "context_coherence": "context coherence",
    "vocabulary_kurtosis": "vocabulary kurtosis",
}


def polarization_figure(points: Sequence[StudyPoint]) -> Drawing | None:
    """Medians of each measure by size, Rosetta neurons against matched others, with bootstrap intervals."""
    rule = _shown([one.rule for point in points for one in point.selectivity])
    panels_of = [(point, one) for point in points for one in point.selectivity if one.rule == rule]
    named = [name for name in _MEASURES if any(c.measure == name for _, panel in panels_of for c in panel.contrasts)]
    if not named:
        return None
    with styled():
        figure, many = panels(1.9 * len(named) + 0.6, 3.0, len(named))
        for axes, name in zip(many, named, strict=True):
            rows = [(point, c) for point, panel in panels_of for c in panel.contrasts if c.measure == name]
            x = np.asarray([point.neurons_mean for point, _ in rows])
            for kind, colour, marker, shift in (("rosetta", BLUE, "o", 0.96), ("others", MUTED, "s", 1.04)):
                middle = np.asarray([getattr(c, kind).median for _, c in rows])
                between = np.asarray([getattr(c, f"{kind}_interval") for _, c in rows]).T
                axes.vlines(x * shift, between[0], between[1], color=colour, linewidth=1.6)
                axes.plot(x * shift, middle, color=colour, marker=marker, markersize=5, linewidth=1, label=_KINDS[kind])
            axes.set_xscale("log")
            axes.set_xticks(x, [point.label for point, _ in rows], rotation=60, fontsize=8)
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_title(_MEASURES[name], fontsize=9.5)
            axes.grid(visible=True, axis="y")
        many[0].legend(fontsize=8, loc="best")
        return finished(
            figure,
            "study-polarization",
            f"Selectivity of Rosetta neurons ({rule} rule) and of others of the same layers and active fractions, by model size",
        )


def specialisation_figure(points: Sequence[StudyPoint]) -> Drawing | None:
    """The index by size, and each domain's best neuron at the largest size; hollow: token identity controlled for."""
    rule = _shown([one.rule for point in points for one in point.specialisation])
    found = [(point, one) for point in points for one in point.specialisation if one.rule == rule]
    if not found:
        return None
    with styled():
        figure, (left, right) = panels(8.0, 4.2, 2)
        labels = [point.label for point, _ in found]
        for kind, colour, marker in (("rosetta", BLUE, "o"), ("others", MUTED, "s")):
            rows = [next(one for one in firing.index if one.kind == kind) for _, firing in found]
            left.plot(labels, [row.median for row in rows], color=colour, marker=marker, label=_KINDS[kind])
            controlled = [np.nan if row.controlled_median is None else row.controlled_median for row in rows]
            left.plot(
                labels,
                controlled,
                color=colour,
                marker=marker,
                markerfacecolor="none",
                linestyle=(0, (4, 3)),
                linewidth=1,
            )
        left.set_ylim(0, 1)
        left.set_ylabel("specialisation index, median")
        left.legend(fontsize=8, loc="lower right")
        left.grid(visible=True, axis="y")
        _domains(right, found[-1][1].domains, found[-1][0].label)
        return finished(
            figure,
            "study-specialisation",
            f"Specialisation by model size and domain ({rule} rule); hollow marks have token identity controlled for",
        )


def controls_figure(analysis: StudyAnalysis) -> Drawing | None:
    """Exponents of all control classes, one line each."""
    rows = [row for row in analysis.controls if row.exponent.alpha is not None]
    if not rows:
        return None
    with styled():
        figure, axes = canvas(6.4, 0.8 + 0.29 * len(rows))
        for place, row in enumerate(rows):
            exponent_mark(axes, place, row.exponent, upright=False)
        axes.axvline(rows[0].exponent.alpha or 0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [_label(row.exponent) for row in rows], fontsize=8.5)
        axes.invert_yaxis()
        axes.set_xlim(-0.5, 2.0)
        axes.set_xlabel("exponent α (in brackets: sizes in the fit)")
        axes.grid(visible=True, axis="x")
        return finished(
            figure, "study-controls", "Exponents of Rosetta neurons and of the control classes, with intervals"
        )


def _shown(rules: Sequence[Rule]) -> Rule:
    """The strict rule where it has neurons at all."""
    return "strict" if "strict" in rules else "paper"


def _label(one: Exponent) -> str:
    name = _CLASSES.get(one.name, one.name.replace(f", {one.rule} rule", ""))
    return f"{name}, {one.rule} ({one.sizes})"


def exponent_mark(axes: Axes, place: float, one: Exponent, *, upright: bool = True) -> None:
    """An exponent with both its intervals: Student's thin, the bootstrap's thick."""
    lines = axes.vlines if upright else axes.hlines
    for between, width in ((one.interval, 1.2), (one.bootstrap, 4.0)):
        if between:
            lines(place, *between, color=BLUE, linewidth=width, alpha=0.45 if width > 2 else 1.0)
    alpha = one.alpha or 0.0
    at = (place, alpha) if upright else (alpha, place)
    axes.scatter(*at, color=BLUE if one.sizes > 2 else "none", edgecolors=BLUE, s=34, zorder=3)


def _domains(axes: Axes, rows: Sequence[DomainFiring], label: str) -> None:
    names = list(dict.fromkeys(row.domain for row in rows))
    for kind, colour, marker, shift in (("rosetta", BLUE, "o", -0.15), ("others", MUTED, "s", 0.15)):
        for row in (row for row in rows if row.kind == kind):
            if row.best_ap is None:
                continue
            at = names.index(row.domain) + shift
            axes.scatter(row.best_ap, at, marker=marker, color=colour, s=30, zorder=3)
            if row.controlled_ap is not None:
                axes.scatter(row.controlled_ap, at, marker=marker, facecolors="none", edgecolors=colour, s=30, zorder=3)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03)
    axes.set_xlabel("average precision of the best neuron", fontsize=9)
    axes.set_title(label, fontsize=9.5)
    axes.grid(visible=True, axis="x")

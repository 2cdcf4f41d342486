"""The report's figures: pure functions from data to an SVG string, equal bytes for equal data.

matplotlib draws through its object interface (no pyplot, no shared state); a fixed hash salt and absent metadata make
the bytes reproducible. The SVG is then made fit for a page: text stays text, element names get a prefix so that
several figures can share one document, and the colours become CSS variables with the printed colour as fallback, so
that one drawing serves light and dark. The palette is Okabe and Ito's, and shape or line style always repeats what
colour says. Cost: about 40 ms a figure, so a page of thousands of neurons needs another way to draw its histograms.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from curator.report.inputs import CalibrationBin, DomainHistogram, PrecisionRecallPoint
from curator.scaling.points import StudyPoint
from curator.scaling.verdict import ScalingFit

# What matplotlib draws with, and the CSS variable that takes its place on the page.
INK, MUTED, RULE = "#1c2024", "#6b7280", "#d4d7dd"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#007a5a", "#aa4499"
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    RULE: "rule",
    BLUE: "blue",
    ORANGE: "orange",
    GREEN: "green",
    PURPLE: "purple",
}

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
_NO_METADATA: dict[str, Any] = {"Date": None, "Creator": None, "Format": None, "Type": None}
_ZERO_AT = 0.5  # where a count of zero is drawn on a logarithmic axis


def scaling_figure(points: Sequence[StudyPoint], fits: Mapping[str, ScalingFit]) -> str:
    """Counts by mean neuron count, both axes logarithmic: real matches filled, nulls hollow, the paper rule's fit as a line."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(6.6, 4.4)
        axes.set_xscale("log")
        axes.set_yscale("log")
        _fit_line(axes, points, fits.get("paper"))
        x = [point.neurons_mean for point in points]
        series = (
            ("paper rule", [point.paper for point in points], "o", BLUE, True),
            ("strict rule", [point.strict for point in points], "s", GREEN, True),
            ("universal rule", [point.universal for point in points], "D", PURPLE, True),
            ("null: deranged documents", [point.decoy_derangement.paper for point in points], "^", ORANGE, False),
            ("null: rotated layers", [point.decoy_rotation.paper for point in points], "v", ORANGE, False),
            ("untrained models", [point.untrained for point in points], "X", MUTED, False),
        )
        for name, counts, marker, colour, filled in series:
            _scatter(axes, x, counts, marker=marker, colour=colour, filled=filled, label=name)
        axes.set_xlabel("neurons, mean of the matched models")
        axes.set_ylabel("matched neurons of the anchor")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
            axis.set_minor_locator(NullLocator())
        axes.grid(visible=True)
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, fontsize=9, handletextpad=0.5)
        return _svg(
            figure, "scaling", "Matched neurons by model size, with the counts that nulls give and the power-law fit"
        )


def histogram_figure(histogram: DomainHistogram, target: str, name: str, title: str) -> str:
    """One row for each domain, the target first and in blue, the others by falling mean activation.

    A row's height is the square root of the share of the domain's values in a bin, so that a thin tail stays visible; the
    rows share one scale.
    """
    edges = np.asarray(histogram.edges, dtype=np.float64)
    centres = (edges[:-1] + edges[1:]) / 2
    counts = {domain: np.asarray(row, dtype=np.float64) for domain, row in histogram.counts.items()}
    means = {domain: float(row @ centres / max(row.sum(), 1.0)) for domain, row in counts.items()}
    order = sorted(counts, key=lambda domain: (domain != target, -means[domain], domain))
    heights = {domain: np.sqrt(row / max(row.sum(), 1.0)) for domain, row in counts.items()}
    tallest = max(float(row.max()) for row in heights.values()) or 1.0
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.6, 0.62 + 0.26 * len(order))
        for row, domain in enumerate(order):
            top = 0.9 * heights[domain] / tallest - row
            colour = BLUE if domain == target else MUTED
            axes.stairs(top, edges, baseline=-row, fill=True, color=colour, alpha=0.55, linewidth=0)
            axes.stairs(top, edges, baseline=-row, color=colour, linewidth=0.9)
        axes.set_yticks([0.28 - row for row in range(len(order))], order, fontsize=9)
        axes.get_yticklabels()[0].set_fontweight("bold" if order[0] == target else "normal")
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(float(edges[0]), float(edges[-1]))
        axes.set_ylim(-len(order) + 0.9, 1.0)
        axes.set_xlabel("activation", fontsize=9)
        return _svg(figure, name, title)


def calibration_figure(bins: Sequence[CalibrationBin]) -> str:
    """Observed share against predicted probability, points sized by their documents; the diagonal is perfect calibration."""
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.4, 3.9)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
        predicted, observed = [b.predicted for b in bins], [b.observed for b in bins]
        axes.plot(predicted, observed, color=BLUE, linewidth=1.2)
        largest = max((b.count for b in bins), default=1) or 1
        axes.scatter(predicted, observed, s=[18 + 90 * b.count / largest for b in bins], color=BLUE, zorder=3)
        _unit_square(axes, "predicted probability", "share on target")
        return _svg(figure, "calibration", "Share of documents on target against the predicted probability")


def precision_recall_figure(
    curve: Sequence[PrecisionRecallPoint], chosen: tuple[float, float] | None, prevalence: float | None
) -> str:
    """Precision against recall; the filter's (recall, precision) as a diamond, a random choice's precision as a dashed line."""
    ordered = sorted(curve, key=lambda point: (point.recall, -point.precision))
    with mpl.rc_context(_STYLE):
        figure, axes = _canvas(4.4, 3.9)
        if prevalence is not None:
            axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), label="random choice")
        axes.plot([p.recall for p in ordered], [p.precision for p in ordered], color=BLUE, label="scorer")
        if chosen is not None:
            axes.scatter([chosen[0]], [chosen[1]], marker="D", s=52, color=ORANGE, zorder=3, label="this filter")
        _unit_square(axes, "recall: share of the target found", "precision: share of kept on target")
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, fontsize=9, handletextpad=0.5, columnspacing=1.2
        )
        return _svg(figure, "precision-recall", "Precision against recall of the filter on held-out documents")


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    return figure, figure.add_subplot()


def _unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(-0.02, 1.03)
    axes.set_ylim(-0.02, 1.03)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(visible=True)


def _scatter(
    axes: Axes, x: list[float], counts: Sequence[int | None], *, marker: str, colour: str, filled: bool, label: str
) -> None:
    shown = [(place, count or _ZERO_AT) for place, count in zip(x, counts, strict=True) if count is not None]
    if not shown:
        return
    places, heights = zip(*shown, strict=True)
    face = colour if filled else "none"
    axes.scatter(
        places, heights, s=44, marker=marker, facecolors=face, edgecolors=colour, linewidths=1.4, label=label, zorder=3
    )


def _fit_line(axes: Axes, points: Sequence[StudyPoint], fit: ScalingFit | None) -> None:
    if fit is None or fit.power_law is None:
        return
    x = [point.neurons_mean for point in points]
    grid = np.geomspace(min(x) / 1.15, max(x) * 1.15, 60)
    law = fit.power_law
    label = f"fit, paper rule: exponent {law.alpha:.2f}"
    # A fit that the sizes cannot carry is dashed: the line describes the points, it is no law.
    axes.plot(
        grid, law.predict(grid), color=BLUE, linewidth=1.4, linestyle="-" if fit.enough else (0, (5, 3)), label=label
    )
    if (band := law.band(grid)) is not None:
        axes.fill_between(grid, band[0], band[1], color=BLUE, alpha=0.12, linewidth=0)


def _svg(figure: Figure, name: str, title: str) -> str:
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(
            buffer, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.06, metadata=_NO_METADATA
        )
    figure.clear()
    return _for_page(buffer.getvalue(), name, title)


def _for_page(svg: str, name: str, title: str) -> str:
    """Strip what only a file of its own needs, and make names, colours, size and title fit for a shared document."""
    name = f"figure-{name}"
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable}, {colour})")
    view_box = re.search(r'viewBox="0 0 ([0-9.]+) [^"]+"', svg)
    width = round(float(view_box.group(1)) * 4 / 3) if view_box else 600
    head = (
        f'<svg class="figure" role="img" aria-labelledby="{name}-title" style="max-width: {width}px" '
        f'xmlns="http://www.w3.org/2000/svg" {view_box.group(0) if view_box else ""}>\n'
        f'<title id="{name}-title">{escape(title)}</title>'
    )
    return head + svg[svg.index(">") + 1 :].rstrip()

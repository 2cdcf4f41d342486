"""The figures of a neuron set's report: pure functions from the report's inputs to a ``Drawing``, equal bytes for equal data.

``drawing`` says how they look; the study's figures are in ``study_figures``. Neurons' histograms and contexts are not drawn
here but by the page's script, for there may be thousands. Cost: about 0.15 s a figure.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.ticker import PercentFormatter

from curator.report.derived import OperatingRow
from curator.report.drawing import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    Drawing,
    canvas,
    finished,
    legend_above,
    styled,
    unit_square,
)
from curator.report.inputs import CalibrationBin, DepthEntry, PrecisionRecallPoint, RosettaSummary

_DASHED = (0, (4, 3))


def matches_figure(found: RosettaSummary) -> Drawing:
    """How many neurons each rule matches in real text, in deranged text and with rotated layers, as labelled bars."""
    sources = (
        ("real text", found.paper, found.strict, BLUE, BLUE),
        ("deranged documents", found.decoy_derangement.paper, found.decoy_derangement.strict, ORANGE, "none"),
        ("rotated layers", found.decoy_rotation.paper, found.decoy_rotation.strict, MUTED, "none"),
    )
    largest = max((value or 0 for _, paper, strict, _, _ in sources for value in (paper, strict)), default=1) or 1
    with styled():
        figure, axes = canvas(6.4, 2.7)
        for row, (name, paper, strict, colour, face) in enumerate(sources):
            for group, count in enumerate((strict, paper)):
                at = group * 4 + row
                axes.barh(at, count or 0, height=0.8, facecolor=face, edgecolor=colour, linewidth=1.3)
                text = "not measured" if count is None else f"{count:,}"
                axes.text((count or 0) + 0.012 * largest, at, f"{text}  {name}", va="center", fontsize=9, color=INK)
        axes.set_yticks([1, 5], ["strict rule", "paper rule"])
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, 1.42 * largest)
        axes.set_ylim(6.7, -0.7)
        axes.set_xlabel("neurons of the anchor matched in every peer")
        return finished(
            figure, "matches", "Matched neurons by rule, beside what the same search finds in scrambled data"
        )


def thresholds_figure(rows: Sequence[OperatingRow]) -> Drawing:
    """Precision, recall and the share of tokens kept at each threshold, with 95 % bands of the first two."""
    x = [row.threshold for row in rows]
    with styled():
        figure, axes = canvas(6.4, 3.8)
        for name, values, bands, colour, marker in (
            ("precision", [r.precision for r in rows], [r.precision_interval for r in rows], BLUE, "o"),
            ("recall", [r.recall for r in rows], [r.recall_interval for r in rows], GREEN, "s"),
        ):
            known = [(a, value, band) for a, value, band in zip(x, values, bands, strict=True) if value is not None]
            axes.plot([k[0] for k in known], [k[1] for k in known], color=colour, marker=marker, ms=4.5, label=name)
            shaded = [(a, band) for a, _, band in known if band is not None]
            axes.fill_between(
                [a for a, _ in shaded], [b[0] for _, b in shaded], [b[1] for _, b in shaded],
                color=colour, alpha=0.13, linewidth=0,
            )  # fmt: skip
        shares = [(row.threshold, row.token_share) for row in rows if row.token_share is not None]
        axes.plot(
            [a for a, _ in shares],
            [b for _, b in shares],
            color=ORANGE,
            marker="^",
            ms=4.5,
            linestyle=_DASHED,
            label="share of tokens kept",
        )
        unit_square(axes, "threshold on the probability", "")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        legend_above(axes, 3)
        return finished(
            figure, "thresholds", "Precision, recall and tokens kept at each threshold, on held-out documents"
        )


def calibration_figure(bins: Sequence[CalibrationBin]) -> Drawing:
    """Observed share against predicted probability, points sized by their documents; the diagonal is perfect calibration."""
    with styled():
        figure, axes = canvas(4.4, 3.9)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=_DASHED)
        predicted, observed = [b.predicted for b in bins], [b.observed for b in bins]
        axes.plot(predicted, observed, color=BLUE, linewidth=1.2)
        largest = max((b.count for b in bins), default=1) or 1
        axes.scatter(predicted, observed, s=[18 + 90 * b.count / largest for b in bins], color=BLUE, zorder=3)
        unit_square(axes, "predicted probability", "share on target")
        return finished(figure, "calibration", "Share of documents on target against the predicted probability")


def precision_recall_figure(
    curve: Sequence[PrecisionRecallPoint], chosen: tuple[float, float] | None, prevalence: float | None
) -> Drawing:
    """Precision against recall; the run's (recall, precision) as a diamond, a random choice's precision as a dashed line."""
    ordered = sorted(curve, key=lambda point: (point.recall, -point.precision))
    with styled():
        figure, axes = canvas(4.4, 3.9)
        if prevalence is not None:
            axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=_DASHED, label="random choice")
        axes.plot([p.recall for p in ordered], [p.precision for p in ordered], color=BLUE, label="held-out documents")
        if chosen is not None:
            axes.scatter([chosen[0]], [chosen[1]], marker="D", s=52, color=ORANGE, zorder=3, label="this run")
        unit_square(axes, "recall: share of the target found", "precision: share of kept on target")
        legend_above(axes, 2)
        return finished(figure, "precision-recall", "Precision against recall of the filter on held-out documents")


def depth_figure(depths: Sequence[DepthEntry]) -> Drawing:
    """Held-out average precision by the layers that are read; the whole set is the last point, filled."""
    known = [(entry.depth, entry.average_precision) for entry in depths if entry.average_precision is not None]
    with styled():
        figure, axes = canvas(4.4, 3.4)
        axes.plot([d for d, _ in known], [p for _, p in known], color=BLUE, marker="o", markerfacecolor="white")
        for depth, precision in known[-1:]:
            axes.scatter([depth], [precision], s=60, color=BLUE, zorder=4)
        axes.set_ylim(0, 1.03)
        axes.set_xticks([entry.depth for entry in depths])
        axes.set_xlabel("layers read")
        axes.set_ylabel("average precision")
        axes.grid(visible=True)
        return finished(figure, "depth", "Average precision on held-out documents by the number of layers read")

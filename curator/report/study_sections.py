"""The study's sections: growth with size, and whatever else the study measured, each a panel with its numbers.

An anchor of the study begins with ``study``. Cost: that of the figures. It measures and fits nothing.
"""

from __future__ import annotations

from curator.report import figures
from curator.report.findings import Findings
from curator.report.inputs import ReportInputs
from curator.report.panels import Column, Panel, Table
from curator.scaling.points import Study
from curator.scaling.verdict import ScalingFit


def study_panels(inputs: ReportInputs, findings: Findings) -> tuple[Panel, ...]:
    """All panels of the study; one that says "not measured" without a study."""
    return (growth_panel(inputs.study, findings),)


def growth_panel(study: Study | None, findings: Findings) -> Panel:
    """How the count grows with model size."""
    measured = study is not None and bool(study.points)
    return Panel(
        anchor="study-growth",
        title="How the count grows with model size",
        short="Growth",
        how="Each column of marks is one size. Filled marks are real matches and hollow ones are nulls; a straight line on "
        "these axes is a power law, and its slope is the exponent.",
        drawings=(figures.scaling_figure(study.points, findings.fits),) if study and measured else (),
        caption="The band is the 95% interval of the line; a dashed line describes the points and is no law. A count of zero is "
        "drawn at one half.",
        tables=_growth_tables(study, findings) if study and measured else (),
        remarks=tuple(_verdict(fit) for fit in findings.fits.values()) if measured else (),
    )


def _verdict(fit: ScalingFit) -> str:
    left_out = f" Left out of the line, for a count of zero has no logarithm: {', '.join(fit.excluded)}."
    return f"{fit.rule.capitalize()} rule. {fit.verdict}{left_out if fit.excluded else ''}"


def _growth_tables(study: Study, findings: Findings) -> tuple[Table, ...]:
    counts = Table(
        "Matched neurons by size",
        (
            Column("size", "text"),
            Column("mean neurons", "number", 0),
            Column("paper", "count"),
            Column("strict", "count"),
            Column("universal", "count"),
            Column("null: documents", "count"),
            Column("null: layers", "count"),
            Column("untrained", "count"),
        ),
        tuple(
            (
                p.label,
                p.neurons_mean,
                p.paper,
                p.strict,
                p.universal,
                p.decoy_derangement.paper,
                p.decoy_rotation.paper,
                p.untrained,
            )
            for p in study.points
        ),
    )
    sizes = Table(
        "Sizes in full",
        (
            Column("size", "text"),
            Column("anchor", "text"),
            Column("peers", "text"),
            Column("share matched", "share", 1),
            Column("mean ρ"),
            Column("half-corpus Jaccard", "number", 2),
            Column("spans", "count"),
        ),
        tuple(
            (
                p.label,
                p.anchor,
                ", ".join(p.peers),
                findings.derived.point_fractions[p.label],
                p.mean_correlation,
                p.half_jaccard,
                p.spans,
            )
            for p in study.points
        ),
    )
    return (counts, sizes, _fits_table(findings), *_curves_tables(findings))


def _fits_table(findings: Findings) -> Table:
    return Table(
        "Power-law fits, count = c × neurons^α, by least squares and by the count model",
        (
            Column("rule", "text"),
            Column("sizes", "count"),
            Column("decades", "number", 2),
            Column("α", "number", 2),
            Column("95% interval", "interval", 2),
            Column("R²"),
            Column("c"),
            Column("α, count model", "number", 2),
            Column("95% interval, count model", "interval", 2),
        ),
        tuple(
            (
                rule,
                fit.sizes,
                fit.decades,
                *(
                    (fit.power_law.alpha, fit.power_law.interval, fit.power_law.r_squared, fit.power_law.c)
                    if fit.power_law
                    else (None,) * 4
                ),
                *((fit.counts.alpha, fit.counts.interval) if fit.counts else (None, None)),
            )
            for rule, fit in findings.fits.items()
        ),
    )


def _curves_tables(findings: Findings) -> tuple[Table, ...]:
    fit = findings.fits.get("paper")
    if fit is None or not fit.curves:
        return ()
    return (
        Table(
            "Other curves through the paper rule's counts; a lower ΔAICc is better, below 2 there is no preference",
            (
                Column("curve", "text"),
                Column("formula", "text"),
                Column("ΔAICc", "number", 1),
                Column("error at the held-out largest size", "share", 0),
            ),
            tuple((curve.name, curve.formula, curve.delta_aicc, curve.held_out_error) for curve in fit.curves),
        ),
    )

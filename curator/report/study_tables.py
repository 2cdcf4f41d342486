"""The numbers behind the figures of a scaling study, as tables that page, Markdown and JSON print alike.

Keys are those of ``study_figures.study_drawings``, and ``pairs`` and ``stars``, which have no figure. Every figure's marks
are in a table here; replicates themselves are in the study's file. They compute nothing but what a row needs to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.report.neuron_tables import (
    FIT,
    RULE,
    SIZE,
    classes_table,
    controls_table,
    domains_table,
    fit_cells,
    index_table,
    selectivity_table,
    trends_table,
)
from curator.report.panels import Column, Table, Value
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.exponents import Exponent
from curator.scaling.points import Study, StudyPoint


def study_tables(study: Study, analysis: StudyAnalysis) -> dict[str, tuple[Table, ...]]:
    """All tables that have a row, by the name of their section."""
    points = study.points
    made = {
        "growth": (_counts(points), _exponents("Exponents by rule", list(analysis.exponents.values()))),
        "fraction": (_fractions(points),),
        "pairs": (_pairs(points),),
        "stars": (_stars(points),),
        "exponents": (
            _exponents("Exponent against the correlation threshold", analysis.thresholds),
            _exponents("Exponent against k", analysis.neighbours),
            *_dials(points),
        ),
        "budgets": (_budgets(points),),
        "capacity": tuple(_capacity(analysis)),
        "polarization": (selectivity_table(points), trends_table(analysis)),
        "specialisation": (index_table(points), domains_table(points)),
        "controls": (controls_table(analysis), classes_table(points)),
    }
    kept = {name: tuple(table for table in tables if table.rows) for name, tables in made.items()}
    return {name: tables for name, tables in kept.items() if tables}


def _counts(points: Sequence[StudyPoint]) -> Table:
    columns = (
        SIZE,
        Column("mean neurons", "number", 0),
        *(Column(name, "count") for name in ("paper", "strict", "universal", "deranged", "rotated", "untrained")),
        Column("untrained, strict", "count"),
        Column("half-corpus Jaccard", "number", 2),
        Column("mean ρ", "number", 3),
        Column("95% of paper", "interval", 0),
        Column("95% of strict", "interval", 0),
    )
    rows: list[tuple[Value, ...]] = [
        (
            point.label,
            point.neurons_mean,
            point.paper,
            point.strict,
            point.universal,
            point.decoy_derangement.paper,
            point.decoy_rotation.paper,
            point.untrained,
            point.untrained_strict,
            point.half_jaccard,
            point.mean_correlation,
            _middle(point.paper_draws),
            _middle(point.strict_draws),
        )
        for point in points
    ]
    return Table(
        "Matched neurons by size; the intervals are of the replicates' counts as they are", columns, tuple(rows)
    )


def _middle(draws: Sequence[int]) -> tuple[float, float] | None:
    if not draws:
        return None
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def _fractions(points: Sequence[StudyPoint]) -> Table:
    columns = (SIZE, Column("anchor's neurons", "count"), Column("paper", "share", 2), Column("strict", "share", 2))
    rows = tuple(
        (
            point.label,
            point.neurons_anchor,
            point.fraction,
            None if point.strict is None else point.strict / point.neurons_anchor,
        )
        for point in points
    )
    return Table("Share of the anchor's neurons", columns, rows)


def _pairs(points: Sequence[StudyPoint]) -> Table:
    columns = (
        SIZE,
        Column("first", "text"),
        Column("second", "text"),
        *(
            Column(name, "count")
            for name in ("paper", "strict", "deranged", "rotated", "deranged, strict", "rotated, strict")
        ),
        Column("mean ρ"),
    )
    rows = tuple(
        (
            point.label,
            pair.first,
            pair.second,
            pair.paper.count,
            pair.strict.count,
            pair.deranged.paper,
            pair.rotated.paper,
            pair.deranged.strict,
            pair.rotated.strict,
            pair.mean_correlation,
        )
        for point in points
        for pair in point.pairs
    )
    return Table("Every pair of models of a size", columns, rows)


def _stars(points: Sequence[StudyPoint]) -> Table:
    columns = (SIZE, Column("counted in", "text"), *(Column(n, "count") for n in ("paper", "strict", "clique")))
    rows = tuple(
        (point.label, star.anchor, star.paper, star.strict, star.clique) for point in points for star in point.stars
    )
    return Table("The intersection of all models of a size, counted in the neurons of each", columns, rows)


def _exponents(caption: str, series: Sequence[Exponent]) -> Table:
    return Table(caption, (Column("counted", "text"), *FIT), tuple((one.name, *fit_cells(one)) for one in series))


def _dials(points: Sequence[StudyPoint]) -> list[Table]:
    found = []
    for caption, name in (("Counts by correlation threshold", "thresholds"), ("Counts by k", "neighbours")):
        curves = [(point, curve) for point in points if (curve := getattr(point, name)) is not None]
        heads = [value for value, _ in curves[0][1].entries] if curves else ()
        rows = tuple((point.label, *(one.count for one in curve.counts)) for point, curve in curves)
        found.append(Table(caption, (SIZE, *(Column(f"{value:g}", "count") for value in heads)), rows))
    return found


def _budgets(points: Sequence[StudyPoint]) -> Table:
    columns = (
        SIZE,
        Column("share of the text", "share", 1),
        Column("tokens", "count"),
        Column("spans that decide", "count"),
        Column("parts", "count"),
        Column("mean count", "number", 1),
        Column("lowest and highest", "interval", 0),
        Column("mean, deranged", "number", 1),
        Column("Jaccard with all text", "number", 2),
    )
    rows = tuple(
        (
            point.label,
            one.share,
            one.tokens,
            one.deciding_spans,
            len(one.counts),
            float(np.mean(one.counts)),
            (float(min(one.counts)), float(max(one.counts))),
            float(np.mean(one.deranged)) if one.deranged else None,
            one.jaccard,
        )
        for point in points
        for one in point.budgets
    )
    return Table("Paper rule on parts of the text", columns, rows)


def _capacity(analysis: StudyAnalysis) -> list[Table]:
    constants = Table(
        "The capacity model's constants",
        (RULE, Column("β"), Column("κ", "number", 4), Column("τ"), Column("rms log error of the counts")),
        tuple((fit.rule, fit.beta, fit.kappa, fit.tau, fit.rms_log_error) for fit in analysis.capacity),
    )
    names = ("count", "fraction", "isolation_median", "isolation_mean", "correlation_mean")
    columns = (
        RULE,
        SIZE,
        Column("quantity", "text"),
        Column("measured", "number", 4),
        Column("predicted", "number", 4),
    )
    rows = tuple(
        (fit.rule, size.label, name.replace("_", ", "), getattr(size, name).measured, getattr(size, name).predicted)
        for fit in analysis.capacity
        for size in fit.sizes
        for name in names
    )
    return [constants, Table("Measured against predicted", columns, rows)]

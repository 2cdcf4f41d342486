"""The numbers behind the figures of a scaling study, as tables that page, Markdown and JSON print alike.

Keys are those of ``study_figures.study_drawings``, and ``pairs`` and ``stars``, which have no figure. Every figure's marks are in a
table here; replicates themselves are in the study's file. They compute nothing but what a row needs to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curator.report.panels import Column, Table, Value
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.exponents import Exponent
from curator.scaling.points import Study, StudyPoint

_FIT = (
    Column("sizes", "count"),
    Column("α", "number", 2),
    Column("95% over sizes", "interval", 2),
    Column("95% fold bootstrap", "interval", 2),
    Column("bias of replicates", "number", 2),
)
_SIZE, _RULE = Column("size", "text"), Column("rule", "text")


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
        "polarization": (_selectivity(points), _trends(analysis)),
        "specialisation": (_index(points), _domains(points)),
        "controls": (_controls(analysis), _classes(points)),
    }
    kept = {name: tuple(table for table in tables if table.rows) for name, tables in made.items()}
    return {name: tables for name, tables in kept.items() if tables}


def _counts(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
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
    columns = (_SIZE, Column("anchor's neurons", "count"), Column("paper", "share", 2), Column("strict", "share", 2))
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
        _SIZE,
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
    columns = (_SIZE, Column("counted in", "text"), *(Column(n, "count") for n in ("paper", "strict", "clique")))
    rows = tuple(
        (point.label, star.anchor, star.paper, star.strict, star.clique) for point in points for star in point.stars
    )
    return Table("The intersection of all models of a size, counted in the neurons of each", columns, rows)


def _exponents(caption: str, series: Sequence[Exponent]) -> Table:
    return Table(caption, (Column("counted", "text"), *_FIT), tuple((one.name, *_fit(one)) for one in series))


def _fit(one: Exponent) -> tuple[Value, ...]:
    return one.sizes, one.alpha, one.interval, one.bootstrap, one.bias


def _dials(points: Sequence[StudyPoint]) -> list[Table]:
    found = []
    for caption, name, place in (
        ("Counts by correlation threshold", "thresholds", "rho"),
        ("Counts by k", "neighbours", "k"),
    ):
        curves = [(point, curve) for point in points if (curve := getattr(point, name)) is not None]
        heads = getattr(curves[0][1], place) if curves else ()
        rows = tuple((point.label, *(one.count for one in curve.counts)) for point, curve in curves)
        found.append(Table(caption, (_SIZE, *(Column(f"{value:g}", "count") for value in heads)), rows))
    return found


def _budgets(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
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
        (_RULE, Column("β"), Column("κ", "number", 4), Column("τ"), Column("rms log error of the counts")),
        tuple((fit.rule, fit.beta, fit.kappa, fit.tau, fit.rms_log_error) for fit in analysis.capacity),
    )
    names = ("count", "fraction", "isolation_median", "isolation_mean", "correlation_mean")
    columns = (
        _RULE,
        _SIZE,
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


def _selectivity(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
        _RULE,
        Column("neurons", "count"),
        Column("measure", "text"),
        *(
            Column(f"{kind}, {value}", "number", 3)
            for kind in ("Rosetta", "others")
            for value in ("median", "trimmed", "mean")
        ),
        Column("difference of medians"),
        Column("95%", "interval", 3),
        Column("Cliff's δ", "number", 2),
        Column("95% of δ", "interval", 2),
    )
    rows = tuple(
        (
            point.label,
            panel.rule,
            panel.neurons,
            one.measure.replace("_", " "),
            *(getattr(side, value) for side in (one.rosetta, one.others) for value in ("median", "trimmed", "mean")),
            one.difference,
            one.interval,
            one.cliffs_delta,
            one.delta_interval,
        )
        for point in points
        for panel in point.selectivity
        for one in panel.contrasts
    )
    return Table("Selectivity of Rosetta neurons and of others of the same layers and active fractions", columns, rows)


def _trends(analysis: StudyAnalysis) -> Table:
    columns = (
        _RULE,
        Column("measure", "text"),
        Column("neurons", "text"),
        Column("sizes", "count"),
        Column("per tenfold size"),
        Column("95%", "interval", 3),
    )
    rows = tuple(
        (one.rule, one.measure.replace("_", " "), one.kind, one.sizes, one.per_decade, one.interval)
        for one in analysis.trends
    )
    return Table("How the medians move with size", columns, rows)


def _index(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
        _RULE,
        Column("neurons", "text"),
        Column("number", "count"),
        Column("index, median"),
        Column("95%", "interval", 2),
        Column("controlled"),
        Column("95% controlled", "interval", 2),
    )
    rows = tuple(
        (
            point.label,
            firing.rule,
            one.kind,
            one.neurons,
            one.median,
            one.interval,
            one.controlled_median,
            one.controlled_interval,
        )
        for point in points
        for firing in point.specialisation
        for one in firing.index
    )
    return Table("Specialisation index, as it is and with token identity controlled for", columns, rows)


def _domains(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
        _RULE,
        Column("domain", "text"),
        Column("neurons", "text"),
        Column("NormalizedFire", "number", 2),
        Column("best AUROC"),
        Column("best AP"),
        Column("chance AP"),
        Column("with AUROC > 0.9", "count"),
        Column("best AUROC, controlled"),
        Column("best AP, controlled"),
        Column("with AUROC > 0.9, controlled", "count"),
    )
    rows = tuple(
        (
            point.label,
            firing.rule,
            one.domain,
            one.kind,
            one.normalized_fire,
            one.best_auroc,
            one.best_ap,
            firing.prevalence[one.domain],
            one.tellers,
            one.controlled_auroc,
            one.controlled_ap,
            one.controlled_tellers,
        )
        for point in points
        for firing in point.specialisation
        for one in firing.domains
    )
    return Table("Domains: chosen on one half of the sources, reported on the other", columns, rows)


def _controls(analysis: StudyAnalysis) -> Table:
    columns = (Column("what", "text"), Column("counted", "text"), _RULE, *_FIT, Column("left out (zero)", "text"))
    rows = tuple(
        (row.question, row.exponent.name, row.exponent.rule, *_fit(row.exponent), ", ".join(row.exponent.excluded))
        for row in analysis.controls
    )
    return Table("Does the same scaling hold?", columns, rows)


def _classes(points: Sequence[StudyPoint]) -> Table:
    columns = (
        _SIZE,
        Column("class", "text"),
        _RULE,
        Column("neurons", "number", 1),
        Column("found in another peer", "number", 1),
        Column("share", "share", 1),
    )
    rows = tuple(
        (point.label, one.name, one.rule, one.members, one.carried, one.carried / one.members if one.members else None)
        for point in points
        for one in point.classes
    )
    return Table("Neurons that one peer chooses, found in another peer that did not choose them", columns, rows)

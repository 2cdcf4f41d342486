"""Tables of a study's neurons: selectivity, specialisation, control classes and the cells of a fit.

They compute nothing but what a row needs to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from curator.report.panels import Column, Table, Value
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.exponents import Exponent
from curator.scaling.points import StudyPoint

FIT = (
    Column("sizes", "count"),
    Column("α", "number", 2),
    Column("95% over sizes", "interval", 2),
    Column("95% fold bootstrap", "interval", 2),
    Column("bias of replicates", "number", 2),
)
SIZE, RULE = Column("size", "text"), Column("rule", "text")


def selectivity_table(points: Sequence[StudyPoint]) -> Table:
    """Every measure of every size."""
    columns = (
        SIZE,
        RULE,
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


def trends_table(analysis: StudyAnalysis) -> Table:
    """Slopes of the medians."""
    columns = (
        RULE,
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


def index_table(points: Sequence[StudyPoint]) -> Table:
    """Specialisation index by size, rule and kind."""
    columns = (
        SIZE,
        RULE,
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


def domains_table(points: Sequence[StudyPoint]) -> Table:
    """Every domain of every size, rule and kind."""
    columns = (
        SIZE,
        RULE,
        Column("domain", "text"),
        Column("neurons", "text"),
        Column("NormalizedFire", "number", 2),
        Column("best AUROC"),
        Column("best AP"),
        Column("chance AP"),
        Column("d' of the best", "number", 2),
        Column("bits of the best", "number", 3),
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
            one.best_d_prime,
            one.best_mutual_information,
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


def controls_table(analysis: StudyAnalysis) -> Table:
    """Exponents of all classes."""
    columns = (Column("what", "text"), Column("counted", "text"), RULE, *FIT, Column("left out (zero)", "text"))
    rows = tuple(
        (row.question, row.exponent.name, row.exponent.rule, *fit_cells(row.exponent), ", ".join(row.exponent.excluded))
        for row in analysis.controls
    )
    return Table("Does the same scaling hold?", columns, rows)


def classes_table(points: Sequence[StudyPoint]) -> Table:
    """Counts of the control classes."""
    columns = (
        SIZE,
        Column("class", "text"),
        RULE,
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


def fit_cells(one: Exponent) -> tuple[Value, ...]:
    """The cells under ``FIT``."""
    return one.sizes, one.alpha, one.interval, one.bootstrap, one.bias

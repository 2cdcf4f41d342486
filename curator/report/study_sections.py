"""The study's sections: growth with size, and whatever else the study measured, each a panel with its verdict and numbers.

Figures and tables come from ``study_figures`` and ``study_tables`` under the same names; here they get a title and the sentence
that says how to read them. The anchor of each begins with ``study``. What a quick study did not measure has no section, and the
first one says what that is. Cost: that of the figures. It measures and fits nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from curator.report.findings import Findings
from curator.report.panels import Column, Panel, Table
from curator.report.study_figures import study_drawings
from curator.report.study_tables import study_tables
from curator.scaling.analysis import StudyAnalysis
from curator.scaling.points import Study
from curator.scaling.verdict import ScalingFit


class _Section(NamedTuple):
    """A section's name, its title, how to read it, what is said under the figure; whose tables and sentences are added."""

    name: str
    title: str
    how: str
    caption: str = ""
    tables: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


_SECTIONS = (
    _Section(
        "growth",
        "How the count grows with model size",
        "Each column of marks is one size. Filled marks are real matches and hollow ones are nulls; a straight line on these "
        "axes is a power law, and its slope is the exponent.",
        "Bands are 95% intervals of the line: over other texts where folds were resampled, over the sizes' scatter otherwise. A "
        "dashed line describes the points and is no law. A count of zero is drawn at one half.",
        sentences=("growth",),
    ),
    _Section(
        "fraction",
        "Which share of the neurons is shared, and between whom",
        "A count that grows more slowly than the model is a falling share. The tables have every pair of models of a size, and "
        "the three-way intersection counted from each of its anchors.",
        tables=("pairs", "stars"),
    ),
    _Section(
        "exponents",
        "Whether the exponent hangs on a dial",
        "The theory wants one exponent whatever correlation a match must reach, and however many neighbours may match.",
        "Thick bars: other texts (fold bootstrap). Thin ones: the sizes' scatter about the line.",
        sentences=("thresholds", "neighbours"),
    ),
    _Section(
        "budgets",
        "Whether more text would change it",
        "The count on equal parts of the corpus, beside what deranged documents give there: a curve that is still falling or "
        "rising has not seen enough text.",
        "Filled: real text. Hollow: deranged documents.",
    ),
    _Section(
        "capacity",
        "What the capacity model predicts",
        "A model with N neurons spends a fixed budget of isolation on features of falling importance (paper, section 4.3). "
        "Fitted to the counts alone, it foretells the share, the isolation and the correlation of the matches.",
        sentences=("capacity",),
    ),
    _Section(
        "polarization",
        "Whether shared neurons grow more selective",
        "Rosetta neurons beside others of the same layers and active fractions. The effect that the paper names polarization is "
        "a gap that widens with size.",
        "Bars are 95% intervals of the medians; of three layers or more they resample layers, and neurons within.",
        sentences=("polarization",),
    ),
    _Section(
        "specialisation",
        "Whether they keep to a domain",
        "How far a neuron's firing is confined to one domain, as it is and after the mean of each span's own text is taken away: "
        "what is left is not the work of a few frequent tokens.",
        "Blue: Rosetta neurons, grey: matched others. Hollow: token identity controlled for. Right: each domain's best neuron at "
        "the largest size, on documents that did not choose it.",
        sentences=("specialisation",),
    ),
    _Section(
        "controls",
        "Whether anything else grows so",
        "The same exponent for classes that should not show it, for other pairs of architectures, and for gated models.",
        sentences=("controls",),
    ),
)


def study_panels(study: Study | None, findings: Findings) -> tuple[Panel, ...]:
    """All panels that the study can fill; the first stands empty without a study."""
    if study is None or not study.points or findings.study is None:
        return (Panel(f"study-{_SECTIONS[0].name}", _SECTIONS[0].title, _SECTIONS[0].how),)
    drawings, tables = study_drawings(study, findings.study), study_tables(study, findings.study)
    made = []
    for section in _SECTIONS:
        drawing = drawings.get(section.name)
        of_section = tuple(table for name in (section.name, *section.tables) for table in tables.get(name, ()))
        extra = _fit_tables(findings.study) if section.name == "growth" else ()
        made.append(
            Panel(
                anchor=f"study-{section.name}",
                title=section.title,
                how=section.how,
                drawings=(drawing,) if drawing else (),
                caption=section.caption,
                tables=(*of_section, *extra),
                remarks=_remarks(section, study, findings.study),
            )
        )
    return tuple(panel for panel in made if not panel.empty)


def _remarks(section: _Section, study: Study, analysis: StudyAnalysis) -> tuple[str, ...]:
    said = tuple(analysis.sentences[name] for name in section.sentences if name in analysis.sentences)
    if section.name != _SECTIONS[0].name:
        return said
    verdicts = tuple(_verdict(fit) for fit in analysis.fits.values())
    quick = not any(point.full for point in study.points)
    return (*verdicts, *said, *((_QUICK,) if quick else ()))


_QUICK = (
    "Not measured in this study: pairs, dials, parts of the text, the capacity model, selectivity, specialisation and control "
    "classes; a full study measures them."
)


def _verdict(fit: ScalingFit) -> str:
    left_out = f" Left out of the line, for a count of zero has no logarithm: {', '.join(fit.excluded)}."
    return f"{fit.rule.capitalize()} rule. {fit.verdict}{left_out if fit.excluded else ''}"


def _fit_tables(analysis: StudyAnalysis) -> tuple[Table, ...]:
    """Both fits of every rule, and the other curves through the paper rule's counts."""
    fits = Table(
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
        tuple(_fit_row(rule, fit) for rule, fit in analysis.fits.items()),
    )
    paper = analysis.fits.get("paper")
    if paper is None or not paper.curves:
        return (fits,)
    curves = Table(
        "Other curves through the paper rule's counts; a lower ΔAICc is better, below 2 there is no preference",
        (
            Column("curve", "text"),
            Column("formula", "text"),
            Column("ΔAICc", "number", 1),
            Column("error at the held-out largest size", "share", 0),
        ),
        tuple((curve.name, curve.formula, curve.delta_aicc, curve.held_out_error) for curve in paper.curves),
    )
    return fits, curves


def _fit_row(rule: str, fit: ScalingFit) -> tuple[str | float | tuple[float, float] | None, ...]:
    law, counts = fit.power_law, fit.counts
    by_squares = (law.alpha, law.interval, law.r_squared, law.c) if law else (None,) * 4
    return rule, fit.sizes, fit.decades, *by_squares, *((counts.alpha, counts.interval) if counts else (None, None))

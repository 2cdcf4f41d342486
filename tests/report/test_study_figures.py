"""The study's figures show marks for what was measured; their tables hold the study's own numbers."""

import re

import pytest

from curator.report.drawing import Drawing
from curator.report.neuron_figures import controls_figure
from curator.report.study_figures import study_drawings
from curator.report.study_tables import study_tables
from curator.scaling.analysis import StudyAnalysis, analyse
from curator.scaling.points import Study, StudyPoint
from curator.zoo.catalog import WEIGHTS

SECTIONS = {"growth", "fraction", "exponents", "budgets", "capacity", "polarization", "specialisation", "controls"}


@pytest.fixture(scope="module")
def zoo() -> Study:
    return Study.load(WEIGHTS / "study.json")


@pytest.fixture(scope="module")
def analysis(zoo: Study) -> StudyAnalysis:
    return analyse(zoo)


@pytest.fixture(scope="module")
def drawings(zoo: Study, analysis: StudyAnalysis) -> dict[str, Drawing]:
    return study_drawings(zoo, analysis)


def test_every_section_of_a_full_study_has_a_figure_with_marks_and_a_title(drawings: dict[str, Drawing]):
    assert set(drawings) == SECTIONS
    for drawing in drawings.values():
        assert drawing.title and f'aria-labelledby="figure-{drawing.name}-title"' in drawing.page_svg
        assert len(re.findall(r"<(?:use|path) ", drawing.page_svg)) > 20
        assert "nan" not in drawing.page_svg.lower()
    assert len({drawing.name for drawing in drawings.values()}) == len(drawings)


def test_equal_data_gives_equal_bytes(analysis: StudyAnalysis, drawings: dict[str, Drawing]):
    again = controls_figure(analysis)
    assert again is not None and again == drawings["controls"]


def test_every_figure_has_a_table_and_every_row_fits_its_head(zoo: Study, analysis: StudyAnalysis):
    tables = study_tables(zoo, analysis)
    assert set(tables) == SECTIONS | {"pairs", "stars"}
    for table in (table for found in tables.values() for table in found):
        assert table.rows and all(len(row) == len(table.columns) for row in table.rows)


def test_tables_hold_the_studys_own_numbers(zoo: Study, analysis: StudyAnalysis):
    tables = study_tables(zoo, analysis)
    counts = tables["growth"][0]
    place = {column.name: number for number, column in enumerate(counts.columns)}
    for point, row in zip(zoo.points, counts.rows, strict=True):
        shown = [row[place[name]] for name in ("size", "paper", "strict", "deranged", "rotated", "untrained")]
        assert shown == [
            point.label, point.paper, point.strict, point.decoy_derangement.paper, point.decoy_rotation.paper, point.untrained,
        ]  # fmt: skip
    assert len(tables["pairs"][0].rows) == sum(len(point.pairs) for point in zoo.points)
    rows = tables["polarization"][0].rows
    expected = [c.rosetta.median for p in zoo.points for panel in p.selectivity for c in panel.contrasts]
    assert [row[4] for row in rows] == expected


def test_a_study_of_counts_alone_draws_its_counts_alone():
    points = tuple(
        StudyPoint(label=str(x), anchor="a", peers=("b",), neurons_anchor=x, neurons_mean=x, paper=round(x**0.5))
        for x in (256, 1024, 4096)
    )
    study = Study(points=points, probe_fingerprint="f")
    assert set(study_drawings(study, analyse(study))) == {"growth", "fraction", "controls"}
    assert set(study_tables(study, analyse(study))) == {"growth", "fraction", "controls"}

"""What is concluded from a study is recomputed here by other means, on the study that ships with the zoo and on made-up ones."""

import numpy as np
import pytest

from curator.scaling.analysis import analyse
from curator.scaling.points import Study, StudyPoint
from curator.zoo.catalog import WEIGHTS


@pytest.fixture(scope="module")
def zoo() -> Study:
    return Study.load(WEIGHTS / "study.json")


def slope(x: list[float], y: list[float]) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_exponents_are_the_slopes_of_the_counts(zoo: Study):
    found = analyse(zoo)
    x = [point.neurons_mean for point in zoo.points]
    assert found.exponents["paper"].alpha == pytest.approx(slope(x, [point.paper for point in zoo.points]))
    assert found.exponents["strict"].alpha == pytest.approx(slope(x, [point.strict or 0 for point in zoo.points]))
    for one in (*found.thresholds, *found.neighbours, *(row.exponent for row in found.controls)):
        sizes = {point.label: point.neurons_mean for point in zoo.points}
        rows = [(sizes[label], count) for label, count in one.counts.items() if count]
        if one.alpha is not None and "and" not in one.name:
            assert one.alpha == pytest.approx(slope(*map(list, zip(*rows, strict=True))))
        assert set(one.excluded) == {label for label, count in one.counts.items() if not count}


def test_the_shipped_study_is_full_and_agrees_with_itself(zoo: Study):
    for point in zoo.points:
        assert point.full and len(point.paper_draws) == len(point.strict_draws) == 200
        assert point.thresholds is not None and point.neighbours is not None and point.strict is not None
        assert point.thresholds.counts[0].count == point.neighbours.counts[0].count == point.paper
        assert point.neighbours.counts[0].draws == point.paper_draws
        assert point.stars[0].paper == point.paper and point.stars[0].strict == point.strict
        assert len(point.stars) == 3 and len({star.clique for star in point.stars}) == 1, "a clique has no anchor"
        assert len(point.pairs) == (6 if point.beside else 3)
        assert all(max(pair.paper.count, pair.strict.count) <= point.neurons_anchor for pair in point.pairs)
        assert point.untrained_strict == 0 and {one.rule for one in point.correlations} == {"paper", "strict"}
        carried = {one.rule: one.carried for one in point.classes if one.name == "rosetta"}
        assert carried == {"paper": point.paper, "strict": point.strict}
    assert (WEIGHTS / "study.json").stat().st_size < 300_000


def test_a_study_of_counts_alone_gives_fits_and_nothing_else():
    points = tuple(
        StudyPoint(
            label=str(x), anchor="a", peers=("b",), neurons_anchor=x, neurons_mean=x, paper=round(x**0.5), strict=3
        )
        for x in (256, 1024, 4096)
    )
    found = analyse(Study(points=points, probe_fingerprint="f"))
    assert found.exponents["paper"].alpha == pytest.approx(0.5, abs=0.01) and found.exponents["paper"].bootstrap is None
    assert not found.thresholds and not found.capacity and not found.trends and not found.sentences
    assert [row.question for row in found.controls] == ["Rosetta neurons of the group"] * 2


def test_every_verdict_of_the_zoo_is_a_sentence(zoo: Study):
    sentences = analyse(zoo).sentences
    assert set(sentences) == {
        "growth",
        "thresholds",
        "neighbours",
        "capacity",
        "polarization",
        "specialisation",
        "controls",
    }
    assert all(
        words.endswith((".", ")")) and "nan" not in words and "None" not in words for words in sentences.values()
    )


def test_equal_studies_give_equal_conclusions(zoo: Study):
    assert analyse(zoo).model_dump_json() == analyse(Study.load(WEIGHTS / "study.json")).model_dump_json()

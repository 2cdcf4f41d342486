"""Exponents carry two intervals, name what they leave out, and are told apart by threshold, k, pair and class."""

import numpy as np
import pytest

from curator.scaling.exponents import (
    Series,
    neighbour_exponents,
    pair_exponents,
    pair_name,
    rule_exponent,
    threshold_exponents,
)
from curator.scaling.parts import Drawn, NeighbourCurve, PairCounts, ThresholdCurve
from curator.scaling.points import StudyPoint

SIZES = (("32x2", 256), ("64x2", 512), ("96x3", 1152), ("128x4", 2048), ("192x6", 4608))


def pair(label: str, first: str, second: str, x: int, count: int, *, gated: bool = False) -> PairCounts:
    drawn = Drawn(count=count, draws=(count, count + 1))
    return PairCounts(
        first=f"zoo:{first}-{label}", second=f"{second}-{label}", neurons_mean=x, gated=gated, paper=drawn, strict=drawn
    )


def point(label: str, x: int, paper: int, **more) -> StudyPoint:
    anchor, peers = f"zoo:neox-{label}", (f"zoo:gpt2-{label}",)
    return StudyPoint(
        label=label, anchor=anchor, peers=peers, neurons_anchor=x, neurons_mean=x, paper=paper, strict=0, **more
    )


def test_the_bootstrap_interval_is_that_of_the_replicates_slopes_centred_on_the_estimate():
    generator = np.random.default_rng(0)
    truth = [round(0.7 * x**0.6) for _, x in SIZES]
    draws = [tuple(int(v) for v in generator.poisson(1.3 * count, 300)) for count in truth]
    points = [point(label, x, n, paper_draws=d) for (label, x), n, d in zip(SIZES, truth, draws, strict=True)]
    found = rule_exponent(points, "paper")
    log_x = np.log([x for _, x in SIZES])
    slopes = np.polyfit(log_x, np.log(np.maximum(np.asarray(draws), 0.5)), 1)[0]
    low, middle, high = np.quantile(slopes, [0.025, 0.5, 0.975])
    assert found.alpha == pytest.approx(np.polyfit(log_x, np.log(truth), 1)[0])
    assert found.bootstrap == pytest.approx((found.alpha + low - middle, found.alpha + high - middle))
    assert found.bias == pytest.approx(middle - found.alpha) and found.replicates == 300
    assert found.bootstrap[0] < found.alpha < found.bootstrap[1]


def test_a_common_bias_of_all_sizes_moves_neither_the_exponent_nor_its_interval():
    counts = [20, 30, 50, 70, 110]
    series = [Series("plain"), Series("biased")]
    for (label, x), count in zip(SIZES, counts, strict=True):
        for one, factor in zip(series, (1, 2), strict=True):
            one.add(label, x, count, tuple(factor * (count + step) for step in (-3, 0, 4)))
    plain, biased = (one.exponent() for one in series)
    assert plain.bootstrap == pytest.approx(biased.bootstrap) and biased.bias == pytest.approx(plain.bias, abs=1e-12)


def test_a_size_without_any_is_left_out_and_named_and_one_replicates_zero_is_a_half():
    series = Series("rare")
    for (label, x), count in zip(SIZES, (0, 2, 3, 5, 8), strict=True):
        series.add(label, x, count, (0, count, count))
    found = series.exponent()
    assert found.excluded == ("32x2",) and found.sizes == 4 and found.counts["32x2"] == 0
    assert found.bootstrap is not None and np.isfinite(found.bootstrap).all()


def test_two_sizes_give_an_exponent_without_students_interval_and_one_gives_none():
    series = Series("two")
    series.add("a", 256, 10, (9, 11))
    assert series.exponent().alpha is None
    series.add("b", 512, 14, (13, 15))
    found = series.exponent()
    assert found.alpha == pytest.approx(np.log2(1.4)) and found.interval is None and found.bootstrap is not None


def test_thresholds_and_k_are_series_of_their_own():
    points = [
        point(
            label,
            x,
            round(x**0.5),
            thresholds=ThresholdCurve(
                rho=(0.0, 0.5), counts=(Drawn(count=round(x**0.5)), Drawn(count=round(0.5 * x**0.5)))
            ),
            neighbours=NeighbourCurve(k=(1, 3), counts=(Drawn(count=round(x**0.5)), Drawn(count=round(x**0.8)))),
        )
        for label, x in SIZES
    ]
    none, half = threshold_exponents(points)
    assert (none.value, half.value) == (0.0, 0.5)
    assert none.alpha == pytest.approx(0.5, abs=0.02) and half.alpha == pytest.approx(0.5, abs=0.02)
    one, three = neighbour_exponents(points)
    assert one.alpha == pytest.approx(0.5, abs=0.02) and three.alpha == pytest.approx(0.8, abs=0.02)


def test_pairs_of_one_kind_are_one_series_over_sizes():
    points = [
        point(
            label,
            x,
            5,
            pairs=(
                pair(label, "neox", "gpt2", x, round(x**0.7)),
                *([pair(label, "neox", "llama", x, 9, gated=True)] if x in {512, 1152} else []),
            ),
        )
        for label, x in SIZES
    ]
    assert pair_name(points[1], points[1].pairs[1]) == "neox and llama"
    plain, gated = pair_exponents(points, "paper")
    assert plain.name == "neox and gpt2" and plain.alpha == pytest.approx(0.7, abs=0.02) and plain.sizes == 5
    assert gated.name == "neox and llama" and gated.sizes == 2 and gated.alpha == pytest.approx(0)


def test_a_curve_needs_as_many_counts_as_places():
    with pytest.raises(ValueError, match="2 places need as many counts"):
        ThresholdCurve(rho=(0.0, 0.5), counts=(Drawn(count=1),))

"""The fits recover what was put in, refuse what they cannot carry, and say so."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError
from curator.scaling.alternatives import compare_curves
from curator.scaling.fits import fit_counts, fit_power_law
from curator.scaling.points import StudyPoint
from curator.scaling.verdict import fit_scaling

SIZES = [1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0]


def point(label: str, x: float, count: int) -> StudyPoint:
    return StudyPoint(label=label, anchor="a", peers=("b",), neurons_anchor=max(int(x), 1), neurons_mean=x, paper=count)


def points(counts: list[int], sizes: list[float]) -> list[StudyPoint]:
    return [point(str(i), x, count) for i, (x, count) in enumerate(zip(sizes, counts, strict=True))]


@settings(deadline=None, max_examples=50)
@given(alpha=st.floats(0.2, 1.2), c=st.floats(0.1, 20))
def test_an_exact_power_law_is_recovered_exactly(alpha: float, c: float):
    fit = fit_power_law(SIZES, [c * x**alpha for x in SIZES])
    assert fit is not None
    assert fit.alpha == pytest.approx(alpha, abs=1e-9)
    assert fit.c == pytest.approx(c, rel=1e-7)


def test_the_t_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        fit = fit_power_law(SIZES, np.exp(0.3 + 0.6 * np.log(SIZES) + 0.1 * rng.standard_normal(len(SIZES))))
        assert fit is not None and fit.interval is not None
        covered += fit.interval[0] <= 0.6 <= fit.interval[1]
    assert 0.92 <= covered / 400 <= 0.98


def test_least_squares_agrees_with_scipy():
    from scipy import stats

    r = [11, 20, 52, 110, 300, 610]
    fit, theirs = fit_power_law(SIZES, r), stats.linregress(np.log(SIZES), np.log(r))
    assert fit is not None
    assert (fit.alpha, fit.standard_error) == pytest.approx((theirs.slope, theirs.stderr))
    assert fit.r_squared == pytest.approx(theirs.rvalue**2)


def test_the_band_is_narrowest_in_the_middle_and_holds_the_line():
    fit = fit_power_law(SIZES, [11, 20, 52, 110, 300, 610])
    assert fit is not None
    x = np.array([100.0, math.exp(fit.log_x_mean), 1e8])
    low, high = fit.band(x)  # type: ignore[misc]
    assert np.all((low < fit.predict(x)) & (fit.predict(x) < high))
    assert np.argmin(high / low) == 1


def test_two_points_give_an_exponent_without_an_interval():
    fit = fit_power_law([100, 1000], [10, 50])
    assert fit is not None
    assert fit.interval is None and fit.standard_error is None and fit.band(np.array([10.0])) is None


def test_one_size_gives_no_fit():
    assert fit_power_law([100, 100], [10, 12]) is None
    assert fit_counts([100, 100, 100], [10, 12, 13]) is None
    assert compare_curves([100, 100], [10, 12]) == ()


def test_a_zero_is_refused_by_the_logarithm_and_welcome_to_the_count_model():
    with pytest.raises(ConfigError, match="positive"):
        fit_power_law([1, 2, 3], [0, 1, 2])
    assert fit_counts(SIZES, [0, 3, 9, 20, 60, 130]) is not None


def test_unequal_lengths_are_refused():
    with pytest.raises(ConfigError, match="one count for each size"):
        fit_power_law([1, 2, 3], [1, 2])


def test_the_count_model_recovers_a_poisson_law():
    rng = np.random.default_rng(1)
    fit = fit_counts(SIZES, [int(rng.poisson(0.9 * x**0.55)) for x in SIZES])
    assert fit is not None and fit.interval is not None
    assert fit.interval[0] < 0.55 < fit.interval[1]
    assert fit.alpha == pytest.approx(0.55, abs=0.03)
    assert fit.dispersion < 0.02


def test_the_count_model_covers_the_truth_under_overdispersion():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(20):
        mean = 0.9 * np.array(SIZES) ** 0.55
        fit = fit_counts(SIZES, rng.negative_binomial(25, 25 / (25 + mean)).tolist())
        assert fit is not None and fit.interval is not None
        covered += fit.interval[0] <= 0.55 <= fit.interval[1]
    assert covered >= 17


def test_the_count_model_equals_scipys_distribution_at_its_maximum():
    from scipy import stats

    counts = [4, 9, 30, 41, 160, 260]
    fit = fit_counts(SIZES, counts)
    assert fit is not None
    mean, size = fit.c * np.array(SIZES) ** fit.alpha, 1 / fit.dispersion
    assert fit.log_likelihood == pytest.approx(stats.nbinom.logpmf(counts, size, size / (size + mean)).sum(), rel=1e-6)


def test_the_count_interval_nearly_equals_the_t_interval_when_counts_are_large():
    r = [1100, 2500, 5200, 13000, 30000, 58000]
    line, count = fit_power_law(SIZES, r), fit_counts(SIZES, r)
    assert line is not None and line.interval is not None and count is not None and count.interval is not None
    assert count.interval == pytest.approx(line.interval, abs=0.01)


@pytest.mark.parametrize(
    ("name", "law"),
    [
        ("power law", lambda x: 2 * x**0.6),
        ("linear", lambda x: 0.02 * x),
        ("saturating", lambda x: 500 * x / (x + 20000)),
        ("logarithmic", lambda x: 40 * np.log(x / 300)),
    ],
)
def test_the_true_curve_wins_and_forecasts_the_largest_size(name, law):
    rng = np.random.default_rng(3)
    curves = compare_curves(SIZES, [float(law(x) * np.exp(0.01 * rng.standard_normal())) for x in SIZES])
    assert curves[0].name == name
    assert curves[0].delta_aicc == 0
    assert abs(curves[0].held_out_error) < 0.1


def test_curve_parameters_are_in_units_of_x():
    curves = {c.name: c.parameters for c in compare_curves(SIZES, [500 * x / (x + 20000) for x in SIZES])}
    assert curves["saturating"] == pytest.approx({"c": 500, "K": 20000}, rel=1e-3)
    curves = {c.name: c.parameters for c in compare_curves(SIZES, [40 * math.log(x / 300) for x in SIZES])}
    assert curves["logarithmic"] == pytest.approx({"c": 40, "x0": 300}, rel=1e-3)


def test_too_few_points_have_no_aicc():
    assert all(curve.aicc is None for curve in compare_curves(SIZES[:3], [1, 2, 4]))


@pytest.mark.parametrize("sizes", [SIZES[:4], [1000.0, 1500.0, 2000.0, 2500.0, 3000.0], [], SIZES[:1]])
def test_few_sizes_or_a_short_range_get_no_verdict(sizes: list[float]):
    fit = fit_scaling(points([int(math.sqrt(x)) for x in sizes], sizes))
    assert not fit.enough
    assert fit.verdict.startswith("Not enough sizes")


def test_enough_sizes_get_a_verdict_with_its_interval():
    fit = fit_scaling(points([32, 61, 130, 250, 512, 1000], SIZES))
    assert fit.enough
    assert "95% interval" in fit.verdict and "slower than the models do" in fit.verdict


def test_a_better_rival_is_named():
    fit = fit_scaling(points([round(500 * x / (x + 20000)) for x in SIZES], SIZES))
    assert "saturating curve fits better" in fit.verdict


def test_a_zero_count_is_excluded_and_named():
    fit = fit_scaling(points([0, 61, 130, 250, 512, 1000], SIZES))
    assert fit.excluded == ("0",)
    assert fit.sizes == 5 and fit.power_law is not None and fit.power_law.points == 5
    assert fit.counts is not None and fit.counts.points == 6


def test_a_rule_that_was_not_measured_is_named_and_never_counted_as_zero():
    fit = fit_scaling(points([32, 61], SIZES[:2]), "strict")
    assert fit.not_measured == ("0", "1") and fit.excluded == () and fit.power_law is None and fit.counts is None


@settings(deadline=None, max_examples=15)
@given(counts=st.lists(st.integers(0, 1000), min_size=0, max_size=6))
def test_no_count_puts_a_nan_into_json(counts: list[int]):
    fit = fit_scaling(points(counts, SIZES[: len(counts)]))
    json.dumps(fit.model_dump(mode="json"), allow_nan=False)


def test_a_broken_power_law_is_found_where_there_are_sizes_for_it():
    x = np.geomspace(100, 1e6, 12)
    r = np.where(x < 5000, 2 * x**0.8, 2 * 5000**0.5 * x**0.3)
    broken = compare_curves(x.tolist(), r.tolist())[0]
    assert broken.name == "broken power law" and broken.aicc is not None
    assert broken.parameters["a"] == pytest.approx(0.8, abs=0.02) and broken.parameters["b"] == pytest.approx(
        0.3, abs=0.02
    )
    assert broken.parameters["x_b"] == pytest.approx(5000, rel=0.05) and broken.parameters["c"] == pytest.approx(
        2, rel=0.1
    )


def test_a_broken_power_law_has_no_aicc_before_seven_sizes_and_is_not_fitted_before_four():
    for sizes, fitted, judged in ((3, False, False), (5, True, False), (7, True, True)):
        x = np.geomspace(256, 65536, sizes)
        curves = {curve.name: curve for curve in compare_curves(x.tolist(), (3 * x**0.5).tolist())}
        assert ("broken power law" in curves) == fitted
        assert not fitted or (curves["broken power law"].aicc is not None) == judged

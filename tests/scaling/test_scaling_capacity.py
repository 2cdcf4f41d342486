"""The numerical capacity model keeps its budget, is optimal, and gives the exponents of the paper's section 4.3."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curator.errors import ConfigError
from curator.scaling.capacity import CapacityModel, fit_beta, match_correlation, pair_correlation, solve, solve_sizes
from curator.scaling.fits import fit_power_law

SIZES = [2**k for k in range(10, 18)]


def slope(values: list[float]) -> float:
    fit = fit_power_law(SIZES, values)
    assert fit is not None
    return fit.alpha


@pytest.mark.parametrize("beta", [1.5, 2.0, 2.5, 3.0])
def test_the_count_grows_as_the_neurons_to_the_one_over_beta(beta: float):
    solved = solve_sizes(SIZES, CapacityModel(beta=beta))
    assert slope([s.rank_at_threshold for s in solved]) == pytest.approx(1 / beta, abs=0.02)
    assert slope([s.count for s in solved]) == pytest.approx(1 / beta, abs=0.05)


@pytest.mark.parametrize("beta", [1.5, 2.0, 2.5, 3.0])
def test_mean_isolation_grows_as_the_neurons_to_the_rest(beta: float):
    assert slope([s.mean_isolation for s in solve_sizes(SIZES, CapacityModel(beta=beta))]) == pytest.approx(
        1 - 1 / beta, abs=0.05
    )


@settings(deadline=None, max_examples=50)
@given(beta=st.floats(1.05, 4), neurons=st.integers(1, 1 << 16), kappa=st.floats(0.05, 5))
def test_the_whole_budget_is_spent_and_no_more(beta: float, neurons: int, kappa: float):
    solved = solve(neurons, CapacityModel(beta=beta, kappa=kappa))
    assert solved.isolation_by_rank.sum() == pytest.approx(kappa * neurons, rel=1e-6)
    assert np.all(np.diff(solved.isolation_by_rank) <= 0) and np.all(solved.isolation_by_rank >= 0)


def test_no_shift_of_budget_between_two_features_improves_the_objective():
    model = CapacityModel(beta=2.0)
    s_R = solve(1000, model).isolation_by_rank
    importance_R = np.arange(1, len(s_R) + 1) ** -model.beta
    value = np.sum(importance_R * np.log1p(s_R))
    rng = np.random.default_rng(0)
    for _ in range(100):
        give, take = rng.choice(len(s_R), 2, replace=False)
        moved = s_R.copy()
        amount = min(0.05, moved[give])
        moved[give] -= amount
        moved[take] += amount
        assert np.sum(importance_R * np.log1p(moved)) <= value + 1e-12


def test_the_exponent_does_not_depend_on_the_threshold():
    slopes = [
        slope([s.rank_at_threshold for s in solve_sizes(SIZES, CapacityModel(beta=2, tau=t))]) for t in (0.25, 1, 4)
    ]
    assert max(slopes) - min(slopes) < 1e-9


def test_equal_isolation_of_one_is_a_correlation_of_one_half():
    assert match_correlation(np.array([1.0, 0.0, 1e12]), np.array([1.0, 5.0, 1e12])) == pytest.approx([0.5, 0, 1])


def test_two_sizes_correlate_best_on_the_most_important_features():
    small, large = solve_sizes([1024, 16384], CapacityModel(beta=1.8))
    rho_R = pair_correlation(small, large)
    assert len(rho_R) == len(small.isolation_by_rank)
    assert np.all(np.diff(rho_R) <= 0) and 0 < rho_R[-1] < rho_R[0] < 1


def test_beta_is_the_inverse_exponent_and_only_inside_the_model():
    assert fit_beta(0.5) == 2
    with pytest.raises(ConfigError, match="between 0 and 1"):
        fit_beta(1.2)
    with pytest.raises(ConfigError, match="at least one neuron"):
        solve(0, CapacityModel(beta=2))

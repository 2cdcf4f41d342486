"""The capacity model fitted to counts that it made itself: its constants come back, and what was not fitted agrees."""

import numpy as np
import pytest

from curator.scaling.capacity import CapacityModel, match_correlation, solve
from curator.scaling.parts import Correlations
from curator.scaling.points import StudyPoint
from curator.scaling.prediction import fit_capacity

SIZES = (2048, 8192, 32768, 131072)


def points_of(model: CapacityModel, sizes=SIZES) -> list[StudyPoint]:
    """What a study would measure if the model were true: neurons with s above tau, and their correlations."""
    found = []
    for neurons in sizes:
        solved = solve(neurons, model)
        s_R = solved.isolation_by_rank[: solved.count]
        rho_R = match_correlation(s_R, s_R)
        correlations = Correlations(
            rule="paper",
            neurons=solved.count,
            mean=float(rho_R.mean()),
            median=float(np.median(rho_R)),
            low=model.tau / (1 + model.tau),
            isolation_mean=float(s_R.mean()),
            isolation_median=float(np.median(s_R)),
        )
        found.append(
            StudyPoint(
                label=str(neurons), anchor="a", peers=("b",), neurons_anchor=neurons, neurons_mean=neurons,
                paper=solved.count, correlations=(correlations,),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize("beta", [1.5, 2.0, 3.0])
def test_the_model_recovers_itself_from_counts_alone(beta: float):
    fit = fit_capacity(points_of(CapacityModel(beta=beta, kappa=0.6, tau=1.5)), "paper")
    assert fit is not None and not fit.at_bound
    assert fit.beta == pytest.approx(beta, rel=0.05) and fit.tau == pytest.approx(1.5)
    for size in fit.sizes:
        assert size.count.predicted == pytest.approx(size.count.measured, rel=0.05)
        assert size.isolation_median.predicted == pytest.approx(size.isolation_median.measured, rel=0.35)
        assert size.correlation_mean.predicted == pytest.approx(size.correlation_mean.measured, rel=0.05)
    assert fit.growth.predicted == pytest.approx(1 - 1 / beta, abs=0.1)
    assert "as the model says it should" in fit.words


@pytest.mark.parametrize("beta", [1.5, 2.0, 2.5, 3.0])
def test_median_isolation_and_mean_correlation_do_not_depend_on_size(beta: float):
    fit = fit_capacity(points_of(CapacityModel(beta=beta)), "paper")
    assert fit is not None
    medians = [size.isolation_median.predicted for size in fit.sizes]
    assert np.std(np.log(medians)) < 0.15
    assert np.std([size.correlation_mean.predicted for size in fit.sizes]) < 0.03


def test_two_sizes_or_no_correlations_are_not_fitted():
    points = points_of(CapacityModel(beta=2.0))
    assert fit_capacity(points[:2], "paper") is None
    assert fit_capacity(points, "strict") is None


def test_counts_that_grow_faster_than_the_models_end_at_the_range_of_beta():
    points = [p.model_copy(update={"correlations": (p.correlations[0].model_copy(update={"neurons": n}),)})
              for p, n in zip(points_of(CapacityModel(beta=2.0)), (2, 16, 200, 3000), strict=True)]  # fmt: skip
    fit = fit_capacity(points, "paper")
    assert fit is not None and fit.at_bound

"""The capacity model fitted to measured counts, and what it then says of fraction, isolation and correlation.

beta and kappa are fitted to the counts alone, by least squares of their logarithms. tau is not fitted: it is the isolation
at which matches begin to be found, s = rho / (1 - rho) at the tenth percentile of the Rosetta neurons' correlations, the
median over sizes. Everything else is then a prediction that can fail. Isolation is measured from correlations: two models
of one size isolate a feature alike, s = s', so rho = 1 / (1 + 1/s) and s = rho / (1 - rho) [S, section 4.3].

In the model the isolations of the features above tau keep their shape at every size, a Pareto law of index 1/beta: their
median and the mean correlation do not depend on N, and the mean isolation grows as N^(1 - 1/beta) because of its strongest
features alone. So the median and the correlation test the model's shape, the mean its tail. Cost: about a second. With two
constants free, few sizes fit well whatever the truth; the held-out quantities say more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field
from scipy import optimize

from curator.scaling.capacity import Capacity, CapacityModel, isolation, match_correlation, solve_sizes
from curator.scaling.fits import fit_power_law
from curator.scaling.parts import Correlations, Part, Rule
from curator.scaling.points import StudyPoint

_BETAS = (1.05, 6.0)
_FEWEST = 3


class Compared(Part):
    """One quantity of one size."""

    measured: float
    predicted: float


class PredictedSize(Part):
    """One size, measured and predicted."""

    label: str
    neurons: int
    count: Compared
    fraction: Compared
    isolation_median: Compared
    isolation_mean: Compared
    correlation_mean: Compared


class CapacityFit(Part):
    """The fitted model of one rule's counts."""

    rule: Rule
    beta: float
    kappa: float
    tau: float
    rms_log_error: float = Field(description="Root mean square of log(predicted / counted).")
    at_bound: bool = Field(description="Whether beta ended at the end of its range, where the fit says nothing of it.")
    sizes: tuple[PredictedSize, ...]
    growth: Compared = Field(description="Log-log slope of the mean isolation over sizes.")
    words: str


def fit_capacity(points: Sequence[StudyPoint], rule: Rule) -> CapacityFit | None:
    """Fit the counts of one rule; None with fewer than three sizes that have a positive count and correlations."""
    rows = [
        (point, found) for point in points for found in point.correlations if found.rule == rule and point.count(rule)
    ]
    if len({point.neurons_anchor for point, _ in rows}) < _FEWEST:
        return None
    sizes = [round(point.neurons_mean) for point, _ in rows]
    log_counts = np.log([found.neurons for _, found in rows])
    low = float(np.median([found.low for _, found in rows]))
    tau = max(low, 1e-3) / (1 - min(low, 1 - 1e-6))

    def misfit(beta: float) -> float:
        return float(np.var(log_counts - _log_ranks(sizes, _balanced(sizes, log_counts, beta, tau))))

    found = optimize.minimize_scalar(misfit, bounds=_BETAS, method="bounded", options={"xatol": 1e-3})
    beta = float(found.x)  # pyright: ignore[reportAttributeAccessIssue]
    model = _balanced(sizes, log_counts, beta, tau)
    solved = solve_sizes(sizes, model)
    compared = tuple(_size(point, found, one) for (point, found), one in zip(rows, solved, strict=True))
    growth = _growth(sizes, compared)
    return CapacityFit(
        rule=rule,
        beta=beta,
        kappa=model.kappa,
        tau=tau,
        rms_log_error=float(np.sqrt(np.mean([np.log(s.count.predicted / s.count.measured) ** 2 for s in compared]))),
        at_bound=min(beta - _BETAS[0], _BETAS[1] - beta) < 0.02,
        sizes=compared,
        growth=growth,
        words=_words(beta, compared, growth),
    )


def _balanced(sizes: Sequence[int], log_counts: np.ndarray, beta: float, tau: float) -> CapacityModel:
    """The model of this beta whose kappa makes the mean log error zero: the count rises with kappa.

    A count fixes its own frontier, R (1 + tau)^(1/beta), and so its own kappa; the root lies between those of the sizes.
    """
    frontiers = np.exp(log_counts) * (1 + tau) ** (1 / beta)
    spent = [isolation(np.arange(1.0, frontier), frontier, beta).sum() for frontier in frontiers]
    low, high = (float(end) for end in np.log(np.quantile(np.asarray(spent) / sizes, [0.0, 1.0])))

    def excess(log_kappa: float) -> float:
        model = CapacityModel(beta=beta, kappa=float(np.exp(log_kappa)), tau=tau)
        return float((_log_ranks(sizes, model) - log_counts).mean())

    nudged = (low - 1e-6, high + 1e-6)
    if excess(nudged[0]) >= 0 or excess(nudged[1]) <= 0:  # all sizes have one kappa, to rounding
        return CapacityModel(beta=beta, kappa=float(np.exp((low + high) / 2)), tau=tau)
    root = optimize.root_scalar(excess, bracket=nudged, xtol=1e-6).root
    return CapacityModel(beta=beta, kappa=float(np.exp(root)), tau=tau)


def _log_ranks(sizes: Sequence[int], model: CapacityModel) -> np.ndarray:
    return np.log([max(one.rank_at_threshold, 1e-6) for one in solve_sizes(sizes, model)])


def _size(point: StudyPoint, found: Correlations, solved: Capacity) -> PredictedSize:
    isolated_R = solved.isolation_by_rank[: max(1, solved.count)]
    rank = solved.rank_at_threshold
    return PredictedSize(
        label=point.label,
        neurons=point.neurons_anchor,
        count=Compared(measured=found.neurons, predicted=rank),
        fraction=Compared(measured=found.neurons / point.neurons_anchor, predicted=rank / solved.neurons),
        isolation_median=Compared(measured=found.isolation_median, predicted=float(np.median(isolated_R))),
        isolation_mean=Compared(measured=found.isolation_mean, predicted=float(isolated_R.mean())),
        correlation_mean=Compared(
            measured=found.mean, predicted=float(match_correlation(isolated_R, isolated_R).mean())
        ),
    )


def _growth(sizes: Sequence[int], compared: Sequence[PredictedSize]) -> Compared:
    slopes = []
    for side in ("measured", "predicted"):
        fit = fit_power_law(sizes, [max(1e-9, getattr(size.isolation_mean, side)) for size in compared])
        slopes.append(fit.alpha if fit else 0.0)
    return Compared(measured=slopes[0], predicted=slopes[1])


def _words(beta: float, compared: Sequence[PredictedSize], growth: Compared) -> str:
    off = max(abs(np.log(size.count.predicted / size.count.measured)) for size in compared)
    measured = np.mean([size.correlation_mean.measured for size in compared])
    predicted = np.mean([size.correlation_mean.predicted for size in compared])
    tail = (
        "as the model says it should"
        if abs(growth.measured - growth.predicted) < 0.15
        else "less than the model says"
        if growth.measured < growth.predicted
        else "more than the model says"
    )
    return (
        f"With beta = {beta:.2f} the model meets every count within {np.expm1(off):.0%}. It then predicts a mean correlation of "
        f"{predicted:.2f} at every size, where {measured:.2f} was measured; the mean isolation grows {tail} (exponent "
        f"{growth.measured:.2f} against {growth.predicted:.2f})."
    )

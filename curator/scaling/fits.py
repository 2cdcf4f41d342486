"""Power-law fits of Rosetta counts: log-log least squares as the paper does it, and a count model that admits zeros.

Least squares draws the line through (log x, log R) and gives the exponent a Student-t interval (paper, section 4.2,
which prints no interval). The count model is a negative binomial with log link, R ~ NB2(mu, phi), log mu = log c +
alpha log x, variance mu + phi mu^2; its interval is the set of exponents that a profile-likelihood ratio cannot
reject. Both treat the sizes as independent; two sizes that share a training corpus are not quite that. Cost:
a tenth of a second. What they do not know is whether a power law is the right curve: ``alternatives`` asks that, and
``verdict`` says it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import optimize, special, stats

from curator.errors import ConfigError

Floats = NDArray[np.float64]

_CONFIDENCE = 0.95
_LOG_DISPERSION_BOUNDS = (-16.0, 4.0)  # e^-16 is a Poisson for every count we can meet; e^4 is noise of 700 %
_GRID = 64
_NEWTON_STEPS = 60
_FIRST_STEP, _WIDEST_STEP = 0.05, 50.0


class PowerLawFit(BaseModel):
    """R = c x^alpha by least squares in log-log coordinates."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    alpha: float = Field(description="Exponent.")
    c: float = Field(description="Prefactor: R at x = 1.")
    r_squared: float | None = Field(
        description="Share of the variance of log R explained; None if log R does not vary."
    )
    standard_error: float | None = Field(description="Standard error of alpha; None with two points.")
    interval: tuple[float, float] | None = Field(description="95 % Student-t interval of alpha; None with two points.")
    points: int = Field(description="Points in the fit.")
    residual_sd: float | None = Field(description="Residual standard deviation of log R (natural log).")
    log_x_mean: float = Field(description="Mean of log x over the points in the fit.")
    log_x_spread: float = Field(description="Sum of squared deviations of log x.")

    def predict(self, x: Floats) -> Floats:
        """R expected at ``x``."""
        return self.c * np.asarray(x, dtype=np.float64) ** self.alpha

    def band(self, x: Floats) -> tuple[Floats, Floats] | None:
        """95 % confidence band of the fitted line at ``x`` (not of a new point), or None with two points."""
        if self.residual_sd is None:
            return None
        leverage = 1 / self.points + (np.log(x) - self.log_x_mean) ** 2 / self.log_x_spread
        half = stats.t.ppf((1 + _CONFIDENCE) / 2, self.points - 2) * self.residual_sd * np.sqrt(leverage)
        line = self.predict(x)
        return line * np.exp(-half), line * np.exp(half)


class CountFit(BaseModel):
    """log E[R] = log c + alpha log x with negative-binomial counts."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    alpha: float = Field(description="Exponent.")
    c: float = Field(description="Prefactor: E[R] at x = 1.")
    dispersion: float = Field(description="phi of variance = mu + phi mu^2; near zero the counts are Poisson.")
    interval: tuple[float, float] | None = Field(description="95 % profile-likelihood interval; None if it has no end.")
    log_likelihood: float
    points: int


def fit_power_law(x: Sequence[float], r: Sequence[float]) -> PowerLawFit | None:
    """Fit R = c x^alpha by least squares of log R on log x (paper, section 4.2).

    Args:
        x: Mean neuron counts, all positive.
        r: Rosetta counts, all positive: the caller leaves out zeros, for a zero has no logarithm.

    Returns:
        The fit, or None where fewer than two different x are given.

    Raises:
        ConfigError: A value is not positive, or the lengths differ.
    """
    log_x, log_r = np.log(_positive(x, "x")), np.log(_positive(r, "count"))
    _same_length(log_x, log_r)
    if len(np.unique(log_x)) < 2:
        return None
    centred = log_x - log_x.mean()
    spread = float(centred @ centred)
    alpha = float(centred @ log_r) / spread
    intercept = float(log_r.mean() - alpha * log_x.mean())
    residuals = log_r - intercept - alpha * log_x
    rss, total = float(residuals @ residuals), float(((log_r - log_r.mean()) ** 2).sum())
    freedom = len(log_x) - 2
    sd = float(np.sqrt(rss / freedom)) if freedom else None
    error = None if sd is None else sd / float(np.sqrt(spread))
    half = None if error is None else float(stats.t.ppf((1 + _CONFIDENCE) / 2, freedom)) * error
    return PowerLawFit(
        alpha=alpha,
        c=float(np.exp(intercept)),
        r_squared=1 - rss / total if total > 0 else None,
        standard_error=error,
        interval=None if half is None else (alpha - half, alpha + half),
        points=len(log_x),
        residual_sd=sd,
        log_x_mean=float(log_x.mean()),
        log_x_spread=spread,
    )


def fit_counts(x: Sequence[float], r: Sequence[int]) -> CountFit | None:
    """Fit the negative-binomial count model by maximum likelihood; zeros are welcome.

    The interval holds every alpha whose profile deviance stays below n log(1 + t^2 / (n - 2)), t the Student quantile.
    For log-normal scatter this is exactly the least-squares t-interval; the usual 3.84 would be too narrow at five
    points.

    Returns:
        The fit, or None with fewer than three points, fewer than two different x, or fewer than two positive counts.

    Raises:
        ConfigError: An x is not positive, a count is negative, or the lengths differ.
    """
    log_x, counts = np.log(_positive(x, "x")), np.asarray(r, dtype=np.float64)
    _same_length(log_x, counts)
    if np.any(counts < 0):
        raise ConfigError("A count cannot be negative.")
    if len(counts) < 3 or len(np.unique(log_x)) < 2 or np.count_nonzero(counts) < 2:
        return None
    centre = float(log_x.mean())
    likelihood = _Likelihood(log_x - centre, counts)
    alpha, intercept, log_dispersion, best = likelihood.maximise()
    freedom = len(counts) - 2
    quantile = float(stats.t.ppf((1 + _CONFIDENCE) / 2, freedom))
    cut = len(counts) * float(np.log1p(quantile**2 / freedom))
    ends = [_end(likelihood, alpha, best, cut, direction) for direction in (-1.0, 1.0)]
    return CountFit(
        alpha=alpha,
        c=float(np.exp(intercept - alpha * centre)),
        dispersion=float(np.exp(log_dispersion)),
        interval=None if ends[0] is None or ends[1] is None else (ends[0], ends[1]),
        log_likelihood=best,
        points=len(counts),
    )


class _Likelihood:
    """NB2 log-likelihood over centred log x, with the intercept and the dispersion profiled out.

    The dispersion is found on three grids, each finer and around the last one's best: the likelihood can be flat in it, or
    have its maximum at the Poisson end, where gradient methods stop short. All grid values are solved at once.
    """

    def __init__(self, log_x: Floats, counts: Floats) -> None:
        self._log_x = log_x
        self._counts = counts
        self._constant = float(special.gammaln(counts + 1).sum())

    def maximise(self) -> tuple[float, float, float, float]:
        """(alpha, intercept, log dispersion, log-likelihood) at the maximum."""
        centred, log_r = self._log_x, np.log(self._counts + 0.5)
        slope = float((centred * log_r).sum() / (centred**2).sum())
        bracket = (slope - 0.1, slope + 0.1)
        alpha = float(optimize.brent(lambda alpha: -self.profile(alpha), brack=bracket))  # pyright: ignore[reportArgumentType]
        best, intercept, log_dispersion = self._best(alpha)
        return alpha, intercept, log_dispersion, best

    def profile(self, alpha: float) -> float:
        """Log-likelihood at this exponent, maximised over the rest."""
        return self._best(alpha)[0]

    def _best(self, alpha: float) -> tuple[float, float, float]:
        low, high = _LOG_DISPERSION_BOUNDS
        best = (-np.inf, 0.0, 0.0)
        for _ in range(3):
            grid_G = np.linspace(low, high, _GRID)
            intercept_G = self._intercepts(alpha, grid_G)
            value_G = self._values(alpha, intercept_G, grid_G)
            top = int(np.argmax(value_G))
            best = (float(value_G[top]), float(intercept_G[top]), float(grid_G[top]))
            low, high = float(grid_G[max(top - 1, 0)]), float(grid_G[min(top + 1, _GRID - 1)])
        return best

    def _intercepts(self, alpha: float, log_dispersion_G: Floats) -> Floats:
        """The best intercept for each dispersion, by Newton from the Poisson solution: the likelihood is concave in it."""
        y_N, size_G1 = self._counts, np.exp(-log_dispersion_G)[:, None]
        start = np.log(y_N.sum()) - special.logsumexp(alpha * self._log_x)
        intercept_G = np.full(len(log_dispersion_G), start)
        for _ in range(_NEWTON_STEPS):
            mu_GN = np.exp(intercept_G[:, None] + alpha * self._log_x)
            score_G = (size_G1 * (y_N - mu_GN) / (size_G1 + mu_GN)).sum(axis=1)
            curvature_G = (size_G1 * mu_GN * (y_N + size_G1) / (size_G1 + mu_GN) ** 2).sum(axis=1)
            step_G = np.clip(score_G / curvature_G, -1.0, 1.0)
            intercept_G = intercept_G + step_G
            if np.abs(step_G).max() < 1e-10:
                break
        return intercept_G

    def _values(self, alpha: float, intercept_G: Floats, log_dispersion_G: Floats) -> Floats:
        y_N, size_G1 = self._counts, np.exp(-log_dispersion_G)[:, None]
        log_mu_GN = intercept_G[:, None] + alpha * self._log_x
        log_total_GN = np.logaddexp(-log_dispersion_G[:, None], log_mu_GN)
        # lgamma(y + size) - lgamma(size) loses its digits when size is huge; betaln keeps them.
        some_N = np.maximum(y_N, 1)
        rising_GN = np.where(y_N > 0, special.gammaln(some_N) - special.betaln(some_N, size_G1), 0.0)
        shares_GN = size_G1 * (-log_dispersion_G[:, None] - log_total_GN) + y_N * (log_mu_GN - log_total_GN)
        return (rising_GN + shares_GN).sum(axis=1) - self._constant


def _end(likelihood: _Likelihood, alpha: float, best: float, cut: float, direction: float) -> float | None:
    """Where the profile deviance crosses ``cut`` on one side of ``alpha``, or None if it never does."""

    def excess(other: float) -> float:
        return 2 * (best - likelihood.profile(other)) - cut

    step = _FIRST_STEP
    while excess(alpha + direction * step) < 0:
        step *= 2
        if step > _WIDEST_STEP:
            return None
    inner = 0.0 if step == _FIRST_STEP else step / 2
    bracket = (alpha + direction * inner, alpha + direction * step)
    return float(optimize.root_scalar(excess, bracket=bracket, xtol=1e-4).root)


def _positive(values: Sequence[float], name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(array)) or np.any(array <= 0):
        raise ConfigError(f"Every {name} of a log-log fit must be positive and finite; leave the others out.")
    return array


def _same_length(x: Floats, r: Floats) -> None:
    if x.shape != r.shape:
        raise ConfigError(f"A fit needs one count for each size, got {len(x)} sizes and {len(r)} counts.")

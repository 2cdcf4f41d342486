"""Curves other than a power law through the same points, compared by AICc and by the forecast of the largest size.

Every curve is a scale times a shape: log R = log scale + log shape(x; theta), with at most one shape parameter, but for the
broken power law, whose two slopes are linear and whose break is searched. All are fitted by least squares of log R, the
error model of the paper's fit, so that their AICc may be compared; the scale has a closed form and the shape parameter is
searched on a grid and then refined. A broken power law has four parameters, so it has an AICc from seven sizes on. The
held-out error fits every size but the largest and compares the forecast with what was counted there: an in-sample R^2 near
1 says little, a forecast can fail. Cost: milliseconds. With five sizes AICc can tell gross misfits apart, and little more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import optimize

Floats = NDArray[np.float64]
LogShape = Callable[[Floats, float], Floats]

_GRID = 160
_SMALLEST_RSS = 1e-12  # per point: counts are whole numbers, so agreement beyond one part in a million is chance


class CurveFit(BaseModel):
    """One curve's fit and how it fares against the others."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(description="power law, linear, saturating, logarithmic or broken power law.")
    formula: str = Field(description="The curve in words that a reader can check.")
    parameters: dict[str, float] = Field(description="Fitted values by the names of the formula.")
    aicc: float | None = Field(description="Small-sample AIC; None with too few points for this many parameters.")
    delta_aicc: float | None = Field(description="AICc above the best curve's.")
    held_out_error: float | None = Field(description="Forecast / count - 1 at the largest size, fitted without it.")


Theta = tuple[float, ...]


class _Shape(Protocol):
    """A curve that can be fitted: ``free`` parameters, the error's variance not counted, of which ``theta`` are the shape's."""

    name: str
    formula: str

    @property
    def free(self) -> int: ...

    def fit(self, log_x: Floats, log_r: Floats) -> tuple[float, Theta, float]:
        """(log scale, theta, residual sum of squares) at the least-squares optimum."""
        ...

    def forecast(self, log_x: Floats, scale: float, theta: Theta) -> Floats:
        """Logarithm of R at ``log_x``."""
        ...


class _Curve:
    """A named shape, and the range in which its one parameter is searched, if it has any."""

    def __init__(self, name: str, formula: str, log_shape: LogShape, bounds: tuple[float, float] | None) -> None:
        self.name, self.formula, self.bounds = name, formula, bounds
        self._log_shape = log_shape

    @property
    def free(self) -> int:
        return 1 if self.bounds is None else 2

    def fit(self, log_x: Floats, log_r: Floats) -> tuple[float, Theta, float]:
        theta = 0.0 if self.bounds is None else self._search(log_x, log_r, self.bounds)
        residuals = log_r - self._log_shape(log_x, theta)
        scale = float(residuals.mean())
        return scale, (theta,), float(((residuals - scale) ** 2).sum())

    def forecast(self, log_x: Floats, scale: float, theta: Theta) -> Floats:
        return scale + self._log_shape(log_x, theta[0])

    def _search(self, log_x: Floats, log_r: Floats, bounds: tuple[float, float]) -> float:
        def rss(theta: float) -> float:
            return float(np.var(log_r - self._log_shape(log_x, theta)))

        grid = np.linspace(*bounds, _GRID)
        best = int(np.argmin([rss(float(theta)) for theta in grid]))
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])
        found = optimize.minimize_scalar(rss, bounds=(low, high), method="bounded", options={"xatol": 1e-10})
        return float(found.x) if rss(float(found.x)) < rss(float(grid[best])) else float(grid[best])


class _Broken:
    """Two power laws that meet at x_b, which lies between the second size and the last but one; theta = (a, b, log x_b)."""

    name, formula = "broken power law", "R = c x^a up to x_b, from there on c x_b^(a - b) x^b"

    @property
    def free(self) -> int:
        return 4

    def fit(self, log_x: Floats, log_r: Floats) -> tuple[float, Theta, float]:
        sizes = np.unique(log_x)
        fits = [self._slopes(log_x, log_r, float(at)) for at in np.linspace(sizes[1], sizes[-2], _GRID)]
        return min(fits, key=lambda fit: fit[2])

    def forecast(self, log_x: Floats, scale: float, theta: Theta) -> Floats:
        low, high, at = theta
        return scale + low * np.minimum(log_x, at) + high * np.maximum(log_x - at, 0)

    def _slopes(self, log_x: Floats, log_r: Floats, at: float) -> tuple[float, Theta, float]:
        columns = np.stack([np.ones_like(log_x), np.minimum(log_x, at), np.maximum(log_x - at, 0)], axis=1)
        (scale, low, high), *_ = np.linalg.lstsq(columns, log_r, rcond=None)
        residuals = log_r - columns @ np.asarray([scale, low, high])
        return float(scale), (float(low), float(high), at), float(residuals @ residuals)


def _power(log_x: Floats, theta: float) -> Floats:
    return theta * log_x


def _linear(log_x: Floats, _theta: float) -> Floats:
    return log_x


def _saturating(log_x: Floats, theta: float) -> Floats:
    return log_x - np.logaddexp(log_x, theta)


def _logarithmic(log_x: Floats, theta: float) -> Floats:
    return np.log(log_x + np.exp(theta))


# log x is measured from the smallest size, so K and x0 are multiples of it: K from 1/400 to 22,000 times the smallest
# size, x0 below it by a factor of e^(e^-6) = 1.002 to e^(e^4). At the ends the curves have turned into a line or a
# constant.
_CURVES: tuple[_Shape, ...] = (
    _Curve("power law", "R = c x^a", _power, (-2.0, 4.0)),
    _Curve("linear", "R = c x", _linear, None),
    _Curve("saturating", "R = c x / (x + K)", _saturating, (-6.0, 10.0)),
    _Curve("logarithmic", "R = c log(x / x0)", _logarithmic, (-6.0, 4.0)),
    _Broken(),
)


def compare_curves(x: Sequence[float], r: Sequence[float]) -> tuple[CurveFit, ...]:
    """Fit every curve to positive counts, best AICc first (where AICc exists), then in the fixed order.

    Fewer than two different x give no curves at all: nothing can be compared.
    """
    log_x, log_r = np.log(np.asarray(x, dtype=np.float64)), np.log(np.asarray(r, dtype=np.float64))
    if len(np.unique(log_x)) < 2:
        return ()
    fits = [_fit_one(curve, log_x, log_r) for curve in _CURVES if len(np.unique(log_x)) >= curve.free]
    best = min((fit.aicc for fit in fits if fit.aicc is not None), default=None)
    ranked = [
        fit if fit.aicc is None or best is None else fit.model_copy(update={"delta_aicc": fit.aicc - best})
        for fit in fits
    ]
    return tuple(sorted(ranked, key=lambda fit: float("inf") if fit.aicc is None else fit.aicc))


def _fit_one(curve: _Shape, log_x: Floats, log_r: Floats) -> CurveFit:
    origin = float(log_x.min())
    scale, theta, rss = curve.fit(log_x - origin, log_r)
    return CurveFit(
        name=curve.name,
        formula=curve.formula,
        parameters=_parameters(curve, scale, theta, origin),
        aicc=_aicc(rss, len(log_x), curve.free + 1),
        delta_aicc=None,
        held_out_error=_held_out(curve, log_x - origin, log_r),
    )


def _parameters(curve: _Shape, scale: float, theta: Theta, origin: float) -> dict[str, float]:
    """The parameters in units of x itself."""
    first = theta[0]
    if curve.name == "saturating":
        return {"c": float(np.exp(scale)), "K": float(np.exp(first + origin))}
    if curve.name == "logarithmic":
        return {"c": float(np.exp(scale)), "x0": float(np.exp(origin - np.exp(first)))}
    if curve.name == "broken power law":
        _, second, at = theta
        return {
            "c": float(np.exp(scale - first * origin)),
            "a": first,
            "b": second,
            "x_b": float(np.exp(at + origin)),
        }
    exponent = first if curve.name == "power law" else 1.0
    shown = {"c": float(np.exp(scale - exponent * origin))}
    return {**shown, "a": exponent} if curve.name == "power law" else shown


def _aicc(rss: float, points: int, parameters: int) -> float | None:
    """Akaike's criterion for least squares with the small-sample term; None where that term has no meaning."""
    freedom = points - parameters - 1
    if freedom <= 0:
        return None
    mean = max(rss / points, _SMALLEST_RSS)
    return float(points * np.log(mean) + 2 * parameters + 2 * parameters * (parameters + 1) / freedom)


def _held_out(curve: _Shape, log_x: Floats, log_r: Floats) -> float | None:
    """Relative error of the forecast at the largest size; None where the smaller sizes do not fix the curve."""
    smaller = log_x < log_x.max()
    if len(np.unique(log_x[smaller])) < curve.free:
        return None
    scale, theta, _ = curve.fit(log_x[smaller], log_r[smaller])
    errors = curve.forecast(log_x[~smaller], scale, theta) - log_r[~smaller]
    return float(np.expm1(errors.mean()))

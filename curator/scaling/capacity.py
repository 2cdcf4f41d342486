"""The capacity model of the paper's section 4.3, solved numerically: why shared neurons should grow as N^(1/beta).

A model with N neurons has a budget kappa N of signal-to-interference to spend on features of importance w_r ~
r^-beta, r = 1, 2, ... It maximises sum w_r log(1 + s_r). The solution fills from the top: s*(r) = [(r0/r)^beta -
1]_+, where the frontier r0 is set by the budget. Features with isolation s >= tau are those that every model of the
size represents in a neuron of its own: R = r0 (1 + tau)^(-1/beta) = Theta(N^(1/beta)). Two models that isolate a
feature by s and s' give neurons that correlate as 1 / sqrt((1 + 1/s)(1 + 1/s')).

The paper takes the sum over ranks as an integral; here it is the sum itself, so small models show the steps of whole
features. Cost: O(r0) memory and a few dozen passes over it for each size; r0 is about 1,600 at N = 2^17 and beta =
1.5. The model knows nothing of architectures, training or data: beta is the only property of the text that it has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import optimize

from curator.errors import ConfigError

Floats = NDArray[np.float64]


class CapacityModel(BaseModel):
    """The constants of the model; only ``beta`` bears on the exponent."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    beta: float = Field(gt=1, description="How fast importance falls with rank.")
    kappa: float = Field(default=1.0, gt=0, description="Isolation budget for each neuron.")
    tau: float = Field(default=1.0, gt=0, description="Isolation at which a feature counts; 1 is a correlation of 0.5.")


@dataclass(frozen=True, slots=True)
class Capacity:
    """The solution for one size. ``isolation_by_rank`` holds s*(r) for the ranks that get any, rank 1 first."""

    neurons: int
    frontier: float
    isolation_by_rank: Floats
    rank_at_threshold: float
    count: int
    mean_isolation: float
    mean_correlation: float

    @property
    def fraction(self) -> float:
        """Isolated features for each neuron."""
        return self.count / self.neurons


def isolation(rank_R: Floats, frontier: float, beta: float) -> Floats:
    """s*(r) = [(r0/r)^beta - 1]_+, the optimal isolation of the feature at each rank."""
    return np.maximum((frontier / rank_R) ** beta - 1, 0.0)


def match_correlation(s: Floats, s_other: Floats) -> Floats:
    """Expected correlation of two neurons that isolate one feature by ``s`` and ``s_other``."""
    s, s_other = np.asarray(s, dtype=np.float64), np.asarray(s_other, dtype=np.float64)
    # 1 / sqrt((1 + 1/s)(1 + 1/s')) in a form that divides by nothing that can be zero.
    return np.sqrt((s / (1 + s)) * (s_other / (1 + s_other)))


def solve(neurons: int, model: CapacityModel) -> Capacity:
    """Spend the budget ``kappa * neurons`` over the ranks.

    The spending sum_r s*(r) grows with the frontier and already exceeds the budget at r0 = (kappa N + 1)^(1/beta),
    where rank 1 alone takes all of it; the root lies between 1 and there.

    Raises:
        ConfigError: ``neurons`` is not positive.
    """
    if neurons <= 0:
        raise ConfigError("The capacity model needs at least one neuron.")
    budget = model.kappa * neurons
    highest = (budget + 1) ** (1 / model.beta)
    ranks_R = np.arange(1, math.ceil(highest) + 1, dtype=np.float64)

    def overspent(frontier: float) -> float:
        return float(isolation(ranks_R, frontier, model.beta).sum()) - budget

    # The upper end is nudged, for there rounding can leave the sum an ulp short of the budget.
    frontier = float(optimize.root_scalar(overspent, bracket=(1.0, highest * (1 + 1e-9)), xtol=1e-12, rtol=1e-14).root)
    s_R = isolation(ranks_R[ranks_R < frontier], frontier, model.beta)
    isolated_R = s_R[s_R >= model.tau]
    return Capacity(
        neurons=neurons,
        frontier=frontier,
        isolation_by_rank=s_R,
        rank_at_threshold=frontier * (1 + model.tau) ** (-1 / model.beta),
        count=len(isolated_R),
        mean_isolation=float(isolated_R.mean()) if len(isolated_R) else 0.0,
        mean_correlation=float(match_correlation(isolated_R, isolated_R).mean()) if len(isolated_R) else 0.0,
    )


def solve_sizes(sizes: Sequence[int], model: CapacityModel) -> tuple[Capacity, ...]:
    """One solution for each size, in order."""
    return tuple(solve(neurons, model) for neurons in sizes)


def pair_correlation(small: Capacity, large: Capacity) -> Floats:
    """Expected match correlation of each feature that both sizes represent, rank 1 first, shape (ranks,)."""
    shared = min(len(small.isolation_by_rank), len(large.isolation_by_rank))
    return match_correlation(small.isolation_by_rank[:shared], large.isolation_by_rank[:shared])


def fit_beta(alpha: float) -> float:
    """The beta that would give the exponent ``alpha``: 1 / alpha (paper, section 4.3).

    Raises:
        ConfigError: ``alpha`` is outside (0, 1), where no beta > 1 gives it.
    """
    if not 0 < alpha < 1:
        raise ConfigError(
            f"The capacity model gives exponents between 0 and 1, so none of its beta explains {alpha:.3g}."
        )
    return 1 / alpha

r"""How the cost of training grows with the number of parameters.

The cost of reaching a level's own discretisation error is modelled as a power of its number of parameters,

    seconds = c N^s,      log seconds = log c + s log N + noise,

and `s` is estimated by least squares over the sizes that were measured. With `n` sizes, `x = log N` and the residual
sum of squares `R`, the slope has the standard error

    se(s) = sqrt(R / (n - 2) / sum (x - mean x)^2),

and the interval `s -+ t se(s)`, `t` the quantile of Student's distribution with `n - 2` degrees of freedom. Linear
cost is `s = 1`; a single level trained by a method whose iterations grow with its size has `s` of 1.5 to 3.

The interval describes how well a power law fits the measured sizes. It says nothing about sizes that were not
measured, and fixed costs, which do not grow, make the slope of small sizes too flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

FEWEST = 3
"""Fewest sizes from which an exponent is estimated: with two there is no residual."""


@dataclass(frozen=True)
class PowerLaw:
    """`seconds = factor N^slope`, with the interval of the slope.

    Attributes
    ----------
    slope, low, high:
        The exponent and its confidence interval.
    factor:
        Seconds at `N = 1`, extrapolated.
    sizes:
        How many sizes the fit rests on.
    """

    slope: float
    low: float
    high: float
    factor: float
    sizes: int

    def seconds(self, parameters: float) -> float:
        """Seconds that the fit expects at a size."""
        return self.factor * parameters**self.slope


def fit_power_law(parameters: ArrayLike, seconds: ArrayLike, confidence: float = 0.95) -> PowerLaw | None:
    """Least squares fit of log seconds against log parameters.

    Parameters
    ----------
    parameters, seconds:
        Shape `(n,)`; sizes that did not reach their target carry NaN or infinity as seconds and are left out.
    confidence:
        Of the interval of the slope.

    Returns
    -------
    PowerLaw or None
        Nothing with fewer than three different sizes.

    Raises
    ------
    ValueError
        For arrays of different shape, and for sizes or seconds that are not positive.
    """
    size, cost = np.asarray(parameters, dtype=float), np.asarray(seconds, dtype=float)
    if size.shape != cost.shape or size.ndim != 1:
        raise ValueError(f"fit_power_law: sizes of shape {size.shape}, seconds of shape {cost.shape}; expected (n,)")
    reached = np.isfinite(cost)
    size, cost = size[reached], cost[reached]
    if np.any(size <= 0) or np.any(cost <= 0):
        raise ValueError("fit_power_law: sizes and seconds must be positive")
    if len(np.unique(size)) < FEWEST:
        return None
    x, y = np.log(size), np.log(cost)
    # Imported here: it takes longer to import than many a command to run.
    from scipy import stats

    fit: Any = stats.linregress(x, y)
    half = float(stats.t.ppf(0.5 + 0.5 * confidence, len(x) - 2) * fit.stderr)
    slope = float(fit.slope)
    return PowerLaw(slope, slope - half, slope + half, float(np.exp(fit.intercept)), len(x))


def work_units(parameters: Sequence[int], steps: Sequence[float], power: float = 1.0) -> float:
    """Work of a training in steps on its finest level: the sum over levels of `steps (N / N_finest)^power`.

    The unit of multigrid (Brandt, Mathematics of Computation 31, 1977). With `power = 1` a step costs in proportion
    to the parameters of its level; dense second-order steps have 2 or 3.

    Examples
    --------
    >>> work_units([100, 200, 400], [4, 2, 1])
    3.0
    """
    finest = max(parameters)
    return float(sum(count * (size / finest) ** power for size, count in zip(parameters, steps, strict=True)))


def seconds_to(target: float, seconds: Float[np.ndarray, " n"], errors: Float[np.ndarray, " n"]) -> float | None:
    """Seconds at which the error first fell to the target, from a record of both; `None` where it never did.

    Between two records the logarithm of the error is taken to be linear in the seconds.

    Examples
    --------
    >>> seconds_to(1e-1, np.array([1.0, 3.0]), np.array([1.0, 1e-2]))
    2.0
    """
    below = np.flatnonzero(np.asarray(errors) <= target)
    if not below.size:
        return None
    k = int(below[0])
    if k == 0 or not np.isfinite(errors[k - 1]) or errors[k] <= 0 or target <= 0:
        return float(seconds[k])
    share = np.log(errors[k - 1] / target) / np.log(errors[k - 1] / errors[k])
    return float(seconds[k - 1] + share * (seconds[k] - seconds[k - 1]))

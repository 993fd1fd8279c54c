"""The logarithmic scale on which values are likeliest to be those of a Gaussian process, told by a few of them."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar

from hierax.solvers.gaussian_process import SIZES, Likelihood, Over, climbed, rows_for
from hierax.solvers.value_scale import ValueScale

DECADES = tuple(range(0, -10, -1))
"""Distances of the zero beyond the crowded end, as exponents of ten over the spread, that are tried."""
WORSE, REFINED, DIGITS = 2, 20, 3
"""Decades without gain after which no further one is tried; most trials near the best; and decimals of the exponent."""
END = 50
"""How many of the values are those nearest to the crowded end, which tell most of the zero."""
STEPS = 15
"""Most steps of the optimiser for one distance."""


def likely_scale(
    unit: np.ndarray, standard: np.ndarray, spread: np.ndarray, scale: ValueScale, over: Over
) -> ValueScale:
    r"""The logarithmic scale whose zero has the largest likelihood.

    Products and powers, as laws of physics are, become sums where the logarithm is taken of the distance to their true
    zero, which offset and unit of the values hide. The likelihood of values `y` is that of their places `p` times
    :math:`\prod_i dp_i / dy_i`.

    Parameters
    ----------
    unit, standard, spread:
        Inputs `(n, inputs)` of the unit box, standardised values `(n,)` and variances of their noise; see
        `hierax.solvers.gaussian_process.fit_process`.
    scale:
        The straight scale.
    over:
        Told of steps of the optimiser.

    References
    ----------
    Snelson, Rasmussen, Ghahramani, Adv. Neural Inf. Process. Syst. 16 (2003).
    """
    crowded = np.argsort(scale.logarithmic(standard, 1.0).scaled(standard))[:END]
    rows, tried = np.union1d(rows_for(len(standard), SIZES[0] - END), crowded), {}
    last: list[np.ndarray] = []

    def lost(decade: float) -> float:
        """Minus the logarithm of the likelihood, from the parameters found for the distance tried before."""
        made = scale.logarithmic(standard, 10.0**decade)
        places = made.scaled(standard[rows])
        likelihood = Likelihood(unit[rows], places, spread[rows], True)
        theta, least = likelihood.climbed(last[0], STEPS, over) if last else (climbed(likelihood, None, STEPS, over), 0)
        last[:] = [theta]
        least = least if tried else likelihood(theta)[0]
        tried[decade] = least + float(np.sum(np.log(made.slope(places))))
        return tried[decade]

    for count, decade in enumerate(DECADES):
        lost(decade)
        if count - list(tried).index(min(tried, key=tried.__getitem__)) >= WORSE or over(0):
            break
    best = min(tried, key=tried.__getitem__)
    minimize_scalar(lost, bounds=(best - 1.0, best + 1.0), method="bounded", options={"maxiter": REFINED})
    best = min(tried, key=tried.__getitem__)
    return scale.logarithmic(standard, 10.0 ** round(best, DIGITS))

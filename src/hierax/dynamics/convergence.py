"""How fast levels and refinement converge: contraction of visits, orders in the mesh width.

References
----------
Schumaker, Spline Functions (2007), chapter 6 (orders of approximation).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from numpy.typing import ArrayLike

from hierax.dynamics.cost_scaling import PowerLaw, fit_power_law


class Contraction(NamedTuple):
    """One visit of a level.

    Attributes
    ----------
    level, visit:
        Number of the level; number of the visit in the run.
    steps:
        Steps of the visit.
    factor:
        Geometric mean over its steps of the factor on the root of the loss above the floor; NaN for a single step.
    first, last:
        Loss after the first and after the last step.
    """

    level: int
    visit: int
    steps: int
    factor: float
    first: float
    last: float


def contractions(
    levels: Sequence[int], steps: Sequence[int], losses: Sequence[float], floor: float = 0.0
) -> list[Contraction]:
    """Contraction of every visit from the history of a run.

    Parameters
    ----------
    levels, steps, losses:
        Of every step: its level, its number on the visit (which starts anew with one), the loss after it.
    floor:
        Smallest loss that is possible, where it is known: factors are those of the distance to it.
    """
    starts = [k for k in range(len(levels)) if k == 0 or levels[k] != levels[k - 1] or steps[k] <= steps[k - 1]]
    out = []
    for visit, (start, stop) in enumerate(itertools.pairwise([*starts, len(levels)])):
        first, last, taken = losses[start] - floor, losses[stop - 1] - floor, stop - start - 1
        known = taken > 0 and first > 0 and last > 0
        factor = float((last / first) ** (0.5 / taken)) if known else float("nan")
        out.append(Contraction(levels[start], visit, steps[stop - 1], factor, losses[start], losses[stop - 1]))
    return out


def order(width: ArrayLike, errors: ArrayLike) -> PowerLaw | None:
    """Fitted order of convergence: the exponent in `error = factor h^order`, with its interval.

    Against parameters in place of `h` the exponent is minus the order over the dimension; against the degree there is
    no power law. `None` with fewer than three sizes; errors that are not finite are left out.
    """
    return fit_power_law(width, errors)

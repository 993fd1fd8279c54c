r"""How fast levels, cycles and refinement converge: contraction of visits, factors of a two-grid cycle, orders in h.

A two-grid cycle multiplies the error by :math:`E = S' (I - \Pi) S` with the smoother's error propagation `S`, its
adjoint in the energy inner product :math:`\langle u, v \rangle = u' A v`, and the projection
:math:`\Pi = P (P' A P)^{-1} P' A` onto the coarse space. `E` is symmetric in that inner product, and

.. math:: \|E\| = \|(I - \Pi) S\|^2 =: \mu^2 ,

the *smoothing factor* squared: what the smoother leaves of the errors that the coarse space cannot represent. With a
coarse solver that is not exact but contracts by the *coarse-grid factor* :math:`\delta`, as in a V-cycle, the factor is
at most :math:`\mu^2 + \delta (1 - \mu^2)`. Both are found by Lanczos iterations on the operators alone, before anything
is solved.

References
----------
McCormick, SIAM J. Numer. Anal. 22 (1985) 634-643 (variational two-grid theory); Trottenberg, Oosterlee, Schueller,
Multigrid (2001), sections 2 and 3; Schumaker, Spline Functions (2007), chapter 6 (orders of approximation).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from hierax.dynamics.cost_scaling import PowerLaw, fit_power_law
from hierax.objective.curvature import AbstractCurvature

Apply = Callable[[np.ndarray], np.ndarray]


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


class TwoGrid(NamedTuple):
    """Factors of a symmetric two-grid cycle in the energy norm.

    Attributes
    ----------
    smoothing:
        The smoothing factor.
    coarse:
        The coarse-grid factor; zero for an exact coarse solver.
    """

    smoothing: float
    coarse: float

    @property
    def factor(self) -> float:
        """Predicted factor of a cycle: exact for an exact coarse solver, else a bound."""
        return self.smoothing**2 + self.coarse * (1.0 - self.smoothing**2)


def two_grid(curvature: AbstractCurvature, smooth: Apply, coarse: Apply | None = None, steps: int = 30) -> TwoGrid:
    """Predict the factor of a cycle from its parts.

    Parameters
    ----------
    curvature:
        `A`, positive definite, with a coarser space.
    smooth:
        From a residual to the correction by the smoother before the coarse correction; the one after is its adjoint.
    coarse:
        From a coarse right-hand side to an approximate solution, symmetric; exact if not given (a dense factorisation).
    steps:
        Of the Lanczos iteration.

    Raises
    ------
    ValueError
        For a curvature without coarser space.
    """
    below = curvature.galerkin()
    if below is None:
        raise ValueError("two_grid: the curvature offers no coarser space")
    exact = _dense_solver(below.curvature)

    def rest(error: np.ndarray) -> np.ndarray:
        return error - below.prolong(exact(below.restrict(curvature.mv(error))))

    def propagate(error: np.ndarray) -> np.ndarray:
        # the adjoint of S is I - M' A, and the correction of a symmetric smoother is the same on both sides
        smoothed = rest(error - smooth(curvature.mv(error)))
        return smoothed - smooth(curvature.mv(smoothed))

    left = largest_eigenvalue(propagate, curvature.mv, curvature.size, steps)
    if coarse is None:
        return TwoGrid(float(np.sqrt(max(left, 0.0))), 0.0)
    under = below.curvature
    factor = largest_eigenvalue(lambda e: e - coarse(under.mv(e)), under.mv, under.size, steps)
    return TwoGrid(float(np.sqrt(max(left, 0.0))), factor)


def largest_eigenvalue(operator: Apply, product: Apply, size: int, steps: int = 30) -> float:
    """Largest absolute eigenvalue of an operator that is symmetric in the inner product of `product`, by Lanczos.

    All vectors are kept and made orthogonal twice, so that rounding makes no copies of eigenvalues.
    """
    vector = np.random.default_rng(0).normal(size=size)
    basis: list[np.ndarray] = []
    images: list[np.ndarray] = []
    projected = np.zeros((steps, steps))
    for k in range(min(steps, size)):
        for _ in range(2):
            for known, image in zip(basis, images, strict=True):
                vector = vector - (image @ vector) * known
        image = product(vector)
        length = float(np.sqrt(max(vector @ image, 0.0)))
        if k and length < 1e-10:
            break
        basis.append(vector / length)
        images.append(image / length)
        vector = operator(basis[-1])
        projected[: k + 1, k] = [image @ vector for image in images]
    count = len(basis)
    upper = np.triu(projected[:count, :count])
    return float(np.abs(np.linalg.eigvalsh(upper, UPLO="U")).max())


def cycle_factor(curvature: AbstractCurvature, cycle: Apply, cycles: int = 30) -> float:
    """Measured factor of a cycle: repeated on the error of a system with the solution zero, over its last third.

    Parameters
    ----------
    cycle:
        From a residual to the correction by one cycle.
    """
    error = np.random.default_rng(1).normal(size=curvature.size)
    factors = []
    before = np.sqrt(curvature.quadratic(error))
    for _ in range(cycles):
        error = error - cycle(curvature.mv(error))
        after = np.sqrt(curvature.quadratic(error))
        factors.append(after / before)
        # only the direction matters: rounding would stop a fast cycle
        error, before = error / after, 1.0
    return float(np.exp(np.mean(np.log(factors[-(cycles // 3) :]))))


def order(width: ArrayLike, errors: ArrayLike) -> PowerLaw | None:
    """Fitted order of convergence: the exponent in `error = factor h^order`, with its interval.

    Against parameters in place of `h` the exponent is minus the order over the dimension; against the degree there is
    no power law. `None` with fewer than three sizes; errors that are not finite are left out.
    """
    return fit_power_law(width, errors)


def expected_order(degree: int, derivative: int = 0) -> int:
    """Order of the best approximation of a smooth function and its derivatives by splines of a degree, in L2."""
    return degree + 1 - derivative


def _dense_solver(curvature: AbstractCurvature) -> Apply:
    matrix = np.stack([curvature.mv(unit) for unit in np.eye(curvature.size)], axis=1)
    factor = scipy.linalg.cho_factor(0.5 * (matrix + matrix.T))
    return lambda right: scipy.linalg.cho_solve(factor, right)

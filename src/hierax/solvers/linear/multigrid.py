"""Conjugate gradients preconditioned by a multigrid cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from hierax.objective.curvature import AbstractCurvature, MatrixFreeGram
from hierax.objective.local import STENCIL_WORK
from hierax.objective.sparse_rows import SparseRowGram
from hierax.objective.stencil import StencilGram
from hierax.solvers.linear.smoothers import smoothing
from hierax.solvers.linear.solve import (
    AbstractLinearSolver,
    Apply,
    Cholesky,
    ConjugateGradients,
    ErrorEstimate,
    Iterated,
    NotPositive,
    Solve,
    factorise,
    iterated,
)

FACTOR_ENTRIES = 2.0e8
"""Most numbers in a banded factor that is tried when the iteration fails."""


class GridLevel(NamedTuple):
    """One level of a multigrid hierarchy: smoothers on the way down and up, and the way itself."""

    down: Apply
    up: Apply
    restrict: Apply
    prolong: Apply
    product: Apply


@dataclass(frozen=True)
class Multigrid(AbstractLinearSolver):
    r"""Conjugate gradients with one V-cycle on Galerkin coarse operators as preconditioner.

    The coarser spaces are those that the curvature offers (`AbstractCurvature.galerkin`): for spline grids and spline
    networks every second knot is dropped from level to level. Relaxation solves blocks exactly
    (`hierax.solvers.linear.smoothers`), so on grids the number of iterations depends on neither the mesh width nor the
    degree. On the coarsest level the matrix is factored. Curvature without coarser spaces is solved as by default.

    The iteration stops when the estimated algebraic error is small against what the solve has gained. In nested
    iteration this gain is the discretisation error of the coarser level, so every level ends below its own
    discretisation error after a bounded number of iterations.

    Parameters
    ----------
    tolerance:
        Remaining over gained decrease of the quadratic model (squares of errors in the energy norm).
    limit:
        Most iterations. Where they are not enough (waves, whose error is oscillatory along the characteristics, have no
        good coarse problem) the matrix is factored as long as that fits into memory.
    coarsest:
        Parameters below which the matrix is factored.
    sweeps:
        Relaxations before and after each coarse correction; on plane grids each is along the other axis than the one
        before.

    References
    ----------
    Hackbusch, Multi-Grid Methods and Applications (1985); Trottenberg, Oosterlee, Schueller, Multigrid (2001).
    """

    by_products: ClassVar[bool] = True

    tolerance: float = 1e-8
    limit: int = 100
    coarsest: int = 3000
    sweeps: int = 2

    def prepare(self, curvature: AbstractCurvature, shift: np.ndarray) -> Solve:
        if not isinstance(curvature, StencilGram | SparseRowGram):
            return linear_solver_for(curvature).prepare(curvature, shift)
        fine = curvature.shifted(shift)
        cycle = self.cycle(fine)

        def apply(b: np.ndarray, squares: float) -> Iterated:
            found = iterated(fine.mv, b, cycle, ErrorEstimate(self.tolerance, squares), self.limit)
            if (found.broken or found.iterations == self.limit) and _factor_fits(fine):
                return found._replace(solution=factorise(fine, np.zeros(fine.size))(b))
            if found.broken:
                raise NotPositive("the cycle is not positive in floating point")
            return found

        return Solve(apply)

    def cycle(self, curvature: AbstractCurvature) -> Apply:
        """A symmetric V-cycle for a curvature, as an approximate inverse."""
        levels: list[GridLevel] = []
        while curvature.size > self.coarsest and (below := curvature.galerkin()) is not None:
            levels.append(GridLevel(*smoothing(curvature, self.sweeps), below.restrict, below.prolong, curvature.mv))
            curvature = below.curvature
        return _VCycle(levels, factorise(curvature, np.zeros(curvature.size)))

    def work(self, curvature: AbstractCurvature) -> float:
        couplings = curvature.mesh.couplings if isinstance(curvature, StencilGram) else 100 * curvature.size
        return STENCIL_WORK * couplings


def _factor_fits(curvature: AbstractCurvature) -> bool:
    """Whether a banded factor would fit into memory."""
    if not isinstance(curvature, StencilGram):
        return curvature.size <= 4000
    mesh = curvature.mesh
    band = mesh.size / max(mesh.nodes) * max(mesh.reach) * (2 if any(mesh.periodic) else 1)
    return curvature.size * band <= FACTOR_ENTRIES


class _VCycle:
    """The cycle: down with smoothing and restriction, up with prolongation and smoothing."""

    def __init__(self, levels: list[GridLevel], coarsest: Apply) -> None:
        self.levels, self.coarsest = levels, coarsest

    def __call__(self, b: np.ndarray, level: int = 0) -> np.ndarray:
        if level == len(self.levels):
            return self.coarsest(b)
        own = self.levels[level]
        total = own.down(b)
        total += own.prolong(self(own.restrict(b - own.product(total)), level + 1))
        return total + own.up(b - own.product(total))


def linear_solver_for(curvature: AbstractCurvature) -> AbstractLinearSolver:
    """A factorisation where there is a small matrix, multigrid where there are coarser spaces, else mere iterations."""
    if isinstance(curvature, StencilGram):
        return Multigrid()
    if isinstance(curvature, SparseRowGram):
        return Multigrid(tolerance=1e-4, limit=400, coarsest=2000, sweeps=1)
    return ConjugateGradients() if isinstance(curvature, MatrixFreeGram) else Cholesky()

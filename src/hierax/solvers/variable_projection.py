"""Variable projection: what enters linearly is solved for, and only the rest is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax._results import RESULTS
from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.least_squares import dense_rows, linear_mask
from hierax.objective.objective import AbstractLeastSquares
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.damping import Damping, below, shortened
from hierax.solvers.gauss_newton import GaussNewton

DAMPING = Damping(4.0, 0.2)
ATTEMPTS = 14
"""Most steps that are tried from one point."""
READOUTS = 8
"""Most linearisations of a readout that enters nonlinear terms."""


class Projected(NamedTuple):
    """A point with residual `(R,)`, rows `(R, N)`, and the factors of the columns of the linear parameters.

    `basis` `(R, k)` spans these columns, and `back` `(linear, k)` times `basis` transposed is their pseudo-inverse.
    """

    theta: np.ndarray
    residual: np.ndarray
    rows: np.ndarray
    basis: np.ndarray
    back: np.ndarray

    @property
    def value(self) -> float:
        """The objective."""
        return 0.5 * float(self.residual @ self.residual)


class ProjectionState(NamedTuple):
    """Damping, steps taken, the current point, and the state of the solver that stands in where there is no readout."""

    damping: float
    steps: int = 0
    point: Projected | None = None
    other: Any = None


@dataclass(frozen=True)
class VariableProjection(AbstractSolver):
    r"""Minimise `|r(\alpha, c)|^2 / 2` over the parameters `\alpha` with `c`, those that enter linearly, eliminated.

    For every `\alpha` the readout `c(\alpha)` is the least-squares solution, by a singular value decomposition of its
    columns `J_c` that leaves out values below `rank` times the largest. With `P` the projection on the complement of
    these columns the step is that of Levenberg and Marquardt for the projected residual, in Kaufman's approximation:

        min over s of  |P r + P J_\alpha s|^2 + damping \sigma^2 |s|^2 ,

    `\sigma` the largest singular value of `P J_\alpha`. A step is judged after the readout has been solved again. Where
    terms are not linear in the values of the field, the readout is found by linearising them a few times.

    Columns are never multiplied with each other: smooth basis functions are dependent to rounding, and their Gram
    matrix would lose half of the digits. Spline grids, energies, penalties and corrected coarse objectives are left to
    `GaussNewton`.

    Parameters
    ----------
    damping:
        Damping before the first step.
    rank:
        Singular values of the readout's columns below this share of the largest are left out.
    tolerances:
        When a level is trained.

    References
    ----------
    Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973); Kaufman, BIT 15 (1975); Cyr, Gulian, Patel, Perego, Trask,
    arXiv 1912.04862 (least squares in the readout of networks).
    """

    damping: float = 1e-2
    rank: float = 1e-15
    tolerances: Tolerances = Tolerances(1e-6, 100)

    @property
    def second_order(self) -> bool:
        return True

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> ProjectionState:
        other = None if _with_readout(objective) else self._other.init(objective, theta)
        return ProjectionState(self.damping, other=other)

    def kinds(self, state: ProjectionState) -> Any:
        other = None if state.other is None else self._other.kinds(state.other)
        return ProjectionState(SCALAR, RESET, RESET, other)  # pyright: ignore

    @property
    def _other(self) -> GaussNewton:
        return GaussNewton(tolerances=self.tolerances)

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: ProjectionState) -> Step:
        rows = _with_readout(objective)
        if rows is None:
            inner = self._other
            step = inner.step(objective, theta, state.other or inner.init(objective, theta))
            return step._replace(state=ProjectionState(state.damping, other=step.state))
        mask = linear_mask(rows.field)
        known = state.point is not None and np.array_equal(state.point.theta, theta)
        point = state.point if known else self._projected(rows, theta, mask)
        if point is None:
            return Step(theta, state, float(rows.value(theta)), np.inf, True, RESULTS.nonfinite)
        if known and not mask.all():
            return self._trained(rows, state, point, mask)
        # the readout alone is the first step, and all there is to do when nothing else is trained
        after, steps = self._solved(rows, point, mask), state.steps + 1
        gain = (point.value - after.value) / max(point.value, 1e-300)
        done = bool(mask.all()) and (gain < self.tolerances.relative or steps >= self.tolerances.steps)
        return Step(after.theta, ProjectionState(state.damping, steps, after), after.value, gain, done)

    def _trained(
        self, objective: AbstractLeastSquares, state: ProjectionState, point: Projected, mask: np.ndarray
    ) -> Step:
        """A step of the other parameters, the readout following."""
        try:
            left, values, right = np.linalg.svd(_complement(point.basis, point.rows[:, ~mask]), full_matrices=False)
        except np.linalg.LinAlgError:
            return Step(point.theta, state, point.value, np.inf, True, RESULTS.singular)
        slopes, damping = left.T @ point.residual, state.damping
        for _ in range(ATTEMPTS):
            weights = values / (values**2 + damping * values[0] ** 2 + 1e-300)
            trial = point.theta.copy()
            trial[~mask] -= right.T @ (weights * slopes)
            start = self._projected(objective, trial, mask)
            after = None if start is None else self._solved(objective, start, mask)
            gain = -1.0 if after is None else (point.value - after.value) / max(point.value, 1e-300)
            if after is not None and gain > 0.0:
                steps = state.steps + 1
                done = gain < self.tolerances.relative or after.value < 1e-30 or steps >= self.tolerances.steps
                return Step(
                    after.theta, ProjectionState(DAMPING.accepted(damping), steps, after), after.value, gain, done
                )
            damping = DAMPING.refused(damping)
        # no step however short decreases it: rounding decides, the point is as good as it gets
        return Step(point.theta, state._replace(damping=damping, point=point), point.value, 0.0, True)

    def _solved(self, objective: AbstractLeastSquares, point: Projected, mask: np.ndarray) -> Projected:
        """The same point with the best readout: one linear solve, or a few where terms are not linear in the field."""
        for _ in range(READOUTS):
            left = _complement(point.basis, point.residual)
            if float(left @ left) >= (1.0 - 1e-6) * float(point.residual @ point.residual):
                break
            change, start = np.zeros_like(point.theta), point.theta
            change[mask] = point.back @ (point.basis.T @ point.residual)

            def at(length: float, start: np.ndarray = start, change: np.ndarray = change) -> tuple[float, Any]:
                after = self._projected(objective, start - length * change, mask)
                return (np.inf if after is None else after.value), after

            better = shortened(at, below(point.value), tries=4)
            if better is None:
                break
            point = better[2]
        return point

    def _projected(self, objective: AbstractLeastSquares, theta: np.ndarray, mask: np.ndarray) -> Projected | None:
        """A point with the factors of its readout's columns; `None` where it is not finite."""
        residual, rows = dense_rows(objective, theta)
        if not (np.all(np.isfinite(residual)) and np.all(np.isfinite(rows))):
            return None
        left, values, right = np.linalg.svd(rows[:, mask], full_matrices=False)
        kept = values > self.rank * values[0]
        return Projected(theta, residual, rows, left[:, kept], right[kept].T / values[kept])


def _with_readout(objective: AbstractObjective) -> AbstractLeastSquares | None:
    """The objective by rows, where some parameters enter its residuals linearly."""
    rows = objective.least_squares()
    mask = np.zeros(0, dtype=bool) if rows is None else linear_mask(rows.field)
    # bases of splines are well conditioned, and their bands much cheaper than rows
    return None if not mask.any() or (mask.all() and objective.assembled) else rows


def _complement(basis: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """What is orthogonal to a basis; twice, because once leaves rounding errors of the size of what is taken away."""
    for _ in range(2):
        columns = columns - basis @ (basis.T @ columns)
    return columns

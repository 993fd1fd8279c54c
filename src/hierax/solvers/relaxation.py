"""Relaxation: cheap steps that remove what a coarser level cannot see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax._results import RESULTS
from hierax.hierarchy.transport import METRIC, RESET
from hierax.objective import AbstractObjective
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.damping import below, shortened
from hierax.solvers.gauss_newton import DampingState, GaussNewton
from hierax.solvers.linear.multigrid import Multigrid
from hierax.solvers.linear.smoothers import smoothing
from hierax.solvers.linear.solve import AbstractLinearSolver, Apply, NotPositive


class RelaxationState(NamedTuple):
    """State of the exact solver, the smoother where it stays valid, value and gradient at the point, steps taken."""

    exact: DampingState
    smooth: Apply | None = None
    at: tuple[float, np.ndarray] | None = None
    steps: int = 0


@dataclass(frozen=True)
class Relaxation(AbstractSolver):
    """Block relaxation of the linearised objective, accelerated by Chebyshev polynomials; made for cycles.

    Blocks are those of `hierax.solvers.linear.smoothers`: overlapping strips or cubes of a grid, the splines of one
    variable of a network; otherwise single parameters. A step is shortened until the objective falls. Of a quadratic
    objective the factored blocks are kept as long as the level exists.

    Parameters
    ----------
    sweeps:
        Relaxations a step.
    coarsest:
        Levels with at most so many parameters are solved by Gauss-Newton steps.
    linear:
        How the linear systems of these are solved; on grids it must use stencils, as multigrid does.
    tolerances:
        When a visit ends.

    References
    ----------
    Adams, Brezina, Hu, Tuminaro, J. Comput. Phys. 188 (2003) 593-610.
    """

    sweeps: int = 3
    coarsest: int = 300
    linear: AbstractLinearSolver = Multigrid()
    tolerances: Tolerances = Tolerances()

    @property
    def second_order(self) -> bool:
        return True

    @property
    def stencils(self) -> bool | None:
        return self.linear.by_products

    @property
    def exact(self) -> GaussNewton:
        """The solver of the coarsest levels."""
        return GaussNewton(tolerances=self.tolerances)

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> RelaxationState:
        return RelaxationState(self.exact.init(objective, theta))

    def kinds(self, state: RelaxationState) -> Any:
        return RelaxationState(self.exact.kinds(state.exact), METRIC, RESET, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: RelaxationState) -> Step:
        if objective.size <= self.coarsest:
            step = self.exact.step(objective, theta, state.exact)
            return step._replace(state=state._replace(exact=step.state))
        try:
            value, gradient, smooth = self._prepared(objective, theta, state)
        except NotPositive:
            return Step(theta, state, np.inf, np.inf, True, RESULTS.singular)
        if not (np.isfinite(value) and np.all(np.isfinite(gradient))):
            return Step(theta, state, value, np.inf, True, RESULTS.nonfinite)
        change = smooth(-gradient)
        kept = smooth if objective.quadratic else None
        better = shortened(lambda length: objective.value_and_gradient(theta + length * change), below(value), 20)
        if better is None:
            # rounding is all that is left, or a point where no direction of the model leads down
            return Step(theta, state._replace(smooth=kept, at=(value, gradient)), value, 0.0, True)
        length, after, slope = better
        relative = (value - after) / max(abs(after), 1e-300)
        new = RelaxationState(state.exact, kept, (after, slope), state.steps + 1)
        done = relative < self.tolerances.relative or new.steps >= self.tolerances.steps
        return Step(theta + length * change, new, after, relative, done)

    def _prepared(
        self, objective: AbstractObjective, theta: np.ndarray, state: RelaxationState
    ) -> tuple[float, np.ndarray, Apply]:
        if state.smooth is not None:
            return (*(state.at or objective.value_and_gradient(theta)), state.smooth)
        lin = objective.linearise(theta)
        return lin.value, lin.gradient, smoothing(lin.curvature, self.sweeps)[0]

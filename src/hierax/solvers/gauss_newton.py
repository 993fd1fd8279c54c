"""Gauss-Newton with Levenberg-Marquardt damping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax._results import RESULTS
from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective, Linearisation
from hierax.objective.curvature import DenseGram
from hierax.objective.objective import AbstractSampledObjective
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.damping import Damping
from hierax.solvers.linear.multigrid import linear_solver_for
from hierax.solvers.linear.solve import AbstractLinearSolver, ConjugateGradients, NotPositive, Solve
from hierax.solvers.recovery import recovered

SMALLEST = 1e-14
HALVINGS, CUTS = 6, 10
"""Most halvings of a step that ends where terms are not finite, and of one without damping."""
IMPRECISE, NOISE, CONJUGATE = 1e-5, 1e-11, 12
"""Part of a step that a second one with the same factor may add, part of the parameters that is rounding, and most
steps of conjugate gradients where it adds more."""
ROUNDS_TO = 1e-12
"""Relative rise of the objective that is rounding."""
ZERO = DenseGram(np.zeros((0, 0)))
"""Stands for a curvature that nobody will ask for."""
DAMPING = Damping(2.0, 0.2, floor=1e-6)
"""Lowered more boldly, every other step was refused."""


class DampingState(NamedTuple):
    """Damping factor and the linearisation at the current point (reused when a step was refused)."""

    damping: float
    steps: int = 0
    linearisation: Linearisation | None = None


@dataclass(frozen=True)
class GaussNewton(AbstractSolver):
    r"""Minimise a sum of densities by `(A + \lambda D) s = -g`, with `A` the generalised Gauss-Newton matrix.

    The damping follows the ratio of actual to predicted decrease: it falls when the model is good, rises when a step is
    refused, both slowly. `D` is the diagonal of `A` (Marquardt), bounded below. With a linear field and least squares
    one step is the solution, and the second removes what rounding left.

    Parameters
    ----------
    linear:
        How the linear systems are solved; by default a factorisation where the curvature has a matrix, else conjugate
        gradients.
    damping:
        Damping before the first step.
    tolerances:
        When a level is trained.

    References
    ----------
    Levenberg, Quart. Appl. Math. 2 (1944); Marquardt, SIAM J. 11 (1963); Nielsen, IMM-REP-1999-05 (update
    rule); Transtrum, Sethna, arXiv 1201.5885 (2012), delayed gratification (its factors).
    """

    linear: AbstractLinearSolver | None = None
    damping: float = 1e-3
    tolerances: Tolerances = Tolerances()

    @property
    def second_order(self) -> bool:
        return True

    @property
    def stencils(self) -> bool | None:
        return None if self.linear is None else self.linear.by_products

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> DampingState:
        del objective, theta
        return DampingState(self.damping)

    def kinds(self, state: DampingState) -> Any:
        del state
        return DampingState(SCALAR, RESET, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: DampingState) -> Step:
        lin = state.linearisation or objective.linearise(theta)
        if not finite(lin):
            return Step(theta, state, lin.value, np.inf, True, RESULTS.nonfinite)
        if objective.quadratic and not isinstance(self.linear, ConjugateGradients):
            return self._solve(objective, theta, lin)
        damping, failure, iterations = state.damping, RESULTS.singular, 0
        for _ in range(40):
            trial, solve = self._attempt(lin, damping, _squares(objective, lin))
            iterations += 0 if solve is None else solve.iterations
            if trial is None:
                damping = max(10 * damping, SMALLEST)
                continue
            predicted = lin.model_decrease(trial)
            relative = predicted / max(abs(lin.value), 1e-300)
            last = relative < self.tolerances.relative and state.steps + 1 >= self.tolerances.least
            if last and damping > 0.0 and (freed := self._freed(objective, theta, lin)) is not None:
                return self._accept(theta + freed[0], state, damping, freed[1], np.inf, 1.0)
            after = self._after(
                objective,
                theta + trial,
                last=last,
            )
            if not finite(after):
                trial, after = self._shortened(objective, theta, trial)
                predicted = lin.model_decrease(trial)
            ratio = (lin.value - after.value) / predicted if predicted > 0 else -1.0
            if finite(after) and ratio > 1e-3:
                step = self._accept(theta + trial, state, damping, after, relative, ratio)
                return step._replace(iterations=iterations, condition=np.nan if solve is None else solve.condition)
            small = self.tolerances.relative if state.steps >= self.tolerances.least else 0.0
            if finite(after) and relative < max(small, min(1e-10, 10.0 * self.tolerances.relative)):
                # rounding decides the sign of such a small decrease: the point is as good as it gets
                return Step(theta, state._replace(linearisation=lin), lin.value, relative, True)
            failure = RESULTS.no_decrease if finite(after) else RESULTS.nonfinite
            damping = DAMPING.refused(damping)
        return Step(theta, state._replace(damping=damping, linearisation=lin), lin.value, np.inf, True, failure)

    @staticmethod
    def _shortened(
        objective: AbstractObjective, theta: np.ndarray, trial: np.ndarray
    ) -> tuple[np.ndarray, Linearisation]:
        """A step that leaves the set where the terms are finite, shortened until it ends inside.

        Damping would turn it as well: towards what single parameters can do alone. A body whose boundary has to move
        far would be moved at its boundary, and fold beside it; along the step the inside follows.
        """
        for _ in range(HALVINGS):
            trial = 0.5 * trial
            if np.isfinite(objective.value(theta + trial)):
                break
        # half of the way to the place where terms end leaves room for the next step
        trial = 0.5 * trial
        return trial, objective.linearise(theta + trial)

    def _freed(
        self, objective: AbstractObjective, theta: np.ndarray, lin: Linearisation
    ) -> tuple[np.ndarray, Linearisation] | None:
        """A step without damping, halved as long as that lowers the objective; `None` if it gains next to nothing.

        Where little is left to gain, damping may be all that holds back soft directions, as a shift that a single
        condition feels: its part of the diagonal is that of rows that do not know them (Deuflhard, Newton Methods for
        Nonlinear Problems, 2004, has no damping but lengths).
        """
        trial, _ = self._attempt(lin, 0.0, _squares(objective, lin))
        gain = self.tolerances.relative * abs(lin.value)
        if trial is None or not lin.model_decrease(trial) > gain:
            return None
        least = objective.value(theta + trial)
        for _ in range(CUTS):
            value = objective.value(theta + 0.5 * trial)
            if not (value < least or not np.isfinite(least)):
                break
            trial, least = 0.5 * trial, value
        return (trial, objective.linearise(theta + trial)) if least < lin.value - gain else None

    @staticmethod
    def _after(objective: AbstractObjective, theta: np.ndarray, last: bool) -> Linearisation:
        """What is known at the end of a step: all of it, since the next step needs that; the value after the last."""
        if last:
            return Linearisation(objective.value(theta), np.zeros(0), ZERO)
        return objective.linearise(theta)

    def _solve(self, objective: AbstractObjective, theta: np.ndarray, lin: Linearisation) -> Step:
        """A quadratic objective: one factorisation, damped as little as that needs."""
        diagonal = lin.curvature.diagonal()
        shift = 1e-3 * SMALLEST * np.maximum(diagonal, 1e-10 * diagonal.max(initial=0.0))
        for _ in range(7):
            try:
                step = self._twice(objective, theta, lin, shift)
            except NotPositive:  # multigrid factors only while it solves, where its iteration does not converge
                step = None
            if step is not None:
                return step
            shift = 100 * shift + 1e-300
        return Step(theta, DampingState(self.damping), lin.value, np.inf, True, RESULTS.singular)

    def _twice(
        self, objective: AbstractObjective, theta: np.ndarray, lin: Linearisation, shift: np.ndarray
    ) -> Step | None:
        """A solve, and a second one with the same factor that removes what rounding left; `None` if not finite."""
        solve = self.prepare(lin, shift)
        change = -solve(lin.gradient, _squares(objective, lin))
        first = theta + change
        if solve.iterations and np.all(np.isfinite(first)):
            # rounding is far below the tolerance of the iteration: the model says the value, no further pass
            value = lin.value - lin.model_decrease(change)
            inner = {"iterations": solve.iterations, "condition": solve.condition}
            return Step(first, DampingState(self.damping, 1), value, 0.0, True, **inner)
        value, gradient = objective.value_and_gradient(first)
        correction = -solve(gradient)
        sizes = np.linalg.norm(correction), np.linalg.norm(change), np.linalg.norm(first)
        if np.isfinite(value) and sizes[0] > max(IMPRECISE * sizes[1], NOISE * sizes[2]):
            found = recovered(objective, solve, first, lin.curvature.diagonal())
            second, value = found or _conjugate(objective, solve, first, value, gradient)
        else:
            second = first + correction
        if np.isfinite(value) and np.all(np.isfinite(second)):
            return Step(second, DampingState(self.damping, 1), value, 0.0, True)
        return None

    def _attempt(self, lin: Linearisation, damping: float, squares: float) -> tuple[np.ndarray | None, Solve | None]:
        diagonal = lin.curvature.diagonal()
        floor = 1e-10 * max(float(diagonal.max(initial=0.0)), 1e-300)
        shift = damping * np.maximum(diagonal, floor) + 1e-3 * SMALLEST * np.maximum(diagonal, floor)
        try:
            solve = self.prepare(lin, shift)
            trial = solve(-lin.gradient, squares)
        except NotPositive:
            return None, None
        return trial if np.all(np.isfinite(trial)) else None, solve

    def prepare(self, lin: Linearisation, shift: np.ndarray) -> Solve:
        """Solver of the damped system."""
        linear = self.linear or linear_solver_for(lin.curvature)
        return linear.prepare(lin.curvature, shift)

    def _accept(
        self, theta: np.ndarray, state: DampingState, damping: float, lin: Linearisation, relative: float, ratio: float
    ) -> Step:
        steps = state.steps + 1
        small = relative < self.tolerances.relative and steps >= self.tolerances.least
        done = small or abs(lin.value) < 1e-28 or steps >= self.tolerances.steps
        kept = None if lin.curvature is ZERO else lin
        return Step(theta, DampingState(DAMPING.accepted(damping, ratio), steps, kept), lin.value, relative, done)


def _squares(objective: AbstractObjective, lin: Linearisation) -> float:
    """Half the sum of squares that is minimised; zero with energies, which have no least value to compare with."""
    return lin.value if isinstance(objective, AbstractSampledObjective) and objective.has_residuals else 0.0


def _conjugate(
    objective: AbstractObjective, solve: Solve, theta: np.ndarray, value: float, gradient: np.ndarray
) -> tuple[np.ndarray, float]:
    """Conjugate gradients on a quadratic objective, with a factor that is too rough as preconditioner.

    Normal equations square condition numbers: what is soft, as a shift that only conditions at the far side of a layer
    feel, is lost in a factor that is right otherwise. These are few directions, and so are the steps to find them.
    """
    z, left, start = solve(gradient), gradient, theta
    direction, slope, gained = -z, float(gradient @ z), 0.0
    for _ in range(CONJUGATE):
        # gradients are affine: that at the end of a step needs no second look
        _, ahead = objective.value_and_gradient(theta + direction)
        bend = float(direction @ (ahead - left))
        if not (bend > 0.0 and slope > 0.0):
            break
        length = slope / bend
        theta, left, gained = theta + length * direction, left + length * (ahead - left), gained + 0.5 * length * slope
        negligible = length * slope < ROUNDS_TO * (value - gained)
        if negligible or np.linalg.norm(length * direction) < NOISE * np.linalg.norm(theta):
            break
        z, before = solve(left), slope
        slope = float(left @ z)
        direction = slope / before * direction - z
    lower = objective.value(theta)
    return (theta, lower) if lower <= value + ROUNDS_TO * abs(value) else (start, value)


def finite(lin: Linearisation) -> bool:
    """Whether value and gradient are finite."""
    return bool(np.isfinite(lin.value) and np.all(np.isfinite(lin.gradient)))

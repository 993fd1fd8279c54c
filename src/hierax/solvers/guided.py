r"""Training with an equation while a known approximation is followed, ever less.

A network that is trained with an equation from random weights, or from weights that were fitted to a solution, may end
in a false minimum: the residual falls and the error grows. With a known approximation :math:`v`, a solution on a spline
grid for example, every step is one of

.. math::
    \min_\theta \; R(\theta) + \mu_k G(\theta), \qquad
    G(\theta) = \frac12 \frac{\sum_q |u_\theta(x_q) - v(x_q)|^2}{\sum_q |v(x_q)|^2}, \qquad \mu_k = \mu_0 \, q^k ,

where :math:`R` is the objective and :math:`\mu_0` makes the guide a hundred times as heavy at the start. The weight
stays as long as the guide is still being learned, and falls after that, every few steps. A Gauss-Newton step then makes
the correction :math:`v - u_\theta`, as far as it lies in the network's tangent space, in those directions that the
equation hardly determines, where damping alone would stand still. In the end the equation is alone.

References
----------
Nocedal, Wright, Numerical Optimization (2006), section 17.1 (penalties with a sequence of weights).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.rows import RowObjective
from hierax.objective.samples import Samples
from hierax.solvers.base import AbstractSolver, Step, Tolerances
from hierax.solvers.gauss_newton import GaussNewton


class GuidedState(NamedTuple):
    """State of the solver within, first weight of the guide, value of the guide, share of the weight, steps with it."""

    inner: Any
    first: float
    apart: float
    share: float = 1.0
    steps: int = 0


@dataclass(frozen=True, eq=False)
class Guided(AbstractSolver):
    """Train with a guide whose weight falls to zero; see the head of this file.

    The value that is reported is that of the objective alone; while the guide leads it may rise.

    Parameters
    ----------
    guide:
        Samples of terms with what is followed as their targets, see `hierax.guided`.
    solver:
        Makes the steps.
    lead:
        The guide over the objective at the start.
    learned:
        While the guide falls by this factor, its weight stays.
    steps, stall:
        Steps after which the weight may fall, and the predicted relative decrease below which it falls sooner.
    fall:
        Factor of the weight after these.
    least:
        Share of the first weight below which the guide is left.
    """

    guide: tuple[Samples, ...]
    solver: AbstractSolver = GaussNewton(tolerances=Tolerances(steps=10**9))
    lead: float = 100.0
    learned: float = 0.9
    steps: int = 8
    stall: float = 1e-4
    fall: float = 0.5
    least: float = 1e-12

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> GuidedState:
        assert isinstance(objective, RowObjective), "a guide is followed by networks, on one level after the other"
        apart = self._apart(objective, theta)
        first = self.lead * float(objective.value(theta)) / apart if apart > 0.0 else 0.0
        return GuidedState(self.solver.init(self._led(objective, first), theta), first, apart)

    def _apart(self, objective: RowObjective, theta: np.ndarray) -> float:
        """Value of the guide."""
        return float(objective.with_samples(self.guide).value(theta))

    def kinds(self, state: GuidedState) -> Any:
        return GuidedState(self.solver.kinds(state.inner), SCALAR, RESET, SCALAR, RESET)  # pyright: ignore

    def _led(self, objective: RowObjective, weight: float) -> RowObjective:
        """The objective and the guide."""
        if weight == 0.0:
            return objective
        return objective.with_samples([*objective.samples, *(s.scaled(weight * s.scale) for s in self.guide)])

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: GuidedState) -> Step:
        assert isinstance(objective, RowObjective)
        step = self.solver.step(self._led(objective, state.first * state.share), theta, state.inner)
        if state.share == 0.0:
            return step._replace(state=state._replace(inner=step.state))
        stalled = step.done or step.failure is not None or step.decrease < self.stall
        enough = stalled or state.steps + 1 >= self.steps
        if not enough:
            after = state._replace(inner=step.state, steps=state.steps + 1)
        else:
            apart = self._apart(objective, step.theta)
            held = not stalled and apart < self.learned * state.apart
            share = state.share if held else self.fall * state.share
            share = share if share >= self.least else 0.0
            inner = self.solver.init(self._led(objective, state.first * share), step.theta)
            after = GuidedState(inner, state.first, apart, share)
        value = float(objective.value(step.theta))
        note = "The guide is left; the equation goes on alone." if after.share == 0.0 else ""
        return Step(step.theta, after, value, np.inf, False, iterations=step.iterations, note=note)

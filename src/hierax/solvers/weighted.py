"""A solver that weighs the terms anew while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.weighting import AbstractWeighting, KernelWeights
from hierax.solvers.base import AbstractSolver, Step


class WeightedState(NamedTuple):
    """State of the solver within, factors of the terms' scales, and steps since they were last looked at."""

    inner: Any
    weights: Float[np.ndarray, " terms"] | None = None
    waited: int = 0


@dataclass(frozen=True)
class Weighted(AbstractSolver):
    """Train by `solver` with weights of the terms that follow the tangent kernel.

    The value that a step reports is that of the objective without these weights, so that losses of different times and
    levels are comparable; it may rise where the weights let it. For solvers that never compare values of two steps:
    Adam, not a search along a line.

    Parameters
    ----------
    solver:
        Trains the weighted objective.
    weighting:
        Says the weights.
    every:
        Reported steps between two updates; the weights are computed from rows of all samples.
    """

    solver: AbstractSolver
    weighting: AbstractWeighting = KernelWeights()
    every: int = 10

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> WeightedState:
        return WeightedState(self.solver.init(objective, theta))

    def kinds(self, state: WeightedState) -> Any:
        # the weights of a level are a better start for the next one than those of its untrained kernel
        return WeightedState(self.solver.kinds(state.inner), SCALAR, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: WeightedState) -> Step:
        weights, waited = state.weights, state.waited
        if weights is None:
            weights = self.weighting.init(objective, theta)
        elif waited >= self.every:
            weights, waited = self.weighting.update(weights, objective, theta), 0
        weighed = objective.rescaled(list(objective.scales * weights))  # pyright: ignore
        step = self.solver.step(weighed, theta, state.inner)
        if step.failure is not None:
            return step._replace(state=WeightedState(step.state, weights, waited))
        return step._replace(
            state=WeightedState(step.state, weights, waited + 1), value=float(objective.value(step.theta))
        )

"""Two solvers, the second from where the first makes no more progress."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax.hierarchy.transport import RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.corrected import CorrectedObjective
from hierax.objective.rows import RowObjective
from hierax.solvers.base import AbstractSolver, Step


class SwitchingState(NamedTuple):
    """States of both solvers, whether the second is at work, and the last values of the first, oldest first."""

    first: Any
    then: Any
    switched: bool = False
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Switching(AbstractSolver):
    """Train by `first` until it stalls, then by `then`; finer levels go on with `then`.

    A first-order or quasi-Newton method is cheap far from a minimum and stalls on the way to it, where curvature pays.
    The first solver has stalled when the smallest of its last `window` values is not lower than the one before them by
    a share of `stall`, or when it says itself that it is done. The step that switches says so, with the numbers.

    Parameters
    ----------
    first:
        Begins; an objective that is not one compiled function, on which such solvers cannot work, is left to `then`.
    then:
        Goes on.
    stall:
        Share of the objective that `window` steps of the first solver have to bring. A second-order step often halves
        the loss; a solver that needs longer for that than `window` blocks is not worth its time.
    window:
        Reported steps of the first solver that are judged together; one alone says little where values fluctuate.
    """

    first: AbstractSolver
    then: AbstractSolver
    stall: float = 0.5
    window: int = 5

    @property
    def second_order(self) -> bool:
        return self.first.second_order or self.then.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> SwitchingState:
        alone = not isinstance(objective, RowObjective | CorrectedObjective)
        first = None if alone else self.first.init(objective, theta)
        return SwitchingState(first, self.then.init(objective, theta), alone)

    def kinds(self, state: SwitchingState) -> Any:
        first = RESET if state.first is None else self.first.kinds(state.first)
        return SwitchingState(first, self.then.kinds(state.then), SCALAR, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: SwitchingState) -> Step:
        if state.switched:
            step = self.then.step(objective, theta, state.then)
            return step._replace(state=state._replace(then=step.state))
        step = self.first.step(objective, theta, state.first)
        if step.failure is None:
            # a first-order solver tells the value from before its last step, which is not where the second one begins
            step = step._replace(value=float(objective.value(step.theta)))
        values = (*state.values, step.value)[-self.window - 1 :]
        reason = self._reason(step, values)
        after = SwitchingState(step.state, state.then, reason is not None, values)
        if reason is None:
            return step._replace(state=after)
        names = type(self.first).__name__, type(self.then).__name__
        note = f"{names[0]} {reason}; {names[1]} goes on."
        return Step(step.theta, after, step.value, step.decrease, False, note=note)

    def _reason(self, step: Step, values: tuple[float, ...]) -> str | None:
        """Why the first solver ends; nothing while it goes on."""
        if step.failure is not None:
            return f"failed ({step.failure.name}), its last good parameters are kept"
        if step.done:
            return f"has taken its steps, loss {step.value:.3g}"
        if len(values) <= self.window:
            return None
        brought = (values[0] - min(values[1:])) / max(abs(values[0]), 1e-300)
        if brought >= self.stall:
            return None
        return f"stalled: its last {self.window} steps lowered the loss {values[0]:.3g} by {max(brought, 0.0):.1%}"

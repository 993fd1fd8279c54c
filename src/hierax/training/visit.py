"""One visit of a level: steps of the solver until it, the cycle, the budget or data kept back say that it is enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, final

import numpy as np

from hierax._results import RESULTS
from hierax.cycles import Visit
from hierax.events import StepTaken
from hierax.hierarchy import resumed, transport
from hierax.objective.corrected import CorrectedObjective
from hierax.objective.flat_transfer import FlatLaws
from hierax.solvers import AbstractSolver
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Visited


class Stepped(NamedTuple):
    """What the steps of a visit have led to, with the relative decrease that the last one brought and promised.

    Nothing is promised where the data kept back or a failure have ended the visit for good. A failure of a corrected
    objective, which is a means only, is none of the training. An interruption keeps what the steps before it led to.
    """

    theta: np.ndarray
    state: Any
    value: float
    steps: int
    taken: tuple[StepTaken, ...]
    brought: float = 0.0
    promise: float = 0.0
    failure: RESULTS | None = None
    interrupted: bool = False


@final
@dataclass(frozen=True, eq=False)
class Patience:
    """The parameters with the smallest validation error so far, and for how many steps there were none better."""

    error: float = np.inf
    theta: np.ndarray | None = None
    waited: int = 0
    limit: int = 12

    def see(self, error: float | None, theta: np.ndarray) -> Patience:
        """After one more step; without an error nothing is watched."""
        if error is None:
            return self
        if error < 0.999 * self.error:
            return Patience(error, theta, 0, self.limit)
        return Patience(self.error, self.theta, self.waited + 1, self.limit)

    def or_last(self, theta: np.ndarray) -> np.ndarray:
        """The best parameters; the last ones where nothing is watched."""
        return theta if self.theta is None else self.theta

    @property
    def exhausted(self) -> bool:
        """Whether to stop waiting."""
        return self.waited >= self.limit


def initial_state(
    solver: AbstractSolver, made: Prepared, level: int, known: Mapping[int, Visited], transfers: Sequence[Any]
) -> Any:
    """Solver state of a visit: warm on a revisit, else from that of the coarser level, each part by its kind."""
    fresh = solver.init(made.objective, made.theta)
    own, below = known.get(level), known.get(level - 1)
    if own is not None and own.state is not None:
        return resumed(own.state, solver.kinds(own.state), fresh)
    if below is None or below.state is None or level - 1 >= len(transfers):
        return fresh
    laws = FlatLaws(transfers[level - 1], below.field, made.objective.field)
    return transport(below.state, solver.kinds(below.state), laws, fresh)  # pyright: ignore


def stepped(
    discrete: DiscreteProblem,
    made: Prepared,
    state: Any,
    visit: Visit,
    seconds: Callable[[], tuple[float, bool]],
    told: Callable[[StepTaken, Prepared, str], None],
) -> Stepped:
    """Step until that is enough.

    Parameters
    ----------
    discrete, made, state:
        The problem, the objective with its start, and the state of the solver there.
    visit:
        The level, and when the cycle wants to leave it.
    seconds:
        Seconds since the training began, and whether the budget is over.
    told:
        Gets every step, where it led, and a sentence about what was decided with it, maybe empty.
    """
    solver, objective, theta = discrete.plan.solver, made.objective, made.theta
    value, taken, best, corrected = np.inf, [], Patience(), isinstance(objective, CorrectedObjective)
    while True:
        try:
            step = solver.step(objective, theta, state)
        except KeyboardInterrupt:
            if not taken:
                raise
            return Stepped(best.or_last(theta), state, value, len(taken), tuple(taken), interrupted=True)
        theta, state, steps = step.theta, step.state, len(taken) + 1
        if step.failure is not None:
            failure = None if corrected else step.failure
            return Stepped(theta, state, step.value, steps, tuple(taken), failure=failure)
        stalled = visit.until.reached(steps, step.decrease, value, step.value)
        brought, value = (value - step.value) / max(abs(step.value), 1e-300), step.value
        sentence = step.note or (visit.until.sentence(steps, brought) if stalled and not step.done else "")
        inner = step.iterations, step.condition
        taken.append(StepTaken(visit.level, steps, value, step.decrease, seconds()[0], *inner))
        told(taken[-1], replace(made, theta=theta), sentence)
        if not corrected and discrete.watched(objective):
            best = best.see(discrete.validation_error(made.build(theta)), theta)
        if step.done or stalled or best.exhausted or seconds()[1]:
            promise = 0.0 if best.exhausted else step.decrease
            return Stepped(best.or_last(theta), state, value, steps, tuple(taken), brought, promise)

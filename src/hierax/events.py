"""What happens during a training, as typed records: `train` emits them, displays and run folders subscribe."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np

from hierax._results import RESULTS
from hierax.devices import alone, leads


@dataclass(frozen=True)
class RunStarted:
    """Training begins: the problem, the plan in words, the budget in seconds; `trained`: the problem in its own units,
    which are those of all fields in later events; `plans`: the plan itself."""

    problem: str
    plan: str
    budget: float
    trained: Any = None
    plans: Any = None


@dataclass(frozen=True)
class LevelStarted:
    """A level is visited: number (0 is the coarsest), parameters, points."""

    level: int
    parameters: int
    points: int


@dataclass(frozen=True)
class StepTaken:
    """A solver step: its number on this visit, the loss after it, the predicted decrease, seconds since the start.

    `iterations` counts those of an iterative linear solver, `condition` is the condition number of the preconditioned
    matrix as they saw it (NaN without them).
    """

    level: int
    step: int
    loss: float
    decrease: float
    seconds: float
    iterations: int = 0
    condition: float = float("nan")


@dataclass(frozen=True)
class LevelRecord:
    """What a level cost and reached; errors are `None` where they were not measured."""

    level: int
    parameters: int
    points: int
    steps: int
    loss: float
    seconds: float
    seconds_compile: float
    error: float | None = None
    validation_error: float | None = None
    note: str = ""


@dataclass(frozen=True)
class LevelFinished:
    """The visit of a level ended; `field` is what it was trained to."""

    record: LevelRecord
    field: Any = None


@dataclass(frozen=True)
class Reached:
    """A level was trained: the state from which training goes on to the same bits, and what makes a `Solution` of it.

    Such states do not depend on a clock: a visit that the end of the budget has cut off gives none. `within` a visit,
    after a step, the state is the one before the visit, and the solution is that of the step.
    """

    state: Any
    solution: Callable[[], Any]
    within: bool = False


@dataclass(frozen=True)
class LearningReached:
    """A learning of several parts has come further: the state from which it goes on with the rest of its seconds."""

    state: Any = field(repr=False)


@dataclass(frozen=True)
class Guard:
    """One check of the answer: its value, the limit, whether it passed, and a sentence.

    Of a table it may only speak of points at which some `inputs` have values that occur in the table.
    """

    value: float | None
    limit: float
    passed: bool
    sentence: str
    inputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decision:
    """Something was decided or went otherwise than planned, in words."""

    sentence: str


@dataclass(frozen=True)
class RunFinished:
    """Training ended: result, what stopped it (`converged`, `stalled`, `budget`, `levels`), the guards."""

    result: RESULTS
    stopped_by: str
    guards: dict[str, Guard]
    seconds: float


Event = RunStarted | LevelStarted | StepTaken | LevelFinished | Reached | LearningReached | Decision | RunFinished
Subscriber = Callable[[Event], None]


class View(Protocol):
    """Where training stands after a step: the objective, its flat parameters, and the way from them to a field."""

    @property
    def objective(self) -> Any: ...
    @property
    def theta(self) -> np.ndarray: ...
    @property
    def build(self) -> Callable[[np.ndarray], Any]: ...


class AbstractWatcher(abc.ABC):
    """A subscriber that is also shown where training stands after every step.

    It should keep nothing of a view but what it measures: the objective of a fine level is large.
    """

    @abc.abstractmethod
    def __call__(self, event: Event) -> None:
        """An event."""

    @abc.abstractmethod
    def look(self, step: StepTaken, view: View) -> None:
        """A step that was just taken, and where it led."""


@final
@dataclass(frozen=True)
class EventDispatcher:
    """Tells subscribers what happens, and shows watchers where training stands."""

    subscribers: Sequence[Subscriber]

    def __call__(self, event: Event, view: View | None = None) -> None:
        """An event; of a step with its view. Of several processes the first one tells."""
        if not leads():
            return
        with alone():
            for subscriber in self.subscribers:
                subscriber(event)
                if isinstance(subscriber, AbstractWatcher) and isinstance(event, StepTaken) and view is not None:
                    subscriber.look(event, view)

"""What happens during a training, as typed records: `train` emits them, displays and run folders subscribe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hierax._results import RESULTS


@dataclass(frozen=True)
class RunStarted:
    """Training begins: the problem, the plan in words, the budget in seconds."""

    problem: str
    plan: str
    budget: float


@dataclass(frozen=True)
class LevelStarted:
    """A level is visited: number (0 is the coarsest), parameters, points."""

    level: int
    parameters: int
    points: int


@dataclass(frozen=True)
class StepTaken:
    """A solver step: its number on this visit, the loss after it, the predicted decrease, seconds since the start.

    `iterations` counts those of an iterative linear solver.
    """

    level: int
    step: int
    loss: float
    decrease: float
    seconds: float
    iterations: int = 0


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
class Guard:
    """One check of the answer: its value, the limit, whether it passed, and a sentence."""

    value: float | None
    limit: float
    passed: bool
    sentence: str


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


Event = RunStarted | LevelStarted | StepTaken | LevelFinished | Decision | RunFinished
Subscriber = Callable[[Event], None]

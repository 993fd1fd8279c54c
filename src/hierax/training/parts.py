"""A training of several parts, one after the other, each of which stays once it is over: outputs, fidelities."""

from __future__ import annotations

import abc
import dataclasses
import functools
import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple, final

from hierax import clock
from hierax._results import RESULTS
from hierax.clock import compile_seconds
from hierax.events import EventDispatcher, Reached, RunFinished, RunStarted
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.results.solution import Solution
from hierax.training.state import RunState


class PartsState(NamedTuple):
    """Where a training of several parts stands.

    Attributes
    ----------
    done:
        What the parts so far have come to.
    within:
        Where the training of the next one stands, if it has begun.
    budget, seconds, seconds_compile:
        The seconds that it was given, and those spent so far.
    """

    done: tuple[Any, ...] = ()
    within: RunState | None = None
    budget: float = 0.0
    seconds: float = 0.0
    seconds_compile: float = 0.0

    @property
    def current(self) -> int:
        """Number of the next part."""
        return len(self.done)


@final
@dataclass(frozen=True, eq=False)
class Asked:
    """How a training was asked for: root key, seconds, who is told, and by the clock of this process since when."""

    key: Key = 0
    budget: float = 60.0
    emit: EventDispatcher = EventDispatcher(())
    began: float = field(default_factory=lambda: clock.seconds_now())  # looked up when it is asked
    compiled: float = field(default_factory=compile_seconds)

    @property
    def seconds(self) -> float:
        """Seconds since the training began."""
        return clock.seconds_now() - self.began

    @property
    def seconds_compile(self) -> float:
        """Those of them that compilation took."""
        return compile_seconds() - self.compiled

    @property
    def seed(self) -> int:
        """The seed for tables; -1 where a key was given."""
        return self.key if isinstance(self.key, int) else -1


class AbstractParts(abc.ABC):
    """A training of several parts; `in_parts` is the loop."""

    problem: Problem
    asked: Asked

    @property
    @abc.abstractmethod
    def text(self) -> str:
        """The plan in words."""

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """Number of parts."""

    @abc.abstractmethod
    def trained(self, state: PartsState) -> Any:
        """What the next part comes to, from where its training stands."""

    @abc.abstractmethod
    def ended_by(self, part: Any) -> str:
        """What stopped a part: `budget`, `interrupted`, or anything else where it has come to its end."""

    @abc.abstractmethod
    def joined(self, done: tuple[Any, ...]) -> Solution:
        """The solution of all parts, or of the first ones."""

    @final
    def solution(self, done: tuple[Any, ...]) -> Solution:
        """The solution, marked where parts are missing or were interrupted."""
        whole = len(done) == self.count and not self.interrupted(done)
        found = self.joined(done)
        return found if whole else dataclasses.replace(found, result=RESULTS.interrupted, stopped_by="budget")

    @final
    def interrupted(self, done: tuple[Any, ...]) -> bool:
        """Whether the last part was interrupted."""
        return bool(done) and self.ended_by(done[-1]) == "interrupted"

    @final
    def now(self, done: tuple[Any, ...], within: RunState | None = None) -> PartsState:
        """The state with the seconds spent so far."""
        return PartsState(done, within, self.asked.budget, self.asked.seconds, self.asked.seconds_compile)


def in_parts(parts: AbstractParts, state: PartsState = PartsState()) -> Solution:
    """Train part after part, from the first one or from a state on; an interruption keeps those that are done.

    With a larger budget than that of the state, the first part that the end of its budget had cut off is made again,
    and what follows it.
    """
    asked = parts.asked
    asked.emit(RunStarted(parts.problem.name, parts.text, asked.budget))
    if asked.budget > state.budget:
        kept = tuple(itertools.takewhile(lambda part: parts.ended_by(part) != "budget", state.done))
        state = state if kept == state.done else PartsState(kept)
    while state.current < parts.count and not parts.interrupted(state.done):
        try:
            state = parts.now((*state.done, parts.trained(state)))
        except KeyboardInterrupt:
            if not state.done:
                raise
            break
        if state.current < parts.count and not parts.interrupted(state.done):
            asked.emit(Reached(state, functools.partial(parts.solution, state.done)))
    solution = parts.solution(state.done)
    asked.emit(RunFinished(solution.result, solution.stopped_by, solution.guards, asked.seconds))
    return solution

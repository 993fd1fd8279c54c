"""What a training needs besides its state: problem, plan, key, the clock and those who are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from hierax import clock
from hierax.clock import compile_seconds
from hierax.events import Decision, EventDispatcher, Subscriber
from hierax.planning.plan import Plan
from hierax.problems.keys import Key, seed_of
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.results.solution import Solution
from hierax.training.continuation import ProblemSequence
from hierax.training.corrections import LevelStack, Objectives
from hierax.training.cost import nominal_seconds
from hierax.training.discrete import DiscreteProblem, refuse_32_bit
from hierax.training.first_start import begun
from hierax.training.refinement import Left
from hierax.training.state import RunState


@final
@dataclass(frozen=True, eq=False)
class Context:
    """What a training needs besides its state: all of it follows from problem, plan and key, or is of the process.

    Attributes
    ----------
    asked, plan, key:
        What the user wants to learn, how it is done, and the seed of points and growth.
    problem:
        What is trained: the problem in the units of the plan.
    sequence:
        The discretised problems, those of a continuation in their order.
    budget, emit:
        Seconds, and who is told.
    began, compiled:
        When the training began by the clock of this process, and the seconds of compilation until then.
    made:
        Objectives that were made before.
    seed:
        The seed for tables; -1 where a key was given.
    origin:
        The state before the present action; `None` where nobody is told of it.
    rival:
        Of a table the solution by kriging, which is there before anything else is trained.
    """

    asked: Problem
    problem: Problem
    plan: Plan
    key: Key
    sequence: ProblemSequence
    budget: float
    emit: EventDispatcher
    began: float
    compiled: float
    made: Objectives = field(default_factory=Objectives)
    seed: int = -1
    origin: RunState | None = None
    rival: Solution | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        plan: Plan,
        key: Key,
        budget: float,
        subscribers: Sequence[Subscriber] = (),
        began: tuple[float, float] | None = None,
    ) -> Context:
        """The context of a training, with its root key.

        Parameters
        ----------
        began:
            When it began and the seconds of compilation before that; now if not given. A training that goes on from a
            state began `state.seconds` ago.

        Raises
        ------
        InputError
            For 32-bit parameters with a second-order solver.
        """
        refuse_32_bit(plan)
        plan, sampler = plan.seeded(key), seed_of(key, 1)
        own = plan.in_its_units(problem)
        sequence = ProblemSequence.of(own, plan, sampler)
        first = begun(sequence.problems[0], plan.hierarchy)
        if first is not plan.hierarchy:
            plan = replace(plan, hierarchy=first)
            sequence = ProblemSequence.of(own, plan, sampler)
        start = began or (clock.seconds_now(), compile_seconds())
        told, seed = EventDispatcher(tuple(subscribers)), key if isinstance(key, int) else -1
        return cls(problem, own, plan, sampler, sequence, budget, told, *start, seed=seed)

    def measuring(self, data: Mapping[str, Data]) -> Context:
        """The same training with other data, in the units of the training, in place of those of these names."""
        sequence = self.sequence.measuring(data)
        return replace(self, problem=sequence.problems[-1].problem, sequence=sequence, made=Objectives())

    @property
    def elapsed(self) -> float:
        """Seconds since the training began."""
        return clock.seconds_now() - self.began

    @property
    def over(self) -> bool:
        """Whether the budget is over."""
        return self.elapsed > self.budget

    def clock(self) -> tuple[float, bool]:
        """Seconds since the training began, and whether the budget is over."""
        return self.elapsed, self.over

    def say(self, sentence: str) -> None:
        """Tell of a decision; nothing where there is nothing to say."""
        if sentence:
            self.emit(Decision(sentence))

    def problem_of(self, state: RunState, number: int = -1) -> DiscreteProblem:
        """A problem of the sequence, with the factor of its equations that the state has."""
        number %= len(self.sequence.problems)
        known, scale = self.made.problems, state.scales[number]
        if (number, scale) not in known:
            known[number, scale] = self.sequence.problems[number].scaled(scale)
        return known[number, scale]

    def stack(self, state: RunState) -> LevelStack:
        """The levels for corrections."""
        cycle: Any = self.plan.cycle
        return LevelStack(self.problem_of(state), cycle, state.levels, state.transfers, self.made)

    def left(self, state: RunState) -> Left:
        """What is left of the budget, by the clock and by counted work."""
        visits = len(state.easier) + len(state.visited)
        return Left(self.budget - self.elapsed, self.budget - nominal_seconds(state.work, visits))

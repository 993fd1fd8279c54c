"""Levels that carry their own problem: which member of a continuation a level is trained with.

The easier members are other settings of the physics (`Continuation`), or the same equations that weigh less against
data, as in the parameter cascades of Ramsay, Hooker, Campbell, Cao, JRSS B 69 (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from hierax.cycles import NestedIteration, Until
from hierax.events import LevelRecord
from hierax.fields import Unknowns
from hierax.planning.features import ProblemFeatures
from hierax.planning.plan import Plan
from hierax.problems.continuation import Continuation
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.training.discrete import DiscreteProblem
from hierax.training.state import Visited

EASIER = Until(stall=1e-2)
"""An easier problem only leads to the next one: steps that hardly lower its loss are not worth their time."""
UNDETERMINED = 1e-4
"""Factor of the equations below which they hardly act, and nothing tells how large constants in them are."""


@final
@dataclass(frozen=True, eq=False)
class ProblemSequence:
    """The problems of a training in the order in which they are solved; one alone where there is no continuation.

    Attributes
    ----------
    problems, notes:
        The easier ones and, last, the one that is asked for; what tables say of a level that was trained with each.
    first:
        The level on which the last problem is trained first, as far as that can be planned.
    """

    problems: Sequence[DiscreteProblem]
    notes: Sequence[str]
    first: int = 0

    @classmethod
    def of(cls, problem: Problem, plan: Plan, key: Key) -> ProblemSequence:
        """A problem after those that lead to it, one a level as far as the levels suffice."""
        target = DiscreteProblem.of(problem, plan, key)
        if not isinstance(problem, Continuation):
            easier = [target.weighing(factor) for factor in plan.easier]
            return cls([*easier, target], [*(f"equations times {factor:g}" for factor in plan.easier), ""])
        easier = []
        for member in problem.easier:
            seen = ProblemFeatures.of(member)
            easier.append(DiscreteProblem.of(member, replace(plan, local=seen.local, linear=seen.linear), key))
        return cls([*easier, target], problem.notes, min(len(easier), _room(plan) - 1))

    def last(self, level: int, first: int) -> int:
        """Number of the problem that a level ends with, where the last one is trained from level `first` on."""
        return len(self.problems) - 1 - max(first - level, 0)

    def handed_on(self, number: int, visited: Visited) -> Visited:
        """What the next problem starts from.

        Constants that nothing has determined go back to where they began: one with a bound could otherwise come so
        near to it that the equations, once they weigh more, no longer depend on its parameter.
        """
        own = self.problems[number]
        if own.plan.equation_factor >= UNDETERMINED or not own.problem.constants:
            return visited
        began = own.plan.hierarchy.levels[0].field.parts
        parts = visited.field.parts | {name: began[name] for name in own.problem.constants}
        return visited._replace(field=Unknowns(**parts))

    def rows(self, easier: Sequence[tuple[int, Visited]]) -> list[LevelRecord]:
        """Rows of the table for levels that were trained with easier problems, with the errors against their own."""
        pairs = zip(easier, self.problems, strict=False)
        return [visited.record(k, own.accuracy(visited.field).relative_l2) for (k, visited), own in pairs]


def _room(plan: Plan) -> int:
    """Levels over which the problems may be spread: all that are visited once, from coarse to fine."""
    if not isinstance(plan.cycle, NestedIteration):
        return 1
    if plan.rule is None:
        return len(plan.hierarchy)
    return plan.cycle.most or 1000

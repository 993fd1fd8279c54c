"""Levels that carry their own problem: which member of a continuation a level is trained with.

The easier members are other settings of the physics (`Continuation`), or the same equations that weigh less against
data, as in the parameter cascades of Ramsay, Hooker, Campbell, Cao, JRSS B 69 (2007).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hierax.cycles import NestedIteration, Until
from hierax.events import LevelRecord
from hierax.fields import Unknowns
from hierax.planning.features import ProblemFeatures
from hierax.planning.plan import Plan
from hierax.problems.continuation import Continuation
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.training.discrete import Bench, Visited

EASIER = Until(stall=1e-2)
"""An easier problem only leads to the next one: steps that hardly lower its loss are not worth their time."""
UNDETERMINED = 1e-4
"""Factor of the equations below which they hardly act, and nothing tells how large constants in them are."""


@dataclass(frozen=True, eq=False)
class Stages:
    """The problems of a training in the order of its levels; one alone where there is no continuation.

    Attributes
    ----------
    benches, notes:
        One for each problem, the one that is asked for last; what tables say of a level that was trained with it.
    first:
        The level on which the last problem is trained first.
    """

    benches: Sequence[Bench]
    notes: Sequence[str]
    first: int = 0

    @classmethod
    def of(cls, problem: Problem, plan: Plan, key: Key) -> Stages:
        """Benches of a problem and of those that lead to it, one a level as far as the levels suffice."""
        target = Bench(problem, plan, key)
        if not isinstance(problem, Continuation):
            benches = [target.weighing(factor) for factor in plan.easier]
            return cls([*benches, target], [*(f"equations times {factor:g}" for factor in plan.easier), ""])
        benches = []
        for easier in problem.easier:
            seen = ProblemFeatures.of(easier)
            benches.append(Bench(easier, replace(plan, local=seen.local, linear=seen.linear), key))
        return cls([*benches, target], problem.notes, min(len(benches), _room(plan) - 1))

    @property
    def target(self) -> Bench:
        """The bench of the problem that is asked for."""
        return self.benches[-1]

    def handed_on(self, number: int, visited: Visited) -> Visited:
        """What the next problem starts from.

        Constants that nothing has determined go back to where they began: one with a bound could otherwise come so
        near to it that the equations, once they weigh more, no longer depend on its parameter.
        """
        bench = self.benches[number]
        if bench.plan.equation_factor >= UNDETERMINED or not bench.problem.constants:
            return visited
        began = bench.plan.hierarchy.levels[0].field.parts
        parts = visited.field.parts | {name: began[name] for name in bench.problem.constants}
        return replace(visited, field=Unknowns(**parts))

    def last(self, level: int) -> int:
        """Number of the problem that a level ends with."""
        return len(self.benches) - 1 - max(self.first - level, 0)

    def rows(self, led: Sequence[tuple[int, Visited]]) -> list[LevelRecord]:
        """Rows of the table for levels that were trained with easier problems, with the errors against their own."""
        pairs = zip(led, self.benches, strict=False)
        return [visited.record(k, bench.accuracy(visited.field).relative_l2) for (k, visited), bench in pairs]


def _room(plan: Plan) -> int:
    """Levels over which the problems may be spread: all that are visited once, from coarse to fine."""
    if not isinstance(plan.cycle, NestedIteration):
        return 1
    if plan.rule is None:
        return len(plan.hierarchy)
    return plan.cycle.most or 1000

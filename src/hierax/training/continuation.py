"""Levels that carry their own problem: which member of a continuation a level is trained with.

The easier members are other settings of the physics (`Continuation`), or the same equations that weigh less against
data, as in the parameter cascades of Ramsay, Hooker, Campbell, Cao, JRSS B 69 (2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import jax

from hierax.cycles import NestedIteration, Until
from hierax.events import LevelRecord
from hierax.fields import Unknowns
from hierax.objective.prior import Held
from hierax.objective.view import bounded
from hierax.planning.features import ProblemFeatures
from hierax.planning.plan import Plan
from hierax.problems.continuation import Continuation
from hierax.problems.keys import Key
from hierax.problems.problem import Problem
from hierax.problems.terms import Data
from hierax.training.discrete import DiscreteProblem
from hierax.training.state import Visited

EASIER = Until(stall=1e-2)
"""An easier problem only leads to the next one: steps that hardly lower its loss are not worth their time."""
UNDETERMINED = 1e-4
"""Factor of the equations below which they hardly act, and nothing tells how large constants in them are."""
FELT = 1e-2
"""Slope of the map into the bounds of a constant over that where it began, below which equations hardly feel it."""
JUMP, NOISES = 2.0, 3.0
"""Misfit of the data over that before equations weighed more, and over their noise, from which on the field has left
them."""


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
            easier = [_weighing(target, factor) for factor in plan.easier]
            return cls([*easier, target], [*(f"equations times {factor:g}" for factor in plan.easier), ""])
        easier = []
        for member in problem.easier:
            seen = ProblemFeatures.of(member)
            easier.append(DiscreteProblem.of(member, replace(plan, local=seen.local, linear=seen.linear), key))
        return cls([*easier, target], problem.notes, min(len(easier), _room(plan) - 1))

    def measuring(self, data: Mapping[str, Data]) -> ProblemSequence:
        """The same problems with other data in place of those of these names; they share all kernels."""
        return replace(self, problems=[problem.measuring(data) for problem in self.problems])

    def last(self, level: int, first: int) -> int:
        """Number of the problem that a level ends with, where the last one is trained from level `first` on."""
        return len(self.problems) - 1 - max(first - level, 0)

    def rows(self, easier: Sequence[tuple[int, Visited]]) -> list[LevelRecord]:
        """Rows of the table for levels that were trained with easier problems, with the errors against their own."""
        pairs = zip(easier, self.problems, strict=False)
        return [visited.record(k, own.accuracy(visited.field).relative_l2) for (k, visited), own in pairs]


def _weighing(target: DiscreteProblem, factor: float) -> DiscreteProblem:
    """With equations that weigh less; with hardly any weight they only smooth, and constants in them are held.

    Between data the field would otherwise follow noise, and constants what that leads to: to bounds, near which the
    equations, once they weigh more, no longer depend on their parameters.
    """
    easier, constants = target.weighing(factor), target.problem.constants
    if factor >= UNDETERMINED or not constants:
        return easier
    began = target.plan.hierarchy.levels[0].field.parts
    held = tuple(Held(name, float(began[name].value)) for name in constants)
    return replace(easier, plan=replace(easier.plan, penalties=(*easier.plan.penalties, *held)))


def leads_away(discrete: DiscreteProblem, visited: Visited, easier: Sequence[tuple[int, Visited]]) -> bool:
    """Whether equations that weigh more than in the last `easier` visit have led to where the data are missed."""
    rows = discrete.rows
    if not (easier and discrete.equations.any() and rows.terms):
        return False
    fields, seen = (visited.field, easier[-1][1].field), rows.held or rows.seen(None)
    own, least = (rows.misfit(field, seen, discrete.misses) for field in fields)
    return not own < max(JUMP * least, NOISES * max(rows.noise, rows.stated))


def off_bounds(discrete: DiscreteProblem, field: Any) -> Any:
    """A field that an easier problem has led to, with constants where they began that came near a bound.

    Equations that weigh little against noisy data are best met by constants that switch off what feels the noise most.
    Next to a bound the equations no longer depend on the parameters of these, and nothing leads back.
    """
    if not isinstance(field, Unknowns):
        return field
    began, left = discrete.plan.hierarchy.levels[0].field.parts, {}
    for name, constant in discrete.problem.constants.items():
        slope = jax.grad(bounded(constant.bounds))
        own, first = (abs(float(slope(float(parts[name].value)))) for parts in (field.parts, began))
        if not own > FELT * first:
            left[name] = began[name]
    return Unknowns(**field.parts | left)


def _room(plan: Plan) -> int:
    """Levels over which the problems may be spread: all that are visited once, from coarse to fine."""
    if not isinstance(plan.cycle, NestedIteration):
        return 1
    if plan.rule is None:
        return len(plan.hierarchy)
    return plan.cycle.most or 1000

"""Cycles that go down to coarser levels and up again: V, W, F, and full multigrid.

Going down, the coarser level gets an objective that is consistent with the finer one where that stands
(`hierax.objective.corrected`); going up, the finer level judges what the coarser one proposes
(`hierax.cycles.acceptance`).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import NamedTuple

from hierax.cycles.acceptance import LineSearch
from hierax.cycles.base import AbstractCycle, Action, Ascend, Descend, Done, Outcome, Until, Visit
from hierax.cycles.nested import NestedIteration
from hierax.objective.corrected import AbstractCorrection, FirstOrder

Plan = tuple[Action, ...]


class Cycling(NamedTuple):
    """Where a cycle is: levels, the finest one it works on, what is left of it, cycles done, the value before it."""

    levels: int
    finest: int
    left: Plan
    done: int = 0
    before: float | None = None


@dataclass(frozen=True)
class AbstractMultigrid(AbstractCycle):
    """Common parts of the cycles: they differ only in the order of visits.

    Parameters
    ----------
    pre, post:
        How long a level is trained before its coarser one, and after; no steps at all with `Until(steps=0)`.
    coarsest:
        How long the coarsest level is trained; by default until the solver is done.
    cycles:
        Most cycles.
    share:
        Cycles end when one lowers the finest objective by less than this share of it.
    correction:
        How coarse objectives are made consistent with the finer one.
    acceptance:
        How coarse changes are judged.

    References
    ----------
    Nash, Optim. Methods Softw. 14 (2000) 99-116; Trottenberg, Oosterlee, Schueller, Multigrid (2001).
    """

    pre: Until = Until(steps=1)
    post: Until = Until(steps=1)
    coarsest: Until = Until()
    cycles: int = 50
    share: float = 1e-6
    correction: AbstractCorrection = FirstOrder()
    acceptance: LineSearch = LineSearch()

    @property
    def corrects(self) -> bool:
        return True

    @abc.abstractmethod
    def coarse(self, level: int) -> Plan:
        """What happens on `level` and those below it between `Descend` to it and `Ascend` from it."""

    def plan(self, level: int, coarse: Plan) -> Plan:
        """One cycle of `level` with given work on the levels below."""
        if level == 0:
            return (Visit(0, self.coarsest),)
        pre, post = (() if until.steps == 0 else (Visit(level, until),) for until in (self.pre, self.post))
        return (*pre, Descend(level), *coarse, Ascend(level), *post)

    def init(self, levels: int) -> Cycling:
        return Cycling(levels, levels - 1, ())

    def next(self, state: Cycling, outcome: Outcome | None) -> tuple[Cycling, Action]:
        if outcome is not None and not state.left:
            after, count = outcome.value, state.done
            if state.finest == 0:
                return state, Done("converged")
            if after is not None and state.before is not None and self._small(state.before, after):
                return state, Done("converged")
            if count >= self.cycles:
                return state, Done("levels")
            state = state._replace(before=after)
        if not state.left:
            plan = self.plan(state.finest, self.coarse(state.finest - 1) if state.finest else ())
            state = state._replace(left=plan, done=state.done + 1)
        return state._replace(left=state.left[1:]), state.left[0]

    def _small(self, before: float, after: float) -> bool:
        return before - after < self.share * max(abs(after), 1e-300)


@dataclass(frozen=True)
class VCycle(AbstractMultigrid):
    """Down to the coarsest level and up again; see `AbstractMultigrid` for the parameters."""

    def coarse(self, level: int) -> Plan:
        return self.plan(level, self.coarse(level - 1) if level else ())


@dataclass(frozen=True)
class WCycle(AbstractMultigrid):
    """Every level visits the one below twice; see `AbstractMultigrid` for the parameters."""

    def coarse(self, level: int) -> Plan:
        if level == 0:
            return self.plan(0, ())
        return 2 * self.plan(level, self.coarse(level - 1))


@dataclass(frozen=True)
class FCycle(AbstractMultigrid):
    """Every level visits the one below by an F-cycle and then a V-cycle; see `AbstractMultigrid` for the parameters."""

    def coarse(self, level: int) -> Plan:
        if level == 0:
            return self.plan(0, ())
        return (*self.plan(level, self.coarse(level - 1)), *VCycle(self.pre, self.post, self.coarsest).coarse(level))


@dataclass(frozen=True)
class AdditiveCycle(AbstractMultigrid):
    """The changes of all levels start from the same iterate and are added, from the coarsest up.

    All coarse problems are made on the way down, before any level has moved, so that no level waits for another one.
    Such sums overshoot: the line search cuts what comes from below to what the level can use on top of its own change.
    See `AbstractMultigrid` for the parameters; there is no step after a correction.

    References
    ----------
    Bramble, Pasciak, Xu, Math. Comp. 55 (1990) 1-22; Greenbaum, Linear Algebra Appl. 1986, for additive V-cycles.
    """

    def coarse(self, level: int) -> Plan:
        below = self.coarse(level - 1) if level else ()
        return (*below, *self._own(level))

    def plan(self, level: int, coarse: Plan) -> Plan:
        downs = tuple(Descend(k) for k in range(level, 0, -1))
        return (*downs, *coarse, *self._own(level))

    def _own(self, level: int) -> Plan:
        if level == 0:
            return (Visit(0, self.coarsest),)
        return (Visit(level, self.pre), Ascend(level))


class FullState(NamedTuple):
    """State of the nested iteration, and of the cycle on its present level."""

    nested: int
    cycle: Cycling | None


@dataclass(frozen=True)
class FullMultigrid(AbstractCycle):
    """Nested iteration in which every level but the first is trained by cycles; levels may grow.

    Parameters
    ----------
    cycle:
        The cycle on each level.
    nested:
        When levels are added and when it is enough; its rules for switching hold for the first level.

    References
    ----------
    Brandt, Math. Comp. 31 (1977) 333-390; Hackbusch, Multi-Grid Methods and Applications (1985).
    """

    cycle: AbstractMultigrid = VCycle(cycles=3, share=1e-2)
    nested: NestedIteration = NestedIteration()

    @property
    def corrects(self) -> bool:
        return True

    @property
    def correction(self) -> AbstractCorrection:
        """That of the cycle."""
        return self.cycle.correction

    @property
    def acceptance(self) -> LineSearch:
        """That of the cycle."""
        return self.cycle.acceptance

    def limited(self, levels: int) -> FullMultigrid:
        return replace(self, nested=self.nested.limited(levels))

    def init(self, levels: int) -> FullState:
        return FullState(self.nested.init(levels), None)

    def next(self, state: FullState, outcome: Outcome | None) -> tuple[FullState, Action]:
        if state.cycle is not None:
            inner, action = self.cycle.next(state.cycle, outcome)
            if not isinstance(action, Done):
                return FullState(state.nested, inner), action
        nested, action = self.nested.next(state.nested, outcome)
        if isinstance(action, Visit) and action.level > 0:
            inner, action = self.cycle.next(self.cycle.init(action.level + 1), None)
            return FullState(nested, inner), action
        return FullState(nested, None), action

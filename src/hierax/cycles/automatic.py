"""Nested iteration that goes on with cycles on a level where the solver came to a halt and a cycle does better."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from hierax.cycles.acceptance import LineSearch
from hierax.cycles.base import AbstractCycle, Action, Done, Outcome, Until
from hierax.cycles.multigrid import AbstractMultigrid, Cycling, VCycle
from hierax.cycles.nested import NestedIteration
from hierax.objective.corrected import AbstractCorrection


class Halt(NamedTuple):
    """A level on which cycles are tried.

    Attributes
    ----------
    cycle:
        Where the cycle is.
    rate:
        Relative decrease of the objective for each unit of work, by the solver's last step.
    before, work:
        The objective before the cycle, and the work of the cycle so far.
    """

    cycle: Cycling
    rate: float
    before: float
    work: float


class AutomaticState(NamedTuple):
    """State of the nested iteration, and the level on which cycles are tried, if any."""

    nested: int
    halt: Halt | None = None


@dataclass(frozen=True)
class Automatic(AbstractCycle):
    """Nested iteration or cycles, by measured contraction.

    Levels are trained from coarse to fine. Where a solver ends because it is done, no correction can help, and the next
    level follows, as in `NestedIteration`. Where it ended for another reason while its last step still promised a share
    of the objective, one cycle is tried. Cycles go on as long as each contracts the objective more, for the same work,
    than that last step of the solver did.

    Parameters
    ----------
    cycle:
        What is tried; its number of cycles is the most on one level.
    nested:
        When levels are switched and added.
    promise:
        Share of the objective that the solver's last step has to promise for a cycle to be tried.

    References
    ----------
    Brandt, Livne, Multigrid Techniques, SIAM (2011), on the choice of what is done next by measured convergence.
    """

    cycle: AbstractMultigrid = VCycle(cycles=20, coarsest=Until(steps=5))
    nested: NestedIteration = NestedIteration()
    promise: float = 1e-3

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

    def limited(self, levels: int) -> Automatic:
        return replace(self, nested=self.nested.limited(levels))

    def init(self, levels: int) -> AutomaticState:
        return AutomaticState(self.nested.init(levels))

    def next(self, state: AutomaticState, outcome: Outcome | None) -> tuple[AutomaticState, Action]:
        if outcome is not None and state.halt is not None:
            halt = state.halt._replace(work=state.halt.work + outcome.pace.work)
            inner, action = self._on(halt, outcome)
            if not isinstance(action, Done):
                return AutomaticState(state.nested, inner), action
        elif outcome is not None and self._halted(outcome):
            assert outcome.value is not None
            cycle, action = self.cycle.next(self.cycle.init(outcome.level + 1), None)
            return AutomaticState(state.nested, Halt(cycle, outcome.pace.rate, outcome.value, 0.0)), action
        nested, action = self.nested.next(state.nested, outcome)
        return AutomaticState(nested), action

    def _halted(self, outcome: Outcome) -> bool:
        """Whether the solver ended on a level with a coarser one although it could go on."""
        _, rate, promise = outcome.pace
        known = outcome.value is not None and math.isfinite(rate + promise)
        return outcome.level > 0 and known and promise > self.promise

    def _on(self, halt: Halt, outcome: Outcome) -> tuple[Halt, Action]:
        """The next action of the cycle; done where one has ended that was no better than the solver."""
        if not halt.cycle.left and outcome.value is not None:
            fall = (halt.before - outcome.value) / max(abs(outcome.value), 1e-300)
            if not fall > halt.rate * halt.work or fall < self.cycle.share:
                return halt, Done("stalled")
            halt = halt._replace(before=outcome.value, work=0.0)
        cycle, action = self.cycle.next(halt.cycle, outcome)
        return halt._replace(cycle=cycle), action

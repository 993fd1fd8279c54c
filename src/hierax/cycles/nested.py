"""Nested iteration: from coarse to fine, once; and training of the finest level alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hierax.cycles.base import AbstractCycle, Action, Done, Grow, Outcome, Until, Visit
from hierax.cycles.forecast import Forecast


@dataclass(frozen=True)
class NestedIteration(AbstractCycle):
    """Train each level, carry the result to the next finer one, and grow further while it pays.

    Parameters
    ----------
    switch:
        When to go to the next level: one rule for all (`Until(stall=1e-3)`), or one for each level.
    tolerance:
        Growth stops when the solution changed by less than this between the last two levels, or when the differences of
        the levels say that its error is a hundred times smaller.
    most:
        Most levels.
    worth:
        Growth stops when the error is expected to fall with a smaller power of the work than this (`Forecast.rate`); by
        default only the budget says what a digit is worth.

    References
    ----------
    Kronsjo and Dahlquist, BIT 12 (1972); for networks Actor, Harper, Southworth, Cyr, arXiv 2603.04827 (2026).
    """

    switch: Until | Sequence[Until] = Until()
    tolerance: float = 1e-9
    most: int | None = None
    worth: float = 0.0

    def limited(self, levels: int) -> NestedIteration:
        return replace(self, most=levels)

    def init(self, levels: int) -> int:
        return levels

    def next(self, state: int, outcome: Outcome | None) -> tuple[int, Action]:
        if outcome is None:
            return state, self._visit(0)
        if not outcome.visited and outcome.obstacle is not None:
            return state, Done(outcome.obstacle)
        if not outcome.visited:
            enough = self._enough(outcome.forecast)
            return outcome.levels, self._visit(outcome.level) if enough is None else Done(enough)
        if outcome.level + 1 < outcome.levels:
            return state, self._visit(outcome.level + 1)
        if outcome.change is not None and outcome.change < self.tolerance:
            return state, Done("converged")
        if self.most is not None and outcome.levels >= self.most:
            return state, Done("levels")
        return state, Grow() if outcome.obstacle is None else Done(outcome.obstacle)

    def _enough(self, forecast: Forecast | None) -> str | None:
        """Why a level that was made is not worth its training."""
        if forecast is None:
            return None
        if forecast.error < 1e-2 * self.tolerance:
            return "converged"
        return "stalled" if forecast.rate < self.worth else None

    def _visit(self, level: int) -> Visit:
        if isinstance(self.switch, Until):
            return Visit(level, self.switch)
        return Visit(level, self.switch[min(level, len(self.switch) - 1)])


@dataclass(frozen=True)
class SingleLevel(AbstractCycle):
    """Train one level only: the finest, or the one given."""

    level: int | None = None
    until: Until = Until()

    def init(self, levels: int) -> int:
        return levels

    def next(self, state: int, outcome: Outcome | None) -> tuple[int, Action]:
        if outcome is None:
            return state, Visit(state - 1 if self.level is None else self.level, self.until)
        return state, Done("levels")

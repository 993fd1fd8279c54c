"""What a cycle's ways down and up need: corrected objectives of the levels, made from where each of them stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, final

import numpy as np

from hierax.cycles import Accepted, Ascend, Descend, LineSearch, Trial
from hierax.hierarchy import AbstractTransfer, Level
from hierax.objective import flat_parameters
from hierax.objective.corrected import AbstractCorrection
from hierax.objective.flat_transfer import FlatTransfer
from hierax.training.discrete import DiscreteProblem, Prepared
from hierax.training.state import Best, LevelState, RunState, StackState, Visited


class Settings(Protocol):
    """What is asked of a cycle that corrects."""

    @property
    def correction(self) -> AbstractCorrection: ...

    @property
    def acceptance(self) -> LineSearch: ...


@final
@dataclass(eq=False)
class Objectives:
    """What was made before from states, so that it is made once; nothing is decided by what is here.

    Attributes
    ----------
    problems:
        The discretised problems by their number and the factor of their equations.
    bases:
        By level.
    corrected:
        By level, with the finer objective and its parameters that the correction was made from.
    """

    problems: dict[tuple[int, float | None], DiscreteProblem] = field(default_factory=dict)
    bases: dict[int, Any] = field(default_factory=dict)
    corrected: dict[int, tuple[Any, Any, Any, Any]] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class LevelStack:
    """The levels of a run whose cycle corrects, as far as they follow from problem, plan and the levels themselves.

    Where they stand is a `StackState`; all methods return a new one.

    Attributes
    ----------
    discrete, cycle:
        The problem, and how coarse levels are corrected and judged.
    levels, transfers:
        Those of the run. A level sees as much of the data as it says: corrections take up what its coarser objective
        does not.
    made:
        Objectives that were made before.
    """

    discrete: DiscreteProblem
    cycle: Settings
    levels: Sequence[Level]
    transfers: Sequence[AbstractTransfer]
    made: Objectives

    # objectives

    def entered(self, state: StackState, level: int, start: Any) -> StackState:
        """A level with its own objective at a first field, unless it has one already."""
        if level in state.levels:
            return state
        prepared = self.discrete.prepare(start, points=self.levels[level].points)
        self.made.bases[level] = prepared.objective
        scales = tuple(float(s) for s in prepared.objective.scales)
        return with_level(state, level, LevelState(prepared.theta, scales))

    def base(self, state: StackState, level: int) -> Any:
        """The objective of a level with the factors that it has now, not corrected."""
        scales, made = state.levels[level].scales, self.made.bases.get(level)
        if made is None:
            own = self.levels[level]
            made = self.discrete.objective(own.field, self.discrete.samples(own.field, points=own.points))
        if tuple(float(s) for s in made.scales) != scales:
            made = made.rescaled(list(scales))
        self.made.bases[level] = made
        return made

    def objective(self, state: StackState, level: int) -> Any:
        """The objective of a level with the correction that it has now, if it has one."""
        base, above = self.base(state, level), state.levels[level].above
        if above is None:
            return base
        fine = self.objective(state, level + 1)
        known = self.made.corrected.get(level)
        if known is None or not (known[0] is base and known[1] is fine and known[2] is above):
            made = self.cycle.correction.coarse(fine, above, self._transfer(state, level + 1), base)
            known = self.made.corrected[level] = (base, fine, above, made)
        return known[3]

    def prepared(self, state: StackState, level: int) -> Prepared:
        """Objective and start parameters of the next visit."""
        return Prepared(self.objective(state, level), state.levels[level].theta, self._build(level))

    # visits

    def noted(self, state: StackState, level: int, theta: np.ndarray, value: float) -> StackState:
        """The parameters of a level after a visit that led to an objective `value`."""
        own = state.levels[level]
        own = own._replace(theta=theta, solved=own.solved or own.above is None)
        return self._best(with_level(state, level, own), level, value)

    def kept(self, state: StackState, level: int, result: Visited, before: Visited | None) -> Visited:
        """The record of all visits of a level: the result of the last one, but corrected results replace no others."""
        if before is None:
            return result
        own, result = state.levels[level], result.after(before)
        if own.above is None or not own.solved:
            return result
        return result._replace(field=before.field, loss=before.loss, validation=before.validation)

    # ways down and up

    def descended(self, state: StackState, action: Descend, start: Any) -> tuple[StackState, float]:
        """Down to the next coarser level, entered at `start`; with its objective there."""
        level = action.level
        upper = state.levels[level]
        state = self.entered(state, level - 1, start)
        lower = state.levels[level - 1]._replace(scales=upper.scales, above=upper.theta)
        state = with_level(state, level - 1, lower)
        objective = self.objective(state, level - 1)
        state = with_level(state, level - 1, lower._replace(theta=objective.origin))
        return state, objective.value(objective.origin)

    def ascended(
        self, state: StackState, action: Ascend, visited: Mapping[int, Visited]
    ) -> tuple[StackState, Visited | None, float]:
        """Up again: the new state, the record of the level if it changes, and the objective there."""
        level = action.level
        upper, lower = state.levels[level], state.levels[level - 1]
        fine, coarse = self.objective(state, level), self.objective(state, level - 1)
        origin = coarse.origin
        change = self._transfer(state, level).change(lower.theta, origin)
        slope, value = float(coarse.value_and_gradient(origin)[1] @ (lower.theta - origin)), fine.value(upper.theta)
        taken = Accepted(0.0, value)
        if np.all(np.isfinite(change)) and np.any(change):
            along = lambda share: fine.value(upper.theta + share * change)  # noqa: E731
            taken = self.cycle.acceptance.accept(Trial(along, value, slope))
        if taken.share > 0:
            upper = upper._replace(theta=upper.theta + taken.share * change)
        value = taken.value
        state = with_level(state, level, upper)._replace(taken=(*state.taken, taken.share))
        state = self._best(state, level, value)
        return state, self._recorded(state, level, value, visited.get(level)), value

    def closed(self, state: StackState, visited: Mapping[int, Visited]) -> dict[int, Visited]:
        """The records with the best parameters of the finest level, where its objective rose in between."""
        best = state.best
        if best is None or best.level not in visited or not best.value < visited[best.level].loss:
            return dict(visited)
        built = self._build(best.level)(best.theta)
        error = self.discrete.validation_error(built)
        own = visited[best.level]._replace(field=built, loss=best.value, validation=error)
        return {**visited, best.level: own}

    def _best(self, state: StackState, level: int, value: float) -> StackState:
        if state.levels[level].above is not None:
            return state
        best = state.best
        if best is None or level > best.level or value < best.value:
            return state._replace(best=Best(level, value, state.levels[level].theta))
        return state

    def _recorded(self, state: StackState, level: int, value: float, before: Visited | None) -> Visited | None:
        """What a way up brought to a level, unless its uncorrected result is to be kept."""
        own = state.levels[level]
        corrected = own.above is not None
        if corrected and own.solved:
            return None
        built = self._build(level)(own.theta)
        error = None if corrected else self.discrete.validation_error(built)
        if before is None:
            points = sum(s.count for s in self.base(state, level).samples)
            return Visited(built, None, value, 0, points, 0.0, 0.0, 0.0, error)
        return before._replace(field=built, loss=value, validation=error)

    def _build(self, level: int) -> Any:
        return flat_parameters(self.levels[level].field)[1]

    def _transfer(self, state: StackState, level: int) -> FlatTransfer:
        coarse, fine = self.base(state, level - 1).field, self.base(state, level).field
        return FlatTransfer(self.transfers[level - 1], coarse, fine)


def with_level(state: StackState, level: int, own: LevelState) -> StackState:
    """The state with another one of a level."""
    return state._replace(levels={**state.levels, level: own})


def corrected(state: StackState | None, level: int) -> bool:
    """Whether a level is a coarse problem of a finer one now."""
    return state is not None and level in state.levels and state.levels[level].above is not None


def solved(state: StackState | None, level: int) -> bool:
    """Whether a level was ever trained for itself: always, without corrections."""
    return state is None or (level in state.levels and state.levels[level].solved)


def unconfirmed(run: RunState, equations: bool) -> int | None:
    """The level below the finest, where it was only ever corrected and guards of equations cannot compare the two."""
    if not run.visited or run.finest == 0 or run.finest in run.changes or not equations:
        return None
    return run.finest - 1


def sentence(state: StackState) -> str:
    """What became of the coarse corrections, in words; empty where there were none."""
    whole, none = sum(share == 1.0 for share in state.taken), sum(share == 0.0 for share in state.taken)
    if not state.taken:
        return ""
    return f"Of {len(state.taken)} coarse corrections {whole} were taken as they were, {none} were refused."

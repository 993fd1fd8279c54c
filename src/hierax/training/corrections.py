"""What a cycle's ways down and up need: corrected objectives of the levels, and where each of them stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from hierax.cycles import AbstractAcceptance, Ascend, Descend, Trial
from hierax.objective.corrected import AbstractCorrection, CorrectedObjective
from hierax.objective.flat_transfer import FlatTransfer
from hierax.training.discrete import Bench, Prepared, Visited


class Settings(Protocol):
    """What is asked of a cycle that corrects."""

    @property
    def correction(self) -> AbstractCorrection: ...

    @property
    def acceptance(self) -> AbstractAcceptance: ...


class Stepped(NamedTuple):
    """What the steps of a visit have led to, with the relative decrease that the last one brought and promised.

    Nothing is promised where the data kept back or a failure have ended the visit for good.
    """

    theta: np.ndarray
    state: Any
    value: float
    steps: int
    brought: float = 0.0
    promise: float = 0.0


@dataclass(eq=False)
class Rung:
    """Where a level stands.

    Attributes
    ----------
    base, objective:
        Its objective with the factors of the finest level's terms, and with the correction, if it has one now.
    theta, build:
        Its parameters, and the way back to a field.
    judged:
        State of the acceptance of what comes from below.
    solved:
        Whether it was ever trained without a correction: such a result is kept.
    """

    base: Any
    objective: Any
    theta: np.ndarray
    build: Callable[[np.ndarray], Any]
    judged: Any
    solved: bool = False

    @property
    def corrected(self) -> bool:
        """Whether it is a coarse problem of a finer level now."""
        return isinstance(self.objective, CorrectedObjective)


@dataclass(eq=False)
class Ladder:
    """The levels of a run whose cycle corrects; lists and records are those of the run.

    `points` tells how much of the data a level sees: corrections take up what its coarser objective does not.
    Objectives are built once: visits differ by their corrections only, so nothing is compiled or gathered again.
    """

    bench: Bench
    cycle: Settings
    transfers: Sequence[Any]
    visited: dict[int, Visited]
    carried: Callable[[int], Any]
    points: Callable[[int], int | None] = lambda level: None
    rungs: dict[int, Rung] = field(default_factory=dict)
    best: tuple[int, float, np.ndarray] | None = None
    taken: list[float] = field(default_factory=list)

    def prepared(self, level: int) -> Prepared:
        """Objective and start parameters of the next visit."""
        rung = self._rung(level)
        return Prepared(rung.objective, rung.theta, rung.build)

    def corrected(self, level: int) -> bool:
        """Whether a level is a coarse problem of a finer one now."""
        return level in self.rungs and self.rungs[level].corrected

    def solved(self, level: int) -> bool:
        """Whether a level was ever trained for itself."""
        return level in self.rungs and self.rungs[level].solved

    @property
    def finest(self) -> int:
        """The finest level that was trained."""
        return max(k for k in self.visited)

    def untold(self, changes: Mapping[int, float]) -> int | None:
        """The level below the finest, to be trained for itself where guards have nothing yet to compare with."""
        if not self.visited or self.finest == 0 or self.finest in changes or not self.bench.equations.any():
            return None
        rung = self._rung(self.finest - 1)
        rung.objective = rung.base
        return self.finest - 1

    def visit(self, level: int, theta: np.ndarray, result: Visited) -> Visited:
        """Take the parameters after a visit; returns the record of all visits of the level."""
        rung = self.rungs[level]
        rung.theta = theta
        rung.solved = rung.solved or not rung.corrected
        before = self.visited.get(level)
        self._note(level, result.loss)
        if before is None:
            return result
        result = replace(
            result,
            steps=before.steps + result.steps,
            seconds=before.seconds + result.seconds,
            seconds_compile=before.seconds_compile + result.seconds_compile,
            work=before.work + result.work,
        )
        if not rung.corrected or not rung.solved:
            return result
        return replace(result, field=before.field, loss=before.loss, validation=before.validation)

    def move(self, action: Descend | Ascend) -> tuple[int, float]:
        """Go down or up; returns the level that was reached, and its objective there."""
        if isinstance(action, Descend):
            return action.level - 1, self._descend(action)
        return action.level, self._ascend(action)

    def _descend(self, action: Descend) -> float:
        upper, lower = self._rung(action.level), self._rung(action.level - 1)
        scales = list(upper.base.scales)
        lower.base = lower.base.rescaled(scales) if list(lower.base.scales) != scales else lower.base
        transfer = self._transfer(action.level)
        lower.objective = self.cycle.correction.coarse(upper.objective, upper.theta, transfer, lower.base)
        lower.theta = lower.objective.origin
        return lower.objective.value(lower.theta)

    def _ascend(self, action: Ascend) -> float:
        upper, lower = self.rungs[action.level], self.rungs[action.level - 1]
        origin = lower.objective.origin
        change = self._transfer(action.level).change(lower.theta, origin)
        before, gradient = lower.objective.value_and_gradient(origin)
        trial = Trial(
            lambda share: upper.objective.value(upper.theta + share * change),
            upper.objective.value(upper.theta),
            float(gradient @ (lower.theta - origin)),
            before - lower.objective.value(lower.theta),
            float(np.linalg.norm(change)) if np.all(np.isfinite(change)) else 0.0,
        )
        taken = self.cycle.acceptance.accept(trial, upper.judged)
        upper.judged = taken.state
        if taken.share > 0:
            upper.theta = upper.theta + taken.share * change
        value = upper.objective.value(upper.theta) if math.isnan(taken.value) else taken.value
        self._note(action.level, value)
        self._record(action.level, value)
        self.taken.append(taken.share)
        return value

    def close(self) -> str:
        """Return to the best parameters of the finest level, where an acceptance let it rise; a sentence in words."""
        whole, none = sum(share == 1.0 for share in self.taken), sum(share == 0.0 for share in self.taken)
        told = f"Of {len(self.taken)} coarse corrections {whole} were taken as they were, {none} were refused."
        if self.best is None or self.best[0] not in self.visited:
            return told
        level, value, theta = self.best
        if value < self.visited[level].loss:
            built = self.rungs[level].build(theta)
            self.visited[level] = replace(
                self.visited[level], field=built, loss=value, validation=self.bench.validation_error(built)
            )
        return told

    def _note(self, level: int, value: float) -> None:
        if not self.cycle.acceptance.asks:
            return
        if not self.rungs[level].corrected and (self.best is None or level > self.best[0] or value < self.best[1]):
            self.best = (level, value, self.rungs[level].theta)

    def _record(self, level: int, value: float) -> None:
        """Keep what a way up brought to a level, unless its uncorrected result is to be kept."""
        rung = self.rungs[level]
        if rung.corrected and rung.solved:
            return
        built = rung.build(rung.theta)
        error = None if rung.corrected else self.bench.validation_error(built)
        points = sum(s.count for s in rung.objective.samples)
        before = self.visited.get(level, Visited(built, None, value, 0, points, 0.0, 0.0, 0.0, error))
        self.visited[level] = replace(before, field=built, loss=value, validation=error)

    def _rung(self, level: int) -> Rung:
        if level not in self.rungs:
            made = self.bench.prepare(self.carried(level), points=self.points(level))
            judged = self.cycle.acceptance.init()
            self.rungs[level] = Rung(made.objective, made.objective, made.theta, made.build, judged)
        return self.rungs[level]

    def _transfer(self, level: int) -> FlatTransfer:
        coarse, fine = self.rungs[level - 1].base.field, self.rungs[level].base.field
        return FlatTransfer(self.transfers[level - 1], coarse, fine)

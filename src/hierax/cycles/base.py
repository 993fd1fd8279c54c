"""Cycles: in which order levels are trained. Pure state machines, testable without a network."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from hierax.cycles.forecast import Forecast


@dataclass(frozen=True)
class Until:
    """When a visit ends, besides the solver's own judgement.

    Parameters
    ----------
    steps:
        After this many steps.
    stall:
        When a step lowers the loss, or is predicted to, by less than this share.
    """

    steps: int | None = None
    stall: float | None = None

    def reached(self, steps: int, decrease: float, before: float, after: float) -> bool:
        """Whether a visit ends after `steps` steps; the last promised `decrease` and led `before` to `after`."""
        if self.steps is not None and steps >= self.steps:
            return True
        if self.stall is None or not math.isfinite(before):
            return False
        return min(decrease, (before - after) / max(abs(after), 1e-300)) < self.stall

    def sentence(self, steps: int, brought: float) -> str:
        """A visit that ended after `steps` steps by stalling, in words; empty where their number alone ended it."""
        if self.stall is None or (self.steps is not None and steps >= self.steps):
            return ""
        return (
            f"stalled: the last step lowered the loss by {max(brought, 0.0):.2g} of itself, {self.stall:.2g} is asked."
        )


@dataclass(frozen=True)
class Visit:
    """Train this level."""

    level: int
    until: Until = Until()


@dataclass(frozen=True)
class Descend:
    """Make the corrected coarse problem of the level below from where `level` stands."""

    level: int


@dataclass(frozen=True)
class Ascend:
    """Prolong what changed on the level below, and accept it on `level`, in part or not at all."""

    level: int


@dataclass(frozen=True)
class Grow:
    """Make a finer level."""


@dataclass(frozen=True)
class Done:
    """Stop; `reason` is one of `converged`, `stalled`, `budget`, `levels`."""

    reason: str


Action = Visit | Descend | Ascend | Grow | Done


class Pace(NamedTuple):
    """How a visit went on and ended.

    Attributes
    ----------
    work:
        Its work units.
    rate:
        Relative decrease of the objective for each of them, by its last step.
    promise:
        Relative decrease that its last step promised; zero where training must not go on.
    """

    work: float = 0.0
    rate: float = 0.0
    promise: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What a visit or a growth brought.

    Attributes
    ----------
    level:
        The level that was visited, or made.
    levels:
        How many levels there are.
    visited:
        False after a growth.
    change:
        Relative change of the solution against the level before, where both were trained.
    obstacle:
        Why no finer level can be made, as a reason for `Done`; `None` when one can.
    value:
        The objective of the level after the action; that of a corrected coarse problem is comparable with the finer
        level's. `None` after a growth.
    forecast:
        What the level that was made promises; `None` after a visit, or where nothing is known.
    pace:
        How a visit went on and ended.
    """

    level: int
    levels: int
    visited: bool = True
    change: float | None = None
    obstacle: str | None = None
    value: float | None = None
    forecast: Forecast | None = None
    pace: Pace = Pace()


class AbstractCycle(abc.ABC):
    """`init` gives the state before the first visit; `next` maps state and outcome to the next action."""

    @property
    def corrects(self) -> bool:
        """Whether coarse levels are visited again, with corrected objectives."""
        return False

    def limited(self, levels: int) -> AbstractCycle:
        """The same cycle with at most so many levels, where it makes levels."""
        del levels
        return self

    @abc.abstractmethod
    def init(self, levels: int) -> Any:
        """State for a hierarchy that has `levels` levels to begin with."""

    @abc.abstractmethod
    def next(self, state: Any, outcome: Outcome | None) -> tuple[Any, Action]:
        """The next action; `outcome` is `None` at the start."""

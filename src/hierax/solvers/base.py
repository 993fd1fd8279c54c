"""What a solver is: settings, with state passed in and out."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax._results import RESULTS
from hierax.objective import AbstractObjective


class Step(NamedTuple):
    """Outcome of one step.

    Attributes
    ----------
    theta, state:
        Parameters and state after the step.
    value:
        Objective after the step.
    decrease:
        Predicted decrease that is still possible, relative to the value: the stopping measure.
    done:
        Whether the level is trained as far as this solver can tell.
    failure:
        A RESULTS member other than `successful` when the step failed numerically; the parameters are the last good
        ones.
    iterations:
        Inner iterations of an iterative linear solver.
    condition:
        Condition number of the preconditioned matrix as these iterations saw it, a lower bound; NaN without them.
    note:
        A sentence for those who watch, where the solver decided something.
    """

    theta: np.ndarray
    state: Any
    value: float
    decrease: float
    done: bool
    failure: RESULTS | None = None
    iterations: int = 0
    condition: float = np.nan
    note: str = ""


class AbstractSolver(abc.ABC):
    """Trains one level: `init`, then `step` until it says `done`. Settings only; the state is a separate record."""

    @property
    @abc.abstractmethod
    def second_order(self) -> bool:
        """Whether curvature is used: needs 64 bits."""

    @property
    def solves(self) -> int:
        """Matrices that a step solves with, about."""
        return 1

    @property
    def assembles(self) -> bool:
        """Whether the curvature of fields with fixed cells is to be assembled cell by cell, see `LocalObjective`."""
        return self.second_order

    @property
    def stencils(self) -> bool | None:
        """Whether assembled curvature may be kept as a stencil and not as a band; `None` for whichever is cheaper."""
        return False

    def seeded(self, seed: int) -> AbstractSolver:
        """The solver with a seed of its random draws, if it has any and was not given one."""
        del seed
        return self

    @abc.abstractmethod
    def init(self, objective: AbstractObjective, theta: np.ndarray) -> Any:
        """State before the first step on a level."""

    @abc.abstractmethod
    def step(self, objective: AbstractObjective, theta: np.ndarray, state: Any) -> Step:
        """One step."""

    @abc.abstractmethod
    def kinds(self, state: Any) -> Any:
        """For each part of the state how it is carried to another level, see `hierax.hierarchy.transport`."""


@dataclass(frozen=True)
class Tolerances:
    """When a level is trained.

    Parameters
    ----------
    relative:
        A step that would lower the objective by less than this share of it ends the level.
    steps:
        Most steps on one visit.
    least:
        Fewest steps: where parameters multiply each other, directions that begin flat are seen after some.
    """

    relative: float = 1e-6
    steps: int = 60
    least: int = 0

"""The state of a training: one immutable record of arrays, numbers and states of the parts, a pytree throughout.

It holds what cannot be made again from problem, plan and key, and nothing else: no closure, no objective, no factor of
a matrix. A training that stops after any `hierax.training.run.advance` goes on from a copy of it to the same bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from hierax._results import RESULTS
from hierax.cycles import Outcome, Pace
from hierax.events import LevelRecord, StepTaken
from hierax.fields import parameter_count
from hierax.fields.broken_grid import BrokenGrid
from hierax.hierarchy import AbstractTransfer, Level
from hierax.hierarchy.transport import RESET, Kind, Stacked
from hierax.planning.plan import Plan
from hierax.solvers import AbstractSolver
from hierax.solvers.kernels import Kernel
from hierax.solvers.value_scale import ValueScale


class Visited(NamedTuple):
    """A trained level: what it was trained to, by what state of the solver, at what cost; `note` is for tables."""

    field: Any
    state: Any
    loss: float
    steps: int
    points: int
    seconds: float
    seconds_compile: float
    work: float
    validation: float | None
    note: str = ""
    pace: Pace = Pace()

    def record(self, level: int, error: float | None = None) -> LevelRecord:
        """The row of the table."""
        return LevelRecord(
            level, parameter_count(self.field), self.points, self.steps, self.loss, self.seconds,
            self.seconds_compile, error, self.validation, self.note,
        )  # fmt: skip

    def after(self, before: Visited) -> Visited:
        """The same result with the steps and the cost of earlier visits as well."""
        return self._replace(
            steps=before.steps + self.steps,
            seconds=before.seconds + self.seconds,
            seconds_compile=before.seconds_compile + self.seconds_compile,
            work=before.work + self.work,
        )


class LevelState(NamedTuple):
    """Where a level stands within cycles that correct.

    Attributes
    ----------
    theta:
        Its parameters.
    scales:
        Factors of the terms of its objective; on coarse levels those of the finer one from which a cycle came down.
    above:
        Parameters of the finer level of which this one is a coarse problem now, when the cycle came down; `None` where
        it is not corrected.
    solved:
        Whether it was ever trained without a correction: such a result is kept.
    """

    theta: np.ndarray
    scales: tuple[float, ...]
    above: np.ndarray | None = None
    solved: bool = False


class Best(NamedTuple):
    """The best parameters of the finest level so far: solvers of first order let the objective rise."""

    level: int
    value: float
    theta: np.ndarray


class StackState(NamedTuple):
    """Where all levels stand within cycles that correct, and the shares of their corrections that were taken."""

    levels: dict[int, LevelState] = {}  # noqa: RUF012 (never changed in place)
    best: Best | None = None
    taken: tuple[float, ...] = ()


class Slab(NamedTuple):
    """A trained slab of time.

    Attributes
    ----------
    field:
        Spline grids on the slab.
    shares:
        For each axis the part of every interval in the squared rate of error.
    loss, points, steps, work:
        The equations' part of the objective, sample points, Gauss-Newton steps and their cost.
    unit:
        Work of one step on its last grid.
    jump:
        What is missed at its start, in units of the solution: an error from there on.
    """

    field: Any
    shares: tuple[np.ndarray, ...]
    loss: float = 0.0
    points: int = 0
    steps: int = 0
    work: float = 0.0
    unit: float = 0.0
    jump: float = 0.0

    @property
    def rate(self) -> float:
        """Squared rate of error, relative to the size of the solution."""
        return float(self.shares[0].sum())


class SlabsState(NamedTuple):
    """Where sweeps over time slabs stand: why they began, the next tolerance, and the slabs of the last sweep."""

    why: str
    tolerance: float
    slabs: tuple[Slab, ...] = ()


class FoundProcess(NamedTuple):
    """A Gaussian process of a table, which with its rows is all there is to know of it.

    Attributes
    ----------
    kernel:
        Its covariance.
    free:
        Whether axes were stretched and tails chosen.
    steps:
        Steps of the optimiser with all rows.
    scale:
        Scale of the values.
    outliers:
        Which of them are outliers, `(n,)`; `None` where none is.
    others:
        All other processes that were tried.
    rows:
        How many of the rows it was given at most.
    """

    kernel: Kernel
    free: bool
    steps: int = 0
    scale: ValueScale = ValueScale(0.0, 1.0)
    outliers: np.ndarray | None = None
    others: tuple[FoundProcess, ...] = ()
    rows: int = 0


class RunState(NamedTuple):
    """Where a training stands, between two actions of its cycle.

    Attributes
    ----------
    cycle, outcome:
        State of the cycle, and what its last action has led to.
    levels, transfers:
        The levels so far and the ways between them.
    visited:
        The trained levels by number.
    easier:
        Visits with easier problems of a continuation, each with its level.
    first:
        The level on which the last problem of a continuation is trained first.
    changes:
        By how much the solution of a level differs from that of the one before.
    history:
        Every step.
    scales:
        For each problem the factor of its equations against the data, once it is known.
    reported:
        Steps of every level when it was reported last.
    current:
        The level that was visited last.
    process:
        The Gaussian process of a table that is fitted beside.
    outliers:
        Which values of data are left out, as masks by name; empty where none is.
    corrections, slabs:
        What cycles that correct and sweeps over time slabs add; `None` without them.
    failure, stopped:
        How a step failed; what ended the training, `None` as long as it goes on.
    seconds, seconds_compile:
        Spent so far.
    """

    cycle: Any
    levels: tuple[Level, ...]
    transfers: tuple[AbstractTransfer, ...]
    scales: tuple[float | None, ...]
    first: int = 0
    outcome: Outcome | None = None
    visited: dict[int, Visited] = {}  # noqa: RUF012 (never changed in place)
    easier: tuple[tuple[int, Visited], ...] = ()
    changes: dict[int, float] = {}  # noqa: RUF012 (never changed in place)
    history: tuple[StepTaken, ...] = ()
    reported: dict[int, int] = {}  # noqa: RUF012 (never changed in place)
    current: int = 0
    process: FoundProcess | None = None
    outliers: dict[str, np.ndarray] = {}  # noqa: RUF012 (never changed in place)
    corrections: StackState | None = None
    slabs: SlabsState | None = None
    failure: RESULTS | None = None
    stopped: str | None = None
    seconds: float = 0.0
    seconds_compile: float = 0.0

    @classmethod
    def begin(cls, plan: Plan, problems: int, first: int) -> RunState:
        """Before the first visit; `problems` of a continuation, the last one trained from level `first` on."""
        levels, transfers = tuple(plan.hierarchy.levels), tuple(plan.hierarchy.transfers)
        corrections = StackState() if plan.cycle.corrects else None
        return cls(plan.cycle.init(len(levels)), levels, transfers, (None,) * problems, first, corrections=corrections)

    @property
    def known(self) -> dict[int, Visited]:
        """What was trained last on each level, with this problem or an easier one."""
        return {**dict(self.easier), **self.visited}

    @property
    def work(self) -> float:
        """Work units so far."""
        return sum(v.work for v in self.visited.values()) + sum(v.work for _, v in self.easier)

    @property
    def finest(self) -> int:
        """The finest level that was trained."""
        return max(self.visited)


def in_parts_of(plan: Plan, state: RunState) -> RunState:
    """A state from a file with the parts of the domain that the fields of a plan have: those of the file are copies, in
    which functions of the user are interpolated, and which the terms of the problem do not know."""
    own = [part.regions for part in jax.tree.leaves(plan.hierarchy.levels, is_leaf=_is_broken) if _is_broken(part)]
    if not own:
        return state

    def bound(part: Any) -> Any:
        return BrokenGrid(part.axes, part.coefficients, own[0]) if _is_broken(part) else part

    return jax.tree.map(bound, state, is_leaf=_is_broken)


def _is_broken(node: Any) -> bool:
    return isinstance(node, BrokenGrid)


def lasting(solver: AbstractSolver, state: Any) -> Any:
    """The parts of a solver's state that another visit reads: not those that are started afresh, such as a matrix."""
    labels, structure = jax.tree.flatten(solver.kinds(state), is_leaf=lambda node: isinstance(node, Kind | Stacked))
    parts = structure.flatten_up_to(state)
    return structure.unflatten([None if kind is RESET else part for kind, part in zip(labels, parts, strict=True)])

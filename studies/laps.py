"""The trainings of the study `cycles`: its rows, a clock of processor seconds, and one training with its errors."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from hierax.clock import compile_seconds
from hierax.cycles import (
    AbstractCycle,
    AbstractMultigrid,
    Action,
    Done,
    FCycle,
    FullMultigrid,
    LineSearch,
    NestedIteration,
    Outcome,
    Until,
    VCycle,
)
from hierax.dynamics import seconds_to
from hierax.fields import MLP
from hierax.hierarchy import (
    AbstractRefinement,
    Hierarchy,
    IntervalDoubling,
    WidthGrowth,
    refine,
)
from hierax.hierarchy.transport import RESET
from hierax.objective import AbstractObjective, flat_parameters, physical
from hierax.objective.corrected import AbstractCorrection, CorrectedObjective
from hierax.problems.problem import Problem
from hierax.solvers import AbstractSolver, GaussNewton, Relaxation, Step, Tolerances, adam, lbfgs
from hierax.training.train import train
from studies.bouts import known
from studies.climbs import elliptic, grid
from studies.common import Network
from studies.gap import first, held_out

ENDLESS = 10**9
PROBES = 4096
MARKS = 24
"""Most points in time at which the error of a training is measured."""
NESTED = "nested iteration"
SHARE = 1e-6


@dataclass(frozen=True)
class Case:
    """A row: problem, hierarchy and solver.

    Attributes
    ----------
    make:
        The problem.
    coarsest:
        From problem and seed to the field of level 0.
    rule, levels:
        How it is refined, how often.
    solver:
        Of every level.
    bottom:
        Steps on the coarsest level of a cycle.
    fixed:
        Whether nothing depends on the seed: run once.
    seconds:
        Processor seconds of every training, without those of compilation.
    """

    make: Callable[[], Problem]
    coarsest: Callable[[Problem, int], Any]
    rule: AbstractRefinement
    levels: int
    solver: AbstractSolver
    bottom: int = 5
    fixed: bool = False
    seconds: float = 20.0

    def hierarchy(self, problem: Problem, seed: int) -> Hierarchy:
        """All levels; with the seed of initial values."""
        return refine(self.coarsest(problem, seed), by=self.rule, levels=self.levels, key=seed)

    def cycles(self) -> dict[str, tuple[AbstractCycle, AbstractCycle | None]]:
        """The orders of training to be compared, each with what goes on after it until the time is over."""
        parts: dict[str, Any] = {"coarsest": Until(steps=self.bottom)}
        many = VCycle(**parts, cycles=ENDLESS, share=SHARE)
        return {
            NESTED: (NestedIteration(most=self.levels), None),
            "V": (many, None),
            "F": (FCycle(**parts, cycles=ENDLESS, share=SHARE), None),
            "full multigrid": (
                FullMultigrid(replace(many, cycles=3, share=1e-2), NestedIteration(most=self.levels)),
                many,
            ),
        }


class Mark(NamedTuple):
    """Where the finest level stood, and when."""

    seconds: float
    compiling: float
    loss: float
    theta: np.ndarray


@dataclass(eq=False)
class Stopwatch:
    """Processor seconds of one training, and a mark after every step on its finest level.

    Attributes
    ----------
    limit:
        Processor seconds without those of compilation.
    finest, levels:
        Parameters of the finest level, and number of levels.
    objective:
        That of the finest level.
    """

    limit: float
    finest: int
    levels: int
    marks: list[Mark] = field(default_factory=list)
    objective: Any = None
    began: float = field(default_factory=time.process_time)
    compiled: float = field(default_factory=compile_seconds)
    wall: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.process_time() - self.began

    @property
    def compiling(self) -> float:
        """Processor seconds of compilation: as large a share of them as of the elapsed ones."""
        share = (compile_seconds() - self.compiled) / max(time.perf_counter() - self.wall, 1e-9)
        return min(share, 1.0) * self.seconds

    @property
    def training(self) -> float:
        """Seconds without compilation."""
        return self.seconds - self.compiling

    @property
    def over(self) -> bool:
        return self.training > self.limit

    def mark(self, objective: AbstractObjective, step: Step) -> None:
        """After a step."""
        self.objective = objective
        self.marks.append(Mark(self.seconds, self.compiling, step.value, step.theta))


class TimedState(NamedTuple):
    """State of the solver within, when the visit began, the last value, and for how many steps it has stood still."""

    inner: Any
    began: float
    value: float = math.inf
    idle: int = 0


@dataclass(frozen=True, eq=False)
class Timed(AbstractSolver):
    """Ends visits by the watch: coarse levels that are trained for themselves get equal shares, the finest the rest."""

    solver: AbstractSolver
    watch: Stopwatch

    @property
    def second_order(self) -> bool:
        return self.solver.second_order

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> TimedState:
        return TimedState(self.solver.init(objective, theta), self.watch.training)

    def kinds(self, state: TimedState) -> Any:
        return TimedState(self.solver.kinds(state.inner), RESET, RESET, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: TimedState) -> Step:
        step, watch = self.solver.step(objective, theta, state.inner), self.watch
        after = TimedState(step.state, state.began, step.value)
        if isinstance(objective, CorrectedObjective):
            return step._replace(state=after, done=step.done or watch.over)
        if objective.size < watch.finest:
            spent = watch.training - state.began > watch.limit / (2 * watch.levels)
            return step._replace(state=after, done=step.done or spent or watch.over)
        watch.mark(objective, step)
        # a solver that thinks it is done may go on as long as that helps
        idle = state.idle + 1 if step.done and not step.value < (1 - SHARE) * state.value else 0
        return step._replace(state=after._replace(idle=idle), done=idle >= 3 or watch.over)


class ClockedState(NamedTuple):
    """Which of the two cycles it is, and its state."""

    second: bool
    inner: Any
    levels: int


@dataclass(frozen=True, eq=False)
class Clocked(AbstractCycle):
    """Follows a cycle, then another one if there is one, until the watch says that the time is over."""

    first: AbstractCycle
    then: AbstractCycle | None
    watch: Stopwatch

    @property
    def corrects(self) -> bool:
        return self.first.corrects

    @property
    def _multigrid(self) -> AbstractMultigrid | FullMultigrid:
        assert isinstance(self.first, AbstractMultigrid | FullMultigrid)
        return self.first

    @property
    def correction(self) -> AbstractCorrection:
        return self._multigrid.correction

    @property
    def acceptance(self) -> LineSearch:
        return self._multigrid.acceptance

    def init(self, levels: int) -> ClockedState:
        return ClockedState(False, self.first.init(levels), levels)

    def next(self, state: ClockedState, outcome: Outcome | None) -> tuple[ClockedState, Action]:
        if self.watch.over:
            return state, Done("budget")
        cycle = self.then if state.second else self.first
        assert cycle is not None
        inner, action = cycle.next(state.inner, outcome)
        if isinstance(action, Done) and not state.second and self.then is not None:
            inner, action = self.then.next(self.then.init(state.levels), None)
            return ClockedState(True, inner, state.levels), action
        return state._replace(inner=inner), action


class Ruler:
    """The relative error of the first unknown of a field at fixed points; compiled once for each shape of fields."""

    def __init__(self, problem: Problem) -> None:
        points, exact = (part[:PROBES] for part in held_out(problem))
        name = first(problem) if problem.named else None

        @eqx.filter_jit
        def values(field: Any) -> jax.Array:
            u = physical(problem, field)
            return jax.vmap(u if name is None else getattr(u, name))(points).reshape(exact.shape)

        self.values, self.exact = values, exact

    def __call__(self, field: Any) -> float:
        wrong = np.asarray(self.values(field)) - self.exact
        return float(np.linalg.norm(wrong) / np.linalg.norm(self.exact))


class Lap(NamedTuple):
    """One training as seconds, compilation in them, errors and losses of its finest level, and the watch itself."""

    seconds: np.ndarray
    compiling: np.ndarray
    errors: np.ndarray
    losses: np.ndarray
    watch: Stopwatch

    def reached(self, target: float) -> tuple[float, float]:
        """Seconds to an error, and those of compilation among them; the first is infinite where it was not reached."""
        found = seconds_to(target, self.seconds, self.errors)
        if found is None:
            return math.inf, float(self.compiling[-1]) if len(self.compiling) else self.watch.limit
        return found, float(np.interp(found, self.seconds, self.compiling))

    @property
    def error(self) -> float:
        """The last one."""
        return float(self.errors[-1]) if len(self.errors) else math.inf


def lap(case: Case, problem: Problem, ruler: Ruler, arm: str, seed: int, limit: float) -> Lap:
    """One training of a row; errors are measured afterwards, at marks that lie ever further apart."""
    hierarchy = case.hierarchy(problem, seed)
    finest = hierarchy.levels[-1].field
    build = flat_parameters(finest)[1]
    chosen, then = case.cycles()[arm]
    watch = Stopwatch(limit, hierarchy.levels[-1].parameters, len(hierarchy))
    train(
        problem, hierarchy, solver=Timed(case.solver, watch), cycle=Clocked(chosen, then, watch), key=seed,
        budget=float(ENDLESS),
    )  # fmt: skip
    count = len(watch.marks)
    steps = np.unique(np.round(np.geomspace(1, max(count, 1), MARKS)).astype(int)) - 1 if count else []
    marks = [watch.marks[k] for k in steps]
    errors = [ruler(build(mark.theta)) for mark in marks]
    own = [np.array([getattr(mark, name) for mark in marks]) for name in ("seconds", "compiling")]
    return Lap(own[0], own[1], np.array(errors), np.array([mark.loss for mark in watch.marks]), watch)


def network(problem: Problem, seed: int) -> Any:
    """A linear layer, then splines on four intervals."""
    return Network(8, 4, 4, True).build(problem, seed)


def narrow(problem: Problem, seed: int) -> MLP:
    """Two hidden layers of six units."""
    return MLP([problem.domain.dim, 6, 6, 1], key=seed, domain=problem.domain.bounds())


def cells(intervals: int, degree: int) -> Callable[[Problem, int], Any]:
    """A uniform spline grid, which starts from zero whatever the seed."""
    return lambda problem, seed: grid(intervals, degree)(problem)


FIT, POISSON = known("rotated-regression", points=6000), known("poisson-2d", scales=2)
SEMILINEAR, BURGERS = lambda: elliptic(2, 4, cubic=True), known("burgers", viscosity=0.05)
KNOTS, WIDTH = (network, IntervalDoubling(), 3), (narrow, WidthGrowth(2.0), 3)
NEWTON, QUASI = GaussNewton(tolerances=Tolerances(1e-3, 200)), lbfgs(ENDLESS)
BATCHES, SMOOTHER = adam(3e-3, ENDLESS, batch=256), Relaxation(coarsest=100)

CASES: dict[str, Case] = {
    "fit, knots, Gauss-Newton": Case(FIT, *KNOTS, NEWTON),
    "fit, knots, L-BFGS": Case(FIT, *KNOTS, QUASI),
    "fit, knots, Adam on batches": Case(FIT, *KNOTS, BATCHES),
    "fit, width, Gauss-Newton": Case(FIT, *WIDTH, NEWTON),
    "fit, width, Adam on batches": Case(FIT, *WIDTH, BATCHES),
    "Poisson, grid, relaxation": Case(POISSON, cells(4, 5), IntervalDoubling(), 4, SMOOTHER, fixed=True),
    "Poisson, grid, L-BFGS": Case(POISSON, cells(4, 5), IntervalDoubling(), 4, QUASI, fixed=True),
    "Poisson, grid, Gauss-Newton": Case(POISSON, cells(4, 5), IntervalDoubling(), 4, NEWTON, fixed=True),
    "Poisson, knots, Gauss-Newton": Case(POISSON, *KNOTS, NEWTON),
    "Poisson, knots, L-BFGS": Case(POISSON, *KNOTS, QUASI),
    "Poisson, knots, Adam on batches": Case(POISSON, *KNOTS, BATCHES),
    "Poisson, width, Gauss-Newton": Case(POISSON, *WIDTH, NEWTON),
    "semilinear, grid, relaxation": Case(SEMILINEAR, cells(4, 5), IntervalDoubling(), 4, SMOOTHER, fixed=True),
    "Burgers, grid, relaxation": Case(BURGERS, cells(4, 4), IntervalDoubling(), 4, SMOOTHER, fixed=True),
    "Burgers, knots, Gauss-Newton": Case(BURGERS, *KNOTS, NEWTON),
}
"""Fits of scattered data and three equations; hierarchies in knots and width; solvers of first and second order.

Splines have degree 4 in networks and 4 or 5 in grids. Networks of the hierarchy in knots have 88 to 184 parameters, in
width 67 to 697, grids 81 to 1369.
"""

SHORT: dict[str, Case] = {
    "fit in 1-D, width, Gauss-Newton": Case(
        known("regression-1d", points=300), lambda p, seed: MLP([1, 6, 1], key=seed), WidthGrowth(2.0), 2, NEWTON
    ),
    "Poisson in 1-D, grid, relaxation": Case(
        lambda: elliptic(1, 8), cells(8, 5), IntervalDoubling(), 3, Relaxation(coarsest=20), fixed=True
    ),
}
"""Rows of the short form."""

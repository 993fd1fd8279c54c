"""The trainings of the study `four-arms`: its problems with their fields, and all arms of one row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from hierax.cycles import AbstractCycle, Action, Done, NestedIteration, Outcome, SingleLevel, Visit
from hierax.fields import SplineGrid, Unknowns, parameter_count
from hierax.fields.axis import SplineAxis
from hierax.fields.moving import MovingGrid
from hierax.fields.slabs import Slabs
from hierax.hierarchy import Hierarchy, IntervalDoubling, refine
from hierax.planning.families import Grid
from hierax.problems import Box, Face, Residual, catalogue, derivative
from hierax.problems.problem import Problem
from hierax.solvers import AbstractSolver, GaussNewton, Tolerances, adam
from hierax.training.train import train
from studies.classical import (
    Control,
    allen_cahn_lines,
    burgers_lines,
    collocation,
    jump_differences,
    minus_laplacian,
    scattered,
    turning_diffusion,
)
from studies.common import Arm, Network, Row, Shares, row_of, trained
from studies.gap import gap, held_out

ENDLESS = 10**9
RATES = (1e-2, 1e-3)

ONE_FIRST, ONE_SECOND = "single level, Adam", "single level, Gauss-Newton"
MANY_FIRST, MANY_SECOND = "levels, Adam", "levels, Gauss-Newton"
OWN_KNOTS, GIVEN_KNOTS = "levels, Gauss-Newton, own knots", "single level, Gauss-Newton, given those knots"
CLASSICAL = "classical control"
SINGLE, MANY = (ONE_FIRST, ONE_SECOND), (MANY_FIRST, MANY_SECOND, OWN_KNOTS)
KINDS = {"grid": "spline grid", "network": "spline network"}


@dataclass(frozen=True)
class Case:
    """One problem with its two rows.

    Attributes
    ----------
    make:
        The problem.
    control:
        Its classical solution.
    network, levels:
        The coarsest spline network, and how many levels it has.
    grid_seconds, network_seconds:
        Budget of every arm of a row.
    """

    make: Callable[[], Problem]
    control: Callable[[Problem], Control]
    network: Network = Network(10, 4, 4, True)
    levels: int = 4
    grid_seconds: float = 15.0
    network_seconds: float = 30.0


def known(name: str, **options: Any) -> Callable[[], Problem]:
    """Makes a problem of the catalogue, with these settings."""
    return lambda: catalogue()[name](**options)


def allen_cahn_walls() -> Problem:
    """`allen-cahn` with walls of zero slope in place of periodicity; the solution is the same."""
    periodic = catalogue()["allen-cahn"]()
    lower, upper = periodic.domain.bounds()

    def slope(u: Any, x: Any, normal: Any) -> Any:
        del normal
        return derivative(u, "x")(x)

    ends = Residual("walls", slope, on=(Face("x", "lower"), Face("x", "upper")))
    return Problem(
        Box(lower, upper, names=("t", "x")), (*periodic.terms, ends), reference=periodic.reference, name="allen-cahn"
    )


CASES: dict[str, Case] = {
    "rotated-regression": Case(known("rotated-regression", points=6000), scattered, Network(10, 4, 3, True)),
    "regression-2d": Case(known("regression-2d", points=6000), scattered, Network(10, 8, 3, True)),
    "poisson-2d": Case(
        known("poisson-2d", scales=3),
        lambda p: collocation(p, 32, minus_laplacian),
        Network(10, 4, 5, True),
    ),
    "poisson-jump-mixed": Case(known("poisson-jump-mixed"), jump_differences),
    "burgers": Case(known("burgers", viscosity=0.02), lambda p: burgers_lines(p, 0.02)),
    "allen-cahn": Case(allen_cahn_walls, allen_cahn_lines),
    "semilinear-3d": Case(
        known("semilinear-3d"),
        lambda p: collocation(p, 12, minus_laplacian, power=3),
        Network(10, 4, 5, True),
    ),
    "anisotropic-diffusion": Case(
        known("anisotropic-diffusion"),
        lambda p: collocation(p, 24, turning_diffusion),
        network_seconds=45.0,
    ),
}
"""Fits of data with a kink and with fast waves; linear equations with many scales, a jump, a turning tensor; nonlinear
ones, two of them in time and one in three dimensions."""


def gauss_newton() -> GaussNewton:
    """Gauss-Newton of the networks: a level ends when a step promises less than one per mille."""
    return GaussNewton(tolerances=Tolerances(1e-3, 200))


FALL = 1e-3
"""A visit that lowers the objective by less than this share brought nothing."""


class Standing(NamedTuple):
    """State of the cycle within, the lowest objective of the finest level, and visits since that brought nothing."""

    inner: Any
    value: float
    idle: int


@dataclass(frozen=True)
class ToTheEnd(AbstractCycle):
    """Goes on with the finest level where another cycle ends, until two visits bring nothing or the seconds are over.

    A solver ends a level where its own tolerance says so, which is right on levels that finer ones follow. On the last
    one it would decide the comparison.

    Parameters
    ----------
    cycle:
        What comes before.
    """

    cycle: AbstractCycle

    def init(self, levels: int) -> Standing:
        return Standing(self.cycle.init(levels), np.inf, 0)

    def next(self, state: Standing, outcome: Outcome | None) -> tuple[Standing, Action]:
        if outcome is None or not np.isfinite(state.value):
            inner, action = self.cycle.next(state.inner, outcome)
            if outcome is None or outcome.value is None or not isinstance(action, Done):
                return state._replace(inner=inner), action
            return Standing(inner, outcome.value, 0), Visit(outcome.level)
        assert outcome.value is not None
        idle = 0 if outcome.value < (1.0 - FALL) * state.value else state.idle + 1
        state = Standing(state.inner, min(state.value, outcome.value), idle)
        return state, Done("converged") if idle == 2 else Visit(outcome.level)


@dataclass
class Bout:
    """All trainings of one row: a problem and a kind of field.

    Attributes
    ----------
    name, kind:
        Of the problem; of the field, a key of `KINDS`.
    problem, seconds:
        The problem; the budget of every arm.
    rows, gaps:
        What was measured: a row for every training, and for every level of the arms with Gauss-Newton.
    short:
        Whether to leave out the search for Adam's rate, and to fit networks briefly.
    """

    name: str
    kind: str
    problem: Problem
    seconds: float
    rows: list[Row]
    gaps: list[Row]
    short: bool = False

    @property
    def label(self) -> str:
        return f"{self.name}, {KINDS[self.kind]}"

    def run(self, arm: Arm, seed: int = 0, others: Callable[[int], list[Any]] | None = None) -> tuple[Any, float]:
        """One training; with `others`, fields of each level's shape, also the gap of every level.

        Returns the trained field and its error.
        """
        solution, fields = trained(self.problem, arm, seed, self.seconds)
        row = row_of(self.label, self.problem, arm.name, seed, self.seconds, solution)
        self.rows.append(row | {"name": self.name, "kind": self.kind})
        if others is not None:
            for level, field in enumerate(fields):
                found = gap(self.problem, field, others(level), seconds=2.0 if self.short else 6.0)
                self.gaps.append({"problem": self.label, "kind": self.kind, "arm": arm.name, "level": level, **found})
        return solution.field, row["relative_l2"]

    def warm(self, arm: Arm) -> None:
        """Forget everything compiled, then compile what all trainings of a process share."""
        jax.clear_caches()
        train(self.problem, arm.field(self.problem, 0), solver=arm.solver, cycle=arm.cycle, key=0, budget=1e-3)

    def adam_rate(self, field: Callable[[Problem, int], Any]) -> float:
        """The rate whose single-level training ends with the smaller error; the other one stays in the rows."""
        errors = {}
        for rate in RATES[:1] if self.short else RATES:
            arm = Arm(ONE_FIRST, field, adam(rate, ENDLESS), SingleLevel())
            errors[rate] = self.run(arm)[1]
            self.rows[-1]["arm"] += f" at {rate:g}"
        best = min(errors, key=lambda rate: errors[rate])
        chosen = next(row for row in self.rows if row["arm"] == f"{ONE_FIRST} at {best:g}")
        chosen["arm"] = ONE_FIRST
        return best


def uniform_levels(field: Any, problem: Problem) -> Hierarchy:
    """Grids of equally many uniform intervals an axis, doubled up to about as many parameters as `field` has.

    A field of time slabs is replaced by one grid.
    """
    parts = {name: _whole(part) for name, part in (field.parts if isinstance(field, Unknowns) else {"": field}).items()}
    grid = next(iter(parts.values()))
    nodes = (parameter_count(field) / sum(int(np.prod(p.channels, dtype=int)) for p in parts.values())) ** (
        1 / len(grid.axes)
    )
    degree = max(grid.degree)
    target = max(nodes - degree, degree + 1.0)
    doublings = int(np.log2(target / (degree + 1.0)))
    coarsest = round(target / 2**doublings)
    coarse = {name: _uniform(part, coarsest, problem) for name, part in parts.items()}
    start = Unknowns(**coarse) if isinstance(field, Unknowns) else coarse[""]
    return refine(start, by=IntervalDoubling(), levels=doublings + 1)


def _whole(part: Any) -> SplineGrid:
    """A grid of the same kind: the first one of time slabs."""
    first = part.parts[0] if isinstance(part, Slabs) else part
    return first.grid if isinstance(first, MovingGrid) else first


def _uniform(grid: SplineGrid, intervals: int, problem: Problem) -> SplineGrid:
    axes = [
        SplineAxis(np.linspace(low, high, intervals + 1), axis.degree, axis.ends)
        for axis, low, high in zip(grid.axes, *problem.domain.bounds(), strict=True)
    ]
    return SplineGrid(axes, np.zeros((*(axis.size for axis in axes), *grid.channels)))


def zeros_like(field: Any) -> Any:
    """The same grids with zero coefficients."""
    if isinstance(field, Unknowns):
        return Unknowns(**{name: zeros_like(part) for name, part in field.parts.items()})
    return SplineGrid(field.axes, 0.0 * field.coefficients)


def run_grids(bout: Bout) -> None:
    """All arms of a spline grid; the strategy's own Gauss-Newton, with its smoothing for data."""
    none: Callable[[int], list[Any]] = lambda level: []  # noqa: E731
    own = Arm(OWN_KNOTS, lambda problem, seed: Grid())
    bout.warm(own)
    adapted, _ = bout.run(own, others=none)
    hierarchy = uniform_levels(adapted, bout.problem)
    finest = hierarchy.levels[-1]
    rate = bout.adam_rate(lambda problem, seed: hierarchy)
    shared = functools.partial(Shares, seconds=bout.seconds / len(hierarchy.levels), finest=finest.parameters)
    bout.run(Arm(ONE_SECOND, lambda problem, seed: hierarchy, cycle=ToTheEnd(SingleLevel())))
    bout.run(Arm(MANY_FIRST, lambda problem, seed: hierarchy, shared(adam(rate, ENDLESS)), NestedIteration()))
    bout.run(Arm(MANY_SECOND, lambda problem, seed: hierarchy, cycle=ToTheEnd(NestedIteration())), others=none)
    if not isinstance(adapted, Slabs):  # slabs are solved one after another, there is no single level of them
        given = zeros_like(adapted)
        bout.run(Arm(GIVEN_KNOTS, lambda problem, seed: refine(given, levels=1), cycle=ToTheEnd(SingleLevel())))


def run_networks(bout: Bout, case: Case, seeds: int) -> None:
    """All arms of a spline network."""

    def levels(problem: Problem, seed: int) -> Hierarchy:
        return refine(case.network.build(problem, seed), by=IntervalDoubling(), levels=case.levels)

    finest = levels(bout.problem, 0).levels[-1].parameters

    def shared(solver: AbstractSolver) -> Shares:
        return Shares(solver, bout.seconds / case.levels, finest)

    def other_start(level: int) -> list[Any]:
        return [levels(bout.problem, 100).levels[level].field]

    bout.warm(Arm(MANY_SECOND, levels, gauss_newton(), NestedIteration()))
    rate = bout.adam_rate(levels)
    for seed in range(seeds):
        if seed:
            bout.run(Arm(ONE_FIRST, levels, adam(rate, ENDLESS), SingleLevel()), seed)
        bout.run(Arm(ONE_SECOND, levels, gauss_newton(), ToTheEnd(SingleLevel())), seed)
        bout.run(Arm(MANY_FIRST, levels, shared(adam(rate, ENDLESS)), NestedIteration()), seed)
        arm = Arm(MANY_SECOND, levels, shared(gauss_newton()), ToTheEnd(NestedIteration()))
        bout.run(arm, seed, None if seed else other_start)


def control_row(bout: Bout, control: Control) -> Row:
    """The classical solution as a row of the table."""
    points, exact = held_out(bout.problem)
    wrong = control.values(points)[:, None] - exact
    return {
        "problem": bout.label,
        "name": bout.name,
        "kind": bout.kind,
        "arm": CLASSICAL,
        "method": control.name,
        "seed": 0,
        "budget_seconds": bout.seconds,
        "relative_l2": float(np.linalg.norm(wrong) / np.linalg.norm(exact)),
        "max_error": float(np.abs(wrong).max()),
        "mse": float(np.mean(wrong**2)),
        "loss": 0.0,
        "parameters": control.unknowns,
        "linear_in_parameters": False,
        "seconds": control.seconds,
        "seconds_compile": 0.0,
    }


def run_case(
    name: str, case: Case, seeds: int, kinds: Sequence[str] = tuple(KINDS), short: bool = False
) -> tuple[list[Row], list[Row]]:
    """Both rows of a problem: its trainings, and the gaps of their levels."""
    problem = case.make()
    control = case.control(problem)
    rows: list[Row] = []
    gaps: list[Row] = []
    for kind in kinds:
        seconds = case.grid_seconds if kind == "grid" else case.network_seconds
        bout = Bout(name, kind, problem, seconds, rows, gaps, short)
        if kind == "grid":
            run_grids(bout)
        else:
            run_networks(bout, case, seeds)
        rows.append(control_row(bout, control))
    return rows, gaps

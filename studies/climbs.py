"""What the study `cost-scaling` measures: problems that come in any size, and the seconds to a level's own error."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from hierax.clock import compile_seconds
from hierax.cycles import NestedIteration
from hierax.dynamics import work_units
from hierax.fields import SplineGrid, parameter_count
from hierax.hierarchy import Hierarchy, IntervalDoubling, refine
from hierax.planning.choose import choose
from hierax.problems import Box, Problem, Reference, Residual, catalogue, laplacian
from hierax.solvers import (
    AbstractSolver,
    Cholesky,
    ConjugateGradients,
    GaussNewton,
    Multigrid,
    Optax,
    Tolerances,
    adam,
    lbfgs,
)
from hierax.solvers.linear.solve import AbstractLinearSolver
from hierax.training.cost import fits
from hierax.training.discrete import DiscreteProblem
from studies.common import Network
from studies.gap import first, reference_values

ENDLESS = 10**9
PROBES = 4096
"""Points at which errors are measured."""


@dataclass(frozen=True)
class Sizes:
    """A problem with a field that can have any number of levels.

    Attributes
    ----------
    make:
        The problem.
    coarsest:
        The field of level 0.
    depths:
        Numbers of levels to be measured, ascending.
    rate:
        Of Adam.
    linear:
        Whether the field is linear in its parameters.
    """

    make: Callable[[], Problem]
    coarsest: Callable[[Problem], Any]
    depths: tuple[int, ...]
    rate: float = 1e-2
    linear: bool = True

    def hierarchy(self, problem: Problem, depth: int) -> Hierarchy:
        """That many levels, each with half the intervals' width of the one before."""
        return refine(self.coarsest(problem), by=IntervalDoubling(), levels=depth)


def grid(intervals: int, degree: int = 3) -> Callable[[Problem], SplineGrid]:
    """A uniform spline grid on the problem's box."""

    def build(problem: Problem) -> SplineGrid:
        wraps = [name in problem.domain.periodic for name in problem.domain.names or ()]
        return SplineGrid.uniform(*problem.domain.bounds(), intervals, degree, periodic=wraps)

    return build


def fit_waves() -> Problem:
    """A function on the unit square as residual `u - u*`: regression whose points grow with the field."""

    def exact(x: Any) -> Any:
        return jnp.prod(jnp.sin(2.0 * jnp.pi * x)) + 0.2 * jnp.prod(jnp.sin(24.0 * jnp.pi * x))

    return Problem(
        Box([0.0, 0.0], [1.0, 1.0]), [Residual("fit", lambda u, x: u(x) - exact(x))], reference=Reference(exact, 1e-14),
        name="regression",
    )  # fmt: skip


def elliptic(dim: int, waves: int, cubic: bool = False) -> Problem:
    """`-Laplacian u = f`, or `-Laplacian u + u^3 = f`, zero on the walls of the unit cube; a product of sines and more.

    The solution is the product of `sin(pi x_a)` plus a fifth of that of `sin(waves pi x_a)`.
    """

    def exact(x: Any) -> Any:
        return jnp.prod(jnp.sin(jnp.pi * x)) + 0.2 * jnp.prod(jnp.sin(waves * jnp.pi * x))

    def source(x: Any) -> Any:
        low, high = jnp.prod(jnp.sin(jnp.pi * x)), 0.2 * jnp.prod(jnp.sin(waves * jnp.pi * x))
        return dim * jnp.pi**2 * (low + waves**2 * high) + cubic * exact(x) ** 3

    def interior(u: Any, x: Any) -> Any:
        return -laplacian(u)(x) + (u(x) ** 3 if cubic else 0.0) - source(x)

    def wall(u: Any, x: Any, normal: Any) -> Any:
        del normal
        return u(x)

    terms = (Residual("interior", interior), Residual("wall", wall, on="boundary"))
    name = f"semilinear-{dim}d" if cubic else f"poisson-{dim}d"
    return Problem(Box([0.0] * dim, [1.0] * dim), terms, reference=Reference(exact, 1e-14), name=name)


CASES: dict[str, Sizes] = {
    "regression": Sizes(fit_waves, grid(4), (3, 4, 5, 6, 7)),
    "poisson-1d": Sizes(lambda: elliptic(1, 16), grid(4), (4, 5, 6, 7, 8)),
    "poisson-2d": Sizes(lambda: elliptic(2, 16), grid(4), (3, 4, 5, 6, 7, 8, 9)),
    "poisson-2d-degree-5": Sizes(lambda: elliptic(2, 16), grid(4, 5), (4, 5, 6, 7)),
    "poisson-3d": Sizes(lambda: elliptic(3, 4), grid(2), (2, 3, 4, 5)),
    "burgers": Sizes(lambda: catalogue()["burgers"](viscosity=0.05), grid(4), (3, 4, 5, 6, 7)),
    "allen-cahn": Sizes(lambda: catalogue()["allen-cahn"](diffusion=1e-3), grid(4), (3, 4, 5, 6, 7)),
    "semilinear-2d": Sizes(lambda: elliptic(2, 8, cubic=True), grid(4), (3, 4, 5, 6, 7)),
    "network": Sizes(
        lambda: elliptic(2, 2), lambda p: Network(8, 4, 5, True).build(p, 0), (2, 3, 4, 5, 6), 3e-3, linear=False
    ),
}
"""Spline grids of degree 3, once of degree 5, and a network `[2, 8, 1]` with a linear layer before its splines.

The solutions are smooth with one fast wave, the start of `allen-cahn` satisfies its conditions with all derivatives,
and Burgers' layer is resolved from the third size on.
"""


@dataclass(frozen=True)
class Climber:
    """One way to reach the finest level.

    Attributes
    ----------
    name:
        In tables.
    solver:
        For a problem's field.
    nested:
        Whether all coarser levels are trained before; otherwise the finest alone.
    cap:
        Seconds after which one size is given up.
    """

    name: str
    solver: Callable[[Sizes], AbstractSolver]
    nested: bool
    cap: float = 25.0


def second_order(linear: AbstractLinearSolver | None) -> Callable[[Sizes], AbstractSolver]:
    """Gauss-Newton with a way to solve its systems; undamped where the field is linear in its parameters."""
    tolerances = Tolerances(1e-3, 40)
    return lambda sizes: GaussNewton(linear, 0.0 if sizes.linear else 1e-3, tolerances)


LARGE = 150.0
"""Cap of the arms that come to a million parameters."""
FIRST_ORDER = (
    Climber("single level, Adam", lambda sizes: adam(sizes.rate, ENDLESS), False, 8.0),
    Climber("single level, L-BFGS", lambda sizes: lbfgs(ENDLESS), False, 8.0),
)
PLAIN = (
    Climber("single level, Gauss-Newton, CG", second_order(ConjugateGradients(1e-4, 10_000)), False),
    Climber("cascade, Gauss-Newton, CG", second_order(ConjugateGradients(1e-3, 10_000)), True),
)
CLIMBERS: tuple[Climber, ...] = (
    *FIRST_ORDER,
    *PLAIN,
    Climber("single level, Gauss-Newton, multigrid", second_order(Multigrid()), False, LARGE),
    Climber("full multigrid", second_order(Multigrid()), True, LARGE),
)
"""The arms of grids."""
NETWORK_CLIMBERS: tuple[Climber, ...] = (
    *FIRST_ORDER,
    *PLAIN,
    Climber("single level, Gauss-Newton, factorised", second_order(Cholesky()), False),
    Climber("cascade, Gauss-Newton, factorised", second_order(Cholesky()), True),
)
"""The arms of networks: a dense matrix has no stencil to coarsen, so there a factorisation takes the place."""


@dataclass
class Climb:
    """What one climb took.

    Attributes
    ----------
    parameters, steps, iterations:
        For each level that was trained; iterations of conjugate gradients or multigrid, all steps together.
    errors:
        After each level.
    seconds, seconds_compile:
        Without compilation; compilation.
    reached:
        Whether the last level came to its target.
    field:
        What came out.
    """

    parameters: list[int] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    seconds: float = 0.0
    seconds_compile: float = 0.0
    reached: bool = False
    field: Any = None

    @property
    def work(self) -> float:
        """Steps and iterations in units of those on the finest level."""
        return work_units(self.parameters, [s + i for s, i in zip(self.steps, self.iterations, strict=True)])


class Stopwatch:
    """Seconds without compilation, and those of compilation; what happens between laps is not counted."""

    def __init__(self) -> None:
        self.seconds = self.compiling = 0.0
        self.start()

    def start(self) -> None:
        """Begin a lap."""
        self._began, self._compiled = time.perf_counter(), compile_seconds()

    def stop(self) -> None:
        """End the lap."""
        compiling = compile_seconds() - self._compiled
        self.compiling += compiling
        self.seconds += max(time.perf_counter() - self._began - compiling, 1e-9)


class Ruler:
    """The error of a field of one bench against the reference, at fixed points."""

    def __init__(self, problem: Problem, bench: DiscreteProblem) -> None:
        self.bench = bench
        self.points = bench.spread(PROBES, 7)
        self.exact = reference_values(problem, self.points)
        self.columns = self.exact.shape[1]
        assert first(problem) == next(iter(problem.functions))

    def __call__(self, field: Any) -> float:
        wrong = self.bench.values_at(field, self.points)[:, : self.columns] - self.exact
        return float(np.linalg.norm(wrong) / np.linalg.norm(self.exact))


@dataclass(frozen=True, eq=False)
class Site:
    """A problem with its levels made ready for one arm; climbs on the same site share what is compiled."""

    bench: DiscreteProblem
    ruler: Ruler
    climber: Climber

    @classmethod
    def of(cls, sizes: Sizes, climber: Climber, depth: int) -> Site:
        """For climbs of at most that many levels."""
        problem = sizes.make()
        solver = climber.solver(sizes)
        plan = choose(problem, key=0, hierarchy=sizes.hierarchy(problem, depth), solver=solver, cycle=NestedIteration())
        bench = DiscreteProblem.of(problem, plan, 0)
        return cls(bench, Ruler(problem, bench), climber)

    def start(self, number: int, coarser: Any) -> Any:
        """The field of a level before training: prolonged from the coarser one, where that was trained."""
        hierarchy = self.bench.plan.hierarchy
        fresh = hierarchy.levels[number].field
        return fresh if coarser is None else self.bench.prolonged(hierarchy.transfers[number - 1], coarser, fresh)


def climb(site: Site, depth: int, target: float) -> Climb:
    """Train up to a level until its error is below the target, or the solver stands still, or the time is over.

    Coarser levels end by the solver's own tolerance. Errors are measured between steps, with the watch stopped.
    """
    watch, out = Stopwatch(), Climb()
    for number in range(0 if site.climber.nested else depth - 1, depth):
        watch.start()
        start = site.start(number, out.field)
        out.field = _visit(site, start, target if number == depth - 1 else None, watch, out)
    out.seconds, out.seconds_compile = watch.seconds, watch.compiling
    out.reached = out.errors[-1] <= target
    return out


def _visit(site: Site, start: Any, target: float | None, watch: Stopwatch, out: Climb) -> Any:
    """Train one level; the watch runs when this begins and stands when it ends."""
    solver, ruler = site.bench.plan.solver, site.ruler
    prepared = site.bench.prepare(start)
    theta, state = prepared.theta, solver.init(prepared.objective, prepared.theta)
    steps, iterations, idle, error = 0, 0, 0, np.inf
    while True:
        step = solver.step(prepared.objective, theta, state)
        theta, state, steps, iterations = step.theta, step.state, steps + 1, iterations + step.iterations
        watch.stop()
        before = error
        if target is not None:
            error = ruler(prepared.build(theta))
            # a solver that thinks it is done may go on, as long as that helps
            idle = idle + 1 if step.done and not error < 0.99 * before else 0
        finished = step.done if target is None else error <= target or idle >= 2
        if finished or step.failure is not None or watch.seconds > site.climber.cap:
            break
        watch.start()
    field = prepared.build(theta)
    out.parameters.append(parameter_count(field))
    out.steps.append(steps * (solver.block if isinstance(solver, Optax) else 1))
    out.iterations.append(iterations)
    out.errors.append(ruler(field) if target is None else error)
    return field


def own_errors(sizes: Sizes, depth: int) -> tuple[list[Any], list[float]]:
    """Fields and errors of all levels, each solved from the one before until its steps promise nothing more."""
    solver = GaussNewton(damping=0.0 if sizes.linear else 1e-3, tolerances=Tolerances(1e-6, 100))
    site, found = Site.of(sizes, Climber("own", lambda _: solver, True, 600.0), depth), Climb()
    fields: list[Any] = []
    for number in range(depth):
        start = site.start(number, fields[-1] if fields else None)
        if not fits(site.bench, start):
            break
        watch = Stopwatch()
        fields.append(_visit(site, start, None, watch, found))
    return fields, found.errors

"""Cycles on real levels: classical multigrid on a quadratic problem, safeguards, warm revisits."""

from __future__ import annotations

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.clock import compile_seconds
from hierax.events import StepTaken
from hierax.solvers import Tolerances


@functools.cache
def poisson(dim: int) -> hx.Problem:
    """Energy with the solution zero: what is left of a start is its error, without a floor of rounding."""

    def density(u, x):
        return 0.5 * jnp.sum(hx.gradient(u)(x) ** 2)

    box = hx.Box([0.0] * dim, [1.0] * dim, names=("x", "y")[:dim])
    return hx.Problem(
        box, (hx.Energy("energy", density),), constraint=lambda u: lambda x: jnp.prod(x * (1.0 - x)) * u(x)
    )


def shaken(dim: int, degree: int, levels: int) -> hx.Hierarchy:
    """Grids of four intervals and finer ones, the finest with coefficients at random: all frequencies."""
    made = hx.refine(hx.SplineGrid.uniform([0.0] * dim, [1.0] * dim, 4, degree), levels=levels)
    finest = made.levels[-1].field
    noise = np.random.default_rng(0).normal(size=finest.coefficients.shape)
    return hx.Hierarchy((*made.levels[:-1], hx.Level(hx.SplineGrid(finest.axes, jnp.asarray(noise)))), made.transfers)


def losses(problem: hx.Problem, hierarchy: hx.Hierarchy, cycle, solver) -> tuple[hx.Solution, np.ndarray]:
    """The solution, and the objective of the finest level after every step on it."""
    solution = hx.train(problem, hierarchy, solver=solver, cycle=cycle, key=0, budget=120)
    top = len(hierarchy) - 1
    return solution, np.array([s.loss for s in solution.history if s.level == top])


def contraction(dim: int, degree: int, levels: int, cycle: hx.VCycle) -> float:
    """Largest factor of the energy norm of the error in a cycle."""
    cycle = dataclasses.replace(cycle, cycles=5, share=0.0)
    _, seen = losses(poisson(dim), shaken(dim, degree, levels), cycle, hx.Relaxation(coarsest=20 if dim == 1 else 60))
    after = np.sqrt(seen[1::2])
    return float(np.max(after[1:] / after[:-1]))


@pytest.mark.parametrize(("dim", "degree", "sizes"), [(1, 3, (4, 5, 6, 7)), (2, 3, (2, 3, 4))])
def test_a_v_cycle_is_classical_multigrid(dim, degree, sizes):
    """The contraction does not depend on the mesh width."""
    factors = [contraction(dim, degree, levels, hx.VCycle()) for levels in sizes]
    assert max(factors) < 0.05


def test_an_additive_cycle_contracts_at_a_rate_that_does_not_depend_on_the_mesh_width():
    factors = []
    for levels in (4, 6):
        cycle = hx.AdditiveCycle(cycles=6, share=0.0)
        _, seen = losses(poisson(1), shaken(1, 3, levels), cycle, hx.Relaxation(coarsest=20))
        assert np.all(np.diff(seen) <= 0)
        factors.append((seen[-1] / seen[0]) ** 0.1)
    assert max(factors) < 0.6


def waves() -> hx.Problem:
    points = np.random.default_rng(0).uniform(0, 1, (200, 2))
    data = hx.Data("data", points, np.sin(7 * points[:, 0] * points[:, 1]))
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")), (data,))


SHORT = {"pre": hx.Until(steps=1), "post": hx.Until(steps=1), "coarsest": hx.Until(steps=3), "share": 0.0}
WAVES = waves()
NETWORK = hx.refine(hx.KAN([2, 2, 1], intervals=3, degree=2, key=0), levels=2)
CASES = {
    "line search": (hx.VCycle(**SHORT, cycles=3), hx.GaussNewton()),
    "relaxation": (hx.VCycle(**SHORT, cycles=3), hx.Relaxation(coarsest=20)),
    "adam": (hx.VCycle(**SHORT, cycles=3), hx.adam(1e-3, steps=50)),
}


@pytest.mark.parametrize("name", CASES)
def test_corrections_never_raise_the_objective_and_a_second_cycle_compiles_nothing(name):
    cycle, solver = CASES[name]
    compiled = []

    def watch(event):
        if isinstance(event, StepTaken) and event.level == 1:
            compiled.append(compile_seconds())

    solution = hx.train(WAVES, NETWORK, solver=solver, cycle=cycle, key=0, budget=60, subscribers=[watch])
    seen = np.array([s.loss for s in solution.history if s.level == 1])
    assert len(seen) == 6
    assert np.all(np.diff(seen) <= 0)
    assert compiled[5] == compiled[1]


PEAK = hx.problems.poisson_1d()


def test_the_strategy_makes_levels_for_a_cycle():
    cycle = hx.VCycle(cycles=2)
    nested, own = (hx.train(PEAK, cycle=c, levels=3, key=0, budget=30) for c in (hx.NestedIteration(), cycle))
    assert [level.level for level in own.levels] == [0, 1, 2]
    assert own.loss == pytest.approx(nested.loss, rel=1e-9)
    # three levels do not resolve it: corrected coarse levels, which have seen the finest, must not hide that
    assert nested.result is hx.RESULTS.guard_levels
    assert own.guards["resolution"].value == pytest.approx(nested.guards["resolution"].value, rel=1e-6)
    assert not own.guards["resolution"].passed


@pytest.mark.slow
def test_full_multigrid_solves_each_level_on_the_way():
    hierarchy = hx.refine(hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 4, 3), levels=3)

    def residual(u, x):
        return hx.laplacian(u)(x) + 2 * jnp.pi**2 * jnp.prod(jnp.sin(jnp.pi * x))

    problem = hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y")),
        (hx.Residual("inside", residual), hx.Residual("wall", lambda u, x, n: u(x), on="boundary")),
        reference=lambda x: jnp.prod(jnp.sin(jnp.pi * x)),
    )
    exact = hx.train(problem, hierarchy, key=0)
    full = hx.train(problem, hierarchy, solver=hx.Relaxation(coarsest=60), cycle=hx.FullMultigrid(), key=0)
    assert full.result is hx.RESULTS.successful
    assert full.accuracy.relative_l2 < 1.5 * exact.accuracy.relative_l2
    # what was reached on each level is kept, not what became of it as a coarse problem
    for own, other in zip(full.levels, exact.levels, strict=True):
        assert own.error < 2 * other.error
    assert [level.level for level in full.levels] == [0, 1, 2]


@pytest.mark.slow
def test_the_strategy_goes_on_with_cycles_only_where_a_solver_comes_to_a_halt():
    residual = hx.Residual("fit", lambda u, x: u(x) - jnp.sin(9.0 * x[0]))
    problem = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), (residual,))
    levels = hx.refine(hx.MLP([1, 3, 1], key=0), by=hx.WidthGrowth(2.0), levels=2, key=0)
    own, nested = (hx.train(problem, levels, cycle=c, key=0, budget=1e3) for c in (None, hx.NestedIteration()))
    assert (own.cycle, nested.cycle) == ("Automatic", "NestedIteration")
    # its steps are done when they promise little: then nothing but the nested iteration happens, bit for bit
    assert [s.loss for s in own.history] == [s.loss for s in nested.history]
    assert [level.loss for level in own.levels] == [level.loss for level in nested.levels]
    short = hx.GaussNewton(tolerances=Tolerances(1e-4, 3))
    halted = hx.train(problem, levels, solver=short, key=0, budget=1e3)
    visits = [s.level for s in halted.history]
    assert 0 in visits[visits.index(1) :]
    assert halted.loss <= min(s.loss for s in halted.history if s.level == 1)

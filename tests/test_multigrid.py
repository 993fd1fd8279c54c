"""Stencil storage, coarse spaces, block relaxation and the multigrid solver."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import get_lapack_funcs

import hierax as hx
from hierax.dynamics.curvature import conditioning
from hierax.fields import SplineGrid
from hierax.hierarchy import IntervalDoubling, Level
from hierax.objective.curvature import DenseGram
from hierax.objective.stencil import StencilGram, mesh_of
from hierax.planning.choose import choose
from hierax.problems import named_problem
from hierax.solvers import GaussNewton, Multigrid
from hierax.solvers.linear import smoothers
from hierax.solvers.linear.multigrid import linear_solver_for
from hierax.solvers.linear.smoothers import windows
from hierax.solvers.linear.solve import ErrorEstimate, NotPositive, factorise, iterated
from hierax.training.discrete import DiscreteProblem


def bench_of(problem) -> DiscreteProblem:
    return DiscreteProblem.of(problem, choose(problem, key=0, solver=GaussNewton(linear=Multigrid())), 0)


@functools.cache
def named_bench(name: str) -> DiscreteProblem:
    """That of a problem of the catalogue; tests share it and what is compiled for it."""
    return bench_of(named_problem(name)())


def linearised(name: str, doublings: int, degree: int | None = None, shake: float = 0.0):
    """Objective in stencil storage, parameters, linearisation on a first level that is halved several times."""
    bench = named_bench(name)
    field = bench.plan.hierarchy.levels[0].field
    if degree is not None:
        wraps = [axis.size < axis.intervals + axis.degree for axis in field.axes]
        field = SplineGrid.uniform(*bench.problem.domain.bounds(), field.intervals, degree, periodic=wraps)
    level = Level(field)
    for _ in range(doublings):
        level, _ = IntervalDoubling().refine(level)
    prepared = bench.prepare(level.field)
    theta = prepared.theta + shake * np.random.default_rng(1).normal(size=len(prepared.theta))
    return prepared.objective, theta, prepared.objective.linearise(theta)


@pytest.mark.parametrize("name", ["poisson-2d", "allen-cahn", "elasticity", "semilinear-3d"])
def test_stencil_and_band_are_one_matrix(name):
    objective, theta, lin = linearised(name, 1, shake=0.1)
    assert isinstance(lin.curvature, StencilGram)
    objective.mesh = None
    band = objective.linearise(theta)
    vector = np.random.default_rng(0).normal(size=len(theta))
    expected = band.curvature.mv(vector)
    assert np.abs(lin.curvature.mv(vector) - expected).max() < 1e-13 * np.abs(expected).max()
    assert np.abs(lin.curvature.diagonal() - band.curvature.diagonal()).max() < 1e-13 * np.abs(expected).max()
    picks = np.random.default_rng(2).integers(0, len(theta), (3, 5))
    blocks = band.curvature.blocks(picks)
    assert np.abs(lin.curvature.blocks(picks) - blocks).max() < 1e-13 * np.abs(blocks).max()
    assert np.array_equal(lin.gradient, band.gradient)
    shift = 0.1 * band.curvature.diagonal()
    solved = factorise(lin.curvature, shift)(vector)
    assert np.abs(solved - factorise(band.curvature, shift)(vector)).max() < 1e-9 * np.abs(solved).max()
    damped = lin.curvature.shifted(shift)
    assert np.abs(damped.mv(vector) - expected - shift * vector).max() < 1e-13 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["poisson-2d", "allen-cahn", "elasticity"])
def test_coarse_operators_are_galerkin_products(name):
    _, theta, lin = linearised(name, 2, shake=0.1)
    below = lin.curvature.galerkin()
    assert below is not None
    rng = np.random.default_rng(0)
    coarse, fine = rng.normal(size=below.curvature.size), rng.normal(size=len(theta))
    assert below.prolong(coarse) @ fine == pytest.approx(coarse @ below.restrict(fine), rel=1e-11)
    expected = below.restrict(lin.curvature.mv(below.prolong(coarse)))
    assert np.abs(below.curvature.mv(coarse) - expected).max() < 1e-12 * np.abs(expected).max()


def test_coarse_spaces_of_a_halved_grid_are_its_levels():
    level = Level(SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (8, 16), 3, periodic=(False, True)))
    fine, _ = IntervalDoubling().refine(level)
    mesh = mesh_of(fine.field)
    below = mesh.below
    assert below is not None
    for axis, expected in zip(below[0].axes, level.field.axes, strict=True):
        assert np.array_equal(axis.breakpoints(), expected.breakpoints())
    # the periodic axis would become shorter than the support of a spline before the other does
    assert [axis.intervals for axis in below[0].below[0].axes] == [4, 8]


def test_fields_without_a_common_mesh_have_none():
    grid = SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 8, 3)
    other = SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], 9, 3)
    assert mesh_of(hx.Unknowns(u=grid, v=grid)).channels == 2
    assert mesh_of(hx.Unknowns(u=grid, v=other)) is None
    assert mesh_of(hx.Unknowns(u=grid, k=hx.Scalar(1.0))) is None
    assert mesh_of(lambda x: x[0]) is None


def test_windows_cover():
    for count, width, stride, periodic in [(10, 4, 2, False), (11, 4, 2, True), (3, 6, 3, False), (7, 6, 3, True)]:
        found = windows(count, width, stride, periodic)
        assert set(found.ravel()) == set(range(count))
        assert all(len(set(row)) == len(row) for row in found)


@pytest.mark.parametrize(("name", "rounding"), [("anisotropic-diffusion", 1e-6), ("semilinear-3d", 1e-8)])
def test_the_cycle_is_symmetric_and_positive(name, rounding):
    """As far as rounding allows: strips are solved in 32 bits."""
    _, theta, lin = linearised(name, 2, shake=0.01)
    cycle = Multigrid(coarsest=200).cycle(lin.curvature)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, len(theta)))
    assert cycle(x) @ y == pytest.approx(x @ cycle(y), rel=rounding)
    assert cycle(x) @ x > 0


def iterations(name: str, doublings: int, degree: int) -> int:
    """Those of a level that is halved several times."""
    _, _, lin = linearised(name, doublings, degree)
    return energy_iterations(lin.curvature)


def energy_iterations(curvature: StencilGram) -> int:
    """Iterations for an error of 1e-6 in the energy norm, from a right-hand side with all frequencies."""
    b = curvature.mv(np.random.default_rng(0).normal(size=curvature.size))
    cycle = Multigrid(coarsest=300).cycle(curvature)
    solution, count = iterated(curvature.mv, b, cycle, ErrorEstimate(1e-12), 200)[:2]
    residual = b - curvature.mv(solution)
    assert residual @ cycle(residual) < 1e-10 * (b @ cycle(b))
    return count


@pytest.mark.parametrize("name", ["poisson-2d", "anisotropic-diffusion"])
def test_iterations_depend_on_neither_size_nor_degree(name):
    counts = [iterations(name, doublings, degree) for degree in (3, 5) for doublings in (2, 3, 4)]
    assert max(counts) <= 15
    assert max(counts) <= 2 * min(counts)


@pytest.mark.parametrize("size", [1e-120, 1.0, 1e120])
def test_strips_kept_in_32_bits_cost_no_iterations_whatever_the_units(size, monkeypatch):
    curvature = linearised("anisotropic-diffusion", 2)[2].curvature
    curvature = StencilGram(curvature.mesh, size * curvature.values)
    found = energy_iterations(curvature)
    monkeypatch.setattr(smoothers, "KEPT", np.float64)
    monkeypatch.setattr(smoothers, "_solve", *get_lapack_funcs(("pbtrs",), dtype=np.float64))
    assert found == energy_iterations(curvature)


def coupled(named: bool) -> hx.Problem:
    """Two equations in the plane for two functions, which have names of their own or are one with two components."""

    def equations(w, x):
        source = jnp.stack([hx.laplacian(w.u)(x), hx.laplacian(w.v)(x)]) if named else hx.laplacian(w.u)(x)
        u, v = (w.u(x), w.v(x)) if named else w.u(x)
        return source + jnp.stack([v - 1.0, -u])

    def wall(w, x, normal):
        return jnp.stack([w.u(x), w.v(x)]) if named else w.u(x)

    terms = (hx.Residual("equations", equations), hx.Residual("wall", wall, on="boundary"))
    unknowns = {"u": hx.Function(), "v": hx.Function()} if named else {"u": hx.Function(2)}
    return hx.Problem(domain=hx.Box([0.0, 0.0], [1.0, 1.0]), terms=terms, unknowns=unknowns)


def test_named_functions_take_as_many_iterations_as_one_with_components():
    named, vector = (halved_iterations(bench_of(coupled(kind)), (2, 3)) for kind in (True, False))
    assert np.abs(np.subtract(named, vector)).max() <= 1
    assert max(named) <= min(named) + 1 <= 8


def halved_iterations(bench: DiscreteProblem, doublings: tuple[int, ...]) -> list[int]:
    """Iterations on the first level of the plan, halved several times."""
    counts, level = {}, Level(bench.plan.hierarchy.levels[0].field)
    for number in range(1, max(doublings) + 1):
        level, _ = IntervalDoubling().refine(level)
        if number in doublings:
            prepared = bench.prepare(level.field)
            counts[number] = energy_iterations(prepared.objective.linearise(prepared.theta).curvature)
    return list(counts.values())


def test_multigrid_and_factorisation_give_the_same_step():
    _, _, lin = linearised("anisotropic-diffusion", 3)
    b, shift = -lin.gradient, 1e-3 * lin.curvature.diagonal()
    direct = factorise(lin.curvature, shift)(b)
    solve = Multigrid(tolerance=1e-24, coarsest=300).prepare(lin.curvature, shift)
    assert np.abs(solve(b) - direct).max() < 1e-9 * np.abs(direct).max()
    assert 0 < solve.iterations < 40


@pytest.mark.slow
def test_training_with_multigrid_reaches_the_error_of_the_factorisation():
    problem = named_problem("poisson-2d")(scales=2)
    direct = hx.train(problem, levels=4)
    iterative = hx.train(problem, solver=GaussNewton(damping=0.0, linear=Multigrid(coarsest=100)), levels=4)
    for a, b in zip(direct.levels, iterative.levels, strict=True):
        assert a.parameters == b.parameters
        assert b.error < 1.02 * a.error + 1e-12


def test_solvers_follow_the_storage():
    assert isinstance(linear_solver_for(StencilGram(None, None)), Multigrid)  # pyright: ignore
    assert not isinstance(linear_solver_for(DenseGram(np.eye(2))), Multigrid)


@pytest.mark.parametrize("doublings", [1, 2, 3])
def test_the_condition_that_iterations_meet_is_that_of_the_preconditioned_matrix(doublings):
    _, theta, lin = linearised("poisson-2d", doublings)
    solver = Multigrid(tolerance=1e-12, coarsest=60)
    solve = solver.prepare(lin.curvature, np.zeros(len(theta)))
    solve(lin.gradient)
    found = conditioning(lin.curvature.mv, solver.cycle(lin.curvature), len(theta), 60)
    scaled = conditioning(lin.curvature.mv, lambda r: r / lin.curvature.diagonal(), len(theta), 60)
    # without the cycle iterations see the mesh width, with it hardly anything
    assert 1.0 < solve.condition <= found.preconditioned * (1.0 + 1e-6) < 3.0
    assert solve.condition == pytest.approx(found.preconditioned, rel=0.3)
    assert scaled.preconditioned > 50.0


def test_indefinite_stencils_are_refused():
    _, theta, lin = linearised("poisson-2d", 3)
    with pytest.raises(NotPositive):
        Multigrid(coarsest=100).prepare(StencilGram(lin.curvature.mesh, -lin.curvature.values), np.zeros(len(theta)))

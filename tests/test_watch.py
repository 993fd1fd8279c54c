"""Watching a training: what is measured of a field with a reference, an equation without, and data; what it costs."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hierax as hx
from hierax.records.watch import Watch, spread
from hierax.solvers import Optax


def test_any_number_of_snapshots_is_spread_over_the_run():
    assert spread(1) == [0]
    assert spread(5) == [4, 0, 2, 1, 3]
    assert sorted(spread(37)) == list(range(37))


def exact(x):
    return jnp.cos(2 * jnp.pi * 3 * x[0])


def test_the_error_of_levels_that_see_a_wave_late():
    problem = hx.Problem(
        hx.Box([0.0], [1.0]), (hx.Residual("value", lambda u, x: u(x) - exact(x)),), reference=hx.Reference(exact)
    )
    watch = Watch(problem, share=1.0)
    field = hx.SplineGrid.uniform([0.0], [1.0], 2, 3)
    hierarchy = hx.refine(field, by=hx.IntervalDoubling(), levels=5)
    solution = hx.train(problem, hierarchy, cycle=hx.NestedIteration(), subscribers=[watch], budget=60)
    found = watch.measures()
    assert found.spectrum_of == "error"
    wave = int(np.searchsorted(found.spectrum_edges, 3.0, side="right")) - 1
    energy = found.spectrum_energy[:, wave]
    # the coarsest level sees nothing of the wave, the finest all of it
    assert energy[0] > 0.3
    assert energy[-1] < 1e-6
    assert found.spectrum_energy[-1].sum() == pytest.approx(solution.accuracy.relative_l2**2, rel=0.5)
    assert list(found.spectrum_level) == sorted(found.spectrum_level)
    assert len(found.contraction_level) == 5
    assert found.kernel_terms == ("value",)
    assert found.kernel_eigenvalues.shape == found.kernel_alignment.shape
    assert np.nanmax(found.kernel_alignment.sum(axis=1)) < 1.0 + 1e-6
    # a least-squares fit by splines of every level is well conditioned once its unknowns are scaled
    assert found.curvature_condition.shape == (len(found.curvature_level), 2)
    assert np.all(found.curvature_condition[:, 1] < 1e3)
    np.testing.assert_allclose(np.nansum(found.curvature_weights, axis=1), 1.0)
    assert found.watching_seconds > 0.0
    assert found.training_seconds == pytest.approx(solution.seconds_total, rel=0.2)


def test_data_without_a_reference_and_a_network():
    points = np.random.default_rng(0).uniform(0, 1, (120, 1))
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", points, np.sin(6 * points[:, 0])),))
    watch = Watch(problem, share=1.0)
    hx.train(problem, hx.MLP([1, 4, 1], key=0), solver=hx.GaussNewton(), subscribers=[watch], budget=60)
    found = watch.measures()
    assert found.spectrum_of == "residual"
    assert found.spectrum_energy[0].sum() == pytest.approx(1.0)
    assert found.spectrum_energy[-1].sum() < 0.1
    assert 3 <= len(found.spectrum_seconds) <= 65
    assert 0.0 < found.contraction_factor[0] < 1.0


def test_watching_a_known_solution_compiles_no_kernel_of_its_own(compilations):
    problem = hx.Problem(
        hx.Box([0.0], [1.0]), (hx.Residual("value", lambda u, x: u(x) - exact(x)),), reference=hx.Reference(exact)
    )
    field = hx.SplineGrid.uniform([0.0], [1.0], 8, 3)
    hx.train(problem, field, budget=30)
    before, watch = compilations["expansions"], Watch(problem, share=1.0)
    hx.train(problem, field, subscribers=[watch], budget=30)
    assert compilations["expansions"] == before
    assert watch.measures().spectrum_of == "error"


def test_the_condition_that_a_solver_met_is_kept_beside_that_of_the_curvature():
    problem = hx.Problem(
        hx.Box([0.0], [1.0]), (hx.Residual("value", lambda u, x: u(x) - exact(x)),), reference=hx.Reference(exact)
    )
    watch = Watch(problem, share=1.0)
    hierarchy = hx.refine(hx.SplineGrid.uniform([0.0], [1.0], 8, 3), by=hx.IntervalDoubling(), levels=3)
    solver = hx.GaussNewton(linear=hx.solvers.ConjugateGradients(1e-12, 200))
    hx.train(problem, hierarchy, solver=solver, cycle=hx.NestedIteration(), subscribers=[watch], budget=60)
    found = watch.measures()
    assert list(found.solver_level) == [0, 1, 2]
    scaled = dict(zip(found.curvature_level, found.curvature_condition[:, 1], strict=True))
    # the solver scales by the diagonal as well, and damps
    for level, met in zip(found.solver_level, found.solver_condition, strict=True):
        assert 1.0 < met < 1.01 * scaled[level]
        assert met > 0.3 * scaled[level]


def test_a_run_whose_terms_have_no_kernel_is_watched_without_one():
    energy = hx.Energy("energy", lambda u, x: 0.5 * (hx.derivative(u, 0)(x) ** 2 + u(x) ** 2) - u(x))
    problem = hx.Problem(hx.Box([0.0], [1.0]), (energy,))
    watch = Watch(problem, share=1.0)
    hx.train(problem, hx.SplineGrid.uniform([0.0], [1.0], 4, 3), subscribers=[watch], budget=30)
    found = watch.measures()
    assert found.kernel_eigenvalues.shape == (0, 0)
    assert found.curvature_condition.shape == (0, 2)


def test_modes_decay_under_gradient_descent_as_their_eigenvalues_say():
    points = np.linspace(0.0, 1.0, 40)[:, None]
    problem = hx.Problem(
        hx.PointCloud(points), (hx.Residual("fit", lambda u, x: u(x) - jnp.sin(6 * x[0]) - 0.3 * jnp.cos(15 * x[0])),)
    )
    rate, watch = 1e-6, Watch(problem, share=1.0, modes=4)
    solver = Optax(optax.sgd(rate), 40, block=1)
    hx.train(problem, hx.MLP([1, 8, 1], key=0), solver=solver, subscribers=[watch], budget=60)
    found = watch.measures()
    expected = -np.log1p(-rate * found.kernel_eigenvalues[0])
    np.testing.assert_allclose(found.kernel_decay[0][:2], expected[:2], rtol=0.06)

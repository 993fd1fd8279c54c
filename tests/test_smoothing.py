"""Smoothing by cross-validation where equations weigh much more than data: the trace of the influence matrix."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.hierarchy import IntervalDoubling, refine
from hierax.planning.choose import choose
from hierax.solvers.smoothing import _Model, rooted
from hierax.training.discrete import DiscreteProblem


def source(count=300, noise=0.01):
    """Find `f` in `-Lap u = f`, zero on the boundary, from noisy values of `u`."""
    rng = np.random.default_rng(1)
    points = rng.random((count, 2))
    exact = np.sin(np.pi * points[:, 0]) * np.sin(2 * np.pi * points[:, 1])
    values = exact + noise * rng.normal(size=count)

    def state(x):
        return jnp.sin(jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])

    return hx.Problem(
        hx.Box([0.0, 0.0], [1.0, 1.0]),
        (
            hx.Residual("inside", lambda w, x: hx.laplacian(w.u)(x) + w.f(x)),
            hx.Residual("wall", lambda w, x, n: w.u(x), on="boundary"),
            hx.Data("u", points, values, noise=noise),
        ),
        unknowns={"u": hx.Function(), "f": hx.Function()},
        reference=hx.Reference({"u": state, "f": lambda x: 5 * jnp.pi**2 * state(x)}, 1e-14),
    )


@pytest.fixture(scope="module")
def model():
    problem = source()
    plan = choose(problem, key=0)
    bench = DiscreteProblem.of(problem, plan, 1)
    fine = refine(plan.hierarchy.levels[0].field, by=IntervalDoubling(), levels=2).levels[-1].field
    prepared = bench.prepare(fine)
    objective, theta = prepared.objective, prepared.theta
    return _Model(plan.solver, objective.linearise_each(theta), objective.scales, theta)


def dense(gram):
    return np.stack([gram.mv(row) for row in np.eye(gram.size)])


def test_random_vectors_have_the_matrix_as_covariance(model):
    vectors = rooted(model.data.curvature, 4000)
    matrix = dense(model.data.curvature)
    found = vectors @ vectors.T / vectors.shape[1]
    assert np.linalg.norm(found - matrix) < 0.2 * np.linalg.norm(matrix)
    assert np.all(vectors[np.diagonal(matrix) == 0.0] == 0.0)


@pytest.mark.parametrize("log", [-9.0, -7.0, -5.0])
def test_the_trace_is_that_of_the_influence_matrix(model, log):
    scales = model.scales(np.full(2, log))
    solve = model.solve(scales)
    exact = float(np.trace(solve(dense(model.data.curvature))))
    estimate = float(np.sum(model.probes * solve(model.probes))) / model.probes.shape[1]
    assert 0.0 < exact < model.settings.count
    assert estimate == pytest.approx(exact, rel=0.15)


def test_rounding_decides_nothing_about_penalties(model, monkeypatch):
    """Every other unit of a problem rounds its scores in another way."""
    chosen, rng = model.choose(None, True), np.random.default_rng(0)
    monkeypatch.setattr(model, "score", lambda logs, exact=model.score: exact(logs) + 1e-7 * rng.normal())
    assert np.array_equal(model.choose(None, True), chosen)


def test_finer_levels_do_not_follow_the_noise():
    """The source is a second derivative of what was measured: penalties chosen too small let it grow with the level."""
    solution = hx.train(source(), budget=60.0)
    errors = [level.error for level in solution.levels]
    assert solution.accuracy.relative_l2 < 0.05
    assert max(errors[1:]) < 0.1

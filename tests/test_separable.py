"""Tensor trains by cross approximation, terms that separate, and quadratic forms along chains of axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import LowRank
from hierax.objective.axis_order import chain_order
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.jet_rows import JetRows
from hierax.objective.objective import flat_parameters
from hierax.objective.separable import separated
from hierax.objective.separation import SeparableObjective, Separation
from hierax.objective.tensor_train import Cross, added, at, rounded

GRID = [np.linspace(0.0, 1.0, n) for n in (9, 8, 7, 6, 5)]


def on_grid(function):
    return lambda index: function(np.stack([x[i] for x, i in zip(GRID, index.T, strict=True)], axis=1))


@pytest.mark.parametrize(
    ("function", "rank"),
    [
        (lambda x: np.full(len(x), 3.0), 1),
        (lambda x: np.prod(1.0 + x, axis=1), 1),
        (lambda x: x.sum(axis=1), 2),
        (lambda x: 1.0 / (1.0 + x.sum(axis=1)), 8),
        # axes that are far from each other depend on each other, and one exchange of neighbours does not see it
        (lambda x: x[:, 3] * np.sin(np.pi * x[:, 0]) + x[:, 4] * np.sin(2 * np.pi * x[:, 0]), 2),
        (lambda x: 0.0 * x[:, 0], 1),
    ],
)
def test_cross_approximation(function, rank):
    values, index = on_grid(function), np.random.default_rng(1).integers(0, 5, (200, 5))
    train = Cross(1e-10)(values, [len(x) for x in GRID])
    np.testing.assert_allclose(at(train, index), values(index), atol=1e-8)
    assert max(core.shape[2] for core in rounded(train)) <= rank
    twice = rounded(added([train, train]))
    np.testing.assert_allclose(at(twice, index), 2.0 * values(index), atol=1e-8)
    assert [core.shape for core in twice] == [core.shape for core in rounded(train)]


def test_what_has_no_short_train_is_given_up():
    noise = np.random.default_rng(0).normal(size=[len(x) for x in GRID])
    assert Cross(1e-8, rank=20)(lambda index: noise[tuple(index.T)], noise.shape) is None


def test_coupled_coordinates_stand_beside_each_other():
    def functions(x):
        return np.exp(x[:, 0] * np.cos(x[:, 3]) + x[:, 2] * np.cos(x[:, 3] * x[:, 1]))[:, None]

    order = chain_order(functions, np.zeros(4), np.ones(4))
    places = {axis: k for k, axis in enumerate(order)}
    assert abs(places[0] - places[3]) == 1
    assert order in ((0, 3, 1, 2), (0, 3, 2, 1), (2, 1, 3, 0), (1, 2, 3, 0))
    assert chain_order(lambda x: x.sum(axis=1, keepdims=True), np.zeros(3), np.ones(3)) == (0, 1, 2)


BOX = hx.Box([0.0, 0.0, -1.0], [1.0, 2.0, 1.0], names=("x", "y", "m"))
SIDES = tuple(hx.Face(n, s) for n in "xy" for s in ("lower", "upper"))
ZERO = ((True, True), (True, True), (False, False))


def diffusion(transport=0.0, zero=True):
    """-div(k grad u) + c u_x = f with a conductivity that depends on a parameter in a way that is no product."""

    def conductivity(z):
        return 1.0 + 0.3 * z[0] * z[2] + 0.1 * z[1] ** 2

    def interior(u, x):
        fluxes = [hx.derivative(lambda z, k=k: conductivity(z) * hx.derivative(u, k)(z), k)(x) for k in (0, 1)]
        return -sum(fluxes) + transport * hx.derivative(u, "x")(x) - jnp.exp(x[0] * x[1])

    wall = hx.Residual("wall", lambda u, x: u(x) if zero else u(x) - jnp.sin(x[0] + x[2]), on=SIDES)
    return hx.Problem(BOX, (hx.Residual("interior", interior), wall))


def field(zero=ZERO):
    return LowRank.uniform(*BOX.bounds(), (3, 4, 2), 4, 3, key=0, zero=zero)


@pytest.mark.parametrize("zero", [True, False])
def test_integrals_along_axes_are_those_over_the_box(zero):
    problem, tensor = diffusion(2.0, zero), field(ZERO if zero else None)
    separation = Separation.of(problem, tensor)
    assert separation.sign is None
    cells, dense = hx.SplineGrid.uniform(*BOX.bounds(), (3, 4, 2), 4), Sampling(inside=8, boundary=8)
    samples = SampledProblem(problem).sample(cells, dense, 0)
    objective = SeparableObjective(problem, tensor, samples, separation.forms(tensor))
    theta, build = flat_parameters(tensor)
    points = [s.weights @ np.sum(r**2, axis=1) / 2 for s, r in zip(samples, objective.residuals(theta), strict=True)]
    np.testing.assert_allclose(objective.values(theta), points, rtol=1e-7, atol=1e-12)
    lin, step = objective.linearise(theta), 1e-6 * np.random.default_rng(1).normal(size=len(theta))
    change = objective.value(theta + step) - objective.value(theta - step)
    assert change == pytest.approx(2.0 * lin.gradient @ step, rel=1e-6)
    np.testing.assert_allclose(objective.value_and_gradient(theta)[1], lin.gradient, rtol=1e-12)
    # along one factor the form is quadratic, and its matrix is that of the form
    size = tensor.factors[0].size
    along = np.where(np.arange(len(theta)) < size, np.random.default_rng(2).normal(size=len(theta)), 0.0)
    bent = objective.value(theta + along) + objective.value(theta - along) - 2.0 * objective.value(theta)
    assert bent == pytest.approx(along @ lin.curvature.mv(along), rel=1e-9)
    assert build(theta).rank == 3


def test_the_weak_form_is_taken_where_it_is_that_of_a_minimum():
    assert Separation.of(diffusion(), field()).sign == 1.0
    assert Separation.of(diffusion(3.0), field()).sign is None

    def with_reaction(c, sign=1.0):
        def interior(u, x):
            return sign * (-hx.derivative(u, "xx")(x) - hx.derivative(u, "yy")(x) - c * u(x) - x[2])

        return hx.Problem(BOX, (hx.Residual("interior", interior), hx.Residual("wall", lambda u, x: u(x), on=SIDES)))

    # the lowest eigenvalue is 5 pi^2 / 4
    assert Separation.of(with_reaction(12.0), field()).sign == 1.0
    assert Separation.of(with_reaction(12.0, -2.0), field()).sign == -1.0
    assert Separation.of(with_reaction(13.0), field()).sign is None


def test_what_does_not_separate_is_said():
    def with_interior(interior):
        problem = hx.Problem(BOX, (hx.Residual("interior", interior), hx.Residual("wall", lambda u, x: u(x), on=SIDES)))
        return separated(problem, problem.terms[0])

    assert with_interior(lambda u, x: hx.laplacian(u)(x) + u(x) ** 2) is None
    assert with_interior(lambda u, x: hx.laplacian(u)(x) - jnp.tanh(80.0 * (x[0] * x[1] - x[2]))) is None
    assert with_interior(lambda u, x: hx.laplacian(u)(x) - jnp.cos(x[0] * x[1] - x[2])) is not None


def an_energy(density, *more, walls=True):
    wall = (hx.Residual("wall", lambda u, x, normal: u(x), on="boundary"),) if walls else ()
    box = hx.Box([0.0] * 4, [1.0, 2.0, 1.0, 1.0], names=("a", "b", "c", "d"))
    return hx.Problem(box, (hx.Energy("energy", density), *more, *wall))


def bent(u, x):
    slope = jax.grad(u)(x)
    return 0.5 * (1.0 + x[0] * x[1]) * slope @ slope + 0.1 * slope[0] * slope[1] + x[2] * u(x) ** 2 - u(x) * x[3] + 0.3


def test_energies_by_integrals_along_axes_are_those_at_points():
    edge = hx.Energy("edge", lambda u, x, normal: (1.0 + x[0]) * u(x) ** 2 - u(x) * x[2], on=hx.Face("b", "upper"))
    problem = an_energy(bent, edge, walls=False)
    field = LowRank.uniform(*problem.domain.bounds(), 3, 4, 2, key=0)
    separation = Separation.of(problem, field)
    assert separation is not None
    assert separation.sign == 1.0
    samples = SampledProblem(problem).sample(field, Sampling(ratio=800.0), 0)
    theta = flat_parameters(field)[0] + 0.1 * np.random.default_rng(0).normal(size=len(flat_parameters(field)[0]))
    along, at_points = (
        SeparableObjective(problem, field, samples, separation.forms(field)),
        JetRows(problem, field, samples),
    )
    np.testing.assert_allclose(along.values(theta), at_points.values(theta), rtol=2e-3)
    way = np.random.default_rng(1).normal(size=len(theta))
    slope = (along.value(theta + 1e-5 * way) - along.value(theta - 1e-5 * way)) / 2e-5
    assert along.value_and_gradient(theta)[1] @ way == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(
    "density",
    [
        lambda u, x: 0.5 * jax.grad(u)(x) @ jax.grad(u)(x) - 100.0 * u(x) ** 2,
        lambda u, x: 0.5 * jax.grad(u)(x) @ jax.grad(u)(x) + u(x) ** 4 - u(x),
    ],
)
def test_energies_without_a_minimum_or_not_quadratic_are_for_other_fields(density):
    problem = an_energy(density)
    field = LowRank.uniform(*problem.domain.bounds(), 3, 4, 2, key=0, zero=((True, True),) * 4)
    assert Separation.of(problem, field) is None
    assert "perceptron" in str(hx.plan(problem))


def test_an_energy_of_four_coordinates_is_minimised_by_a_tensor():
    exact = lambda x: jnp.prod(jnp.sin(jnp.pi * x))  # noqa: E731
    load = (3.0 + 1.0) * jnp.pi**2

    def density(u, x):
        return 0.5 * jax.grad(u)(x) @ jax.grad(u)(x) - load * exact(x) * u(x)

    solution = hx.train(an_energy(density), budget=120.0)
    assert solution.result is hx.RESULTS.successful, solution
    points = np.random.default_rng(0).uniform(size=(500, 4)) * [1.0, 2.0, 1.0, 1.0]
    truth = np.prod(np.sin(np.pi * points), axis=1)
    assert np.linalg.norm(solution.evaluate(points).ravel() - truth) < 1e-6 * np.linalg.norm(truth)

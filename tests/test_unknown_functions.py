"""Unknowns of some of the coordinates; starts, priors and scales of unknowns."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Flat, SplineGrid
from hierax.fields.spline_grid import depending_on
from hierax.hierarchy import IntervalDoubling, Level
from hierax.planning.starting import fitted
from hierax.testing import check_field

BOX = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))


def scattered(function, count, noise, seed=0):
    rng = np.random.default_rng(seed)
    points = rng.random((count, 2))
    values = np.array([float(function(x)) for x in points])
    return points, values + noise * np.std(values) * rng.normal(size=count)


def diffusivity(x):
    c = jnp.cos(jnp.pi * x)
    return (1 + 0.1 * c) / (jnp.pi**2 * (1 + 0.4 * c))


def spreading(noise=0.01):
    """`u_t = D(x) u_xx`, `u = exp(-t) (sin(pi x) + 0.05 sin(2 pi x))`."""

    def state(x):
        return jnp.exp(-x[0]) * (jnp.sin(jnp.pi * x[1]) + 0.05 * jnp.sin(2 * jnp.pi * x[1]))

    def interior(w, x):
        return hx.derivative(w.u, "t")(x) - w.D(x) * hx.derivative(w.u, "xx")(x)

    def walls(w, x):
        return w.u(x)

    return hx.Problem(
        BOX,
        (
            hx.Residual("interior", interior),
            hx.Residual("walls", walls, on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Data("u", *scattered(state, 400, noise)),
        ),
        unknowns={"u": hx.Function(), "D": hx.Function(of=("x",), bounds=(0.0, None))},
    )


def heated(noise=0.01):
    """`u_t = 0.1 u_xx + s(t) sin(pi x)` with `s` so that `u = (1 + sin(3 t)) sin(pi x)`."""

    def state(x):
        return (1 + jnp.sin(3 * x[0])) * jnp.sin(jnp.pi * x[1])

    def interior(w, x):
        return hx.derivative(w.u, "t")(x) - 0.1 * hx.derivative(w.u, "xx")(x) - w.s(x) * jnp.sin(jnp.pi * x[1])

    def walls(w, x):
        return w.u(x)

    def start(w, x):
        return w.u(x) - state(x)

    return hx.Problem(
        BOX,
        (
            hx.Residual("interior", interior),
            hx.Residual("walls", walls, on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Residual("start", start, on=hx.Face("t", "lower")),
            hx.Data("u", *scattered(state, 400, noise)),
        ),
        unknowns={"u": hx.Function(), "s": hx.Function(of=("t",))},
    )


def relative(found, exact):
    return np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2))


def along(axis, other):
    points = np.full((101, 2), other)
    points[:, axis] = np.linspace(0.0, 1.0, 101)
    return points


def test_diffusivity_of_place_alone_is_found():
    solution = hx.train(spreading(), budget=30)
    at = along(1, 0.2)
    found = solution.evaluate(at, "D")
    assert relative(found, np.array(diffusivity(at[:, 1]))) < 0.05
    assert np.array_equal(found, solution.evaluate(along(1, 0.9), "D"))
    assert np.max(np.abs(solution.evaluate(at, "D_t"))) == 0.0


def test_strength_of_a_source_in_time_is_found():
    solution = hx.train(heated(), budget=30)
    t = np.linspace(0.0, 1.0, 101)
    exact = 3 * np.cos(3 * t) + 0.1 * np.pi**2 * (1 + np.sin(3 * t))
    assert relative(solution.evaluate(along(0, 0.5), "s"), exact) < 0.05


def test_a_grid_of_some_coordinates_obeys_the_laws_of_fields():
    grid = depending_on(SplineGrid.uniform([0.0, 0.0], [1.0, 2.0], (4, 3), 3), [1])
    assert grid.coefficients.shape == (1, 6)
    grid = fitted(grid, lambda x: jnp.sin(x[1]))
    check_field(
        grid, key=0, points=jnp.asarray(np.random.default_rng(0).random((20, 2))), lower=[0.0, 0.0], upper=[1.0, 2.0]
    )
    finer, _ = IntervalDoubling().refine(Level(grid))
    assert isinstance(finer.field.axes[0].ends, Flat)
    assert finer.field.coefficients.shape == (1, 9)
    x = jnp.array([0.3, 0.7])
    assert float(finer.field(x)) == pytest.approx(float(grid(x)), abs=1e-14)
    assert float(grid(x)) == pytest.approx(float(np.sin(0.7)), abs=1e-3)


def square(initial):
    """`u^2 = (1 + x)^2`, whose two solutions differ in their sign."""
    return hx.Problem(
        hx.Box([0.0], [1.0]),
        [hx.Residual("square", lambda w, x: w.u(x) ** 2 - (1 + x[0]) ** 2)],
        unknowns={"u": hx.Function(initial=initial)},
    )


@pytest.mark.parametrize(("initial", "sign"), [(-1.0, -1.0), (lambda x: 1.0 + 0.5 * x[0], 1.0)])
def test_training_starts_where_the_unknown_says(initial, sign):
    x = np.linspace(0.0, 1.0, 21)
    assert hx.train(square(initial)).evaluate(x[:, None], "u") == pytest.approx(sign * (1 + x), rel=1e-6)


def test_a_scale_is_the_size_of_the_unknown():
    problem = square(1.0)
    scaled = hx.Problem(problem.domain, problem.terms, unknowns={"u": hx.Function(scale=40.0)})
    units = hx.plan(scaled).units
    assert units is not None
    assert float(units.sizes["u"]) == 40.0


TIMES, NOISE = np.linspace(0.1, 2.0, 12), 0.1
MEASURED = np.exp(-1.3 * TIMES) + NOISE * np.random.default_rng(1).normal(size=len(TIMES))


def decaying(prior):
    return hx.Problem(
        hx.Box([0.0], [2.0], names=("t",)),
        (
            hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
            hx.Residual("start", lambda w, x: w.u(x) - 1.0, on=hx.Face("t", "lower")),
            hx.Data("u", TIMES[:, None], MEASURED, noise=NOISE),
        ),
        unknowns={"u": hx.Function(), "k": hx.Constant(1.0, prior=prior)},
    )


def test_a_prior_of_a_constant_is_one_more_measurement():
    alone, both = (hx.train(decaying(prior)).unknowns["k"] for prior in (None, (2.0, 0.1)))
    k = both.value
    slope = -TIMES * np.exp(-k * TIMES)
    # the minimum of the misfit and the prior together, to first order about what was found
    gradient = slope @ (np.exp(-k * TIMES) - MEASURED) / NOISE**2 + (k - 2.0) / 0.1**2
    precision = slope @ slope / NOISE**2 + 1 / 0.1**2
    assert abs(gradient / precision) < 0.02 * (2.0 - alone.value)
    assert both.high - both.low == pytest.approx(2 * 1.959964 / np.sqrt(precision), rel=0.03)


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (lambda: hx.Function(of=("y",)), "is one of 'y'"),
        (lambda: hx.Function(of=()), "is one of no coordinate"),
        (lambda: hx.Function(prior=(0.0, 1.0)), "a prior is weighed"),
        (lambda: hx.Function(scale=0.0), "scale is 0.0"),
        (lambda: hx.Function(initial=-1.0, bounds=(0.0, None)), "not strictly inside"),
        (lambda: hx.Constant(1.0, scale=-1.0), "scale is -1.0"),
    ],
)
def test_what_an_unknown_cannot_be_is_refused(unknown, said):
    with pytest.raises(hx.InputError, match=said):
        hx.train(hx.Problem(hx.Box([0.0], [1.0]), square(1.0).terms, unknowns={"u": unknown()}))


def test_starts_beside_given_fields_and_networks_are_refused():
    for hierarchy in (SplineGrid.uniform([0.0], [1.0], 4, 3), hx.families.Perceptron()):
        with pytest.raises(hx.InputError, match="initial="):
            hx.train(square(1.0), hierarchy)

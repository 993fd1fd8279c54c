"""Objectives: element assembly against dense differentiation, orderings, penalties, and what terms look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hierax as hx
from hierax.fields import Scalar, Unknowns
from hierax.fields.axis import Clamped, SplineAxis
from hierax.fields.base import parameter_count
from hierax.objective import LocalObjective, flat_parameters, physical
from hierax.objective.assembly import ALONE, LocalTerm, local_expansions, local_residuals
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.curvature import BandGram, Ordering
from hierax.objective.diagonals import BandSum
from hierax.objective.order import reach
from hierax.objective.ordering import narrow_order
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.roughness import Roughness
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.objective.spline_energies import EnergyTerm
from hierax.solvers.linear.solve import NotPositive, factorise

SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])
SAMPLING = Sampling(inside=2, energy=3, boundary=2)


def grid(intervals=3, degree=2, out=None, periodic=None):
    return hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], intervals, degree, out=out, periodic=periodic)


def line():
    return hx.SplineGrid.uniform([0.0], [1.0], 3, 3)


def uneven(out=None):
    """A grid whose cells differ in size by a factor of eight."""
    axes = tuple(SplineAxis(b, 2, Clamped()) for b in ([0.0, 0.1, 0.2, 1.0], [0.0, 0.7, 1.0]))
    return hx.SplineGrid(axes, jnp.zeros((5, 4) if out is None else (5, 4, out)))


def zero_on_walls(u):
    return lambda x: x[0] * (1 - x[0]) * x[1] * (1 - x[1]) * u(x)


def flow(w, x, normal):
    return normal[0] * hx.derivative(w.u, "x")(x) + normal[1] * hx.derivative(w.u, "y")(x) - w.nu


# each case: a problem with a field for it
def linear():
    terms = (
        hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + x[0] * u(x) - jnp.sin(x[1])),
        hx.Residual("wall", lambda u, x, normal: normal @ hx.gradient(u)(x) + u(x), on="boundary"),
    )
    return hx.Problem(SQUARE, terms), grid()


def nonlinear():
    term = hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) - jnp.exp(u(x)) * hx.derivative(u, "x")(x))
    return hx.Problem(SQUARE, (term,)), uneven()


def vector():
    terms = (
        hx.Residual("inside", lambda w, x: jnp.array([hx.divergence(w.u)(x), w.u(x)[0] * w.u(x)[1] - x[0]])),
        hx.Data("u", np.random.default_rng(1).random((7, 2)), np.random.default_rng(2).random((7, 2))),
    )
    return hx.Problem(SQUARE, terms, unknowns={"u": hx.Function(2)}), hx.Unknowns(u=uneven(out=2))


def bordered():
    terms = (
        hx.Residual("law", lambda w, x: w.q(x) - w.nu * hx.gradient(w.u)(x)),
        hx.Residual("flow", flow, on=hx.Face("x", "upper")),
    )
    unknowns = {"u": hx.Function(), "q": hx.Function(2), "nu": hx.Constant(0.3, bounds=(0.0, None))}
    return hx.Problem(SQUARE, terms, unknowns=unknowns), hx.Unknowns(u=grid(), q=grid(2, out=2), nu=hx.Scalar(-0.4))


def periodic():
    terms = (hx.Residual("inside", lambda u, x: hx.derivative(u, "yy")(x) + u(x) ** 2 * hx.derivative(u, "x")(x)),)
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], periodic=("x",)), terms), grid((5, 3), periodic=(True, False))


def short_periodic():
    """Fewer intervals than functions alive on one: a parameter meets itself twice in an element."""
    terms = (hx.Residual("inside", lambda u, x: hx.derivative(u, "xx")(x) + u(x)),)
    return hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], periodic=("x",)), terms), grid((2, 2), periodic=(True, False))


def constrained():
    term = hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + u(x) ** 3 - 1.0)
    return hx.Problem(SQUARE, (term,), unknowns=None, constraint=zero_on_walls), grid()


def limited():
    term = hx.Residual("inside", lambda w, x: w.u(x) * hx.derivative(w.u, "x")(x) - 1.0)
    return hx.Problem(SQUARE, (term,), unknowns={"u": hx.Function(bounds=(-1.0, 2.0))}), hx.Unknowns(u=grid())


CASES = [linear, nonlinear, vector, bordered, periodic, short_periodic, constrained, limited]


def shaken(field, seed=3):
    theta, build = flat_parameters(field)
    return build(theta + 0.4 * np.random.default_rng(seed).standard_normal(len(theta)))


def pair(problem, field):
    """Local and dense objective on the same samples, with different scales, and a parameter vector."""
    field = shaken(field)
    samples = SampledProblem(problem).sample(field, SAMPLING, 0)
    samples = [s.scaled(1.0 + 0.7 * k) for k, s in enumerate(samples)]
    wraps = [n in problem.domain.periodic for n in problem.domain.names]
    dense = RowObjective(field, samples)
    dense.local = False  # every row with respect to all parameters
    return LocalObjective(field, samples, wraps), dense, flat_parameters(field)[0]


def relative(a, b):
    return np.linalg.norm(np.asarray(a) - np.asarray(b)) / np.linalg.norm(np.asarray(b))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_elements_agree_with_dense_differentiation(case):
    local, dense, theta = pair(*case())
    a, b = local.linearise(theta), dense.linearise(theta)
    matrix = np.stack([a.curvature.mv(unit) for unit in np.eye(len(theta))])
    exact = np.stack([b.curvature.mv(unit) for unit in np.eye(len(theta))])
    assert abs(a.value / b.value - 1) < 1e-10
    assert relative(a.gradient, b.gradient) < 1e-10
    assert relative(matrix, exact) < 1e-10
    assert relative(matrix, matrix.T) < 1e-14
    assert relative(a.curvature.diagonal(), np.diag(exact)) < 1e-10
    parts = np.random.default_rng(0).permutation(len(theta))[: len(theta) // 4 * 4].reshape(-1, 4)
    assert relative(a.curvature.blocks(parts), [exact[np.ix_(p, p)] for p in parts]) < 1e-10


def on_line():
    terms = (
        hx.Residual("inside", lambda u, x: hx.derivative(u, "x")(x) - jnp.exp(u(x))),
        hx.Data("u", np.array([[0.2], [0.9]]), np.array([1.0, -1.0])),
    )
    return hx.Problem(hx.Box([0.0], [1.0]), terms), line()


def test_what_is_computed_without_curvature_agrees_too():
    local, dense, theta = pair(*on_line())
    lin = local.linearise(theta)
    value, gradient = local.value_and_gradient(theta)
    assert abs(value / lin.value - 1) < 1e-13
    assert relative(gradient, lin.gradient) < 1e-13
    value, gradient = dense.value_and_gradient(theta)
    assert abs(value / lin.value - 1) < 1e-10
    assert relative(gradient, lin.gradient) < 1e-10
    assert relative(local.values(theta), dense.values(theta)) < 1e-10
    assert relative(local.diagonals(theta), dense.diagonals(theta)) < 1e-10
    for one, other in zip(local.residuals(theta), dense.residuals(theta), strict=True):
        assert relative(one, other) < 1e-10


def test_dense_objective_is_the_derivative_of_the_sum():
    """The other side of the comparison: gradient and Gauss-Newton matrix from one Jacobian of everything."""
    problem, field = on_line()
    field = shaken(field)
    samples = SampledProblem(problem).sample(field, SAMPLING, 0)[0]
    theta, build = flat_parameters(field)

    def residuals(z):
        u = physical(problem, build(z))
        return jax.vmap(lambda x: hx.derivative(u, 0)(x) - jnp.exp(u(x)))(samples.points)

    r, jacobian = jax.jit(lambda z: (residuals(z), jax.jacfwd(residuals)(z)))(theta)
    lin = RowObjective(field, [samples]).linearise(theta)
    assert abs(lin.value / (0.5 * samples.weights @ r**2) - 1) < 1e-12
    assert relative(lin.gradient, jacobian.T @ (samples.weights * r)) < 1e-12
    assert relative(lin.curvature.matrix, jacobian.T @ (samples.weights[:, None] * jacobian)) < 1e-12  # type: ignore


ENERGIES = {
    "first order": lambda u, x: 0.5 * (1 + x[0]) * jnp.sum(hx.gradient(u)(x) ** 2) + jnp.cosh(u(x)) - x[0] * u(x),
    "second order": lambda u, x: 0.5 * hx.laplacian(u)(x) ** 2 + 0.25 * u(x) ** 4,
}


@pytest.mark.parametrize("name", ENERGIES)
def test_convex_energy_has_its_hessian_as_curvature(name):
    walls = lambda u: lambda x: x[0] * (1 - x[0]) * u(x)  # noqa: E731
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Energy("energy", ENERGIES[name]),), constraint=walls)
    local, _, theta = pair(problem, line())
    s, (_, build) = local.samples[0], flat_parameters(local.field)

    def total(z):
        u = physical(problem, build(z))
        return s.weights @ jax.vmap(lambda x: ENERGIES[name](u, x))(s.points)

    value, gradient, hessian = jax.jit(lambda z: (total(z), jax.grad(total)(z), jax.hessian(total)(z)))(theta)
    lin = local.linearise(theta)
    matrix = np.stack([lin.curvature.mv(unit) for unit in np.eye(len(theta))])
    assert abs(lin.value / value - 1) < 1e-10
    assert relative(lin.gradient, gradient) < 1e-10
    assert relative(matrix, hessian) < 1e-10


STORED = hx.Elastic(young=2e11, poisson=0.3)
QUADRATIC = [
    (lambda w, x: STORED.energy(w.u)(x), True),
    (lambda w, x: (1.0 + x[0]) * jnp.sum(w.u(x) ** 2) + (w.k - w.p(x)) ** 2 + w.u(x)[0] - 3.0, True),
    (lambda w, x: hx.laplacian(w.p)(x) ** 2, True),
    (lambda w, x: -w.u(x)[1], True),
    (lambda w, x: STORED.energy(w.u)(x) - 1e3 * w.p(x) ** 2, False),
    (lambda w, x: w.k * w.p(x) ** 2, False),
    (lambda w, x: jnp.maximum(w.p(x), 0.0) ** 2, False),
    (lambda w, x: jnp.sum(hx.gradient(w.u)(x) ** 2) + 1e-9 * w.p(x) ** 4, False),
    (lambda w, x: jnp.sqrt(1.0 + jnp.sum(hx.gradient(w.p)(x) ** 2)), False),
    (lambda w, x: jnp.where(x[0] > 0.9, w.p(x) ** 4, w.p(x) ** 2), False),
]


@pytest.mark.parametrize("number", range(len(QUADRATIC)))
def test_energies_that_are_quadratic_and_convex_are_told_from_others(number):
    density, expected = QUADRATIC[number]
    unknowns = {"u": hx.Function(2), "p": hx.Function(), "k": hx.Constant(0.3)}
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 2.0]), (hx.Energy("e", density),), unknowns=unknowns)
    assert reach(problem, problem.terms[0]).linear == expected


def test_sums_of_an_energy_by_jets_are_those_by_rows():
    """Of a vector, a scalar and a constant, on a cut grid, with an energy that is not convex everywhere."""

    def stored(w, x):
        slope = hx.gradient(w.u)(x)
        return jnp.linalg.det(jnp.eye(2) + slope) ** 2 + w.k * w.p(x) * hx.laplacian(w.p)(x) + w.p(x) ** 4 + w.k**2

    problem = hx.Problem(
        hx.Rectangle((0.0, 0.0), (1.0, 1.0)) - hx.Disk((0.4, 0.3), 0.2, name="hole"),
        (hx.Energy("e", stored), hx.Energy("pull", lambda w, x, n: w.u(x) @ n * w.p(x), on="hole")),
        unknowns={"u": hx.Function(2), "p": hx.Function(), "k": hx.Constant(0.3)},
    )
    grid = [hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], [4, 3], 3, out=out) for out in (2, None)]
    field = Unknowns(u=grid[0], p=grid[1], k=Scalar(0.2))
    objective = LocalObjective(field, SampledProblem(problem).sample(field, SAMPLING, 0), [False, False])
    theta = np.random.default_rng(3).normal(size=objective.size)
    for term in objective.terms:
        assert isinstance(term, EnergyTerm)
        rows = LocalTerm(term.samples, term.elements, term.layout, term.together)
        for (_, by_jets), (_, by_rows) in zip(term.sums(theta), rows.sums(theta), strict=True):
            for name in ("value", "gradient", "gram", "diagonal"):
                assert relative(getattr(by_jets, name), getattr(by_rows, name)) < 1e-11


def test_energy_that_is_not_convex_keeps_the_positive_part():
    """`(u^2 - 1)^2 / 4` has second derivative `3 u^2 - 1`; below `1/sqrt(3)` its positive part is zero."""
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Energy("well", lambda u, x: 0.25 * (u(x) ** 2 - 1) ** 2),))
    field = hx.SplineGrid.uniform([0.0], [1.0], 2, 1)
    (samples,) = SampledProblem(problem).sample(field, SAMPLING, 0)
    objective = LocalObjective(field, [samples], [False])
    assert np.abs(objective.linearise(np.full(3, 0.3)).curvature.diagonal()).max() == 0.0
    steep = objective.linearise(np.full(3, 1.0)).curvature
    assert steep.quadratic(np.ones(3)) == pytest.approx(2.0, rel=1e-12)
    assert objective.exact is not None
    whole = objective.exact.linearise(np.full(3, 0.3)).curvature
    assert whole.quadratic(np.ones(3)) == pytest.approx(3 * 0.3**2 - 1, rel=1e-12)


def test_scales_and_penalties_add_up():
    problem, field = linear()
    field = shaken(field)
    samples = SampledProblem(problem).sample(field, SAMPLING, 0)
    grams = [Roughness("", (0,), 1).gram(field), Roughness("", (0, 1), 2).gram(field)]
    objective = LocalObjective(field, samples, [False, False], grams)
    theta = flat_parameters(field)[0]
    scales = [2.0, 0.5, 3.0, 0.25]
    each, whole = objective.linearise_each(theta), objective.rescaled(scales).linearise(theta)
    assert whole.value == pytest.approx(sum(c * e.value for c, e in zip(scales, each, strict=True)), rel=1e-12)
    assert relative(whole.gradient, sum(c * e.gradient for c, e in zip(scales, each, strict=True))) < 1e-12
    v = np.random.default_rng(0).standard_normal(len(theta))
    summed = sum(c * e.curvature.mv(v) for c, e in zip(scales, each, strict=True))
    assert relative(whole.curvature.mv(v), summed) < 1e-12
    value, gradient = objective.rescaled(scales).value_and_gradient(theta)
    assert value == pytest.approx(whole.value, rel=1e-12)
    assert relative(gradient, whole.gradient) < 1e-12
    assert objective.rescaled(scales).value(theta) == pytest.approx(whole.value, rel=1e-12)


def test_penalty_of_an_unknown_beside_a_constant():
    """Penalties fit into a band with dense rows for constants."""
    problem, field = bordered()
    field = shaken(field)
    samples = SampledProblem(problem).sample(field, SAMPLING, 0)
    gram = Roughness("u", (0, 1), 2).gram(field)
    objective = LocalObjective(field, samples, [False, False], [gram])
    theta = flat_parameters(field)[0]
    alone = LocalObjective(field, samples, [False, False]).linearise(theta)
    v = np.random.default_rng(0).standard_normal(len(theta))
    assert relative(objective.linearise(theta).curvature.mv(v), alone.curvature.mv(v) + gram.mv(v)) < 1e-12


@pytest.mark.parametrize(
    ("intervals", "degree", "band"),
    # functions that share a cell are at most `degree` apart on each axis: degree * (size of the faster axis + 1)
    [((5, 5), 2, 2 * 7 + 2), ((7, 3), 2, 2 * 5 + 2), ((3, 7), 2, 2 * 5 + 2)],
)
def test_band_of_a_tensor_grid_is_the_least(intervals, degree, band):
    field = grid(intervals, degree)
    cells, _ = field.gather(np.random.default_rng(0).random((300, 2)))
    order = narrow_order(field.positions(), [cells], [False, False])
    assert order.band == band
    assert np.array_equal(np.sort(order.place), np.arange(parameter_count(field)))


def test_band_of_a_periodic_axis_is_twice_that_of_an_open_one():
    n, degree = 20, 3
    elements = (np.arange(n)[:, None] + np.arange(degree + 1)) % n
    positions = np.arange(n)[:, None] / n
    folded = narrow_order(positions, [elements], [True])
    assert folded.band <= 2 * degree
    assert narrow_order(positions, [elements], [False]).band == n - 1


def test_constants_become_dense_rows():
    positions = np.array([[0.1], [np.nan], [0.3], [0.2]])
    order = narrow_order(positions, [np.array([[0, 1, 3], [3, 2, 1]])], [False])
    assert (order.size, order.dense, order.band) == (3, 1, 1)
    assert order.place.tolist() == [0, 3, 2, 1]


def random_bordered(n=12, dense=2, band=3):
    """A positive definite band matrix with dense rows, its storage, and the matrix in the order of the parameters."""
    rng = np.random.default_rng(0)
    factor = np.tril(rng.standard_normal((n + dense, n + dense)))
    i, j = np.indices(factor.shape)
    factor[(i < n) & (i - j > band)] = 0.0
    matrix = factor @ factor.T + 0.1 * np.eye(n + dense)
    lower = np.zeros((band + 1, n), order="F")
    for row in range(band + 1):
        lower[row, : n - row] = np.diagonal(matrix[:n, :n], -row)
    place = rng.permutation(n + dense)
    gram = BandGram(Ordering(place, n, dense, band), lower, matrix[:n, n:], matrix[n:, n:])
    return gram, matrix[np.ix_(place, place)]


@pytest.mark.parametrize(
    ("intervals", "degree", "periodic"),
    [((5, 4), (2, 2), (False, True)), ((7, 5), (5, 5), (False, True)), ((3, 3, 2), (3, 3, 3), (True, False, False))],
    ids=["small", "large, and in pieces twice", "large"],
)
def test_matrices_of_elements_add_up_in_the_band(intervals, degree, periodic):
    field = hx.SplineGrid.uniform([0.0] * len(degree), [1.0] * len(degree), intervals, degree, periodic=periodic)
    middles = [(b[1:] + b[:-1]) / 2 for b in field.breakpoints()]
    indices, _ = field.gather(np.stack([m.ravel() for m in np.meshgrid(*middles, indexing="ij")], axis=1))
    places = field.positions()
    # one more parameter that acts everywhere
    indices = np.concatenate([indices, np.full((len(indices), 1), len(places))], axis=1)
    order = narrow_order(np.r_[places, np.full((1, len(degree)), np.nan)], [indices], periodic)
    size, k = len(places) + 1, indices.shape[1]
    halves = np.random.default_rng(0).normal(size=(len(indices), k, k))
    matrices = halves + halves.transpose(0, 2, 1)
    total, dense = BandSum(order), np.zeros((size, size))
    total.add(indices, matrices, 2.0)
    for index, matrix in zip(indices, matrices, strict=True):
        np.add.at(dense, (index[:, None], index[None, :]), 2.0 * matrix)
    vector = np.random.default_rng(1).normal(size=size)
    exact = dense @ vector
    np.testing.assert_allclose(total.result().mv(vector), exact, rtol=0, atol=1e-12 * np.abs(exact).max())


@pytest.mark.parametrize("dense", [0, 2])
def test_factorisation_of_a_bordered_band(dense):
    gram, matrix = random_bordered(dense=dense)
    rng = np.random.default_rng(1)
    shift, b = rng.random(len(matrix)), rng.standard_normal((len(matrix), 3))
    solve, exact = factorise(gram, shift), np.linalg.solve(matrix + np.diag(shift), b)
    assert relative(solve(b), exact) < 1e-12
    assert relative(solve(b[:, 0]), exact[:, 0]) < 1e-12
    assert relative(gram.mv(b[:, 0]), matrix @ b[:, 0]) < 1e-14
    assert relative(gram.diagonal(), np.diag(matrix)) < 1e-14


def test_indefinite_matrices_are_named():
    gram, _ = random_bordered()
    with pytest.raises(NotPositive):
        factorise(gram, np.full(gram.size, -1.0))
    with pytest.raises(NotPositive):
        factorise(gram, np.full(gram.size, np.nan))


@pytest.mark.parametrize(("axis", "order"), [(0, 1), (1, 2), (0, 3)])
@pytest.mark.parametrize("wraps", [False, True])
def test_roughness_is_the_integral_of_squared_derivatives(axis, order, wraps):
    low, high, degree = np.array([0.0, -1.0]), np.array([2.0, 0.5]), 3
    field = shaken(hx.SplineGrid.uniform(low, high, (4, 5), degree, periodic=(wraps, False)))
    theta = flat_parameters(field)[0]
    nodes, weights = np.polynomial.legendre.leggauss(degree + 1)
    axes = []
    for breaks in field.breakpoints():
        half = np.diff(breaks) / 2
        axes.append(((breaks[:-1] + half)[:, None] + half[:, None] * nodes, half[:, None] * weights))
    points = np.stack([m.ravel() for m in np.meshgrid(axes[0][0], axes[1][0], indexing="ij")], axis=1)
    mass = np.outer(axes[0][1], axes[1][1]).ravel()
    derivative = jax.jit(jax.vmap(hx.derivative(field, (axis,) * order)))(points)
    length, area = (high - low)[axis], np.prod(high - low)
    exact = length ** (2 * order) / area * mass @ np.asarray(derivative) ** 2
    gram = Roughness("", (axis,), order).gram(field)
    assert gram.quadratic(theta) == pytest.approx(exact, rel=1e-11)


BOUNDED = {"u": hx.Function(bounds=(0.0, None)), "k": hx.Function(), "nu": hx.Constant(0.5)}
PAIR = {"u": hx.Function(), "k": hx.Function(), "nu": hx.Constant(0.5)}


@pytest.mark.parametrize(
    ("function", "unknowns", "expected"),
    [
        (lambda u, x: u(x) - 1.0, None, (0, True, True)),
        (lambda u, x: u(x) ** 2, None, (0, True, False)),
        (lambda u, x: hx.derivative(u, "x")(x) + jnp.abs(u(x)), None, (1, True, False)),
        (lambda u, x: hx.derivative(u, "x")(x) + x[0] * u(x), None, (1, True, True)),
        (lambda u, x: hx.laplacian(u)(x) - jnp.sin(x[0]), None, (2, True, True)),
        (lambda u, x: hx.derivative(u, "t")(x) + u(x) * hx.derivative(u, "x")(x), None, (1, True, False)),
        (lambda u, x: hx.derivative(hx.laplacian(u), "xx")(x), None, (4, True, True)),
        (lambda u, x: hx.derivative(u, "xxx")(x) * x[0], None, (3, True, True)),
        # of a function of one direction the determinant of the second derivatives vanishes
        (lambda u, x: jnp.linalg.det(jax.hessian(u)(x)) - 1.0, None, (2, True, False)),
        (lambda u, x: u(x) - u(x + jnp.array([0.1, 0.0])), None, (0, False, True)),
        (lambda u, x: hx.derivative(u, "t")(x) - u(jnp.array([0.0, x[1]])), None, (1, False, True)),
        (lambda u, x: u(x) - jnp.mean(jax.vmap(u)(jnp.linspace(0.0, 1.0, 6).reshape(3, 2))), None, (0, False, True)),
        # what is tried at a few points alone may hide in a branch
        (lambda u, x: u(x) - jnp.where(x[0] < 0.8, 0.0, u(x - jnp.array([0.5, 0.0]))), None, (0, False, True)),
        (lambda u, x: jnp.where(x[0] < 0.8, hx.derivative(u, "t")(x), u(x) ** 2), None, (1, True, False)),
        (lambda u, x: u(x) + jnp.maximum(0.3 - x[0], 0.0) * hx.derivative(u, "xx")(x), None, (2, True, True)),
        (lambda w, x: hx.derivative(lambda z: w.k(z) * hx.derivative(w.u, "x")(z), "x")(x), PAIR, (2, True, False)),
        (lambda w, x: w.u(x) + 2.0 * w.k(x) - w.nu, PAIR, (0, True, True)),
        (lambda w, x: hx.derivative(w.u, "x")(x) - w.nu * w.k(x), PAIR, (1, True, False)),
        (lambda w, x: w.u(x) + w.k(x), BOUNDED, (0, True, False)),
    ],
)
def test_what_a_term_looks_at(function, unknowns, expected):
    box = hx.Box([0.0, 0.0], [1.0, 2.0], names=("t", "x"))
    problem = hx.Problem(box, (hx.Residual("term", function),), unknowns=unknowns)
    found = reach(problem, problem.terms[0])
    assert (found.order, found.local, found.linear) == expected


def test_energies_data_and_constraints_are_seen_too():
    box, points = hx.Box([0.0], [1.0]), np.array([[0.5]])
    problem = hx.Problem(
        box,
        (hx.Energy("energy", lambda u, x: hx.derivative(u, "x")(x) ** 2), hx.Data("u", points, np.ones(1))),
        constraint=lambda u: lambda x: x[0] * u(x),
    )
    energy, data = (reach(problem, term) for term in problem.terms)
    assert (energy.order, energy.local, energy.linear) == (1, True, True)
    assert (data.order, data.local, data.linear) == (0, True, False)


def test_a_term_that_looks_elsewhere_is_trained_with_dense_rows():
    """`u' = u(1 - x)` with `u(0) = 1`: `u'' = -u`, so `u = cos x + c sin x` with `c = (1 + sin 1) / cos 1`."""
    problem = hx.Problem(
        hx.Box([0.0], [1.0]),
        (
            hx.Residual("mirror", lambda u, x: hx.derivative(u, "x")(x) - u(1.0 - x)),
            hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("x", "lower")),
        ),
        reference=lambda x: jnp.cos(x[0]) + (1 + np.sin(1.0)) / np.cos(1.0) * jnp.sin(x[0]),
    )
    solution = hx.train(problem, hx.SplineGrid.uniform([0.0], [1.0], 8, 4), budget=60.0)
    assert solution.accuracy.relative_l2 < 1e-6


def test_a_delay_behind_a_branch():
    """`u' = -u(t - 1)` with `u = 1` before 0: `1 - t`, then `(t - 2)^2 / 2 - 1 / 2`; continuous at the branch."""

    def delayed(u, x):
        before = jnp.where(x[0] < 1.0, 1.0, u(jnp.maximum(x - 1.0, 0.0)))
        return hx.derivative(u, "t")(x) + before

    box = hx.Box([0.0], [2.0], names=("t",))
    problem = hx.Problem(
        box,
        (hx.Residual("delayed", delayed), hx.dirichlet(hx.Face("t", "lower"), 1.0)),
        reference=lambda x: jnp.where(x[0] < 1.0, 1.0 - x[0], (x[0] - 2.0) ** 2 / 2.0 - 0.5),
    )
    solution = hx.train(problem, budget=60.0)
    assert solution.accuracy.relative_l2 < 1e-10
    assert solution.result.exit_code == 0


def test_kernels_are_compiled_once_for_all_levels(compilations):
    problem, coarse = nonlinear()
    sampled, hierarchy = SampledProblem(problem), hx.refine(coarse, levels=4)

    def visit(level):
        field = shaken(hierarchy.levels[level].field)
        objective = LocalObjective(field, sampled.sample(field, SAMPLING, 0), [False, False])
        objective.linearise(flat_parameters(field)[0])
        objective.residuals(flat_parameters(field)[0])

    visit(0)
    count = compilations["expansions"]
    for level in (1, 2, 3, 2, 1, 0):
        visit(level)
    assert compilations["expansions"] == count


def test_the_gradient_of_a_network_is_joined_and_not_added_up():
    field = hx.MLP([1, 4, 4, 1], key=0)
    term = SquaredResidual("value", lambda u, place: jnp.atleast_1d(u(place.x)))
    objective = RowObjective(field, [make_samples(term, np.linspace(0, 1, 8)[:, None], np.ones(8))])
    program, data = objective.program()
    text = str(jax.make_jaxpr(program.value_and_gradient)(flat_parameters(field)[0], data))
    # slices would be padded to the size of all parameters and added, layer by layer
    assert "concatenate" in text
    assert " pad[" not in text


def test_flat_parameters_come_back_in_place():
    field = shaken(bordered()[1])
    theta, build = flat_parameters(field)
    again = build(theta)
    assert np.array_equal(ravel_pytree(again.parts)[0], ravel_pytree(field.parts)[0])
    assert theta.shape == (parameter_count(field),)


def test_residuals_of_large_pieces_are_those_of_their_expansions():
    """They have a program of their own, and come in more than one call."""
    grid = hx.SplineGrid.uniform([0.0] * 3, [1.0] * 3, [2] * 3, 4)
    rng = np.random.default_rng(0)
    theta, build = flat_parameters(grid)
    field = build(rng.normal(size=len(theta)))
    term = SquaredResidual("r", lambda field, place: jnp.array([field(place.x) ** 2, hx.laplacian(field)(place.x)]))
    samples = make_samples(term, rng.uniform(size=(2500, 3)), np.ones(2500))
    blocks = list(local_expansions(field, samples, lambda _, e, index: (e.residual, index)))
    assert len(blocks) > 1
    assert blocks[0][1].shape[1] >= ALONE
    np.testing.assert_allclose(local_residuals(field, samples), np.concatenate([r for r, _ in blocks]), rtol=1e-10)

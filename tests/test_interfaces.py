"""Coefficients that jump inside of a derivative: found, solved with kinks and continuous fluxes, or refused."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields.two_sided import TwoSided
from hierax.hierarchy import Level
from hierax.hierarchy.marking import MarkedKnots
from hierax.problems.interfaces import Cut, concentrated
from hierax.testing import check_field

LINE = hx.Box([0.0], [1.0])
SQUARE = hx.Box([0.0, 0.0], [1.0, 1.0])


def stack(u, x):
    return hx.divergence(lambda z: layers(z[0]) * hx.gradient(u)(z))(x) + 1.0


def layers(x):
    return jnp.where((x > 0.31) & (x < 0.72), 1e3, 1.0)


def through_layers(x):
    """`(k u')' = -1` with zero ends: `k u' = c - x`, and `c` from the mean of `(c - x) / k`."""
    ends, k = np.array([0.0, 0.31, 0.72, 1.0]), np.array([1.0, 1e3, 1.0])
    c = np.sum(np.diff(ends**2) / k) / 2 / np.sum(np.diff(ends) / k)
    parts = [jnp.clip(x[0], low, high) for low, high in itertools.pairwise(ends)]
    return sum((c * (p - e) - (p**2 - e**2) / 2) / n for p, e, n in zip(parts, ends[:-1], k, strict=True))


def oblique(u, x):
    """Across `x = 0.3` the coefficient jumps from `1 + y^2` to `10 + 5 y`."""
    k = lambda z: jnp.where(z[0] > 0.3, 10.0 + 5.0 * z[1], 1.0 + z[1] ** 2)  # noqa: E731
    x0, y = x[0] - 0.3, x[1]
    # of u = y^2 / 2 + (x - 0.3) / k
    lower = 1.0 + 3.0 * y**2 + x0 * (4.0 * y**2 / (1.0 + y**2) ** 2 - 2.0 / (1.0 + y**2))
    upper = 10.0 + 10.0 * y + 25.0 * x0 / (10.0 + 5.0 * y) ** 2
    return hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x) - jnp.where(x[0] > 0.3, upper, lower)


def along_oblique(x):
    return x[1] ** 2 / 2 + (x[0] - 0.3) / jnp.where(x[0] > 0.3, 10.0 + 5.0 * x[1], 1.0 + x[1] ** 2)


def wall(u, x):
    """Heat conduction in two layers, `u = exp(-t) (1 + sin(3 (x - 0.4)) / k)`."""
    k = lambda z: jnp.where(z[1] > 0.4, 0.1, 1.0)  # noqa: E731
    flux = hx.derivative(lambda z: k(z) * hx.derivative(u, "x")(z), "x")
    return hx.derivative(u, "t")(x) - flux(x) + cooling(x) - 9.0 * jnp.exp(-x[0]) * jnp.sin(3.0 * (x[1] - 0.4))


def cooling(x):
    return jnp.exp(-x[0]) * (1.0 + jnp.sin(3.0 * (x[1] - 0.4)) / jnp.where(x[1] > 0.4, 0.1, 1.0))


def drift(u, x):
    """`(u' - v u)' = 0` where `v` jumps: a coefficient of a lower derivative, and not lost for that."""
    v = lambda z: jnp.where(z[0] > 0.37, -1.0, 2.0)  # noqa: E731
    return hx.derivative(lambda z: hx.derivative(u, "x")(z) - v(z) * u(z), "x")(x)


def drifted(x):
    c = 0.37
    matrix = np.array([[1.0, 0.0, -0.5], [0.0, np.exp(-1.0), 1.0], [np.exp(2 * c), -np.exp(-c), -1.5]])
    a, b, q = np.linalg.solve(matrix, [1.0, 2.0, 0.0])
    return jnp.where(x[0] > c, q + b * jnp.exp(-x[0]), a * jnp.exp(2.0 * x[0]) - q / 2)


def thermal(u, x):
    """A conductivity that jumps and grows with the temperature."""
    k = lambda z: jnp.where(z[0] > 0.6, 0.05, 1.0) * (1.0 + u(z) ** 2)  # noqa: E731
    return hx.derivative(lambda z: k(z) * hx.derivative(u, "x")(z), "x")(x)


def warm(x):
    flux = (2.0 + 8.0 / 3.0) / (0.6 + 0.4 / 0.05)
    total = flux * jnp.where(x[0] > 0.6, 0.6 + (x[0] - 0.6) / 0.05, x[0])
    return 2.0 * jnp.sinh(jnp.arcsinh(1.5 * total) / 3.0)


def loaded(u, x):
    """A source that jumps, and nothing else."""
    return hx.divergence(lambda z: 2.0 * hx.gradient(u)(z))(x) + jnp.where(x[0] > 0.3, 5.0, 1.0)


def bent(x):
    shape = lambda s: -(s**2) / 4 - jnp.maximum(s - 0.3, 0.0) ** 2  # noqa: E731
    return shape(x[0]) - shape(1.0) * x[0]


def stepped(w, x):
    """A beam whose stiffness jumps from 1 to 4 under a load of 1: moment and shear force are continuous."""
    stiff = lambda z: jnp.where(z[0] > 0.4, 4.0, 1.0)  # noqa: E731
    return hx.derivative(lambda z: stiff(z) * hx.derivative(w, "xx")(z), "xx")(x) - 1.0


def deflection(x):
    """From `w'' = m / stiffness` with a moment `m = x^2 / 2`, clamped at 0."""
    c, s = 0.4, x[0] - 0.4
    beyond = c**4 / 24 + c**3 / 6 * s + (x[0] ** 4 / 24 - c**4 / 24 - c**3 / 6 * s) / 4
    return jnp.where(x[0] > c, beyond, x[0] ** 4 / 24)


def carried(u, x):
    """`(v u)' = 1` where `v` is read from a table: `u` jumps."""
    speed = lambda z: jnp.array([1.0, 3.0])[jnp.searchsorted(jnp.array([0.45]), z[0])]  # noqa: E731
    return hx.derivative(lambda z: speed(z) * u(z), "x")(x) - 1.0


def thinned(x):
    return (1.0 + x[0]) / jnp.where(x[0] > 0.45, 3.0, 1.0)


def switched(u, x):
    """A conductivity that jumps in time, along which nothing is differentiated that jumps."""
    k = lambda z: jnp.where(z[0] > 0.5, 0.05, 0.5)  # noqa: E731
    return hx.derivative(u, "t")(x) - hx.derivative(lambda z: k(z) * hx.derivative(u, "x")(z), "x")(x)


def decayed(x):
    spent = 0.5 * jnp.minimum(x[0], 0.5) + 0.05 * jnp.maximum(x[0] - 0.5, 0.0)
    return jnp.exp(-(jnp.pi**2) * spent) * jnp.sin(jnp.pi * x[1])


TIME = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))
AROUND = (hx.Face("x", "lower"), hx.Face("x", "upper"), hx.Face("t", "lower"))
CASES = {
    "two layers in one": (LINE, stack, through_layers, "boundary"),
    "along an axis": (SQUARE, oblique, along_oblique, "boundary"),
    "in time": (TIME, wall, cooling, AROUND),
    "switch": (TIME, switched, decayed, AROUND),
    "drift": (LINE, drift, drifted, "boundary"),
    "nonlinear": (LINE, thermal, warm, "boundary"),
    "source alone": (LINE, loaded, bent, "boundary"),
    "beam": (LINE, stepped, deflection, "boundary"),
    "table": (LINE, carried, thinned, hx.Face("x", "lower")),
}


@pytest.mark.parametrize("name", CASES)
def test_jumps_are_solved_to_the_last_digits(name):
    box, equation, exact, where = CASES[name]
    edge = hx.Residual("edge", lambda u, x: u(x) - exact(x), on=where)
    slope = hx.Residual("slope", lambda u, x: hx.derivative(u, "x")(x) - hx.derivative(exact, "x")(x), on=where)
    more = (slope,) if name == "beam" else ()
    problem = hx.Problem(box, (hx.Residual("balance", equation), edge, *more), reference=hx.Reference(exact, 1e-13))
    solution = hx.train(problem, budget=30.0)
    assert solution.result is hx.RESULTS.successful
    assert solution.accuracy.relative_l2 < 1e-7


def test_a_layer_in_three_dimensions():
    k = lambda z: jnp.where(z[2] > 0.42, 20.0, 1.0)  # noqa: E731
    exact = lambda x: x[0] * x[1] + (x[2] - 0.42) * (1.0 + x[0] ** 2) / k(x)  # noqa: E731
    balance = lambda u, x: hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x) - 2.0 * (x[2] - 0.42)  # noqa: E731
    edge = hx.Residual("edge", lambda u, x: u(x) - exact(x), on="boundary")
    problem = hx.Problem(
        hx.Box([0.0] * 3, [1.0] * 3), (hx.Residual("balance", balance), edge), reference=hx.Reference(exact, 1e-14)
    )
    solution = hx.train(problem, levels=1, budget=30.0)
    assert solution.accuracy.relative_l2 < 1e-9
    assert "coverage" not in solution.guards
    assert solution.guards["boundary"].passed


def test_a_jump_in_derivatives_of_ones_own_is_refused():
    flux = lambda u: lambda z: jnp.where(z[0] > 0.3, 10.0, 1.0) * jax.grad(u)(z)  # noqa: E731
    ends = hx.Residual("ends", lambda u, x: u(x), on="boundary")
    own = hx.Residual("balance", lambda u, x: jax.jacfwd(flux(u))(x)[0, 0] + 1.0)
    solution = hx.train(hx.Problem(LINE, (own, ends)), levels=2, budget=20.0)
    assert solution.result is hx.RESULTS.guard_coverage


def test_a_contact_resistance_lets_the_values_jump():
    k = lambda z: jnp.where(z[0] > 0.4, 3.0, 1.0)  # noqa: E731

    def contact(u, x, normal):
        below, above = (hx.derivative(side, "x")(x) for side in hx.sides(u))
        step = hx.sides(u)[1](x) - hx.sides(u)[0](x)
        return jnp.stack([3.0 * above - below, below - 2.0 * step])

    flux = 1.0 / (0.4 + 0.6 / 3.0 + 1.0 / 2.0)
    exact = lambda x: jnp.where(x[0] > 0.4, 1.0 - flux * (1.0 - x[0]) / 3.0, flux * x[0])  # noqa: E731
    terms = (
        hx.Residual("balance", lambda u, x: hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x)),
        hx.Residual("contact", contact, on=hx.Interface("x", 0.4, continuity=-1)),
        hx.Residual("ends", lambda u, x: u(x) - x[0], on="boundary"),
    )
    solution = hx.train(hx.Problem(LINE, terms, reference=hx.Reference(exact, 1e-14)), budget=20.0)
    assert solution.result is hx.RESULTS.successful
    assert solution.accuracy.relative_l2 < 1e-10


def test_what_is_concentrated_on_an_interface_is_the_jump_of_the_flux():
    cut = Cut.of(SQUARE, hx.Interface("x", 0.3))
    k = lambda z: jnp.where(z[0] > 0.3, 2.0 + z[1], 1.0)  # noqa: E731
    u = lambda z: jnp.where(z[0] > 0.3, 4.0, 7.0) * (z[0] - 0.3) * z[1]  # noqa: E731
    equation = lambda u, x: hx.divergence(lambda z: k(z) * hx.gradient(u)(z))(x) + 3.0 * u(x) - 5.0  # noqa: E731
    found = concentrated(equation, cut)(u, jnp.array([0.3, 0.6]), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(found, [(2.6 * 4.0 - 7.0) * 0.6], rtol=1e-9)


def test_energies_have_knots_where_they_jump_and_sections_enough_intervals():
    k = lambda x: jnp.where((x[0] > 0.3) & (x[0] < 0.35), 5.0, 1.0)  # noqa: E731
    energy = hx.Energy("energy", lambda u, x: k(x) * hx.derivative(u, "x")(x) ** 2 / 2 - u(x))
    ends = hx.Residual("ends", lambda u, x: u(x), on="boundary")
    plan = hx.plan(hx.Problem(LINE, (energy, ends)))
    (axis,) = plan.hierarchy.levels[0].field.axes
    points, copies = np.unique(np.round(axis.breakpoints(), 12), return_counts=True)
    assert set(points[copies == axis.degree]) == {0.3, 0.35}
    assert np.sum((points > 0.3) & (points < 0.35)) == 1
    assert not plan.missed


def test_constants_that_begin_alike_differ_in_the_end():
    k = lambda w, z: jnp.where(z[0] > 0.4, w.one, w.two)  # noqa: E731
    balance = hx.Residual("balance", lambda w, x: hx.divergence(lambda z: k(w, z) * hx.gradient(w.u)(z))(x) + 1.0)
    data = hx.Data("u", np.linspace(0.1, 0.9, 50)[:, None], np.random.default_rng(0).random(50))
    unknowns = {"u": hx.Function(), "one": hx.Constant(1.0), "two": hx.Constant(1.0)}
    plan = hx.plan(hx.Problem(LINE, (balance, data), unknowns=unknowns))
    assert [place.at for place in plan.interfaces] == pytest.approx([0.4])


@pytest.mark.parametrize("at", [0.0, 1.0, 1.7])
def test_an_interface_lies_inside(at):
    term = hx.Residual("balance", lambda u, x: hx.laplacian(u)(x))
    with pytest.raises(hx.InputError, match="not inside"):
        hx.Problem(LINE, (term, hx.Residual("flux", lambda u, x: u(x), on=hx.Interface("x", at))))


def test_a_field_seen_from_both_sides_is_a_field():
    grid = hx.SplineGrid.uniform([0.0, 0.0], [1.0, 1.0], (4, 3), 3)
    axis = grid.axes[0].with_breakpoints([0.0, 0.25, 0.5, 0.5, 0.5, 0.75, 1.0])
    field = TwoSided(hx.SplineGrid((axis, grid.axes[1]), np.random.default_rng(0).normal(size=(9, 6))), 1e-11, 0, 0.5)
    points = np.stack([np.full(8, 0.5), np.linspace(0.05, 0.95, 8)], axis=1)
    check_field(field, key=0, points=jnp.asarray(points), lower=[0.0, 0.0], upper=[1.0, 1.0])


def test_refinement_keeps_knots_that_are_repeated():
    axis = hx.SplineGrid.uniform([0.0], [1.0], 4, 3).axes[0].with_breakpoints([0.0, 0.3, 0.3, 0.3, 0.7, 1.0])
    field = hx.SplineGrid((axis,), np.random.default_rng(0).normal(size=axis.size))
    for _ in range(3):
        field = MarkedKnots(share=0.0).refine(Level(field))[0].field
    points = field.breakpoints()[0]
    assert np.sum(points == 0.3) == 3
    assert len(np.unique(points)) == len(points) - 2
    assert len(points) > 16

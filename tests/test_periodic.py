"""Periodic coordinates: every kind of field closes there, or is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.fields import Frame, InputBox, MovingGrid, Slabs, Unknowns, partition, place
from hierax.fields.local_fields import Polynomials
from hierax.planning.choose import choose
from hierax.planning.families import DecodedFeatures, Grid, HiddenLayer, Perceptron, SplineNetwork, Subdomains, Tensor
from hierax.solvers import Tolerances

LOWER, UPPER, WRAPS = [0.0, -1.0], [2.0, 4.0], (False, True)
BOX = InputBox(LOWER, UPPER, WRAPS)


def moving(intervals, begin=LOWER[0], end=UPPER[0], velocity=-1.7):
    frame = Frame.resting(LOWER, UPPER, WRAPS, 0).turned(np.array([9.0, velocity]), 0.4)
    return MovingGrid(hx.SplineGrid.uniform([begin, -1.0], [end, 4.0], intervals, 3, periodic=WRAPS), frame)


FIELDS = {
    "perceptron": lambda: hx.MLP([2, 5, 5, 1], key=0, domain=BOX),
    "perceptron of sines": lambda: hx.siren([2, 5, 1], key=0, domain=BOX, frequency=5.0),
    "waves": lambda: hx.FourierNetwork([2, 6, 2], modes=4, scale=1.0, key=0, domain=BOX),
    "adaptive basis": lambda: hx.AdaptiveBasis([2, 5, 6, 1], key=0, domain=BOX),
    "hidden layer": lambda: hx.AdaptiveBasis.boxed(20, BOX, key=0),
    "spline network": lambda: hx.KAN([2, 4, 1], intervals=3, degree=4, key=0, domain=BOX),
    "spline network behind a map": lambda: hx.KAN([2, 6, 1], intervals=3, key=0, domain=BOX, linear_first=True),
    "decoded grid": lambda: hx.DecodedGrid.uniform(LOWER, UPPER, 5, 3, key=0, periodic=WRAPS, coordinates=True),
    "spline grid": lambda: hx.SplineGrid.uniform(LOWER, UPPER, 5, 3, periodic=WRAPS),
    "moving grid": lambda: moving(5),
    "slabs of moving grids": lambda: Slabs([moving(5, 0.0, 0.8), moving(6, 0.8, 2.0, 0.3)], 0),
    "partition of unity": lambda: hx.PartitionOfUnity.uniform(LOWER, UPPER, 3, local=Polynomials(2), periodic=WRAPS),
    "low-rank tensor": lambda: hx.LowRank.uniform(LOWER, UPPER, 5, 3, 2, key=0, out=2, periodic=WRAPS),
    "unknowns": lambda: Unknowns(u=hx.MLP([2, 5, 1], key=0, domain=BOX), nu=hx.Scalar(0.3)),
}


def moved(field):
    generator = np.random.default_rng(1)
    params, rest = partition(field)
    return eqx.combine(jax.tree.map(lambda a: a + generator.normal(size=a.shape), params), rest)


@pytest.mark.parametrize("name", FIELDS)
def test_values_and_slopes_agree_at_both_ends(name):
    field, t = moved(FIELDS[name]()), np.linspace(0.01, 1.99, 7)
    both = eqx.filter_jit(jax.vmap(lambda x: (field(x), jax.jacfwd(field)(x))))
    lower, upper = (both(jnp.asarray(np.stack([t, np.full(7, end)], axis=1))) for end in (-1.0, 4.0))
    inside = both(jnp.asarray(np.stack([t, np.full(7, 1.0)], axis=1)))
    for a, b, c in zip(*map(jax.tree.leaves, (lower, upper, inside)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1.0, np.abs(a).max()))
        assert np.abs(c).max() == 0.0 or np.abs(a - c).max() > 1e-6 or name == "unknowns"


@pytest.mark.parametrize(
    "make",
    [
        lambda domain=None: hx.MLP([2, 5, 1], key=0, domain=domain),
        lambda domain=None: hx.siren([2, 5, 1], key=0, domain=domain),
        lambda domain=None: hx.FourierNetwork([2, 5, 1], key=0, domain=domain),
        lambda domain=None: hx.AdaptiveBasis([2, 5, 6, 1], key=0, domain=domain),
        lambda domain=None: hx.KAN([2, 4, 1], intervals=3, key=0, domain=domain),
        lambda domain=None: hx.KAN([2, 4, 1], intervals=3, key=0, domain=domain, linear_first=True, first_bias=True),
    ],
)
def test_a_network_placed_later_is_the_network_made_there(make):
    placed = place(make(), LOWER, UPPER, WRAPS)
    assert bool(eqx.tree_equal(placed, make(BOX)))
    assert placed.widths == make().widths
    x = jnp.array([0.3, 1.7])
    period = jnp.array([0.0, 5.0])
    np.testing.assert_allclose(placed(x + period), placed(x), rtol=0, atol=1e-12)


def test_waves_keep_whole_periods_when_they_get_other_modes():
    field = hx.FourierNetwork([2, 5, 1], modes=3, scale=0.1, key=0, domain=BOX)
    modes = np.asarray(field.features.frequencies)
    assert np.all(modes[:, 1] == np.rint(modes[:, 1]))
    assert np.any(modes[:, 1] != 0)
    assert np.all(modes[:, 0] != np.rint(modes[:, 0]))


def helmholtz(dim=1):
    """-u'' + u = f with the periodic solution sin(2 pi x) + cos(4 pi x) / 2 of the last coordinate."""
    box = hx.Box([0.0] * dim, [1.0] * dim, names=("y", "x")[-dim:], periodic=("x",))

    def equation(u, x):
        s, c = jnp.sin(2 * jnp.pi * x[-1]), jnp.cos(4 * jnp.pi * x[-1])
        load = (4 * jnp.pi**2 + 1) * s + 0.5 * (16 * jnp.pi**2 + 1) * c
        return -hx.derivative(u, "xx")(x) + u(x) - load

    return hx.Problem(box, (hx.Residual("equation", equation),))


@pytest.mark.parametrize(
    "family", [Grid(), SplineNetwork(), Perceptron(), HiddenLayer(), DecodedFeatures(), Subdomains(), Tensor()]
)
def test_every_family_starts_with_a_field_that_closes(family):
    field = choose(helmholtz(), key=0, hierarchy=family).hierarchy.levels[0].field
    ends = [jax.jit(lambda x, f=moved(field): (f(x), jax.jacfwd(f)(x)))(jnp.array([x])) for x in (0.0, 1.0)]
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11 * max(1.0, np.abs(a).max()))


@pytest.mark.parametrize(
    "field",
    [
        hx.MLP([1, 5, 1], key=0, domain=([0.0], [1.0])),
        hx.SplineGrid.uniform([0.0], [1.0], 6, 4),
        hx.KAN([1, 4, 1], intervals=3, degree=4, key=0, domain=([0.0], [2.0])),
    ],
)
def test_fields_that_do_not_close_are_refused(field):
    with pytest.raises(hx.InputError, match="not periodic in 'x'") as caught:
        hx.train(helmholtz(), field)
    assert "periodic=" in caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize(
    "field", [hx.KAN([1, 8, 1], intervals=4, degree=5, key=0, linear_first=True), hx.MLP([1, 16, 16, 1], key=0)]
)
def test_networks_solve_a_periodic_problem(field):
    solution = hx.train(helmholtz(), field, solver=hx.GaussNewton(damping=1e-3, tolerances=Tolerances(1e-6, 60)))
    x = np.linspace(0.0, 1.0, 101)
    exact = np.sin(2 * np.pi * x) + 0.5 * np.cos(4 * np.pi * x)
    values = jax.jit(jax.vmap(solution.field))(jnp.asarray(x[:, None]))
    assert np.sqrt(np.mean((np.asarray(values) - exact) ** 2)) < 1e-4


WAVE = 2.0 * np.pi


def wave(x):
    return jnp.sin(WAVE * x[0] + 0.3) * jnp.cos(WAVE * x[1])


def cell(body, *names):
    """`Lap u - u = f` in one period of a pattern, with the flux of `wave` on its boundary."""
    return hx.Problem(
        body,
        (
            hx.Residual("p", lambda u, x: hx.laplacian(u)(x) - u(x) + (2.0 * WAVE**2 + 1.0) * wave(x)),
            hx.periodic(*names),
            hx.Residual("flux", lambda u, x, n: (hx.gradient(u)(x) - jax.grad(wave)(x)) @ n, on="boundary"),
        ),
        reference=wave,
    )


def pattern(*centres):
    body = hx.Rectangle((0.0, 0.0), (1.0, 1.0))
    for number, centre in enumerate(centres):
        body = body - hx.Disk(centre, 0.3, name=f"hole {number}")
    return body


@pytest.mark.parametrize("centres", [[(0.5, 0.5)], [(0, 0), (1, 0), (0, 1), (1, 1)]], ids=["inside", "at the ends"])
def test_one_period_of_a_pattern(centres):
    """Its ends are no boundary, wherever the holes are, and functions that hardly meet it are bound across them."""
    problem = cell(pattern(*centres), "x", "y")
    assert problem.domain.boundaries == tuple(f"hole {k}" for k in range(len(centres)))
    assert problem.domain.quadrature("boundary").weights.sum() == pytest.approx(0.6 * np.pi, rel=1e-10)
    solution = hx.train(problem, levels=3, budget=60.0)
    assert solution.accuracy.relative_l2 < 1e-7
    ends = np.array([[0.0, 0.5], [1.0, 0.5]])
    for value in ("u", "u_x", "u_xx"):
        assert np.ptp(solution.evaluate(ends, value)) < 1e-9


def test_a_box_that_a_term_makes_periodic():
    terms = (hx.Residual("p", lambda u, x: hx.derivative(u, "xx")(x) - u(x) + 1.0), hx.periodic("x"))
    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms)
    assert problem.domain.periodic == ("x",)
    assert [term.name for term in problem.terms] == ["p"]
    assert problem.changed(name="other").domain.periodic == ("x",)


def test_periodic_refuses_what_has_no_ends_or_ends_that_differ():
    term = hx.Residual("p", lambda u, x: u(x))
    cloud = hx.PointCloud(np.random.default_rng(0).random((50, 2)))
    for domain, name, message in (
        (pattern((0.0, 0.5)), "x", "another at the lower end of x"),
        (pattern((0.5, 0.5)), "z", "'z' is unknown"),
        (cloud, "x", "a cloud of points has no ends"),
    ):
        with pytest.raises(hx.InputError, match=message):
            hx.Problem(domain, (term, hx.periodic(name)))
    with pytest.raises(hx.InputError, match="no part of the boundary"):
        hx.Problem(pattern((0.5, 0.5)), (term, hx.periodic("x"), hx.dirichlet("left")))
    with pytest.raises(hx.InputError, match="are no coordinates"):
        hx.periodic()


def test_a_period_is_saved_with_its_solution(tmp_path):
    solution = hx.train(cell(pattern((0.5, 0.5)), "x", "y"), levels=1, budget=60.0)
    hx.save(solution, tmp_path / "cell")
    again = hx.load(tmp_path / "cell")
    assert again.problem.domain.periodic == ("x", "y")
    assert again.evaluate([[0.1, 0.1]], "u") == solution.evaluate([[0.1, 0.1]], "u")

"""Units: a problem is trained in units of its own, so that those it was written in change nothing."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import hierax as hx
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.order import orders_of_rows, reach
from hierax.objective.prescribed import with_prescribed_values
from hierax.objective.sizes import own_units
from hierax.problems.terms import Data, Values
from hierax.testing import check_units
from hierax.testing.units import Written
from studies import units
from studies.__main__ import main


def beam(stiffness=1.0, length=1.0, load=1.0):
    """`M'' = -load`, `stiffness w'' = -M`, both zero at the ends."""
    return hx.Problem(
        domain=hx.Box([0.0], [length], names=("x",)),
        terms=(
            hx.Residual("moment", lambda w, x: hx.derivative(w.M, "xx")(x) + load),
            hx.Residual("bending", lambda w, x: stiffness * hx.derivative(w.w, "xx")(x) + w.M(x)),
            hx.Residual("M ends", lambda w, x, normal: w.M(x), on="boundary"),
            hx.Residual("w ends", lambda w, x, normal: w.w(x), on="boundary"),
        ),
        unknowns={"M": hx.Function(), "w": hx.Function()},
    )


def pipe(top=1e7, resistance=2e-11, length=500.0):
    """`q + resistance p' = 0`, `q' = 0`: a flux and a pressure that differ by many decades."""
    return hx.Problem(
        domain=hx.Box([0.0], [length], names=("x",)),
        terms=(
            hx.Residual("law", lambda w, x: w.q(x) + resistance * hx.derivative(w.p, "x")(x)),
            hx.Residual("balance", lambda w, x: hx.derivative(w.q, "x")(x)),
            hx.Residual("inlet", lambda w, x, n: w.p(x) - top, on=hx.Face("x", "lower")),
            hx.Residual("outlet", lambda w, x, n: w.p(x), on=hx.Face("x", "upper")),
        ),
        unknowns={"p": hx.Function(), "q": hx.Function()},
    )


def radiating(furnace=1300.0, conductivity=30.0):
    """A wall that is heated by radiation: nonlinear, with numbers far from one."""
    s = 0.8 * 5.670374e-8
    return hx.Problem(
        domain=hx.Box([0.0], [0.2], names=("x",)),
        terms=(
            hx.Residual("conduction", lambda T, x: conductivity * hx.derivative(T, "xx")(x)),
            hx.Residual("cold", lambda T, x, n: T(x) - 300.0, on=hx.Face("x", "lower")),
            hx.Residual(
                "hot",
                lambda T, x, n: conductivity * hx.derivative(T, "x")(x) - s * (furnace**4 - T(x) ** 4),
                on=hx.Face("x", "upper"),
            ),
        ),
    )


def plane(wave=3.0):
    """`-Lap u = f` with Dirichlet and Neumann sides."""

    def exact(x):
        return jnp.sin(wave * x[0]) * jnp.cos(2.0 * x[1])

    return hx.Problem(
        domain=hx.Box([0.0, 0.0], [1.0, 2.0]),
        terms=(
            hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + (wave**2 + 4.0) * exact(x)),
            hx.Residual("x", lambda u, x, n: u(x) - exact(x), on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
            hx.Residual(
                "y",
                lambda u, x, n: n @ (hx.gradient(u)(x) - hx.gradient(exact)(x)),
                on=(hx.Face("y", "lower"), hx.Face("y", "upper")),
            ),
        ),
        reference=exact,
    )


def membrane():
    """An energy with a bilinear obstacle-free load."""
    return hx.Problem(
        domain=hx.Box([0.0], [3.0]),
        terms=(
            hx.Energy("strain", lambda u, x: 2.0 * hx.derivative(u, "x")(x) ** 2 + 0.25 * u(x) ** 4 - u(x)),
            hx.Residual("ends", lambda u, x, n: u(x), on="boundary"),
        ),
    )


def table():
    """A noisy table."""
    rng = np.random.default_rng(0)
    x = rng.random((60, 1))
    y = np.sin(5 * x[:, 0]) + 0.05 * rng.normal(size=60)
    return hx.Problem(hx.Box([0.0], [1.0]), hx.Data("u", x, y))


def exact_table():
    """A smooth curve without noise."""
    x = np.random.default_rng(0).random((60, 1))
    return hx.Problem(hx.Box([0.0], [1.0]), hx.Data("u", x, np.exp(-x[:, 0]) * np.sin(3.0 * x[:, 0])))


def column():
    """A heavy column that buckles; no row says how far."""
    energy = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 4.0 * jnp.cos(u(x))  # noqa: E731
    return hx.Problem(hx.Box([0.0], [1.0]), (hx.Energy("energy", energy), hx.dirichlet(hx.Face("x", "lower"))))


def oscillator():
    """A start that is met up to rounding leaves nothing."""
    terms = (
        hx.Residual("slope", lambda w, x: hx.derivative(w.y, "x")(x) - w.v(x)),
        hx.Residual("force", lambda w, x: hx.derivative(w.v, "x")(x) + 9.0 * w.y(x)),
        hx.Residual("place", lambda w, x, normal: w.y(x) - 2.0, on=hx.Face("x", "lower")),
        hx.Residual("rest", lambda w, x, normal: w.v(x), on=hx.Face("x", "lower")),
    )
    return hx.Problem(hx.Box([0.0], [6.0]), terms, unknowns={"y": hx.Function(), "v": hx.Function()})


KINDS = {
    "fluxes": pipe, "radiation": radiating, "plane": plane, "energy": membrane, "table": table, "exact": exact_table,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_units_change_neither_verdict_nor_answer(kind):
    check_units(KINDS[kind](), seed=3, levels=2, budget=600.0)


def test_rounding_in_a_small_domain_is_no_imbalance():
    """What an equation leaves is its integral, not its mean: over a square of a nanometre 1e-9 times that."""
    side = 1e-9

    def source(u, x):
        return side**2 * hx.laplacian(u)(x) - jnp.sin(4.0 * x[1] / side)

    box = hx.Box([0.0, 0.0], [side, side], names=("x", "y"))
    terms = (hx.Residual("source", source), hx.dirichlet("boundary", lambda x: x[0] / side))
    solution = hx.train(hx.Problem(box, terms), key=0, levels=2, budget=600.0)
    assert solution.result is hx.RESULTS.successful, str(solution)


def test_a_system_in_si_units_is_solved():
    length, stiffness, load = 6000.0, 1e-6, 1e5
    found = hx.train(beam(stiffness, length, load), levels=2, budget=600.0)
    x = np.linspace(0.0, length, 30)
    moment = load * x * (length - x) / 2
    deflection = load / stiffness * (x * (length**3 - 2 * length * x**2 + x**3)) / 24
    assert found.result is hx.RESULTS.successful
    np.testing.assert_allclose(found.evaluate(x[:, None], "M"), moment, atol=1e-10 * moment.max())
    np.testing.assert_allclose(found.evaluate(x[:, None], "w"), deflection, atol=1e-10 * deflection.max())


def test_unknowns_of_very_different_size_are_both_found():
    found = hx.train(pipe(), levels=2, budget=600.0)
    x = np.linspace(0.0, 500.0, 20)[:, None]
    np.testing.assert_allclose(found.evaluate(x, "p"), 1e7 * (1 - x[:, 0] / 500.0), atol=1e-2)
    np.testing.assert_allclose(found.evaluate(x, "q"), 2e-11 * 1e7 / 500.0, rtol=1e-9)


def test_sizes_follow_from_the_terms():
    units = own_units(beam(stiffness=1e9, length=10.0, load=1e3))
    assert 0.1 < units.sizes["M"] / (1e3 * 100 / 8) < 10  # the largest moment is load length^2 / 8
    assert 0.1 < units.sizes["w"] / (5 * 1e3 * 1e4 / (384 * 1e9)) < 10


def test_underflow_is_no_root():
    """Far below zero `exp(u)` is zero to the last digit, which solves nothing."""
    equation = hx.Residual("equation", lambda u, x: hx.derivative(u, "xx")(x) + 2.5 * jnp.exp(u(x)))
    units = own_units(hx.Problem(hx.Box([0.0], [1.0]), (equation, hx.dirichlet("boundary"))))
    assert units.levels["u"] == 0.0
    assert 0.1 < units.sizes["u"] < 10.0


@pytest.mark.parametrize("make", [column, oscillator])
def test_sizes_are_the_same_quantity_in_all_units(make):
    problem = make()
    sizes = own_units(problem).sizes
    for seed in range(5):
        other = Written.at_random(problem, seed)
        for name, size in own_units(other.problem).sizes.items():
            np.testing.assert_allclose(size * other.units.sizes[name], sizes[name], rtol=1e-6)


def test_whether_an_energy_is_quadratic_does_not_depend_on_the_length():
    for seed in range(5):
        (energy, _) = Written.at_random(column(), seed).problem.terms
        assert not reach(Written.at_random(column(), seed).problem, energy).linear


def test_values_that_balance_an_equation_are_no_tangents():
    """A diode at rest: the tangent of `2 sinh(u)` at zero asks for potentials of 250 in place of 6."""
    volt = 0.02585
    contact = volt * float(np.arcsinh(250.0))

    def charge(u, x):
        return 0.2 * hx.derivative(u, "xx")(x) / volt - 2.0 * jnp.sinh(u(x) / volt) + 500.0 * jnp.tanh(9.0 * x[0] - 4.0)

    problem = hx.Problem(
        domain=hx.Box([0.0], [1.0]),
        terms=(
            hx.Residual("charge", charge),
            hx.Residual("contacts", lambda u, x, n: u(x) - contact * n[0], on="boundary"),
        ),
    )
    assert 0.5 < own_units(problem).sizes["u"] / contact < 2.0
    found = hx.train(problem, levels=5, budget=600.0)
    assert found.result is hx.RESULTS.successful
    # far from the junction charges balance
    assert abs(found.evaluate([[0.05]])[0] / volt + np.arcsinh(250.0 * np.tanh(3.55))) < 1e-2


def test_values_without_noise_are_prescribed():
    def problem(*data, **unknowns):
        terms = (hx.Residual("r", lambda w, x: hx.derivative(w.u, "x")(x) - 1.0), *data)
        return hx.Problem(hx.Box([0.0], [1.0]), terms, unknowns={"u": hx.Function(), **unknowns})

    rng, x = np.random.default_rng(0), np.linspace(0, 1, 50)[:, None]
    kept = lambda p: [type(t) for t in with_prescribed_values(p).terms[1:]]  # noqa: E731
    assert kept(problem(hx.Data("u", [[0.5]], [2.0]))) == [Values]
    assert kept(problem(hx.Data("u", x, x[:, 0], noise=0.0))) == [Values]
    assert kept(problem(hx.Data("u", x, x[:, 0] ** 2))) == [Values]
    assert kept(problem(hx.Data("u", x, x[:, 0], noise=0.1))) == [Data]
    assert kept(problem(hx.Data("u", x, x[:, 0] + 0.1 * rng.normal(size=50)))) == [Data]
    # with something to infer the values are measurements
    assert kept(problem(hx.Data("u", x, x[:, 0]), k=hx.Constant(1.0))) == [Data]


def test_values_inside_are_conditions():
    half = 10.0
    terms = (
        hx.Residual("slope", lambda w, x: hx.derivative(w.y, "x")(x) - w.v(x)),
        hx.Residual("equation", lambda w, x: 0.5 * hx.derivative(w.v, "x")(x) + w.y(x)),
        hx.Values("y", [[0.0]], [1.0]),
        hx.Values("v", [[0.0]], [0.0]),
    )
    unknowns = {"y": hx.Function(), "v": hx.Function()}
    found = hx.train(hx.Problem(hx.Box([-half], [half]), terms, unknowns=unknowns), budget=600.0)
    x = np.linspace(-half, half, 60)
    assert found.result is hx.RESULTS.successful
    np.testing.assert_allclose(found.evaluate(x[:, None], "y"), np.cos(np.sqrt(2) * x), atol=1e-7)


def test_prescribed_values_have_no_noise():
    with pytest.raises(TypeError):
        hx.Values("u", [[0.0]], [1.0], noise=0.1)


def test_nonlinear_problems_start_from_the_level_of_their_conditions():
    """A fuel that ignites after a while: `exp(-7500 / T)` has no meaning at zero kelvin, where a field would start."""
    rate = lambda T: 1e6 * jnp.exp(-7500.0 / T) * (600.0 - T)  # noqa: E731
    problem = hx.Problem(
        domain=hx.Box([0.0], [10.0], names=("t",)),
        terms=(
            hx.Residual("heat", lambda T, x: hx.derivative(T, "t")(x) - rate(T(x))),
            hx.Residual("start", lambda T, x: T(x) - 420.0, on=hx.Face("t", "lower")),
        ),
    )
    solution = hx.train(problem, budget=20.0)
    known = solve_ivp(lambda t, y: rate(y), (0.0, 10.0), [420.0], "LSODA", [3.0, 7.0, 10.0], rtol=1e-10, atol=1e-8)
    np.testing.assert_allclose(solution.evaluate(known.t[:, None]), known.y[0], rtol=1e-6)
    assert solution.result is hx.RESULTS.successful, solution


def test_errors_are_relative_to_the_values_in_the_units_of_the_problem():
    """Data far from zero are fitted about their mean; the error is still a part of what the user sees."""
    points = np.linspace(0.0, 1.0, 40)[:, None]
    terms = (hx.Data("seen", points, 300.0 + np.sin(3.0 * points[:, 0])),)
    away = lambda x: 300.5 + jnp.sin(3.0 * x[0])  # noqa: E731
    problem = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms, reference=hx.Reference(away))
    solution = hx.train(problem, budget=20.0)
    assert solution.accuracy.relative_l2 == pytest.approx(0.5 / 300.5, rel=0.02)
    assert solution.accuracy.max_error == pytest.approx(0.5, rel=0.02)


def test_faces_across_different_coordinates_weigh_the_same():
    """Time in years and a length in nanometres: no face is longer than the others, a condition is a mean over each."""
    box = hx.Box([0.0, 0.0], [1e-9, 1e9], names=("t", "x"))
    wall = hx.Residual("wall", lambda u, x, normal: u(x), on="boundary")
    problem = hx.Problem(box, (hx.Residual("inside", lambda u, x: hx.laplacian(u)(x)), wall))
    field = hx.plan(hx.Problem(box, (wall,))).hierarchy.levels[0].field
    own = SampledProblem(problem).sample(field, Sampling(), 0)[1]
    sums = [own.weights[np.all(own.normals == normal, axis=1)].sum() for normal in ([1, 0], [-1, 0], [0, 1], [0, -1])]
    np.testing.assert_allclose(sums, 1.0, rtol=1e-12)


def test_short_study_of_units_agrees(tmp_path, monkeypatch):
    monkeypatch.setattr(units, "QUICK", ("poisson-1d",))
    assert main(["units", "--quick", "--out", str(tmp_path), "--json", str(tmp_path / "all.json")]) == 0
    rows = json.loads((tmp_path / "all.json").read_text())["rows"]
    assert [row["problem"] for row in rows] == ["poisson-1d"]
    assert all(row["same"] == row["units"] == 1 and row["difference"] < 1e-8 for row in rows)


def test_rows_of_different_order_are_terms_of_their_own():
    """Slopes and curvatures in one condition, not values and slopes alone; rows of one order stay together."""

    def d(order, factor=1.0):
        return lambda u, x: factor * hx.derivative(u, "x" * order)(x)

    def condition(name, *rows):
        return hx.Residual(name, lambda u, x, normal: jnp.stack([row(u, x) for row in rows]), on=hx.Face("x", "lower"))

    terms = (
        hx.Residual("interior", lambda u, x: hx.derivative(u, "xxxx")(x) - 1.0),
        condition("values", lambda u, x: u(x), d(1)),
        condition("slopes", d(1), d(2)),
        condition("same", d(2), d(2, 3.0)),
        condition("mixed", lambda u, x: u(x) + hx.derivative(u, "xxx")(x), d(2)),
    )
    problem = hx.Problem(domain=hx.Box([0.0], [1.0], names=("x",)), terms=terms)
    assert own_units(problem).apart == {"values", "slopes", "mixed"}


STEEL = hx.Elastic(young=210e9, poisson=0.3, plane_stress=True)


def _mirrored(w, x, normal):
    force = STEEL.stress(w.u)(x) @ normal
    return jnp.where(jnp.abs(normal) > 0.5, w.u(x), force)


def _pulled(body, *mirrors):
    return hx.Problem(
        body,
        (
            hx.Residual("balance", lambda w, x: STEEL.balance(w.u)(x)),
            *mirrors,
            hx.traction("top", STEEL.stress, (0.0, 1e8), unknown="u"),
        ),
        unknowns={"u": hx.Function(2)},
    )


def test_a_condition_on_two_places_is_two_conditions():
    """Its rows are a displacement on one side of a plate in SI units and a stress on the other."""
    body = hx.Rectangle((0.0, 0.0), (0.1, 0.15))
    two = _pulled(body, *(hx.Residual(f"mirror on {side!r}", _mirrored, on=side) for side in ("left", "bottom")))
    one = _pulled(body, hx.Residual("mirror", _mirrored, on=("left", "bottom")))
    found, expected = own_units(one), own_units(two)
    part = body.boundary
    assert found.places == {"mirror": ((part("left"),), (part("bottom"),))}
    assert found.apart == expected.apart == {"mirror on 'left'", "mirror on 'bottom'"}
    assert found.terms.keys() == expected.terms.keys()
    for name, size in expected.terms.items():
        np.testing.assert_allclose(found.terms[name], size, rtol=1e-12)
    assert max(found.terms["mirror on 'left'"]) > 1e10 * min(found.terms["mirror on 'left'"])
    assert [t.name for t in found.converted(one).terms] == [t.name for t in expected.converted(two).terms]


def test_the_whole_boundary_is_looked_at_side_by_side():
    """A condition that branches with the normal, on a shape and on a box; sides of one kind stay together."""

    def wall(u, x, normal):
        return jnp.where(jnp.abs(normal[0]) > 0.5, u(x), hx.derivative(u, "y")(x))

    terms = (hx.Residual("interior", lambda u, x: hx.laplacian(u)(x) - 1.0), hx.Residual("wall", wall, on="boundary"))
    for domain in (hx.Rectangle((0.0, 0.0), (1.0, 1.0)), hx.Box([0.0, 0.0], [1.0, 1.0], names=("x", "y"))):
        problem = hx.Problem(domain, terms)
        assert [len(places) for places in own_units(problem).places["wall"]] == [2, 2]
        assert len(own_units(problem).converted(problem).terms) == 3


def test_symmetry_has_rows_of_one_kind_in_every_direction():
    body = hx.Rectangle((0.0, 0.0), (0.1, 0.15))
    mirrors = hx.symmetry(("left", "bottom"), STEEL.stress, unknown="u")
    for angle in (0.0, 25.0):
        problem = _pulled(body.rotated(angle), mirrors)
        np.testing.assert_array_equal(orders_of_rows(problem, mirrors), [[1, 0], [1, 0]])
        assert not own_units(problem).places
        assert own_units(problem).apart == {mirrors.name}
    normal = np.array([0.36, -0.48, 0.8])
    solid = hx.symmetry("wall", lambda u: lambda x: jnp.diag(jnp.arange(3.0)))
    force = np.arange(3.0) * normal
    rows = solid.function(lambda x: x, jnp.arange(3.0), jnp.asarray(normal))
    np.testing.assert_allclose(rows[-1], np.arange(3.0) @ normal)
    np.testing.assert_allclose(np.sum(rows[:-1] ** 2), force @ force - (normal @ force) ** 2)

"""Low-rank tensors of splines: the field, its transfers, its rows, and equations of many coordinates by default."""

from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handmade import values_at

import hierax as hx
from hierax.checks.guards.determined import Determined
from hierax.fields import LowRank, Scalar, Unknowns
from hierax.fields.low_rank import balanced
from hierax.hierarchy import IntervalDoubling, Level, RankGrowth, Settling
from hierax.hierarchy.rank import spline_errors
from hierax.objective.build import SampledProblem, Sampling
from hierax.objective.jet_rows import JetRows
from hierax.objective.objective import flat_parameters
from hierax.objective.rows import RowObjective
from hierax.objective.zero_ends import zero_ends
from hierax.problems.sampling import Arcsine
from hierax.testing import check_field, check_transfer
from hierax.training.determination import by_polynomials
from hierax.training.discrete import DiscreteProblem

LOWER, UPPER, WRAPS = (0.0, -1.0, 0.0), (2.0, 1.0, 1.0), (False, False, True)
ZERO = ((True, False), (True, True), (False, False))
POINTS = np.random.default_rng(0).uniform(LOWER, UPPER, (20, 3))


def tensor(out=None, rank=2, intervals=(3, 4, 6)):
    return LowRank.uniform(LOWER, UPPER, intervals, 4, rank, key=0, out=out, periodic=WRAPS, zero=ZERO)


@pytest.mark.parametrize("out", [None, 2])
def test_laws_of_the_field(out):
    check_field(tensor(out), key=0, points=POINTS, lower=LOWER, upper=UPPER, periodic=WRAPS)


def test_zero_ends_are_exact_and_balancing_keeps_the_function():
    field = tensor()
    faces = np.repeat(POINTS[:3], 3, axis=0)
    faces[::3, 0], faces[1::3, 1], faces[2::3, 1] = 0.0, -1.0, 1.0
    assert np.abs(values_at(field, faces)).max() < 1e-14
    uneven = eqx.tree_at(lambda f: f.factors[0], field, 1e3 * field.factors[0])
    np.testing.assert_allclose(values_at(balanced(uneven), POINTS), values_at(uneven, POINTS), rtol=1e-12)


def test_shapes_that_do_not_fit_are_refused():
    field = tensor()
    with pytest.raises(ValueError, match="do not fit"):
        LowRank(field.axes, field.factors)
    with pytest.raises(ValueError, match="clamped"):
        LowRank(field.axes, [*field.factors[:2], field.factors[2][1:]], zero=(*ZERO[:2], (True, False)))


@pytest.mark.parametrize("out", [None, 2])
@pytest.mark.parametrize("change", [None, 0.0, 1e9], ids=["both", "knots", "products"])
def test_laws_of_transfers(out, change):
    level = Level(Unknowns(u=tensor(out), nu=Scalar(0.3)))
    evidence = None if change is None else Settling(change)
    finer, transfer = RankGrowth().refine(level, key=jax.random.key(1), evidence=evidence)
    grown = finer.field.parts["u"]
    assert (grown.rank > 2) == (change != 0.0)
    assert (grown.axes[0].intervals > 3) == (change != 1e9)
    check_transfer(transfer, level.field, finer.field, key=2, points=POINTS)


def test_knots_alone_are_inserted_by_the_rule_of_other_splines():
    finer, transfer = IntervalDoubling().refine(Level(tensor()))
    check_transfer(transfer, tensor(), finer.field, key=2, points=POINTS)
    assert [axis.intervals for axis in finer.field.axes] == [6, 8, 12]


def test_errors_of_splines_are_largest_along_the_axis_that_bends():
    field = LowRank.uniform([0.0] * 3, [1.0] * 3, 8, 3, 1, key=0)
    bent = jnp.sin(9.0 * field.axes[1].positions())[:, None]
    field = LowRank(field.axes, [jnp.ones_like(bent), bent, jnp.ones_like(bent)])
    errors = [float(e.max()) for e in spline_errors(field)]
    assert errors[1] > 1e-4
    assert max(errors[0], errors[2]) < 1e-12


def system():
    """Two unknown functions, one of them with two components, and a constant, in equations with products."""

    def equation(w, x):
        flux = hx.derivative(w.q, "y")(x)
        return jnp.stack([hx.laplacian(w.u)(x) + w.nu * w.u(x) * flux[0], flux[1] - w.u(x) ** 3])

    def wall(w, x, normal):
        return w.u(x) + hx.gradient(w.u)(x) @ normal

    box = hx.Box(LOWER, UPPER, names=("x", "y", "z"), periodic=("z",))
    terms = (
        hx.Residual("equation", equation),
        hx.Residual("wall", wall, on=hx.Face("x", "upper")),
        hx.Data("u", POINTS, np.ones(20)),
    )
    return hx.Problem(box, terms, unknowns={"u": hx.Function(), "q": hx.Function(2), "nu": hx.Constant(0.5)})


def test_rows_through_jets_are_those_of_any_field():
    problem, field = system(), Unknowns(u=tensor(), q=tensor(2), nu=Scalar(0.7))
    samples = SampledProblem(problem).sample(field, Sampling(least=100, ratio=0.1), 0)
    theta, _ = flat_parameters(field)
    jets, rows = JetRows(problem, field, samples), RowObjective(field, samples)
    np.testing.assert_allclose(jets.values(theta), rows.values(theta), rtol=1e-10)
    for ours, theirs in zip(jets.residuals(theta), rows.residuals(theta), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10 * np.abs(theirs).max())
    one, other = jets.linearise(theta), rows.linearise(theta)
    np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-9 * np.abs(other.gradient).max())
    both = one.curvature.matrix, other.curvature.matrix
    np.testing.assert_allclose(*both, atol=1e-9 * np.abs(both[1]).max())


def test_arcsine_points_crowd_at_the_ends_of_coordinates_that_have_some():
    box = hx.Box(LOWER, UPPER, names=("x", "y", "z"), periodic=("z",))
    batch = Arcsine(box).sample(0, 0, 4096)
    inner = (batch.points - box.lower) / (box.upper - box.lower)
    share = np.mean(inner < 0.1, axis=0)
    assert share[:2] == pytest.approx(2 / np.pi * np.arcsin(np.sqrt(0.1)), abs=0.01)
    assert share[2] == pytest.approx(0.1, abs=0.01)
    assert batch.weights.sum() == pytest.approx(box.measure)


def poisson(dim, source, wall=lambda u, x: u(x), reference=None, reaction=0.0):
    """-Lap u + c u^3 = f on the unit cube."""
    names = tuple(f"x{k}" for k in range(dim))

    def interior(u, x):
        return -hx.laplacian(u)(x) + reaction * u(x) ** 3 - source(x)

    terms = (hx.Residual("interior", interior), hx.Residual("wall", wall, on="boundary"))
    return hx.Problem(hx.Box([0.0] * dim, [1.0] * dim, names=names), terms, reference=reference)


def test_zero_conditions_are_found_by_what_they_ask_for():
    every = ((True, True),) * 3
    assert zero_ends(poisson(3, lambda x: 1.0), "u") == every
    assert zero_ends(poisson(3, lambda x: 1.0, lambda u, x: (2.0 + x[0]) * u(x)), "u") == every
    open_ends = ((False, False),) * 3
    assert zero_ends(poisson(3, lambda x: 1.0, lambda u, x: u(x) - 1e-9), "u") == open_ends
    assert zero_ends(poisson(3, lambda x: 1.0, lambda u, x: x[1] * u(x) ** 3), "u") == open_ends
    assert zero_ends(poisson(3, lambda x: 1.0, lambda u, x: hx.derivative(u, "x0")(x)), "u") == open_ends


def sines(x):
    return jnp.prod(jnp.sin(jnp.pi * x))


def test_four_coordinates_by_default():
    solution = hx.train(poisson(4, lambda x: 4 * jnp.pi**2 * sines(x), reference=sines), budget=20.0)
    assert solution.result is hx.RESULTS.successful
    assert solution.accuracy.relative_l2 < 1e-6
    assert "weak form" in solution.plan
    assert "equation" not in solution.guards


def centre(dim):
    """The solution of -Lap u = 1 in the middle of the unit cube, by its series in time."""
    odd, t = np.arange(1, 400, 2), np.geomspace(1e-7, 5.0, 20001)
    heat = (4 / np.pi / odd * np.sin(odd * np.pi / 2) * np.exp(-np.outer(t, (odd * np.pi) ** 2))).sum(axis=1)
    return float(np.trapezoid(heat**dim * t, np.log(t)))


def test_five_coordinates_by_default():
    solution = hx.train(poisson(5, lambda x: 1.0), budget=40.0)
    assert solution.result is hx.RESULTS.successful
    assert float(solution.field(jnp.full(5, 0.5))) == pytest.approx(centre(5), rel=1e-3)


def test_values_on_the_boundary_that_are_not_zero():
    def exact(x):
        return jnp.exp(0.5 * x[0] - x[1]) * jnp.cos(x[2] + x[3])

    problem = poisson(4, lambda x: 0.75 * exact(x), lambda u, x: u(x) - exact(x), exact)
    solution = hx.train(problem, budget=15.0)
    assert solution.result is hx.RESULTS.successful
    assert "squares" in solution.plan
    assert solution.accuracy.relative_l2 < 1e-4


def test_an_unknown_number_is_found_from_noisy_data_in_four_coordinates():
    """The state at rest satisfies the equation with any number, so data lead first."""

    def exact(x):
        return jnp.exp(-0.1 * jnp.pi**2 * x[0]) * (jnp.cos(jnp.pi * x[1]) + jnp.cos(jnp.pi * x[2]) * x[3])

    def heat(w, x):
        return hx.derivative(w.u, "t")(x) - w.k * (hx.derivative(w.u, "xx")(x) + hx.derivative(w.u, "yy")(x))

    rng = np.random.default_rng(0)
    points = rng.uniform(size=(300, 4))
    truth = np.array(jax.vmap(exact)(points))
    values = truth + 0.01 * np.std(truth) * rng.normal(size=300)
    box = hx.Box([0.0] * 4, [1.0] * 4, names=tuple("txyz"))
    unknowns = {"u": hx.Function(), "k": hx.Constant(1.0)}
    problem = hx.Problem(box, (hx.Residual("heat", heat), hx.Data("u", points, values)), unknowns=unknowns)
    solution = hx.train(problem, levels=2, budget=40.0)
    assert "low-rank" in solution.field_kind
    assert solution.unknowns["k"].value == pytest.approx(0.1, rel=0.03)


def test_what_is_not_of_low_rank_is_refused():
    def front(x):
        return 30.0 * jnp.tanh(25.0 * (jnp.sin(3.0 * x[0] + x[1]) + jnp.cos(2.0 * x[2] * x[3]) - 1.0))

    def interior(u, x):
        return u(x) + hx.derivative(u, "x0")(x) - front(x)

    wall = hx.Residual("wall", lambda u, x: u(x), on=hx.Face("x0", "lower"))
    box = hx.Box([0.0] * 4, [1.0] * 4, names=("x0", "x1", "x2", "x3"))
    solution = hx.train(hx.Problem(box, (hx.Residual("interior", interior), wall)), budget=5.0)
    assert solution.result.exit_code == 3


def test_a_face_without_a_condition_is_named():
    names, every = ("x", "y", "z", "w"), ("lower", "upper")
    faces = [hx.Face(n, side) for n in names for side in every][:-1]
    wall = hx.Residual("wall", lambda u, x: u(x), on=tuple(faces))
    interior = hx.Residual("interior", lambda u, x: -hx.laplacian(u)(x) - 40.0 * sines(x))
    solution = hx.train(hx.Problem(hx.Box([0.0] * 4, [1.0] * 4, names=names), (interior, wall)), budget=5.0)
    assert solution.result is hx.RESULTS.guard_determined
    assert "Nothing fixes u at w = 1" in solution.guards["determined"].sentence


@pytest.mark.parametrize(("open_", "damping"), [(None, 0.1), ("z", 0.0), ("x", 0.1)])
def test_an_inflow_without_a_condition_is_named(open_, damping):
    """What is carried in obliquely is no product; with damping the terms are nonlinear and sampled."""

    def interior(u, x):
        carried = sum(c * hx.derivative(u, n)(x) for c, n in zip((1.0, 0.7, 0.5, 0.3), "txyz", strict=True))
        return carried + damping * u(x) ** 3 - jnp.sin(x[0] + x[1] * x[2] + x[3])

    inflow = [hx.Residual(n, lambda u, x: u(x) - 1.0, on=hx.Face(n, "lower")) for n in "txyz" if n != open_]
    box = hx.Box([0.0] * 4, [1.0] * 4, names=tuple("txyz"))
    problem = hx.Problem(box, (hx.Residual("interior", interior), *inflow))
    plan = hx.plan(problem)
    discrete = DiscreteProblem.of(plan.in_its_units(problem), plan, 0)
    seen = by_polynomials(discrete, plan.hierarchy.levels[0].field)
    guard = Determined().judge(SimpleNamespace(flatness=seen, problem=problem, constants={}, widths={}))
    assert guard.passed == (open_ is None)
    if open_ is None:
        assert seen.violations[-1] > 0.05
    else:
        assert f"Nothing fixes u at {open_} = 0" in guard.sentence

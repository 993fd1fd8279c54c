"""Guards: what they see, in kinds of problems of which the answer is known."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ellipk

import hierax as hx
from hierax.checks.guards import GUARDS, verdict
from hierax.checks.guards.boundary import elsewhere
from hierax.checks.guards.levels import Levels
from hierax.checks.guards.resolution import pace
from hierax.events import Guard
from hierax.solvers import Tolerances
from hierax.training.selection import partial_refinements

BUDGET = 60.0


def test_where_no_guard_runs_nothing_was_checked():
    rows = np.array([[0.1, 0.2], [0.5, 0.9]])
    solution = hx.train(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), (hx.Data("u", rows, np.array([1.0, 3.0])),)))
    assert solution.parameters > len(rows)
    assert solution.guards == {}
    assert solution.result is hx.RESULTS.unchecked
    assert solution.result.exit_code == 3
    assert "nothing was checked" in str(solution)
    assert "every guard passes" not in str(solution)


@pytest.mark.parametrize(
    ("sizes", "passed"),
    [([(4, 2), (8, 3), (8, 5), (16, 7)], True), ([(4, 2), (8, 3), (16, 5), (32, 7)], False)],
    ids=["products alone", "products and knots"],
)
def test_a_refinement_of_one_kind_alone_is_no_measure_of_the_next(sizes, passed):
    """Knots that were too coarse change the solution more than products did before them, and no less was to come."""
    fields = [hx.LowRank.uniform([0.0] * 3, [1.0] * 3, intervals, 3, rank, key=0) for intervals, rank in sizes]
    visited = {level: SimpleNamespace(field=field) for level, field in enumerate(fields)}
    guard = Levels().judge(
        SimpleNamespace(
            governed=True, cut_short=False, noise=None, problem=SimpleNamespace(domain=hx.Box([0.0] * 3, [1.0] * 3)),
            changes=[2e-2, 2e-4, 1.1e-3], partial=partial_refinements(visited, 2),
        )
    )  # fmt: skip
    assert guard is not None
    assert guard.passed is passed


@pytest.mark.parametrize(
    ("changes", "passed"), [([3.1e-6, 4.4e-6], True), ([1e-6, 1e-4], False), ([2e-3, 3e-3], False)]
)
def test_changes_that_grow_fail_where_more_of_them_would_count(changes, passed):
    line = SimpleNamespace(domain=hx.Box([0.0], [1.0]))
    guard = Levels().judge(
        SimpleNamespace(governed=True, cut_short=False, noise=None, problem=line, changes=changes, partial=0)
    )
    assert guard is not None
    assert guard.passed is passed


def test_the_first_guard_that_fails_gives_the_result():
    passed, failed = Guard(1.0, 2.0, True, ""), Guard(3.0, 2.0, False, "")
    assert verdict({}) is hx.RESULTS.unchecked
    assert verdict({"data": passed}) is hx.RESULTS.successful
    assert verdict({"data": failed, "boundary": failed}) is hx.RESULTS.guard_boundary
    for guard in GUARDS:
        assert verdict({guard.name: failed}) is guard.result
        assert guard.result.exit_code == 3


def test_conditions_on_shapes_are_judged_by_the_mean_over_length():
    body = hx.Polygon([(0.0, 0.0), (1.0, 0.45), (1.0, 0.55)])
    problem = hx.Problem(body, (hx.Residual("inside", lambda u, x: hx.laplacian(u)(x)), hx.dirichlet("boundary")))
    points, normals, weights = elsewhere(SimpleNamespace(problem=problem, sampled=problem), 1)
    long, short = np.hypot(1.0, 0.45) + np.hypot(1.0, 0.55), 0.1
    exact = (long / 3.0 + short) / (long + short)  # the mean of x^2
    assert np.average(points[:, 0] ** 2, weights=weights) == pytest.approx(exact, rel=1e-12)
    assert weights @ normals == pytest.approx([0.0, 0.0], abs=1e-12)


ENDS = hx.Residual("ends", lambda u, x, normal: u(x), on="boundary")


def energy(density, length=1.0, conditions=(ENDS,)):
    return hx.Problem(hx.Box([0.0], [length], names=("x",)), (hx.Energy("energy", density), *conditions))


def column(load):
    """Rotation of a column, clamped below and free above, of unit stiffness; it buckles at `(pi / 2)^2`."""

    def density(u, x):
        return 0.5 * hx.derivative(u, "x")(x) ** 2 + load * (jnp.cos(u(x)) - 1.0)

    clamped = hx.Residual("clamped", lambda u, x, normal: u(x), on=hx.Face("x", "lower"))
    return energy(density, conditions=(clamped,))


def test_an_energy_without_a_lower_bound_is_no_success():
    solution = hx.train(energy(lambda u, x: -u(x)), levels=2, budget=BUDGET)
    assert solution.result is hx.RESULTS.guard_stationary
    assert not solution.guards["stationary"].passed


def test_a_concave_energy_is_no_success():
    solution = hx.train(energy(lambda u, x: -(hx.derivative(u, "x")(x) ** 2) - u(x) ** 2), levels=2, budget=BUDGET)
    assert solution.result.exit_code != 0


def test_a_saddle_between_two_wells_is_left():
    """Zero is a saddle of the double well on a long interval; at its minima `|u|` is one away from the ends."""
    solution = hx.train(
        energy(lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 0.25 * (u(x) ** 2 - 1.0) ** 2, 20.0),
        levels=4,
        budget=BUDGET,
    )
    middle = solution.evaluate(np.linspace(8.0, 12.0, 9)[:, None])
    np.testing.assert_allclose(np.abs(middle), 1.0, atol=0.02)
    assert solution.guards["stationary"].passed


@pytest.mark.parametrize("load", [2.0, 4.0])
def test_a_column_buckles_above_its_critical_load_alone(load):
    solution = hx.train(column(load), levels=3, budget=BUDGET)
    free = abs(float(solution.evaluate(np.array([[1.0]]))[0]))
    assert solution.guards["stationary"].passed, solution
    if load < (np.pi / 2) ** 2:
        assert free < 1e-6
    else:
        # sqrt(load) = K(sin(a / 2)), the complete elliptic integral of the elastica
        assert ellipk(np.sin(free / 2) ** 2) == pytest.approx(np.sqrt(load), rel=1e-3)


def test_a_lowest_point_beside_an_abyss_is_none():
    """`u'^2 / 2 + u^3` with zero ends: zero is a local minimum, and large negative fields have any energy."""
    solution = hx.train(energy(lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + u(x) ** 3), levels=2, budget=BUDGET)
    assert solution.result is hx.RESULTS.guard_stationary
    assert "without an end" in solution.guards["stationary"].sentence


def test_a_minimum_where_every_part_of_the_gradient_vanishes_passes():
    """A tilted double well without conditions: a constant, at which the density itself is stationary everywhere."""
    density = lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 + 0.25 * (u(x) ** 2 - 1.0) ** 2 - 0.3 * u(x)  # noqa: E731
    solution = hx.train(energy(density, conditions=()), levels=3, budget=BUDGET)
    wells = np.sort(np.real(np.roots([1.0, 0.0, -1.0, -0.3])))[[0, 2]]
    values = solution.evaluate(np.linspace(0.0, 1.0, 7)[:, None])
    np.testing.assert_allclose(values, wells[np.argmin(np.abs(wells - values[0]))], rtol=1e-6)
    assert solution.result is hx.RESULTS.successful, solution


def test_a_convex_energy_passes():
    solution = hx.train(energy(lambda u, x: 0.5 * hx.derivative(u, "x")(x) ** 2 - u(x)), levels=3, budget=BUDGET)
    assert solution.result is hx.RESULTS.successful, solution
    assert solution.guards["stationary"].value < 1e-3
    np.testing.assert_allclose(solution.evaluate(np.array([[0.5]])), 0.125, rtol=1e-6)


def bar(length=1e-3, young=210e9, pull=1e8):
    """A steel bar in SI units, held below, pulled above: `u = pull x / young`."""
    terms = (
        hx.Residual("balance", lambda u, x: young * hx.derivative(u, "xx")(x)),
        hx.Residual("held", lambda u, x, normal: u(x), on=hx.Face("x", "lower")),
        hx.Residual("pulled", lambda u, x, normal: young * hx.derivative(u, "x")(x) - pull, on=hx.Face("x", "upper")),
    )
    return hx.Problem(hx.Box([0.0], [length], names=("x",)), terms)


def test_conditions_are_judged_in_their_own_units():
    """A misfit in Pa is none in m: whatever the unit of the stress is, the same part of it is missed."""
    problem = bar(young=210.0, pull=0.1)
    solution = hx.train(problem, levels=3, budget=BUDGET)
    assert solution.guards["boundary"].passed, solution
    assert solution.guards["boundary"].value < 1e-9
    end = solution.evaluate(np.array([[1e-3]]))
    np.testing.assert_allclose(end, 1e-3 / 2100.0, rtol=1e-9)


def test_a_stress_that_is_zero_everywhere_is_met():
    """A free end, where the strain and the potential cancel in the stress: its parts have a size, it has none."""
    upper, lower = hx.Face("x", "upper"), hx.Face("x", "lower")
    d = hx.derivative
    terms = (
        hx.Residual("force", lambda w, x: 1e11 * d(w.u, "xx")(x) + 20.0 * d(w.phi, "xx")(x)),
        hx.Residual("charge", lambda w, x: 20.0 * d(w.u, "xx")(x) - 1e-8 * d(w.phi, "xx")(x)),
        hx.Residual("held", lambda w, x, n: w.u(x), on=lower),
        hx.Residual("free", lambda w, x, n: 1e11 * d(w.u, "x")(x) + 20.0 * d(w.phi, "x")(x), on=upper),
        hx.Residual("earth", lambda w, x, n: w.phi(x), on=lower),
        hx.Residual("electrode", lambda w, x, n: w.phi(x) - 200.0, on=upper),
    )
    unknowns = {"u": hx.Function(), "phi": hx.Function()}
    solution = hx.train(hx.Problem(hx.Box([0.0], [0.01], names=("x",)), terms, unknowns=unknowns), budget=BUDGET)
    assert solution.result is hx.RESULTS.successful, solution
    end = solution.evaluate(np.array([[0.01]]), "u")
    np.testing.assert_allclose(end, -20.0 * 200.0 / 1e11, rtol=1e-6)


def test_a_condition_that_is_missed_in_small_units_fails():
    """Two forces that differ by a tenth, in a unit in which both are tiny beside the displacement."""
    one = bar(length=1.0, young=1e-6, pull=1e-7)
    more = hx.Residual("more", lambda u, x, n: 1e-6 * hx.derivative(u, "x")(x) - 1.1e-7, on=hx.Face("x", "upper"))
    solution = hx.train(hx.Problem(one.domain, (*one.terms, more)), levels=3, budget=BUDGET)
    assert solution.result is hx.RESULTS.guard_boundary
    assert solution.guards["boundary"].value == pytest.approx(0.05, rel=0.1)


def test_what_vanishes_where_it_is_prescribed_is_missed_beside_the_solution():
    """Of `u - g` with `g` the solution nothing is left inside either: its size is that of `u`."""
    one = bar(length=1.0, young=1.0, pull=1.0)
    again = hx.Residual("again", lambda u, x, n: u(x) - x[0] - 1e-3, on=hx.Face("x", "lower"))
    solution = hx.train(hx.Problem(one.domain, (*one.terms, again)), levels=3, budget=BUDGET)
    assert solution.guards["boundary"].value == pytest.approx(5e-4 * np.sqrt(3.0), rel=0.1), solution


def test_a_source_that_the_first_level_misses_is_no_false_alarm():
    """`u'' = -g` with a narrow Gaussian: the first loss is near zero, since no point of that level sees the source."""
    width = 1e-3
    z = lambda x: (x[0] - 0.3712) / width  # noqa: E731
    source = hx.Residual("source", lambda u, x: hx.derivative(u, "xx")(x) + jnp.exp(-0.5 * z(x) ** 2) / width)
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0], names=("x",)), (source, ENDS)), budget=BUDGET)
    right = 0.3712 * 0.6288 * np.sqrt(2 * np.pi)
    error = abs(solution.evaluate(np.array([[0.3712]]))[0] - right) / right
    assert error < 2 * width  # of the peak, which the width rounds off
    assert solution.result is hx.RESULTS.successful, solution


def test_data_that_the_field_does_not_predict_are_no_success():
    """Values that depend on nothing that is known: the fit follows 34 of them, and knows nothing of the six others."""
    x = np.random.default_rng(0).random((40, 2))
    box = hx.Box([0.0, 0.0], [1.0, 1.0])
    wild = hx.Problem(box, hx.Data("u", x, np.sin(1e4 * x[:, 0] + 3e3 * x[:, 1]), noise=1e-3))
    found = hx.train(wild, levels=2, budget=600.0)
    assert found.guards["explained"].value > 0.5
    assert found.result.exit_code == 3
    smooth = hx.Problem(box, hx.Data("u", x, np.sin(3 * x[:, 0]) + x[:, 1]))
    assert hx.train(smooth, levels=2, budget=600.0).guards["explained"].value < 0.01


def test_readings_that_contradict_an_equation_fail():
    """`u'' = -8` with zero ends has 1 in the middle; equal readings have no spread, but they have a size."""
    points = np.linspace(0.4, 0.6, 5)[:, None]
    terms = (
        hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) + 8.0),
        ENDS,
        hx.Data("readings", points, np.full(5, 1.5), noise=1e-3),
    )
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms), levels=3, budget=BUDGET)
    assert solution.result is hx.RESULTS.guard_validation
    # one half of what is missed is 500 times the noise
    assert solution.guards["data"].value == pytest.approx(500.0, rel=0.1)


def test_what_bends_between_few_values_is_no_noise_where_one_is_stated():
    """A constant cannot be `sin(4 pi x)`; of 15 values the neighbours of each say little of it."""
    points = np.linspace(0.0, 1.0, 15)[:, None]
    data = hx.Data("u", points, np.sin(4 * np.pi * points[:, 0]), noise=0.05)
    terms = (hx.Residual("constant", lambda u, x: hx.derivative(u, "x")(x)), data)
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms), levels=2, budget=BUDGET)
    assert solution.guards["data"].value > 10.0


def test_a_residual_in_the_smallest_cells_counts_by_their_volume():
    """`2 sqrt(x) u' = 1`: graded cells reach `sqrt(x)`, and what is left in the first of them is nothing."""
    terms = (
        hx.Residual("slope", lambda u, x: 2.0 * jnp.sqrt(x[0]) * hx.derivative(u, "x")(x) - 1.0),
        hx.Residual("start", lambda u, x, normal: u(x), on=hx.Face("x", "lower")),
    )
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0], names=("x",)), terms), budget=BUDGET)
    x = np.linspace(0.0, 1.0, 11)
    np.testing.assert_allclose(solution.evaluate(x[:, None]), np.sqrt(x), atol=1e-4)
    assert solution.result is hx.RESULTS.successful, solution


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ([1e-2, 1e-5], 1 / 6),
        ([1.6e-2, 8e-3, 4e-3, 2e-3], 0.5),
        ([1e-2, 1e-2], 0.8),
        ([3.0, 8e-3, 2e-3], (2e-3 / 3) ** 0.5),
    ],
)
def test_what_is_left_to_change_follows_the_pace_of_the_last_refinements(changes, factor):
    assert pace(changes, [1.0, 0.9]) == pytest.approx(max(factor, 1 / 6))


def test_a_single_change_is_taken_to_fall_as_the_residual_did():
    assert pace([0.1], [1.0, 0.25]) == pytest.approx(0.5)
    assert pace([0.1], [1.0, 1e-9]) == pytest.approx(1 / 6)
    assert pace([0.1], [1.0, 2.0]) == pytest.approx(0.8)
    assert pace([0.1], []) == pytest.approx(1 / 6)


def test_slow_refinement_is_no_success_where_its_last_change_is_small():
    """`r^(1/2) cos(theta / 2)` at the tip of a crack, stopped early: what is left is more than the last change."""
    exact = lambda x: jnp.sqrt(jnp.maximum(0.5 * (jnp.hypot(x[0], x[1] + 1e-30) + x[0]), 0.0))  # noqa: E731
    on = [hx.Face("x", "lower"), hx.Face("x", "upper"), hx.Face("y", "upper")]
    terms = (
        hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)),
        hx.Residual(
            "floor",
            lambda u, x, n: jnp.where(x[0] < 0.0, u(x), hx.derivative(u, "y")(x)),
            on=hx.Face("y", "lower"),
        ),
        hx.Residual("sides", lambda u, x, n: u(x) - exact(x), on=on),
    )
    problem = hx.Problem(hx.Box([-1.0, 0.0], [1.0, 1.0], names=("x", "y")), terms)
    solution = hx.train(problem, levels=7, budget=60.0)
    points = np.random.default_rng(0).uniform([-1.0, 0.0], [1.0, 1.0], (400, 2))
    known = np.asarray(jax.vmap(exact)(points))
    assert np.linalg.norm(solution.evaluate(points) - known) > 1e-2 * np.linalg.norm(known)
    assert not solution.guards["resolution"].passed


def test_a_jump_of_what_is_prescribed_is_met_but_in_one_cell():
    """Walls of 0 and 1 that meet: no continuous field meets both, and points are many where it does not."""
    exact = lambda x: 0.5 + jnp.arctan2(x[0], x[1] + 1e-300) / jnp.pi  # noqa: E731
    floor = hx.Residual("floor", lambda u, x, n: u(x) - jnp.where(x[0] > 0.0, 1.0, 0.0), on=hx.Face("y", "lower"))
    others = [hx.Face("x", "lower"), hx.Face("x", "upper"), hx.Face("y", "upper")]
    terms = (hx.Residual("laplace", lambda u, x: hx.laplacian(u)(x)), floor, hx.dirichlet(others, exact))
    solution = hx.train(hx.Problem(hx.Box([-1.0, 0.0], [1.0, 1.0], names=("x", "y")), terms), budget=300.0)
    points = np.random.default_rng(0).uniform([-1.0, 0.0], [1.0, 1.0], (400, 2))
    known = np.asarray(jax.vmap(exact)(points))
    assert np.linalg.norm(solution.evaluate(points) - known) < 1e-5 * np.linalg.norm(known)
    assert solution.result is hx.RESULTS.successful, str(solution)


def test_a_level_that_was_left_early_still_owes_its_next_step():
    """Two steps of Newton's method leave a solution that is off by about as much as the third would change it."""
    balance = hx.Residual("balance", lambda u, x: hx.derivative(u, "xx")(x) - 40.0 * u(x) ** 3 + 20.0)
    problem = hx.Problem(hx.Box([0.0], [1.0]), (balance, hx.Residual("ends", lambda u, x: u(x), on="boundary")))
    early, ended = (
        hx.train(problem, solver=hx.GaussNewton(tolerances=Tolerances(steps=steps)), levels=1, budget=60)
        for steps in (2, 60)
    )
    guard = early.guards["resolution"]
    assert not guard.passed
    assert "next step" in guard.sentence
    points = np.linspace(0.0, 1.0, 50)[:, None]
    apart = np.linalg.norm(early.evaluate(points) - ended.evaluate(points)) / np.linalg.norm(ended.evaluate(points))
    assert apart / 3 < guard.value < 3 * apart
    assert "resolution" not in ended.guards or ended.guards["resolution"].passed


def test_an_interface_that_stopped_beside_its_place_is_told():
    """`eps^2 |grad u|^2 / 2 + (1 - u^2)^2 / 4`: its positive curvature hardly lets an interface move."""
    width = np.sqrt(2.0) * 0.05

    def layer(x):
        return jnp.tanh((0.8 * x[0] + 0.6 * x[1] - 0.7) / width)

    def density(u, x):
        return 0.5 * 0.05**2 * jnp.sum(hx.gradient(u)(x) ** 2) + 0.25 * (1.0 - u(x) ** 2) ** 2

    terms = (hx.Energy("interface", density), hx.dirichlet("boundary", layer))
    solution = hx.train(hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0]), terms), levels=4)
    points = np.random.default_rng(0).uniform(0.0, 1.0, (200, 2))
    exact = np.asarray(jax.vmap(layer)(points))
    wrong = np.sqrt(np.mean((solution.evaluate(points) - exact) ** 2))
    assert not solution.guards["resolution"].passed or wrong < 0.02

"""Prepared traps: the loss is small and the answer wrong. Each ends in the RESULTS value of the guard that saw it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import RESULTS
from hierax.checks.evidence import Evidence
from hierax.checks.guards import check, verdict
from hierax.objective.build import SampledProblem, Sampling

BUDGET = 60.0


def poisson(wave, unit=1.0):
    """`unit (u'' - u*'') = 0` for `u* = sin(wave x)`, with its values at both ends."""

    def exact(x):
        return jnp.sin(wave * x[0])

    def inside(u, x):
        return unit * (hx.laplacian(u)(x) + wave**2 * exact(x))

    terms = (
        hx.Residual("inside", inside),
        hx.Residual("ends", lambda u, x, normal: u(x) - exact(x), on="boundary"),
    )
    return hx.Problem(hx.Box([0.0], [1.0]), terms, reference=exact)


def plan_with(problem, field=None, *, levels=None, **changes):
    """Train with changes to the plan that the strategy chose."""
    return hx.train(problem, plan=hx.plan(problem, field, levels=levels).changed(**changes), budget=BUDGET)


def assert_trapped(solution, guard, result, loss, error):
    assert solution.loss < loss
    assert solution.accuracy.relative_l2 > error
    assert not solution.guards[guard].passed
    assert solution.guards[guard].value > solution.guards[guard].limit
    assert solution.result is result
    assert result.exit_code == 3


def test_a_grid_with_one_point_a_cell():
    """Fewer points than parameters: the equation holds at them to rounding, and nowhere else."""
    solution = plan_with(poisson(9.0), levels=3, sampling=Sampling(inside=1))
    assert_trapped(solution, "fresh_residual", RESULTS.guard_fresh_residual, loss=1e-20, error=0.1)


def test_a_network_with_few_points():
    network = hx.MLP([1, 16, 1], key=0, domain=([0.0], [1.0]))
    solution = plan_with(poisson(9.0), network, sampling=Sampling(ratio=0.1, least=5))
    assert_trapped(solution, "fresh_residual", RESULTS.guard_fresh_residual, loss=1e-20, error=0.1)


def test_a_condition_that_is_weighted_away():
    """The equation is solved to rounding by a function with other values at the ends."""
    solution = plan_with(poisson(3.0), levels=3, condition_factor=1e-30)
    assert solution.guards["fresh_residual"].passed
    assert_trapped(solution, "boundary", RESULTS.guard_boundary, loss=1e-10, error=0.1)


def test_conditions_that_contradict_each_other():
    """`u = 0` and `u = 1` at the same end, and an equation in units that make everything look small."""
    tiny = 1e-6
    terms = (
        hx.Residual("flat", lambda u, x: tiny * hx.derivative(u, "x")(x)),
        hx.Residual("zero", lambda u, x, normal: u(x), on=hx.Face("x", "lower")),
        hx.Residual("one", lambda u, x, normal: u(x) - 1.0, on=hx.Face("x", "lower")),
    )
    problem = hx.Problem(hx.Box([0.0], [1.0]), terms, reference=lambda x: jnp.ones(()))
    solution = hx.train(problem, levels=2, budget=BUDGET)
    assert solution.loss > 1.0  # in units of its own the loss shows what the tiny factor hid
    assert_trapped(solution, "boundary", RESULTS.guard_boundary, loss=np.inf, error=0.4)


def test_an_oscillation_that_no_level_resolves():
    """Sixty waves on at most thirty-odd intervals, in units that make every residual tiny."""
    solution = hx.train(poisson(400.0, unit=1e-12), levels=3, budget=BUDGET)
    assert not solution.guards["resolution"].passed
    assert_trapped(solution, "resolution", RESULTS.guard_levels, loss=np.inf, error=0.9)


def test_an_equation_without_a_solution():
    """`u' = 1` with `u = 0` at both ends: the levels agree on a compromise; beside it `v'' = -v`, which holds."""
    terms = (
        hx.Residual("slope", lambda w, x: 1e-6 * (hx.derivative(w.u, "x")(x) - 1.0)),
        hx.Residual("wave", lambda w, x: 1e6 * (hx.derivative(w.v, "xx")(x) + w.v(x))),
        hx.Residual("ends", lambda w, x, normal: jnp.stack([w.u(x), w.v(x) - x[0]]), on="boundary"),
    )
    unknowns = {"u": hx.Function(), "v": hx.Function()}
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0]), terms, unknowns=unknowns), levels=4, budget=BUDGET)
    assert solution.loss > 1e-2
    assert solution.result in (RESULTS.guard_boundary, RESULTS.guard_levels)
    assert not solution.guards["equation:slope"].passed
    assert solution.guards["equation:wave"].value < 1e-4


def test_a_root_between_two_kinds_of_conditions_on_a_smooth_boundary():
    """`r^(1/2) sin(angle / 2)` has no square-integrable second derivatives: least squares end at another function,
    which a source hides that only finer levels resolve."""

    def smooth(x):
        return jnp.sin(10.0 * x[0]) * jnp.cos(8.0 * x[1])

    def exact(x):
        return jnp.sqrt(jnp.maximum(0.5 * (jnp.sqrt(x @ x + 1e-300) - x[0]), 0.0)) + smooth(x)

    half = hx.Disk((0, 0), 1.0, name="arc") & hx.Rectangle((-2, 0), (2, 2))
    terms = (
        hx.Residual("poisson", lambda u, x: hx.laplacian(u)(x) - hx.laplacian(smooth)(x)),
        hx.dirichlet(("arc", half.boundary("bottom", where=lambda x: x[0] > 0)), exact),
        hx.neumann(half.boundary("bottom", where=lambda x: x[0] < 0)),
    )
    solution = hx.train(hx.Problem(half, terms, reference=exact), levels=5, budget=BUDGET)
    assert_trapped(solution, "equation", RESULTS.guard_levels, loss=0.1, error=0.1)
    assert solution.guards["resolution"].passed


def test_a_minimum_that_the_weight_of_conditions_hides():
    """Blasius's boundary layer on `[0, 10]`: `f` is 8.279 at the end; a minimum with `f < 0` is no solution."""
    layer = lambda u, x: hx.derivative(u, "xxx")(x) + 0.5 * u(x) * hx.derivative(u, "xx")(x)  # noqa: E731
    slope = lambda u, x, normal: normal[0] * hx.derivative(u, "x")(x) - (x[0] > 5.0)  # noqa: E731
    wall = hx.dirichlet(hx.Face("x", "lower"), 0.0)
    terms = (hx.Residual("layer", layer), wall, hx.Residual("slope", slope, on="boundary"))
    solution = hx.train(hx.Problem(hx.Box([0.0], [10.0], names=("x",)), terms), levels=6, budget=BUDGET)
    right = abs(float(solution.evaluate([[10.0]], "u")[0]) - 8.27921) < 1e-3
    assert right or solution.guards["equation"].value > 0.9
    assert right or solution.result.exit_code == 3


@pytest.mark.parametrize(("diffusivity", "right"), [(0.05, True), (0.15, False)])
def test_an_equation_whose_parts_cancel_everywhere(diffusivity, right):
    """Nothing, a constant and every level satisfy the heat equation, of which only data know; they know 0.05."""
    mode = lambda k, x: jnp.exp(-0.05 * (k * jnp.pi) ** 2 * x[0]) * jnp.sin(k * jnp.pi * x[1])  # noqa: E731
    rng = np.random.default_rng(4)
    points = rng.random((200, 2)) * [0.8, 1.0] + [0.2, 0.0]
    values = jax.vmap(lambda x: mode(1, x) + 0.4 * mode(2, x))(points) + 5e-3 * rng.normal(size=200)
    law = lambda u, x: hx.derivative(u, "t")(x) - diffusivity * hx.derivative(u, "xx")(x)  # noqa: E731
    walls = hx.dirichlet((hx.Face("x", "lower"), hx.Face("x", "upper")))
    box = hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x"))
    solution = hx.train(hx.Problem(box, (hx.Residual("law", law), walls, hx.Data("u", points, values))), budget=BUDGET)
    assert solution.guards["equation:law"].value < 1e-2
    assert solution.result.exit_code == (0 if right else 3)


def noisy(count, seed):
    rng = np.random.default_rng(seed)
    points = rng.random((count, 1))
    values = np.sin(6 * points[:, 0]) + 0.3 * rng.standard_normal(count)
    box = hx.Box([0.0], [1.0])
    return hx.Problem(box, (hx.Data("u", points, values),), reference=lambda x: jnp.sin(6 * x[0]))


@pytest.mark.parametrize("count", [20, 60])
def test_a_network_with_more_parameters_than_noisy_data(count):
    """Fitted to the end it interpolates the noise, with errors far above the solution; values kept back prevent it.

    Twenty values with a noise of 0.3 leave an error of 0.2 between them, which is said.
    """
    network = hx.KAN([1, 4, 1], intervals=2, degree=3, key=0)
    solution = hx.train(noisy(count, 0), hx.refine(network, levels=4), budget=BUDGET)
    assert solution.levels[-1].parameters > 2 * count
    assert solution.accuracy.relative_l2 < 0.4
    assert solution.guards["validation"].passed
    assert {name for name, guard in solution.guards.items() if not guard.passed} <= {"between"}
    assert 0.7 < solution.guards["between"].value / solution.accuracy.relative_l2 < 2.5


def test_a_level_that_follows_the_noise_is_named():
    """The guard itself: the returned level predicts the values kept back worse than a coarser one did."""
    problem = noisy(20, 0)
    field = hx.SplineGrid.uniform([0.0], [1.0], 2, 3)
    fields = dict.fromkeys(("field", "untrained", "coarsest"), field)
    for own, result in ((0.031, RESULTS.successful), (0.06, RESULTS.guard_validation)):
        evidence = Evidence(
            sampled=SampledProblem(problem),
            residuals=lambda *_: np.zeros((1, 1)),
            misses=lambda *_: np.zeros((1, 1)),
            key=0,
            **fields,
            samples=[],
            changes=[0.1],
            losses=[1.0, 0.1],
            untrained_loss=1.0,
            validation_errors=[0.04, 0.03, own],
            validation_error=own,
        )
        guards = check(evidence)
        assert set(guards) == {"validation", "explained"}
        assert guards["validation"].value == pytest.approx(own / 0.03)
        assert verdict(guards) is result


def test_a_minimum_that_is_no_solution_is_left():
    """Growth from a small start: least squares fall to the unstable rest at zero; a domain that grows leads out."""

    def growth(u, x):
        return hx.derivative(u, "t")(x) - 4.0 * u(x) * (1.0 - u(x) / 3.0)

    start = hx.Residual("start", lambda u, x, normal: u(x) - 0.2, on=hx.Face("t", "lower"))
    problem = hx.Problem(hx.Box([0.0], [10.0], names=("t",)), (hx.Residual("growth", growth), start))
    # a cycle that is asked for does without the time slabs that would find the solution
    solution = hx.train(problem, cycle=hx.NestedIteration(), budget=BUDGET)
    assert solution.evaluate(np.array([[9.0]]))[0] == pytest.approx(3.0, rel=1e-6)
    assert solution.result is RESULTS.successful, str(solution)


def test_a_kink_that_satisfies_the_equation_almost_everywhere_is_named():
    """`|u'| = 1` between 0 and 1/2: a saw of any number of teeth; the residual at a tip never falls."""

    def slope(u, x):
        return hx.derivative(u.u, "x")(x) ** 2 - 1.0

    ends = hx.Residual("ends", lambda w, x, normal: w.u(x) - 0.5 * x[0], on="boundary")
    # from zero the least squares stop at a saw; from elsewhere they may stop at fields that miss the ends as well
    unknowns = {"u": hx.Function(initial=0.0)}
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Residual("slope", slope), ends), unknowns=unknowns)
    solution = hx.train(problem, levels=6, budget=BUDGET)
    assert solution.result is RESULTS.guard_levels
    assert solution.guards["equation"].passed
    assert solution.guards["regularity"].value == pytest.approx(0.5, abs=0.1)


def scattered_line(count):
    """`u'' = -81 sin(9 x)` with `u* = sin(9 x) + x`, known at random points of a line, between which nothing is."""
    points = np.random.default_rng(0).random((count, 1))
    ends = hx.Boundary(np.array([[0.0], [1.0]]), np.array([[-1.0], [1.0]]))

    def exact(x):
        return jnp.sin(9.0 * x[0]) + x[0]

    def equation(u, x):
        return hx.laplacian(u)(x) + 81.0 * jnp.sin(9.0 * x[0])

    return hx.Problem(
        hx.PointCloud(points, boundaries={"ends": ends}),
        (hx.Residual("equation", equation), hx.Residual("ends", lambda u, x, n: u(x) - exact(x), on="ends")),
        reference=exact,
    )


def test_equations_that_hold_at_the_points_of_a_cloud_alone():
    """The points kept back show it; left to itself the strategy stops where the points determine no finer level."""
    grid = hx.SplineGrid.uniform([0.0], [1.0], 400, 5)
    overfitted = hx.train(scattered_line(300), hx.refine(grid, levels=1), budget=BUDGET)
    assert_trapped(overfitted, "fresh_residual", RESULTS.guard_fresh_residual, loss=1e-10, error=1e-3)
    own = hx.train(scattered_line(300), budget=BUDGET)
    assert own.stopped_by == "levels"
    assert own.parameters <= 150


def test_equations_that_do_not_fit_the_data_are_named():
    """`u' = u` and values of `exp(3 x)`: the residual is small on every level, the misfit is not."""
    where = np.linspace(0.0, 1.0, 60)[:, None]
    equation = hx.Residual("growth", lambda u, x: hx.derivative(u, "x")(x) - u(x))
    data = hx.Data("u", where, np.exp(3.0 * where[:, 0]), noise=0.01)
    solution = hx.train(hx.Problem(hx.Box([0.0], [1.0]), (equation, data)), levels=5, budget=BUDGET)
    assert solution.result is RESULTS.guard_validation
    assert solution.guards["data"].value > 3
    assert solution.guards["validation"].passed


def test_one_level_within_the_budget_shows_nothing():
    solution = hx.train(poisson(9.0), budget=0.01)
    assert solution.result is RESULTS.guard_levels
    assert "Only the first level" in solution.guards["resolution"].sentence


@pytest.mark.parametrize("source", [1e5, 2e5, 3e5])
def test_a_wall_that_feels_nothing_at_zero(source):
    """Heat that leaves by radiation alone: `b T^4` has no slope where nothing else is known, and steps go too far."""
    conductivity, b, surroundings = 20.0, 4.5e-8, 300.0
    wall = (surroundings**4 + 0.1 * source / b) ** 0.25

    def radiation(u, x, normal):
        return conductivity * normal @ hx.gradient(u)(x) + b * (u(x) ** 4 - surroundings**4)

    terms = (
        hx.Residual("heat", lambda u, x: conductivity * hx.laplacian(u)(x) + source),
        hx.Residual("insulated", lambda u, x: hx.derivative(u, "x")(x), on=hx.Face("x", "lower")),
        hx.Residual("radiation", radiation, on=hx.Face("x", "upper")),
    )
    solution = hx.train(hx.Problem(hx.Box([0.0], [0.1], names=("x",)), terms), budget=60.0)
    assert solution.result is hx.RESULTS.successful
    x = np.linspace(0.0, 0.1, 9)[:, None]
    exact = wall + 0.5 * source / conductivity * (0.1**2 - x[:, 0] ** 2)
    np.testing.assert_allclose(solution.evaluate(x, "u"), exact, rtol=1e-9)

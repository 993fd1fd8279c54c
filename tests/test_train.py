"""Training end to end on problems with known solutions, order of convergence, and how a run ends that cannot go on."""

import time
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax import RESULTS
from hierax.events import Decision, LevelFinished, LevelStarted, RunFinished, RunStarted, StepTaken

BUDGET = 60.0


def bump(x):
    return jnp.prod(jnp.sin(jnp.pi * x + 0.3))


def poisson(dim, inside=None):
    """`lap u = lap u*` with the values of `u*` on the boundary."""

    def interior(u, x):
        return hx.laplacian(u)(x) - hx.laplacian(bump)(x)

    def wall(u, x, normal):
        return u(x) - bump(x)

    terms = (hx.Residual("interior", inside or interior), hx.Residual("wall", wall, on="boundary"))
    return hx.Problem(hx.Box([0.0] * dim, [1.0] * dim), terms, reference=bump)


def decay(rate=2.0):
    """`u' = -rate u`, `u(0) = 1`."""
    terms = (
        hx.Residual("decay", lambda u, x: hx.derivative(u, "t")(x) + rate * u(x)),
        hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("t", "lower")),
    )
    return hx.Problem(hx.Box([0.0], [1.0], names=("t",)), terms, reference=lambda x: jnp.exp(-rate * x[0]))


def line(intervals=4, degree=4):
    return hx.SplineGrid.uniform([0.0], [1.0], intervals, degree)


def successful(problem, error, **settings):
    solution = hx.train(problem, budget=BUDGET, **settings)
    assert solution.result is RESULTS.successful, solution
    assert solution.accuracy.relative_l2 < error, solution
    return solution


# default strategy


def test_poisson_on_a_line():
    solution = successful(poisson(1), 1e-9)
    assert solution.linear_in_parameters
    assert all(level.steps == 1 for level in solution.levels)  # linear: every level is one factorisation
    assert set(solution.guards) >= {"fresh_residual", "boundary", "levels"}
    assert all(guard.passed for guard in solution.guards.values())


def test_poisson_on_a_square():
    solution = successful(poisson(2), 1e-6, levels=3)
    errors = [level.error for level in solution.levels]
    assert all(b < 0.1 * a for a, b in pairwise(errors))


def test_the_heat_equation_of_the_interface():
    conductivity = 0.1

    def interior(u, x):
        return hx.derivative(u, "t")(x) - conductivity * hx.derivative(u, "xx")(x)

    terms = (
        hx.Residual("interior", interior),
        hx.Residual("wall", lambda u, x, normal: u(x), on=(hx.Face("x", "lower"), hx.Face("x", "upper"))),
        hx.Residual("start", lambda u, x, normal: u(x) - jnp.sin(jnp.pi * x[1]), on=hx.Face("t", "lower")),
    )

    def exact(x):
        return jnp.exp(-conductivity * jnp.pi**2 * x[0]) * jnp.sin(jnp.pi * x[1])

    problem = hx.Problem(hx.Box([0.0, 0.0], [1.0, 1.0], names=("t", "x")), terms, reference=exact)
    solution = successful(problem, 1e-6, levels=3)
    points = np.array([[0.3, 0.4], [1.0, 0.9]])
    slope = np.asarray(jax.vmap(lambda x: -conductivity * jnp.pi**2 * exact(x))(points))
    assert np.abs(solution.evaluate(points, "u_t") - slope).max() < 1e-5


def test_a_nonlinear_equation():
    """`u' = -u^2`, `u(0) = 1`: `u = 1 / (1 + t)`."""
    terms = (
        hx.Residual("decay", lambda u, x: hx.derivative(u, "t")(x) + u(x) ** 2),
        hx.Residual("start", lambda u, x, normal: u(x) - 1.0, on=hx.Face("t", "lower")),
    )
    problem = hx.Problem(hx.Box([0.0], [3.0], names=("t",)), terms, reference=lambda x: 1 / (1 + x[0]))
    successful(problem, 1e-6, levels=3)


def test_a_constant_is_found_from_data():
    """`u' = -k u` with measurements of `u` at 40 times: `k` and `u`."""
    truth = 1.7
    times = np.random.default_rng(0).random((40, 1))
    problem = hx.Problem(
        hx.Box([0.0], [1.0], names=("t",)),
        (
            hx.Residual("decay", lambda w, x: hx.derivative(w.u, "t")(x) + w.k * w.u(x)),
            hx.Data("u", times, 3.0 * np.exp(-truth * times[:, 0])),
        ),
        unknowns={"u": hx.Function(), "k": hx.Constant(0.2, bounds=(0.0, None))},
        reference=hx.Reference({"u": lambda x: 3.0 * jnp.exp(-truth * x[0]), "k": truth}, 1e-14),
    )
    solution = successful(problem, 1e-6, levels=3)
    found = np.exp(solution.field.k)
    assert found == pytest.approx(truth, rel=1e-6)
    assert solution.evaluate([[0.5]], "k")[0] == pytest.approx(found, rel=1e-12)


def test_a_disc_of_points():
    """`lap u = -4` on the unit disc, `u = 0` on the circle: `u = 1 - |x|^2`, which is in the space."""
    count = 600
    k = np.arange(count) + 0.5
    radius, angle = np.sqrt(k / count), np.pi * (1 + 5**0.5) * k
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    around = 2 * np.pi * np.arange(120) / 120
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    cloud = hx.PointCloud(
        points, np.full(count, np.pi / count), {"rim": hx.Boundary(circle, circle, np.full(120, 2 * np.pi / 120))}
    )
    terms = (
        hx.Residual("inside", lambda u, x: hx.laplacian(u)(x) + 4.0),
        hx.Residual("rim", lambda u, x, normal: u(x), on="rim"),
    )
    successful(hx.Problem(cloud, terms, reference=lambda x: 1 - x @ x), 1e-7, levels=2)


def test_a_vector_that_turns():
    """`u' = (-u_2, u_1)`, `u(0) = (1, 0)`."""
    problem = hx.Problem(
        hx.Box([0.0], [2.0], names=("t",)),
        (
            hx.Residual("turn", lambda w, x: hx.derivative(w.u, "t")(x) - jnp.array([-w.u(x)[1], w.u(x)[0]])),
            hx.Residual("start", lambda w, x, normal: w.u(x) - jnp.array([1.0, 0.0]), on=hx.Face("t", "lower")),
        ),
        unknowns={"u": hx.Function(2)},
        reference=lambda x: jnp.array([jnp.cos(x[0]), jnp.sin(x[0])]),
    )
    solution = successful(problem, 1e-6, levels=3)
    assert solution.evaluate([[1.0]]).shape == (1, 2)


def test_a_periodic_function():
    """`u'' - u = f` without any boundary."""

    def exact(x):
        return jnp.exp(jnp.sin(2 * jnp.pi * x[0]))

    def interior(u, x):
        return hx.derivative(u, "xx")(x) - u(x) - hx.derivative(exact, "xx")(x) + exact(x)

    box = hx.Box([0.0], [1.0], periodic=("x",))
    solution = successful(hx.Problem(box, (hx.Residual("interior", interior),), reference=exact), 1e-6, levels=3)
    values = solution.evaluate([[0.0], [1.0]], "u_x")
    assert values[0] == pytest.approx(values[1], abs=1e-9)
    assert "boundary" not in solution.guards


# order of convergence


@pytest.mark.parametrize("degree", [2, 5])
def test_order_of_convergence(degree):
    """Least squares of the strong form of an equation of order 2m = 2 under uniform refinement, error in L2.

    The discrete problem is `(lap u, lap v) = (f, lap v)`: Galerkin for an operator of order 4 that is elliptic on H^2.
    The error in H^2 is of order `p - 1`, and duality adds at most `p - 1` again: L2 orders are `min(p + 1, 2 (p - 1))`,
    which is `p + 1` from degree 3 on, and 2 instead of 3 for degree 2.
    """
    hierarchy = hx.refine(line(4, degree), by=hx.IntervalDoubling(), levels=4)
    solution = hx.train(poisson(1), hierarchy, budget=BUDGET)
    errors = np.array([level.error for level in solution.levels])
    orders = np.log2(errors[:-1] / errors[1:])
    assert orders[-1] == pytest.approx(min(degree + 1, 2 * (degree - 1)), abs=0.1)


# the same key, the same bits


@pytest.fixture(scope="module")
def recorded():
    """A run with all its events."""
    events = []
    return hx.train(decay(), levels=2, key=5, subscribers=[events.append], budget=BUDGET), events


def test_same_key_same_bits(recorded):
    first, second = recorded[0], hx.train(decay(), levels=2, key=5, budget=BUDGET)
    leaves = [jax.tree.leaves(run.field) for run in (first, second)]
    assert all(np.array_equal(a, b) for a, b in zip(*leaves, strict=True))
    assert [s.loss for s in first.history] == [s.loss for s in second.history]
    assert vars(first.accuracy) == vars(second.accuracy)
    assert first.work_units == second.work_units


# refusals and failures


def in_32_bits(field):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32) if leaf.dtype == jnp.float64 else leaf, field)


def test_second_order_in_32_bits_is_refused():
    with pytest.raises(hx.InputError, match="jax_enable_x64") as caught:
        hx.train(decay(), in_32_bits(line()), solver=hx.GaussNewton(), budget=BUDGET)
    assert "GaussNewton" in caught.value.what


def test_values_that_are_not_finite_end_in_a_result():
    def inside(u, x):
        return hx.derivative(u, "x")(x) - jnp.log(u(x) - 5.0)

    events = []
    with pytest.raises(hx.TrainingError) as caught:
        hx.train(poisson(1, inside), line(), subscribers=[events.append], throw=True, budget=BUDGET)
    assert str(caught.value) == RESULTS.nonfinite.value
    assert events[-1].result is RESULTS.nonfinite
    (said,) = [e.sentence for e in events if isinstance(e, Decision) and "nonfinite" in e.sentence]
    assert "level 0, step 1, term 'interior'" in said


def test_failure_on_a_finer_level_keeps_the_coarser_one():
    """The residual is finite at the Gauss points of the first level and not at some of the second."""

    def inside(u, x):
        return hx.derivative(u, "x")(x) - jnp.where((x[0] > 0.02) | (x[0] < 0.0), 1.0, jnp.nan)

    hierarchy = hx.refine(line(1, 3), levels=4)
    events = []
    solution = hx.train(poisson(1, inside), hierarchy, subscribers=[events.append], budget=BUDGET)
    assert solution.result is RESULTS.nonfinite
    level = max(e.level for e in events if isinstance(e, LevelStarted))
    assert level >= 1
    assert any(f"level {level}, step 1, term 'interior'" in e.sentence for e in events if isinstance(e, Decision))
    # the last good state is the coarser level's solution, carried over
    assert np.isfinite(solution.field.coefficients).all()
    assert np.abs(solution.field.coefficients).max() > 0.1


# events, budget, interruption


def test_events_tell_the_whole_run(recorded):
    solution, events = recorded
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunFinished)
    assert "Gauss-Newton" in events[0].plan or "GaussNewton" in events[0].plan
    assert [e.level for e in events if isinstance(e, LevelStarted)] == [0, 1]
    assert [e.record.level for e in events if isinstance(e, LevelFinished)] == [0, 1]
    assert [e for e in events if isinstance(e, StepTaken)] == list(solution.history)
    assert events[-1].result is solution.result
    assert solution.seconds_compile >= 0.0


def test_the_budget_is_respected(elapsed):
    """Every step is slowed down, so that the clock alone decides."""
    events = []

    def slow(event):
        events.append(event)
        if isinstance(event, StepTaken):
            time.sleep(1.0)

    began = time.perf_counter()
    solution = hx.train(decay(), subscribers=[slow], budget=3.0)
    assert time.perf_counter() - began < 30.0
    assert solution.stopped_by == "budget"
    assert any(isinstance(e, Decision) and ("budget" in e.sentence or "are left" in e.sentence) for e in events)
    assert 1 <= len(solution.levels) <= 4
    assert solution.accuracy.relative_l2 < 1e-2


def test_an_interrupted_run_returns_what_it_has():
    def stop(event):
        if isinstance(event, LevelFinished) and event.record.level == 1:
            raise KeyboardInterrupt

    solution = hx.train(decay(), subscribers=[stop], budget=BUDGET)
    assert solution.result is RESULTS.interrupted
    assert len(solution.levels) == 2
    assert solution.accuracy.relative_l2 < 1e-4


def test_a_first_order_solver_trains_too():
    solution = hx.train(decay(), line(2, 3), solver=hx.adam(1e-2, 1500), budget=BUDGET)
    assert solution.solver == "Optax"
    losses = [s.loss for s in solution.history]
    assert losses[-1] < 1e-3 * losses[0]
    assert solution.accuracy.relative_l2 < 0.05


def test_a_first_training_compiles_one_program_a_term_and_few_others(compilations):
    """Steps, weights and guards on all levels share the expansions of two terms and of the values."""
    before = compilations.copy()
    solution = hx.train(poisson(2), budget=BUDGET)
    new = compilations - before
    assert len(solution.levels) >= 3
    assert new["expansions"] == 3
    assert sum(new.values()) <= 20, new

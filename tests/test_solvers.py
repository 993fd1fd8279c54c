"""Solvers on objectives whose answer is known, and what they say when there is none."""

from dataclasses import dataclass, replace
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hierax as hx
from hierax import RESULTS
from hierax.objective import AbstractObjective, Linearisation, LocalObjective, make_samples
from hierax.objective.curvature import BandCombination, DenseGram
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.roughness import Roughness
from hierax.objective.rows import RowObjective
from hierax.solvers import (
    Cholesky,
    ConjugateGradients,
    GaussNewton,
    Optax,
    Smoothing,
    Step,
    Tolerances,
    adam,
    smoothing,
)
from hierax.solvers.linear.solve import ErrorEstimate, ModelDecrease, factorise, iterated
from hierax.testing import check_solver
from hierax.testing.solvers import CUBIC, LINEAR

ARCTAN = SquaredResidual("arctan", lambda field, place: jnp.ravel(jnp.arctan(3.0 * field(place.x))) - place.target)


def on_line(term, targets, intervals=6, local=True, quadratic=False):
    """Fit of a cubic spline on [0, 1] to values at equidistant points."""
    field = hx.SplineGrid.uniform([0.0], [1.0], intervals, 3)
    points = (np.arange(len(targets)) + 0.5)[:, None] / len(targets)
    samples = [make_samples(term, points, np.full(len(targets), 1 / len(targets)), None, np.asarray(targets))]
    return (
        LocalObjective(field, samples, [False], quadratic=quadratic)
        if local
        else RowObjective(field, samples, quadratic=quadratic)
    )


def matrix_of(objective):
    size = objective.size
    zero = objective.residuals(np.zeros(size))[0][:, 0]
    return np.stack([objective.residuals(unit)[0][:, 0] - zero for unit in np.eye(size)], axis=1)


def trained(solver, objective, theta, most=100):
    """All steps until the solver is done."""
    state, steps = solver.init(objective, theta), []
    for _ in range(most):
        steps.append(solver.step(objective, theta, state))
        theta, state = steps[-1].theta, steps[-1].state
        if steps[-1].done:
            return steps
    raise AssertionError("not done")


@dataclass
class Handmade(AbstractObjective):
    """An objective of two numbers with whatever curvature a test wants."""

    function: object
    slope: object
    curvature: np.ndarray
    quadratic: bool = False
    samples = ()

    @property
    def size(self):
        return 2

    @property
    def work(self):
        return 1.0

    def values(self, theta):
        return np.array([self.value(theta)])

    def value(self, theta):
        return float(self.function(theta))

    def value_and_gradient(self, theta):
        return self.value(theta), np.asarray(self.slope(theta))

    def linearise(self, theta):
        return Linearisation(*self.value_and_gradient(theta), DenseGram(self.curvature))

    def residuals(self, theta):
        return []


@pytest.mark.parametrize(
    "solver",
    [
        GaussNewton(),
        GaussNewton(damping=0.0),
        GaussNewton(ConjugateGradients(1e-10)),
        GaussNewton(ConjugateGradients()),
    ],
    ids=["default", "no damping", "conjugate gradients", "inexact"],
)
def test_second_order_solvers_obey_the_laws(solver):
    check_solver(solver, key=0)


def test_first_order_solvers_obey_the_laws():
    check_solver(adam(2e-2, 400), key=0)


def test_one_step_solves_a_linear_problem():
    targets = np.random.default_rng(0).standard_normal(40)
    objective = on_line(LINEAR, targets, quadratic=True)
    theta = 100.0 * np.ones(objective.size)
    step = GaussNewton().step(objective, theta, GaussNewton().init(objective, theta))
    best = np.linalg.lstsq(matrix_of(objective), targets, rcond=None)[0]
    assert step.done
    assert step.failure is None
    assert np.linalg.norm(step.theta - best) < 1e-12 * np.linalg.norm(best)
    assert np.linalg.norm(objective.value_and_gradient(step.theta)[1]) < 1e-13


def test_convergence_is_quadratic_where_residuals_vanish():
    truth = np.random.default_rng(1).uniform(-0.7, 0.7, 9)
    u = matrix_of(on_line(LINEAR, np.zeros(40))) @ truth
    objective = on_line(CUBIC, u + u**3)
    steps = trained(GaussNewton(damping=0.0, tolerances=Tolerances(1e-14, 20)), objective, np.zeros(9))
    errors = [np.abs(s.theta - truth).max() for s in steps]
    orders = [np.log(b) / np.log(a) for a, b in pairwise(errors) if a < 0.1 and b > 1e-12]
    assert len(orders) >= 2
    assert all(order > 1.7 for order in orders)
    assert errors[-1] < 1e-12


def test_damping_rises_when_steps_are_refused_and_falls_again():
    objective = on_line(ARCTAN, np.zeros(40))
    theta = np.full(9, 1.5)  # from here an undamped step overshoots to the other side and further out
    solver = GaussNewton(damping=1e-6)
    steps = trained(solver, objective, theta)
    damping = [s.state.damping for s in steps]
    assert max(damping) > 1e3 * solver.damping
    assert damping[-1] < 1e-2 * max(damping)
    values = [objective.value(theta), *(s.value for s in steps)]
    assert all(b <= a for a, b in pairwise(values))
    assert np.abs(steps[-1].theta).max() < 1e-6


def test_a_refused_step_keeps_its_linearisation():
    """The state holds the linearisation at the current point, so that it is not computed twice."""
    objective = on_line(CUBIC, np.linspace(-1, 1, 40))
    solver, theta = GaussNewton(), np.zeros(9)
    step = solver.step(objective, theta, solver.init(objective, theta))
    assert step.state.linearisation.value == step.value
    again = objective.linearise(step.theta)
    assert np.array_equal(step.state.linearisation.gradient, again.gradient)


@pytest.mark.parametrize("quadratic", [False, True])
def test_a_matrix_that_cannot_be_solved_is_a_result(quadratic):
    objective = Handmade(lambda t: t @ t, lambda t: 2 * t + 1, np.full((2, 2), np.nan), quadratic)
    theta = np.ones(2)
    step = GaussNewton().step(objective, theta, GaussNewton().init(objective, theta))
    assert step.failure is RESULTS.singular
    assert step.done
    assert np.array_equal(step.theta, theta)


def test_a_slope_that_lies_moves_nothing():
    """Steps against the slope only climb: none is taken, however much the damping shortens them."""
    objective = Handmade(lambda t: 1.0 + t @ t, lambda t: -2 * t, 2 * np.eye(2))
    theta = np.ones(2)
    step = GaussNewton().step(objective, theta, GaussNewton().init(objective, theta))
    assert step.done
    assert np.array_equal(step.theta, theta)


@pytest.mark.parametrize(("least", "moved"), [(0, False), (4, True)])
def test_a_refused_step_ends_no_level_before_its_fewest_steps(least, moved):
    """Products that begin at zero promise little, and their first steps go too far: the damping is raised."""
    # the model promises 5e-5 of the value, and its step ends higher
    objective = Handmade(lambda t: 1.0 + 1e-3 * np.sin(t[0]) ** 2, lambda t: [1e-3 * np.sin(2 * t[0]), 0.0],
                         np.diag([2e-4, 1.0]))  # fmt: skip
    theta, solver = np.array([0.05, 0.0]), GaussNewton(tolerances=Tolerances(1e-4, 60, least))
    step = solver.step(objective, theta, solver.init(objective, theta))
    assert step.done is not moved
    assert (step.value < objective.value(theta)) is moved


def test_values_that_are_not_finite_are_a_result_on_the_way_too():
    """Finite at the start, not finite wherever a step leads."""
    objective = Handmade(lambda t: 2.0 if t[0] == 1.0 else np.nan, lambda t: 2 * t, 2 * np.eye(2))
    theta = np.ones(2)
    step = GaussNewton().step(objective, theta, GaussNewton().init(objective, theta))
    assert step.failure is RESULTS.nonfinite
    assert np.array_equal(step.theta, theta)
    start = Handmade(lambda t: np.nan, lambda t: 2 * t, 2 * np.eye(2))
    assert GaussNewton().step(start, theta, GaussNewton().init(start, theta)).failure is RESULTS.nonfinite


def spread(n=60, condition=1e4):
    """A random symmetric positive definite matrix with a scaled diagonal."""
    rng = np.random.default_rng(2)
    q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    scale = 10.0 ** rng.uniform(-2, 2, n)
    return (q * np.geomspace(1, condition, n)) @ q.T * scale[:, None] * scale, rng.standard_normal(n) * scale


def test_conjugate_gradients_agree_with_the_factorisation():
    objective = on_line(CUBIC, np.linspace(-1, 2, 80), intervals=20)
    lin = objective.linearise(0.1 * np.arange(23) / 23)
    shift = 1e-3 * lin.curvature.diagonal()
    exact = Cholesky().prepare(lin.curvature, shift)(-lin.gradient)
    step = ConjugateGradients(1e-20, 400).prepare(lin.curvature, shift)(-lin.gradient)
    assert np.linalg.norm(step - exact) < 1e-8 * np.linalg.norm(exact)
    matrix, b = spread()
    exact = factorise(DenseGram(matrix), np.zeros(60))(b)
    step = ConjugateGradients(1e-20, 600).prepare(DenseGram(matrix), np.zeros(60))(b)
    assert np.linalg.norm((step - exact) / exact) < 1e-6
    assert exact == pytest.approx(np.linalg.solve(matrix, b), rel=1e-8)


def test_iterations_tell_the_condition_of_what_they_solve():
    matrix, b = spread(condition=100.0)
    diagonal = np.diag(matrix)
    never = ErrorEstimate(0.0)
    found = iterated(lambda v: matrix @ v, b, lambda r: r / diagonal, never, 120)
    scaled = matrix / np.sqrt(np.outer(diagonal, diagonal))
    assert found.condition == pytest.approx(np.linalg.cond(scaled), rel=1e-4)
    few = iterated(lambda v: matrix @ v, b, lambda r: r / diagonal, never, 5)
    assert 1.0 < few.condition < found.condition
    exact = iterated(lambda v: matrix @ v, b, lambda r: np.linalg.solve(matrix, r), never, 1)
    assert exact.condition == pytest.approx(1.0)
    assert np.isnan(iterated(lambda v: matrix @ v, 0.0 * b, lambda r: r, never, 5).condition)


def test_conjugate_gradients_stop_on_the_decrease_of_the_model():
    matrix, b = spread(200, 1e4)
    inverse = 1 / np.diag(matrix)
    runs = [
        iterated(lambda v: matrix @ v, b, lambda r: inverse * r, ModelDecrease(t), 5000) for t in (1e-1, 1e-3, 1e-12)
    ]
    counts = [run.iterations for run in runs]
    assert counts[0] < counts[1] < counts[2]
    exact = np.linalg.solve(matrix, b)
    best = 0.5 * b @ exact
    model = [b @ s - 0.5 * s @ matrix @ s for s in (run.solution for run in runs)]
    assert model[0] < model[1] < best * (1 + 1e-9)
    # the last iteration still has its share: what is left out is of the order of the tolerance
    assert model[1] > 0.9 * model[2]
    # a test on the residual would have gone on: it is still large where the model has stopped falling
    assert np.linalg.norm(b - matrix @ runs[1].solution) > 1e-3 * np.linalg.norm(b)


def test_conjugate_gradients_refuse_directions_without_curvature():
    step, count = iterated(lambda v: -v, np.ones(3), lambda r: r, ModelDecrease(1e-3), 10)[:2]
    assert count == 0
    assert not step.any()


def test_conjugate_gradients_say_that_a_preconditioner_is_not_positive():
    matrix, b = np.diag([1.0, 2.0, 4.0]), np.ones(3)
    bad = iterated(lambda v: matrix @ v, b, lambda r: np.array([1.0, 1.0, -3.0]) * r, ErrorEstimate(1e-8), 10)
    good = iterated(lambda v: matrix @ v, b, lambda r: r, ErrorEstimate(1e-20), 10)
    assert bad.broken
    assert not good.broken
    np.testing.assert_allclose(good.solution, [1.0, 0.5, 0.25], rtol=1e-9)


def test_what_a_sum_of_squares_cannot_tell_is_not_sought():
    rng = np.random.default_rng(3)
    rows, rest = np.diag(np.geomspace(1.0, 1e-4, 60)), 0.5 * 1e4
    b = rows @ rng.normal(size=60)
    ends = [iterated(lambda v: rows @ v, b, lambda r: r, ErrorEstimate(1e-8, squares), 400) for squares in (0.0, rest)]
    left = [0.5 * (end.solution - b / np.diag(rows)) @ rows @ (end.solution - b / np.diag(rows)) for end in ends]
    assert ends[1].iterations < 0.7 * ends[0].iterations
    assert left[0] < left[1] < 1e-6 * rest


def test_a_first_decrease_by_what_is_rough_foresees_nothing():
    eigenvalues = np.r_[np.ones(40), np.geomspace(0.2, 1.0, 40)]
    exact = np.r_[np.ones(40), np.full(40, 3e-3)]
    found = iterated(lambda v: eigenvalues * v, eigenvalues * exact, lambda r: r, ErrorEstimate(1e-8), 100)
    left = eigenvalues @ (found.solution - exact) ** 2
    assert 2 < found.iterations < 10
    assert left < 1e-8 / eigenvalues.min() * (eigenvalues @ exact**2)  # what `r' r` estimates, but for the spectrum


def test_lbfgs_reaches_the_minimum_with_one_compilation(compilations):
    targets = np.sin(6 * np.arange(64) / 64)
    objective = on_line(LINEAR, targets, local=False)
    matrix = matrix_of(objective)
    best = objective.value(np.linalg.lstsq(matrix, targets, rcond=None)[0])
    count = compilations["_run"]
    steps = trained(Optax(optax.lbfgs(memory_size=20), 60, block=10), objective, np.zeros(9))
    values = [s.value for s in steps]
    assert all(b <= a * (1 + 1e-12) for a, b in pairwise(values))
    assert values[-1] - best < 1e-8 * values[0]
    assert compilations["_run"] == count + 1


# check_solver itself: each of these solvers breaks one promise


class Endless(GaussNewton):
    def step(self, objective, theta, state):
        return super().step(objective, theta, state)._replace(done=False)


class Hasty(GaussNewton):
    def step(self, objective, theta, state):
        half = theta + 0.5 * (super().step(objective, theta, state).theta - theta)
        return Step(half, state, objective.value(half), 0.0, True)


class Climbing(GaussNewton):
    def step(self, objective, theta, state):
        return Step(theta + 1.0, state, objective.value(theta + 1.0), 0.0, False)


class Boasting(GaussNewton):
    def step(self, objective, theta, state):
        step = super().step(objective, theta, state)
        return step._replace(value=0.5 * step.value)


class Fragile(GaussNewton):
    def step(self, objective, theta, state):
        step = super().step(objective, theta, state)
        if step.failure is not None:
            raise FloatingPointError("not finite")
        return step


class Careless(GaussNewton):
    def step(self, objective, theta, state):
        step = super().step(objective, theta, state)
        return step if step.failure is None else step._replace(theta=theta * np.nan)


class Mismatched(GaussNewton):
    def kinds(self, state):
        return (super().kinds(state)[0],)


@pytest.mark.parametrize(
    ("solver", "sentence"),
    [
        (Endless, "none of them reported done"),
        (Hasty, "of the possible decrease"),
        (Climbing, "the value rose"),
        (Boasting, "but the objective is"),
        (Fragile, "step raised FloatingPointError"),
        (Careless, "are not the last good ones"),
        (Mismatched, "kinds does not fit the state"),
    ],
)
def test_broken_promises_are_named(solver, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_solver(solver(), key=0)


# smoothing


def noisy(dim, count, noise, seed):
    rng = np.random.default_rng(seed)
    points = rng.random((count, dim))
    return points, truth(points) + noise * rng.standard_normal(count)


def truth(points):
    return np.sin(5 * points[:, 0]) + (np.cos(3 * points.sum(axis=1)) if points.shape[1] > 1 else points[:, 0] ** 3)


def smoothing_case(dim, intervals, points, values, penalties):
    field = hx.SplineGrid.uniform([0.0] * dim, [1.0] * dim, intervals, 3)
    samples = [make_samples(LINEAR, points, np.full(len(points), 1 / len(points)), None, values)]
    return LocalObjective(field, samples, [False] * dim, [p.gram(field) for p in penalties], quadratic=True)


def probe_error(objective):
    """Root mean square error against the true function, as a function of the parameters."""
    dim = len(objective.periodic)
    points = np.random.default_rng(99).random((400, dim))
    samples = [make_samples(LINEAR, points, np.ones(len(points)), None, truth(points))]
    rows = LocalObjective(objective.field, samples, [False] * dim)
    return lambda theta: float(np.sqrt(np.mean(rows.residuals(theta)[0] ** 2)))


def scanned(objective, error, logs):
    """Smallest error over all combinations of the penalty factors."""
    theta = np.zeros(objective.size)
    each = objective.linearise_each(theta)
    grids = np.meshgrid(*[logs] * (len(each) - 1), indexing="ij")
    best = np.inf
    for combination in np.stack([g.ravel() for g in grids], axis=1):
        curvature = BandCombination([e.curvature for e in each])(np.r_[1.0, 10.0**combination])
        best = min(best, error(factorise(curvature, 1e-13 * curvature.diagonal())(-each[0].gradient)))
    return best


def smoothed(objective, count, penalties):
    solver = Smoothing((0,), tuple(range(1, 1 + penalties)), count)
    theta = np.zeros(objective.size)
    step = solver.step(objective, theta, solver.init(objective, theta))
    assert step.failure is None
    assert step.done
    return step.theta


@pytest.mark.parametrize(
    ("dim", "intervals", "count", "axes"), [(1, 20, 150, [(0,)]), (2, 6, 300, [(0,), (1,)])], ids=["1-d", "2-d"]
)
def test_smoothness_is_chosen_nearly_as_well_as_with_the_truth_known(dim, intervals, count, axes):
    penalties = [Roughness("", a, 2) for a in axes]
    ratios = []
    for seed in range(9 if dim == 1 else 5):
        points, values = noisy(dim, count, 0.2, seed)
        objective = smoothing_case(dim, intervals, points, values, penalties)
        error = probe_error(objective)
        best = scanned(objective, error, np.arange(-8, 1, 0.5 if dim == 1 else 1.0))
        ratios.append(error(smoothed(objective, count, len(axes))) / best)
    assert np.median(ratios) < 1.1
    assert max(ratios) < 1.6


def test_a_level_of_smoothing_costs_as_many_solves_as_it_says(monkeypatch):
    """On these the time of the next level is told."""
    points, values = noisy(1, 200, 0.1, 0)
    objective = smoothing_case(1, 20, points, values, [Roughness("", (0,), 2)])
    solver, theta, made = Smoothing((0,), (1,), 200), np.zeros(objective.size), []
    first = solver.step(objective, theta, solver.init(objective, theta))
    monkeypatch.setattr(smoothing, "factorise", lambda *args: made.append(args) or factorise(*args))
    monkeypatch.setattr(Smoothing, "_thorough", lambda *args: False)
    solver.step(objective, theta, first.state._replace(steps=0))
    assert solver.solves <= len(made) <= solver.solves + 2


def test_refining_does_not_make_a_smoothed_answer_worse():
    points, values = noisy(1, 150, 0.2, 7)
    errors = []
    for intervals in (10, 20, 40, 80, 160):
        objective = smoothing_case(1, intervals, points, values, [Roughness("", (0,), 2)])
        errors.append(probe_error(objective)(smoothed(objective, 150, 1)))
    assert max(errors[1:]) < 1.05 * errors[0]
    assert errors[-1] < 0.1  # half of the noise; interpolation would have all of it


def test_data_without_noise_are_hardly_smoothed():
    points, values = noisy(1, 150, 0.0, 3)
    objective = smoothing_case(1, 20, points, values, [Roughness("", (0,), 2)])
    error = probe_error(objective)
    found = error(smoothed(objective, 150, 1))
    assert found < 1.01 * scanned(objective, error, np.arange(-16, 1, 1.0))
    assert found < 2e-5


def test_smoothing_reports_values_that_are_not_finite():
    points, values = noisy(1, 50, 0.1, 0)
    values[7] = np.nan
    objective = smoothing_case(1, 10, points, values, [Roughness("", (0,), 2)])
    solver, theta = Smoothing((0,), (1,), 50), np.zeros(objective.size)
    step = solver.step(objective, theta, solver.init(objective, theta))
    assert step.failure is RESULTS.nonfinite
    assert np.array_equal(step.theta, theta)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        GaussNewton().damping = 1.0  # type: ignore
    assert replace(GaussNewton(), damping=1.0).damping == 1.0


def test_solvers_refuse_an_objective_that_cannot_do_what_they_need():
    local, rows = on_line(LINEAR, np.ones((8, 1))), on_line(LINEAR, np.ones((8, 1)), local=False)
    theta = np.zeros(local.size)
    with pytest.raises(hx.InputError, match=r"LocalObjective\n.*Optax"):
        Optax(optax.adam(1e-3)).init(local, theta)
    with pytest.raises(hx.InputError, match=r"RowObjective\n.*Smoothing"):
        Smoothing((0,), (1,), 8).init(rows, theta)
    assert LocalObjective(local.field, local.samples, [False], quadratic=True).rescaled([2.0]).quadratic


def test_what_normal_equations_lose_is_found_by_rows():
    """`e^2 u'''' - u'' = -2` with a layer at one end, where slopes are given: a shift is felt at the other end alone.

    One correction with the same factor left 2.7e-2, conjugate gradients 2.6e-4, and refinement changed neither.
    """

    def exact(x):
        return x[0] ** 2 + jnp.exp(-1e3 * x[0])

    def interior(u, x):
        return 1e-6 * hx.derivative(u, "xxxx")(x) - hx.derivative(u, "xx")(x) + 2.0

    def layer(u, x, normal):
        return jnp.stack([hx.derivative(u, "x")(x) + 1e3, hx.derivative(u, "xx")(x) - 2.0 - 1e6])

    def end(u, x, normal):
        return jnp.stack([u(x) - 1.0, hx.derivative(u, "x")(x) - 2.0])

    problem = hx.Problem(
        domain=hx.Box([0.0], [1.0], names=("x",)),
        terms=(
            hx.Residual("interior", interior),
            hx.Residual("layer", layer, on=hx.Face("x", "lower")),
            hx.Residual("end", end, on=hx.Face("x", "upper")),
        ),
        reference=hx.Reference(exact, 1e-12),
    )
    assert hx.train(problem, budget=600.0).accuracy.relative_l2 < 1e-7

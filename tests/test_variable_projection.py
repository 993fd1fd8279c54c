"""Variable projection: the laws of solvers, the digits of a readout that is solved for, nonlinear terms."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax._errors import InputError
from hierax.objective import flat_parameters, make_samples
from hierax.objective.least_squares import dense_rows, linear_mask
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.solvers import Tolerances, VariableProjection
from hierax.testing import check_solver
from hierax.testing.solvers import LINEAR

POINTS = np.linspace(0.0, 1.0, 120)[:, None]
SOLVER = VariableProjection(tolerances=Tolerances(1e-6, 12))


def objective_of(field, values, term=LINEAR):
    return RowObjective(field, [make_samples(term, POINTS, np.full(len(POINTS), 1 / len(POINTS)), None, values)])


def train(objective, solver=SOLVER):
    theta = flat_parameters(objective.field)[0]
    state, values = solver.init(objective, theta), [objective.value(theta)]
    for _ in range(40):
        step = solver.step(objective, theta, state)
        theta, state = step.theta, step.state
        values.append(step.value)
        if step.done:
            return theta, values
    raise AssertionError("not done")


def test_the_laws_of_solvers():
    check_solver(VariableProjection(), key=0)


def test_a_hidden_layer_learns_functions_to_many_digits():
    field = hx.AdaptiveBasis.boxed(30, ([0.0], [1.0]), key=0, slope=2.0)
    x = POINTS[:, 0]
    wave = objective_of(field, np.sin(2 * np.pi * x))
    theta, values = train(wave)
    assert values[-1] <= 1e-20
    assert values[1] <= 1e-3 * values[0]  # the readout alone
    assert values[-1] <= 1e-3 * values[1]  # and what training the basis adds
    assert all(b <= a for a, b in itertools.pairwise(values))
    assert wave.value(theta) == pytest.approx(values[-1], rel=1e-3)
    middle = 0.5 * (POINTS[1:, 0] + POINTS[:-1, 0])
    made = flat_parameters(field)[1](theta)
    error = np.array([float(made(jnp.array([s]))) - np.sin(2 * np.pi * s) for s in middle[::8]])
    assert np.abs(error).max() <= 1e-8


def test_a_readout_in_nonlinear_terms_is_found_by_linearisation():
    cubic = SquaredResidual("cubic", lambda u, place: jnp.ravel(u(place.x) + u(place.x) ** 3) - place.target)
    field = hx.AdaptiveBasis.boxed(12, ([0.0], [1.0]), key=1, slope=2.0)
    u = np.cos(3.0 * POINTS[:, 0])
    objective = objective_of(field, u + u**3, cubic)
    solver = dataclasses.replace(SOLVER, tolerances=Tolerances(1e-2, 4))
    theta, values = train(objective, solver)
    assert values[-1] <= 1e-9
    residual, rows = dense_rows(objective, theta)
    readout = rows[:, linear_mask(field)]
    # the linear parameters are optimal: nothing of the residual is left along their columns
    slope = np.abs(readout.T @ residual).max()
    assert slope <= 1e-3 * np.linalg.norm(readout, axis=0).max() * np.linalg.norm(residual)


def test_the_rows_are_those_of_the_objective():
    field = hx.AdaptiveBasis.boxed(12, ([0.0], [1.0]), key=1, slope=2.0)
    objective = objective_of(field, np.cos(3.0 * POINTS[:, 0]))
    theta = flat_parameters(field)[0] + 0.1
    residual, rows = dense_rows(objective, theta)
    value, gradient = objective.value_and_gradient(theta)
    assert 0.5 * residual @ residual == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(rows.T @ residual, gradient, rtol=1e-10, atol=1e-12)
    mask = linear_mask(field)
    np.testing.assert_array_equal(flat_parameters(field)[0][mask], np.zeros(13))
    assert mask.sum() == 13
    assert len(mask) == 13 + 24


def test_boxed_nodes_bend_inside_the_box():
    for domain in (([0.0], [2.0]), ([0.0, -1.0], [2.0, 1.0])):
        field = hx.AdaptiveBasis.boxed(40, domain, key=0)
        layer = field.basis.layers[0]
        weights, shifts = np.asarray(layer.weight), np.asarray(layer.bias)
        # a plane on which the node is zero passes through the box, in coordinates from -1 to 1
        assert np.all(np.abs(shifts) < np.abs(weights).sum(axis=1))
        assert np.linalg.norm(weights, axis=1).max() <= 40.0 ** (1 / len(domain[0])) + 1e-9


def test_a_jacobian_too_large_for_memory_is_refused(monkeypatch):
    monkeypatch.setattr("hierax.objective.least_squares.KERNEL_ENTRIES", 100)
    objective = objective_of(hx.AdaptiveBasis.boxed(12, ([0.0], [1.0]), key=1, slope=2.0), POINTS[:, 0])
    with pytest.raises(InputError, match="Jacobian of 120 rows and 37 columns"):
        SOLVER.step(objective, flat_parameters(objective.field)[0], SOLVER.init(objective, np.zeros(37)))


def test_cycles_that_correct_are_refused_with_a_remedy():
    points = np.random.default_rng(0).uniform(size=(50, 1))
    problem = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), (hx.Data("data", points, np.sin(points[:, 0])),))
    made = hx.refine(hx.AdaptiveBasis.boxed(4, problem.domain.bounds(), key=0, out=1), by=hx.WidthGrowth(2.0))
    for cycle in (hx.VCycle(), hx.FullMultigrid()):
        with pytest.raises(InputError, match=r"(?s)sums of squares.*NestedIteration\(\)"):
            hx.train(problem, made, solver=VariableProjection(), cycle=cycle)

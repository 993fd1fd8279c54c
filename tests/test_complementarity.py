"""What finer levels add: nested bases that gain nothing in descent, copies that gain nothing, units that are new."""

import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.dynamics import NewtonEvidence, complementarity, outside
from hierax.fields import to_power_relu
from hierax.hierarchy import Level
from hierax.objective import flat_parameters
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.solvers import GaussNewton


def misfit(target, dim, count=200):
    points = np.random.default_rng(0).uniform(-1, 1, (count, dim))
    term = SquaredResidual("misfit", lambda field, place: jnp.atleast_1d(field(place.x) - target(place.x)))
    samples = make_samples(term, points, np.full(count, 1.0 / count))
    return lambda field: RowObjective(field, [samples], local=False)


def trained(field, objective, steps):
    solver, ours, (theta, build) = GaussNewton(), objective(field), flat_parameters(field)
    state = solver.init(ours, theta)
    for _ in range(steps):
        theta, state, *_ = solver.step(ours, theta, state)
    return build(theta)


def measured(field, rule, objective):
    fine, transfer = rule.refine(Level(field))
    return complementarity(objective(fine.field), transfer, field)


def test_the_share_of_a_vector_outside_a_range():
    tangent, metric = np.array([[1.0], [0.0], [0.0]]), np.diag([1.0, 4.0, 0.0])
    assert outside(np.array([3.0, 4.0, 0.0]), tangent) == pytest.approx(0.8)
    assert outside(np.array([2.0, 1.0, 9.0]), tangent, metric) == pytest.approx(np.sqrt(0.5))
    assert outside(np.array([5.0, 0.0, 0.0]), tangent) == 0.0
    assert outside(np.zeros(3), tangent) == 0.0
    # columns that repeat each other do no harm
    assert outside(np.array([3.0, 4.0, 0.0]), np.repeat(tangent, 2, axis=1)) == pytest.approx(0.8)


def test_truncated_powers_are_nested_and_their_descent_stays_in_the_coarse_space():
    objective = misfit(lambda x: jnp.sin(9.0 * x[0]) * jnp.exp(x[0]), 1)
    splines = trained(hx.KAN([1, 1], intervals=8, degree=3, key=0), objective, 3)
    ours = measured(splines, hx.IntervalDoubling(), objective)
    theirs = measured(to_power_relu(splines), hx.IntervalDoubling(), objective)
    # the same two spaces: a Gauss-Newton step gains almost all of what it can from the new knots, in either geometry
    assert ours.newton > 0.99
    assert theirs.newton > 0.9
    # but a step of descent in the weights of powers changes the function as the trained coarse level could
    assert ours.descent > 0.5
    assert theirs.descent < 0.1 * ours.descent


def test_new_units_lead_out_of_the_coarse_space_and_copies_do_not():
    objective = misfit(lambda x: jnp.tanh(4.0 * x[0] - 3.0 * x[1] + 1.0) * x[1], 2)
    field = trained(hx.MLP([2, 2, 1], key=0), objective, 100)
    copies = measured(field, hx.WidthGrowth(2.0, mixing=0.0), objective)
    mixtures = measured(field, hx.WidthGrowth(2.0), objective)
    # the narrow network is trained out: with copies the wide one is stationary too, with mixtures it is not
    assert copies.newton < 0.1
    assert copies.fine_decrease < 1e-9 * mixtures.fine_decrease
    assert min(mixtures.gradient, mixtures.newton) > 0.99
    assert mixtures.gain > 0.1 * objective(field).value(flat_parameters(field)[0])


def test_the_gain_of_the_model_chooses_among_rules():
    objective = misfit(lambda x: jnp.sin(7.0 * x[0] - 3.0 * x[1]), 2)
    field = trained(hx.MLP([2, 4, 1], key=0), objective, 10)
    evidence = NewtonEvidence(objective)
    rules = [hx.WidthGrowth(2.0, mixing=0.0), hx.WidthGrowth(2.0)]
    level = Level(field)
    gains = [evidence.gain(level, *rule.refine(level)) for rule in rules]
    chosen, _ = hx.BestOf(rules).refine(level, evidence=evidence)
    expected, _ = rules[int(np.argmax(gains))].refine(level)
    np.testing.assert_array_equal(chosen.field.layers[0].weight, expected.field.layers[0].weight)
    assert gains[1] > gains[0]

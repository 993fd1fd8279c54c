"""Measures that act: weights of terms from the kernel, a switch of solver on a stall, stages from the residual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.cycles import NestedIteration, SingleLevel, Until
from hierax.dynamics import remainder as rm
from hierax.dynamics import tangent_kernel as tk
from hierax.events import Decision, LevelFinished
from hierax.fields import MLP, Staged, partition
from hierax.hierarchy import AddStage, Level, Remainder
from hierax.objective import flat_parameters
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.objective.samples import make_samples
from hierax.objective.weighting import KernelWeights
from hierax.planning.families import Stages
from hierax.solvers import GaussNewton, Switching, Tolerances, Weighted, adam
from hierax.testing import check_solver, check_transfer

BOUNDS = np.array([-1.0]), np.array([1.0])


def two_terms():
    """A slope inside, a value at two ends."""
    slope = SquaredResidual("slope", lambda u, p: jnp.atleast_1d(hx.derivative(u, 0)(p.x) - jnp.cos(5 * p.x[0])))
    value = SquaredResidual("value", lambda u, p: jnp.atleast_1d(u(p.x) - p.x[0]))
    points, ends = np.linspace(-1, 1, 40)[:, None], np.array([[-1.0], [1.0]])
    samples = [make_samples(slope, points, np.full(40, 0.05)), make_samples(value, ends, np.ones(2))]
    field = MLP([1, 8, 8, 1], key=0, domain=BOUNDS)
    return RowObjective(field, [samples[0], samples[1].scaled(3.0)], local=False), flat_parameters(field)[0]


def wave():
    """A function to be fitted everywhere."""
    fit = hx.Residual("fit", lambda u, x: u(x) - jnp.sin(3 * x[0]) - 0.1 * jnp.sin(20 * x[0]))
    return hx.Problem(hx.Box([-1.0], [1.0]), (fit,))


def test_weighted_training_makes_all_traces_equal_and_reports_the_objective_itself():
    objective, theta = two_terms()
    solver = Weighted(adam(1e-3, 100), every=1)
    state = solver.init(objective, theta)
    step = solver.step(objective, theta, state)
    weights = step.state.weights
    traces = tk.term_traces(objective.rescaled(list(objective.scales * weights)), theta)
    assert traces[0] == pytest.approx(traces[1], rel=1e-12)
    assert step.value == pytest.approx(objective.value(step.theta), rel=1e-12)
    # the next update is the geometric mean of old and new weights
    after = solver.step(objective, step.theta, step.state).state.weights
    np.testing.assert_allclose(after, np.sqrt(weights * tk.trace_weights(objective, step.theta)), rtol=1e-12)
    np.testing.assert_allclose(
        KernelWeights(0.0).update(weights, objective, step.theta), tk.trace_weights(objective, step.theta), rtol=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("solver", [Weighted(adam(2e-2, 400)), Switching(adam(2e-2, 400), GaussNewton(), window=3)])
def test_composed_solvers_obey_the_laws(solver):
    check_solver(solver, key=0)


def test_a_switch_of_solver_is_told_with_its_numbers_and_finer_levels_go_on_with_the_second():
    field = MLP([1, 8, 8, 1], key=0)
    said, newton = [], GaussNewton(tolerances=Tolerances(1e-3, 40))
    solution = hx.train(
        wave(),
        field,
        solver=Switching(adam(1e-3, 10**6), newton, stall=0.9, window=2),
        cycle=SingleLevel(),
        key=0,
        subscribers=[lambda event: said.append(event.sentence) if isinstance(event, Decision) else None],
    )
    (sentence,) = [s for s in said if "Optax stalled" in s and "GaussNewton goes on" in s]
    assert sentence.startswith("Level 0, step ")
    number = int(sentence.split("step ")[1].split(":")[0])
    assert number < len(solution.history)
    assert solution.history[-1].loss < 0.1 * solution.history[number - 1].loss


def test_a_level_that_stalls_says_so():
    said = []
    hx.train(
        wave(),
        MLP([1, 8, 8, 1], key=0),
        solver=GaussNewton(tolerances=Tolerances(1e-9, 40)),
        cycle=SingleLevel(until=Until(stall=0.5)),
        key=0,
        subscribers=[lambda event: said.append(event.sentence) if isinstance(event, Decision) else None],
    )
    assert any("stalled: the last step lowered the loss by" in sentence for sentence in said)


@pytest.mark.parametrize("order", [0, 2])
def test_frequency_and_size_of_an_error_follow_from_its_residual(order):
    points = rm.grid_points(1)
    error = 1e-5 * np.cos(2 * np.pi * 9 * points)
    found = rm.remainder(points, error * (2 * np.pi * 9 / 2.0) ** order, order, BOUNDS)
    assert abs(found.frequency - 9) < 1.5
    assert found.amplitude == pytest.approx(1e-5 / np.sqrt(2), rel=0.35)
    # white noise has no strongest band, although the widest holds the most of it
    noise = np.random.default_rng(0).normal(size=(512, 1))
    edges = rm.band_edges(256)
    energy = rm.grid_bands(noise[:, 0], edges)
    assert np.argmax(energy) == len(energy) - 1
    assert rm.strongest(energy, edges) < edges[-2]


def test_scattered_points_show_the_same_frequency():
    points = np.random.default_rng(1).random((600, 2))
    residual = np.cos(2 * np.pi * 3 * points[:, :1])
    assert abs(rm.remainder(points, residual, 0, (np.zeros(2), np.ones(2))).frequency - 3) < 1.0


def test_a_new_stage_keeps_the_function_and_trains_only_itself():
    field, points = MLP([1, 8, 1], key=0, domain=BOUNDS), np.linspace(-1, 1, 30)[:, None]
    level, transfer = AddStage((6,)).refine(Level(field), key=jax.random.key(3), evidence=Remainder(5.0, 1e-3, BOUNDS))
    assert isinstance(level.field, Staged)
    check_transfer(transfer, field, level.field, key=0, points=points)
    np.testing.assert_array_equal(jax.vmap(level.field)(points), jax.vmap(field)(points))
    assert level.parameters == 2 * 6 + 6 + 1
    assert len(jax.tree.leaves(partition(level.field)[0])) == 4
    # waves of about five periods across a box that is mapped to [-1, 1]
    assert np.std(np.asarray(level.field.network.layers[0].weight)) == pytest.approx(5 * np.pi, rel=0.6)


def test_a_stage_without_a_residual_to_learn_is_refused():
    with pytest.raises(ValueError, match="frequency of a stage follows from the residual"):
        hx.refine(MLP([1, 8, 1], key=0), by=AddStage((6,)), levels=2)


def test_stages_learn_what_the_first_network_leaves():
    losses = []
    solution = hx.train(
        wave(),
        Stages(hidden=(8, 8)),
        solver=GaussNewton(tolerances=Tolerances(1e-3, 25)),
        cycle=NestedIteration(most=2),
        key=0,
        subscribers=[lambda event: losses.append(event.record.loss) if isinstance(event, LevelFinished) else None],
    )
    assert len(losses) == 2
    assert losses[1] < 0.05 * losses[0]
    assert isinstance(solution.field, Staged)

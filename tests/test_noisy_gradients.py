"""Training on gradients of a few samples: their mean, the same bits for the same seed, for a training its own."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hierax as hx
from hierax.hierarchy import resumed
from hierax.objective import make_samples
from hierax.objective.corrected import CorrectedObjective
from hierax.objective.pointwise import SquaredResidual
from hierax.objective.rows import RowObjective
from hierax.training.context import Context

MISFIT = SquaredResidual("misfit", lambda field, place: jnp.ravel(field(place.x)) - place.target)
SLOPE = SquaredResidual("slope", lambda field, place: jax.jacfwd(field)(place.x))


def two_terms() -> RowObjective:
    """A fit of 300 values, and a small slope asked for at 40 points: blocks with and without padding."""
    rng = np.random.default_rng(0)
    field = hx.SplineGrid.uniform([0.0], [1.0], 6, 3)
    points, others = rng.random((300, 1)), rng.random((40, 1))
    data = make_samples(MISFIT, points, np.full(300, 1 / 300), None, np.sin(6 * points))
    return RowObjective(field, [data, make_samples(SLOPE, others, np.full(40, 1 / 40), scale=0.01)])


OBJECTIVE = two_terms()
THETA = np.linspace(-1.0, 1.0, OBJECTIVE.size)


def test_gradients_of_drawn_samples_have_the_whole_gradient_as_their_mean():
    objective = CorrectedObjective(OBJECTIVE, 0.5 * THETA, 0.1, np.cos(THETA))
    program, data = objective.program()
    keys = jax.random.split(jax.random.key(0), 4000)
    found = np.asarray(jax.jit(jax.vmap(lambda key: jax.grad(program)(THETA, program.drawn(data, key, 16))))(keys))
    spread = found.std(axis=0) / np.sqrt(len(keys))
    exact = objective.value_and_gradient(THETA)[1]
    assert np.all(np.abs(found.mean(axis=0) - exact) < 5 * spread)
    assert spread.max() < 0.05 * np.abs(exact).max()


def test_no_drawn_sample_is_padding():
    program, data = OBJECTIVE.program()
    assert any(np.any(np.asarray(weights) == 0) for _, weights in data[1])
    for seed in range(5):
        _, drawn = program.drawn(data, jax.random.key(seed), 200)
        assert all(np.all(np.asarray(weights) > 0) for _, weights in drawn)


def run(solver: hx.Optax, blocks: int) -> list[float]:
    theta, state = THETA, solver.init(OBJECTIVE, THETA)
    values = []
    for _ in range(blocks):
        step = solver.step(OBJECTIVE, theta, state)
        theta, state = step.theta, step.state
        assert step.value == pytest.approx(OBJECTIVE.value(theta), rel=1e-12)
        values.append(step.value)
    return values


@pytest.mark.slow
def test_steps_on_batches_come_near_the_minimum_and_repeat_bit_for_bit():
    solver = hx.adam(0.01, batch=32)
    values = run(solver, 12)
    least = hx.GaussNewton().step(OBJECTIVE, THETA, hx.GaussNewton().init(OBJECTIVE, THETA)).value
    assert values[-1] - least < 0.02 * (OBJECTIVE.value(THETA) - least)
    assert values == run(solver, 12)
    # draws go on where they were when a level is visited again
    state = solver.step(OBJECTIVE, THETA, solver.init(OBJECTIVE, THETA)).state
    back = resumed(state, solver.kinds(state), solver.init(OBJECTIVE, THETA))
    assert (back.drawn, back.steps) == (50, 0)
    again = solver.step(OBJECTIVE, THETA, back).theta
    assert not np.array_equal(again, solver.step(OBJECTIVE, THETA, back._replace(drawn=0)).theta)


def test_batches_follow_from_the_key_of_the_training():
    problem = hx.Problem(hx.Box([0.0], [1.0]), (hx.Data("u", np.linspace(0, 1, 50)[:, None], np.zeros(50)),))
    plan = hx.plan(problem, hx.SplineGrid.uniform([0.0], [1.0], 3, 3), solver=hx.adam(1e-2, batch=8), cycle="single")
    seeds = [Context.of(problem, plan, key, 1.0).plan.solver.seed for key in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]
    fixed = plan.changed(solver=dataclasses.replace(plan.solver, seed=3))
    assert Context.of(problem, fixed, 1, 1.0).plan.solver.seed == 3

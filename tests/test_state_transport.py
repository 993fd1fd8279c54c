"""What an optimiser has learned goes along to the next level: moments, pairs, and larger steps for what is new."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hierax as hx
from hierax.events import LevelFinished
from hierax.hierarchy.transport import lifted_squares, newness, transport
from hierax.objective import flat_parameters
from hierax.objective.flat_transfer import FlatLaws, FlatTransfer
from hierax.objective.objective import AbstractProgrammed, Linearisation
from hierax.solvers import Optax

POINTS = np.random.default_rng(0).uniform(size=(60, 1))
PROBLEM = hx.Problem(hx.Box([0.0], [1.0], names=("x",)), (hx.Data("u", POINTS, np.sin(6 * POINTS[:, 0])),))
WIDER = hx.refine(hx.MLP([1, 3, 1], key=0, domain=([0.0], [1.0])), by=hx.WidthGrowth(2.0), levels=2, key=0)
FINER = hx.refine(hx.KAN([1, 2, 1], intervals=3, degree=2, key=0), levels=2)


def laws(made: hx.Hierarchy) -> tuple[FlatLaws, FlatTransfer, int, int]:
    pair = made.transfers[0], made.levels[0].field, made.levels[1].field
    return FlatLaws(*pair), FlatTransfer(*pair), made.levels[0].parameters, made.levels[1].parameters


@pytest.mark.parametrize("made", [WIDER, FINER], ids=["width", "knots"])
def test_pairs_keep_their_product_and_squares_are_those_of_independent_cotangents(made):
    flat, other, coarse, fine = laws(made)
    rng = np.random.default_rng(1)
    s, y = rng.normal(size=(2, coarse))
    assert float(flat.prolong(s) @ flat.lift(y)) == pytest.approx(float(s @ y), rel=1e-12)
    np.testing.assert_allclose(flat.prolong(s), other.prolong(s), atol=1e-14)
    lift = np.stack([np.asarray(flat.lift(unit)) for unit in np.eye(coarse)], axis=1)
    squares = np.asarray(lifted_squares(flat, jnp.asarray(s**2)))
    seen = np.any(lift != 0.0, axis=1)
    np.testing.assert_allclose(squares[seen], (lift**2 @ s**2)[seen], rtol=1e-12)
    np.testing.assert_allclose(squares[~seen], np.mean(s**2))
    # the trace of prolong after inject is the number of coarse parameters; that of pairs is cut at zero and one
    new = np.asarray(newness(flat, jnp.zeros(coarse)))
    assert new.shape == (fine,)
    assert new.sum() == pytest.approx(fine - coarse, rel=1e-12 if made is FINER else 0.1)
    assert new.min() >= 0.0


def test_moments_of_adam_are_carried_as_gradients_and_their_squares():
    solver = Optax(optax.adam(1e-2), carried=True)
    flat, _, coarse, fine = laws(FINER)
    moment, square = np.random.default_rng(0).normal(size=(2, coarse))
    state = solver.init(Objective(), np.zeros(coarse))
    known = state.inner[0]._replace(count=jnp.asarray(7), mu=jnp.asarray(moment), nu=jnp.asarray(square**2))
    state = state._replace(inner=(known, *state.inner[1:]), steps=7)
    moved = transport(state, solver.kinds(state), flat, solver.init(Objective(), np.zeros(fine)))
    assert (int(moved.inner[0].count), moved.steps) == (7, 0)
    np.testing.assert_allclose(moved.inner[0].mu, flat.lift(moment), atol=1e-14)
    np.testing.assert_allclose(moved.inner[0].nu, lifted_squares(flat, jnp.asarray(square**2)), atol=1e-14)
    other = Optax(optax.adam(1e-2))
    assert np.all(transport(state, other.kinds(state), flat, other.init(Objective(), np.zeros(fine))).inner[0].mu == 0)


def test_pairs_of_lbfgs_are_carried_as_steps_and_gradients():
    solver = Optax(optax.lbfgs(memory_size=2), carried=True)
    flat, _, coarse, fine = laws(FINER)
    state = solver.init(Objective(), np.zeros(coarse))
    steps, changes = np.random.default_rng(0).normal(size=(2, 2, coarse))
    known = state.inner[0]._replace(
        count=jnp.asarray(2), diff_params_memory=jnp.asarray(steps), diff_updates_memory=jnp.asarray(changes)
    )
    at = np.linspace(0.0, 1.0, fine)
    state = state._replace(inner=(known, *state.inner[1:]))
    moved = transport(state, solver.kinds(state), flat, solver.init(Objective(), at)).inner[0]
    assert int(moved.count) == 2
    np.testing.assert_allclose(
        np.sum(moved.diff_params_memory * moved.diff_updates_memory, axis=1),
        np.sum(steps * changes, axis=1),
        rtol=1e-12,
    )
    np.testing.assert_allclose(moved.diff_params_memory[1], flat.prolong(steps[1]), atol=1e-14)
    # the next pair begins where the new level does, with its own gradient
    np.testing.assert_array_equal(moved.params, at)
    np.testing.assert_array_equal(moved.updates, np.ones(fine))


class Objective(AbstractProgrammed):
    """Stands for one whose gradient is asked for once."""

    size, work = 0, 0.0

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.ones_like(theta)

    def values(self, theta: np.ndarray) -> np.ndarray:
        return np.zeros(1)

    def linearise(self, theta: np.ndarray) -> Linearisation:
        raise AssertionError("nobody asks for curvature")

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        return []

    def program(self) -> tuple[None, None]:
        return None, None


def test_new_parameters_take_larger_steps():
    def moved(boost: float) -> np.ndarray:
        solver, fields = Optax(optax.sgd(1e-6), 1, block=1, boost=boost), {}

        def keep(event):
            if isinstance(event, LevelFinished):
                fields[event.record.level] = event.field

        cycle = hx.NestedIteration(most=2)
        hx.train(PROBLEM, WIDER, solver=solver, cycle=cycle, key=0, budget=60, subscribers=[keep])
        return flat_parameters(fields[1])[0]

    once, twice = moved(1.0), moved(2.0)
    flat, _, coarse, _ = laws(WIDER)
    new = np.asarray(newness(flat, jnp.zeros(coarse)))
    assert np.all((twice == once)[new < 1e-12])
    assert np.any(np.abs(twice - once)[new > 0.5] > 0)

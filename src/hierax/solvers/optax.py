"""Any Optax optimiser, L-BFGS among them, as a solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hierax._results import RESULTS
from hierax.hierarchy.transport import METRIC, RESET, SCALAR
from hierax.objective import AbstractObjective
from hierax.objective.corrected import CorrectedObjective, CorrectedProgram
from hierax.objective.rows import Program, RowObjective
from hierax.solvers.base import AbstractSolver, Step, Tolerances


class OptaxState(NamedTuple):
    """State of the optimiser, steps taken on the visit and on all, and the value a block of steps ago."""

    inner: Any
    steps: int
    value: float
    drawn: int = 0


@partial(jax.jit, static_argnames=("program", "optimiser", "count"))
def _run(
    program: Program | CorrectedProgram,
    optimiser: optax.GradientTransformation,
    theta: jax.Array,
    inner: Any,
    data: Any,
    count: int,
) -> tuple[jax.Array, Any, jax.Array]:
    """`count` steps in one compiled loop; returns parameters, state and the value before the last step."""

    extended = optax.with_extra_args_support(optimiser)

    def one(carry: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], jax.Array]:
        theta, inner = carry
        value, gradient = jax.value_and_grad(program)(theta, data)
        updates, inner = extended.update(
            gradient, inner, theta, value=value, grad=gradient, value_fn=lambda z: program(z, data)
        )
        return (optax.apply_updates(theta, updates), inner), value  # pyright: ignore

    (theta, inner), values = jax.lax.scan(one, (theta, inner), None, length=count)
    return theta, inner, values[-1]


@partial(jax.jit, static_argnames=("program", "optimiser", "count", "batch"))
def _run_batches(
    program: Program | CorrectedProgram,
    optimiser: optax.GradientTransformation,
    theta: jax.Array,
    inner: Any,
    data: Any,
    key: jax.Array,
    count: int,
    batch: int,
) -> tuple[jax.Array, Any]:
    """`count` steps, each with a gradient from samples drawn anew; no value is looked at."""

    def one(carry: tuple[jax.Array, Any], key: jax.Array) -> tuple[tuple[jax.Array, Any], None]:
        theta, inner = carry
        gradient = jax.grad(program)(theta, program.drawn(data, key, batch))
        updates, inner = optimiser.update(gradient, inner, theta)
        return (optax.apply_updates(theta, updates), inner), None  # pyright: ignore

    return jax.lax.scan(one, (theta, inner), jax.random.split(key, count))[0]


@dataclass(frozen=True, eq=False)
class Optax(AbstractSolver):
    """First-order and quasi-Newton training by an Optax optimiser.

    Parameters
    ----------
    optimiser:
        For example `optax.adam(1e-3)`, or `optax.lbfgs()` (limited-memory BFGS with a zoom line search).
    steps:
        Steps on each visit of a level.
    block:
        Steps in one compiled loop, reported as one step.
    stall:
        A block that lowers the objective by less than this share ends the visit.
    batch:
        Samples of a noisy gradient, drawn anew for each step with an expectation that is the gradient; all of them if
        not given. The value that a block reports is that of all samples. Not for optimisers that search along a line.
    seed:
        Of the draws.
    """

    optimiser: optax.GradientTransformation
    steps: int = 2000
    block: int = 50
    stall: float = 0.0
    batch: int | None = None
    seed: int = 0
    tolerances: Tolerances = Tolerances()

    @property
    def second_order(self) -> bool:
        return False

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> OptaxState:
        del objective
        inner = optax.with_extra_args_support(self.optimiser).init(jnp.asarray(theta))
        # a dtype of their own for Python numbers in the state: without it the second step would be compiled anew
        return OptaxState(jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), inner), 0, np.inf)

    def kinds(self, state: OptaxState) -> Any:
        # moments have no law between levels, but are worth keeping until a level is visited again
        # the draws go on where they were, on the same level and on the next one
        kept = jax.tree.map(lambda leaf: METRIC, state.inner)
        return OptaxState(kept, RESET, RESET, SCALAR)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: OptaxState) -> Step:
        assert isinstance(objective, RowObjective | CorrectedObjective), (
            "Optax optimisers need an objective that is one function"
        )
        program, data = objective.program()
        count = min(self.block, max(1, self.steps - state.steps))
        if self.batch is None:
            new, inner, value = _run(program, self.optimiser, jnp.asarray(theta), state.inner, data, count)
            value, new = float(value), np.asarray(new)
        else:
            key = jax.random.fold_in(jax.random.key(self.seed), state.drawn)
            found = _run_batches(program, self.optimiser, jnp.asarray(theta), state.inner, data, key, count, self.batch)
            new, inner = np.asarray(found[0]), found[1]
            value = objective.value(new)
        if not (np.isfinite(value) and np.all(np.isfinite(new))):
            return Step(theta, state, state.value, np.inf, True, RESULTS.nonfinite)
        steps = state.steps + count
        decrease = (state.value - value) / max(abs(value), 1e-300) if np.isfinite(state.value) else np.inf
        stalled = self.stall > 0 and decrease < self.stall
        after = OptaxState(inner, steps, value, state.drawn + count)
        return Step(new, after, value, decrease, steps >= self.steps or stalled)


def adam(rate: float = 1e-3, steps: int = 2000, batch: int | None = None) -> Optax:
    """Adam (Kingma and Ba, 2015) at a constant rate; with `batch` on as many samples, drawn anew for each step."""
    return Optax(optax.adam(rate), steps, batch=batch)


def adagrad(rate: float = 1e-2, steps: int = 2000, batch: int | None = None) -> Optax:
    """AdaGrad (Duchi, Hazan, Singer, 2011): steps `rate g_k / sqrt(sum_{j <= k} g_j^2)`, from gradients alone.

    Level by level within a cycle that accepts by `hierax.cycles.AdaGradRadius` it is the multilevel method without
    objective of Gratton, Kopanicakova, Toint, arXiv 2302.07049 (2023). The sums of squares of a level stay with it from
    visit to visit.
    """
    return Optax(optax.adagrad(rate, initial_accumulator_value=0.0, eps=1e-30), steps, batch=batch)


def lbfgs(steps: int = 500, memory: int = 20) -> Optax:
    """Limited-memory BFGS with a zoom line search."""
    return Optax(optax.lbfgs(memory_size=memory), steps, block=10)

"""Any Optax optimiser, L-BFGS among them, as a solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hierax._results import RESULTS
from hierax.hierarchy.transport import DUAL, METRIC, NEWNESS, PRIMAL, RESET, SCALAR, SQUARE, Kind, Stacked
from hierax.objective import AbstractObjective
from hierax.objective.compiled import LONG, compiled_for_each
from hierax.objective.corrected import CorrectedProgram
from hierax.objective.objective import AbstractProgrammed, required
from hierax.objective.program import Program
from hierax.solvers.base import AbstractSolver, Step, Tolerances


class OptaxState(NamedTuple):
    """State of the optimiser, steps taken on the visit and on all, the value a block of steps ago, and what is new.

    `newness` `(N,)`, where it is asked for, is one for parameters that the coarser level lacks, zero for old ones.
    """

    inner: Any
    steps: int
    value: float
    drawn: int = 0
    newness: Any = None


@compiled_for_each(3, attrgetter("keeper"), LONG)
def _run(
    program: Program | CorrectedProgram,
    optimiser: optax.GradientTransformation,
    count: int,
    theta: jax.Array,
    inner: Any,
    data: Any,
    factors: jax.Array | None,
) -> tuple[jax.Array, Any, jax.Array]:
    """`count` steps in one compiled loop; returns parameters, state and the value before the last step."""

    extended = optax.with_extra_args_support(optimiser)

    def one(carry: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], jax.Array]:
        theta, inner = carry
        value, gradient = jax.value_and_grad(program)(theta, data)
        updates, inner = extended.update(
            gradient, inner, theta, value=value, grad=gradient, value_fn=lambda z: program(z, data)
        )
        updates = updates if factors is None else factors * updates  # pyright: ignore
        return (optax.apply_updates(theta, updates), inner), value  # pyright: ignore

    (theta, inner), values = jax.lax.scan(one, (theta, inner), None, length=count)
    return theta, inner, values[-1]


@compiled_for_each(4, attrgetter("keeper"), LONG)
def _run_batches(
    program: Program | CorrectedProgram,
    optimiser: optax.GradientTransformation,
    count: int,
    batch: int,
    theta: jax.Array,
    inner: Any,
    data: Any,
    factors: jax.Array | None,
    key: jax.Array,
) -> tuple[jax.Array, Any]:
    """`count` steps, each with a gradient from samples drawn anew; no value is looked at."""

    def one(carry: tuple[jax.Array, Any], key: jax.Array) -> tuple[tuple[jax.Array, Any], None]:
        theta, inner = carry
        gradient = jax.grad(program)(theta, program.drawn(data, key, batch))
        updates, inner = optimiser.update(gradient, inner, theta)
        updates = updates if factors is None else factors * updates  # pyright: ignore
        return (optax.apply_updates(theta, updates), inner), None  # pyright: ignore

    return jax.lax.scan(one, (theta, inner), jax.random.split(key, count))[0]


def _programmed(objective: AbstractObjective) -> AbstractProgrammed:
    return required(objective, AbstractProgrammed, "Optax", "give an objective that is one function: a RowObjective")


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
        Of the draws; it follows from the key of the training if not given.
    carried:
        Whether moments of Adam and pairs of L-BFGS go along to the next level (`hierax.hierarchy.transport`); otherwise
        they start anew there. Other optimisers start anew in any case.
    boost:
        Factor of the steps of parameters that are new on a level. Not for optimisers that search along a line.
    """

    optimiser: optax.GradientTransformation
    steps: int = 2000
    block: int = 50
    stall: float = 0.0
    batch: int | None = None
    seed: int | None = None
    carried: bool = False
    boost: float = 1.0
    tolerances: Tolerances = Tolerances()

    @property
    def second_order(self) -> bool:
        return False

    def seeded(self, seed: int) -> Optax:
        return replace(self, seed=seed) if self.batch is not None and self.seed is None else self

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> OptaxState:
        _programmed(objective)
        inner = optax.with_extra_args_support(self.optimiser).init(jnp.asarray(theta))
        if self.carried and any(map(_pairs, jax.tree.leaves(inner, is_leaf=_pairs))):
            # the first pair of a level is made of what is known there, not of the level before
            slope = jnp.asarray(objective.value_and_gradient(theta)[1])
            inner = _mapped(lambda node: node._replace(params=jnp.asarray(theta), updates=slope), inner, _pairs)
        # a dtype of their own for Python numbers in the state: without it the second step would be compiled anew
        inner = jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), inner)
        return OptaxState(inner, 0, np.inf, 0, None if self.boost == 1.0 else np.zeros(len(theta)))

    def kinds(self, state: OptaxState) -> Any:
        # moments have no law between levels, but are worth keeping until a level is visited again
        # the draws go on where they were, on the same level and on the next one
        kept = _mapped(_laws, state.inner, _known) if self.carried else state.inner
        kept = jax.tree.map(lambda leaf: leaf if isinstance(leaf, Kind | Stacked) else METRIC, kept, is_leaf=_is_law)
        return OptaxState(kept, RESET, RESET, SCALAR, RESET if self.boost == 1.0 else NEWNESS)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: OptaxState) -> Step:
        program, data = _programmed(objective).program()
        count = min(self.block, max(1, self.steps - state.steps))
        factors = None if self.boost == 1.0 else 1.0 + (self.boost - 1.0) * jnp.asarray(state.newness)
        if self.batch is None:
            new, inner, value = _run(program, self.optimiser, count, jnp.asarray(theta), state.inner, data, factors)
            value, new = float(value), np.asarray(new)
        else:
            key = jax.random.fold_in(jax.random.key(self.seed or 0), state.drawn)
            given = jnp.asarray(theta), state.inner, data, factors, key
            found = _run_batches(program, self.optimiser, count, self.batch, *given)
            new, inner = np.asarray(found[0]), found[1]
            value = objective.value(new)
        if not (np.isfinite(value) and np.all(np.isfinite(new))):
            return Step(theta, state, state.value, np.inf, True, RESULTS.nonfinite)
        steps = state.steps + count
        decrease = (state.value - value) / max(abs(value), 1e-300) if np.isfinite(state.value) else np.inf
        stalled = self.stall > 0 and decrease < self.stall
        after = OptaxState(inner, steps, value, state.drawn + count, state.newness)
        return Step(new, after, value, decrease, steps >= self.steps or stalled)


def _known(node: Any) -> bool:
    """Whether it is a part of a state whose laws are known."""
    return isinstance(node, optax.ScaleByAdamState | optax.ScaleByLBFGSState)


def _pairs(node: Any) -> bool:
    return isinstance(node, optax.ScaleByLBFGSState)


def _laws(node: Any) -> Any:
    """How the parts of a known state travel: gradients are lifted, steps prolonged, and pairs keep their product."""
    if isinstance(node, optax.ScaleByAdamState):
        return optax.ScaleByAdamState(SCALAR, DUAL, SQUARE)  # pyright: ignore
    return optax.ScaleByLBFGSState(SCALAR, RESET, RESET, Stacked(PRIMAL), Stacked(DUAL), SCALAR)  # pyright: ignore


def _mapped(function: Callable[[Any], Any], tree: Any, where: Callable[[Any], bool]) -> Any:
    """The tree with the nodes that are meant exchanged."""
    return jax.tree.map(lambda node: function(node) if where(node) else node, tree, is_leaf=where)


def _is_law(node: Any) -> bool:
    return isinstance(node, Kind | Stacked)


def adam(rate: float = 1e-3, steps: int = 2000, batch: int | None = None) -> Optax:
    """Adam (Kingma and Ba, 2015) at a constant rate; with `batch` on as many samples, drawn anew for each step."""
    return Optax(optax.adam(rate), steps, batch=batch)


def lbfgs(steps: int = 500, memory: int = 20) -> Optax:
    """Limited-memory BFGS with a zoom line search."""
    return Optax(optax.lbfgs(memory_size=memory), steps, block=10)

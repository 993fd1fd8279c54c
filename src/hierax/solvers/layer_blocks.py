"""Schwarz in the space of parameters: quasi-Newton steps in single layers before those of all parameters together."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hierax._results import RESULTS
from hierax.fields.base import partition
from hierax.hierarchy.transport import METRIC, RESET
from hierax.objective import AbstractObjective
from hierax.objective.corrected import CorrectedObjective, CorrectedProgram
from hierax.objective.rows import Program, RowObjective
from hierax.solvers.base import AbstractSolver, Step

Local = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From parameters `(N,)` and a mask of a block to the change that local steps in the block make."""
Value = Callable[[np.ndarray], float]


def layer_masks(field: Any) -> np.ndarray:
    """Which flat trained parameters belong to each block, `(blocks, N)`: arrays of one module, a layer, are a block."""
    leaves = jax.tree_util.tree_leaves_with_path(partition(field)[0])
    owners = [jax.tree_util.keystr(path[:-1]) for path, _ in leaves]
    owner = np.repeat(np.arange(len(owners)), [np.size(leaf) for _, leaf in leaves])
    names = np.array(owners)[owner] if owners else np.zeros(0, dtype=str)
    return np.stack([names == name for name in dict.fromkeys(owners)]) if owners else np.zeros((0, 0), dtype=bool)


class AbstractCombination(abc.ABC):
    """How steps of the blocks are put together without raising the objective."""

    @abc.abstractmethod
    def swept(self, theta: np.ndarray, value: float, masks: np.ndarray, local: Local, f: Value) -> np.ndarray:
        """Parameters after all blocks have made their steps."""


@dataclass(frozen=True)
class LayersTogether(AbstractCombination):
    """All blocks from the same point (additive): their changes are added, half as long until the objective falls."""

    def swept(self, theta: np.ndarray, value: float, masks: np.ndarray, local: Local, f: Value) -> np.ndarray:
        change = sum((local(theta, mask) for mask in masks), np.zeros_like(theta))
        for length in 0.5 ** np.arange(8):
            if f(theta + length * change) < value:
                return theta + length * change
        return theta


@dataclass(frozen=True)
class LayersInTurn(AbstractCombination):
    """Block after block, each from where the one before has come (multiplicative), from the last layer to the first."""

    def swept(self, theta: np.ndarray, value: float, masks: np.ndarray, local: Local, f: Value) -> np.ndarray:
        for mask in masks[::-1]:
            trial = theta + local(theta, mask)
            after = f(trial)
            if after < value:
                theta, value = trial, after
        return theta


class LayerBlocksState(NamedTuple):
    """State of the steps of all parameters, sweeps made, and the value."""

    inner: Any
    sweeps: int = 0
    value: float = np.inf


@dataclass(frozen=True, eq=False)
class LayerBlocks(AbstractSolver):
    r"""Quasi-Newton steps, preconditioned by nonlinear solves in the layers of a network.

    In a sweep every layer `b` lowers the objective over its own parameters by `local` steps of limited-memory BFGS, the
    others being held, and the changes are combined additively or multiplicatively. A few steps of limited-memory BFGS
    over all parameters follow; their memory goes on from sweep to sweep, so that it sees the movement of the layers as
    well. Neither part raises the objective.

    On one core it lost to plain L-BFGS at equal seconds on both equations of the study `nonlinear-preconditioning`: a
    step in one layer costs as much as one of all parameters. Published gains are for deep networks, hours of training
    and one device a layer.

    Parameters
    ----------
    combination:
        How the steps of the layers are put together.
    local, together:
        Steps in every layer, and of all parameters, in a sweep.
    memory:
        Pairs of the steps of all parameters; in the layers it is ten.
    sweeps:
        Most sweeps on a level.
    stall:
        A sweep that lowers the objective by less than this share ends the level.

    References
    ----------
    Kopanicakova, Kothari, Karniadakis, Krause, SIAM J. Sci. Comput. 46 (2024), arXiv 2306.17648 (ASPQN and MSPQN).
    """

    combination: AbstractCombination = LayersInTurn()
    local: int = 10
    together: int = 10
    memory: int = 10
    sweeps: int = 200
    stall: float = 1e-6

    @property
    def second_order(self) -> bool:
        return False

    @property
    def _all(self) -> optax.GradientTransformationExtraArgs:
        return _lbfgs(self.memory)

    def init(self, objective: AbstractObjective, theta: np.ndarray) -> LayerBlocksState:
        inner = self._all.init(jnp.asarray(theta))
        return LayerBlocksState(jax.tree.map(lambda leaf: jnp.asarray(leaf, leaf.dtype), inner))

    def kinds(self, state: LayerBlocksState) -> Any:
        return LayerBlocksState(jax.tree.map(lambda _: METRIC, state.inner), RESET, RESET)  # pyright: ignore

    def step(self, objective: AbstractObjective, theta: np.ndarray, state: LayerBlocksState) -> Step:
        assert isinstance(objective, RowObjective | CorrectedObjective), (
            "layer blocks need an objective that is one function"
        )
        program, data = objective.program()
        before = objective.value(theta)
        if not np.isfinite(before):
            return Step(theta, state, before, np.inf, True, RESULTS.nonfinite)

        def local(start: np.ndarray, mask: np.ndarray) -> np.ndarray:
            found = np.asarray(_in_block(program, _lbfgs(10), jnp.asarray(start), data, jnp.asarray(mask), self.local))
            return np.where(np.isfinite(found), found, 0.0)

        moved = self.combination.swept(theta, before, layer_masks(objective.field), local, objective.value)
        new, inner = _joint(program, self._all, jnp.asarray(moved), state.inner, data, self.together)
        new, value = np.asarray(new), objective.value(np.asarray(new))
        between = objective.value(moved)
        if not value <= between:
            # a search that failed: its memory is of no use either
            new, value, inner = moved, between, self.init(objective, moved).inner
        sweeps, decrease = state.sweeps + 1, (before - value) / max(abs(before), 1e-300)
        done = sweeps >= self.sweeps or decrease < self.stall
        return Step(new, LayerBlocksState(inner, sweeps, value), value, decrease, done)


def _lbfgs(memory: int) -> optax.GradientTransformationExtraArgs:
    """One object for each memory, so that the loops are compiled once."""
    return _MADE.setdefault(memory, optax.lbfgs(memory_size=memory))


_MADE: dict[int, optax.GradientTransformationExtraArgs] = {}


@partial(jax.jit, static_argnames=("program", "optimiser", "count"))
def _in_block(
    program: Program | CorrectedProgram, optimiser: Any, theta: jax.Array, data: Any, mask: jax.Array, count: int
) -> jax.Array:
    """The change that `count` steps make where the mask is true; one compilation for all blocks."""

    def value(z: jax.Array) -> jax.Array:
        return program(theta + jnp.where(mask, z, 0.0), data)

    zero = jnp.zeros_like(theta)
    return jnp.where(mask, _steps(value, optimiser, zero, optimiser.init(zero), count)[0], 0.0)


@partial(jax.jit, static_argnames=("program", "optimiser", "count"))
def _joint(
    program: Program | CorrectedProgram, optimiser: Any, theta: jax.Array, inner: Any, data: Any, count: int
) -> tuple[jax.Array, Any]:
    # value and gradient that the search has kept are those of the point from which the layers have moved away
    inner = optax.tree_utils.tree_set(inner, value=jnp.inf)
    return _steps(lambda z: program(z, data), optimiser, theta, inner, count)


def _steps(value: Callable, optimiser: Any, z: jax.Array, inner: Any, count: int) -> tuple[jax.Array, Any]:
    """`count` steps with a line search from `z`; the search keeps the value and gradient for the next step."""
    known = optax.value_and_grad_from_state(value)

    def one(carry: tuple[jax.Array, Any], _: None) -> tuple[tuple[jax.Array, Any], None]:
        z, inner = carry
        at, slope = known(z, state=inner)
        updates, inner = optimiser.update(slope, inner, z, value=at, grad=slope, value_fn=value)
        return (optax.apply_updates(z, updates), inner), None  # pyright: ignore

    return jax.lax.scan(one, (z, inner), None, length=count)[0]

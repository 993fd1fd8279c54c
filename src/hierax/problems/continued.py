r"""A learned stored energy beyond its samples: what is known there is that bodies resist more and more.

Let `W` be the learned function of the invariants `i`, `K` a polytope around those that were measured, with centre `c`,
gauge :math:`\gamma` and border :math:`\gamma = 1`. With a sum :math:`W_0 = \sum_j a_j \varphi_j, \; a_j \ge 0`, of
polyconvex energies that meets the slopes of `W` at the samples best, and :math:`D = W - W_0`,

.. math:: W_0(i) + D\left(c + \tfrac{s(\gamma)}{\gamma} (i - c)\right), \quad
    s = \gamma \text{ in } K, \; 1 + h \tanh\tfrac{\gamma - 1}{h} \text{ outside}

is `W` in `K`, twice differentiable across its border, and grows beyond it as :math:`W_0`, which every extreme
deformation makes infinite: minima exist. The :math:`\varphi_j` are those of `hierax.problems.polyconvex`.
"""

from __future__ import annotations

import itertools
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.problems.learned import Learned
from hierax.problems.polyconvex import nonnegative, polyconvex
from hierax.problems.watched import watched

ROOM = 0.02
"""Room around the samples, in their range, where the learned function is still itself."""
BEYOND = 0.05
"""How far it is asked beyond the border, in the distance of the border from the centre."""
ROWS = 1000
"""Most samples that choose the weights."""


@final
class ContinuedEnergy:
    """A learned energy of invariants which is itself near its samples and has minima everywhere else.

    Parameters
    ----------
    learned:
        The function; its inputs are marked, so that a guard can tell where it was continued.
    names, rest, felt:
        Of the invariants; their values in the undeformed body, where the energy is zero; and which of their slopes have
        no stress there, as 0 and 1.
    """

    def __init__(self, learned: Learned, names: tuple[str, ...], rest: np.ndarray, felt: np.ndarray) -> None:
        seen = learned.seen
        rows = seen.rows
        if rows is None:
            rows = np.array(list(itertools.product(*zip(seen.box.lower, seen.box.upper, strict=True))))
        low, high = rows.min(axis=0), rows.max(axis=0)
        self._size, self._centre = np.maximum(high - low, 1e-6), 0.5 * (low + high)
        ways = np.array([way for way in itertools.product((-1.0, 0.0, 1.0), repeat=len(low)) if any(way)])
        reach = np.max(((rows - self._centre) / self._size) @ ways.T, axis=0) + ROOM * np.sum(np.abs(ways), axis=1)
        # all rows may lie on one side of a diagonal through the centre
        self._facets = ways / np.maximum(reach, ROOM)[:, None]
        self._learned, self._rest = learned, rest
        with jax.ensure_compile_time_eval():
            value, slope = jax.jit(jax.value_and_grad(self._raw))(jnp.asarray(rest))
            self._value, self._slope = np.asarray(value), felt * np.asarray(slope)
            self._energies = polyconvex(names, rest, high)
            weights = self._fitted(rows[:: -(-len(rows) // ROWS)])
            # far away one that has no weight may not be finite
            self._energies = [energy for energy, own in zip(self._energies, weights, strict=True) if own > 0.0]
            self._weights = weights[weights > 0.0]
        # terms are traced many times, this part of them once
        self._traced = jax.jit(self._continued)

    def __call__(self, now: Float[Array, " k"]) -> Float[Array, ""]:
        return self._traced(watched(now, self._learned.seen))

    def _continued(self, now: Float[Array, " k"]) -> Float[Array, ""]:
        away = now - self._centre
        gauge = jnp.maximum(jnp.max(self._facets @ (away / self._size)), 1.0)
        near = self._centre + away * (1.0 + BEYOND * jnp.tanh((gauge - 1.0) / BEYOND)) / gauge
        lacking = self._raw(near) - self._value - self._slope @ (near - self._rest) - self._weights @ self._grown(near)
        return self._weights @ self._grown(now) + lacking

    def _raw(self, now: Float[Array, " k"]) -> Float[Array, ""]:
        return jnp.sum(self._learned.value(now))

    def _grown(self, now: Float[Array, " k"]) -> Float[Array, " n"]:
        return jnp.stack([energy(now) for energy in self._energies])

    def _fitted(self, rows: np.ndarray) -> np.ndarray:
        """Weights for which the slopes differ least, each in the range of its invariant."""
        slopes = np.asarray(jax.jit(jax.vmap(jax.grad(self._raw)))(jnp.asarray(rows))) - self._slope
        basis = np.asarray(jax.jit(jax.vmap(jax.jacfwd(self._grown)))(jnp.asarray(rows))) * self._size
        return nonnegative(np.moveaxis(basis, 1, 2).reshape(-1, basis.shape[1]), np.ravel(slopes * self._size))

r"""A learned stored energy beyond its samples: what is known there is that bodies resist more and more.

Let `W` be the learned function of the invariants `i`, `K` a polytope around those that were measured, with centre `c`,
gauge :math:`\gamma` and border :math:`\gamma = 1`. With a sum :math:`W_0 = \sum_j a_j \varphi_j, \; a_j \ge 0`, of
polyconvex energies that meets the slopes of `W` at the samples best, and :math:`D = W - W_0`,

.. math:: W_0(i) + D\left(c + \tfrac{s(\gamma)}{\gamma} (i - c)\right), \quad
    s = \gamma \text{ in } K, \; 1 + h \tanh\tfrac{\gamma - 1}{h} \text{ outside}

is `W` in `K`, twice differentiable across its border, and grows beyond it as :math:`W_0`, which every extreme
deformation makes infinite: minima exist. The :math:`\varphi_j` are :math:`(J^2 - 1)/2 - \log J`, functions of `J` that
are convex and have no bound where it vanishes, powers of :math:`\bar I_1 - d`, of :math:`\langle \mathrm{tr}\,C - d
\rangle` and of :math:`\bar I_2 - \bar I_1`, and :math:`\exp(k \langle I_a - 1 \rangle^2)` for fibres, which resist
where they are stretched. (Hartmann and Neff, Int. J. Solids Structures 40 (2003) 2767; Schroeder and Neff, ibid. 401.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import nnls

from hierax.problems.learned import Learned
from hierax.problems.watched import watched

Energy = Callable[[Any], Float[Array, ""]]
ROOM = 0.02
"""Room around the samples, in their range, where the learned function is still itself."""
BEYOND = 0.05
"""How far it is asked beyond the border, in the distance of the border from the centre."""
LEAST = 1e-2
"""Least weight of the energies that grow without bound: they have this part of the slopes of the samples."""
GROWING = 2
"""How many of the energies these are."""
OCTAVES = 5
"""Of exponents of fibres."""
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
            value, slope = jax.value_and_grad(self._raw)(jnp.asarray(rest))
            self._value, self._slope = np.asarray(value), felt * np.asarray(slope)
            self._energies = _polyconvex(names, rest, high)
            weights = self._fitted(rows[:: -(-len(rows) // ROWS)])
            # far away one that has no weight may not be finite
            self._energies = [energy for energy, own in zip(self._energies, weights, strict=True) if own > 0.0]
            self._weights = weights[weights > 0.0]

    def __call__(self, now: Float[Array, " k"]) -> Float[Array, ""]:
        now = watched(now, self._learned.seen)
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
        slopes = slopes * self._size
        basis = np.asarray(jax.jit(jax.vmap(jax.jacfwd(self._grown)))(jnp.asarray(rows))) * self._size
        matrix = np.moveaxis(basis, 1, 2).reshape(-1, basis.shape[1])
        sizes = np.linalg.norm(matrix, axis=0)
        sizes = np.where(sizes > 0.0, sizes, 1.0)
        least = np.zeros(len(sizes))
        least[:GROWING] = LEAST * np.linalg.norm(slopes) / sizes[:GROWING]
        found = nnls(matrix / sizes, np.ravel(slopes) - matrix @ least)[0]
        return least + found / sizes


def _polyconvex(names: tuple[str, ...], rest: np.ndarray, stretches: np.ndarray) -> list[Energy]:
    """Polyconvex energies of the invariants; first those that are never left out.

    Those of fibres have octaves of `k` up to a growth of `e^4` where samples have stretched them most, `stretches`.
    """
    first, volume = names.index("I1"), names.index("J")
    power, least = 2.0 / rest[first], rest[first]
    stretched = lambda i: jnp.maximum(i[first] * i[volume] ** power - least, 0.0)  # noqa: E731
    out: list[Energy] = [
        lambda i: 0.5 * (i[volume] ** 2 - 1.0) - jnp.log(i[volume]),
        lambda i: (i[first] - least) ** 2,
        lambda i: -jnp.log(i[volume]),
        lambda i: 1.0 / i[volume],
        lambda i: i[volume] ** -2,
        lambda i: jnp.minimum(jnp.log(i[volume]), 0.0) ** 2,
        lambda i: i[first],
        lambda i: (i[first] - least) ** 4,
        lambda i: i[first] * i[volume] ** power,
        lambda i: stretched(i) ** 2,
        lambda i: stretched(i) ** 4,
    ]
    for k, name in enumerate(names):
        if name == "I2":
            out += [lambda i, k=k: i[k], lambda i, k=k: i[k] ** 2]
        elif k not in (first, volume):
            steepest = 4.0 / max(stretches[k] - 1.0, 1e-3) ** 2
            out.append(lambda i, k=k: jnp.maximum(i[k] - 1.0, 0.0) ** 2)
            out += [
                lambda i, k=k, steep=steepest * 2.0**-octave: (
                    jnp.expm1(steep * jnp.maximum(i[k] - 1.0, 0.0) ** 2) / steep
                )
                for octave in range(OCTAVES)
            ]
    return out

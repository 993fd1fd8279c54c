"""Two networks in a row: the solution of a coarse level, and what it lacks."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hierax.models.grids import between
from hierax.models.network import MultigridNetwork, predicted, to_channels


class CoarseNetwork(eqx.Module):
    """Functions on a fine grid to ones on a coarse grid: all cells of the first in one of the second are its channels.

    Attributes
    ----------
    network:
        Of functions on the coarse grid.
    grid, block:
        Cells of the coarse grid, and fine ones along an axis of each; functions with others are brought there.
    periodic:
        Whether grids wrap around.
    """

    network: MultigridNetwork
    grid: tuple[int, ...] = eqx.field(static=True)
    block: int = eqx.field(static=True)
    periodic: bool = eqx.field(static=True)

    def __call__(self, x: Float[Array, "batch *grid into"]) -> Float[Array, "batch *coarse out"]:
        return self.network(to_channels(moved(x, tuple(self.block * n for n in self.grid), self.periodic), self.block))


class TelescopedNetwork(eqx.Module):
    """The prediction of a coarse solution, and what a second network, for which it is base and input, adds.

    Attributes
    ----------
    first, second:
        The two maps; `None` where the coarse solution alone is at least as good.
    sizes:
        Of their outputs.
    """

    first: CoarseNetwork
    second: Any
    sizes: tuple[Float[Array, " 1"], ...]

    def __call__(self, x: Float[Array, "batch *grid into"]) -> Float[Array, "batch *grid out"]:
        base = moved(predicted(self.first, x, None, 1.0, self.sizes[0]), x.shape[1:-1], self.first.periodic)
        values = base
        if self.second is not None:
            axes = tuple(range(1, base.ndim))
            size = jnp.maximum(jnp.sqrt(jnp.mean(base**2, axis=axes, keepdims=True)), 1e-30)
            seen = jnp.concatenate([x, base / size], axis=-1)
            values = predicted(self.second, seen, base, size, self.sizes[1])
        # the factors that networks choose are one
        return jnp.concatenate([values, jnp.zeros_like(values)], axis=-1)


def moved(values: Float[Array, "batch *grid c"], cells: tuple[int, ...], periodic: bool) -> Any:
    """Functions on a grid with other cells, see `hierax.models.grids.between`."""
    own = values.shape[1:-1]
    return values if own == cells else jax.vmap(between(own, cells, periodic), -1, -1)(values).astype(values.dtype)

"""A field from outside of the package, in one file: piecewise cubics with values and slopes at nodes."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields import AbstractField, AbstractFixed, AbstractLocalField


class Nodes(AbstractFixed):
    """Increasing nodes of one coordinate; never trained."""

    places: Float[Array, " nodes"]
    wraps: bool = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Numbers of the axis: value and slope at each node, the last being the first again where it wraps around."""
        return 2 * (self.places.shape[0] - self.wraps)


class HermitePiece(AbstractField):
    """One cell of a `HermiteGrid`, from `start` on, with these widths."""

    coefficients: Float[Array, "..."]
    cell: "Span"

    def __call__(self, x: Float[Array, " dim"]) -> Float[Array, ""]:
        value = self.coefficients
        for s, width in zip((x - self.cell.start) / self.cell.width, self.cell.width, strict=True):
            value = jnp.tensordot(hermite(s, width), value, axes=1)
        return value

    @property
    def linear_in_parameters(self) -> bool:
        return True


class Span(AbstractFixed):
    """Lower corner and widths of a cell."""

    start: Float[Array, " dim"]
    width: Float[Array, " dim"]


class HermiteGrid(AbstractLocalField):
    """Piecewise cubics, once continuously differentiable, on a tensor grid."""

    axes: tuple[Nodes, ...]
    coefficients: Float[Array, "..."]

    @classmethod
    def uniform(cls, lower, upper, intervals, periodic) -> "HermiteGrid":
        """CellCentres nodes and zeros."""
        ends = zip(lower, upper, intervals, periodic, strict=True)
        axes = tuple(Nodes(jnp.linspace(a, b, n + 1), wraps) for a, b, n, wraps in ends)
        return cls(axes, jnp.zeros(tuple(axis.size for axis in axes)))

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def locate(self, x: Float[Array, " dim"]) -> Int[Array, " dim"]:
        x = jax.lax.stop_gradient(x)
        found = [jnp.searchsorted(a.places[1:-1], z, side="right") for a, z in zip(self.axes, x, strict=True)]
        return jnp.stack(found).astype(jnp.int32)

    def at(self, cell: Int[Array, " dim"]) -> tuple[Int[Array, " local"], HermitePiece]:
        nodes, start, width = jnp.zeros((), dtype=jnp.int32), [], []
        for axis, i in zip(self.axes, cell, strict=True):
            nodes = nodes[..., None] * axis.size + (2 * i + jnp.arange(4, dtype=jnp.int32)) % axis.size
            start.append(axis.places[i])
            width.append(axis.places[i + 1] - axis.places[i])
        piece = HermitePiece(self.coefficients.ravel()[nodes], Span(jnp.stack(start), jnp.stack(width)))
        return nodes.ravel(), piece

    def mesh(self) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(axis.places) for axis in self.axes)

    def positions(self, dim: int) -> np.ndarray:
        places = [np.repeat(np.asarray(a.places), 2)[: a.size] for a in self.axes]
        return np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(math.prod(map(len, places)), dim)


def hermite(s: Float[Array, ""], width: Float[Array, ""]) -> Float[Array, " 4"]:
    """Value and slope at the left end, then those at the right one."""
    t = 1.0 - s
    return jnp.stack([t * t * (1 + 2 * s), width * s * t * t, s * s * (1 + 2 * t), -width * t * s * s])

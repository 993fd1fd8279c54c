"""Layers of spline networks: splines on all edges between two rows of nodes, and the maps before and between them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.axis import SplineAxis
from hierax.fields.geometry import AbstractGeometry
from hierax.fields.pieces import Pieces


def squash(z: Float[Array, " width"]) -> Float[Array, " width"]:
    r"""The fixed map :math:`z / \sqrt{1 + z^2}` of hidden values into ``(-1, 1)``.

    It has no statistics and no parameters, so refining a layer keeps the network's function exactly.
    """
    return z * jax.lax.rsqrt(1.0 + z * z)


class BoundedLinear(eqx.Module):
    r"""Linear map :math:`z_q = (a_q \cdot y + b_q) \,/\, (\sum_i |a_{qi}| + |b_q|)`.

    Inputs in ``[-1, 1]`` stay in ``[-1, 1]`` for every ``a`` and ``b``, and the knots that follow need not move; the
    common scale of ``a`` and ``b`` has no effect. Without a bias no function is lost, because the splines that follow
    can shift. With it training moves the knots of a node against the function: nodes with almost the same direction
    then have knots between each other's, and the finest features are seen by all of them together.
    """

    weights: Float[Array, "out in"]
    bias: Float[Array, " out"] | None = None

    def __call__(self, y: Float[Array, " in"]) -> Float[Array, " out"]:
        z, size = self.weights @ y, jnp.sum(jnp.abs(self.weights), axis=1)
        return z / size if self.bias is None else (z + self.bias) / (size + jnp.abs(self.bias))

    def on_rows(self, y: np.ndarray) -> np.ndarray:
        """The same for many points `(n, in)`, in NumPy."""
        weights, bias = np.asarray(self.weights), 0.0 if self.bias is None else np.asarray(self.bias)
        return (y @ weights.T + bias) / (np.abs(weights).sum(axis=1) + np.abs(bias))


class SplinePieces(eqx.Module):
    """One interval of every edge of a layer; shapes do not depend on the number of intervals."""

    coefficients: Float[Array, "out in alive"]
    pieces: Pieces

    def __call__(self, z: Float[Array, " in"]) -> Float[Array, " out"]:
        basis = jax.vmap(lambda piece, coordinate: piece(coordinate))(self.pieces, z)
        return jnp.einsum("qis,is->q", self.coefficients, basis)

    def on_rows(self, z: np.ndarray) -> np.ndarray:
        """Values `(n, q)` of stacked pieces at as many points `(n, i)`, in NumPy."""
        s = ((z - self.pieces.middle) * self.pieces.inverse_length)[..., None]
        rows = np.moveaxis(np.asarray(self.pieces.coefficients), -2, 0)
        basis = rows[-1]
        for row in rows[-2::-1]:
            basis = basis * s + row
        return np.einsum("nqis,nis->nq", self.coefficients, basis)


class SplineLayer(eqx.Module):
    """Splines on all edges between ``in`` and ``out`` nodes, on one `SplineAxis`, added up at the outputs."""

    weights: Float[Array, "out in size"]
    axis: SplineAxis
    geometry: AbstractGeometry

    def indices(self, cell: Int[Array, " in"]) -> Int[Array, "out in alive"]:
        """Positions of the acting coefficients in the raveled weights."""
        outputs, inputs, size = self.weights.shape
        rows = jnp.arange(outputs * inputs, dtype=cell.dtype).reshape(outputs, inputs, 1)
        return rows * size + self.axis.alive(cell)

    def pieces(self, cell: Int[Array, " in"]) -> SplinePieces:
        """The polynomial pieces of one cell."""
        splines = self.geometry.splines(self.weights, self.axis)
        index = jnp.broadcast_to(self.axis.alive(cell), (*self.weights.shape[:2], self.axis.degree + 1))
        gathered = jnp.take_along_axis(splines, index, axis=2, mode="promise_in_bounds")
        return SplinePieces(gathered, self.axis.piece(cell))

    def gather(self, z: np.ndarray) -> tuple[np.ndarray, SplinePieces]:
        """Positions `(n, q, i, p+1)` in the weights and the pieces at many values `(n, i)`, in NumPy."""
        axis = self.axis
        outputs, inputs, size = self.weights.shape
        cell, pieces = _axis_pieces(axis, z)
        alive = (cell[:, :, None] + np.arange(axis.degree + 1)) % size
        index = np.arange(outputs * inputs).reshape(outputs, inputs, 1) * size + alive[:, None]
        return index, SplinePieces(np.asarray(self.weights).ravel()[index], pieces)  # pyright: ignore


def _axis_pieces(axis: SplineAxis, z: np.ndarray) -> tuple[np.ndarray, Pieces]:
    knots, degree, n = np.asarray(axis.knots), axis.degree, axis.intervals
    if not axis.equidistant:
        cell = np.searchsorted(knots[degree + 1 : degree + n], z, side="right")
        return cell, jax.tree.map(lambda a: np.asarray(a)[cell], axis.pieces)
    lower = knots[degree]
    spacing = (knots[degree + n] - lower) / n
    # values that are not finite go to some cell; the residual there is not finite either
    cell = np.clip(np.nan_to_num(np.floor((z - lower) / spacing), nan=0.0), 0, n - 1).astype(np.int64)
    table = np.asarray(axis.pieces.coefficients)[0]
    shared = np.broadcast_to(table, (*z.shape, *table.shape))
    return cell, Pieces(lower + (cell + 0.5) * spacing, np.full(z.shape, 1.0 / spacing), shared)  # pyright: ignore

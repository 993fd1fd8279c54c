"""Objectives of fields whose cells move with the parameters, or that have none: networks of any kind.

Rows of the Jacobian are computed in blocks, through the local pieces where the field has them, added into a dense Gram
matrix and thrown away. Above `DENSE_LIMIT` parameters only products with the Gram matrix are formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from hierax.fields.base import partition, supports_local
from hierax.objective.assembly import Layout, layout_of
from hierax.objective.curvature import AbstractCurvature, DenseGram, MatrixFreeGram
from hierax.objective.gather import gather
from hierax.objective.objective import AbstractObjective, Linearisation
from hierax.objective.pointwise import AbstractPointTerm, Place, SquaredResidual
from hierax.objective.samples import BLOCK_POINTS, Samples

DENSE_LIMIT = 4000
"""Most parameters for which the Gram matrix is stored."""

ROW_ENTRIES = 4_000_000
"""Most numbers in one block of Jacobian rows."""


def whole_layout(field: Any) -> tuple[Layout, Any]:
    """Layout of a whole field, as for one local piece."""
    params, rest = partition(field)
    leaves, structure = jax.tree.flatten(params)
    return Layout(structure, tuple(leaf.shape for leaf in leaves)), rest


@partial(jax.jit, static_argnames=("term", "layout"))
def _rows(
    term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, places: Place
) -> tuple[Array, Array, Array]:
    """Values `(n,)`, gradients `(n, N)` and rows `(n, m, N)` of a block, with respect to all parameters."""

    def point(place: Place) -> tuple[Array, Array, Array]:
        e = term.expand(lambda z: layout.build(z, rest), theta, place)
        return e.value, e.gradient, e.rows

    return jax.vmap(point)(places)


@partial(jax.jit, static_argnames=("term", "layout"))
def _local_rows(
    term: AbstractPointTerm, layout: Layout, c: Float[Array, "n k"], rest: Any, places: Place
) -> tuple[Array, Array, Array]:
    """As `_rows`, with respect to the local coefficients `(k,)` of each point; compiled once for all levels."""

    def point(c: Array, rest: Any, place: Place) -> tuple[Array, Array, Array]:
        e = term.expand(lambda z: layout.build(z, rest), c, place)
        return e.value, e.gradient, e.rows

    return jax.vmap(point)(c, rest, places)


@dataclass(frozen=True)
class Program:
    """The objective as a pure function of `(theta, data)`, for optimisers that run inside one compiled loop."""

    terms: tuple[AbstractPointTerm, ...]
    layout: Layout

    def __call__(self, theta: Float[Array, " N"], data: tuple[Any, Any]) -> Float[Array, ""]:
        """Value; `data` are the untrained part and, for each term, blocks of places and weights."""
        rest, blocks = data
        build = lambda z: self.layout.build(z, rest)  # noqa: E731
        total = jnp.zeros((), theta.dtype)
        for term, (places, weights) in zip(self.terms, blocks, strict=True):

            def block(sum_: Array, inputs: Any, term: AbstractPointTerm = term) -> tuple[Array, None]:
                values = jax.vmap(lambda place: term.value(build, theta, place))(inputs[0])
                return sum_ + inputs[1] @ values, None

            part, _ = jax.lax.scan(jax.checkpoint(block), jnp.zeros((), theta.dtype), (places, weights))
            total = total + part
        return total


@partial(jax.jit, static_argnames="program")
def _value_and_gradient(program: Program, theta: Array, data: Any) -> tuple[Array, Array]:
    return jax.value_and_grad(program)(theta, data)


@partial(jax.jit, static_argnames=("term", "layout"))
def _product(
    term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, places: Place, weights: Array, v: Array
) -> Array:
    """Gauss-Newton matrix of a residual term times a vector; for an energy the second derivative."""
    if not isinstance(term, SquaredResidual):

        def energy(z: Array) -> Array:
            build = lambda y: layout.build(y, rest)  # noqa: E731
            return weights @ jax.vmap(lambda place: term.value(build, z, place))(places)

        return jax.jvp(jax.grad(energy), (theta,), (v,))[1]

    def residuals(z: Array) -> Array:
        field = layout.build(z, rest)
        return jax.vmap(lambda place: term.residual(field, place))(places)

    _, pushed = jax.jvp(residuals, (theta,), (v,))
    _, pull = jax.vjp(residuals, theta)
    return pull(pushed * weights[:, None])[0]


@partial(jax.jit, static_argnames=("term", "layout"))
def _residuals(term: AbstractPointTerm, layout: Layout, theta: Array, rest: Any, places: Place) -> Array:
    field = layout.build(theta, rest)
    return jax.vmap(lambda place: term.residual(field, place))(places)


class RowObjective(AbstractObjective):
    """For any callable pytree; see the head of the file.

    Parameters
    ----------
    field, samples:
        The field; one entry a term.
    local:
        Whether all terms look only at their own point, so that rows may be computed through the field's local pieces.
    """

    def __init__(self, field: Any, samples: Sequence[Samples], local: bool = True) -> None:
        self.field = field
        self.samples = tuple(samples)
        self.layout, self.rest = whole_layout(field)
        self.local = local and supports_local(field)
        self._program = Program(tuple(s.term for s in self.samples), self.layout)

    @property
    def size(self) -> int:
        return sum(int(np.prod(s, dtype=int)) for s in self.layout.shapes)

    def rescaled(self, scales: Sequence[float]) -> RowObjective:
        """The same objective with other factors of the terms."""
        samples = [s.scaled(c) for s, c in zip(self.samples, scales, strict=True)]
        return RowObjective(self.field, samples, self.local)

    def with_samples(self, samples: Sequence[Samples]) -> RowObjective:
        """The same objective on other points."""
        return RowObjective(self.field, samples, self.local)

    def program(self) -> tuple[Program, Any]:
        """The objective as a pure function with its data, see `Program`."""
        return self._program, (self.rest, tuple(_stacked(s) for s in self.samples))

    def values(self, theta: np.ndarray) -> np.ndarray:
        out = []
        for s in self.samples:
            program = Program((s.term,), self.layout)
            out.append(float(_value(program, theta, (self.rest, (_stacked(s.scaled(1.0)),)))))
        return np.array(out)

    def value_and_gradient(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        program, data = self.program()
        value, gradient = _value_and_gradient(program, theta, data)
        return float(value), np.array(gradient)

    def linearise(self, theta: np.ndarray) -> Linearisation:
        if self.size > DENSE_LIMIT:
            value, gradient = self.value_and_gradient(theta)
            return Linearisation(value, gradient, self._matrix_free(theta))
        value, gradient, gram = 0.0, np.zeros(self.size), np.zeros((self.size, self.size))
        for s in self.samples:
            v, _ = self._accumulate(s, theta, gradient, gram)
            value += v
        return Linearisation(value, gradient, DenseGram(gram))

    def diagonals(self, theta: np.ndarray) -> np.ndarray:
        """Diagonal of each term's unscaled curvature, `(terms, N)`."""
        out = np.zeros((len(self.samples), self.size))
        for row, s in zip(out, self.samples, strict=True):
            for rows, _, _, weights, index in self._blocks(s, theta):
                squares = np.einsum("nmk,n->nk", rows**2, weights)
                np.add.at(row, index, squares) if index is not None else np.add(row, squares.sum(0), out=row)
        return out

    def residuals(self, theta: np.ndarray) -> list[np.ndarray]:
        out = []
        for s in self.samples:
            parts = [
                np.asarray(_residuals(s.term, self.layout, theta, self.rest, places))[:real]
                for places, _, real in _padded(s, BLOCK_POINTS)
            ]
            out.append(np.concatenate(parts))
        return out

    @property
    def work(self) -> float:
        return sum(s.count for s in self.samples) * float(self.size) ** 2

    def _accumulate(
        self, s: Samples, theta: np.ndarray, gradient: np.ndarray, gram: np.ndarray
    ) -> tuple[float, np.ndarray]:
        """Add one term to gradient and Gram matrix, times its scale; return its scaled value."""
        total = 0.0
        for rows, values, slopes, weights, index in self._blocks(s, theta):
            weights = weights * s.scale
            total += float(weights @ values)
            tall = rows * np.sqrt(weights)[:, None, None]
            if index is not None:
                np.add.at(gradient, index, slopes * weights[:, None])
                dense = np.zeros((*tall.shape[:2], self.size))
                np.put_along_axis(dense, np.broadcast_to(index[:, None, :], tall.shape), tall, axis=2)
                tall = dense
            else:
                gradient += weights @ slopes
            flat = tall.reshape(-1, self.size)
            gram += flat.T @ flat
        return total, gradient

    def _blocks(self, s: Samples, theta: np.ndarray):
        """Rows, values, gradients, weights and local indices (or `None`) of each block of a term."""
        width = max(64, min(BLOCK_POINTS, ROW_ENTRIES // max(self.size, 1)))
        width = 1 << (width.bit_length() - 1)
        field = self.layout.build(jnp.asarray(theta), self.rest) if self.local else None
        for places, weights, real in _padded(s, width):
            if field is not None:
                index, stacked = gather(field, places.x)
                layout, rest = layout_of(stacked)
                values, slopes, rows = _local_rows(s.term, layout, np.asarray(theta)[index], rest, places)
                yield (
                    np.asarray(rows)[:real],
                    np.asarray(values)[:real],
                    np.asarray(slopes)[:real],
                    weights[:real],
                    (index[:real]),
                )
            else:
                values, slopes, rows = _rows(s.term, self.layout, theta, self.rest, places)
                yield (
                    np.asarray(rows)[:real],
                    np.asarray(values)[:real],
                    np.asarray(slopes)[:real],
                    weights[:real],
                    None,
                )

    def _matrix_free(self, theta: np.ndarray) -> AbstractCurvature:
        blocks = [(s, p, w) for s in self.samples for p, w, _ in _padded(s, BLOCK_POINTS)]

        def product(v: np.ndarray) -> np.ndarray:
            total = np.zeros(self.size)
            for s, places, weights in blocks:
                total += s.scale * np.asarray(_product(s.term, self.layout, theta, self.rest, places, weights, v))
            return total

        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(8, self.size))
        estimate = np.mean([z * product(z) for z in signs], axis=0)
        return MatrixFreeGram(product, np.maximum(estimate, 1e-3 * np.abs(estimate).mean()))


@partial(jax.jit, static_argnames="program")
def _value(program: Program, theta: Array, data: Any) -> Array:
    return program(theta, data)


def _padded(s: Samples, width: int):
    """Blocks of fixed width: places, weights (zero where padded) and the number of real points."""
    width = min(width, 1 << max(s.count - 1, 1).bit_length())
    for start in range(0, s.count, width):
        pick = np.minimum(np.arange(start, start + width), s.count - 1)
        real = min(width, s.count - start)
        weights = np.where(np.arange(width) < real, s.weights[pick], 0.0)
        yield Place(s.points[pick], s.normals[pick], s.targets[pick]), weights, real


def _stacked(s: Samples) -> tuple[Place, np.ndarray]:
    """All blocks of a term along a leading axis, weights times the term's scale."""
    blocks = list(_padded(s, BLOCK_POINTS))
    places = jax.tree.map(lambda *parts: np.stack(parts), *[b[0] for b in blocks])
    return places, s.scale * np.stack([b[1] for b in blocks])

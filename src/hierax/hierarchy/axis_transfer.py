"""Transfers that act along axes of the parameter arrays: knots and degree of splines, width and depth of networks."""

import abc
import functools
from typing import Any, final

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PyTree
from scipy.sparse import csr_array

from hierax.fields.axis import SplineAxis
from hierax.fields.base import partition
from hierax.fields.geometry import AbstractGeometry
from hierax.hierarchy.transfer import (
    FUNCTION_PRESERVING,
    INJECTIVE,
    LINEAR,
    AbstractTransfer,
    Params,
    Tag,
    tangent_of,
)


class AbstractAxisMap(eqx.Module):
    """What a transfer does along one axis of one array of parameters."""

    axis: eqx.AbstractVar[int]

    @abc.abstractmethod
    def prolong(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """The array with its coarse axis exchanged for the fine one."""

    @abc.abstractmethod
    def inject(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """The array with its fine axis exchanged for the coarse one; after `prolong` the identity."""

    @abc.abstractmethod
    def restrict(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Transpose of `prolong`."""

    @abc.abstractmethod
    def lift(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Transpose of `inject`."""

    @abc.abstractmethod
    def sparse(self) -> csr_array:
        """Matrix ``(fine, coarse)`` of `prolong`."""


@final
class AxisMap(AbstractAxisMap):
    """Dense matrices along one axis of one array.

    Parameters
    ----------
    axis : int
        Axis of the array.
    matrix : array ``(fine, coarse)``
        Prolongation.
    left_inverse : array ``(coarse, fine)``
        Its product with `matrix` is the identity.
    """

    axis: int = eqx.field(static=True)
    matrix: Float[Array, "fine coarse"]
    left_inverse: Float[Array, "coarse fine"]

    def prolong(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _along(self.axis, self.matrix, value)

    def inject(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _along(self.axis, self.left_inverse, value)

    def restrict(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _along(self.axis, self.matrix.T, value)

    def lift(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return _along(self.axis, self.left_inverse.T, value)

    def sparse(self) -> csr_array:
        return csr_array(np.asarray(self.matrix))


@final
class Entries(eqx.Module):
    """A sparse matrix by its entries; with JAX's arrays, so that it can be traced and changed as any field can."""

    weights: Float[Array, " entries"]
    rows: Int[Array, " entries"]
    columns: Int[Array, " entries"]
    shape: tuple[int, int] = eqx.field(static=True)

    @classmethod
    def of(cls, matrix: csr_array) -> "Entries":
        """Those of a matrix."""
        found = matrix.tocoo()
        # arrays that have the type given are only moved; for others JAX compiles a program for every shape
        places = [jnp.asarray(part.astype(np.int32), dtype=jnp.int32) for part in (found.row, found.col)]
        return cls(jnp.asarray(found.data, dtype=float), *places, tuple(matrix.shape))  # pyright: ignore

    @property
    def T(self) -> "Entries":
        """The transpose."""
        return Entries(self.weights, self.columns, self.rows, (self.shape[1], self.shape[0]))

    def sparse(self) -> csr_array:
        """The matrix for SciPy."""
        parts = (np.asarray(part) for part in (self.weights, self.rows, self.columns))
        weights, *places = parts
        return csr_array((weights, tuple(places)), shape=self.shape)

    def along(self, axis: int, value: Float[Array, "..."]) -> Float[Array, "..."]:
        """Product with an array along one of its axes."""
        if isinstance(value, Tracer) or isinstance(self.weights, Tracer):
            moved = jnp.moveaxis(value, axis, -1)
            total = jnp.zeros((*moved.shape[:-1], self.shape[0]), jnp.result_type(moved, self.weights))
            return jnp.moveaxis(total.at[..., self.rows].add(self.weights * moved[..., self.columns]), -1, axis)
        moved = np.moveaxis(np.asarray(value), axis, 0)
        product = self.sparse() @ np.ascontiguousarray(moved).reshape(len(moved), -1)
        return jnp.asarray(np.moveaxis(product.reshape(-1, *moved.shape[1:]), 0, axis), dtype=product.dtype)


@final
class KnotMap(AbstractAxisMap):
    """Knot insertion along one axis of one array: storage is linear in the knots.

    Parameters
    ----------
    axis : int
        Axis of the array.
    matrix, left_inverse : Entries
        Matrices ``(fine, coarse)`` and ``(coarse, fine)``, whose product is the identity.
    """

    axis: int = eqx.field(static=True)
    matrix: Entries
    left_inverse: Entries

    def prolong(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.matrix.along(self.axis, value)

    def inject(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.left_inverse.along(self.axis, value)

    def restrict(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.matrix.T.along(self.axis, value)

    def lift(self, value: Float[Array, "..."]) -> Float[Array, "..."]:
        return self.left_inverse.T.along(self.axis, value)

    def sparse(self) -> csr_array:
        return self.matrix.sparse()


class LeafTransfer(eqx.Module):
    """What happens to one array of parameters: one map for each axis that changes."""

    maps: tuple[AbstractAxisMap, ...] = ()

    def prolong(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: part.prolong(value), self.maps, leaf)

    def inject(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: part.inject(value), self.maps, leaf)

    def restrict(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: part.restrict(value), self.maps, leaf)

    def lift(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: part.lift(value), self.maps, leaf)


EXACT = frozenset({LINEAR, FUNCTION_PRESERVING, INJECTIVE})
"""Tags of a linear transfer that keeps the function and loses nothing."""


class AxisTransfer(AbstractTransfer):
    """A linear transfer by matrices along the axes of the arrays.

    Parameters
    ----------
    coarse, fine : callable pytrees
        The two fields; only the structure of their parameters is kept.
    leaves : sequence of LeafTransfer
        One for each array of the parameters, in the order of ``jax.tree.leaves``.
    tags : set of Tag
        What the matrices guarantee; all of it for knot insertion.

    Raises
    ------
    ValueError
        If there are not as many leaf transfers as arrays.
    """

    coarse_structure: Any = eqx.field(static=True)
    fine_structure: Any = eqx.field(static=True)
    leaves: tuple[LeafTransfer, ...]
    declared: frozenset[Tag] = eqx.field(static=True)

    def __init__(self, coarse: PyTree, fine: PyTree, leaves, tags: frozenset[Tag] = EXACT):
        self.coarse_structure = jax.tree.structure(partition(coarse)[0])
        self.fine_structure = jax.tree.structure(partition(fine)[0])
        self.leaves = tuple(leaves)
        self.declared = tags
        counts = (self.coarse_structure.num_leaves, self.fine_structure.num_leaves, len(self.leaves))
        if len(set(counts)) > 1:
            raise ValueError(
                f"AxisTransfer: {counts[0]} coarse and {counts[1]} fine arrays, {counts[2]} leaf transfers"
            )

    @property
    def tags(self) -> frozenset[Tag]:
        return self.declared

    def prolong(self, coarse: Params) -> Params:
        return self._map(lambda part, leaf: part.prolong(leaf), coarse, self.fine_structure)

    def inject(self, fine: Params) -> Params:
        return self._map(lambda part, leaf: part.inject(leaf), fine, self.coarse_structure)

    def tangent(self, at: Params) -> lx.AbstractLinearOperator:
        return tangent_of(self.prolong, at)

    def restrict(self, cotangent: Params, at: Params | None = None) -> Params:
        del at
        return self._map(lambda part, leaf: part.restrict(leaf), cotangent, self.coarse_structure)

    def lift(self, cotangent: Params) -> Params:
        return self._map(lambda part, leaf: part.lift(leaf), cotangent, self.fine_structure)

    def _map(self, function, params: Params, structure) -> Params:
        leaves = jax.tree.leaves(params)
        return jax.tree.unflatten(structure, [function(*pair) for pair in zip(self.leaves, leaves, strict=True)])


def axis_map(number: int, coarse: SplineAxis, fine: SplineAxis, geometry: AbstractGeometry) -> KnotMap:
    """The map along array axis `number` between two nested spline axes.

    Raises
    ------
    NotNested
        If a coarse breakpoint is missing in the fine axis.
    """
    matrix, inverse = geometry.prolongation(coarse, fine), geometry.left_inverse(coarse, fine)
    return KnotMap(number, Entries.of(matrix), Entries.of(inverse))


def _along(axis: int, matrix: Float[Array, "to from"], value: Float[Array, "..."]) -> Float[Array, "..."]:
    if isinstance(value, Tracer) or isinstance(matrix, Tracer):
        return jnp.moveaxis(jnp.tensordot(matrix, value, axes=(1, axis)), 0, axis)
    # concrete arrays go through NumPy: every level has shapes of its own, and each would compile a kernel to run once
    moved = np.tensordot(np.asarray(matrix), np.asarray(value), axes=(1, axis))
    return jnp.asarray(np.moveaxis(moved, 0, axis), dtype=moved.dtype)

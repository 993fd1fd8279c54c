"""Transfers that act along axes of the parameter arrays: knots and degree of splines, width and depth of networks."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

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


class AxisMap(eqx.Module):
    """Matrices along one axis of one array.

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


class LeafTransfer(eqx.Module):
    """What happens to one array of parameters: one `AxisMap` for each axis that changes."""

    maps: tuple[AxisMap, ...] = ()

    def prolong(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: _along(part.axis, part.matrix, value), self.maps, leaf)

    def inject(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: _along(part.axis, part.left_inverse, value), self.maps, leaf)

    def restrict(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: _along(part.axis, part.matrix.T, value), self.maps, leaf)

    def lift(self, leaf: Float[Array, "..."]) -> Float[Array, "..."]:
        return functools.reduce(lambda value, part: _along(part.axis, part.left_inverse.T, value), self.maps, leaf)


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


def axis_map(number: int, coarse: SplineAxis, fine: SplineAxis, geometry: AbstractGeometry) -> AxisMap:
    """The map along array axis `number` between two nested spline axes.

    Raises
    ------
    NotNested
        If a coarse breakpoint is missing in the fine axis.
    """
    matrix, inverse = geometry.prolongation(coarse, fine), geometry.left_inverse(coarse, fine)
    # with types given the arrays are only moved; without, JAX compiles a program for every shape
    return AxisMap(number, jnp.asarray(matrix, dtype=float), jnp.asarray(inverse, dtype=float))


def _along(axis: int, matrix: Float[Array, "to from"], value: Float[Array, "..."]) -> Float[Array, "..."]:
    if isinstance(value, Tracer) or isinstance(matrix, Tracer):
        return jnp.moveaxis(jnp.tensordot(matrix, value, axes=(1, axis)), 0, axis)
    # concrete arrays go through NumPy: every level has shapes of its own, and each would compile a kernel to run once
    moved = np.tensordot(np.asarray(matrix), np.asarray(value), axes=(1, axis))
    return jnp.asarray(np.moveaxis(moved, 0, axis), dtype=moved.dtype)

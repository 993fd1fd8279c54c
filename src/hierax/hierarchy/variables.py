"""Parameters of networks with splines inside: groups that depend on each other, and the coarser spaces below."""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import scipy.sparse as sp

from hierax.fields.axis import SplineAxis, insertion
from hierax.fields.base import parameter_count, partition
from hierax.fields.decoded_grid import DecodedGrid
from hierax.fields.kan import KAN
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.coarsening import coarser_axes

STRIP = 6
"""Lines of a strip of a grid, or one more than the degree; strips overlap by half."""


@dataclass(frozen=True, eq=False)
class AbstractLeaf(abc.ABC):
    """An array of parameters, `shape`, in the order of the flat vector."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.shape)

    @abc.abstractmethod
    def groups(self) -> list[np.ndarray]:
        """Positions in the array that depend on each other most, in an order that keeps neighbours near."""

    @abc.abstractmethod
    def below(self) -> tuple[AbstractLeaf, sp.csr_array] | None:
        """The array with every second knot dropped, and the exact map from it; `None` where that cannot be."""


@dataclass(frozen=True, eq=False)
class FixedLeaf(AbstractLeaf):
    """An array that no refinement changes."""

    def groups(self) -> list[np.ndarray]:
        return [np.arange(self.size)]

    def below(self) -> None:
        return None


@dataclass(frozen=True, eq=False)
class EdgeSplines(AbstractLeaf):
    """`(out, in, coefficients)` of a layer of splines, all on one axis.

    The splines that leave one node of a network act at the same values, so they are dependent on each other as
    neighbouring coefficients of one spline are.
    """

    axis: SplineAxis

    def groups(self) -> list[np.ndarray]:
        index = np.arange(self.size).reshape(self.shape)
        return [index[:, i].T.ravel() for i in range(self.shape[1])]

    def below(self) -> tuple[EdgeSplines, sp.csr_array] | None:
        coarse = coarser_axes([self.axis])
        if coarse is None:
            return None
        many = sp.eye_array(math.prod(self.shape[:-1]))
        shape = (*self.shape[:-1], coarse[0].size)
        return EdgeSplines(shape, coarse[0]), sp.csr_array(sp.kron(many, insertion(coarse[0], self.axis)))


@dataclass(frozen=True, eq=False)
class TensorSplines(AbstractLeaf):
    """`(nodes of axis 1, ..., channels)` of a grid: strips of lines along every axis, all channels together.

    The channels of a decoded grid meet in one value at each point, so they depend on each other most of all.
    """

    axes: tuple[SplineAxis, ...]

    def groups(self) -> list[np.ndarray]:
        index, out = np.arange(self.size).reshape(self.shape), []
        for along in range(len(self.axes)):
            lines = np.moveaxis(index, along, 0)
            lines = lines.reshape(len(lines), -1, self.shape[-1])
            width = max(STRIP, self.axes[along].degree + 1)
            for start in range(0, max(1, lines.shape[1] - width // 2), width // 2):
                out.append(lines[:, start : start + width].ravel())
        return out

    def below(self) -> tuple[TensorSplines, sp.csr_array] | None:
        coarse = coarser_axes(self.axes)
        if coarse is None:
            return None
        maps = [
            sp.eye_array(new.size) if new is old else insertion(new, old)
            for new, old in zip(coarse, self.axes, strict=True)
        ]
        matrix = functools.reduce(sp.kron, [*maps, sp.eye_array(self.shape[-1])])
        return TensorSplines((*(axis.size for axis in coarse), self.shape[-1]), coarse), sp.csr_array(matrix)


@dataclass(frozen=True, eq=False)
class SplineLeaves:
    """The arrays of a field's parameters, in the order of the flat vector."""

    parts: tuple[AbstractLeaf, ...]

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the arrays."""
        return tuple(part.shape for part in self.parts)

    @functools.cached_property
    def groups(self) -> tuple[np.ndarray, ...]:
        """The groups of all arrays, as positions in the flat vector."""
        starts = np.cumsum([0, *(part.size for part in self.parts)])
        return tuple(start + g for start, part in zip(starts, self.parts, strict=False) for g in part.groups())

    @functools.cached_property
    def below(self) -> tuple[SplineLeaves, sp.csr_array] | None:
        """The leaves with every second knot dropped, and the exact map from them; `None` where no axis is fine."""
        found = [part.below() for part in self.parts]
        if all(f is None for f in found):
            return None
        pairs = [f or (part, sp.eye_array(part.size)) for f, part in zip(found, self.parts, strict=True)]
        matrix = sp.block_diag([m for _, m in pairs], format="csr")
        return SplineLeaves(tuple(part for part, _ in pairs)), sp.csr_array(matrix)


@functools.singledispatch
def spline_leaves(field: Any) -> SplineLeaves:
    """The arrays of a field's parameters; new kinds of networks register theirs."""
    return SplineLeaves(tuple(FixedLeaf(leaf.shape) for leaf in jax.tree.leaves(partition(field)[0])))


@spline_leaves.register
def _(field: KAN) -> SplineLeaves:
    first = spline_leaves.dispatch(object)(field.first)
    layers = (EdgeSplines(layer.weights.shape, layer.axis) for layer in field.layers)
    return SplineLeaves((*first.parts, *layers))


@spline_leaves.register
def _(field: DecodedGrid) -> SplineLeaves:
    grid = TensorSplines(field.grid.coefficients.shape, tuple(field.grid.axes))
    # few parameters that all points share: one block
    return SplineLeaves((grid, FixedLeaf((parameter_count(field.decoder),))))


@spline_leaves.register
def _(field: Unknowns) -> SplineLeaves:
    return SplineLeaves(tuple(leaf for part in field.parts.values() for leaf in spline_leaves(part).parts))

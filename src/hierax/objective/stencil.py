"""Curvature of spline grids in stencil storage: for each node the couplings with the nodes within reach.

Node `i` of a tensor grid meets the nodes `i + o` with `|o_a| <= p_a`; all unknown functions share the grid, so the
couplings form an array `(nodes..., channels, offsets..., channels)`, whose rows are also the rows of a sparse matrix.
Storage and work are linear in the parameters, and Galerkin products on coarser grids act axis by axis.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hierax.devices import added
from hierax.fields.axis import SplineAxis
from hierax.fields.base import parameter_count
from hierax.fields.moving import reference_grid
from hierax.fields.unknowns import Unknowns
from hierax.hierarchy.coarsening import GridProlongation, coarser_axes, prolongation
from hierax.objective.assembly import LARGE, AbstractGramSum, Scattered, by_pattern
from hierax.objective.curvature import AbstractCurvature, BandGram, Coarsened, Ordering
from hierax.objective.ordering import NodeOrder, narrow_order

SLICE = 4_000_000
"""Couplings that are made coarser together."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """The nodes of a tensor grid that all unknown functions share.

    Attributes
    ----------
    axes:
        Spline axes.
    functions:
        Number of channels of each function.
    order:
        Between flat parameters and the order (nodes, channel).
    """

    axes: tuple[SplineAxis, ...]
    functions: tuple[int, ...]
    order: NodeOrder

    @property
    def channels(self) -> int:
        """Number of values a node, over all functions."""
        return sum(self.functions)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Number of nodes along each axis."""
        return tuple(axis.size for axis in self.axes)

    @property
    def reach(self) -> tuple[int, ...]:
        """Degrees: how far couplings reach along each axis."""
        return tuple(axis.degree for axis in self.axes)

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which axes wrap around."""
        return tuple(axis.size < axis.intervals + axis.degree for axis in self.axes)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.nodes) * self.channels

    @property
    def couplings(self) -> int:
        """Number of stored couplings."""
        return math.prod(self.shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the couplings, `(nodes..., channels, offsets..., channels)`."""
        return (*self.nodes, self.channels, *(2 * p + 1 for p in self.reach), self.channels)

    @functools.cached_property
    def columns(self) -> np.ndarray:
        """Column of every coupling, in the order of the couplings; those that lead outside point anywhere inside."""
        dim = len(self.axes)
        column = np.zeros((1,) * (2 * dim + 2), dtype=np.int32)
        for a, (count, p, wraps) in enumerate(zip(self.nodes, self.reach, self.periodic, strict=True)):
            other = np.arange(count, dtype=np.int32)[:, None] + np.arange(-p, p + 1, dtype=np.int32)
            other = other % count if wraps else np.clip(other, 0, count - 1)
            shape = [1] * (2 * dim + 2)
            shape[a], shape[dim + 1 + a] = other.shape
            column = column * count + other.reshape(shape)
        column = column * self.channels + np.arange(self.channels, dtype=np.int32)
        return np.broadcast_to(column, self.shape).ravel()

    @functools.cached_property
    def below(self) -> tuple[Mesh, GridProlongation] | None:
        """The next coarser mesh and the map from it, if there is one."""
        axes = coarser_axes(self.axes)
        if axes is None:
            return None
        size = math.prod(axis.size for axis in axes) * self.channels
        return Mesh(axes, (self.channels,), NodeOrder(np.arange(size))), prolongation(axes, self.axes)


def mesh_of(field: Any) -> Mesh | None:
    """The mesh of a spline grid, or of several on the same knots; `None` for all other fields."""
    found = [reference_grid(part) for part in (field.parts.values() if isinstance(field, Unknowns) else [field])]
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return None
    axes = parts[0].axes
    if not all(_same(axes, part.axes) for part in parts[1:]):
        return None
    if any(axis.size < 2 * axis.degree + 1 for axis in axes):
        return None
    counts = tuple(math.prod(part.channels) for part in parts)
    start, places = 0, []
    for part, count in zip(parts, counts, strict=True):
        nodes = np.arange(parameter_count(part) // count)
        places.append((nodes[:, None] * sum(counts) + start + np.arange(count)).ravel())
        start += count
    return Mesh(axes, counts, NodeOrder(np.concatenate(places)))


def _same(axes: Sequence[SplineAxis], others: Sequence[SplineAxis]) -> bool:
    return all(
        a.degree == b.degree and a.size == b.size and np.array_equal(np.asarray(a.knots), np.asarray(b.knots))
        for a, b in zip(axes, others, strict=True)
    )


@dataclass(frozen=True, eq=False)
class StencilGram(AbstractCurvature):
    """Couplings of the nodes of a mesh.

    Attributes
    ----------
    values:
        Array of shape `mesh.shape`; entries that lead outside are zero.
    """

    mesh: Mesh
    values: np.ndarray

    @property
    def size(self) -> int:
        return self.mesh.size

    @functools.cached_property
    def matrix(self) -> csr_array:
        """The sparse matrix in the order (nodes, channel); it shares the storage of the couplings."""
        n = self.mesh.size
        width = self.values.size // n
        pointers = np.arange(0, self.values.size + 1, width, dtype=np.int32)
        return csr_array((self.values.reshape(-1), self.mesh.columns, pointers), shape=(n, n))

    def mv(self, vector: np.ndarray) -> np.ndarray:
        order = self.mesh.order
        return order.flat(self.matrix @ order.nodal(vector))

    def diagonal(self) -> np.ndarray:
        return self.mesh.order.flat(self._own())

    def _own(self) -> np.ndarray:
        dim = len(self.mesh.axes)
        middle = self.values[(..., *self.mesh.reach, slice(None))]
        return np.diagonal(middle, axis1=dim, axis2=dim + 1).ravel()

    def blocks(self, partition: np.ndarray) -> np.ndarray:
        place = self.mesh.order.place[partition]
        return np.stack([self.matrix[index][:, index].toarray() for index in place])

    def shifted(self, shift: np.ndarray) -> StencilGram:
        """`A + diag(shift)`; the same object where the shift is lost in rounding."""
        extra = self.mesh.order.nodal(shift)
        if np.all(extra <= 1e-15 * self._own()):
            return self
        values, c = self.values.copy(), np.arange(self.mesh.channels)
        at = (*(slice(None),) * len(self.mesh.axes), c, *self.mesh.reach, c)
        values[at] += extra.reshape(*self.mesh.nodes, len(c))
        return StencilGram(self.mesh, values)

    def galerkin(self) -> Coarsened | None:
        below = self.mesh.below
        if below is None:
            return None
        mesh, maps = below
        values, dim = self.values, len(self.mesh.axes)
        for a, matrix in enumerate(maps.axes):
            if matrix is not None:
                pairs = _pair_map(matrix, self.mesh.reach[a], self.mesh.periodic[a])
                values = _coarsened_along(values, pairs, a, dim)
        coarse, order = StencilGram(mesh, values), self.mesh.order
        fine_shape = (*self.mesh.nodes, self.mesh.channels)
        coarse_shape = (*mesh.nodes, mesh.channels)
        return Coarsened(
            coarse,
            lambda v: order.flat(maps.prolong(v.reshape(coarse_shape)).ravel()),
            lambda v: maps.restrict(order.nodal(v).reshape(fine_shape)).ravel(),
        )

    def banded(self) -> BandGram:
        """The same matrix as a band."""
        entries = self.matrix.tocoo()
        keep = entries.data != 0.0
        row, column, data = entries.row[keep], entries.col[keep], entries.data[keep]
        nodes = np.stack(np.unravel_index(np.arange(self.size) // self.mesh.channels, self.mesh.nodes), axis=1)
        o = narrow_order(nodes, [np.stack([row, column], axis=1)], self.mesh.periodic)
        i, j = o.place[row], o.place[column]
        lower = np.zeros((o.band + 1, o.size), order="F")
        np.add.at(lower, (i[i >= j] - j[i >= j], j[i >= j]), data[i >= j])
        given = Ordering(o.place[self.mesh.order.place], o.size, 0, o.band)
        return BandGram(given, lower, np.zeros((o.size, 0)), np.zeros((0, 0)))


def _coarsened_along(values: np.ndarray, pairs: csr_array, axis: int, dim: int) -> np.ndarray:
    """Couplings with one axis made coarser; slice by slice of the other nodes, for the sake of memory."""
    moved = np.moveaxis(values, (axis, dim + 1 + axis), (0, 1))
    pair_count, offsets = moved.shape[0] * moved.shape[1], moved.shape[1]
    shape = list(values.shape)
    shape[axis] = pairs.shape[0] // offsets  # pyright: ignore
    out = np.empty(shape)
    target = np.moveaxis(out, (axis, dim + 1 + axis), (0, 1))
    step = max(1, SLICE // max(moved[:, :, :1].size, 1))
    for start in range(0, moved.shape[2], step):
        part = np.ascontiguousarray(moved[:, :, start : start + step])
        product = pairs @ part.reshape(pair_count, -1)
        target[:, :, start : start + step] = product.reshape(-1, *part.shape[1:])
    return out


def _pair_map(matrix: csr_array, reach: int, wraps: bool) -> csr_array:
    """Sparse map from couplings `(fine node, offset)` along one axis to those of the coarser axis in `P' A P`."""
    fine, coarse = int(matrix.shape[0]), int(matrix.shape[1])  # pyright: ignore
    count = np.diff(matrix.indptr)
    slot = np.arange(count.max())
    at = np.minimum(matrix.indptr[:-1, None] + slot, matrix.nnz - 1)
    parents = matrix.indices[at].astype(np.int64)
    weights = np.where(slot < count[:, None], matrix.data[at], 0.0)
    other = np.arange(fine)[:, None] + np.arange(-reach, reach + 1)
    inside = (other >= 0) & (other < fine) | wraps
    other = other % fine
    row, column = parents[:, None, :, None], parents[other][:, :, None, :]
    offset = column - row
    if wraps:
        offset = (offset + coarse // 2) % coarse - coarse // 2
    value = weights[:, None, :, None] * weights[other][:, :, None, :] * inside[:, :, None, None]
    value = np.where(np.abs(offset) <= reach, value, 0.0)
    to = row * (2 * reach + 1) + np.clip(offset, -reach, reach) + reach
    source = np.broadcast_to(np.arange(fine * (2 * reach + 1)).reshape(fine, -1, 1, 1), value.shape)
    keep = value != 0.0
    shape = (coarse * (2 * reach + 1), fine * (2 * reach + 1))
    return csr_array((value[keep], (np.broadcast_to(to, value.shape)[keep], source[keep])), shape=shape)


class StencilSum(AbstractGramSum):
    """Accumulates element matrices into couplings. Only one of each symmetric pair is added up, then mirrored."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._scattered = Scattered(np.zeros(mesh.couplings))

    @functools.cached_property
    def _pairs(self) -> tuple[np.ndarray, ...]:
        """Of the pairs that are added: position of both among the local parameters, of the first, and the slot."""
        m = self.mesh
        local = tuple(p + 1 for p in m.reach)
        nodes = math.prod(local)
        starts = np.cumsum((0, *m.functions[:-1])) * nodes
        # local parameters come function by function; here node by node
        order = np.concatenate(
            [s + np.arange(nodes)[:, None] * c + np.arange(c) for s, c in zip(starts, m.functions, strict=True)], axis=1
        ).ravel()
        first, second = np.triu_indices(len(order))
        from_, to = (np.unravel_index(part // m.channels, local) for part in (first, second))
        slot = np.zeros(len(first), dtype=np.int64)
        for a, p in enumerate(m.reach):
            slot = slot * (2 * p + 1) + to[a] - from_[a] + p
        return order[first] * len(order) + order[second], order[first], slot * m.channels + second % m.channels

    def add(self, indices: np.ndarray, matrices: np.ndarray, scale: float = 1.0) -> None:
        both, first, slot = self._pairs
        width = len(self._scattered.total) // self.mesh.size
        place, rows = self.mesh.order.place[indices], matrices.reshape(len(matrices), -1)
        if place.shape[1] >= LARGE:
            for kind, alike, start in by_pattern(place):
                own = (scale * rows[e] for e in alike)
                self._scattered.add_each(start * width, kind[first] * width + slot, own, both)
        else:
            self._scattered.add((place * width).take(first, axis=1) + slot, scale * rows.take(both, axis=1))

    def result(self) -> StencilGram:
        self._scattered.flush()
        m, dim = self.mesh, len(self.mesh.axes)
        values = added(self._scattered.total).reshape(m.shape)
        everywhere = (slice(None),) * dim
        for offset in itertools.product(*(range(-p, p + 1) for p in m.reach)):
            if offset < (0,) * dim:
                continue
            there = tuple(o + p for o, p in zip(offset, m.reach, strict=True))
            back = tuple(p - o for o, p in zip(offset, m.reach, strict=True))
            own = values[(*everywhere, slice(None), *there, slice(None))]
            if any(offset):
                moved = np.roll(own, offset, axis=tuple(range(dim)))
                values[(*everywhere, slice(None), *back, slice(None))] = np.swapaxes(moved, dim, dim + 1)
            else:
                own += np.swapaxes(np.triu(own, 1), dim, dim + 1)
        return StencilGram(m, values)

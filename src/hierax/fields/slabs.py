"""Spline grids one after another in time, each with knots of its own."""

import itertools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractFixed, AbstractLocalField
from hierax.fields.moving import Frame, LocalMovingGrid, MovingGrid
from hierax.fields.pieces import Pieces
from hierax.fields.spline_grid import LocalSplineGrid, SplineGrid


class SlabTables(AbstractFixed):
    """Knots and polynomial pieces of all slabs in arrays of one shape, so that any number of slabs is one look-up.

    Parameters
    ----------
    ends : array of shape ``(slabs - 1,)``
        Times between slabs.
    inner : tuple of arrays of shape ``(slabs, most)``
        For each axis the inner breakpoints of every slab, filled up with infinity.
    pieces : tuple of Pieces
        For each axis the pieces of all slabs one after another.
    starts, sizes : int arrays of shape ``(axes, slabs)``
        Where the pieces of a slab begin; how many coefficients its axis has.
    first : int array of shape ``(slabs,)``
        Where the coefficients of a slab begin among the nodes of all of them.
    frames : Frame or None
        Those of all slabs, stacked, where the slabs are moving grids.
    """

    ends: Float[Array, " inner"]
    inner: tuple[Float[Array, "slabs most"], ...]
    pieces: tuple[Pieces, ...]
    starts: Int[Array, "axes slabs"]
    sizes: Int[Array, "axes slabs"]
    first: Int[Array, " slabs"]
    frames: Frame | None


class Slabs(AbstractLocalField):
    """A spline grid for each time slab; at a time between two slabs the later one counts.

    A single tensor grid has to be fine wherever a front ever passes; here each slab is fine only where the front is
    during its own time. Where the slabs are moving grids, each follows its front with the velocity of its own frame.

    Parameters
    ----------
    parts : sequence of SplineGrid, or of MovingGrid
        One for each slab, in the order of time, each starting where the one before ends; equal degrees and channels.
    axis : int
        The coordinate that is time.

    Raises
    ------
    ValueError
        Without a slab, or for slabs that do not follow one another or differ in kind.
    """

    parts: tuple[SplineGrid, ...] | tuple[MovingGrid, ...]
    tables: SlabTables
    axis: int = eqx.field(static=True)

    def __init__(self, parts, axis: int):
        self.parts, self.axis = tuple(parts), axis
        if not self.parts:
            raise ValueError("Slabs: at least one slab is needed")
        kinds = {(type(part), grid.degree, grid.channels) for part, grid in zip(self.parts, self.grids, strict=True)}
        if len(kinds) > 1:
            raise ValueError("Slabs: all slabs need the same degrees, channels and kind")
        spans = [grid.breakpoints()[axis][[0, -1]] for grid in self.grids]
        gap = next((k for k, (a, b) in enumerate(itertools.pairwise(spans)) if a[1] != b[0]), None)
        if gap is not None:
            raise ValueError(f"Slabs: slab {gap} ends at {spans[gap][1]}, the next starts at {spans[gap + 1][0]}")
        self.tables = _tables(self.parts, self.grids, axis)

    @property
    def grids(self) -> tuple[SplineGrid, ...]:
        """The grid of each slab, in the coordinates of its frame."""
        return tuple(part.grid if isinstance(part, MovingGrid) else part for part in self.parts)

    @property
    def channels(self) -> tuple[int, ...]:
        """``()`` for a scalar field, ``(out,)`` otherwise."""
        return self.grids[0].channels

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def breakpoints(self) -> tuple[np.ndarray, ...]:
        """Breakpoints of each axis (NumPy), those of all slabs together, each in the coordinates of its frame."""
        each = zip(*(grid.breakpoints() for grid in self.grids), strict=True)
        return tuple(np.unique(np.concatenate(axis)) for axis in each)

    def slab_of(self, points: np.ndarray) -> np.ndarray:
        """Number of the slab (NumPy) of each point ``(n, dim)``."""
        return np.searchsorted(np.asarray(self.tables.ends), points[:, self.axis], side="right")

    def offsets(self) -> np.ndarray:
        """Where the parameters of each slab begin (NumPy), ``(slabs,)``."""
        return np.asarray(self.tables.first) * math.prod(self.channels)

    def locate(self, x: Float[Array, " dim"]) -> tuple[Int[Array, ""], ...]:
        x = jax.lax.stop_gradient(x)
        slab = jnp.searchsorted(self.tables.ends, x[self.axis], side="right").astype(jnp.int32)
        if self.tables.frames is not None:
            x = self._frame(slab)(x)
        inner = (rows[slab] for rows in self.tables.inner)
        found = (jnp.searchsorted(row, z, side="right").astype(jnp.int32) for row, z in zip(inner, x, strict=True))
        return (slab, *found)

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalSplineGrid | LocalMovingGrid]:
        slab, *intervals = cell
        nodes = jnp.zeros((), dtype=jnp.int32)
        pieces = []
        for axis, interval in enumerate(intervals):
            size = self.tables.sizes[axis, slab]
            alive = (interval + jnp.arange(self.grids[0].degree[axis] + 1, dtype=jnp.int32)) % size
            nodes = nodes[..., None] * size + alive
            pieces.append(self.tables.pieces[axis].take(self.tables.starts[axis, slab] + interval))
        nodes = nodes + self.tables.first[slab]
        flat = jnp.concatenate([grid.coefficients.reshape(-1, *self.channels) for grid in self.grids])
        count = math.prod(self.channels)
        indices = (nodes[..., None] * count + jnp.arange(count, dtype=nodes.dtype)).ravel()
        local = LocalSplineGrid(flat[nodes], tuple(pieces))
        return indices, local if self.tables.frames is None else LocalMovingGrid(local, self._frame(slab))

    def _frame(self, slab: Int[Array, ""]) -> Frame:
        return jax.tree.map(lambda part: part[slab], self.tables.frames)

    def mesh(self) -> tuple[np.ndarray, ...]:
        return self.breakpoints()

    def positions(self, dim: int) -> np.ndarray:
        return np.concatenate([part.positions(dim) for part in self.parts])

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid | LocalMovingGrid]:
        slab, offsets = self.slab_of(points), self.offsets()
        order = np.argsort(slab, kind="stable")
        runs = np.split(order, np.flatnonzero(np.diff(slab[order])) + 1)
        gathered = [self.parts[slab[run[0]]].gather(points[run]) for run in runs]
        pairs = zip(runs, gathered, strict=True)
        indices = np.concatenate([index + offsets[slab[run[0]]] for run, (index, _) in pairs])
        back = np.argsort(order, kind="stable")
        local = jax.tree.map(lambda *leaves: np.concatenate(leaves)[back], *(pieces for _, pieces in gathered))
        return indices[back], local

    def cell_keys(self, points: np.ndarray) -> np.ndarray:
        slab, keys = self.slab_of(points), np.zeros(len(points), dtype=np.int64)
        cells = [math.prod(grid.intervals) for grid in self.grids]
        for k in np.unique(slab):
            own = slab == k
            keys[own] = sum(cells[:k]) + self.parts[k].cell_keys(points[own])
        return keys


def _tables(parts: tuple[Any, ...], grids: tuple[SplineGrid, ...], axis: int) -> SlabTables:
    spans = [grid.breakpoints() for grid in grids]
    dim = len(spans[0])
    intervals = np.array([[len(b) - 1 for b in span] for span in spans]).T
    nodes = np.array([[a.size for a in grid.axes] for grid in grids]).T
    inner = []
    for k in range(dim):
        rows = np.full((len(grids), max(1, int(intervals[k].max()) - 1)), np.inf)
        for row, span in zip(rows, spans, strict=True):
            row[: len(span[k]) - 2] = span[k][1:-1]
        inner.append(jnp.asarray(rows, dtype=float))
    pieces = [
        jax.tree.map(
            lambda *tables: jnp.asarray(np.concatenate(tables), dtype=float), *(grid.axes[k].pieces for grid in grids)
        )
        for k in range(dim)
    ]
    starts = np.cumsum(intervals, axis=1) - intervals
    sizes = nodes.prod(axis=0)
    moving = [part.frame for part in parts if isinstance(part, MovingGrid)]
    return SlabTables(
        jnp.asarray([span[axis][0] for span in spans[1:]], dtype=float),
        tuple(inner),
        tuple(pieces),
        jnp.asarray(starts, dtype=jnp.int32),
        jnp.asarray(nodes, dtype=jnp.int32),
        jnp.asarray(np.cumsum(sizes) - sizes, dtype=jnp.int32),
        jax.tree.map(lambda *own: jnp.stack(own), *moving) if moving else None,
    )

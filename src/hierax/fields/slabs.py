"""Spline grids one after another in time, each with knots of its own."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from hierax.fields.base import AbstractFixed, AbstractLocalField
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
    """

    ends: Float[Array, " inner"]
    inner: tuple[Float[Array, "slabs most"], ...]
    pieces: tuple[Pieces, ...]
    starts: Int[Array, "axes slabs"]
    sizes: Int[Array, "axes slabs"]
    first: Int[Array, " slabs"]


class Slabs(AbstractLocalField):
    """A spline grid for each time slab; at a time between two slabs the later one counts.

    A single tensor grid has to be fine wherever a front ever passes; here each slab is fine only where the front is
    during its own time.

    Parameters
    ----------
    parts : sequence of SplineGrid
        One for each slab, in the order of time, each starting where the one before ends; equal degrees and channels.
    axis : int
        The coordinate that is time.

    Raises
    ------
    ValueError
        Without a slab, or for slabs that do not follow one another or differ in kind.
    """

    parts: tuple[SplineGrid, ...]
    tables: SlabTables
    axis: int = eqx.field(static=True)

    def __init__(self, parts, axis: int):
        self.parts, self.axis = tuple(parts), axis
        if not self.parts:
            raise ValueError("Slabs: at least one slab is needed")
        if len({(part.degree, part.channels) for part in self.parts}) > 1:
            raise ValueError("Slabs: all slabs need the same degrees and channels")
        spans = [part.breakpoints()[axis][[0, -1]] for part in self.parts]
        gap = next((k for k, (a, b) in enumerate(itertools.pairwise(spans)) if a[1] != b[0]), None)
        if gap is not None:
            raise ValueError(f"Slabs: slab {gap} ends at {spans[gap][1]}, the next starts at {spans[gap + 1][0]}")
        self.tables = _tables(self.parts, axis)

    @property
    def channels(self) -> tuple[int, ...]:
        """``()`` for a scalar field, ``(out,)`` otherwise."""
        return self.parts[0].channels

    @property
    def linear_in_parameters(self) -> bool:
        return True

    def breakpoints(self) -> tuple[np.ndarray, ...]:
        """Breakpoints of each axis (NumPy), those of all slabs together."""
        each = zip(*(part.breakpoints() for part in self.parts), strict=True)
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
        inner = (rows[slab] for rows in self.tables.inner)
        found = (jnp.searchsorted(row, z, side="right").astype(jnp.int32) for row, z in zip(inner, x, strict=True))
        return (slab, *found)

    def at(self, cell: tuple[Int[Array, ""], ...]) -> tuple[Int[Array, " local"], LocalSplineGrid]:
        slab, *intervals = cell
        nodes = jnp.zeros((), dtype=jnp.int32)
        pieces = []
        for axis, interval in enumerate(intervals):
            size = self.tables.sizes[axis, slab]
            alive = (interval + jnp.arange(self.parts[0].degree[axis] + 1, dtype=jnp.int32)) % size
            nodes = nodes[..., None] * size + alive
            pieces.append(self.tables.pieces[axis].take(self.tables.starts[axis, slab] + interval))
        nodes = nodes + self.tables.first[slab]
        flat = jnp.concatenate([part.coefficients.reshape(-1, *self.channels) for part in self.parts])
        count = math.prod(self.channels)
        indices = (nodes[..., None] * count + jnp.arange(count, dtype=nodes.dtype)).ravel()
        return indices, LocalSplineGrid(flat[nodes], tuple(pieces))

    def mesh(self) -> tuple[np.ndarray, ...]:
        return self.breakpoints()

    def positions(self, dim: int) -> np.ndarray:
        return np.concatenate([part.positions(dim) for part in self.parts])

    def gather(self, points: np.ndarray) -> tuple[np.ndarray, LocalSplineGrid]:
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
        cells = [math.prod(part.intervals) for part in self.parts]
        for k in np.unique(slab):
            own = slab == k
            keys[own] = sum(cells[:k]) + self.parts[k].cell_keys(points[own])
        return keys


def _tables(parts: tuple[SplineGrid, ...], axis: int) -> SlabTables:
    spans = [part.breakpoints() for part in parts]
    dim = len(spans[0])
    intervals = np.array([[len(b) - 1 for b in span] for span in spans]).T
    nodes = np.array([[a.size for a in part.axes] for part in parts]).T
    inner = []
    for k in range(dim):
        rows = np.full((len(parts), max(1, int(intervals[k].max()) - 1)), np.inf)
        for row, span in zip(rows, spans, strict=True):
            row[: len(span[k]) - 2] = span[k][1:-1]
        inner.append(jnp.asarray(rows, dtype=float))
    pieces = [
        jax.tree.map(
            lambda *tables: jnp.asarray(np.concatenate(tables), dtype=float), *(part.axes[k].pieces for part in parts)
        )
        for k in range(dim)
    ]
    starts = np.cumsum(intervals, axis=1) - intervals
    sizes = nodes.prod(axis=0)
    return SlabTables(
        jnp.asarray([span[axis][0] for span in spans[1:]], dtype=float),
        tuple(inner),
        tuple(pieces),
        jnp.asarray(starts, dtype=jnp.int32),
        jnp.asarray(nodes, dtype=jnp.int32),
        jnp.asarray(np.cumsum(sizes) - sizes, dtype=jnp.int32),
    )

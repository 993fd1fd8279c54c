"""Which subdomains contain a point: arithmetic for uniform covers, a table of cells for all others."""

import abc
import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.spatial import KDTree

from hierax.fields.base import AbstractFixed

TABLE_ENTRIES = 4_000_000
"""Most numbers in the table of an irregular cover; above it cells are joined."""


class AbstractFinder(AbstractFixed):
    """From points to the numbers of the subdomains around them, always the same number of them."""

    @abc.abstractmethod
    def __call__(self, x: Float[Array | np.ndarray, "... dim"]) -> Any:
        """Subdomains ``(..., members)``, among them all that contain the point; NumPy for NumPy's arrays."""


class UniformFinder(AbstractFinder):
    """For boxes of equal size whose centres form a full grid.

    Parameters
    ----------
    lower, spacing : arrays ``(dim,)``
    counts : tuple of int
        Subdomains along each axis.
    overlap : tuple of float
        Width of a subdomain over the spacing.
    wraps : tuple of bool
    """

    lower: Float[Array, " dim"]
    spacing: Float[Array, " dim"]
    counts: tuple[int, ...] = eqx.field(static=True)
    overlap: tuple[float, ...] = eqx.field(static=True)
    wraps: tuple[bool, ...] = eqx.field(static=True)

    def __call__(self, x: Float[Array | np.ndarray, "... dim"]) -> Any:
        xp = np if isinstance(x, np.ndarray) else jnp
        place = (x - xp.asarray(self.lower)) / xp.asarray(self.spacing)
        ids = xp.zeros((*x.shape[:-1], 1), dtype=np.int32)
        for axis, (count, overlap, wraps) in enumerate(zip(self.counts, self.overlap, self.wraps, strict=True)):
            alive = min(math.ceil(overlap), count)
            first = xp.floor(place[..., axis] - 0.5 - 0.5 * overlap).astype(np.int32) + 1
            first = first % count if wraps else xp.clip(first, 0, count - alive)
            members = first[..., None] + xp.arange(alive, dtype=np.int32)
            members = members % count if wraps else members
            ids = (ids[..., :, None] * count + members[..., None, :]).reshape((*x.shape[:-1], -1))
        return ids


class TableFinder(AbstractFinder):
    """For any boxes: the coordinates are cut into cells, and a table holds the subdomains that meet each cell.

    Parameters
    ----------
    lines : tuple of arrays
        Inner lines of each axis.
    table : int array ``(cells_1, ..., cells_d, members)``
        Filled up with near subdomains that do not meet the cell, whose windows vanish there.
    """

    lines: tuple[Float[Array, " lines"], ...]
    table: Int[Array, "..."]

    def __call__(self, x: Float[Array | np.ndarray, "... dim"]) -> Any:
        xp = np if isinstance(x, np.ndarray) else jnp
        cells = [xp.searchsorted(xp.asarray(line), x[..., axis], side="right") for axis, line in enumerate(self.lines)]
        return xp.asarray(self.table)[tuple(cells)]


def table_finder(lower: np.ndarray, upper: np.ndarray) -> TableFinder:
    """The table of boxes ``(boxes, dim)``."""
    lines = _lines(lower, upper)
    shape = tuple(len(line) - 1 for line in lines)
    # edges that agree up to rounding are one line: a box does not reach into a cell by less than this
    slack = 1e-9 * (upper - lower)
    starts, ends = (lower + slack).T, (upper - slack).T
    first = np.stack([np.searchsorted(line, a, side="right") - 1 for line, a in zip(lines, starts, strict=True)])
    last = np.stack([np.searchsorted(line, b, side="left") for line, b in zip(lines, ends, strict=True)])
    cells, boxes = [], []
    for box, (start, stop) in enumerate(zip(np.maximum(first, 0).T, last.T, strict=True)):
        met = np.ravel_multi_index(np.ix_(*map(np.arange, start, stop)), shape).ravel()
        cells.append(met)
        boxes.append(np.full(len(met), box))
    middles = np.meshgrid(*(0.5 * (line[1:] + line[:-1]) for line in lines), indexing="ij")
    points = np.stack([part.ravel() for part in middles], axis=1)
    table = _filled(np.concatenate(cells), np.concatenate(boxes), points, 0.5 * (lower + upper))
    inner = tuple(jnp.asarray(line[1:-1], dtype=float) for line in lines)
    return TableFinder(inner, jnp.asarray(table.reshape(*shape, -1), dtype=jnp.int32))


def _lines(lower: np.ndarray, upper: np.ndarray) -> list[np.ndarray]:
    """Edges of all boxes along each axis, of which every second is left out until the table is small enough."""
    lines = []
    for a, b in zip(lower.T, upper.T, strict=True):
        edges = np.unique(np.concatenate([a, b]))
        lines.append(edges[np.r_[True, np.diff(edges) > 1e-12 * (edges[-1] - edges[0])]])
    while math.prod(map(len, lines)) > TABLE_ENTRIES // 16:
        longest = max(range(len(lines)), key=lambda k: len(lines[k]))
        line = lines[longest]
        lines[longest] = np.unique(np.r_[line[:-1:2], line[-1]])
    return lines


def _filled(cells: np.ndarray, boxes: np.ndarray, points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Members of every cell `(cells, members)` from pairs of cells and boxes, with near boxes where there are few."""
    order = np.argsort(cells, kind="stable")
    cells, boxes = cells[order], boxes[order]
    counts = np.bincount(cells, minlength=len(points))
    members = int(counts.max())
    table = np.full((len(points), members), -1, dtype=np.int64)
    table[cells, np.arange(len(cells)) - np.repeat(np.cumsum(counts) - counts, counts)] = boxes
    few = np.flatnonzero(counts < members)
    near = np.asarray(KDTree(centres).query(points[few], k=members)[1]).reshape(len(few), members)
    own = (near[:, :, None] == table[few][:, None, :]).any(axis=2)
    # fewer than `members` boxes meet the cell, so one of the `members` nearest does not
    spare = near[np.arange(len(few)), np.argmin(own, axis=1)]
    table[few] = np.where(table[few] < 0, spare[:, None], table[few])
    return table

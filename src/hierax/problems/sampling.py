"""Points with quadrature weights: grids, Sobol sequences, Gauss points, faces of a box.

Point `i` of a random-like sampler depends on `(key, i)` alone, so coarse sets are prefixes of fine ones. Weights add up
to the measure of what is sampled, so sums over different sets approximate the same integral.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hierax.geometry import AbstractShape
from hierax.problems.domain import Box, Domain, Face, Interface, PointCloud
from hierax.problems.keys import Key, seed_of

Cells = Sequence[np.ndarray]
"""Break points of a tensor mesh, one increasing array an axis."""


MOST_TRIES = 1000
"""Most points of the box around a shape that are tried for one inside."""


class Batch(NamedTuple):
    """Points `(n, dim)`, weights `(n,)`, global indices `(n,)` and, on a boundary, outward unit normals `(n, dim)`."""

    points: np.ndarray
    weights: np.ndarray
    index: np.ndarray  # pyright: ignore  (a tuple's own `index` is of no use here)
    normals: np.ndarray | None = None


class AbstractSampler(abc.ABC):
    """Points of a domain by number: `sample(key, start, count, cells)`."""

    @abc.abstractmethod
    def sample(self, key: Key, start: int, count: int, cells: Cells | None = None) -> Batch:
        """Points `start .. start + count - 1`.

        Parameters
        ----------
        key:
            Random key; deterministic samplers do not use it.
        start, count:
            Range of the global index.
        cells:
            Break points of the level's mesh; only samplers that follow cells use it (they ignore `start`, `count`).

        Returns
        -------
        Batch
            Weights add up to the measure of the sampled set.
        """


def sobol(dim: int, rng: np.random.Generator) -> Any:
    """The engine of a scrambled Sobol sequence in the unit cube (`scipy.stats.qmc`)."""
    # imported here: it takes longer to import than many a command to run
    from scipy.stats import qmc

    return qmc.Sobol(dim, scramble=True, rng=rng)


@dataclass(frozen=True)
class Sobol(AbstractSampler):
    """Scrambled Sobol points (`scipy.stats.qmc`): point `i` depends on the key and `i` alone."""

    box: Box

    def sample(self, key: Key, start: int, count: int, cells: Cells | None = None) -> Batch:
        del cells
        engine = sobol(self.box.dim, np.random.default_rng(seed_of(key)))
        if start:
            engine.fast_forward(start)
        # a power of two is drawn so that SciPy does not warn about balance; only `count` points are kept
        unit = engine.random(1 << max(count - 1, 0).bit_length())[:count] if start == 0 else engine.random(count)
        points = self.box.lower + unit * (self.box.upper - self.box.lower)
        return Batch(points, np.full(count, self.box.measure / count), np.arange(start, start + count))


@dataclass(frozen=True)
class Arcsine(AbstractSampler):
    """Sobol points with the density `1 / sqrt(x (1 - x))` along every coordinate that is not periodic, of equal weight.

    Least squares at such points keep polynomials from growing between them near the faces (Cohen, Migliorati, SMAI J.
    Comput. Math. 3, 2017). Equal weights count the surroundings of the faces for more; they do not integrate.
    """

    box: Box

    def sample(self, key: Key, start: int, count: int, cells: Cells | None = None) -> Batch:
        batch = Sobol(self.box).sample(key, start, count, cells)
        low, high = self.box.bounds()
        unit = (batch.points - low) / (high - low)
        bent = np.where(np.isin(self.box.names, self.box.periodic), unit, 0.5 - 0.5 * np.cos(np.pi * unit))
        return batch._replace(points=low + bent * (high - low))


@dataclass(frozen=True)
class Gauss(AbstractSampler):
    """Gauss-Legendre points in every cell, `order` an axis, all points of a cell next to each other.

    Exact for polynomials of degree `2 order - 1` an axis on each cell.
    """

    order: int

    def sample(self, key: Key, start: int, count: int, cells: Cells | None = None) -> Batch:
        del key, start, count
        if cells is None:
            raise ValueError("Gauss points follow cells: give the break points of the level")
        nodes, weights = np.polynomial.legendre.leggauss(self.order)
        axes = [_scaled(nodes, weights, np.asarray(b)) for b in cells]
        points, product = cell_major(axes)
        return Batch(points, product, np.arange(len(points)))


def _scaled(nodes: np.ndarray, weights: np.ndarray, breaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights `(cells, order)` of one axis."""
    middle, half = (breaks[1:] + breaks[:-1]) / 2, np.diff(breaks) / 2
    return middle[:, None] + half[:, None] * nodes, half[:, None] * weights


def cell_major(axes: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Tensor product of `(cells, order)` nodes and weights: points `(n, dim)`, weights `(n,)`, cell after cell."""
    dim = len(axes)
    order = [k for k in range(0, 2 * dim, 2)] + [k for k in range(1, 2 * dim, 2)]
    shape = tuple(s for nodes, _ in axes for s in nodes.shape)

    def spread(values: np.ndarray, axis: int) -> np.ndarray:
        view = [1] * (2 * dim)
        view[2 * axis], view[2 * axis + 1] = values.shape
        return np.broadcast_to(values.reshape(view), shape).transpose(order).ravel()

    points = np.stack([spread(nodes, k) for k, (nodes, _) in enumerate(axes)], axis=1)
    weights = np.ones(len(points))
    for k, (_, w) in enumerate(axes):
        weights = weights * spread(w, k)
    return points, weights


def on_face(
    box: Box, face: Face | Interface, inner: AbstractSampler, key: Key, count: int, cells: Cells | None
) -> Batch:
    """Points of a face or interface with unit normals, from a sampler of the box's other coordinates.

    A box with one coordinate has points as faces: one point of weight 1.
    """
    axis, at, sign = box.plane(face)
    if box.dim == 1:
        return Batch(np.array([[at]]), np.ones(1), np.zeros(1, dtype=int), np.array([[sign]]))
    rest = None if cells is None else [c for k, c in enumerate(cells) if k != axis]
    flat = inner.sample(key, 0, count, rest)
    points = np.insert(flat.points, axis, at, axis=1)
    normals = np.zeros_like(points)
    normals[:, axis] = sign
    return Batch(points, flat.weights, flat.index, normals)


def without(box: Box, axis: int) -> Box:
    """The box of the other coordinates."""
    keep = [k for k in range(box.dim) if k != axis]
    names = [box.names[k] for k in keep]
    return Box(box.lower[keep], box.upper[keep], names, tuple(n for n in box.periodic if n in names))


def uniform_cells(box: Box, intervals: Sequence[int]) -> list[np.ndarray]:
    """Break points of a uniform mesh."""
    return [np.linspace(a, b, n + 1) for a, b, n in zip(box.lower, box.upper, intervals, strict=True)]


def thinned(batch: Batch, cells: Cells, parts: int, most: int) -> Batch:
    """Few of many given points in every cell, one in each of its parts, with the weight of all of the cell.

    A mesh that is much coarser than the points needs few of them, so that a coarse level costs proportionally less.

    Parameters
    ----------
    batch:
        Points of a cloud or of its boundary.
    cells:
        Break points of the mesh; points outside of it belong to the nearest cell.
    parts:
        Equal parts of a cell along each axis; of the points in one the nearest to its centre is kept.
    most:
        Cells with at most so many points keep them all.
    """
    inside, part, off = [], [], np.zeros(len(batch.points))
    for breaks, x in zip(cells, batch.points.T, strict=True):
        number = np.clip(np.searchsorted(breaks, x, "right") - 1, 0, len(breaks) - 2)
        place = parts * (x - breaks[number]) / np.diff(breaks)[number]
        within = np.clip(place.astype(int), 0, parts - 1)
        off = np.maximum(off, np.abs(place - within - 0.5))
        inside.append(number)
        part.append(within)
    shape = [len(breaks) - 1 for breaks in cells]
    cell = np.asarray(np.ravel_multi_index(inside, shape))
    counts = np.bincount(cell, minlength=math.prod(shape))
    if counts.max() <= most:
        return batch
    key = cell * parts ** len(shape) + np.ravel_multi_index(part, [parts] * len(shape))
    order = np.lexsort((off, key))
    first = np.r_[True, np.diff(key[order]) != 0]
    kept = np.sort(order[first | (counts[cell[order]] <= most)])
    total, mine = np.bincount(cell, batch.weights), np.bincount(cell[kept], batch.weights[kept])
    weights = batch.weights[kept] * (total / np.where(mine > 0, mine, 1.0))[cell[kept]]
    normals = None if batch.normals is None else batch.normals[kept]
    return Batch(batch.points[kept], weights, batch.index[kept], normals)


def points_in(domain: Domain, key: Key, count: int) -> np.ndarray:
    """About `count` points `(n, dim)` spread over a domain; those of a cloud are its own."""
    if isinstance(domain, PointCloud):
        return domain.points[:: max(1, len(domain.points) // count)]
    if isinstance(domain, Box):
        return Sobol(domain).sample(key, 0, count).points
    box = Box(*domain.bounds())
    found, start = np.zeros((0, domain.dim)), 0
    while len(found) < count and start < MOST_TRIES * count:
        more = Sobol(box).sample(key, start, count).points
        found, start = np.concatenate([found, more[domain.level(more) < 0.0]]), start + count
    return found[:count]


def scattered(shape: AbstractShape, key: Key, count: int) -> Batch:
    """Points spread over a shape, of equal weight."""
    points = points_in(shape, key, count)
    return Batch(points, np.full(len(points), shape.measure / len(points)), np.arange(len(points)))
